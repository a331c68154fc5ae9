"""The proof that a schedule fits: before anything starts, every limit of every provider against what is asked of it.

Three things are demanded of each limit:

- no call is heavier than what may be used of one window, or it could never leave;
- a cycle's calls, paced by the limit, end before the cycle's deadline, even when all cadences become due at once; for
  windows of a day and more no cycle waits, so what becomes due within one must fit into it;
- what all cadences use in a month of 31 days, repeats included, fits into the windows of that month beside the
  share that is kept for healing. For a limit per month this is the limit itself, for shorter ones the average rate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import ceil, floor

from collector.plan.due import Task
from collector.plan.load import Load, Loads
from collector.plan.nearest import Candidate, fewer, nearest
from collector.plan.schedule import DAY, MINUTE, MONTH, Account, Line, Shares, Turns, quantity, span
from collector.plan.waits import NO_TIME, longest_waits, wait_alone
from collector.sources.base import Limit

USUAL_SHARES = Shares()


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A limit that the schedule does not fit."""

    source: str
    scope: str
    text: str  # names the limit, what is held back of it, the need, and the nearest schedule that fits the provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came out: every limit in use, and those that are broken."""

    lines: Sequence[Line]
    violations: Sequence[Violation]  # the worst of each provider's scopes
    nearest: str = ""  # what fits all providers, when more than one is refused and there is such a schedule

    @property
    def fits(self) -> bool:
        return not self.violations


@dataclass(frozen=True, slots=True)
class _Judge:
    """A provider's limits, to be held against one schedule after another."""

    account: Account
    loads: Loads
    shares: Shares

    def lines(self, turns: Mapping[str, Turns]) -> list[Line]:
        """Return a line for every limit in use."""
        return [line for scope_lines in self._by_scope(turns) for line in scope_lines]

    def _by_scope(self, turns: Mapping[str, Turns]) -> Iterator[list[Line]]:
        loads = self.loads.under(turns)
        for scope in dict.fromkeys(limit.scope for limit in self.account.limits):
            mine = [load for load in loads if load.scope == scope]
            limits = [limit for limit in self.account.limits if limit.scope == scope]
            if mine:
                waits = _waits(limits, mine, turns, self.shares)
                yield [_line(self.account, limit, mine, turns, self.shares, waits) for limit in limits]


def prove(
    tasks: Sequence[Task],
    turns: Sequence[Turns],
    accounts: Sequence[Account],
    *,
    assets: int,
    shares: Shares = USUAL_SHARES,
) -> Proof:
    """Hold a schedule against all limits. `assets` is how many are followed."""
    by_name = {turn.name: turn for turn in turns}
    lines: list[Line] = []
    violations: list[Violation] = []
    refused: list[_Judge] = []
    for account in accounts:
        judge = _Judge(account, Loads(tasks, account, assets), shares)
        mine = judge.lines(by_name)
        lines += mine
        if not all(line.fits for line in mine):
            refused.append(judge)
            violations += _violations(mine, by_name, shares, _remedy(judge, tasks, by_name, assets))
    judges = [_Judge(account, Loads(tasks, account, assets), shares) for account in accounts]
    found = nearest([judge.lines for judge in judges], by_name) if len(refused) > 1 else None
    return Proof(lines=lines, violations=violations, nearest=_named(found, by_name) if found else "")


def _waits(
    limits: Sequence[Limit], loads: Sequence[Load], turns: Mapping[str, Turns], shares: Shares
) -> Mapping[str, timedelta]:
    """Return how long each cadence waits for all limits of a scope at once; none for windows of a day and more."""
    windows = _windows(limits, shares)
    heaviest = max(load.heaviest for load in loads)
    if not windows or any(heaviest > allowed for allowed, _ in windows):
        return {}
    return longest_waits(loads, windows, turns)


def _windows(limits: Sequence[Limit], shares: Shares) -> list[tuple[int, timedelta]]:
    return [(shares.allowed(limit.capacity), limit.window) for limit in limits if limit.window < DAY]


def _line(
    account: Account,
    limit: Limit,
    loads: Sequence[Load],
    turns: Mapping[str, Turns],
    shares: Shares,
    waits: Mapping[str, timedelta],
) -> Line:
    allowed, window = shares.allowed(limit.capacity), limit.window
    planned = sum(load.within(turns[load.cadence], MONTH) for load in loads)
    usable = shares.usable(limit.capacity) * (MONTH / window)
    peak = sum(load.within(turns[load.cadence], window) for load in loads) if DAY <= window < MONTH else 0
    cycles = {name: sum(load.weight for load in loads if load.cadence == name) for name in turns}
    cycles = {name: weight for name, weight in cycles.items() if weight}
    heaviest = max(loads, key=lambda load: load.heaviest)
    times = {name: waits.get(name, NO_TIME) if window < DAY else NO_TIME for name in cycles}
    return Line(
        source=account.source,
        plan=account.plan,
        scope=limit.scope,
        window=window,
        capacity=limit.capacity,
        allowed=allowed,
        planned=planned,
        usable=floor(usable + 1e-9),
        peak=peak,
        share=max(planned / usable, peak / allowed),
        heaviest=heaviest.heaviest,
        heaviest_dataset=heaviest.dataset,
        cycles=cycles,
        times=times,
        late=[name for name, time in times.items() if time > turns[name].deadline],
    )


