"""What the data API asks of the database for its own answers: newest prices, moods, totals and bars, as plain values.

Every method is one read-only transaction that stays within an index, however large the tables are. May be used by
several threads. Raises StorageUnavailable when the database cannot answer now.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import RowMapping, text

from collector.clock import EPOCH, MONDAY
from collector.records import CycleState, Dataset, GlobalMarket, Instrument, Interval, Kind, MarketSnapshot, Sentiment
from collector.storage.database import Database
from collector.storage.stored import StoredAsset

LOOKED_BACK = 20  # cycles, for how each source fared in the newest that asked it
NEWEST_WITHIN = timedelta(days=30)  # rows older than this do not count as the newest of their dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """An instrument that trades, and the asset that it is a price of."""

    number: int  # what the big tables call it
    instrument: Instrument
    asset_id: str | None  # None when not matched
    asset_units: Decimal  # coins in one base unit; 1 when not matched
    matched: bool
    followed: bool
    listed_at: datetime | None  # when trading began; None when the venue does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueQuote:
    """The newest price of one instrument, in its quote currency and per base unit."""

    number: int
    source: str
    price: Decimal
    change_24h_pct: Decimal | None
    observed_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCycle:
    """The newest cycle."""

    cycle_id: int
    cadence: str
    state: CycleState
    started_at: datetime
    finished_at: datetime | None  # None while running


Bar = Sequence[Any]
"""Open time in epoch milliseconds, open, high, low, close, volume in base units, and who gave it."""


class Quotes:
    """Reads what is stored, for the unified endpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _rows(self, doing: str, query: str, **values: Any) -> Sequence[RowMapping]:
        with self._database.reading(doing) as connection:
            return connection.execute(text(query), values).mappings().all()

    def followed_assets(self, source: str) -> list[StoredAsset]:
        """Return the followed assets of a listing, best rank first."""
        query = """
            SELECT * FROM assets WHERE followed AND source = :source AND delisted_at IS NULL
            ORDER BY rank NULLS LAST, asset_id
        """
        return [StoredAsset(**row) for row in self._rows("read followed assets", query, source=source)]

    def markets(self, venues: Collection[str], quotes: Collection[str]) -> list[Market]:
        """Return the spot pairs and perpetuals of venues that trade now, quoted in one of `quotes`, by canonical id."""
        rows = self._rows("read instruments", _MARKETS, venues=list(venues), quotes=list(quotes))
        return [_market(row) for row in rows]

    def latest_snapshots(
        self, asset_ids: Collection[str], sources: Collection[str], since: datetime
    ) -> list[MarketSnapshot]:
        """Return the newest ranked or measured snapshot of each asset by each source, not older than `since`.

        Points of a price's history, which have neither rank nor change, are passed over.
        """
        values = {"ids": list(asset_ids), "sources": list(sources), "since": since}
        return [MarketSnapshot(**row) for row in self._rows("read market snapshots", _SNAPSHOTS, **values)]

    def venue_quotes(self, numbers: Collection[int], since: datetime) -> list[VenueQuote]:
        """Return the newer of ticker and mark price (of equal age: the ticker), none older than `since`."""
        rows = self._rows("read prices of venues", _VENUE_QUOTES, numbers=list(numbers), since=since)
        return [VenueQuote(**row) for row in rows]

    def latest_global(self, source: str) -> GlobalMarket | None:
        """Return the newest totals of the whole market; None when none were ever stored."""
        rows = self._rows("read the global market", _GLOBAL, source=source)
        return GlobalMarket(**rows[0]) if rows else None

    def latest_sentiment(self, source: str) -> Sentiment | None:
        """Return the newest day of fear and greed; None when none was ever stored."""
        rows = self._rows("read sentiment", _SENTIMENT, source=source)
        return Sentiment(**rows[0]) if rows else None

    def bars(self, number: int, interval: Interval, until: datetime, limit: int, since: datetime | None) -> list[Bar]:
        """Return the newest `limit` stored bars that open in [since, until), oldest first; `since` None: from ever."""
        return self._bars(_BARS if since is not None else _BARS_EVER, number, interval, until, limit, since=since)

    def derived_bars(
        self, number: int, interval: Interval, smaller: Interval, until: datetime, limit: int, since: datetime
    ) -> list[Bar]:
        """Return bars of `interval` added up from stored ones of `smaller`, oldest first.

        Only those of which every part is stored. The volume is None when that of a part is unknown.
        """
        more = {
            "since": since,
            "width": interval.width,
            "origin": MONDAY if interval is Interval.W1 else EPOCH,
            "parts": interval.width // smaller.width,
        }
        return self._bars(_DERIVED, number, smaller, until, limit, **more)

    def _bars(self, query: str, number: int, interval: Interval, until: datetime, limit: int, **more: Any) -> list[Bar]:
        values = {"number": number, "interval": str(interval), "until": until, "limit": limit, **more}
        with self._database.reading("read candles") as connection:
            told = connection.exec_driver_sql(_AS_JSON.format(query), values).scalar()
        bars: list[Bar] = [] if told is None else orjson.loads(told)
        bars.reverse()
        return bars

    def last_cycle(self) -> LastCycle | None:
        """Return the newest cycle; None before the first."""
        rows = self._rows(
            "read the last cycle",
            "SELECT cycle_id, cadence, state, started_at, finished_at FROM cycles ORDER BY cycle_id DESC LIMIT 1",
        )
        return LastCycle(**{**rows[0], "state": CycleState(rows[0]["state"])}) if rows else None

    def last_good(self, sources: Collection[str], since: datetime) -> dict[str, datetime]:
        """Return when the newest good job of each source ended; sources without one since `since` are left out."""
        datasets = [str(dataset) for dataset in Dataset]
        rows = self._rows("read good jobs", _LAST_GOOD, sources=list(sources), datasets=datasets, since=since)
        return {row["source"]: row["at"] for row in rows}

    def failing(self, sources: Collection[str], since: datetime) -> dict[str, str]:
        """Return why each source failed of which, in the newest ended cycle that asked it, no job ended well.

        Cycles from before `since` do not count; sources that did not fail are left out.
        """
        rows = self._rows("read failing sources", _FAILING, sources=list(sources), since=since, cycles=LOOKED_BACK)
        return {row["source"]: row["error"] or "no answer to the last calls" for row in rows}

    def newest_rows(self, now: datetime) -> dict[str, datetime]:
        """Return the time of the newest observation of each market table, of what is followed.

        Tables without a row of the last `NEWEST_WITHIN` are left out.
        """
        rows = self._rows("read ages", _NEWEST, since=now - NEWEST_WITHIN)
        return {row["dataset"]: row["at"] for row in rows if row["at"] is not None}


