"""Pivot points and retracements: worked by hand, and against a plain search over every window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.indicators.levels import PIVOT_COLUMNS, SWING_COLUMNS, needs_daily, pivot_levels, swing_levels

DAY = 86_400
MONDAY = 1_767_571_200  # 2026-01-05 00:00 UTC
SIX_HOURS = 21_600
NONE = float("nan")

# A day with high 110, low 90, close 100: P = 100, R1 = 2 * 100 - 90, R2 = 100 + 20, R3 = 110 + 2 * 10, and so on.
CENTRED = [100, 110, 120, 130, 90, 80, 70]
# High 12, low 6, close 9: P = 9; R1 = 12, R2 = 15, R3 = 12 + 2 * 3 = 18; S1 = 6, S2 = 3, S3 = 6 - 2 * 3 = 0.
SMALL = [9, 12, 15, 18, 6, 3, 0]


def levels(times, high, low, close, width, **more):
    arrays = (np.asarray(values, float) for values in (high, low, close))
    return pivot_levels(np.asarray(times, np.int64), *arrays, width=width, **more)


def test_a_day_of_bars_gives_the_levels_of_the_next_day():
    times = MONDAY + SIX_HOURS * np.arange(6)
    result = levels(times, [101, 110, 104, 102, 1, 2], [99, 95, 90, 98, 1, 2], [100, 99, 98, 100, 1, 2], SIX_HOURS)
    assert np.isnan(result[:, :4]).all()
    assert result[:, 4].tolist() == CENTRED
    assert result[:, 5].tolist() == CENTRED


def test_levels_need_every_bar_of_the_day_before():
    times = MONDAY + SIX_HOURS * np.array([0, 1, 3, 4, 5])
    ones = np.ones(5)
    assert np.isnan(levels(times, ones, ones, ones, SIX_HOURS)).all()


def test_a_day_that_begins_inside_the_series_is_not_whole():
    times = MONDAY + SIX_HOURS * np.arange(1, 6)
    ones = np.ones(5)
    assert np.isnan(levels(times, ones, ones, ones, SIX_HOURS)).all()


def test_a_daily_bar_stands_in_for_a_day_that_is_not_whole():
    times = MONDAY + SIX_HOURS * np.array([1, 2, 3, 4, 5])
    daily = tuple(np.array(v) for v in ([MONDAY - DAY, MONDAY], [12.0, 110], [6.0, 90], [9.0, 100]))
    ones = np.ones(5)
    result = levels(times, ones, ones, ones, SIX_HOURS, daily=[daily])
    assert result[:, 0].tolist() == SMALL
    assert result[:, 3].tolist() == CENTRED


def test_own_bars_go_before_the_daily_bar():
    times = MONDAY + SIX_HOURS * np.arange(5)
    daily = tuple(np.array(v) for v in ([MONDAY], [12.0], [6.0], [9.0]))
    result = levels(times, [110] * 5, [90] * 5, [100] * 5, SIX_HOURS, daily=[daily])
    assert result[:, 4].tolist() == CENTRED


def test_a_whole_day_two_days_ago_is_not_yesterday():
    times = MONDAY + SIX_HOURS * np.array([0, 1, 2, 3, 8, 9])
    assert np.isnan(levels(times, [2] * 6, [1] * 6, [1] * 6, SIX_HOURS)).all()


@pytest.mark.parametrize("width", [DAY, 7 * DAY])
def test_bars_of_a_day_or_longer_take_the_bar_before(width):
    times = MONDAY + width * np.array([0, 1, 3])
    result = levels(times, [110, 12, 5], [90, 6, 4], [100, 9, 4], width)
    assert np.isnan(result[:, 0]).all()
    assert result[:, 1].tolist() == CENTRED
    assert np.isnan(result[:, 2]).all()  # the bar before is missing


@pytest.mark.parametrize("width", [SIX_HOURS, DAY])
def test_series_laid_end_to_end_do_not_see_each_other(width):
    times = MONDAY + width * np.concatenate((np.arange(8), np.arange(8, 16)))
    result = levels(times, [110] * 16, [90] * 16, [100] * 16, width, starts=[0, 8], daily=[None, None])
    alone = levels(times[8:], [110] * 8, [90] * 8, [100] * 8, width)
    np.testing.assert_array_equal(result[:, 8:], alone)
    assert np.isnan(result[0, 8])


def test_a_daily_bar_is_asked_for_only_where_a_day_is_not_whole():
    times = MONDAY + SIX_HOURS * np.arange(12)
    assert needs_daily(times, SIX_HOURS, MONDAY)  # nothing is known about Sunday
    assert not needs_daily(times, SIX_HOURS, MONDAY + DAY)
    assert needs_daily(np.delete(times, 6), SIX_HOURS, MONDAY + DAY)
    assert not needs_daily(np.delete(times, 1), SIX_HOURS, MONDAY + 2 * DAY)  # Monday is not asked for any more
    assert not needs_daily(times, DAY, MONDAY)


def swings(high, low, lookback, stretches=None):
    high, low = np.asarray(high, float), np.asarray(low, float)
    return swing_levels(high, low, stretches or [(0, len(high))], lookback)


def test_after_a_later_high_the_levels_lie_below_it():
    result = swings([10, 12, 20, 15], [0, 5, 6, 7], 4)[:, 3]
    # From 0 up to 20: 20 - 0.236 * 20, 20 - 0.382 * 20, half, ...
    np.testing.assert_allclose(result, [20, 0, 15.28, 12.36, 10, 7.64, 4.28], rtol=1e-12)


def test_after_a_later_low_the_levels_lie_above_it():
    result = swings([20, 12, 10, 9], [15, 5, 0, 1], 4)[:, 3]
    np.testing.assert_allclose(result, [20, 0, 4.72, 7.64, 10, 12.36, 15.72], rtol=1e-12)


def test_of_equal_highs_the_newest_ends_the_swing():
    result = swings([20, 12, 20], [15, 0, 10], 3)[:, 2]
    assert result[SWING_COLUMNS.index("fib_236")] == pytest.approx(15.28)


def test_a_bar_with_both_extremes_counts_as_a_rise():
    result = swings([10, 20, 11], [9, 0, 8], 3)[:, 2]
    assert result[SWING_COLUMNS.index("fib_236")] == pytest.approx(15.28)


def test_no_levels_before_the_look_back_is_full_in_each_stretch():
    result = swings(range(1, 13), range(12), 4, stretches=[(0, 5), (5, 7), (7, 12)])
    assert np.flatnonzero(~np.isnan(result[0])).tolist() == [3, 4, 10, 11]
    assert np.isnan(swings([1, 2], [0, 1], 4)).all()


def searched(high, low, lookback, i):
    """Find the swing by looking at every bar, newest first."""
    window = range(i, i - lookback, -1)
    top, bottom = max(high[j] for j in window), min(low[j] for j in window)
    newest_top = next(j for j in window if high[j] == top)
    newest_bottom = next(j for j in window if low[j] == bottom)
    end, sign = (top, -1) if newest_top >= newest_bottom else (bottom, 1)
    return [top, bottom, *(end + sign * ratio * (top - bottom) for ratio in (0.236, 0.382, 0.5, 0.618, 0.786))]


@settings(max_examples=80, deadline=None)
@given(
    bars=st.lists(st.tuples(st.integers(5, 9), st.integers(1, 5)), min_size=5, max_size=60),
    lookback=st.sampled_from([5, 7, 13]),
)
def test_the_swing_is_the_one_a_plain_search_finds_with_many_equal_extremes(bars, lookback):
    high, low = [bar[0] for bar in bars], [bar[1] for bar in bars]
    result = swings(high, low, lookback)
    for i in range(lookback - 1, len(bars)):
        np.testing.assert_allclose(result[:, i], searched(high, low, lookback, i), rtol=1e-12)


def test_names_and_rows_agree():
    assert (len(PIVOT_COLUMNS), len(SWING_COLUMNS)) == (7, 7)
