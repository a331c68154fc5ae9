"""What the backup tests share: a database with rows of every kind, and backups of it."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from collector.backups.making import Wish
from collector.backups.shelf import Keeping
from collector.records import Batch, Dataset, Job
from collector.storage.writer import Writer
from tests.storage.samples import NOON, everything


def quiet(_):
    """Say nothing."""


@pytest.fixture
def rows(database):
    """Run a query and return its rows as tuples."""

    def run(query, **values):
        with database.transaction() as connection:
            found = connection.execute(text(query), values)
            return [tuple(row) for row in found] if found.returns_rows else []

    return run


@pytest.fixture
def filled(database):
    """A database with a row of nearly every table, and one cycle that still runs."""
    return fill(database)


def fill(database):
    """Write a row of nearly every table, in a cycle that still runs."""
    writer = Writer(database)
    cycle = writer.begin_cycle("market", NOON - timedelta(minutes=1), instance="test:1", folder="f", simulated=True)
    job = Job(source="okx", dataset=Dataset.TICKERS)
    batch = Batch(job=job, records=everything(), state="ok", started_at=NOON, finished_at=NOON)
    writer.write(cycle, [batch])
    return database


@pytest.fixture
def wish(tmp_path):
    folder = tmp_path / "backups"
    return Wish(
        folder=folder,
        verify_folder=folder,
        keeping=Keeping(newest=3),
        verify=True,
        payloads=False,
        free_bytes=0,
    )
