"""Which user the server runs as: never root, never a user made for it, never by widening anybody's folder."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from collector.errors import ConfigError
from collector.storage.embedded.binaries import PostgresBinaries
from collector.storage.embedded.layout import Layout

LAUNCHER = Path(__file__).with_name("launch.py")
PROBE_SECONDS = 20
# A server must not read the user's PG* variables, and its log has to be in one language and one time zone.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class Mode(StrEnum):
    """How a database program gets its identity; see launch.py."""

    SAME = "same"  # an ordinary user runs it as himself
    SETUID = "setuid"  # root hands it to an unprivileged user
    NAMESPACE = "namespace"  # root that can become nobody else renames itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The server's user: `uid`, `gid` own its files on disk; `inner_uid`, `inner_gid` are what it sees itself as."""

    mode: Mode
    uid: int
    gid: int
    inner_uid: int
    inner_gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """Starts database programs under one identity. Every child dies with the thread that started it (Linux)."""

    binaries: PostgresBinaries
    identity: Identity
    layout: Layout

    def start(
        self,
        command: Sequence[str],
        *,
        death_signal: int,
        inherit: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | int = subprocess.DEVNULL,
        lifeline: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `command`, its two outputs into `output`, with the open files `inherit`.

        It gets `death_signal` when we die: from the kernel on Linux, elsewhere when the pipe `lifeline` closes.
        """
        plan = {
            "command": list(command),
            "mode": self.identity.mode,
            "uid": self.identity.inner_uid,
            "gid": self.identity.inner_gid,
            "reach": self._reach(command[0]),
            "parent": os.getpid(),
            "signal": death_signal,
            "lifeline": lifeline,
        }
        return subprocess.Popen(  # noqa: S603 - our own launcher, no shell
            [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(plan)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",  # ours may be closed to the server's user
            env={**ENVIRONMENT, **(environment or {})},
            pass_fds=[*inherit, *([] if lifeline is None else [lifeline])],
            start_new_session=True,  # Ctrl+C in the terminal is for the collector, which stops the server last
        )

    def _reach(self, program: str) -> list[tuple[str, int]]:
        share = self.binaries.share_dir
        shared = [(str(share), os.R_OK | os.X_OK)] if share.is_dir() else []
        return [(program, os.R_OK | os.X_OK), *shared, (str(self.layout.root), os.X_OK)]


def choose_identity(binaries: PostgresBinaries, layout: Layout, *, created: bool) -> Identity:
    """Return the user to run as: the owner of the cluster, or for a new one the first that works here.

    `created` says that the database folder was made just now by us: then root gives it to the server's user.
    Raises ConfigError when no unprivileged identity works or the cluster belongs to somebody else.
    """
    owner = layout.pgdata.stat() if layout.pgdata.is_dir() else None
    if os.geteuid() != 0:
        return _ordinary_identity(layout, owner)
    if owner is not None:
        return _renamed_root() if owner.st_uid == 0 else _other_user(owner.st_uid, owner.st_gid)
    user = _unprivileged_user()
    for identity in (_other_user(user.pw_uid, user.pw_gid), _renamed_root()):
        if _works(Launcher(binaries=binaries, identity=identity, layout=layout)):
            if created:
                os.chown(layout.root, identity.uid, identity.gid)
            return identity
    raise ConfigError(
        "PostgreSQL refuses to run as root and no unprivileged identity can reach its files here: run the collector "
        "as an ordinary user, or set COLLECTOR_DATABASE__URL"
    )


def _ordinary_identity(layout: Layout, owner: os.stat_result | None) -> Identity:
    """Return ourselves, if the cluster is ours and we have the name that PostgreSQL's initdb asks for."""
    uid, gid = os.geteuid(), os.getegid()
    if owner is not None and owner.st_uid != uid:
        raise ConfigError(
            f"database cluster {layout.pgdata} belongs to user id {owner.st_uid}, we are {uid}: run as that user, "
            "choose another folder, or set COLLECTOR_DATABASE__URL"
        )
    try:
        pwd.getpwuid(uid)
    except KeyError as error:
        raise ConfigError(
            f"user id {uid} has no name in the password database, which PostgreSQL needs: add an entry for it, "
            "run as a named user, or set COLLECTOR_DATABASE__URL"
        ) from error
    return Identity(mode=Mode.SAME, uid=uid, gid=gid, inner_uid=uid, inner_gid=gid)


def _other_user(uid: int, gid: int) -> Identity:
    return Identity(mode=Mode.SETUID, uid=uid, gid=gid, inner_uid=uid, inner_gid=gid)


def _renamed_root() -> Identity:
    user = _unprivileged_user()
    return Identity(mode=Mode.NAMESPACE, uid=0, gid=os.getegid(), inner_uid=user.pw_uid, inner_gid=user.pw_gid)


def _unprivileged_user() -> pwd.struct_passwd:
    """Return `nobody`, or any other user there is; none is ever made. Raises ConfigError when there is only root."""
    users = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    if not users:
        raise ConfigError(
            "PostgreSQL refuses to run as root and there is no other user: add one, or set COLLECTOR_DATABASE__URL"
        )
    return min(users, key=lambda entry: (entry.pw_name != "nobody", entry.pw_uid))


def _works(launcher: Launcher) -> bool:
    """Try whether the server's program can be started under this identity and reach the database folder."""
    probe = launcher.start([str(launcher.binaries.program("postgres")), "--version"], death_signal=9)
    try:
        return probe.wait(PROBE_SECONDS) == 0
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.wait()
        return False
