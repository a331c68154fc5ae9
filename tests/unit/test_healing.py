"""Holes become jobs when their time has come: of whom, how many, and what is given up with which reason."""

from dataclasses import replace
from datetime import timedelta

import pytest

from collector.coverage import HELD, NOT_ELSEWHERE, OLDER, Event, Finding, Series
from collector.errors import VenueUnreachable
from collector.healing import Healable, Healer, Room, Taken, cut
from collector.records import Batch, Dataset, Interval, Job
from collector.sources.base import Cost, Limit
from tests.storage.samples import NOON
from tests.unit.cycle_rig import listed, perpetual
from tests.unit.past_rig import BTC, MINUTE, NOW, SERIES, Past, at, heal, healer_of, hole, opened, provider, wish

ETH = perpetual("ETH", "stand")
ONE, TWO = perpetual("BTC", "one"), perpetual("BTC", "two")


def want(bench, first, last, series=SERIES):
    """Make a stretch of a series wanted; it is due at once."""
    wanted = Finding(since=at(first), until=at(last), event=Event.WANTED, source="stand", reason="x")
    bench.store.mark([(series, wanted)])


def minutes(jobs):
    return [((job.since - NOON) // MINUTE, (job.until - NOON) // MINUTE) for job in jobs]


def down(_job):
    raise VenueUnreachable("HTTP 500", source="stand")


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


def healer_with(bench, providers, *others):
    """A healer of these providers, to which these instruments are equal."""
    return Healer(bench.store, bench.reader, providers, share=1.0, equivalents=lambda _wanted, _stored: others)


def healable(capacity=1000, interval=Interval.M1):
    limit = Limit(scope="calls", capacity=capacity, window=MINUTE)
    return Healable(intervals=(interval,), calls=Past.calls, limits=[limit])


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
    want(bench, 0, 30_000)
    healer = healer_of(bench, provider(bench, []), share=0.1, capacity=100)
    assert len(healer.jobs(NOW, 60)) == 10
    assert len(healer.jobs(NOW, 30)) == 5
    assert healer.jobs(NOW, 0) == []


def test_long_windows_are_cut_into_jobs_the_oldest_first():
    jobs = list(cut(SERIES, at(0), at(3200), BTC, BTC))
    assert [((job.since - NOON) // MINUTE, (job.until - NOON) // MINUTE) for job in jobs] == [
        (0, 1500),
        (1500, 3000),
        (3000, 3200),
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


# --------------------------------------------------------------------------- whom to ask


def test_providers_take_turns_and_pauses_grow_as_long_as_nobody_answers(bench):
    hole(bench, without=range(40, 50), error="HTTP 500")  # the first vain attempt
    stands = [provider(bench, [], name) for name in ("stand", "one", "two")]
    for stand in stands:
        stand.on_fetch = down
    healer = healer_of(bench, *stands, equivalents=lambda _wanted, _stored: [ONE, TWO])
    asked = []
    for pause in (1, 10, 60, 1440, 1440, 1440):
        bench.clock.advance(60 * pause - 1)
        assert healer.jobs(bench.clock.now(), 60) == []
        bench.clock.advance(1)
        (job,) = heal(bench, healer, stands[0], bench.clock.now())
        asked.append(job.source)
    assert asked == ["stand", "one", "two", "stand", "one", "two"]
    ((_, window),) = bench.store.windows(held=False)
    assert (str(window.state), window.attempts, window.reason) == ("missing", 7, "HTTP 500")


def test_another_provider_that_lacks_a_bar_is_not_the_last_word(bench):
    hole(bench, without=range(40, 50), error="HTTP 500")
    own, other = provider(bench, range(100)), provider(bench, [], "one")
    own.on_fetch = down
    healer = healer_of(bench, own, other, equivalents=lambda _wanted, _stored: [ONE])
    bench.clock.advance(60)
    heal(bench, healer, own, bench.clock.now())
    bench.clock.advance(600)
    assert [job.source for job in heal(bench, healer, other, bench.clock.now())] == ["one"]
    assert bench.store.windows(held=False)[0][1].reason == NOT_ELSEWHERE
    bench.clock.advance(3600)
    own.on_fetch = lambda _job: None
    assert [job.source for job in heal(bench, healer, own, bench.clock.now())] == ["stand"]
    assert bench.windows() == [(0, 100, "observed")]


def test_a_provider_that_does_not_have_the_interval_is_not_asked(bench):
    want(bench, 0, 10)
    providers = {"one": healable(interval=Interval.H1), "two": healable()}
    assert [job.source for job in healer_with(bench, providers, ONE, TWO).jobs(NOW, 60)] == ["two"]


def test_a_delisted_instrument_s_own_provider_is_not_asked(bench):
    want(bench, 0, 10)
    job = Job(source="stand", dataset=Dataset.INSTRUMENTS)
    others = tuple(listed(perpetual(f"C{number}", "stand"), "stand", NOON) for number in range(3))
    bench.writer.write(bench.cycle, [Batch(job=job, records=others)])  # a complete list without it
    assert bench.rows("SELECT instrument FROM instruments WHERE gone_at IS NOT NULL") == [(BTC.id,)]
    providers = {"stand": healable(), "one": healable()}
    assert [job.source for job in healer_with(bench, providers, ONE).jobs(NOW, 60)] == ["one"]


def test_what_a_switched_off_provider_left_open_is_asked_of_others(bench):
    want(bench, 0, 10)
    healer = healer_of(bench, provider(bench, [], "one"), equivalents=lambda _wanted, _stored: [ONE])
    (job,) = healer.jobs(NOW, 60)
    assert (job.source, job.instruments, job.stands_for) == ("one", (ONE,), BTC)
    assert healer_of(bench, provider(bench, [])).jobs(NOW, 60) == []  # on its way


def test_funding_is_asked_of_its_own_provider_only_and_in_one_piece(bench):
    payments = Series(instrument=BTC.id, dataset=Dataset.FUNDING)
    want(bench, 0, 30_000, payments)
    healer = healer_of(bench, provider(bench, []), equivalents=lambda _wanted, _stored: [ONE])
    for attempt in range(4):
        (job,) = healer.jobs(bench.clock.now(), 60)
        assert (job.source, job.dataset, job.interval, minutes([job])) == (
            *("stand", Dataset.FUNDING, None),
            [(0, 30_000)],
        ), attempt
        bench.writer.write(bench.cycle, [Batch(job=job, state="failed", error="HTTP 500")])
        bench.clock.advance(86_400)


# --------------------------------------------------------------------------- how much, and what first


def test_the_newest_window_comes_first_whatever_its_series(bench):
    bench.know(ETH)
    other = Series(instrument=ETH.id, dataset=Dataset.CANDLES, interval=Interval.M1)
    want(bench, 0, 10)
    want(bench, 20, 2000)
    want(bench, 100, 110, other)
    healer = healer_of(bench, provider(bench, []))
    assert [(job.instruments[0].base, *minutes([job])) for job in healer.jobs(NOW, 60)] == [
        ("BTC", (20, 1520)),
        ("BTC", (1520, 2000)),
        ("ETH", (100, 110)),
        ("BTC", (0, 10)),
    ]


def test_what_there_was_no_room_for_stays_missing_and_comes_next(bench):
    want(bench, 0, 4000)
    healer = healer_of(bench, provider(bench, range(4000)), share=0.02, capacity=100)
    assert minutes(heal(bench, healer, provider(bench, range(4000)), NOW)) == [(0, 1500), (1500, 3000)]
    assert bench.windows() == [(0, 3000, "observed"), (3000, 4000, "missing")]
    assert minutes(heal(bench, healer, provider(bench, range(4000)), NOW)) == [(3000, 4000)]


def test_one_provider_s_full_limit_does_not_hold_up_another(bench):
    bench.know(ONE)
    for instrument in (BTC, ONE):
        want(bench, 0, 10, Series(instrument=instrument.id, dataset=Dataset.CANDLES, interval=Interval.M1))
    providers = {"stand": healable(capacity=0), "one": healable()}
    assert [job.source for job in healer_with(bench, providers).jobs(NOW, 60)] == ["one"]


def room(*limits, costs, seconds=10.0, share=0.09):
    provider = Healable(intervals=(Interval.M1,), calls=lambda _job: costs, limits=limits)
    return Room({"stand": provider}, share, seconds)


def jobs_that_fit(room, most=1000):
    jobs = cut(SERIES, at(0), at(1500 * most), BTC, BTC)
    return sum(1 for job in jobs if room.take(job))


def test_room_is_the_share_of_the_limit_in_the_time_that_is_left():
    weight = Limit(scope="weight", capacity=1200, window=timedelta(minutes=1))
    # 1200 a minute are 200 in ten seconds; 9 % of them are 18: three jobs of two calls of weight 3
    assert jobs_that_fit(room(weight, costs=[Cost(scope="weight", weight=3)] * 2)) == 3


def test_of_two_limits_of_a_scope_the_tighter_one_counts():
    minute = Limit(scope="calls", capacity=1200, window=timedelta(minutes=1))
    burst = Limit(scope="calls", capacity=20, window=timedelta(seconds=2))  # 100 in ten seconds
    assert jobs_that_fit(room(minute, burst, costs=[Cost(scope="calls")])) == 9


def test_of_a_limit_by_the_month_the_share_of_the_month_counts_less_what_was_taken_in_it():
    month = Limit(scope="credits", capacity=4000, window=timedelta(days=31))
    minute = Limit(scope="credits", capacity=600, window=timedelta(minutes=1))
    provider = Healable(intervals=(), calls=lambda _job: [Cost(scope="credits", weight=51)], limits=[minute, month])
    taken = Taken()

    def fit(now):  # in a minute: a tenth of 600 credits is room for one, a tenth of 4000 for seven
        return jobs_that_fit(Room({"stand": provider}, 0.1, 60, taken=taken, now=now))

    assert [fit(NOW + timedelta(hours=hour)) for hour in range(10)] == [1] * 7 + [0] * 3
    assert fit(NOW + timedelta(days=30)) == 0
    assert fit(NOW + timedelta(days=31)) == 1  # the first one is a month ago


def test_of_a_small_limit_there_is_room_for_one_call_a_cycle_until_the_share_of_an_hour_is_used_up():
    minute = Limit(scope="calls", capacity=10, window=timedelta(minutes=1))
    provider = Healable(intervals=(), calls=lambda _job: [Cost(scope="calls")], limits=[minute])
    taken = Taken()
    cycles = [NOW + timedelta(seconds=20 * number) for number in range(200)]  # the share of an hour is 12 calls
    fits = [jobs_that_fit(Room({"stand": provider}, 0.02, 60, taken=taken, now=at)) for at in cycles]
    assert fits == [1] * 12 + [0] * 168 + [1] * 12 + [0] * 8  # 180 cycles are an hour


def test_a_limit_of_which_nothing_is_kept_for_healing_leaves_no_room():
    minute = Limit(scope="calls", capacity=10, window=timedelta(minutes=1))
    assert jobs_that_fit(room(minute, costs=[Cost(scope="calls")], share=0.0)) == 0


def test_a_job_that_does_not_fit_takes_nothing_of_its_other_scopes():
    limits = [Limit(scope=scope, capacity=100, window=timedelta(seconds=10)) for scope in ("a", "b")]
    both = [Cost(scope="a", weight=4), Cost(scope="b", weight=10)]
    shared = room(*limits, costs=both)  # nine of each
    assert jobs_that_fit(shared) == 0
    both[:] = [Cost(scope="a", weight=9)]
    assert jobs_that_fit(shared) == 1


# --------------------------------------------------------------------------- in place of what failed


def lost(first, last, instrument=BTC):
    return Job(
        source=instrument.venue,
        dataset=Dataset.CANDLES,
        instruments=(instrument,),
        interval=Interval.M1,
        since=at(first),
        until=at(last),
    )


def test_a_job_that_failed_is_asked_at_once_of_a_provider_that_works(bench):
    stands = [provider(bench, [], name) for name in ("stand", "one", "two")]
    healer = healer_of(bench, *stands, equivalents=lambda _wanted, _stored: [ONE, TWO])
    want(bench, 0, 10)
    jobs = healer.jobs(NOW, 60, failed=[lost(50, 60), lost(50, 60, ONE)])
    assert [(job.source, job.stands_for and job.stands_for.id, *minutes([job])) for job in jobs] == [
        ("two", BTC.id, (50, 60)),  # one had failures itself
        ("two", ONE.id, (50, 60)),
        ("stand", None, (0, 10)),
    ]


def test_nothing_stands_in_for_a_snapshot_or_when_everybody_fails(bench):
    healer = healer_of(
        bench, provider(bench, []), provider(bench, [], "one"), equivalents=lambda _wanted, _stored: [ONE]
    )
    book = Job(source="stand", dataset=Dataset.ORDER_BOOKS, instruments=(BTC,))
    assert healer.jobs(NOW, 60, failed=[book]) == []
    assert healer.jobs(NOW, 60, failed=[lost(50, 60), lost(50, 60, ONE)]) == []


def test_holes_that_a_page_can_hold_share_a_call(bench):
    hole(bench, without=(10, 13, 16, 60))
    past = provider(bench, range(100))
    (job,) = heal(bench, healer_of(bench, past), past, NOW + timedelta(minutes=1))
    assert minutes([job]) == [(10, 61)]
    assert bench.windows() == [(0, 100, "observed")]


def test_a_stand_in_s_bars_become_the_instrument_s_and_keep_their_source(bench):
    other = provider(bench, range(10), "one")
    (payload,) = other.fetch(lost(0, 3, ONE))
    theirs = tuple(other.parsers[Dataset.CANDLES](payload))
    assert {bar.instrument for bar in theirs} == {ONE}
    healer = healer_of(bench, other)
    ours = healer.adapt(Batch(job=replace(lost(0, 3, ONE), stands_for=BTC), records=theirs)).records
    assert [(bar.instrument, bar.source, bar.open_time) for bar in ours] == [(BTC, "one", at(n)) for n in range(3)]
    plain = Batch(job=lost(0, 3, ONE), records=theirs)
    assert healer.adapt(plain) is plain