# --------------------------------------------------------------------------- what is said of a refusal


def _violations(lines: Sequence[Line], turns: Mapping[str, Turns], shares: Shares, remedy: str) -> Iterator[Violation]:
    """Yield one violation for each scope: of its limits that are broken, the one broken most."""
    broken = [line for line in lines if not line.fits]
    for scope in dict.fromkeys(line.scope for line in broken):
        line = max((line for line in broken if line.scope == scope), key=lambda line: line.share)
        text = f"{line.source} ({line.plan}): {_complaint(line, turns, shares)}; {remedy}"
        yield Violation(source=line.source, scope=scope, text=text)


def _complaint(line: Line, turns: Mapping[str, Turns], shares: Shares) -> str:
    if line.heaviest > line.allowed:
        return (
            f"one call for {line.heaviest_dataset} weighs {quantity(line.heaviest)}, but of {line.scope} only "
            f"{quantity(line.allowed)} of {quantity(line.capacity)} may be used in {span(line.window)}"
        )
    return _too_much(line, shares) if line.share > 1 else _too_late(line, turns)


def _too_much(line: Line, shares: Shares) -> str:
    """Say need, limit, and what is held back of it. Windows under a minute are told by the minute."""
    if line.peak > line.allowed:
        return (
            f"up to {quantity(line.peak)} {line.scope} become due in {span(line.window)}, in which "
            f"{quantity(line.allowed)} of {quantity(line.capacity)} may be used"
        )
    told = max(line.window, MINUTE)
    times = told / line.window
    need, capacity = quantity(ceil(line.planned * (told / MONTH) - 1e-9)), floor(line.capacity * times)
    limit = f"{quantity(capacity)} {line.scope} {_a_window(told)}"
    if told != MONTH:
        each = f", {quantity(line.capacity)} in {span(line.window)}" if told != line.window else ""
        limit += f" on average{each}"
    return f"{need} of {limit}{_held_back(capacity, floor(line.allowed * times), shares)}"


def _held_back(capacity: int, allowed: int, shares: Shares) -> str:
    """Say what a schedule may plan of a limit and where the rest goes; the parts add up to the limit."""
    usable = floor(allowed * (1 - shares.healing) / (1 + shares.repeats) + 1e-9)
    healing = round(allowed * shares.healing)
    parts = {"in reserve": capacity - allowed, "for healing": healing, "for repeats": allowed - healing - usable}
    told = ", ".join(f"{quantity(part)} {name}" for name, part in parts.items() if part > 0)
    return f", of which a schedule may plan {quantity(usable)} (held back: {told})" if told else ""


def _too_late(line: Line, turns: Mapping[str, Turns]) -> str:
    name = max(line.late, key=lambda name: line.times[name] / turns[name].deadline)
    weight, time, deadline = line.cycles[name], line.times[name], turns[name].deadline
    alone = wait_alone(weight, line.heaviest, [(line.allowed, line.window)]) > deadline
    return (
        f"a {name} cycle needs {quantity(weight)} {line.scope}, and {quantity(line.allowed)} of "
        f"{quantity(line.capacity)} may be used in {span(line.window)}: {'' if alone else 'beside other cycles '}"
        f"that takes {span(time)}, longer than its deadline of {span(deadline)}"
    )


def _a_window(window: timedelta) -> str:
    return f"in a {window.days}-day month" if window == MONTH else f"in {span(window)}"


def _remedy(judge: _Judge, tasks: Sequence[Task], turns: Mapping[str, Turns], assets: int) -> str:
    """Return the nearest schedule with which all limits of a provider hold, and how many assets do with this one."""
    found = nearest([judge.lines], turns)

    def judged(most: int) -> bool:
        few = [replace(task, top=min(task.top, most)) for task in tasks]
        account = replace(judge.account, instruments=min(judge.account.instruments, most))
        small = _Judge(account, Loads(few, account, min(assets, most)), judge.shares)
        return all(line.fits for line in small.lines(turns))

    most = fewer(judged, assets)
    ways = [f"{_named(found, turns)} fits"] if found else []
    ways += [f"following {most} assets instead of {assets} fits"] if most else []
    if found is None:
        ways.append(f"{_no_interval(judge.lines(turns))}: raise the limit, take a larger plan, or disable a dataset")
    return ", or ".join(ways)


def _no_interval(lines: Sequence[Line]) -> str:
    too_heavy = any(line.heaviest > line.allowed for line in lines)
    return "it can never leave" if too_heavy else "no interval up to 31 d fits"


def _named(found: Candidate, turns: Mapping[str, Turns]) -> str:
    """Return the changed settings, as `market: every 20 min with hourly: every 4 h, deadline 15 min`."""
    parts = []
    for name, turn in found.items():
        old = turns[name]
        words = [f"every {span(turn.gap)}"] if turn.gap != old.gap else []
        words += [f"deadline {span(turn.deadline)}"] if turn.deadline != old.deadline else []
        parts += [f"{name}: {', '.join(words)}"] if words else []
    return " with ".join(parts)
