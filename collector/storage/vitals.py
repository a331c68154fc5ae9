"""How the collector is: the figures behind metrics, alerts and the terminal view, read in one place and in one moment.

Every read goes by an index over a bounded stretch of the ledger. What needs a look at everything (coverage, sizes) is
read anew once a minute. Raises StorageError; a reader belongs to one thread at a time.
"""

import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from collector.records import Dataset
from collector.storage.database import Database
from collector.storage.progress import LimitInUse, Progress
from collector.storage.quotes import Quotes
from collector.storage.reader import Reader
from collector.storage.serving.disk import DiskUse, disk_use, server_folder

SLOW_EVERY_S = 60.0
FAILING_WITHIN = timedelta(hours=2)  # the longest that a source stays off without being tried is an hour
CADENCES_WITHIN = timedelta(days=32)  # a cadence runs at least every 31 days
_PROCESS = re.compile(r"^(?P<name>[a-z ]+?) pid=(?P<pid>\d+) host=(?P<host>.+)$")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one source did in a stretch of time, by the reports of the cycles that ended in it."""

    jobs_ok: int = 0
    jobs_failed: int = 0
    jobs_skipped: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0  # answers that told us to wait
    waited_s: float = 0.0  # for quotas and pauses, over all threads
    busy_s: float = 0.0
    rejects: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVitals:
    """How one source is."""

    source: str
    today: Work = field(default_factory=Work)  # since 00:00 UTC
    recent: Work = field(default_factory=Work)  # of the last `Vitals.recent`
    rows_today: Mapping[str, int] = field(default_factory=dict)  # by table
    failing: str = ""  # why the newest cycle that asked it had nothing of it; empty when it had something
    paused_until: datetime | None = None  # None: it may be called
    reason: str = ""  # of the pause
    banned: bool = False
    denied: bool = False
    clock_offset_s: float | None = None
    job_seconds: Mapping[str, float] = field(default_factory=dict)  # quantile ("0.5") -> time of a good job


@dataclass(frozen=True, slots=True, kw_only=True)
class CadenceVitals:
    """How the cycles of one cadence fare; None where there was none yet."""

    cadence: str
    last_started_at: datetime | None = None  # of the newest that ended
    last_finished_at: datetime | None = None
    last_state: str = ""
    running_since: datetime | None = None
    ended_today: Mapping[str, int] = field(default_factory=dict)  # by state


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageVitals:
    """What is held and missing of the series of one venue and length, in seconds of all of them together."""

    venue: str
    dataset: str
    interval: str  # empty for funding
    series: int
    held_s: float
    missing_s: float
    none_s: float  # the provider does not have it
    holes: int
    recent_held_s: float  # of the last day
    recent_missing_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Doubtful values of one source and dataset that were noted lately."""

    source: str
    dataset: str
    kind: str  # jump or divergence
    rows: int
    subjects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskVitals:
    """What the database takes, and for how long the free space lasts; None where that is not known."""

    database_bytes: int
    tables: Mapping[str, int]  # bytes by table
    free_bytes: int | None
    capacity_bytes: int | None
    bytes_a_day: float | None
    days_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkVitals:
    """How far an outside store is behind."""

    sink: str
    source: str  # whose rows
    lag_s: float | None  # since the moment up to which it has everything; None: it has nothing yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Everything of one moment."""

    at: datetime
    recent: timedelta  # what `recent` means in here
    sources: Sequence[SourceVitals] = ()
    freshness: Mapping[tuple[str, Dataset], datetime] = field(default_factory=dict)  # end of the newest good job
    newest: Mapping[str, datetime] = field(default_factory=dict)  # newest observation by table
    limits: Sequence[LimitInUse] = ()
    cadences: Sequence[CadenceVitals] = ()
    first_cycle_at: datetime | None = None
    coverage: Sequence[CoverageVitals] = ()
    rejects: Mapping[tuple[str, str], int] = field(default_factory=dict)  # recent ones by (source, reason)
    doubts: Sequence[Doubt] = ()
    disk: DiskVitals | None = None
    sinks: Sequence[SinkVitals] = ()
    backup_at: datetime | None = None  # of the newest good backup; None: none is known
    collecting: bool = False  # a process holds the writer's lock
    memory: Mapping[str, int] = field(default_factory=dict)  # resident bytes by process, of those on this machine


