"""Repeats a call that can succeed later: at most 3 tries, full jitter, and few repeats in all per cycle.

The class of an error decides (verdict RETRY), never its text. The budget keeps a provider in trouble from getting
more calls than one in good health: at most a tenth of the calls of a cycle are repeats, though 3 always may be.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from collector.clock import Clock
from collector.errors import CollectorError, VenueUnreachable, Verdict

TRIES = 3
FIRST_WAIT_S = 1.0  # the first wait is 0 to 1 s, the second 0 to 2 s
LONGEST_WAIT_S = 60.0
BUDGET_SHARE = 0.1
SMALLEST_BUDGET = 3
CUT_SHORT_S = 0.05  # a sleep that ends this much early was ended by the stop event, not by the timer

T = TypeVar("T")


class RetryPolicy:
    """Decides on repeats for one source; shared by its threads."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wait = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)
        self._calls = 0
        self._retries = 0

    def begin(self) -> None:
        """Start a cycle: a new budget."""
        with self._lock:
            self._calls = self._retries = 0

    @property
    def retries(self) -> int:
        """Return the repeats since the cycle began."""
        return self._retries

    def run(self, call: Callable[[], T], give_up_at: float) -> T:
        """Return what `call` returns; repeat it while that is allowed, then let its last error through.

        No repeat starts after `give_up_at` (monotonic seconds) or once the collector stops.
        """
        with self._lock:
            self._calls += 1
        try:
            return call()
        except CollectorError as error:
            if not _can_succeed_later(error):
                raise
            return self._repeated(call, error, give_up_at)

    def _repeated(self, call: Callable[[], T], first: CollectorError, give_up_at: float) -> T:
        """Return what a repeat returns; the library begins with what the first attempt has come to.

        It costs as much as a twentieth of a call, and nearly all calls need it not.
        """
        failures = [first]

        def attempt() -> T:
            if failures:
                raise failures.pop()
            return call()

        retrying = Retrying(
            retry=retry_if_exception(_can_succeed_later),
            wait=self._wait,
            stop=lambda state: not self._may_repeat(state, give_up_at),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(attempt)

    def _may_repeat(self, state: RetryCallState, give_up_at: float) -> bool:
        if state.attempt_number >= TRIES:
            return False
        if self._clock.monotonic() + state.upcoming_sleep > give_up_at:
            return False
        with self._lock:
            if self._retries >= max(SMALLEST_BUDGET, int(BUDGET_SHARE * self._calls)):
                return False
            self._retries += 1
            return True

    def _sleep(self, seconds: float) -> None:
        began = self._clock.monotonic()
        self._clock.sleep(seconds)
        if self._clock.monotonic() - began < seconds - CUT_SHORT_S:
            raise VenueUnreachable("no answer, and not tried again because the collector stops")


def _can_succeed_later(error: BaseException) -> bool:
    return isinstance(error, CollectorError) and error.verdict is Verdict.RETRY
