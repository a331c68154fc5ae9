"""kill -9 at random moments, of the collector and of its database server: nothing acknowledged is lost, nothing twice.

A cycle counts as acknowledged once its report.json is written, which happens after the database has committed its end.
"""

import json
import os
import random
import signal
import sys

import pytest

from collector.storage.embedded.connection import server_url
from collector.storage.embedded.layout import Layout, socket_folder
from tests.acceptance.conftest import install, simulator  # noqa: F401 - install is a fixture
from tests.acceptance.program import CLOCK, SMALL, Program, wait_until
from tests.faults.invariants import check_invariants, closed_candles
from tests.storage.embedded_processes import server_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
KILLS, SERVER_KILLS = 100, 30
SEED = random.SystemRandom().randrange(2**32)
NEWEST = "SELECT coalesce(max(cycle_id), 0) FROM cycles"


@pytest.fixture(scope="module")
def slow_venues():
    """Providers that take 60 ms each, so that cycles last long enough to be hit."""
    with simulator(latency_s=0.06) as running:
        yield running


def tell(capsys, figures):
    """Show what was reached, whether the test passes or not."""
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")


def acknowledged(program):
    """Return the cycles that were told to have ended; number 0 is one that the database did not know yet."""
    found = []
    for file in program.logs.glob("cycle_*/report.json"):
        try:
            found.append(json.loads(file.read_text())["cycle_id"])
        except ValueError:  # killed while it was being written: not told yet
            continue
    return [number for number in found if number]


def test_a_hundred_kills_of_the_collector_lose_nothing(install, slow_venues, capsys):  # noqa: F811
    program = install(slow_venues.base_urls)
    chance = random.Random(SEED)
    before, acked, hit = {}, set(), 0
    for number in range(KILLS):
        known = program.value(NEWEST)
        with program.running("run") as daemon:
            if number % 2:  # anywhere, the start and the pauses included
                CLOCK.sleep(chance.uniform(0.8, 4.0))
            else:  # in a cycle, however long the start takes
                wait_until(lambda known=known: program.value(NEWEST) > known, "a new cycle")
                CLOCK.sleep(chance.uniform(0, 1))
            assert daemon.alive(), daemon.err
            daemon.kill()
        acked |= set(acknowledged(program))
        hit += program.value("SELECT count(*) FROM cycles WHERE state = 'running'")
        if number % 10 == 9:
            assert check_invariants(program.url, acked=acked, before=before) == [], f"seed {SEED}, kill {number}"
            before = closed_candles(program.url)
    last = program.run("once")
    assert last.status == 0, last.err
    assert check_invariants(program.url, acked=acked, before=before) == [], f"seed {SEED}"
    states = dict(program.rows("SELECT state, count(*) FROM cycles GROUP BY 1"))
    assert set(states) <= {"ok", "partial", "abandoned"}, states
    assert hit >= KILLS // 4, f"only {hit} kills met a cycle"
    tell(capsys, f"seed {SEED}: {hit} of {KILLS} kills met a running cycle; cycles {states}")


def kill_server(daemon, folder, how):
    server = server_of(daemon.pid, folder)
    workers = server.children()
    victims = {"server": [server], "backend": backends(workers), "all": [server, *workers]}[how]
    for process in victims:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def backends(workers):
    """Return one process that serves a session of the collector, if there is one."""
    serving = [worker for worker in workers if "collector collector" in " ".join(worker.cmdline())]
    return serving[:1]


def test_thirty_kills_of_the_database_server_lose_nothing_and_the_daemon_goes_on(
    tmp_path, slow_venues, record_property
):
    program = Program(tmp_path, addresses=slow_venues.base_urls, settings=SMALL)
    chance = random.Random(SEED)
    folder = program.folder / "data" / "postgres"
    with program.running("run") as daemon:
        wait_until(lambda: len(acknowledged(program)) >= 4, "the first cycles", 60)
        pauses = []
        for number in range(SERVER_KILLS):
            CLOCK.sleep(chance.uniform(3.0, 6.0))
            done = set(acknowledged(program))
            began = CLOCK.monotonic()
            kill_server(daemon, folder, ("server", "backend", "all")[number % 3])
            wait_until(lambda done=done: set(acknowledged(program)) - done, f"a cycle after kill {number}", 40)
            pauses.append(CLOCK.monotonic() - began)
            assert daemon.alive(), daemon.err
        acked = acknowledged(program)
        wait_until(lambda: len(acknowledged(program)) >= len(acked) + 2, "two more cycles")
        url = server_url(socket_folder(Layout(folder)))
        assert check_invariants(url, acked=acked) == [], f"seed {SEED}"
        assert daemon.stop() == 0
    pauses.sort()
    middle = pauses[SERVER_KILLS // 2]
    record_property(
        "figures", f"seed {SEED}: a cycle had ended {middle:.1f} s (median), {pauses[-1]:.1f} s (most) later"
    )
