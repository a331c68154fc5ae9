"""The process beside the collector that does the chores: no failure of one stops the others."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from collector.clock import ManualClock, SystemClock
from collector.errors import LockHeld, SinkError, StorageUnavailable
from collector.housekeeping import TICK_S, Housekeeper

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Counted:
    """A chore that is due every `every` seconds, and fails while told to."""

    def __init__(self, name, clock, every=10):
        self.name, self.clock, self.every = name, clock, every
        self.runs, self.fails, self.last = 0, False, None

    def due(self, now):
        return self.last is None or (now - self.last).total_seconds() >= self.every

    def run(self, now):
        if self.fails:
            raise SinkError("the bucket is not there")
        self.runs, self.last = self.runs + 1, now
        return {"rows": self.runs}


class Place:
    """Lends the lock; says no while somebody else has it or the database is away."""

    def __init__(self):
        self.error, self.held, self.taken = None, False, 0

    @contextmanager
    def lock(self):
        if self.error:
            raise self.error
        self.taken, self.held = self.taken + 1, True
        try:
            yield self
        finally:
            self.held = False

    def still_held(self):
        return self.held


@pytest.fixture
def place():
    return Place()


def test_each_chore_runs_when_it_is_due(place, clock):
    often, seldom = Counted("often", clock, 10), Counted("seldom", clock, 25)
    with Housekeeper([often, seldom], place.lock, clock) as keeper:
        for _ in range(6):  # at 0, 10, ... 50 seconds
            keeper.look()
            clock.advance(10)
    assert (often.runs, seldom.runs) == (6, 2)


def test_a_chore_that_fails_costs_the_others_nothing_and_is_tried_again(place, clock):
    broken, sound = Counted("broken", clock), Counted("sound", clock)
    broken.fails = True
    with Housekeeper([broken, sound], place.lock, clock) as keeper:
        assert keeper.look() == (1, 1)
        broken.fails = False
        clock.advance(10)
        assert keeper.look() == (2, 0)
    assert (broken.runs, sound.runs) == (1, 2)


@pytest.mark.parametrize("error", [LockHeld("another keeps house"), StorageUnavailable("the server is away")])
def test_without_the_lock_only_what_needs_none_is_done(place, clock, error):
    chore, alarm = Counted("chore", clock), Counted("alarm", clock)
    place.error = error
    with Housekeeper([chore], place.lock, clock, always=[alarm]) as keeper:
        keeper.look()
        assert (chore.runs, alarm.runs) == (0, 1)
        place.error = None
        keeper.look()
        assert chore.runs == 1


def test_a_lock_that_was_lost_with_its_connection_is_taken_again(place, clock):
    chore = Counted("chore", clock, 0)
    with Housekeeper([chore], place.lock, clock) as keeper:
        keeper.look()
        place.held = False
        keeper.look()
        assert (place.taken, chore.runs) == (2, 2)
    assert not place.held


def test_it_looks_every_few_seconds_until_it_is_told_to_stop(place, clock):
    stopping = threading.Event()

    class Last(Counted):
        def run(self, now):
            if self.runs == 2:
                stopping.set()
            return super().run(now)

    chore, began = Last("chore", clock, 0), clock.now()
    with Housekeeper([chore], place.lock, clock) as keeper:
        keeper.run(stopping)
    assert chore.runs == 3
    assert (clock.now() - began).total_seconds() == pytest.approx(3 * TICK_S)


def test_what_must_not_wait_goes_on_while_a_chore_takes_long(place):
    clock, stopping, begun, go_on = ManualClock(NOON), threading.Event(), threading.Event(), threading.Event()

    class Long(Counted):
        def run(self, now):
            begun.set()
            assert go_on.wait(20)
            stopping.set()
            return super().run(now)

    class Alarm(Counted):
        def run(self, now):
            if begun.is_set() and self.runs > 2:
                go_on.set()
            return super().run(now)

    long, alarm = Long("long", clock), Alarm("alarm", clock, 0)
    with Housekeeper([long], place.lock, clock, always=[alarm]) as keeper:
        keeper.run(stopping)
    assert long.runs == 1
    assert alarm.runs > 3


def test_ctrl_c_while_the_second_thread_starts_ends_both(place, monkeypatch):
    class Interrupted(ThreadPoolExecutor):
        def submit(self, *given, **named):
            super().submit(*given, **named)
            raise KeyboardInterrupt

    monkeypatch.setattr("collector.housekeeping.ThreadPoolExecutor", Interrupted)
    stopping = threading.Event()
    clock = SystemClock(stopping)
    keeper = Housekeeper([Counted("chore", clock)], place.lock, clock, always=[Counted("alarm", clock)])
    with keeper, pytest.raises(KeyboardInterrupt):
        keeper.run(stopping)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("always")]


def test_a_defect_in_either_thread_ends_the_process_instead_of_leaving_half_of_it(place, clock):
    class Broken(Counted):
        def run(self, now):
            raise ZeroDivisionError

    stopping = threading.Event()
    keeper = Housekeeper([Counted("chore", clock)], place.lock, clock, always=[Broken("alarm", clock)])
    with keeper, pytest.raises(ZeroDivisionError):
        keeper.run(stopping)
    assert stopping.is_set()
