"""How long cycles wait for their limits: their starts played through rolling windows, one after the other (pure)."""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta

from collector.plan.load import Load
from collector.plan.schedule import Turns

NO_TIME = timedelta(0)
MOST_STARTS = 4_000  # of one cadence on either side of the moment at which all are due; more than an hour of seconds


class Paced:
    """The limits of one scope, from which weight is taken as early as all of them let it go.

    `windows` are (what may be used, length). Calls weigh up to `heaviest`; their order is not known, so that of each
    window up to `heaviest` less one may stay unused.
    """

    def __init__(self, windows: Sequence[tuple[int, timedelta]], heaviest: int) -> None:
        self._heaviest = heaviest
        self._meters = [_Meter(allowed, length) for allowed, length in windows]

    def spend(self, weight: int, now: timedelta) -> timedelta:
        """Take `weight` from `now` on; return when the last of it leaves."""
        while weight > 0:
            free = min(meter.free(now) for meter in self._meters)
            part = weight if weight <= free else free // self._heaviest * self._heaviest
            if part:
                for meter in self._meters:
                    meter.take(now, part)
                weight -= part
            else:
                now = max(meter.next_room(now, min(weight, self._heaviest)) for meter in self._meters)
        return now


class _Meter:
    """What was taken of one rolling window."""

    def __init__(self, allowed: int, length: timedelta) -> None:
        self._allowed, self._length = allowed, length
        self._taken: deque[tuple[timedelta, int]] = deque()
        self._used = 0

    def free(self, now: timedelta) -> int:
        while self._taken and self._taken[0][0] + self._length <= now:
            self._used -= self._taken.popleft()[1]
        return self._allowed - self._used

    def take(self, now: timedelta, part: int) -> None:
        self._taken.append((now, part))
        self._used += part

    def next_room(self, now: timedelta, weight: int) -> timedelta:
        """Return when more is free next; `now` when `weight` is already."""
        return now if self._allowed - self._used >= weight else self._taken[0][0] + self._length


def wait_alone(weight: int, heaviest: int, windows: Sequence[tuple[int, timedelta]]) -> timedelta:
    """Return how long a cycle waits when nothing was used before it."""
    return Paced(windows, heaviest).spend(weight, NO_TIME)


def longest_waits(
    loads: Sequence[Load], windows: Sequence[tuple[int, timedelta]], turns: Mapping[str, Turns]
) -> dict[str, timedelta]:
    """Return how long each cadence's cycles wait at worst when all of them become due at once.

    Played from two windows before that moment to two after it. Who comes first of those due at once is not known, so
    each cadence is once the last.
    """
    names = sorted({load.cadence for load in loads})
    heaviest = max(load.heaviest for load in loads)
    reach = 2 * max(length for _, length in windows)
    waits = dict.fromkeys(names, NO_TIME)
    for last in names:
        paced = Paced(windows, heaviest)
        starts = sorted((start, name == last, name) for name in names for start in _starts(turns[name].gap, reach))
        now = starts[0][0]
        for due, _, name in starts:
            began = now = max(now, due)
            mine = (load for load in loads if load.cadence == name)
            now = paced.spend(sum(load.at(due, turns[name].gap) for load in mine), now)
            waits[name] = max(waits[name], now - began)
    return waits


def _starts(gap: timedelta, reach: timedelta) -> list[timedelta]:
    most = min(reach // gap, MOST_STARTS)
    return [gap * turn for turn in range(-most, most + 1)]
