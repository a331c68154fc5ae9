"""Coverage: every wanted window of a series is in exactly one state, and this says which, why and what is next (pure).

A series is one instrument's bars of one interval, or its funding payments. Its windows never overlap; neighbours that
say the same are one window, so a series without holes is a single row that grows. What is in no window is not wanted:
nobody asked for it, or it lies before the first bar.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Generic, TypeVar

from collector.clock import bar_count, floor_time
from collector.errors import IllegalTransition
from collector.records import Dataset, Instrument, Interval, Job


class State(StrEnum):
    """What is known of a window."""

    OBSERVED = "observed"
    FILLED = "filled"  # by another provider
    PROVIDER_HAS_NONE = "provider_has_none"
    MISSING = "missing"
    PENDING = "pending"  # being fetched


HELD = frozenset({State.OBSERVED, State.FILLED})


class Event(StrEnum):
    """What happened to a window."""

    GOT = "got"  # the series' own provider gave it
    GOT_ELSEWHERE = "got_elsewhere"  # another provider gave it
    ABSENT = "absent"  # not in a good answer of the own provider
    CONFIRMED = "confirmed"  # nor in a later one
    BEFORE_FIRST = "before_first"  # older than the first bar of a good answer
    ABSENT_ELSEWHERE = "absent_elsewhere"  # not in a good answer of another provider
    FAILED = "failed"  # the call failed
    NOT_ASKED = "not_asked"  # the job was not started
    WANTED = "wanted"  # somebody found that it is not held
    ASKED = "asked"  # a job for it is on its way
    LET_GO = "let_go"  # that job's process died
    LOST = "lost"  # its rows are gone
    EXHAUSTED = "exhausted"  # everybody was asked


_O, _F, _N, _M, _P = State.OBSERVED, State.FILLED, State.PROVIDER_HAS_NONE, State.MISSING, State.PENDING
_Row = Mapping[State | None, State | None]
_BACK: _Row = {None: _M, _M: _M, _P: _M, _N: _N, _O: _O, _F: _F}  # what is held stays held

TRANSITIONS: Mapping[Event, _Row] = {
    Event.GOT: dict.fromkeys((None, *State), _O),
    Event.GOT_ELSEWHERE: {**dict.fromkeys((None, *State), _F), _O: _O},
    Event.ABSENT: _BACK,
    Event.CONFIRMED: {_M: _N, _P: _N, _N: _N},
    Event.BEFORE_FIRST: {**_BACK, None: None},  # not wanted, unless somebody asked for it
    Event.ABSENT_ELSEWHERE: _BACK,
    Event.FAILED: _BACK,
    Event.NOT_ASKED: _BACK,
    Event.WANTED: {None: _M, _M: _M, _P: _P, _N: _N, _O: _O, _F: _F},
    Event.ASKED: {None: _P, _M: _P, _P: _P, _N: _P},
    Event.LET_GO: {_P: _M},
    Event.LOST: {None: _M, _M: _M, _P: _P, _N: _N, _O: _M, _F: _M},
    Event.EXHAUSTED: {_M: _N, _N: _N},
}
"""Event -> state before -> state after; None stands for a window that is not wanted."""

NOT_IN_ANSWER = "not in the provider's answer"
NOT_BELIEVED = "not in the provider's answer, or refused as not to be believed (see rejects)"
NOT_ELSEWHERE = "not in the answer of the provider that was asked instead"
OLDER = "older than the first bar the provider gives"
HAS_NONE = "the provider gave the time around it twice and has no bar for it"
NOBODY = "older than the first bar the provider gives, and nobody else has it"
FOUND_BY_SCAN = "no rows are stored"
ASKED_FOR = "asked for by backfill"
NOT_ASKED_YET = "the backfill was stopped before this was asked for"

_ABSENCES = frozenset({NOT_IN_ANSWER, NOT_BELIEVED, OLDER})
BACK_OFF = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(days=1))
LEASE = timedelta(minutes=10)  # a job that did not end by then is taken for lost
OWN_TRIES = 2  # vain ones, before other providers are asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One instrument's bars of one interval, or its funding payments (no interval). `.name` is how people write it."""

    instrument: str  # canonical id
    dataset: Dataset
    interval: Interval | None = None

    @property
    def name(self) -> str:
        return f"{self.instrument}/{self.interval or self.dataset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a series in one state: [since, until)."""

    since: datetime
    until: datetime
    state: State
    source: str  # who gave it, or was asked last
    reason: str = ""  # empty when observed
    attempts: int = 0  # vain ones
    next_try_at: datetime | None = None  # None: it is not waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a job or a scan says about a stretch of a series."""

    since: datetime
    until: datetime
    event: Event
    source: str
    reason: str = ""


def moved(state: State | None, event: Event) -> State | None:
    """Return the state after an event; raise IllegalTransition for a move that does not exist."""
    row = TRANSITIONS[event]
    if state not in row:
        raise IllegalTransition(f"a {state or 'not wanted'} window cannot move by {event}")
    return row[state]


# --------------------------------------------------------------------------- what a job found


