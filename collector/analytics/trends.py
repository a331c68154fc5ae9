"""Trends: what each series did over each window, as one row of numbers that can be stored.

A window of N bars is the N returns up to the last bar, so it starts at the close of the bar before its first one: with
daily bars, "7d" compares the last close with the close seven days earlier. Numbers of closes (change, volatility,
drawdown, slope, correlation, beta) rest on those N + 1 closes, numbers of whole bars (Parkinson, Garman-Klass, volume
and its profile) on the N bars.

What cannot be known is None: a change without both ends, a number with fewer observations than the wanted share of the
window, a sum or a moving average with a hole in it, a correlation with what does not move. Nothing is carried over a
hole: a return needs both of its closes.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collector.analytics.bars import PARTS, BarPanel
from collector.analytics.regression import comovement, line
from collector.analytics.risk import (
    DAYS_A_YEAR,
    Counts,
    Floats,
    drawdowns,
    garman_klass,
    logs,
    parkinson,
    simple_returns,
    volatility,
)
from collector.analytics.volume_profile import volume_profile

SAME_AVERAGE = 1e-12  # relative difference below which two moving averages are equal: summing leaves errors of 1e-14
CELLS_AT_ONCE = 250_000  # values of one part that are worked on at a time: 2 MB, a dozen of which are alive at once


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendParameters:
    """Lengths of the moving averages in bars, and what a number needs to be told.

    `coverage` is the share of its observations (bars, closes or returns of the window) that must be there.
    """

    sma_fast: int = 20
    sma_slow: int = 50
    coverage: float = 0.9
    profile_rows: int = 50
    value_area: float = 0.7

    def __post_init__(self) -> None:
        if not 1 <= self.sma_fast < self.sma_slow:
            raise ValueError(f"sma_fast {self.sma_fast} must be at least 1 and below sma_slow {self.sma_slow}")
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage {self.coverage} must be above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One series over one window as of the end of a bar. Fractions, prices in the quote, annualised over 365 days."""

    subject: str
    window: str
    as_of: datetime
    bars: int  # bars of the window that are there ...
    missing: int  # ... and that are not
    first_price: float | None  # the close that the window starts from
    last_price: float | None
    change: float | None
    volatility: float | None  # close to close: deviation of log returns
    volatility_parkinson: float | None
    volatility_garman_klass: float | None
    drawdown: float | None  # now, from the window's highest close; <= 0
    max_drawdown: float | None
    slope: float | None  # of the least-squares line through log closes, per day
    strength: float | None  # R squared of that line
    sma_fast: float | None
    sma_slow: float | None
    ma_state: int | None  # 1: the fast average is above the slow one, -1: below, 0: equal
    ma_bars: int | None  # bars since that state began; None when it is older than the window
    volume: float | None
    volume_change: float | None  # against as many bars before
    poc_price: float | None  # where most volume was traded
    value_area_low: float | None
    value_area_high: float | None
    correlation_bitcoin: float | None
    beta_bitcoin: float | None
    correlation_market: float | None
    beta_market: float | None


KEYS = ("window", "as_of", "subject")
COUNTS = ("bars", "missing")
STATES = ("ma_state", "ma_bars")
NUMBERS = tuple(field.name for field in fields(Trend))[3:]
Numbers = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Windows:
    """Windows side by side: axis 0 is time, the last axis the series; closes, states and references have N + 1 rows."""

    bars: int
    width: timedelta
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    volume_before: Floats
    closes: Floats
    fast: Floats
    slow: Floats
    states: Floats
    bitcoin: Floats
    market: Floats


def trends(
    panel: BarPanel,
    windows: Mapping[str, int],
    *,
    bitcoin: pd.Series | None = None,
    market: pd.Series | None = None,
    parameters: TrendParameters | None = None,
) -> list[Trend]:
    """Return a row for each window (name -> bars) and series as of the panel's last bar; none for an empty panel.

    `bitcoin` and `market` are prices or index levels at the ends of the same bars; without one, or where it is NaN, its
    correlation and beta are None. Raises ValueError for a window of fewer than one bar.
    """
    parameters = parameters or TrendParameters()
    if not len(panel.close.index):
        return []
    longest = _longest(windows)
    reach = longest + max(longest, parameters.sma_slow) + 1
    as_of = panel.close.index[-1].to_pydatetime()
    rows: dict[str, list[Trend]] = {window: [] for window in windows}
    for start, stop in _chunks(len(panel.close.columns), longest + 1):
        prepared = _Prepared(_part(panel, reach, slice(start, stop)), bitcoin, market, parameters)
        for window, bars in windows.items():
            numbers = _numbers(prepared.last(bars), parameters)
            columns = [_told(name, numbers[name]) for name in NUMBERS]
            for subject, *values in zip(panel.close.columns[start:stop], *columns, strict=True):
                known = dict(zip(NUMBERS, values, strict=True))
                rows[window].append(Trend(subject=subject, window=window, as_of=as_of, **known))
    return [row for of_window in rows.values() for row in of_window]


