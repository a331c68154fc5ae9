"""The breaker: opens after five failures in a row, lets exactly one probe through, waits longer each time."""

import contextlib
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collector.clock import ManualClock, SystemClock
from collector.errors import AccessDenied, IllegalTransition, RequestRejected, VenueUnreachable, Verdict
from collector.resilience.breaker import TRANSITIONS, Breaker, Event, NotTried, State

START = datetime(2026, 3, 1, tzinfo=UTC)


def make() -> tuple[Breaker, ManualClock]:
    clock = ManualClock(START)
    return Breaker(clock=clock), clock


def fail(breaker: Breaker) -> None:
    with pytest.raises(VenueUnreachable, match="dead"), breaker.attempt():
        raise VenueUnreachable("dead")


def succeed(breaker: Breaker) -> None:
    with breaker.attempt() as attempt:
        attempt.answered = True


def end_with(breaker: Breaker, error: Exception) -> None:
    """An answer came, and it stands for this error."""
    with contextlib.suppress(type(error)), breaker.attempt() as attempt:
        attempt.answered = True
        raise error


def opened() -> tuple[Breaker, ManualClock]:
    breaker, clock = make()
    for _ in range(5):
        fail(breaker)
    return breaker, clock


def refuses(breaker: Breaker) -> bool:
    try:
        with breaker.attempt():
            return False
    except NotTried:
        return True


def test_five_failures_in_a_row_open_it_and_four_do_not():
    breaker, _ = make()
    for _ in range(4):
        fail(breaker)
    assert breaker.state is State.CLOSED
    fail(breaker)
    assert breaker.state is State.OPEN


def test_an_answer_in_between_starts_the_count_again():
    breaker, _ = make()
    for _ in range(4):
        fail(breaker)
    succeed(breaker)
    for _ in range(4):
        fail(breaker)
    assert breaker.state is State.CLOSED


def test_an_error_answer_of_the_provider_counts_as_an_answer():
    breaker, _ = make()
    for _ in range(4):
        fail(breaker)
    end_with(breaker, RequestRejected("no such symbol"))
    fail(breaker)
    assert breaker.state is State.CLOSED


def test_a_server_side_failure_counts_although_it_was_an_answer():
    breaker, _ = make()
    for _ in range(5):
        end_with(breaker, VenueUnreachable("HTTP 503", status=503))
    assert breaker.state is State.OPEN


def test_while_open_a_call_fails_at_once_and_says_that_it_was_not_tried():
    breaker, clock = opened()
    clock.advance(2)
    with (
        pytest.raises(VenueUnreachable, match="not tried: no answer before; next probe in 3 s") as caught,
        breaker.attempt(),
    ):
        pytest.fail("let through")
    assert caught.value.verdict is Verdict.GIVE_UP


def test_a_probe_that_is_answered_closes_it():
    breaker, clock = opened()
    clock.advance(5)
    succeed(breaker)
    assert breaker.state is State.CLOSED
    for _ in range(4):
        fail(breaker)
    assert breaker.state is State.CLOSED


def test_each_failed_probe_doubles_the_wait_up_to_ten_minutes():
    breaker, clock = opened()
    for wait in (5, 10, 20, 40, 80, 160, 320, 600, 600, 600):
        clock.advance(wait - 0.5)
        assert refuses(breaker), wait
        clock.advance(0.5)
        fail(breaker)
    clock.advance(600)
    succeed(breaker)
    for _ in range(5):
        fail(breaker)
    clock.advance(5)  # after a recovery the wait is short again
    succeed(breaker)


def test_a_probe_that_never_left_decides_nothing():
    breaker, clock = opened()
    clock.advance(5)
    with breaker.attempt():
        assert breaker.state is State.HALF_OPEN
    assert breaker.state is State.OPEN
    succeed(breaker)  # at once: nothing was learnt, nothing is waited for
    assert breaker.state is State.CLOSED


def test_a_late_result_of_an_earlier_call_is_not_taken_for_the_probe():
    breaker, clock = make()
    late = breaker.attempt()
    slow = late.__enter__()
    for _ in range(5):
        fail(breaker)
    slow.answered = True
    late.__exit__(None, None, None)
    assert breaker.state is State.OPEN
    clock.advance(5)
    succeed(breaker)
    assert breaker.state is State.CLOSED


def test_late_failures_from_before_a_recovery_do_not_count():
    breaker, clock = make()
    slow = [breaker.attempt() for _ in range(5)]
    for item in slow:
        item.__enter__()
    for _ in range(5):
        fail(breaker)
    clock.advance(5)
    succeed(breaker)
    error = VenueUnreachable("late")
    for item in slow:
        assert not item.__exit__(VenueUnreachable, error, None)
    assert breaker.state is State.CLOSED


