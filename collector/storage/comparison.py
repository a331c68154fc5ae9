"""Rows worked out anew against the stored ones of their cycle: set by set, by the server, to the letter.

What a row is compared with depends on who stored the row that is there now:

- the same cycle: every column, as text. One digit more behind the point is a difference.
- an earlier cycle: this one found the same values and left the row alone; so the values must be equal still.
- a later cycle: the values that the revisions since then say it had. Where revisions do not tell (tables whose rows are
  observations, listings since a newer one came), the row is superseded: not compared, but counted.

A row that another provider gave while the instrument's own was stored was never taken; it counts as unchanged.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from collector.records import Dataset, Record
from collector.storage import timeseries
from collector.storage.answers import RecordedCycle
from collector.storage.database import Database
from collector.storage.expected import Expected
from collector.storage.instrument_ids import InstrumentIds
from collector.storage.listings import LISTINGS
from collector.storage.merge import Cursor, ensure_staging, stage, staging_name
from collector.storage.models import TABLES
from collector.storage.revisions import (
    FINAL,
    column_types,
    differs_sql,
    join_instruments,
    key_sql,
    merge_corrections,
    new_sql,
    probe_sql,
    value_columns,
)
from collector.storage.rows import BATCH, Rows, RowShape, shape_of
from collector.storage.transaction import months_needed

MARKET_TABLE, MARKET_DATASETS = "market_snapshots", (Dataset.MARKETS, Dataset.MARKET_HISTORY)
_BEFORE, _AFTER = timedelta(hours=1), timedelta(minutes=15)  # of a cycle: where the times of its snapshots lie


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value, or one whole row, that is stored otherwise than it was worked out anew."""

    table: str
    row: str  # its key
    column: str  # "" for a whole row
    stored: str | None  # None: NULL, or no such row
    replayed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One table of a cycle."""

    table: str
    rows: int  # worked out anew
    same: int  # stored by this cycle, equal to the letter
    unchanged: int  # stored by an earlier cycle, or changed by a later one and told by revisions: equal values
    superseded: int  # stored anew by a later cycle, which leaves nothing to compare with
    differences: tuple[Difference, ...]
    wrong: tuple[int, ...]  # places of the rows that `correct` would write


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a comparison is about."""

    cycle: RecordedCycle
    sources: Sequence[str]
    market_sources: Sequence[str]  # of snapshots of assets: not the venues whose tickers stood in for them
    since: datetime  # earliest and latest time that the cycle asked for
    until: datetime
    relisted: Mapping[str, Sequence[str]]  # dataset of a listing -> the sources of which a later cycle has a newer one


def instrument_numbers(database: Database) -> dict[str, int]:
    """Return the number of every instrument by canonical id."""
    with database.reading("read the instruments") as connection:
        found = connection.execute(text("SELECT instrument, instrument_id FROM instruments"))
        return {row.instrument: row.instrument_id for row in found}


def scope_of(database: Database, cycle: RecordedCycle, jobs: Iterable[Any]) -> Scope:
    """Return what to compare a cycle's rows with, from its jobs."""
    asked = list(jobs)
    end = cycle.finished_at or cycle.started_at
    sinces = [job.since for job in asked if job.since is not None]
    untils = [job.until for job in asked if job.until is not None]
    relisted: defaultdict[str, list[str]] = defaultdict(list)
    with database.reading("read later listings") as connection:
        for dataset, source in connection.execute(_LATER, {"cycle_id": cycle.cycle_id}):
            relisted[dataset].append(source)
    return Scope(
        cycle=cycle,
        sources=sorted({job.source for job in asked}),
        market_sources=sorted({job.source for job in asked if job.dataset in MARKET_DATASETS}),
        since=min(cycle.started_at - _BEFORE, *sinces, cycle.started_at),
        until=max(end + _AFTER, *untils, end),
        relisted=dict(relisted),
    )


def compare(database: Database, scope: Scope, expected: Expected) -> list[Compared]:
    """Compare all tables; changes nothing but temporary tables. Tables without rows on either side are left out."""
    shapes = {record_type: shape_of(record_type) for record_type in TABLES}
    found = []
    with database.connection("compare rows") as connection:
        ensure_staging(connection, [shape.table for shape in shapes.values()])
        with connection.begin():
            connection.execute(text("SET TRANSACTION READ ONLY"))
            cursor: Any = connection.connection.cursor()
            for record_type, shape in shapes.items():
                compared = _compare(cursor, scope, expected, record_type, shape)
                if compared.rows or compared.differences:
                    found.append(compared)
    return found


