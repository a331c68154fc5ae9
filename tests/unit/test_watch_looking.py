"""What a look reads: numbers put into a real database by hand, the cycle's own log, and a database that goes."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from collector.clock import ManualClock
from collector.errors import StorageUnavailable
from collector.records import Dataset
from collector.storage import schema
from collector.storage.database import Database
from collector.storage.progress import Progress
from collector.watch.looking import Looker, Places
from collector.watch.picture import Due
from tests.conftest import NOW

CYCLES = """
    INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated, jobs_failed, report)
    VALUES
        ('market', 'ok', :now - interval '10 min', :now - interval '9 min', 't', '1', true, 0, CAST(:report AS jsonb)),
        ('hourly', 'partial', :now - interval '8 min', :now - interval '7 min', 't', 'two', true, 1, NULL),
        ('market', 'running', :now - interval '1 min', NULL, 't', 'three', true, 0, NULL)
"""
JOBS = """
    INSERT INTO jobs (cycle_id, fingerprint, source, dataset, subject, instruments, assets, state, error, rows_written,
        rows_unchanged, rejects, finished_at) VALUES
        (1, gen_random_uuid(), 'okx', 'tickers', 'all', '{}', '{}', 'ok', '', 5, 0, 0, :now - interval '9 min'),
        (2, gen_random_uuid(), 'kraken', 'candles', 'x', '{}', '{}', 'failed', 'HTTP 500', 0, 0, 0, :now),
        (3, gen_random_uuid(), 'okx', 'candles', 'a', '{}', '{}', 'ok', '', 100, 7, 2, :now),
        (3, gen_random_uuid(), 'okx', 'candles', 'b', '{}', '{}', 'failed', 'no answer', 0, 0, 0, :now),
        (3, gen_random_uuid(), 'okx', 'candles', 'c', '{}', '{}', 'skipped', 'not tried', 0, 0, 0, NULL)
