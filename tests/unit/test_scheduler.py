"""The daemon: what starts when, that nothing overlaps, what ends it, and what systemd is told."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector import scheduler
from collector.clock import ManualClock, SystemClock
from collector.config import CadenceSettings, LogSettings
from collector.errors import LockHeld, StorageUnavailable
from collector.log import set_up_logging, tear_down_logging
from collector.records import CycleReport, CycleState, SourceReport
from collector.scheduler import Daemon, build_trigger
from tests.conftest import NOW

ENOUGH_S = 15
REAL = SystemClock()
ROOT_FOLDER = Path(__file__).parents[2]


def at(hour, minute, second=0, day=11):
    return datetime(2026, 3, day, hour, minute, second, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    """Return a function that gives the lines of collector.log."""
    set_up_logging(LogSettings(directory=tmp_path), console=None)
    yield lambda: (tmp_path / "collector.log").read_text().splitlines()
    tear_down_logging()


class Runner:
    """Stands for the cycles: notes when each began and ended; `on_run` gets the cadence and may raise or block."""

    def __init__(self, on_run=lambda _: None, rows=1):
        self.on_run, self.rows = on_run, rows
        self.spans, self.stopped = [], threading.Event()
        self.lock = threading.Lock()

    @property
    def names(self):
        return [name for name, _, _ in self.spans]

    def run(self, cadence):
        began = REAL.monotonic()
        try:
            self.on_run(cadence)
        finally:
            with self.lock:
                self.spans.append((cadence, began, REAL.monotonic()))
        source = SourceReport(source="okx", jobs_ok=1, rows={"tickers": self.rows} if self.rows else {})
        now = REAL.now()
        return CycleReport(
            cycle_id=1, cadence=cadence, state=CycleState.OK, started_at=now, finished_at=now, sources=(source,)
        )

    def stop(self):
        self.stopped.set()


def every(text, offset="0s"):
    return CadenceSettings(every=text, offset=offset)


def daemon_of(runner, cadences, overdue, *, after_cycle=lambda _: None, clock=None, notify=""):
    return Daemon(
        runner=runner,
        cadences=cadences,
        overdue=overdue,
        clock=clock or SystemClock(),
        after_cycle=after_cycle,
        notify_socket=notify,
    )


@contextmanager
def running(daemon):
    """Run the daemon in a thread; stop it and wait for its end."""
    raised = []

    def run():
        try:
            daemon.run()
        except Exception as error:  # noqa: BLE001 - handed to the test
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        daemon.stop()
        thread.join(ENOUGH_S)
    assert not thread.is_alive()


def until(condition):
    """Wait until the condition holds, some seconds at most."""
    ends = REAL.monotonic() + ENOUGH_S
    while not condition():
        assert REAL.monotonic() < ends, "never true"
        REAL.sleep(0.005)


# --------------------------------------------------------------------------- triggers


@pytest.mark.parametrize(
    ("cadence", "first", "second"),
    [
        (every("5m"), at(14, 40), at(14, 45)),
        (every("5m", "30s"), at(14, 40, 30), at(14, 45, 30)),
        (every("1h", "2m"), at(15, 2), at(16, 2)),
        (every("7m"), at(14, 40), at(14, 47)),  # 1773240000 s since 1970 are 4222000 times 420 s
        (every("1d", "20m"), at(0, 20, day=12), at(0, 20, day=13)),
        (CadenceSettings(cron="20 0 * * *"), at(0, 20, day=12), at(0, 20, day=13)),
        (CadenceSettings(cron="*/15 * * * *"), at(14, 45), at(15, 0)),
    ],
)
def test_every_start_lies_on_the_utc_grid(cadence, first, second):
    trigger = build_trigger(cadence)
    assert trigger.get_next_fire_time(None, NOW) == first
    assert trigger.get_next_fire_time(first, first + timedelta(milliseconds=1)) == second


def test_the_grid_does_not_depend_on_when_the_daemon_started():
    for seconds in (0, 17, 100, 137):
        assert build_trigger(every("5m")).get_next_fire_time(None, NOW + timedelta(seconds=seconds)) == at(14, 40)


def test_a_run_off_the_grid_does_not_shift_the_later_ones():
    started = NOW + timedelta(seconds=17)  # 14:37:59, a first cycle at once
    assert build_trigger(every("5m")).get_next_fire_time(started, started) == at(14, 40)
    assert build_trigger(every("5m", "30s")).get_next_fire_time(started, started) == at(14, 40, 30)
    assert build_trigger(every("5m")).get_next_fire_time(at(14, 40), at(14, 40)) == at(14, 45)


# --------------------------------------------------------------------------- what runs


def test_overdue_cadences_run_at_once_and_the_others_wait(log):
    runner = Runner()
    cadences = {"market": every("1d"), "hourly": every("1d"), "daily": CadenceSettings(cron="0 0 29 2 *")}
    with running(daemon_of(runner, cadences, ["market", "daily"])):
        until(lambda: len(runner.names) == 2)
        REAL.sleep(0.1)
    assert runner.names == ["market", "daily"]


def test_two_cycles_never_overlap_and_a_due_one_waits_its_turn(log):
    runner = Runner(on_run=lambda _: REAL.sleep(0.1))
    cadences = dict.fromkeys(("a", "b", "c", "d"), every("1d"))
    with running(daemon_of(runner, cadences, list(cadences))):
        until(lambda: len(runner.spans) == 4)
    ends = [end for _, _, end in runner.spans]
    begins = [began for _, began, _ in runner.spans]
    assert all(began >= end for end, began in zip(ends, begins[1:], strict=False))


def test_a_cycle_that_takes_longer_than_its_period_is_not_started_beside_itself_and_the_skip_is_said(log):
    first_over = threading.Event()
    runner = Runner(on_run=lambda _: None if first_over.is_set() else first_over.wait(ENOUGH_S))
    with running(daemon_of(runner, {"market": every("1s")}, ["market"])):
        until(lambda: any("cycle_skipped" in line for line in log()))
        assert runner.spans == []  # still the first
        first_over.set()
        until(lambda: len(runner.spans) >= 2)
    (line, *_) = [line for line in log() if "cycle_skipped" in line]
    assert "cadence=market" in line
    for (_, _, end), (_, began, _) in zip(runner.spans, runner.spans[1:], strict=False):
        assert began >= end


def test_every_ended_cycle_is_handed_on(log):
    reports = []
    cadences = {"a": every("1d"), "b": every("1d")}
    with running(daemon_of(Runner(), cadences, ["a", "b"], after_cycle=reports.append)):
        until(lambda: len(reports) == 2)
    assert [report.cadence for report in reports] == ["a", "b"]


# --------------------------------------------------------------------------- failures


def failing(error):
    """Return a runner whose cadence `bad` raises."""

    def run(cadence):
        if cadence == "bad":
            raise error

    return Runner(on_run=run)


def test_a_database_that_is_away_ends_a_cycle_and_not_the_daemon(log):
    runner = failing(StorageUnavailable("begin a cycle: server closed the connection"))
    with running(daemon_of(runner, {"bad": every("1d"), "good": every("1d")}, ["bad", "good"])) as raised:
        until(lambda: runner.names == ["bad", "good"])
    assert raised == []
    (line,) = [line for line in log() if "cycle_not_recorded" in line]
    assert "server closed the connection" in line


def test_a_defect_is_logged_with_its_traceback_and_the_next_cycle_runs(log):
    runner = failing(ZeroDivisionError("a defect"))
    with running(daemon_of(runner, {"bad": every("1d"), "good": every("1d")}, ["bad", "good"])) as raised:
        until(lambda: runner.names == ["bad", "good"])
        until(lambda: any("cycle_defect" in line for line in log()))
    assert raised == []
    (line,) = [line for line in log() if "cycle_defect" in line]
    assert "ZeroDivisionError: a defect" in line
    assert "Traceback" in line
    assert "cadence=bad" in line


def test_another_collector_on_the_database_ends_the_daemon_with_its_error(log):
    runner = failing(LockHeld("another collector works on it"))
    daemon = daemon_of(runner, {"bad": every("1d"), "good": every("1d")}, ["bad", "good"])
    with pytest.raises(LockHeld, match="another collector"):
        daemon.run()
    assert runner.names == ["bad"]
    assert runner.stopped.is_set()


# --------------------------------------------------------------------------- the end


def test_a_stop_ends_the_running_cycle_and_starts_no_waiting_one(log):
    began = threading.Event()
    runner = Runner()

    def run(_):
        began.set()
        assert runner.stopped.wait(ENOUGH_S)

    runner.on_run = run
    daemon = daemon_of(runner, {"a": every("1d"), "b": every("1d")}, ["a", "b"])
    started = REAL.monotonic()
    with running(daemon):
        assert began.wait(ENOUGH_S)
    assert REAL.monotonic() - started < 5
    assert runner.names == ["a"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_cleanly(log, number):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    runner = Runner(on_run=lambda _: os.kill(os.getpid(), number))
    daemon = daemon_of(runner, {"a": every("1d")}, ["a"])
    try:
        daemon.handle_signals()
        daemon.run()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert runner.names == ["a"]
    assert any(f"stopping signal={number.name}" in line for line in log())


STUBBORN = """
import sys, threading
from collector.clock import SystemClock
from collector.config import CadenceSettings
from collector.scheduler import Daemon
class Runner:
    def run(self, cadence):
        print("running", flush=True)
        threading.Event().wait(60)
    def stop(self):
        print("stopping", flush=True)