def correct(database: Database, scope: Scope, expected: Expected, compared: Sequence[Compared]) -> dict[str, int]:
    """Store the rows found wrong, in one transaction, each change as a revision; return how many by table.

    Listings are left to the next listing, rows of later cycles and rows that should not be there to a person.
    """
    types = {shape_of(kind).table: kind for kind in TABLES if kind not in LISTINGS}
    done: dict[str, int] = {}
    with database.connection("correct rows") as connection:
        ensure_staging(connection, list(types))
        with connection.begin():
            for part in compared:
                if part.table in types and part.wrong:
                    rows = expected.of(types[part.table]).picked(part.wrong)
                    done[part.table] = _correct(connection, database, scope, shape_of(types[part.table]), rows)
    return done


def _correct(connection: Connection, database: Database, scope: Scope, shape: RowShape, rows: Rows) -> int:
    cursor: Any = connection.connection.cursor()
    now = database.clock.now()
    rows = Rows(rows.records, [0] * len(rows))
    months = months_needed({type(rows.records[0]): rows}).get(shape.table, set())
    timeseries.ensure_partitions(connection, shape.table, months)
    ids = InstrumentIds().of_rows(cursor, rows, now) if shape.has_instrument else {}
    ordered = shape.distinct(rows, ids)
    stage(cursor, shape, ordered, ids, scope.cycle.cycle_id)
    return merge_corrections(cursor, shape, ordered, now=now).changed.total()


def _compare(cursor: Cursor, scope: Scope, expected: Expected, record_type: type[Record], shape: RowShape) -> Compared:
    rows = expected.of(record_type)
    ids = expected.ids(shape, rows)
    objects = rows.column("instrument") if shape.has_instrument else []
    unknown = {place for place, item in enumerate(objects) if ids[id(item)] < 0}
    known = rows.picked(place for place in range(len(rows)) if place not in unknown)
    stage(cursor, shape, known, ids, scope.cycle.cycle_id)
    values = _values(shape, scope, rows)
    listing = LISTINGS.get(record_type)
    values["relisted"] = list(scope.relisted.get(str(listing.dataset), ())) if listing else []
    cursor.execute(_compare_sql(record_type, shape), values)
    tally = _Tally(shape.table)
    for place in sorted(unknown):
        tally.miss(place, _spelled(_key_of(rows.records[place])))
    for answer in cursor.fetchall():
        tally.take(*answer)
    if listing is None:
        cursor.execute(_extra_sql(shape), values)
        tally.surplus(row[0] for row in cursor.fetchall())
    return tally.result(len(rows))


def _values(shape: RowShape, scope: Scope, rows: Rows) -> dict[str, Any]:
    span = timeseries.PARTITIONED.get(shape.table)
    times = rows.column(span) if span else []
    return {
        "cycle": scope.cycle.cycle_id,
        "sources": list(scope.market_sources if shape.table == MARKET_TABLE else scope.sources),
        "first": min([scope.since, *times]),
        "last": max([scope.until, *times]),
    }


class _Tally:
    """Counts the answers of one table's comparison."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._counts = {"own": 0, "value": 0, "superseded": 0}
        self._differences: list[Difference] = []
        self._wrong: list[int] = []

    def take(
        self, place: int, state: str, key: Any, names: list[str] | None, stored: list[str], replayed: list[str]
    ) -> None:
        """Count one row, or list what differs in it."""
        if state == "missing":
            self.miss(place, _spelled(key))
        elif state == "superseded" or not names:
            self._counts["own" if state == "own" else "superseded" if state == "superseded" else "value"] += 1
        else:
            self._differences += [
                Difference(table=self._table, row=_spelled(key), column=name, stored=old, replayed=new)
                for name, old, new in zip(names, stored, replayed, strict=True)
            ]
            if state != "newer":
                self._wrong.append(place)

    def miss(self, place: int, key: str) -> None:
        """List a row that should be there."""
        self._differences.append(Difference(table=self._table, row=key, column="", stored=None, replayed="a row"))
        self._wrong.append(place)

    def surplus(self, keys: Iterable[Any]) -> None:
        """List rows that should not be there."""
        self._differences += [
            Difference(table=self._table, row=_spelled(key), column="", stored="a row", replayed=None) for key in keys
        ]

    def result(self, rows: int) -> Compared:
        return Compared(
            table=self._table,
            rows=rows,
            same=self._counts["own"],
            unchanged=self._counts["value"],
            superseded=self._counts["superseded"],
            differences=tuple(self._differences),
            wrong=tuple(self._wrong),
        )


def _spelled(key: Mapping[str, Any]) -> str:
    """Return a natural key as text, what it is about first."""
    names = sorted(key, key=lambda name: (name not in {"instrument", "asset_id"}, name))
    return " ".join(str(key[name]) for name in names)


def _key_of(record: Record) -> dict[str, Any]:
    """Return a record's natural key as the database would spell it."""
    key = dict(zip(record.KEY, record.key, strict=True))
    return {
        name: getattr(value, "id", None) or getattr(value, "isoformat", value.__str__)() for name, value in key.items()
    }


