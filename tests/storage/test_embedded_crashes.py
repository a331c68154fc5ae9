"""The embedded database under kills: of the server, of its owner, of both, and over what they leave behind."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import psycopg2
import pytest

from collector.clock import SystemClock
from collector.errors import StorageUnavailable
from collector.storage.embedded import EmbeddedPostgres, Phase, find_postgres
from collector.storage.embedded.launch import CANNOT_LAUNCH
from collector.storage.embedded.supervisor import restart_pause_s
from tests.storage.embedded_processes import (
    answers,
    borrowed,
    command_as,
    gone,
    keep_a_row,
    launch_plan,
    owner_process,
    query,
    resting_cluster,
    running_owner,
    server_of,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and relies on Linux's death signal")
NOBODY = 65534


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    return resting_cluster(tmp_path_factory)


@pytest.fixture
def folder(resting, tmp_path):
    """A database folder with a whole cluster in it, not running; earlier tests may have left tables."""
    with borrowed(resting, tmp_path / "postgres") as folder:
        yield folder


def embedded(folder, **options):
    return EmbeddedPostgres(folder, clock=SystemClock(), **options)


def restarted(database):
    return database.state.phase is Phase.RUNNING and database.state.restarts >= 1


def test_killed_server_is_restarted_and_no_acknowledged_row_is_lost(folder):
    with embedded(folder) as database:
        query(database.url, "DROP TABLE IF EXISTS acknowledged; CREATE TABLE acknowledged (n int PRIMARY KEY)")
        written = []

        def write():
            with contextlib.suppress(psycopg2.Error):
                for number in range(1_000_000):
                    query(database.url, f"INSERT INTO acknowledged VALUES ({number})")
                    written.append(number)

        writer = threading.Thread(target=write)
        writer.start()
        wait_until(lambda: len(written) >= 20, "rows are written")
        server_of(os.getpid(), folder).send_signal(signal.SIGKILL)
        writer.join(20)
        wait_until(lambda: restarted(database), "the server is back")
        assert "SIGKILL" in database.state.last_error
        stored = {row[0] for row in query(database.url, "SELECT n FROM acknowledged")}
        assert set(written) <= stored <= {*written, len(written)}


def test_server_dies_with_its_killed_owner_and_the_next_start_has_the_data(folder):
    with running_owner(folder) as (owner, url):
        keep_a_row(url)
        server = server_of(owner.pid, folder)
        owner.kill()
        owner.wait()
        with embedded(folder) as database:  # at once: it has to wait for the old server by itself
            assert query(database.url, "SELECT n FROM kept") == [(42,)]
            assert server_of(os.getpid(), folder).pid != server.pid
            assert gone(server)


def test_start_waits_for_the_server_of_a_dead_owner_and_signals_nobody(folder):
    with running_owner(folder) as (owner, url), contextlib.ExitStack() as cleaning:
        keep_a_row(url)
        old_server = server_of(owner.pid, folder)
        old_server.suspend()  # it cannot obey the death signal yet
        cleaning.callback(lambda: gone(old_server) or old_server.resume())
        owner.kill()
        owner.wait()
        database = embedded(folder)
        cleaning.callback(database.stop)
        starting = threading.Thread(target=database.start)
        starting.start()
        starting.join(0.7)
        assert database.state.phase is Phase.STARTING
        assert old_server.status() == psutil.STATUS_STOPPED
        old_server.resume()
        wait_until(lambda: database.state.phase is Phase.RUNNING, "the new server")
        assert query(database.url, "SELECT n FROM kept") == [(42,)]


def test_owner_and_server_killed_together_lose_nothing(folder):
    with running_owner(folder) as (owner, url):
        keep_a_row(url)
        server = server_of(owner.pid, folder)
        owner.send_signal(signal.SIGSTOP)  # so that it cannot stop the server before both are dead
        server.kill()
        owner.kill()
        with embedded(folder) as database:
            assert query(database.url, "SELECT n FROM kept") == [(42,)]


def test_server_ends_within_seconds_when_nobody_comes_after_its_killed_owner(folder):
    with running_owner(folder) as (owner, url):
        server = server_of(owner.pid, folder)
        owner.kill()
        owner.wait()
        wait_until(lambda: gone(server), "the server ends", limit_s=5)
        assert not answers(url)


def test_sharing_process_takes_over_from_a_killed_owner(folder):
    with running_owner(folder) as (owner, url), embedded(folder) as guest:
        assert guest.state.phase is Phase.SHARING
        keep_a_row(url)
        owner.kill()
        owner.wait()
        wait_until(lambda: restarted(guest), "the guest runs the server")
        assert query(url, "SELECT n FROM kept") == [(42,)]


def test_server_that_cannot_come_back_is_tried_again_until_it_can(folder):
    settings = folder / "pgdata" / "postgresql.conf"
    with embedded(folder) as database:
        whole = settings.read_bytes()
        settings.write_bytes(whole + b"\nmax_connections = many\n")
        server_of(os.getpid(), folder).send_signal(signal.SIGKILL)
        wait_until(lambda: "FATAL" in (database.state.last_error or ""), "a restart fails")
        assert database.state.phase is Phase.RESTARTING
        settings.write_bytes(whole)
        assert answers(database.start())  # waits for the restart
        assert database.state.restarts == 1


def test_stop_does_not_wait_for_a_pause_between_restarts(folder):
    database = embedded(folder)
    database.start()
    server_of(os.getpid(), folder).send_signal(signal.SIGKILL)
    wait_until(lambda: database.state.phase is Phase.RESTARTING, "the death is noticed")
    began = SystemClock().monotonic()
    database.stop()
    assert SystemClock().monotonic() - began < 0.9
    assert database.state.phase is Phase.STOPPED


def test_restart_pauses_double_up_to_a_minute():
    assert [restart_pause_s(failures) for failures in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.fixture
def innocent():
    """A live process of the server's own user that has nothing to do with us."""
    command = ["/bin/sleep", "60"]
    with subprocess.Popen(command_as(NOBODY, command) if os.geteuid() == 0 else command) as process:
        wait_until(lambda: psutil.Process(process.pid).name() == "sleep", "the process runs")
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("situation", "content"),
    [
        ("whole", "{pid}\n{pgdata}\n1790000000\n5432\n{run}\n\n  5432001         0\nready   \n"),
        ("of a standalone backend", "-{pid}\n{pgdata}\n1790000000\n5432\n\n\n  5432001         0\n"),
        ("cut after the pid", "{pid}\n"),
        ("cut inside the pid", "{pid}"),
        ("empty", ""),
        ("garbage", "\x00\x00\x00"),
    ],
)
def test_leftover_pid_file_neither_stops_a_start_nor_harms_the_process_it_names(folder, innocent, situation, content):
    run = folder / "run"
    run.mkdir(exist_ok=True)
    text = content.format(pid=innocent.pid, pgdata=folder / "pgdata", run=run)
    (folder / "pgdata" / "postmaster.pid").write_text(text)
    (run / ".s.PGSQL.5432.lock").write_text(f"{innocent.pid}\n{folder / 'pgdata'}\n")
    with embedded(folder) as database:
        assert answers(database.url), situation
        server_pid = server_of(os.getpid(), folder).pid
        assert (folder / "pgdata" / "postmaster.pid").read_text().splitlines()[0] == str(server_pid)
    assert innocent.poll() is None, situation


