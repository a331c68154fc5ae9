"""What a look from outside shows of the work: the running cycle, limits in use, last failures. Cheap among millions.

Every read goes by an index and over few rows: it may be repeated every second. Raises StorageError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from collector.records import CycleState
from collector.storage.database import Database

CYCLES_LOOKED_AT = 200  # for failures: 16 h of cycles every five minutes
FAILING_CYCLES = 8  # the newest of them with failed jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one source did in one cycle so far."""

    source: str
    jobs_ok: int
    jobs_failed: int
    jobs_skipped: int
    rows: int
    rejects: int

    @property
    def jobs(self) -> int:
        """Return how many of its jobs have ended."""
        return self.jobs_ok + self.jobs_failed + self.jobs_skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleInShort:
    """One cycle without its report; `jobs` by source are those of its report, none while it runs."""

    cycle_id: int
    cadence: str
    state: CycleState
    started_at: datetime
    finished_at: datetime | None  # None while running
    rows: int
    jobs_failed: int
    jobs_skipped: int
    folder: str
    jobs: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob:
    """A job that failed."""

    job_id: int
    source: str
    dataset: str
    subject: str
    error: str
    at: datetime | None  # None: it was never tried


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInUse:
    """What is used of one limit at a moment."""

    source: str
    account: str  # address, or a digest of the key; with " api" for what the data API used
    scope: str
    window_s: int
    capacity: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAlert:
    """Something that is wrong now and was seen often enough to be told."""

    rule: str
    subject: str
    severity: str
    detail: str
    since: datetime


class Progress:
    """Reads what is under way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def cycles(self, limit: int) -> list[CycleInShort]:
        """Return the newest cycles, newest first."""
        return [_cycle(row) for row in self._rows(_CYCLES, limit=limit)]

    def first_started_at(self) -> datetime | None:
        """Return when the oldest cycle began; None before it."""
        first: datetime | None = self._rows("SELECT min(started_at) AS first FROM cycles")[0]["first"]
        return first

    def last_of(self, cadence: str) -> CycleInShort | None:
        """Return the newest cycle of a cadence that came to its end; None when there is none among the last ones."""
        rows = self._rows(_LAST_OF, cadence=cadence, limit=CYCLES_LOOKED_AT)
        return _cycle(rows[0]) if rows else None

    def done(self, cycle_id: int) -> list[Done]:
        """Return what each source did in a cycle so far, by name; sources without an ended job are left out."""
        return [Done(**row) for row in self._rows(_DONE, cycle_id=cycle_id)]

    def failures(self, limit: int) -> list[FailedJob]:
        """Return the newest failed jobs of the last cycles that have some, newest first."""
        values = {"limit": limit, "cycles": CYCLES_LOOKED_AT, "failing": FAILING_CYCLES}
        return [FailedJob(**row) for row in self._rows(_FAILURES, **values)]

    def limits(self, now: datetime) -> list[LimitInUse]:
        """Return what is used of every limit at `now`, as far as it was stored; by source, account and scope."""
        return [LimitInUse(**row) for row in self._rows(_LIMITS, now=now)]

    def alerts(self) -> list[OpenAlert]:
        """Return what is wrong now, the worst first; nothing in a database of a release without alerts."""
        if self._rows("SELECT to_regclass('alerts') IS NULL AS none")[0]["none"]:
            return []
        return [OpenAlert(**row) for row in self._rows(_ALERTS)]

    def size_bytes(self) -> int:
        """Return how large the database is. Dearer than the rest: it looks at every file."""
        return int(self._rows("SELECT pg_database_size(current_database()) AS size")[0]["size"])

    def _rows(self, query: str, **values: Any) -> Sequence[dict[str, Any]]:
        with self._database.reading("look at the work") as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]


def _cycle(row: dict[str, Any]) -> CycleInShort:
    counted = {part["source"]: int(part["jobs"]) for part in row.pop("parts") or ()}
    return CycleInShort(**{**row, "state": CycleState(row["state"])}, jobs=counted)


_SHORT = """
    cycle_id, cadence, state, started_at, finished_at, rows_written AS rows, jobs_failed, jobs_skipped, folder,
    (SELECT json_agg(json_build_object('source', p->>'source', 'jobs',
        (p->>'jobs_ok')::int + (p->>'jobs_failed')::int + (p->>'jobs_skipped')::int))
     FROM jsonb_array_elements(c.report->'sources') p) AS parts
"""
_CYCLES = f"SELECT {_SHORT} FROM cycles c ORDER BY cycle_id DESC LIMIT :limit"
_LAST_OF = f"""
    SELECT {_SHORT} FROM (SELECT * FROM cycles ORDER BY cycle_id DESC LIMIT :limit) c
    WHERE cadence = :cadence AND report IS NOT NULL ORDER BY cycle_id DESC LIMIT 1
"""
_DONE = """
    SELECT source, count(*) FILTER (WHERE state = 'ok') AS jobs_ok,
        count(*) FILTER (WHERE state = 'failed') AS jobs_failed,
        count(*) FILTER (WHERE state = 'skipped') AS jobs_skipped,
        sum(rows_written)::bigint AS rows, sum(rejects)::bigint AS rejects
    FROM jobs WHERE cycle_id = :cycle_id GROUP BY source ORDER BY source
"""
# By the cycles that know of failures, for few of millions of jobs fail. Jobs that were held back tell nothing new.
_FAILURES = """
    WITH failing AS (
        SELECT cycle_id FROM (SELECT * FROM cycles ORDER BY cycle_id DESC LIMIT :cycles) c
        WHERE jobs_failed > 0 OR state IN ('running', 'abandoned') ORDER BY cycle_id DESC LIMIT :failing)
    SELECT j.job_id, j.source, j.dataset, j.subject, j.error, j.finished_at AS at
    FROM failing JOIN jobs j USING (cycle_id) WHERE j.state = 'failed'
    ORDER BY j.job_id DESC LIMIT :limit
"""
# What left the window since it was stored no longer counts.
_LIMITS = """
    SELECT source, account, scope, window_s, capacity, (
        SELECT coalesce(sum((e->>1)::int), 0) FROM jsonb_array_elements(entries) e
        WHERE (e->>0)::timestamptz > CAST(:now AS timestamptz) - window_s * interval '1 second')::int AS used
    FROM provider_budgets ORDER BY source, account, scope, window_s
"""
_ALERTS = """
    SELECT rule, subject, severity, detail, since FROM alerts WHERE state = 'firing'
    ORDER BY array_position(ARRAY['critical', 'warning', 'info'], severity), since, rule, subject LIMIT 100
"""
