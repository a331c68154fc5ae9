"""What the storage tests share."""

import itertools
from datetime import timedelta

import pytest
from sqlalchemy import text

from collector.clock import SystemClock
from collector.storage.database import Database
from collector.storage.reader import Reader
from collector.storage.writer import Writer
from tests.storage.samples import NOON


class Standing:
    """A database that several tests share; each uses a number of its own to keep out of the others' way."""

    def __init__(self, url):
        self.database = Database(url, clock=SystemClock())
        self._writer = Writer(self.database)
        self._cycle = self._writer.begin_cycle("market", NOON, instance="test:1", folder="f", simulated=True)
        self._numbers = itertools.count(1)

    def number(self):
        return next(self._numbers)

    def write(self, *batches):
        return self._writer.write(self._cycle, batches)

    def rows(self, query, **values):
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]


@pytest.fixture(scope="module")
def standing(cluster):
    url = cluster.create_database()
    shared = Standing(url)
    yield shared
    shared.database.close()
    cluster.drop(url)


@pytest.fixture
def database(emptied):
    return emptied


@pytest.fixture
def writer(database):
    return Writer(database)


@pytest.fixture
def reader(database):
    return Reader(database)


@pytest.fixture
def cycle(writer):
    """The number of a running cycle."""
    return writer.begin_cycle("market", NOON - timedelta(minutes=1), instance="test:1", folder="f", simulated=True)


@pytest.fixture
def rows(database):
    """Run a query and return its rows as tuples."""

    def run(query, **values):
        with database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    return run