class VitalsReader:
    """Reads the vitals of the sources and cadences that are configured."""

    def __init__(
        self,
        database: Database,
        *,
        sources: Sequence[str],
        cadences: Sequence[str],
        data_folder: Path | None,
        recent: timedelta = timedelta(hours=1),
        backup_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """Read nothing yet. `data_folder` is the embedded server's; None: it is asked of the server."""
        self._database = database
        self._sources, self._cadences, self._recent = tuple(sources), tuple(cadences), recent
        self._data_folder, self._backup_at = data_folder, backup_at
        self._slow: dict[str, tuple[float, Any]] = {}  # when it was read, and what

    def read(self, now: datetime) -> Vitals:
        """Return the vitals of a moment. Raises StorageError."""
        slow, reader, quotes = self._slowly(now), Reader(self._database), Quotes(self._database)
        failing = quotes.failing(self._sources, now - FAILING_WITHIN)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        since = {"midnight": midnight, "recent": now - self._recent, "since": min(midnight, now - self._recent)}
        with self._database.reading("read the vitals") as connection:
            work = _by_source(connection, _WORK, since)
            tables = _rows_by_table(connection, since)
            states = _by_source(connection, _STATES, {})
            times = _quantiles(connection, self._sources, now - self._recent)
            cadences = [_cadence(connection, name, now, midnight) for name in self._cadences]
            first = connection.execute(text("SELECT min(started_at) FROM cycles")).scalar()
            rejects = {(row.source, row.reason): row.rows for row in connection.execute(_REJECTS, since)}
            doubts = [Doubt(**row) for row in connection.execute(_DOUBTS, since).mappings()]
            sinks = [SinkVitals(**row) for row in connection.execute(_SINKS, {"now": now}).mappings()]
            memory = _memory(connection)
        names = [*self._sources, *sorted({*work} - {*self._sources})]
        parts = {
            name: {"work": work.get(name, {}), "state": states.get(name, {}), "failing": failing.get(name, "")}
            for name in names
        }
        return Vitals(
            at=now,
            recent=self._recent,
            sources=[_source(name, parts[name], tables.get(name, {}), times.get(name, {})) for name in names],
            freshness=reader.last_job_times(),
            newest=slow["newest"],
            limits=Progress(self._database).limits(now),
            cadences=cadences,
            first_cycle_at=first,
            coverage=slow["coverage"],
            rejects=rejects,
            doubts=doubts,
            disk=slow["disk"],
            sinks=sinks,
            backup_at=slow["backup_at"],
            collecting=self._database.has_writer(),
            memory=memory,
        )

    def _slowly(self, now: datetime) -> Mapping[str, Any]:
        """Return what needs a look at everything: read a minute ago at most, and not all of it at once."""
        ticks = self._database.clock.monotonic()
        reads: Mapping[str, Callable[[], Any]] = {
            "coverage": lambda: self._coverage(now),
            "disk": self._disk,
            "newest": lambda: Quotes(self._database).newest_rows(now),
            "backup_at": self._backup_at,
        }
        old = [name for name in reads if ticks - self._slow.get(name, (float("-inf"), None))[0] >= SLOW_EVERY_S]
        unread = [name for name in old if name not in self._slow]
        for name in unread or old[:1]:
            self._slow[name] = (ticks, reads[name]())
        return {name: value for name, (_, value) in self._slow.items()}

    def _coverage(self, now: datetime) -> list[CoverageVitals]:
        with self._database.reading("read the coverage") as connection:
            rows = connection.execute(_COVERAGE, {"now": now, "from": now - timedelta(days=1)}).mappings()
            return [CoverageVitals(**row) for row in rows]

    def _disk(self) -> DiskVitals:
        use, folder = disk_use(self._database), self._data_folder
        found = str(folder) if folder is not None else server_folder(self._database)[0]
        free, capacity = _space(found)
        rate = growth(use)
        return DiskVitals(
            database_bytes=use.database_bytes,
            tables={table.table: table.total_bytes for table in use.tables},
            free_bytes=free,
            capacity_bytes=capacity,
            bytes_a_day=rate,
            days_left=None if free is None or not rate else free / rate,
        )


def growth(use: DiskUse) -> float | None:
    """Return how many bytes a day all counted tables grow; None when the growth of one is not known."""
    return None if any(table.missing for table in use.tables) else sum(table.bytes_a_day or 0.0 for table in use.tables)


def memory_of(pid: int) -> int | None:
    """Return the resident bytes of a process of this machine; None where that cannot be told."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(words[1]) * _PAGE_BYTES


def _space(folder: str | None) -> tuple[int | None, int | None]:
    if folder is None:
        return None, None
    try:
        space = shutil.disk_usage(folder)
    except OSError:
        return None, None
    return space.free, space.total


def _by_source(connection: Connection, query: Any, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows = [dict(row) for row in connection.execute(query, values).mappings()]
    return {row.pop("source"): row for row in rows}


def _rows_by_table(connection: Connection, since: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(_ROWS, since):
        found.setdefault(row.source, {})[row.name] = row.rows
    return found


def _quantiles(connection: Connection, sources: Sequence[str], since: datetime) -> dict[str, dict[str, float]]:
    values = {"sources": list(sources), "datasets": [str(item) for item in Dataset], "since": since}
    rows = connection.execute(_TIMES, values)
    return {row.source: {"0.5": row.half, "0.95": row.most} for row in rows if row.half is not None}


def _source(name: str, parts: Mapping[str, Any], tables: Mapping[str, int], times: Mapping[str, float]) -> SourceVitals:
    work, state = parts["work"], parts["state"]
    names = [item for item in Work.__slots__ if f"today_{item}" in work]
    return SourceVitals(
        source=name,
        today=Work(**{item: work[f"today_{item}"] for item in names}),
        recent=Work(**{item: work[f"recent_{item}"] for item in names}),
        rows_today=tables,
        failing=parts["failing"],
        job_seconds=times,
        **state,
    )


def _cadence(connection: Connection, name: str, now: datetime, midnight: datetime) -> CadenceVitals:
    values = {"cadence": name, "since": now - CADENCES_WITHIN, "midnight": midnight, "before": midnight - _LONGEST}
    last = connection.execute(_LAST_CYCLE, values).first()
    running = connection.execute(_RUNNING, values).scalar()
    ended = {row.state: row.cycles for row in connection.execute(_ENDED, values)}
    if last is None:
        return CadenceVitals(cadence=name, running_since=running, ended_today=ended)
    return CadenceVitals(
        cadence=name,
        last_started_at=last.started_at,
        last_finished_at=last.finished_at,
        last_state=last.state,
        running_since=running,
        ended_today=ended,
    )


def _memory(connection: Connection) -> dict[str, int]:
    """Return the memory of our processes on this machine that are connected, by the name of the application."""
    found: dict[str, int] = {}
    for row in connection.execute(_APPLICATIONS):
        match = _PROCESS.match(row.application_name)
        if match is None or not socket.gethostname().startswith(match["host"]):
            continue
        if match["name"] == "collector" and not row.locks:  # a command; the collector itself holds the writer's lock
            continue
        resident = memory_of(int(match["pid"]))
        if resident is not None:  # of several commands of one name the largest
            found[match["name"]] = max(found.get(match["name"], 0), resident)
    return found


# --------------------------------------------------------------------------- statements

_LONGEST = timedelta(hours=6)  # a cycle that ended today began no longer before
_COUNTED = (
    *("jobs_ok", "jobs_failed", "jobs_skipped", "requests", "retries", "refused", "rejects"),
    *("waited_s", "duration_s", "row_count"),
)
_NAMED = {"duration_s": "busy_s", "row_count": "rows"}
_SUMS = ", ".join(
    f"coalesce(sum({name}) FILTER (WHERE finished_at >= :{moment}), 0)::{'float8' if name.endswith('_s') else 'bigint'}"
    f" AS {prefix}_{_NAMED.get(name, name)}"
    for prefix, moment in (("today", "midnight"), ("recent", "recent"))
    for name in _COUNTED
)
_PARTS = f"""
    SELECT c.finished_at, s.*,
        (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(s.rows)) AS row_count
    FROM cycles c CROSS JOIN LATERAL jsonb_to_recordset(c.report -> 'sources') AS s(source text, jobs_ok bigint,
        jobs_failed bigint, jobs_skipped bigint, requests bigint, retries bigint, refused bigint, rejects bigint,
        waited_s float8, duration_s float8, rows jsonb)
    WHERE c.started_at >= CAST(:since AS timestamptz) - interval '{int(_LONGEST.total_seconds())} s'
      AND c.finished_at >= :since
"""
_WORK = text(f"SELECT source, {_SUMS} FROM ({_PARTS}) p GROUP BY source ORDER BY source")
_ROWS = text(
    f"""
    SELECT p.source, t.key AS name, sum(t.value::bigint)::bigint AS rows FROM ({_PARTS}) p
    CROSS JOIN LATERAL jsonb_each_text(p.rows) t WHERE finished_at >= :midnight GROUP BY 1, 2 ORDER BY 1, 2
    """
)
_STATES = text("SELECT source, paused_until, reason, banned, denied, clock_offset_s FROM provider_state")
_TIMES = text(
    """
    SELECT s.source, percentile_cont(0.5) WITHIN GROUP (ORDER BY j.took) AS half,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY j.took) AS most
    FROM unnest(CAST(:sources AS text[])) AS s(source) CROSS JOIN unnest(CAST(:datasets AS text[])) AS d(dataset)
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM finished_at - started_at)::float8 AS took FROM jobs
        WHERE source = s.source AND dataset = d.dataset AND state = 'ok' AND finished_at >= :since
        ORDER BY finished_at DESC LIMIT 2000) j GROUP BY 1
    """
)
_LAST_CYCLE = text(
    """
    SELECT started_at, finished_at, state FROM cycles
    WHERE cadence = :cadence AND started_at >= :since AND state IN ('ok', 'partial', 'failed')
    ORDER BY started_at DESC LIMIT 1
    """
)
_RUNNING = text("SELECT min(started_at) FROM cycles WHERE state = 'running' AND cadence = :cadence")
_ENDED = text(
    """
    SELECT state, count(*) AS cycles FROM cycles
    WHERE cadence = :cadence AND started_at >= :before AND finished_at >= :midnight GROUP BY 1 ORDER BY 1
    """
)
_REJECTS = text("SELECT source, reason, count(*) AS rows FROM rejects WHERE at >= :recent GROUP BY 1, 2 ORDER BY 1, 2")
_DOUBTS = text(
    """
    SELECT source, dataset, kind, count(*) AS rows, count(DISTINCT subject) AS subjects FROM suspects
    WHERE noted_at >= :recent GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
)
_SINKS = text(
    """
    SELECT sink, source, max(extract(epoch FROM CAST(:now AS timestamptz) - recent_at))::float8 AS lag_s
    FROM sink_watermarks GROUP BY 1, 2 ORDER BY 1, 2
    """
)
_APPLICATIONS = text(
    """
    SELECT a.application_name, bool_or(l.pid IS NOT NULL) AS locks FROM pg_stat_activity a
    LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
    WHERE a.datname = current_database() AND a.application_name LIKE '% pid=%' GROUP BY 1 ORDER BY 1
    """
)
_HELD, _MISSED = "state IN ('observed', 'filled')", "state IN ('missing', 'pending')"


