"""Partitions: the only module that knows that big tables are cut by month (UTC), or by TimescaleDB, and where.

A partition is made beside its table and then attached, which needs no lock that readers or the writer would wait
for; two processes may do it at once. A hypertable makes its own pieces, called chunks, which are not months.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

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
# A table of PARTITIONED that the server does not partition is a hypertable: an ordinary table for the catalogue.
_KIND = text("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(:table)")
_CHUNKS = text(
    """
    SELECT format('%I.%I', k.chunk_schema, k.chunk_name) AS name, k.range_start AS since, k.range_end AS until
    FROM timescaledb_information.chunks k JOIN pg_class c ON c.relname = k.hypertable_name
        AND c.relnamespace = k.hypertable_schema::text::regnamespace
    WHERE c.oid = to_regclass(:table) ORDER BY k.range_start
    """
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


def bounds(month: Month) -> tuple[datetime, datetime | None]:
    """Return when a month begins and when the next one does; None for the last one that can be spoken of."""
    after = following(month)
    return datetime(*month, 1, tzinfo=UTC), datetime(*after, 1, tzinfo=UTC) if after[0] <= MAXYEAR else None


def is_hypertable(connection: Connection, table: str) -> bool:
    """Return whether TimescaleDB cuts one of PARTITIONED, and not the server itself by month."""
    return table in PARTITIONED and bool(connection.execute(_KIND, {"table": table}).scalar())


def months_stored(connection: Connection, table: str) -> set[Month]:
    """Return the months that a table has a partition for; of a hypertable those that its chunks touch."""
    if is_hypertable(connection, table):
        chunks = connection.execute(_CHUNKS, {"table": table}).all()
        return {month for row in chunks for month in _touched(row.since, row.until)}
    names = connection.execute(_CHILDREN, {"table": table}).scalars()
    return {(int(name[-7:-3]), int(name[-2:])) for name in names}


def _touched(since: datetime, until: datetime) -> Iterable[Month]:
    month, last = month_of(since), month_of(until - timedelta.resolution)
    while month <= last:
        yield month
        month = following(month)


def ensure_partitions(connection: Connection, table: str, months: Iterable[Month]) -> list[Month]:
    """Make the missing partitions of a table for these months; return those made. Commit soon after."""
    wanted = set(months)
    if not wanted or table not in PARTITIONED or is_hypertable(connection, table):
        return []
    if wanted <= months_stored(connection, table):
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
    """Drop the partitions, or chunks, whose rows are all older than `before`; return their names."""
    if is_hypertable(connection, table):
        return list(connection.execute(_DROP_CHUNKS, {"table": table, "before": before}).scalars())
    limit = month_of(before)
    names = [partition_name(table, month) for month in sorted(months_stored(connection, table)) if month < limit]
    for name in names:
        connection.execute(text(f"DROP TABLE {name}"))
    return names


def start_of(month: Month) -> datetime:
    """Return the first moment of a month (UTC)."""
    return datetime(*month, 1, tzinfo=UTC)


def lock_month(connection: Connection, table: str, month: Month) -> None:
    """Keep writers, not readers, out of a stored month until the transaction ends. Raises as a lock timeout does.

    Of a hypertable the chunks that touch the month are locked: up to a chunk's length of its neighbours with it.
    """
    names = [partition_name(table, month)]
    if is_hypertable(connection, table):
        names = [chunk.name for chunk in _chunks_of(connection, table, month)]
    for name in names:
        connection.execute(text(f"LOCK TABLE {name} IN SHARE MODE"))


def size_of_month(connection: Connection, table: str, month: Month) -> int:
    """Return how many bytes a stored month takes, with its indexes; of a hypertable its share of them, by time."""
    if is_hypertable(connection, table):
        since, until = bounds(month)
        size = connection.execute(_SIZE_OF_SPAN, {"table": table, "since": since, "until": until}).scalar()
        return int(size or 0)
    name = partition_name(table, month)
    size = connection.execute(text("SELECT pg_total_relation_size(to_regclass(:name))"), {"name": name}).scalar()
    return int(size or 0)


def drop_month(connection: Connection, table: str, month: Month, *, keep: str = "") -> None:
    """Take a stored month's rows out of a table, but for those that meet the condition `keep` (SQL; empty: none).

    Everybody waits from here to the end of the transaction, for milliseconds: rows that stay are copied before.
    """
    if is_hypertable(connection, table):
        _empty_chunks(connection, table, month, keep)
        return
    name = partition_name(table, month)
    stays = bool(keep) and connection.execute(text(f"SELECT EXISTS (SELECT FROM {name} WHERE {keep})")).scalar_one()
    if stays:
        like = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING INDEXES"
        connection.execute(text(f"CREATE TABLE {name}_kept (LIKE {table} {like})"))
        connection.execute(text(f"INSERT INTO {name}_kept SELECT * FROM {name} WHERE {keep}"))
    # Before the partition's own lock: a writer takes them in this order.
    connection.execute(text(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE"))
    connection.execute(text(f"DROP TABLE {name}"))
    if stays:
        connection.execute(text(f"ALTER TABLE {name}_kept RENAME TO {name}"))
        since, until = _bound(month), _bound(following(month))
        connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ({until})"))


def _chunks_of(connection: Connection, table: str, month: Month) -> Sequence[Row[Any]]:
    """Return name, since, until of the chunks that touch a month, oldest first."""
    since, until = bounds(month)
    chunks = connection.execute(_CHUNKS, {"table": table}).all()
    return [row for row in chunks if row.until > since and (until is None or row.since < until)]


def _empty_chunks(connection: Connection, table: str, month: Month, keep: str) -> None:
    """Take a month's rows out of its chunks; a chunk that then holds nothing goes."""
    since, until = bounds(month)
    column = PARTITIONED[table]
    condition = f"{column} >= :since" + (f" AND {column} < :until" if until else "")
    stays = f" AND ({keep}) IS NOT TRUE" if keep else ""
    # By default the server refuses to touch more than 100,000 compressed rows in one transaction.
    connection.execute(text("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"))
    for chunk in _chunks_of(connection, table, month):
        within = chunk.since >= since and (until is None or chunk.until <= until)
        if keep or not within:
            query = text(f"DELETE FROM {table} WHERE {condition}{stays} AND {column} >= :start AND {column} < :end")
            values = {"since": since, "until": until, "start": chunk.since, "end": chunk.until}
            connection.execute(query, values)
            if connection.execute(text(f"SELECT EXISTS (SELECT FROM {chunk.name})")).scalar_one():
                continue
        connection.execute(_DROP_CHUNK, {"table": table, "since": chunk.since, "until": chunk.until})


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """How large a table is, its partitions together."""

    heap_bytes: int  # rows alone
    total_bytes: int  # with indexes and out-of-line values
    estimated_rows: int  # as of the server's last look
    filled: tuple[str, ...]  # what holds rows, oldest first: partitions, or the table itself


