"""The algebra of windows against a dictionary that holds each bar by itself and knows nothing of windows.

The dictionary says what the rules say of one bar. Whatever is found in whatever order, the windows must say the same of
every bar, be in order, never overlap, and be as few as can be.
"""

import itertools
from datetime import timedelta
from typing import NamedTuple

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.coverage import (
    ASKED_FOR,
    FOUND_BY_SCAN,
    HAS_NONE,
    NOBODY,
    NOT_BELIEVED,
    NOT_ELSEWHERE,
    NOT_IN_ANSWER,
    OLDER,
    Event,
    Finding,
    State,
    settle,
)
from collector.errors import IllegalTransition
from tests.storage.samples import NOON

O, F, N, M, P = State.OBSERVED, State.FILLED, State.PROVIDER_HAS_NONE, State.MISSING, State.PENDING  # noqa: E741
MINUTE = timedelta(minutes=1)
PAUSES = [1, 10, 60, 1440]  # minutes
SAYS = {  # what comes with each event: the reasons it can have, and who can say it
    Event.GOT: ([""], ["own"]),
    Event.GOT_ELSEWHERE: ([""], ["one", "two"]),
    Event.ABSENT: ([NOT_IN_ANSWER, NOT_BELIEVED], ["own"]),
    Event.BEFORE_FIRST: ([OLDER], ["own"]),
    Event.ABSENT_ELSEWHERE: ([NOT_ELSEWHERE], ["one", "two"]),
    Event.FAILED: (["HTTP 500", "no answer"], ["own", "one"]),
    Event.NOT_ASKED: (["time was over"], ["own"]),
    Event.WANTED: ([ASKED_FOR], ["own"]),
    Event.ASKED: ([ASKED_FOR, ""], ["own", "one"]),
    Event.LET_GO: ([""], [""]),
    Event.LOST: ([FOUND_BY_SCAN], ["own"]),
    Event.EXHAUSTED: ([NOBODY], ["own"]),
}
LIKELY = [Event.GOT, Event.ABSENT, Event.ABSENT, Event.ABSENT, Event.FAILED]  # what most answers say


class Bar(NamedTuple):
    state: State
    source: str
    reason: str = ""
    tries: int = 0
    again: object = None


class Forbidden(Exception):
    """The rules know no such move."""


def held(bar):
    return bar is not None and bar.state in (O, F)


def after(bar, told, now, *, older_held):
    """What the rules make of one bar."""
    if told.event is Event.GOT:
        return Bar(O, told.source)
    if told.event in (Event.ASKED, Event.LET_GO, Event.EXHAUSTED):
        return handed(bar, told, now)
    if told.event is Event.LOST:
        return Bar(M, told.source, told.reason, 0, now) if bar is None or held(bar) else bar
    if held(bar):
        return bar
    if told.event is Event.GOT_ELSEWHERE:
        return Bar(F, told.source)
    return still_open(bar, told, now, older_held=older_held)


def still_open(bar, told, now, *, older_held):
    """A bar that is not held, and did not come."""
    if told.event is Event.WANTED:
        return Bar(M, told.source, told.reason, 0, now) if bar is None or bar.state is M else bar
    if bar is None and told.event is Event.BEFORE_FIRST:
        return Bar(M, told.source, NOT_IN_ANSWER, 1, now + MINUTE) if older_held else None
    if told.event is not Event.NOT_ASKED:
        return vain(bar, told, now, older_held=older_held)
    if bar is None:
        return Bar(M, told.source, told.reason, 0, now)
    return Bar(M, told.source, bar.reason or told.reason, bar.tries, now) if bar.state is P else bar


def handed(bar, told, now):
    if told.event is Event.ASKED:
        if held(bar):
            raise Forbidden
        kept = bar or Bar(M, "")
        return Bar(P, told.source, kept.reason or told.reason, kept.tries, now + 10 * MINUTE)
    if told.event is Event.LET_GO:
        if bar is None or bar.state is not P:
            raise Forbidden
        return Bar(M, bar.source, bar.reason, bar.tries, now)
    if bar is None or bar.state not in (M, N):
        raise Forbidden
    return Bar(N, told.source, told.reason, bar.tries, None)


