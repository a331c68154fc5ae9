"""What a backup says of itself, and the check that its files are the ones it was finished with.

`manifest.json` is the last file of a backup to be written. Moments are ISO 8601 in UTC, sizes bytes, digests SHA-256.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from collector.errors import ConfigError, StorageError, StorageUnavailable, Verdict
from collector.storage.copies.dumping import Held

NAME, DUMP = "manifest.json", "dump"
FORMAT = 1
_CHUNK = 1 << 20


class NotVerified(StorageError):
    """A copy does not hold what the database held."""

    verdict = Verdict.RETRY


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a backup."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup is."""

    program: str  # version of this program
    created_at: datetime  # the moment whose rows are in it, within a second
    finished_at: datetime
    verified_at: datetime | None  # when a restored copy was found equal; None: never
    revision: str  # of the schema
    server: str  # version, as 18.4
    extensions: tuple[str, ...]
    dumped_by: str  # version of pg_dump
    database: str  # its address, without a password
    database_bytes: int  # on the server's disk
    simulated: bool | None  # whether cycles stored made-up rows; None: there was no cycle
    left_out: tuple[str, ...]  # tables whose rows are not in it
    hash: str  # how the tables' numbers were computed
    tables: Mapping[str, Held]
    files: Mapping[str, File]

    @property
    def rows(self) -> int:
        return sum(held.rows for held in self.tables.values())

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it whole or not at all, and see it on the disk. Raises OSError."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, default=_plain, indent=1)
    temporary = folder / f".{NAME}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)
    sync_folder(folder)


def read_manifest(folder: Path) -> Manifest:
    """Return what a backup says of itself; raises ConfigError, one line, when it cannot be understood."""
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise ConfigError(f"{path} is of a format that this program does not know: use the program that made it")
        return _from_json(found)
    except OSError as error:
        raise ConfigError(f"{folder} is no backup: {NAME} cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({type(error).__name__}: {error}); use another backup") from error


def _from_json(found: dict[str, Any]) -> Manifest:
    moments = {name: _moment(found[name]) for name in ("created_at", "finished_at", "verified_at")}
    return Manifest(
        **{
            **found,
            **moments,
            "extensions": tuple(found["extensions"]),
            "left_out": tuple(found["left_out"]),
            "tables": {name: Held(**held) for name, held in found["tables"].items()},
            "files": {name: File(**file) for name, file in found["files"].items()},
        }
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def files_of(folder: Path) -> dict[str, File]:
    """Return size and digest of every file of a dump by its path below the folder. Raises OSError."""
    return {str(path.relative_to(folder)): _file(path) for path in _paths(folder)}


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise ConfigError naming the first file that is missing, strange or not as it was."""
    try:
        present = {str(path.relative_to(folder)): path for path in _paths(folder)}
        for name, told in manifest.files.items():
            path = present.get(name)
            if path is None:
                raise ConfigError(f"{folder / name} is missing: the backup is not whole, use another one")
            if path.stat().st_size != told.size_bytes or _file(path) != told:
                raise ConfigError(f"{folder / name} is not the file that was written: use another backup")
    except OSError as error:
        raise StorageUnavailable(f"{error.filename}: {error.strerror}") from error
    for name in present:
        if name not in manifest.files:
            raise ConfigError(f"{folder / name} is no part of the backup: remove it, or use another backup")


def _paths(folder: Path) -> Iterator[Path]:
    return (path for path in sorted((folder / DUMP).rglob("*")) if path.is_file())


def _file(path: Path) -> File:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return File(size_bytes=size, sha256=digest.hexdigest())


def sync_folder(path: Path) -> None:
    """See the names in a folder on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def compare(told: Mapping[str, Held], found: Mapping[str, Held]) -> list[str]:
    """Return how a copy differs from what was told, a clause per table; nothing when it is equal."""
    differences = []
    for table in sorted({*told, *found}):
        before, after = told.get(table), found.get(table)
        if before is None or after is None:
            differences.append(f"{table}: {'not in the original' if before is None else 'missing'}")
        elif before.rows != after.rows:
            differences.append(f"{table}: {after.rows} rows instead of {before.rows}")
        elif before.hash != after.hash:
            differences.append(f"{table}: other values in its {before.rows} rows")
    return differences
