"""Price levels: classic pivot points of the day before, and Fibonacci retracements of the last swing; pure numpy.

Pivot points (the floor traders' formulas; H, L, C of the previous UTC day, for weekly bars of the previous week):
P = (H + L + C) / 3; R1 = 2P - L; S1 = 2P - H; R2 = P + (H - L); S2 = P - (H - L); R3 = H + 2(P - L); S3 = L - 2(H - P).

Retracements: over the last `lookback` bars, the newest included, the swing runs between the highest high and the lowest
low. The one that came later is its end: after a later high the levels lie below it, `high - f * (high - low)`; after a
later low they lie above it, `low + f * (high - low)`. Of equal extremes the newest counts. When one bar holds both, the
swing counts as a rise. f is 0.236, 0.382, 0.5, 0.618, 0.786.
"""

from collections.abc import Sequence
from inspect import unwrap

import numpy as np
import talib
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DayPrices = tuple[NDArray[np.int64], Floats, Floats, Floats]  # open time in seconds, high, low, close

Stretch = tuple[int, int]  # bars [start, stop) without a hole between them

DAY = 86_400  # seconds
SWING_LOOKBACK = 120  # bars

PIVOT_COLUMNS = ("pivot", "pivot_r1", "pivot_r2", "pivot_r3", "pivot_s1", "pivot_s2", "pivot_s3")
SWING_COLUMNS = ("swing_high", "swing_low", "fib_236", "fib_382", "fib_500", "fib_618", "fib_786")

_RATIOS = np.array([[0.236], [0.382], [0.5], [0.618], [0.786]])
_MAX, _MIN, _AROONOSC = unwrap(talib.MAX), unwrap(talib.MIN), unwrap(talib.AROONOSC)


def pivot_levels(
    open_time: NDArray[np.int64],
    high: Floats,
    low: Floats,
    close: Floats,
    *,
    width: int,
    starts: Sequence[int] = (0,),
    daily: Sequence[DayPrices | None] = (None,),
    out: Floats | None = None,
) -> Floats:
    """Return one row per name of `PIVOT_COLUMNS` for bars of `width` seconds, in `out` when it is given.

    Several series may be laid end to end; `starts` are the indexes of their first bars, `daily` their 1d bars.
    Bars shorter than a day take the previous UTC day from themselves when every bar of it is there, otherwise from
    `daily`, otherwise the value is NaN. Bars of a day or longer take the bar before, NaN when that one is missing.
    """
    levels = np.empty((len(PIVOT_COLUMNS), len(high))) if out is None else out
    if width >= DAY:
        levels[:] = _classic(*_previous_bar(open_time, high, low, close, width=width, starts=starts))
        return levels
    first, whole = _days(open_time, width, starts)
    prices = np.full((3, len(first)), np.nan)
    prices[0, 1:] = np.maximum.reduceat(high, first)[:-1]
    prices[1, 1:] = np.minimum.reduceat(low, first)[:-1]
    prices[2, 1:] = close[first[1:] - 1]
    prices[:, ~whole] = np.nan
    if any(item is not None for item in daily):
        _fill_from_daily(prices, open_time[first] // DAY, np.searchsorted(starts, first, side="right") - 1, daily)
    bars_of_day = np.diff(first, append=len(open_time))
    for row, by_day in zip(levels, _classic(*prices), strict=True):
        row[:] = np.repeat(by_day, bars_of_day)
    return levels


def needs_daily(open_time: NDArray[np.int64], width: int, since: int) -> bool:
    """Return whether a bar of one series at or after `since` (seconds) has a day before it that is not whole."""
    if width >= DAY or not len(open_time):
        return False
    first, whole = _days(open_time, width, (0,))
    return not bool(whole[open_time[first] // DAY >= since // DAY].all())


def swing_levels(
    high: Floats,
    low: Floats,
    stretches: Sequence[Stretch],
    lookback: int = SWING_LOOKBACK,
    *,
    out: Floats | None = None,
) -> Floats:
    """Return one row per name of `SWING_COLUMNS`, in `out` when it is given.

    The values are NaN in the first `lookback` - 1 bars of each stretch.
    """
    levels = np.empty((len(SWING_COLUMNS), len(high))) if out is None else out
    levels[0] = top = _MAX(high, lookback)
    levels[1] = bottom = _MIN(low, lookback)
    # Aroon counts bars since each extreme over period + 1 bars, the newest of equals first: its sign is the direction.
    rising = _AROONOSC(high, low, lookback - 1) >= 0
    end = np.where(rising, top, bottom)
    np.multiply(_RATIOS, np.where(rising, bottom, top) - end, out=levels[2:])
    levels[2:] += end
    for start, stop in stretches:
        levels[:, start : min(start + lookback - 1, stop)] = np.nan
    return levels


def _days(
    open_time: NDArray[np.int64], width: int, starts: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the index of each series' first bar of each UTC day, and whether the day before has every bar."""
    days = open_time // DAY
    opens = np.ones(len(days), dtype=np.bool_)
    np.not_equal(days[1:], days[:-1], out=opens[1:])
    opens[list(starts)] = True
    first = np.flatnonzero(opens)
    whole = np.zeros(len(first), dtype=np.bool_)
    whole[1:] = (np.diff(first) == DAY // width) & (np.diff(days[first]) == 1)
    whole[np.searchsorted(first, starts)] = False
    return first, whole


def _previous_bar(
    open_time: NDArray[np.int64], high: Floats, low: Floats, close: Floats, *, width: int, starts: Sequence[int]
) -> Floats:
    prices = np.full((3, len(high)), np.nan)
    prices[:, 1:] = high[:-1], low[:-1], close[:-1]
    prices[:, 1:][:, open_time[1:] - open_time[:-1] != width] = np.nan
    prices[:, list(starts)] = np.nan
    return prices


def _fill_from_daily(
    prices: Floats, days: NDArray[np.int64], owners: NDArray[np.intp], daily: Sequence[DayPrices | None]
) -> None:
    """Fill the missing columns of `prices`; `days` and `owners` are each column's day number and series."""
    for group in np.flatnonzero(np.isnan(prices[0])).tolist():
        own = daily[owners[group]]
        if own is None:
            continue
        wanted = (int(days[group]) - 1) * DAY
        at = int(np.searchsorted(own[0], wanted))
        if at < len(own[0]) and own[0][at] == wanted:
            prices[:, group] = own[1][at], own[2][at], own[3][at]


def _classic(high: Floats, low: Floats, close: Floats) -> Floats:
    pivot = (high + low + close) / 3
    span = high - low
    levels = np.empty((len(PIVOT_COLUMNS), len(high)))
    levels[0] = pivot
    levels[1] = 2 * pivot - low
    levels[2] = pivot + span
    levels[3] = high + 2 * (pivot - low)
    levels[4] = 2 * pivot - high
    levels[5] = pivot - span
    levels[6] = low - 2 * (high - pivot)
    return levels
