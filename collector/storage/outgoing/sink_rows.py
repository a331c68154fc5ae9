"""Stored rows for a sink: those that a transaction from a given one on wrote, whatever time they speak of.

Every row carries the number of the transaction that wrote it last (the system column xmin), so a row that was changed,
filled in or came back late is found like a new one. Numbers on rows count round at 2**32; `age` compares them rightly
as long as the place to compare with is less than half a round old (see sinking.py). A row so old that its number came
round again is found once more, never too seldom.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from collector.records import Interval
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.outgoing.datasets import EXPORTABLE, Column, Form

DERIVED, RAW = "derived", "raw"
ROUND = 2**32
_FETCHED = 2_000  # rows that come from the server at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Sendable:
    """A table whose rows a sink takes."""

    table: str
    time: str  # the column that says what time a row speaks of
    key: tuple[str, ...]  # the natural key, `instrument` in place of its number
    columns: tuple[Column, ...]
    owner: str  # the expression for whose rows they are: it never changes for a key
    bars: bool  # rows are bars: their time is their start
    joins: str
    added: tuple[str, ...] = ()  # "expression AS name" of columns of other tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Which rows are looked for. A row before transaction `since` is not; `since` None: every row is.

    `recent`: only rows that speak of this time or later. `seen`: of those rows, the ones before that transaction are
    left out, for an earlier look has found them.
    """

    content: str
    sources: tuple[str, ...]
    until: int  # every transaction before this one has ended
    since: int | None
    recent: datetime | None = None
    seen: tuple[datetime, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row with the source whose it is, and the transaction that wrote it."""

    source: str
    version: int
    values: Mapping[str, Any]


def _derived(table: str) -> Sendable:
    """Return a table of rows. They are their source's if it is part of the key, else the venue's: fills stay put."""
    found = EXPORTABLE[table]
    by_source = "source" in found.key
    names: tuple[str, ...] = ("i.base", "i.quote", "i.kind") if found.numbered else ()
    joins = "JOIN instruments i ON i.instrument_id = t.instrument_id" if found.numbered else ""
    if table == "market_snapshots":
        names, joins = ("a.symbol AS base",), "LEFT JOIN assets a ON a.source = t.source AND a.asset_id = t.asset_id"
    return Sendable(
        table=table,
        time=str(found.time),
        key=found.key,
        columns=found.columns,
        owner="t.source" if by_source else "i.venue",
        bars=found.has_interval,
        joins=joins,
        added=names,
    )


_TABLES = (
    *("market_snapshots", "global_snapshots", "tickers", "candles", "order_books", "mark_prices"),
    *("funding_forecasts", "funding_rates", "open_interest", "sentiments", "indicators", "derived_metrics"),
)
_ASKED = ("source", "dataset", "cycle_id", "subject", "instruments", "assets", "interval", "since", "until")
_ANSWERS = Sendable(
    table="raw_payloads",
    time="received_at",
    key=("job_id", "seq", "received_at"),
    columns=EXPORTABLE["raw_payloads"].columns,
    owner="j.source",
    bars=False,
    joins="JOIN jobs j ON j.job_id = t.job_id JOIN cycles c ON c.cycle_id = j.cycle_id",
    added=(*(f"j.{name}" for name in _ASKED), "c.cadence", "c.started_at AS cycle_started_at"),
)
SENDABLE: Mapping[str, tuple[Sendable, ...]] = {DERIVED: tuple(map(_derived, _TABLES)), RAW: (_ANSWERS,)}
"""The tables of each content. Listings and terms are left out: they are a present state, and speak of no time."""


def _parts_of(connection: Connection, kind: Sendable) -> list[str]:
    if kind.table not in timeseries.PARTITIONED or timeseries.is_hypertable(connection, kind.table):
        return [kind.table]
    months = sorted(timeseries.months_stored(connection, kind.table))
    return [timeseries.partition_name(kind.table, month) for month in months]


def list_parts(database: Database, look: Look, kind: Sendable) -> list[str]:
    """Return what a look goes through one after the other of a table: a full one its partitions, oldest first."""
    if look.recent is not None:
        return [kind.table]
    with database.reading("list partitions") as connection:
        return _parts_of(connection, kind)


def count_found(database: Database, look: Look) -> dict[str, int]:
    """Return how many rows a look finds, by source; sources without any are left out."""
    counts: dict[str, int] = {}
    for kind in SENDABLE[look.content]:
        with database.reading("count rows for a sink") as connection:
            _take_time(connection)
            query = f"SELECT {kind.owner} AS source, count(*) AS rows {_body(kind, kind.table, look)} GROUP BY 1"
            for row in connection.execute(text(query), _values(look)):
                counts[row.source] = counts.get(row.source, 0) + row.rows
    return counts


def load_found(database: Database, look: Look, kind: Sendable, part: str) -> Generator[Found, None, None]:
    """Yield the rows that a look finds in one part of a table, in no order, with little memory.

    Numbers are Decimals, moments aware datetimes, documents what JSON makes of them. The reading transaction lasts
    as long as the caller takes.
    """
    columns = [f"t.{column.name}" for column in kind.columns if column.name != "instrument"]
    named = [f"{item} AS {item.rpartition('.')[2]}" if " AS " not in item else item for item in kind.added]
    instrument = ["i.instrument"] if any(column.name == "instrument" for column in kind.columns) else []
    chosen = ", ".join([f"{kind.owner} AS sink_owner", f"{_VERSION} AS sink_version", *instrument, *named, *columns])
    with database.reading("read rows for a sink") as connection:
        _take_time(connection)
        streamed = connection.execution_options(stream_results=True, max_row_buffer=_FETCHED)
        for row in streamed.execute(text(f"SELECT {chosen} {_body(kind, part, look)}"), _values(look)).mappings():
            values = dict(row)
            yield Found(source=values.pop("sink_owner"), version=values.pop("sink_version"), values=values)


def _take_time(connection: Connection) -> None:
    """Lift the limits: a sink reads much, and waits for others between two reads."""
    connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"))


# The whole number of a row's transaction. One that seems to lie ahead is ages old, and older than any other.
_VERSION = (
    "CASE WHEN age(t.xmin) < 0 THEN 0 ELSE "
    "greatest(0, CAST(:until AS bigint) + age(CAST(:until_xid AS xid)) - age(t.xmin)) END"
)
_NEW = "age(t.xmin) <= age(CAST(:since_xid AS xid))"
_SEEN = "age(t.xmin) > age(CAST(:seen_xid AS xid))"


def _body(kind: Sendable, part: str, look: Look) -> str:
    """Return the query from FROM on. Of a table without partitions every look sees rows of all times."""
    bounded = kind.table in timeseries.PARTITIONED
    speaks_of = f"t.{kind.time} + v.width" if kind.bars else f"t.{kind.time}"
    conditions = [f"{kind.owner} = ANY(:sources)"]
    if look.since is not None:
        conditions.append(_NEW)
    if look.recent is not None and bounded:
        conditions.append(f"{speaks_of} >= :recent")
        # Said once more of the column itself, so that partitions and indexes can tell what to leave out.
        conditions.append(f"t.{kind.time} >= CAST(:recent AS timestamptz) - interval '7 days'")
    if look.seen is not None:
        conditions.append(f"NOT ({speaks_of} >= :seen_since AND {_SEEN})" if bounded else f"NOT {_SEEN}")
    return f"FROM {_from(kind, part)} WHERE {' AND '.join(conditions)}"


def _from(kind: Sendable, part: str) -> str:
    """Name bars by instrument and interval, which is how their index leads to the newest ones."""
    if not kind.bars:
        return f"{part} t {kind.joins}"
    widths = "unnest(CAST(:intervals AS text[]), CAST(:widths AS interval[])) AS v(name, width)"
    newest = "t.instrument_id = i.instrument_id AND t.interval = v.name"
    return f"{widths} CROSS JOIN instruments i JOIN {part} t ON {newest}"


def _values(look: Look) -> dict[str, Any]:
    seen_since, seen = look.seen or (None, 0)
    return {
        "sources": list(look.sources),
        "until": look.until,
        "until_xid": str(look.until % ROUND),
        "since_xid": str((look.since or 0) % ROUND),
        "recent": look.recent,
        "seen_since": seen_since,
        "seen_xid": str(seen % ROUND),
        "intervals": [str(interval) for interval in Interval],
        "widths": [interval.width for interval in Interval],
    }


__all__ = ["DERIVED", "RAW", "SENDABLE", "Form", "Found", "Look", "Sendable", "count_found", "list_parts", "load_found"]
