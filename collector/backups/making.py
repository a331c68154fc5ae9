"""Makes a backup: a dump and the numbers of every table from one snapshot, restored elsewhere and compared, then named.

Guarantees: the collector works on meanwhile; only a whole backup gets its final name, and, where it is to be verified,
only one that was found equal.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from collector import __version__
from collector.backups.manifest import DUMP, Manifest, NotVerified, files_of
from collector.backups.programs import JOBS, Child, ProgramFailed, Programs, find_programs, running
from collector.backups.shelf import Backup, Keeping, Shelf, working
from collector.backups.verifying import differences
from collector.clock import Clock
from collector.config import ROOT, Settings
from collector.errors import ConfigError, StorageUnavailable
from collector.storage.copies.dumping import HASH, Held, Server, Snapshot, load_server, snapshot
from collector.storage.database import Database

Say = Callable[[str], None]
MEGABYTE = 1 << 20
PAYLOADS = "raw_payloads"
EXCLUDING_MAJOR = 17  # pg_dump --exclude-extension


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What kind of backup is made, and where."""

    folder: Path
    verify_folder: Path
    keeping: Keeping
    verify: bool
    payloads: bool
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that was made, and what went for it."""

    backup: Backup
    rotated: tuple[str, ...]


def folder_of(settings: Settings) -> Path:
    """Return the folder of the backups; it may not exist yet. Made-up data has one of its own."""
    folder = settings.backups.folder
    if folder is None:
        return settings.data_dir / "backups"
    return ROOT / folder / "simulated" if settings.simulated else ROOT / folder


def wish_of(settings: Settings) -> Wish:
    """Return the kind of backup that the settings ask for."""
    part, folder = settings.backups, folder_of(settings)
    return Wish(
        folder=folder,
        verify_folder=folder if part.verify_folder is None else ROOT / part.verify_folder,
        keeping=Keeping(newest=part.keep, weekly=part.keep_weekly, monthly=part.keep_monthly),
        verify=part.verify,
        payloads=part.payloads,
        free_bytes=part.free_mb * MEGABYTE,
    )


def make_backup(database: Database, wish: Wish, clock: Clock, say: Say) -> Made:
    """Make one, verify it if that is wished, and delete those that need not be kept any more.

    Raises NotVerified when the copy differs: it is kept aside as *.failed. Raises ConfigError, LockHeld or another
    StorageError when there is no backup; then nothing new stands in the folder.
    """
    revision = database.revision()
    if revision is None:
        raise ConfigError("the database has no tables yet: there is nothing to back up")
    with working(wish.folder, clock) as shelf:
        path = shelf.begin(clock.now())
        try:
            manifest = _dump(database, revision, wish, shelf, path, clock, say)
            backup = _finish(database, manifest, wish, shelf, path, clock, say)
        except BaseException:  # Ctrl+C too: nothing half-written stays
            if path.exists():
                shelf.remove(path)
            raise
        return Made(backup=backup, rotated=tuple(shelf.rotate(wish.keeping)))


def _finish(
    database: Database, manifest: Manifest, wish: Wish, shelf: Shelf, path: Path, clock: Clock, say: Say
) -> Backup:
    if not wish.verify:
        return shelf.finish(path, manifest)
    place = wish.verify_folder
    watch = _floor(place, wish)
    try:
        found = differences(path, manifest, original=database, place=place, watch=watch, clock=clock, say=say)
    except ProgramFailed as error:  # it cannot be restored
        kept = shelf.set_aside(path, manifest)
        raise NotVerified(f"the backup cannot be restored ({error}): kept as {kept}") from error
    if found:
        kept = shelf.set_aside(path, manifest)
        raise NotVerified(f"the backup does not hold what the database holds ({'; '.join(found[:3])}): kept as {kept}")
    return shelf.finish(path, replace(manifest, verified_at=clock.now()))


def _dump(database: Database, revision: str, wish: Wish, shelf: Shelf, path: Path, clock: Clock, say: Say) -> Manifest:
    server = load_server(database)
    programs = find_programs(server.major)
    began = clock.now()
    with snapshot(database, "back up the database") as moment:
        left_out = tuple(table for table in moment.tables if table == PAYLOADS and not wish.payloads)
        words = [*_words(path, moment, left_out), *_extension_words(server, programs)]
        with running(programs, "pg_dump", words, database=database, folder=path, lock=shelf.lock) as child:
            tables = _held(moment, left_out, child, _floor(path, wish), say)
            say("waiting for pg_dump")
            child.wait(_floor(path, wish))
        simulated = moment.simulated()
    say("reading the dump again for its digests")
    return Manifest(
        program=__version__,
        created_at=began,
        finished_at=clock.now(),
        verified_at=None,
        revision=revision,
        server=server.version,
        extensions=tuple({*server.extensions, *server.unused_extensions} - {*_left_behind(server, programs)}),
        dumped_by=programs.version,
        database=database.safe_url,
        database_bytes=server.size_bytes,
        simulated=simulated,
        left_out=left_out,
        hash=HASH,
        tables=tables,
        files=files_of(path),
    )


def _words(path: Path, moment: Snapshot, left_out: tuple[str, ...]) -> list[str]:
    """Return pg_dump's options. A folder written by two jobs took 8 s where one file took 13 (3 million candles)."""
    partitions = [f"--exclude-table-data=public.{table}*" for table in left_out]
    form = ["--format=directory", f"--jobs={JOBS}", "--compress=gzip"]
    return [*form, f"--file={path / DUMP}", f"--snapshot={moment.name}", "--no-owner", "--no-privileges", *partitions]


def _extension_words(server: Server, programs: Programs) -> list[str]:
    """Return what leaves extensions out that nothing uses; an older pg_dump cannot."""
    return [f"--exclude-extension={name}" for name in _left_behind(server, programs)]


def _left_behind(server: Server, programs: Programs) -> tuple[str, ...]:
    return server.unused_extensions if programs.major >= EXCLUDING_MAJOR else ()


def _held(
    moment: Snapshot, left_out: tuple[str, ...], child: Child, watch: Callable[[], None], say: Say
) -> dict[str, Held]:
    """Return what each table holds, computed while pg_dump works on the same snapshot."""

    def look() -> None:
        child.running()  # raises if it has failed
        watch()

    tables = [table for table in moment.tables if table not in left_out]
    held = {}
    for number, table in enumerate(tables, start=1):
        say(f"dumping; counting {table} ({number} of {len(tables)})")
        held[table] = moment.held(table, look)
    return held


def _floor(folder: Path, wish: Wish) -> Callable[[], None]:
    """Return a check that the disk of a folder has enough room left, which raises StorageUnavailable."""

    def check() -> None:
        free = shutil.disk_usage(folder).free
        if free < wish.free_bytes:
            wanted = f"backups.free_mb wants {wish.free_bytes // MEGABYTE}"
            raise StorageUnavailable(
                f"{folder}: only {free // MEGABYTE} MB are free, {wanted}: make room, name another folder, or lower it"
            )

    return check
