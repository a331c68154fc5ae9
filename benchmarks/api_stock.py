"""What the database of the API's benchmark holds: prices of all supported assets, bars of one, a crowd of others."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from collector.api.symbols import WELL_KNOWN
from collector.records import (
    Asset,
    Batch,
    Candle,
    Dataset,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
    Ticker,
)
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.writer import AssetStanding, InstrumentStanding, Writer

MINUTE = timedelta(minutes=1)
BARS = 1000  # of bitcoin, as many as an answer has
AHEAD = 60  # minutes that the measuring may take: the newest closed bar is there at each moment
OTHERS = 100  # series that share the crowd
OTHER_CANDLES = """
    INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
        open, high, low, close, volume)
    SELECT 'bench', t + interval '1 minute', t + interval '1 minute', :cycle, 1000000 + n, '1m', t,
        100 + n, 101 + n, 99 + n, 100.5 + n, 12.345
    FROM generate_series(1, :others) AS n, generate_series(
        CAST(:until AS timestamptz) - (:each - 1) * interval '1 minute', :until, interval '1 minute') AS t
"""


def fill(database: Database, now: datetime) -> int:
    """Store the supported assets with a price each, and BARS bars of bitcoin; return the number of its market."""
    writer = Writer(database)
    cycle = writer.begin_cycle("market", now, instance="bench", folder="", simulated=True)
    owners = {
        symbol: Instrument(venue="okx", base=symbol, quote="USDT", kind=Kind.PERP, venue_symbol=symbol)
        for symbol in WELL_KNOWN
    }
    rows: list[Any] = []
    for rank, (symbol, (asset_id, name)) in enumerate(WELL_KNOWN.items(), 1):
        seen: dict[str, Any] = {"source": "coingecko", "observed_at": now, "received_at": now}
        rows.append(Asset(**seen, asset_id=asset_id, symbol=symbol, name=name))
        rows.append(
            MarketSnapshot(
                **seen,
                asset_id=asset_id,
                price_usd=Decimal(100 * rank),
                rank=rank,
                market_cap_usd=Decimal(10**12 // rank),
                change_24h_pct=Decimal("1.25"),
            )
        )
        rows += [listing(owners[symbol], now), ticker(owners[symbol], Decimal(100 * rank), now)]
    last = now.replace(second=0, microsecond=0)
    rows += [bar(owners["BTC"], last - n * MINUTE, now) for n in range(-AHEAD, BARS + 61)]
    writer.write(cycle, [Batch(job=Job(source="coingecko", dataset=Dataset.MARKETS), records=tuple(rows))])
    standings = [
        AssetStanding(asset_id=known[0], rank=rank, followed=True) for rank, known in enumerate(WELL_KNOWN.values(), 1)
    ]
    matches = [
        InstrumentStanding(
            instrument=owner.id,
            asset_id=WELL_KNOWN[symbol][0],
            asset_units=Decimal(1),
            match_state="matched",
            match_detail="",
            followed=True,
        )
        for symbol, owner in owners.items()
    ]
    writer.save_universe("coingecko", standings, matches)
    with database.reading() as connection:
        found = connection.execute(text("SELECT instrument_id FROM instruments WHERE instrument = 'okx:BTC-USDT:perp'"))
        return int(found.scalar_one())


def listing(owner: Instrument, now: datetime) -> InstrumentListing:
    return InstrumentListing(
        source="okx",
        observed_at=now,
        received_at=now,
        instrument=owner,
        status="live",
        tradable=True,
        listed_at=None,
        delists_at=None,
        tick_size=None,
        lot_size=None,
        category="crypto",
    )


def ticker(owner: Instrument, price: Decimal, now: datetime) -> Ticker:
    unknown = (
        "bid_price",
        "bid_size",
        "ask_price",
        "ask_size",
        "open_24h",
        "high_24h",
        "low_24h",
        "volume_24h",
        "quote_volume_24h",
        "change_24h_pct",
    )
    return Ticker(
        source="okx", observed_at=now, received_at=now, instrument=owner, last_price=price, **dict.fromkeys(unknown)
    )


def bar(owner: Instrument, at: datetime, now: datetime) -> Candle:
    price = Decimal(f"{60_000 + at.minute}.{at.hour:02d}")
    return Candle(
        source="okx",
        observed_at=min(at + MINUTE, now),
        received_at=min(at + MINUTE, now),
        instrument=owner,
        interval=Interval.M1,
        open_time=at,
        open=price,
        high=price + 9,
        low=price - 9,
        close=price + 1,
        volume=Decimal("12.3456"),
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        closed=True,
    )


def crowd(database: Database, now: datetime, count: int) -> None:
    """Put `count` candles of other series into the table, up to now."""
    until, each = now.replace(second=0, microsecond=0) - MINUTE, count // OTHERS
    first = until - each * MINUTE
    months = {(first + timedelta(days=day)).replace(day=1).date() for day in range((until - first).days + 2)}
    with database.transaction() as connection:
        timeseries.ensure_partitions(connection, "candles", [(month.year, month.month) for month in sorted(months)])
    values = {"cycle": 1, "others": OTHERS, "until": until, "each": each}
    with database.transaction() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        made = connection.execute(text(OTHER_CANDLES), values).rowcount
        assert made >= count - OTHERS, made
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE candles")
