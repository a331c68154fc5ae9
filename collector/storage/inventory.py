"""What is held and from when to when: of series from their coverage, of tables without reading large ones.

Bars are never counted: their windows say how many there are, so the answer takes the same time however many are stored.
"""

from sqlalchemy import Connection, text

from collector.records import Dataset, Interval
from collector.storage import timeseries
from collector.storage.stored import HeldSeries, TableContents

_TIMES = {
    "assets": "last_seen_at",
    "instruments": "last_seen_at",
    "asset_details": "observed_at",
    "market_snapshots": "observed_at",
    "global_snapshots": "observed_at",
    "tickers": "observed_at",
    "candles": "open_time",
    "order_books": "observed_at",
    "mark_prices": "observed_at",
    "funding_forecasts": "observed_at",
    "funding_rates": "funding_time",
    "funding_terms": "observed_at",
    "open_interest": "observed_at",
    "sentiments": "observed_at",
    "indicators": "open_time",
    "derived_metrics": "observed_at",
    "trends": "as_of",
    "rank_history": "day",
    "signals": "bar_end",
    "asset_views": "as_of",
    "portfolio_weights": "as_of",
    "signal_outcomes": "bar_end",
}
_COUNTED_BYTES = 512 * 1024 * 1024  # reads in under a second from memory; beyond, counting would make people wait


def load_series(connection: Connection, prefix: str = "") -> list[HeldSeries]:
    """Return what is held and what is missing of each series whose name begins with `prefix`, by name."""
    return [_series(row._asdict()) for row in connection.execute(SERIES, {"prefix": prefix})]


def _series(row: dict[str, object]) -> HeldSeries:
    dataset, interval = Dataset(str(row.pop("dataset"))), str(row.pop("interval"))
    values = {**row, "sources": tuple(row["sources"] or ())}  # type: ignore[arg-type]  # an array of text
    length = Interval(interval) if interval else None
    return HeldSeries(dataset=dataset, interval=length, **values)  # type: ignore[arg-type]


def load_tables(connection: Connection) -> list[TableContents]:
    """Return how much every market table holds, and from when to when; large tables are estimated."""
    return [_contents(connection, table, column) for table, column in _TIMES.items()]


def _contents(connection: Connection, table: str, column: str) -> TableContents:
    size = timeseries.size_of(connection, table)
    if table == "candles" and (bars := connection.execute(BARS).all()):
        held = [(row.held // Interval(row.interval).width, row) for row in bars]
        return TableContents(
            table=table,
            rows=max(0, sum(count for count, _ in held) - int(connection.execute(_SEALED_BARS).scalar_one())),
            exact=True,
            size_bytes=size.total_bytes,
            first=min(row.since for _, row in held),
            last=max(row.until - Interval(row.interval).width for _, row in held),
        )
    exact = size.heap_bytes <= _COUNTED_BYTES
    # Of a large table only the oldest and the newest month are looked at: the others lie between.
    oldest, newest = (table, table) if exact else (size.filled[0], size.filled[-1])
    first = connection.execute(text(f"SELECT min({column}) FROM {oldest}")).scalar()
    last = connection.execute(text(f"SELECT max({column}) FROM {newest}")).scalar()
    rows = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() if exact else size.estimated_rows
    return TableContents(table=table, rows=rows, exact=exact, size_bytes=size.total_bytes, first=first, last=last)


_HELD = "state IN ('observed', 'filled')"
# Windows are first added up by state and source: sorting all of them for the distinct sources takes half as long again.
SERIES = text(
    f"""
    SELECT i.instrument || '/' || coalesce(nullif(c.interval, ''), c.dataset) AS name, i.venue, c.dataset, c.interval,
        c.since, c.until, c.held, c.missing, c.provider_has_none, c.holes, c.sources, c.next_try_at
    FROM (
        SELECT instrument_id, dataset, interval,
            min(since) FILTER (WHERE {_HELD}) AS since,
            max(until) FILTER (WHERE {_HELD}) AS until,
            coalesce(sum(span) FILTER (WHERE {_HELD}), interval '0') AS held,
            coalesce(sum(span) FILTER (WHERE state IN ('missing', 'pending')), interval '0') AS missing,
            coalesce(sum(span) FILTER (WHERE state = 'provider_has_none'), interval '0') AS provider_has_none,
            coalesce(sum(windows) FILTER (WHERE state IN ('missing', 'pending')), 0)::bigint AS holes,
            array_agg(DISTINCT source) FILTER (WHERE {_HELD}) AS sources,
            min(next_try_at) AS next_try_at
        FROM (
            SELECT instrument_id, dataset, interval, state, source, min(since) AS since, max(until) AS until,
                sum(until - since) AS span, count(*) AS windows, min(next_try_at) AS next_try_at
            FROM coverage GROUP BY instrument_id, dataset, interval, state, source
        ) s GROUP BY instrument_id, dataset, interval
    ) c JOIN instruments i USING (instrument_id)
    WHERE starts_with(i.instrument || '/' || coalesce(nullif(c.interval, ''), c.dataset), :prefix)
    ORDER BY 1
    """
)
# None for a database from before there were windows, until its first start scans it.
BARS = text(
    f"""
    SELECT interval, sum(until - since) AS held, min(since) AS since, max(until) AS until
    FROM coverage WHERE dataset = 'candles' AND {_HELD} GROUP BY interval
    """
)
# Windows stay held when their bars leave for files; these are told by `retention months`.
_SEALED_BARS = text(
    "SELECT coalesce(sum(rows), 0) FROM cold_months WHERE dataset = 'candles' AND state IN ('dropped', 'restoring')"
)
