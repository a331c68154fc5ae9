"""Decides how long a provider is left in peace after it refused calls.

The provider's own word counts first (body, then Retry-After), within sane bounds; without it 1, 2, 4 .. 60 s.
"""

import threading
from datetime import timedelta

from collector.clock import Clock
from collector.errors import AccessDenied, RateLimited, VenueError
from collector.http.translate import retry_after
from collector.records import Answer
from collector.resilience.breaker import DENIED_S

REFUSED_S = (1.0, 3_600.0)  # a plain refusal: shortest and longest pause
DENIED_PAUSE_S = (DENIED_S, 259_200.0)  # 401, 403, 451: an hour at least
BANNED_S = (120.0, 259_200.0)  # a ban lasts two minutes to three days (Binance)
LONGEST_DOUBLED_S = 60.0


class Refusals:
    """Counts the refusals of one provider in a row; shared by its threads."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._last_at = float("-inf")  # monotonic

    def answered(self, sent_at: float) -> None:
        """Forget the row: a call that left after the last refusal got an answer."""
        if self._in_a_row and sent_at > self._last_at:
            with self._lock:
                self._in_a_row = 0

    def pause_s(self, error: VenueError, answer: Answer, sent_at: float) -> float | None:
        """Return for how long nothing may leave after this error; None when it is no reason to wait."""
        if isinstance(error, RateLimited):
            return self._refused_s(error, answer, sent_at)
        if isinstance(error, AccessDenied):  # a firewall punishes whoever goes on; probes come from the breaker
            return _between(retry_after(answer, self._clock.now()) or 0.0, DENIED_PAUSE_S)
        return None

    def _refused_s(self, error: RateLimited, answer: Answer, sent_at: float) -> float:
        now = self._clock.now()
        bounds = BANNED_S if error.banned else REFUSED_S
        if error.retry_at is not None:
            wanted: float | None = (error.retry_at - now) / timedelta(seconds=1)
        else:
            wanted = retry_after(answer, now)
        return _between(self._doubled(sent_at) if wanted is None else wanted, bounds)

    def _doubled(self, sent_at: float) -> float:
        """Return 1, 2, 4 .. 60 s. Calls that were under way together are one refusal, not sixteen."""
        with self._lock:
            if sent_at > self._last_at:
                self._in_a_row += 1
                self._last_at = self._clock.monotonic()
            return min(2.0 ** (min(self._in_a_row, 10) - 1), LONGEST_DOUBLED_S)


def _between(value: float, bounds: tuple[float, float]) -> float:
    return max(bounds[0], min(value, bounds[1]))
