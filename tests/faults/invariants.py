"""What must be true of the database whatever happened to the collector: read from outside, with SQL of our own.

I1 no acknowledged cycle is missing; I2 no observation is there twice; I3 at most one cycle runs; I4 the ledger and the
rows agree; I5 every hole between stored bars is known, and no hole is called held; I6 no value that cannot be; I7
indicators follow from the stored bars; I8 closed bars change only with a revision.
"""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import pairwise
from math import fsum, sqrt
from statistics import fmean
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

WIDTHS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
KEYS = {
    "market_snapshots": "source, asset_id, observed_at",
    "global_snapshots": "source, observed_at",
    "tickers": "source, instrument_id, observed_at",
    "mark_prices": "source, instrument_id, observed_at",
    "open_interest": "source, instrument_id, observed_at",
    "order_books": "source, instrument_id, observed_at",
    "funding_forecasts": "source, instrument_id, observed_at",
    "funding_rates": "source, instrument_id, funding_time, rate_type",
    "funding_terms": "source, instrument_id",
    "sentiments": "source, observed_at",
    "candles": "instrument_id, interval, open_time",
    "indicators": "instrument_id, interval, open_time",
    "instruments": "venue, venue_symbol, kind",
    "assets": "source, asset_id",
    "jobs": "cycle_id, fingerprint",
}
OBSERVED = [table for table in KEYS if table not in ("instruments", "assets", "jobs", "indicators")]
WIDTH_SQL = "CASE interval " + " ".join(f"WHEN '{name}' THEN interval '{w}'" for name, w in WIDTHS.items()) + " END"
TOLERANCE = 1e-9
EVER_CHANGES = {"cycle_id", "received_at", "computed_at"}

IMPOSSIBLE = {
    "candles": "NOT (low > 0 AND low <= least(open, close) AND high >= greatest(open, close)) OR volume < 0 "
    "OR quote_volume < 0 OR taker_buy_volume < 0 OR trades < 0",
    "candles that were not over": "FROM candles WHERE observed_at > received_at",
    "tickers": "last_price <= 0 OR bid_price <= 0 OR ask_price <= 0 OR bid_price > ask_price OR high_24h < low_24h "
    "OR volume_24h < 0 OR quote_volume_24h < 0 OR bid_size < 0 OR ask_size < 0",
    "mark_prices": "mark_price <= 0 OR index_price <= 0",
    "order_books": "best_bid >= best_ask OR best_bid <= 0 OR 0 >= ANY (bid_prices) OR 0 >= ANY (ask_prices) "
    "OR 0 > ANY (bid_sizes) OR 0 > ANY (ask_sizes)",
    "market_snapshots": "price_usd <= 0 OR market_cap_usd < 0 OR volume_24h_usd < 0 OR circulating_supply < 0 "
    "OR rank < 1 OR high_24h_usd < low_24h_usd",
    "global_snapshots": "market_cap_usd <= 0 OR volume_24h_usd < 0 OR btc_dominance_pct NOT BETWEEN 0 AND 100",
    "open_interest": "open_interest < 0 OR contracts < 0 OR value_usd < 0",
    "funding_rates": "abs(rate) > 1 OR mark_price <= 0",
    "funding_forecasts": "abs(rate) > 1",
    "sentiments": "value NOT BETWEEN 0 AND 100",
    "indicators": "rsi_14 NOT BETWEEN 0 AND 100 OR bb_lower > bb_middle OR bb_middle > bb_upper OR atr_14 < 0",
}


def check_invariants(place: Any, *, acked: Iterable[int] = (), before: Mapping[Any, Any] | None = None) -> list[str]:
    """Return what is not as it must be, a line each; empty when all invariants hold.

    `place` is a URL or whatever has one in `.url`. `acked` are cycles that were said to have ended; `before` is what
    `closed_candles` returned earlier.
    """
    with _connection(place) as cursor:
        wrong = [
            *_acked_cycles(cursor, acked),
            *_doubles(cursor),
            *_running(cursor),
            *_ledger(cursor),
            *_holes(cursor),
            *_values(cursor),
            *_indicators(cursor),
        ]
        if before is not None:
            wrong += _changed(cursor, before)
    return wrong


