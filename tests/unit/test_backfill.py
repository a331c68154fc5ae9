"""A range of one series: fetched in parallel, resumed after a kill; what could not be had is said with its reason."""

import threading
from datetime import timedelta

import pytest

from collector.backfill import Request, direct, follow
from collector.clock import ManualClock
from collector.coverage import ASKED_FOR, Series
from collector.errors import ConfigError, VenueUnreachable
from collector.records import Dataset, Interval
from collector.storage.reader import Reader
from tests.storage.samples import NOON
from tests.unit.cycle_rig import perpetual
from tests.unit.past_rig import BTC, MINUTE, NOW, SERIES, Past, at, heal, healer_of, hole, opened, provider, wish


@pytest.fixture(scope="module")
def url(cluster):
    made = cluster.create_database()
    yield made
    cluster.drop(made)


@pytest.fixture
def bench(url, tmp_path):
    with opened(url, tmp_path) as made:
        yield made
        made.empty()


# --------------------------------------------------------------------------- a range


def test_a_range_is_fetched_whole_in_several_jobs_and_a_second_run_asks_for_nothing(bench):
    past = Past(range(7000))
    outcome = bench.work(past).run(wish(0, 7000))
    assert (outcome.rows, outcome.left, outcome.held) == (7000, [], 7000 * MINUTE)
    assert len(past.fetched) == 3
    assert bench.windows() == [(0, 7000, "observed")]
    assert bench.rows("SELECT count(*), count(DISTINCT cycle_id) FROM candles") == [(7000, 1)]
    again = bench.work(past).run(wish(0, 7000))
    assert (again.rows, len(past.fetched)) == (0, 3)
    (spans,) = Reader(bench.database).uncomputed_spans().values()  # the collector computes indicators when it starts
    assert (min(spans)[0], max(spans)[1]) == (at(0), at(6999))


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
        (at(0), at(3000), "no answer within 15 s", 2)
    ]
    assert outcome.rows == 1000
    assert bench.rows("SELECT state FROM cycles WHERE cadence = 'backfill'") == [("partial",)]


def test_after_a_kill_the_range_goes_on_where_it_was(bench, monkeypatch):
    past = Past(range(6000), parallelism=1)
    real = bench.writer.write

    def dying(cycle_id, batches):
        if bench.rows("SELECT count(*) FROM candles") != [(0,)]:
            raise KeyboardInterrupt
        return real(cycle_id, batches[:1]) and real(cycle_id, batches)

    monkeypatch.setattr(direct, "GROUP_BATCHES", 1)
    monkeypatch.setattr(bench.writer, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        bench.work(past).run(wish(0, 6000))
    monkeypatch.undo()
    assert bench.windows() == [(0, 3000, "observed"), (3000, 6000, "pending")]
    bench.writer.abandon_running(NOW)
    bench.store.let_go()
    assert bench.windows() == [(0, 3000, "observed"), (3000, 6000, "missing")]
    fresh = Past(range(6000))
    assert bench.work(fresh).run(wish(0, 6000)).rows == 3000
    assert bench.windows() == [(0, 6000, "observed")]


def test_a_stop_leaves_the_rest_missing_for_the_daemon_and_says_so(bench):
    past = Past(range(9000), parallelism=1)
    past.on_fetch = lambda _job: bench.stopping.set()
    outcome = bench.work(past).run(wish(0, 9000))
    assert outcome.interrupted
    assert outcome.rows == 3000
    assert bench.windows() == [(0, 3000, "observed"), (3000, 9000, "missing")]
    assert len(bench.store.due(NOW, 10)) == 1


def test_after_a_stop_only_what_is_under_way_is_waited_for_and_nothing_more_is_written(bench):
    past = Past(range(12_000), parallelism=1)

    def refuse(_job):
        bench.stopping.set()
        raise VenueUnreachable("closed by the stop", source="stand")

    past.on_fetch = refuse
    outcome = bench.work(past).run(wish(0, 12_000))
    assert (len(past.fetched), outcome.rows) == (1, 0)
    assert [(w.reason, w.attempts) for w in outcome.left] == [(ASKED_FOR, 0)]  # the stop is not the provider's failure
    assert bench.rows("SELECT count(*) FROM jobs") == [(1,)]  # of the rig itself
    assert bench.rows("SELECT state, jobs_skipped FROM cycles WHERE cadence = 'backfill'") == [("failed", 4)]
    bench.stopping.clear()
    past.on_fetch = None
    assert bench.work(past).run(wish(0, 12_000)).rows == 12_000


def test_no_more_than_a_few_jobs_share_the_limit_at_once(bench):
    past, most = Past(range(15_000), parallelism=16), []
    under_way, gate = set(), threading.Lock()

    def count(job):
        with gate:
            under_way.add(job.since)
            most.append(len(under_way))
        gone.wait(0.01)
        with gate:
            under_way.discard(job.since)

    gone = threading.Event()
    past.on_fetch = count
    assert bench.work(past).run(wish(0, 15_000)).rows == 15_000
    assert 1 < max(most) <= direct.UNDER_WAY


def test_progress_shows_share_rate_and_time_left(bench):
    past = Past(range(6000), parallelism=1)
    past.on_fetch = lambda _job: bench.clock.advance(10)
    bench.work(past).run(wish(0, 6000))
    assert bench.shown[0] == "stand:BTC-USDT:perp/1m  0 of 6,000 bars (0 %)"
    assert bench.shown[-1] == "stand:BTC-USDT:perp/1m  6,000 of 6,000 bars (100 %)  300 bars/s  0s left"


def test_a_range_before_the_listing_or_after_now_is_cut(bench):
    bench.know(BTC, listed_at=at(50) + timedelta(seconds=20))
    past = Past(range(50, 100))
    outcome = bench.work(past).run(wish(0, 100))
    assert (outcome.rows, outcome.left) == (50, [])
    with pytest.raises(ConfigError, match=r"no bar of .* \(listed at 2026-01-31 12:50 UTC\) ended between"):
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
    assert (outcome.left, outcome.held, outcome.rows) == ([], 100 * MINUTE, None)  # who asks counts in the database
    assert bench.shown[-1].endswith("50 bars/s  0s left")
    assert clock.slept == [2.0]


def test_a_hole_that_is_asked_for_keeps_its_reason_and_is_due_at_once(bench):
    hole(bench, minutes=100, without=range(100), error="HTTP 500")
    bench.stopping.set()
    options = {"store": bench.store, "reader": bench.reader, "clock": bench.clock, "show": bench.shown.append}
    outcome = follow(wish(0, 200), **options, stopping=bench.stopping)
    assert [(w.since, w.until, w.reason, w.attempts) for w in outcome.left] == [
        (at(0), at(100), "HTTP 500", 0),
        (at(100), at(200), ASKED_FOR, 0),
    ]
    assert outcome.interrupted
    assert len(bench.store.due(NOW, 10)) == 2


def test_when_the_daemon_ends_nobody_waits_for_it(bench):
    answers = iter([True, True, False])
    options = {"store": bench.store, "reader": bench.reader, "clock": bench.clock, "show": bench.shown.append}
    outcome = follow(wish(0, 100), **options, stopping=bench.stopping, at_work=lambda: next(answers))
    assert bench.clock.slept == [2.0, 2.0]
    assert [(w.since, w.until, w.reason) for w in outcome.left] == [(at(0), at(100), ASKED_FOR)]
    assert not outcome.interrupted


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
