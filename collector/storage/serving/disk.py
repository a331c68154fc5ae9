"""How much disk the tables take, and by how much they grow a day: from sizes and the ledger, without reading rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from collector.errors import ConfigError, StorageRejected
from collector.records import Interval
from collector.storage import timeseries
from collector.storage.database import Database

DAY = timedelta(days=1)
BY_MONTHS = "size of its partitions of this and last month over the days collected in them"
BY_BARS = "bars a day of the series that are kept up, times the mean size of a stored bar"
BY_LIFE = "size over the days since the first cycle"
BY_AGE = "not counted: its rows are deleted by age"
IN_PLACE = "not counted: its rows are changed in place"
TOO_EARLY = "not known: collected for less than a day"
NOT_COUNTED_YET = "not known: the server has not counted its rows yet"

_BARS = ("candles", "indicators")
_BY_AGE = frozenset({"raw_payloads", "jobs", "rejects", "table_sizes"})
_IN_PLACE = frozenset(
    {
        "alembic_version",
        "asset_details",
        "assets",
        "cold_months",
        "coverage",
        "funding_terms",
        "instruments",
        "provider_budgets",
        "provider_state",
        "thinned_months",
    }
)
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUse:
    """What one table takes, its partitions and indexes together."""

    table: str
    total_bytes: int
    rows: int | None  # as the server last counted them; None before it did
    bytes_a_day: float | None  # None: not known, or not counted
    how: str  # where that comes from, or why there is none

    @property
    def missing(self) -> bool:
        """Return whether its growth counts and is not known."""
        return self.bytes_a_day is None and self.how not in {BY_AGE, IN_PLACE}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """What the database takes; the largest table first."""

    database_bytes: int
    tables: Sequence[TableUse]
    first_cycle_at: datetime | None
    last_cycle_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Size:
    total: int
    rows: int | None
    recent: int | None  # of the partitions of this and last month; None: it has none


@dataclass(frozen=True, slots=True)
class _Time:
    """How long has been collected: ever, and since last month began."""

    ever: timedelta
    recent: timedelta


def disk_use(database: Database) -> DiskUse:
    """Return how much everything takes and grows. Raises StorageError."""
    with database.reading("look at the disk") as connection:
        first, last = connection.execute(text("SELECT min(started_at), max(started_at) FROM cycles")).one()
        month = timeseries.month_of(last or database.clock.now())
        sizes = _sizes(connection, month)
        whole = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        bars = 0.0 if last is None else _bars_a_day(connection, last)
    time = None
    if first is not None:
        since = datetime(*timeseries.following(month, -1), 1, tzinfo=UTC)
        time = _Time(last - first, last - max(first, since))
    tables = [_use(name, size, time, bars, sizes) for name, size in sizes.items()]
    tables.sort(key=lambda use: (-use.total_bytes, use.table))
    return DiskUse(database_bytes=whole, tables=tables, first_cycle_at=first, last_cycle_at=last)


def server_folder(database: Database) -> tuple[str | None, str]:
    """Return the data folder of a server on this machine and no reason; else None and why. Raises StorageError."""
    host = database.url.host or database.url.query.get("host") or ""
    if not (host in _LOCAL or str(host).startswith("/")):
        return None, "the database is on another machine"
    try:
        with database.reading("look for the folder of the server") as connection:
            return str(connection.execute(text("SHOW data_directory")).scalar_one()), ""
    except (ConfigError, StorageRejected):
        return None, "the server does not tell this user where its data is"


def _sizes(connection: Connection, month: timeseries.Month) -> dict[str, _Size]:
    months = [f"_{year:04d}_{number:02d}" for year, number in (timeseries.following(month, -1), month)]
    rows = connection.execute(_SIZES, {"months": months}).mappings()
    sizes = {row["name"]: _size(row) for row in rows}
    hypertables = [name for name in timeseries.PARTITIONED if timeseries.is_hypertable(connection, name)]
    return sizes | {name: _hypertable_size(connection, name, month) for name in hypertables}


def _hypertable_size(connection: Connection, name: str, month: timeseries.Month) -> _Size:
    size = timeseries.size_of(connection, name)
    recent = [timeseries.size_of_month(connection, name, item) for item in (timeseries.following(month, -1), month)]
    rows = None if size.heap_bytes and not size.estimated_rows else size.estimated_rows
    return _Size(size.total_bytes, rows, sum(recent))


def _size(row: Mapping[Any, Any]) -> _Size:
    rows = None if row["uncounted"] and not row["rows"] else row["rows"]
    return _Size(row["total"], rows, row["recent"])


def _bars_a_day(connection: Connection, at: datetime) -> float:
    """Return how many bars come a day: of each series that was kept up at a moment, as many as fit."""
    values = {"intervals": [str(item) for item in Interval], "widths": [item.width for item in Interval], "at": at}
    rows = connection.execute(_KEPT_UP, values).all()
    return sum((int(row.series) * (DAY / Interval(row.interval).width) for row in rows), 0.0)


def _use(name: str, size: _Size, time: _Time | None, bars: float, sizes: Mapping[str, _Size]) -> TableUse:
    rate, how = _growth(name, size, time, bars, sizes["candles"])
    return TableUse(table=name, total_bytes=size.total, rows=size.rows, bytes_a_day=rate, how=how)


def _growth(name: str, size: _Size, time: _Time | None, bars: float, candles: _Size) -> tuple[float | None, str]:
    if name in _BY_AGE or name in _IN_PLACE:
        return None, BY_AGE if name in _BY_AGE else IN_PLACE
    if name in _BARS:  # history that is fetched later lands in the same months: their size says nothing of a day
        if not candles.rows:
            return (0.0, BY_BARS) if candles.rows == 0 else (None, NOT_COUNTED_YET)
        return bars * size.total / candles.rows, BY_BARS
    by_month = size.recent is not None
    collected = None if time is None else time.recent if by_month else time.ever
    if collected is None or collected < DAY:
        return None, TOO_EARLY
    return ((size.recent or 0) if by_month else size.total) / (collected / DAY), BY_MONTHS if by_month else BY_LIFE


_SIZES = text(
    """
    WITH mine AS (
        SELECT oid, relname::text AS name FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    ), parts AS (
        SELECT name, oid FROM mine
        UNION ALL SELECT m.name, i.inhrelid FROM mine m JOIN pg_inherits i ON i.inhparent = m.oid
    )
    SELECT p.name, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS total,
        coalesce(sum(greatest(c.reltuples, 0)) FILTER (WHERE c.relkind = 'r'), 0)::bigint AS rows,
        bool_or(c.relkind = 'r' AND c.reltuples < 0 AND pg_relation_size(c.oid) > 0) AS uncounted,
        sum(pg_total_relation_size(c.oid)) FILTER (
            WHERE substr(c.relname, length(p.name) + 1) = ANY(CAST(:months AS text[])))::bigint AS recent
    FROM parts p JOIN pg_class c USING (oid) GROUP BY p.name
    """
)
# A series is kept up when its newest held bar ended at most a day and two bars ago.
_KEPT_UP = text(
    """
    SELECT c.interval, count(DISTINCT c.instrument_id) AS series
    FROM coverage c JOIN unnest(CAST(:intervals AS text[]), CAST(:widths AS interval[])) AS w(interval, width)
        ON w.interval = c.interval
    WHERE c.dataset = 'candles' AND c.state IN ('observed', 'filled')
      AND c.until >= CAST(:at AS timestamptz) - interval '1 day' - 2 * w.width
    GROUP BY c.interval
    """
)
