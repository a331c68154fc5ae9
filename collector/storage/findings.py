"""What was computed from stored rows, into its tables: each row under its natural key, in one transaction a call.

A row that says the same again writes nothing. What names an instrument by its canonical id is stored under the number
of a known one; a row of an unknown instrument is a KeyError, for nothing can have been computed of it.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from psycopg2.extras import Json, execute_values
from sqlalchemy import Table

from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.merge import CIRCUMSTANCES, Cursor
from collector.storage.models import ANALYTICS

TABLES: Mapping[str, Table] = {table.name: table for table in ANALYTICS}
NEVER_CHANGED = frozenset({"signals", "signal_revisions", "asset_views"})  # what was given stays as it was given
ROWS_PER_STATEMENT = 1_000

Row = Mapping[str, Any]
"""Column -> value, `instrument` (canonical id) for instrument_id; `computed_at` and `cycle_id` are added here."""


class Findings:
    """Writes the tables of the analytics. Used by one thread; raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, found: Mapping[str, Sequence[Row]], *, cycle_id: int | None = None) -> dict[str, int]:
        """Store rows by table, all or none; return how many of each table were inserted or changed."""
        self._make_room(found)
        now = self._database.clock.now()
        with self._database.transaction("write analytics") as connection:
            cursor: Cursor = connection.connection.cursor()  # type: ignore[assignment]
            return {
                name: _store(cursor, TABLES[name], rows, computed_at=now, cycle_id=cycle_id)
                for name, rows in found.items()
                if rows
            }

    def _make_room(self, found: Mapping[str, Sequence[Row]]) -> None:
        """Make partitions, committed by themselves: what they wait for must not hold up the rows."""
        for name, rows in found.items():
            column = timeseries.PARTITIONED.get(name)
            if column and rows:
                months = {timeseries.month_of(row[column]) for row in rows}
                with self._database.transaction("make partitions") as connection:
                    timeseries.ensure_partitions(connection, name, months)


def _store(cursor: Cursor, table: Table, rows: Sequence[Row], *, computed_at: datetime, cycle_id: int | None) -> int:
    own = [column.name for column in table.columns if column.name not in ("computed_at", "cycle_id")]
    numbers = _numbers(cursor, rows) if "instrument_id" in own else {}
    key = [own.index(column.name) for column in table.primary_key.columns]
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}  # a key that comes twice counts once, as its last row has it
    for row in rows:
        told = tuple(numbers[row["instrument"]] if name == "instrument_id" else _stored(row[name]) for name in own)
        found[tuple(told[place] for place in key)] = (*told, computed_at, cycle_id)
    values = list(found.values())
    written = 0
    for start in range(0, len(values), ROWS_PER_STATEMENT):
        part = values[start : start + ROWS_PER_STATEMENT]
        execute_values(cursor, _upsert(table.name), part, page_size=ROWS_PER_STATEMENT)
        written += cursor.rowcount
    return written


def _numbers(cursor: Cursor, rows: Sequence[Row]) -> dict[str, int]:
    names = sorted({row["instrument"] for row in rows})
    cursor.execute("SELECT instrument, instrument_id FROM instruments WHERE instrument = ANY(%s)", (names,))
    return dict(cursor.fetchall())


def _stored(value: Any) -> Any:
    """Return a value as the driver takes it; what is no finite number was not computed."""
    if isinstance(value, Mapping):
        return Json(_finite(value))
    return list(value) if isinstance(value, tuple) else _finite(value)  # the driver makes an array of a list alone


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _upsert(name: str) -> str:
    table = TABLES[name]
    columns = [column.name for column in table.columns]
    key = [column.name for column in table.primary_key.columns]
    insert = f"INSERT INTO {name} ({', '.join(columns)}) VALUES %s ON CONFLICT ({', '.join(key)})"
    if name in NEVER_CHANGED:
        return f"{insert} DO NOTHING"
    values = [column for column in columns if column not in key]
    compared = [column for column in values if column not in CIRCUMSTANCES]
    sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in values)
    old = ", ".join(f"{name}.{column}" for column in compared)
    new = ", ".join(f"EXCLUDED.{column}" for column in compared)
    return f"{insert} DO UPDATE SET {sets} WHERE ({old}) IS DISTINCT FROM ({new})"
