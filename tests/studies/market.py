"""A market to study: instruments that are followed, candles, snapshots and what else a test puts into the database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import text

from collector.config import AnalyticsSettings
from collector.records import (
    Batch,
    Candle,
    Dataset,
    FundingRate,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
)
from collector.storage.writer import InstrumentStanding, Writer

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def instrument(base="BTC", venue="okx", quote="USDT", kind=Kind.PERP):
    return Instrument(
        venue=venue,
        base=base,
        quote=quote,
        kind=kind,
        venue_symbol=f"{base}{quote}{kind}",
        contract_size=Decimal(1),
    )


BTC = instrument()
ETH = instrument("ETH")
SOL = instrument("SOL")


def bar(item, opened, close, *, interval=Interval.D1, source=None, **changes):
    """Return a closed candle that opens and closes at one price unless told otherwise."""
    price = Decimal(str(close))
    first = Decimal(str(changes.pop("open", price)))
    values = {
        "open": first,
        "high": max(price, first),
        "low": min(price, first),
        "close": price,
        "volume": Decimal(10),
        **{name: Decimal(str(value)) for name, value in changes.items()},
    }
    return Candle(
        source=source or item.venue,
        observed_at=opened + interval.width,
        received_at=opened + interval.width,
        instrument=item,
        interval=interval,
        open_time=opened,
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        closed=True,
        **values,
    )


def bars(item, closes, *, start=START, interval=Interval.D1):
    """Return one candle after another; None is a hole. Each opens where the one before it closed."""
    found, before = [], None
    for number, close in enumerate(closes):
        if close is not None:
            first = close if before is None else before
            found.append(bar(item, start + number * interval.width, close, open=first, interval=interval))
        before = close
    return found


def snapshot(asset_id, cap, at, *, rank=None, price=1):
    return MarketSnapshot(
        source="coingecko",
        observed_at=at,
        received_at=at,
        asset_id=asset_id,
        price_usd=Decimal(str(price)),
        market_cap_usd=None if cap is None else Decimal(str(cap)),
        rank=rank,
    )


def settled(item, at, rate, *, source=None, rate_type="regular", received_at=None):
    return FundingRate(
        source=source or item.venue,
        observed_at=at,
        received_at=received_at or at,
        instrument=item,
        funding_time=at,
        rate=Decimal(str(rate)),
        mark_price=None,
        rate_type=rate_type,
    )


class Market:
    """Writes into a database what a collector would have written."""

    def __init__(self, database):
        self.database = database
        self.writer = Writer(database)
        self.cycle = self.writer.begin_cycle("market", START, instance="test:1", folder="f", simulated=True)

    def put(self, *records):
        job = Job(source="okx", dataset=Dataset.CANDLES)
        batch = Batch(job=job, records=tuple(records), started_at=START, finished_at=START)
        (result,) = self.writer.write(self.cycle, [batch])
        assert not result.rejects, result.rejects[0].detail

    def follow(self, assets, *, units=None, followed=True):
        """Follow instruments: a mapping of instruments to asset ids."""
        self.put(*(self._listing(item) for item in assets))
        self.writer.save_universe(
            "coingecko",
            [],
            [
                InstrumentStanding(
                    instrument=item.id,
                    asset_id=asset_id,
                    asset_units=Decimal((units or {}).get(item, 1)),
                    match_state="matched" if asset_id else "unmatched",
                    match_detail="",
                    followed=followed,
                )
                for item, asset_id in assets.items()
            ],
        )

    def rows(self, query, **values):
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def run(self, statement, **values):
        with self.database.transaction() as connection:
            connection.execute(text(statement), values)

    @staticmethod
    def _listing(item):
        return InstrumentListing(
            source=item.venue,
            observed_at=START,
            received_at=START,
            instrument=item,
            status="live",
            tradable=True,
            listed_at=None,
            delists_at=None,
            tick_size=None,
            lot_size=None,
            category="crypto",
        )


def settings(**changes):
    """Return the settings of the analytics, each section by its changes."""
    return AnalyticsSettings(**changes)


def table(market, name, *columns, order="1, 2, 3"):
    return market.rows(f"SELECT {', '.join(columns)} FROM {name} ORDER BY {order}")


def wave(count, *, period=24, height=10, level=100, drift=0.0):
    """Return prices that swing in a triangle, so that averages cross: each is told by its number alone."""
    half = period // 2
    return [round(level + drift * number + height * abs((number % period) - half) / half, 4) for number in range(count)]
