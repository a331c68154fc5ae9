"""What the indicator service reads and yields, over candles in memory that answer as the database does."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collector.indicators import service as module
from collector.indicators.compute import LOOKBACK, STANDARD, Bars, Series, compute
from collector.indicators.service import IndicatorService
from collector.records import Instrument, Interval, Kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = ("open_time", "open", "high", "low", "close", "volume")


def instrument(base):
    return Instrument(venue="okx", base=base, quote="USDT", kind=Kind.PERP, venue_symbol=f"{base}-USDT-SWAP")


BTC, ETH = instrument("BTC"), instrument("ETH")


def seconds(moment):
    return int((moment - EPOCH).total_seconds())


def moment(value):
    return EPOCH + timedelta(seconds=int(value))


class StoredCandles:
    """Candles and indicators of some series, as a `CandleReader`; counts what is read."""

    def __init__(self):
        self.bars = {}
        self.obv = {}
        self.windows = []  # (interval, ids, bars read) per call

    def put(self, item, interval, count, *, seed=1, start=START, gone=()):
        rng = np.random.default_rng(seed)
        width = int(interval.width.total_seconds())
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.003, 10_000)))[:count]  # more bars go on from fewer
        times = seconds(start) + width * np.arange(count, dtype=np.int64)
        columns = (times, close, close * 1.002, close * 0.997, close, rng.random(10_000)[:count] * 50)
        kept = np.setdiff1d(np.arange(count), gone)
        self.bars[item.id, interval] = Bars(width, *(column[kept] for column in columns))
        return self.bars[item.id, interval]

    def store(self, block):
        for time, value in zip(block.open_times, block.columns["obv"], strict=True):
            self.obv.setdefault((block.instrument.id, block.interval), {})[time] = None if np.isnan(value) else value

    def bar_spans(self, ids, interval):
        found = {name: self.bars.get((name, interval)) for name in ids}
        return {name: (moment(bars.open_time[0]), moment(bars.open_time[-1])) for name, bars in found.items() if bars}

    def obv_anchors(self, requests, interval):
        result = {}
        for name, before in requests.items():
            times = [time for time in self.obv.get((name, interval), {}) if time < before]
            if times:
                result[name] = (max(times), self.obv[name, interval][max(times)])
        return result

    def load_candle_windows(self, requests, interval):
        result = {}
        for name, (since, until) in requests.items():
            bars = self.bars.get((name, interval))
            if bars is not None:
                inside = (bars.open_time >= seconds(since)) & (bars.open_time < seconds(until))
                result[name] = {column: getattr(bars, column)[inside] for column in NAMES}
        self.windows.append((interval, set(requests), sum(len(window["close"]) for window in result.values())))
        return result


@pytest.fixture
def candles():
    return StoredCandles()


def span(first, last=None):
    return first, last or first


def run(candles, touched, **settings):
    blocks = [block for part in IndicatorService(candles, **settings).blocks(touched) for block in part]
    for block in blocks:
        candles.store(block)
    return blocks


def assert_equals_batch(blocks, bars, first=0):
    """All blocks together must hold what one computation over the whole history gives from bar `first` on."""
    whole = compute(Series(bars))
    assert [time for block in blocks for time in block.open_times] == [moment(t) for t in bars.open_time[first:]]
    assert [flag for block in blocks for flag in block.warm] == whole.warm[first:].tolist()
    for name in STANDARD:
        joined = np.concatenate([block.columns[name] for block in blocks])
        np.testing.assert_allclose(joined, whole.columns[name][first:], rtol=1e-9, atol=1e-7, err_msg=name)


def test_a_new_series_is_computed_from_its_first_bar(candles):
    bars = candles.put(BTC, Interval.H1, 300)
    (block,) = run(candles, {(BTC, Interval.H1): [span(START)]})
    assert (block.instrument, block.interval) == (BTC, Interval.H1)
    assert set(block.columns) == set(STANDARD)
    assert_equals_batch([block], bars)


def test_only_bars_from_the_first_touched_one_on_come_back(candles):
    candles.put(BTC, Interval.H1, 4000)
    run(candles, {(BTC, Interval.H1): [span(START)]})
    bars = candles.put(BTC, Interval.H1, 4003)
    candles.windows.clear()
    blocks = run(candles, {(BTC, Interval.H1): [span(START + 4000 * Interval.H1.width)]})
    assert_equals_batch(blocks, bars, first=4000)
    assert candles.windows == [(Interval.H1, {BTC.id}, LOOKBACK + 3)]


def test_untouched_series_and_intervals_without_indicators_are_not_read(candles):
    for item in (BTC, ETH):
        for interval in (Interval.H1, Interval.M5):
            candles.put(item, interval, 250)
    touched = {(BTC, Interval.H1): [span(START)], (BTC, Interval.M5): [span(START)]}
    blocks = run(candles, touched, intervals=[Interval.H1])
    assert [(block.instrument, block.interval) for block in blocks] == [(BTC, Interval.H1)]
    assert {(interval, *ids) for interval, ids, _ in candles.windows} <= {(Interval.H1, BTC.id), (Interval.D1, BTC.id)}


def test_a_touched_series_without_stored_candles_is_passed_over(candles):
    assert run(candles, {(BTC, Interval.H1): [span(START)]}) == []


def test_bars_that_a_crash_left_without_indicators_are_computed_with_the_next_ones(candles):
    candles.put(BTC, Interval.H1, 300)
    run(candles, {(BTC, Interval.H1): [span(START)]})
    bars = candles.put(BTC, Interval.H1, 320)  # 15 bars stored without indicators, then 5 more
    blocks = run(candles, {(BTC, Interval.H1): [span(START + 315 * Interval.H1.width)]})
    assert_equals_batch(blocks, bars, first=300)


def test_indicators_switched_on_later_begin_with_the_first_stored_bar(candles):
    bars = candles.put(BTC, Interval.H1, 300)
    blocks = run(candles, {(BTC, Interval.H1): [span(START + 299 * Interval.H1.width)]})
    assert_equals_batch(blocks, bars)


def test_a_healed_hole_changes_everything_after_it(candles):
    candles.put(BTC, Interval.H1, 400, gone=[250])
    run(candles, {(BTC, Interval.H1): [span(START)]})
    bars = candles.put(BTC, Interval.H1, 400)
    blocks = run(candles, {(BTC, Interval.H1): [span(START + 250 * Interval.H1.width)]})
    assert_equals_batch(blocks, bars, first=250)


@pytest.mark.parametrize("gone", [(), (5000,), tuple(range(5000, 9500))])
def test_a_long_history_is_worked_off_in_blocks_that_join_without_a_seam(candles, gone, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BARS", 4000)
    bars = candles.put(BTC, Interval.M1, 10_000, gone=gone)
    blocks = run(candles, {(BTC, Interval.M1): [span(START, moment(bars.open_time[-1]))]})
    assert_equals_batch([block for block in blocks if block.open_times], bars)
    assert max(count for *_, count in candles.windows) <= 4000 + LOOKBACK


@pytest.mark.parametrize("block_bars", [4000, 20_000])
def test_behind_the_next_hole_nothing_is_computed_again(candles, monkeypatch, block_bars):
    monkeypatch.setattr(module, "BLOCK_BARS", block_bars)
    m1 = Interval.M1.width
    candles.put(BTC, Interval.M1, 10_000, gone=range(1000, 6000))
    run(candles, {(BTC, Interval.M1): [span(START, START + 9_999 * m1)]})
    bars = candles.put(BTC, Interval.M1, 10_000, gone=range(1500, 6000))  # the older part of the hole came
    blocks = run(candles, {(BTC, Interval.M1): [span(START + 1000 * m1, START + 1499 * m1)]})
    assert [time for block in blocks for time in block.open_times] == [START + n * m1 for n in range(1000, 1500)]
    assert_equals_batch(blocks, Bars(60, *(getattr(bars, name)[:1500] for name in NAMES)), first=1000)


@pytest.mark.parametrize("block_bars", [4000, 20_000])
def test_the_last_part_of_a_hole_changes_everything_after_it(candles, monkeypatch, block_bars):
    monkeypatch.setattr(module, "BLOCK_BARS", block_bars)
    m1 = Interval.M1.width
    candles.put(BTC, Interval.M1, 10_000, gone=range(1000, 1500))
    run(candles, {(BTC, Interval.M1): [span(START, START + 9_999 * m1)]})
    bars = candles.put(BTC, Interval.M1, 10_000)
    blocks = run(candles, {(BTC, Interval.M1): [span(START + 1000 * m1, START + 1499 * m1)]})
    assert_equals_batch(blocks, bars, first=1000)


def test_the_day_after_a_healed_one_gets_its_pivot_levels_although_a_hole_lies_between(candles, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BARS", 3000)  # START is a midnight: bar 1440 begins the second day
    m1 = Interval.M1.width
    candles.put(BTC, Interval.M1, 10_000, gone=[*range(500, 600), 1500, *range(3000, 4500)])
    run(candles, {(BTC, Interval.M1): [span(START, START + 9_999 * m1)]})
    bars = candles.put(BTC, Interval.M1, 10_000, gone=[1500, *range(3000, 4500)])
    blocks = run(candles, {(BTC, Interval.M1): [span(START + 500 * m1, START + 599 * m1)]})
    levels = {
        time: value for block in blocks for time, value in zip(block.open_times, block.columns["pivot"], strict=True)
    }
    whole = compute(Series(bars)).columns["pivot"]
    assert np.isfinite(whole[2000])
    assert levels[START + 2001 * m1] == whole[2000]  # bar 1500 is missing
    assert START + 4500 * m1 not in levels


def test_far_spans_of_a_series_are_computed_one_after_the_other(candles):
    m1 = Interval.M1.width
    candles.put(BTC, Interval.M1, 9_999)
    run(candles, {(BTC, Interval.M1): [span(START, START + 9_998 * m1)]})
    candles.windows.clear()
    bars = candles.put(BTC, Interval.M1, 10_000)
    newest = START + 9_999 * m1
    blocks = run(candles, {(BTC, Interval.M1): [span(newest), span(START + 9_990 * m1), span(newest)]})
    assert_equals_batch(blocks, bars, first=9_990)
    assert [count for *_, count in candles.windows] == [LOOKBACK + 10]


def test_many_series_are_loaded_in_bounded_chunks(candles, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BARS", 1000)
    items = [instrument(f"COIN{number}") for number in range(10)]
    for number, item in enumerate(items):
        candles.put(item, Interval.H1, 300, seed=number)
    blocks = run(candles, {(item, Interval.H1): [span(START)] for item in items})
    assert [block.instrument for block in blocks] == items
    for block in blocks:
        assert_equals_batch([block], candles.bars[block.instrument.id, Interval.H1])
    sizes = [count for interval, _, count in candles.windows if interval is Interval.H1]
    assert sizes == [900, 900, 900, 300]


def test_the_day_before_the_first_bars_comes_from_a_daily_candle(candles):
    candles.put(BTC, Interval.H1, 30, start=START + timedelta(hours=12))
    daily = candles.put(BTC, Interval.D1, 3, start=START - timedelta(days=1), seed=2)
    (block,) = run(candles, {(BTC, Interval.H1): [span(START + timedelta(hours=12))]})
    for hour, day in (
        (0, 0),
        (12, 1),
    ):  # Monday from Sunday's bar, Tuesday from Monday's, whose hours are not all there
        high, low, close = (getattr(daily, name)[day] for name in ("high", "low", "close"))
        assert block.columns["pivot"][hour] == pytest.approx((high + low + close) / 3, rel=1e-12)


def test_no_daily_candle_is_read_when_the_hours_are_all_there(candles):
    candles.put(BTC, Interval.H1, 100)
    run(candles, {(BTC, Interval.H1): [span(START)]})
    candles.windows.clear()
    run(candles, {(BTC, Interval.H1): [span(START + timedelta(hours=90))]})
    assert [interval for interval, *_ in candles.windows] == [Interval.H1]


def test_extra_functions_come_with_the_block(candles):
    bars = candles.put(BTC, Interval.H1, 50)
    (block,) = run(candles, {(BTC, Interval.H1): [span(START)]}, extra=[("MOM", {"timeperiod": 2.0})])
    np.testing.assert_allclose(block.extra["mom_2"][2:], bars.close[2:] - bars.close[:-2])
    assert np.isnan(block.extra["mom_2"][:2]).all()


def test_a_wrong_extra_function_stops_the_start():
    with pytest.raises(ValueError, match="did you mean CCI"):
        IndicatorService(StoredCandles(), extra=[("CCX", {})])


def test_too_little_history_is_refused():
    with pytest.raises(ValueError, match="too few"):
        IndicatorService(StoredCandles(), history=500)


def test_the_swing_look_back_reaches_the_computation(candles):
    bars = candles.put(BTC, Interval.H1, 50)
    (block,) = run(candles, {(BTC, Interval.H1): [span(START)]}, swing_lookback=10)
    assert block.columns["swing_high"][20] == bars.high[11:21].max()
