"""Keep one PostgreSQL server alive for as long as its owner lives, and share it with every other process.

Guarantees: one server per folder (an OS lock decides who runs it); the server dies with its owner and is restarted
when it dies alone; committed data survives a kill of either or both; no server is used before it has proven that it
is our child or serves our folder.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg2

from collector.clock import Clock
from collector.errors import CollectorError, IllegalTransition, StorageUnavailable
from collector.storage.embedded import connection
from collector.storage.embedded.binaries import PostgresBinaries, find_postgres
from collector.storage.embedded.cluster import (
    check_version,
    create_cluster,
    postgres_command,
    server_settings,
    stale_pid_environment,
)
from collector.storage.embedded.identity import Launcher, choose_identity
from collector.storage.embedded.layout import FileLock, Layout, drop_socket_folder, make_socket_folder, open_layout
from collector.storage.embedded.server import ServerProcess

START_SECONDS = 600  # crash recovery after a long backfill is slow, not broken
SHARE_SECONDS = 60  # how long a guest waits for the owner's server
OLD_SERVER_SECONDS = 60  # how long the processes of a dead owner's server may take to leave
HEALTHY_SECONDS, LONGEST_PAUSE_SECONDS = 5, 60  # one that served so long is not failing in a row
START_POLL_SECONDS, WATCH_POLL_SECONDS, GUEST_POLL_SECONDS = 0.02, 0.2, 1.0
LOG_CHECK_SECONDS, PROGRESS_SECONDS = 60, 10
LINGER_SECONDS, CALM_SECONDS = 10, 0.5  # how long an owner that ends lets guests finish; without work for so long

log = logging.getLogger(__name__)


class Phase(StrEnum):
    """What an EmbeddedPostgres is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"  # our own server answers
    SHARING = "sharing"  # another process's server answers
    RESTARTING = "restarting"  # our server died; waiting out the pause, or recovering
    LOST = "lost"  # the server we shared is gone, and we were told not to take over; start() again


MOVES: dict[Phase, set[Phase]] = {
    Phase.STOPPED: {Phase.STARTING},
    Phase.STARTING: {Phase.RUNNING, Phase.SHARING, Phase.STOPPED},
    Phase.RUNNING: {Phase.RESTARTING, Phase.STOPPED},
    Phase.SHARING: {Phase.RESTARTING, Phase.LOST, Phase.STOPPED},
    Phase.RESTARTING: {Phase.RUNNING, Phase.STOPPED},
    Phase.LOST: {Phase.STARTING, Phase.STOPPED},
}
SERVING = {Phase.RUNNING, Phase.SHARING}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """A snapshot for health pages: since when in this phase, restarts since start(), and the last failure's line."""

    phase: Phase
    since: datetime
    restarts: int = 0
    last_error: str | None = None  # None: nothing has failed since start()


def restart_pause_s(failures: int) -> int:
    """Return how long to wait after `failures` earlier failures in a row: 1, 2, 4 ... 60 s."""
    return LONGEST_PAUSE_SECONDS if failures >= 6 else 2**failures  # noqa: PLR2004 - 2**6 is more than a minute


