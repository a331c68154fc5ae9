"""Fetches a range of one series in parallel, so that a kill costs only what was under way.

What is not held becomes pending before anything is asked for, and every batch settles its window with its rows: a
second run asks only for what is left. It runs as a cycle of its own, so its rows, jobs and raw answers can be told
apart.
"""

import contextlib
import contextvars
import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from collector.backfill.progress import Progress
from collector.backfill.ranges import Bounded, Offer, Outcome, Request, bounded, held_of, wanted_parts, whom, windows_of
from collector.clock import Clock
from collector.coverage import ASKED_FOR, HELD, NOT_ASKED_YET, State, Window
from collector.fallback import stand_in
from collector.healing import Equivalents, asked_for, cut
from collector.log import CycleFolder, cycle_folder, get_logger
from collector.records import Batch, CycleReport, CycleState, Instrument, Job, SourceReport
from collector.storage.coverage import CoverageStore
from collector.storage.reader import Reader
from collector.storage.stored import StoredInstrument
from collector.storage.writer import Writer
from collector.worker import Run, Source, Tally, Worker

CADENCE = "backfill"
ROUNDS = 2  # what did not come is asked for once more; what a provider lacks twice it has not
GROUP_BATCHES = 8
# Jobs at once share the provider's limit. More of them would each end later, and a kill would cost more; fewer would
# not use it up: OKX takes 10 calls a second, which may take half a second each.
UNDER_WAY = 6
JOB_BARS = 3000  # three whole pages of Binance spot, where a short page costs as much as a long one
WAIT_S = 0.5  # for a batch, before looking around
LONGEST = timedelta(days=30)  # a run that takes longer is started again, and goes on where it was


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

    def check(self, request: Request) -> Bounded:
        """Return what of a request can be fetched; ConfigError when nothing can, or not from the named source."""
        found = bounded(request, self._reader, self._clock.now())
        self._whom(found.request, found.row)
        return found

    def run(self, request: Request) -> Outcome:
        """Fetch what is not held of the range and return what is left."""
        found = bounded(request, self._reader, self._clock.now())
        request, row = found.request, found.row
        asked = self._whom(request, row)
        progress = Progress(request, self._clock, self._show, lambda: self._held(request))
        progress.tell(now=True)
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
                    self._fetch(run, jobs, progress)
            finally:
                run.over = True
            self._store.let_go()
            self._finish(run, asked.venue, started_at, folder)
        progress.tell(now=True)
        left = [window for window in self._windows(request) if window.state not in HELD]
        rows = sum(run.tallies[asked.venue].rows.values())
        return Outcome(held=self._held(request), rows=rows, left=left, interrupted=self._stopping.is_set())

    def _whom(self, request: Request, row: StoredInstrument) -> Instrument:
        offers = {
            name: Offer(intervals=source.collector.intervals, datasets=source.collector.shapes)
            for name, source in self._sources.items()
        }
        return whom(request, row, self._reader.load_instruments(), offers, self._equivalents)

    def _windows(self, request: Request) -> list[Window]:
        return windows_of(self._store, request)

    def _held(self, request: Request) -> timedelta:
        return held_of(self._windows(request))

    def _claim(self, request: Request, row: StoredInstrument, asked: Instrument, *, again: bool) -> list[Job]:
        """Mark what is not held as pending and return its jobs, the newest stretch first.

        What the provider is known not to have is asked of others only. `again` leaves out what was not in vain yet.
        """
        own = asked.id == row.instrument.id
        jobs: list[Job] = []
        for since, until, window in reversed(wanted_parts(request, self._windows(request))):
            none = window is not None and window.state is State.PROVIDER_HAS_NONE
            if (none and own) or (again and (window is None or window.attempts == 0)):
                continue
            jobs += cut(request.series, since, until, asked, row.instrument, bars=JOB_BARS)
        self._store.mark([(request.series, asked_for(job, ASKED_FOR)) for job in jobs])
        return jobs

    def _fetch(self, run: Run, jobs: Sequence[Job], progress: Progress) -> None:
        """Have the jobs done and store what comes; after a stop only those under way are waited for."""
        done: queue.Queue[Batch] = queue.Queue()
        source = self._sources[jobs[0].source]
        waiting, under_way = deque(jobs), 0
        while waiting or under_way:
            if self._stopping.is_set():
                run.tallies[source.name].jobs_skipped += len(waiting)
                waiting.clear()
            while waiting and under_way < UNDER_WAY:
                job = waiting.popleft()
                worker = Worker(run=run, source=source, job=job, done=done, clock=self._clock, refusal=self._refusal)
                source.pool.submit(contextvars.copy_context().run, worker)
                under_way += 1
            self._keep_budgets()
            group = next_group(done)
            if group:
                self._write(run, group)
            under_way -= len(group)
            progress.tell()

    def _write(self, run: Run, group: Sequence[Batch]) -> None:
        """Store what came. What did not because of a stop stays pending, to be let go at once in the end."""
        batches = [stand_in(item) for item in group if item.state == "ok" or not self._stopping.is_set()]
        run.tallies[group[0].job.source].jobs_skipped += len(group) - len(batches)
        if not batches:
            return
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
        group.append(done.get(timeout=WAIT_S))
        while len(group) < GROUP_BATCHES:
            group.append(done.get_nowait())
    return group
