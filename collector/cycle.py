"""One cycle from plan to report: contains failures, never hides them.

Workers fetch, parse and check; the thread that runs the cycle writes. Each source has its own pool, so a slow or
dead provider delays nobody else. Every batch that was written stays written, whatever happens to the others.
"""

import contextvars
import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from collector.clock import Clock
from collector.errors import (
    StorageError,
    StorageUnavailable,
)
from collector.indicators.service import IndicatorService
from collector.log import CycleFolder, cycle_folder, get_logger
from collector.plan import Known, Task, due_tasks, plan_stage
from collector.records import (
    Batch,
    CycleReport,
    CycleState,
    Dataset,
    Interval,
    Job,
    SourceReport,
    WriteResult,
)
from collector.storage.writer import Writer
from collector.worker import Run, Source, Tally, Worker

GROUP_BATCHES = 64  # batches in one transaction at most; a commit costs as much as about 50 rows
GROUP_RECORDS = 10_000
SERIES_AT_ONCE = 64  # touched series that are worth a round of indicators while providers make us wait
GROUP_PAUSE_S = 0.05  # batches that come within this of each other share a transaction
WAITING_BATCHES = 64  # parsed but unwritten batches; then workers wait, so memory stays bounded
STORE_ATTEMPTS = 4
STORE_PAUSE_S = 1.0  # doubled each time: 1 + 2 + 4 s ride out a restart of the server
PROGRESS_EVERY_S = 5.0
CLOCK_OFF_S = 10.0
CLOCK_SAID_EVERY_S = 3_600.0
QUIET_S = 1.0  # without a batch: then pauses that other processes met are looked for

T = TypeVar("T")


