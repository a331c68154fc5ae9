"""Paces the calls to one provider: never more weight in any rolling window than its limits allow, less a reserve.

One Quota per source, shared by its threads. A rolling window is also never exceeded where the provider counts fixed
minutes. Waiting follows the monotonic clock, so a jump of the wall clock neither ends a pause early nor prolongs it.
Memory is bounded: a limit keeps at most about a thousand entries, whatever its capacity and window.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from collector.clock import Clock
from collector.errors import RateLimited

BUCKETS = 1_000  # entries nearer than window / 1000 are merged: 60 ms of a minute, 45 minutes of a month
SPENT_PARTS = 60  # parts of a window that its use is handed over in
SHORTEST_KEPT_S = 10.0  # of shorter windows nothing is handed over: they are over before a process is up
SLACK_SHARE = 0.25  # latency may lengthen a window by a quarter at most, or slow answers would throttle us for good
SLACK_DECAY = 0.98  # forgets a latency peak to a third within 50 calls
CUT_SHORT_S = 0.05  # a sleep that ends this much early was ended by the stop event, not by the timer


class NeverFits(ValueError):
    """A call weighs more than its limits allow in a whole window: a defect of the schedule, or too small a share."""


class Metered(Protocol):
    """A limit: at most `capacity` units of weight of `scope` in any `window`."""

    @property
    def scope(self) -> str: ...

    @property
    def capacity(self) -> int: ...

    @property
    def window(self) -> timedelta: ...


class Charge(Protocol):
    """What one call takes from a scope."""

    @property
    def scope(self) -> str: ...

    @property
    def weight(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of one limit is taken now; `allowed` is the capacity less the reserve."""

    scope: str
    window_s: float
    capacity: int
    allowed: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """A snapshot: the pause, if one is on, and the use of every limit."""

    paused_until: datetime | None
    reason: str
    banned: bool
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was taken from one limit and still counts, for a later process: moments (UTC) with their weight."""

    scope: str
    window_s: int
    capacity: int
    entries: tuple[tuple[datetime, int], ...]  # oldest first


@dataclass(slots=True)
class _Entry:
    first: float  # when the merged entry began, so that merging cannot go on for ever
    at: float  # when its newest part was taken; the whole entry counts from here
    weight: int


class _Meter:
    """The weight taken from one limit, oldest first. Callers hold the quota's lock."""

    def __init__(self, limit: Metered, reserve: float) -> None:
        self.capacity = limit.capacity
        self.window = limit.window.total_seconds()
        self._reserve = reserve
        self.allowed = _allowed(limit.capacity, reserve)
        self._entries: deque[_Entry] = deque()
        self._total = 0

    def lower(self, capacity: int) -> bool:
        """Use a smaller capacity from now on; return whether it is one."""
        if not 0 < capacity < self.capacity:
            return False
        self.capacity, self.allowed = capacity, _allowed(capacity, self._reserve)
        return True

    def used(self, now: float, slack: float) -> int:
        """Return the weight that counts at `now`, without what is reserved for later."""
        self._forget(now, slack)
        later = 0
        for entry in reversed(self._entries):
            if entry.at <= now:
                break
            later += entry.weight
        return self._total - later

    def free_at(self, now: float, start: float, weight: int, slack: float) -> float:
        """Return the first moment from `start` on at which `weight` fits beside everything reserved."""
        self._forget(now, slack)
        length = self._length(slack)
        excess = self._total + weight - self.allowed
        moment = start
        for entry in self._entries:
            if excess <= 0:
                break
            excess -= entry.weight
            moment = max(moment, entry.at + length)
        return moment

    def take(self, at: float, weight: int) -> None:
        """Count `weight` at `at`, which is not before any earlier call's."""
        last = self._entries[-1] if self._entries else None
        self._total += weight
        if last is not None and at - last.first < self.window / BUCKETS:
            last.at = max(last.at, at)
            last.weight += weight
        else:
            self._entries.append(_Entry(at, at, weight))

    def correct(self, now: float, seconds_into_minute: float, used: int, slack: float) -> None:
        """Count what the provider saw and we did not, until the end of the clock minute it belongs to."""
        missing = used - self.used(now, slack)
        if missing <= 0:
            return
        at = now - min(seconds_into_minute, self.window)
        index = next((i for i, entry in enumerate(self._entries) if entry.at > at), len(self._entries))
        self._entries.insert(index, _Entry(at, at, missing))
        self._total += missing

    def spent(self, now: float, slack: float) -> list[tuple[float, int]]:
        """Return what counts at `now`, as (seconds ago, weight), oldest first; what is reserved for later is now.

        In sixtieths of the window, each counted from its newest part: rather too long than too short.
        """
        self._forget(now, slack)
        width, parts = self.window / SPENT_PARTS, dict[int, tuple[float, int]]()
        for entry in self._entries:
            part = int(entry.at // width)
            parts[part] = (max(0.0, now - entry.at), parts.get(part, (0.0, 0))[1] + entry.weight)
        return list(parts.values())

    def restore(self, now: float, spent: Sequence[tuple[float, int]]) -> None:
        """Count what an earlier process took, before anything of ours."""
        entries = [_Entry(now - ago, now - ago, weight) for ago, weight in spent if ago < self.window]
        self._entries.extendleft(reversed(entries))
        self._total += sum(entry.weight for entry in entries)

    def _length(self, slack: float) -> float:
        return self.window + min(slack, self.window * SLACK_SHARE)

    def _forget(self, now: float, slack: float) -> None:
        length = self._length(slack)
        while self._entries and self._entries[0].at + length <= now:
            self._total -= self._entries.popleft().weight


def _allowed(capacity: int, reserve: float) -> int:
    return max(1, int(capacity * (1 - reserve) + 1e-9))


@dataclass(slots=True)
class _Pause:
    ends: float  # monotonic
    reason: str
    banned: bool


class Quota:
    """The right to call one provider. `reserve` is the share of every limit that is left unused."""

    def __init__(self, limits: Sequence[Metered], *, clock: Clock, reserve: float = 0.1) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._meters: dict[str, list[_Meter]] = {}
        for limit in limits:
            self._meters.setdefault(limit.scope, []).append(_Meter(limit, reserve))
        self._newest = dict.fromkeys(self._meters, float("-inf"))  # last moment given away, per scope
        self._pause: _Pause | None = None
        self._slack = 0.0

    def acquire(self, cost: Charge, give_up_at: float) -> None:
        """Wait until `cost` may be spent; first come, first served; one sleep unless a pause begins meanwhile.

        Raises RateLimited, with nothing spent, when that moment lies after `give_up_at` (monotonic seconds), and
        when the wait is cut short because the program stops. Raises ValueError for a scope without a limit and
        NeverFits, which is one, for a cost above a whole window: both are defects.
        """
        meters = self._meters_of(cost)
        while True:
            moment = self._reserve(meters, cost, give_up_at)
            wait = moment - self._clock.monotonic()
            if wait > 0:
                self._clock.sleep(wait)
            with self._lock:
                now = self._clock.monotonic()
                if now < moment - CUT_SHORT_S:
                    raise RateLimited("not sent: the wait for the quota was cut short because the collector stops")
                if self._resume(now) <= now:
                    return

    def correct(self, scope: str, used: int) -> None:
        """Take over the provider's own count of the present clock minute where it is higher than ours.

        Only limits of one minute are corrected (all limits of the scope when it has none). The comparison is with
        our rolling minute and not with the clock minute: an answer that arrives just after second 0 still tells of
        the minute before, and the provider's clock is not ours. What is missing counts until our minute ends; if
        that is too early, the next answer corrects it again.
        """
        meters = self._meters.get(scope)
        if meters is None:
            raise ValueError(f"no limit is known for the scope {scope!r}")
        wall = self._clock.now()
        into_minute = wall.second + wall.microsecond / 1e6
        minutes = [meter for meter in meters if meter.window == 60] or meters  # noqa: PLR2004 - a minute
        with self._lock:
            now = self._clock.monotonic()
            for meter in minutes:
                meter.correct(now, into_minute, used, self._slack)

    def observe(self, latency_s: float) -> None:
        """Learn how long a call took, so that a rolling window at the far side is kept as well.

        Calls of one burst arrive spread over up to one latency; the next burst must leave that much later.
        """
        with self._lock:
            self._slack = max(latency_s, self._slack * SLACK_DECAY)

    def pause(self, until: datetime, reason: str, *, banned: bool = False) -> None:
        """Let nothing leave before `until`, sleepers included; of several pauses the longest wins."""
        with self._lock:
            now = self._clock.monotonic()
            ends = now + (until - self._clock.now()).total_seconds()
            running = self._pause if self._resume(now) > now else None
            if running is None or ends > running.ends:
                self._pause = _Pause(ends, reason, banned or (running is not None and running.banned))
            elif banned:
                running.banned = True

    @property
    def paused_until(self) -> datetime | None:
        """Return when the present pause ends, by the wall clock; None when there is none."""
        with self._lock:
            return self._paused_until()

    def state(self) -> QuotaState:
        """Return a snapshot for status pages and for storage."""
        with self._lock:
            now = self._clock.monotonic()
            until = self._paused_until()
            pause = self._pause if until is not None else None
            return QuotaState(
                paused_until=until,
                reason=pause.reason if pause else "",
                banned=pause.banned if pause else False,
                uses=tuple(_use(scope, meter, meter.used(now, self._slack)) for scope, meter in self._each()),
            )

    def spent(self) -> tuple[Spent, ...]:
        """Return what counts of every limit, for a process that comes later."""
        with self._lock:
            ticks, now = self._clock.monotonic(), self._clock.now()
            return tuple(
                Spent(
                    scope=scope,
                    window_s=round(meter.window),
                    capacity=meter.capacity,
                    entries=tuple(
                        (now - timedelta(seconds=round(ago)), weight) for ago, weight in meter.spent(ticks, self._slack)
                    ),
                )
                for scope, meter in self._each()
                if meter.window >= SHORTEST_KEPT_S
            )

    def restore(self, spent: Sequence[Spent]) -> None:
        """Count what an earlier process took; call it before the first call leaves.

        A moment that lies ahead, because the wall clock was set back meanwhile, counts as now: rather too long than
        too short. Limits that are not ours any more are passed over.
        """
        with self._lock:
            ticks, now = self._clock.monotonic(), self._clock.now()
            for item in spent:
                for meter in self._meters.get(item.scope, ()):
                    if round(meter.window) == item.window_s:
                        ages = [(max(0.0, (now - at).total_seconds()), weight) for at, weight in item.entries]
                        meter.restore(ticks, sorted(ages, reverse=True))

    def learn(self, scope: str, window: timedelta, capacity: int) -> bool:
        """Take over a limit that the provider told; return whether ours changed.

        Only a lower one is taken: a higher one is worth a look by a person, not a ban.
        """
        with self._lock:
            mine = [meter for meter in self._meters.get(scope, ()) if meter.window == window.total_seconds()]
            lowered = [meter.lower(capacity) for meter in mine]  # every one of them
            return any(lowered)

    def _each(self) -> list[tuple[str, _Meter]]:
        return [(scope, meter) for scope, meters in self._meters.items() for meter in meters]

    def _meters_of(self, cost: Charge) -> list[_Meter]:
        meters = self._meters.get(cost.scope)
        if meters is None:
            raise ValueError(f"no limit is known for the scope {cost.scope!r}")
        allowed = min(meter.allowed for meter in meters)
        if not 0 <= cost.weight <= allowed:
            raise NeverFits(f"a call of weight {cost.weight} can never leave: {cost.scope!r} allows {allowed}")
        return meters

    def _reserve(self, meters: list[_Meter], cost: Charge, give_up_at: float) -> float:
        with self._lock:
            now = self._clock.monotonic()
            resume = self._resume(now)
            if resume > give_up_at:
                raise self._paused_error()
            moment = max(now, resume, self._newest[cost.scope])
            # Waiting for one limit never makes another one fuller, so the latest of the moments suits all.
            moment = max(meter.free_at(now, moment, cost.weight, self._slack) for meter in meters)
            if moment > give_up_at:
                raise self._spent_error(cost.scope, moment - now)
            for meter in meters:
                meter.take(moment, cost.weight)
            self._newest[cost.scope] = moment
            return moment

    def _resume(self, now: float) -> float:
        """Return the monotonic moment from which calls may leave: now or earlier when there is no pause."""
        return now if self._pause is None else self._pause.ends

    def _paused_until(self) -> datetime | None:
        left = self._resume(now := self._clock.monotonic()) - now
        return self._clock.now() + timedelta(seconds=left) if left > 0 else None

    def _paused_error(self) -> RateLimited:
        until = self._paused_until()
        if until is None or self._pause is None:  # no pause, so `give_up_at` itself has passed
            return RateLimited("not sent: the time for calls is over")
        text = f"not sent: calls are paused until {until:%Y-%m-%d %H:%M:%S} UTC ({self._pause.reason})"
        return RateLimited(text, retry_at=until, banned=self._pause.banned)

    def _spent_error(self, scope: str, wait: float) -> RateLimited:
        if wait <= 0:
            return RateLimited("not sent: the time for calls is over")
        until = self._clock.now() + timedelta(seconds=wait)
        text = f"not sent: the limit {scope!r} has no room before {until:%H:%M:%S} UTC, later than this cycle"
        return RateLimited(text, retry_at=until)


def _use(scope: str, meter: _Meter, used: int) -> Use:
    return Use(scope=scope, window_s=meter.window, capacity=meter.capacity, allowed=meter.allowed, used=used)
