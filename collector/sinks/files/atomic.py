"""Files that are complete or not there: written under a temporary name beside their own, synced, then renamed."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from collector.errors import SinkError

TEMPORARY = ".part-"  # how the names of unfinished files begin: hidden, and never the end of a finished one


class Measured:
    """A file that is being written; it knows its length and SHA-256. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.wanted = True
        self._digest = hashlib.sha256()
        self._file = path.open("xb", buffering=1 << 20)

    @property
    def closed(self) -> bool:
        return self._file.closed

    @property
    def sha256(self) -> str:
        """Return the digest of what was written so far, hex."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> int:
        """Append bytes."""
        self._digest.update(data)
        self.bytes += memoryview(data).nbytes
        return self._file.write(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def discard(self) -> None:
        """Let there be no file in the end."""
        self.wanted = False

    def sync(self) -> None:
        """Have everything on the disk, and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Close without syncing; the library that writes into it may call it early, so only `__exit__` counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


@contextmanager
def atomic_file(path: Path) -> Iterator[Measured]:
    """Lend a file that gets its name at the end of the block, and none when the block fails.

    Makes the folder. Raises SinkError when the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
        try:
            with Measured(temporary) as file:
                yield file
                if file.wanted:
                    file.sync()
                    temporary.rename(path)
                    sync_folder(path.parent)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror or error})") from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> int:
    """Remove what killed writers left in a folder and below; return how many files. Not while one is at work there."""
    left = [path for path in folder.rglob(f"{TEMPORARY}*") if path.is_file()]
    for path in left:
        with suppress(FileNotFoundError):
            path.unlink()
    return len(left)
