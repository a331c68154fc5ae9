"""Backfill: fetches a range of one series in parallel, so that a kill costs only what was under way.

What is not held becomes pending before anything is asked for, and every batch settles its window with its rows: a
second run asks only for what is left. It runs as a cycle of its own, so its rows, jobs and raw answers can be told
apart. When a daemon works on the database, the windows are left to its healing instead and their progress is followed.
"""

import contextlib
import contextvars
import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from collector.clock import Clock, floor_time, last_closed_open
from collector.coverage import ASKED_FOR, HELD, NOT_ASKED_YET, Event, Finding, Series, State, Window
from collector.errors import ConfigError
from collector.fallback import stand_in
from collector.healing import Equivalents, asked_for, cut
from collector.log import CycleFolder, cycle_folder, get_logger
from collector.plan import SETTLE
from collector.printing import span
from collector.records import Batch, CycleReport, CycleState, Instrument, Interval, Job, SourceReport
from collector.storage.coverage import CoverageStore
from collector.storage.reader import Reader
from collector.storage.stored import StoredInstrument
from collector.storage.writer import Writer
from collector.worker import Run, Source, Tally, Worker

CADENCE = "backfill"
ROUNDS = 2  # what did not come is asked for once more; what a provider lacks twice it has not
GROUP_BATCHES = 8
SHOW_EVERY_S = 0.5
FOLLOW_EVERY_S = 2.0
LONGEST = timedelta(days=30)  # a run that takes longer is started again, and goes on where it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A range of a series that somebody wants: [since, until). `source` None: the series' own provider."""

    series: Series
    since: datetime
    until: datetime
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a request."""

    held: timedelta  # of the range
    rows: int  # inserted or changed
    left: Sequence[Window]  # what is not held, with the reason
    interrupted: bool = False


class Progress:
    """Says how far a backfill is: share, rate, time left."""

    def __init__(self, request: Request, clock: Clock, show: Callable[[str], None]) -> None:
        self._request = request
        self._clock = clock
        self._show = show
        self._started = clock.monotonic()
        self._shown_at = float("-inf")
        self._first: timedelta | None = None

    def tell(self, held: timedelta, *, now: bool = False) -> None:
        """Show the state, at most twice a second unless `now`."""
        ticks = self._clock.monotonic()
        if not now and ticks - self._shown_at < SHOW_EVERY_S:
            return
        self._shown_at = ticks
        self._first = held if self._first is None else self._first
        self._show(self._line(held, ticks - self._started))

    def _line(self, held: timedelta, seconds: float) -> str:
        whole = self._request.until - self._request.since
        series, gained = self._request.series, held - (self._first or timedelta(0))
        share = 100 * held / whole if whole else 100.0
        unit = timedelta(hours=1) if series.interval is None else series.interval.width
        name = "h" if series.interval is None else "bars"
        text = f"{series.name}  {held // unit:,} of {whole // unit:,} {name} ({share:.0f} %)"
        if gained and seconds > 0:
            left = (whole - held) / gained * seconds
            text += f"  {gained / unit / seconds:,.0f} {name}/s  {span(timedelta(seconds=left))} left"
        return text


class Backfill:
    """Fetches one range; owned by one thread, under the writer's lock. Raises StorageError and ConfigError."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        writer: Writer,
        reader: Reader,
        store: CoverageStore,
        clock: Clock,
        log_directory: Path,
        instance: str,
        simulated: bool,
        show: Callable[[str], None],
        stopping: threading.Event,
        keep_budgets: Callable[[], None],
        equivalents: Equivalents = lambda _wanted, _stored: (),
    ) -> None:
        self._sources = sources
        self._writer = writer
        self._reader = reader
        self._store = store
        self._clock = clock
        self._log_directory = log_directory
        self._instance = instance
        self._simulated = simulated
        self._show = show
        self._stopping = stopping
        self._keep_budgets = keep_budgets
        self._equivalents = equivalents
        self._log = get_logger("Collector")

    def run(self, request: Request) -> Outcome:
        """Fetch what is not held of the range and return what is left."""
        request, row = bounded(request, self._reader, self._clock.now())
        asked = self._whom(request, row)
        progress = Progress(request, self._clock, self._show)
        progress.tell(self._held(request), now=True)
        started_at = self._clock.now()
        with cycle_folder(self._log_directory, started_at=started_at, cadence=CADENCE) as folder:
            cycle_id = self._writer.begin_cycle(
                CADENCE,
                started_at,
                instance=self._instance,
                folder=folder.path.name if folder else "",
                simulated=self._simulated,
            )
            run = Run(cycle_id, CADENCE, folder, {asked.venue: Tally()}, started_at)
            self._sources[asked.venue].venue.begin(self._clock.monotonic() + LONGEST.total_seconds())
            try:
                for number in range(ROUNDS):
                    jobs = self._claim(request, row, asked, again=number > 0)
                    if not jobs or self._stopping.is_set():
                        break
                    self._fetch(run, jobs, request, progress)
            finally:
                run.over = True
            self._store.let_go()
            self._finish(run, asked.venue, started_at, folder)
        progress.tell(self._held(request), now=True)
        left = [window for window in self._windows(request) if window.state not in HELD]
        rows = sum(run.tallies[asked.venue].rows.values())
        return Outcome(held=self._held(request), rows=rows, left=left, interrupted=self._stopping.is_set())

    def _whom(self, request: Request, row: StoredInstrument) -> Instrument:
        """Return the instrument to ask for: the series' own, or the one that means the same at the named source."""
        wanted, name = row.instrument, request.source or row.instrument.venue
        if name not in self._sources:
            raise ConfigError(f"--source: {name!r} is not enabled; use one of {', '.join(self._sources)}")
        if name == wanted.venue:
            return wanted
        equal = [item for item in self._equivalents(wanted, self._reader.load_instruments()) if item.venue == name]
        if not equal or request.series.interval is None:
            raise ConfigError(f"--source: {name} trades nothing that means the same as {request.series.name}")
        return equal[0]

    def _windows(self, request: Request) -> list[Window]:
        return windows_of(self._store, request)

    def _held(self, request: Request) -> timedelta:
        return held_of(self._windows(request))

    def _claim(self, request: Request, row: StoredInstrument, asked: Instrument, *, again: bool) -> list[Job]:
        """Mark what is not held as pending and return its jobs, the newest first.

        What the provider is known not to have is asked of others only. `again` leaves out what was not in vain yet.
        """
        own = asked.id == row.instrument.id
        jobs: list[Job] = []
        for since, until, window in reversed(wanted_parts(request, self._windows(request))):
            none = window is not None and window.state is State.PROVIDER_HAS_NONE
            if (none and own) or (again and (window is None or window.attempts == 0)):
                continue
            jobs += cut(request.series, since, until, asked, row.instrument)
        self._store.mark([(request.series, asked_for(job, ASKED_FOR)) for job in jobs])
        return jobs

    def _fetch(self, run: Run, jobs: Sequence[Job], request: Request, progress: Progress) -> None:
        done: queue.Queue[Batch] = queue.Queue(GROUP_BATCHES * 4)
        source = self._sources[jobs[0].source]
        for job in jobs:
            worker = Worker(run=run, source=source, job=job, done=done, clock=self._clock, refusal=self._refusal)
            source.pool.submit(contextvars.copy_context().run, worker)
        written = 0
        while written < len(jobs):
            self._keep_budgets()
            group = next_group(done)
            if group:
                self._write(run, group)
            written += len(group)
            progress.tell(self._held(request))

    def _write(self, run: Run, group: Sequence[Batch]) -> None:
        batches = [stand_in(item) for item in group]
        for batch, result in zip(batches, self._writer.write(run.cycle_id, batches), strict=True):
            run.tallies[batch.job.source].add(batch, result)
            run.keep_rejects([*batch.rejects, *result.rejects])

    def _refusal(self) -> str:
        return NOT_ASKED_YET if self._stopping.is_set() else ""

    def _finish(self, run: Run, source: str, started_at: datetime, folder: CycleFolder | None) -> None:
        tally = run.tallies[source]
        lost = tally.jobs_failed + tally.jobs_skipped
        part = SourceReport(
            source=source,
            jobs_ok=tally.jobs_ok,
            jobs_failed=tally.jobs_failed,
            jobs_skipped=tally.jobs_skipped,
            requests=self._sources[source].venue.counters().requests,
            rows=dict(tally.rows),
            unchanged=tally.unchanged,
            rejects=tally.rejects,
            errors=tuple(tally.errors),
        )
        state = CycleState.OK if not lost else CycleState.PARTIAL if tally.jobs_ok else CycleState.FAILED
        report = CycleReport(
            cycle_id=run.cycle_id,
            cadence=CADENCE,
            state=state,
            started_at=started_at,
            finished_at=self._clock.now(),
            sources=(part,),
            folder=folder.path.name if folder else "",
            simulated=self._simulated,
        )
        self._writer.finish_cycle(report)
        self._log.info("backfill_finished", cycle=run.cycle_id, state=state.value, rows=sum(part.rows.values()))
        if folder:
            try:
                folder.write_file("report.json", json.dumps(asdict(report), default=str, indent=1) + "\n")
            except OSError as error:
                self._log.warning("report_unwritable", folder=folder.path, reason=error.strerror)