# --------------------------------------------------------------------------- statements


def _compare_sql(record_type: type[Record], shape: RowShape) -> str:
    """Return the query of (place, state, key, columns that differ, stored texts, replayed texts)."""
    listing = record_type in LISTINGS
    state, past = (_LISTING_STATE, "") if listing else (_state_sql(shape), _past_sql(shape))
    columns = [name for name in shape.columns if name not in shape.key and name != "cycle_id"]
    told = set(value_columns(shape))
    listed = ", ".join(
        f"('{name}', {_then_sql(shape, name)}::text, {new_sql(shape, name, 't')}::text, "
        f"{_differing_sql(shape, name, told=name in told, listing=listing)})"
        for name in columns
    )
    return f"""
        SELECT s.{BATCH}, x.state, {key_sql(shape, "s", "i")}, v.names, v.stored, v.replayed
        FROM {staging_name(shape.table)} s {join_instruments(shape, "s")}
        LEFT JOIN LATERAL {probe_sql(shape, "s")} t ON true
        {past}
        CROSS JOIN LATERAL (SELECT {state} AS state) x
        CROSS JOIN LATERAL (
            SELECT array_agg(name), array_agg(old), array_agg(new)
            FROM (VALUES {listed}) AS w(name, old, new, differs) WHERE differs
        ) AS v(names, stored, replayed)
        ORDER BY s.{BATCH}
    """


_LISTING_STATE = (
    """CASE WHEN t.source IS NULL THEN 'missing' WHEN s.source = ANY(%(relisted)s) THEN 'superseded' ELSE 'own' END"""
)


def _state_sql(shape: RowShape) -> str:
    kept, told = "", "'superseded'"
    if shape.table in FINAL:
        told = "CASE WHEN p.past IS NULL THEN 'superseded' ELSE 'newer' END"
        if "source" not in shape.key:
            kept = f"WHEN {_then_sql(shape, 'source')} <> s.source AND s.source <> i.venue THEN 'kept'"
    return (
        f"CASE WHEN t.source IS NULL THEN 'missing' {kept} WHEN t.cycle_id = %(cycle)s THEN 'own' "
        f"WHEN t.cycle_id < %(cycle)s THEN 'older' ELSE {told} END"
    )


def _past_sql(shape: RowShape) -> str:
    """Return the join of what the values of a row were before later cycles changed them, column by column."""
    if shape.table not in FINAL:
        return ""
    return f"""
        LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(e.key, e.value ORDER BY r.revision_id DESC) AS past
            FROM revisions r CROSS JOIN jsonb_each(r.old) e
            WHERE t.cycle_id > %(cycle)s AND r.cycle_id > %(cycle)s AND r.table_name = '{shape.table}'
              AND r.subject = i.instrument AND r.key = {key_sql(shape, "s", "i")}
        ) p ON true
    """


def _then_sql(shape: RowShape, name: str) -> str:
    """Return the expression for a column as it was at the end of the cycle."""
    if shape.table not in FINAL:
        return f"t.{name}"
    kind = column_types(shape)[name]
    return f"CASE WHEN p.past ? '{name}' THEN CAST(p.past ->> '{name}' AS {kind}) ELSE t.{name} END"


def _differing_sql(shape: RowShape, name: str, *, told: bool, listing: bool) -> str:
    new = new_sql(shape, name, "t")
    to_the_letter = differs_sql(f"t.{name}", new, exact=True)
    if listing:
        return f"x.state = 'own' AND {to_the_letter}"
    as_values = differs_sql(_then_sql(shape, name), new, exact=False) if told else "false"
    return (
        f"CASE x.state WHEN 'own' THEN {to_the_letter} WHEN 'older' THEN {as_values} "
        f"WHEN 'newer' THEN {as_values} ELSE false END"
    )


def _extra_sql(shape: RowShape) -> str:
    """Return the query of the keys of rows that the cycle stored and that were not worked out anew."""
    same = " AND ".join(f"s.{name} = t.{name}" for name in shape.key)
    span = timeseries.PARTITIONED.get(shape.table)
    bounds = f"AND t.{span} BETWEEN %(first)s AND %(last)s" if span else ""
    return f"""
        SELECT {key_sql(shape, "t", "i")} FROM {shape.table} t {join_instruments(shape, "t")}
        WHERE t.cycle_id = %(cycle)s AND t.source = ANY(%(sources)s) {bounds}
          AND NOT EXISTS (SELECT FROM {staging_name(shape.table)} s WHERE {same})
        ORDER BY 1
    """


_LATER = text(
    "SELECT DISTINCT dataset, source FROM jobs WHERE cycle_id > :cycle_id AND state = 'ok' "
    "AND dataset IN ('listing', 'instruments')"
)
