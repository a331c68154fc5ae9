"""kill -9 at random moments of export, import and the scheduled export: nothing half-written, lost or doubled."""

import hashlib
import os
import random
import signal
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from collector import cli, cli_commands, cli_files
from collector.clock import ManualClock, SystemClock
from collector.config.export import ExportSettings
from collector.sinks.files.manifest import NAME, PERIODS, parse_manifest, read_manifest
from collector.sinks.files.scheduled import ScheduledExport
from collector.sinks.files.verifying import mismatches
from collector.storage.database import Database
from tests.sinks.files.filled import fill

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
KILLS = 25  # of each command
TURNS = 10  # of the scheduled export
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


def forked(folder, work):
    """Begin work in a process of its own; it is forked, so that its time is work and not the start of Python."""
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
        code = work()
    finally:
        os._exit(code)


def command(database, folder, words):
    """Run a command; in a process of its own."""
    os.environ["COLLECTOR_DATABASE__URL"] = database.url.render_as_string(hide_password=False)
    os.environ["COLLECTOR_LOGS__DIRECTORY"] = str(folder / "logs")
    os.environ["COLLECTOR_DATA_DIR"] = str(folder / "data")
    return cli.main(words)


def whole(database, folder, *words):
    """Run a command to its end and return how long it took."""
    return ended(folder, partial(command, database, folder, words))


def ended(folder, work):
    """Let work come to its end and return how long it took."""
    began = CLOCK.monotonic()
    _, status = os.waitpid(forked(folder, work), 0)
    assert os.waitstatus_to_exitcode(status) == 0, (folder / "said").read_text()
    return CLOCK.monotonic() - began


def killed(database, folder, seconds, *words):
    """Run a command, kill it after some seconds, and return whether it was still at work."""
    return cut_off(folder, seconds, partial(command, database, folder, words))


def cut_off(folder, seconds, work):
    """Begin work, kill it after some seconds, and return whether it was still under way."""
    child = forked(folder, work)
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


def turn(database, out, scratch):
    """Do a turn of the scheduled export as a process that has just started does."""
    tempfile.tempdir = str(scratch)
    settings = ExportSettings(
        enabled=True, target=str(out), back="20d", again="1h", datasets=("candles", "market_snapshots")
    )
    at = datetime(2026, 2, 10, 12, tzinfo=UTC)
    own = Database(database.url.render_as_string(hide_password=False), clock=CLOCK)
    ScheduledExport(settings, own, ManualClock(at)).run(at)
    return 0


def check_periods(out, where):
    """A period with a manifest is whole; a file that has its name is whole too, and named by one manifest at most."""
    named = []
    for path in (out / PERIODS).glob("*.json"):
        for entry in parse_manifest(path.read_bytes(), path.name).files:
            named.append(entry.path)
            assert hashlib.sha256((out / entry.path).read_bytes()).hexdigest() == entry.facts.sha256, where
    assert len(named) == len(set(named)), where
    for name in data_files(out):
        assert pq.ParquetFile(out / name).metadata.num_rows > 0, where


def test_killed_turns_of_the_scheduled_export_end_with_every_day_once_and_whole(truth, tmp_path, capsys):
    chance, hit, between = random.Random(SEED), 0, 0
    (tmp_path / "scratch").mkdir()
    took = min(ended(tmp_path, partial(turn, truth, tmp_path / f"truth{n}", tmp_path / "scratch")) for n in range(2))
    wanted = every_file(tmp_path / "truth0")
    for number in range(TURNS):
        out = tmp_path / f"out{number // 2}"  # every other kill is of a turn that goes on where one was killed
        alive = cut_off(tmp_path, chance.uniform(0.05, 0.8) * took, partial(turn, truth, out, tmp_path / "scratch"))
        check_periods(out, f"kill {number} of seed {SEED}")
        hit, between = hit + alive, between + (0 < len(data_files(out)) < len(wanted))
        if number % 2:
            ended(tmp_path, partial(turn, truth, out, tmp_path / "scratch"))
            assert every_file(out) == wanted, f"kill {number} of seed {SEED}"
    with capsys.disabled():
        sys.stdout.write(f"\n{TURNS} kills of the scheduled export, {hit} at work, {between} amid it; seed {SEED}\n")
    assert hit >= TURNS // 2


def every_file(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
