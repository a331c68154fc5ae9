"""What the collector read in a cycle, out of its database or out of the batches of its workers.

Sizes and open interest are in base units, times in seconds.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from benchmarks.sides.reads import EACH, Bar, Values, book
from collector.records import (
    Batch,
    Candle,
    FundingForecast,
    GlobalMarket,
    MarketSnapshot,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Record,
    Ticker,
)

_ORDERED = "{0} = (SELECT array_agg(DISTINCT price ORDER BY price {1}) FROM unnest({0}) AS price)"
_READ = {
    "books": f"""cardinality(bid_prices), cardinality(ask_prices), bid_prices[1], ask_prices[1],
        bid_prices[cardinality(bid_prices)], ask_prices[cardinality(ask_prices)],
        (SELECT sum(size) FROM unnest(bid_sizes) AS size), (SELECT sum(size) FROM unnest(ask_sizes) AS size)
        FROM order_books JOIN instruments i USING (instrument_id)
        WHERE {_ORDERED.format("bid_prices", "DESC")} AND {_ORDERED.format("ask_prices", "ASC")}""",
    "marks": "mark_price FROM mark_prices JOIN instruments i USING (instrument_id) WHERE true",
    "tickers": "last_price FROM tickers JOIN instruments i USING (instrument_id) WHERE true",
    "open_interest": "open_interest FROM open_interest JOIN instruments i USING (instrument_id) WHERE true",
    "funding": """extract(epoch FROM funding_time), rate
        FROM funding_forecasts JOIN instruments i USING (instrument_id) WHERE true""",
}
_BARS = """
    SELECT i.venue, i.venue_symbol, extract(epoch FROM c.open_time)::bigint, c.open::float8, c.high::float8,
        c.low::float8, c.close::float8, c.volume::float8
    FROM candles c JOIN instruments i USING (instrument_id)
    WHERE c.interval = '1m' AND (c.open_time > now() - interval '15 minutes' OR c.cycle_id = :cycle)
"""
_FRESH = """
    SELECT DISTINCT i.venue || ' ' || i.venue_symbol FROM candles c JOIN instruments i USING (instrument_id)
    WHERE c.interval = '1m' AND c.cycle_id = :cycle
"""


def stored(connection: Connection, cycle: int) -> tuple[Values, list[Bar], list[str]]:
    """Return what a cycle stored of the instruments that are followed, recent bars, and whose bars it stored."""
    values: dict[str, dict[str, list[float]]] = {}
    for kind, query in _READ.items():
        statement = f"SELECT i.venue || ' ' || i.venue_symbol, {query} AND i.followed AND cycle_id = :cycle"
        rows = connection.execute(text(statement), {"cycle": cycle})
        values[kind] = {name: [float(value) for value in found] for name, *found in rows}
    for kind, query in (
        ("coins", "SELECT asset_id, price_usd FROM market_snapshots WHERE cycle_id = :cycle"),
        ("market", "SELECT 'all', market_cap_usd FROM global_snapshots WHERE cycle_id = :cycle"),
    ):
        values[kind] = {
            name: [float(price)] for name, price in connection.execute(text(query), {"cycle": cycle}) if price
        }
    bars: list[Bar] = [
        (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
        for row in connection.execute(text(_BARS), {"cycle": cycle})
    ]
    return values, bars, list(connection.execute(text(_FRESH), {"cycle": cycle}).scalars())


def read(batches: Sequence[Batch]) -> tuple[Values, list[Bar]]:
    """Return what the batches hold, and the closed bars."""
    failed = [batch.error for batch in batches if batch.state != "ok"]
    if failed:
        raise RuntimeError(f"{len(failed)} jobs failed, the first: {failed[0]}")
    values: dict[str, dict[str, list[float]]] = {kind: {} for kind in (*EACH, "coins", "market")}
    bars = []
    for batch in batches:
        followed = {item.id for item in batch.job.instruments}
        for record in batch.records:
            if isinstance(record, Candle):
                bars += [_bar(record)] if record.closed else []
            elif (told := _values(record)) and (told[0] in ("coins", "market") or record.instrument.id in followed):
                values[told[0]][told[1]] = told[2]
    return values, bars


def _values(record: Record) -> tuple[str, str, list[float]] | None:
    match record:
        case MarketSnapshot(price_usd=price) if price is not None:
            return "coins", record.asset_id, [float(price)]
        case GlobalMarket():
            return "market", "all", [float(record.market_cap_usd)]
        case OrderBook():
            kind, found = "books", book(record.bids, record.asks)
        case MarkPrice():
            kind, found = "marks", [float(record.mark_price)]
        case Ticker():
            kind, found = "tickers", [float(record.last_price)]
        case OpenInterest():
            kind, found = "open_interest", [float(record.open_interest)]
        case FundingForecast():
            kind, found = "funding", [record.funding_time.timestamp(), float(record.rate)]
        case _:
            return None
    return kind, f"{record.instrument.venue} {record.instrument.venue_symbol}", found


def _bar(candle: Candle) -> Bar:
    item, opened = candle.instrument, int(candle.open_time.timestamp())
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume or 0)
    first, second, third, fourth, fifth = map(float, numbers)
    return item.venue, item.venue_symbol, opened, first, second, third, fourth, fifth
