"""Signals that are never repainted, revisions where inputs were corrected, and the views that follow from them."""

from datetime import timedelta

import pytest

from collector.config import AnalyticsSettings
from collector.records import Interval
from collector.studies.signals import REREAD, SignalStudy
from tests.studies.market import BTC, ETH, SOL, START, bar, bars, settled, wave

HOUR = timedelta(hours=1)
COLUMNS = (
    "instrument, s.interval, s.name, s.bar_end, s.direction, s.state, s.strength, s.price, s.window_since, "
    "s.window_until, s.bars, s.inputs_hash, s.parameter_hash, s.version"
)


def tuned(*kinds, intervals=("1h",), **changes):
    values = {"intervals": intervals, "kinds": kinds, "ema_pairs": "3/6", "rsi_period": 5, "breakout_lookback": 5}
    return AnalyticsSettings(signals={**values, **changes})


THREE = tuned("ema_cross", "rsi", "breakout")
BREAKOUT = tuned("breakout")


@pytest.fixture
def market(when):
    """What is corrected is corrected before any moment that a test looks at."""
    return when(START)


@pytest.fixture
def run(past, findings):
    """Run a study as of the end of the bar with a number, and store what it found."""

    def at(study, bars_closed, width=HOUR):
        found = study.make(START + bars_closed * width + timedelta(minutes=1))
        return findings.store(found)

    return at


@pytest.fixture
def study(past):
    return lambda settings=THREE: SignalStudy(past, settings)


def stored(market, name="signals"):
    return market.rows(
        f"SELECT {COLUMNS} FROM {name} s JOIN instruments USING (instrument_id) ORDER BY 4, 1, 3, s.parameter_hash"
    )


def at_once(market, study, run, closed, settings=THREE):
    """Return what one run over everything stores; what was stored before is taken away."""
    market.run("TRUNCATE signals, signal_revisions, asset_views")
    run(study(settings), closed)
    return stored(market)


def hourly(item, closes, start=0):
    return bars(item, closes, start=START + start * HOUR, interval=Interval.H1)


def prices(count):
    return {
        BTC: wave(count, period=24),
        ETH: wave(count, period=34, height=4, level=50),
        SOL: wave(count, period=60, height=1, level=5, drift=0.001),
    }


def test_steps_with_restarts_store_what_one_run_over_everything_stores(market, study, run):
    market.follow({BTC: "bitcoin", ETH: "ether", SOL: "solana"})
    whole = {item: hourly(item, closes) for item, closes in prices(480).items()}
    running, done = study(), 0
    for step, closed in enumerate((30, 60, 61, 62, 90, 91, 470, 471, 480)):  # days off between 91 and 470
        market.put(*(candle for candles in whole.values() for candle in candles[done:closed]))
        if step % 3 == 0:
            running = study()
        run(running, closed)
        done = closed
    by_steps = stored(market)
    assert len(by_steps) > 100
    assert market.rows("SELECT count(*) FROM signal_revisions") == [(0,)]
    assert at_once(market, study, run, 480) == by_steps


def test_a_series_that_fell_behind_is_told_from_where_it_stopped(market, study, run):
    market.follow({BTC: "bitcoin", ETH: "ether"})
    count = 100 + REREAD + 60
    whole = {item: hourly(item, closes) for item, closes in prices(count).items()}
    running = study()
    market.put(*whole[BTC][:100], *whole[ETH][:100])
    run(running, 100)
    for closed in range(140, count + 1, 40):
        market.put(*whole[BTC][closed - 40 : closed])
        run(running, closed)
    market.put(*whole[ETH][100:])
    run(running, count)
    by_steps = stored(market)
    assert at_once(market, study, run, count) == by_steps


def test_a_run_without_a_new_bar_tells_nothing(market, study, run):
    market.follow({BTC: "bitcoin"})
    market.put(*hourly(BTC, wave(80)))
    running = study()
    assert run(running, 80)["signals"] > 0
    assert running.make(START + 81 * HOUR) == {}


def test_a_restart_without_a_new_bar_stores_nothing(market, study, run):
    market.follow({BTC: "bitcoin"})
    market.put(*hourly(BTC, wave(80)))
    run(study(), 80)
    assert run(study(), 80) == {"signals": 0, "asset_views": 0}


def test_a_bar_that_has_not_closed_by_then_says_nothing(market, study):
    """The end of a bar is its first moment: what is stored of a later one must not be seen."""
    market.follow({BTC: "bitcoin"})
    market.put(*hourly(BTC, wave(80)))
    then = START + 60 * HOUR
    found = study().make(then)
    assert max(row["bar_end"] for row in found["signals"]) <= then
    assert max(row["as_of"] for row in found["asset_views"]) <= then


