"""What the tests of the API share: one database, emptied after each test, which is faster than making another."""

import pytest
from sqlalchemy import text

from collector.clock import SystemClock
from collector.storage.database import Database

FILLED = """
    SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0
"""


@pytest.fixture(scope="session")
def _standing(cluster):
    url = cluster.create_database()
    opened = Database(url, clock=SystemClock())
    yield opened
    opened.close()
    cluster.drop(url)


@pytest.fixture
def emptied(_standing):
    """A Database with all tables and no rows."""
    yield _standing
    with _standing.transaction() as connection:
        filled = connection.execute(text(FILLED)).scalars().all()
        if filled:
            connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE"))