def trend_history(
    panel: BarPanel,
    windows: Mapping[str, int],
    *,
    bitcoin: pd.Series | None = None,
    market: pd.Series | None = None,
    parameters: TrendParameters | None = None,
) -> pd.DataFrame:
    """Return the numbers of `trends` for every bar: rows by (window, as_of, subject), NaN where a number is not known.

    The row of a moment holds what `trends` gives for the panel cut at it. The work grows with bars times window.
    """
    parameters = parameters or TrendParameters()
    _longest(windows)
    prepared = _Prepared(panel, bitcoin, market, parameters)
    index = panel.close.index
    pieces = [pd.DataFrame(columns=list(NUMBERS), dtype=float)]
    for window, bars in windows.items():
        for start, stop in _chunks(len(index), (bars + 1) * max(len(panel.close.columns), 1)):
            numbers = _numbers(prepared.ending(bars, start, stop), parameters)
            keys: list[Any] = [[window], index[start:stop], panel.close.columns]
            rows = pd.MultiIndex.from_product(keys, names=list(KEYS))
            pieces.append(pd.DataFrame({name: numbers[name].ravel() for name in NUMBERS}, index=rows))
    return pd.concat(pieces[1:]) if len(pieces) > 1 else pieces[0]


def roi(close: pd.DataFrame, since: datetime) -> pd.Series:
    """Return the return on investment of each series as a fraction, bought at `since` and held to the last bar.

    Bought at the close of the newest bar that had ended by then; NaN where that close or the last one is not there.
    """
    start = close.index.searchsorted(pd.Timestamp(since), side="right") - 1
    if start < 0:
        return pd.Series(np.nan, index=close.columns)
    paid = close.iloc[start]
    return close.iloc[-1] / paid.where(paid > 0) - 1


class _Prepared:
    """A panel as arrays, from which windows are cut; before its first row there is nothing, which is NaN."""

    def __init__(
        self,
        panel: BarPanel,
        bitcoin: pd.Series | None,
        market: pd.Series | None,
        parameters: TrendParameters,
    ) -> None:
        index = panel.close.index
        fast, slow = (
            panel.close.rolling(bars).mean().to_numpy() for bars in (parameters.sma_fast, parameters.sma_slow)
        )
        self._width = panel.interval.width
        self._length = len(index)
        self._parts = {part: getattr(panel, part).to_numpy(dtype=float) for part in PARTS}
        self._averages = {"fast": fast, "slow": slow, "state": _state(fast, slow)}
        self._references = {"bitcoin": _reference(bitcoin, index), "market": _reference(market, index)}

    def last(self, bars: int) -> _Windows:
        """Return the windows of so many bars that end with the last row: parts of shape (rows, series)."""

        def cut(values: Floats, rows: int, before: int) -> Floats:
            return _rows(values, self._length - rows - before, self._length - before)

        return self._windows(bars, cut)

    def ending(self, bars: int, start: int, stop: int) -> _Windows:
        """Return the windows that end with each row from `start` to before `stop`: shape (rows, ends, series)."""

        def cut(values: Floats, rows: int, before: int) -> Floats:
            reach = _rows(values, start - rows - before + 1, stop - before)
            return np.moveaxis(np.lib.stride_tricks.sliding_window_view(reach, rows, axis=0), -1, 0)

        return self._windows(bars, cut)

    def _windows(self, bars: int, cut: Callable[[Floats, int, int], Floats]) -> _Windows:
        parts = {part: cut(values, bars, 0) for part, values in self._parts.items()}
        return _Windows(
            bars=bars,
            width=self._width,
            closes=cut(self._parts["close"], bars + 1, 0),
            volume_before=cut(self._parts["volume"], bars, bars),
            fast=cut(self._averages["fast"], 1, 0)[0],
            slow=cut(self._averages["slow"], 1, 0)[0],
            states=cut(self._averages["state"], bars + 1, 0),
            **parts,
            **{name: cut(levels, bars + 1, 0) for name, levels in self._references.items()},
        )


def _numbers(windows: _Windows, parameters: TrendParameters) -> Numbers:
    """Return every number of `NUMBERS` for all windows at once; NaN where it is not known."""
    with np.errstate(over="ignore"):  # what does not fit is told as unknown
        return {
            **_counts(windows),
            **_prices(windows, parameters),
            **_ranges(windows, parameters),
            **_averages(windows),
            **_volumes(windows, parameters),
            **_comovements(windows, parameters),
        }


def _counts(windows: _Windows) -> Numbers:
    missing = np.isnan(windows.close).sum(axis=0)
    return {"bars": windows.bars - missing, "missing": missing}


