"""Bars of several series on one grid of time, as frames that the other modules compute on.

The index is the **end** of a bar, the first moment at which its close is known: whatever is cut off with `until` knows
nothing that came later. A bar that is not there is a row of NaN, never an older price carried on.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.records import Interval

PARTS = ("open", "high", "low", "close", "volume")
Window = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class BarPanel:
    """Frames of one shape: index the ends of bars (UTC, one `interval` apart, none left out), columns the series.

    Prices are in the quote of each series, volume in its base. NaN: no such bar, or (volume alone) not told.
    """

    interval: Interval
    open: pd.DataFrame
    high: pd.DataFrame
    low: pd.DataFrame
    close: pd.DataFrame
    volume: pd.DataFrame

    def until(self, moment: datetime) -> Self:
        """Return what was known at a moment: the bars that had ended by then."""
        return replace(self, **{part: getattr(self, part).loc[:moment] for part in PARTS})

    def only(self, series: Collection[str]) -> Self:
        """Return these series alone, in this order; unknown names are left out."""
        names = [name for name in series if name in self.close.columns]
        return replace(self, **{part: getattr(self, part)[names] for part in PARTS})


def bar_panel(windows: Mapping[str, Window], interval: Interval) -> BarPanel:
    """Return windows of candles by series as a panel from the oldest bar of all to the newest.

    A window holds arrays of one length, ascending: `open_time` (seconds since the epoch) and the five parts.
    """
    step = int(interval.width.total_seconds())
    ends = [window["open_time"] + step for window in windows.values()]
    if not any(len(times) for times in ends):
        return _empty(list(windows), interval)
    first = min(int(times[0]) for times in ends if len(times))
    last = max(int(times[-1]) for times in ends if len(times))
    index = pd.to_datetime(np.arange(first, last + step, step), unit="s", utc=True)
    frames = {}
    for part in PARTS:
        values = np.full((len(index), len(windows)), np.nan)
        for column, (window, times) in enumerate(zip(windows.values(), ends, strict=True)):
            values[(times - first) // step, column] = window[part]
        frames[part] = pd.DataFrame(values, index=index, columns=list(windows))
    return BarPanel(interval, **frames)


def _empty(names: list[str], interval: Interval) -> BarPanel:
    index = pd.DatetimeIndex([], tz="UTC")
    return BarPanel(interval, **{part: pd.DataFrame(index=index, columns=names, dtype=float) for part in PARTS})
