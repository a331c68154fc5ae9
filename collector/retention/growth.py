"""How fast something grows and how long a disk lasts, from samples of sizes (pure). What is not known is None."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

DAY = timedelta(days=1)
LOOKED_BACK = 7 * DAY
SLACK = timedelta(hours=2)  # between two samples that count as a day apart

TOO_SHORT = "not known: no two samples a day apart within the last 7 days"


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes a day, or None; `how` is the method, or the reason."""

    bytes_a_day: float | None
    how: str


def growth_of(samples: Sequence[tuple[datetime, int]], now: datetime) -> Growth:
    """Return how many bytes a day came: the median of the differences of samples a day apart, of the last 7 days.

    `samples` ascend in time. A median takes no notice of the day on which a month was dropped.
    """
    recent = [(at, size) for at, size in samples if now - LOOKED_BACK - SLACK <= at <= now]
    times = [at for at, _ in recent]
    differences = []
    for place, (at, size) in enumerate(recent):
        first = bisect_left(times, at - DAY - SLACK, 0, place)
        near = [item for item in recent[first:place] if abs(at - DAY - item[0]) <= SLACK]
        if near:
            earlier, before = min(near, key=lambda item: abs(at - DAY - item[0]))
            differences.append((size - before) * (DAY / (at - earlier)))
    if not differences:
        return Growth(None, TOO_SHORT)
    return Growth(float(median(differences)), f"median of {len(differences)} daily differences of the last 7 days")


@dataclass(frozen=True, slots=True)
class Left:
    """For how many days something lasts; None: see `why`."""

    days: float | None
    why: str  # empty when days are known


def days_left(room: int | None, growths: Sequence[tuple[str, Growth]]) -> Left:
    """Return for how many days `room` bytes last, given the growth of everything that takes them, by name."""
    unknown = [(name, growth.how) for name, growth in growths if growth.bytes_a_day is None]
    if room is None:
        return Left(None, "the free space is not known")
    if unknown:
        return Left(None, f"the growth of {unknown[0][0]} is {unknown[0][1]}")
    rate = sum(growth.bytes_a_day or 0.0 for _, growth in growths)
    if rate <= 0:
        return Left(None, "nothing grows")
    return Left(max(room, 0) / rate, "")
