"""Funding extremes: a rate far above those before it means crowded longs (direction -1), far below crowded shorts (1).

z = (rate - mean) / deviation over the `lookback` settlements before it, which it is no part of (sample deviation,
never below `floor`). The state at a bar is that of the last settlement at or before the bar's end, as long as that is
not older than `STALE`. It is the contrarian reading. Strength is z / threshold put through x / sqrt(1 + x^2), with the
direction's sign: 0.71 at the threshold; 0 where nothing is extreme.

A settlement that is missing cannot be told from a venue's longer interval unless more than `STALE` passed between two;
then no z is made from a window that holds that space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collector.analytics.signals.parameters import FUNDING, FundingExtremes, rule
from collector.analytics.signals.track import Grid, Track, Window, hashed
from collector.analytics.signals.windows import Floats, Mask, bounded

STATES = {1: "crowded_short", 0: "neutral", -1: "crowded_long"}
STALE = timedelta(hours=25)  # the longest funding interval of any venue is 24 hours; one for a late payment
MARGIN = 1e-9  # z must pass the threshold by this, so that rounding never decides


@dataclass(frozen=True, slots=True)
class _Settlements:
    times: Sequence[datetime]
    rates: Floats
    z: Floats
    wide: Mask  # whether more than `STALE` passed from each settlement to the next
    latest: NDArray[np.int64]  # per bar: the last settlement by then; -1: none, or too old


class SettlementEvidence:
    """The settlements behind the states at a bar and the bar before, of each series."""

    def __init__(self, series: Sequence[_Settlements], lookback: int) -> None:
        """Take the series' settlements and how many before each one a z-score looks at."""
        self._series, self._lookback = series, lookback

    def window(self, row: int, column: int) -> Window:
        """Return the settlements from the first one of the older window to the last of the newer one."""
        series = self._series[column]
        first, last = int(series.latest[row - 1]) - self._lookback, int(series.latest[row])
        digest = hashed(iter([series.rates[first : last + 1]]))
        return Window(series.times[first], series.times[last], last - first + 1, digest)

    def broken(self, column: int, last: int) -> bool:
        """Return whether payments failed to come before a bar, after there had been some."""
        series = self._series[column]
        latest = series.latest[: last + 1]
        newest = int(latest.max(initial=-1))
        stopped = newest >= 0 and bool((latest[int(np.argmax(latest >= 0)) :] < 0).any())
        return stopped or bool(series.wide[: max(newest, 0)].any())


def funding_extremes(parameters: FundingExtremes, grid: Grid, rates: pd.DataFrame) -> Track:
    """Return the track, named like `funding_90`, of the series that have a column in `rates`.

    `rates`: settled rates as fractions, index the times of settlement (UTC, ascending), columns as the panel's; NaN:
    this series did not settle then.
    """
    columns = [column for column, subject in enumerate(grid.subjects) if subject in rates.columns]
    ends = _nanoseconds(pd.DatetimeIndex(list(grid.ends), tz="UTC"))
    series = [_settlements(rates[grid.subjects[column]], ends, parameters) for column in columns]
    shape = (len(ends), len(columns))
    score = np.full(shape, np.nan)
    for column, settled in enumerate(series):
        there = settled.latest >= 0
        score[there, column] = settled.z[settled.latest[there]]
    direction = np.zeros(shape, np.int8)
    direction[score > parameters.threshold + MARGIN] = -1
    direction[score < -parameters.threshold - MARGIN] = 1
    strength = np.where(direction != 0, -bounded(score / parameters.threshold), 0.0)
    values = {"lookback": parameters.lookback, "threshold": parameters.threshold, "floor": parameters.floor}
    named = rule(FUNDING, f"{FUNDING}_{parameters.lookback}", values, STATES)
    evidence = SettlementEvidence(series, parameters.lookback)
    return Track(named, columns, direction, strength, np.isfinite(score), evidence)


def z_scores(rates: Floats, wide: Mask, parameters: FundingExtremes) -> Floats:
    """Return each settlement's z against the `lookback` before it; NaN for the first ones and across a hole.

    `wide[i]`: there is a hole between settlement i and the next one.
    """
    lookback = parameters.lookback
    z = np.full(len(rates), np.nan)
    if len(rates) <= lookback:
        return z
    before = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(rates[:-1], lookback))
    usual = np.add.reduce(before, axis=1) / lookback
    spread = np.sqrt(np.add.reduce((before - usual[:, None]) ** 2, axis=1) / (lookback - 1))
    z[lookback:] = (rates[lookback:] - usual) / np.maximum(spread, parameters.floor)
    z[lookback:][np.lib.stride_tricks.sliding_window_view(wide, lookback).any(axis=1)] = np.nan
    return z


def _settlements(column: pd.Series, ends: NDArray[np.int64], parameters: FundingExtremes) -> _Settlements:
    settled = column.dropna()
    index = pd.DatetimeIndex(settled.index)
    times, rates = _nanoseconds(index), settled.to_numpy(np.float64)
    stale = STALE // timedelta(microseconds=1) * 1000
    wide = np.diff(times) > stale
    z = z_scores(rates, wide, parameters)
    at = np.searchsorted(times, ends, side="right") - 1
    old = ends - times[np.maximum(at, 0)] > stale if len(times) else at < 0
    return _Settlements(list(index.to_pydatetime()), rates, z, wide, np.where(old, -1, at).astype(np.int64))


def _nanoseconds(index: pd.DatetimeIndex) -> NDArray[np.int64]:
    return index.as_unit("ns").to_numpy(np.dtype("datetime64[ns]")).astype(np.int64)