"""
REPORT = {"sources": [{"source": "okx", "jobs_ok": 30, "jobs_failed": 1, "jobs_skipped": 2}]}


@pytest.fixture
def filled(emptied):
    with emptied.transaction() as connection:
        connection.execute(text(CYCLES), {"now": NOW, "report": json.dumps(REPORT)})
        connection.execute(text(JOBS), {"now": NOW})
        used = [[(NOW - timedelta(seconds=age)).isoformat(), units] for age, units in ((61, 40), (59, 3), (0, 4))]
        connection.execute(
            text(
                """INSERT INTO provider_budgets (source, account, scope, window_s, capacity, used, entries, updated_at)
                VALUES ('okx', 'address', 'calls', 60, 100, 47, CAST(:used AS jsonb), :now)"""
            ),
            {"used": json.dumps(used), "now": NOW},
        )
        connection.execute(
            text(
                """INSERT INTO provider_state (source, paused_until, reason, banned, updated_at)
                VALUES ('okx', :until, 'HTTP 418', true, :now)"""
            ),
            {"until": NOW + timedelta(minutes=3), "now": NOW},
        )
    return emptied


def places(folder):
    due = Due(every=timedelta(minutes=5), stale_from=timedelta(minutes=16))
    waited = {("okx", Dataset.TICKERS): due, ("okx", Dataset.CANDLES): due}
    return Places(logs=folder, data=folder / "data", waited=waited, simulated=True)


def looker(database, folder):
    return Looker(lambda: database, places(folder), ManualClock(NOW))


def test_a_look_counts_the_running_cycle_against_the_last_of_its_cadence(filled, tmp_path):
    seen = looker(filled, tmp_path).look()
    assert (seen.running.cycle_id, seen.away, seen.collecting) == (3, "", False)
    (okx,) = seen.progress
    assert (okx.done, okx.expected, okx.failed, okx.skipped, okx.rows, okx.rejects) == (3, 33, 1, 1, 100, 2)


def test_what_left_the_window_no_longer_counts_as_used(filled):
    (limit,) = Progress(filled).limits(NOW)
    assert (limit.used, limit.capacity) == (7, 100)
    (later,) = Progress(filled).limits(NOW + timedelta(seconds=10))
    assert later.used == 4


def test_failures_are_the_newest_first_and_jobs_that_were_held_back_are_none(filled, tmp_path):
    seen = looker(filled, tmp_path).look()
    assert [(item.source, item.error) for item in seen.failures] == [("okx", "no answer"), ("kraken", "HTTP 500")]
    assert [(item.source, item.kind) for item in seen.pauses] == [("okx", "banned")]
    assert [(item.dataset, item.stale) for item in seen.freshness] == [("tickers", False), ("candles", False)]


def test_a_collector_that_holds_the_database_is_seen_and_not_disturbed(filled, tmp_path):
    with filled.writer_lock():
        assert looker(filled, tmp_path).look().collecting is True
    assert looker(filled, tmp_path).look().collecting is False


@pytest.mark.parametrize(
    "line",
    [
        "2026-03-11T14:37:00.000Z INFO Collector cycle_progress cycle=3 jobs_done=12 jobs=40\n",
        '{"cycle": 3, "jobs_done": 12, "jobs": 40, "time": "x", "level": "INFO", "event": "cycle_progress"}\n',
    ],
)
def test_the_stage_is_what_the_cycle_s_own_log_said_last(filled, tmp_path, line):
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "Collector.log").write_text(line.replace("12", "5") + line + "another line\n")
    assert looker(filled, tmp_path).look().stage == "12/40 jobs"


def test_a_log_folder_that_is_not_there_costs_only_the_stage(filled, tmp_path):
    assert looker(filled, tmp_path).look().stage == ""


def test_a_database_that_goes_leaves_what_was_seen_and_comes_back(filled, tmp_path):
    gone = False

    def reach():
        if gone:
            raise StorageUnavailable("no route")
        return filled

    clock = ManualClock(NOW)
    watching = Looker(reach, places(tmp_path), clock)
    before = watching.look()
    gone = True
    clock.advance(60)
    away = watching.look()
    assert (away.away, away.seen_at, away.at) == ("no route", NOW, NOW + timedelta(seconds=60))
    assert away.progress == before.progress
    gone = False
    assert watching.look().away == ""


def test_a_database_without_tables_is_said(database_url, tmp_path):
    bare = Database(database_url, clock=ManualClock(NOW))
    assert "no tables yet" in looker(bare, tmp_path).look().away
    bare.close()


def test_open_alerts_are_seen_the_worst_first(filled):
    insert = """
        INSERT INTO alerts (alert_id, rule, subject, severity, state, detail, since, seen_at, looks, clear_looks,
            flaps, told)
        VALUES (gen_random_uuid(), :rule, '-', :severity, :state, 'd', :now, :now, 1, 0, 0, '')
    """
    rows = (("disk", "warning", "firing"), ("ban", "critical", "firing"), ("gap", "critical", "resolved"))
    with filled.transaction() as connection:
        for rule, severity, state in rows:
            connection.execute(text(insert), {"rule": rule, "severity": severity, "state": state, "now": NOW})
    assert [item.rule for item in Progress(filled).alerts()] == ["ban", "disk"]


def test_a_database_of_the_release_before_is_shown_too(database_url, tmp_path):
    """It has no alerts."""
    old = Database(database_url, clock=ManualClock(NOW))
    schema.upgrade(old.engine, "0004")
    seen = looker(old, tmp_path).look()
    assert (seen.away, seen.alerts) == ("", [])
    old.close()


def test_a_database_that_is_too_old_to_be_shown_names_the_remedy(database_url, tmp_path):
    old = Database(database_url, clock=ManualClock(NOW))
    schema.upgrade(old.engine, "0001")
    seen = looker(old, tmp_path).look()
    assert seen.away == f"the database is at schema 0001, this program at {schema.head()}: python main.py db upgrade"
    old.close()
