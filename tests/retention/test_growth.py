"""Growth and days left: worked out by hand, and unknown where it is not known."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.retention.growth import TOO_SHORT, Growth, days_left, growth_of

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def hourly(hours, size):
    return [(NOW - n * HOUR, size(hours - n)) for n in range(hours, -1, -1)]


def test_a_steady_growth_is_found():
    found = growth_of(hourly(72, lambda n: 1000 + 10 * n), NOW)
    assert found.bytes_a_day == 240
    assert found.how == "median of 51 daily differences of the last 7 days"  # hours 22 to 72 have one 22 h ago or more


def test_the_day_on_which_a_month_was_dropped_does_not_hide_the_growth():
    sizes = [(NOW - n * DAY, 100_000 + 100 * (7 - n) - (90_000 if n < 3 else 0)) for n in range(7, -1, -1)]
    assert growth_of(sizes, NOW).bytes_a_day == 100


def test_less_than_a_day_tells_nothing():
    assert growth_of(hourly(21, lambda n: n), NOW) == Growth(None, TOO_SHORT)
    assert growth_of([], NOW) == Growth(None, TOO_SHORT)


def test_samples_that_are_not_a_day_apart_tell_nothing():
    assert growth_of([(NOW - 5 * DAY, 0), (NOW, 500)], NOW).bytes_a_day is None


def test_a_day_that_was_a_little_short_is_scaled():
    assert growth_of([(NOW - 23 * HOUR, 0), (NOW, 230)], NOW).bytes_a_day == pytest.approx(240)


def test_what_shrinks_is_told_as_it_is():
    assert growth_of(hourly(48, lambda n: 9000 - n), NOW).bytes_a_day == -24


def test_what_is_older_than_a_week_does_not_count():
    old = [(NOW - 30 * DAY, 0), (NOW - 29 * DAY, 1_000_000)]
    assert growth_of([*old, (NOW - DAY, 10), (NOW, 20)], NOW).bytes_a_day == 10


def test_days_left_are_the_room_over_the_growth_of_everything():
    assert days_left(1000, [("a", Growth(75.0, "")), ("b", Growth(25.0, ""))]).days == 10


def test_below_the_floor_no_day_is_left():
    assert days_left(-5, [("a", Growth(1.0, ""))]).days == 0


@pytest.mark.parametrize(
    ("room", "growth", "why"),
    [
        (None, Growth(1.0, ""), "the free space is not known"),
        (10, Growth(None, "not measured"), "the growth of a is not measured"),
        (10, Growth(0.0, ""), "nothing grows"),
        (10, Growth(-3.0, ""), "nothing grows"),
    ],
)
def test_what_cannot_be_told_is_none_with_its_reason(room, growth, why):
    found = days_left(room, [("a", growth)])
    assert (found.days, found.why) == (None, why)
