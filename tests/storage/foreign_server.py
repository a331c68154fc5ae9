"""The server named by COLLECTOR_TEST_DATABASE_URL in place of the embedded one, for the whole suite.

Its user must be allowed to create and drop databases. Where it offers TimescaleDB, the tests get hypertables; where it
does not, partitions. Nothing is compressed by itself there: rows of the tests are of any age.
"""

import itertools
import os
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

import psycopg2
from sqlalchemy.engine import make_url

from collector.clock import SystemClock
from collector.storage.database import Database
from collector.storage.hypertables import timescale

VARIABLE = "COLLECTOR_TEST_DATABASE_URL"
ADDRESS = os.environ.get(VARIABLE, "")  # read once: every test is kept from the environment
ABOUT_PARTITIONS = frozenset(
    {
        "test_months_that_have_no_place_yet_get_one",
        "test_months_without_a_partition_get_one",
        "test_a_partition_dropped_behind_our_back_is_made_again",
        "test_nothing_is_written_or_locked_when_a_thousand_bars_come_again_unchanged",
        "test_partitions_are_made_ahead_once",
        "test_two_programs_may_make_the_same_partition_at_once",
        "test_a_partition_can_be_made_while_a_reader_and_a_writer_are_at_work",
        "test_old_months_can_be_dropped_whole",
        "test_a_page_is_found_by_an_index_and_reads_little_more_than_its_rows",
        "test_pages_behind_a_place_do_not_look_at_months_that_cannot_hold_any",
        "test_the_chain_builds_what_the_models_say",
    }
)
"""Tests that name partitions or read PostgreSQL's own plans; hypertables have their own in test_timescale.py."""
WANTED = timescale.Wanted(chunk=timedelta(days=30), compress_after=timedelta(days=36_500))


class ForeignCluster:
    """A server that somebody else runs; the same interface as TestCluster."""

    def __init__(self, address: str, *, prepare: Callable[[str], None]) -> None:
        self.url = address
        self._numbers = itertools.count(1)
        self._prefix = f"collector_test_{os.getpid()}"
        self._prepared = self._create(f"{self._prefix}_template", "template1")
        prepare(self._prepared)
        self.partitioned = f"{self._prefix}_partitioned"  # the same before there are hypertables
        self._plain = self._create(self.partitioned, str(make_url(self._prepared).database))
        self._close(self._plain)
        database = Database(self._prepared, clock=SystemClock())
        self.timescale = timescale.load_state(database).support.available is not None
        if self.timescale:
            timescale.enable(database, WANTED, say=lambda _: None)
        database.close()
        self._close(self._prepared)

    def _close(self, url: str) -> None:
        """End every session of a database, TimescaleDB's workers among them: one in use cannot be copied."""
        name = make_url(url).database
        self._execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        self._execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'")

    def create_database(self, template: str | None = None) -> str:
        """Create a database and return its URL; a copy of the prepared one, or of `template` ("template1": empty)."""
        return self._create(f"{self._prefix}_{next(self._numbers)}", template or str(make_url(self._prepared).database))

    def drop(self, url: str) -> None:
        """Drop a database made by create_database, whoever is still connected to it."""
        self._execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def _create(self, name: str, template: str) -> str:
        for attempt in range(50):  # the server's workers look into a database for a moment
            try:
                self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
                break
            except psycopg2.errors.ObjectInUse:
                if attempt == 49:
                    raise
                SystemClock().sleep(0.2)
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop(self._prepared)
        self.drop(self._plain)

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(make_url(self.url).set(drivername="postgresql").render_as_string(False))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()
