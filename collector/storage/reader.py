"""The way out of the database: what the collector, its indicators and its status page ask for, as plain values.

Every method is one read-only transaction. Subjects without rows are left out of the mappings returned. May be used by
several threads. Raises StorageUnavailable when the database cannot answer now.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, RowMapping, text

from collector.records import CycleState, Dataset, Instrument, Interval, Job, Kind, Payload
from collector.storage import inventory
from collector.storage.database import Database
from collector.storage.stored import (
    CycleSummary,
    HeldSeries,
    LatestMarket,
    LatestPrice,
    ListingChange,
    SourceSummary,
    StoredAsset,
    StoredInstrument,
    TableContents,
)
from collector.storage.windows import Window, load_windows

# Every source that has jobs, one index probe each: DISTINCT would read millions of rows.
_SOURCES = """
    WITH RECURSIVE s AS (
        (SELECT source FROM jobs ORDER BY source LIMIT 1)
        UNION ALL
        SELECT (SELECT j.source FROM jobs j WHERE j.source > s.source ORDER BY j.source LIMIT 1)
        FROM s WHERE s.source IS NOT NULL
    ), s_known AS (SELECT source FROM s WHERE source IS NOT NULL)
"""
_IDENTITY = ("venue", "base", "quote", "kind", "venue_symbol", "contract_size")
_STANDING = tuple(item.name for item in fields(StoredInstrument) if item.name != "instrument")
LOOKED_BACK = 2_000  # cycles: a week of them every five minutes


class Reader:
    """Reads what is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _rows(self, query: str, **values: Any) -> Sequence[RowMapping]:
        with self._database.reading() as connection:
            return connection.execute(text(query), values).mappings().all()

    def _pairs(self, query: str, **values: Any) -> dict[Any, Any]:
        """Return the first column of each row -> the second."""
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(text(query), values)}

    # ------------------------------------------------------------------ listings

    def load_instruments(
        self, venue: str | None = None, followed: bool | None = None, source: str | None = None
    ) -> list[StoredInstrument]:
        """Return instruments in the order of their canonical ids; None means any."""
        return self._instruments(
            """
            venue = coalesce(:venue, venue) AND followed = coalesce(:followed, followed)
            AND (CAST(:source AS text) IS NULL OR source = :source)
            """,
            venue=venue,
            followed=followed,
            source=source,
        )

    def _instruments(self, condition: str, **values: Any) -> list[StoredInstrument]:
        query = text(
            f"SELECT {', '.join(_IDENTITY + _STANDING)} FROM instruments WHERE {condition} ORDER BY instrument"
        )
        with self._database.reading() as connection:
            return [_stored_instrument(row) for row in connection.execute(query, values)]

    def load_assets(self, followed: bool | None = None, source: str | None = None) -> list[StoredAsset]:
        """Return assets, best rank first; None means any. Delisted ones are among them."""
        rows = self._rows(
            """
            SELECT * FROM assets
            WHERE followed = coalesce(:followed, followed) AND source = coalesce(:source, source)
            ORDER BY rank NULLS LAST, source, asset_id
            """,
            followed=followed,
            source=source,
        )
        return [StoredAsset(**row) for row in rows]

    def unmatched_instruments(self) -> list[StoredInstrument]:
        """Return the listed instruments whose asset is not known for sure: unmatched or ambiguous."""
        return self._instruments("match_state IN ('unmatched', 'ambiguous') AND gone_at IS NULL")

    def listing_changes(self, since: datetime | None = None, limit: int = 100) -> list[ListingChange]:
        """Return what changed in listings, newest first."""
        rows = self._rows(
            """
            SELECT at, source, subject, change, old, new, cycle_id FROM listing_changes
            WHERE at >= coalesce(:since, '-infinity'::timestamptz) ORDER BY change_id DESC LIMIT :limit
            """,
            since=since,
            limit=limit,
        )
        return [ListingChange(**row) for row in rows]

    # ------------------------------------------------------------------ what is due

    def last_candle_opens(self, interval: Interval, ids: Collection[str]) -> dict[str, datetime]:
        """Return the open time of the newest candle of each instrument, stored here or sealed to a file."""
        return self._pairs(
            """
            SELECT i.instrument, coalesce(c.open_time, h.until - CAST(:width AS interval))
            FROM instruments i LEFT JOIN LATERAL (
                SELECT open_time FROM candles WHERE instrument_id = i.instrument_id AND interval = :interval
                ORDER BY open_time DESC LIMIT 1) c ON true
            LEFT JOIN LATERAL (
                SELECT until FROM coverage WHERE c.open_time IS NULL AND instrument_id = i.instrument_id
                    AND dataset = 'candles' AND interval = :interval AND state IN ('observed', 'filled')
                ORDER BY since DESC LIMIT 1) h ON true
            WHERE i.instrument = ANY(:ids) AND coalesce(c.open_time, h.until) IS NOT NULL
            """,
            interval=str(interval),
            width=interval.width,
            ids=list(ids),
        )

    def last_funding_times(self, ids: Collection[str]) -> dict[str, datetime]:
        """Return the time of the newest stored settled funding payment of each instrument."""
        return self._pairs(
            """
            SELECT i.instrument, max(f.funding_time) FROM instruments i JOIN funding_rates f USING (instrument_id)
            WHERE i.instrument = ANY(:ids) GROUP BY 1
            """,
            ids=list(ids),
        )

    def last_job_times(self) -> dict[tuple[str, Dataset], datetime]:
        """Return when each dataset of each source last ended well."""
        rows = self._rows(
            f"""
            {_SOURCES}
            SELECT s.source, d.dataset, j.finished_at AS at FROM s_known s
            CROSS JOIN unnest(CAST(:datasets AS text[])) AS d(dataset)
            CROSS JOIN LATERAL (SELECT finished_at FROM jobs WHERE source = s.source AND dataset = d.dataset
                AND state = 'ok' AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1) j
            """,
            datasets=[str(dataset) for dataset in Dataset],
        )
        return {(row["source"], Dataset(row["dataset"])): row["at"] for row in rows}

    def last_asset_times(self, source: str, dataset: Dataset) -> dict[str, datetime]:
        """Return when each asset was last asked for with success, for taking turns."""
        return self._pairs(
            """
            SELECT unnest(assets), max(finished_at) FROM jobs
            WHERE source = :source AND dataset = :dataset AND state = 'ok' AND finished_at IS NOT NULL GROUP BY 1
            """,
            source=source,
            dataset=str(dataset),
        )

    def last_cycle_starts(self) -> dict[str, datetime]:
        """Return when each cadence last started a cycle that its process lived to end."""
        return self._pairs(
            "SELECT cadence, max(started_at) FROM cycles WHERE state IN ('ok', 'partial', 'failed') GROUP BY 1"
        )

    # ------------------------------------------------------------------ prices

    def latest_prices(
        self, ids: Collection[str] | None = None, since: datetime | None = None
    ) -> dict[str, LatestPrice]:
        """Return the newest price of each instrument: the newer of its last ticker and its last mark price.

        Prices observed before `since` are left out.
        """
        rows = self._rows(
            """
            SELECT DISTINCT ON (i.instrument) i.instrument, p.price, p.observed_at
            FROM instruments i CROSS JOIN LATERAL (
                (SELECT last_price AS price, observed_at FROM tickers t
                 WHERE t.instrument_id = i.instrument_id
                   AND observed_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
                 ORDER BY observed_at DESC LIMIT 1)
                UNION ALL
                (SELECT mark_price, observed_at FROM mark_prices m
                 WHERE m.instrument_id = i.instrument_id
                   AND observed_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
                 ORDER BY observed_at DESC LIMIT 1)) p
            WHERE CAST(:ids AS text[]) IS NULL OR i.instrument = ANY(:ids)
            ORDER BY i.instrument, p.observed_at DESC
            """,
            ids=None if ids is None else list(ids),
            since=since,
        )
        return {row["instrument"]: LatestPrice(price=row["price"], observed_at=row["observed_at"]) for row in rows}

    def latest_turnovers(self, since: datetime | None = None) -> dict[str, Decimal]:
        """Return what the newest ticker of each instrument says was traded in 24 h, in the quote.

        That is the venue's own figure, or else the volume in base times the last price. Instruments whose newest ticker
        has neither, or was observed before `since`, are left out.
        """
        return self._pairs(
            """
            SELECT i.instrument, t.turnover FROM instruments i CROSS JOIN LATERAL (
                SELECT coalesce(quote_volume_24h, volume_24h * last_price) AS turnover FROM tickers
                WHERE instrument_id = i.instrument_id
                  AND observed_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
                ORDER BY observed_at DESC LIMIT 1) t
            WHERE t.turnover IS NOT NULL
            """,
            since=since,
        )

    def latest_markets(self, source: str, since: datetime | None = None) -> dict[str, LatestMarket]:
        """Return the newest ranked snapshot of each asset of a source, not older than `since`; else the newest at all.

        Points of an asset's past have no rank, and the last of them can be newer than what the ranking said.
        """
        rows = self._rows(
            """
            SELECT DISTINCT ON (m.asset_id) m.asset_id, a.symbol, a.name, m.price_usd, m.rank, m.observed_at
            FROM market_snapshots m LEFT JOIN assets a USING (source, asset_id)
            WHERE m.source = :source AND m.observed_at >= coalesce(:since, '-infinity'::timestamptz)
            ORDER BY m.asset_id, (m.rank IS NULL), m.observed_at DESC
            """,
            source=source,
            since=since,
        )
        return {row["asset_id"]: LatestMarket(**{k: v for k, v in row.items() if k != "asset_id"}) for row in rows}

    # ------------------------------------------------------------------ series for indicators

    def bar_spans(self, ids: Collection[str], interval: Interval) -> dict[str, tuple[datetime, datetime]]:
        """Return the open times of the oldest and the newest stored candle of each instrument."""
        rows = self._rows(
            """
            SELECT i.instrument, f.open_time AS first, l.open_time AS last FROM instruments i
            CROSS JOIN LATERAL (SELECT open_time FROM candles c WHERE c.instrument_id = i.instrument_id
                AND c.interval = :interval ORDER BY open_time LIMIT 1) f
            CROSS JOIN LATERAL (SELECT open_time FROM candles c WHERE c.instrument_id = i.instrument_id
                AND c.interval = :interval ORDER BY open_time DESC LIMIT 1) l
            WHERE i.instrument = ANY(:ids)
            """,
            interval=str(interval),
            ids=list(ids),
        )
        return {row["instrument"]: (row["first"], row["last"]) for row in rows}

    def obv_anchors(
        self, requests: Mapping[str, datetime], interval: Interval
    ) -> dict[str, tuple[datetime, float | None]]:
        """Return open time and `obv` of the newest indicator row before each instrument's given time."""
        rows = self._rows(
            """
            SELECT i.instrument, a.open_time, a.obv
            FROM unnest(CAST(:ids AS text[]), CAST(:befores AS timestamptz[])) AS r(instrument, before)
            JOIN instruments i USING (instrument)
            CROSS JOIN LATERAL (SELECT open_time, obv FROM indicators n WHERE n.instrument_id = i.instrument_id
                AND n.interval = :interval AND n.open_time < r.before ORDER BY n.open_time DESC LIMIT 1) a
            """,
            interval=str(interval),
            ids=list(requests),
            befores=list(requests.values()),
        )
        return {row["instrument"]: (row["open_time"], row["obv"]) for row in rows}

    def uncomputed_spans(self) -> dict[tuple[Instrument, Interval], list[tuple[datetime, datetime]]]:
        """Return the first and last open time of what candle jobs brought since indicators were last complete.

        The last `LOOKED_BACK` cycles are looked at.
        """
        rows = self._rows(
            """
            SELECT i.*, j.interval AS bar, j.since, j.until FROM jobs j
            JOIN instruments i ON i.instrument = j.stands_for
                OR (j.stands_for IS NULL AND i.instrument = ANY(j.instruments))
            WHERE j.dataset = 'candles' AND j.rows_written > 0 AND j.since IS NOT NULL AND j.until IS NOT NULL
              AND j.cycle_id > coalesce((
                SELECT cycle_id FROM cycles
                WHERE report ->> 'uncomputed' = '0' AND cadence <> 'backfill'  -- which computes none
                ORDER BY cycle_id DESC LIMIT 1), 0)
              AND j.cycle_id > (SELECT max(cycle_id) FROM cycles) - :cycles
            """,
            cycles=LOOKED_BACK,
        )
        spans: dict[tuple[Instrument, Interval], list[tuple[datetime, datetime]]] = {}
        for row in rows:
            interval = Interval(row["bar"])
            series = spans.setdefault((_instrument(row), interval), [])
            series.append((row["since"], row["until"] - interval.width))
        return spans

    def load_candle_windows(
        self, requests: Mapping[str, tuple[datetime, datetime]], interval: Interval
    ) -> dict[str, Window]:
        """Return the candles with since <= open time < until of each instrument, ascending.

        A window holds arrays of one length: `open_time` (int64, seconds since the epoch) and `open`, `high`, `low`,
        `close`, `volume` (float64; an unknown volume is NaN).
        """
        numbers = self._pairs(
            "SELECT instrument_id, instrument FROM instruments WHERE instrument = ANY(:ids)", ids=list(requests)
        )
        with self._database.reading("read candles") as connection:
            cursor = connection.connection.cursor()
            ranges = [(number, *requests[name]) for number, name in sorted(numbers.items())]
            found = load_windows(cursor, ranges, str(interval))  # type: ignore[arg-type]
        return {numbers[number]: window for number, window in found.items()}

    # ------------------------------------------------------------------ raw answers

    def load_payloads(self, cycle_id: int) -> Iterator[Payload]:
        """Yield the raw answers of a cycle with their jobs, in the order in which they were stored.

        Needs the instruments of the jobs to be known; those of a job that failed for an unknown one are left out.
        """
        with self._database.reading("read raw payloads") as connection:
            named = {row["instrument"]: _instrument(row) for row in connection.execute(_INSTRUMENTS).mappings()}
            for row in connection.execute(_PAYLOADS, {"cycle_id": cycle_id}).mappings():
                body = zlib.decompress(row["body"])
                job = _job(row, named)
                yield Payload(job=job, status=row["status"], body=body, received_at=row["received_at"])

    # ------------------------------------------------------------------ status

    def recent_cycles(self, limit: int = 10) -> list[CycleSummary]:
        """Return the newest cycles, newest first."""
        rows = self._rows("SELECT * FROM cycles ORDER BY cycle_id DESC LIMIT :limit", limit=limit)
        return [CycleSummary(**{**row, "state": CycleState(row["state"])}) for row in rows]

    def source_summaries(self, since: datetime | None = None) -> list[SourceSummary]:
        """Return what each source did in the cycles started at or after `since` (None: in all), by name.

        An error of a job that was really tried comes before newer ones of jobs that were held back because of it.
        """
        rows = self._rows(
            f"""
            {_SOURCES},
            done AS (
                SELECT j.*, coalesce(j.error ~ '^not (tried|sent)', true) AS held_back
                FROM jobs j JOIN cycles c USING (cycle_id)
                WHERE c.started_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
            ),
            newest AS (
                SELECT s.source, max(j.finished_at) AS last_ok_at FROM s_known s
                CROSS JOIN unnest(CAST(:datasets AS text[])) AS d(dataset)
                LEFT JOIN LATERAL (SELECT finished_at FROM jobs WHERE source = s.source AND dataset = d.dataset
                    AND state = 'ok' AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1) j ON true
                GROUP BY 1
            )
            SELECT newest.source,
                count(*) FILTER (WHERE state = 'ok') AS jobs_ok,
                count(*) FILTER (WHERE state = 'failed') AS jobs_failed,
                count(*) FILTER (WHERE state = 'skipped') AS jobs_skipped,
                coalesce(sum(rows_written), 0)::bigint AS rows_written,
                coalesce(sum(rows_unchanged), 0)::bigint AS rows_unchanged,
                coalesce(sum(rejects), 0)::bigint AS rejects,
                newest.last_ok_at,
                (array_agg(error ORDER BY held_back, job_id DESC) FILTER (WHERE state = 'failed'))[1] AS last_error,
                (array_agg(finished_at ORDER BY held_back, job_id DESC)
                    FILTER (WHERE state = 'failed'))[1] AS last_error_at
            FROM newest LEFT JOIN done USING (source) GROUP BY newest.source, newest.last_ok_at ORDER BY 1
            """,
            since=since,
            datasets=[str(dataset) for dataset in Dataset],
        )
        return [SourceSummary(**row) for row in rows]

    def inventory(self) -> list[TableContents]:
        """Return how much every market table holds, and from when to when; large tables are estimated."""
        with self._database.reading("read the inventory") as connection:
            return inventory.load_tables(connection)

    def held_series(self, prefix: str = "") -> list[HeldSeries]:
        """Return what is held and missing of each series whose name begins with `prefix`, by name; reads no rows."""
        with self._database.reading("read the inventory") as connection:
            return inventory.load_series(connection, prefix)


