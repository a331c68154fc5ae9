"""Pivot points, swings and retracements written down once more, bar by bar: what the collector's columns must be."""

import numpy as np

from benchmarks.sides.made_bars import Bars, Floats

DAY = 86_400
SWING = 120  # bars over which the collector looks for a swing
RATIOS = {"fib_236": 0.236, "fib_382": 0.382, "fib_500": 0.5, "fib_618": 0.618, "fib_786": 0.786}
PIVOTS = ("pivot", "pivot_r1", "pivot_r2", "pivot_r3", "pivot_s1", "pivot_s2", "pivot_s3")


def levels(bars: Bars, width: int) -> dict[str, Floats]:
    """Return the columns of levels for bars of `width` seconds without holes; NaN where there is none."""
    count = len(bars.close)
    found = {name: np.full(count, np.nan) for name in (*PIVOTS, "swing_high", "swing_low", *RATIOS)}
    days: dict[int, list[int]] = {}
    for place, opened in enumerate(bars.open_time.tolist()):
        days.setdefault(opened // DAY, []).append(place)
    for place, opened in enumerate(bars.open_time.tolist()):
        before = days.get(opened // DAY - 1, [])
        if len(before) == DAY // width:
            high, low, close = bars.high[before].max(), bars.low[before].min(), bars.close[before[-1]]
            for name, level in zip(PIVOTS, _pivots(high, low, close), strict=True):
                found[name][place] = level
        if place >= SWING - 1:
            highs, lows = (one[place - SWING + 1 : place + 1] for one in (bars.high, bars.low))
            top, bottom = highs.max(), lows.min()
            rising = int(highs[::-1].argmax()) <= int(lows[::-1].argmin())
            found["swing_high"][place], found["swing_low"][place] = top, bottom
            for name, ratio in RATIOS.items():
                found[name][place] = top - ratio * (top - bottom) if rising else bottom + ratio * (top - bottom)
    return found


def _pivots(high: float, low: float, close: float) -> tuple[float, ...]:
    middle = (high + low + close) / 3
    above = (2 * middle - low, middle + (high - low), high + 2 * (middle - low))
    return middle, *above, 2 * middle - high, middle - (high - low), low - 2 * (high - middle)
