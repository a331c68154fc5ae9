"""Sums, averages, extremes and states over the last bars of every series at once, each from its own window alone.

The promise behind "never repainted": a value at a bar is made by the same operations, in the same order, from the bars
of its window and nothing else. So it has the same bits whatever else is in the panel, older or newer, and whatever
number of series. A recursion from the first bar would not: it remembers, in its last digits, where it began. Windows
are built by doubling instead (Hillis and Steele 1986: sums of 2, 4, 8 ... bars from pairs of shorter ones), so n bars
cost log2(n) passes. A missing bar (NaN) inside a window makes its value NaN.

Arrays have a row per bar and a column per series.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Signs: TypeAlias = NDArray[np.int8]
Mask: TypeAlias = NDArray[np.bool_]


def later(values: Floats, bars: int) -> Floats:
    """Return the value of `bars` bars ago at every bar; NaN where the panel does not reach back that far."""
    moved = np.full_like(values, np.nan)
    if bars < len(values):
        moved[bars:] = values[: len(values) - bars]
    return moved


def decayed_sum(values: Floats, decay: float, bars: int) -> Floats:
    """Return the sum of decay^k times the value k bars ago, for k below `bars`."""
    total: Floats | None = None
    block, size, done = values, 1, 0
    while True:
        if bars & size:
            total = block if total is None else total + decay**done * later(block, done)
            done += size
        if done == bars and total is not None:
            return total
        block = block + decay**size * later(block, size)
        size *= 2


def mean(values: Floats, bars: int) -> Floats:
    """Return the mean of the last `bars` bars."""
    return decayed_sum(values, 1.0, bars) / bars


def highest(values: Floats, bars: int) -> Floats:
    """Return the largest of the last `bars` values."""
    block, size = values, 1
    while 2 * size <= bars:
        block = np.maximum(block, later(block, size))  # NaN wins
        size *= 2
    return np.maximum(block, later(block, bars - size))


def smoothed(values: Floats, weight: float, seed: int, bars: int) -> Floats:
    """Return the exponential average of the last `bars` values that starts at the mean of the first `seed` of them.

    The same as TA-Lib on that window alone: after the seed each value counts with `weight`, the average so far with
    the rest. The seed weighs (1 - weight)^(bars - seed).
    """
    decay, steps = 1.0 - weight, bars - seed
    start = later(mean(values, seed), steps)
    return weight * decayed_sum(values, decay, steps) + decay**steps * start


def ema(values: Floats, period: int, bars: int) -> Floats:
    """Return the EMA of a period over a window of `bars` values (more than the period)."""
    return smoothed(values, 2.0 / (period + 1), period, bars)


def bounded(values: Floats) -> Floats:
    """Return x / sqrt(1 + x^2), in [-1, 1]: 0.71 at 1, 0.95 at 3. Made of operations that are exact everywhere."""
    return values / np.sqrt(1.0 + values * values)


def sided(direction: Signs, magnitude: Floats) -> Floats:
    """Return the magnitude where it lies on the direction's side, else 0; 0 too where it is not known."""
    same = ((direction > 0) & (magnitude > 0.0)) | ((direction < 0) & (magnitude < 0.0))
    return np.where(same, magnitude, 0.0)


def latched(raw: Signs, seen: Mask, *, confirmation: int, hold: int) -> tuple[Signs, Mask]:
    """Return the state at every bar, and where it is known.

    `raw` is the direction a bar speaks for (0: none), `seen` where there is one. The state is the last direction for
    which `confirmation` bars in a row spoke, if that was within the last `hold` bars, else 0. It is known where all
    those bars are seen: hold + confirmation - 1 of them.
    """
    rows = np.arange(len(raw))[:, None]
    same = np.ones_like(seen)
    same[1:] = raw[1:] == raw[:-1]
    began = np.maximum.accumulate(np.where(same & (rows > 0), 0, rows), axis=0)
    spoken = (raw != 0) & (rows - began >= confirmation - 1)
    last = np.maximum.accumulate(np.where(spoken, rows, -1), axis=0)
    fresh = (last >= 0) & (rows - last < hold)
    state = np.where(fresh, np.take_along_axis(raw, np.maximum(last, 0), axis=0), 0).astype(np.int8)
    return state, whole(seen, hold + confirmation - 1)


def whole(seen: Mask, bars: int) -> Mask:
    """Return where all of the last `bars` bars are seen."""
    rows = np.arange(len(seen))[:, None]
    last_unseen = np.maximum.accumulate(np.where(seen, -1, rows), axis=0)
    return rows - last_unseen >= bars
