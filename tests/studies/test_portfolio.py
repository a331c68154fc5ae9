"""The portfolio of the day: what it needs, when it is due, what is held, and that it can be computed again."""

from datetime import timedelta

import numpy as np
import pytest

pytest.importorskip("skfolio", reason="needs requirements-analytics.txt")

from collector.analytics.portfolio import repeat
from collector.config import AnalyticsSettings
from collector.studies.portfolio import PortfolioStudy, newest_day
from tests.studies.market import BTC, DAY, ETH, SOL, START, bars, snapshot

ASSETS = {BTC: "bitcoin", ETH: "ether", SOL: "solana"}
CAPS = {"bitcoin": 600, "ether": 300, "solana": 100}
CLOSED = 70  # days
FIRST = START + CLOSED * DAY + timedelta(minutes=5)


def settings(**changes):
    return AnalyticsSettings(portfolio={"lookback": "60d", "max_weight": 0.6, **changes})


@pytest.fixture
def study(past):
    return lambda **changes: PortfolioStudy(past, settings(**changes))


@pytest.fixture
def run(findings):
    return lambda study, now: findings.store(study.make(now))


def history(days):
    rng = np.random.default_rng(11)
    return {
        item: [round(float(price), 6) for price in 100 * np.exp(np.cumsum(rng.normal(0, 0.03, days)))]
        for item in ASSETS
    }


@pytest.fixture
def market(when):
    """70 closed days of three assets, without any market cap."""
    made = when(START)
    made.follow(ASSETS)
    for item, closes in history(CLOSED).items():
        made.put(*bars(item, closes))
    return made


def caps(market, at, values=CAPS):
    market.put(*(snapshot(asset, cap, at) for asset, cap in values.items()))


def believe(market, at, **views):
    for place, (asset, zscore) in enumerate(views.items(), start=1):
        market.run(
            "INSERT INTO asset_views (asset_id, as_of, score, zscore, rank, confidence, signals, members, computed_at) "
            "VALUES (:asset, :at, 0.5, :zscore, :rank, 0.8, 1, '{}', :at)",
            asset=asset,
            at=at,
            zscore=zscore,
            rank=place,
        )


def weights(market, as_of=FIRST, column="weight"):
    return dict(market.rows(f"SELECT asset_id, {column} FROM portfolio_weights WHERE as_of = :at", at=as_of))


def another_day(market, closes):
    market.put(
        *(bars(item, [close], start=START + CLOSED * DAY)[0] for item, close in zip(ASSETS, closes, strict=True))
    )


def test_without_bars_there_is_nothing(past, database):
    assert PortfolioStudy(past, settings()).make(FIRST) == {}


def test_without_market_caps_it_is_refused_and_says_so_of_each_asset(market, study, run):
    assert run(study(), FIRST) == {"portfolio_runs": 1}
    ((state, reason, left_out, assets),) = market.rows("SELECT state, reason, left_out, assets FROM portfolio_runs")
    assert state == "refused"
    assert "no asset is usable" in reason
    assert left_out == dict.fromkeys(CAPS, "no market cap")
    assert assets == 0


def test_a_refusal_is_tried_again_after_an_hour_and_not_every_cycle(market, study, run):
    run(study(), FIRST)
    caps(market, FIRST)
    assert run(study(), FIRST + timedelta(minutes=5)) == {}
    assert run(study(), FIRST + timedelta(hours=1)) == {"portfolio_runs": 1, "portfolio_weights": 3}
    assert market.rows("SELECT state FROM portfolio_runs ORDER BY as_of") == [("refused",), ("ok",)]


def test_without_views_it_is_the_market(market, study, run):
    caps(market, FIRST - timedelta(hours=1))
    run(study(), FIRST)
    assert weights(market) == pytest.approx({"bitcoin": 0.6, "ether": 0.3, "solana": 0.1}, abs=1e-4)
    assert market.rows("SELECT state, turnover, assets FROM portfolio_runs") == [("ok", None, 3)]


def test_a_cap_that_is_too_old_is_no_cap_and_one_of_the_future_neither(market, study):
    caps(market, FIRST - timedelta(days=2, minutes=1))
    caps(market, FIRST + timedelta(minutes=1))
    made = study().portfolio(FIRST)
    assert made.state == "refused"


def test_the_newest_cap_and_the_newest_view_count(market, study, run):
    caps(market, FIRST - DAY, {"bitcoin": 1, "ether": 1, "solana": 1})
    caps(market, FIRST - timedelta(hours=1))
    believe(market, FIRST - DAY, bitcoin=-1.0, solana=-1.0)
    believe(market, FIRST - timedelta(minutes=6), bitcoin=None, solana=1.0)
    run(study(), FIRST)
    assert weights(market, column="market_weight") == pytest.approx({"bitcoin": 0.6, "ether": 0.3, "solana": 0.1})
    told = weights(market, column="view_return")
    assert told["bitcoin"] is None
    assert told["solana"] > weights(market, column="prior_return")["solana"]
    assert weights(market)["solana"] > 0.1


