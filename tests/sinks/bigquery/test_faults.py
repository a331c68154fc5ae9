"""BigQuery refuses, hesitates, loses answers and goes away: nothing is lost, nothing is doubled, nothing is hidden."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from collector.config.bigquery import BigQuerySettings
from collector.errors import SinkError
from collector.records import Dataset
from collector.sinks.bigquery.errors import AccessRefused, WarehouseDown, of_job
from collector.sinks.bigquery.sink import REFUSED_FOR
from collector.sinks.bigquery.warehouse import Warehouse
from tests.conftest import FILLED
from tests.sinks.bigquery.server import BigQueryServer
from tests.sinks.bigquery.test_sending import JOB, answer
from tests.sinks.bigquery.truth import differences
from tests.storage.samples import NOON, batch, candle, everything, ticker

OPERATIONS = (
    *("tables.get", "datasets.get", "datasets.insert", "tables.insert", "tables.delete"),
    *("jobs.insert.load", "jobs.insert.query"),
)


@pytest.fixture
def filled(writer, cycle):
    okx = [record for record in everything() if record.source == "okx"]
    writer.write(cycle, [batch(*okx, payloads=(answer(),), job=JOB)])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_passes_is_tried_again_at_once(operation, filled, server, sink, database):
    server.faults = [(operation, fault) for fault in (429, 503, 500, "403:rateLimitExceeded", "cut", "lost")]
    sink.send_all()
    assert server.faults == []
    assert differences(database, server) == {}
    loads = [number for kind, number in server.warehouse.executed if kind == "load"]
    assert len(loads) == len(set(loads)) == 2  # one for each table: none was done twice


def test_a_slow_job_is_waited_for(filled, server, sink, database):
    server.faults = [
        ("jobs.insert.load", "slow"),
        ("jobs.insert.query", "slow"),
        ("jobs.get", 503),
        ("jobs.get", "cut"),
    ]
    sink.send_all()
    assert server.faults == []
    assert differences(database, server) == {}


@pytest.mark.parametrize("operation", ["jobs.insert.load", "jobs.insert.query"])
def test_a_job_that_failed_for_a_passing_reason_is_sent_under_the_next_name(operation, filled, server, sink, database):
    server.faults = [(operation, "fails:backendError")]
    sink.send_all()
    assert any(number.endswith("_1") for _, number in server.warehouse.executed)
    assert differences(database, server) == {}


def test_a_job_that_always_fails_moves_no_watermark(filled, server, sink, database):
    server.faults = [("jobs.insert.query", "fails:backendError")] * 3
    with pytest.raises(WarehouseDown, match="merge into okx_derived"):
        sink.send_all()
    mark = sink.marks()["okx_derived"]
    assert (mark.recent_xid, mark.full_xid) == (None, None)
    assert "backendError" in mark.error
    sink.send_all()
    assert differences(database, server) == {}
    assert sink.marks()["okx_derived"].error == ""


def test_a_refusal_stops_the_sink_and_says_why(filled, server, make_sink):
    sink = make_sink(buffer_size=1)
    server.faults = [("tables.get", 403)]
    with pytest.raises(AccessRefused, match=r"HTTP 403 .*docs/bigquery.md"):
        sink.run(NOON)
    assert server.seen.total() == 1  # not one request more
    assert not sink.due(NOON + REFUSED_FOR / 2)
    assert sink.due(NOON + REFUSED_FOR)
    assert sink.marks()["okx_derived"].failed_at == NOON


def test_what_bigquery_says_of_a_job_is_told_whole():
    message = f"Invalid value {600 * 'x'} at the very end"
    assert str(of_job({"reason": "invalid", "message": message}, "merge")) == f"merge: {message} [invalid]"


def test_tables_that_fail_alike_are_told_once(writer, cycle, server, make_sink):
    writer.write(cycle, [batch(*everything())])  # of okx and of coingecko
    server.faults = [("jobs.insert.query", "fails:invalid")] * 6
    with pytest.raises(SinkError, match=r"[^;]*\[invalid\] .and 1 more tables.$"):
        make_sink(contents=["derived"]).send_all()


def test_a_server_that_is_away_leaves_everything_for_later(filled, server, make_sink, database):
    away = make_sink(endpoint="http://127.0.0.1:9", timeout="1s")
    with pytest.raises(WarehouseDown, match="look at okx_derived"):
        away.send_all()
    make_sink().send_all()
    assert differences(database, server) == {}


def test_a_dead_sender_s_load_is_found_again_and_not_repeated(filled, server, make_sink, database):
    server.faults = [("jobs.insert.query", 403)]
    with pytest.raises(AccessRefused):
        make_sink(contents=["derived"]).send_all()
    make_sink().send_all()
    loads = [number for kind, number in server.warehouse.executed if kind == "load" and "derived" in number]
    assert len(loads) == 1
    assert differences(database, server) == {}


def test_a_load_whose_staging_table_is_gone_is_done_again(filled, server, make_sink, database):
    server.faults = [("jobs.insert.query", 403)]
    with pytest.raises(AccessRefused):
        make_sink(contents=["derived"]).send_all()
    (staging,) = [name for name in server.warehouse.tables if name.startswith("_staging")]
    server.warehouse.delete_table(staging)
    make_sink().send_all()
    assert differences(database, server) == {}


def test_a_merge_that_runs_late_changes_nothing(database, writer, cycle, server, make_sink):
    """It was sent by a process that died; meanwhile the row was revised and sent by another."""
    writer.write(cycle, [batch(candle())])
    server.faults = [("jobs.insert.query", "slow"), *[("jobs.get", 403)]]
    with pytest.raises(AccessRefused):
        make_sink(contents=["derived"]).send_all()
    (late,) = [number for number in server.warehouse.jobs if "_merge_" in number]
    writer.write(cycle, [batch(candle(trades=8))])
    (staging,) = [name for name in server.warehouse.tables if name.startswith("_staging")]
    make_sink().send_all()
    for _ in range(3):
        server.warehouse.get_job(late)
    assert staging in server.warehouse.tables
    assert ("merge", late) in server.warehouse.executed
    assert [row["trades"] for row in server.warehouse.rows("okx_derived")] == [8]
    assert differences(database, server) == {}


def test_a_table_that_was_deleted_is_made_anew_and_filled(filled, writer, cycle, server, sink, database):
    sink.send_all()
    server.warehouse.delete_table("okx_derived")
    writer.write(cycle, [batch(candle(1), dataset=Dataset.TICKERS)])
    with pytest.raises(SinkError, match="merge into okx_derived"):
        sink.send_all()
    sink.send_all()
    assert differences(database, server) == {}


def test_one_table_of_another_type_costs_only_that_table(filled, writer, cycle, server, sink, database):
    sink.send_all()
    fields = server.warehouse.tables["okx_derived"]["schema"]["fields"]
    (close,) = [field for field in fields if field["name"] == "close"]
    close["type"] = "STRING"
    writer.write(cycle, [batch(candle(1), job=JOB, payloads=(answer(b"2"),))])
    other = type(sink)(sink._settings, sink._sources, database, sink._clock, warehouse=sink._warehouse)
    with pytest.raises(
        SinkError, match=r"okx_derived.close is NULLABLE STRING in BigQuery and NULLABLE BIGNUMERIC here"
    ):
        other.send_all()
    assert set(differences(database, server)) == {"okx_derived"}
    close["type"] = "BIGDECIMAL"  # the same as ours, by another name
    other.send_all()
    assert differences(database, server) == {}


def test_columns_that_are_missing_are_added_and_foreign_ones_left_alone(
    filled, writer, cycle, server, make_sink, database
):
    make_sink().send_all()
    warehouse = server.warehouse
    warehouse._run("ALTER TABLE okx_derived DROP COLUMN taker_buy_volume")
    warehouse._run("ALTER TABLE okx_derived ADD COLUMN note VARCHAR")
    fields = [
        field for field in warehouse.tables["okx_derived"]["schema"]["fields"] if field["name"] != "taker_buy_volume"
    ]
    warehouse.tables["okx_derived"]["schema"]["fields"] = [*fields, {"name": "note", "type": "STRING"}]
    warehouse._run("UPDATE okx_derived SET note = 'mine'")
    writer.write(cycle, [batch(candle(1, taker_buy_volume=3), candle(trades=9))])
    make_sink().send_all()
    names = [field["name"] for field in warehouse.tables["okx_derived"]["schema"]["fields"]]
    assert names[-2:] == ["note", "taker_buy_volume"]
    rows = {row["open_time"].minute: row for row in warehouse.rows("okx_derived") if row["dataset"] == "candles"}
    assert rows[0]["note"] == "mine"
    assert rows[0]["trades"] == 9
    assert rows[1]["taker_buy_volume"] == "3"


def test_large_batches_go_by_resumable_upload(database, writer, cycle, server, sink):
    noise = random.Random(1).randbytes(7_000_000)  # does not compress below the 5 MB that one request takes
    writer.write(cycle, [batch(candle(), job=JOB, payloads=(answer(noise),))])
    server.faults = [("jobs.insert.load", 503)]
    sink.send_all()
    assert server.uploads
    assert server.faults == []
    assert differences(database, server) == {}


def test_nothing_but_this_machine_is_spoken_to_without_credentials():
    with pytest.raises(ValueError, match="for tests on this machine only"):
        BigQuerySettings(enabled=True, project="my-project", endpoint="http://example.org:80")
    around = BigQuerySettings.model_construct(**{**dict(BigQuerySettings()), "endpoint": "http://10.0.0.1"})
    with pytest.raises(ValueError, match="on this machine only"):
        Warehouse(around, None)._client()


FAULTS = st.one_of(
    st.tuples(
        st.sampled_from([*OPERATIONS, "jobs.get"]),
        st.sampled_from([429, 503, 500, 403, "cut", "lost", "403:quotaExceeded", "slow"]),
    ),
    st.tuples(
        st.sampled_from(["jobs.insert.load", "jobs.insert.query"]),
        st.sampled_from(["slow", "fails:backendError", "fails:quotaExceeded", "fails:invalid"]),
    ),
)
STEPS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.lists(FAULTS, max_size=5)), min_size=1, max_size=4)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_any_faults_end_with_exactly_the_rows_of_the_database(steps, database, writer, make_sink):
    """Each step stores or revises rows, and sends them, by a process of its own, to a BigQuery that misbehaves."""
    with database.transaction() as connection:
        tables = connection.execute(text(FILLED)).scalars().all()
        if tables:
            connection.execute(text(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE"))
    again = type(writer)(database)
    cycle = again.begin_cycle("market", NOON, instance="test:1", folder="f", simulated=True)
    with BigQueryServer() as server:
        for number, (first, trades, faults) in enumerate(steps):
            rows = [candle(minute, trades=trades) for minute in range(first, first + 3)]
            job = {"job": JOB, "payloads": (answer(str(number).encode()),)}
            again.write(cycle, [batch(*rows, ticker(), **job)])
            server.faults = list(faults)
            try:
                make_sink(endpoint=server.address, buffer_size=2).send_all()
            except SinkError:
                continue
        server.faults = []
        make_sink(endpoint=server.address).send_all()
        assert differences(database, server) == {}