FLAT = [100.0] * 15
UP = [*FLAT, 110, 110, 110]  # the 16th bar closes above the highest of the five before it


def test_a_breakout_is_told_with_its_window(market, study, run):
    market.follow({BTC: "bitcoin"})
    market.put(*hourly(BTC, UP))
    run(study(BREAKOUT), 18)
    assert market.rows(
        "SELECT name, bar_end, direction, state, strength, price, window_since, window_until, bars FROM signals"
    ) == [
        ("breakout_5", START + 16 * HOUR, 1, "breakout_up", 1.0, 110.0, START + 6 * HOUR, START + 16 * HOUR, 11),
    ]


def test_a_corrected_bar_leaves_the_signal_as_it_was_given_and_adds_a_revision(market, study, run):
    market.follow({BTC: "bitcoin"})
    market.put(*hourly(BTC, UP))
    running = study(BREAKOUT)
    run(running, 18)
    given = stored(market)
    market.put(bar(BTC, START + 15 * HOUR, 105, open=100, high=105, interval=Interval.H1))
    market.put(*hourly(BTC, [110], start=18))
    assert run(running, 19)["signal_revisions"] == 1
    kept = [row for row in stored(market) if row[3] == START + 16 * HOUR]
    assert kept == given
    assert market.rows(
        "SELECT bar_end, revision, differs, cause, direction, state, price FROM signal_revisions ORDER BY bar_end"
    ) == [(START + 16 * HOUR, 1, ["price"], "inputs", 1, "breakout_up", 105.0)]


def test_a_signal_whose_cause_was_a_wrong_print_is_told_to_be_gone_and_once(market, study, run):
    market.follow({BTC: "bitcoin"})
    market.put(*hourly(BTC, [*FLAT, 110, 100, 100]))
    run(study(BREAKOUT), 18)
    market.put(bar(BTC, START + 15 * HOUR, 100, high=100, interval=Interval.H1))
    market.put(bar(BTC, START + 16 * HOUR, 100, high=100, interval=Interval.H1))
    for closed in (19, 20):
        market.put(*hourly(BTC, [100], start=closed - 1))
        run(study(BREAKOUT), closed)
    told = market.rows("SELECT bar_end, revision, differs, direction, state, strength FROM signal_revisions")
    assert told == [(START + 16 * HOUR, 1, ["gone"], None, None, None)]
    assert market.rows("SELECT direction FROM signals WHERE bar_end = :at", at=START + 16 * HOUR) == [(1,)]


def test_a_signal_that_comes_back_is_a_second_revision(market, study, run):
    market.follow({BTC: "bitcoin"})
    market.put(*hourly(BTC, [*FLAT, 110, 110]))
    run(study(BREAKOUT), 17)
    for closed, close in ((18, 100), (19, 110)):
        changed = {"open": 100, "high": close, "interval": Interval.H1}
        market.put(bar(BTC, START + 15 * HOUR, close, **changed), bar(BTC, START + 16 * HOUR, close, **changed))
        market.put(*hourly(BTC, [close], start=closed - 1))
        run(study(BREAKOUT), closed)
    told = market.rows(
        "SELECT revision, differs, direction FROM signal_revisions WHERE bar_end = :at ORDER BY 1",
        at=START + 16 * HOUR,
    )
    assert told == [(1, ["gone"], None), (2, ["back"], 1)]


def test_older_history_that_is_healed_takes_nothing_back_and_revises_nothing(market, study, run):
    market.follow({BTC: "bitcoin", ETH: "ether"})
    whole = {item: hourly(item, closes) for item, closes in prices(160).items()}
    market.put(*whole[BTC][60:150], *whole[ETH][:70], *whole[ETH][75:150])  # a late start, and a hole
    running = study()
    run(running, 150)
    given = stored(market)
    market.put(*whole[BTC][:60], *whole[ETH][70:75], *whole[BTC][150:], *whole[ETH][150:])
    run(running, 160)
    assert set(given) <= set(stored(market))
    assert market.rows("SELECT count(*) FROM signal_revisions") == [(0,)]
    assert set(stored(market)) <= set(at_once(market, study, run, 160))


