"""What every part of the suite shares: a real PostgreSQL per worker, a migrated database per test, a frozen clock."""

import importlib.util
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import text

from collector.clock import ManualClock, SystemClock
from collector.config.loading import PLAIN_NAMES
from collector.storage.database import Database
from tests.storage import foreign_server

HERE = Path(__file__).parent
FOREIGN = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
NOW = datetime(2026, 3, 11, 14, 37, 42, tzinfo=UTC)

settings.register_profile("repeatable", derandomize=True)  # what passes today passes tomorrow
settings.register_profile("search", derandomize=False)  # other examples each time: make test-soak
settings.load_profile("repeatable")

FILLED = """
    SELECT oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname <> 'alembic_version'
    AND (pg_relation_size(oid) > 0 OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid))
"""


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """Keep the settings of whoever runs the tests out of them."""
    foreign = {*FOREIGN, *PLAIN_NAMES}
    for name in [name for name in os.environ if name.upper().startswith("COLLECTOR_") or name.upper() in foreign]:
        monkeypatch.delenv(name)


@pytest.fixture
def clock():
    return ManualClock(NOW)


def _migrate(url: str) -> None:
    database = Database(url, clock=SystemClock())
    database.upgrade()
    database.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A running server whose databases are copies of a migrated one; shared by the tests of one worker.

    With COLLECTOR_TEST_DATABASE_URL it is the server of that address.
    """
    if foreign_server.ADDRESS:
        with foreign_server.ForeignCluster(foreign_server.ADDRESS, prepare=_migrate) as running:
            yield running
        return
    tools = _load(HERE / "storage" / "cluster.py")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    template = tools.build_template(shared / "postgres-template", prepare=_migrate)
    with tools.TestCluster(base / "postgres", template=template) as running:
        yield running


@pytest.fixture(autouse=True)
def _fits_the_server(request):
    about_partitions = request.node.name.partition("[")[0] in foreign_server.ABOUT_PARTITIONS
    if foreign_server.ADDRESS and about_partitions and request.getfixturevalue("cluster").timescale:
        pytest.skip("speaks of partitions; this server has hypertables")


@pytest.fixture
def database_url(cluster):
    """A fresh database without any table."""
    url = cluster.create_database("template1")
    yield url
    cluster.drop(url)


@pytest.fixture
def migrated_url(cluster):
    """A fresh database with all tables."""
    url = cluster.create_database()
    yield url
    cluster.drop(url)


@pytest.fixture
def database(migrated_url):
    """A Database on a fresh one with all tables."""
    opened = Database(migrated_url, clock=SystemClock())
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def _standing(cluster):
    url = cluster.create_database()
    opened = Database(url, clock=SystemClock())
    yield opened
    opened.close()
    cluster.drop(url)


@pytest.fixture
def emptied(_standing):
    """A Database with all tables and no rows: emptying one is much faster than making another."""
    yield _standing
    with _standing.transaction() as connection:
        filled = connection.execute(text(FILLED)).scalars().all()
        if filled:
            connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE"))