def closed_candles(place: Any) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return every stored bar: its key, then its figures; for `before` of a later check."""
    with _connection(place) as cursor:
        return _bars(cursor)


def table_hash(place: Any, tables: Iterable[str] = OBSERVED, *, without: Iterable[str] = EVER_CHANGES) -> str:
    """Return a digest of tables' rows in the order of their text, without the columns that say when and in what cycle.

    The same rows give the same digest whatever the order and the number of the cycles that stored them.
    """
    digest, hidden = hashlib.sha256(), list(without)
    with _connection(place) as cursor:
        for table in sorted(tables):
            cursor.execute(f'SELECT (to_jsonb(t) - %s::text[])::text COLLATE "C" FROM {table} t ORDER BY 1', (hidden,))
            digest.update(table.encode())
            for (row,) in cursor.fetchall():
                digest.update(row.encode())
    return digest.hexdigest()


@contextmanager
def _connection(place: Any):
    url = make_url(getattr(place, "url", place)).set(drivername="postgresql")
    plain = url.render_as_string(hide_password=False)
    with closing(psycopg2.connect(plain, options="-c timezone=UTC", application_name="invariants")) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)  # one moment for all questions
        with connection.cursor() as cursor:
            yield cursor


def _rows(cursor: Any, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    cursor.execute(statement, values or None)
    return cursor.fetchall()


# --------------------------------------------------------------------------- cycles and ledger


def _acked_cycles(cursor: Any, acked: Iterable[int]) -> list[str]:
    wanted = sorted(set(acked))
    ended = "SELECT cycle_id FROM cycles WHERE state IN ('ok', 'partial', 'failed') AND cycle_id = ANY (%s)"
    held = {number for (number,) in _rows(cursor, ended, wanted)} if wanted else set()
    return [f"I1 cycle {number} was acknowledged and is not held" for number in wanted if number not in held]


def _doubles(cursor: Any) -> list[str]:
    wrong = []
    for table, key in KEYS.items():
        found = _rows(cursor, f"SELECT {key}, count(*) FROM {table} GROUP BY {key} HAVING count(*) > 1 LIMIT 3")
        wrong += [f"I2 {table} holds {row} more than once" for row in found]
    return wrong


def _running(cursor: Any) -> list[str]:
    found = [number for (number,) in _rows(cursor, "SELECT cycle_id FROM cycles WHERE state = 'running'")]
    return [f"I3 cycles {found} are running at once"] if len(found) > 1 else []


def _ledger(cursor: Any) -> list[str]:
    """Demand that ended cycles count what their jobs count, and that no row lacks its cycle or its count.

    With the database away and no disk to write to, the jobs of a partial cycle may be fewer than it tells.
    """
    told = """
        SELECT c.cycle_id, c.rows_written, coalesce(sum(j.rows_written), 0), c.jobs_ok + c.jobs_failed + c.jobs_skipped,
               count(j.job_id), c.rejects, coalesce(sum(j.rejects), 0), c.state
        FROM cycles c LEFT JOIN jobs j USING (cycle_id)
        WHERE c.state IN ('ok', 'partial') GROUP BY c.cycle_id
    """
    wrong = [
        f"I4 cycle {number}: {what} {said} in the cycle, {counted} in its jobs"
        for number, rows, job_rows, jobs, job_count, rejects, job_rejects, state in _rows(cursor, told)
        for what, said, counted in (
            ("rows", rows, job_rows),
            ("jobs", jobs, job_count),
            ("rejects", rejects, job_rejects),
        )
        if said != counted and (state == "ok" or what == "rows" or said < counted)
    ]
    listed = " UNION ALL ".join(f"SELECT cycle_id FROM {table}" for table in OBSERVED)
    more = f"""
        SELECT r.cycle_id, count(*), max(w.written) FROM ({listed}) r
        LEFT JOIN (SELECT cycle_id, sum(rows_written) AS written FROM jobs GROUP BY 1) w USING (cycle_id)
        GROUP BY 1 HAVING count(*) > coalesce(max(w.written), 0)
    """
    found = _rows(cursor, more)
    wrong += [f"I4 {rows} rows say cycle {number}, whose jobs wrote {written}" for number, rows, written in found]
    refused = """
        SELECT j.job_id, j.rejects, count(r.job_id) FROM jobs j LEFT JOIN rejects r USING (job_id)
        GROUP BY j.job_id HAVING j.rejects <> count(r.job_id)
    """
    return wrong + [f"I4 job {job}: {said} rejects told, {held} held" for job, said, held in _rows(cursor, refused)]


# --------------------------------------------------------------------------- series


def _holes(cursor: Any) -> list[str]:
    """Demand that each hole between stored bars is known as one, and that windows called held are full."""
    wrong = []
    holes = f"""
        SELECT h.instrument_id, h.interval, h.since, h.until FROM (
            SELECT instrument_id, interval, open_time + {WIDTH_SQL} AS since,
                   lead(open_time) OVER (PARTITION BY instrument_id, interval ORDER BY open_time) AS until
            FROM candles
        ) h WHERE h.since < h.until AND h.until - h.since > coalesce((
            SELECT sum(least(w.until, h.until) - greatest(w.since, h.since)) FROM coverage w
            WHERE w.instrument_id = h.instrument_id AND w.dataset = 'candles' AND w.interval = h.interval
              AND w.state IN ('missing', 'pending', 'provider_has_none') AND w.since < h.until AND w.until > h.since
        ), interval '0')
    """
    for instrument, interval, since, until in _rows(cursor, holes):
        wrong.append(f"I5 instrument {instrument} {interval}: nobody knows the hole {since} to {until}")
    full = f"""
        SELECT w.instrument_id, w.interval, w.since, w.until, count(c.open_time) FROM coverage w
        LEFT JOIN candles c ON c.instrument_id = w.instrument_id AND c.interval = w.interval
             AND c.open_time >= w.since AND c.open_time < w.until
        WHERE w.dataset = 'candles' AND w.state IN ('observed', 'filled')
        GROUP BY w.instrument_id, w.interval, w.since, w.until
        HAVING count(c.open_time) * {WIDTH_SQL.replace("CASE interval", "CASE w.interval")} <> w.until - w.since
    """
    for instrument, interval, since, until, held in _rows(cursor, full):
        wrong.append(f"I5 instrument {instrument} {interval}: {since} to {until} is called held and has {held} bars")
    overlap = """
        SELECT instrument_id, interval, since FROM (
            SELECT *, lead(since) OVER (PARTITION BY instrument_id, dataset, interval ORDER BY since) AS next
            FROM coverage) w WHERE next < until
    """
    return wrong + [f"I5 windows overlap: {row}" for row in _rows(cursor, overlap)]


def _bars(cursor: Any) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    query = """
        SELECT instrument, interval, open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume
        FROM candles JOIN instruments USING (instrument_id)
    """
    return {row[:3]: row[3:] for row in _rows(cursor, query)}


def _changed(cursor: Any, before: Mapping[Any, Any]) -> list[str]:
    now, wrong = _bars(cursor), []
    noted = """
        SELECT subject, key ->> 'interval', (key ->> 'open_time')::timestamptz FROM revisions
        WHERE table_name = 'candles'
    """
    revised = set(_rows(cursor, noted))
    for key, figures in before.items():
        if key not in now:
            wrong.append(f"I8 the bar {key} is gone")
        elif now[key] != figures and key not in revised:
            wrong.append(f"I8 the bar {key} changed without a revision: {figures} to {now[key]}")
    return wrong


# --------------------------------------------------------------------------- values


def _values(cursor: Any) -> list[str]:
    wrong = []
    for what, condition in IMPOSSIBLE.items():
        tail = condition if condition.startswith("FROM") else f"FROM {what} WHERE {condition}"
        ((count,),) = _rows(cursor, f"SELECT count(*) {tail}")
        if count:
            wrong.append(f"I6 {count} impossible rows: {what}")
    columns = """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('numeric', 'double precision') AND table_name = ANY (%s)
    """
    by_table: dict[str, list[str]] = {}
    for table, column in _rows(cursor, columns, list(KEYS)):
        by_table.setdefault(table, []).append(column)
    for table, names in by_table.items():
        bad = " OR ".join(f"{name} IN ('NaN', 'Infinity', '-Infinity')" for name in names)
        ((count,),) = _rows(cursor, f"SELECT count(*) FROM {table} WHERE {bad}")
        if count:
            wrong.append(f"I6 {count} rows of {table} hold a number that is not finite")
    return wrong


def _indicators(cursor: Any) -> list[str]:
    """Compute the means, bands and RSI of every stretch of bars again and compare them with what is stored."""
    query = """
        SELECT instrument_id, interval, open_time, close::float8, n.open_time IS NOT NULL, sma_20, sma_50, bb_upper,
               bb_lower, ema_12, rsi_14
        FROM candles LEFT JOIN indicators n USING (instrument_id, interval, open_time)
        WHERE EXISTS (SELECT FROM indicators m WHERE m.instrument_id = candles.instrument_id
                      AND m.interval = candles.interval)
        ORDER BY instrument_id, interval, open_time
    """
    wrong: list[str] = []
    stretch: list[tuple[Any, ...]] = []
    for row in _rows(cursor, query):
        follows = stretch and row[:2] == stretch[-1][:2] and row[2] - stretch[-1][2] == WIDTHS[row[1]]
        if stretch and not follows:
            wrong += _compared(stretch)
            stretch = []
        stretch.append(row)
    return wrong + (_compared(stretch) if stretch else [])


def _compared(stretch: list[tuple[Any, ...]]) -> list[str]:
    closes = [row[3] for row in stretch]
    ours = zip(*_recomputed(closes), strict=True)
    for row, values in zip(stretch, ours, strict=True):
        names = ("sma_20", "sma_50", "bb_upper", "bb_lower", "ema_12", "rsi_14")
        for name, value, stored in zip(names, values, row[5:], strict=True):
            if row[4] and not _same(value, stored):
                return [f"I7 instrument {row[0]} {row[1]} {row[2]}: {name} is {stored}, the bars give {value}"]
    return []


def _same(value: float | None, stored: float | None) -> bool:
    if value is None or stored is None:
        return value is stored
    return abs(value - stored) <= TOLERANCE * max(abs(value), abs(stored), 1e-12)


def _recomputed(closes: list[float]) -> list[list[float | None]]:
    """Return sma_20, sma_50, bb_upper, bb_lower, ema_12 and rsi_14 of each bar; None where bars are too few."""
    means, wide, upper, lower = [], [], [], []
    for place in range(len(closes)):
        last = closes[max(0, place - 19) : place + 1]
        whole = len(last) == 20
        means.append(fmean(last) if whole else None)
        spread = 2 * sqrt(fsum((close - fmean(last)) ** 2 for close in last) / len(last))
        upper.append(fmean(last) + spread if whole else None)
        lower.append(fmean(last) - spread if whole else None)
        wide.append(fmean(closes[place - 49 : place + 1]) if place >= 49 else None)
    return [means, wide, upper, lower, _ema(closes, 12), _rsi(closes, 14)]


def _ema(closes: list[float], length: int) -> list[float | None]:
    values: list[float | None] = [None] * min(length - 1, len(closes))
    if len(closes) >= length:
        mean = fmean(closes[:length])
        values.append(mean)
        for close in closes[length:]:
            mean += (close - mean) * 2 / (length + 1)
            values.append(mean)
    return values


def _rsi(closes: list[float], length: int) -> list[float | None]:
    moves = [after - before for before, after in pairwise(closes)]
    values: list[float | None] = [None] * min(length, len(closes))
    if len(closes) > length:
        up = fmean(max(move, 0.0) for move in moves[:length])
        down = fmean(max(-move, 0.0) for move in moves[:length])
        values.append(_strength(up, down))
        for move in moves[length:]:
            up = (up * (length - 1) + max(move, 0.0)) / length
            down = (down * (length - 1) + max(-move, 0.0)) / length
            values.append(_strength(up, down))
    return values


def _strength(up: float, down: float) -> float:
    return 100 * up / (up + down) if up + down else 0.0
