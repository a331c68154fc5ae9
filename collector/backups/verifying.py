"""Restores a backup into a second embedded server and compares: what cannot be restored is no backup.

The server lives in a folder of its own for as long as this takes. One that a killed run left ends by itself and is
removed by the next run.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.backups.manifest import DUMP, Manifest, compare
from collector.backups.programs import JOBS, find_programs, make_nice, running
from collector.clock import Clock
from collector.errors import ConfigError, LockHeld, StorageUnavailable
from collector.storage.copies.dumping import TIMESCALE, Held, load_server, prepare_timescale, snapshot
from collector.storage.copies.swap import swapping
from collector.storage.database import Database
from collector.storage.embedded import EmbeddedPostgres, find_postgres
from collector.storage.embedded.cluster import postmaster_pid
from collector.storage.embedded.layout import SOCKET_NAME, FileLock, Layout, drop_socket_folder, socket_folder

Say = Callable[[str], None]
SCRATCH = ".backup_check"
OLD_SERVER_S = 60.0  # how long the server of a killed run may take to end
LOCK_WAIT_S = 5.0
# Nothing here has to survive anything.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",  # a table filled by the job that made it is then not logged
    "max_wal_senders": "0",
    "autovacuum": "off",
    "max_connections": "10",
    "maintenance_work_mem": "128MB",
    "cluster_name": "collector backup check",
}


def differences(
    path: Path,
    manifest: Manifest,
    *,
    original: Database,
    place: Path,
    watch: Callable[[], None],
    clock: Clock,
    say: Say,
) -> list[str]:
    """Return how a restored copy differs from the manifest; nothing when it is equal.

    The copy is made in a second embedded server in `place`, or, when that server cannot hold it (an older version, a
    missing extension), in a database of its own on the server of the original. Raises StorageError and ConfigError.
    """
    embedded = _embedded_major()
    if embedded is not None and embedded >= int(manifest.server.split(".")[0]) and not manifest.extensions:
        with _scratch_server(place, clock) as (url, lock):
            return _restored_differences(url, path, manifest, lock, watch, clock, say)
    with swapping(original, clock, "_checked") as hold, _held_lock(place, clock) as lock:
        url = hold.make()
        try:
            return _restored_differences(url, path, manifest, lock, watch, clock, say)
        finally:
            hold.clear()


def _embedded_major() -> int | None:
    try:
        return find_postgres().major
    except ConfigError:  # no server of our own on this machine
        return None


def _restored_differences(
    url: str, path: Path, manifest: Manifest, lock: int, watch: Callable[[], None], clock: Clock, say: Say
) -> list[str]:
    database = Database(url, clock=clock, application_name="collector backup", pool_size=1)
    try:
        say("restoring a copy")
        fill(database, path, manifest, lock=lock, watch=watch)
        return compare(manifest.tables, held(database, manifest, watch, say))
    finally:
        database.close()


def fill(database: Database, path: Path, manifest: Manifest, *, lock: int | None, watch: Callable[[], None]) -> None:
    """Restore a dump into an empty database; any error of any object is an error. Raises StorageUnavailable."""
    programs = find_programs(load_server(database).major)
    timescale = TIMESCALE in manifest.extensions
    if timescale:
        prepare_timescale(database, done=False)
    jobs = 1 if timescale else JOBS  # its catalogue must come in order
    words = ["--exit-on-error", f"--jobs={jobs}", "--no-owner", "--no-privileges", str(path / DUMP)]
    with running(programs, "pg_restore", words, database=database, folder=path, lock=lock) as child:
        child.wait(watch)
    if timescale:
        prepare_timescale(database, done=True)


def held(database: Database, manifest: Manifest, watch: Callable[[], None], say: Say) -> dict[str, Held]:
    """Return what a restored database holds, without the tables that were left out of the backup."""
    with snapshot(database, "compare the copy") as moment:
        found = {}
        tables = [table for table in moment.tables if table not in manifest.left_out]
        for number, table in enumerate(tables, start=1):
            say(f"comparing {table} ({number} of {len(tables)})")
            found[table] = moment.held(table, watch)
        return found


@contextmanager
def _held_lock(place: Path, clock: Clock) -> Iterator[int]:
    """Hold the place where copies are made; raises LockHeld while another verification works there."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(place / f"{SCRATCH}.lock")
    deadline = clock.monotonic() + LOCK_WAIT_S
    while not lock.acquire():
        if clock.monotonic() > deadline:
            raise LockHeld(f"another backup is verified in {place} ({lock.signature()})")
        clock.sleep(0.05)
    try:
        lock.sign(clock)
        yield lock.descriptor
    finally:
        lock.release()


@contextmanager
def _scratch_server(place: Path, clock: Clock) -> Iterator[tuple[str, int]]:
    """Lend the URL of an empty database on a server of its own, and the lock that keeps others out."""
    folder = place / SCRATCH
    with _held_lock(place, clock) as lock:
        _remove(folder, clock)
        try:
            with EmbeddedPostgres(folder, clock=clock, take_over=False, settings=SETTINGS) as server:
                pid = postmaster_pid(Layout(folder.resolve()))
                if pid is not None:
                    make_nice(pid)  # every session's process inherits it
                yield server.url, lock
        finally:
            _remove(folder, clock)


def _remove(folder: Path, clock: Clock) -> None:
    """Delete a scratch server's folder once none of its processes is left."""
    if not folder.exists():
        return
    layout = Layout(folder.resolve())
    guard = FileLock(layout.server_lock)
    deadline = clock.monotonic() + OLD_SERVER_S
    while not guard.acquire():
        if clock.monotonic() > deadline:
            raise StorageUnavailable(f"the server of an earlier verification still works in {folder}")
        clock.sleep(0.05)
    try:
        sockets = socket_folder(layout)
        for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
            (sockets / name).unlink(missing_ok=True)
        drop_socket_folder(layout, sockets)
        shutil.rmtree(folder)
    finally:
        guard.release()