def _prices(windows: _Windows, parameters: TrendParameters) -> Numbers:
    closes, bars = windows.closes, windows.bars
    first, last = closes[0], closes[-1]
    heights = logs(closes)
    deviation, returns = volatility(np.diff(heights, axis=0), timedelta(DAYS_A_YEAR) / windows.width)
    slope, strength, points = line(heights)
    drawdown, deepest, seen = drawdowns(closes)
    known, fitted = _enough(seen, bars + 1, parameters), _enough(points, bars + 1, parameters)
    return {
        "first_price": first,
        "last_price": last,
        "change": np.divide(last, first, where=first > 0, out=np.full(first.shape, np.nan)) - 1,
        "volatility": np.where(_enough(returns, bars, parameters), deviation, np.nan),
        "drawdown": np.where(known, drawdown, np.nan),
        "max_drawdown": np.where(known, deepest, np.nan),
        "slope": np.where(fitted, slope * (timedelta(days=1) / windows.width), np.nan),
        "strength": np.where(fitted, strength, np.nan),
    }


def _ranges(windows: _Windows, parameters: TrendParameters) -> Numbers:
    a_year = timedelta(DAYS_A_YEAR) / windows.width
    by_range, ranges = parkinson(windows.high, windows.low, a_year)
    by_bar, bars = garman_klass(windows.open, windows.high, windows.low, windows.close, a_year)
    return {
        "volatility_parkinson": np.where(_enough(ranges, windows.bars, parameters), by_range, np.nan),
        "volatility_garman_klass": np.where(_enough(bars, windows.bars, parameters), by_bar, np.nan),
    }


def _averages(windows: _Windows) -> Numbers:
    states = windows.states
    changed = states[:0:-1] != states[-2::-1]  # newest first; beside a hole nothing equals, and the state there is NaN
    since = changed.argmax(axis=0)
    before, after = (np.take_along_axis(states, (windows.bars - since - back)[None], axis=0)[0] for back in (1, 0))
    known = changed.any(axis=0) & ~np.isnan(before) & ~np.isnan(after)
    return {
        "sma_fast": windows.fast,
        "sma_slow": windows.slow,
        "ma_state": states[-1],
        "ma_bars": np.where(known, since, np.nan),
    }


def _volumes(windows: _Windows, parameters: TrendParameters) -> Numbers:
    total, before = windows.volume.sum(axis=0), windows.volume_before.sum(axis=0)
    poc, low, high, bars = volume_profile(
        windows.high, windows.low, windows.volume, rows=parameters.profile_rows, area=parameters.value_area
    )
    known = _enough(bars, windows.bars, parameters)
    return {
        "volume": total,
        "volume_change": np.divide(total, before, where=before > 0, out=np.full(total.shape, np.nan)) - 1,
        "poc_price": np.where(known, poc, np.nan),
        "value_area_low": np.where(known, low, np.nan),
        "value_area_high": np.where(known, high, np.nan),
    }


def _comovements(windows: _Windows, parameters: TrendParameters) -> Numbers:
    returns = simple_returns(windows.closes)
    numbers: Numbers = {}
    for name, levels in (("bitcoin", windows.bitcoin), ("market", windows.market)):
        correlation, beta, pairs = comovement(returns, simple_returns(levels))
        known = _enough(pairs, windows.bars, parameters)
        numbers[f"correlation_{name}"] = np.where(known, correlation, np.nan)
        numbers[f"beta_{name}"] = np.where(known, beta, np.nan)
    return numbers


def _enough(counts: Counts, of: int, parameters: TrendParameters) -> NDArray[np.bool_]:
    return counts >= math.ceil(of * parameters.coverage - 1e-9)  # 0.55 * 100 is a little more than 55 in binary


def _state(fast: Floats, slow: Floats) -> Floats:
    difference = fast - slow
    return np.where(np.abs(difference) <= SAME_AVERAGE * np.abs(slow), 0.0, np.sign(difference))


def _reference(levels: pd.Series | None, index: pd.Index) -> Floats:
    if levels is None:
        return np.full((len(index), 1), np.nan)
    return levels.reindex(index).to_numpy(dtype=float)[:, None]


def _rows(values: Floats, start: int, stop: int) -> Floats:
    """Return the rows from `start` to before `stop`; those before the first one are NaN."""
    there = values[max(start, 0) : max(stop, 0)]
    absent = np.full((stop - start - len(there), values.shape[1]), np.nan)
    return np.vstack([absent, there]) if len(absent) else there


def _part(panel: BarPanel, rows: int, columns: slice) -> BarPanel:
    return replace(panel, **{part: getattr(panel, part).iloc[-rows:, columns] for part in PARTS})


def _longest(windows: Mapping[str, int]) -> int:
    for window, bars in windows.items():
        if bars < 1:
            raise ValueError(f"window {window} of {bars} bars: must be at least 1")
    return max(windows.values(), default=1)


def _chunks(length: int, cells: int) -> Iterator[tuple[int, int]]:
    step = max(CELLS_AT_ONCE // cells, 1)
    for start in range(0, length, step):
        yield start, min(start + step, length)


def _told(name: str, values: NDArray[Any]) -> list[Any]:
    """Return values as Python's own numbers, None for what is not finite."""
    if name in COUNTS:
        return list(values.tolist())
    whole = name in STATES
    return [(int(value) if whole else value) if math.isfinite(value) else None for value in values.tolist()]
