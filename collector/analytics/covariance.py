"""How assets move together: a year's covariance of simple daily returns, shrunk, from closes that may have holes.

Guarantee: the matrix never holds NaN, is symmetric, and says what it is made of. What is missing is handled by name:

- an asset with too few returns in the window, without a close at its end, or with a price that is not above zero is
  left out, with its reason;
- of the kept assets, days on which any of them has no return are left out for all (`bars_dropped`), so that every
  number of the matrix is of the same days and the matrix stays positive semidefinite.

A return over a hole is no return: prices are never carried forward. Returns are simple (p1 / p0 - 1), because those of
a portfolio are the weighted sum of its assets', which logarithmic ones are not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]

DAYS_A_YEAR = 365  # crypto trades every day


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An asset that takes no part, and the reason in one line."""

    asset: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Simple returns of the usable assets (a row per day of the window, NaN: none that day) and who is left out."""

    returns: pd.DataFrame
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariance:
    """The covariance of returns a year of `assets` (N x N, in their order).

    `shrinkage` is the weight of the target, from 0 (the sample alone) to 1. `condition`: the largest eigenvalue over
    the smallest, inf for a singular matrix. `bars`: the days it is made of; `bars_dropped`: the days of the window
    on which an asset had no return.
    """

    assets: tuple[str, ...]
    matrix: Array
    shrinkage: float
    condition: float
    bars: int
    bars_dropped: int


def usable_history(closes: pd.DataFrame, *, lookback: int, min_coverage: float = 0.9) -> History:
    """Return the simple returns of the last `lookback` bars of each asset that has enough of them.

    `closes`: a row per bar on a complete grid, ascending, a column per asset, NaN where there is no bar. An asset needs
    a return on at least `min_coverage` of the lookback (a share: 0.9 of 180 is 162), whether it is young or has holes.
    """
    window = closes.iloc[-(lookback + 1) :].astype(float)
    broken = ((window <= 0) | (window == np.inf)).any()
    returns = window.where(window > 0).pct_change(fill_method=None).iloc[1:]
    counts = returns.notna().sum()
    needed = int(np.ceil(min_coverage * lookback - 1e-9))
    reasons = {
        asset: _unusable(window[asset], broken=bool(broken[asset]), count=int(counts[asset]), needed=needed)
        for asset in closes.columns
    }
    kept = [asset for asset, reason in reasons.items() if reason is None]
    left_out = tuple(LeftOut(asset=str(asset), reason=reason) for asset, reason in reasons.items() if reason)
    return History(returns=returns[kept], left_out=left_out)


def _unusable(prices: "pd.Series[float]", *, broken: bool, count: int, needed: int) -> str | None:
    if prices.notna().sum() == 0:
        return "no closes in the window"
    if broken:
        return "a close that is not above zero"
    if np.isnan(prices.iloc[-1]):
        return f"no close at the end of the window ({prices.index[-1]:%Y-%m-%d %H:%M})"
    return f"{count} daily returns in the window, {needed} needed" if count < needed else None


def annual_volatility(returns: pd.DataFrame, *, bars_per_year: float = DAYS_A_YEAR) -> "pd.Series[float]":
    """Return the close-to-close volatility of each column a year, as a fraction, each over its own returns."""
    yearly: pd.Series[float] = returns.std(ddof=1) * np.sqrt(bars_per_year)
    return yearly


def estimate_covariance(
    returns: pd.DataFrame, *, shrink: bool = True, bars_per_year: float = DAYS_A_YEAR
) -> Covariance | None:
    """Estimate the covariance of the columns over the rows that are whole.

    None: no column, or fewer than two whole rows. With `shrink` by `ledoit_wolf`; without, the plain sample
    covariance, which is singular as soon as there are more assets than days.
    """
    whole = returns.dropna()
    if whole.shape[1] == 0 or len(whole) < 2:  # noqa: PLR2004 (a deviation needs two)
        return None
    values = whole.to_numpy(dtype=float)
    matrix, shrinkage = ledoit_wolf(values) if shrink else (_sample(values, ddof=1), 0.0)
    matrix = matrix * bars_per_year
    return Covariance(
        assets=tuple(str(name) for name in returns.columns),
        matrix=matrix,
        shrinkage=shrinkage,
        condition=condition_number(matrix),
        bars=len(whole),
        bars_dropped=len(returns) - len(whole),
    )


def ledoit_wolf(returns: Array) -> tuple[Array, float]:
    """Return the shrunk covariance of T x N returns and the weight of its target.

    Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate
    Analysis 88 (2004), 365-411, section 3. The target is the identity times the mean variance; the sample is over
    T, as in the paper. The weight is the share of the sample's distance from the target that is explained by the
    sample's own error, so it needs no parameter, and the result is invertible wherever the weight is above zero.
    """
    count, width = returns.shape
    centred = returns - returns.mean(axis=0)
    sample = centred.T @ centred / count
    mean_variance = float(np.trace(sample)) / width
    target = mean_variance * np.eye(width)
    distance = float(np.sum((sample - target) ** 2))
    # sum over days of |x x' - S|^2, expanded: |x|^4 summed, less T |S|^2
    error = (float(np.sum(np.sum(centred**2, axis=1) ** 2)) / count - float(np.sum(sample**2))) / count
    weight = min(max(error, 0.0), distance) / distance if distance > 0 else 0.0
    return weight * target + (1 - weight) * sample, weight


def _sample(returns: Array, *, ddof: int) -> Array:
    centred = returns - returns.mean(axis=0)
    matrix: Array = centred.T @ centred / (len(returns) - ddof)
    return matrix


def condition_number(matrix: Array) -> float:
    """Return the largest eigenvalue of a symmetric matrix over the smallest; inf where the smallest is not above 0."""
    values = np.linalg.eigvalsh(matrix)
    smallest = float(values[0])
    return float(values[-1]) / smallest if smallest > 0 else float("inf")
