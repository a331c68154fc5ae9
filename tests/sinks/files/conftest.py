"""What the tests of files share: a filled database that nobody changes, and empty ones."""

import pytest
from sqlalchemy import text

from collector.clock import SystemClock
from collector.storage.database import Database
from tests.sinks.files.filled import fill


@pytest.fixture(scope="module")
def filled(cluster):
    """A database with rows of many datasets; tests of a module read it only."""
    url = cluster.create_database()
    opened = Database(url, clock=SystemClock())
    fill(opened)
    yield opened
    opened.close()
    cluster.drop(url)


@pytest.fixture
def changing(emptied):
    """The same rows in a database that the test may change."""
    fill(emptied)
    return emptied


@pytest.fixture
def rows_of():
    """Run a query on a database and return its rows as tuples."""

    def run(database, query, **values):
        with database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    return run


@pytest.fixture
def change():
    """Run a statement on a database."""

    def run(database, statement, **values):
        with database.transaction() as connection:
            connection.execute(text(statement), values)

    return run
