"""Stops calling a provider that does not answer, and finds out with single probes when it is back.

One Breaker per source, shared by its threads. A dead provider costs a cycle the first few timeouts; after that every
call fails at once, until a probe gets an answer. Any answer counts, an error answer of the provider's too, unless it
is a server-side failure (VenueUnreachable).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from collector.clock import Clock
from collector.errors import IllegalTransition, VenueUnreachable, Verdict

FAILURES_TO_OPEN = 5  # consecutive
FIRST_OPEN_S = 5.0
LONGEST_OPEN_S = 600.0


class NotTried(VenueUnreachable):
    """The provider did not answer before, so it was not called."""

    verdict = Verdict.GIVE_UP  # waiting a second changes nothing


class State(Enum):
    """What the breaker lets through: everything, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(Enum):
    """What moves the breaker."""

    FAILED_TOO_OFTEN = "failed_too_often"
    PROBE_STARTED = "probe_started"
    PROBE_ANSWERED = "probe_answered"
    PROBE_FAILED = "probe_failed"
    PROBE_WITHDRAWN = "probe_withdrawn"  # it never left, for want of quota


TRANSITIONS = {
    (State.CLOSED, Event.FAILED_TOO_OFTEN): State.OPEN,
    (State.OPEN, Event.PROBE_STARTED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_ANSWERED): State.CLOSED,
    (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
    (State.HALF_OPEN, Event.PROBE_WITHDRAWN): State.OPEN,
}


@dataclass(slots=True)
class Attempt:
    """One call that was let through. Set `answered` once anything came back."""

    probe: bool
    period: int  # the closed period it belongs to; a result from an older one says nothing about now
    answered: bool = False


class Breaker:
    """Guards the calls to one provider; see the module for what it promises."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._failures = 0
        self._period = 0
        self._open_s = FIRST_OPEN_S
        self._probe_at = 0.0  # monotonic

    @property
    def state(self) -> State:
        return self._state

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """Let one call through and learn from how it ends.

        Raises NotTried at once while the provider is believed dead. VenueUnreachable out of the block is a failure;
        otherwise the call is a success if `answered` was set and says nothing if not.
        """
        attempt = self._admit()
        failed = False
        try:
            yield attempt
        except VenueUnreachable:
            failed = True
            raise
        finally:
            self._learn(attempt, failed=failed)

    def _admit(self) -> Attempt:
        with self._lock:
            if self._state is State.CLOSED:
                return Attempt(probe=False, period=self._period)
            left = self._probe_at - self._clock.monotonic()
            if self._state is State.HALF_OPEN:
                raise NotTried("not tried: no answer before; one probe is under way")
            if left > 0:
                raise NotTried(f"not tried: no answer before; next probe in {left:.0f} s")
            self._move(Event.PROBE_STARTED)
            return Attempt(probe=True, period=self._period)

    def _learn(self, attempt: Attempt, *, failed: bool) -> None:
        with self._lock:
            if attempt.probe:
                self._end_probe(attempt, failed=failed)
            elif attempt.period == self._period and self._state is State.CLOSED:
                self._count(attempt, failed=failed)

    def _end_probe(self, attempt: Attempt, *, failed: bool) -> None:
        if failed:
            self._move(Event.PROBE_FAILED)
            self._open_s = min(self._open_s * 2, LONGEST_OPEN_S)
            self._probe_at = self._clock.monotonic() + self._open_s
        elif attempt.answered:
            self._move(Event.PROBE_ANSWERED)
            self._period += 1
            self._failures = 0
            self._open_s = FIRST_OPEN_S
        else:
            self._move(Event.PROBE_WITHDRAWN)  # the next caller may probe at once

    def _count(self, attempt: Attempt, *, failed: bool) -> None:
        if failed:
            self._failures += 1
        elif attempt.answered:
            self._failures = 0
        if self._failures >= FAILURES_TO_OPEN:
            self._move(Event.FAILED_TOO_OFTEN)
            self._probe_at = self._clock.monotonic() + self._open_s

    def _move(self, event: Event) -> None:
        state = TRANSITIONS.get((self._state, event))
        if state is None:
            raise IllegalTransition(f"the breaker has no move for {event.value} when {self._state.value}")
        self._state = state
