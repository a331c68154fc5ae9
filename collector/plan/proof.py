"""The proof that a schedule fits: before anything starts, every limit of every provider against what is asked of it.

The jobs of a cycle come from the planner itself, fed with made-up instruments in steady state, and their calls from
the sources, so that the proof cannot drift away from what is really done. Three things are demanded of each limit:

- no call is heavier than what may be used of one window, or it could never leave;
- a cycle's calls, paced by the limit, end before the cycle's deadline, even when all cadences become due at once;
- what all cadences use in a month of 31 days, repeats included, fits into the windows of that month beside the
  share that is kept for healing. For a limit per month this is the limit itself, for shorter ones the average rate.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil

from collector.clock import floor_time, last_closed_open
from collector.plan.due import SETTLE, Known, Task, plan_jobs
from collector.records import Dataset, Instrument, Interval, Job, Kind
from collector.sources.base import Cost, Limit, Shape

MONTH = timedelta(days=31)
DAY = timedelta(days=1)
NOON = datetime(2026, 1, 7, 12, tzinfo=UTC)  # any moment on the grid of every interval but the week's
# Intervals a person would choose: whole minutes, then fives, quarters, hours.
GRID = [
    timedelta(minutes=n) for n in (*range(1, 61), *range(65, 181, 5), *range(195, 1441, 15), *range(1500, 44641, 60))
]

MOST_STARTS = 100  # of one cadence on either side of the moment at which all are due
MOST_TIMES = 200  # how many times longer intervals may get before another remedy is named

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
    a_window: float  # the same per window on average, repeats included
    share: float  # of what the schedule may plan with; above 1 it does not fit
    cycles: Mapping[str, int]  # cadence -> weight of its heaviest cycle
    times: Mapping[str, timedelta]  # cadence -> how long that cycle waits for this limit at worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A limit that the schedule does not fit."""

    source: str
    scope: str
    text: str  # names the limit, the need, and the nearest schedule that fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came out: every limit in use, and those that are broken."""

    lines: Sequence[Line]
    violations: Sequence[Violation]

    @property
    def fits(self) -> bool:
        return not self.violations


def prove(
    tasks: Sequence[Task],
    turns: Sequence[Turns],
    accounts: Sequence[Account],
    *,
    assets: int,
    shares: Shares = Shares(),
) -> Proof:
    """Hold a schedule against all limits. `assets` is how many are followed."""
    lines: list[Line] = []
    violations: list[Violation] = []
    for account in accounts:
        loads = _loads(tasks, turns, account, assets)
        for limit in account.limits:
            mine = [load for load in loads if load.scope == limit.scope]
            if not mine:
                continue
            line = _line(account, limit, mine, turns, shares)
            lines.append(line)
            violations += _violations(line, mine, turns, shares)
    return Proof(lines=lines, violations=violations)


# --------------------------------------------------------------------------- what is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """The calls of one dataset (and interval) in a cycle in which it is due, on one scope."""

    cadence: str
    scope: str
    dataset: Dataset
    weight: int  # of one such cycle
    heaviest: int  # of one call
    width: timedelta  # it is due at most once in this time; zero: in every cycle

    def a_month(self, turns: Turns) -> int:
        """Return the weight in 31 days."""
        due = turns.a_month if self.width <= turns.gap else min(turns.a_month, ceil(MONTH / self.width) + 1)
        return self.weight * due


def _loads(tasks: Sequence[Task], turns: Sequence[Turns], account: Account, assets: int) -> list[_Load]:
    by_name = {turn.name: turn for turn in turns}
    return [
        load
        for task in tasks
        if task.source == account.source and task.cadence in by_name
        for load in _task_loads(task, by_name[task.cadence], account, assets)
    ]