daemon = Daemon(runner=Runner(), cadences={"a": CadenceSettings(every="1d")}, overdue=["a"], clock=SystemClock(),
                after_cycle=print)
daemon.handle_signals()
daemon.run()
"""


def test_a_second_signal_ends_a_daemon_that_hangs_at_once():
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True, cwd=ROOT_FOLDER
    ) as child:
        try:
            assert child.stdout.readline() == "running\n"
            child.send_signal(signal.SIGTERM)
            assert child.stdout.readline() == "stopping\n"
            child.send_signal(signal.SIGTERM)
            assert child.wait(ENOUGH_S) == 70
        finally:
            child.kill()


HANGING = STUBBORN.replace("daemon = ", "scheduler.HUNG_S = scheduler.WATCH_EVERY_S = 0.1; daemon = ").replace(
    "from collector.scheduler import Daemon", "from collector import scheduler; Daemon = scheduler.Daemon"
)


@pytest.mark.parametrize(("deadline", "ends"), [("1s", True), ("1h", False)])
def test_a_cycle_that_hangs_for_three_deadlines_ends_the_process_with_70(deadline, ends):
    program = HANGING.replace('CadenceSettings(every="1d")', f'CadenceSettings(every="1d", deadline="{deadline}")')
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT_FOLDER) as child:
        try:
            assert child.stdout.readline() == "running\n"
            began = REAL.monotonic()
            if ends:
                assert child.wait(ENOUGH_S) == 70
                assert REAL.monotonic() - began >= 2.9
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    child.wait(1)
        finally:
            child.kill()


# --------------------------------------------------------------------------- a clock that is set


class SetClock(ManualClock):
    """A clock somebody sets: wall time jumps, monotonic time does not. `looks` counts how often it was read."""

    looks = 0

    def now(self):
        self.looks += 1
        return super().now()

    def set(self, moment):
        with self._lock:
            self._now = moment


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(scheduler, "WATCH_EVERY_S", 0.02)


def next_start(daemon):
    (job,) = daemon._scheduler.get_jobs()
    return job.next_run_time


def test_a_clock_set_back_re_arms_the_jobs_on_the_new_time(log, often):
    afternoon = datetime(2100, 3, 11, 14, 37, 42, tzinfo=UTC)  # so far ahead that nothing starts by itself
    clock = SetClock(afternoon)
    daemon = daemon_of(Runner(), {"hourly": every("1h", "2m")}, [], clock=clock)
    with running(daemon):
        until(lambda: clock.looks)  # the watch has begun
        daemon._scheduler.get_jobs()[0].modify(next_run_time=afternoon.replace(hour=15, minute=2, second=0))
        clock.set(afternoon - timedelta(hours=3))
        until(lambda: any("clock_jumped" in line for line in log()))
        until(lambda: next_start(daemon) == afternoon.replace(hour=12, minute=2, second=0))
    (line,) = [line for line in log() if "clock_jumped" in line]
    assert "seconds=-10800.000" in line


def test_what_became_due_while_the_machine_slept_is_not_put_off_to_its_next_turn(log, often):
    clock = SetClock(NOW)
    daemon = daemon_of(Runner(), {"daily": CadenceSettings(cron="20 0 * * *")}, [], clock=clock)
    woken = datetime(2100, 1, 1, 0, 30, tzinfo=UTC)  # ten minutes after a start it missed
    with running(daemon):
        until(lambda: clock.looks)  # the watch has begun
        clock.set(woken)
        until(lambda: next_start(daemon) == woken)


def test_time_that_only_goes_on_re_arms_nothing(log, often):
    clock = SetClock(NOW)
    daemon = daemon_of(Runner(), {"hourly": every("1h")}, [], clock=clock)
    with running(daemon):
        until(lambda: clock.looks)
        before, seen = next_start(daemon), clock.looks
        clock.advance(100_000)
        until(lambda: clock.looks > seen + 3)
        assert next_start(daemon) == before
    assert not any("clock_jumped" in line for line in log())


# --------------------------------------------------------------------------- systemd


@contextmanager
def systemd(address=None):
    """Lend a socket as systemd would listen on it, and its address."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        name = address or str(Path(folder) / "notify")
        channel.bind("\0" + name[1:] if name.startswith("@") else name)
        channel.settimeout(ENOUGH_S)
        yield channel, name


