"""Ctrl+C amid a long command: status 130, one line that says what is left, and that line is true."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from collector.sinks.files.exporting import Request, export
from tests.acceptance.program import wait_until
from tests.conftest import NOW
from tests.sinks.files.filled import fill

ROOT = Path(__file__).resolve().parents[2]
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'candles'::regclass)"


@pytest.fixture
def stopped(emptied, tmp_path):
    """Run a command, stop it while it waits for a table that is locked, and return how it ended and what it said."""
    own = {
        "COLLECTOR_DATABASE__URL": emptied.url.render_as_string(hide_password=False),
        "COLLECTOR_LOGS__DIRECTORY": str(tmp_path / "logs"),
        "COLLECTOR_DATA_DIR": str(tmp_path / "data"),
        "COLLECTOR_BACKUPS__FREE_MB": "0",
    }

    def run(*words, number=signal.SIGINT):
        command = [sys.executable, str(ROOT / "main.py"), *words]
        environment = {**os.environ, **own}
        with (
            emptied.transaction() as lock,
            subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as child,
        ):
            lock.execute(text("LOCK TABLE candles IN ACCESS EXCLUSIVE MODE"))
            wait_until(lambda: lock.execute(text(WAITING)).scalar(), "a command that waits")
            child.send_signal(number)
            lock.rollback()
            said = child.communicate(timeout=30)[1]
        return child.returncode, said

    return run


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".export")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_export_says_that_its_folder_is_no_export_yet(stopped, emptied, tmp_path, number):
    fill(emptied)
    out = tmp_path / "out"
    told = f"collector: stopped: {out} has no manifest.json, so it is no export yet; run it again with --out {out}\n"
    assert stopped("export", "candles", "--out", str(out), number=number) == (130, told)
    assert not (out / "manifest.json").exists()
    assert [path for path in out.rglob("*") if path.name.startswith(".part-")] == []


def test_an_import_says_that_what_it_stored_is_whole(stopped, emptied, tmp_path):
    fill(emptied)
    export(emptied, Request(datasets=["candles"]), tmp_path / "out", now=NOW)
    with emptied.transaction() as connection:
        connection.execute(text("TRUNCATE candles, instruments, cycles RESTART IDENTITY CASCADE"))
    told = "the rows so far are stored whole, the others are not; run it again, which doubles nothing"
    assert stopped("import", str(tmp_path / "out")) == (130, f"collector: stopped: {told}\n")
    with emptied.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM instruments")).scalar() == 3
        assert connection.execute(text("SELECT count(*) FROM candles")).scalar() == 0


def test_a_backup_leaves_nothing_half_written_and_says_so(stopped, emptied, tmp_path):
    fill(emptied)
    folder = tmp_path / "mine"
    told = f"collector: stopped: nothing half-written is left in {folder}; run it again\n"
    assert stopped("db", "backup", "--out", str(folder)) == (130, told)
    assert [path for path in folder.rglob("*") if "backup_" in path.name] == []