def vain(bar, told, now, *, older_held):
    """A bar that did not come."""
    if bar is None:
        return Bar(M, told.source, told.reason, 1, now + MINUTE)
    if bar.state is N:
        return bar
    own_lacked_it = bar.reason in (NOT_IN_ANSWER, NOT_BELIEVED, OLDER)
    its_turn = bar.state is P or bar.again <= now
    own_lacks_it = told.event in (Event.ABSENT, Event.BEFORE_FIRST)
    was_refused = NOT_BELIEVED in (bar.reason, told.reason)
    if own_lacks_it and own_lacked_it and not was_refused and bar.tries and its_turn:
        return (
            Bar(N, told.source, HAS_NONE, bar.tries + 1, None)
            if older_held
            else Bar(N, told.source, OLDER, bar.tries + 1, now)
        )
    reason = told.reason
    if bar.reason == OLDER and told.event is not Event.ABSENT:
        reason = OLDER
    elif own_lacked_it and told.event is Event.ABSENT_ELSEWHERE:
        reason = bar.reason
    if not its_turn:
        return Bar(M, told.source, reason, bar.tries, bar.again)
    pause = PAUSES[min(bar.tries + 1, 4) - 1] * MINUTE
    return Bar(M, told.source, reason, bar.tries + 1, now + pause)


def stepped(bars, findings, now, listed):
    """The dictionary after findings; neighbours that say the same wait together."""
    told = {bar: item for item in findings for bar in range(*stretch(item))}
    result, older_held = {}, False
    for bar in sorted({*bars, *told}):
        became = bars.get(bar)
        if bar in told:
            became = after(became, told[bar], now, older_held=older_held)
        if became is not None and (held(became) or listed is None or bar >= listed):
            result[bar] = became
        older_held = older_held or held(became)
    for run in runs(result):
        tries = max(result[bar].tries for bar in run)
        again = min((result[bar].again for bar in run if result[bar].again), default=None)
        for bar in run:
            result[bar] = result[bar]._replace(tries=tries, again=again)
    return result


def runs(bars):
    """Lists of bars that follow each other and say the same."""
    found = []
    for bar in sorted(bars):
        if found and found[-1][-1] == bar - 1 and bars[bar - 1][:3] == bars[bar][:3]:
            found[-1].append(bar)
        else:
            found.append([bar])
    return found


def stretch(item):
    return (item.since - NOON) // MINUTE, (item.until - NOON) // MINUTE


def spelled_out(windows):
    """What windows say of each bar."""
    return {
        bar: Bar(item.state, item.source, item.reason, item.attempts, item.next_try_at)
        for item in windows
        for bar in range(*stretch(item))
    }


@st.composite
def findings_of_a_step(draw):
    edges = sorted(draw(st.sets(st.integers(0, 12), min_size=2, max_size=5)))
    result = []
    for since, until in list(itertools.pairwise(edges))[:: draw(st.sampled_from([1, 2]))]:
        event = draw(st.sampled_from([*SAYS, *LIKELY]))
        reasons, sources = SAYS[event]
        reason, source = draw(st.sampled_from(reasons)), draw(st.sampled_from(sources))
        values = {"since": NOON + since * MINUTE, "until": NOON + until * MINUTE}
        result.append(Finding(event=event, source=source, reason=reason, **values))
    return result


PASSES = st.sampled_from(
    [timedelta(0), timedelta(seconds=30), MINUTE, 10 * MINUTE, timedelta(days=1), timedelta(days=2)]
)
STEPS = st.lists(st.tuples(findings_of_a_step(), PASSES), min_size=1, max_size=14)


@settings(max_examples=500, deadline=None)
@given(STEPS, st.sampled_from([None, 0, 5]))
def test_windows_say_of_every_bar_what_the_rules_say_of_it(steps, listed):
    windows, bars, now = [], {}, NOON + timedelta(days=1)
    wanted_from = None if listed is None else NOON + listed * MINUTE
    for told, pause in steps:
        now += pause
        try:
            bars = stepped(bars, told, now, listed)
        except Forbidden:
            note("a forbidden move")
            assert_forbidden(windows, told, now, wanted_from)
            continue
        windows = settle(windows, told, now, wanted_from=wanted_from)
        assert all(item.since < item.until for item in windows)
        assert all(one.until <= other.since for one, other in itertools.pairwise(windows))  # one state per moment
        assert spelled_out(windows) == bars
        assert [list(range(*stretch(item))) for item in windows] == runs(bars)  # nothing could be one that is two
        for item in windows:
            note(f"passes through {item.state}")


def assert_forbidden(windows, told, now, wanted_from):
    try:
        settle(windows, told, now, wanted_from=wanted_from)
    except IllegalTransition:
        return
    raise AssertionError("a move that the rules do not know was made")


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_in_two_parts_or_at_once_findings_that_do_not_touch_come_to_the_same(steps):
    windows, now = [], NOON + timedelta(days=1)
    for told, pause in steps:
        now += pause
        early = [item for item in told if stretch(item)[1] <= 6 and item.event is Event.GOT]
        late = [item for item in told if stretch(item)[0] > 6 and item.event is Event.GOT]
        at_once = settle(windows, [*early, *late], now)
        assert settle(settle(windows, late, now), early, now) == at_once
        windows = at_once
