"""Records with plausible values, for tests to change one thing at a time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from collector.records import (
    Asset,
    AssetDetails,
    Batch,
    Candle,
    Dataset,
    FundingForecast,
    FundingRate,
    FundingTerms,
    GlobalMarket,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Ticker,
)

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RECEIVED = NOON + timedelta(seconds=2)


def perp(base="BTC", venue="okx", size="0.01"):
    return Instrument(
        venue=venue,
        base=base,
        quote="USDT",
        kind=Kind.PERP,
        venue_symbol=f"{base}-USDT-SWAP",
        contract_size=Decimal(size),
    )


BTC = perp()


def stamped(**changes):
    return {"source": "okx", "observed_at": NOON, "received_at": RECEIVED, **changes}


def candle(minute=0, instrument=BTC, **changes):
    opened = NOON + timedelta(minutes=minute)
    values = {
        "source": "okx",
        "observed_at": opened + timedelta(minutes=1),
        "received_at": RECEIVED,
        "instrument": instrument,
        "interval": Interval.M1,
        "open_time": opened,
        "open": Decimal("100.5"),
        "high": Decimal(101),
        "low": Decimal("99.25"),
        "close": Decimal(100),
        "volume": Decimal("12.5"),
        "quote_volume": Decimal("1251.25"),
        "trades": 7,
        "taker_buy_volume": None,
        "closed": True,
    }
    return Candle(**{**values, **changes})


def asset(asset_id="bitcoin", symbol="BTC", name="Bitcoin", at=RECEIVED):
    return Asset(source="coingecko", observed_at=at, received_at=at, asset_id=asset_id, symbol=symbol, name=name)


def listing(instrument=BTC, at=RECEIVED, **changes):
    values = {
        "status": "live",
        "tradable": True,
        "listed_at": NOON - timedelta(days=900),
        "delists_at": None,
        "tick_size": Decimal("0.1"),
        "lot_size": Decimal("0.01"),
        "category": "crypto",
    }
    return InstrumentListing(
        source="okx", observed_at=at, received_at=at, instrument=instrument, **{**values, **changes}
    )


def book(bids=(("99", "1"),), asks=(("101", "3"),), **changes):
    levels = {
        side: tuple((Decimal(price), Decimal(size)) for price, size in given)
        for side, given in (("bids", bids), ("asks", asks))
    }
    return OrderBook(**stamped(**changes), instrument=BTC, last_update_id=5, **levels)


def ticker(instrument=BTC, last_price="100", at=NOON, **changes):
    values = dict.fromkeys(
        (
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
    )
    return Ticker(
        **stamped(observed_at=at), instrument=instrument, last_price=Decimal(last_price), **{**values, **changes}
    )


def snapshot(asset_id="bitcoin", price="100000", at=NOON, **changes):
    return MarketSnapshot(
        **stamped(source="coingecko", observed_at=at),
        asset_id=asset_id,
        price_usd=None if price is None else Decimal(price),
        market_cap_usd=Decimal(2000000000000),
        **changes,
    )


def mark(price="100", at=NOON, instrument=BTC):
    return MarkPrice(**stamped(observed_at=at), instrument=instrument, mark_price=Decimal(price), index_price=None)


def everything():
    """Return one record of each type but the two listings."""
    return (
        AssetDetails(
            **stamped(source="coingecko"),
            asset_id="bitcoin",
            symbol="BTC",
            name='Bit\tcoin \\N "quoted" {1,2}\n',
            categories=('a "b", {c}', "d\\e", "NULL", ""),
            platforms={"ethereum": "0x\\1", "tab\t": '"'},
            genesis_date="2009-01-03",
            hashing_algorithm=None,
            homepage="",
            country_origin=None,
        ),
        snapshot(ath_usd=Decimal(126080), ath_at=NOON - timedelta(days=90), rank=1),
        GlobalMarket(
            **stamped(source="coingecko"),
            market_cap_usd=Decimal("3.1E+12"),
            volume_24h_usd=Decimal(0),
            btc_dominance_pct=Decimal("57.123456789"),
            eth_dominance_pct=None,
            market_cap_change_24h_pct=Decimal("-0.5"),
            active_assets=17000,
            markets=None,
        ),
        ticker(volume_24h=Decimal(0)),
        candle(),
        book(),
        mark(),
        FundingForecast(
            **stamped(), instrument=BTC, funding_time=NOON + timedelta(hours=4), rate=Decimal("-0.0000125")
        ),
        FundingRate(**stamped(), instrument=BTC, funding_time=NOON, rate=Decimal("0.0001"), mark_price=None),
        FundingTerms(
            **stamped(),
            instrument=BTC,
            interval_hours=Decimal(8),
            rate_cap=Decimal("0.0075"),
            rate_floor=Decimal("-0.0075"),
        ),
        OpenInterest(
            **stamped(),
            instrument=BTC,
            open_interest=Decimal("30123.4567"),
            contracts=Decimal("3012345.67"),
            value_usd=None,
        ),
    )


def batch(*records, dataset=Dataset.CANDLES, source="okx", **changes):
    job = changes.pop("job", None) or Job(source=source, dataset=dataset)
    times = {"started_at": NOON, "finished_at": RECEIVED}
    return Batch(job=job, records=tuple(records), **{**times, **changes})
