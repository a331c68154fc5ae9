"""Windows of a series: what a job says about them, and what they become. Minutes after noon are written as numbers."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.coverage import (
    ASKED_FOR,
    HAS_NONE,
    HELD,
    NOT_BELIEVED,
    NOT_ELSEWHERE,
    NOT_IN_ANSWER,
    OLDER,
    Event,
    Finding,
    Series,
    State,
    Window,
    findings,
    merged,
    moved,
    series_of,
    settle,
)
from collector.errors import IllegalTransition
from collector.records import Dataset, Interval, Job
from tests.storage.samples import BTC, NOON, perp

ETH = perp("ETH", venue="binance_futures")


def at(minute):
    return NOON + timedelta(minutes=minute)


NOW = at(1000)


def job(first, last, **changes):
    values = {"source": "okx", "dataset": Dataset.CANDLES, "instruments": (BTC,), "interval": Interval.M1}
    return Job(**{**values, "since": at(first), "until": at(last), **changes})


def told(job, minutes, **changes):
    """What a job with bars of these minutes says, in short."""
    found = findings(job, [at(minute) for minute in minutes], **{"state": "ok", **changes})
    return [(minute(item.since), minute(item.until), item.event, item.reason) for item in found]


def minute(moment):
    return int((moment - NOON) / timedelta(minutes=1))


def window(since, until, state=State.OBSERVED, **changes):
    return Window(**{"since": at(since), "until": at(until), "state": state, "source": "okx", **changes})


def finding(since, until, event, **changes):
    return Finding(**{"since": at(since), "until": at(until), "event": event, "source": "okx", **changes})


def short(windows):
    return [(minute(item.since), minute(item.until), str(item.state)) for item in windows]


# --------------------------------------------------------------------------- what a job says


def test_an_answer_with_every_bar_is_one_stretch():
    assert told(job(0, 5), [3, 1, 0, 4, 2]) == [(0, 5, Event.GOT, "")]


def test_a_single_missing_bar_inside_is_named():
    assert told(job(0, 5), [0, 1, 3, 4]) == [
        (0, 2, Event.GOT, ""),
        (2, 3, Event.ABSENT, NOT_IN_ANSWER),
        (3, 5, Event.GOT, ""),
    ]


def test_bars_before_the_first_one_are_told_apart_from_holes():
    assert told(job(0, 5), [2, 3]) == [
        (0, 2, Event.BEFORE_FIRST, OLDER),
        (2, 4, Event.GOT, ""),
        (4, 5, Event.ABSENT, NOT_IN_ANSWER),
    ]


def test_an_empty_answer_is_absence_from_end_to_end():
    assert told(job(0, 5), []) == [(0, 5, Event.ABSENT, NOT_IN_ANSWER)]


def test_a_job_that_failed_half_way_keeps_what_came_and_names_its_error():
    found = told(job(0, 9), [0, 1, 2], state="failed", error="no answer within 15 s")
    assert found == [(0, 3, Event.GOT, ""), (3, 9, Event.FAILED, "no answer within 15 s")]


def test_a_job_that_was_not_started_was_no_attempt():
    assert told(job(0, 2), [], state="skipped", error="time was over") == [(0, 2, Event.NOT_ASKED, "time was over")]


def test_bars_that_were_refused_are_not_called_absent_from_the_answer():
    assert told(job(0, 3), [1, 2], rejected=True)[0] == (0, 1, Event.ABSENT, NOT_BELIEVED)


def test_another_provider_fills_and_its_gaps_say_nothing_about_the_own_one():
    stand_in = job(0, 4, source="binance_futures", instruments=(ETH,), stands_for=BTC)
    assert told(stand_in, [1]) == [
        (0, 1, Event.ABSENT_ELSEWHERE, NOT_ELSEWHERE),
        (1, 2, Event.GOT_ELSEWHERE, ""),
        (2, 4, Event.ABSENT_ELSEWHERE, NOT_ELSEWHERE),
    ]
    assert series_of(stand_in)[0].instrument == BTC.id


def test_bars_that_came_beside_the_range_are_held_too_but_nothing_is_missing_there():
    assert told(job(2, 4), [1, 2, 2, 3, 4]) == [(1, 5, Event.GOT, "")]
    assert told(job(5, 7), [1, 5, 6, 9]) == [(1, 2, Event.GOT, ""), (5, 7, Event.GOT, ""), (9, 10, Event.GOT, "")]
    assert told(job(5, 7), [2, 6])[1] == (5, 6, Event.ABSENT, NOT_IN_ANSWER)


def test_a_range_off_the_grid_wants_only_bars_that_open_in_it():
    off = job(0, 5, since=at(0) + timedelta(seconds=20), until=at(3) + timedelta(seconds=1))
    assert told(off, [1, 2, 3]) == [(1, 4, Event.GOT, "")]


def test_weeks_open_on_monday():
    monday = datetime(2026, 1, 26, tzinfo=UTC)
    weeks = job(0, 1, interval=Interval.W1, since=monday, until=monday + timedelta(weeks=2))
    found = findings(weeks, [monday], state="ok")
    assert [(item.since, item.event) for item in found] == [
        (monday, Event.GOT),
        (monday + timedelta(weeks=1), Event.ABSENT),
    ]


def test_funding_is_covered_as_asked_for():
    payments = job(0, 600, dataset=Dataset.FUNDING, interval=None)
    assert told(payments, []) == [(0, 600, Event.GOT, "")]
    assert told(payments, [], state="failed", error="HTTP 500") == [(0, 600, Event.FAILED, "HTTP 500")]


@pytest.mark.parametrize(
    "other",
    [
        job(0, 5, dataset=Dataset.ORDER_BOOKS, interval=None),
        job(0, 5, since=None),
        job(0, 5, until=None),
        job(0, 5, instruments=()),
        job(0, 5, instruments=(BTC, ETH)),
        job(0, 5, interval=None),
    ],
)
def test_a_job_without_one_series_and_a_range_covers_nothing(other):
    assert series_of(other) is None


def test_a_series_is_written_as_people_write_it():
    assert series_of(job(0, 1))[0].name == "okx:BTC-USDT:perp/1m"
    assert Series(instrument=BTC.id, dataset=Dataset.FUNDING).name == "okx:BTC-USDT:perp/funding"


# --------------------------------------------------------------------------- what windows become


def test_a_series_without_holes_stays_one_window():
    windows = []
    for cycle in range(100):
        windows = settle(windows, [finding(cycle, cycle + 1, Event.GOT)], at(cycle + 1))
    assert windows == [window(0, 100)]


def test_a_hole_splits_the_window_and_closes_again():
    holed = settle([window(0, 9)], [finding(9, 10, Event.FAILED, reason="HTTP 500")], NOW)
    assert short(holed) == [(0, 9, "observed"), (9, 10, "missing")]
    assert (holed[1].reason, holed[1].attempts, holed[1].next_try_at) == ("HTTP 500", 1, NOW + timedelta(minutes=1))
    assert settle(holed, [finding(9, 12, Event.GOT)], NOW) == [window(0, 12)]


def test_what_another_provider_gave_stands_by_itself_until_the_own_one_gives_it():
    filled = settle([window(0, 9)], [finding(9, 12, Event.GOT_ELSEWHERE, source="binance_futures")], NOW)
    assert short(filled) == [(0, 9, "observed"), (9, 12, "filled")]
    assert filled[1].source == "binance_futures"
    assert settle(filled, [finding(9, 12, Event.GOT)], NOW) == [window(0, 12)]


@pytest.mark.parametrize("event", [Event.FAILED, Event.ABSENT, Event.NOT_ASKED, Event.ABSENT_ELSEWHERE, Event.WANTED])
def test_what_is_held_stays_held(event):
    held = [window(0, 9), window(9, 12, State.FILLED, source="kraken")]
    assert settle(held, [finding(3, 12, event, reason="x")], NOW) == held


def test_another_provider_never_replaces_what_the_own_one_gave():
    assert settle([window(0, 9)], [finding(0, 9, Event.GOT_ELSEWHERE, source="kraken")], NOW) == [window(0, 9)]


def test_a_bar_the_provider_does_not_give_is_believed_absent_only_the_second_time():
    before = [window(0, 9), window(10, 12)]
    first = settle(before, [finding(9, 10, Event.ABSENT, reason=NOT_IN_ANSWER)], NOW)
    assert (first[1].state, first[1].reason, first[1].attempts) == (State.MISSING, NOT_IN_ANSWER, 1)
    too_early = settle(first, [finding(9, 10, Event.ABSENT, reason=NOT_IN_ANSWER)], NOW + timedelta(seconds=30))
    assert too_early == first
    later = settle(first, [finding(9, 10, Event.ABSENT, reason=NOT_IN_ANSWER)], NOW + timedelta(minutes=1))
    assert (later[1].state, later[1].reason, later[1].next_try_at) == (State.PROVIDER_HAS_NONE, HAS_NONE, None)


def test_an_absence_after_a_failure_is_the_first_one():
    failed = settle([window(0, 9)], [finding(9, 10, Event.FAILED, reason="HTTP 500")], NOW)
    absent = settle(failed, [finding(9, 10, Event.ABSENT, reason=NOT_IN_ANSWER)], NOW + timedelta(hours=1))
    assert (absent[1].state, absent[1].attempts) == (State.MISSING, 2)


def test_what_another_provider_lacks_does_not_stand_for_a_first_absence_at_the_own_one():
    windows, now = [window(0, 9)], NOW
    elsewhere = finding(9, 10, Event.ABSENT_ELSEWHERE, source="kraken", reason=NOT_ELSEWHERE)
    for told in (finding(9, 10, Event.FAILED, reason="HTTP 500"), elsewhere):
        windows, now = settle(windows, [told], now), now + timedelta(days=1)
    first = settle(windows, [finding(9, 10, Event.ABSENT, reason=NOT_IN_ANSWER)], now)
    assert (first[1].state, first[1].attempts) == (State.MISSING, 3)
    beside = settle(first, [elsewhere], now + timedelta(days=1))
    assert beside[1].reason == NOT_IN_ANSWER  # what the own provider said is not forgotten
    second = settle(beside, [finding(9, 10, Event.ABSENT, reason=NOT_IN_ANSWER)], now + timedelta(days=2))
    assert (second[1].state, second[1].reason) == (State.PROVIDER_HAS_NONE, HAS_NONE)


def test_what_the_provider_gives_after_all_is_observed():
    none = [window(0, 9), window(9, 10, State.PROVIDER_HAS_NONE, reason=HAS_NONE, attempts=2)]
    assert settle(none, [finding(9, 10, Event.GOT)], NOW) == [window(0, 10)]


def test_nothing_is_wanted_before_the_first_bar_of_a_new_series():
    found = [finding(0, 300, Event.BEFORE_FIRST, reason=OLDER), finding(300, 499, Event.GOT)]
    assert short(settle([], found, NOW)) == [(300, 499, "observed")]


def test_a_hole_after_stored_bars_is_wanted_though_the_answer_begins_later():
    found = [finding(9, 11, Event.BEFORE_FIRST, reason=OLDER), finding(11, 12, Event.GOT)]
    holed = settle([window(0, 9)], found, NOW)
    assert short(holed) == [(0, 9, "observed"), (9, 11, "missing"), (11, 12, "observed")]
    assert holed[1].reason == NOT_IN_ANSWER
    assert short(settle([], found, NOW, held_before=True)) == [(9, 11, "missing"), (11, 12, "observed")]


def test_what_somebody_asked_for_is_wanted_however_old_and_others_are_asked_for_it():
    asked = settle([window(50, 60)], [finding(0, 50, Event.ASKED, reason=ASKED_FOR)], NOW)
    assert (short(asked)[0], asked[0].reason) == ((0, 50, "pending"), ASKED_FOR)
    answer = [finding(0, 40, Event.BEFORE_FIRST, reason=OLDER), finding(40, 50, Event.GOT)]
    once = settle(asked, answer, NOW)
    assert short(once) == [(0, 40, "missing"), (40, 60, "observed")]
    twice = settle(once, [finding(0, 40, Event.ABSENT, reason=NOT_IN_ANSWER)], NOW + timedelta(minutes=2))
    assert (twice[0].state, twice[0].reason) == (State.PROVIDER_HAS_NONE, OLDER)
    assert twice[0].next_try_at == NOW + timedelta(minutes=2)  # another provider may have it


def test_nothing_is_wanted_before_the_listing():
    found = [finding(0, 60, Event.FAILED, reason="HTTP 500")]
    assert short(settle([], found, NOW, wanted_from=at(45))) == [(45, 60, "missing")]
    assert settle([], found, NOW, wanted_from=at(60)) == []


def test_pauses_between_vain_attempts_grow_to_a_day():
    windows, now, pauses = [], NOW, []
    for _ in range(6):
        windows = settle(windows, [finding(0, 5, Event.FAILED, reason="HTTP 500")], now)
        pauses.append(windows[0].next_try_at - now)
        now = windows[0].next_try_at
    minutes = [pause / timedelta(minutes=1) for pause in pauses]
    assert minutes == [1, 10, 60, 1440, 1440, 1440]
    assert windows[0].attempts == 6


def test_an_outage_is_one_window_however_many_cycles_it_lasts_and_whatever_its_errors_say():
    windows = [window(0, 10)]
    for cycle in range(10, 200):
        failed = finding(10, cycle + 1, Event.FAILED, reason=f"no answer within {cycle} ms")
        windows = settle(windows, [failed], at(cycle + 1))
    assert short(windows) == [(0, 10, "observed"), (10, 200, "missing")]
    assert windows[1].reason == "no answer within 199 ms"


def test_a_claim_that_was_not_worked_on_is_missing_again_without_an_attempt():
    claimed = settle([], [finding(0, 5, Event.ASKED, reason=ASKED_FOR)], NOW)
    (free,) = settle(claimed, [finding(0, 5, Event.LET_GO, source="")], NOW)
    assert (free.state, free.attempts, free.next_try_at, free.source) == (State.MISSING, 0, NOW, "okx")


def test_a_wish_makes_a_hole_due_at_once():
    tired = [window(0, 5, State.MISSING, reason="HTTP 500", attempts=4, next_try_at=NOW + timedelta(days=1))]
    (wished,) = settle(tired, [finding(0, 5, Event.WANTED, reason=ASKED_FOR)], NOW)
    assert (wished.reason, wished.attempts, wished.next_try_at) == (ASKED_FOR, 0, NOW)


def test_a_scan_finds_what_is_lost_and_leaves_what_is_known_missing():
    known = [window(0, 5), window(5, 7, State.PROVIDER_HAS_NONE, reason=HAS_NONE)]
    found = settle(known, [finding(3, 7, Event.LOST, reason="no rows are stored")], NOW)
    assert short(found) == [(0, 3, "observed"), (3, 5, "missing"), (5, 7, "provider_has_none")]


def test_a_move_that_does_not_exist_is_a_defect():
    with pytest.raises(IllegalTransition, match="observed window cannot move by asked"):
        moved(State.OBSERVED, Event.ASKED)
    with pytest.raises(IllegalTransition, match="not wanted window cannot move by let_go"):
        moved(None, Event.LET_GO)


def test_of_merged_holes_the_earliest_try_and_the_most_attempts_count():
    holes = [
        window(0, 5, State.MISSING, attempts=3, next_try_at=NOW + timedelta(hours=1)),
        window(5, 6, State.MISSING, attempts=1, next_try_at=NOW),
    ]
    assert merged(holes) == [window(0, 6, State.MISSING, attempts=3, next_try_at=NOW)]


# --------------------------------------------------------------------------- laws

EVENTS = [event for event in Event if event not in (Event.CONFIRMED, Event.LET_GO, Event.EXHAUSTED, Event.ASKED)]
STRETCHES = st.tuples(st.integers(0, 30), st.integers(1, 8), st.sampled_from(EVENTS))


@given(st.lists(STRETCHES, max_size=12))
def test_windows_never_overlap_and_held_is_exactly_what_was_got_bar_by_bar(stretches):
    windows, held, now = [], {}, NOW
    for since, length, event in stretches:
        windows = settle(windows, [finding(since, since + length, event, reason="x")], now)
        for bar in range(since, since + length):
            if event in (Event.GOT, Event.GOT_ELSEWHERE):
                held[bar] = True
            elif event is Event.LOST:
                held.pop(bar, None)
        now += timedelta(minutes=2)
    assert all(one.until <= other.since for one, other in itertools.pairwise(windows))
    assert all(one.since < one.until for one in windows)
    covered = {bar for item in windows if item.state in HELD for bar in range(minute(item.since), minute(item.until))}
    assert covered == set(held)
    assert merged(windows) == windows


@given(st.lists(STRETCHES, max_size=8), st.integers(0, 30), st.integers(1, 8))
def test_settling_a_good_answer_twice_changes_nothing(stretches, since, length):
    windows = []
    for start, size, event in stretches:
        windows = settle(windows, [finding(start, start + size, event, reason="x")], NOW)
    once = settle(windows, [finding(since, since + length, Event.GOT)], NOW)
    assert settle(once, [finding(since, since + length, Event.GOT)], NOW) == once


@given(st.integers(0, 10), st.integers(0, 40), st.sets(st.integers(0, 50)))
def test_what_a_job_says_covers_its_range_once(since, length, bars):
    found = findings(job(since, since + length), [at(bar) for bar in bars], state="ok")
    stretches = [(minute(item.since), minute(item.until)) for item in found]
    told_bars = [bar for first, last in stretches for bar in range(first, last)]
    assert told_bars == sorted(bars | set(range(since, since + length)))
    got = {bar for item in found if item.event is Event.GOT for bar in range(minute(item.since), minute(item.until))}
    assert got == bars


def test_a_bar_that_is_refused_twice_is_not_one_that_the_provider_has_not():
    windows = [Window(since=at(0), until=at(3), state=State.OBSERVED, source="okx")]
    now = NOW
    for _ in range(3):
        refused = Finding(since=at(3), until=at(4), event=Event.ABSENT, source="okx", reason=NOT_BELIEVED)
        windows = settle(windows, [refused], now)
        now += timedelta(days=2)
    _, window = windows
    assert (window.state, window.reason, window.attempts) == (State.MISSING, NOT_BELIEVED, 3)
    assert window.next_try_at is not None
