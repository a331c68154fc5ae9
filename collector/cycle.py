"""One cycle from plan to report: contains failures, never hides them.

Workers fetch, parse and check; the thread that runs the cycle writes. Each source has its own pool, so a slow or
dead provider delays nobody else. Every batch that was written stays written, whatever happens to the others.
"""

import contextvars
import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from collector.clock import Clock
from collector.errors import StorageError, StorageLocked, StorageUnavailable
from collector.indicators.service import IndicatorService, Touched
from collector.log import CycleFolder, cycle_folder, get_logger
from collector.outage import Outage, spooled_cycle
from collector.plan import Known, Task, due_tasks, plan_stage
from collector.records import Batch, CycleReport, CycleState, Dataset, IndicatorBlock, Interval, Job, WriteResult
from collector.scrutiny import Scrutiny
from collector.spool import ASKED_AGAIN, SpooledCycle
from collector.storage.writer import Writer
from collector.telling import Teller, report_of, write_report
from collector.worker import Run, Source, Tally, Worker

GROUP_BATCHES = 256  # batches in one transaction at most; a commit costs as much as about 50 rows
GROUP_RECORDS = 10_000
SERIES_AT_ONCE = 64  # touched series that are worth a round of indicators while providers make us wait
GROUP_PAUSE_S = 0.05  # batches that come within this of each other share a transaction
WAITING_BATCHES = 256  # parsed but unwritten batches; then workers wait, so memory stays bounded
STORE_ATTEMPTS = 4
LOCKED_S = 60.0  # a table that stayed locked for all attempts is left alone for so long
AWAY_S = 5.0  # a database that was away for all attempts is left alone for so long
STORE_PAUSE_S = 1.0  # doubled each time: 1 + 2 + 4 s ride out a restart of the server
PROGRESS_EVERY_S = 5.0
MENDING_S = 60.0  # healing takes its share of so much time at most: a long cycle would keep the others waiting
NO_ROOM = "the disk has no room for it: retention.floor"
QUIET_S = 1.0  # without a batch: then pauses that other processes met are looked for

T = TypeVar("T")


class Follower(Protocol):
    """Knows what is stored and decides what is followed."""

    def uncomputed(self) -> Touched:
        """Return the bars that may lack indicators because a process died."""

    def known(self, tasks: Sequence[Task], now: datetime) -> Known:
        """Return what planning these tasks needs."""

    def last_ok(self) -> Mapping[tuple[str, Dataset], datetime]:
        """Return when each dataset was last fetched without a failure."""

    def refresh(self) -> None:
        """Match instruments to assets and choose what is followed, from stored ranks and prices."""


class Keeper(Protocol):
    """Carries pauses and budgets over restarts, and between processes."""

    def keep(self, *, now: bool = False) -> None:
        """Store what changed and obey what others stored; often enough is up to it."""


class Mender(Protocol):
    """Knows whom to ask for what did not come."""

    def jobs(self, now: datetime, seconds: float, *, failed: Sequence[Job] = ()) -> Sequence[Job]:
        """Return jobs that stand in for failed ones, then those for older holes, within what `seconds` leave."""

    def prices(self, now: datetime, *, failed: Sequence[Job], failed_again: Sequence[Job]) -> Sequence[Batch]:
        """Return what stored prices of venues say where the ranking's prices did not come."""

    def adapt(self, batch: Batch) -> Batch:
        """Return what a provider gave in place of another as rows of what was wanted; their source stays."""


class Space(Protocol):
    """Knows what must not be added to the disk now."""

    def stopped_datasets(self, now: datetime) -> frozenset[Dataset]:
        """Return the datasets that are not to be fetched."""

    def keeps_payloads(self, now: datetime) -> bool:
        """Return whether raw answers may be stored."""


