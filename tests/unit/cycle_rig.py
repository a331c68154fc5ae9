"""What the tests of whole cycles share: real sources on the simulator, a real database, one clock for all of them.

`Rig` builds what `wiring.open_collecting` builds, but on a clock that moves only when told. `Stand` is a source that
misbehaves on purpose.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text

from collector import demo, providers, wiring
from collector.clock import to_millis
from collector.config import Layer, LogSettings, load_settings
from collector.cycle import CycleRunner
from collector.following import DatabaseFollower
from collector.http import Timeouts, Venue
from collector.indicators.service import IndicatorService
from collector.log import set_up_logging, tear_down_logging
from collector.outage import Outage
from collector.plan import Known, Task
from collector.records import Candle, Dataset, Instrument, InstrumentListing, Interval, Kind, MarkPrice, Payload
from collector.resilience.breaker import Breaker
from collector.resilience.quota import Quota
from collector.simulator import Simulator
from collector.sources import SOURCES
from collector.sources.base import Limit, Shape
from collector.spool import Spool
from collector.storage.reader import Reader
from collector.storage.writer import Writer
from collector.worker import Source

SMALL = {
    "universe": {"top": 4},
    "sources": {
        "coingecko": {
            "limits": {"calls": {"capacity": 10_000, "window": "1m"}},
            "datasets": {"listing": {"cadence": "daily"}, "asset_details": {"assets": 1}, "candles": {"assets": 1}},
        },
        "binance_futures": {"datasets": {"candles": {"intervals": ["1m"], "history": 20}}},
        "binance_spot": {"datasets": {"candles": {"intervals": ["1m"], "history": 20}}},
        "okx": {"datasets": {"candles": {"intervals": ["1m"], "history": 20}}},
    },
    "indicators": {"intervals": ["1m"], "extra": []},
}


def settings_of(*trees, addresses=None, logs=None):
    """Return the shipped settings with `trees` laid over them, weakest first."""
    layers = [Layer("test", tree) for tree in trees]
    if addresses:
        layers.append(demo.addresses_layer(addresses))
    if logs:
        layers.append(Layer("test", {"logs": {"directory": str(logs)}}))
    return load_settings(environment={}, overrides=layers)[0]


def only(*names):
    """Return the settings that switch off every shipped source but these."""
    return {"sources": {name: {"enabled": name in names} for name in SOURCES}}


def frozen_market(clock, *, assets=45, **more):
    """Return a simulator whose market time is the clock's and that refuses nobody."""
    return Simulator(seed=7, assets=assets, limits=False, now_ms=lambda: to_millis(clock.now()), **more)


