"""What the storage tests share."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from collector.storage.reader import Reader
from collector.storage.writer import Writer
from tests.storage.samples import NOON


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