def test_there_is_one_portfolio_a_day_across_restarts(market, study, run):
    caps(market, FIRST)
    assert "portfolio_weights" in run(study(), FIRST)
    for hours in (1, 12, 23):
        assert run(study(), FIRST + timedelta(hours=hours)) == {}
    caps(market, FIRST + DAY)
    assert run(study(), FIRST + DAY) == {}  # its day has not come in yet
    another_day(market, (100, 100, 100))
    assert "portfolio_weights" in run(study(), FIRST + DAY + timedelta(minutes=5))


def test_every_week_is_once_a_week(market, study, run):
    made = []
    for day in range(15):
        now = FIRST + day * DAY
        if day:
            last = START + (CLOSED + day - 1) * DAY
            market.put(*(bars(item, [100 + day + place], start=last)[0] for place, item in enumerate(ASSETS)))
        caps(market, now)
        if "portfolio_weights" in run(study(every="7d"), now + timedelta(minutes=day)):
            made.append(day)
    assert made == [0, 7, 14]


def test_the_second_day_begins_with_what_the_first_weights_have_become(market, study, run):
    """Bitcoin +10 %, ether -20 %, solana unchanged: 0.66, 0.24 and 0.10 of 1.00 for weights of 0.6, 0.3 and 0.1."""
    caps(market, FIRST)
    run(study(), FIRST)
    first = weights(market)
    last = {asset: history(CLOSED)[item][-1] for item, asset in ASSETS.items()}
    grown = {"bitcoin": 1.1, "ether": 0.8, "solana": 1.0}
    another_day(market, [round(last[asset] * grown[asset], 6) for asset in ASSETS.values()])
    second = FIRST + DAY
    caps(market, second)
    run(study(), second)
    worth = sum(first[asset] * grown[asset] for asset in first)
    by_hand = {asset: first[asset] * grown[asset] / worth for asset in first}
    assert weights(market, second, "previous_weight") == pytest.approx(by_hand, rel=1e-6)
    assert by_hand == pytest.approx({"bitcoin": 0.66, "ether": 0.24, "solana": 0.10}, abs=1e-3)
    traded = sum(abs(weights(market, second)[asset] - by_hand[asset]) for asset in first) / 2
    ((turnover,),) = market.rows("SELECT turnover FROM portfolio_runs WHERE as_of = :at", at=second)
    assert turnover == pytest.approx(traded, abs=1e-6)


def test_what_is_stored_is_enough_to_compute_it_again(market, study, run):
    caps(market, FIRST)
    believe(market, FIRST - timedelta(minutes=6), bitcoin=-0.7, ether=1.3)
    run(study(), FIRST)
    ((inputs, inputs_hash, parameter_hash, expected),) = market.rows(
        "SELECT inputs, inputs_hash, parameter_hash, expected_return FROM portfolio_runs"
    )
    again = repeat(inputs)
    assert {row.asset_id: row.weight for row in again.weights} == weights(market)
    assert (again.inputs_hash, again.parameter_hash, again.expected_return) == (inputs_hash, parameter_hash, expected)


def test_a_refusal_can_be_computed_again_too(market, study, run):
    run(study(), FIRST)
    ((inputs, inputs_hash, reason),) = market.rows("SELECT inputs, inputs_hash, reason FROM portfolio_runs")
    assert (repeat(inputs).reason, repeat(inputs).inputs_hash) == (reason, inputs_hash)


def test_a_past_moment_is_told_as_it_was_known_then(when, market, study):
    caps(market, FIRST)
    before = study().portfolio(FIRST)
    later = when(FIRST + DAY)
    another_day(later, (500, 1, 7))
    later.put(*(bars(BTC, [300], start=START + day * DAY)[0] for day in range(20, CLOSED)))
    caps(later, FIRST + timedelta(hours=1), {"bitcoin": 1, "ether": 5, "solana": 9})
    believe(later, FIRST + timedelta(minutes=1), solana=3.0)
    assert study().portfolio(FIRST) == before
    assert study().portfolio(FIRST + DAY) != before


def test_a_day_counts_when_nine_of_ten_series_have_it():
    late, early = START, START + DAY
    assert newest_day([]) is None
    assert newest_day([early] * 9 + [late]) == early
    assert newest_day([early] * 8 + [late] * 2) == late  # two of ten are still on their way
    assert newest_day([early, early, early - 30 * DAY]) == early  # one that stopped a month ago is not waited for
