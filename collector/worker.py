"""One job of a cycle in a thread of its source's pool, and what the threads of a cycle share.

A worker fetches, parses and checks; it always delivers exactly one batch, whatever happens.
"""

import contextlib
import json
import queue
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from collector import validate
from collector.bars import Bars, joined
from collector.clock import Clock
from collector.errors import CollectorError, PayloadError, VenueError, VenueUnreachable
from collector.http import Venue
from collector.indicators.service import Span, Touched
from collector.log import CycleFolder, get_logger
from collector.plan import SETTLE, Known
from collector.records import Batch, Candle, Dataset, Instrument, Interval, Job, Payload, Record, Reject, WriteResult
from collector.sources.base import Collector

CLOCKS_AGREE_S = 1.0  # a difference that the settle time of bars covers, and that cannot be measured better
NEVER = datetime.max.replace(tzinfo=UTC)
PUT_WAIT_S = 1.0  # then a worker looks whether anybody still takes batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One provider as the cycle uses it."""

    collector: Collector
    venue: Venue
    pool: ThreadPoolExecutor
    service: str  # name of its log file

    @property
    def name(self) -> str:
        return self.collector.name


@dataclass(slots=True)
class Tally:
    """What one source did so far in this cycle."""

    jobs_ok: int = 0
    jobs_failed: int = 0
    jobs_skipped: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    rejects: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    unreachable: str = ""  # the first message of a cycle in which the provider could not be reached
    started: float = 0.0
    finished: float = 0.0

    def add(self, batch: Batch, result: WriteResult) -> None:
        """Count one written batch."""
        setattr(self, f"jobs_{batch.state}", getattr(self, f"jobs_{batch.state}") + 1)
        for table, count in result.written.items():
            self.rows[table] = self.rows.get(table, 0) + count
        self.unchanged += result.unchanged
        self.rejects += len(batch.rejects) + len(result.rejects)
        if batch.error and batch.state == "failed":
            self.errors[batch.error] = self.errors.get(batch.error, 0) + 1