def series_of(job: Job) -> tuple[Series, Instrument] | None:
    """Return the series that a job is about; None when it is about none, or names no range."""
    if job.dataset not in (Dataset.CANDLES, Dataset.FUNDING) or job.since is None or job.until is None:
        return None
    if len(job.instruments) != 1 or (job.dataset is Dataset.CANDLES) != (job.interval is not None):
        return None
    instrument = job.stands_for or job.instruments[0]
    return Series(instrument=instrument.id, dataset=job.dataset, interval=job.interval), instrument


def findings(
    job: Job, opens: Sequence[datetime], *, state: str, error: str = "", rejected: bool = False
) -> list[Finding]:
    """Return what a job of a series says about [job.since, job.until), without overlaps and in order.

    `opens` are the open times of the closed bars that were stored, in any order; `state` and `error` are the batch's.
    `rejected` says that rows of the answer were refused. Funding has no grid: a good answer covers what was asked.
    """
    assert job.since is not None  # noqa: S101 - series_of says so
    assert job.until is not None  # noqa: S101
    interval = job.interval
    got = Event.GOT if job.stands_for is None else Event.GOT_ELSEWHERE
    if interval is None:
        event, why = (got, "") if state == "ok" else _absence(job, state, error, rejected=rejected)
        found = [Finding(since=job.since, until=job.until, event=event, source=job.source, reason=why)]
        return found if job.since < job.until else []
    grid, end, width = _grid(job.since, job.until, interval)
    held = sorted(set(opens))
    if held and held[0] == grid and held[-1] + width == end and len(held) * width == end - grid:  # nearly always
        return [Finding(since=grid, until=end, event=got, source=job.source)]
    absent, reason = _absence(job, state, error, rejected=rejected)
    start, stop = min([grid, *held[:1]]), max([end, *(opened + width for opened in held[-1:])])
    found = []
    for since, until, is_held in _runs(start, stop, held, width):
        if is_held:
            found.append(Finding(since=since, until=until, event=got, source=job.source))
            continue
        first, last = max(since, grid), min(until, end)  # a page can bring more than was asked for, never less
        leads = absent is Event.ABSENT and first == grid and last < end and not rejected and since == first
        event, why = (Event.BEFORE_FIRST, OLDER) if leads else (absent, reason)
        if first < last:
            found.append(Finding(since=first, until=last, event=event, source=job.source, reason=why))
    return found


@lru_cache(maxsize=64)  # the jobs of a cycle share a few ranges
def _grid(since: datetime, until: datetime, interval: Interval) -> tuple[datetime, datetime, timedelta]:
    """Return the first bar that opens in [since, until), the end of the last one, and the width of a bar."""
    width = interval.width
    grid = floor_time(since, interval)
    grid += width if grid < since else timedelta(0)
    return grid, grid + bar_count(grid, until, interval) * width, width


def _absence(job: Job, state: str, error: str, *, rejected: bool) -> tuple[Event, str]:
    """Return what it means, and why, that a bar did not come."""
    if state != "ok":
        return (Event.NOT_ASKED if state == "skipped" else Event.FAILED), error
    if job.stands_for is not None:
        return Event.ABSENT_ELSEWHERE, NOT_ELSEWHERE
    return Event.ABSENT, NOT_BELIEVED if rejected else NOT_IN_ANSWER


def _runs(
    since: datetime, until: datetime, opens: Sequence[datetime], width: timedelta
) -> Iterator[tuple[datetime, datetime, bool]]:
    """Yield (first, end, whether held) of the bars and holes in [since, until); `opens` ascend on the grid."""
    start = end = since  # of the bars that follow each other
    for opened in opens:
        if opened > end:
            if start < end:
                yield start, end, True
            yield end, opened, False
            start = opened
        end = opened + width
    if start < end:
        yield start, end, True
    if end < until:
        yield end, until, False


# --------------------------------------------------------------------------- windows

_Item = TypeVar("_Item", Window, Finding)


def settle(
    windows: Sequence[Window],
    found: Sequence[Finding],
    now: datetime,
    *,
    held_before: bool = False,
    wanted_from: datetime | None = None,
) -> list[Window]:
    """Return the windows of a series after findings: in order, without overlaps, neighbours that agree as one.

    Neither `windows` nor `found` overlap among themselves. `held_before` says that the series holds something older
    than all of them: a hole after it is a hole. Nothing is waited for before `wanted_from`, the listing of the
    instrument.
    """
    edges = {edge for window in windows for edge in (window.since, window.until)}
    edges |= {edge for finding in found for edge in (finding.since, finding.until)}
    if wanted_from is not None and edges and min(edges) < wanted_from < max(edges):
        edges.add(wanted_from)
    olds, news = _Sweep(windows), _Sweep(found)
    pieces = []
    for since, until in pairwise(sorted(edges)):
        old, new = olds.at(since), news.at(since)
        if old is not None:
            old = replace(old, since=since, until=until)
        piece = old if new is None else _moved(old, replace(new, since=since, until=until), now, held_before)
        if piece is None or (piece.state not in HELD and wanted_from is not None and until <= wanted_from):
            continue
        held_before = held_before or piece.state in HELD
        pieces.append(piece)
    return merged(pieces)


