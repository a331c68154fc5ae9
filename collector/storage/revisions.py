"""Closed values that change: the merge of the tables whose rows are final, with a row in `revisions` for every change.

New rows go in first, by an insert that skips the keys there are. Only when keys were skipped are the stored rows looked
at, by their index, so that fresh rows cost nothing and unchanged ones are neither locked nor written. What differs is
noted and overwritten in one statement: there is no change without its note, and no note without its change.

Who may change a row: whoever gave it, and the provider of the instrument itself. A row that another provider filled in
is replaced by the instrument's own provider, never the other way round, and never by a third one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy.dialects import postgresql

from collector.storage import timeseries
from collector.storage.merge import CIRCUMSTANCES, SPARSE, Changes, Cursor, counted_sql, staging_name
from collector.storage.models import INSTRUMENTS, METADATA
from collector.storage.rows import BATCH, Rows, RowShape

FINAL = frozenset({"candles", "funding_rates"})
"""Tables whose rows are closed values; in the others a later answer is an observation of its own."""

BY_REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class _Statements:
    """What one merge runs, in this order; `revise` only when keys were there already."""

    insert: str
    insert_counted: str
    revise: str
    span: str = field(default="")  # the time column that bounds the search, "" without partitions


def merge_final(cursor: Cursor, shape: RowShape, rows: Rows, *, now: datetime) -> Changes:
    """Merge what is staged into a table of final rows and return what became of the rows of each batch."""
    statements = _statements(shape, exact=False)
    inserted = _insert(cursor, statements, rows)
    if inserted.total() == len(rows):
        return Changes(inserted)
    revised = _revise(cursor, statements, rows, now=now, cause=None)
    return Changes(inserted + revised, revised)


def merge_corrections(cursor: Cursor, shape: RowShape, rows: Rows, *, now: datetime) -> Changes:
    """Merge what is staged into any table as the outcome of a replay: each change to the letter is a revision."""
    statements = _statements(shape, exact=True)
    inserted = _insert(cursor, statements, rows)
    revised = _revise(cursor, statements, rows, now=now, cause=BY_REPLAY)
    return Changes(inserted + revised, revised)


def _insert(cursor: Cursor, statements: _Statements, rows: Rows) -> Counter[int]:
    batches = set(rows.numbers)
    if len(batches) == 1:
        cursor.execute(statements.insert)
        return Counter({batches.pop(): cursor.rowcount})
    cursor.execute(statements.insert_counted)
    return Counter(dict(cursor.fetchall()))


def _revise(cursor: Cursor, statements: _Statements, rows: Rows, *, now: datetime, cause: str | None) -> Counter[int]:
    values: dict[str, Any] = {"now": now, "cause": cause}
    if statements.span:  # as constants, so that the planner looks at no partition but these rows'
        times = rows.column(statements.span)
        values |= {"first": min(times), "last": max(times)}
    cursor.execute(statements.revise, values)
    return Counter(dict(cursor.fetchall()))


@cache
def _statements(shape: RowShape, *, exact: bool) -> _Statements:
    columns = ", ".join(shape.columns)
    insert = (
        f"INSERT INTO {shape.table} ({columns}) SELECT {columns} FROM {staging_name(shape.table)} "
        f"ON CONFLICT ({', '.join(shape.key)}) DO NOTHING"
    )
    return _Statements(
        insert=insert,
        insert_counted=counted_sql(insert, shape.table, shape.key),
        revise=_revise_sql(shape, exact=exact),
        span=timeseries.PARTITIONED.get(shape.table, ""),
    )


def subject_sql(shape: RowShape, row: str, instruments: str) -> str:
    """Return the expression for what a row is about: an instrument or asset id, or else its source."""
    if shape.has_instrument:
        return f"{instruments}.instrument"
    return f"{row}.asset_id" if "asset_id" in shape.columns else f"{row}.source"


def key_sql(shape: RowShape, row: str, instruments: str) -> str:
    """Return the expression for a row's natural key as JSON, the instrument by its canonical id."""
    parts = [
        f"'instrument', {instruments}.instrument" if name == "instrument_id" else f"'{name}', {row}.{name}"
        for name in shape.key
    ]
    return f"jsonb_build_object({', '.join(parts)})"


