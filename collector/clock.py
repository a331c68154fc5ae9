"""The only reader of the clock, and the arithmetic of candle intervals; all times are UTC."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from collector.records import Interval

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)  # weeks open on Monday 00:00 UTC at every venue we read


class Clock(Protocol):
    """Tells time; handed to whoever needs it so that tests can own it."""

    def now(self) -> datetime:
        """Return the wall time, aware and in UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds` (nothing when not positive)."""


class SystemClock:
    """The machine's clock. `stop` is an event that ends every sleep early."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._stop.wait(seconds)


class ManualClock:
    """A clock that moves only when told: sleeping advances it at once. For tests and simulations."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._monotonic = 0.0
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move wall and monotonic time forward together."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds


def floor_time(moment: datetime, interval: Interval) -> datetime:
    """Return the open time of the bar of `interval` that contains `moment`."""
    origin = MONDAY if interval is Interval.W1 else EPOCH
    return origin + (moment - origin) // interval.width * interval.width


def last_closed_open(moment: datetime, interval: Interval) -> datetime:
    """Return the open time of the newest bar that has ended at or before `moment`."""
    return floor_time(moment, interval) - interval.width


def bar_count(since: datetime, until: datetime, interval: Interval) -> int:
    """Return how many bars open in [since, until); `since` must lie on the grid. Never negative."""
    return max(0, -((since - until) // interval.width))


def from_millis(value: int) -> datetime:
    """Return the moment `value` milliseconds after the epoch, exactly.

    Raises OverflowError when it lies outside the years 1..9999.
    """
    return EPOCH + timedelta(0, 0, 0, value)  # days, seconds, microseconds, milliseconds: by place it is faster


def to_millis(moment: datetime) -> int:
    """Return whole milliseconds since the epoch; microseconds are cut."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def iso(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC with milliseconds, as 2026-01-31T15:30:00.000Z; microseconds are cut."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
