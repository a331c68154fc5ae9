"""SIGTERM and Ctrl+C: a clean end within ten seconds, whatever the collector is doing."""

import signal
from contextlib import closing

import pytest

from tests.acceptance.conftest import simulator
from tests.acceptance.program import SMALL, changed, connect, wait_until

SIGNALS = [signal.SIGTERM, signal.SIGINT]
RARE = changed(SMALL, ["cadences", "market", "every"], "1h")


@pytest.fixture(scope="module")
def stuck():
    """Providers that take longer to answer than the collector has to end."""
    with simulator(latency_s=13) as running:
        yield running


def states(program):
    return {state for _, state in program.cycles()}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_between_cycles_ends_the_daemon_with_status_0(install, venues, number):
    program = install(venues.base_urls, settings=RARE)
    with program.running("run") as daemon:
        wait_until(lambda: program.ended_cycles("daily"), "the first cycles")
        assert daemon.stop(number) == 0
        assert "Traceback" not in daemon.err
    assert states(program) == {"ok"}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_during_calls_that_do_not_answer_ends_the_daemon_with_status_0(install, stuck, number):
    program = install(stuck.base_urls, settings=RARE)
    with program.running("run") as daemon:
        wait_until(lambda: "running" in states(program), "a cycle under way")
        assert daemon.stop(number) == 0
        assert "Traceback" not in daemon.err
    assert states(program) <= {"partial", "failed"}


def test_a_signal_ends_a_collector_that_waits_for_its_quota(install, venues):
    settings = changed(RARE, ["sources", "coingecko", "limits"], {"calls": {"capacity": 3, "window": "1m"}})
    for cadence in ("market", "hourly", "daily"):
        settings = changed(settings, ["cadences", cadence, "deadline"], "10m")
    program = install(venues.base_urls, settings=settings)
    with program.running("run") as daemon:
        wait_until(lambda: program.value("SELECT count(*) FROM jobs WHERE source = 'coingecko'") == 2, "two calls")
        assert states(program) == {"running"}
        assert daemon.stop() == 0
    assert "running" not in states(program)


def test_a_signal_ends_one_cycle_early_and_says_that_it_is_not_whole(install, stuck):
    program = install(stuck.base_urls)
    with program.running("once") as cycle:
        wait_until(lambda: "running" in states(program), "a cycle under way")
        assert cycle.stop() == 1
        assert "Traceback" not in cycle.err
    assert states(program) <= {"partial", "failed"}


def test_a_second_signal_ends_the_daemon_at_once(install, stuck):
    program = install(stuck.base_urls, settings=RARE)
    with program.running("run") as daemon:
        wait_until(lambda: "running" in states(program), "a cycle under way")
        with closing(connect(program.url)) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLE cycles, jobs IN ACCESS EXCLUSIVE MODE")  # the clean end cannot be recorded
            daemon.send(signal.SIGTERM)
            wait_until(lambda: "stopping" in daemon.err, "the first signal")
            assert daemon.alive()
            assert daemon.stop(within_s=2) == 70
    again = program.run("status", "--json")
    assert again.status == 0
