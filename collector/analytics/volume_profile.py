"""At which prices the volume of a window was traded: point of control and value area.

The span from the lowest low to the highest high is cut into rows of one height. A bar's volume is spread evenly from
its low to its high. The point of control is the row with most volume; of rows with the same, the one nearest to the
middle. The value area grows from there, row by row towards the side whose next row holds more (upwards when equal),
until it holds the wanted share of all volume: the 70 % area of J. P. Steidlmayer's Market Profile (Chicago Board of
Trade, 1984), which grows by two rows at a time.
"""

from typing import Any

import numpy as np

from collector.analytics.risk import Counts, Floats

SAME = 1e-9  # relative difference below which two sums of volume are equal: adding up leaves errors of about 1e-13


def volume_profile(
    high: Floats, low: Floats, volume: Floats, *, rows: int = 50, area: float = 0.7
) -> tuple[Floats, Floats, Floats, Counts]:
    """Return the price in the middle of the point of control, the ends of the value area, and how many bars count.

    Axis 0 is time. A bar without high, low or volume does not count. The prices are NaN where nothing was traded, and
    the one price there is where it never moved.
    """
    if not (rows >= 1 and 0 < area <= 1):
        raise ValueError(f"rows {rows} must be at least 1, area {area} in (0, 1]")
    shape = high.shape[1:]
    high, low, volume = (part.reshape(len(part), -1) for part in (high, low, volume))
    absent = np.isnan(high) | np.isnan(low) | np.isnan(volume)
    if absent.any():
        high, low, volume = (np.where(absent, np.nan, part) for part in (high, low, volume))
    bottom, top = np.fmin.reduce(low, axis=0), np.fmax.reduce(high, axis=0)
    height = (top - bottom) / rows
    by_row = _spread(high, low, np.where(absent, 0.0, volume), bottom=bottom, height=height, rows=rows)
    centre = _point_of_control(by_row)
    below, above = _grow(by_row, centre, area)
    traded = by_row.sum(axis=0) > 0
    prices = (bottom + height * (centre + 0.5), bottom + height * below, bottom + height * (above + 1))
    poc, start, end = (np.where(traded, price, np.nan).reshape(shape) for price in prices)
    counts: Counts = (len(high) - absent.sum(axis=0)).reshape(shape)
    return poc, start, end, counts


def _spread(high: Floats, low: Floats, volume: Floats, *, bottom: Floats, height: Floats, rows: int) -> Floats:
    """Return volume by row and column. Only a bar that leaves its row is divided, so no division meets a zero."""
    columns = high.shape[1]
    steady = np.where(height > 0, height, 1.0)
    start, end = (np.nan_to_num(edge - bottom) / steady for edge in (low, high))
    first, last = (np.clip(edge.astype(np.intp), 0, rows - 1) for edge in (start, end))
    flat = np.arange(columns, dtype=np.intp)
    within = last > first
    share = np.divide(volume, end - start, where=within, out=np.zeros(volume.shape))
    size = (rows + 1) * columns

    def add(row: Counts, weights: Floats) -> Floats:
        sums: Any = np.bincount((row * columns + flat).ravel(), weights.ravel(), minlength=size)
        shaped: Floats = sums.reshape(rows + 1, columns)
        return shaped

    head = np.where(within, share * (first + 1 - start), volume)
    tail = np.where(within, share * (end - last), 0.0)
    between = np.cumsum(add(first + 1, share) - add(last, share), axis=0)  # rows that a bar crosses from edge to edge
    summed: Floats = (add(first, head) + add(last, tail) + between)[:rows]
    return np.where(summed < SAME * summed.sum(axis=0), 0.0, summed)


def _point_of_control(by_row: Floats) -> Counts:
    most = by_row >= by_row.max(axis=0) * (1 - SAME)
    distance = np.abs(np.arange(len(by_row)) - (len(by_row) - 1) / 2)[:, None]
    centre: Counts = np.argmin(np.where(most, distance, np.inf), axis=0)
    return centre


def _grow(by_row: Floats, centre: Counts, area: float) -> tuple[Counts, Counts]:
    rows = len(by_row)
    padded = np.vstack([by_row, np.full((1, by_row.shape[1]), -1.0)])  # one row beyond either end, below any volume
    column = np.arange(by_row.shape[1])
    below, above = centre.copy(), centre.copy()
    wanted = by_row.sum(axis=0) * area * (1 - SAME)
    held = by_row[centre, column]
    for _ in range(rows - 1):
        growing = held < wanted
        if not growing.any():
            break
        up, down = padded[above + 1, column], padded[below - 1, column]
        upwards = up >= down * (1 - SAME)
        held = held + np.where(growing, np.where(upwards, up, down), 0.0)
        above, below = above + (growing & upwards), below - (growing & ~upwards)
    return below, above