def test_a_past_moment_is_told_as_it_was_known_then(when, past, study):
    """Later bars and later corrections change nothing of what a moment in the past says."""
    when(START).follow({BTC: "bitcoin", ETH: "ether"})
    then = START + 100 * HOUR
    for item, closes in prices(100).items():
        if item is not SOL:
            when(then).put(*hourly(item, closes))
    before = study().now(then)
    assert before.signals
    assert before.views
    when(then + HOUR).put(*hourly(BTC, [300, 1, 300], start=100))
    for hour in (90, 95, 99):
        when(then + HOUR).put(bar(BTC, START + hour * HOUR, 500, interval=Interval.H1))
    after = study().now(then)
    assert (after.signals, after.states, after.views) == (before.signals, before.states, before.views)
    assert study().now(then + HOUR).states != before.states


def test_views_are_as_of_the_newest_bar_of_any_interval(market, study, run):
    market.follow({BTC: "bitcoin", ETH: "ether"})
    settings = tuned("breakout", intervals=("1h", "1d"))
    for item, closes in ((BTC, UP), (ETH, [-price + 220 for price in UP])):
        market.put(*hourly(item, closes, start=24 * 18 - 18 + 3), *bars(item, closes))
    study(settings)
    run(study(settings), 24 * 18 + 3)
    assert market.rows("SELECT asset_id, as_of, score, rank, zscore, signals FROM asset_views ORDER BY rank") == [
        ("bitcoin", START + (24 * 18 + 3) * HOUR, 1.0, 1, 1.0, 2),
        ("ether", START + (24 * 18 + 3) * HOUR, -1.0, 2, -1.0, 2),
    ]


def test_a_new_bar_of_one_interval_keeps_what_the_other_one_said(market, study, run):
    market.follow({BTC: "bitcoin"})
    settings = tuned("breakout", intervals=("1h", "1d"))
    market.put(*hourly(BTC, UP, start=24 * 18 - 18), *bars(BTC, UP))
    running = study(settings)
    run(running, 24 * 18)
    market.put(*hourly(BTC, [110], start=24 * 18))
    run(running, 24 * 18 + 1)
    assert market.rows("SELECT as_of, signals FROM asset_views ORDER BY as_of") == [
        (START + 24 * 18 * HOUR, 2),
        (START + (24 * 18 + 1) * HOUR, 2),
    ]


def test_an_instrument_of_no_known_asset_gives_signals_and_no_view(market, study, run):
    market.follow({BTC: None})
    market.put(*hourly(BTC, UP))
    assert run(study(BREAKOUT), 18) == {"signals": 1}


def test_what_is_not_followed_gives_nothing(market, study):
    market.put(*hourly(BTC, UP))
    assert study().make(START + 18 * HOUR) == {}


def test_extreme_funding_is_a_signal_and_its_correction_a_revision(market, study, run):
    """Ten usual settlements, then one ten times as high: longs are crowded, which speaks for falling prices."""
    market.follow({BTC: "bitcoin"})
    settings = tuned("funding", funding_lookback=10)
    market.put(*hourly(BTC, [100.0] * 100))
    usual = [0.0001 if place % 2 else 0.00012 for place in range(11)]
    market.put(*(settled(BTC, START + 8 * place * HOUR, rate) for place, rate in enumerate([*usual, 0.0012])))
    run(study(settings), 100)
    assert market.rows("SELECT bar_end, direction FROM signals") == [(START + 88 * HOUR, -1)]
    market.put(settled(BTC, START + 88 * HOUR, 0.0001))
    market.put(*hourly(BTC, [100.0], start=100))
    run(study(settings), 101)
    assert market.rows("SELECT bar_end, direction FROM signals") == [(START + 88 * HOUR, -1)]
    assert market.rows("SELECT bar_end, differs, cause FROM signal_revisions") == [
        (START + 88 * HOUR, ["gone"], "inputs")
    ]


def test_funding_that_was_corrected_later_changes_nothing_for_then(when, study):
    market = when(START)
    market.follow({BTC: "bitcoin"})
    settings = tuned("funding", funding_lookback=10)
    market.put(*hourly(BTC, [100.0] * 100))
    usual = [0.0001 if place % 2 else 0.00012 for place in range(11)]
    market.put(*(settled(BTC, START + 8 * place * HOUR, rate) for place, rate in enumerate([*usual, 0.0012])))
    then = START + 100 * HOUR
    before = study(settings).now(then)
    assert [row.direction for row in before.signals] == [-1]
    when(then + HOUR).put(settled(BTC, START + 88 * HOUR, 0.0001))
    assert study(settings).now(then) == before
    assert study(settings).now(then + HOUR).signals == []
