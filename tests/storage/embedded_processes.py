"""Other processes for the tests of the embedded database: owners to kill, servers found by their own parent."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from sqlalchemy.engine import make_url

from collector.clock import SystemClock
from collector.storage.embedded import launch
from tests.storage.cluster import build_template, copy_cluster

Owner = subprocess.Popen[str]
REPOSITORY = Path(__file__).resolve().parents[2]
CLOCK = SystemClock()
OWNER = """
import pathlib, sys
from collector.clock import SystemClock
from collector.storage.embedded import EmbeddedPostgres
with EmbeddedPostgres(pathlib.Path(sys.argv[1]), clock=SystemClock()) as database:
    print(database.url, flush=True)
    sys.stdin.readline()
"""


def resting_cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a whole, stopped cluster of this worker; made once per session, copied once per call."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    resting = tmp_path_factory.mktemp("resting") / "postgres"
    copy_cluster(build_template(shared / "embedded-template") / "postgres", resting)
    return resting


@contextmanager
def borrowed(resting: Path, folder: Path) -> Iterator[Path]:
    """Move the stopped cluster to `folder` and back: a copy for every test would cost more than the tests."""
    resting.rename(folder)
    try:
        yield folder
    finally:
        folder.rename(resting)


def wait_until(condition: Callable[[], Any], what: str, limit_s: float = 15) -> Any:
    """Return the first true answer of `condition`; fail with `what` when the limit passes."""
    deadline = CLOCK.monotonic() + limit_s
    while CLOCK.monotonic() < deadline:
        if answer := condition():
            return answer
        CLOCK.sleep(0.02)
    raise AssertionError(f"{what}: not within {limit_s} s")


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement in its own connection and return its rows ([] when it gives none)."""
    target = make_url(url)
    connection = psycopg2.connect(
        host=target.query["host"], port=target.query["port"], user=target.username, dbname=target.database
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def keep_a_row(url: str) -> None:
    query(url, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS n")


def answers(url: str) -> bool:
    try:
        return query(url, "SELECT 1") == [(1,)]
    except psycopg2.OperationalError:
        return False


def server_of(pid: int, folder: Path) -> psutil.Process:
    """Return the server on `folder` that the process `pid` runs as its own direct child; others are not ours."""

    def found() -> psutil.Process | None:
        children = psutil.Process(pid).children()
        return next((child for child in children if serves(child, folder)), None)

    server: psutil.Process = wait_until(found, f"process {pid} has a server on {folder}")
    return server


def serves(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and str(folder / "pgdata") in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@contextmanager
def owner_process(directory: Path, *, command: Sequence[str] = (), as_user: int | None = None) -> Iterator[Owner]:
    """Start a process that owns the database until its stdin closes, perhaps under `command`; do not wait for it."""
    words = [*command, sys.executable, "-c", OWNER, str(directory)]
    with subprocess.Popen(
        words if as_user is None else command_as(as_user, words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running_owner(
    directory: Path, *, command: Sequence[str] = (), as_user: int | None = None
) -> Iterator[tuple[Owner, str]]:
    """Run a process that owns the database; give it and the URL of its server, which answers."""
    with owner_process(directory, command=command, as_user=as_user) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, process.communicate()[1]
        yield process, url


def command_as(user: int, command: Sequence[str], *, reach: Sequence[tuple[str, int]] = ()) -> list[str]:
    """Return `command` as another user's; it may still walk through folders that root keeps closed."""
    needed = [(command[0], os.X_OK), (str(REPOSITORY), os.R_OK), (sys.base_prefix, os.R_OK), *reach]
    return launch_plan(command, mode="setuid", user=user, reach=needed)


def launch_plan(
    command: Sequence[str],
    *,
    mode: str = "same",
    user: int = 0,
    reach: Sequence[tuple[str, int]] = (),
    parent: int | None = None,
    lifeline: int | None = None,
    death_signal: int = signal.SIGKILL,
) -> list[str]:
    plan = {
        "command": list(command),
        "mode": mode,
        "uid": user,
        "gid": user,
        "reach": list(reach),
        "parent": os.getpid() if parent is None else parent,
        "signal": death_signal,
        "lifeline": lifeline,
    }
    return [sys.executable, "-I", "-S", str(Path(launch.__file__)), json.dumps(plan)]
