"""Straight lines through prices, and how series move together: least squares over windows.

Arrays as in `risk`: axis 0 is time, NaN is an absent value, and every result comes with its number of observations. A
result is NaN where fewer than three observations speak or where one side does not vary: a line through two points fits
always and says nothing.
"""

import numpy as np

from collector.analytics.risk import Counts, Floats, centred, dot

FEWEST = 3
# Deviation below which a series does not move: rounding leaves about 1e-15 in logs and returns, the calmest real series
# (a stablecoin in one-minute bars) deviates by 1e-6.
STILL = 1e-12


def line(values: Floats) -> tuple[Floats, Floats, Counts]:
    """Return the slope per row and R squared of the least-squares line through values; absent rows keep their place.

    A series that does not move has slope 0 and no R squared.
    """
    shape = (len(values),) + (1,) * (values.ndim - 1)
    times = np.arange(len(values), dtype=float).reshape(shape)
    counts, slope, correlation = _fit(times, values)
    return slope, correlation * correlation, counts


def comovement(returns: Floats, reference: Floats) -> tuple[Floats, Floats, Counts]:
    """Return Pearson's correlation with the reference and beta: the slope of the returns over the reference's.

    `reference` has one column for all or one for each. Rows in which either is absent do not count.
    """
    counts, beta, correlation = _fit(reference, returns)
    return correlation, beta, counts


def _fit(over: Floats, values: Floats) -> tuple[Counts, Floats, Floats]:
    over, values = _shared(over, values)
    counts, _, x = centred(over)
    _, _, y = centred(values)
    xx, yy, xy = dot(x, x), dot(y, y), dot(x, y)
    counts = np.broadcast_to(counts, xy.shape)
    moves_x = np.broadcast_to((counts >= FEWEST) & (xx > counts * STILL**2), xy.shape)
    moves_y = moves_x & (yy > counts * STILL**2)
    slope = np.divide(xy, xx, where=moves_x, out=np.full(xy.shape, np.nan))
    correlation = np.divide(xy, np.sqrt(xx * yy), where=moves_y, out=np.full(xy.shape, np.nan))
    return counts, slope, np.clip(correlation, -1.0, 1.0)


def _shared(over: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return both with the rows blanked that the other does not have; as they are when nothing is absent."""
    absent = np.isnan(values)
    if not absent.any() and not np.isnan(over).any():
        return over, values
    absent = absent | np.isnan(over)
    return np.where(absent, np.nan, over), np.where(absent, np.nan, values)
