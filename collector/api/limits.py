"""How many requests a client may make in a minute: counted by the `limits` library, in memory of our own.

The storage that comes with the library reads the wall clock and keeps every client; this one lives on the monotonic
clock, is bounded, and never forgets a client while it is refused.
"""

import math
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.storage.base import MovingWindowSupport
from limits.strategies import MovingWindowRateLimiter

from collector.api.access import client_key, peer
from collector.api.errors import ApiError, Code
from collector.api.parts import Parts
from collector.clock import Clock
from collector.config import ApiSettings

MINUTE_S = 60
CLIENTS = 10_000  # counted at once: about 4 MB when each asks now and then
CROWD = "crowd"  # who is counted together when every counter is held by a client that is refused
_FULL = 20  # the lane of clients that used up what they have; the others hold up to 2**19 requests each
_NO_LIMIT = 1 << 62
_SLACK_S = 0.001  # so that who waits the whole seconds it was told is let in whatever floats do to the last digit


@dataclass(frozen=True, slots=True)
class Grant:
    """What one request left over; `reset` is in seconds until the oldest counted request is forgotten."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


class Limiter:
    """Counts the requests of all clients. One per application; safe for threads."""

    def __init__(self, settings: ApiSettings, clock: Clock, *, capacity: int = CLIENTS) -> None:
        self._items = {
            "prices": _Minute(settings.rate_prices),
            "ohlcv": _Minute(settings.rate_ohlcv),
            "sentiment": _Minute(settings.rate_sentiment),
            "data": _Minute(settings.rate_data),
        }
        self._clock = clock
        self._windows = BoundedWindows(clock, capacity)
        self._each = MovingWindowRateLimiter(self._windows)
        self._crowd_windows = BoundedWindows(clock, len(self._items))
        self._crowd = MovingWindowRateLimiter(self._crowd_windows)
        self.refused = 0  # requests, since the start

    def hit(self, what: str, address: str) -> Grant:
        """Count a request of an address for `what` (prices, ohlcv, sentiment, data); refused ones do not count."""
        item = self._items[what]
        client, strategy, windows = client_key(address), self._each, self._windows
        if not windows.seat(item.key_for(what, client)):
            client, strategy, windows = CROWD, self._crowd, self._crowd_windows
        allowed = strategy.hit(item, what, client)
        oldest, count = windows.get_moving_window(item.key_for(what, client), item.amount, MINUTE_S)
        if not allowed:
            self.refused += 1
        reset = max(1, math.ceil(oldest + MINUTE_S - self._clock.monotonic()))
        return Grant(allowed, item.amount, max(0, item.amount - count), reset)

    def admit(self, what: str, address: str, state: dict[str, Any]) -> None:
        """Count a request, once, and leave on its state what is left and for what it counted; raises RATE_LIMITED."""
        if state.get("counted") == what:
            return
        grant = self.hit(what, address)
        state["grant"], state["counted"] = grant, what
        if not grant.allowed:
            message = f"More than {grant.limit} requests for {what} in a minute"
            raise ApiError(Code.RATE_LIMITED, message, retry_after=grant.reset)

    @property
    def clients(self) -> int:
        """Return how many counters are held."""
        return len(self._windows)


def limited(parts: Parts, what: str) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency that counts a request for `what`: prices, ohlcv, sentiment or data.

    The counters are those of the application that serves it. Raises RATE_LIMITED with the seconds after which the
    same request will be let in.
    """

    async def count(request: Request) -> None:
        request.app.state.limiter.admit(what, peer(request, parts), request.scope["state"])

    return count


def headers(grant: Grant) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell a client what it has left."""
    return [
        (b"ratelimit-limit", b"%d" % grant.limit),
        (b"ratelimit-remaining", b"%d" % grant.remaining),
        (b"ratelimit-reset", b"%d" % grant.reset),
    ]


class _Minute(RateLimitItemPerMinute):
    """A limit whose keys are short: the library's repeat the limit itself, at three times the time and memory."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return " ".join(map(str, identifiers))


