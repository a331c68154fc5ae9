"""Databases as wholes: one is made beside the other, and takes its name in one transaction of the server.

Guarantees: whoever dies when, the name stands for a whole database, the old or the new one. Nobody who collects or
keeps house is ever thrown out.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from collector.clock import Clock
from collector.errors import LockHeld, StorageUnavailable
from collector.storage.database import CONNECT, Database
from collector.storage.faults import translated

MAINTENANCE = ("postgres", "template1")  # one of them is on every server; never the database itself
SWAP_ATTEMPTS = 10
_NAME = 50  # characters kept of a name that gets an ending; PostgreSQL cuts at 63
_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('collector restores ' || :name, 0))")
_EXISTS = text("SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name)")
# Advisory locks are told by database: whoever holds one there collects, keeps house or migrates.
_WORKERS = text(
    """
    SELECT coalesce(a.application_name, '') FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.datname = :name LIMIT 1
    """
)
_THROW_OUT = text(
    "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity "
    "WHERE datname = :name AND backend_type = 'client backend'"
)


@dataclass(frozen=True, slots=True)
class Names:
    """A database's name, and those of the two that stand beside it during a restore."""

    current: str
    ending: str = "_restoring"

    @property
    def coming(self) -> str:
        """The one that is being filled."""
        return f"{self.current[:_NAME]}{self.ending}"

    @property
    def leaving(self) -> str:
        """The one that was replaced and is about to be dropped."""
        return f"{self.current[:_NAME]}_replaced"


class Swap:
    """A restore's hold on one database name; only for the thread that it was lent to. Raises StorageError."""

    def __init__(self, connection: Connection, database: Database, names: Names, clock: Clock) -> None:
        self._connection, self._database, self._clock = connection, database, clock
        self.names = names

    @property
    def stands(self) -> bool:
        """Return whether there is a database of that name already."""
        return self._exists(self.names.current)

    def make(self) -> str:
        """Make the empty database beside it, in place of one that a killed restore left; return its URL."""
        self.clear()
        statement = f"CREATE DATABASE {_quoted(self.names.coming)} TEMPLATE template0 ENCODING 'UTF8'"
        self._run("create the database to restore into", statement)
        return self._database.url.set(database=self.names.coming).render_as_string(hide_password=False)

    def clear(self) -> None:
        """Drop what stands beside the database."""
        for name in (self.names.coming, self.names.leaving):
            # ours alone: nobody else has a reason to be there
            self._run("drop what a restore left", f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def take_place(self) -> None:
        """Give the new database the name of the old one, at one instant; sessions of the old one end.

        Raises LockHeld, with nothing changed, when somebody collects or keeps house there.
        """
        for attempt in range(1, SWAP_ATTEMPTS + 1):
            self._empty_out()
            try:
                self._rename()
            except StorageUnavailable:  # somebody came back between the two
                if attempt == SWAP_ATTEMPTS:
                    raise
                self._clock.sleep(0.2)
            else:
                return

    def _empty_out(self) -> None:
        with translated("end the sessions of the old database"):
            worker = self._connection.execute(_WORKERS, {"name": self.names.current}).scalar()
            if worker is not None:
                raise LockHeld(f"somebody works on {self._database.safe_url}: {worker}; stop it first")
            for name in (self.names.current, self.names.coming):
                self._connection.execute(_THROW_OUT, {"name": name})

    def _rename(self) -> None:
        steps = [(self.names.coming, self.names.current)]
        if self.stands:
            steps.insert(0, (self.names.current, self.names.leaving))
        # Statements sent as one are one transaction.
        moves = "; ".join(f"ALTER DATABASE {_quoted(old)} RENAME TO {_quoted(new)}" for old, new in steps)
        self._run("put the restored database in its place", moves)

    def _run(self, doing: str, statement: str) -> None:
        with translated(doing), closing(self._connection.connection.cursor()) as cursor:
            cursor.execute(statement)

    def _exists(self, name: str) -> bool:
        with translated("look for the database"):
            return bool(self._connection.execute(_EXISTS, {"name": name}).scalar())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def swapping(database: Database, clock: Clock, ending: str = "_restoring") -> Iterator[Swap]:
    """Lend the hold on a database's name; the database need not exist.

    `ending` is that of the name of what is filled beside it. Raises LockHeld when another process has that hold.
    """
    names = Names(str(database.url.database), ending)
    place = next(name for name in MAINTENANCE if name != database.url.database)
    engine = create_engine(
        database.url.set(database=place),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={**CONNECT, "application_name": "collector restore", **dict(database.url.query)},
    )
    with translated("connect to the server's own database"):
        connection = engine.connect()
    try:
        with translated("begin the restore"):
            got = connection.execute(_LOCK, {"name": names.coming}).scalar()
        if not got:
            raise LockHeld(f"another restore works on {database.safe_url}")
        yield Swap(connection, database, names, clock)
    finally:
        connection.close()
        engine.dispose()
