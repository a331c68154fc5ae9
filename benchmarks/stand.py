"""What the rows stand on: a PostgreSQL server of their own, and simulated providers, in temporary folders."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg2
from sqlalchemy import URL, make_url

from benchmarks.scratch import work_folder
from collector.clock import SystemClock
from collector.storage.database import Database
from collector.storage.embedded import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL with the settings of the default database."""

    url: URL
    pid: int  # of its first process, the parent of all others

    def database(self, name: str) -> str:
        """Make an empty database and return its URL, so that no side meets the rows of another."""
        plain = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        session = psycopg2.connect(plain)
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        session.close()
        return self.url.set(database=name).render_as_string(hide_password=False)


@contextmanager
def server() -> Iterator[Server]:
    """Lend a server in a temporary folder."""
    with (
        work_folder("bench-pg-") as folder,
        EmbeddedPostgres(folder / "postgres", clock=SystemClock()) as embedded,
    ):
        (told,) = folder.rglob("postmaster.pid")
        pid = int(told.read_text(encoding="utf-8").split("\n", 1)[0])
        yield Server(make_url(embedded.url), pid)


@contextmanager
def opened(url: str | None) -> Iterator[Database]:
    """Lend a database with the collector's tables; without a URL one on a server in a temporary folder."""
    with ExitStack() as stack:
        database = Database(url or _hidden(stack.enter_context(server()).url), clock=SystemClock())
        stack.callback(database.close)
        database.upgrade()
        yield database


def _hidden(url: URL) -> str:
    return url.render_as_string(hide_password=False)
