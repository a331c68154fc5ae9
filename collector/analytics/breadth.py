"""The market as a whole: its cap-weighted index, and how many of its assets take part in a move.

Both know only who was there: an asset counts from its first price (and cap) to its last, so that those which failed
later are in the numbers of their time.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from collector.analytics.risk import simple_returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadth:
    """How many assets rise and fall over a window as of the end of a bar; of no asset, the share is None."""

    window: str
    as_of: datetime
    assets: int  # with a close at both ends of the window; the next three add up to it
    advancing: int
    declining: int
    unchanged: int
    sma_assets: int  # with every close of the moving average
    above_sma: int  # of those: last close above it
    new_highs: int  # of `assets`: last close above every other close of the window
    new_lows: int
    advance_share: float | None  # advancing / assets


def breadth(closes: pd.DataFrame, *, window: str, bars: int, sma: int = 50) -> Breadth | None:
    """Return the breadth over the last `bars` returns as of the last row of closes (columns: assets); None for no row.

    The window starts at the close before its first bar, as in `trends`. Closes that are not there are passed over when
    the highest and lowest are looked for. Raises ValueError for lengths below one.
    """
    if bars < 1 or sma < 1:
        raise ValueError(f"bars {bars} and sma {sma} must be at least 1")
    if not len(closes.index):
        return None
    prices = closes.to_numpy(dtype=float)
    last, path = prices[-1], prices[-bars - 1 : -1]
    first = path[0] if len(path) == bars else np.full(len(last), np.nan)
    known = ~np.isnan(first) & ~np.isnan(last)
    average = prices[-sma:].mean(axis=0) if len(prices) >= sma else np.full(len(last), np.nan)
    assets, advancing = int(known.sum()), int((last > first).sum())
    return Breadth(
        window=window,
        as_of=closes.index[-1].to_pydatetime(),
        assets=assets,
        advancing=advancing,
        declining=int((last < first).sum()),
        unchanged=int((last == first).sum()),
        sma_assets=int((~np.isnan(average)).sum()),
        above_sma=int((last > average).sum()),
        new_highs=int((known & (last > np.fmax.reduce(path, axis=0, initial=-np.inf))).sum()),
        new_lows=int((known & (last < np.fmin.reduce(path, axis=0, initial=np.inf))).sum()),
        advance_share=advancing / assets if assets else None,
    )


def market_index(prices: pd.DataFrame, caps: pd.DataFrame) -> pd.Series:
    """Return the level of the cap-weighted market at each row, 1 at the first row with a cap.

    Rows are moments (ascending), columns assets; NaN is not known. From one row to the next the level changes by the
    mean return of the assets with a cap and a price at the first and a price at the second, weighted by their caps at
    the first: chained, so nobody's later size or later entry is in an earlier level. A row without any asset that has
    both is NaN and passed over: the level after it is that of the assets held since the row before. Where two rows that
    follow each other share no asset, the chain is broken and every later level is NaN.
    """
    caps = caps.reindex(index=prices.index, columns=prices.columns)
    price, cap = (frame.to_numpy(dtype=float) for frame in (prices, caps))
    cap = np.where((cap > 0) & (price > 0), cap, np.nan)
    told = ~np.isnan(cap).all(axis=1)
    returns = simple_returns(price[told])
    weights = np.where(np.isnan(returns), 0.0, np.nan_to_num(cap[told][:-1]))
    total = weights.sum(axis=1)
    gained = (weights * np.nan_to_num(returns)).sum(axis=1)
    change = np.divide(gained, total, where=total > 0, out=np.full(total.shape, np.nan))
    levels = pd.Series(np.nan, index=prices.index)
    levels[told] = np.cumprod(np.concatenate([np.ones(min(int(told.sum()), 1)), 1 + change]))
    return levels