class _Window:
    """The moments at which one client was let in, oldest first, of the last `width` seconds."""

    __slots__ = ("full_at", "lane", "moments", "width")

    def __init__(self, full_at: int, width: float) -> None:
        self.moments = array("d")
        self.full_at = full_at
        self.width = width
        self.lane = 0

    def forget(self, now: float) -> None:
        """Drop the moments that are over."""
        del self.moments[: bisect_right(self.moments, now - self.width + _SLACK_S)]

    def is_over(self, now: float) -> bool:
        return not self.moments or self.moments[-1] <= now - self.width + _SLACK_S


class BoundedWindows(Storage, MovingWindowSupport):
    """Moving windows of at most `capacity` clients, on a clock that nobody can set.

    For a newcomer the least indebted goes: one whose window is over, else the one with the fewest requests that is
    idle longest. A client that is refused is never forgotten, for spraying addresses would free it.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Clock, capacity: int) -> None:
        super().__init__()
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        # The same windows by how many binary digits their count has; within a lane idle longest first. Full is last.
        self._lanes: list[OrderedDict[str, _Window]] = [OrderedDict() for _ in range(_FULL + 1)]

    def __len__(self) -> int:
        return len(self._windows)

    def seat(self, key: str) -> bool:
        """Return whether this client is counted already or there is room to count it, made when it must be."""
        with self._lock:
            now = self._clock.monotonic()
            while key not in self._windows and len(self._windows) >= self._capacity:
                if not self._evict(now):
                    return False
            return True

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests when that many are left, else none; return whether they were."""
        with self._lock:
            now = self._clock.monotonic()
            window = self._windows.get(key) or _Window(limit, expiry)
            window.forget(now)
            if len(window.moments) + amount > limit:
                return False
            window.moments.extend([now] * amount)
            self._file(key, window)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002 - the library's
        """Return the moment of the oldest request that still counts (now when none does), and how many count."""
        with self._lock:
            now = self._clock.monotonic()
            window = self._windows.get(key)
            if window is None or window.is_over(now):
                return now, 0
            window.forget(now)
            return window.moments[0], len(window.moments)

    def clear(self, key: str) -> None:
        """Forget a client."""
        with self._lock:
            window = self._windows.pop(key, None)
            if window is not None:
                del self._lanes[window.lane][key]

    def reset(self) -> int:
        """Forget all clients; return how many there were."""
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
            for lane in self._lanes:
                lane.clear()
            return count

    def check(self) -> bool:
        """Return that memory is there."""
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what a broken storage raises: this one has nothing that breaks."""
        return MemoryError

    def get(self, key: str) -> int:
        """Return how many requests of a client count now."""
        return self.get_moving_window(key, 0, 0)[1]

    def get_expiry(self, key: str) -> float:
        """Return the moment at which a client's newest request stops to count; now when none does."""
        with self._lock:
            window = self._windows.get(key)
            now = self._clock.monotonic()
            return now if window is None or window.is_over(now) else window.moments[-1] + window.width

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count requests without a limit; return how many count now."""
        self.acquire_entry(key, _NO_LIMIT, expiry, amount)
        return self.get(key)

    def _file(self, key: str, window: _Window) -> None:
        """Put a window at the young end of the lane of its count."""
        count = len(window.moments)
        self._lanes[window.lane].pop(key, None)
        window.lane = _FULL if count >= window.full_at else min(count.bit_length(), _FULL - 1)
        self._lanes[window.lane][key] = window
        self._windows[key] = window

    def _evict(self, now: float) -> bool:
        """Forget the least indebted client; return False when every one is, or may be, refused."""
        heads = [(lane, next(iter(lane))) for lane in self._lanes if lane]
        over = [(lane, key) for lane, key in heads if lane[key].is_over(now)]
        free = [(lane, key) for lane, key in heads if lane is not self._lanes[_FULL]]
        for lane, key in (over or free)[:1]:
            del lane[key], self._windows[key]
            return True
        return False
