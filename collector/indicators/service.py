"""Which indicators a cycle has to compute, and from which stored candles; memory stays bounded however long they are.

Only series that the cycle touched are computed, from each touched span on: to the newest stored bar, or to the next
hole, behind which nothing changes (see `compute`). So a long past that comes in parts, oldest first, is computed
once, not once for each part. Bars before a span that have no indicators yet (the collector died between candles and
indicators, or indicators were switched on later) are computed too. Each window begins `history` bars earlier, so that
every value is the one the whole history would give. All reading goes through a `CandleReader`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.clock import EPOCH, floor_time
from collector.indicators.compute import LOOKBACK, Anchor, Bars, Indicators, Series, compute_many
from collector.indicators.extra import compute_extra, load_extra
from collector.indicators.levels import SWING_LOOKBACK, needs_daily
from collector.records import IndicatorBlock, Instrument, Interval

Window = Mapping[str, NDArray[Any]]
Span = tuple[datetime, datetime]  # first and last open time of bars that came or changed
Touched = Mapping[tuple[Instrument, Interval], Sequence[Span]]

ALL_INTERVALS = tuple(Interval)
COLUMNS = ("open_time", "open", "high", "low", "close", "volume")  # of `Bars`

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
    """Bars of one series to compute: [since, until), from candles at or after `load_since`.

    They end before a bar at or after `settled` that has a hole before it: it does not depend on what was touched.
    """

    instrument: Instrument
    load_since: datetime
    since: datetime
    until: datetime
    settled: datetime
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
        """Yield blocks, a list at a time, for every series touched.

        Bars of a series come in ascending order. Write a list before taking the next one: the OBV goes on from it.
        """
        for interval in Interval:
            near = self._history * interval.width
            series = {item: _merged(spans, near) for (item, own), spans in touched.items() if own is interval}
            if interval not in self._intervals:
                continue
            for spans in zip_longest(*series.values()):  # a series' spans one after the other
                turn = {item: span for item, span in zip(series, spans, strict=True) if span is not None}
                for chunk in _chunks(self._plan(turn, interval), interval.width):
                    yield from self._compute(chunk, interval)

    def _plan(self, spans: Mapping[Instrument, Span], interval: Interval) -> Iterator[_Work]:
        width = interval.width
        stored = self._reader.bar_spans([item.id for item in spans], interval)
        anchors = self._reader.obv_anchors({item.id: start for item, (start, _) in spans.items()}, interval)
        for item, (start, last) in spans.items():
            if item.id not in stored:
                continue
            oldest, newest = stored[item.id]
            anchored_at, obv = anchors.get(item.id, (oldest - width, None))
            since = max(oldest, min(start, anchored_at + width))
            if since > newest:
                continue
            anchor = None if obv is None else Anchor(_seconds(anchored_at), obv)
            load_since = max(oldest, since - self._history * width)
            yield _Work(item, load_since, since, newest + width, _settled(last, interval), anchor)

    def _compute(self, chunk: Sequence[_Work], interval: Interval) -> Iterator[list[IndicatorBlock]]:
        if len(chunk) > 1 or chunk[0].until - chunk[0].since <= BLOCK_BARS * interval.width:
            yield [block for block, _ in self._run(chunk, interval)]
            return
        work = chunk[0]
        since, anchor = work.since, work.anchor
        while since < work.until:
            until = min(work.until, since + BLOCK_BARS * interval.width)
            load_since = max(work.load_since, since - self._history * interval.width)
            part = replace(work, load_since=load_since, since=since, until=until, anchor=anchor)
            end = since
            for block, anchor in self._run([part], interval):  # noqa: B007 - the last bar anchors the next part
                yield [block]
                end = block.open_times[-1] + interval.width if block.open_times else since
            if end < until and work.settled <= until:  # a hole lies before all that follows
                return
            since = until

    def _run(self, chunk: Sequence[_Work], interval: Interval) -> Iterator[tuple[IndicatorBlock, Anchor | None]]:
        """Yield each series' block, and its last OBV as the anchor of what follows."""
        requests = {work.instrument.id: (work.load_since, work.until) for work in chunk}
        loaded = self._reader.load_candle_windows(requests, interval)
        known = [work for work in chunk if work.instrument.id in loaded]
        whole = [_until_hole(_bars(loaded[work.instrument.id], interval), work.settled) for work in known]
        found = [work for work, own in zip(known, whole, strict=True) if len(own)]
        bars = [own for own in whole if len(own)]
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
            columns=result.kept(first),
            extra={name: values[first:].copy() for name, values in extra.items()},
            warm=tuple(result.warm[first:].tolist()),
        )
        obv = result.columns["obv"][-1]
        return block, None if np.isnan(obv) else Anchor(int(bars.open_time[-1]), float(obv))


def _merged(spans: Sequence[Span], near: timedelta) -> list[Span]:
    """Return spans in ascending order; those that would load the same bars are one."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first - merged[-1][1] <= near:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _settled(last: datetime, interval: Interval) -> datetime:
    """Return from when on only bars without a hole before them depend on the bar that opens at `last`.

    A bar also moves the pivot levels of the day after its own, holes or not.
    """
    if interval.width >= Interval.D1.width:
        return last + interval.width
    return floor_time(last, Interval.D1) + 2 * Interval.D1.width


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
    return Bars(int(interval.width.total_seconds()), *(window[name] for name in COLUMNS))


def _until_hole(bars: Bars, settled: datetime) -> Bars:
    """Return the bars before the first one at or after `settled` that has a hole before it; without one, all."""
    opened = bars.open_time[1:]
    after_hole = np.flatnonzero((opened - bars.open_time[:-1] != bars.width) & (opened >= _seconds(settled)))
    if not len(after_hole):
        return bars
    stop = int(after_hole[0]) + 1
    return Bars(bars.width, *(getattr(bars, name)[:stop] for name in COLUMNS))


def _seconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)