def test_cluster_served_by_hand_is_neither_adopted_nor_touched(folder):
    with tempfile.TemporaryDirectory(dir="/tmp") as socket_dir:
        Path(socket_dir).chmod(0o777)
        postgres = find_postgres().program("postgres")
        command = [str(postgres), "-D", str(folder / "pgdata"), "-k", socket_dir, "-c", "listen_addresses="]
        if os.geteuid() == 0:
            command = command_as(NOBODY, command, reach=[(str(folder), os.X_OK)])
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as by_hand:
            url = f"postgresql+psycopg2://collector@/collector?host={socket_dir}&port=5432"
            wait_until(lambda: answers(url), "the server started by hand")
            with pytest.raises(StorageUnavailable, match=r"shared memory block .* still in use"):
                embedded(folder).start()
            assert answers(url)
            assert by_hand.poll() is None
            by_hand.send_signal(signal.SIGINT)


@pytest.mark.parametrize("files", [0, 600])
def test_first_start_killed_while_making_the_cluster_leaves_nothing_half_made(tmp_path, files):
    folder = tmp_path / "postgres"
    with owner_process(folder) as owner:
        wait_until(lambda: count_files(folder / "pgdata.init") >= files, "initdb works", limit_s=10)
        owner.kill()
        owner.wait()
        with embedded(folder) as database:
            assert answers(database.url)
        assert not (folder / "pgdata.init").exists()


def count_files(folder):
    return sum(len(files) for _place, _folders, files in os.walk(folder)) if folder.is_dir() else -1


def test_killed_initdb_is_reported_and_the_next_start_succeeds(tmp_path):
    database = embedded(tmp_path / "postgres")
    failures = []

    def start():
        try:
            database.start()
        except StorageUnavailable as error:
            failures.append(str(error))

    starting = threading.Thread(target=start)
    starting.start()
    wait_until(lambda: count_files(tmp_path / "postgres" / "pgdata.init") > 0, "initdb works")
    for child in psutil.Process().children():
        if child.name() == "initdb" and str(tmp_path / "postgres" / "pgdata.init") in child.cmdline():
            child.kill()
    starting.join(20)
    assert len(failures) == 1
    assert failures[0].startswith("initdb ended with signal SIGKILL")
    assert not (tmp_path / "postgres" / "pgdata").exists()
    assert answers(database.start())
    database.stop()


def test_program_is_not_started_for_a_parent_that_is_gone():
    answer = subprocess.run(launch_plan(["/bin/true"], parent=1), capture_output=True, text=True, check=False)
    assert answer.returncode == CANNOT_LAUNCH
    assert answer.stderr == "FATAL:  the process that wanted a database server is gone\n"


def test_without_a_death_signal_a_closing_pipe_ends_the_server():
    read_end, write_end = os.pipe()
    command = launch_plan(["/bin/sleep", "60"], lifeline=read_end, death_signal=signal.SIGINT)
    with subprocess.Popen(command, pass_fds=[read_end]) as process:
        os.close(read_end)
        wait_until(lambda: psutil.Process(process.pid).name() == "sleep", "the program runs")
        (watcher,) = psutil.Process(process.pid).children()
        os.close(write_end)  # what the end of our process would do
        assert process.wait(10) == -signal.SIGINT
        wait_until(lambda: gone(watcher), "the watcher ends")
