"""Standard indicators of candle series, column by column; pure, and the same numbers for a window as for all history.

Rules that hold for every column
- Input is closed bars only, ascending by open time. Output columns have the input's length.
- A value is NaN until its warm-up is over: the first value of a column is at bar `FIRST_BAR[column]` of its stretch.
- A missing bar ends a stretch: everything starts again after it, so no value mixes bars across a hole. Pivot levels
  are the exception, they depend on a whole earlier day (see `levels`).
- Windowed equals whole: at least `LOOKBACK` bars before the first wanted bar give every column as computed from the
  whole history, to 1e-9 of the price. The slowest memory is EMA 200, which forgets by 199/201 a bar. Seeded 200 bars
  into a window of 2880 it keeps (199/201)^2680 = 2.3e-12 of the seed's error, so even a seed 400 times the present
  price is gone to 1e-9. Wilder's 13/14 (RSI, ATR, ADX) is gone after 400 bars. 2880 is also two days of 1m bars, so
  that yesterday is always whole in the window.
- OBV never forgets, so a window is anchored at a value stored before (`Anchor`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from collector.indicators.levels import PIVOT_COLUMNS, SWING_COLUMNS, SWING_LOOKBACK, pivot_levels, swing_levels
from collector.indicators.stretch import (
    FIRST_BAR,
    Columns,
    Floats,
    Stretch,
    obv_runs,
    on_balance_volume,
    talib_columns,
)

LOOKBACK = 2880  # bars before the first wanted one; derived above

LEVEL_COLUMNS = (*PIVOT_COLUMNS, *SWING_COLUMNS)
STANDARD = (*FIRST_BAR, *LEVEL_COLUMNS)

SLOWEST = max(FIRST_BAR.values())  # the first bar of a stretch at which all of `FIRST_BAR` have values

# Series are laid end to end and the numpy parts run once for all: a numpy call costs as much as 500 bars of arithmetic.
# About 16 000 bars keep the working arrays in the processor's cache.
GROUP_BARS = 16_000


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed candles of one series, ascending. Prices are finite; a volume that is not known is NaN."""

    width: int  # seconds
    open_time: NDArray[np.int64]  # seconds since the epoch
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.open_time)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A stored OBV from which a window goes on."""

    open_time: int  # seconds since the epoch, of a bar inside the window
    obv: float


@dataclass(frozen=True, slots=True)
class Series:
    """What the indicators of one series are computed from."""

    bars: Bars
    daily: Bars | None = None  # 1d bars of the same instrument, for pivot levels after a day not whole in `bars`
    anchor: Anchor | None = None  # moves the OBV that starts at the first of `bars`; after a hole it starts anew


@dataclass(frozen=True, slots=True)
class Indicators:
    """Every column of `STANDARD`, and at which bars all of them have values."""

    columns: Columns
    warm: NDArray[np.bool_]

    def kept(self, first: int = 0) -> Columns:
        """Return the columns from a bar on, to stay valid when the next series is taken.

        Of a whole history only what is shared is copied; a part is copied, so that it does not hold the rest.
        """
        if first:
            return {name: values[first:].copy() for name, values in self.columns.items()}
        return {**self.columns, **{name: self.columns[name].copy() for name in LEVEL_COLUMNS}}


def compute(series: Series, *, swing_lookback: int = SWING_LOOKBACK) -> Indicators:
    """Return the indicators of one series; see `compute_many`."""
    return next(compute_many([series], swing_lookback=swing_lookback))


def compute_many(series: Iterable[Series], *, swing_lookback: int = SWING_LOOKBACK) -> Iterator[Indicators]:
    """Yield the indicators of each series, in order.

    They are computed as they are asked for, and share working memory: `LEVEL_COLUMNS` and `warm` of one are valid until
    the next one is taken, so copy what you keep of them; the other columns are arrays of their own. That keeps memory
    small and the processor's cache warm. Raises ValueError when a series has no bars, when widths differ, or when
    times do not ascend.
    """
    room = _Room()
    group: list[Series] = []
    bars = 0
    for item in series:
        if group and bars + len(item.bars) > GROUP_BARS:
            yield from _compute_group(group, room, swing_lookback)
            group, bars = [], 0
        group.append(item)
        bars += len(item.bars)
    if group:
        yield from _compute_group(group, room, swing_lookback)


def stretches_of(open_time: NDArray[np.int64], width: int, starts: Sequence[int] = (0,)) -> list[Stretch]:
    """Return index ranges [start, stop) of bars that follow each other without a hole.

    `starts` are the indexes at which a new series begins. Raises ValueError when the times of a series do not ascend.
    """
    breaks = np.ones(len(open_time), dtype=np.bool_)
    np.not_equal(open_time[1:] - open_time[:-1], width, out=breaks[1:])
    breaks[list(starts)] = False
    holes = np.flatnonzero(breaks)
    if (open_time[holes] <= open_time[holes - 1]).any():
        raise ValueError("candles must be ascending by open time, without duplicates")
    breaks[list(starts)] = True
    return list(pairwise([*np.flatnonzero(breaks).tolist(), len(open_time)]))


class _Room:
    """Working memory that is kept from group to group.

    Given back after every group, its pages come anew from the system each time, which takes as long as a quarter of
    the arithmetic.
    """

    def __init__(self) -> None:
        self._block = np.empty((5 + len(LEVEL_COLUMNS), GROUP_BARS))

    def rows(self, bars: int) -> Floats:
        """Return one row per shared input and column, with room for `bars` bars; what was in there is lost."""
        if bars > self._block.shape[1]:
            self._block = np.empty((len(self._block), bars))
        return self._block[:, :bars]


class _Group:
    """Series laid end to end, with everything that is computed for all of them at once."""

    def __init__(self, group: Sequence[Series], room: _Room, swing_lookback: int) -> None:
        parts = [item.bars for item in group]
        if len({part.width for part in parts}) != 1 or not all(map(len, parts)):
            raise ValueError("series must have bars, all of one width")
        self.edges = [0]  # where each series starts, and where the last one ends
        for part in parts:
            self.edges.append(self.edges[-1] + len(part))
        block = room.rows(self.edges[-1])
        open_time = np.concatenate([part.open_time for part in parts], out=block[0].view(np.int64))
        self.high = np.concatenate([part.high for part in parts], out=block[1])
        self.low = np.concatenate([part.low for part in parts], out=block[2])
        self.close = np.concatenate([part.close for part in parts], out=block[3])
        self.volume = np.concatenate([part.volume for part in parts], out=block[4])
        width, starts = parts[0].width, self.edges[:-1]
        self.stretches = stretches_of(open_time, width, starts)
        self.levels = block[5:]
        pivots, swings = self.levels[: len(PIVOT_COLUMNS)], self.levels[len(PIVOT_COLUMNS) :]
        daily = [_day_prices(item.daily) for item in group]
        prices = open_time, self.high, self.low, self.close
        pivot_levels(*prices, width=width, starts=starts, daily=daily, out=pivots)
        swing_levels(self.high, self.low, self.stretches, swing_lookback, out=swings)
        missing = np.isnan(self.volume)
        self.unknown = missing if missing.any() else None
        self.warm = ~(np.isnan(pivots[0] + swings[0]) | missing)  # there is an OBV exactly where there is a volume
        for start, stop in self.stretches:
            self.warm[start : min(start + SLOWEST, stop)] = False


def _compute_group(group: Sequence[Series], room: _Room, swing_lookback: int) -> Iterator[Indicators]:
    shared = _Group(group, room, swing_lookback)
    opens = [start for start, _ in shared.stretches]
    for item, (start, stop) in zip(group, pairwise(shared.edges), strict=True):
        own = shared.stretches[bisect_left(opens, start) : bisect_left(opens, stop)]
        yield Indicators(_columns(item, shared, (start, stop), own), shared.warm[start:stop])


def _columns(item: Series, shared: _Group, span: Stretch, stretches: Sequence[Stretch]) -> Columns:
    high, low, close = shared.high, shared.low, shared.close
    columns = _joined([talib_columns(high[a:b], low[a:b], close[a:b]) for a, b in stretches])
    runs = obv_runs(shared.unknown, stretches)
    columns["obv"] = obv = on_balance_volume(close, shared.volume, runs, span)
    if item.anchor is not None and runs and runs[0][0] == span[0]:
        _anchor_obv(obv[: runs[0][1] - span[0]], item.bars.open_time, item.anchor)
    columns.update(zip(LEVEL_COLUMNS, shared.levels[:, span[0] : span[1]], strict=True))
    return columns


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _anchor_obv(obv: Floats, open_time: NDArray[np.int64], anchor: Anchor) -> None:
    index = int(np.searchsorted(open_time[: len(obv)], anchor.open_time))
    if index < len(obv) and open_time[index] == anchor.open_time:
        obv += anchor.obv - obv[index]


def _day_prices(daily: Bars | None) -> tuple[NDArray[np.int64], Floats, Floats, Floats] | None:
    return None if daily is None else (daily.open_time, daily.high, daily.low, daily.close)
