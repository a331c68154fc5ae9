"""A range of one series: fetched in parallel, resumed after a kill; what could not be had is said with its reason."""

import threading
from datetime import timedelta

import pytest

from collector import backfill as backfill_module
from collector.backfill import Request, follow
from collector.clock import ManualClock
from collector.coverage import Series
from collector.errors import ConfigError, VenueUnreachable
from collector.records import Dataset, Interval
from tests.storage.samples import NOON
from tests.unit.cycle_rig import perpetual
from tests.unit.past_rig import BTC, MINUTE, NOW, SERIES, Past, at, heal, healer_of, opened, provider, wish


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