@pytest.mark.parametrize("address", [None, f"@collector-test-{os.getpid()}"], ids=["path", "abstract"])
def test_systemd_hears_ready_then_the_watchdog_after_stored_rows_then_stopping(log, address):
    with systemd(address) as (channel, name):
        with running(daemon_of(Runner(rows=3), {"a": every("1d")}, ["a"], notify=name)):
            assert channel.recv(100) == b"READY=1"
            assert channel.recv(100) == b"WATCHDOG=1"
        assert channel.recv(100) == b"STOPPING=1"


def test_a_cycle_that_stored_nothing_does_not_feed_the_watchdog(log):
    runner = Runner(rows=0)
    with systemd() as (channel, name):
        with running(daemon_of(runner, {"a": every("1d")}, ["a"], notify=name)):
            until(lambda: runner.names == ["a"])
            assert channel.recv(100) == b"READY=1"
        assert channel.recv(100) == b"STOPPING=1"


def test_a_systemd_that_does_not_listen_is_said_and_ends_nothing(log):
    runner = Runner()
    with running(daemon_of(runner, {"a": every("1d")}, ["a"], notify="/nonexistent/notify")) as raised:
        until(lambda: runner.names == ["a"])
    assert raised == []
    assert any("systemd_unreachable" in line for line in log())
