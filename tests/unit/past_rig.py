"""What tests of backfill and healing share: a provider that holds a past, and everything that works on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text

from collector.backfill import Backfill, Request
from collector.clock import ManualClock
from collector.config import LogSettings
from collector.coverage import Series
from collector.errors import VenueUnreachable
from collector.healing import Healable, Healer
from collector.log import set_up_logging, tear_down_logging
from collector.records import Batch, Candle, Dataset, Interval, Job
from collector.sources.base import Cost, Limit
from collector.storage.coverage import CoverageStore
from collector.storage.database import Database
from collector.storage.reader import Reader
from collector.storage.writer import Writer
from tests.conftest import FILLED
from tests.storage.samples import NOON
from tests.unit.cycle_rig import Stand, listed, perpetual

BTC = perpetual("BTC", "stand")
SERIES = Series(instrument=BTC.id, dataset=Dataset.CANDLES, interval=Interval.M1)
NOW = NOON + timedelta(days=30)
MINUTE = timedelta(minutes=1)


def at(minute):
    return NOON + timedelta(minutes=minute)


class Past(Stand):
    """A provider that holds these minutes; a test can make it fail."""

    intervals = (Interval.M1,)

    def __init__(self, minutes, name="stand", **options):
        super().__init__(name, bases=("BTC",), **options)
        self.minutes = set(minutes)
        self.on_parse = self._bars

    @staticmethod
    def calls(_job):
        return [Cost(scope="calls")]

    def _bars(self, payload):
        job = payload.job
        first, last = (job.since - NOON) // MINUTE, (job.until - NOON) // MINUTE
        return [self._bar(job, payload, n) for n in sorted(self.minutes & set(range(first, last)))]

    @staticmethod
    def _bar(job, payload, minute):
        prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(100 + minute % 7))
        return Candle(
            source=job.source,
            observed_at=at(minute + 1),
            received_at=payload.received_at,
            instrument=job.stands_for or job.instruments[0],
            interval=Interval.M1,
            open_time=at(minute),
            volume=Decimal(1),
            quote_volume=None,
            trades=None,
            taker_buy_volume=None,
            closed=True,
            **prices,
        )


class Bench:
    """Everything a backfill works with, on a clock that moves only when told."""

    def __init__(self, url, folder):
        self.clock = ManualClock(NOW)
        self.database = Database(url, clock=self.clock)
        self.writer, self.reader = Writer(self.database), Reader(self.database)
        self.store = CoverageStore(self.database)
        self.folder, self.shown, self.stopping = folder, [], threading.Event()
        self.cycle = self.writer.begin_cycle("market", NOON, instance="t", folder="", simulated=True)
        self._pools = []

    def know(self, *instruments, **changes):
        rows = tuple(listed(item, item.venue, NOON, **changes) for item in instruments)
        self.writer.write(self.cycle, [Batch(job=Job(source="stand", dataset=Dataset.TICKERS), records=rows)])

    def work(self, *stands, **options):
        sources = {stand.name: stand.source(self.clock) for stand in stands}
        self._pools += [source.pool for source in sources.values()]
        return Backfill(
            sources=sources,
            writer=self.writer,
            reader=self.reader,
            store=self.store,
            clock=self.clock,
            log_directory=self.folder,
            instance="t",
            simulated=True,
            show=self.shown.append,
            stopping=self.stopping,
            keep_budgets=lambda: None,
            **options,
        )

    def windows(self):
        return [((w.since - NOON) // MINUTE, (w.until - NOON) // MINUTE, str(w.state)) for _, w in self.store.windows()]

    def rows(self, query):
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def empty(self):
        """Make the database as good as new, which is quicker than a new one."""
        filled = [name for (name,) in self.rows(FILLED)]
        with self.database.transaction() as connection:
            connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE"))

    def close(self):
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)
        self.database.close()


@contextmanager
def opened(url, folder) -> Iterator[Bench]:
    """Everything on an empty database, which knows one instrument."""
    set_up_logging(LogSettings(directory=folder), console=None)
    made = Bench(url, folder)
    made.know(BTC)
    yield made
    made.close()
    tear_down_logging()


def wish(first, last, **changes):
    return Request(**{"series": SERIES, "since": at(first), "until": at(last), **changes})


def healer_of(bench, *stands, share=1.0, capacity=1000, **options):
    limit = Limit(scope="calls", capacity=capacity, window=MINUTE)
    providers = {stand.name: Healable(intervals=(Interval.M1,), calls=stand.calls, limits=[limit]) for stand in stands}
    return Healer(bench.store, bench.reader, providers, share=share, **options)


def heal(bench, healer, past, now, seconds=60):
    """Do what a cycle does with the healer's jobs, and return them."""
    jobs = healer.jobs(now, seconds)
    for job in jobs:
        records, error = [], ""
        try:
            for payload in past.fetch(job):
                records += past.parsers[Dataset.CANDLES](payload)
        except VenueUnreachable as failure:
            error = str(failure)
        state = "failed" if error else "ok"
        bench.writer.write(bench.cycle, [Batch(job=job, records=tuple(records), state=state, error=error)])
    return jobs


def hole(bench, *, without=(40,), minutes=100, error=""):
    """Store a series with a hole."""
    past = Past(set(range(minutes)) - set(without))
    past.clock = bench.clock
    job = Job(
        source="stand",
        dataset=Dataset.CANDLES,
        instruments=(BTC,),
        interval=Interval.M1,
        since=at(0),
        until=at(minutes),
    )
    records = tuple(record for payload in past.fetch(job) for record in past.parsers[Dataset.CANDLES](payload))
    bench.writer.write(bench.cycle, [Batch(job=job, records=records, state="failed" if error else "ok", error=error)])


def provider(bench, minutes, name="stand"):
    past = Past(minutes, name)
    past.clock = bench.clock
    return past
