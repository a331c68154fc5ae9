"""What lies where in the database folder, and the two file locks that decide who may touch it.

Guarantees: everything made here is private (0700, 0600); the mode of a folder that was there before is never changed.
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from collector.clock import Clock
from collector.errors import ConfigError

PORT = 5432  # only part of the socket's name: nothing listens on the network
SOCKET_NAME = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_PATH = 100  # the kernel's limit is 107 bytes on Linux, 103 on macOS
LOG_LIMIT_BYTES = 5_000_000
PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one database folder; `root` is absolute and free of links."""

    root: Path

    @property
    def pgdata(self) -> Path:
        """The cluster; appears complete, by rename, or not at all."""
        return self.root / "pgdata"

    @property
    def building(self) -> Path:
        """Where a first start makes the cluster."""
        return self.root / "pgdata.init"

    @property
    def owner_lock(self) -> Path:
        """Held by the process that runs the server."""
        return self.root / "owner.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the server's processes themselves, by inheritance: free means that none of them is left."""
        return self.root / "server.lock"

    @property
    def socket_note(self) -> Path:
        """Names the socket's folder when `root` is too deep for a socket path."""
        return self.root / "socket_dir"

    @property
    def log(self) -> Path:
        return self.root / "server.log"


def open_layout(directory: Path) -> tuple[Layout, bool]:
    """Return the layout of `directory` and whether the folder was made by this call, then with mode 0700.

    Raises ConfigError when it cannot be made or used by this user.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        created = not directory.exists()
        directory.mkdir(mode=PRIVATE, exist_ok=True)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigError(
                f"database folder {directory} belongs to user id {directory.stat().st_uid}: run as that user, "
                "choose another folder, or set COLLECTOR_DATABASE__URL"
            )
    except OSError as error:
        raise ConfigError(
            f"database folder {directory} cannot be used ({error.strerror}): choose a writable one, "
            "or set COLLECTOR_DATABASE__URL"
        ) from error
    return Layout(directory.resolve()), created


class FileLock:
    """An exclusive lock of the operating system on one file; it falls with the last process that holds it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    @property
    def descriptor(self) -> int:
        """The open file, to be inherited by a child that shall hold the lock too. Only while held."""
        if self._descriptor is None:
            raise RuntimeError(f"{self._path} is not locked")
        return self._descriptor

    def acquire(self) -> bool:
        """Take the lock if nobody has it; return whether we have it now. Raises OSError when we may not open it."""
        if self._descriptor is not None:
            return True
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def sign(self, clock: Clock) -> None:
        """Write who holds it, for people and messages; nothing ever acts on it."""
        note = json.dumps({"pid": os.getpid(), "since": clock.now().isoformat()})
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, note.encode(), 0)

    def signature(self) -> str:
        """Return what the holder wrote, for a message; "an unknown process" if that cannot be read."""
        try:
            note = json.loads(self._path.read_text())
            return f"process {int(note['pid'])}, since {note['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "an unknown process"

    def release(self) -> None:
        """Close our hold on the file; a child that inherited it keeps the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def open_private(path: Path | str, flags: int) -> int:
    """Open a file of ours, made with mode 0600, never through a link; return the descriptor.

    When root makes a file it gives it to the folder's owner, so that this user can run the collector later. Root
    works here in a folder of an unprivileged user, who must not be able to lead it to other files by a link.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner, found = Path(path).parent.stat(), os.fstat(descriptor)
        if found.st_uid != owner.st_uid and found.st_nlink == 1:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def socket_folder(layout: Layout) -> Path:
    """Return where the socket is: below the database folder, or where the owner noted it."""
    inside = layout.root / "run"
    if _fits_socket(inside):
        return inside
    with contextlib.suppress(OSError):
        return Path(layout.socket_note.read_text())
    return inside


def make_socket_folder(layout: Layout, uid: int, gid: int) -> Path:
    """Make sure that the socket's folder exists, is private and belongs to the server's user; return it.

    A path too long for a socket gets an unguessable folder in the temporary place, noted beside the cluster so that
    every later process finds it. Raises ConfigError when no place is short enough.
    """
    folder = socket_folder(layout)
    if not _fits_socket(layout.root / "run") and not _made_private(folder, uid):
        folder = _temporary_folder()
        layout.socket_note.unlink(missing_ok=True)
        with open(layout.socket_note, "x", opener=open_private) as note:
            note.write(str(folder))
    if folder.is_symlink():  # never to be led to another server's socket, which would be removed below
        folder.unlink()
    folder.mkdir(mode=PRIVATE, exist_ok=True)
    if folder.stat().st_uid != uid:
        os.chown(folder, uid, gid, follow_symlinks=False)
    for stale in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):  # our server is gone, its lock says so: a pid in there lies
        (folder / stale).unlink(missing_ok=True)
    return folder


def drop_socket_folder(layout: Layout, folder: Path) -> None:
    """Remove an empty socket folder from the temporary place; its noted name is used again by the next server."""
    if folder.parent != layout.root:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _made_private(folder: Path, uid: int) -> bool:
    """Make `folder` in a public place, or accept it if it is a real folder of `uid` that nobody else can enter."""
    if not _fits_socket(folder):
        return False
    try:
        folder.mkdir(mode=PRIVATE)
    except FileExistsError:
        found = folder.lstat()
        owners = {uid, os.geteuid()}
        return stat.S_ISDIR(found.st_mode) and found.st_uid in owners and not found.st_mode & 0o077
    except OSError:  # the temporary place itself is gone
        return False
    return True


def _fits_socket(folder: Path) -> bool:
    """Return whether a socket in `folder` can be bound and named in a URL; a comma separates hosts there."""
    return len(os.fsencode(folder / SOCKET_NAME)) <= LONGEST_SOCKET_PATH and "," not in str(folder)


def _temporary_folder() -> Path:
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes it private and new
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="collector-", dir=place))
            if _fits_socket(folder):
                return folder
            folder.rmdir()
    raise ConfigError("no folder for the database socket: set TMPDIR to a writable folder with a short name")


def bound_log(path: Path) -> None:
    """Keep at most two times 5 MB of server log: copy to `.1`, then cut. The server appends, so it need not reopen."""
    if not path.exists() or path.stat().st_size <= LOG_LIMIT_BYTES:
        return
    older = path.with_name(f"{path.name}.1")
    older.unlink(missing_ok=True)
    with (
        open(path, "r+b", opener=open_private) as current,
        open(older, "xb", opener=open_private) as copy,
    ):
        shutil.copyfileobj(current, copy)
        current.truncate(0)