class Run:
    """The state of the cycle in progress."""

    def __init__(
        self,
        cycle_id: int,
        cadence: str,
        folder: CycleFolder | None,
        tallies: dict[str, Tally],
        started_at: datetime,
    ) -> None:
        """`cycle_id` is 0 while the database does not know the cycle."""
        self.cycle_id = cycle_id
        self.started_at = started_at
        self.cadence = cadence
        self.folder = folder
        self.tallies = tallies
        self.touched: dict[tuple[Instrument, Interval], list[Span]] = {}  # no indicators yet
        self.indicator_rows = 0
        self.failed: list[Job] = []  # that other providers may stand in for
        self.failed_again: list[Job] = []  # of those that stood in, or were to fill a hole
        self.mending = False  # its own jobs are done; now come those for what is missing
        self.filled: Counter[str] = Counter()  # provider -> rows it gave in place of another one
        self.healed = 0  # rows of windows that an earlier cycle missed
        self.revisions = 0
        self.suspects = 0
        self.spooled = 0
        self.storage_failed = False
        self.locked_until: dict[Dataset, float] = {}  # monotonic; before it a table that somebody locks is not tried
        self.away_until = float("-inf")  # monotonic; before it the database is not tried again
        self.over = False  # nobody takes batches any more

    def add(self, batch: Batch, result: WriteResult) -> None:
        """Count one batch that was written, or given up."""
        self.tallies[batch.job.source].add(batch, result)
        self.revisions += result.revised
        rows = sum(result.written.values())
        stands_in = batch.job.stands_for is not None or (self.mending and batch.job.dataset is Dataset.MARKETS)
        if stands_in and rows:
            self.filled[batch.job.source] += rows
        if self.mending and batch.job.interval is not None and _lost(batch.job) not in map(_lost, self.failed):
            self.healed += rows
        if batch.state == "failed":
            (self.failed_again if self.mending else self.failed).append(batch.job)
        self.keep_rejects([*batch.rejects, *result.rejects])
        self.touch(batch)

    def touch_again(self, left: Touched) -> None:
        """Take over what an earlier cycle left without indicators."""
        for series, spans in left.items():
            self.touched.setdefault(series, []).extend(spans)

    def touch_stored(self, known: Known) -> None:
        """Look at every stored series from its end: bars before it that lack indicators are computed."""
        instruments = {item.id: item for items in known.followed.values() for item in items}
        for (name, interval), opened in known.last_opens.items():
            self._touch((instruments[name], interval), opened + interval.width, opened + interval.width)

    def touch(self, batch: Batch) -> None:
        """Remember which candle series got rows, and where."""
        opened: dict[tuple[Instrument, Interval], list[datetime]] = {}
        for record in batch.records:
            if isinstance(record, Candle):
                opened.setdefault((record.instrument, record.interval), []).append(record.open_time)
        for series, times in opened.items():
            self._touch(series, min(times), max(times))

    def _touch(self, series: tuple[Instrument, Interval], first: datetime, last: datetime) -> None:
        self.touched.setdefault(series, []).append((first, last))

    def keep_rejects(self, rejects: Sequence[Reject]) -> None:
        """Append rows that were not believed to rejects.jsonl."""
        if self.folder is None or not rejects:
            return
        lines = [
            {"source": item.job.source, "dataset": item.job.dataset, "subject": item.job.subject}
            | {"reason": item.reason, "detail": item.detail, "row": item.row}
            for item in rejects
        ]
        with self._told(), (self.folder.path / "rejects.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def keep_payload(self, job: Job, payload: Payload) -> None:
        """Keep an answer that was not understood in failures/."""
        if self.folder is not None:
            name = f"{job.source}_{job.dataset}_{payload.sha256[:12]}.body"
            with self._told():
                self.folder.write_file(f"failures/{name}", payload.body.decode("utf-8", "backslashreplace"))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say that a file could not be written; the database holds the same, so the cycle goes on."""
        try:
            yield
        except OSError as error:
            get_logger("Collector").warning("cycle_folder_unwritable", file=error.filename, reason=error.strerror)


def _lost(job: Job) -> tuple[Dataset, Instrument | None, Interval | None, datetime | None]:
    """Return what a job is about, whoever is asked for it."""
    wanted = job.stands_for or (job.instruments[0] if len(job.instruments) == 1 else None)
    return job.dataset, wanted, job.interval, job.since


@dataclass(slots=True, kw_only=True)
class Worker:
    """Fetches, parses and checks one job in a pool thread; always delivers exactly one batch."""

    run: Run
    source: Source
    job: Job
    done: "queue.Queue[Batch]"
    clock: Clock
    refusal: Callable[[], str]  # why it may not start any more; empty while it may

    def __call__(self) -> None:
        started_at = self.clock.now()
        try:
            batch = self._batch(started_at)
        except Exception as defect:  # noqa: BLE001 - a defect in one source must not end the cycle of the others
            get_logger(self.source.service).defect("source_defect", defect, **self._context())
            batch = self._ended("failed", f"defect: {type(defect).__name__}: {defect}", started_at)
        while not self.run.over:
            with contextlib.suppress(queue.Full):
                self.done.put(batch, timeout=PUT_WAIT_S)
                return

    def _batch(self, started_at: datetime) -> Batch:
        if refusal := self.refusal():
            return self._ended("skipped", refusal, started_at)
        payloads: list[Payload] = []
        records: list[Sequence[Record]] = []
        rejects: list[Reject] = []
        error = ""
        try:
            for page in self._pages(payloads):
                rejects += [] if isinstance(page, Bars) else [item for item in page if isinstance(item, Reject)]
                records.append(page if isinstance(page, Bars) else [item for item in page if isinstance(item, Record)])
        except (VenueError, PayloadError) as failure:
            error = self._describe(failure, payloads)
        batch = replace(
            self._ended("failed" if error else "ok", error, started_at),
            records=joined(records),
            rejects=tuple(rejects),
            payloads=tuple(payloads),
        )
        checked = validate.check(batch, now=batch.finished_at or started_at)
        get_logger(self.source.service).debug(
            "job_done",
            state=checked.state,
            records=len(checked.records),
            rejects=len(checked.rejects),
            **self._context(),
        )
        return checked

    def _ended(self, state: str, error: str, started_at: datetime) -> Batch:
        return Batch(job=self.job, state=state, error=error, started_at=started_at, finished_at=self.clock.now())

    def _pages(self, payloads: list[Payload]) -> Iterator[Sequence[Record | Reject]]:
        """Yield what each answer holds."""
        parse = self.source.collector.parsers[self.job.dataset]
        for payload in self.source.collector.fetch(self.job):
            payloads.append(payload)
            page, over_before = parse(payload), self._over_before(payload)
            if isinstance(page, Bars) and page.until <= over_before:
                yield page
            else:
                yield [self._item(item, over_before) for item in page]
            if self.job.dataset is Dataset.INSTRUMENTS:
                self._learn(payload)

    def _item(self, item: object, over_before: datetime) -> Record | Reject:
        if not isinstance(item, (Record, Reject)):
            raise TypeError(f"the parser of {self.job.dataset} gave {type(item).__name__} instead of a record")
        if isinstance(item, Candle) and item.closed and item.observed_at > over_before:
            return replace(item, closed=False)
        return item

    def _over_before(self, payload: Payload) -> datetime:
        """Return when a bar must have ended to be over by the provider's clock as well, should that be behind ours.

        Sources know only when we got an answer. With our clock ahead, a bar that still changes would look finished.
        """
        offset = self.source.venue.clock_offset()
        if offset is None or offset > -CLOCKS_AGREE_S:
            return NEVER
        return payload.received_at + timedelta(seconds=offset) - SETTLE

    def _learn(self, payload: Payload) -> None:
        """Keep to a limit that the provider tells and that is lower than the documented one."""
        for limit in self.source.collector.told_limits(payload):
            if self.source.venue.quota.learn(limit.scope, limit.window, limit.capacity):
                get_logger(self.source.service).warning(
                    "limit_lowered", scope=limit.scope, capacity=limit.capacity, window_s=limit.window.total_seconds()
                )

    def _describe(self, failure: CollectorError, payloads: Sequence[Payload]) -> str:
        log = get_logger(self.source.service)
        if isinstance(failure, PayloadError):
            self.run.keep_payload(self.job, payloads[-1]) if payloads else None
            log.error("payload_not_understood", reason=str(failure), **self._context())
        elif isinstance(failure, VenueUnreachable):
            tally = self.run.tallies[self.source.name]
            tally.unreachable = tally.unreachable or str(failure)
            log.debug("call_failed", reason=str(failure), **self._context())
        else:
            log.warning("call_refused", reason=str(failure), kind=type(failure).__name__, **self._context())
        return str(failure)

    def _context(self) -> dict[str, Any]:
        return {"cycle": self.run.cycle_id, "dataset": self.job.dataset, "subject": self.job.subject}
