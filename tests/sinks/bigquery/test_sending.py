"""Rows reach BigQuery exactly once, whatever was said twice, changed later or came late."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from collector.clock import ManualClock
from collector.errors import LockHeld
from collector.records import Dataset, Job, Payload
from collector.storage.outgoing.sinking import SinkStore
from tests.sinks.bigquery.truth import answers_outside, differences, outside
from tests.storage.samples import BTC, NOON, RECEIVED, batch, candle, everything, perp, ticker

JOB = Job(source="okx", dataset=Dataset.CANDLES)


def answer(body=b'{"code":"0","data":[]}', at=RECEIVED):
    return Payload(job=JOB, status=200, body=body, received_at=at)


def sent_an_hour_ago(database):
    """Let the watermarks be as old as they would be an hour later."""
    store = SinkStore(database, "bigquery")
    hour = timedelta(hours=1)
    store.save(
        [replace(mark, recent_at=mark.recent_at - hour, full_at=mark.full_at - hour) for mark in store.load().values()]
    )


def column(server, table, name, dataset):
    return [row.get(name) for row in server.warehouse.rows(table) if row["dataset"] == dataset]


def test_every_kind_of_row_arrives_exactly(database, writer, cycle, server, sink):
    okx = [record for record in everything() if record.source == "okx"]
    gecko = [record for record in everything() if record.source == "coingecko"]
    writer.write(cycle, [batch(*okx), batch(*gecko, source="coingecko", dataset=Dataset.MARKETS)])
    said = sink.send_all()
    assert differences(database, server) == {}
    assert said["rows"] == sum(outside(server, "okx").values()) + sum(outside(server, "coingecko").values())
    assert server.credentials == set()


def test_an_answer_arrives_to_the_letter_and_names_its_cycle(writer, cycle, server, sink):
    body = '{"code":"0","data":[["é\\u0000","1e-7"]]}'.encode()
    writer.write(cycle, [batch(candle(), job=JOB, payloads=(answer(body), answer(b"\xff\xfe")))])
    sink.send_all()
    rows = sorted(server.warehouse.rows("okx_raw"), key=lambda row: row["seq"])
    assert rows[0]["body"].encode() == body
    assert rows[1]["body_bytes"] == b"\xff\xfe"
    assert {row["cycle_id"] for row in rows} == {cycle}
    assert {row["cadence"] for row in rows} == {"market"}
    assert column(server, "okx_derived", "cycle_id", "candles") == [cycle]


def test_numbers_that_no_column_holds_stand_as_text_beside_it(database, writer, cycle, server, sink):
    tiny, most = Decimal("1E-39"), Decimal("9" * 38 + "." + "9" * 38)
    writer.write(cycle, [batch(ticker(last_price=str(tiny), bid_price=most, volume_24h=Decimal(0)))])
    sink.send_all()
    (row,) = server.warehouse.rows("okx_derived")
    assert "last_price" not in row
    assert json.loads(row["unfit"]) == {"last_price": "1E-39"}
    assert row["bid_price"] == "9" * 38 + "." + "9" * 38
    assert row["volume_24h"] == "0"
    assert differences(database, server) == {}


def test_sending_again_changes_nothing(database, writer, cycle, server, sink, make_sink):
    writer.write(cycle, [batch(candle(), ticker(), payloads=(answer(),), job=JOB)])
    sink.send_all()
    before = sorted(map(str, server.warehouse.rows("okx_derived")))
    merges = len(server.warehouse.executed)
    assert sink.send_all() == {}
    assert make_sink().send_all() == {}
    assert len(server.warehouse.executed) == merges
    assert sorted(map(str, server.warehouse.rows("okx_derived"))) == before
    assert differences(database, server) == {}


def test_everything_sent_once_more_gives_equal_counts(database, writer, cycle, server, sink):
    writer.write(cycle, [batch(*(candle(minute) for minute in range(20)), payloads=(answer(),), job=JOB)])
    sink.send_all()
    sink.begin_anew()
    assert sink.send_all()["rows"] == 21
    assert server.warehouse.count("okx_derived") == 20
    assert differences(database, server) == {}


def test_a_closed_bar_that_is_revised_is_revised_there_too(database, writer, cycle, server, sink):
    writer.write(cycle, [batch(candle())])
    sink.send_all()
    for close in ("100.25", "100"):  # and back: the same row as at first
        writer.write(cycle, [batch(candle(close=Decimal(close)))])
        sink.send_all()
        assert column(server, "okx_derived", "close", "candles") == [close]
    assert differences(database, server) == {}


def test_rows_that_come_back_late_for_an_old_cycle_are_sent(database, writer, cycle, server, sink):
    writer.write(cycle, [batch(candle(500))])
    later = writer.begin_cycle("market", NOON, instance="test:1", folder="g", simulated=True)
    writer.write(later, [batch(candle(501))])
    sink.send_all()
    writer.write(cycle, [batch(candle(0), ticker(at=NOON - timedelta(days=40)))])
    sink.send_all()
    assert sorted(column(server, "okx_derived", "cycle_id", "candles")) == sorted([cycle, cycle, later])
    assert differences(database, server) == {}


def test_a_bar_filled_in_by_another_source_stays_one_row_when_its_own_gives_it(database, writer, cycle, server, sink):
    writer.write(cycle, [batch(candle(source="binance_spot", close=Decimal("99.5")), source="binance_spot")])
    sink.send_all()
    writer.write(cycle, [batch(candle())])
    sink.send_all()
    assert column(server, "okx_derived", "source", "candles") == ["okx"]
    assert differences(database, server) == {}


def test_a_look_that_finds_nothing_moves_the_watermark(make_sink, writer, cycle, server):
    sink = make_sink(buffer_age="1s")
    writer.write(cycle, [batch(candle())])
    sink.send_all()
    before = sink.marks()["okx_derived"].recent_at
    assert sink.run(NOON) == {}
    assert sink.marks()["okx_derived"].recent_at > before


def test_rows_wait_until_a_batch_is_full_or_the_oldest_is_old(database, make_sink, writer, cycle):
    sink = make_sink(buffer_size=3, buffer_age="1h")
    sink.send_all()
    now = writer._database.clock.now()
    writer.write(cycle, [batch(ticker(at=now), ticker(at=now - timedelta(minutes=1)))])
    assert sink.run(now) == {}
    assert sink.waiting()["okx_derived"] == 2
    writer.write(cycle, [batch(ticker(at=now - timedelta(minutes=2)))])
    assert sink.run(now) == {"rows": 3, "tables": 1}
    assert sink.waiting()["okx_derived"] == 0
    writer.write(cycle, [batch(ticker(at=now - timedelta(minutes=3)))])
    assert make_sink(buffer_size=3, buffer_age="1h").run(now) == {}
    sent_an_hour_ago(database)
    assert make_sink(buffer_size=3, buffer_age="1h").run(now) == {"rows": 1, "tables": 1}


def test_a_recent_look_leaves_what_is_old_to_the_full_one(database, make_sink, writer, cycle, server):
    sink = make_sink(buffer_size=1)
    sink.send_all()
    now = writer._database.clock.now()
    writer.write(cycle, [batch(ticker(at=now), ticker(at=now - timedelta(days=30)))])
    assert sink.run(now) == {"rows": 1, "tables": 1}
    assert differences(database, server) != {}
    sent_an_hour_ago(database)
    assert make_sink(buffer_size=1, full_look_every="1h").run(now) == {"rows": 1, "tables": 1}
    assert differences(database, server) == {}


def test_a_full_look_does_not_send_again_what_recent_ones_sent(make_sink, writer, cycle, server, database):
    sink = make_sink(buffer_size=1)
    sink.send_all()
    now = writer._database.clock.now()
    writer.write(cycle, [batch(ticker(at=now), candle())])  # the bar is too old for a recent look
    assert sink.run(now) == {"rows": 1, "tables": 1}
    assert sink.send_all() == {"rows": 1, "tables": 1}
    assert sorted(row["dataset"] for row in server.warehouse.rows("okx_derived")) == ["candles", "tickers"]
    assert sink.send_all() == {}
    assert differences(database, server) == {}


def test_many_batches_are_sent_one_by_one(database, make_sink, writer, cycle, server):
    coins = [perp(base) for base in ("BTC", "ETH", "SOL")]
    writer.write(cycle, [batch(*(candle(minute, coin) for minute in range(50) for coin in coins))])
    said = make_sink(buffer_size=40).send_all()
    assert said == {"rows": 150, "tables": 1}
    assert sum(kind == "load" for kind, _ in server.warehouse.executed) == 4
    assert differences(database, server) == {}


def test_a_transaction_under_way_while_rows_are_sent_is_sent_the_next_time(database, writer, cycle, server, sink):
    """Its number is lower than those of transactions that end before it."""
    writer.write(cycle, [batch(ticker())])
    move = text("UPDATE tickers SET last_price = last_price + 1")
    with database.engine.connect() as slow:
        slow.execute(text("SELECT pg_current_xact_id()"))
        writer.write(cycle, [batch(candle())])
        sink.send_all()
        slow.execute(move)
        slow.commit()
    sink.send_all()
    assert column(server, "okx_derived", "last_price", "tickers") == ["101"]
    assert differences(database, server) == {}


def test_a_change_within_a_savepoint_is_sent(database, writer, cycle, server, sink):
    """Its rows carry a number of their own, higher than that of the transaction."""
    with database.engine.connect() as slow:
        slow.execute(text("SELECT pg_current_xact_id()"))
        with slow.begin_nested():
            slow.execute(text("SELECT pg_current_xact_id()"))
            slow.execute(
                text(
                    "INSERT INTO global_snapshots (source, observed_at, received_at, cycle_id, market_cap_usd, "
                    "volume_24h_usd) VALUES ('coingecko', now(), now(), :cycle, 1, 0)"
                ),
                {"cycle": cycle},
            )
        writer.write(cycle, [batch(candle())])
        sink.send_all()
        slow.commit()
    sink.send_all()
    assert server.warehouse.count("coingecko_derived") == 1
    assert differences(database, server) == {}


def test_another_database_server_begins_anew(database, writer, cycle, server, sink):
    writer.write(cycle, [batch(candle())])
    sink.send_all()
    store = SinkStore(database, "bigquery")
    marks = [replace(mark, server="another/1/5/public", full_xid=2**40) for mark in store.load().values()]
    store.save(marks)
    writer.write(cycle, [batch(candle(1))])
    assert sink.send_all() == {"rows": 2, "tables": 1}
    assert {mark.generation for mark in store.load().values()} == {1}
    assert differences(database, server) == {}


def test_another_dataset_is_filled_from_the_beginning(database, make_sink, writer, cycle, server):
    writer.write(cycle, [batch(candle())])
    make_sink().send_all()
    make_sink(project="other-project").send_all()
    marks = SinkStore(database, "bigquery").load()
    assert [name for name, mark in marks.items() if mark.rows_sent] == [
        "other-project.crypto_market.okx_derived",
        "test-project.crypto_market.okx_derived",
    ]


def test_only_one_process_sends_at_a_time(sink, make_sink, database):
    with SinkStore(database, "bigquery").lock(), pytest.raises(LockHeld, match="another process sends"):
        make_sink().send_all()
    sink.send_all()


def test_answers_that_went_by_age_before_they_were_sent_are_counted(database, make_sink, writer, cycle, server):
    now = ManualClock(NOON).now()
    sink = make_sink(contents=["raw"])
    writer.write(cycle, [batch(candle(), job=JOB, payloads=(answer(),))])
    sink.send_all()
    assert sink.marks()["okx_raw"].answers_lost == 0
    later = writer.begin_cycle("market", now, instance="test:1", folder="g", simulated=True)
    ends = writer._database.clock.now()
    old = {"job": JOB, "finished_at": ends, "payloads": (answer(at=ends),)}
    writer.write(later, [batch(candle(1), **old)])
    writer.prune_payloads(ends + timedelta(seconds=1))
    sink.send_all()
    mark = sink.marks()["okx_raw"]
    assert (mark.answers_lost, mark.lost_until) == (1, ends)
    sink.send_all()
    assert sink.marks()["okx_raw"].answers_lost == 1
    assert sum(answers_outside(server, "okx").values()) == 1  # what had been sent stays


def test_what_retention_deletes_here_stays_there(database, writer, cycle, server, sink):
    writer.write(cycle, [batch(candle(), candle(1, BTC))])
    sink.send_all()
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM candles"))
    sink.send_all()
    assert server.warehouse.count("okx_derived") == 2