class EmbeddedPostgres:
    """The product's own database in one folder. Use as a context manager, or start() and stop().

    The first process on a folder owns the server; any other one shares it and never stops it. When the owner ends,
    a sharing process with `take_over` (the daemon) runs the server itself within about a second, under the same URL;
    one without (a short command) moves to `lost` and may start() again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        log_path: Path | None = None,
        take_over: bool = True,
        binaries: PostgresBinaries | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Touch nothing yet. `log_path` is the server's own log, `server.log` in the folder when None.

        `binaries` None means find_postgres(). `settings` are server settings that go before ours: for tests.
        """
        self._directory = directory
        self._clock = clock
        self._log_path = log_path
        self._take_over = take_over
        self._binaries = binaries
        self._settings = dict(settings or {})
        self._created = False
        self._layout: Layout | None = None
        self._socket_dir: Path | None = None
        self._error: CollectorError | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._state = ServerState(phase=Phase.STOPPED, since=clock.now())

    def start(self) -> str:
        """Make the database usable and return its SQLAlchemy URL; about half a second the first time, 0.15 s later.

        Creates the folder, the cluster and the database `collector` where they are missing. Repeating it is
        harmless: it returns the URL, after waiting up to a minute if the server is being restarted.

        Raises ConfigError when a human must act (no programs, another version's files, another user's folder) and
        StorageUnavailable when it can be tried again (disk full, the owner's server does not answer).
        """
        self.begin()
        try:
            with self._changed:
                first = self._state.phase is Phase.STARTING
                self._changed.wait_for(self._settled, timeout=None if first else SHARE_SECONDS)
        except BaseException:  # Ctrl+C while we wait: leave no server behind
            self.stop()
            raise
        if self.state.phase in SERVING:
            return self.url
        error = self._error or StorageUnavailable(f"database is restarting: {self.state.last_error}")
        if self.state.phase is not Phase.RESTARTING:
            self.stop()
        raise error

    def begin(self) -> None:
        """Begin to make the database usable and return at once; start() waits for it, or raises what prevents it."""
        if self.state.phase in {Phase.STOPPED, Phase.LOST}:
            self._begin()

    def stop(self) -> None:
        """End our part: stop the server if we own it (fast, after 30 s immediate), leave it alone if we share it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.state.phase is Phase.LOST:
            self._move(Phase.STOPPED)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL (`postgresql+psycopg2://...`, unix socket). Raises StorageUnavailable before start()."""
        return connection.server_url(self._reached())

    @property
    def state(self) -> ServerState:
        with self._changed:
            return self._state

    @property
    def binaries(self) -> PostgresBinaries:
        """The programs that belong to this database, `psql` and `pg_dump` among them. Raises ConfigError."""
        if self._binaries is None:
            self._binaries = find_postgres()
        return self._binaries

    def psql_environment(self) -> dict[str, str]:
        """Return the PG* variables with which `psql`, `pg_dump` and the like reach this database."""
        return connection.psql_environment(self._reached())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _begin(self) -> None:
        self.stop()
        self._layout, created = open_layout(self._directory)
        self._created = self._created or created
        self._error = None
        self._stopping.clear()
        with self._changed:
            self._state = replace(self._state, restarts=0, last_error=None)
        self._move(Phase.STARTING)
        # One thread for our whole part: on Linux the server is told to end when the *thread* that made it ends.
        self._thread = threading.Thread(target=self._run, args=(self._layout,), name="embedded-postgres", daemon=True)
        self._thread.start()

    def _settled(self) -> bool:
        return self._state.phase not in {Phase.STARTING, Phase.RESTARTING}

    def _reached(self) -> Path:
        if self._socket_dir is None:
            raise StorageUnavailable("the embedded database has not been started")
        return self._socket_dir

    def _move(self, phase: Phase, *, error: str | None = None) -> None:
        """Enter a phase the table allows and wake whoever waits for it."""
        with self._changed:
            before = self._state
            if phase is before.phase and error is None:
                return
            if phase is not before.phase and phase not in MOVES[before.phase]:
                raise IllegalTransition(f"embedded database: {before.phase} -> {phase}")
            restarted = before.phase is Phase.RESTARTING and phase is Phase.RUNNING
            self._state = ServerState(
                phase=phase,
                since=self._clock.now() if phase is not before.phase else before.since,
                restarts=before.restarts + restarted,
                last_error=error or before.last_error,
            )
            self._changed.notify_all()

    def _run(self, layout: Layout) -> None:
        """Own the server or share it, as the thread's work, until stop() or until there is no way to go on."""
        owner = FileLock(layout.owner_lock)
        last = Phase.STOPPED
        try:
            while not self._stopping.is_set() and last is Phase.STOPPED:
                if owner.acquire():
                    owner.sign(self._clock)
                    self._own(layout)
                elif not self._share(layout, owner):
                    last = Phase.LOST
        except CollectorError as error:
            self._error = error
        except OSError as error:
            self._error = StorageUnavailable(f"database server in {layout.root}: {error}")
            self._error.__cause__ = error
        finally:
            if owner.held and self._socket_dir is not None:
                drop_socket_folder(layout, self._socket_dir)
            owner.release()
            self._move(last, error=None if self._error is None else str(self._error))

    def _own(self, layout: Layout) -> None:
        """Run the server and restart it with growing pauses until stop(). Raises only if the first start fails."""
        failures = 0
        while not self._stopping.is_set():
            try:
                healthy_s = self._run_server_once(layout)
            except (CollectorError, OSError) as error:
                if self.state.phase is Phase.STARTING:
                    raise
                self._move(Phase.RESTARTING, error=str(error))
                healthy_s = 0.0
            if self._stopping.is_set():
                return
            failures = 0 if healthy_s >= HEALTHY_SECONDS else failures
            pause_s = restart_pause_s(failures)
            log.error("database_server_down", extra={"error": self.state.last_error, "restart_in_s": pause_s})
            self._stopping.wait(pause_s)
            failures += 1

    def _run_server_once(self, layout: Layout) -> float:
        """Start the server, watch it until it dies or stop(); return how many seconds it served."""
        server = self._start_server(layout)
        ready_at: float | None = None
        try:
            if self._await_ready(server):
                ready_at = self._clock.monotonic()
                self._move(Phase.RUNNING)
                log.info("database_server_ready", extra={"socket": str(self._socket_dir), "server_pid": server.pid})
                self._watch(server)
                self._let_guests_finish()
        finally:
            if server.exit_status() is None and not server.stop():
                log.critical("database_server_does_not_stop", extra={"server_pid": server.pid})
        return 0.0 if ready_at is None else self._clock.monotonic() - ready_at

    def _start_server(self, layout: Layout) -> ServerProcess:
        """Make sure that there is a whole cluster nobody serves, and start a server on it."""
        guard = FileLock(layout.server_lock)
        try:
            self._await_old_server(guard)
            identity = choose_identity(self.binaries, layout, created=self._created)
            launcher = Launcher(binaries=self.binaries, identity=identity, layout=layout)
            if not layout.pgdata.exists():
                log.info("database_cluster_creating", extra={"folder": str(layout.root), "user_id": identity.uid})
                create_cluster(launcher, inherit=guard.descriptor, sync=self._settings.get("fsync") != "off")
            check_version(layout, self.binaries)
            self._socket_dir = make_socket_folder(layout, identity.uid, identity.gid)
            settings = {**server_settings(self._socket_dir), **self._settings}
            return ServerProcess(
                launcher,
                postgres_command(self.binaries, layout, settings),
                lock=guard.descriptor,
                environment=stale_pid_environment(layout),
                log_path=self._server_log(layout),
            )
        finally:
            guard.release()  # the server holds it from here on

    def _await_old_server(self, guard: FileLock) -> None:
        """Take the server lock: wait until the last process of a dead owner's server has left. Signal nobody."""
        deadline = self._clock.monotonic() + OLD_SERVER_SECONDS
        while not guard.acquire():
            if self._clock.monotonic() > deadline or self._stopping.wait(START_POLL_SECONDS):
                raise StorageUnavailable(
                    f"a database server without its collector still works in {self._directory}: "
                    "see its log, end it, and start again"
                )

    def _await_ready(self, server: ServerProcess) -> bool:
        """Wait until our own child answers a query; false when stop() came first. Raises when it ends or hangs."""
        began = self._clock.monotonic()
        told = began
        problem = "it does not take connections"
        while not self._stopping.wait(START_POLL_SECONDS):
            status = server.exit_status()
            if status is not None:
                raise server.failure(status)
            if server.says_ready():
                try:
                    connection.ensure_database(self._reached())
                except psycopg2.Error as error:
                    problem = " ".join(str(error).split())
                else:
                    return True
            now = self._clock.monotonic()
            if now - began > START_SECONDS:
                raise StorageUnavailable(f"database server is not ready after {START_SECONDS} s: {problem}")
            if now - told > PROGRESS_SECONDS:
                told = now
                log.info("database_server_recovering", extra={"waited_s": round(now - began)})
        return False

    def _watch(self, server: ServerProcess) -> None:
        """Return when stop() is called, or with phase RESTARTING when the server has died."""
        log_checked = self._clock.monotonic()
        while not self._stopping.wait(WATCH_POLL_SECONDS):
            status = server.exit_status()
            if status is not None:
                self._move(Phase.RESTARTING, error=str(server.failure(status)))
                return
            if self._clock.monotonic() - log_checked > LOG_CHECK_SECONDS:
                log_checked = self._clock.monotonic()
                server.bound_log()

    def _let_guests_finish(self) -> None:
        """Before our own stop: wait a little for transactions of other processes, which the stop would cut."""
        began = calm_since = self._clock.monotonic()
        while self._stopping.is_set() and (now := self._clock.monotonic()) - began < LINGER_SECONDS:
            working = connection.others_at_work(self._reached())
            if working is None or (not working and now - calm_since >= CALM_SECONDS):
                return
            if working:
                calm_since = now
            self._clock.sleep(START_POLL_SECONDS * 5)

    def _share(self, layout: Layout, owner: FileLock) -> bool:
        """Use the owner's server until stop() or until the owner is gone; return whether we may go on.

        Raises StorageUnavailable when the owner's server does not come up.
        """
        deadline = self._clock.monotonic() + SHARE_SECONDS
        while not self._stopping.is_set():
            sharing = self.state.phase is Phase.SHARING
            if owner.acquire():
                return self._succeed(owner, sharing=sharing)
            if not sharing:
                socket_dir = connection.live_server(layout)
                if socket_dir is not None:
                    self._socket_dir = socket_dir
                    self._move(Phase.SHARING)
                elif self._clock.monotonic() > deadline:
                    raise StorageUnavailable(
                        f"the database in {layout.root} is run by {owner.signature()}, but its server does not answer: "
                        "see server.log, or stop that process and start again"
                    )
            self._stopping.wait(GUEST_POLL_SECONDS if sharing else START_POLL_SECONDS)
        return True

    def _succeed(self, owner: FileLock, *, sharing: bool) -> bool:
        """Take the place of the owner, who has gone, or step back if we were told to."""
        if sharing and not self._take_over:
            owner.release()
            return False
        if sharing:
            log.warning("database_owner_gone", extra={"next": "taking over"})
            self._move(Phase.RESTARTING, error="the process that ran the database has ended")
        return True

    def _server_log(self, layout: Layout) -> Path:
        if self._log_path is None:
            return layout.log
        path = self._log_path.absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
