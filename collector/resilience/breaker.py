"""Stops calling a provider that does not answer or does not serve us, and finds out with single probes when it does.

One Breaker per source, shared by its threads. A dead provider costs a cycle the first few timeouts; after that every
call fails at once, until a probe gets an answer. Any answer counts, an error answer of the provider's too, unless it
is a server-side failure (VenueUnreachable). A provider that refuses access (AccessDenied) is off at once, and probed
once an hour. Callers that come while a probe is under way wait for what it finds.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from collector.clock import Clock
from collector.errors import AccessDenied, IllegalTransition, VenueUnreachable, Verdict

FAILURES_TO_OPEN = 5  # consecutive
FIRST_OPEN_S = 5.0
LONGEST_OPEN_S = 600.0
DENIED_S = 3_600.0  # a key, a country or a firewall does not change by asking; once an hour is enough
PROBE_WAIT_S = 60.0  # real seconds that others wait for a probe: longer than any call may take


class NotTried(VenueUnreachable):
    """The provider did not answer or refused access before, so it was not called."""

    verdict = Verdict.GIVE_UP  # waiting a second changes nothing


class State(Enum):
    """What the breaker lets through: everything, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(Enum):
    """What moves the breaker."""

    FAILED_TOO_OFTEN = "failed_too_often"
    DENIED = "denied"
    PROBE_STARTED = "probe_started"
    PROBE_ANSWERED = "probe_answered"
    PROBE_FAILED = "probe_failed"
    PROBE_WITHDRAWN = "probe_withdrawn"  # it never left, for want of quota


TRANSITIONS = {
    (State.CLOSED, Event.FAILED_TOO_OFTEN): State.OPEN,
    (State.CLOSED, Event.DENIED): State.OPEN,
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
        self._probe_over = threading.Condition(self._lock)
        self._state = State.CLOSED
        self._denied = ""  # why access is refused; "" when it is not
        self._failures = 0
        self._period = 0
        self._open_s = FIRST_OPEN_S
        self._probe_at = 0.0  # monotonic

    @property
    def state(self) -> State:
        return self._state

    def denial(self) -> tuple[datetime, str] | None:
        """Return when access is probed again and why it was refused; None while the provider serves us."""
        with self._lock:
            if not self._denied or self._state is State.CLOSED:
                return None
            left = max(0.0, self._probe_at - self._clock.monotonic())
            return self._clock.now() + timedelta(seconds=left), self._denied

    def wait_s(self) -> float:
        """Return for how many seconds nothing is let through; 0 when calls are, or a probe is."""
        with self._lock:
            return max(0.0, self._probe_at - self._clock.monotonic()) if self._state is State.OPEN else 0.0

    def deny(self, seconds: float, reason: str) -> None:
        """Switch the provider off for so long, as when it refused access before a restart."""
        with self._lock:
            if self._state is State.CLOSED:
                self._turn_off(Event.DENIED, seconds, reason)

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """Let one call through and learn from how it ends.

        Raises NotTried at once while the provider is believed dead, and after a probe in whose time it came and that
        failed. VenueUnreachable out of the block is a failure, AccessDenied switches the provider off; otherwise the
        call is a success if `answered` was set and says nothing if not.
        """
        attempt = self._admit()
        failed, denied = False, ""
        try:
            yield attempt
        except VenueUnreachable:
            failed = True
            raise
        except AccessDenied as error:
            denied = str(error)
            raise
        finally:
            self._learn(attempt, failed=failed, denied=denied)

    def _admit(self) -> Attempt:
        with self._lock:
            self._probe_over.wait_for(lambda: self._state is not State.HALF_OPEN, PROBE_WAIT_S)
            if self._state is State.CLOSED:
                return Attempt(probe=False, period=self._period)
            before = self._denied or "no answer before"
            if self._state is State.HALF_OPEN:
                raise NotTried(f"not tried: {before}; one probe is under way")
            left = self._probe_at - self._clock.monotonic()
            if left > 0:
                raise NotTried(f"not tried: {before}; next probe in {left:.0f} s")
            self._move(Event.PROBE_STARTED)
            return Attempt(probe=True, period=self._period)

    def _learn(self, attempt: Attempt, *, failed: bool, denied: str) -> None:
        with self._lock:
            if attempt.probe:
                self._end_probe(attempt, failed=failed, denied=denied)
                self._probe_over.notify_all()
            elif attempt.period == self._period and self._state is State.CLOSED:
                if denied:
                    self._turn_off(Event.DENIED, DENIED_S, denied)
                else:
                    self._count(attempt, failed=failed)

    def _end_probe(self, attempt: Attempt, *, failed: bool, denied: str) -> None:
        if denied:
            self._turn_off(Event.PROBE_FAILED, DENIED_S, denied)
        elif failed:
            self._open_s = min(self._open_s * 2, LONGEST_OPEN_S)
            self._turn_off(Event.PROBE_FAILED, self._open_s, "")
        elif attempt.answered:
            self._move(Event.PROBE_ANSWERED)
            self._period += 1
            self._failures = 0
            self._open_s = FIRST_OPEN_S
            self._denied = ""
        else:
            self._move(Event.PROBE_WITHDRAWN)  # the next caller may probe at once

    def _count(self, attempt: Attempt, *, failed: bool) -> None:
        if failed:
            self._failures += 1
        elif attempt.answered:
            self._failures = 0
        if self._failures >= FAILURES_TO_OPEN:
            self._turn_off(Event.FAILED_TOO_OFTEN, self._open_s, "")

    def _turn_off(self, event: Event, seconds: float, denied: str) -> None:
        self._move(event)
        self._denied = denied
        self._probe_at = self._clock.monotonic() + seconds

    def _move(self, event: Event) -> None:
        state = TRANSITIONS.get((self._state, event))
        if state is None:
            raise IllegalTransition(f"the breaker has no move for {event.value} when {self._state.value}")
        self._state = state