class Follower(Protocol):
    """Knows what is stored and decides what is followed."""

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
        hold_lock: Callable[[], None],
        indicators: IndicatorService | None,
        clock: Clock,
        log_directory: Path,
        instance: str,
        simulated: bool,
        budgets: Keeper | None = None,
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
        self._log = get_logger("Collector")
        self._database_log = get_logger("Database")
        self._caught_up = False  # whether stored candles without indicators were looked for: a crash leaves some
        self._clock_notes = ClockNotes(clock)
        self._down: set[str] = set()  # sources whose outage was said already
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
        self._hold_lock()
        started_at = self._clock.now()
        with cycle_folder(self._log_directory, started_at=started_at, cadence=cadence) as folder:
            name = folder.path.name if folder else ""
            for old in self._writer.abandon_running(started_at):  # we hold the lock: nobody works on it any more
                self._log.warning("cycle_abandoned", cycle=old, reason="its end could not be recorded")
            cycle_id = self._writer.begin_cycle(
                cadence, started_at, instance=self._instance, folder=name, simulated=self._simulated
            )
            run = Run(cycle_id, cadence, folder, {name: Tally() for name in self._sources})
            self._log.info("cycle_started", cycle=cycle_id, cadence=cadence, simulated=self._simulated)
            try:
                self._work(run)
                self._keep_budgets(now=True)
            except StorageError as error:  # what was written stays written, and the cycle can still be told
                self._database_log.error("cycle_cut_short", reason=str(error))
                run.storage_failed = True
            finally:
                run.over = True
            report = self._report(run, started_at)
            self._patiently("finish_repeated", lambda: self._writer.finish_cycle(report))
            if folder:
                _write_report(folder, report)
            self._say(run, report)
        return report

    def _work(self, run: Run) -> None:
        give_up_at = self._clock.monotonic() + self._deadlines[run.cadence].total_seconds()
        for source in self._sources.values():
            source.venue.begin(give_up_at)
        for tasks in due_tasks(self._tasks, run.cadence, self._follower.last_ok()):
            if tasks:  # after a stop too: what is not fetched is reported as skipped
                self._stage(run, tasks, give_up_at)
        self._compute(run)

    def _stage(self, run: Run, tasks: Sequence[Task], give_up_at: float) -> None:
        """Run every job of a stage; afterwards decide anew what is followed when ranks or prices came."""
        known = self._follower.known(tasks, self._clock.now())
        if not self._caught_up:
            run.touch_stored(known)
        jobs = plan_stage(tasks, known)
        done: queue.Queue[Batch] = queue.Queue(WAITING_BATCHES)
        for name, source in self._sources.items():
            mine = [job for job in jobs if job.source == name]
            tally = run.tallies[name]
            tally.started = tally.started or self._clock.monotonic()
            _submit(source, [self._worker(run, source, job, done, give_up_at) for job in mine])
        self._store_all(run, done, jobs)
        if any(task.dataset in (Dataset.MARKETS, Dataset.TICKERS, Dataset.MARK_PRICES) for task in tasks):
            self._follower.refresh()

    def _worker(self, run: Run, source: Source, job: Job, done: "queue.Queue[Batch]", give_up_at: float) -> Worker:
        return Worker(
            run=run,
            source=source,
            job=job,
            done=done,
            clock=self._clock,
            refusal=lambda: self._refusal(run, give_up_at),
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
                self._store(run, group)
            stored += len(group)
            if len(run.touched) >= SERIES_AT_ONCE and done.empty() and not daily:
                self._compute(run)
            if self._clock.monotonic() - said_at >= PROGRESS_EVERY_S:
                said_at = self._clock.monotonic()
                self._log.info("cycle_progress", cycle=run.cycle_id, jobs_done=stored, jobs=len(jobs))

    def _store(self, run: Run, group: Sequence[Batch]) -> None:
        for batch, result in self._write(run, group):
            tally = run.tallies[batch.job.source]
            tally.add(batch, result)
            tally.finished = self._clock.monotonic()
            run.keep_rejects([*batch.rejects, *result.rejects])
            run.touch(batch)

    def _write(self, run: Run, group: Sequence[Batch]) -> list[tuple[Batch, WriteResult]]:
        """Write a group, repeating while the database is away; then give its rows up and say so."""
        try:
            results = self._patiently("write_repeated", lambda: self._writer.write(run.cycle_id, group))
            return list(zip(group, results, strict=True))
        except StorageUnavailable as error:
            reason = str(error)
        except StorageError as error:
            if len(group) > 1:  # one batch that cannot be stored must not cost the others
                return [pair for batch in group for pair in self._write(run, [batch])]
            reason = str(error)
        rows = sum(len(batch.records) for batch in group)
        self._database_log.error("rows_lost", batches=len(group), rows=rows, reason=reason)
        run.storage_failed = True
        return [(_lost(batch, reason), WriteResult()) for batch in group]

    def _patiently(self, event: str, store: Callable[[], T]) -> T:
        """Return what `store` returns, repeating it while the database is away; then let the last error through."""
        for attempt in range(1, STORE_ATTEMPTS):
            try:
                return store()
            except StorageUnavailable as error:
                self._database_log.warning(event, attempt=attempt, reason=str(error))
                self._clock.sleep(STORE_PAUSE_S * 2 ** (attempt - 1))
        return store()

    def _keep_budgets(self, *, now: bool = False) -> None:
        if self._budgets is not None:
            self._budgets.keep(now=now)

    def _compute(self, run: Run) -> None:
        """Compute and store indicators of the series touched since the last time."""
        touched, run.touched = run.touched, {}
        if self._indicators is None or not touched or self._stopping.is_set():
            return
        log = get_logger("TechnicalAnalysisService")
        started, rows = self._clock.monotonic(), 0
        try:
            for blocks in self._indicators.blocks(touched):
                rows += self._writer.write_indicators(run.cycle_id, blocks)
        except StorageError as error:
            run.storage_failed = True
            log.warning("indicators_failed", reason=str(error))
        run.indicator_rows += rows
        self._caught_up = not run.storage_failed
        log.info("indicators_computed", series=len(touched), rows=rows, duration_s=self._clock.monotonic() - started)

    def _report(self, run: Run, started_at: datetime) -> CycleReport:
        sources = tuple(self._source_report(name, tally) for name, tally in run.tallies.items())
        return CycleReport(
            cycle_id=run.cycle_id,
            cadence=run.cadence,
            state=_state(sources, run.storage_failed),
            started_at=started_at,
            finished_at=self._clock.now(),
            sources=sources,
            indicator_rows=run.indicator_rows,
            folder=run.folder.path.name if run.folder else "",
            simulated=self._simulated,
        )

    def _source_report(self, name: str, tally: Tally) -> SourceReport:
        counters = self._sources[name].venue.counters()
        return SourceReport(
            source=name,
            jobs_ok=tally.jobs_ok,
            jobs_failed=tally.jobs_failed,
            jobs_skipped=tally.jobs_skipped,
            requests=counters.requests,
            retries=counters.retries,
            refused=counters.refused,
            waited_s=round(counters.waited_s, 3),
            clock_offset_s=self._sources[name].venue.clock_offset(),
            rows=dict(tally.rows),
            unchanged=tally.unchanged,
            rejects=tally.rejects,
            errors=tuple(tally.errors),
            duration_s=round(max(0.0, tally.finished - tally.started), 3),
        )

    def _say(self, run: Run, report: CycleReport) -> None:
        """Log the end of the cycle; an outage once when it begins and once when it is over."""
        for part in report.sources:
            log = get_logger(self._sources[part.source].service)
            self._clock_notes.say(self._sources[part.source].service, part)
            if part.jobs_ok + part.jobs_failed + part.jobs_skipped:
                log.info("source_finished", **_fields(part))
            unreachable = run.tallies[part.source].unreachable
            if unreachable and not part.jobs_ok and part.source not in self._down:
                self._down.add(part.source)
                log.warning(
                    "source_unreachable",
                    reason=unreachable,
                    remedy="next try on schedule; see everything without a network with: make demo",
                )
            elif part.jobs_ok and part.source in self._down:
                self._down.discard(part.source)
                log.warning("source_is_back")
        rows = sum(sum(part.rows.values()) for part in report.sources)
        self._database_log.info("rows_stored", cycle=report.cycle_id, **_by_table(report))
        seconds = (report.finished_at - report.started_at).total_seconds()
        self._log.info(
            "cycle_finished",
            cycle=report.cycle_id,
            cadence=report.cadence,
            state=report.state.value,
            rows=rows,
            indicator_rows=report.indicator_rows,
            failed_jobs=sum(part.jobs_failed for part in report.sources),
            skipped_jobs=sum(part.jobs_skipped for part in report.sources),
            duration_s=seconds,
            folder=report.folder,
        )


class ClockNotes:
    """Says that a provider's clock is off, once an hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said_at: dict[str, float] = {}

    def say(self, service: str, part: SourceReport) -> None:
        """Warn when the clocks differ by more than 10 s: bars would close too late, or look closed too early."""
        now = self._clock.monotonic()
        if part.clock_offset_s is None or abs(part.clock_offset_s) <= CLOCK_OFF_S:
            return
        if now - self._said_at.get(part.source, float("-inf")) >= CLOCK_SAID_EVERY_S:
            self._said_at[part.source] = now
            get_logger(service).warning(
                "provider_clock_off", offset_s=part.clock_offset_s, remedy="check this machine's clock (NTP)"
            )


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


def _lost(batch: Batch, reason: str) -> Batch:
    """Return the batch as what it is when its rows could not be stored: a job that failed."""
    if batch.state == "skipped":
        return batch
    return replace(batch, records=(), state="failed", error=batch.error or f"not stored: {reason}")


def _state(sources: Sequence[SourceReport], storage_failed: bool) -> CycleState:
    done = sum(part.jobs_ok for part in sources)
    lost = sum(part.jobs_failed + part.jobs_skipped for part in sources)
    if lost == 0 and not storage_failed:
        return CycleState.OK
    return CycleState.PARTIAL if done else CycleState.FAILED


def _by_table(report: CycleReport) -> dict[str, int]:
    counts: dict[str, int] = {"indicators": report.indicator_rows} if report.indicator_rows else {}
    for part in report.sources:
        for table, count in part.rows.items():
            counts[table] = counts.get(table, 0) + count
    return counts


def _fields(part: SourceReport) -> dict[str, Any]:
    row = asdict(part)
    del row["source"]
    row["rows"] = sum(part.rows.values())
    row["errors"] = len(part.errors)
    return row


def _write_report(folder: CycleFolder, report: CycleReport) -> None:
    try:
        folder.write_file("report.json", json.dumps(asdict(report), default=_plain, indent=1) + "\n")
    except OSError as error:
        get_logger("Collector").warning("report_unwritable", folder=folder.path, reason=error.strerror)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
