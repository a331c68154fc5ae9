"""Standard indicators against formulas written out here in plain Python, and against published examples."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from collector.indicators.compute import STANDARD, Anchor, Bars, Series, compute, compute_many
from collector.indicators.stretch import FIRST_BAR

HOUR = 3600
START = 1_767_225_600  # 2026-01-01 00:00 UTC, a Thursday


def make_bars(close, *, high=None, low=None, volume=None, start=START, width=HOUR):
    close = np.asarray(close, float)
    return Bars(
        width,
        start + width * np.arange(len(close), dtype=np.int64),
        np.concatenate((close[:1], close[:-1])),
        close * 1.01 if high is None else np.asarray(high, float),
        close * 0.99 if low is None else np.asarray(low, float),
        close,
        np.full(len(close), 10.0) if volume is None else np.asarray(volume, float),
    )


def walk(count, seed=1, start_price=100.0):
    """Return a random walk as bars, in plain Python."""
    rng = random.Random(seed)
    close, high, low, volume = [], [], [], []
    price = start_price
    for _ in range(count):
        opened, price = price, price * math.exp(rng.gauss(0, 0.004))
        close.append(price)
        high.append(max(opened, price) * (1 + rng.random() * 0.002))
        low.append(min(opened, price) * (1 - rng.random() * 0.002))
        volume.append(rng.random() * 1000)
    return make_bars(close, high=high, low=low, volume=volume)


def without(bars, *gone):
    keep = np.setdiff1d(np.arange(len(bars)), gone)
    return Bars(bars.width, *(getattr(bars, name)[keep] for name in ("open_time", *PRICES)))


PRICES = ("open", "high", "low", "close", "volume")
BARS = walk(320)
CLOSE, HIGH, LOW, VOLUME = (getattr(BARS, name).tolist() for name in ("close", "high", "low", "volume"))
COLUMNS = compute(Series(BARS)).columns
NONE = float("nan")


def mean(values):
    return math.fsum(values) / len(values)


def simple_mean(values, period):
    return [NONE] * (period - 1) + [mean(values[i - period + 1 : i + 1]) for i in range(period - 1, len(values))]


def exponential_mean(values, period, first=None):
    """Seeded with the mean of the `period` values that end at index `first`."""
    first = period - 1 if first is None else first
    result = [NONE] * first + [mean(values[first - period + 1 : first + 1])]
    for value in values[first + 1 :]:
        result.append(result[-1] + 2 / (period + 1) * (value - result[-1]))
    return result


def wilder_rsi(values, period=14):
    ups = [max(b - a, 0) for a, b in pairwise(values)]
    downs = [max(a - b, 0) for a, b in pairwise(values)]
    up, down = mean(ups[:period]), mean(downs[:period])
    result = [NONE] * period + [100 * up / (up + down)]
    for gain, loss in zip(ups[period:], downs[period:], strict=True):
        up, down = (up * (period - 1) + gain) / period, (down * (period - 1) + loss) / period
        result.append(100 * up / (up + down))
    return result


def true_ranges(high, low, close):
    return [max(h - low_, abs(h - c), abs(low_ - c)) for h, low_, c in zip(high[1:], low[1:], close, strict=False)]


def wilder_atr(high, low, close, period=14):
    ranges = true_ranges(high, low, close)
    result = [NONE] * period + [mean(ranges[:period])]
    for value in ranges[period:]:
        result.append((result[-1] * (period - 1) + value) / period)
    return result


def wilder_adx(high, low, close, period=14):
    ranges, plus, minus = true_ranges(high, low, close), [], []
    for i in range(1, len(high)):
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        plus.append(up if up > down and up > 0 else 0)
        minus.append(down if down > up and down > 0 else 0)
    # TA-Lib starts its running sums with period - 1 values and smooths from there.
    sums = [math.fsum(part[: period - 1]) for part in (ranges, plus, minus)]
    index = []
    for values in zip(ranges[period - 1 :], plus[period - 1 :], minus[period - 1 :], strict=True):
        sums = [old - old / period + new for old, new in zip(sums, values, strict=True)]
        plus_di, minus_di = sums[1] / sums[0], sums[2] / sums[0]
        index.append(100 * abs(plus_di - minus_di) / (plus_di + minus_di))
    result = [NONE] * (2 * period - 1) + [mean(index[:period])]
    for value in index[period:]:
        result.append((result[-1] * (period - 1) + value) / period)
    return result


def stochastic(high, low, close):
    fast = [NONE] * 13
    for i in range(13, len(close)):
        top, bottom = max(high[i - 13 : i + 1]), min(low[i - 13 : i + 1])
        fast.append(100 * (close[i] - bottom) / (top - bottom))
    k = [NONE] * 15 + [mean(fast[i - 2 : i + 1]) for i in range(15, len(close))]
    d = [NONE] * 17 + [mean(k[i - 2 : i + 1]) for i in range(17, len(close))]
    return k, d


def balance(close, volume):
    result = [volume[0]]
    for i in range(1, len(close)):
        step = volume[i] if close[i] > close[i - 1] else -volume[i] if close[i] < close[i - 1] else 0
        result.append(result[-1] + step)
    return result


def expected_columns():
    slow = exponential_mean(CLOSE, 26)
    fast = exponential_mean(CLOSE, 12, first=25)
    macd = [a - b for a, b in zip(fast, slow, strict=True)]
    signal = [NONE] * 25 + exponential_mean(macd[25:], 9)
    macd = [NONE] * 33 + macd[33:]
    middle = simple_mean(CLOSE, 20)
    spread = [NONE] * 19
    for i in range(19, len(CLOSE)):
        spread.append(2 * math.sqrt(mean([(x - middle[i]) ** 2 for x in CLOSE[i - 19 : i + 1]])))
    k, d = stochastic(HIGH, LOW, CLOSE)
    result = {f"sma_{n}": simple_mean(CLOSE, n) for n in (20, 50, 200)}
    result |= {f"ema_{n}": exponential_mean(CLOSE, n) for n in (12, 26, 50, 200)}
    return result | {
        "rsi_14": wilder_rsi(CLOSE),
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": [a - b for a, b in zip(macd, signal, strict=True)],
        "bb_upper": [a + b for a, b in zip(middle, spread, strict=True)],
        "bb_middle": middle,
        "bb_lower": [a - b for a, b in zip(middle, spread, strict=True)],
        "atr_14": wilder_atr(HIGH, LOW, CLOSE),
        "adx_14": wilder_adx(HIGH, LOW, CLOSE),
        "stoch_k": [NONE] * 17 + k[17:],  # TA-Lib gives both lines from where both exist
        "stoch_d": d,
        "obv": balance(CLOSE, VOLUME),
    }


EXPECTED = expected_columns()


def test_the_reference_covers_every_column_that_looks_back():
    assert set(EXPECTED) == set(FIRST_BAR)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_column_equals_the_formula_written_out(name):
    np.testing.assert_allclose(COLUMNS[name], EXPECTED[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_first_value_stands_exactly_where_the_warm_up_ends(name):
    known = np.flatnonzero(~np.isnan(COLUMNS[name]))
    assert known[0] == FIRST_BAR[name]
    assert len(known) == len(BARS) - FIRST_BAR[name]


def test_rsi_equals_a_published_worked_example():
    closes = [44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931]
    closes += [46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439]
    rsi = compute(Series(make_bars(closes))).columns["rsi_14"]
    assert [round(value, 2) for value in rsi[14:].tolist()] == [70.53, 66.32, 66.55, 69.41, 66.36, 57.97]


def test_every_standard_column_is_there_even_for_one_bar():
    for count in (1, 2, 14, 34):
        columns = compute(Series(walk(count))).columns
        assert set(columns) == set(STANDARD)
        assert {len(values) for values in columns.values()} == {count}


def test_a_bar_is_warm_when_every_column_has_a_value_and_not_before():
    result = compute(Series(BARS))
    complete = ~np.isnan(np.stack([result.columns[name] for name in STANDARD])).any(axis=0)
    assert result.warm.tolist() == complete.tolist()
    assert np.flatnonzero(result.warm)[0] == 199


def test_a_missing_bar_starts_every_column_again():
    holed = without(walk(520, seed=3), 250)
    result = compute(Series(holed))
    before, after = compute(Series(part(holed, 0, 250))), compute(Series(part(holed, 250, len(holed))))
    for name in (*FIRST_BAR, "swing_high", "fib_618"):
        joined = np.concatenate((before.columns[name], after.columns[name]))
        np.testing.assert_array_equal(result.columns[name], joined, err_msg=name)
    assert np.isnan(result.columns["rsi_14"][250:264]).all()
    assert not result.warm[250 : 250 + 199].any()
    assert result.warm[-1]


def part(bars, start, stop):
    return Bars(bars.width, *(getattr(bars, name)[start:stop] for name in ("open_time", *PRICES)))


def test_series_computed_together_equal_series_computed_alone():
    several = [walk(300, seed=5), without(walk(260, seed=6), 100, 101, 200), walk(3, seed=7), walk(250, seed=8)]
    for bars, together in zip(several, compute_many(map(Series, several)), strict=True):
        alone = compute(Series(bars))
        assert together.warm.tolist() == alone.warm.tolist()
        for name in STANDARD:
            np.testing.assert_array_equal(together.columns[name], alone.columns[name], err_msg=name)


@pytest.mark.parametrize("first", [0, 200])
def test_what_is_kept_of_a_series_stays_when_the_next_ones_are_computed(first):
    several = [walk(300, seed=seed) for seed in range(40)]
    kept = [found.kept(first) for found in compute_many(map(Series, several))]
    for bars, columns in zip(several, kept, strict=True):
        alone = compute(Series(bars)).columns
        for name in STANDARD:
            np.testing.assert_array_equal(columns[name], alone[name][first:], err_msg=name)


@pytest.mark.parametrize("power", [-60, -33, 50])
def test_the_size_of_the_price_changes_nothing(power):
    """Multiplying by a power of two is exact, so prices of 1e-16 or 1e17 must give exactly scaled values."""
    factor = 2.0**power
    scaled = Bars(HOUR, BARS.open_time, *(getattr(BARS, n) * factor for n in PRICES[:4]), BARS.volume)
    columns = compute(Series(scaled)).columns
    for name in STANDARD:
        unit = 1.0 if name in ("rsi_14", "adx_14", "stoch_k", "stoch_d", "obv") else factor
        np.testing.assert_allclose(columns[name], COLUMNS[name] * unit, rtol=1e-12, err_msg=name)


def test_a_price_that_never_moves_gives_what_talib_gives():
    count = 700
    flat = make_bars([5.0] * count, high=[5.0] * count, low=[5.0] * count)
    last = {name: values[-1] for name, values in compute(Series(flat)).columns.items()}
    assert [last[name] for name in ("rsi_14", "adx_14", "stoch_k", "stoch_d", "atr_14", "macd_hist")] == [0.0] * 6
    assert [last[name] for name in ("bb_upper", "bb_lower", "sma_200", "pivot_r3", "fib_618")] == [5.0] * 5
    assert last["obv"] == 10.0  # the first bar's volume


def test_bollinger_bands_close_on_a_price_that_stops_moving():
    moving = walk(3000, start_price=60_000.0).close.tolist()
    columns = compute(Series(make_bars([*moving, *[61_234.5] * 60]))).columns
    assert columns["bb_upper"][-1] == pytest.approx(61_234.5, rel=1e-12)
    assert columns["bb_lower"][-1] == pytest.approx(61_234.5, rel=1e-12)


def test_zero_volume_is_not_treated_as_missing():
    obv = compute(Series(make_bars([1, 2, 3, 2], volume=[5, 0, 7, 0]))).columns["obv"]
    assert obv.tolist() == [5, 5, 12, 12]


def test_obv_has_no_value_without_a_volume_and_starts_again_after_it():
    bars = make_bars([1, 2, 3, 2, 1, 3], volume=[NONE, 4, 7, NONE, 2, 3])
    np.testing.assert_array_equal(compute(Series(bars)).columns["obv"], [NONE, 4, 11, NONE, 2, 5])


def test_a_series_without_volumes_has_every_other_column_and_is_never_warm():
    bars = make_bars(CLOSE, high=HIGH, low=LOW, volume=[NONE] * len(CLOSE))
    result = compute(Series(bars))
    assert np.isnan(result.columns["obv"]).all()
    assert not result.warm.any()
    np.testing.assert_array_equal(result.columns["sma_200"], COLUMNS["sma_200"])


def test_obv_goes_on_from_its_anchor():
    bars = make_bars([3, 4, 3, 5], volume=[1, 2, 4, 8])  # by itself 1, 3, -1, 7
    obv = compute(Series(bars, anchor=Anchor(START + HOUR, 103.0))).columns["obv"]
    assert obv.tolist() == [101, 103, 99, 107]


def test_an_anchor_before_a_hole_does_not_move_what_comes_after():
    bars = without(make_bars([3, 4, 3, 5, 6], volume=[1, 2, 4, 8, 16]), 2)
    obv = compute(Series(bars, anchor=Anchor(START + HOUR, 103.0))).columns["obv"]
    assert obv.tolist() == [101, 103, 8, 24]


def test_an_anchor_that_is_not_among_the_bars_is_not_used():
    bars = make_bars([3, 4], volume=[1, 2])
    assert compute(Series(bars, anchor=Anchor(START - HOUR, 50.0))).columns["obv"].tolist() == [1, 3]


def test_bars_out_of_order_are_refused():
    bars = make_bars([1, 2, 3])
    times = bars.open_time[[0, 2, 1]]
    with pytest.raises(ValueError, match="ascending"):
        compute(Series(Bars(HOUR, times, *(getattr(bars, name) for name in PRICES))))


def test_series_of_different_widths_are_refused_together():
    with pytest.raises(ValueError, match="one width"):
        list(compute_many([Series(make_bars([1, 2])), Series(make_bars([1, 2], width=60))]))
