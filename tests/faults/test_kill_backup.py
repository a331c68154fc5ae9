"""kill -9 at random moments of backups and restores: no half backup, no database that is neither old nor new.

The processes are forked from one that has loaded the program, so that kills meet the work and not the imports.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.conftest import install  # noqa: F401 - a fixture
from tests.acceptance.program import CLOCK, NOBODY, REPOSITORY, connect, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
KILLS = 25  # of each of the two commands
SEED = random.SystemRandom().randrange(2**32)
FORKER = """
import json, os, sys
from collector import cli, cli_commands, cli_database
for line in sys.stdin:
    words = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.close(0)
        try:
            code = cli.main(words)
        finally:
            sys.stderr.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
FILL = """
CREATE TABLE candles_2026_01 PARTITION OF candles FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-02-01 00:00+00');
INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high, low,
    close, volume)
SELECT 'okx', t + interval '1 min', t + interval '62 s', 1, {which}, '1m', t, 1.50, 2.00, 1.00, 1.75, {which}
FROM generate_series('2026-01-01 00:00+00'::timestamptz, '2026-01-04 00:00+00', '1 min') t;
INSERT INTO cycles (cadence, state, started_at, instance, folder, simulated)
SELECT 'market', 'running', t, 'host:{which}', 'f', true
FROM generate_series('2026-01-01 00:00+00'::timestamptz, '2026-01-01 02:00+00', '1 min') t;
"""
TRUTH = """
SELECT (SELECT count(*) || md5(string_agg(c::text, '|' ORDER BY c.instrument_id, c.open_time)) FROM candles c),
    (SELECT count(*) || md5(string_agg(c::text, '|' ORDER BY c.cycle_id)) FROM cycles c),
    (SELECT string_agg(version_num, ',') FROM alembic_version),
    (SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
    (SELECT count(*) FROM pg_indexes WHERE schemaname = 'public')
"""


class Forked:
    """Runs commands of the program, each in a process of its own that can be killed."""

    def __init__(self, program, **environment):
        self._err = (program.folder / "forked.err").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKER],
            cwd=REPOSITORY,
            env={**program.environment, **environment, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._err,
            text=True,
        )
        self._words = program.command()[2:]

    def begin(self, *words):
        self._process.stdin.write(json.dumps([*self._words, *words]) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def ended(self):
        """Return the status of the process, after what it printed."""
        line = self._line()
        while not line.lstrip("-").isdecimal():
            line = self._line()
        return int(line)

    def run(self, *words):
        self.begin(*words)
        return self.ended()

    def said(self):
        self._err.seek(0)
        return self._err.read()[-2000:]

    def _line(self):
        line = self._process.stdout.readline()
        assert line, self.said()
        return line.strip()

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._err.close()


def kill_after(forked, delay_s, *words):
    """Run a command, kill it after a while, and return how it ended."""
    pid = forked.begin(*words)
    CLOCK.sleep(delay_s)
    try:
        os.kill(pid, signal.SIGKILL)  # our forker waits for it: the number is still its own, or nobody's
    except ProcessLookupError:
        pass
    return forked.ended()


def truth(url):
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(TRUTH)
        return cursor.fetchone()


def fill(url, which):
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(FILL.format(which=which))
        connection.commit()
    return truth(url)


def broken(folder):
    """Whole backups by name whose files are not those of their manifest."""
    found = []
    for path in folder.glob("backup_*"):
        manifest = json.loads((path / "manifest.json").read_text())
        files = {
            str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in (path / "dump").rglob("*")
            if file.is_file()
        }
        if files != {name: told["sha256"] for name, told in manifest["files"].items()}:
            found.append(path.name)
    return found


def beside(url):
    """Databases that a killed restore left."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        name = make_url(url).database
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (f"{name}_",))
        return cursor.fetchall()


def until_it_ends_well(forked, *words):
    """Run a command that may have to wait for the last breath of a killed one."""
    wait_until(lambda: forked.run(*words) == 0, " ".join(words), 60)


def test_fifty_kills_of_backups_and_restores_leave_nothing_half_done(install, capsys, cluster):  # noqa: F811
    program = install(NOBODY)
    folder = program.folder / "backups"
    chance = random.Random(SEED)
    forked = Forked(program, COLLECTOR_BACKUPS__FOLDER=str(folder.parent), COLLECTOR_BACKUPS__KEEP="2")
    folder = folder.parent / "simulated"
    old = fill(program.url, 1)
    other_url = cluster.create_database()
    try:
        began = CLOCK.monotonic()
        assert forked.run("db", "backup") == 0, forked.said()
        backup_s = CLOCK.monotonic() - began
        met = 0
        for number in range(KILLS):
            # Every other one without its verification, which is most of it.
            whole = number % 2 == 0
            words, limit_s = (("db", "backup"), backup_s) if whole else (("db", "backup", "--no-verify"), backup_s / 4)
            met += kill_after(forked, chance.uniform(0, limit_s), *words) == -signal.SIGKILL
            assert broken(folder) == [], f"seed {SEED}, kill {number} of a backup"
            assert truth(program.url) == old
        until_it_ends_well(forked, "db", "backup")
        assert broken(folder) == []
        assert list(folder.glob(".unfinished*")) == []
        assert not (folder / ".backup_check").exists()

        first = max(folder.glob("backup_*")).rename(program.folder / "first")
        new = fill(other_url, 2)
        other = Forked(program, COLLECTOR_DATABASE__URL=other_url)
        until_it_ends_well(other, "db", "backup", "--no-verify", "--out", str(program.folder / "seconds"))
        other.close()
        (second,) = (program.folder / "seconds").glob("backup_*")
        states = {old: second, new: first}
        began = CLOCK.monotonic()
        until_it_ends_well(forked, "db", "restore", str(second), "--replace", "--yes")
        restore_s = CLOCK.monotonic() - began
        swapped = 0
        for number in range(KILLS):
            before = truth(program.url)
            words = ("db", "restore", str(states[before]), "--replace", "--yes")
            share = chance.uniform(0, 1) if number % 2 else chance.uniform(0.7, 1)  # more about the moment of the swap
            met += kill_after(forked, share * restore_s, *words) == -signal.SIGKILL
            after = truth(program.url)
            assert after in states, f"seed {SEED}, kill {number} of a restore"
            swapped += after != before
        until_it_ends_well(forked, "db", "restore", str(first), "--replace", "--yes")
        assert truth(program.url) == old
        assert beside(program.url) == []
    finally:
        forked.close()
        cluster.drop(other_url)
    with capsys.disabled():
        figures = f"{met} of {2 * KILLS} kills met the work; {swapped} of {KILLS} restores had taken place"
        sys.stdout.write(f"\nseed {SEED}: {figures}; backup {backup_s:.1f} s, restore {restore_s:.1f} s\n")
    assert met >= KILLS // 2, "most kills came too late"
