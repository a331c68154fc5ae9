"""Which indicators a cycle has to compute, and from which stored candles; memory stays bounded however long they are.

Only series that the cycle touched are computed, from the first touched bar to the newest stored one. Bars before it
that have no indicators yet (the collector died between candles and indicators, or indicators were switched on later)
are computed too. Each window begins `history` bars earlier, so that every value is the one the whole history would
give (see `compute`). All reading goes through a `CandleReader`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.clock import EPOCH, floor_time
from collector.indicators.compute import LOOKBACK, Anchor, Bars, Indicators, Series, compute_many
from collector.indicators.extra import compute_extra, load_extra
from collector.indicators.levels import SWING_LOOKBACK, needs_daily
from collector.records import IndicatorBlock, Instrument, Interval

Window = Mapping[str, NDArray[Any]]
Touched = Mapping[tuple[Instrument, Interval], datetime]

ALL_INTERVALS = tuple(Interval)

# Bars loaded at once, for all series of a chunk together: six columns of 8 bytes each are 5 MB, the results of one
# series at a time come on top.
CHUNK_BARS = 100_000
# A series with more bars to compute than this is worked off in blocks, alone; three times the history that each block
# has to load again keeps three quarters of the work useful.
BLOCK_BARS = 3 * LOOKBACK


class CandleReader(Protocol):
    """What is read from the database. Ids are `Instrument.id`; times are open times; only closed candles count."""

    def bar_spans(self, ids: Collection[str], interval: Interval) -> Mapping[str, tuple[datetime, datetime]]:
        """Return the oldest and the newest stored candle of each series; a series without candles is left out."""

    def obv_anchors(
        self, requests: Mapping[str, datetime], interval: Interval
    ) -> Mapping[str, tuple[datetime, float | None]]:
        """Return time and `obv` of the newest stored indicator row before the given time, where there is one."""

    def load_candle_windows(
        self, requests: Mapping[str, tuple[datetime, datetime]], interval: Interval
    ) -> Mapping[str, Window]:
        """Return the candles with since <= open time < until of each series, ascending; none: may be left out.

        A window holds arrays of one length: `open_time` (int64, seconds since the epoch) and `open`, `high`, `low`,
        `close`, `volume` (float64; an unknown volume is NaN).
        """


@dataclass(frozen=True, slots=True)
class _Work:
    """Bars of one series to compute: [since, until), from candles at or after `load_since`."""

    instrument: Instrument
    load_since: datetime
    since: datetime
    until: datetime
    anchor: Anchor | None

    def loaded_bars(self, width: timedelta) -> int:
        return max(0, (self.until - self.load_since) // width)


class IndicatorService:
    """Computes indicators of touched series.

    `intervals` are those that have indicators at all. `extra` are TA-Lib functions with parameters; a wrong one is a
    ValueError here, when the collector starts. `history` is how many bars are loaded before the first computed one;
    it is raised to what the configured functions need, and fewer than `LOOKBACK` is a ValueError.
    """

    def __init__(
        self,
        reader: CandleReader,
        *,
        intervals: Iterable[Interval] = ALL_INTERVALS,
        swing_lookback: int = SWING_LOOKBACK,
        extra: Iterable[tuple[str, Mapping[str, float]]] = (),
        history: int = LOOKBACK,
    ) -> None:
        if history < LOOKBACK:
            raise ValueError(f"history: {history} bars are too few, the slowest indicator needs {LOOKBACK}")
        self._reader = reader
        self._intervals = frozenset(intervals)
        self._swing_lookback = swing_lookback
        self._extra = load_extra(extra)
        self._history = max([history, swing_lookback, *(item.history for item in self._extra)])

    def blocks(self, touched: Touched) -> Iterator[list[IndicatorBlock]]:
        """Yield blocks, a list at a time, for every series touched; `touched` gives the first touched open time.

        Each bar comes once, bars of a series in ascending order. Write a list before taking the next one.
        """
        for interval in Interval:
            starts = {item: start for (item, own), start in touched.items() if own is interval}
            if starts and interval in self._intervals:
                for chunk in _chunks(self._plan(starts, interval), interval.width):
                    yield from self._compute(chunk, interval)

    def _plan(self, starts: Mapping[Instrument, datetime], interval: Interval) -> Iterator[_Work]:
        width = interval.width
        spans = self._reader.bar_spans([item.id for item in starts], interval)
        anchors = self._reader.obv_anchors({item.id: start for item, start in starts.items()}, interval)
        for item, start in starts.items():
            if item.id not in spans:
                continue
            oldest, newest = spans[item.id]
            anchored_at, obv = anchors.get(item.id, (oldest - width, None))
            since = max(oldest, min(start, anchored_at + width))
            if since > newest:
                continue
            anchor = None if obv is None else Anchor(_seconds(anchored_at), obv)
            yield _Work(item, max(oldest, since - self._history * width), since, newest + width, anchor)

    def _compute(self, chunk: Sequence[_Work], interval: Interval) -> Iterator[list[IndicatorBlock]]:
        if len(chunk) > 1 or chunk[0].until - chunk[0].since <= BLOCK_BARS * interval.width:
            yield [block for block, _ in self._run(chunk, interval)]
            return
        work = chunk[0]
        since, anchor = work.since, work.anchor
        while since < work.until:
            until = min(work.until, since + BLOCK_BARS * interval.width)
            load_since = max(work.load_since, since - self._history * interval.width)
            part = _Work(work.instrument, load_since, since, until, anchor)
            for block, anchor in self._run([part], interval):  # noqa: B007 - the last bar anchors the next part
                yield [block]
            since = until

    def _run(self, chunk: Sequence[_Work], interval: Interval) -> Iterator[tuple[IndicatorBlock, Anchor | None]]:
        """Yield each series' block, and its last OBV as the anchor of what follows."""
        requests = {work.instrument.id: (work.load_since, work.until) for work in chunk}
        loaded = self._reader.load_candle_windows(requests, interval)
        found = [
            work for work in chunk if work.instrument.id in loaded and len(loaded[work.instrument.id]["open_time"])
        ]
        bars = [_bars(loaded[work.instrument.id], interval) for work in found]
        daily = self._daily(found, bars, interval)
        series = [
            Series(own, daily.get(work.instrument.id), work.anchor) for work, own in zip(found, bars, strict=True)
        ]
        results = compute_many(series, swing_lookback=self._swing_lookback)
        for work, own, result in zip(found, bars, results, strict=True):
            yield self._block(work, own, result, interval)

    def _daily(self, chunk: Sequence[_Work], bars: Sequence[Bars], interval: Interval) -> dict[str, Bars]:
        """Return 1d bars of the series that have not every bar of a day that pivot levels are wanted for."""
        day = Interval.D1.width
        requests = {
            work.instrument.id: (floor_time(work.since, Interval.D1) - day, work.until)
            for work, own in zip(chunk, bars, strict=True)
            if needs_daily(own.open_time, own.width, _seconds(work.since))
        }
        if not requests or interval.width >= day:
            return {}
        loaded = self._reader.load_candle_windows(requests, Interval.D1)
        return {name: _bars(window, Interval.D1) for name, window in loaded.items()}

    def _block(
        self, work: _Work, bars: Bars, result: Indicators, interval: Interval
    ) -> tuple[IndicatorBlock, Anchor | None]:
        first = int(np.searchsorted(bars.open_time, _seconds(work.since)))
        extra = compute_extra(bars, self._extra) if self._extra else {}
        times = bars.open_time[first:].tolist()
        block = IndicatorBlock(
            instrument=work.instrument,
            interval=interval,
            open_times=tuple(EPOCH + timedelta(seconds=value) for value in times),
            columns={name: values[first:].copy() for name, values in result.columns.items()},
            extra={name: values[first:].copy() for name, values in extra.items()},
            warm=tuple(result.warm[first:].tolist()),
        )
        obv = result.columns["obv"][-1]
        return block, None if np.isnan(obv) else Anchor(int(bars.open_time[-1]), float(obv))


def _chunks(work: Iterable[_Work], width: timedelta) -> Iterator[list[_Work]]:
    """Yield series that can be loaded together; a long one comes alone."""
    chunk: list[_Work] = []
    bars = 0
    for item in work:
        if item.until - item.since > BLOCK_BARS * width:
            yield [item]
            continue
        if chunk and bars + item.loaded_bars(width) > CHUNK_BARS:
            yield chunk
            chunk, bars = [], 0
        chunk.append(item)
        bars += item.loaded_bars(width)
    if chunk:
        yield chunk


def _bars(window: Window, interval: Interval) -> Bars:
    columns = (window[name] for name in ("open_time", "open", "high", "low", "close", "volume"))
    return Bars(int(interval.width.total_seconds()), *columns)


def _seconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)
