"""How large every table is, and how large tables and folders were: a history of samples, an hour apart at the least.

Nothing is measured by reading rows: sizes are those of the server's files, rows are as it last counted them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extras import execute_values
from sqlalchemy import text

from collector.storage.database import Database

EVERY = timedelta(minutes=59)  # an hourly chore comes a little early at times
KEEP_ALL, KEEP_DAILY = timedelta(days=31), timedelta(days=731)
TABLE, FOLDER = "table", "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a table or a folder is."""

    kind: str  # table or folder
    name: str
    total_bytes: int
    heap_bytes: int | None = None  # None: a folder
    index_bytes: int | None = None
    rows: int | None = None  # as the server last counted them, or files; None: not counted yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How large something was at a moment."""

    kind: str
    name: str
    sampled_at: datetime
    total_bytes: int


def measure_tables(database: Database) -> list[Size]:
    """Return how large each table is, partitions together, the largest first. Raises StorageError."""
    with database.reading("measure the tables") as connection:
        rows = connection.execute(_TABLES).all()
    return [
        Size(
            kind=TABLE,
            name=row.name,
            total_bytes=row.total,
            heap_bytes=row.heap,
            index_bytes=row.indexes,
            rows=None if row.uncounted and not row.rows else row.rows,
        )
        for row in rows
    ]


def last_sampled(database: Database) -> datetime | None:
    """Return when sizes were last stored; None: never. Raises StorageError."""
    with database.reading("look for samples") as connection:
        found: datetime | None = connection.execute(text("SELECT max(sampled_at) FROM table_sizes")).scalar()
    return found


def store_samples(database: Database, sizes: Sequence[Size], now: datetime) -> int:
    """Store sizes as of now, unless that was done within the hour, and thin old ones; return how many were stored.

    All are kept for a month, then the first of each day for two years. Raises StorageError.
    """
    with database.transaction("store sizes") as connection:
        connection.execute(text("LOCK TABLE table_sizes IN SHARE ROW EXCLUSIVE MODE"))  # two at once: the second waits
        newest = connection.execute(text("SELECT max(sampled_at) FROM table_sizes")).scalar()
        if newest is not None and timedelta(0) <= now - newest < EVERY:
            return 0
        rows = [
            (now, size.kind, size.name, size.heap_bytes, size.index_bytes, size.total_bytes, size.rows)
            for size in sizes
        ]
        execute_values(connection.connection.cursor(), _INSERT, rows, page_size=1000)
        connection.execute(_PRUNE, {"month": now - KEEP_ALL, "years": now - KEEP_DAILY})
    return len(rows)


def load_samples(database: Database, since: datetime) -> list[Sample]:
    """Return the samples at or after a moment, by kind, name and time. Raises StorageError."""
    with database.reading("read samples") as connection:
        rows = connection.execute(_SAMPLES, {"since": since}).all()
    return [Sample(kind=row[0], name=row[1], sampled_at=row[2], total_bytes=row[3]) for row in rows]


_TABLES = text(
    """
    WITH mine AS (
        SELECT oid, relname::text AS name FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    ), parts AS (
        SELECT name, oid FROM mine
        UNION ALL SELECT m.name, i.inhrelid FROM mine m JOIN pg_inherits i ON i.inhparent = m.oid
    )
    SELECT p.name, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS total,
        coalesce(sum(pg_table_size(c.oid)), 0)::bigint AS heap,
        coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint AS indexes,
        coalesce(sum(greatest(c.reltuples, 0)) FILTER (WHERE c.relkind = 'r'), 0)::bigint AS rows,
        bool_or(c.relkind = 'r' AND c.reltuples < 0 AND pg_relation_size(c.oid) > 0) AS uncounted
    FROM parts p JOIN pg_class c USING (oid) GROUP BY p.name ORDER BY total DESC, p.name
    """
)
_INSERT = """
    INSERT INTO table_sizes (sampled_at, kind, name, heap_bytes, index_bytes, total_bytes, rows) VALUES %s
"""
_SAMPLES = text(
    "SELECT kind, name, sampled_at, total_bytes FROM table_sizes WHERE sampled_at >= :since "
    "ORDER BY kind, name, sampled_at"
)
_PRUNE = text(
    """
    DELETE FROM table_sizes t WHERE sampled_at < :years OR (sampled_at < :month AND EXISTS (
        SELECT FROM table_sizes f WHERE f.kind = t.kind AND f.name = t.name AND f.sampled_at < t.sampled_at
            AND date_trunc('day', f.sampled_at) = date_trunc('day', t.sampled_at)))
    """
)
