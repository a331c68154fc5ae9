"""The way to PostgreSQL: one engine, safe session settings, errors of our own, one writer at a time."""

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg2.extensions
from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from collector.clock import Clock
from collector.errors import ConfigError, LockHeld
from collector.storage import schema
from collector.storage.faults import translated

DRIVER = "postgresql+psycopg2"
# Set by statement and not in the connection options, which poolers in front of a server refuse.
SESSION = (
    "SET timezone = 'UTC'; SET statement_timeout = '30s'; SET lock_timeout = '5s'; SET jit = off; "
    "SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning"
)
READ_ONLY = "SET default_transaction_read_only = on; SET statement_timeout = '10s'"  # of sessions that serve clients
CONNECT = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_NAME_BYTES = 63  # PostgreSQL cuts application_name here

WRITER, HOUSEKEEPER = "writer", "housekeeper"
"""Roles that only one process has at a time: who collects, and who keeps house."""
_DOES = {WRITER: "another collector works on", HOUSEKEEPER: "another process keeps house on"}
_KEY = "hashtextextended('collector ' || :role || ' of ' || current_schema(), 0)"
_TAKE, _FREE = text(f"SELECT pg_try_advisory_lock({_KEY})"), text(f"SELECT pg_advisory_unlock({_KEY})")
_HOLDER = text(
    f"""
    SELECT a.pid, a.application_name, a.client_addr::text, a.backend_start
    FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint) = {_KEY}
    """
)


def _free_lock(connection: Connection, role: str) -> None:
    """Free the lock now: a server notices the end of a session a moment later, and the next process may be quick."""
    with suppress(SQLAlchemyError):
        connection.rollback()
        with connection.begin():
            connection.execute(_FREE, {"role": role})


def driver_url(url: str) -> URL:
    """Return the URL with our driver spelled out; raises ConfigError for anything but PostgreSQL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigError("database.url is not a URL; expected postgresql://user:password@host:port/name") from error
    if parsed.drivername not in {"postgres", "postgresql", DRIVER}:
        raise ConfigError(f"database.url: {parsed.drivername}:// is not supported; use postgresql://")
    return parsed.set(drivername=DRIVER)


class RoleLock:
    """Proof of being the only one in a role, as long as its connection lives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def still_held(self) -> bool:
        """Return whether the server still counts us as the holder; False once the connection is gone."""
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()")
        try:
            with self._connection.begin():
                return bool(self._connection.execute(query).scalar())
        except DBAPIError:
            return False


class Database:
    """One PostgreSQL database. Connections come from a pool and never cross a thread.

    Raises ConfigError for a URL that is not PostgreSQL's; nothing is connected before the first use.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        application_name: str = "collector",
        pool_size: int = 5,
        read_only: bool = False,
    ) -> None:
        """With `read_only` no transaction can write, and nobody waits longer than 2 s for a connection."""
        self.url = driver_url(url)
        self.clock = clock
        self._read_only = read_only
        name = f"{application_name} pid={os.getpid()} host={socket.gethostname()}"
        self.application_name = name.encode()[:_NAME_BYTES].decode(errors="ignore")
        self.engine = create_engine(
            self.url,
            pool_pre_ping=True,
            pool_size=pool_size,
            pool_use_lifo=True,  # one busy thread keeps one connection, with its staging tables
            pool_timeout=2 if read_only else 30,
            connect_args={**CONNECT, "application_name": self.application_name, **dict(self.url.query)},
        )
        event.listen(self.engine, "connect", _prepare)
        if read_only:
            event.listen(self.engine, "connect", _forbid_writing)

    @property
    def safe_url(self) -> str:
        """Return the URL with the password hidden, for people and logs."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)

    @contextmanager
    def connection(self, doing: str) -> Iterator[Connection]:
        """Lend a connection on which no transaction is open; `doing` begins the text of any error."""
        with translated(doing), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def reading(self, doing: str = "read") -> Iterator[Connection]:
        """Lend a connection inside a read-only transaction; `doing` begins the text of any error."""
        with translated(doing), self.engine.connect() as connection:
            if not self._read_only:  # then the session is
                connection.execute(text("SET TRANSACTION READ ONLY"))
            yield connection

    @contextmanager
    def transaction(self, doing: str = "write") -> Iterator[Connection]:
        """Lend a connection inside one transaction: committed at the end, rolled back by any error."""
        with translated(doing), self.engine.begin() as connection:
            yield connection

    def writer_lock(self) -> AbstractContextManager[RoleLock]:
        """Be the only writer of this database and schema; raises LockHeld naming the one who is already."""
        return self._lock(WRITER)

    def housekeeper_lock(self) -> AbstractContextManager[RoleLock]:
        """Be the only one that keeps house here; raises LockHeld naming the one who does already."""
        return self._lock(HOUSEKEEPER)

    @contextmanager
    def _lock(self, role: str) -> Iterator[RoleLock]:
        with translated("lock the database"):
            connection = self.engine.connect()
        try:
            with translated("lock the database"):
                self._take_lock(connection, role)
            try:
                yield RoleLock(connection)
            finally:
                _free_lock(connection, role)
        finally:
            # Not back to the pool: closing the session frees the lock for sure, whatever state it is in.
            connection.invalidate()
            connection.close()

    def _take_lock(self, connection: Connection, role: str) -> None:
        with connection.begin():
            # A lost machine frees its lock within a minute; an idle one keeps it for ever.
            connection.execute(text("SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10"))
            connection.execute(text("SET tcp_keepalives_count = 3; SET idle_session_timeout = 0"))
            if connection.execute(_TAKE, {"role": role}).scalar():
                return
            holder = connection.execute(_HOLDER, {"role": role}).first()
        raise LockHeld(_describe_holder(holder._asdict() if holder else None, f"{_DOES[role]} {self.safe_url}"))

    def has_writer(self) -> bool:
        """Return whether somebody, here or elsewhere, holds the writer's lock."""
        with self.reading("look for a collector") as connection:
            return connection.execute(_HOLDER, {"role": WRITER}).first() is not None

    def upgrade(self) -> list[str]:
        """Bring the schema to this program's version and return the revisions applied, oldest first.

        Several processes may call it at once. Raises ConfigError when the server is too old or the database is
        newer than the program.
        """
        return schema.upgrade(self.engine)

    def revision(self) -> str | None:
        """Return the schema revision the database is at; None for an empty one."""
        return schema.revision(self.engine)

    def require_tables(self) -> None:
        """Raise ConfigError unless the tables are there, and of this program's schema."""
        found, wanted = self.revision(), schema.head()
        if found is None:
            raise ConfigError("the database is empty; start with `python main.py run` or `make demo`")
        if found != wanted:
            raise ConfigError(f"the database is at schema {found}, this program at {wanted}: python main.py db upgrade")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _prepare(connection: psycopg2.extensions.connection, _record: Any) -> None:
    connection.autocommit = True  # a SET inside a transaction would be undone by its rollback
    with connection.cursor() as cursor:
        cursor.execute(SESSION)
    connection.autocommit = False


def _forbid_writing(connection: psycopg2.extensions.connection, _record: Any) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(READ_ONLY)
    connection.autocommit = False


def _describe_holder(holder: dict[str, Any] | None, what: str) -> str:
    if holder is None:
        return f"{what}; it has just let go, try again"
    who = holder["application_name"] or "a session of another user"
    address = f" from {holder['client_addr']}" if holder["client_addr"] else ""
    since = f" since {holder['backend_start']:%Y-%m-%d %H:%M:%S} UTC" if holder["backend_start"] else ""
    return f"{what}: {who}{address}{since} (server process {holder['pid']}); stop it first"