class CycleRunner:
    """Runs one cycle at a time; owned by one thread."""

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        tasks: Sequence[Task],
        deadlines: Mapping[str, timedelta],
        follower: Follower,
        writer: Writer,
        outage: Outage,
        hold_lock: Callable[[], None],
        indicators: IndicatorService | None,
        clock: Clock,
        log_directory: Path,
        instance: str,
        simulated: bool,
        budgets: Keeper | None = None,
        mender: Mender | None = None,
        scrutiny: Scrutiny | None = None,
        space: Space | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._tasks = tasks
        self._deadlines = deadlines
        self._follower = follower
        self._writer = writer
        self._hold_lock = hold_lock
        self._indicators = indicators
        self._clock = clock
        self._log_directory = log_directory
        self._instance = instance
        self._simulated = simulated
        self._budgets = budgets
        self._mender = mender
        self._scrutiny = scrutiny
        self._space = space
        self._outage = outage
        self._remembered: dict[str, list[tuple[Sequence[Task], Known]]] = {}  # cadence -> stages of its last cycle
        self._teller = Teller(sources, clock)
        self._log = get_logger("Collector")
        self._database_log = get_logger("Database")
        self._caught_up = False  # whether stored candles without indicators were looked for: a crash leaves some
        self._uncomputed: Touched = {}  # left by the last cycle
        self._away = False  # the database, when last asked
        self._stopping = stopping or threading.Event()  # the clock's own event, so that it ends every wait too

    def stop(self) -> None:
        """End the calls under way and start no further ones; from another thread or a signal. It is final."""
        self._stopping.set()
        for source in self._sources.values():
            source.venue.close()

    def run(self, cadence: str) -> CycleReport:
        """Run one cycle of a cadence and return its report.

        Raises StorageError when it cannot even be recorded, LockHeld when another collector took over meanwhile.
        """
        started_at = self._clock.now()
        with cycle_folder(self._log_directory, started_at=started_at, cadence=cadence) as folder:
            run = self._begin(cadence, started_at, folder)
            self._log.info("cycle_started", cycle=run.cycle_id, cadence=cadence, simulated=self._simulated)
            try:
                self._work(run)
                self._keep_budgets(now=True)
            except StorageError as error:  # what was written stays written, and the cycle can still be told
                self._database_log.error("cycle_cut_short", reason=str(error))
                run.storage_failed = True
            finally:
                run.over = True
                self._uncomputed = run.touched
            report = report_of(run, self._sources, started_at, self._clock.now(), simulated=self._simulated)
            report = self._finish(run, report)
            if folder:
                write_report(folder, report)
            self._teller.say(run, report)
        return report

    def _begin(self, cadence: str, started_at: datetime, folder: CycleFolder | None) -> Run:
        """Open the cycle in the database; while that is away it runs with what the last one of its cadence knew."""
        tallies = {name: Tally() for name in self._sources}
        name = folder.path.name if folder else ""
        try:
            self._hold_lock()
            self._outage.finish_old()
            for old in self._writer.abandon_running(started_at):  # we hold the lock: nobody works on it any more
                self._log.warning("cycle_abandoned", cycle=old, reason="its end could not be recorded")
            if rows := self._outage.bring_back():
                self._database_log.warning("spool_returned", rows=rows)
            number = self._noting(
                lambda: self._writer.begin_cycle(
                    cadence, started_at, instance=self._instance, folder=name, simulated=self._simulated
                )
            )
        except StorageUnavailable as error:
            if cadence not in self._remembered:
                raise
            self._away = True
            self._database_log.error("database_away", reason=str(error), remedy="what is observed goes to the spool")
            run = Run(0, cadence, folder, tallies, started_at)
            run.storage_failed, run.away_until = True, math.inf
        else:
            run = Run(number, cadence, folder, tallies, started_at)
        return run

    def _finish(self, run: Run, report: CycleReport) -> CycleReport:
        """Record the end of the cycle, or remember it until the database is back; return what is told of it."""
        if not run.cycle_id:
            self._outage.could_not_begin(self._spooled(run), report)
            return report
        try:
            self._patiently("finish_repeated", lambda: self._writer.finish_cycle(report))
        except StorageUnavailable as error:
            self._database_log.error("end_not_recorded", reason=str(error), remedy="repeated before the next cycle")
            state = CycleState.PARTIAL if report.state is CycleState.OK else report.state
            report = replace(report, state=state)
            self._outage.could_not_finish(report)
        return report

    def _spooled(self, run: Run) -> SpooledCycle:
        return spooled_cycle(run, instance=self._instance, simulated=self._simulated)

    def _work(self, run: Run) -> None:
        give_up_at = self._clock.monotonic() + self._deadlines[run.cadence].total_seconds()
        for source in self._sources.values():
            source.venue.begin(give_up_at)
        if not run.cycle_id:
            self._work_from_memory(run, give_up_at)
            return
        self._start_scrutiny()
        run.touch_again(self._uncomputed)
        if not self._caught_up:
            run.touch_again(self._patiently("read_repeated", self._follower.uncomputed))
        last_ok = self._patiently("read_repeated", self._follower.last_ok)
        stages = [tasks for tasks in due_tasks(self._tasks, run.cadence, last_ok) if tasks]
        # After a stop too: what is not fetched is reported as skipped.
        self._remembered[run.cadence] = [(tasks, self._stage(run, tasks, give_up_at)) for tasks in stages]
        self._caught_up = True
        self._mend(run, give_up_at)
        self._compute(run)
        if self._scrutiny is not None and not run.storage_failed:
            run.suspects += len(self._scrutiny.compare_sources(run.cycle_id).suspects)

    def _work_from_memory(self, run: Run, give_up_at: float) -> None:
        """Fetch what cannot be asked for again, of everything that the last cycle of this cadence followed."""
        for tasks, known in self._remembered[run.cadence]:
            passing = [task for task in tasks if task.dataset not in ASKED_AGAIN]
            self._fetch(run, plan_stage(passing, replace(known, now=self._clock.now())), give_up_at)

    def _start_scrutiny(self) -> None:
        """Read the last stored prices, if they can be read: without them no jump is noticed, and rows are stored."""
        if self._scrutiny is not None:
            try:
                self._scrutiny.start()
            except StorageError as error:
                self._database_log.warning("last_prices_unknown", reason=str(error))

    def _stage(self, run: Run, tasks: Sequence[Task], give_up_at: float) -> Known:
        """Run every job of a stage; afterwards decide anew what is followed when ranks or prices came.

        Returns what the stage was planned with.
        """
        known = self._patiently("read_repeated", lambda: self._follower.known(tasks, self._clock.now()))
        if not self._caught_up:
            run.touch_stored(known)
        self._fetch(run, plan_stage(tasks, known), give_up_at)
        if any(task.dataset in (Dataset.MARKETS, Dataset.TICKERS, Dataset.MARK_PRICES) for task in tasks):
            self._patiently("refresh_repeated", self._follower.refresh)
        return known

    def _mend(self, run: Run, give_up_at: float) -> None:
        """Ask other providers for what failed in this cycle, then for what earlier ones missed."""
        seconds = min(give_up_at - self._clock.monotonic(), MENDING_S)
        if self._mender is None or self._stopping.is_set() or seconds <= 0:
            return
        run.mending = True
        try:
            jobs = self._mender.jobs(self._clock.now(), seconds, failed=tuple(run.failed))
        except StorageError as error:
            self._database_log.warning("holes_unknown", reason=str(error))
            return
        self._fetch(run, jobs, give_up_at)
        for batch in self._mender.prices(
            self._clock.now(), failed=tuple(run.failed), failed_again=tuple(run.failed_again)
        ):
            self._store(run, [batch])

    def _fetch(self, run: Run, jobs: Sequence[Job], give_up_at: float) -> None:
        """Run jobs side by side, each in the pool of its source, and store what they bring.

        Those for which the disk has no room are skipped: what can be asked for again becomes a hole.
        """
        stopped = self._space.stopped_datasets(self._clock.now()) if self._space is not None else frozenset()
        done: queue.Queue[Batch] = queue.Queue(WAITING_BATCHES)
        for name, source in self._sources.items():
            mine = [job for job in jobs if job.source == name]
            tally = run.tallies[name]
            tally.started = tally.started or self._clock.monotonic()
            _submit(source, [self._worker(run, source, job, done, give_up_at, stopped) for job in mine])
        self._store_all(run, done, jobs)

    def _worker(
        self,
        run: Run,
        source: Source,
        job: Job,
        done: "queue.Queue[Batch]",
        give_up_at: float,
        stopped: frozenset[Dataset],
    ) -> Worker:
        no_room = NO_ROOM if job.dataset in stopped else ""
        return Worker(
            run=run,
            source=source,
            job=job,
            done=done,
            clock=self._clock,
            refusal=lambda: no_room or self._refusal(run, give_up_at),
        )

    def _refusal(self, run: Run, give_up_at: float) -> str:
        """Return why no job may start any more; "" while they may."""
        if self._stopping.is_set() or run.over:
            return "the collector was stopped"
        return "" if self._clock.monotonic() < give_up_at else "the cycle's time was over"

    def _store_all(self, run: Run, done: "queue.Queue[Batch]", jobs: Sequence[Job]) -> None:
        """Write batches as they arrive, several in one transaction; between bursts compute indicators.

        Not while daily candles are on their way: shorter bars take the levels of the day before from them.
        """
        stored, said_at = 0, self._clock.monotonic()
        daily = any(job.interval is Interval.D1 for job in jobs)
        while stored < len(jobs):
            self._keep_budgets()
            group = _next_group(done, len(jobs) - stored)
            if group:
                self._store(run, [self._adapted(batch) for batch in group])
            stored += len(group)
            if len(run.touched) >= SERIES_AT_ONCE and done.empty() and not daily:
                self._compute(run)
            if self._clock.monotonic() - said_at >= PROGRESS_EVERY_S:
                said_at = self._clock.monotonic()
                self._log.info("cycle_progress", cycle=run.cycle_id, jobs_done=stored, jobs=len(jobs))

    def _adapted(self, batch: Batch) -> Batch:
        return batch if self._mender is None else self._mender.adapt(batch)

    def _store(self, run: Run, group: Sequence[Batch]) -> None:
        if self._space is not None and not self._space.keeps_payloads(self._clock.now()):
            group = [replace(batch, payloads=()) for batch in group]
        pairs = self._write(run, group)
        for batch, result in pairs:
            run.tallies[batch.job.source].finished = self._clock.monotonic()
            run.add(batch, result)
        if self._scrutiny is not None and not run.storage_failed:
            run.suspects += self._scrutiny.note(run.cycle_id, [batch for batch, _ in pairs])

    def _write(self, run: Run, group: Sequence[Batch]) -> list[tuple[Batch, WriteResult]]:
        """Write a group; what cannot be stored now goes to the spool, or is given up and said."""
        now = self._clock.monotonic()
        closed = {item for item, ends in run.locked_until.items() if now < ends}
        aside = [batch for batch in group if now < run.away_until or batch.job.dataset in closed]
        rest = [batch for batch in group if not (now < run.away_until or batch.job.dataset in closed)]
        pairs = self._put_aside(run, aside, "the database is away, or its table locked") if aside else []
        return pairs + (self._try_write(run, rest) if rest else [])

    def _try_write(self, run: Run, group: Sequence[Batch]) -> list[tuple[Batch, WriteResult]]:
        """Write a group, repeating while the database is away; what fails for good costs as little as it can."""
        datasets = sorted({batch.job.dataset for batch in group})
        alone = len(datasets) == 1
        try:
            results = self._patiently("write_repeated", lambda: self._writer.write(run.cycle_id, group), locked=alone)
            return list(zip(group, results, strict=True))
        except StorageLocked as error:
            if not alone:  # one locked table must not cost the others
                parts = ([batch for batch in group if batch.job.dataset is dataset] for dataset in datasets)
                return [pair for part in parts for pair in self._write(run, part)]
            reason = str(error)
            run.locked_until[datasets[0]] = self._clock.monotonic() + LOCKED_S
        except StorageUnavailable as error:
            reason = str(error)
            run.away_until = self._clock.monotonic() + AWAY_S
        except StorageError as error:
            if len(group) > 1:  # one batch that cannot be stored must not cost the others
                return [pair for batch in group for pair in self._write(run, [batch])]
            return self._give_up(run, group, str(error))
        return self._put_aside(run, group, reason)

    def _put_aside(self, run: Run, group: Sequence[Batch], reason: str) -> list[tuple[Batch, WriteResult]]:
        """Keep on disk what cannot be asked for again; the rest is given up."""
        kept = self._outage.keep(run, self._spooled(run), group)
        run.storage_failed = True
        spooled = {id(batch) for batch in kept}
        lost = self._give_up(run, [batch for batch in group if id(batch) not in spooled], reason)
        return [(batch, WriteResult()) for batch in kept] + lost

    def _give_up(self, run: Run, group: Sequence[Batch], reason: str) -> list[tuple[Batch, WriteResult]]:
        rows = sum(len(batch.records) for batch in group)
        if rows:
            self._database_log.error("rows_lost", batches=len(group), rows=rows, reason=reason)
        run.storage_failed = True
        return [(_lost(batch, reason), WriteResult()) for batch in group]

    def _patiently(self, event: str, store: Callable[[], T], *, locked: bool = True) -> T:
        """Return what `store` returns, repeating it while the database is away; then let the last error through.

        Without `locked` a lock of somebody else is let through at once.
        """
        for attempt in range(1, STORE_ATTEMPTS):
            try:
                return self._noting(store)
            except StorageUnavailable as error:
                if isinstance(error, StorageLocked) and not locked:
                    raise
                self._away = self._away or not isinstance(error, StorageLocked)
                self._database_log.warning(event, attempt=attempt, reason=str(error))
                self._clock.sleep(STORE_PAUSE_S * 2 ** (attempt - 1))
        return self._noting(store)

    def _noting(self, store: Callable[[], T]) -> T:
        """Return what `store` returns; the first time that it does after the database was away, say so."""
        result = store()
        if self._away:
            self._away = False
            self._database_log.warning("database_is_back")
        return result

    def _keep_budgets(self, *, now: bool = False) -> None:
        if self._budgets is not None:
            self._budgets.keep(now=now)

    def _compute(self, run: Run) -> None:
        """Compute and store indicators of the series touched since the last time.

        What a stop or the database does not leave time for stays touched: the next cycle does it, or the next start.
        """
        if self._indicators is None:
            run.touched = {}
        if self._indicators is None or not run.touched or self._stopping.is_set():
            return
        log = get_logger("TechnicalAnalysisService")
        touched, started, rows = run.touched, self._clock.monotonic(), 0
        run.touched = {}
        try:
            for portion in _portions(self._indicators.blocks(touched)):
                rows += self._writer.write_indicators(run.cycle_id, portion)
                if self._stopping.is_set():
                    run.touched = touched
                    break
        except StorageError as error:
            run.storage_failed, run.touched = True, touched
            log.warning("indicators_failed", reason=str(error), remedy="the next cycle computes them")
        run.indicator_rows += rows
        log.info("indicators_computed", series=len(touched), rows=rows, duration_s=self._clock.monotonic() - started)