def probe_sql(shape: RowShape, row: str) -> str:
    """Return the subquery for the stored row with the key of a staged one; it uses the key's index, row by row."""
    same = " AND ".join(f"c.{name} = {row}.{name}" for name in shape.key)
    span = timeseries.PARTITIONED.get(shape.table)
    bounds = f" AND c.{span} BETWEEN %(first)s AND %(last)s" if span else ""
    return f"(SELECT * FROM {shape.table} c WHERE {same}{bounds} OFFSET 0)"  # OFFSET keeps the planner from joining


def join_instruments(shape: RowShape, row: str) -> str:
    """Return the join that names the instrument of a staged row; empty for rows without one."""
    return f"JOIN {INSTRUMENTS.name} i ON i.instrument_id = {row}.instrument_id" if shape.has_instrument else ""


def value_columns(shape: RowShape) -> list[str]:
    """Return the columns that say something: neither key nor circumstances."""
    return [name for name in shape.columns if name not in shape.key and name not in CIRCUMSTANCES]


def _revise_sql(shape: RowShape, *, exact: bool) -> str:
    compared = [name for name in shape.columns if name not in shape.key] if exact else value_columns(shape)
    compared = [name for name in compared if name != "cycle_id"]
    differs = {name: differs_sql(f"o.{name}", new_sql(shape, name), exact=exact) for name in compared}
    listed = ", ".join(
        f"('{name}', d.old_{name}::text, d.{name}::text, {differs_sql(f'd.old_{name}', f'd.{name}', exact=exact)})"
        for name in compared
    )
    new = [*shape.key, *(name for name in shape.columns if name not in shape.key)]
    chosen = ", ".join(f"s.{name}" if name in shape.key else f"{new_sql(shape, name)} AS {name}" for name in new)
    kept = ", ".join(f"o.{name} AS old_{name}" for name in compared)
    by_whom = "CASE WHEN d.old_source <> d.source THEN 'source' ELSE 'provider' END" if "source" in compared else ""
    allowed = "AND (o.source = s.source OR s.source = i.venue)" if by_whom and shape.has_instrument else ""
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in shape.columns if name not in shape.key)
    return f"""
        WITH differing AS MATERIALIZED (
            SELECT {chosen}, {kept}, s.{BATCH}, {subject_sql(shape, "s", "i")} AS told_subject,
                {key_sql(shape, "s", "i")} AS told_key
            FROM {staging_name(shape.table)} s {join_instruments(shape, "s")}
            CROSS JOIN LATERAL {probe_sql(shape, "s")} o
            WHERE ({" OR ".join(differs.values())}) {allowed}
        ), noted AS (
            INSERT INTO revisions
                (table_name, subject, key, source, columns, old, new, cause, detected_at, cycle_id)
            SELECT '{shape.table}', d.told_subject, d.told_key, d.source, v.columns, v.old, v.new,
                coalesce(%(cause)s, {by_whom or "'provider'"}), %(now)s, d.cycle_id
            FROM differing d CROSS JOIN LATERAL (
                SELECT array_agg(name ORDER BY name), jsonb_object_agg(name, old), jsonb_object_agg(name, new)
                FROM (VALUES {listed}) AS v(name, old, new, differs) WHERE differs
            ) AS v(columns, old, new)
        ), changed AS (
            INSERT INTO {shape.table} ({", ".join(shape.columns)}) SELECT {", ".join(shape.columns)} FROM differing
            ON CONFLICT ({", ".join(shape.key)}) DO UPDATE SET {sets}
        )
        SELECT {BATCH}, count(*) FROM differing GROUP BY {BATCH}
    """


def new_sql(shape: RowShape, name: str, old: str = "o") -> str:
    """Return the expression for a column's new value: of a sparse answer what is absent takes nothing away."""
    return f"coalesce(s.{name}, {old}.{name})" if shape.table in SPARSE else f"s.{name}"


def differs_sql(old: str, new: str, *, exact: bool) -> str:
    """Return the condition that two values differ: to the letter, or as values (1.0 is 1.00)."""
    cast = "::text" if exact else ""
    return f"{old}{cast} IS DISTINCT FROM {new}{cast}"


def column_types(shape: RowShape) -> Mapping[str, str]:
    """Return the SQL type of each column."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return {column.name: column.type.compile(dialect) for column in METADATA.tables[shape.table].columns}
