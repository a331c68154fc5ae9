"""The book: when an alert begins and ends, flapping, clocks that jump, and what is told when."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.alerts import book, telling
from collector.alerts.book import Event, Patience, State
from collector.config.alerts import AlertSettings, QuietSettings
from collector.errors import IllegalTransition
from tests.alerts.vitals_samples import DAY, HOUR, MINUTE, NOW, finding, found

PATIENCE = Patience(fire_after=2, clear_after=3)
CLEAR = found()


class Desk:
    """A book that is turned look by look, a minute apart, and told as the settings say."""

    def __init__(self, at=NOW, **settings):
        self.at, self.alerts = at, []
        self._numbers = (f"number {n}" for n in itertools.count(1))
        self._settings = AlertSettings(**settings)
        self.told = []

    def look(self, seen, *, step=MINUTE):
        turned = book.turn(self.alerts, seen, self.at, PATIENCE, lambda: next(self._numbers))
        now = telling.news(turned.alerts, self.at, self._settings)
        self.alerts = telling.marked(turned.alerts, now, self.at)
        texts = telling.messages(now, ["ops"], self.at, lambda: next(self._numbers))
        self.told += [message.title.removeprefix("Collector: ") for message in texts]
        self.at += step
        return turned

    def looks(self, pattern, seen=None, **more):
        for sign in pattern:
            self.look((seen or found(finding())) if sign == "x" else CLEAR, **more)
        return self.told


FIRING, OVER = "warning: source_failing okx firing", "warning: source_failing okx over"
STILL = "warning: source_failing okx still firing"


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("x", []),
        ("xx", [FIRING]),
        ("xxxxxxxxxx", [FIRING]),
        ("x.x.x.x.x.x.", []),
        ("xx..", [FIRING]),
        ("xx...", [FIRING, OVER]),
        ("xx..x..x..x..", [FIRING]),
        ("xx........", [FIRING, OVER]),
    ],
)
def test_it_takes_two_looks_to_begin_and_three_to_end(pattern, told):
    assert Desk().looks(pattern) == told


def test_one_that_comes_back_soon_needs_twice_as_many_clear_looks_each_time():
    desk = Desk()
    assert desk.looks("xx...xx") == [FIRING, OVER, FIRING]
    assert desk.looks("...") == [FIRING, OVER, FIRING]  # six are needed now
    assert desk.looks("...xx" + "." * 11) == [FIRING, OVER, FIRING, OVER, FIRING]  # then twelve
    assert desk.looks(".")[-1] == OVER


def test_a_source_that_flaps_all_day_is_told_a_few_times_and_not_hundreds():
    assert len(Desk(remind_after="7d").looks("xx..." * 288)) <= 12


def test_one_that_comes_back_after_hours_begins_anew():
    desk = Desk()
    desk.looks("xx...")
    desk.at += 2 * HOUR
    assert desk.looks("xx...") == [FIRING, OVER, FIRING, OVER]


def test_what_a_look_could_not_tell_stays_as_it_is():
    desk = Desk()
    desk.looks("xx")
    for _ in range(10):
        desk.look(found(rules=("database_away",)))
    assert desk.told == [FIRING]
    assert [alert.state for alert in desk.alerts] == ["firing"]


def test_a_pending_one_that_is_gone_leaves_no_trace():
    desk = Desk()
    desk.look(found(finding()))
    assert desk.look(CLEAR).dismissed == ["number 1"]
    assert desk.alerts == []


def test_subjects_are_counted_apart():
    desk = Desk()
    desk.look(found(finding("okx")))
    desk.look(found(finding("okx"), finding("kraken")))
    assert [(alert.subject, alert.state) for alert in desk.alerts] == [("okx", "firing"), ("kraken", "pending")]


def test_a_thousand_subjects_at_once_are_one_message_that_a_phone_can_show():
    desk = Desk()
    seen = found(*(finding(f"okx/{number}", rule="freshness") for number in range(1000)))
    desk.look(seen)
    turned = desk.look(seen)
    assert desk.told == ["1000 firing"]
    body = telling.messages(telling.News(fired=turned.fired), ["ops"], NOW, lambda: "m")[0].body
    assert "and 992 more" in body
    assert len(body) <= 3500


def test_one_that_lasts_is_told_again_after_the_set_time():
    desk = Desk(remind_after="1h")
    desk.looks("x" * 61)
    assert desk.told == [FIRING]
    assert desk.looks("x") == [FIRING, STILL]


def test_one_that_gets_worse_is_told_again():
    desk = Desk()
    desk.looks("xx", found(finding("-", "disk_horizon")))
    desk.looks("x", found(finding("-", "disk_horizon", severity="critical")))
    assert desk.told == ["warning: disk_horizon firing", "critical: disk_horizon firing"]
    desk.looks("xx", found(finding("-", "disk_horizon")))
    assert len(desk.told) == 2  # better is no news


def test_moves_that_are_not_in_the_table_are_refused():
    allowed = {pair for pair in itertools.product(State, Event) if pair in book.TRANSITIONS}
    assert allowed == {(State.PENDING, Event.CONFIRMED), (State.PENDING, Event.GONE), (State.FIRING, Event.GONE)}
    with pytest.raises(IllegalTransition):
        book.move("resolved", Event.GONE)


# --------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("jump", [365 * DAY, -365 * DAY, -HOUR], ids=str)
def test_a_clock_that_jumps_neither_fires_nor_ends_anything(jump):
    desk = Desk(remind_after="3660d")
    desk.look(found(finding("kraken")))
    desk.looks("xx")
    desk.at += jump
    desk.look(found(finding("okx"), finding("new")))
    assert desk.told == [FIRING]
    assert {alert.subject: alert.state for alert in desk.alerts} == {"okx": "firing", "new": "pending"}


def test_a_reminder_comes_in_time_after_the_clock_was_put_back_by_a_year():
    desk = Desk(remind_after="1h")
    desk.looks("xx")
    desk.at -= 365 * DAY
    assert desk.looks("x" * 62) == [FIRING, STILL]


@given(st.lists(st.tuples(st.booleans(), st.integers(-100_000, 100_000)), max_size=60))
def test_news_alternate_between_firing_and_over_whatever_the_looks_and_the_clock(steps):
    desk = Desk(remind_after="3660d")
    for seen, seconds in steps:
        desk.look(found(finding()) if seen else CLEAR, step=timedelta(seconds=seconds))
    assert desk.told == [FIRING, OVER] * (len(desk.told) // 2) + [FIRING] * (len(desk.told) % 2)


# --------------------------------------------------------------------------- quiet hours

BERLIN = {"since": "22:30", "until": "07:00", "time_zone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ("2026-01-15T21:29:59", False),  # winter: one hour ahead of UTC
        ("2026-01-15T21:30:00", True),
        ("2026-01-15T23:59:59", True),
        ("2026-01-16T00:00:00", True),
        ("2026-01-16T05:59:59", True),
        ("2026-01-16T06:00:00", False),
        ("2026-07-15T20:30:00", True),  # summer: two hours ahead
        ("2026-07-16T04:59:59", True),
        ("2026-07-16T05:00:00", False),
        ("2026-03-29T01:30:00", True),  # the night that loses an hour
        ("2026-03-29T04:59:59", True),
        ("2026-03-29T05:00:00", False),
        ("2026-10-25T05:59:59", True),  # the night that has one twice
        ("2026-10-25T06:00:00", False),
    ],
)
def test_quiet_hours_go_by_the_clock_on_the_wall_over_midnight_and_summer_time(moment, quiet):
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert telling.is_quiet(at, QuietSettings(**BERLIN)) is quiet


def test_quiet_hours_of_one_day_and_none_at_all():
    siesta = QuietSettings(since="13:00", until="15:00")
    assert [telling.is_quiet(NOW.replace(hour=hour, minute=0), siesta) for hour in (12, 13, 14, 15)] == [
        False,
        True,
        True,
        False,
    ]
    assert not telling.is_quiet(NOW, QuietSettings())


def test_what_came_in_quiet_hours_is_told_afterwards_in_one_message():
    desk = Desk(at=NOW.replace(hour=23), quiet={"since": "22:00", "until": "07:00"})
    desk.looks("xx...")  # came and went
    desk.look(found(finding("kraken")))
    desk.look(found(finding("kraken")))
    assert desk.told == []
    desk.at = (NOW + DAY).replace(hour=7, minute=0)
    desk.look(found(finding("kraken")))
    assert desk.told == ["1 firing, 1 over"]
    assert desk.looks("x", found(finding("kraken"))) == ["1 firing, 1 over"]


def test_what_is_critical_breaks_through_unless_it_shall_not():
    seen = found(finding("-", "disk_horizon", severity="critical"), finding())
    quiet = {"since": "22:00", "until": "07:00"}
    through = Desk(at=NOW.replace(hour=23), quiet=quiet).looks("xx", seen)
    assert through == ["critical: disk_horizon firing"]
    assert Desk(at=NOW.replace(hour=23), quiet={**quiet, "critical": False}).looks("xx", seen) == []


# --------------------------------------------------------------------------- the database is back


def test_what_was_seen_while_the_database_was_away_continues_the_stored_alert():
    desk = Desk()
    desk.looks("xx")
    (stored,) = desk.alerts
    mine = replace(stored, alert_id="of memory", detail="newer")
    assert book.merged([stored], [mine]) == [replace(mine, alert_id=stored.alert_id)]


def test_what_was_over_while_the_database_was_away_is_kept_beside_the_stored_one():
    desk = Desk()
    desk.looks("xx")
    (stored,) = desk.alerts
    over = replace(stored, alert_id="of memory", state="resolved", resolved_at=NOW)
    assert book.merged([stored], [over]) == [stored, over]


def test_a_stored_alert_that_memory_saw_end_is_over():
    desk = Desk()
    desk.looks("xx")
    (stored,) = desk.alerts
    over = replace(stored, state="resolved", resolved_at=NOW)
    assert book.merged([stored], [over]) == [over]
