"""The process beside the daemon: it comes again when it dies, ends with us, and never ends us."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from collector import companion
from collector.clock import SystemClock
from collector.companion import Companion
from collector.exits import USAGE
from tests.api.streaming import wait_until

CLOCK = SystemClock()
STAYS = "import sys; sys.stdin.read()"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


def running(program, *words):
    return Companion("api_ended", [sys.executable, "-c", program, *words], dict(os.environ), CLOCK)


@pytest.fixture
def _short_pauses(monkeypatch):
    monkeypatch.setattr(companion, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(companion, "LONGEST_PAUSE_S", 0.2)


def test_it_runs_as_long_as_we_do(tmp_path):
    began = CLOCK.monotonic()
    with running(STAYS) as beside:
        wait_until(lambda: beside.pid, "the process")
        pid = beside.pid
    assert CLOCK.monotonic() - began < 3
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.usefixtures("_short_pauses")
def test_it_is_started_again_when_it_dies():
    with running(STAYS) as beside:
        wait_until(lambda: beside.pid, "the process")
        first = beside.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: beside.pid not in (None, first), "its next start")


def test_one_that_cannot_run_is_tried_again_without_haste(tmp_path, monkeypatch):
    monkeypatch.setattr(companion, "FIRST_PAUSE_S", 0.6)
    monkeypatch.setattr(companion, "LONGEST_PAUSE_S", 1.0)
    told = tmp_path / "told"
    program = f"open({str(told)!r}, 'a').write('x'); raise SystemExit({USAGE})"
    began = CLOCK.monotonic()
    with running(program):
        wait_until(lambda: told.exists() and len(told.read_text()) >= 3, "three tries")
        assert CLOCK.monotonic() - began >= 0.6 + 1.0


def test_the_pauses_are_those_of_any_other_end_when_it_cannot_start(caplog):
    with caplog.at_level(logging.WARNING, logger="collector"), running(f"raise SystemExit({USAGE})"):
        wait_until(lambda: [r for r in caplog.records if r.message == "api_ended"], "its end")
    (told,) = [record for record in caplog.records if record.message == "api_ended"]
    assert (told.fields["status"], told.fields["again_in_s"]) == (USAGE, 1.0)


def test_one_that_does_not_exist_is_no_reason_to_end():
    with Companion("api_ended", ["/nowhere/at/all"], {}, CLOCK) as beside:
        threading.Event().wait(0.1)
        assert beside.pid is None


def test_one_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(companion, "END_S", 0.5)
    with running(DEAF) as beside:
        wait_until(lambda: beside.pid, "the process")
        threading.Event().wait(0.5)
        began = CLOCK.monotonic()
    assert CLOCK.monotonic() - began < 3


def test_it_ends_when_we_are_killed(tmp_path):
    parent = (
        "import sys, os, time; from collector.companion import Companion; from collector.clock import SystemClock\n"
        f"with Companion('api_ended', [sys.executable, '-c', {STAYS!r}], dict(os.environ), SystemClock()) as beside:\n"
        "    while not beside.pid: time.sleep(0.01)\n"
        "    print(beside.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.kill()
    wait_until(lambda: not alive(pid), "its end")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


LISTENS = "import sys\nwith open(sys.argv[1], 'a') as file:\n    file.writelines(sys.stdin)\n    file.write('end')\n"


def test_what_it_is_told_reaches_it_and_it_may_finish_that(tmp_path):
    heard = tmp_path / "heard"
    with running(LISTENS, str(heard)) as beside:
        wait_until(lambda: beside.pid, "the process")
        beside.tell("one")
        beside.tell("two")
        beside.finish()
    assert heard.read_text() == "one\ntwo\nend"


def test_one_that_does_not_listen_never_holds_us_up():
    with running("import time; time.sleep(60)") as beside:
        wait_until(lambda: beside.pid, "the process")
        began = CLOCK.monotonic()
        for _ in range(2000):
            beside.tell("x" * 100)  # more than a pipe holds
        assert CLOCK.monotonic() - began < 2


def test_there_is_nobody_to_tell_before_its_start_and_after_its_end():
    beside = running(STAYS)
    beside.tell("nothing")
    with beside:
        wait_until(lambda: beside.pid, "the process")
    beside.tell("nothing")
    assert beside.pid is None
