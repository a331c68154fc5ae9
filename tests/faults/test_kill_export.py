"""kill -9 at random moments of the commands export and import: nothing half-written, nothing lost or doubled."""

import os
import random
import signal
import sys

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from collector import cli, cli_commands, cli_files
from collector.clock import SystemClock
from collector.sinks.files.manifest import NAME, read_manifest
from collector.sinks.files.verifying import mismatches
from collector.storage.database import Database
from tests.sinks.files.filled import fill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
KILLS = 25  # of each command
SEED = random.SystemRandom().randrange(2**32)
CLOCK = SystemClock()
LOADED = (cli_commands, cli_files)  # before a fork, not after each
MORE = """
    INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high,
        low, close, volume)
    SELECT 'okx', t + interval '5 minutes', t + interval '6 minutes', 1, i, '5m', t, 100, 101, 99, 100.5, n
    FROM generate_series(1, 2) i, generate_series(0, 15999) n,
        LATERAL (SELECT timestamptz '2026-01-02+00' + n * interval '3 minutes' AS t) s
"""


@pytest.fixture(scope="module")
def truth(cluster):
    url = cluster.create_database()
    database = Database(url, clock=CLOCK)
    fill(database)
    with database.transaction() as connection:
        connection.execute(text(MORE))
    yield database
    database.close()
    cluster.drop(url)


def started(database, folder, *words):
    """Begin a command in a process of its own; it is forked, so that its time is work and not the start of Python."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        silence = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.chdir(folder)
        os.environ["COLLECTOR_DATABASE__URL"] = database.url.render_as_string(hide_password=False)
        os.environ["COLLECTOR_LOGS__DIRECTORY"] = str(folder / "logs")
        os.environ["COLLECTOR_DATA_DIR"] = str(folder / "data")
        code = cli.main(words)
    finally:
        os._exit(code)


def whole(database, folder, *words):
    """Run a command to its end and return how long it took."""
    began = CLOCK.monotonic()
    _, status = os.waitpid(started(database, folder, *words), 0)
    assert os.waitstatus_to_exitcode(status) == 0, (folder / "said").read_text()
    return CLOCK.monotonic() - began


def killed(database, folder, seconds, *words):
    """Run a command, kill it after some seconds, and return whether it was still at work."""
    child = started(database, folder, *words)
    CLOCK.sleep(seconds)
    os.kill(child, signal.SIGKILL)  # nobody has waited for it, so that the number is still its own
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def data_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.parquet")
        if not path.name.startswith(".")
    }


def test_killed_exports_leave_no_half_file_under_a_final_name(truth, tmp_path, capsys):
    chance, hit = random.Random(SEED), 0
    out = tmp_path / "out"
    words = ("export", "candles", "market_snapshots", "--out", str(out))
    took = min(whole(truth, tmp_path, *words) for _ in range(2))
    wanted = data_files(out)
    for number in range(KILLS):
        alive = killed(truth, tmp_path, chance.uniform(0.05, 0.95) * took, *words)
        hit, took = hit + alive, took if alive else 0.8 * took  # the first run is the slowest
        for name in data_files(out):
            assert pq.ParquetFile(out / name).metadata.num_rows > 0, f"kill {number} of seed {SEED}"
        if (out / NAME).exists():
            assert list(mismatches(out, read_manifest(out))) == [], f"kill {number} of seed {SEED}"
    whole(truth, tmp_path, *words)
    assert data_files(out) == wanted
    assert not [path for path in out.rglob("*") if path.name.startswith(".part-")]
    with capsys.disabled():
        sys.stdout.write(f"\n{KILLS} kills of export, {hit} while it was at work; seed {SEED}\n")
    assert hit >= KILLS // 2


def test_killed_imports_end_with_exactly_the_rows_of_the_files(truth, emptied, tmp_path, capsys):
    chance, hit, between = random.Random(SEED), 0, 0
    whole(truth, tmp_path, "export", "candles", "market_snapshots", "--out", str(tmp_path / "out"))
    wanted = data_files(tmp_path / "out")
    words = ("import", str(tmp_path / "out"))
    took = min(whole(emptied, tmp_path, *words) for _ in range(2))
    for number in range(KILLS):
        if number % 5 == 0:
            with emptied.transaction() as connection:
                connection.execute(text("TRUNCATE candles, instruments, market_snapshots, cycles CASCADE"))
        alive = killed(emptied, tmp_path, chance.uniform(0.05, 0.95) * took, *words)
        hit, took = hit + alive, took if alive else 0.8 * took
        with emptied.reading() as connection:
            stored = connection.execute(text("SELECT count(*) FROM candles")).scalar_one()
        between += 0 < stored < 33_800
    whole(emptied, tmp_path, *words)
    whole(emptied, tmp_path, "export", "candles", "market_snapshots", "--out", str(tmp_path / "again"))
    assert data_files(tmp_path / "again") == wanted
    with capsys.disabled():
        sys.stdout.write(f"\n{KILLS} kills of import, {hit} at work, {between} amid the rows; seed {SEED}\n")
    assert hit >= KILLS // 2
