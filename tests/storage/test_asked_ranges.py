"""A range asked for by hand: its rows counted, and taken back without touching what is collected."""

from datetime import timedelta

import pytest

from collector.coverage import ASKED_FOR, Event, Finding, Series
from collector.records import Dataset, Interval
from collector.storage.asked_ranges import count_rows, take_back
from tests.unit.past_rig import BTC, MINUTE, NOW, SERIES, Past, at, hole, opened, wish

FUNDING = Series(instrument=BTC.id, dataset=Dataset.FUNDING)


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


def want(bench, first, last, reason=ASKED_FOR, event=Event.WANTED, series=SERIES):
    finding = Finding(since=at(first), until=at(last), event=event, source="stand", reason=reason)
    bench.store.mark([(series, finding)])


def taken(bench, first, last, series=SERIES):
    return take_back(bench.database, series, at(first), at(last)) // MINUTE


def test_the_rows_of_a_range_are_counted_from_its_start_up_to_its_end(bench):
    hole(bench, minutes=100)
    assert count_rows(bench.database, SERIES, at(0), at(100)) == 99
    assert count_rows(bench.database, SERIES, at(39), at(42)) == 2
    assert count_rows(bench.database, SERIES, at(99), at(100)) == 1
    other = Series(instrument=BTC.id, dataset=Dataset.CANDLES, interval=Interval.M5)
    assert count_rows(bench.database, other, at(0), at(100)) == 0
    assert count_rows(bench.database, FUNDING, at(0), at(100)) == 0


def test_what_was_asked_for_and_has_not_come_is_taken_back(bench):
    bench.work(Past(range(500, 1000))).run(wish(500, 1000))
    want(bench, 0, 500)
    assert taken(bench, 0, 1000) == 500
    assert bench.windows() == [(500, 1000, "observed")]
    assert bench.store.due(NOW, 10) == []
    assert taken(bench, 0, 1000) == 0


def test_of_a_longer_wish_only_the_named_range_is_taken_back(bench):
    want(bench, 0, 1000)
    assert taken(bench, 300, 400) == 100
    assert bench.windows() == [(0, 300, "missing"), (400, 1000, "missing")]
    assert [(w.reason, w.attempts) for _, w in bench.store.windows()] == [(ASKED_FOR, 0)] * 2
    assert taken(bench, -50, 10) == 10
    assert taken(bench, 990, 2000) == 10
    assert bench.windows() == [(10, 300, "missing"), (400, 990, "missing")]


def test_a_hole_in_what_is_collected_is_not_taken_back(bench):
    hole(bench, minutes=100, without=(40, 41))
    want(bench, 100, 150)
    assert taken(bench, 0, 150) == 50
    assert bench.windows() == [(0, 40, "observed"), (40, 42, "missing"), (42, 100, "observed")]


def test_what_failed_before_the_first_bar_that_is_held_is_taken_back_as_well(bench):
    bench.work(Past(range(500, 1000))).run(wish(500, 1000))
    want(bench, 0, 500)
    want(bench, 200, 300, "HTTP 500", Event.FAILED)
    assert taken(bench, 0, 1000) == 500
    assert bench.windows() == [(500, 1000, "observed")]


def test_what_is_being_fetched_is_left_to_its_job(bench):
    want(bench, 0, 500)
    want(bench, 400, 500, "", Event.ASKED)
    assert taken(bench, 0, 500) == 400
    assert bench.windows() == [(400, 500, "pending")]


def test_other_series_keep_what_was_asked_for(bench):
    hourly = Series(instrument=BTC.id, dataset=Dataset.CANDLES, interval=Interval.H1)
    want(bench, 0, 600, series=hourly)
    want(bench, 0, 600, series=FUNDING)
    want(bench, 0, 600)
    assert take_back(bench.database, FUNDING, at(0), at(600)) == timedelta(hours=10)
    assert taken(bench, 0, 600) == 600
    assert [series for series, _ in bench.store.windows()] == [hourly]
