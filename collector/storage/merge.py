"""Rows into a table: COPY into a staging table, then one guarded upsert on the natural key.

Everything happens in the caller's transaction. An upsert that would change nothing writes nothing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import psycopg2.extensions
from sqlalchemy import Connection

from collector.errors import StorageRejected
from collector.storage.faults import translated
from collector.storage.rows import BATCH, Rows, RowShape, chunks

Cursor = psycopg2.extensions.cursor

# Columns that say how we came by a row; a difference in them alone is no change.
CIRCUMSTANCES = ("received_at", "cycle_id", "observed_at", "computed_at")

# Two answers of one provider speak of the same key here, one saying less: what is absent from it takes nothing away.
SPARSE = {"market_snapshots"}


@dataclass(frozen=True, slots=True)
class Changes:
    """How many rows of each batch a merge inserted or changed, and of those how many final ones it revised."""

    changed: Counter[int]
    revised: Counter[int] = field(default_factory=Counter)


class Chunks:
    """An iterator of bytes as the file object that COPY reads from; every read is one chunk."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def read(self, _size: int = -1) -> bytes:
        return next(self._parts, b"")

    readline = read  # the driver's type wants one; COPY never calls it


def staging_name(table: str) -> str:
    """Return the name of a table's staging table."""
    return f"staged_{table}"


def ensure_staging(connection: Connection, tables: Sequence[str]) -> None:
    """Make the temporary staging tables that this connection does not have yet; commit soon after."""
    made: set[str] = connection.info.setdefault("staging_tables", set())
    missing = [table for table in tables if table not in made]
    for table in missing:
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {staging_name(table)} ON COMMIT DELETE ROWS AS "
            f"SELECT t.*, NULL::float8[] AS extra_values, 0 AS {BATCH} FROM {table} t WITH NO DATA"
        )
    connection.commit()
    made.update(missing)


def upsert_sql(table: str, columns: Sequence[str], key: Sequence[str], selected: Sequence[str] | None = None) -> str:
    """Return the guarded upsert of everything staged for a table."""
    values = [name for name in columns if name not in key]
    compared = [name for name in values if name not in CIRCUMSTANCES]
    value = "coalesce(EXCLUDED.{1}, {0}.{1})" if table in SPARSE else "EXCLUDED.{1}"
    sets = ", ".join(f"{name} = {value.format(table, name)}" for name in values)
    old = ", ".join(f"{table}.{name}" for name in compared)
    new = ", ".join(value.format(table, name) for name in compared)
    action = f"UPDATE SET {sets} WHERE ({old}) IS DISTINCT FROM ({new})" if compared else "NOTHING"
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(selected or columns)} "
        f"FROM {staging_name(table)} ON CONFLICT ({', '.join(key)}) DO {action}"
    )


def counted_sql(upsert: str, table: str, key: Sequence[str]) -> str:
    """Return the upsert as a query of (batch number, rows inserted or changed)."""
    keys = ", ".join(key)
    return (
        f"WITH merged AS ({upsert} RETURNING {', '.join(f'{table}.{name}' for name in key)}) "
        f"SELECT {BATCH}, count(*) FROM merged JOIN {staging_name(table)} USING ({keys}) GROUP BY {BATCH}"
    )


@cache
def _statements(shape: RowShape) -> tuple[str, str, str]:
    copy = f"COPY {staging_name(shape.table)} ({', '.join((*shape.columns, BATCH))}) FROM STDIN"
    upsert = upsert_sql(shape.table, shape.columns, shape.key)
    return copy, upsert, counted_sql(upsert, shape.table, shape.key)


@contextmanager
def savepoint(cursor: Cursor) -> Iterator[None]:
    """Undo what the block did when the database refuses a value, and only that; driver errors become ours."""
    with translated("write"):
        cursor.execute("SAVEPOINT part")
    try:
        with translated("write"):
            yield
    except StorageRejected:
        cursor.execute("ROLLBACK TO SAVEPOINT part")
        raise
    with translated("write"):
        cursor.execute("RELEASE SAVEPOINT part")


def stage(cursor: Cursor, shape: RowShape, rows: Rows, ids: Mapping[int, int], cycle_id: int) -> None:
    """Fill a table's staging table with exactly these rows."""
    cursor.execute(f"DELETE FROM {staging_name(shape.table)}")  # empty but for a bisection
    copy, _, _ = _statements(shape)
    cursor.copy_expert(copy, Chunks(chunks(rows, shape, ids, cycle_id)))


def merge_staged(cursor: Cursor, shape: RowShape, rows: Rows) -> Changes:
    """Upsert what is staged and return what became of the rows of each batch."""
    _, upsert, counted = _statements(shape)
    batches = set(rows.numbers)
    if len(batches) == 1:
        cursor.execute(upsert)
        return Changes(Counter({batches.pop(): cursor.rowcount}))
    cursor.execute(counted)
    return Changes(Counter(dict(cursor.fetchall())))
