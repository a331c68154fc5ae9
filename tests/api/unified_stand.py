"""What the tests of the unified endpoints share: an application on a real database, real sources on the simulator."""

import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from decimal import Decimal

from fastapi import FastAPI
from starlette.testclient import TestClient

from collector import providers
from collector.api import protection, unified
from collector.api.live import LiveProviders
from collector.api.parts import Health, Parts
from collector.api.unified.routes import Unified
from collector.clock import last_closed_open
from collector.config import ApiSettings
from collector.errors import VenueUnreachable
from collector.records import Asset, Batch, Candle, Dataset, Job, MarketSnapshot, Ticker
from collector.storage.writer import AssetStanding, InstrumentStanding, Writer
from tests.unit.cycle_rig import listed, perpetual, settings_of

VENUES = ("binance_futures", "binance_spot", "kraken", "okx")
SOURCES = ("coingecko", "binance_futures", "binance_spot", "kraken", "okx", "alternative_me")
ROOMY = {
    "sources": {name: {"limits": {"calls": {"capacity": 10_000, "window": "1m"}}} for name in ("coingecko", "kraken")}
}


@contextmanager
def live_on(simulator, clock, *, names=SOURCES):
    """Lend live providers whose calls go to a simulator."""
    settings = settings_of(ROOMY, addresses=simulator.base_urls)
    sources = [providers.build_source(name, settings, clock) for name in names]
    live = LiveProviders([(source.collector, source.venue) for source in sources], clock)
    live.venues = {source.name: source.venue for source in sources}
    with ExitStack() as stack:
        for source in sources:
            stack.callback(providers.close_source, source)
        stack.callback(live.close)
        for source in sources:
            stack.callback(source.venue.close)
        yield live


def parts_of(database, live, clock, **settings):
    """Return what the routes are made of, with room for any number of requests."""
    roomy = {"rate_prices": 10_000, "rate_ohlcv": 10_000, "rate_sentiment": 10_000, "rate_data": 10_000}
    return Parts(
        settings=ApiSettings(**{**roomy, **settings}),
        database=database,
        live=live,
        clock=clock,
        version="9.8.7",
        simulated=True,
        venues=VENUES,
    )


def unified_of(database, live, clock, **settings):
    """Return what stands behind the unified routes."""
    return Unified(parts_of(database, live, clock, **settings))


def application(database, live, clock, **settings):
    """Return the application with the unified routes, protected as the real one is."""
    parts = parts_of(database, live, clock, **settings)
    app = FastAPI()
    protection.install(app, parts)
    app.include_router(unified.router(parts))
    return app


def client_of(app, address="127.0.0.1"):
    return TestClient(app, base_url="http://localhost", client=(address, 50_000), raise_server_exceptions=False)


class Counting:
    """Stands for providers that a simulator cannot play: counts the jobs it is asked for; answers as a test says."""

    def __init__(self, *names, answer=None):
        self.names = names or ("binance_futures",)
        self.answer = answer  # called with the job; None: nobody answers
        self.asked = Counter()
        self.lock = threading.Lock()

    def sources(self):
        return self.names

    def ask(self, job, *, within: timedelta):
        with self.lock:
            self.asked[job.source, job.dataset] += 1
        if self.answer is None:
            raise VenueUnreachable(f"no route to {job.source}", source=job.source)
        return self.answer(job)

    def health(self):
        status = "offline" if self.answer is None else "online"
        return {name: Health(status=status, retry_after=7 if self.answer is None else None) for name in self.names}


# --------------------------------------------------------------------------- what is stored, written by hand


def coin_row(asset_id, symbol, name, at):
    return Asset(source="coingecko", observed_at=at, received_at=at, asset_id=asset_id, symbol=symbol, name=name)


class Stock:
    """A database in which a few assets are followed, with one market each at the venues that a test names."""

    def __init__(self, database, now):
        self.now = now
        self.writer = Writer(database)
        self.cycle = self.writer.begin_cycle("market", now, instance="test:1", folder="f", simulated=True)
        self._assets, self._matches = [], []

    def put(self, *records, source="coingecko", dataset=Dataset.MARKETS):
        job = Job(source=source, dataset=dataset)
        batch = Batch(job=job, records=records, started_at=self.now, finished_at=self.now)
        self.writer.write(self.cycle, [batch])

    def asset(self, symbol, asset_id, rank, *, venues=("binance_futures",), base=None, units=1):
        """Follow an asset and its markets; return their instruments."""
        self.put(coin_row(asset_id, symbol, symbol.title(), self.now), dataset=Dataset.ASSET_DETAILS)
        self._assets.append(AssetStanding(asset_id=asset_id, rank=rank, followed=True))
        instruments = [perpetual(base or symbol, venue) for venue in venues]
        for item in instruments:
            self.put(listed(item, item.venue, self.now), source=item.venue, dataset=Dataset.TICKERS)
            match = InstrumentStanding(
                instrument=item.id,
                asset_id=asset_id,
                asset_units=Decimal(units),
                match_state="matched",
                match_detail="",
                followed=True,
            )
            self._matches.append(match)
        self.writer.save_universe("coingecko", self._assets, self._matches)
        return instruments

    def snapshot(self, asset_id, price, *, ago=0, source="coingecko", **values):
        at = self.now - timedelta(seconds=ago)
        row = MarketSnapshot(
            source=source,
            observed_at=at,
            received_at=at,
            asset_id=asset_id,
            price_usd=Decimal(price),
            market_cap_usd=values.pop("cap", None),
            **{"rank": 1, **values},
        )
        self.put(row, source=source)

    def ticker(self, instrument, price, *, ago=0, change=None):
        at = self.now - timedelta(seconds=ago)
        names = ("bid_price", "bid_size", "ask_price", "ask_size", "open_24h", "high_24h", "low_24h")
        row = Ticker(
            source=instrument.venue,
            observed_at=at,
            received_at=at,
            instrument=instrument,
            last_price=Decimal(price),
            volume_24h=None,
            quote_volume_24h=None,
            change_24h_pct=change,
            **dict.fromkeys(names),
        )
        self.put(row, source=instrument.venue, dataset=Dataset.TICKERS)

    def bars(self, instrument, interval, opens, *, source=None, price=100):
        """Store closed bars: the n-th (from 0) opens at price + n, with volume 1 + n."""
        rows = [bar(instrument, interval, opened, price + n, 1 + n, source) for n, opened in enumerate(opens)]
        self.put(*rows, source=instrument.venue, dataset=Dataset.CANDLES)


def bar(instrument, interval, opened, price, volume, source=None):
    """Return a closed bar: open `price`, high 2 above, low 1 below, close 1 above."""
    return Candle(
        source=source or instrument.venue,
        observed_at=opened + interval.width,
        received_at=opened + interval.width,
        instrument=instrument,
        interval=interval,
        open_time=opened,
        open=Decimal(price),
        high=Decimal(price + 2),
        low=Decimal(price - 1),
        close=Decimal(price + 1),
        volume=None if volume is None else Decimal(volume),
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        closed=True,
    )


def opens_before(moment, interval, count):
    """Return the open times of the `count` bars that closed last at a moment, oldest first."""
    last = last_closed_open(moment, interval)
    return [last - n * interval.width for n in reversed(range(count))]