def _seconds(span: str, condition: str) -> str:
    return f"coalesce(extract(epoch FROM sum({span}) FILTER (WHERE {condition})), 0)::float8"


_LATELY = "greatest(least(until, :now) - greatest(since, CAST(:from AS timestamptz)), interval '0')"
# First by series, which an index has in order: counting distinct series of all windows takes four times as long.
_COVERAGE = text(
    f"""
    SELECT i.venue, c.dataset, c.interval, count(*) AS series, sum(held_s) AS held_s, sum(missing_s) AS missing_s,
        sum(none_s) AS none_s, sum(holes)::bigint AS holes, sum(recent_held_s) AS recent_held_s,
        sum(recent_missing_s) AS recent_missing_s
    FROM (
        SELECT instrument_id, dataset, interval,
            {_seconds("until - since", _HELD)} AS held_s, {_seconds("until - since", _MISSED)} AS missing_s,
            {_seconds("until - since", "state = 'provider_has_none'")} AS none_s,
            count(*) FILTER (WHERE {_MISSED}) AS holes,
            {_seconds(_LATELY, f"{_HELD} AND until > :from")} AS recent_held_s,
            {_seconds(_LATELY, f"{_MISSED} AND until > :from")} AS recent_missing_s
        FROM coverage GROUP BY 1, 2, 3) c JOIN instruments i USING (instrument_id)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
)
