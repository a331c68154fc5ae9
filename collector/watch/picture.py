"""What is seen in one look: plain values, ready to be drawn, compared with the look before, or printed as JSON."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from collector.records import Dataset
from collector.storage.progress import CycleInShort, Done, FailedJob, LimitInUse, OpenAlert
from collector.storage.providers import ProviderState


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What may be waited for of a dataset."""

    every: timedelta  # it has a new value
    stale_from: timedelta  # its age at which it is stale


Waited = Mapping[tuple[str, Dataset], Due]
"""(source, dataset) -> what may be waited for"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProgress:
    """What one source did of the cycle that runs."""

    source: str
    done: int  # jobs that ended
    expected: int | None  # jobs of the last cycle of this cadence; None: not known
    failed: int
    skipped: int
    rows: int
    rejects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What is used of one limit."""

    source: str
    scope: str
    account: str
    window_s: int
    used: int
    capacity: int

    @property
    def share(self) -> float:
        """Return the used part, 0 to 1 and beyond."""
        return self.used / self.capacity if self.capacity else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A provider that is not asked for a while."""

    source: str
    kind: str  # banned, denied or paused
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """When a dataset of a source was last fetched well."""

    source: str
    dataset: str
    last_ok_at: datetime | None  # None: never
    every_s: float
    stale: bool  # as the rule of alerts judges it; never fetched counts from the first cycle on


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Room, in bytes; None where it cannot be told."""

    database_bytes: int | None
    free_bytes: int | None  # on the disk of the data folder
    total_bytes: int | None
    spool_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One look. While the database is `away` the other values are those of the last look that reached it."""

    at: datetime
    seen_at: datetime | None = None  # when the database last answered; None: never
    away: str = ""  # why the database cannot be seen now
    collecting: bool = False  # whether a collector holds the database
    simulated: bool = False
    stage: str = ""  # how far the stage of the running cycle is, as its log says: 120/400 jobs
    cycles: Sequence[CycleInShort] = ()  # newest first
    progress: Sequence[SourceProgress] = ()  # of the newest cycle, if it runs
    budgets: Sequence[Budget] = ()  # most used first
    pauses: Sequence[Pause] = ()
    freshness: Sequence[Freshness] = ()  # stale ones first, then the oldest
    failures: Sequence[FailedJob] = ()  # newest first
    alerts: Sequence[OpenAlert] = ()
    disk: Disk = field(
        default_factory=lambda: Disk(database_bytes=None, free_bytes=None, total_bytes=None, spool_bytes=0)
    )

    @property
    def running(self) -> CycleInShort | None:
        """Return the cycle that runs; None between cycles."""
        newest = self.cycles[0] if self.cycles else None
        return newest if newest is not None and newest.finished_at is None else None


def progress_of(done: Sequence[Done], expected: Mapping[str, int]) -> list[SourceProgress]:
    """Return how far each source of the running cycle is; one that has not ended a job yet is at zero."""
    known = {item.source: item for item in done}
    nothing = {"jobs_ok": 0, "jobs_failed": 0, "jobs_skipped": 0, "rows": 0, "rejects": 0}
    rows = []
    for name in sorted({*known, *(source for source, jobs in expected.items() if jobs)}):
        item = known.get(name) or Done(source=name, **nothing)
        rows.append(
            SourceProgress(
                source=name,
                done=item.jobs,
                expected=expected.get(name),
                failed=item.jobs_failed,
                skipped=item.jobs_skipped,
                rows=item.rows,
                rejects=item.rejects,
            )
        )
    return rows


def budgets_of(limits: Sequence[LimitInUse]) -> list[Budget]:
    """Return the limits, the most used first."""
    rows = [
        Budget(
            source=item.source,
            scope=item.scope,
            account=item.account,
            window_s=item.window_s,
            used=item.used,
            capacity=item.capacity,
        )
        for item in limits
    ]
    return sorted(rows, key=lambda row: (-row.share, row.source, row.scope, row.window_s, row.account))


def pauses_of(states: Collection[ProviderState], now: datetime) -> list[Pause]:
    """Return the providers that may not be asked at `now`, the longest wait first."""
    rows = []
    for state in states:
        if state.paused_until is not None and state.paused_until > now:
            kind = "banned" if state.banned else "denied" if state.denied else "paused"
            rows.append(Pause(source=state.source, kind=kind, until=state.paused_until, reason=state.reason))
    return sorted(rows, key=lambda row: row.until, reverse=True)


def freshness_of(
    last_ok: Mapping[tuple[str, Dataset], datetime], waited: Waited, now: datetime, since: datetime | None
) -> list[Freshness]:
    """Return how fresh each collected dataset is; `since` is when the first cycle began, None before it.

    One that was never fetched has the age of the collection.
    """
    rows = []
    for (source, dataset), due in waited.items():
        last = last_ok.get((source, dataset))
        reached = last if last is not None else since
        stale = reached is not None and now - reached > due.stale_from
        rows.append(
            Freshness(
                source=source,
                dataset=str(dataset),
                last_ok_at=last,
                every_s=due.every.total_seconds(),
                stale=stale,
            )
        )
    # The older against how often it comes, the higher; never is oldest.
    return sorted(rows, key=lambda row: (not row.stale, -_turns(row, now), row.source, row.dataset))


def _turns(row: Freshness, now: datetime) -> float:
    return float("inf") if row.last_ok_at is None else (now - row.last_ok_at).total_seconds() / row.every_s
