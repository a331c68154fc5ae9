"""pg_dump and pg_restore as our children: of a version that fits the server, ended with us, no secret in sight.

A child that outlives us would go on reading the database for nobody: the system ends it when we die.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from collector.errors import ConfigError, StorageUnavailable
from collector.storage.copies.dumping import program_address
from collector.storage.database import Database
from collector.storage.embedded.binaries import PostgresBinaries, candidate_folders
from collector.storage.embedded.cluster import launch_failure
from collector.storage.embedded.identity import Identity, Launcher, Mode
from collector.storage.embedded.layout import Layout
from collector.storage.faults import without_password

POLL_S = 0.2
END_S = 10.0  # between asking a child to end and making it
NICENESS = 10  # the collector's own work goes first
JOBS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The folder with pg_dump and pg_restore; version as in `18.4`."""

    bin_dir: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_programs(server_major: int, folders: Iterable[Path] | None = None) -> Programs:
    """Return the first pg_dump with its pg_restore that is not older than the server.

    Raises ConfigError, one line, when there is none: an older one cannot read a newer server's catalogue.
    """
    best = ""
    for folder in _places() if folders is None else folders:
        version = program_version(folder)
        if version is None:
            continue
        if int(version.split(".")[0]) >= server_major:
            return Programs(bin_dir=folder, version=version)
        best = best or f"{version} in {folder}"
    found = f"only {best} is here" if best else "none is here"
    raise ConfigError(
        f"the server is PostgreSQL {server_major}, which pg_dump and pg_restore must not be older than, and {found}: "
        f"install the client programs of PostgreSQL {server_major}"
    )


def _places() -> Iterator[Path]:
    yield from candidate_folders()
    on_path = shutil.which("pg_dump")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def program_version(folder: Path) -> str | None:
    """Return `18.4` for a folder whose pg_dump runs and has pg_restore beside it; None for any other."""
    if not (folder / "pg_restore").is_file():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a path we chose, no shell
            [folder / "pg_dump", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    return found.group(1) if found is not None and answer.returncode == 0 else None


class ProgramFailed(StorageUnavailable):
    """A program ended badly; the text holds its own words."""


def _first_error(output: str) -> str:
    """Return from a program's output the line that says what went wrong first; those after it are consequences."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if re.search(r"\b(error|fatal|FATAL|ERROR):", line)), "\n".join(lines[-1:]))


class Child:
    """A running pg_dump or pg_restore."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str, lifeline: int | None) -> None:
        self._process, self._name, self._lifeline = process, name, lifeline

    def running(self) -> bool:
        """Return whether it still works; raises ProgramFailed when it has failed."""
        try:
            output, _ = self._process.communicate(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            return True
        if self._process.returncode == 0:
            return False
        failure = launch_failure(self._name, self._process.returncode, _first_error(output.decode(errors="replace")))
        raise ProgramFailed(without_password(str(failure)))

    def wait(self, watch: Callable[[], None]) -> None:
        """Wait for its good end, calling `watch` meanwhile, whose errors end it. Raises ProgramFailed."""
        while self.running():
            watch()

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


@contextlib.contextmanager
def running(
    programs: Programs, name: str, words: Sequence[str], *, database: Database, folder: Path, lock: int | None
) -> Iterator[Child]:
    """Start a program on a database and end it when the block is left. `lock` is held by it too, if given.

    Nothing secret is on its command line: a password goes by PGPASSWORD. Raises StorageUnavailable.
    """
    address, secrets = program_address(database)
    command = [str(programs.bin_dir / name), *words, f"--dbname={address}"]
    read_end, lifeline = os.pipe() if sys.platform != "linux" else (None, None)
    try:
        process = _launcher(programs, folder).start(
            command,
            death_signal=SIGTERM,
            inherit=[] if lock is None else [lock],
            environment=_environment(secrets),
            output=subprocess.PIPE,
            lifeline=read_end,
        )
    except OSError as error:
        raise StorageUnavailable(f"{name} cannot be started: {error.strerror}") from error
    finally:
        if read_end is not None:
            os.close(read_end)
    child = Child(process, name, lifeline)
    try:
        make_nice(process.pid)
        yield child
    finally:
        child.end()


def _launcher(programs: Programs, folder: Path) -> Launcher:
    uid, gid = os.geteuid(), os.getegid()
    return Launcher(
        binaries=PostgresBinaries(bin_dir=programs.bin_dir, version=programs.version),
        identity=Identity(mode=Mode.SAME, uid=uid, gid=gid, inner_uid=uid, inner_gid=gid),
        layout=Layout(folder),
    )


def _environment(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without PG* variables that would change what is dumped, and with what is secret."""
    kept = ("PGPASSWORD", "PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLMODE")
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "COLLECTOR_")) or key in kept}
    return {**ours, "LC_ALL": "C", "TZ": "UTC", **secrets}


def make_nice(pid: int) -> None:
    """Let a process of ours wait for others; one that has ended or that we may not touch is left alone."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
