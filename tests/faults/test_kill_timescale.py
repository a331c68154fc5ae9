"""A conversion killed at random moments: the table is as it was or as it shall be, and the next call ends it.

Without COLLECTOR_TEST_DATABASE_URL partitions are copied to partitions: all but the one statement that makes a
hypertable is the same.
"""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from collector.clock import SystemClock
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.hypertables import conversion, timescale

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]
KILLS = 20
SEED = 7
CONVERT = """
import sys
from collector.clock import SystemClock
from collector.storage.hypertables import conversion
from collector.storage.database import Database
database = Database(sys.argv[1], clock=SystemClock())
conversion.convert(database, "candles", lambda copy: (), partitioned=True, say=lambda line: print(line, flush=True))
print("swapped", flush=True)
"""
TRUTH = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM candles t"
ROWS = """
    INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high,
        low, close, volume)
    SELECT 'okx', t, t, 1, i, '1m', t, 1.50, 2, 1, 1.5, g FROM generate_series(0, 6000) g, generate_series(1, 10) i,
        LATERAL (SELECT timestamptz '2025-06-01 00:00+00' + g * interval '1 hour') x(t)
"""


@pytest.fixture
def filled(cluster):
    url = cluster.create_database(getattr(cluster, "partitioned", None))
    database = Database(url, clock=SystemClock())
    with database.transaction() as connection:
        timeseries.ensure_partitions(connection, "candles", [(2025, 6 + n) for n in range(7)] + [(2026, 1), (2026, 2)])
        connection.execute(text(ROWS))
    yield database, url
    database.close()
    cluster.drop(url)


def truth(database):
    with database.reading() as connection:
        return tuple(connection.execute(text(TRUTH)).one())


def test_a_conversion_killed_at_random_moments_loses_and_doubles_nothing(filled):
    database, url = filled
    before, chance, ended = truth(database), random.Random(SEED), 0
    print(f"seed {SEED}")  # noqa: T201 - shown with a failure
    for _ in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", CONVERT, url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            child.wait(chance.uniform(0.5, 3))
            ended += 1
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.communicate()
        assert truth(database) == before
    conversion.convert(database, "candles", lambda _: (), partitioned=True, say=lambda _: None)
    assert truth(database) == before
    assert timescale.load_state(database).unfinished == []
    assert ended < KILLS, "no kill hit: the moments are too late"
