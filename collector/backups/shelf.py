"""The folder of the backups: what stands there, who may work there, and what goes.

Guarantees: a folder under its final name is a whole backup; one process works here at a time; whatever a killed one
left goes with the next; the newest verified backup is never deleted.
"""

import shutil
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from collector.backups.manifest import Manifest, read_manifest, sync_folder, write_manifest
from collector.clock import Clock
from collector.errors import ConfigError, LockHeld, StorageUnavailable
from collector.storage.embedded.layout import FileLock

PREFIX, FAILED = "backup_", ".failed"
UNFINISHED = ".unfinished_"  # before a name: what nobody may take for a backup
FAILED_KEPT = 2  # of those that were found to differ; somebody has to look at them
LOCK_WAIT_S = 5.0  # a killed backup's pg_dump notices within moments


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup in its folder."""

    path: Path
    manifest: Manifest

    @property
    def verified(self) -> bool:
        return self.manifest.verified_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How many verified backups are kept: the newest, and the newest of so many weeks and months."""

    newest: int
    weekly: int = 0
    monthly: int = 0


def backups_in(folder: Path) -> list[Backup]:
    """Return the whole backups in a folder, newest first; what cannot be read is left out."""
    found = []
    for path in _folders(folder, f"{PREFIX}*"):
        if path.suffix != FAILED:
            try:
                found.append(Backup(path, read_manifest(path)))
            except ConfigError:
                continue
    return sorted(found, key=lambda backup: (backup.manifest.created_at, backup.path.name), reverse=True)


def failed_in(folder: Path) -> list[Path]:
    """Return what failed its verification and was kept aside, newest first."""
    return sorted(_folders(folder, f"{PREFIX}*{FAILED}"), reverse=True)


def newest_verified(folder: Path) -> datetime | None:
    """Return the moment whose rows the newest verified backup holds; None when there is none."""
    return next((backup.manifest.created_at for backup in backups_in(folder) if backup.verified), None)


def find_backup(folder: Path, name: str) -> Path:
    """Return the folder of a backup named by its path, by its name in the folder, or as `latest` (verified).

    Raises ConfigError when there is none.
    """
    if name == "latest":
        newest = next((backup.path for backup in backups_in(folder) if backup.verified), None)
        if newest is None:
            raise ConfigError(f"{folder} holds no verified backup; name one, or see: python main.py db backups")
        return newest
    for path in (folder / name, Path(name)):
        if path.is_dir():
            return path.resolve()
    raise ConfigError(f"{name}: no such backup, neither in {folder} nor as a path; see: python main.py db backups")


def _folders(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.glob(pattern) if path.is_dir() and not path.is_symlink()]


class Shelf:
    """The folder while we work in it; see `working`."""

    def __init__(self, folder: Path, lock: FileLock) -> None:
        self.folder = folder
        self._lock = lock

    @property
    def lock(self) -> int:
        """The open lock file, for children that shall hold it too."""
        return self._lock.descriptor

    def begin(self, created_at: datetime) -> Path:
        """Make and return the folder of a new backup, under a name that is not a backup's. Raises OSError."""
        stamp = f"{PREFIX}{created_at:%Y-%m-%d_%H-%M-%S}"
        name, number = stamp, 2
        while (self.folder / name).exists() or (self.folder / f"{name}{FAILED}").exists():
            name, number = f"{stamp}~{number}", number + 1
        path = self.folder / f"{UNFINISHED}{name}"
        path.mkdir(mode=0o700)
        return path

    def finish(self, path: Path, manifest: Manifest) -> Backup:
        """Give a whole backup its final name. Raises OSError."""
        write_manifest(path, manifest)
        return Backup(self._name(path, ""), manifest)

    def set_aside(self, path: Path, manifest: Manifest) -> Path:
        """Keep what failed its verification, under a name of its own; the oldest of those go. Raises OSError."""
        write_manifest(path, replace(manifest, verified_at=None))
        kept = self._name(path, FAILED)
        for old in failed_in(self.folder)[FAILED_KEPT:]:
            self.remove(old)
        return kept

    def _name(self, path: Path, ending: str) -> Path:
        final = path.with_name(path.name.removeprefix(UNFINISHED) + ending)
        path.rename(final)
        sync_folder(self.folder)
        return final

    def remove(self, path: Path) -> None:
        """Delete a folder; killed in the middle, no part of it stands under a backup's name. Raises OSError."""
        doomed = path if path.name.startswith(UNFINISHED) else path.with_name(f"{UNFINISHED}{path.name}")
        if doomed != path:
            path.rename(doomed)
        shutil.rmtree(doomed)

    def clear(self) -> int:
        """Delete what killed backups left; return how many. Raises OSError."""
        left = _folders(self.folder, f"{UNFINISHED}{PREFIX}*")
        for path in left:
            self.remove(path)
        return len(left)

    def rotate(self, keeping: Keeping) -> list[str]:
        """Delete what need not be kept, verified and not verified counted apart; return the names. Raises OSError."""
        everything = backups_in(self.folder)
        verified = [backup for backup in everything if backup.verified]
        others = [backup for backup in everything if not backup.verified]
        kept = {backup.path for backup in (*wanted(verified, keeping), *others[: keeping.newest])}
        gone = [backup.path for backup in everything if backup.path not in kept]
        for path in gone:
            self.remove(path)
        return [path.name for path in gone]


def wanted(verified: Sequence[Backup], keeping: Keeping) -> list[Backup]:
    """Return which of the verified backups, newest first, are kept; the newest always is."""
    kept = list(verified[: max(keeping.newest, 1)])
    kept += _newest_of_each(verified, keeping.weekly, lambda moment: moment.isocalendar()[:2])
    kept += _newest_of_each(verified, keeping.monthly, lambda moment: (moment.year, moment.month))
    return kept


def _newest_of_each(backups: Sequence[Backup], count: int, period: Callable[[datetime], Hashable]) -> Iterator[Backup]:
    seen: set[Hashable] = set()
    for backup in backups:
        key = period(backup.manifest.created_at)
        if key not in seen and len(seen) < count:
            seen.add(key)
            yield backup


@contextmanager
def working(folder: Path, clock: Clock) -> Iterator[Shelf]:
    """Lend the folder to one process at a time, made if it is missing and free of what killed ones left.

    Raises LockHeld while another one works there, ConfigError when the folder cannot be written, StorageUnavailable
    when the disk fails us within.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        deadline = clock.monotonic() + LOCK_WAIT_S
        while not lock.acquire():
            if clock.monotonic() > deadline:
                raise LockHeld(f"another backup works in {folder} ({lock.signature()})")
            clock.sleep(0.05)
    except OSError as error:
        raise ConfigError(f"backups.folder: {folder} cannot be written ({error.strerror}); name another") from error
    try:
        lock.sign(clock)
        shelf = Shelf(folder, lock)
        shelf.clear()
        yield shelf
    except OSError as error:
        place = error.filename or folder
        raise StorageUnavailable(f"{place}: {error.strerror or error}") from error
    finally:
        lock.release()