def next_group(done: "queue.Queue[Batch]") -> list[Batch]:
    """Wait a moment for a batch and take what else is there; nothing when none came."""
    group: list[Batch] = []
    with contextlib.suppress(queue.Empty):
        group.append(done.get(timeout=SHOW_EVERY_S))
        while len(group) < GROUP_BATCHES:
            group.append(done.get_nowait())
    return group


# --------------------------------------------------------------------------- the range


def bounded(request: Request, reader: Reader, now: datetime) -> tuple[Request, StoredInstrument]:
    """Return the request cut to whole bars that have ended and to the time since the listing, and the instrument.

    Raises ConfigError when the instrument is not known or nothing is left.
    """
    name = request.series.instrument
    rows = [row for row in reader.load_instruments() if row.instrument.id == name]
    if not rows:
        raise ConfigError(f"{name}: no such instrument is known; see `python main.py gaps` for those that are")
    row, interval = rows[0], request.series.interval
    since, until = request.since, min(request.until, now)
    if interval is not None:
        until = min(_ceiling(until, interval), last_closed_open(now - SETTLE, interval) + interval.width)
        since = _ceiling(since, interval)
    if row.listed_at is not None:
        since = max(since, row.listed_at if interval is None else floor_time(row.listed_at, interval))
    if since >= until:
        listed = f", listed at {row.listed_at:%Y-%m-%d %H:%M} UTC" if row.listed_at else ""
        raise ConfigError(f"--from: no bar of {request.series.name} ended in this range{listed}")
    return replace(request, since=since, until=until), row


