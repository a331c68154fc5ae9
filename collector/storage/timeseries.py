"""Partitions: the only module that knows that big tables are cut by month (UTC), and where.

A partition is made beside its table and then attached, which needs no lock that readers or the writer would wait
for; two processes may do it at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, datetime

from sqlalchemy import Connection, text

PARTITIONED: Mapping[str, str] = {
    "market_snapshots": "observed_at",
    "tickers": "observed_at",
    "candles": "open_time",
    "order_books": "observed_at",
    "mark_prices": "observed_at",
    "funding_forecasts": "observed_at",
    "open_interest": "observed_at",
    "indicators": "open_time",
    "derived_metrics": "observed_at",
    "raw_payloads": "received_at",
}
"""Table -> the time column its rows are placed by."""

Month = tuple[int, int]

_CHILDREN = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(:table)"
)


def month_of(moment: datetime) -> Month:
    """Return (year, month) of a moment in UTC."""
    return moment.year, moment.month


def following(month: Month, count: int = 1) -> Month:
    """Return the month `count` months later."""
    number = month[0] * 12 + month[1] - 1 + count
    return number // 12, number % 12 + 1


def partition_name(table: str, month: Month) -> str:
    """Return the name of a month's partition, as candles_2026_01."""
    return f"{table}_{month[0]:04d}_{month[1]:02d}"


def months_stored(connection: Connection, table: str) -> set[Month]:
    """Return the months that a table has a partition for."""
    names = connection.execute(_CHILDREN, {"table": table}).scalars()
    return {(int(name[-7:-3]), int(name[-2:])) for name in names}


def ensure_partitions(connection: Connection, table: str, months: Iterable[Month]) -> list[Month]:
    """Make the missing partitions of a table for these months; return those made. Commit soon after."""
    wanted = set(months)
    if not wanted or table not in PARTITIONED or wanted <= months_stored(connection, table):
        return []
    # One maker at a time per table; the loser finds the work done.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('partitions of ' || :t, 0))"), {"t": table})
    missing = sorted(wanted - months_stored(connection, table))
    for month in missing:
        _create(connection, table, month)
    return missing


def _create(connection: Connection, table: str, month: Month) -> None:
    name = partition_name(table, month)
    connection.execute(
        text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)")
    )
    since, until = _bound(month), _bound(following(month))
    connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ({until})"))


def _bound(month: Month) -> str:
    year, number = month
    return "MAXVALUE" if year > MAXYEAR else f"'{year:04d}-{number:02d}-01 00:00:00+00'"


def ensure_ahead(connection: Connection, now: datetime, months: int = 3) -> int:
    """Make the partitions of this month and the next `months` for every table; return how many were missing."""
    wanted = [following(month_of(now), ahead) for ahead in range(months + 1)]
    return sum(len(ensure_partitions(connection, table, wanted)) for table in PARTITIONED)


def drop_before(connection: Connection, table: str, before: datetime) -> list[str]:
    """Drop the partitions whose rows are all older than `before`; return their names."""
    limit = month_of(before)
    names = [partition_name(table, month) for month in sorted(months_stored(connection, table)) if month < limit]
    for name in names:
        connection.execute(text(f"DROP TABLE {name}"))
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """How large a table is, its partitions together."""

    heap_bytes: int  # rows alone
    total_bytes: int  # with indexes and out-of-line values
    estimated_rows: int  # as of the server's last look
    filled: tuple[str, ...]  # what holds rows, oldest first: partitions, or the table itself


def size_of(connection: Connection, table: str) -> TableSize:
    """Return how large a table is."""
    row = connection.execute(_SIZE, {"table": table}).one()
    filled = tuple(row.filled or (table,))
    return TableSize(heap_bytes=row.heap, total_bytes=row.total, estimated_rows=row.estimated, filled=filled)


_SIZE = text(
    """
    WITH parts AS (
        SELECT to_regclass(:table)::oid AS oid
        UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:table)
    )
    SELECT sum(pg_relation_size(c.oid))::bigint AS heap, sum(pg_total_relation_size(c.oid))::bigint AS total,
        sum(greatest(c.reltuples, 0) * (c.relkind = 'r')::integer)::bigint AS estimated,
        array_agg(c.relname::text ORDER BY c.relname) FILTER (WHERE pg_relation_size(c.oid) > 0) AS filled
    FROM parts JOIN pg_class c USING (oid)
    """
)
