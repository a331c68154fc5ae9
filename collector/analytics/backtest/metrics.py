"""The figures of an equity curve; fractions, annualised with 365 days; None where a figure cannot be computed."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from collector.analytics.backtest.market import Floats

DAYS_A_YEAR = 365.0  # crypto trades every day
_SECONDS_A_YEAR = DAYS_A_YEAR * 86_400
_LARGEST = 700  # e^709 is the largest double
_NO_RISK = 1e-15  # below it the deviation is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What an equity curve was worth. `bars` counts returns; drawdowns are negative fractions, durations bars."""

    bars: int
    total_return: float
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    max_drawdown_bars: int
    calmar: float | None
    turnover: float | None
    hit_rate: float | None
    exposure: float | None


def metrics(equity: pd.Series, *, exposure: pd.Series | None = None, traded: pd.Series | None = None) -> Metrics:
    """Return the figures of an equity curve (one value above zero a bar, index the ends of bars; two or more).

    - total return: last / first - 1. Annual: (1 + total) ^ (1 / years) - 1, years of 365 days.
    - volatility: standard deviation of the bars' returns (n - 1), times the root of bars a year.
    - Sharpe ratio (Sharpe 1994, "The Sharpe Ratio"): mean / standard deviation, times the root of bars a year; the
      riskless rate is zero. Sortino ratio (Sortino and Price 1994): the same over the downside deviation, the root of
      the mean of min(r, 0) squared over all bars.
    - maximum drawdown: the lowest equity / peak so far - 1; its bars: the longest time from a peak until that height
      was reached again, or until the end. Calmar ratio (Young 1991): annual return / |maximum drawdown|.
    - turnover: value bought and sold over equity, a year; buying the portfolio once is 1. `traded` gives it for each
      bar.
    - hit rate: bars with a gain of those with a gain or a loss. Exposure: mean of `exposure`, the share invested.
    """
    values = equity.to_numpy(dtype=float)
    if len(values) < 2:  # noqa: PLR2004 - two make a return
        raise ValueError("metrics need two values of equity or more")
    index = pd.DatetimeIndex(equity.index)
    years = (index[-1] - index[0]).total_seconds() / _SECONDS_A_YEAR
    a_year = (len(values) - 1) / years
    returns = bar_returns(values)
    total = float(values[-1] / values[0] - 1)
    annual = _annual(total, years)
    depth, bars = _drawdown(values)
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else None
    mean = float(returns.mean())
    moved = int((returns != 0).sum())
    return Metrics(
        bars=len(returns),
        total_return=total,
        annual_return=annual,
        volatility=None if deviation is None else deviation * math.sqrt(a_year),
        sharpe=_ratio(mean, deviation, math.sqrt(a_year)),
        sortino=_ratio(mean, float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2))), math.sqrt(a_year)),
        max_drawdown=depth,
        max_drawdown_bars=bars,
        calmar=None if annual is None else _ratio(annual, -depth, 1.0),
        turnover=None if traded is None else float(traded.sum()) / years,
        hit_rate=int((returns > 0).sum()) / moved if moved else None,
        exposure=None if exposure is None else float(exposure.mean()),
    )


def bar_returns(values: Floats) -> Floats:
    """Return the change from bar to bar; zero once nothing is left."""
    before = values[:-1]
    return np.divide(values[1:], before, out=np.ones_like(before), where=before > 0) - 1


def drawdowns(values: Floats) -> Floats:
    """Return for each bar how far the equity is below its highest value so far: zero or a negative fraction."""
    return values / np.maximum.accumulate(values) - 1


def _annual(total: float, years: float) -> float | None:
    """Return the growth a year; None where it is too large for a number (a big gain within hours)."""
    if total <= -1:
        return -1.0
    growth = math.log1p(total) / years
    return math.expm1(growth) if growth < _LARGEST else None


def _ratio(above: float, below: float | None, factor: float) -> float | None:
    if below is None or below <= _NO_RISK:
        return None
    return above / below * factor


def _drawdown(values: Floats) -> tuple[float, int]:
    below = drawdowns(values)
    peaks = np.maximum.accumulate(np.where(below == 0, np.arange(len(values)), 0))
    under = np.where(below < 0, np.arange(len(values)) - peaks, 0)
    recovered = np.flatnonzero((below[1:] == 0) & (below[:-1] < 0)) + 1  # the bar that reaches the peak again counts
    lengths = [int(under.max())] + [int(bar - peaks[bar - 1]) for bar in recovered]
    return float(below.min()), max(lengths)
