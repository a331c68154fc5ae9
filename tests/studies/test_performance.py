"""What followed: outcomes of signals, information coefficients of views, paper equity of portfolios."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import spearmanr

from collector.config import AnalyticsSettings
from collector.records import Interval
from collector.studies.performance import OUTCOME_BARS, PerformanceStudy
from tests.studies.market import BTC, DAY, ETH, SOL, START, bar, bars, instrument, snapshot

HOUR = timedelta(hours=1)
SETTINGS = AnalyticsSettings(signals={"intervals": ("1h", "1d")}, portfolio={"fee": 0.001})
SOON = timedelta(minutes=5)


@pytest.fixture
def market(when):
    """What is corrected is corrected before any moment that a test looks at."""
    made = when(START)
    made.follow({BTC: "bitcoin", ETH: "ether", SOL: "solana"})
    return made


@pytest.fixture
def study(past):
    return lambda: PerformanceStudy(past, SETTINGS)


@pytest.fixture
def run(findings):
    return lambda study, now: findings.store(study.make(now))


def signal(item, bar_end, direction, interval="1h", name="rule"):
    return {
        "instrument": item.id,
        "interval": interval,
        "name": name,
        "parameter_hash": "abc",
        "version": 1,
        "bar_end": bar_end,
        "kind": "rsi",
        "direction": direction,
        "state": "x",
        "strength": 0.5 * direction,
        "price": 1.0,
        "window_since": bar_end,
        "window_until": bar_end,
        "bars": 1,
        "parameters": {},
        "inputs_hash": "",
    }


def hourly(item, closes, start=0):
    return bars(item, closes, start=START + start * HOUR, interval=Interval.H1)


def told(market):
    return market.rows(
        "SELECT instrument, bar_end, horizon, entry_price, exit_price, forward_return, hit, o.status "
        "FROM signal_outcomes o JOIN instruments USING (instrument_id) ORDER BY 1, 2, 3"
    )


def test_outcomes_are_those_of_a_hand_calculation(market, study, run, findings):
    """Bitcoin closes at 100, 101, ... and opens where it closed; the signal is given with the close at 102."""
    market.put(*hourly(BTC, [100 + place for place in range(9)]), *hourly(ETH, [50, 50, 50, 40]))
    given = START + 3 * HOUR
    findings.store({"signals": [signal(BTC, given, 1), signal(ETH, given, -1), signal(SOL, given, 1)]})
    run(study(), START + 9 * HOUR)
    assert told(market) == [
        (BTC.id, given, 1, 102.0, 103.0, pytest.approx(103 / 102 - 1), True, "done"),
        (BTC.id, given, 5, 102.0, 107.0, pytest.approx(107 / 102 - 1), True, "done"),
        (ETH.id, given, 1, 50.0, 40.0, pytest.approx(0.2), True, "done"),
        (ETH.id, given, 5, 50.0, None, None, None, "hole"),
        (SOL.id, given, 1, None, None, None, None, "hole"),
        (SOL.id, given, 5, None, None, None, None, "hole"),
    ]


def test_a_signal_without_a_direction_promises_nothing(market, study, run, findings):
    market.put(*hourly(BTC, [100, 101, 102]))
    findings.store({"signals": [signal(BTC, START + HOUR, 0)]})
    run(study(), START + 3 * HOUR)
    assert told(market) == [(BTC.id, START + HOUR, 1, 100.0, 101.0, None, None, "done")]


def test_an_outcome_is_told_when_its_last_bar_has_closed_and_not_before(market, study, run, findings):
    market.put(*hourly(BTC, [100, 101]))
    findings.store({"signals": [signal(BTC, START + 2 * HOUR, 1)]})
    running = study()
    run(running, START + 2 * HOUR + SOON)
    assert told(market) == []
    market.put(*hourly(BTC, [102], start=2))
    run(running, START + 3 * HOUR - SOON)
    assert told(market) == []
    run(study(), START + 3 * HOUR)
    assert [row[2] for row in told(market)] == [1]


def test_a_hole_that_is_healed_gets_its_outcome(market, study, run, findings):
    market.put(*hourly(BTC, [100, 101, None, 103]))
    findings.store({"signals": [signal(BTC, START + 2 * HOUR, 1)]})
    run(study(), START + 4 * HOUR)
    assert [row[-1] for row in told(market)] == ["hole"]
    market.put(bar(BTC, START + 2 * HOUR, 102, open=101, interval=Interval.H1))
    run(study(), START + 4 * HOUR)
    assert [row[3:] for row in told(market)] == [(101.0, 102.0, pytest.approx(102 / 101 - 1), True, "done")]


def test_after_days_off_no_outcome_is_missing(market, study, run, findings):
    count = OUTCOME_BARS + 60
    candles = hourly(BTC, [100 + place for place in range(count)])
    market.put(*candles[:12])
    findings.store({"signals": [signal(BTC, START + hour * HOUR, 1) for hour in (2, 10)]})
    run(study(), START + 12 * HOUR)
    market.put(*candles[12:])
    run(study(), START + count * HOUR)
    assert [(row[1], row[2]) for row in told(market)] == [
        (START + hour * HOUR, horizon) for hour in (2, 10) for horizon in (1, 5, 20)
    ]


def test_without_a_new_bar_nothing_is_made_and_a_restart_stores_nothing(market, study, run, findings):
    market.put(*hourly(BTC, [100, 101, 102]))
    findings.store({"signals": [signal(BTC, START + HOUR, 1)]})
    running = study()
    assert run(running, START + 3 * HOUR) == {"signal_outcomes": 1}
    assert running.make(START + 3 * HOUR + SOON) == {}
    assert run(study(), START + 3 * HOUR + SOON) == {"signal_outcomes": 0}


def test_an_outcome_that_is_told_is_not_computed_again_and_one_that_is_late_still_is(market, study, run, findings):
    market.put(*hourly(BTC, [100 + place for place in range(60)]), *hourly(ETH, [100 + place for place in range(60)]))
    findings.store({"signals": [signal(BTC, START + 5 * HOUR, 1), signal(BTC, START + 55 * HOUR, 1)]})
    run(study(), START + 60 * HOUR)
    findings.store({"signals": [signal(ETH, START + 6 * HOUR, 1)]})  # its bars came late
    again = study().outcomes(Interval.H1, START + 60 * HOUR)
    assert [(row["instrument"], row["bar_end"], row["horizon"]) for row in again] == [
        *((ETH.id, START + 6 * HOUR, horizon) for horizon in (1, 5, 20)),
        *((BTC.id, START + 55 * HOUR, horizon) for horizon in (1, 5)),
    ]


def test_a_past_moment_is_told_as_it_was_known_then(when, market, study, past, findings):
    market.put(*hourly(BTC, [100, 101, 102, 103, 104, 105, 106]))
    findings.store({"signals": [signal(BTC, START + HOUR, 1), signal(BTC, START + 4 * HOUR, -1)]})
    then = START + 7 * HOUR
    before = study().outcomes(Interval.H1, then)
    assert len(before) == 3
    later = when(then + HOUR)
    later.put(*hourly(BTC, [1, 2, 3], start=7))
    later.put(bar(BTC, START + HOUR, 400, interval=Interval.H1))
    assert study().outcomes(Interval.H1, then) == before
    assert study().outcomes(Interval.H1, then + HOUR) != before


# ---------------------------------------------------------------------- portfolios

BY_ASSET = {BTC: [100, 100, 110, 121], ETH: [10, 10, 8, 8], SOL: [1, 1, 1, 2]}


def hold(market, as_of, **weights):
    for asset, weight in weights.items():
        market.run(
            "INSERT INTO portfolio_weights (portfolio, as_of, asset_id, weight, computed_at) "
            "VALUES ('black_litterman', :at, :asset, :weight, :at)",
            at=as_of,
            asset=asset,
            weight=weight,
        )


@pytest.fixture
def four_days(market):
    """Weights after the first day and after the second; market caps on the second and the third."""
    for item, closes in BY_ASSET.items():
        market.put(*bars(item, closes))
    hold(market, START + DAY + SOON, bitcoin=0.5, ether=0.3, solana=0.2)
    hold(market, START + 2 * DAY + SOON, ether=1.0)
    for day, caps in ((1, {"bitcoin": 3, "ether": 1}), (2, {"bitcoin": 1, "ether": 1})):
        market.put(*(snapshot(asset, cap, START + day * DAY + 12 * HOUR) for asset, cap in caps.items()))
    return market


def equity(market):
    return market.rows("SELECT day, equity, bitcoin, market, turnover, fees FROM paper_equity ORDER BY day")


BY_HAND = [
    # bought at the open of the third day (100, 10, 1) with 0.999 of the money: 0.999 * (0.55 + 0.24 + 0.2);
    # the market: 3 to 1 of +10 % and -20 %
    (START + 3 * DAY, 0.98901, 0.999 * 1.1, 1.025, 1.0, 0.001),
    # all into ether at the open of the fourth (110, 8, 1): 0.54945 + 0.1998 sold, 0.74925 bought, 0.1 % of 1.4985;
    # ether stays at 8; the market: half of +10 %
    (START + 4 * DAY, 0.98901 - 0.0014985, 0.999 * 1.21, 1.025 * 1.05, 1.4985 / 0.98901, 0.0014985),
]


def approx(rows):
    return [(day, *(pytest.approx(value) for value in values)) for day, *values in rows]


def test_paper_equity_is_that_of_a_hand_calculation(four_days, study, run):
    run(study(), START + 4 * DAY + SOON)
    assert equity(four_days) == approx(BY_HAND)


def test_paper_equity_day_by_day_is_that_of_one_run(four_days, study, run):
    run(study(), START + 3 * DAY + SOON)
    assert equity(four_days) == approx(BY_HAND[:1])
    run(study(), START + 4 * DAY + SOON)
    assert equity(four_days) == approx(BY_HAND)


def test_an_asset_that_is_no_longer_followed_stays_in_what_was_held(four_days, study, run):
    four_days.follow({ETH: "ether"}, followed=False)
    run(study(), START + 4 * DAY + SOON)
    assert equity(four_days) == approx(BY_HAND)


def test_an_asset_without_any_bars_leaves_the_worth_unknown(four_days, study, run):
    hold(four_days, START + DAY + SOON, dogecoin=0.0)
    run(study(), START + 4 * DAY + SOON)
    assert equity(four_days) == approx(BY_HAND)
    hold(four_days, START + 3 * DAY - SOON, nothing=1.0)  # never traded: nothing has a price
    run(study(), START + 4 * DAY + SOON)
    assert equity(four_days)[0] == approx(BY_HAND)[0]


def test_the_worth_is_told_from_the_first_weights_on_for_ever(market, study, run):
    count = OUTCOME_BARS + 30
    market.put(*bars(BTC, [100 + place for place in range(count)]))
    hold(market, START + DAY + SOON, bitcoin=1.0)
    run(study(), START + 100 * DAY)
    before = equity(market)
    run(study(), START + count * DAY)
    assert equity(market)[: len(before)] == before
    assert equity(market)[-1][1] == pytest.approx(0.999 * (99 + count) / 101)
    assert len(equity(market)) == count - 2


# ---------------------------------------------------------------------- views


def test_information_coefficients_are_those_of_scipy(market, study, run):
    rng = np.random.default_rng(5)
    names = ["BTC", "ETH", "SOL", "A", "B", "C", "D"]
    items = {name: instrument(name) for name in names}
    market.follow({item: name.lower() for name, item in items.items()})
    days = 12
    closes = {name: [round(float(p), 4) for p in 100 * np.exp(np.cumsum(rng.normal(0, 0.05, days)))] for name in names}
    scores = {name: rng.normal(size=days) for name in names}
    for name, item in items.items():
        market.put(*bars(item, closes[name]))
        for day in range(days):
            for hours in (0, 5):  # the views within a day are of no bar's end
                market.run(
                    "INSERT INTO asset_views (asset_id, as_of, score, rank, signals, members, computed_at) "
                    "VALUES (:asset, :at, :score, 1, 1, '{}', :at)",
                    asset=name.lower(),
                    at=START + (day + 1) * DAY + hours * HOUR,
                    score=float(scores[name][day]) + hours,
                )
    run(study(), START + days * DAY)
    stored = {
        (as_of, horizon): (assets, value)
        for as_of, horizon, assets, value in market.rows(
            "SELECT as_of, horizon, assets, value FROM information_coefficients"
        )
    }
    assert len(stored) == (days - 1) + (days - 5)
    for (as_of, horizon), (assets, value) in stored.items():
        day = (as_of - START) // DAY - 1
        # entered at the next open, which is this close; left at the close `horizon` days later
        returns = [closes[name][day + horizon] / closes[name][day] - 1 for name in names]
        assert assets == 7
        assert value == pytest.approx(spearmanr([scores[name][day] for name in names], returns).statistic)


def test_two_assets_have_no_coefficient(market, study, run):
    market.put(*bars(BTC, [1, 2, 3]), *bars(ETH, [3, 2, 1]))
    for asset in ("bitcoin", "ether"):
        market.run(
            "INSERT INTO asset_views (asset_id, as_of, score, rank, signals, members, computed_at) "
            "VALUES (:asset, :at, 1, 1, 1, '{}', :at)",
            asset=asset,
            at=START + DAY,
        )
    run(study(), START + 3 * DAY)
    assert market.rows("SELECT * FROM information_coefficients") == []
