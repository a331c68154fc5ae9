"""Volume by price: worked by hand, against a slow calculation in fractions, and odd bars."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.analytics.volume_profile import volume_profile

NAN = float("nan")


def profile(*bars, rows, area=0.7):
    """Return what the profile of bars (low, high, volume) says of one series."""
    low, high, volume = (np.array(part, dtype=float)[:, None] for part in zip(*bars, strict=True))
    return tuple(float(value[0]) for value in volume_profile(high, low, volume, rows=rows, area=area))


def test_a_profile_by_hand():
    # Rows 0-1 .. 3-4. 8 over 0-4 gives 2 2 2 2; 6 over 1-3 gives 0 3 3 0; 4 in 1.5-2 all to row 1: 2 9 5 2 of 18.
    # 70 % are 12.6: row 1 holds 9, then the side with more is above: 14.
    poc, low, high, bars = profile((0, 4, 8), (1, 3, 6), (1.5, 2, 4), rows=4)
    assert (poc, low, high, bars) == (1.5, 1, 3, 3)


def test_a_bar_is_divided_by_the_part_of_it_in_each_row():
    # Rows of 10. A bar over 5-25 puts a quarter, a half and a quarter; a small one in the last row sets the span.
    poc, low, high, _ = profile((5, 25, 8), (0, 0, 0), (40, 40, 1), rows=4, area=0.4)
    assert (poc, low, high) == (15, 10, 20)
    _, low, high, _ = profile((5, 25, 8), (0, 0, 0), (40, 40, 1), rows=4, area=0.6)
    assert (low, high) == (10, 30)  # equal on both sides: upwards


def test_of_equal_rows_the_one_nearest_to_the_middle_is_the_point_of_control():
    poc, _, _, _ = profile((0, 0, 5), (2.5, 2.5, 5), (5, 5, 5), rows=5)
    assert poc == 2.5


def test_the_whole_area_is_the_whole_span():
    _, low, high, _ = profile((10, 12, 1), (30, 31, 1), rows=7, area=1.0)
    assert (low, high) == (10, 31)


def test_a_price_that_never_moves_is_all_there_is():
    assert profile((5, 5, 3), (5, 5, 1), rows=50) == (5, 5, 5, 2)


def test_without_volume_nothing_was_traded_anywhere():
    assert all(math.isnan(value) for value in profile((1, 2, 0), (2, 3, 0), rows=5)[:3])
    assert math.isnan(profile((NAN, NAN, NAN), rows=5)[0])


def test_a_bar_whose_volume_is_not_told_does_not_count_and_does_not_widen_the_span():
    assert profile((0, 4, 8), (1, 3, 6), (1.5, 2, 4), (-9, 90, NAN), rows=4) == (1.5, 1, 3, 3)


def test_series_beside_each_other_do_not_mix():
    low = np.array([[0, 5.0], [1, 5], [1.5, NAN]])
    high = np.array([[4, 5.0], [3, 5], [2, NAN]])
    volume = np.array([[8, 1.0], [6, 1], [4, NAN]])
    poc, start, end, bars = volume_profile(high, low, volume, rows=4)
    assert [list(part) for part in (poc, start, end, bars)] == [[1.5, 5], [1, 5], [3, 5], [3, 2]]


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="rows 0"):
        profile((1, 2, 3), rows=0)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=12),
    st.integers(1, 9),
)
def test_the_area_holds_its_share_and_would_not_without_its_last_row(bars, rows):
    bars = [(min(a, b), max(a, b), volume) for a, b, volume in bars]
    poc, start, end, _ = profile(*bars, rows=rows)
    bottom, top = min(bar[0] for bar in bars), max(bar[1] for bar in bars)
    if not any(bar[2] for bar in bars):
        assert math.isnan(poc)
        return
    if top == bottom:
        return
    height = Fraction(top - bottom, rows)
    by_row = [
        sum(_part(bar, bottom + row * height, height, last=row == rows - 1) for bar in bars) for row in range(rows)
    ]
    first, after = (round(float((Fraction(edge) - bottom) / height)) for edge in (start, end))
    centre = math.floor((poc - bottom) / float(height))
    assert by_row[centre] == max(by_row)
    held, wanted = sum(by_row[first:after]), Fraction(7, 10) * sum(by_row)
    assert held >= wanted
    assert after - first == 1 or held - max(by_row[first], by_row[after - 1]) < wanted


def _part(bar, start, height, *, last):
    low, high, volume = bar
    if low == high:
        return Fraction(volume) if start <= low < start + height or (last and low == start + height) else Fraction(0)
    return Fraction(volume) * max(min(high, start + height) - max(low, start), Fraction(0)) / (high - low)
