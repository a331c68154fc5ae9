"""How much prices swing: volatility from closes and from ranges, and falls from the highest close.

Arrays in, arrays out: axis 0 is time (oldest first), the others are whatever is asked about at once (series; moments
and series). NaN means that there is no such bar. Every measure comes with the number of observations that it rests on
and is NaN where there are too few of them, never an infinity. Nothing is filled in: a return needs both of its closes.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.intp]

DAYS_A_YEAR = 365  # crypto trades every day


def logs(close: Floats) -> Floats:
    """Return natural logarithms, whose differences are log returns; NaN for a hole and for a price of zero."""
    taken: Floats = np.log(close, where=close > 0, out=np.full(close.shape, np.nan))
    return taken


def simple_returns(close: Floats) -> Floats:
    """Return the returns between neighbours as fractions; NaN beside a hole or after a price of zero."""
    before = close[:-1]
    ratio = np.divide(close[1:], before, where=before > 0, out=np.full(before.shape, np.nan))
    returns: Floats = np.subtract(ratio, 1.0, out=ratio)
    return returns


def centred(values: Floats) -> tuple[Counts, Floats, Floats]:
    """Return how many values there are, their mean, and their distances from it (zero where there is none)."""
    absent = np.isnan(values)
    if not absent.any():
        mean = values.mean(axis=0)
        return np.full(values.shape[1:], len(values)), mean, values - mean
    counts = len(values) - absent.sum(axis=0)
    mean = _over(np.where(absent, 0.0, values).sum(axis=0), counts)
    return counts, mean, np.where(absent, 0.0, values - mean)


def dot(left: Floats, right: Floats) -> Floats:
    """Return the sums of products along time; a part with one column counts for all of the other's."""
    sums: Floats = np.einsum("i...,i...->...", left, right)
    return sums


def volatility(returns: Floats, bars_a_year: float) -> tuple[Floats, Counts]:
    """Return the annualised sample deviation (n - 1) of log returns; NaN for fewer than two."""
    counts, _, distances = centred(returns)
    variance = _over(dot(distances, distances), counts - 1)
    return np.sqrt(variance * bars_a_year), counts


def parkinson(high: Floats, low: Floats, bars_a_year: float) -> tuple[Floats, Counts]:
    """Return the annualised volatility from ranges: the mean of ln(high / low)^2, over 4 ln 2.

    M. Parkinson, "The Extreme Value Method for Estimating the Variance of the Rate of Return", Journal of Business 53
    (1980). It takes a price that moves all the time and does not drift; few trades make it too low.
    """
    spans = _log_ratio(high, low)
    return _annual(spans * spans / (4 * np.log(2)), bars_a_year)


def garman_klass(open: Floats, high: Floats, low: Floats, close: Floats, bars_a_year: float) -> tuple[Floats, Counts]:  # noqa: A002
    """Return the annualised volatility from whole bars: mean of ln(high / low)^2 / 2 - (2 ln 2 - 1) ln(close / open)^2.

    M. Garman and M. Klass, "On the Estimation of Security Price Volatilities from Historical Data", Journal of Business
    53 (1980), their practical estimator; without the term for the night, which these markets do not have.
    """
    spans, moves = _log_ratio(high, low), _log_ratio(close, open)
    return _annual(spans * spans / 2 - (2 * np.log(2) - 1) * moves * moves, bars_a_year)


def drawdowns(close: Floats) -> tuple[Floats, Floats, Counts]:
    """Return the fall of the last close from the highest, and the deepest fall from any close to a later one.

    Both are fractions of the higher close, zero or negative. Closes that are not there are passed over; without a last
    close the first is NaN.
    """
    counts: Counts = len(close) - np.isnan(close).sum(axis=0)
    highest = np.fmax.accumulate(close, axis=0)
    falls = np.divide(close, highest, where=highest > 0, out=np.full(close.shape, np.nan))
    return falls[-1] - 1, np.fmin.reduce(falls, axis=0) - 1, counts


def _log_ratio(upper: Floats, lower: Floats) -> Floats:
    both = (upper > 0) & (lower > 0)
    ratio = np.divide(upper, lower, where=both, out=np.full(upper.shape, np.nan))
    taken: Floats = np.log(ratio, where=both, out=ratio)
    return taken


def _annual(variances: Floats, bars_a_year: float) -> tuple[Floats, Counts]:
    counts, mean, _ = centred(variances)
    return np.sqrt(np.where(mean < 0, np.nan, mean) * bars_a_year), counts


def _over(sums: Floats, counts: Counts) -> Floats:
    quotient: Floats = np.divide(sums, counts, where=counts > 0, out=np.full(sums.shape, np.nan))
    return quotient
