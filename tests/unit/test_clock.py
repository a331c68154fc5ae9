"""Interval arithmetic on the UTC grid."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.clock import ManualClock, SystemClock, bar_count, floor_time, from_millis, last_closed_open, to_millis
from collector.records import Interval

AT = datetime(2026, 3, 11, 14, 37, 42, 500_000, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("interval", "opens"),
    [
        (Interval.M1, datetime(2026, 3, 11, 14, 37, tzinfo=UTC)),
        (Interval.M5, datetime(2026, 3, 11, 14, 35, tzinfo=UTC)),
        (Interval.M15, datetime(2026, 3, 11, 14, 30, tzinfo=UTC)),
        (Interval.H1, datetime(2026, 3, 11, 14, tzinfo=UTC)),
        (Interval.H4, datetime(2026, 3, 11, 12, tzinfo=UTC)),
        (Interval.D1, datetime(2026, 3, 11, tzinfo=UTC)),
        (Interval.W1, datetime(2026, 3, 9, tzinfo=UTC)),
    ],
)
def test_a_bar_opens_on_the_utc_grid_and_a_week_on_monday(interval, opens):
    assert floor_time(AT, interval) == opens
    assert floor_time(opens, interval) == opens
    assert last_closed_open(AT, interval) == opens - interval.width


def test_the_bar_that_ends_now_is_closed():
    assert last_closed_open(datetime(2026, 3, 11, 14, tzinfo=UTC), Interval.H1) == datetime(2026, 3, 11, 13, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "count"), [(0, 0), (1, 1), (60, 1), (61, 2), (300, 5), (-60, 0)])
def test_bars_are_counted_by_their_open_time(seconds, count):
    since = datetime(2026, 1, 1, tzinfo=UTC)
    assert bar_count(since, since + timedelta(seconds=seconds), Interval.M1) == count


@given(st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999))
def test_milliseconds_survive_the_round_trip_exactly(value):
    assert to_millis(from_millis(value)) == value


def test_milliseconds_beyond_the_calendar_overflow():
    with pytest.raises(OverflowError):
        from_millis(10**17)


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(Interval),
)
def test_every_moment_lies_in_its_bar(moment, interval):
    opens = floor_time(moment, interval)
    assert opens <= moment < opens + interval.width


def test_the_manual_clock_moves_only_when_told():
    clock = ManualClock(AT)
    clock.sleep(2.5)
    clock.sleep(-1)
    assert clock.now() == AT + timedelta(seconds=2.5)
    assert clock.monotonic() == 2.5
    assert clock.slept == [2.5]


def test_the_system_clock_is_aware_and_utc():
    assert SystemClock().now().tzinfo is UTC
    assert SystemClock().now().astimezone(timezone(timedelta(hours=5))).utcoffset() == timedelta(hours=5)
