"""A rule's states over a whole panel, and the rows that follow from them.

A signal is told at a bar whose state and the state before are both known and differ. So the first state after a start
or a hole is no signal (nobody knows when it began), and adding older bars takes none back.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.analytics.signals.parameters import Rule
from collector.analytics.signals.rows import HOLE, WARM_UP, Signal, SignalGap, SignalState
from collector.analytics.signals.windows import Floats, Mask, Signs
from collector.records import Interval


class Window(NamedTuple):
    """The inputs of one signal: first and last time, how many, and their hash."""

    since: datetime
    until: datetime
    bars: int
    digest: str


class Evidence(Protocol):
    """Says what the states at a bar and at the bar before were made from."""

    def window(self, row: int, column: int) -> Window:
        """Return the inputs; asked only where both states are known."""

    def broken(self, column: int, last: int) -> bool:
        """Return whether an input is missing between the series' first one and this bar."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The panel's axes and closes, in the forms that rows are made from."""

    interval: Interval
    ends: Sequence[datetime]
    subjects: Sequence[str]
    close: Floats
    since: int  # rows before this one are context alone


@dataclass(frozen=True, slots=True)
class Track:
    """One rule over all series: direction, strength and whether both are known, a row per bar."""

    rule: Rule
    columns: Sequence[int]  # of the grid: the series this rule can be told about
    direction: Signs
    strength: Floats
    known: Mask
    evidence: Evidence


class BarEvidence:
    """The last `bars` bars of one or more frames."""

    def __init__(self, ends: Sequence[datetime], frames: Sequence[Floats], bars: int) -> None:
        """Take the frames (a column per series) and the bars that a state and the one before it need together."""
        self._ends, self._bars = ends, bars
        self._columns = [np.ascontiguousarray(frame.T, dtype="<f8") for frame in frames]
        self._present = np.logical_and.reduce([np.isfinite(frame) for frame in frames])

    def window(self, row: int, column: int) -> Window:
        """Return the inputs of the states at a bar and the bar before."""
        first = row - self._bars + 1
        digest = hashed(values[column, first : row + 1] for values in self._columns)
        return Window(self._ends[first], self._ends[row], self._bars, digest)

    def broken(self, column: int, last: int) -> bool:
        """Return whether a bar is missing from the series' first one to this one."""
        present = self._present[: last + 1, column]
        return not bool(present[int(np.argmax(present)) :].all())


def hashed(arrays: Iterator[NDArray[np.float64]]) -> str:
    """Return the first 16 hexadecimal digits of SHA-256 over arrays of little-endian doubles, end to end."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f8").data)
    return digest.hexdigest()[:16]


def told(track: Track) -> Mask:
    """Return where a change would be a signal: this state and the one before are known."""
    both = np.zeros_like(track.known)
    both[1:] = track.known[1:] & track.known[:-1]
    return both


def track_signals(track: Track, grid: Grid) -> Iterator[Signal]:
    """Yield a signal per change, bar after bar of one series, then the next series."""
    changed = told(track)
    changed[1:] &= track.direction[1:] != track.direction[:-1]
    changed[: grid.since] = False
    rule = track.rule
    for column, row in np.argwhere(changed.T).tolist():
        window = track.evidence.window(row, column)
        direction = int(track.direction[row, column])
        yield Signal(
            subject=grid.subjects[track.columns[column]],
            interval=grid.interval,
            kind=rule.kind,
            name=rule.name,
            bar_end=grid.ends[row],
            direction=direction,
            state=rule.states[direction],
            strength=float(track.strength[row, column]),
            price=price_at(grid, row, track.columns[column]),
            window_since=window.since,
            window_until=window.until,
            bars=window.bars,
            parameter_hash=rule.parameter_hash,
            version=rule.version,
            parameters=rule.parameters,
            inputs_hash=window.digest,
        )


def track_states(track: Track, grid: Grid) -> Iterator[SignalState]:
    """Yield the last known state of each series that has one."""
    rule = track.rule
    for column, name in enumerate(track.columns):
        rows = np.flatnonzero(track.known[:, column])
        if not len(rows):
            continue
        row = int(rows[-1])
        began, seen = _beginning(track.direction[:, column], track.known[:, column], row)
        direction = int(track.direction[row, column])
        yield SignalState(
            subject=grid.subjects[name],
            interval=grid.interval,
            kind=rule.kind,
            name=rule.name,
            bar_end=grid.ends[row],
            direction=direction,
            state=rule.states[direction],
            strength=float(track.strength[row, column]),
            price=price_at(grid, row, name),
            since=grid.ends[began],
            since_known=seen,
            changed_bars=row - began,
            parameter_hash=rule.parameter_hash,
            version=rule.version,
        )


def track_gaps(track: Track, grid: Grid) -> Iterator[SignalGap]:
    """Yield the runs of bars at which nothing can be told, from the series' first bar on."""
    mute = ~told(track)
    for column, name in enumerate(track.columns):
        present = np.flatnonzero(np.isfinite(grid.close[:, name]))
        started = max(grid.since, int(present[0]) if len(present) else 0)
        for first, last in _runs(mute[:, column], started):
            yield SignalGap(
                subject=grid.subjects[name],
                interval=grid.interval,
                kind=track.rule.kind,
                name=track.rule.name,
                since=grid.ends[first],
                until=grid.ends[last],
                bars=last - first + 1,
                reason=HOLE if track.evidence.broken(column, last) else WARM_UP,
            )


def price_at(grid: Grid, row: int, column: int) -> float | None:
    """Return the close of a bar; None: there is no such bar."""
    close = float(grid.close[row, column])
    return close if np.isfinite(close) else None


def _beginning(direction: Signs, known: Mask, row: int) -> tuple[int, bool]:
    """Return the first bar of the run of one known state that ends at a row, and whether its beginning was seen."""
    other = np.flatnonzero(~known[:row] | (direction[:row] != direction[row]))
    before = int(other[-1]) if len(other) else -1
    return before + 1, before >= 0 and bool(known[before])


def _runs(mask: Mask, started: int) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask[started:], [False])).astype(np.int8)))
    for first, stop in edges.reshape(-1, 2).tolist():
        yield started + first, started + stop - 1
