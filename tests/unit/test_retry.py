"""Retries: three tries, full jitter, a budget per cycle; the class of the error decides."""

import random
import threading
from datetime import UTC, datetime

import pytest

from collector.clock import ManualClock, SystemClock
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueUnreachable
from collector.resilience.breaker import NotTried
from collector.resilience.retry import RetryPolicy

FOREVER = float("inf")


class Script:
    """Raises the given errors one after the other, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def make() -> tuple[RetryPolicy, ManualClock]:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    return RetryPolicy(clock=clock), clock


def dead(number: int = 99) -> Script:
    return Script(*[VenueUnreachable(f"dead {index}") for index in range(number)])


def test_a_call_that_works_is_made_once():
    policy, clock = make()
    script = Script()
    assert policy.run(script, FOREVER) == "done"
    assert (script.calls, clock.slept, policy.retries) == (1, [], 0)


def test_an_unreachable_provider_is_tried_three_times_and_the_last_error_comes_out():
    policy, clock = make()
    script = dead()
    with pytest.raises(VenueUnreachable, match="dead 2"):
        policy.run(script, FOREVER)
    assert (script.calls, len(clock.slept), policy.retries) == (3, 2, 2)


def test_the_second_try_can_succeed():
    policy, _ = make()
    assert policy.run(dead(1), FOREVER) == "done"


@pytest.mark.parametrize(
    "error",
    [RateLimited("x"), RequestRejected("x"), AccessDenied("x"), PayloadError("x"), NotTried("x"), ValueError("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_succeed_later_is_not_repeated(error):
    policy, clock = make()
    script = Script(error)
    with pytest.raises(type(error)):
        policy.run(script, FOREVER)
    assert (script.calls, clock.slept) == (1, [])


def test_waits_are_spread_over_the_whole_range():
    random.seed(20260301)
    first, second = [], []
    for _ in range(300):
        policy, clock = make()
        with pytest.raises(VenueUnreachable):
            policy.run(dead(), FOREVER)
        first.append(clock.slept[0])
        second.append(clock.slept[1])
    assert 0 < min(first) < 0.05
    assert 0.95 < max(first) <= 1.0
    assert 1.9 < max(second) <= 2.0
    assert 0.4 < sum(first) / 300 < 0.6


def test_at_most_a_tenth_of_the_calls_of_a_cycle_are_repeats_and_three_always_may_be():
    policy, _ = make()
    scripts = [dead() for _ in range(10)]
    for script in scripts:
        with pytest.raises(VenueUnreachable):
            policy.run(script, FOREVER)
    assert [script.calls for script in scripts] == [3, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    for _ in range(90):
        policy.run(Script(), FOREVER)
    while policy.retries < 10:  # 100 calls and a few more allow 10 repeats
        policy.run(dead(1), FOREVER)
    script = dead()
    with pytest.raises(VenueUnreachable):
        policy.run(script, FOREVER)
    assert script.calls == 1


def test_a_new_cycle_has_a_new_budget():
    policy, _ = make()
    for _ in range(3):
        with pytest.raises(VenueUnreachable):
            policy.run(dead(), FOREVER)
    policy.begin()
    assert policy.retries == 0
    script = dead()
    with pytest.raises(VenueUnreachable):
        policy.run(script, FOREVER)
    assert script.calls == 3


def test_no_repeat_starts_after_the_time_is_over():
    policy, clock = make()
    script = dead()
    with pytest.raises(VenueUnreachable, match="dead 0"):
        policy.run(script, clock.monotonic())
    assert (script.calls, policy.retries) == (1, 0)


def test_a_stop_of_the_program_ends_the_repeats():
    stop = threading.Event()
    stop.set()
    policy = RetryPolicy(clock=SystemClock(stop))
    script = dead()
    random.seed(3)  # a first wait well above the tolerance
    with pytest.raises(VenueUnreachable, match="the collector stops"):
        policy.run(script, FOREVER)
    assert script.calls == 1
