"""Upkeep runs at most hourly, does what the settings say, and never fails a cycle."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from collector.config import DatabaseSettings, LogSettings
from collector.log import set_up_logging, tear_down_logging
from collector.records import Batch, Dataset, Job, Payload
from collector.storage.writer import Writer
from collector.upkeep import Upkeep

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
JOB = Job(source="okx", dataset=Dataset.TICKERS)


@pytest.fixture
def logs(tmp_path):
    settings = LogSettings(directory=tmp_path)
    set_up_logging(settings, console=None)
    yield settings
    tear_down_logging()


def store_cycle(writer, started_at):
    cycle = writer.begin_cycle("market", started_at, instance="test", folder="", simulated=True)
    payload = Payload(job=JOB, status=200, body=b"{}", received_at=started_at)
    writer.write(cycle, [Batch(job=JOB, payloads=(payload,), started_at=started_at, finished_at=started_at)])


def count(database, query):
    with database.reading() as connection:
        return connection.execute(text(query)).scalar_one()


def test_old_answers_and_jobs_go_young_ones_and_all_cycles_stay(database, logs):
    writer = Writer(database)
    for age in (timedelta(days=40), timedelta(days=3), timedelta(hours=1)):
        store_cycle(writer, NOW - age)
    Upkeep(DatabaseSettings(keep_payloads="2d", keep_ledger="30d"), logs, writer).after_cycle(NOW)
    assert count(database, "SELECT count(*) FROM raw_payloads") == 1
    assert count(database, "SELECT count(*) FROM jobs") == 2
    assert count(database, "SELECT count(*) FROM cycles") == 3


def test_partitions_of_the_next_three_months_are_there(database, logs):
    Upkeep(DatabaseSettings(), logs, Writer(database)).after_cycle(NOW)
    months = count(
        database,
        "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE "
        "inhparent = 'candles'::regclass AND c.relname ~ '2026_?0?[3456]'",
    )
    assert months == 4


def test_it_is_done_at_most_hourly_and_again_after_the_clock_was_set_back(database, logs):
    writer = Writer(database)
    upkeep = Upkeep(DatabaseSettings(keep_payloads="1m"), logs, writer)
    left = []
    for at in (NOW, NOW + timedelta(minutes=59), NOW + timedelta(minutes=60), NOW - timedelta(days=1)):
        store_cycle(writer, at - timedelta(minutes=2))
        upkeep.after_cycle(at)
        left.append(count(database, "SELECT count(*) FROM raw_payloads"))
    assert left == [0, 1, 0, 0]


def test_a_database_that_is_away_costs_only_the_upkeep(database, logs, cluster):
    writer = Writer(database)
    upkeep = Upkeep(DatabaseSettings(), logs, writer)
    with database.transaction() as holder:
        holder.execute(text("LOCK TABLE raw_payloads IN ACCESS EXCLUSIVE MODE"))
        upkeep.after_cycle(NOW)  # gives up after the lock timeout of 5 s
    assert "upkeep_failed" in (logs.directory / "collector.log").read_text()
    upkeep.after_cycle(NOW)
    assert "upkeep_done" in (logs.directory / "collector.log").read_text()


def test_the_oldest_answers_go_while_all_together_are_too_large(database, logs):
    writer = Writer(database)
    for age in (timedelta(hours=40), timedelta(hours=3), timedelta(hours=2), timedelta(hours=1)):
        store_cycle(writer, NOW - age)
    (size,) = {count(database, f"SELECT {part}(octet_length(body)) FROM raw_payloads") for part in ("min", "max")}
    assert writer.prune_payloads_above(4 * size) == 0
    assert writer.prune_payloads_above(3 * size - 1) == 2
    newest = count(database, "SELECT min(received_at) FROM raw_payloads")
    assert newest == NOW - timedelta(hours=2)
    assert writer.prune_payloads_above(0) == 2


def test_upkeep_keeps_raw_answers_within_their_megabytes(database, logs):
    writer = Writer(database)
    noise = hashlib.shake_256(b"noise").digest(700_000)  # does not compress
    for hours in (3, 2, 1):
        cycle = writer.begin_cycle("market", NOW, instance="test", folder="", simulated=True)
        payload = Payload(job=JOB, status=200, body=noise, received_at=NOW - timedelta(hours=hours))
        writer.write(cycle, [Batch(job=JOB, payloads=(payload,), started_at=NOW, finished_at=NOW)])
    Upkeep(DatabaseSettings(keep_payloads_mb=2), logs, writer).after_cycle(NOW)
    assert count(database, "SELECT count(*) FROM raw_payloads") == 2
