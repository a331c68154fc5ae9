"""The chore runs by the schedule, goes on with what was cut short, and tells what had to wait."""

from datetime import timedelta

from sqlalchemy import text

from collector.config.retention import RetentionSettings
from collector.retention import sealing
from collector.retention.chores import BUDGET_S, RETRY, RetentionChore
from collector.retention.turn import Retention
from tests.retention.conftest import ETH, NOW, bars

SETTINGS = RetentionSettings(datasets={"candles": {"age": "60d", "then": "seal"}}, cron="40 3 * * *")


def chore(stand):
    retention = Retention(SETTINGS, stand.folder, stand.database, stand.clock)
    return RetentionChore(SETTINGS, retention, stand.database, stand.clock)


def test_the_first_turn_is_due_at_once_and_the_next_by_the_schedule(stand):
    stand.write(*bars(5, 5))
    first = chore(stand)
    assert first.due(NOW)
    assert first.run(NOW)["rows"] == 5
    later = NOW.replace(day=16, hour=3, minute=40)
    assert [first.due(later - timedelta(minutes=1)), first.due(later)] == [False, True]
    after_restart = chore(stand)
    assert [after_restart.due(later - timedelta(minutes=1)), after_restart.due(later)] == [False, True]


def test_a_turn_without_work_says_nothing(stand):
    assert chore(stand).run(NOW) == {}


def test_a_turn_whose_process_died_goes_on_at_once(stand):
    stand.execute("INSERT INTO retention_turns VALUES (:now, NULL, 1, 2, 3, 4, '')", now=NOW - timedelta(minutes=1))
    stand.write(*bars(5, 5))
    again = chore(stand)
    assert again.due(NOW)
    again.run(NOW)
    assert stand.rows("SELECT months, rows, thinned, ended_at IS NOT NULL FROM retention_turns") == [(2, 7, 3, True)]


def test_a_turn_that_takes_long_lets_the_other_chores_have_theirs_and_goes_on(stand, monkeypatch):
    stand.write(*bars(5, 5), *bars(5, 5, month=2, instrument=ETH))
    working = chore(stand)
    real = Retention._do

    def slow(self, step, done, say):
        stand.clock.advance(BUDGET_S + 1)
        real(self, step, done, say)

    monkeypatch.setattr(Retention, "_do", slow)
    assert working.run(NOW)["rows"] == 5
    assert working.due(NOW)
    assert working.run(NOW)["rows"] == 5
    assert stand.rows("SELECT months FROM retention_turns") == [(2,)]


def test_a_table_that_is_read_for_long_makes_a_month_wait(stand, monkeypatch):
    monkeypatch.setattr(sealing, "LOCK_TRIES", 2)
    stand.write(*bars(5, 5))
    working = chore(stand)
    with stand.database.engine.connect() as reader, reader.begin():
        reader.execute(text("SELECT count(*) FROM candles"))
        said = working.run(NOW)
    assert (said["months"], said["postponed"]) == (0, 1)
    assert "lock timeout" in stand.rows("SELECT postponed FROM retention_turns")[0][0]
    assert stand.rows("SELECT state FROM cold_months") == [("sealed",)]
    assert len(stand.hot()) == 5
    assert chore(stand).run(NOW + RETRY)["months"] == 1
    assert stand.hot() == []