class _Sweep(Generic[_Item]):
    """Answers which item covers a moment, for moments that ascend."""

    def __init__(self, items: Sequence[_Item]) -> None:
        self._items: list[_Item] = sorted(items, key=lambda item: item.since, reverse=True)

    def at(self, moment: datetime) -> _Item | None:
        while self._items and self._items[-1].until <= moment:
            self._items.pop()
        return self._items[-1] if self._items and self._items[-1].since <= moment else None


def _moved(old: Window | None, new: Finding, now: datetime, held_before: bool) -> Window | None:
    """Return the window after one finding over the same stretch; None when it is not wanted."""
    if new.event is Event.BEFORE_FIRST and old is None and held_before:
        new = replace(new, event=Event.ABSENT, reason=NOT_IN_ANSWER)
    lacks = new.event in (Event.ABSENT, Event.BEFORE_FIRST) and new.reason != NOT_BELIEVED
    if lacks and old is not None and _confirms(old, now):
        reason = HAS_NONE if held_before else OLDER
        new = replace(new, event=Event.CONFIRMED, reason=reason)
    state = moved(old.state if old else None, new.event)
    if state in HELD:
        stays = old is not None and old.state is state and new.event is not Event.GOT
        return old if stays else Window(since=new.since, until=new.until, state=state, source=new.source)
    return None if state is None else _waiting(old, state, new, now)


def _confirms(old: Window, now: datetime) -> bool:
    """Whether an absence now, after the one that `old` tells of, is the second and not the same once more.

    A bar that came and was refused is none: the provider has it.
    """
    lacked = old.attempts > 0 and old.reason in _ABSENCES and old.reason != NOT_BELIEVED
    if old.state is State.PENDING:
        return lacked
    due = old.next_try_at is None or old.next_try_at <= now
    return old.state is State.MISSING and lacked and due


def _waiting(old: Window | None, state: State, new: Finding, now: datetime) -> Window:
    """Return a window that is not held, with the count of vain attempts and the moment of the next."""
    kept = old if old is not None and old.state not in HELD else None
    window = Window(
        since=new.since,
        until=new.until,
        state=state,
        source=new.source or (kept.source if kept else ""),
        reason=new.reason or (kept.reason if kept else ""),
        attempts=kept.attempts if kept else 0,
        next_try_at=now,
    )
    if new.event in (Event.NOT_ASKED, Event.LET_GO, Event.LOST):
        return window if kept is None else kept if kept.state is state else _freed(kept, window)
    if new.event is Event.WANTED:
        return kept if kept is not None and state is not State.MISSING else replace(window, attempts=0)
    if new.event is Event.ASKED:
        return replace(window, reason=kept.reason if kept and kept.reason else window.reason, next_try_at=now + LEASE)
    if new.event is Event.EXHAUSTED:
        return replace(window, next_try_at=None)
    if new.event is Event.CONFIRMED:
        return replace(window, attempts=window.attempts + 1, next_try_at=now if window.reason == OLDER else None)
    return _vain(kept, new.event, window, now)


def _freed(kept: Window, window: Window) -> Window:
    return replace(window, reason=kept.reason or window.reason)


def _vain(old: Window | None, event: Event, window: Window, now: datetime) -> Window:
    """Return a window that was asked for in vain; before its time, as part of a longer job, that counts nothing."""
    if old is None:
        return replace(window, attempts=1, next_try_at=now + BACK_OFF[0])
    if old.state is State.PROVIDER_HAS_NONE:
        return old
    if (old.reason == OLDER and event is not Event.ABSENT) or (
        old.reason in _ABSENCES and event is Event.ABSENT_ELSEWHERE
    ):
        window = replace(window, reason=old.reason)  # what another provider says does not change what the own one said
    if old.state is State.MISSING and old.next_try_at is not None and old.next_try_at > now:
        return replace(window, next_try_at=old.next_try_at)
    attempts = old.attempts + 1
    return replace(window, attempts=attempts, next_try_at=now + BACK_OFF[min(attempts, len(BACK_OFF)) - 1])


def merged(windows: Sequence[Window]) -> list[Window]:
    """Return the windows with neighbours of one state, source and reason as one; `windows` are in order.

    Of windows that are waited for the most attempts and the earliest next try count: otherwise an outage would leave a
    row for every cycle.
    """
    result: list[Window] = []
    for window in windows:
        last = result[-1] if result else None
        if last is None or last.until != window.since or not _agree(last, window):
            result.append(window)
            continue
        tries = [item.next_try_at for item in (last, window) if item.next_try_at is not None]
        attempts, again = max(last.attempts, window.attempts), min(tries, default=None)
        result[-1] = replace(last, until=window.until, attempts=attempts, next_try_at=again)
    return result


def _agree(one: Window, other: Window) -> bool:
    return (one.state, one.source, one.reason) == (other.state, other.source, other.reason)
