"""Batch and incremental runs give the same numbers: a window of `LOOKBACK` bars equals the whole history to 1e-9."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.indicators.compute import LOOKBACK, STANDARD, Anchor, Bars, Series, compute
from collector.indicators.extra import compute_extra, load_extra

COUNT = 6000
START = 1_767_225_600
UNITLESS = {"rsi_14", "adx_14", "stoch_k", "stoch_d"}  # 0 to 100
NAMES = ("open_time", "open", "high", "low", "close", "volume")


def random_walk(seed, width, drift=0.0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(drift, 0.003, COUNT)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1 + rng.random(COUNT) * 0.002)
    low = np.minimum(opened, close) * (1 - rng.random(COUNT) * 0.002)
    times = START + width * np.arange(COUNT, dtype=np.int64)
    return Bars(width, times, opened, high, low, close, rng.random(COUNT) * 1000)


def select(bars, which):
    return Bars(bars.width, *(getattr(bars, name)[which] for name in NAMES))


def assert_window_equals_whole(bars, cut, bars_after=30):
    """Compute bars from `cut` on from a window that begins `LOOKBACK` bars earlier, as an incremental run does."""
    whole = compute(Series(bars))
    since = int(bars.open_time[cut]) - LOOKBACK * bars.width
    first = int(np.searchsorted(bars.open_time, since))
    stop = min(cut + bars_after, len(bars))
    before = whole.columns["obv"][cut - 1]
    window = compute(
        Series(select(bars, slice(first, stop)), anchor=Anchor(int(bars.open_time[cut - 1]), float(before)))
    )
    assert window.warm[cut - first :].tolist() == whole.warm[cut:stop].tolist()
    for name in STANDARD:
        scale = 100 if name in UNITLESS else np.abs(bars.close[cut:stop])
        if name == "obv":
            scale = np.nanmax(np.abs(whole.columns["obv"]))
        expected, actual = whole.columns[name][cut:stop], window.columns[name][cut - first :]
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected), err_msg=name)
        assert np.nanmax(np.abs(actual - expected) / scale, initial=0.0) <= 1e-9, name


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.sampled_from([60, 300, 900, 3600, 14_400, 86_400]),
    cut=st.integers(LOOKBACK + 1, COUNT - 1),
)
def test_a_window_equals_the_whole_history_for_any_cut(seed, width, cut):
    assert_window_equals_whole(random_walk(seed, width), cut)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.sampled_from([60, 3600]),
    cut=st.integers(LOOKBACK + 1, COUNT - 200),
    gone=st.lists(st.integers(1, COUNT - 1), min_size=1, max_size=6),
    near=st.integers(1, 400),
)
def test_a_window_equals_the_whole_history_with_missing_bars(seed, width, cut, gone, near):
    holes = np.array([*gone, cut - near])  # at least one hole is close enough to matter
    bars = select(random_walk(seed, width), np.setdiff1d(np.arange(COUNT), holes))
    assert_window_equals_whole(bars, cut)


@pytest.mark.parametrize("drift", [-0.002, 0.002])
def test_a_price_that_fell_or_rose_by_orders_of_magnitude_leaves_no_trace_in_the_window(drift):
    assert_window_equals_whole(random_walk(4, 3600, drift), COUNT - 50)


@pytest.mark.parametrize(
    ("still", "resumed"), [(100, 5), (511, 3), (512, 3), (600, 0), (3200, 0), (3200, 5), (3200, 700)]
)
def test_a_price_that_stood_still_for_days_gives_the_same_from_a_window(still, resumed):
    walk = random_walk(11, 60)
    moving = COUNT - still - resumed
    order = np.concatenate((np.arange(moving), np.full(still, moving - 1), np.arange(moving, moving + resumed)))
    bars = select(walk, order.astype(int))
    bars = Bars(60, walk.open_time, *(getattr(bars, name).copy() for name in NAMES[1:]))
    quiet = slice(moving, moving + still)
    for name in ("open", "high", "low", "close"):
        getattr(bars, name)[quiet] = bars.close[moving - 1]
    assert_window_equals_whole(bars, COUNT - 40, bars_after=40)


def test_every_extra_function_that_is_accepted_gives_the_same_from_a_window():
    extra = load_extra([(name, {}) for name in EXTRA_SAMPLE])
    bars = random_walk(21, 3600)
    whole = compute_extra(bars, extra)
    window = compute_extra(select(bars, slice(COUNT - LOOKBACK - 10, COUNT)), extra)
    for name, values in whole.items():
        scale = np.nanmax(np.abs(values[-500:])) or 1.0
        assert np.nanmax(np.abs(window[name][-10:] - values[-10:]) / scale, initial=0.0) <= 1e-9, name


# One or two of each way to look back: sums, Wilder, chains of averages, cycles, flips, volumes, ranks.
EXTRA_SAMPLE = ("CCI", "ULTOSC", "ADXR", "T3", "TEMA", "KAMA", "MAMA", "HT_SINE", "SAR", "SUPERTREND", "MFI", "ADOSC")
EXTRA_SAMPLE += ("TRIX", "STOCHRSI", "LINEARREG_SLOPE", "CORREL", "PERCENTRANK", "CDLENGULFING", "AROON", "KDJ", "HA")