def size_of(connection: Connection, table: str) -> TableSize:
    """Return how large a table is."""
    query = _HYPERTABLE_SIZE if is_hypertable(connection, table) else _SIZE
    row = connection.execute(query, {"table": table}).one()
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
# Compressed rows lie in a table of their own beside their chunk; only TimescaleDB adds the two up, and its row count
# knows how many rows a compressed one stands for.
_HYPERTABLE_SIZE = text(
    """
    SELECT coalesce(sum(s.table_bytes), 0)::bigint AS heap, coalesce(sum(s.total_bytes), 0)::bigint AS total,
        approximate_row_count(to_regclass(:table)) AS estimated,
        array_agg(format('%I.%I', s.chunk_schema, s.chunk_name) ORDER BY k.range_start)
            FILTER (WHERE s.table_bytes > 0) AS filled
    FROM chunks_detailed_size(to_regclass(:table)) s
    JOIN timescaledb_information.chunks k USING (chunk_schema, chunk_name)
    """
)
_DROP_CHUNKS = text("SELECT drop_chunks(to_regclass(:table), older_than => CAST(:before AS timestamptz))")
_DROP_CHUNK = text(
    "SELECT drop_chunks(to_regclass(:table), older_than => CAST(:until AS timestamptz), "
    "newer_than => CAST(:since AS timestamptz))"
)
_SIZE_OF_SPAN = text(
    """
    SELECT sum(s.total_bytes * extract(epoch FROM least(k.range_end, CAST(:until AS timestamptz))
            - greatest(k.range_start, CAST(:since AS timestamptz)))
        / extract(epoch FROM k.range_end - k.range_start))::bigint
    FROM chunks_detailed_size(to_regclass(:table)) s
    JOIN timescaledb_information.chunks k USING (chunk_schema, chunk_name)
    WHERE k.range_end > :since AND (CAST(:until AS timestamptz) IS NULL OR k.range_start < :until)
    """
)
