"""Stored rows as they were known at a moment, for the analytics: later corrections are undone, later rows left out.

Numbers are float64; a value nobody told is NaN. Every method is one or two read-only transactions. Raises
StorageUnavailable when the database cannot answer now.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import text

from collector.records import Interval
from collector.storage.database import Database
from collector.storage.windows import PRICES, Window, load_windows

Rows = list[dict[str, Any]]

FIRST_KNOWN = datetime.min.replace(tzinfo=UTC)
"""As a moment: every closed value as it was first stored, whatever was corrected since."""

LOOKED_AT = 4  # rows read for each observation wanted, so that what never tells a measure costs no whole history

_OBSERVED: Mapping[str, tuple[str, str]] = {
    "price": ("tickers", "last_price"),
    "volume": ("tickers", "volume_24h"),
    "open_interest": ("open_interest", "open_interest"),
    "funding": ("funding_forecasts", "rate"),
    "spread_bps": ("order_books", "spread_bps"),
    "imbalance": ("order_books", "imbalance"),
}
"""Measure -> table and column of its observations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series of candles, and the asset that it is a price of."""

    instrument: str  # canonical id
    venue: str
    quote: str
    kind: str
    asset_id: str | None  # None when not known for sure
    units: float  # coins in one base unit
    followed: bool
    gone_at: datetime | None  # when it left its venue's listing
    first: datetime  # open times of the oldest and the newest bar
    last: datetime


@dataclass(frozen=True, slots=True)
class Observations:
    """Values of one measure in any order: arrays of one length."""

    times: Sequence[datetime]
    subjects: Sequence[str]
    values: npt.NDArray[np.float64]


class Past:
    """Reads what was known."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _rows(self, query: str, **values: Any) -> Rows:
        with self._database.reading("read the past") as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    # ------------------------------------------------------------------ bars

    def series(self, interval: Interval, *, followed: bool | None = True) -> list[Series]:
        """Return the series of an interval that hold a candle, by canonical id; `followed` None: any."""
        rows = self._rows(
            """
            SELECT i.instrument, i.venue, i.quote, i.kind, i.followed, i.gone_at, f.open_time AS first,
                l.open_time AS last, CASE WHEN i.match_state = 'matched' THEN i.asset_id END AS asset_id,
                coalesce(i.asset_units, 1)::float8 AS units
            FROM instruments i
            CROSS JOIN LATERAL (SELECT open_time FROM candles c WHERE c.instrument_id = i.instrument_id
                AND c.interval = :interval ORDER BY open_time LIMIT 1) f
            CROSS JOIN LATERAL (SELECT open_time FROM candles c WHERE c.instrument_id = i.instrument_id
                AND c.interval = :interval ORDER BY open_time DESC LIMIT 1) l
            WHERE i.followed = coalesce(:followed, i.followed) ORDER BY i.instrument
            """,
            interval=str(interval),
            followed=followed,
        )
        return [Series(**row) for row in rows]

    def bars(
        self, names: Collection[str], interval: Interval, *, since: datetime, as_of: datetime, known: datetime
    ) -> dict[str, Window]:
        """Return the bars that open at or after `since` and had ended by `as_of`, with the values known at `known`.

        A window holds arrays of one length, ascending: `open_time` (seconds since the epoch) and `open`, `high`, `low`,
        `close`, `volume`. Bars that were fetched later count all the same: their venue had told them by then.
        """
        until = as_of - interval.width + timedelta.resolution
        with self._database.reading("read candles") as connection:
            query = text("SELECT instrument_id, instrument FROM instruments WHERE instrument = ANY(:names)")
            numbers = {row[0]: row[1] for row in connection.execute(query, {"names": list(names)})}
            if not numbers or since >= until:
                return {}
            ranges = [(number, since, until) for number in sorted(numbers)]
            found = load_windows(connection.connection.cursor(), ranges, str(interval))  # type: ignore[arg-type]
        windows = {numbers[number]: window for number, window in found.items()}
        self._undo(windows, interval, known)
        return windows

    def _undo(self, windows: Mapping[str, Window], interval: Interval, known: datetime) -> None:
        """Put the values back that were corrected after a moment, the newest correction first."""
        rows = self._rows(
            """
            SELECT subject, (key ->> 'open_time')::timestamptz AS open_time, old FROM revisions
            WHERE table_name = 'candles' AND subject = ANY(:names) AND key ->> 'interval' = :interval
              AND detected_at > :known
            ORDER BY revision_id DESC
            """,
            names=list(windows),
            interval=str(interval),
            known=_server_time(known),
        )
        for row in rows:
            window = windows[row["subject"]]
            opened = int(row["open_time"].timestamp())
            place = int(np.searchsorted(window["open_time"], opened))
            if place < len(window["open_time"]) and window["open_time"][place] == opened:
                for name in PRICES:
                    if name in row["old"]:
                        old = row["old"][name]
                        window[name][place] = np.nan if old is None else float(old)

    # ------------------------------------------------------------------ observations

    def followed(self, venues: Collection[str]) -> list[str]:
        """Return the canonical ids of the followed instruments of some venues, in order."""
        query = "SELECT instrument FROM instruments WHERE followed AND venue = ANY(:venues) ORDER BY instrument"
        return [row["instrument"] for row in self._rows(query, venues=list(venues))]

    def observations(self, measure: str, names: Collection[str], *, last: int, as_of: datetime) -> Observations:
        """Return the `last` observations of each instrument up to `as_of`; KeyError for an unknown measure.

        They are looked for among the newest `LOOKED_AT` times as many rows: some rows do not tell every measure.
        """
        table, column = _OBSERVED[measure]
        return self._observations(
            f"""
            SELECT o.at, i.instrument, o.value FROM instruments i CROSS JOIN LATERAL (
                SELECT n.at, n.value FROM (
                    SELECT t.observed_at AS at, t.{column}::float8 AS value FROM {table} t
                    WHERE t.instrument_id = i.instrument_id AND t.observed_at <= :as_of
                    ORDER BY t.observed_at DESC LIMIT :rows) n
                WHERE n.value IS NOT NULL ORDER BY n.at DESC LIMIT :last) o
            WHERE i.instrument = ANY(:names) ORDER BY o.at
            """,
            names=list(names),
            last=last,
            rows=LOOKED_AT * last,
            as_of=as_of,
        )

    def indicators(
        self, column: str, interval: Interval, names: Collection[str], *, last: int, as_of: datetime
    ) -> Observations:
        """Return the `last` values of a column of `indicators` of each instrument, at the ends of their bars.

        They are looked for among the newest `LOOKED_AT` times as many bars: before enough history there is no value.
        `column` must be one of that table's; it becomes part of the statement.
        """
        return self._observations(
            f"""
            SELECT o.at, i.instrument, o.value FROM instruments i CROSS JOIN LATERAL (
                SELECT n.at, n.value FROM (
                    SELECT t.open_time + :width AS at, t.{column} AS value FROM indicators t
                    WHERE t.instrument_id = i.instrument_id AND t.interval = :interval
                      AND t.open_time <= CAST(:as_of AS timestamptz) - :width
                    ORDER BY t.open_time DESC LIMIT :rows) n
                WHERE n.value IS NOT NULL ORDER BY n.at DESC LIMIT :last) o
            WHERE i.instrument = ANY(:names) ORDER BY o.at
            """,
            names=list(names),
            interval=str(interval),
            width=interval.width,
            last=last,
            rows=LOOKED_AT * last,
            as_of=as_of,
        )

    def funding(
        self, names: Collection[str], *, since: datetime, as_of: datetime, known: datetime | None = None
    ) -> Observations:
        """Return the settled funding rates of a time, with the values known at `known` (None: today).

        Of several sources the venue's own counts, then the newest answer.
        """
        return self._observations(
            """
            WITH undone AS MATERIALIZED (
                SELECT DISTINCT ON (subject, key) subject, (key ->> 'funding_time')::timestamptz AS funding_time,
                    key ->> 'source' AS source, key ->> 'rate_type' AS rate_type, (old ->> 'rate')::float8 AS rate
                FROM revisions
                WHERE table_name = 'funding_rates' AND subject = ANY(:names) AND old ->> 'rate' IS NOT NULL
                  AND detected_at > :known
                ORDER BY subject, key, revision_id
            )
            SELECT DISTINCT ON (i.instrument, f.funding_time) f.funding_time AS at, i.instrument,
                coalesce(u.rate, f.rate::float8) AS value
            FROM funding_rates f JOIN instruments i USING (instrument_id)
            LEFT JOIN undone u ON u.subject = i.instrument AND u.funding_time = f.funding_time
              AND u.source = f.source AND u.rate_type = f.rate_type
            WHERE i.instrument = ANY(:names) AND f.funding_time > :since AND f.funding_time <= :as_of
              AND f.rate_type = 'regular'
            ORDER BY i.instrument, f.funding_time, f.source = i.venue DESC, f.received_at DESC, f.source
            """,
            names=list(names),
            since=since,
            as_of=as_of,
            known=_server_time(datetime.max.replace(tzinfo=UTC) if known is None else known),
        )

    def _observations(self, query: str, **values: Any) -> Observations:
        rows = self._rows(query, **values)
        return Observations(
            [row["at"] for row in rows],
            [row["instrument"] for row in rows],
            np.array([row["value"] for row in rows], dtype=np.float64),
        )

    # ------------------------------------------------------------------ assets

    def daily_markets(self, source: str, *, since: datetime, as_of: datetime) -> Rows:
        """Return the last snapshot of each asset and UTC day, by day and asset.

        Columns: asset_id, observed_at, rank, market_cap_usd, price_usd, volume_24h_usd. One look into the index for
        each, for a day holds hundreds of snapshots of every asset.
        """
        return self._rows(
            """
            WITH RECURSIVE seen AS (
                (SELECT asset_id FROM market_snapshots
                 WHERE observed_at >= :since AND observed_at <= :as_of ORDER BY asset_id LIMIT 1)
                UNION ALL
                SELECT (SELECT m.asset_id FROM market_snapshots m WHERE m.asset_id > seen.asset_id
                    AND m.observed_at >= :since AND m.observed_at <= :as_of ORDER BY m.asset_id LIMIT 1)
                FROM seen WHERE seen.asset_id IS NOT NULL
            )
            SELECT seen.asset_id, m.* FROM seen
            CROSS JOIN generate_series(
                date_trunc('day', CAST(:since AS timestamptz), 'UTC'), CAST(:as_of AS timestamptz), interval '1 day'
            ) AS day
            CROSS JOIN LATERAL (
                SELECT observed_at, rank, market_cap_usd::float8 AS market_cap_usd, price_usd::float8 AS price_usd,
                    volume_24h_usd::float8 AS volume_24h_usd
                FROM market_snapshots
                WHERE asset_id = seen.asset_id AND source = :source AND observed_at >= greatest(day, :since)
                  AND observed_at < day + interval '1 day' AND observed_at <= :as_of
                ORDER BY observed_at DESC LIMIT 1) m
            WHERE seen.asset_id IS NOT NULL ORDER BY day, seen.asset_id
            """,
            source=source,
            since=since,
            as_of=as_of,
        )

    # ------------------------------------------------------------------ what was computed

    def newest(self, table: str, column: str, **equal: str) -> datetime | None:
        """Return the newest moment in a column of a table of the analytics, among rows with these values."""
        wanted = "".join(f" AND {name} = :{name}" for name in equal)
        query = f"SELECT max({column}) AS at FROM {table} WHERE true{wanted}"
        found: datetime | None = self._rows(query, **equal)[0]["at"]
        return found

    def ranked_before(self, source: str, day: datetime) -> datetime | None:
        """Return the newest day before another one that has a list of ranks."""
        query = "SELECT max(day) AS at FROM rank_history WHERE source = :source AND day < :day AND cap_rank IS NOT NULL"
        found: datetime | None = self._rows(query, source=source, day=day)[0]["at"]
        return found

    def signals(self, *, since: datetime, as_of: datetime, interval: Interval | None = None) -> Rows:
        """Return the signals of a time, each with its instrument, by bar, instrument and name."""
        return self._rows(
            """
            SELECT i.instrument, s.* FROM signals s JOIN instruments i USING (instrument_id)
            WHERE s.bar_end > :since AND s.bar_end <= :as_of
              AND s.interval = coalesce(CAST(:interval AS text), s.interval)
            ORDER BY s.bar_end, i.instrument, s.name, s.parameter_hash
            """,
            since=since,
            as_of=as_of,
            interval=None if interval is None else str(interval),
        )

    def signals_without_outcome(self, *, since: datetime, as_of: datetime, interval: Interval, horizons: int) -> Rows:
        """Return the signals of a time that lack one of their `horizons` outcomes, or have one with a hole."""
        return self._rows(
            """
            SELECT i.instrument, s.instrument_id, s.interval, s.name, s.parameter_hash, s.version, s.bar_end, s.kind,
                s.direction
            FROM signals s JOIN instruments i USING (instrument_id)
            WHERE s.bar_end > :since AND s.bar_end <= :as_of AND s.interval = :interval
              AND (SELECT count(*) FROM signal_outcomes o
                   WHERE o.instrument_id = s.instrument_id AND o.interval = s.interval AND o.name = s.name
                     AND o.parameter_hash = s.parameter_hash AND o.version = s.version AND o.bar_end = s.bar_end
                     AND o.status = 'done') < :horizons
            ORDER BY s.bar_end, i.instrument, s.name, s.parameter_hash
            """,
            since=since,
            as_of=as_of,
            interval=str(interval),
            horizons=horizons,
        )

    def signal_revisions(self, *, since: datetime, as_of: datetime, interval: Interval) -> Rows:
        """Return the revisions of the signals of a time, by bar and number."""
        return self._rows(
            """
            SELECT i.instrument, s.* FROM signal_revisions s JOIN instruments i USING (instrument_id)
            WHERE s.bar_end > :since AND s.bar_end <= :as_of AND s.interval = :interval
            ORDER BY s.bar_end, i.instrument, s.name, s.revision
            """,
            since=since,
            as_of=as_of,
            interval=str(interval),
        )

    def views(self, *, since: datetime, as_of: datetime, ends_of_days: bool = False) -> Rows:
        """Return the views of a time without their members, by moment and asset; all, or those at 00:00 UTC alone."""
        return self._rows(
            """
            SELECT asset_id, as_of, score, zscore, rank, confidence, agreement, coverage, signals FROM asset_views
            WHERE as_of > :since AND as_of <= :as_of
              AND (NOT :ends_of_days OR as_of = date_trunc('day', as_of, 'UTC'))
            ORDER BY as_of, asset_id
            """,
            since=since,
            as_of=as_of,
            ends_of_days=ends_of_days,
        )

    def weights(self, portfolio: str, *, since: datetime, as_of: datetime) -> Rows:
        """Return the weights of a portfolio in a time, by moment and asset."""
        return self._rows(
            """
            SELECT * FROM portfolio_weights
            WHERE portfolio = :portfolio AND as_of > :since AND as_of <= :as_of ORDER BY as_of, asset_id
            """,
            portfolio=portfolio,
            since=since,
            as_of=as_of,
        )

    def outcomes(self, *, as_of: datetime) -> Rows:
        """Return what followed the signals whose outcome was known by a moment."""
        return self._rows(
            "SELECT i.instrument, o.* FROM signal_outcomes o JOIN instruments i USING (instrument_id) "
            "WHERE o.exit_end <= :as_of ORDER BY o.bar_end, i.instrument, o.name, o.horizon",
            as_of=as_of,
        )

    def portfolio_runs(self, portfolio: str, *, as_of: datetime) -> Rows:
        """Return the runs of a portfolio up to a moment, oldest first, without their inputs."""
        return self._rows(
            "SELECT as_of, state, reason, expected_return, expected_volatility, turnover, shrinkage, condition, "
            "assets, left_out, inputs_hash, parameter_hash, computed_at FROM portfolio_runs "
            "WHERE portfolio = :portfolio AND as_of <= :as_of ORDER BY as_of",
            portfolio=portfolio,
            as_of=as_of,
        )

    def paper_equity(self, portfolio: str, *, as_of: datetime) -> Rows:
        """Return what a portfolio would have earned, day by day."""
        return self._rows(
            "SELECT day, equity, bitcoin, market, turnover, fees FROM paper_equity "
            "WHERE portfolio = :portfolio AND day <= :as_of ORDER BY day",
            portfolio=portfolio,
            as_of=as_of,
        )


def _server_time(moment: datetime) -> datetime:
    """Return a moment that the server's time zone arithmetic still takes."""
    return min(max(moment, datetime(1, 1, 2, tzinfo=UTC)), datetime(9999, 12, 30, tzinfo=UTC))