def _market(row: RowMapping) -> Market:
    identity = ("venue", "base", "quote", "venue_symbol", "contract_size")
    matched = row["match_state"] == "matched" and row["asset_id"] is not None and row["asset_units"] is not None
    return Market(
        number=row["instrument_id"],
        instrument=Instrument(kind=Kind(row["kind"]), **{name: row[name] for name in identity}),
        asset_id=row["asset_id"] if matched else None,
        asset_units=row["asset_units"] if matched else Decimal(1),
        matched=matched,
        followed=row["followed"],
        listed_at=row["listed_at"],
    )


_MARKETS = """
    SELECT instrument_id, venue, base, quote, kind, venue_symbol, contract_size, asset_id, asset_units, match_state,
        followed, listed_at
    FROM instruments
    WHERE venue = ANY(:venues) AND quote = ANY(:quotes) AND kind IN ('perp', 'spot') AND gone_at IS NULL AND tradable
        AND (match_state IS NULL OR match_state <> 'excluded')
    ORDER BY instrument
"""
_SNAPSHOT_COLUMNS = (
    "source, observed_at, received_at, asset_id, price_usd, market_cap_usd, fully_diluted_usd, rank, volume_24h_usd, "
    "high_24h_usd, low_24h_usd, change_1h_pct, change_24h_pct, change_7d_pct"
)
_SNAPSHOTS = f"""
    SELECT m.* FROM unnest(CAST(:ids AS text[])) AS a(id) CROSS JOIN unnest(CAST(:sources AS text[])) AS s(name)
    CROSS JOIN LATERAL (
        SELECT {_SNAPSHOT_COLUMNS} FROM market_snapshots
        WHERE asset_id = a.id AND source = s.name AND observed_at >= :since
            AND (rank IS NOT NULL OR change_24h_pct IS NOT NULL)
        ORDER BY observed_at DESC LIMIT 1) m
"""
_VENUE_QUOTES = """
    SELECT DISTINCT ON (n.number) n.number, p.source, p.price, p.change_24h_pct, p.observed_at, p.received_at
    FROM unnest(CAST(:numbers AS integer[])) AS n(number) CROSS JOIN LATERAL (
        (SELECT 1 AS place, source, last_price AS price, change_24h_pct, observed_at, received_at FROM tickers
         WHERE instrument_id = n.number AND observed_at >= :since ORDER BY observed_at DESC LIMIT 1)
        UNION ALL
        (SELECT 2, source, mark_price, NULL, observed_at, received_at FROM mark_prices
         WHERE instrument_id = n.number AND observed_at >= :since ORDER BY observed_at DESC LIMIT 1)) p
    ORDER BY n.number, p.observed_at DESC, p.place
"""
_GLOBAL = """
    SELECT source, observed_at, received_at, market_cap_usd, volume_24h_usd, btc_dominance_pct, eth_dominance_pct,
        market_cap_change_24h_pct, active_assets, markets
    FROM global_snapshots WHERE source = :source ORDER BY observed_at DESC LIMIT 1
"""
_SENTIMENT = """
    SELECT source, observed_at, received_at, value, classification
    FROM sentiments WHERE source = :source ORDER BY observed_at DESC LIMIT 1
"""
# Driver's parameters: 1 000 rows pass here in the time that one call may take, and text() would parse the query each
# time. The bound by time lets the server leave out the partitions of other months.
_BAR_COLUMNS = "(extract(epoch FROM open_time) * 1000)::bigint, open, high, low, close, volume, source"
# The numbers as one text: a thousand bars come in two thirds of the time that seven thousand values of the driver take.
# A finite numeric's text is a JSON number, and a source is a word of ours. Rows stay in their order.
_AS_JSON = """
    SELECT '[' || string_agg('[' || at || ',' || open || ',' || high || ',' || low || ',' || close || ','
        || coalesce(volume::text, 'null') || ',"' || source || '"]', ',') || ']'
    FROM ({}) AS bars(at, open, high, low, close, volume, source)
"""
_OF_SERIES = "instrument_id = %(number)s AND interval = %(interval)s AND open_time < %(until)s"
_BARS_EVER = f"SELECT {_BAR_COLUMNS} FROM candles WHERE {_OF_SERIES} ORDER BY open_time DESC LIMIT %(limit)s"
_BARS = (
    f"SELECT {_BAR_COLUMNS} FROM candles WHERE {_OF_SERIES} AND open_time >= %(since)s "
    "ORDER BY open_time DESC LIMIT %(limit)s"
)
_DERIVED = f"""
    SELECT (extract(epoch FROM bucket) * 1000)::bigint, open, high, low, close, volume, source
    FROM (
        SELECT date_bin(%(width)s, open_time, %(origin)s) AS bucket, count(*) AS parts,
            (array_agg(open ORDER BY open_time))[1] AS open, max(high) AS high, min(low) AS low,
            (array_agg(close ORDER BY open_time DESC))[1] AS close,
            CASE WHEN count(volume) = count(*) THEN sum(volume) END AS volume,
            string_agg(DISTINCT source, '+' ORDER BY source) AS source
        FROM candles WHERE {_OF_SERIES} AND open_time >= %(since)s GROUP BY 1) AS b
    WHERE parts = %(parts)s ORDER BY bucket DESC LIMIT %(limit)s
"""
_LAST_GOOD = """
    SELECT s.source, max(j.finished_at) AS at FROM unnest(CAST(:sources AS text[])) AS s(source)
    CROSS JOIN unnest(CAST(:datasets AS text[])) AS d(dataset)
    CROSS JOIN LATERAL (SELECT finished_at FROM jobs WHERE source = s.source AND dataset = d.dataset AND state = 'ok'
        AND finished_at >= :since ORDER BY finished_at DESC LIMIT 1) j GROUP BY 1
"""
_FAILING = """
    SELECT source, error FROM (
        SELECT DISTINCT ON (s.source) s.source, s.jobs_ok, s.errors ->> 0 AS error
        FROM (SELECT cycle_id, report FROM cycles WHERE started_at >= :since AND finished_at IS NOT NULL
            ORDER BY cycle_id DESC LIMIT :cycles) c
        CROSS JOIN LATERAL jsonb_to_recordset(c.report -> 'sources')
            AS s(source text, jobs_ok integer, jobs_failed integer, errors jsonb)
        WHERE s.source = ANY(CAST(:sources AS text[])) AND s.jobs_ok + s.jobs_failed > 0
        ORDER BY s.source, c.cycle_id DESC
    ) newest WHERE jobs_ok = 0
"""
_BY_INSTRUMENT = ("tickers", "mark_prices", "order_books", "open_interest", "funding_forecasts")
_NEWEST = " UNION ALL ".join(
    [
        *(
            f"""
            SELECT '{table}' AS dataset, max(x.observed_at) AS at FROM instruments i CROSS JOIN LATERAL (
                SELECT observed_at FROM {table} t WHERE t.instrument_id = i.instrument_id AND observed_at >= :since
                ORDER BY observed_at DESC LIMIT 1) x WHERE i.followed
            """
            for table in _BY_INSTRUMENT
        ),
        *(
            f"""
            SELECT '{table}', max(x.{when}) FROM instruments i
            CROSS JOIN unnest(ARRAY['1m', '5m', '15m', '1h', '4h', '1d', '1w']) AS w(interval) CROSS JOIN LATERAL (
                SELECT {when} FROM {table} t WHERE t.instrument_id = i.instrument_id AND t.interval = w.interval
                AND open_time >= :since ORDER BY open_time DESC LIMIT 1) x WHERE i.followed
            """
            for table, when in (("candles", "observed_at"), ("indicators", "computed_at"))
        ),
        """
        SELECT 'market_snapshots', max(x.observed_at) FROM assets a CROSS JOIN LATERAL (
            SELECT observed_at FROM market_snapshots m WHERE m.asset_id = a.asset_id AND observed_at >= :since
            ORDER BY observed_at DESC LIMIT 1) x WHERE a.followed
        """,
        """
        SELECT 'funding_rates', max(x.funding_time) FROM instruments i CROSS JOIN LATERAL (
            SELECT funding_time FROM funding_rates f WHERE f.instrument_id = i.instrument_id
            ORDER BY funding_time DESC LIMIT 1) x WHERE i.followed
        """,
        "SELECT 'global_snapshots', max(observed_at) FROM global_snapshots WHERE observed_at >= :since",
        "SELECT 'sentiments', max(observed_at) FROM sentiments",
    ]
)
