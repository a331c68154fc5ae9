"""The cluster on disk: made whole or not at all, checked before use, started with our settings."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from collector.errors import ConfigError, StorageUnavailable
from collector.storage.embedded.binaries import PostgresBinaries
from collector.storage.embedded.identity import Launcher
from collector.storage.embedded.launch import CANNOT_LAUNCH
from collector.storage.embedded.layout import PORT, PRIVATE, Layout, open_private

SUPERUSER = "collector"
INITDB_SECONDS = 120
# Part of the cluster, so that `ALTER SYSTEM` and postgresql.conf of the user win over them.
TUNABLE_SETTINGS = {
    "max_connections": "40",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "jit": "off",  # our queries are short: compiling them costs more than it saves
    "idle_in_transaction_session_timeout": "60s",
    "log_min_duration_statement": "500",
    "log_lock_waits": "on",
    "log_line_prefix": "'%m [%p] %q%u@%d '",
}


def server_settings(socket_dir: Path) -> dict[str, str]:
    """Return the settings the product's promises rest on; on the command line, where nothing overrides them."""
    return {
        "port": str(PORT),
        "listen_addresses": "",
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "cluster_name": "collector",
    }


def postgres_command(binaries: PostgresBinaries, layout: Layout, settings: Mapping[str, str]) -> list[str]:
    """Return the command of the server itself, never of pg_ctl: the server must be our own child."""
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [str(binaries.program("postgres")), "-D", str(layout.pgdata), *options]


def check_version(layout: Layout, binaries: PostgresBinaries) -> None:
    """Raise ConfigError when the cluster was made by another major version, whose files this server cannot read."""
    note = layout.pgdata / "PG_VERSION"
    try:
        found = note.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"{layout.pgdata} is not a whole database cluster (PG_VERSION: {error.strerror}): restore it from a "
            "backup, or move the folder away to start with an empty database"
        ) from error
    if found != str(binaries.major):
        raise ConfigError(
            f"{layout.pgdata} was made by PostgreSQL {found or '(unknown)'}, the programs here are {binaries.version} "
            f"({binaries.bin_dir}): bring its data over with pg_dump of that version, or pg_upgrade, or move the "
            "folder away, or set COLLECTOR_DATABASE__URL"
        )


def create_cluster(launcher: Launcher, *, inherit: int, sync: bool = True) -> None:
    """Make the cluster in a folder beside its place and rename it when it is complete and on disk.

    Whatever a killed attempt left is thrown away first. `inherit` is the server lock, so that a next attempt waits
    for the last process of this one. `sync` false leaves the moment of writing to the system: for tests.

    Raises StorageUnavailable with initdb's own last line, ConfigError when the launcher cannot take the identity.
    """
    layout, identity = launcher.layout, launcher.identity
    for locale in ("C.UTF-8", "C"):  # both sort by code point; the second exists where the first does not
        if layout.building.exists():
            shutil.rmtree(layout.building)
        layout.building.mkdir(mode=PRIVATE)
        os.chown(layout.building, identity.uid, identity.gid, follow_symlinks=False)
        status, output = _run_initdb(launcher, locale, inherit, sync=sync)
        if status == 0 or "invalid locale" not in output:
            break
    if status != 0:
        raise launch_failure("initdb", status, output)
    _write_settings(layout.building / "postgresql.conf")
    layout.building.rename(layout.pgdata)
    _sync_folder(layout.root)


def _run_initdb(launcher: Launcher, locale: str, inherit: int, *, sync: bool) -> tuple[int, str]:
    command = [
        str(launcher.binaries.program("initdb")),
        *("-D", str(launcher.layout.building), "-U", SUPERUSER, "-E", "UTF8", f"--locale={locale}"),
        # Trust is safe behind a 0700 folder and a 0700 socket: only the server's own user and root get through.
        *("--data-checksums", "--auth-local=trust", "--auth-host=reject", "--no-instructions"),
        *([] if sync else ["--no-sync"]),
    ]
    child = launcher.start(command, death_signal=signal.SIGTERM, inherit=[inherit], output=subprocess.PIPE)
    try:
        output, _ = child.communicate(timeout=INITDB_SECONDS)
    except subprocess.TimeoutExpired as error:
        child.terminate()
        child.communicate()
        raise StorageUnavailable(f"initdb did not end within {INITDB_SECONDS} s in {launcher.layout.root}") from error
    return child.returncode, output.decode(errors="replace")


def launch_failure(program: str, status: int, output: str) -> ConfigError | StorageUnavailable:
    """Turn a program's exit status and output into one line: its own last complaint."""
    complaint = _last_complaint(output)
    if status == CANNOT_LAUNCH:
        return ConfigError(
            f"{program} cannot be run unprivileged ({complaint}): run the collector as an ordinary user, "
            "or set COLLECTOR_DATABASE__URL"
        )
    ending = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return StorageUnavailable(f"{program} ended with {ending}: {complaint}")


def _last_complaint(output: str) -> str:
    """Return the last FATAL, PANIC or error line, else the last line at all."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    loud = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:", "ERROR:"))]
    return (loud or lines or ["no message"])[-1]


def _write_settings(path: Path) -> None:
    lines = [f"{name} = {value}\n" for name, value in TUNABLE_SETTINGS.items()]
    with open(path, "a", opener=open_private) as file:
        file.write("\n# Chosen by the collector when it made this cluster; edit freely.\n")
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def postmaster_pid(layout: Layout) -> int | None:
    """Return the pid in line 1 of postmaster.pid, None when there is no readable one. Never to be signalled."""
    try:
        first_line = (layout.pgdata / "postmaster.pid").read_bytes().split(b"\n", 1)[0]
        return abs(int(first_line)) or None  # a standalone backend writes its pid negative
    except (OSError, ValueError):
        return None


def is_ready(layout: Layout, pid: int) -> bool:
    """Return whether the server `pid` says in its own file that it takes connections (line 8)."""
    try:
        lines = (layout.pgdata / "postmaster.pid").read_text().splitlines()
    except (OSError, ValueError):
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004 - pidfile.h


def stale_pid_environment(layout: Layout) -> dict[str, str]:
    """Return the environment that lets a server start over what a dead one left in postmaster.pid.

    To be called only with the server lock in hand: no process of an earlier server of ours is alive, so the pid in
    the file is dead, a zombie or, recycled, some innocent process. PostgreSQL would refuse to start on the latter
    two; it does not when the pid is named as its grandparent, and goes on to its own check, whether the old shared
    memory is still in use, which also keeps it off a cluster that somebody serves by hand. A file cut short by a
    crash in start-up has no pid to name and is removed; the shared memory check does not depend on it.
    """
    pid = postmaster_pid(layout)
    if pid is None:
        (layout.pgdata / "postmaster.pid").unlink(missing_ok=True)
        return {}
    return {"PG_GRANDPARENT_PID": str(pid)}
