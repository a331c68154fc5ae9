"""Puts a backup in the place of a database: filled beside it, compared, migrated, and only then given its name.

Guarantees: a restore that fails or is killed leaves the old database untouched; the name never stands for half a one;
nothing is replaced while somebody collects or keeps house there.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from collector.backups.manifest import Manifest, NotVerified, check_files, compare, read_manifest
from collector.backups.verifying import fill, held
from collector.clock import Clock
from collector.errors import ConfigError
from collector.storage import schema
from collector.storage.copies.dumping import HASH, analyse, has_rows, knows_revision
from collector.storage.copies.swap import Swap, swapping
from collector.storage.database import Database

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did."""

    database: str  # its address, without a password
    manifest: Manifest
    applied: tuple[str, ...]  # migrations, oldest first
    replaced: bool  # rows stood there before


def check_backup(path: Path) -> Manifest:
    """Return a backup's manifest if all its files are as they were written and this program knows its schema.

    Raises ConfigError, one line.
    """
    manifest = read_manifest(path)
    if not knows_revision(manifest.revision):
        raise ConfigError(
            f"{path} is of schema {manifest.revision}, this program knows up to {schema.head()}: "
            f"restore it with the program that made it ({manifest.program}) or a newer one"
        )
    check_files(path, manifest)
    return manifest


def restore(
    database: Database,
    path: Path,
    clock: Clock,
    say: Say,
    *,
    replace: bool,
    confirm: Callable[[list[str]], bool],
    checked: Manifest | None = None,
) -> Restored:
    """Restore a backup; the database it goes to need not exist, its server must.

    `checked` is what check_backup() has just returned; None: it is called here. `confirm` is asked before rows are
    replaced, with the tables that hold some; False leaves everything as it is.
    Raises ConfigError when there are rows and `replace` is false, LockHeld while somebody works there, NotVerified when
    what was restored is not what was dumped, another StorageError when the server fails.
    """
    say("checking the files of the backup")
    manifest = checked or check_backup(path)
    with swapping(database, clock) as hold:
        with _alone(database, hold) as filled:
            _allow(database, filled, replace=replace, confirm=confirm)
            applied = _fill(hold, path, manifest, clock, say)
        database.close()
        say("taking the place of the old database")
        hold.take_place()
        hold.clear()
    return Restored(database=database.safe_url, manifest=manifest, applied=tuple(applied), replaced=bool(filled))


@contextmanager
def _alone(database: Database, hold: Swap) -> Iterator[list[str]]:
    """Keep collectors and housekeepers out of the old database, and lend the names of its tables with rows."""
    with ExitStack() as stack:
        if not hold.stands:
            yield []
            return
        stack.enter_context(database.writer_lock())
        stack.enter_context(database.housekeeper_lock())
        yield has_rows(database)


def _allow(database: Database, filled: list[str], *, replace: bool, confirm: Callable[[list[str]], bool]) -> None:
    if not filled:
        return
    some = f"{', '.join(filled[:3])}{' ...' if len(filled) > 3 else ''}"  # noqa: PLR2004 - enough to know it by
    if not replace:
        raise ConfigError(
            f"{database.safe_url} holds rows ({some}): add --replace to lose them for those of the backup"
        )
    if not confirm(filled):
        raise ConfigError("nothing was changed")


def _fill(hold: Swap, path: Path, manifest: Manifest, clock: Clock, say: Say) -> list[str]:
    """Fill the new database, compare it with the manifest, and bring its schema to this program's."""
    url = hold.make()
    coming = Database(url, clock=clock, application_name="collector restore", pool_size=1)
    try:
        say("restoring the rows and their indexes")
        fill(coming, path, manifest, lock=None, watch=lambda: None)
        _compare(coming, manifest, say)
        say("bringing the tables to this version")
        applied = coming.upgrade()
        analyse(coming)
    except BaseException:
        coming.close()
        hold.clear()
        raise
    coming.close()
    return applied


def _compare(coming: Database, manifest: Manifest, say: Say) -> None:
    """Raise NotVerified when the restored rows, before any migration, are not those that were dumped."""
    if manifest.hash != HASH:  # counted in another way by another release: the digests of the files must do
        return
    found = compare(manifest.tables, held(coming, manifest, lambda: None, say))
    if found:
        raise NotVerified(f"what was restored is not what was dumped ({'; '.join(found[:3])}); nothing was changed")