# --------------------------------------------------------------------------- rows into values


def _instrument(row: RowMapping) -> Instrument:
    return _identified(*(row[name] for name in _IDENTITY))


@lru_cache(maxsize=16_384)
def _identified(venue: str, base: str, quote: str, kind: str, venue_symbol: str, contract_size: Decimal) -> Instrument:
    return Instrument(
        venue=venue, base=base, quote=quote, kind=Kind(kind), venue_symbol=venue_symbol, contract_size=contract_size
    )


def _stored_instrument(row: Row[Any]) -> StoredInstrument:
    """Return the instrument of a row with the columns of `_IDENTITY` and `_STANDING`; thousands are read each cycle."""
    standing = dict(zip(_STANDING, row[len(_IDENTITY) :], strict=True))
    return StoredInstrument(instrument=_identified(*row[: len(_IDENTITY)]), **standing)


def _job(row: RowMapping, named: Mapping[str, Instrument]) -> Job:
    return Job(
        source=row["source"],
        dataset=Dataset(row["dataset"]),
        instruments=tuple(named[name] for name in row["instruments"] if name in named),
        assets=tuple(row["assets"]),
        interval=None if row["interval"] is None else Interval(row["interval"]),
        since=row["since"],
        until=row["until"],
        limit=row["row_limit"],
    )


_INSTRUMENTS = text("SELECT instrument, venue, base, quote, kind, venue_symbol, contract_size FROM instruments")
_PAYLOADS = text(
    """
    SELECT j.source, j.dataset, j.instruments, j.assets, j.interval, j.since, j.until, j.row_limit,
        p.status, p.received_at, p.body
    FROM raw_payloads p JOIN jobs j USING (job_id) WHERE j.cycle_id = :cycle_id ORDER BY p.job_id, p.seq
    """
)