def _submit(source: Source, workers: Sequence[Worker]) -> None:
    for worker in workers:
        source.pool.submit(contextvars.copy_context().run, worker)  # log lines keep their cycle


def _next_group(done: "queue.Queue[Batch]", expected: int) -> list[Batch]:
    """Wait for one batch, then gather what follows closely, up to a transaction's size or to the last one expected.

    Nothing comes back when none came for a while, as when every worker waits for its quota.
    """
    try:
        group = [done.get(timeout=QUIET_S)]
    except queue.Empty:
        return []
    records = len(group[0].records)
    while len(group) < min(GROUP_BATCHES, expected) and records < GROUP_RECORDS:
        try:
            group.append(done.get(timeout=GROUP_PAUSE_S))
        except queue.Empty:
            break
        records += len(group[-1].records)
    return group


def _portions(parts: Iterable[Sequence[IndicatorBlock]]) -> Iterator[list[IndicatorBlock]]:
    """Yield blocks that fit one transaction, so that a stop waits for seconds only."""
    for blocks in parts:
        portion: list[IndicatorBlock] = []
        for block in blocks:
            if portion and sum(len(own.open_times) for own in portion) + len(block.open_times) > GROUP_RECORDS:
                yield portion
                portion = []
            portion.append(block)
        yield portion


def _lost(batch: Batch, reason: str) -> Batch:
    """Return the batch as what it is when its rows could not be stored: a job that failed."""
    if batch.state == "skipped":
        return batch
    return replace(batch, records=(), state="failed", error=batch.error or f"not stored: {reason}")
