"""What a schedule asks of a provider: the calls of each dataset, from the planner and the source themselves.

The jobs come from the planner, fed with made-up instruments in steady state, and their calls from the source, so that
the proof cannot drift away from what is really done.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil

from collector.clock import floor_time, last_closed_open
from collector.plan.due import SETTLE, Known, Task, plan_jobs
from collector.plan.schedule import Account, Turns
from collector.records import Dataset, Instrument, Interval, Kind
from collector.sources.base import Shape

NOON = datetime(2026, 1, 7, 12, tzinfo=UTC)  # any moment on the grid of every interval but the week's
ALWAYS = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The calls of one dataset (and interval) in a cycle in which it is due, on one scope."""

    cadence: str
    scope: str
    dataset: Dataset
    weight: int  # of one such cycle
    heaviest: int  # of one call
    width: timedelta  # it is due at most once in this time; ALWAYS: in every cycle

    def within(self, turns: Turns, span: timedelta) -> int:
        """Return the most weight in any time of that length; bars end at most once more than it holds of them."""
        due = turns.due(span)
        return self.weight * (due if self.width <= turns.gap else min(due, ceil(span / self.width) + 1))

    def at(self, moment: timedelta, gap: timedelta) -> int:
        """Return the weight of the cycle that starts then; everything is due at zero, bars when one has ended."""
        due = self.width <= gap or moment // self.width != (moment - gap) // self.width
        return self.weight if due else 0


class Loads:
    """The loads of one provider under one schedule after another; what a cadence's interval decides is kept."""

    def __init__(self, tasks: Sequence[Task], account: Account, assets: int) -> None:
        self._tasks = [task for task in tasks if task.source == account.source]
        self._account, self._assets = account, assets
        self._kept: dict[tuple[int, timedelta], list[Load]] = {}

    def under(self, turns: Mapping[str, Turns]) -> list[Load]:
        """Return the loads when the cadences run so."""
        return [
            load
            for number, task in enumerate(self._tasks)
            if task.cadence in turns
            for load in self._of(number, task, turns[task.cadence].gap)
        ]

    def _of(self, number: int, task: Task, gap: timedelta) -> list[Load]:
        if (number, gap) not in self._kept:
            self._kept[number, gap] = list(self._measure(task, gap))
        return self._kept[number, gap]

    def _measure(self, task: Task, gap: timedelta) -> Iterator[Load]:
        paced = task.dataset is Dataset.CANDLES and task.shape is Shape.EACH
        for interval in task.intervals or (None,):
            part = replace(task, intervals=() if interval is None else (interval,))
            jobs = plan_jobs(part, _steady(part, gap, self._account, self._assets))
            costs = [cost for job in jobs for cost in self._account.calls(job)]
            for scope in sorted({cost.scope for cost in costs}):
                weights = [cost.weight for cost in costs if cost.scope == scope]
                yield Load(
                    cadence=task.cadence,
                    scope=scope,
                    dataset=task.dataset,
                    weight=sum(weights),
                    heaviest=max(weights),
                    width=interval.width if paced and interval is not None else ALWAYS,
                )


def _steady(task: Task, gap: timedelta, account: Account, assets: int) -> Known:
    """Return what is known when the schedule has been running for a while: everything up to the last turn is held."""
    count = account.listed if task.shape is Shape.BULK else account.instruments
    instruments = [_made_up(account.source, number) for number in range(count)]
    opens: dict[tuple[str, Interval], datetime] = {}
    for interval in task.intervals:
        newest = last_closed_open(NOON - SETTLE, interval)
        missed = max(1, ceil(gap / interval.width))
        opens |= {(item.id, interval): newest - missed * interval.width for item in instruments}
    settled = floor_time(NOON - gap, Interval.H1)
    return Known(
        now=NOON,
        instruments={account.source: instruments},
        followed={account.source: instruments},
        assets=[str(number) for number in range(assets)],
        last_opens=opens,
        last_fundings={item.id: settled for item in instruments},
    )


def _made_up(source: str, number: int) -> Instrument:
    name = f"A{number}"
    return Instrument(venue=source, base=name, quote="USDT", kind=Kind.PERP, venue_symbol=f"{name}USDT")
