"""A range of one series: fetched in parallel, resumed after a kill; what could not be had is said with its reason."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from collector import backfill as backfill_module
from collector.backfill import Backfill, Request, follow
from collector.clock import ManualClock
from collector.config import LogSettings
from collector.coverage import HELD, OLDER, Event, Series
from collector.errors import ConfigError, VenueUnreachable
from collector.healing import Healable, Healer, Room, cut
from collector.log import set_up_logging, tear_down_logging
from collector.records import Batch, Candle, Dataset, Interval, Job
from collector.sources.base import Cost, Limit
from collector.storage.coverage import CoverageStore
from collector.storage.database import Database
from collector.storage.reader import Reader
from collector.storage.writer import Writer
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

    def close(self):
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)
        self.database.close()


@pytest.fixture
def bench(migrated_url, tmp_path):
    set_up_logging(LogSettings(directory=tmp_path), console=None)
    made = Bench(migrated_url, tmp_path)
    made.know(BTC)
    yield made
    made.close()
    tear_down_logging()


def wish(first, last, **changes):
    return Request(**{"series": SERIES, "since": at(first), "until": at(last), **changes})


# --------------------------------------------------------------------------- a range


def test_a_range_is_fetched_whole_in_several_jobs_and_a_second_run_asks_for_nothing(bench):
    past = Past(range(4000))
    outcome = bench.work(past).run(wish(0, 4000))
    assert (outcome.rows, outcome.left, outcome.held) == (4000, [], 4000 * MINUTE)
    assert len(past.fetched) == 3
    assert bench.windows() == [(0, 4000, "observed")]
    assert bench.rows("SELECT count(*), count(DISTINCT cycle_id) FROM candles") == [(4000, 1)]
    again = bench.work(past).run(wish(0, 4000))
    assert (again.rows, len(past.fetched)) == (0, 3)


def test_only_what_is_not_held_is_asked_for(bench):
    bench.work(Past(range(100))).run(wish(20, 50))
    past = Past(range(100))
    bench.work(past).run(wish(0, 100))
    assert sorted(((job.since - NOON) // MINUTE, (job.until - NOON) // MINUTE) for job in past.fetched) == [
        (0, 20),
        (50, 100),
    ]


def test_a_bar_the_provider_does_not_have_is_asked_for_twice_and_named(bench):
    past = Past(set(range(100)) - {40})
    outcome = bench.work(past).run(wish(0, 100))
    assert [(w.since, w.until, str(w.state)) for w in outcome.left] == [(at(40), at(41), "provider_has_none")]
    assert [job.since for job in past.fetched] == [at(0), at(40)]
    assert bench.work(past).run(wish(0, 100)).rows == 0
    assert len(past.fetched) == 2


def test_a_page_that_fails_is_asked_for_once_more_and_then_named_with_its_error(bench):
    past = Past(range(4000))

    def refuse(job):
        if job.since <= at(0):
            raise VenueUnreachable("no answer within 15 s", source="stand")

    past.on_fetch = refuse
    outcome = bench.work(past).run(wish(0, 4000))
    assert [(w.since, w.until, w.reason, w.attempts) for w in outcome.left] == [
        (at(0), at(1000), "no answer within 15 s", 2)
    ]
    assert outcome.rows == 3000
    assert bench.rows("SELECT state FROM cycles WHERE cadence = 'backfill'") == [("partial",)]


def test_after_a_kill_the_range_goes_on_where_it_was(bench, monkeypatch):
    past = Past(range(6000), parallelism=1)
    real = bench.writer.write

    def dying(cycle_id, batches):
        if bench.rows("SELECT count(*) FROM candles") != [(0,)]:
            raise KeyboardInterrupt
        return real(cycle_id, batches[:1]) and real(cycle_id, batches)

    monkeypatch.setattr(backfill_module, "GROUP_BATCHES", 1)
    monkeypatch.setattr(bench.writer, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        bench.work(past).run(wish(0, 6000))
    monkeypatch.undo()
    assert bench.windows() == [(0, 4500, "pending"), (4500, 6000, "observed")]
    bench.writer.abandon_running(NOW)
    bench.store.let_go()
    assert bench.windows() == [(0, 4500, "missing"), (4500, 6000, "observed")]
    fresh = Past(range(6000))
    assert bench.work(fresh).run(wish(0, 6000)).rows == 4500
    assert bench.windows() == [(0, 6000, "observed")]


def test_a_stop_leaves_the_rest_missing_for_the_daemon_and_says_so(bench):
    past = Past(range(9000), parallelism=1)
    past.on_fetch = lambda _job: bench.stopping.set()
    outcome = bench.work(past).run(wish(0, 9000))
    assert outcome.interrupted
    assert outcome.rows == 1500
    assert bench.windows() == [(0, 7500, "missing"), (7500, 9000, "observed")]
    assert len(bench.store.due(NOW, 10)) == 1


def test_progress_shows_share_rate_and_time_left(bench):
    past = Past(range(3000), parallelism=1)
    past.on_fetch = lambda _job: bench.clock.advance(10)
    bench.work(past).run(wish(0, 3000))
    assert bench.shown[0] == "stand:BTC-USDT:perp/1m  0 of 3,000 bars (0 %)"
    assert bench.shown[-1] == "stand:BTC-USDT:perp/1m  3,000 of 3,000 bars (100 %)  150 bars/s  0s left"


def test_a_range_before_the_listing_or_after_now_is_cut(bench):
    bench.know(BTC, listed_at=at(50) + timedelta(seconds=20))
    past = Past(range(50, 100))
    outcome = bench.work(past).run(wish(0, 100))
    assert (outcome.rows, outcome.left) == (50, [])
    with pytest.raises(ConfigError, match=r"no bar of .* ended in this range, listed at 2026-01-31 12:50 UTC"):
        bench.work(past).run(wish(0, 50))
    late = Past(range(100_000))
    bench.work(late).run(Request(series=SERIES, since=NOW - 10 * MINUTE, until=NOW + 10 * MINUTE))
    assert [(job.since, job.until) for job in late.fetched] == [(NOW - 10 * MINUTE, NOW - MINUTE)]


def test_an_instrument_nobody_knows_is_refused_in_words(bench):
    unknown = Series(instrument="stand:XYZ-USDT:perp", dataset=Dataset.CANDLES, interval=Interval.M1)
    with pytest.raises(ConfigError, match="no such instrument is known"):
        bench.work(Past([])).run(wish(0, 10, series=unknown))


def test_another_provider_fills_what_the_own_one_does_not_have(bench):
    bench.work(Past(set(range(100)) - {40})).run(wish(0, 100))
    other = Past(range(100), name="other")
    equal = perpetual("BTC", "other")
    work = bench.work(other, equivalents=lambda _wanted, _stored: [equal])
    outcome = work.run(wish(0, 100, source="other"))
    assert outcome.left == []
    assert bench.windows() == [(0, 40, "observed"), (40, 41, "filled"), (41, 100, "observed")]
    assert bench.rows("SELECT source FROM candles WHERE open_time = '2026-01-31 12:40Z'") == [("other",)]


def test_a_provider_that_has_nothing_equal_is_refused_in_words(bench):
    with pytest.raises(ConfigError, match="--source: other trades nothing that means the same"):
        bench.work(Past([], name="other")).run(wish(0, 10, source="other"))
    with pytest.raises(ConfigError, match="--source: 'nobody' is not enabled; use one of stand"):
        bench.work(Past([])).run(wish(0, 10, source="nobody"))


# --------------------------------------------------------------------------- beside a daemon


def test_beside_a_daemon_the_range_becomes_due_and_is_followed_until_it_is_held(bench):
    healer = healer_of(bench, Past(range(100)))

    class Daemon(ManualClock):
        def sleep(self, seconds):
            super().sleep(seconds)
            heal(bench, healer, provider(bench, range(100)), self.now())

    clock = Daemon(NOW)
    outcome = follow(
        wish(0, 100),
        store=bench.store,
        reader=bench.reader,
        clock=clock,
        show=bench.shown.append,
        stopping=threading.Event(),
    )
    assert (outcome.left, outcome.held) == ([], 100 * MINUTE)
    assert clock.slept == [2.0]


def test_a_source_cannot_be_chosen_for_a_daemon(bench):
    with pytest.raises(ConfigError, match="a daemon works on this database"):
        follow(
            wish(0, 100, source="other"),
            store=bench.store,
            reader=bench.reader,
            clock=bench.clock,
            show=bench.shown.append,
            stopping=threading.Event(),
        )


# --------------------------------------------------------------------------- healing


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


def test_a_hole_heals_when_its_time_has_come_and_not_before(bench):
    hole(bench)
    past = provider(bench, range(100))
    healer = healer_of(bench, past)
    assert healer.jobs(NOW + timedelta(seconds=59), 60) == []
    bench.clock.advance(60)
    (job,) = heal(bench, healer, past, bench.clock.now())
    assert (job.since, job.until, job.source, job.stands_for) == (at(40), at(41), "stand", None)
    assert bench.windows() == [(0, 100, "observed")]
    assert healer.jobs(bench.clock.now() + timedelta(days=2), 60) == []


def test_windows_handed_out_are_not_handed_out_twice(bench):
    hole(bench)
    bench.clock.advance(60)
    healer = healer_of(bench, provider(bench, []))
    assert len(healer.jobs(bench.clock.now(), 60)) == 1
    assert healer.jobs(bench.clock.now(), 60) == []


def test_after_two_vain_attempts_another_provider_is_asked_and_its_bars_carry_its_name(bench):
    hole(bench, without=range(40, 50), error="HTTP 500")
    own, other = provider(bench, []), provider(bench, range(100), "other")

    def down(_job):
        raise VenueUnreachable("HTTP 500", source="stand")

    own.on_fetch = down
    equal = perpetual("BTC", "other")
    healer = healer_of(bench, own, other, equivalents=lambda _wanted, _stored: [equal])
    bench.clock.advance(60)
    assert [job.source for job in heal(bench, healer, own, bench.clock.now())] == ["stand"]
    bench.clock.advance(599)
    assert healer.jobs(bench.clock.now(), 60) == []
    bench.clock.advance(1)
    (job,) = heal(bench, healer, other, bench.clock.now())
    assert (job.source, job.instruments, job.stands_for) == ("other", (equal,), BTC)
    assert bench.windows() == [(0, 40, "observed"), (40, 50, "filled"), (50, 100, "observed")]
    assert bench.rows("SELECT DISTINCT source FROM candles ORDER BY 1") == [("other",), ("stand",)]


def test_what_no_provider_s_history_reaches_is_given_up_with_its_reason(bench):
    own, other = provider(bench, range(50, 100)), provider(bench, [], "other")
    bench.work(Past(range(50, 100))).run(wish(0, 100))
    ((_, window), *_) = bench.store.windows()
    assert (str(window.state), window.reason) == ("provider_has_none", OLDER)
    healer = healer_of(bench, own, other, equivalents=lambda _wanted, _stored: [perpetual("BTC", "other")])
    (job,) = heal(bench, healer, other, bench.clock.now())
    assert job.source == "other"
    bench.clock.advance(86_400)
    assert healer.jobs(bench.clock.now(), 60) == []
    ((_, window), *_) = bench.store.windows()
    assert (str(window.state), window.next_try_at) == ("provider_has_none", None)
    assert window.reason.endswith("nobody else has it")


def test_healing_takes_no_more_than_its_share_of_the_limit(bench):
    bench.store.mark(
        [(SERIES, bench_finding(0, 30_000))],
    )
    healer = healer_of(bench, provider(bench, []), share=0.1, capacity=100)
    assert len(healer.jobs(NOW, 60)) == 10
    assert len(healer.jobs(NOW, 30)) == 5
    assert healer.jobs(NOW, 0) == []


def bench_finding(first, last):
    from collector.coverage import Finding  # noqa: PLC0415

    return Finding(since=at(first), until=at(last), event=Event.WANTED, source="stand", reason="x")


def test_long_windows_are_cut_into_jobs_the_newest_first():
    jobs = list(cut(SERIES, at(0), at(3200), BTC, BTC))
    assert [((job.since - NOON) // MINUTE, (job.until - NOON) // MINUTE) for job in jobs] == [
        (1700, 3200),
        (200, 1700),
        (0, 200),
    ]


def test_a_call_of_a_scope_without_a_limit_always_fits():
    free = Healable(intervals=(), calls=lambda _job: [Cost(scope="free")], limits=[])
    room = Room({"stand": free}, 0.1, 1)
    assert all(room.take(job) for job in cut(SERIES, at(0), at(9000), BTC, BTC))


def test_what_is_held_is_never_asked_for_again(bench):
    hole(bench, without=())
    healer = healer_of(bench, provider(bench, range(100)))
    assert healer.jobs(NOW + timedelta(days=3), 3600) == []
    assert {str(window.state) for _, window in bench.store.windows()} <= {str(state) for state in HELD}
