"""A PostgreSQL for tests: one template per test session, one server per worker, one fresh database per test.

In a conftest (the folder must be shared by all workers of a session, as the parent of xdist's base folder is)::

    @pytest.fixture(scope="session")
    def cluster(tmp_path_factory, worker_id):
        base = tmp_path_factory.getbasetemp()
        shared = base if worker_id == "master" else base.parent
        template = build_template(shared / "postgres-template", prepare=upgrade)
        with TestCluster(base / "postgres", template=template) as cluster:
            yield cluster

    @pytest.fixture
    def database_url(cluster):
        url = cluster.create_database()
        yield url
        cluster.drop(url)

Nothing here survives a crash of the machine: the servers write without fsync.
"""

import fcntl
import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg2
from sqlalchemy.engine import make_url

from collector.clock import SystemClock
from collector.storage.embedded import EmbeddedPostgres

FAST_AND_UNSAFE = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "64MB",
}
PREPARED = "collector"  # the database every new one is copied from


def build_template(folder: Path, prepare: Callable[[str], None] | None = None) -> Path:
    """Make the session's template cluster once, whoever of the workers comes first; return its folder.

    `prepare` gets the URL of the database that later databases are copies of: run the migrations there. It must
    close its connections.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder / "postgres", ignore_errors=True)
            with EmbeddedPostgres(folder / "postgres", clock=SystemClock(), settings=FAST_AND_UNSAFE) as database:
                if prepare is not None:
                    prepare(database.url)
            (folder / "ready").touch()
    return folder


class TestCluster:
    """A running server on a copy of the template (or on a new cluster when there is none)."""

    __test__ = False  # not a class of tests, whatever its name says

    def __init__(self, directory: Path, *, template: Path | None = None) -> None:
        if template is not None:
            copy_cluster(template / "postgres", directory)
        self._directory = directory
        self._numbers = itertools.count(1)
        self._server = EmbeddedPostgres(directory, clock=SystemClock(), settings=FAST_AND_UNSAFE)
        self._server.start()

    @property
    def url(self) -> str:
        """URL of the database the others are copied from; connect to it only if no test is running."""
        return self._server.url

    @property
    def server(self) -> EmbeddedPostgres:
        return self._server

    def create_database(self, template: str | None = None) -> str:
        """Create a database and return its URL; a copy of the prepared one, or of `template` ("template1": empty)."""
        name = f"test_{next(self._numbers)}"
        # Copying files takes 12 ms without fsync; the default, through the log, 130.
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or PREPARED}" STRATEGY wal_log')
        return make_url(self._server.url).set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Drop a database made by create_database, whoever is still connected to it."""
        self._execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def close(self) -> None:
        """Stop the server and delete the cluster."""
        self._server.stop()
        shutil.rmtree(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _execute(self, statement: str) -> None:
        where = self._server.psql_environment()
        connection = psycopg2.connect(
            host=where["PGHOST"], port=where["PGPORT"], user=where["PGUSER"], dbname="postgres"
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


def copy_cluster(source: Path, target: Path) -> None:
    """Copy the folder of a stopped server, owners and modes included, which shutil does not do for root."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
