"""The nearest schedule that fits, found by trying: each candidate is judged by the proof itself (pure).

The grid of intervals and deadlines: 1 to 5 s, every 5 s to a minute, whole minutes to an hour, quarters of an hour to
three hours, whole hours to a day, whole days to 31. All of it is what the settings accept. An interval only grows: a
shorter one asks for more. A deadline only grows, and never beyond its interval: the next cycle would be skipped.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

from collector.plan.schedule import Line, Turns

GRID = tuple(
    timedelta(seconds=seconds)
    for seconds in (
        *range(1, 5),
        *range(5, 60, 5),
        *range(60, 3_600, 60),
        *range(3_600, 10_800, 900),
        *range(10_800, 86_400, 3_600),
        *range(86_400, 31 * 86_400 + 1, 86_400),
    )
)
ALONE_PREFERRED = 2.0  # one cadence alone may grow by so many times what all together would need

Candidate = Mapping[str, Turns]  # every cadence, changed or not
Judge = Callable[[Mapping[str, Turns]], Sequence[Line]]


def nearest(judges: Sequence[Judge], turns: Mapping[str, Turns]) -> Candidate | None:
    """Return the nearest schedule that fits all judges; None when none on the grid does.

    Nearest is, in this order: the same intervals with longer deadlines; the least growth of one cadence's interval;
    the least growth of several, when none alone will do or each would have to grow more than twice as much. Of
    several, none could be shorter while the others stay. Cron lines stay as they are.
    """

    def fitting(candidate: Candidate) -> Candidate | None:
        lines = [line for judge in judges for line in judge(candidate)]
        if any(line.share > 1 or line.heaviest > line.allowed for line in lines):
            return None
        return _with_deadlines(candidate, lines)

    if (same := fitting(turns)) is not None:
        return same
    asking = _asking(judges, turns)
    alone = _least(fitting, turns, ([name] for name in asking))
    together = _least(fitting, turns, [asking]) if len(asking) > 1 else None
    if alone and (together is None or _growth(alone, turns) <= ALONE_PREFERRED * _growth(together, turns)):
        return alone
    return _no_longer_than_needed(fitting, turns, together) if together else None


def fewer(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number below `most` that fits, 0 when none does; fewer never need more."""
    return bisect_left(range(1, most), True, key=lambda number: not fits(number))


def _asking(judges: Sequence[Judge], turns: Mapping[str, Turns]) -> list[str]:
    """Return the cadences that can be changed and whose cycles use a limit."""
    used = {name for judge in judges for line in judge(turns) for name in line.cycles}
    return [name for name, turn in turns.items() if turn.every is not None and name in used]


def _least(
    fitting: Callable[[Candidate], Candidate | None],
    turns: Mapping[str, Turns],
    groups: Iterator[list[str]] | list[list[str]],
) -> Candidate | None:
    """Return the fitting schedule whose most grown cadence grows least, when the cadences of one group may grow."""
    found: Candidate | None = None
    for names in groups:
        for growth in sorted({value / turns[name].gap for name in names for value in GRID if value > turns[name].gap}):
            if found is not None and growth >= _growth(found, turns):
                break
            grown = {name: _grown(turn, growth) if name in names else turn for name, turn in turns.items()}
            if (fit := fitting(grown)) is not None:
                found = fit
                break
    return found


def _grown(turn: Turns, growth: float) -> Turns:
    """Return a cadence with the longest interval of the grid that is at most so many times as long."""
    most = turn.gap * growth + timedelta(microseconds=1)
    best = max((value for value in GRID if turn.gap < value <= most), default=None)
    return turn if best is None else turn.longer(best)


def _no_longer_than_needed(
    fitting: Callable[[Candidate], Candidate | None], turns: Mapping[str, Turns], found: Candidate
) -> Candidate:
    """Return the schedule with each cadence in turn as short as the others let it be, rarest cadence first."""
    for name in sorted(turns, key=lambda name: -turns[name].gap):
        for value in (turns[name].gap, *(value for value in GRID if turns[name].gap < value < found[name].gap)):
            if value >= found[name].gap:
                break
            again = turns[name] if value == turns[name].gap else turns[name].longer(value)
            if (fit := fitting({**found, name: again})) is not None:
                found = fit
                break
    return found


def _with_deadlines(candidate: Candidate, lines: Sequence[Line]) -> Candidate | None:
    """Return the schedule with deadlines that its waits keep; None when a cycle would last beyond its next start."""
    changed = dict(candidate)
    for name, turn in candidate.items():
        wait = max((line.times[name] for line in lines if name in line.times), default=timedelta(0))
        if wait <= turn.deadline:
            continue
        deadline = next((value for value in GRID if value >= wait), None)
        if deadline is None or deadline > turn.gap:
            return None
        changed[name] = Turns(name=name, every=turn.every, gap=turn.gap, a_month=turn.a_month, deadline=deadline)
    return changed


def _growth(found: Candidate, turns: Mapping[str, Turns]) -> float:
    return max(turn.gap / turns[name].gap for name, turn in found.items())
