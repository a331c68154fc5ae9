"""The process that keeps house beside the daemon: it comes again when it dies, ends with the daemon, and is alone."""

import os
import signal

import psutil
import pytest

from collector.exits import LOCKED, OK, USAGE
from tests.acceptance.conftest import install, venues  # noqa: F401 - fixtures
from tests.acceptance.program import Program, wait_until


def keepers(daemon):
    """Return the processes of a daemon that keep house."""
    return [child for child in psutil.Process(daemon.pid).children() if "housekeep" in child.cmdline()]


@pytest.fixture
def program(install, venues):  # noqa: F811
    made = install(venues.base_urls)
    made.environment["COLLECTOR_ALERTS__ENABLED"] = "true"
    return made


def log(program):
    file = program.logs / "housekeeping.log"
    return file.read_text() if file.exists() else ""


def test_it_runs_beside_the_daemon_and_comes_again_when_it_is_killed(program):
    with program.running("run") as daemon:
        wait_until(lambda: log(program).count("housekeeping_started") == 1, "the first start")
        (first,) = keepers(daemon)
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: log(program).count("housekeeping_started") == 2, "the second start")
        (second,) = keepers(daemon)
        refused = program.run("housekeep", "--once")
        assert refused.status == LOCKED
        assert "another process keeps house on" in refused.complaint
        assert daemon.stop() == OK
    assert not second.is_running()


def test_it_ends_when_the_daemon_is_killed(program):
    with program.running("run") as daemon:
        wait_until(lambda: "housekeeping_started" in log(program), "its start")
        (keeper,) = keepers(daemon)
        daemon.kill()
        keeper.wait(10)
        assert not keeper.is_running()


def test_by_hand_it_does_what_is_due_and_ends(program):
    assert program.run("once").status == OK
    done = program.run("housekeep", "--once")
    assert (done.status, done.err) == (OK, "")
    assert done.out.endswith("chores done, 0 failed\n")


def test_without_tables_it_says_how_to_begin(venues, database_url, tmp_path):  # noqa: F811
    refused = Program(tmp_path, addresses=venues.base_urls, url=database_url).run("housekeep", "--once")
    assert refused.status == USAGE
    assert "the database is empty; start with" in refused.complaint


def test_ctrl_c_ends_it(program):
    assert program.run("once").status == OK
    with program.running("housekeep") as keeper:
        wait_until(lambda: "housekeeping_started" in log(program), "its start")
        assert keeper.stop(signal.SIGINT) == OK
