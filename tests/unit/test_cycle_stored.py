"""A cycle and its database: outages, refused rows, the lock, and a stop in the middle; on real servers and sockets."""

import threading
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal

import psycopg2
import pytest

from collector import wiring
from collector.clock import ManualClock, SystemClock
from collector.errors import ConfigError, LockHeld, StorageUnavailable
from collector.records import CycleState
from collector.sources.base import Cost
from collector.storage.database import Database
from collector.storage.writer import Writer
from tests.conftest import NOW
from tests.unit.cycle_rig import Everything, Rig, Stand, bars, only, part_of
from tests.unit.cycle_rig import frozen_market as market_at

REAL = SystemClock()
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON candles FOR EACH ROW WHEN (NEW.low = {low}) EXECUTE FUNCTION refuse()
"""
DISK_FULL, INTERNAL, NO_PERMISSION = "53100", "XX000", "42501"


def stand_rig(database, clock, folder, *stands, **more):
    return Rig(database, clock, folder, stands=stands, follower=Everything(stands, clock), **more)


class Outsider:
    """A session beside the collector's, by libpq alone."""

    def __init__(self, database, dbname=None):
        url = database.url
        where = {"host": url.host or url.query.get("host"), "port": url.port or url.query.get("port")}
        self.connection = psycopg2.connect(user=url.username, dbname=dbname or url.database, **where)
        self.connection.autocommit = True
        self.name = url.database

    def run(self, statement, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else None

    def until(self, query, *values):
        """Wait until the query gives a row, ten seconds at most."""
        for _ in range(1000):
            found = self.run(query, *values)
            if found:
                return found
            REAL.sleep(0.01)
        raise AssertionError(f"never true: {query}")

    def cut(self, *, allow=True):
        """End every session of the database; without `allow` no new one can begin."""
        self.run(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS {str(allow).lower()}')
        self.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            self.name,
        )

    def allow(self):
        self.run(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS true')


@pytest.fixture
def outsider(database):
    """A session on another database of the server, so that it survives the end of all sessions on ours."""
    session = Outsider(database, "postgres")
    yield session
    session.allow()
    session.connection.close()


@pytest.fixture
def simulator(clock):
    with market_at(clock) as running:
        yield running


def test_a_connection_that_breaks_in_the_middle_of_a_write_costs_nothing(database, clock, tmp_path, outsider):
    stand = Stand()
    blocker = Outsider(database)
    blocker.connection.autocommit = False
    blocker.run("LOCK TABLE candles IN ACCESS EXCLUSIVE MODE")

    def break_it():
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock' AND state = 'active'"
        )
        ((pid,), *_) = outsider.until(waiting, outsider.name)
        outsider.run("SELECT pg_terminate_backend(%s, 5000)", pid)
        blocker.connection.close()

    breaker = threading.Thread(target=break_it)
    breaker.start()
    with stand_rig(database, clock, tmp_path, stand, scrutiny=None) as rig:  # which would be the first to be cut
        report = rig.run()
        breaker.join()
        lines = rig.log(report, "Database")
        repeated = [line for line in lines if "write_repeated" in line]
        stored = rig.rows("SELECT count(*) FROM candles")
    assert report.state is CycleState.OK
    assert stored == [(6,)]
    assert len(repeated) == 1
    assert sum("database_is_back" in line for line in lines[lines.index(repeated[0]) :]) == 1
    assert clock.slept == [1.0]


def test_sessions_that_end_between_two_writes_are_not_even_noticed(database, clock, tmp_path, outsider):
    stand = Stand(parallelism=1)
    stand.on_fetch = lambda _: outsider.cut()
    with stand_rig(database, clock, tmp_path, stand) as rig:
        report = rig.run()
        stored = rig.rows("SELECT count(*) FROM candles")
    assert report.state is CycleState.OK
    assert stored == [(6,)]


def test_rows_that_a_full_disk_does_not_take_are_given_up_and_listed(database, clock, tmp_path):
    stand = Stand(bases=("BTC",))
    with stand_rig(database, clock, tmp_path, stand) as rig:
        rig.execute(REFUSE.format(code=DISK_FULL, low=99))
        report = rig.run()
        lines = rig.log(report, "Database")
        recorded = rig.rows("SELECT state, jobs_ok, jobs_failed, rows_written FROM cycles")
    (lost,) = [line for line in lines if " rows_lost " in line]
    assert "rows=3" in lost
    assert "No space left on device" in lost
    assert sum("write_repeated" in line for line in lines) == 3
    assert clock.slept == [1.0, 2.0, 4.0]
    assert report.state is CycleState.FAILED
    assert part_of(report, "stand").errors[0].startswith("not stored: ")
    assert recorded == [("failed", 0, 1, 0)]


REFUSE_THE_END = """
CREATE SEQUENCE tries;  -- what nextval gives is not undone with its transaction
CREATE FUNCTION refuse_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'the system is shutting down' USING ERRCODE = '57P03'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_end BEFORE UPDATE ON cycles FOR EACH ROW EXECUTE FUNCTION refuse_end()
"""


def test_the_end_of_a_cycle_is_recorded_when_the_database_is_back(database, clock, tmp_path):
    with stand_rig(database, clock, tmp_path, Stand()) as rig:
        rig.execute(REFUSE_THE_END.format(times=2))
        report = rig.run()
        recorded = rig.rows("SELECT state FROM cycles")
        lines = rig.log(report, "Database")
    assert recorded == [("ok",)]
    assert clock.slept == [1.0, 2.0]
    assert sum("finish_repeated" in line for line in lines) == 2


def test_an_end_that_could_not_be_recorded_is_recorded_before_the_next_cycle(database, clock, tmp_path):
    with stand_rig(database, clock, tmp_path, Stand()) as rig:
        rig.execute(REFUSE_THE_END.format(times=9))
        assert rig.run().state is CycleState.PARTIAL
        assert clock.slept == [1.0, 2.0, 4.0]
        assert rig.rows("SELECT state FROM cycles") == [("running",)]
        rig.execute("DROP TRIGGER refuse_end ON cycles")
        rig.run()
        assert rig.rows("SELECT state FROM cycles ORDER BY cycle_id") == [("partial",), ("ok",)]


def test_the_next_cycle_fetches_again_what_a_full_disk_did_not_take(database, clock, tmp_path):
    stand = Stand(bases=("BTC",))
    with stand_rig(database, clock, tmp_path, stand) as rig:
        rig.execute(REFUSE.format(code=DISK_FULL, low=99))
        rig.run()
        rig.execute("DROP TRIGGER refuse ON candles")
        report = rig.run()
        stored = rig.rows("SELECT count(*) FROM candles")
    assert report.state is CycleState.OK
    assert stored == [(3,)]


def test_one_batch_the_database_cannot_take_does_not_cost_the_others(database, clock, tmp_path):
    stand = Stand(bases=("BTC", "ETH", "SOL"), parallelism=3)
    gate = threading.Barrier(3, timeout=10)  # all three are parsed before the first is written: one group

    def parse(payload):
        gate.wait()
        found = list(bars(payload))
        return [replace(row, low=Decimal(98)) for row in found] if payload.job.instruments[0].base == "ETH" else found

    stand.on_parse = parse
    with stand_rig(database, clock, tmp_path, stand) as rig:
        rig.execute(REFUSE.format(code=INTERNAL, low=98))
        report = rig.run()
        stored = rig.rows(
            "SELECT base, count(*) FROM candles JOIN instruments USING (instrument_id) GROUP BY 1 ORDER BY 1"
        )
    assert stored == [("BTC", 3), ("SOL", 3)]
    assert report.state is CycleState.PARTIAL
    assert (part_of(report, "stand").jobs_ok, part_of(report, "stand").jobs_failed) == (2, 1)


def test_a_database_that_must_be_mended_ends_the_cycle_and_leaves_no_thread_waiting(database, clock, tmp_path):
    stand = Stand(bases=[f"C{number}" for number in range(200)], parallelism=8)  # more than the queue holds
    before = threading.active_count()
    started = REAL.monotonic()
    with stand_rig(database, clock, tmp_path, stand) as rig:
        rig.execute(REFUSE.format(code=NO_PERMISSION, low=99))
        with pytest.raises(ConfigError):
            rig.run()
    assert REAL.monotonic() - started < 10
    assert threading.active_count() == before


def test_a_cycle_whose_planning_cannot_read_is_recorded_all_the_same(database, clock, tmp_path):
    stand = Stand()
    with stand_rig(database, clock, tmp_path, stand) as rig:
        follower = rig.runner._follower

        def lost(*_):
            raise StorageUnavailable("read: connection lost")

        follower.known = lost
        report = rig.run()
        recorded = rig.rows("SELECT state FROM cycles")
    assert report.state is CycleState.FAILED
    assert recorded == [("failed",)]


def test_a_cycle_whose_end_nobody_remembers_is_abandoned_by_the_next(database, clock, tmp_path, outsider):
    stand = Stand(bases=("BTC",))
    with stand_rig(database, clock, tmp_path, stand) as rig:
        stand.on_fetch = lambda _: outsider.cut(allow=False)
        assert rig.run().state is CycleState.FAILED
    outsider.allow()
    stand.on_fetch = None
    with stand_rig(database, clock, tmp_path, stand) as rig:  # another process
        report = rig.run()
        states = rig.rows("SELECT state FROM cycles ORDER BY cycle_id")
        said = [line for line in rig.log(report, "Collector") if "cycle_abandoned" in line]
    assert states == [("abandoned",), ("ok",)]
    assert len(said) == 1


def test_a_cycle_after_another_collector_took_over_is_refused(database, clock, tmp_path, outsider, migrated_url):
    stand = Stand()
    other = Database(migrated_url, clock=SystemClock(), application_name="the other one")
    with ExitStack() as stack:
        stack.callback(other.close)
        hold = stack.enter_context(wiring._writer_lock(database))
        rig = stack.enter_context(stand_rig(database, clock, tmp_path, stand, hold_lock=hold))
        assert rig.run().state is CycleState.OK
        outsider.cut()  # our lock goes with its session
        stack.enter_context(other.writer_lock())
        with pytest.raises(LockHeld, match="the other one"):
            rig.run()
        assert rig.rows("SELECT count(*) FROM cycles") == [(1,)]


def test_a_lock_lost_with_its_connection_is_taken_anew(database, clock, tmp_path, outsider, migrated_url):
    other = Database(migrated_url, clock=SystemClock())
    with wiring._writer_lock(database) as hold, stand_rig(database, clock, tmp_path, Stand(), hold_lock=hold) as rig:
        outsider.cut()
        assert rig.run().state is CycleState.OK
        with pytest.raises(LockHeld), other.writer_lock():
            pass
    other.close()


def test_after_an_outage_of_several_cycles_the_lock_is_taken_anew(database, clock, tmp_path, outsider):
    with wiring._writer_lock(database) as hold, stand_rig(database, clock, tmp_path, Stand(), hold_lock=hold) as rig:
        outsider.cut(allow=False)
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                rig.run()
        outsider.allow()
        assert rig.run().state is CycleState.OK


# --------------------------------------------------------------------------- stop


def run_and_stop(rig, ready):
    """Start a cycle in a thread, stop it once `ready` is set; return the report and how long the end took."""
    reports = []
    thread = threading.Thread(target=lambda: reports.append(rig.run()))
    thread.start()
    assert ready.wait(20)
    started = REAL.monotonic()
    rig.runner.stop()
    thread.join(20)
    assert reports, "the cycle did not end"
    return reports[0], REAL.monotonic() - started


def test_a_stop_ends_calls_that_would_take_a_minute_and_the_cycle_is_recorded(database, tmp_path):
    clock, asked = SystemClock(), threading.Event()
    with (
        market_at(ManualClock(NOW), latency_s=60) as slow,
        Rig(database, clock, tmp_path, only("okx"), simulator=slow) as rig,
    ):
        original = rig.sources[0].venue._send

        def send(call):
            asked.set()
            return original(call)

        rig.sources[0].venue._send = send
        report, took = run_and_stop(rig, asked)
        recorded = rig.rows("SELECT state FROM cycles")
        file = rig.report_file(report)
    assert took < 5
    assert report.state is CycleState.FAILED
    assert recorded == [("failed",)]
    assert file["state"] == "failed"


def test_a_stop_ends_the_wait_for_a_quota(database, tmp_path):
    stopping, third = threading.Event(), threading.Event()
    clock = SystemClock(stopping)
    stand = Stand(bases=("A", "B", "C", "D"), parallelism=2)

    def take_a_whole_window(_):
        if len(stand.fetched) == 3:
            third.set()
        stand.venue.quota.acquire(Cost(scope="calls", weight=900), clock.monotonic() + 1000)

    stand.on_fetch = take_a_whole_window
    with stand_rig(database, clock, tmp_path, stand, stopping=stopping) as rig:
        report, took = run_and_stop(rig, third)
    part = part_of(report, "stand")
    assert took < 5
    assert (part.jobs_ok, part.jobs_failed, part.jobs_skipped) == (1, 2, 1)
    assert report.state is CycleState.PARTIAL


def test_a_cycle_stopped_between_two_stages_is_not_called_ok(simulator, database, clock, tmp_path):
    with Rig(database, clock, tmp_path, only("okx"), simulator=simulator) as rig:
        refresh = rig.runner._follower.refresh

        def stop_then_refresh():
            rig.runner.stop()
            refresh()

        rig.runner._follower.refresh = stop_then_refresh
        report = rig.run()
        errors = rig.rows("SELECT DISTINCT error FROM jobs WHERE state = 'skipped'")
    part = part_of(report, "okx")
    assert part.jobs_ok == 3  # instruments, tickers, mark prices
    assert part.jobs_skipped > 0
    assert report.state is CycleState.PARTIAL
    assert errors == [("the collector was stopped",)]


def test_a_stop_before_the_cycle_asks_nobody(simulator, database, clock, tmp_path):
    with Rig(database, clock, tmp_path, only("okx"), simulator=simulator) as rig:
        rig.runner.stop()
        report = rig.run()
    assert report.state is CycleState.FAILED
    assert not simulator.requests


REFUSE_INDICATORS = """
CREATE FUNCTION refuse_indicators() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER refuse_indicators BEFORE INSERT ON indicators FOR EACH ROW EXECUTE FUNCTION refuse_indicators()
"""
ALLOW_INDICATORS = "DROP FUNCTION refuse_indicators() CASCADE"


def test_indicators_that_could_not_be_stored_come_with_the_next_cycle(database, clock, tmp_path):
    stand = Stand()
    with stand_rig(database, clock, tmp_path, stand, indicators=True) as rig:
        rig.execute(REFUSE_INDICATORS)
        first = rig.run()
        (finished,) = [line for line in rig.log(first, "Collector") if " cycle_finished " in line]
        rig.execute(ALLOW_INDICATORS)
        stand.on_parse = lambda _: []  # nothing new is touched
        second = rig.run()
        missing = rig.rows(
            "SELECT count(*) FROM candles LEFT JOIN indicators USING (instrument_id, interval, open_time) "
            "WHERE rsi_14 IS NULL AND obv IS NULL"
        )
    assert (first.state, first.uncomputed, first.indicator_rows) == (CycleState.PARTIAL, 2, 0)
    assert "uncomputed_series=2" in finished
    assert (second.uncomputed, second.indicator_rows) == (0, 6)
    assert missing == [(0,)]


class StoppedAfterOne(Writer):
    """Stops the cycle as soon as the first indicators are stored."""

    stop = staticmethod(lambda: None)

    def write_indicators(self, cycle_id, blocks):
        rows = super().write_indicators(cycle_id, blocks)
        self.stop()
        return rows


def test_a_stop_does_not_wait_for_all_indicators_and_the_next_start_finds_the_rest(
    database, clock, tmp_path, monkeypatch
):
    monkeypatch.setattr("collector.cycle.GROUP_RECORDS", 3)  # each series' three bars are a transaction
    stand, writer = Stand(), StoppedAfterOne(database)
    with stand_rig(database, clock, tmp_path, stand, indicators=True, writer=writer) as rig:
        writer.stop = rig.runner.stop
        stopped = rig.run()
    monkeypatch.undo()
    again = Stand()
    again.on_parse = lambda _: []
    with stand_rig(database, clock, tmp_path, again, indicators=True) as rig:
        left = rig.reader.uncomputed_spans()
        rig.runner._follower.left = left
        report = rig.run()
        (rows,) = rig.rows("SELECT count(*) FROM indicators")
    assert (stopped.state, stopped.indicator_rows, stopped.uncomputed) == (CycleState.PARTIAL, 3, 2)
    assert {item.id for item, _ in left} == {item.id for item in stand.instruments}
    assert report.indicator_rows == 3  # those stored before the stop are the same
    assert rows == (6,)