def _ceiling(moment: datetime, interval: Interval) -> datetime:
    floor = floor_time(moment, interval)
    return floor if floor == moment else floor + interval.width


def windows_of(store: CoverageStore, request: Request) -> list[Window]:
    """Return what is known of the range of a request, in order, cut to it."""
    found = store.windows(request.series.name, request.since, request.until)
    return [window for series, window in found if series == request.series]


def held_of(windows: Sequence[Window]) -> timedelta:
    """Return how much of these windows is held."""
    return sum((window.until - window.since for window in windows if window.state in HELD), timedelta(0))


def wanted_parts(request: Request, windows: Sequence[Window]) -> list[tuple[datetime, datetime, Window | None]]:
    """Return the stretches of the range that are not held, each with its window; None where nothing is known."""
    parts: list[tuple[datetime, datetime, Window | None]] = []
    at = request.since
    for window in windows:
        if at < window.since:
            parts.append((at, window.since, None))
        if window.state not in HELD:
            parts.append((window.since, window.until, window))
        at = window.until
    if at < request.until:
        parts.append((at, request.until, None))
    return parts


# --------------------------------------------------------------------------- beside a daemon


def follow(
    request: Request,
    *,
    store: CoverageStore,
    reader: Reader,
    clock: Clock,
    show: Callable[[str], None],
    stopping: threading.Event,
) -> Outcome:
    """Leave the range to the daemon's healing and follow it until every window was tried twice, or a stop.

    Raises ConfigError for a named source: whom to ask is up to the daemon.
    """
    if request.source is not None:
        raise ConfigError("--source: a daemon works on this database and asks by its own rules; stop it, or leave it")
    request, row = bounded(request, reader, clock.now())
    asked = row.instrument.venue
    parts = wanted_parts(request, windows_of(store, request))
    store.mark(
        (request.series, Finding(since=since, until=until, event=Event.WANTED, source=asked, reason=ASKED_FOR))
        for since, until, window in parts
        if window is None or window.state is State.MISSING
    )
    progress = Progress(request, clock, show)
    windows = windows_of(store, request)
    progress.tell(held_of(windows), now=True)
    while any(_is_open(window) for window in windows) and not stopping.is_set():
        clock.sleep(FOLLOW_EVERY_S)
        windows = windows_of(store, request)
        progress.tell(held_of(windows))
    left = [window for window in windows if window.state not in HELD]
    return Outcome(held=held_of(windows), rows=0, left=left, interrupted=stopping.is_set())


def _is_open(window: Window) -> bool:
    return window.state is State.PENDING or (window.state is State.MISSING and window.attempts < ROUNDS)