def _task_loads(task: Task, turns: Turns, account: Account, assets: int) -> Iterator[_Load]:
    paced = task.dataset is Dataset.CANDLES and task.shape is Shape.EACH
    for interval in task.intervals or (None,):
        part = replace(task, intervals=() if interval is None else (interval,))
        costs = [cost for job in plan_jobs(part, _steady(part, turns, account, assets)) for cost in account.calls(job)]
        for scope in sorted({cost.scope for cost in costs}):
            weights = [cost.weight for cost in costs if cost.scope == scope]
            yield _Load(
                cadence=task.cadence,
                scope=scope,
                dataset=task.dataset,
                weight=sum(weights),
                heaviest=max(weights),
                width=interval.width if paced and interval is not None else timedelta(0),
            )


def _steady(task: Task, turns: Turns, account: Account, assets: int) -> Known:
    """Return what is known when the schedule has been running for a while: everything up to the last turn is held."""
    count = account.listed if task.shape is Shape.BULK else account.instruments
    instruments = [_made_up(account.source, number) for number in range(count)]
    opens: dict[tuple[str, Interval], datetime] = {}
    for interval in task.intervals:
        newest = last_closed_open(NOON - SETTLE, interval)
        missed = max(1, ceil(turns.gap / interval.width))
        opens |= {(item.id, interval): newest - missed * interval.width for item in instruments}
    settled = floor_time(NOON - turns.gap, Interval.H1)
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


# --------------------------------------------------------------------------- what may be used


def _line(account: Account, limit: Limit, loads: Sequence[_Load], turns: Sequence[Turns], shares: Shares) -> Line:
    by_name = {turn.name: turn for turn in turns}
    allowed = max(1, int(limit.capacity * (1 - shares.reserve) + 1e-9))
    planned = sum(load.a_month(by_name[load.cadence]) for load in loads)
    need = planned * (1 + shares.repeats)
    room = allowed * (MONTH / limit.window) * (1 - shares.healing)
    cycles = {name: sum(load.weight for load in loads if load.cadence == name) for name in by_name}
    cycles = {name: weight for name, weight in cycles.items() if weight}
    return Line(
        source=account.source,
        plan=account.plan,
        scope=limit.scope,
        window=limit.window,
        capacity=limit.capacity,
        allowed=allowed,
        planned=planned,
        a_window=need * (limit.window / MONTH),
        share=need / room,
        cycles=cycles,
        times=_longest_waits(cycles, max(load.heaviest for load in loads), allowed, limit, by_name),
    )