class Rig:
    """A cycle runner with everything around it; lines of all levels go to files under `folder`."""

    def __init__(self, database, clock, folder, *trees, simulator=None, stands=(), indicators=False, **parts):
        self._stack = ExitStack()
        self.database, self.clock, self.logs = database, clock, folder
        set_up_logging(LogSettings(directory=folder, level="DEBUG"), console=None)
        self._stack.callback(tear_down_logging)
        served = [name for name in SOURCES if name in simulator.base_urls] if simulator else []
        names = parts.pop("names", served) if simulator else []
        addresses = simulator.base_urls if simulator else None
        self.settings = settings_of(SMALL, {} if names else only(), *trees, addresses=addresses, logs=folder)
        enabled = [name for name in names if self.settings.sources[name].enabled]
        self.sources = [providers.build_source(name, self.settings, clock) for name in enabled]
        self.sources += [stand.source(clock) for stand in stands]
        for source in self.sources:
            self._stack.callback(providers.close_source, source)
        tasks = [task for task in providers.build_tasks(self.settings) if task.source in enabled]
        self.tasks = [*tasks, *(task for stand in stands for task in stand.tasks)]
        self.reader, self.writer = Reader(database), parts.pop("writer", None) or Writer(database)
        follower = parts.pop("follower", None) or DatabaseFollower(
            self.settings.universe, self.reader, self.writer, clock
        )
        service = IndicatorService(self.reader, intervals=self.settings.indicators.intervals) if indicators else None
        deadline = parts.pop("deadline", None)
        real = self.sources[: len(enabled)]
        parts.setdefault("mender", wiring.build_healer(self.settings, real, database) if enabled else None)
        parts.setdefault("scrutiny", wiring.build_scrutiny(self.settings, database, clock))
        parts.setdefault("outage", Outage(Spool(folder / "spool", parts.pop("spool_bytes", 2**28)), self.writer))
        self.runner = CycleRunner(
            sources=self.sources,
            tasks=self.tasks,
            deadlines={name: deadline or part.deadline for name, part in self.settings.cadences.items()},
            follower=follower,
            writer=self.writer,
            hold_lock=parts.pop("hold_lock", lambda: None),
            indicators=service,
            clock=clock,
            log_directory=folder,
            instance="test:1",
            simulated=True,
            **parts,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def run(self, cadence="market"):
        return self.runner.run(cadence)

    def rows(self, query, **values):
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def execute(self, statement, **values):
        with self.database.transaction() as connection:
            connection.execute(text(statement), values)

    def log(self, report, service):
        """Return the lines a service wrote into the folder of a cycle."""
        file = self.logs / report.folder / f"{service}.log"
        return file.read_text().splitlines() if file.exists() else []

    def daemon_log(self):
        return (self.logs / "collector.log").read_text().splitlines()

    def report_file(self, report):
        return json.loads((self.logs / report.folder / "report.json").read_text())


def part_of(report, name):
    """Return one source's part of a report."""
    return next(part for part in report.sources if part.source == name)


# --------------------------------------------------------------------------- a source that misbehaves on purpose


class Stand:
    """A source of candles and mark prices whose `fetch` and `parse` a test replaces.

    It makes no calls of its own. Its venue is a real one, so that `stop` reaches it.
    """

    plans = {}  # noqa: RUF012 - never read

    def __init__(self, name="stand", *, parallelism=2, bases=("BTC", "ETH"), datasets=(Dataset.CANDLES,)):
        self.name = name
        self.instruments = [perpetual(base, name) for base in bases]
        shapes = {Dataset.INSTRUMENTS: Shape.WHOLE, Dataset.CANDLES: Shape.EACH, Dataset.GLOBAL: Shape.WHOLE}
        self.shapes = {dataset: shapes[dataset] for dataset in datasets}
        self.parsers = dict.fromkeys(shapes, self._parse)
        self._parallelism = parallelism
        self.fetched = []
        self.on_fetch = None  # called with the job; may raise
        self.on_parse = None  # called with the payload; its answer is the parser's
        self.lock = threading.Lock()
        self.venue = None

    @property
    def tasks(self):
        return [
            Task(source=self.name, dataset=dataset, shape=shape, cadence="market", intervals=(Interval.M1,), history=3)
            for dataset, shape in self.shapes.items()
        ]

    @staticmethod
    def told_limits(_payload):
        return ()

    def source(self, clock):
        self.clock = clock
        limit = Limit(scope="calls", capacity=1000, window=timedelta(minutes=1))
        self.venue = Venue(
            source=self.name,
            base_url="http://127.0.0.1:9",
            check=lambda _: None,
            used_weight=lambda _: {},
            quota=Quota([limit], clock=clock),
            breaker=Breaker(clock=clock),
            clock=clock,
            timeouts=Timeouts(),
        )
        pool = ThreadPoolExecutor(self._parallelism, thread_name_prefix=self.name)
        return Source(collector=self, venue=self.venue, pool=pool, service="StandService")

    def fetch(self, job):
        with self.lock:
            self.fetched.append(job)
        if self.on_fetch:
            self.on_fetch(job)
        yield Payload(job=job, status=200, body=b'{"answer": 42}', received_at=self.clock.now())

    def _parse(self, payload):
        if self.on_parse:
            return self.on_parse(payload)
        return list(bars(payload))

    def listings(self, now):
        """Return what makes its instruments known."""
        return [listed(item, self.name, now) for item in self.instruments]


def perpetual(base, venue, quote="USDT"):
    return Instrument(venue=venue, base=base, quote=quote, kind=Kind.PERP, venue_symbol=f"{base}{quote}")


def listed(instrument, source, now, **changes):
    values = {
        "status": "live",
        "tradable": True,
        "listed_at": None,
        "delists_at": None,
        "tick_size": None,
        "lot_size": None,
        "category": "crypto",
    }
    return InstrumentListing(
        source=source, observed_at=now, received_at=now, instrument=instrument, **{**values, **changes}
    )


def bars(payload):
    """Yield the three closed one-minute bars that a stand's job asks for: open 100, high 102, low 99, close 101."""
    job = payload.job
    for place in range(3):
        opened = job.until - (3 - place) * Interval.M1.width
        if opened >= job.since:
            yield Candle(
                source=job.source,
                observed_at=opened + Interval.M1.width,
                received_at=payload.received_at,
                instrument=job.instruments[0],
                interval=Interval.M1,
                open_time=opened,
                open=Decimal(100),
                high=Decimal(102),
                low=Decimal(99),
                close=Decimal(101),
                volume=Decimal(5),
                quote_volume=None,
                trades=None,
                taker_buy_volume=None,
                closed=True,
            )


def mark(instrument, price, source, now):
    return MarkPrice(
        source=source,
        observed_at=now,
        received_at=now,
        instrument=instrument,
        mark_price=Decimal(price),
        index_price=None,
    )


class Everything:
    """A follower that follows what it is given, so that a test of the cycle needs no ranks."""

    def __init__(self, stands, clock):
        self._stands, self._clock = stands, clock
        self.refreshed = 0
        self.left = {}  # series that a dead process left without indicators

    def known(self, tasks, now):
        lists = {stand.name: stand.instruments for stand in self._stands}
        return Known(now=now, instruments=lists, followed=lists)

    def last_ok(self):
        return {}

    def uncomputed(self):
        return self.left

    def refresh(self):
        self.refreshed += 1
