"""The whole way of an alert on a real database: look, book, message, target; killed, cut off, and quiet."""

import json
from dataclasses import replace

import pytest

from collector.alerts.chore import Alerts, Wiring
from collector.alerts.outbox import Outbox
from collector.alerts.targets import FileTarget, Ping
from collector.clock import ManualClock
from collector.config import LogSettings
from collector.config.alerts import AlertSettings
from collector.errors import IllegalTransition, StorageUnavailable
from collector.log import set_up_logging, tear_down_logging
from collector.storage.alerts import AlertStore
from collector.storage.database import Database
from tests.alerts.vitals_samples import DAY, EXPECTED, HOUR, MARKET, MINUTE, NOW, WELL, source

ILL = source(failing="no answer")
SILENT = replace(WELL, cadences=[replace(MARKET, last_started_at=NOW - HOUR)])


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it is done."""


class House:
    """One process that looks: its vitals can be changed, its targets are files."""

    def __init__(self, database, folder, names=("ops",), *, ping=None, at=NOW, **settings):
        self.clock, self.vitals, self.away = ManualClock(at), WELL, False
        self.files = {name: folder / f"{name}.jsonl" for name in names}
        self.settings = AlertSettings(**{"without": ("self_test",), **settings})
        self.store = AlertStore(database)
        self.outbox = Outbox({name: FileTarget(path) for name, path in self.files.items()}, self.clock, MINUTE)
        self.alerts = Alerts(
            Wiring(
                settings=self.settings,
                expected=EXPECTED,
                read=self._read,
                store=self.store,
                outbox=self.outbox,
                ping=ping,
                clock=self.clock,
            )
        )

    def _read(self, _now):
        if self.away:
            raise StorageUnavailable("read the vitals: connection refused")
        return self.vitals

    def look(self, vitals=None, times=1):
        self.vitals = vitals or self.vitals
        for _ in range(times):
            self.clock.advance(60)
            self.alerts.run(self.clock.now())
        return self.titles()

    def titles(self, name="ops"):
        file = self.files[name]
        lines = file.read_text().splitlines() if file.is_file() else []
        return [json.loads(line)["title"].removeprefix("Collector: ") for line in lines]


@pytest.fixture
def database(emptied):
    return emptied


@pytest.fixture
def house(database, tmp_path):
    return House(database, tmp_path)


@pytest.fixture
def said(tmp_path):
    set_up_logging(LogSettings(directory=tmp_path / "logs"), console=None)
    yield (tmp_path / "logs" / "collector.log").read_text
    tear_down_logging()


FIRING, OVER = "warning: source_failing okx firing", "warning: source_failing okx over"


def test_it_is_due_once_a_minute_by_the_clock_that_cannot_jump(house):
    assert house.alerts.due(NOW)
    house.look()
    assert not house.alerts.due(NOW + DAY)
    house.clock.advance(60)
    assert house.alerts.due(NOW - DAY)


def test_an_alert_is_told_once_and_its_end_too(house):
    assert house.look(ILL, 10) == [FIRING]
    assert house.look(WELL, 10) == [FIRING, OVER]
    (alert,) = house.store.recent(10)
    assert (alert.state, alert.told, alert.since) == ("resolved", "resolved", NOW + MINUTE)
    assert alert.resolved_at == NOW + 13 * MINUTE


def test_without_targets_it_is_in_the_log_and_in_the_table(database, tmp_path, said):
    house = House(database, tmp_path, names=())
    house.vitals = ILL
    for _ in range(3):
        house.clock.advance(60)
        house.alerts.run(house.clock.now())
    assert [(alert.rule, alert.state) for alert in house.store.recent(10)] == [("source_failing", "firing")]
    assert said().count("alert_fired") == 1
    assert house.store.load(NOW, NOW + HOUR).messages == []


def test_another_process_goes_on_where_the_last_one_ended(database, tmp_path):
    assert House(database, tmp_path).look(ILL, 1) == []
    assert House(database, tmp_path).look(ILL, 1) == [FIRING]
    assert House(database, tmp_path).look(ILL, 1) == [FIRING]


def test_two_processes_do_not_look_at_once(database, tmp_path, house):
    with AlertStore(database).turn() as mine:
        assert mine
        assert house.look(ILL, 5) == []
        assert house.alerts.test(NOW) is None
    assert house.look(ILL, 2) == [FIRING]


# --------------------------------------------------------------------------- killed


def test_killed_between_state_and_delivery_it_is_sent_at_the_next_start(database, tmp_path, monkeypatch):
    first = House(database, tmp_path)
    first.look(ILL, 1)
    monkeypatch.setattr(first.outbox, "send", _kill)
    with pytest.raises(Killed):
        first.look()
    assert first.titles() == []
    again = House(database, tmp_path)
    assert again.look(ILL, 3) == [FIRING]


def test_killed_before_the_state_is_stored_it_is_found_again(database, tmp_path, monkeypatch):
    first = House(database, tmp_path)
    first.look(ILL, 1)
    monkeypatch.setattr(AlertStore, "save", _kill)
    with pytest.raises(Killed):
        first.look()
    monkeypatch.undo()
    assert House(database, tmp_path).look(ILL, 3) == [FIRING]


def test_killed_between_delivery_and_mark_it_is_sent_twice_at_most(database, tmp_path, monkeypatch):
    first = House(database, tmp_path)
    first.look(ILL, 1)
    save, calls = AlertStore.save, []

    def die_at_the_second(*arguments):
        calls.append(1)
        return _kill() if len(calls) == 2 else save(*arguments)

    monkeypatch.setattr(AlertStore, "save", die_at_the_second)
    with pytest.raises(Killed):
        first.look()
    monkeypatch.undo()
    assert first.titles() == [FIRING]
    assert House(database, tmp_path).look(ILL, 5) == [FIRING, FIRING]


def _kill(*_arguments, **_more):
    raise Killed


# --------------------------------------------------------------------------- the database is away


def gone(database):
    """A database whose server nobody runs."""
    return Database(database.url.set(host="127.0.0.1", port=1, query={}).render_as_string(), clock=ManualClock(NOW))


def test_alerts_arrive_without_the_database_even_from_the_start(database, tmp_path, said):
    house = House(gone(database), tmp_path)
    house.away = True
    assert house.look(times=5) == ["critical: database_away firing"]
    assert said().count("alert_fired") == 1


def test_an_outage_of_the_database_is_told_and_its_end_and_all_is_stored(database, tmp_path):
    house = House(database, tmp_path)
    house.look(ILL, 2)
    there, house.alerts._w.store._database = house.store._database, gone(database)
    house.away = True
    house.look(times=4)
    house.alerts._w.store._database = there
    house.away = False
    told = house.look(times=6)
    assert told == [FIRING, "critical: database_away firing", "critical: database_away over"]
    stored = {alert.rule: alert.state for alert in house.store.recent(10)}
    assert stored == {"source_failing": "firing", "database_away": "resolved"}
    assert house.store.load(NOW, NOW + HOUR).messages == []
    again = House(database, tmp_path, at=house.clock.now())
    assert again.look(ILL, 3) == told


def test_an_alert_that_began_and_ended_while_the_database_was_away_is_stored_as_over(database, tmp_path, monkeypatch):
    house = House(database, tmp_path)
    house.look(ILL, 1)
    save = AlertStore.save
    monkeypatch.setattr(AlertStore, "save", _refuse)
    assert house.look(ILL, 1) == [FIRING]
    assert house.look(WELL, 3) == [FIRING, OVER]
    monkeypatch.setattr(AlertStore, "save", save)
    assert house.look(times=3) == [FIRING, OVER]
    assert [(alert.rule, alert.state) for alert in house.store.recent(10)] == [("source_failing", "resolved")]


def _refuse(*_arguments):
    raise StorageUnavailable("save the alerts: disk full")


# --------------------------------------------------------------------------- the table


def test_a_stored_alert_that_is_over_is_never_changed(database, house):
    house.look(ILL, 2)
    house.look(WELL, 3)
    (over,) = house.store.recent(10)
    with pytest.raises(IllegalTransition):
        house.store.save([replace(over, state="firing")], [])
    assert house.store.recent(10) == [over]


def test_one_that_comes_back_is_another_alert(house):
    house.look(ILL, 2)
    house.look(WELL, 3)
    house.look(ILL, 2)
    assert [(alert.state, alert.flaps) for alert in house.store.recent(10)] == [("firing", 1), ("resolved", 0)]


def test_what_was_over_long_ago_is_deleted_and_what_fires_is_not(database, tmp_path):
    house = House(database, tmp_path, keep="1d")
    house.look(ILL, 2)
    house.look(WELL, 3)
    house.clock.advance(3 * 86400)
    house.look(ILL, 2)
    assert [alert.state for alert in house.store.recent(10)] == ["firing"]


def test_the_totals_are_what_metrics_tell(house):
    house.look(ILL, 2)
    assert house.alerts.test(house.clock.now()) == {"ops": ""}
    totals = house.store.totals()
    assert (dict(totals.firing), dict(totals.waiting)) == ({("source_failing", "warning"): 1}, {})
    assert [(item.target, item.state) for item in totals.self_tests] == [("ops", "delivered")]


# --------------------------------------------------------------------------- the test that goes the whole way


TESTED = "alerts arrive here"


def with_tests(database, folder, **more):
    return House(database, folder, **{"without": (), "names": ("ops", "home"), **more})


def test_once_a_day_a_test_goes_to_every_target(database, tmp_path):
    house = with_tests(database, tmp_path)
    assert house.look() == [TESTED]
    assert house.look(times=30) == [TESTED]
    house.clock.advance(86400)
    assert house.look(times=3) == [TESTED, TESTED]
    assert house.titles("home") == [TESTED, TESTED]
    house.clock.advance(-0.5 * 365 * 86400)
    assert house.look(times=30) == [TESTED] * 3, "a clock that was put back does not end the tests"


def test_a_test_that_does_not_arrive_is_told_by_every_other_target_the_log_and_the_totals(database, tmp_path, said):
    house = with_tests(database, tmp_path)
    house.files["home"].mkdir()
    house.look(times=8)
    assert house.titles() == [TESTED, "warning: delivery home firing"]
    assert {item.target: item.state for item in house.store.totals().self_tests} == {
        "ops": "delivered",
        "home": "waiting",
    }
    assert "self-test did not arrive" in said()
    assert "alert_not_delivered" in said()
    house.files["home"].rmdir()
    house.look(times=20)
    assert house.titles() == [TESTED, "warning: delivery home firing", "warning: delivery home over"]
    assert house.titles("home") == [TESTED]


def test_the_test_waits_for_the_end_of_quiet_hours(database, tmp_path):
    house = with_tests(database, tmp_path, quiet={"since": "14:00", "until": "15:00"})
    assert house.look(times=10) == []
    assert house.look(times=20) == [TESTED]


def test_a_test_by_hand_comes_in_quiet_hours_too_and_says_which_target_failed(database, tmp_path):
    house = with_tests(database, tmp_path, quiet={"since": "14:00", "until": "15:00"})
    house.files["home"].mkdir()
    assert house.alerts.test(NOW) == {"ops": "", "home": "the file cannot be written: Is a directory"}


def test_a_test_by_hand_neither_ends_nor_begins_other_alerts(house):
    house.look(ILL, 2)
    house.vitals = WELL
    for minute in range(5):
        house.alerts.test(house.clock.now() + minute * MINUTE)
    assert [alert.state for alert in house.store.recent(10) if alert.rule == "source_failing"] == ["firing"]


# --------------------------------------------------------------------------- the dead man's switch


def test_the_ping_comes_while_all_is_well_and_not_when_the_collector_is_silent(database, tmp_path, hook):
    house = House(database, tmp_path, ping=Ping(f"http://{hook.place}/alive"))
    house.look(times=3)
    assert len(hook.asked) == 3
    house.look(SILENT, 3)
    assert len(hook.asked) == 3
    house.look(WELL, 1)
    assert len(hook.asked) == 4


def test_a_failing_source_does_not_stop_the_ping_but_a_lost_database_does(database, tmp_path, hook):
    house = House(database, tmp_path, ping=Ping(f"http://{hook.place}/alive"))
    house.look(ILL, 3)
    assert len(hook.asked) == 3
    house.away = True
    house.look(times=3)
    assert len(hook.asked) == 3


def test_the_ping_stops_when_alerts_do_not_arrive(database, tmp_path, hook):
    house = House(database, tmp_path, ping=Ping(f"http://{hook.place}/alive"), without=())
    house.files["ops"].mkdir()
    house.look(times=10)
    assert len(hook.asked) in range(4, 8), "it stops when the test has waited for five minutes"


def test_a_ping_that_fails_is_said_once(database, tmp_path, said):
    house = House(database, tmp_path, ping=Ping("http://127.0.0.1:1/secret-path"))
    house.look(times=3)
    assert said().count("ping_failed") == 1
    assert "secret-path" not in said()


def test_a_test_by_hand_leaves_what_waits_for_a_target_that_only_the_service_has(database, tmp_path):
    service = House(database, tmp_path, ("ops", "phone"))
    service.files["phone"].mkdir()  # so that it takes nothing
    service.look(ILL, 2)
    waiting = [item for item in service.store.load(NOW - HOUR, NOW + HOUR).messages if item.state == "waiting"]
    assert {item.target for item in waiting} == {"phone"}
    by_hand = House(database, tmp_path, ("ops",), at=service.clock.now())
    assert by_hand.alerts.test(by_hand.clock.now()) == {"ops": ""}
    service.files["phone"].rmdir()
    service.look(times=20)
    assert any("okx" in title for title in service.titles("phone"))