def _longest_waits(
    cycles: Mapping[str, int], heaviest: int, allowed: int, limit: Limit, turns: Mapping[str, Turns]
) -> dict[str, timedelta]:
    """Return how long each cadence's heaviest cycle waits for this limit when all of them become due at once.

    The starts from two windows before that moment to two after it are played through a rolling window, one cycle
    after the other. Windows of a day and more are not waited for within a cycle: their months are counted as a whole.
    """
    waits = dict.fromkeys(cycles, timedelta(0))
    if limit.window >= DAY or heaviest > allowed:
        return waits
    reach = 2 * limit.window
    starts = sorted(
        (gap * turn, name)
        for name in cycles
        for gap in [turns[name].gap]
        for turn in range(-min(reach // gap, MOST_STARTS), min(reach // gap, MOST_STARTS) + 1)
    )
    taken: deque[tuple[timedelta, int]] = deque()
    now = starts[0][0]
    for due, name in starts:
        began = now = max(now, due)
        now = _spend(cycles[name], heaviest, allowed, limit.window, taken, now)
        waits[name] = max(waits[name], now - began)
    return waits


def _spend(
    weight: int, heaviest: int, allowed: int, window: timedelta, taken: deque[tuple[timedelta, int]], now: timedelta
) -> timedelta:
    """Take `weight` in calls of up to `heaviest` as early as a rolling window lets them go; return when it is done."""
    while weight > 0:
        while taken and taken[0][0] + window <= now:
            taken.popleft()
        free = allowed - sum(part for _, part in taken)
        part = weight if weight <= free else free // heaviest * heaviest
        if part:
            taken.append((now, part))
            weight -= part
        else:
            now = taken[0][0] + window
    return now


def _violations(line: Line, loads: Sequence[_Load], turns: Sequence[Turns], shares: Shares) -> Iterator[Violation]:
    heaviest = max(loads, key=lambda load: load.heaviest)
    name = f"{line.source} ({line.plan})"
    if heaviest.heaviest > line.allowed:
        yield _violation(
            line,
            f"{name}: one call for {heaviest.dataset} weighs {heaviest.heaviest}, but of {line.scope} only "
            f"{line.allowed} of {line.capacity} may be used {_a_window(line.window)}; raise the limit or disable it",
        )
        return
    for turn in turns:
        time = line.times.get(turn.name, timedelta(0))
        if time > turn.deadline:
            most = int(turn.deadline / line.window) * line.allowed
            yield _violation(
                line,
                f"{name}: a {turn.name} cycle needs {quantity(line.cycles[turn.name])} {line.scope}, and "
                f"{line.allowed} of {line.capacity} may be used {_a_window(line.window)}: that takes {span(time)}, "
                f"longer than its deadline of {span(turn.deadline)}; {_less(time, most, line.cycles[turn.name])}",
            )
    if line.share > 1:
        yield _violation(line, f"{name}: {_too_much(line, shares)}; {_nearest(line, loads, turns, shares)}")


def _violation(line: Line, text: str) -> Violation:
    return Violation(source=line.source, scope=line.scope, text=text)


def _too_much(line: Line, shares: Shares) -> str:
    kept = (
        f"{shares.reserve:.0%} in reserve, {shares.repeats:.0%} for repeats, {shares.healing:.0%} for healing".replace(
            "%", " %"
        )
    )
    if line.window >= DAY:
        return f"{quantity(line.planned)} of {quantity(line.capacity)} {line.scope} {_a_window(line.window)} ({kept})"
    need = quantity(ceil(line.planned * (line.window / MONTH)))
    return f"{need} of {quantity(line.capacity)} {line.scope} {_a_window(line.window)} on average ({kept})"


def _less(time: timedelta, most: int, weight: int) -> str:
    fits = f"deadline: {span(time)} fits"
    return fits if most < 1 else f"{fits}, or {most * 100 // weight} % of the instruments"


def _nearest(line: Line, loads: Sequence[_Load], turns: Sequence[Turns], shares: Shares) -> str:
    """Return the schedule with which this limit holds that lengthens intervals least: of one cadence, or of all."""
    by_name = {turn.name: turn for turn in turns}
    room = line.allowed * (MONTH / line.window) * (1 - shares.healing) / (1 + shares.repeats)

    def fits(changed: Sequence[Turns]) -> bool:
        # Fewer cycles, each at most as heavy as now: a longer gap asks for more rows in the same calls.
        by = by_name | {turn.name: turn for turn in changed}
        return sum(load.a_month(by[load.cadence]) for load in loads) <= room

    asking = [turn for turn in turns if turn.every is not None and turn.name in line.cycles]
    alone = [
        [longer]
        for turn in asking
        if (longer := next((x for x in map(turn.longer, GRID) if x.gap > turn.gap and fits([x])), None)) is not None
    ]
    together = ([turn.longer(turn.gap * times) for turn in asking] for times in range(2, MOST_TIMES))
    found = [*alone, *(changed for changed in [next(filter(fits, together), None)] if changed)]
    if not found:
        return "no interval fits: follow fewer assets, disable a dataset, or take a larger plan"
    best = min(found, key=lambda changed: max(turn.gap / by_name[turn.name].gap for turn in changed))
    return " with ".join(f"{turn.name}: every {span(turn.gap)}" for turn in best) + " fits"


def _a_window(window: timedelta) -> str:
    return f"in a {window.days}-day month" if window >= MONTH else f"in {span(window)}"


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