class FiftyCallers:
    """Fifty threads that call at the moment of a probe; the one that is let through answers or fails when told."""

    def __init__(self, *, answered: bool) -> None:
        self.breaker = Breaker(clock=SystemClock())
        self.answered = answered
        self.beside = 0  # calls that ran while the probe did
        self.after, self.refused = [], []
        self._probing = threading.Event()

    def run(self) -> None:
        for _ in range(5):
            fail(self.breaker)
        self.breaker._probe_at = 0.0  # its time has come
        gate = threading.Barrier(50)
        threads = [threading.Thread(target=self._call, args=(gate,)) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    def _call(self, gate: threading.Barrier) -> None:
        gate.wait()
        try:
            with self.breaker.attempt() as attempt:
                if attempt.probe:
                    self._probe(attempt)
                else:
                    self.beside += self.breaker.state is State.HALF_OPEN
                    self.after.append(1)
        except NotTried:
            self.refused.append(1)
        except VenueUnreachable:
            return

    def _probe(self, attempt) -> None:
        waiting = self.breaker._probe_over._waiters  # the standard library's own list of who waits
        while len(waiting) < 49:
            threading.Event().wait(0.001)
        attempt.answered = self.answered
        if not self.answered:
            raise VenueUnreachable("no answer")


def test_of_fifty_callers_exactly_one_probes_and_the_others_follow_when_it_is_answered():
    callers = FiftyCallers(answered=True)
    callers.run()
    assert (callers.beside, len(callers.after), len(callers.refused)) == (0, 49, 0)
    assert callers.breaker.state is State.CLOSED


def test_of_fifty_callers_exactly_one_probes_and_the_others_are_refused_when_it_fails():
    callers = FiftyCallers(answered=False)
    callers.run()
    assert (callers.beside, len(callers.after), len(callers.refused)) == (0, 0, 49)
    assert callers.breaker.state is State.OPEN


def test_refused_access_switches_off_at_once_and_is_probed_once_an_hour():
    breaker, clock = make()
    with pytest.raises(AccessDenied), breaker.attempt():
        raise AccessDenied("HTTP 451: not in your country")
    assert breaker.denial() == (clock.now() + timedelta(hours=1), "HTTP 451: not in your country")
    clock.advance(3599)
    with pytest.raises(NotTried, match="not in your country; next probe in 1 s"), breaker.attempt():
        pass
    clock.advance(1)
    with pytest.raises(AccessDenied), breaker.attempt():
        raise AccessDenied("HTTP 451: still not")
    assert breaker.denial() == (clock.now() + timedelta(hours=1), "HTTP 451: still not")  # not doubled
    clock.advance(3600)
    succeed(breaker)
    assert (breaker.state, breaker.denial()) == (State.CLOSED, None)


def test_a_denial_from_before_a_restart_is_obeyed():
    breaker, clock = make()
    breaker.deny(600, "HTTP 403: firewall")
    with pytest.raises(NotTried, match="firewall; next probe in 600 s"), breaker.attempt():
        pass
    clock.advance(600)
    succeed(breaker)
    assert breaker.denial() is None


def test_a_move_that_is_not_in_the_table_is_a_defect():
    for state in State:
        for event in Event:
            breaker, _ = make()
            breaker._state = state
            if (state, event) in TRANSITIONS:
                breaker._move(event)
                assert breaker.state is TRANSITIONS[(state, event)]
            else:
                with pytest.raises(IllegalTransition, match=event.value):
                    breaker._move(event)


class BreakerModel(RuleBasedStateMachine):
    """Against a model in seconds and counts only."""

    @initialize()
    def start(self):
        self.breaker, self.clock = make()
        self.failures, self.open_until, self.wait = 0, None, 5

    @rule(seconds=st.sampled_from([1, 5, 60, 700]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    def due(self) -> bool:
        return self.open_until is None or self.clock.monotonic() >= self.open_until

    @precondition(lambda self: self.due())
    @rule()
    def provider_fails(self):
        fail(self.breaker)
        now = self.clock.monotonic()
        if self.open_until is not None:
            self.wait = min(self.wait * 2, 600)
            self.open_until = now + self.wait
            return
        self.failures += 1
        if self.failures == 5:
            self.open_until = now + self.wait

    @precondition(lambda self: self.due())
    @rule()
    def provider_answers(self):
        succeed(self.breaker)
        self.failures, self.open_until, self.wait = 0, None, 5

    @precondition(lambda self: not self.due())
    @rule()
    def call_in_vain(self):
        assert refuses(self.breaker)

    @invariant()
    def states_agree(self):
        assert (self.breaker.state is State.CLOSED) == (self.open_until is None)


TestBreakerModel = BreakerModel.TestCase
TestBreakerModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
