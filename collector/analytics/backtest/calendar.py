"""When a portfolio is decided anew: the last bar of each UTC day, week or month, told without looking at later bars."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.analytics.backtest.parameters import Rebalance

_NS_A_DAY = 86_400_000_000_000
_MONDAY = 3  # 1970-01-01 was a Thursday: three days after a Monday


def decision_bars(index: pd.DatetimeIndex, rebalance: Rebalance) -> npt.NDArray[np.intp]:
    """Return the positions of the bars after which weights are decided, ascending; the first bar is always one.

    `index` holds the ends of bars, one step apart. A bar belongs to the period of its last instant, so the daily bar
    that ends on 1 February at 00:00 is the last one of January. Whether a bar is the last of its period follows from
    the calendar and the step alone. Bars as long as the period or longer are all decisions.
    """
    if not len(index):
        return np.array([], dtype=np.intp)
    if rebalance == "once":
        return np.array([0], dtype=np.intp)
    if rebalance == "bar" or len(index) == 1:
        return np.arange(len(index), dtype=np.intp)
    ends = index.as_unit("ns").asi8
    step = int(ends[1] - ends[0])
    last = _period(ends, rebalance) != _period(ends + step, rebalance)
    last[0] = True
    return np.flatnonzero(last)


def _period(ends: npt.NDArray[np.int64], rebalance: Rebalance) -> npt.NDArray[np.int64]:
    """Return a number for the period that holds the last instant of each bar."""
    inside = ends - 1
    if rebalance == "1M":
        return inside.view("M8[ns]").astype("M8[M]").astype(np.int64)
    days = inside // _NS_A_DAY
    return (days + _MONDAY) // 7 if rebalance == "1w" else days
