"""Doubtful rows in and out of the database, and the prices that doubts are measured against."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import text

from collector.records import Dataset, Interval, Suspect
from collector.storage.database import Database
from collector.storage.rows import clean

Row = Mapping[str, Any]


class Suspects:
    """Stores suspects and reads prices. Used by one thread. Raises StorageUnavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, cycle_id: int, suspects: Sequence[Suspect]) -> int:
        """Store suspects and return how many were not known; the same one again changes nothing."""
        if not suspects:
            return 0
        now = self._database.clock.now()
        with self._database.transaction("write suspects") as connection:
            cursor: Any = connection.connection.cursor()
            stored = execute_values(
                cursor,
                """
                INSERT INTO suspects (dataset, subject, source, observed_at, kind, value, reference, reference_source,
                    detail, noted_at, cycle_id)
                VALUES %s ON CONFLICT DO NOTHING RETURNING 1
                """,
                [_row(item, now, cycle_id) for item in suspects],
                page_size=1000,
                fetch=True,
            )
        return len(stored)

    def load(self, since: datetime | None = None, limit: int = 100) -> list[Suspect]:
        """Return suspects, newest note first."""
        query = text(
            """
            SELECT dataset, subject, source, observed_at, kind, value, reference, reference_source, detail
            FROM suspects WHERE noted_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
            ORDER BY noted_at DESC, dataset, subject, source LIMIT :limit
            """
        )
        with self._database.reading("read suspects") as connection:
            rows = connection.execute(query, {"since": since, "limit": limit}).mappings().all()
        return [Suspect(**{**row, "dataset": Dataset(row["dataset"])}) for row in rows]

    def coin_prices(self, since: datetime) -> list[Row]:
        """Return the newest price of every matched instrument, and of every asset by its aggregators.

        A row has asset_id, quote, dataset, subject, source, price (of one coin, in quote) and observed_at.
        """
        with self._database.reading("read the newest prices") as connection:
            rows = connection.execute(_COIN_PRICES, {"since": since}).mappings().all()
        return [{**row, "dataset": Dataset(row["dataset"])} for row in rows]

    def last_prices(self, since: datetime) -> dict[tuple[Dataset, str, str], tuple[Decimal, datetime, str]]:
        """Return (price, observed_at, source) of the newest row of each price series since then.

        A series is (dataset, instrument or asset id, interval or ""); of candles the price is the close.
        """
        values = {"since": since, "intervals": [str(interval) for interval in Interval]}
        with self._database.reading("read the last prices") as connection:
            rows = connection.execute(_LAST_PRICES, values).all()
        return {
            (Dataset(row.dataset), row.subject, row.interval): (row.price, row.observed_at, row.source) for row in rows
        }


def _row(item: Suspect, now: datetime, cycle_id: int) -> tuple[Any, ...]:
    return (
        str(item.dataset),
        clean(item.subject),
        item.source,
        item.observed_at,
        item.kind,
        item.value,
        item.reference,
        clean(item.reference_source),
        clean(item.detail),
        now,
        cycle_id,
    )


# One index probe per instrument; a newest row by sorting would read the whole table.
_NEWEST = """
    (SELECT 'tickers' AS dataset, source, last_price AS price, observed_at FROM tickers t
     WHERE t.instrument_id = i.instrument_id AND observed_at >= :since ORDER BY observed_at DESC LIMIT 1)
    UNION ALL
    (SELECT 'mark_prices', source, mark_price, observed_at FROM mark_prices m
     WHERE m.instrument_id = i.instrument_id AND observed_at >= :since ORDER BY observed_at DESC LIMIT 1)
"""
_NEWEST_MARKETS = """
    SELECT DISTINCT ON (asset_id, source) asset_id, source, price_usd, observed_at FROM market_snapshots
    WHERE observed_at >= :since AND price_usd IS NOT NULL ORDER BY asset_id, source, observed_at DESC
"""
_COIN_PRICES = text(
    f"""
    SELECT i.asset_id, i.quote, p.dataset, i.instrument AS subject, p.source,
        p.price / coalesce(i.asset_units, 1) AS price, p.observed_at
    FROM instruments i CROSS JOIN LATERAL ({_NEWEST}) p
    WHERE i.asset_id IS NOT NULL AND i.match_state = 'matched'
    UNION ALL
    SELECT asset_id, 'USD', 'markets', asset_id, source, price_usd, observed_at FROM ({_NEWEST_MARKETS}) m
    """
)
_LAST_PRICES = text(
    f"""
    SELECT p.dataset, i.instrument AS subject, '' AS interval, p.price, p.observed_at, p.source
    FROM instruments i CROSS JOIN LATERAL ({_NEWEST}) p
    UNION ALL
    SELECT 'candles', i.instrument, n.interval, c.close, c.observed_at, c.source
    FROM instruments i CROSS JOIN unnest(CAST(:intervals AS text[])) AS n(interval)
    CROSS JOIN LATERAL (
        SELECT close, observed_at, source FROM candles c
        WHERE c.instrument_id = i.instrument_id AND c.interval = n.interval AND c.open_time >= :since
        ORDER BY open_time DESC LIMIT 1
    ) c
    UNION ALL
    SELECT 'markets', asset_id, '', price_usd, observed_at, source FROM ({_NEWEST_MARKETS}) m
    """
)
