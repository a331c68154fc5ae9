"""The words of the proof: when cadences run, what a provider allows, and how one limit fares. Plain values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, floor

from collector.records import Dataset, Job
from collector.sources.base import Cost, Limit

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
MONTH = timedelta(days=31)

Calls = Callable[[Job], Sequence[Cost]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """How often a cadence runs; `every` is None for a cron line, whose turns are counted by whoever reads it."""

    name: str
    every: timedelta | None
    gap: timedelta  # shortest time between two starts
    a_month: int  # most starts in 31 days
    deadline: timedelta

    @staticmethod
    def on_grid(name: str, every: timedelta, deadline: timedelta) -> "Turns":
        """Return the turns of a cadence that runs every so often."""
        return Turns(name=name, every=every, gap=every, a_month=ceil(MONTH / every), deadline=deadline)

    def longer(self, every: timedelta) -> "Turns":
        """Return the same cadence on another grid."""
        return Turns.on_grid(self.name, every, self.deadline)

    def due(self, span: timedelta) -> int:
        """Return the most starts in any time of that length."""
        return self.a_month if span == MONTH else ceil(span / self.gap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One provider as the proof sees it."""

    source: str
    plan: str  # the subscription, as "demo"
    limits: Sequence[Limit]
    calls: Calls
    instruments: int  # followed at most
    listed: int  # instruments that a bulk call names; only its being more than none matters


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Parts of every limit that the schedule may not plan with, as fractions."""

    reserve: float = 0.1  # left unused, for clocks that differ
    repeats: float = 0.1  # of the calls, on top: the retry budget of a cycle
    healing: float = 0.1  # of what may be used: kept for filling holes

    def allowed(self, capacity: int) -> int:
        """Return what may be used of a window."""
        return max(1, floor(capacity * (1 - self.reserve) + 1e-9))

    def usable(self, capacity: int) -> float:
        """Return what a schedule may plan of a window on average: less the reserve, the healing and the repeats."""
        return self.allowed(capacity) * (1 - self.healing) / (1 + self.repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One limit of one provider against one month of the schedule."""

    source: str
    plan: str
    scope: str
    window: timedelta
    capacity: int
    allowed: int  # capacity less the reserve
    planned: int  # weight in 31 days, without repeats
    usable: int  # what a schedule may plan in 31 days: `allowed` less what is kept for healing and repeats
    peak: int  # most weight in any one window; 0 for windows shorter than a day, within which a cycle can wait
    share: float  # `planned` of `usable`, or `peak` of `allowed` if that is more; above 1 it does not fit
    heaviest: int  # of one call
    heaviest_dataset: Dataset
    cycles: Mapping[str, int]  # cadence -> weight of its heaviest cycle
    times: Mapping[str, timedelta]  # cadence -> how long that cycle waits for this limit at worst
    late: Sequence[str]  # cadences whose heaviest cycle waits longer than its deadline

    @property
    def fits(self) -> bool:
        return self.heaviest <= self.allowed and self.share <= 1 and not self.late


def span(value: timedelta) -> str:
    """Return a time in its largest whole unit, as 9 min."""
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def quantity(value: int) -> str:
    """Return a number with thin groups of three, as 17 856."""
    return f"{value:,}".replace(",", " ")
