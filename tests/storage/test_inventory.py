"""What is held and from when to when: worked out from windows, whatever the size of the tables."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from collector.coverage import ASKED_FOR, Event, Finding, Series
from collector.records import Dataset, Interval, Job
from collector.storage import inventory
from collector.storage.coverage import CoverageStore
from tests.storage.samples import BTC, NOON, batch, book, candle, listing, perp

ETH = perp("ETH", venue="binance_futures")
MINUTE = timedelta(minutes=1)
MARCH = datetime(2026, 3, 5, tzinfo=UTC)


def at(minute):
    return NOON + minute * MINUTE


def bars(first, last, *, without=(), instrument=BTC, **changes):
    """A batch whose answer holds every bar of its range but some."""
    values = {"source": instrument.venue, "dataset": Dataset.CANDLES, "interval": Interval.M1, **changes}
    job = Job(instruments=(instrument,), since=at(first), until=at(last), **values)
    owner = job.stands_for or instrument
    given = [candle(n, owner, source=job.source) for n in range(first, last) if n not in without]
    return batch(*given, job=job)


def test_a_series_tells_its_range_its_holes_and_who_gave_it(writer, cycle, reader):
    writer.write(cycle, [bars(0, 100, without=[40, 41, 70])])
    writer.write(cycle, [bars(40, 42, instrument=ETH, stands_for=BTC)])
    (found,) = reader.held_series()
    assert (found.name, found.venue, found.interval) == ("okx:BTC-USDT:perp/1m", "okx", Interval.M1)
    assert (found.since, found.until) == (at(0), at(100))
    assert (found.held, found.missing, found.holes) == (99 * MINUTE, MINUTE, 1)
    assert found.sources == ("binance_futures", "okx")
    assert found.share == 0.99


def test_what_the_provider_has_not_is_told_apart_from_what_is_missing(writer, cycle, reader, database):
    writer.write(cycle, [bars(0, 10, without=[4])])
    with database.transaction() as connection:
        connection.execute(text("UPDATE coverage SET next_try_at = '2026-01-01Z' WHERE state = 'missing'"))
    writer.write(cycle, [bars(4, 5, without=[4])])
    (found,) = reader.held_series()
    assert (found.provider_has_none, found.missing, found.holes) == (MINUTE, timedelta(0), 0)
    assert (found.share, found.next_try_at) == (1.0, None)


def test_a_series_that_holds_nothing_yet_has_no_range(writer, cycle, reader, database):
    writer.write(cycle, [batch(listing(), dataset=Dataset.INSTRUMENTS)])
    series = Series(instrument=BTC.id, dataset=Dataset.CANDLES, interval=Interval.M1)
    wish = Finding(since=at(0), until=at(10), event=Event.WANTED, source="okx", reason=ASKED_FOR)
    CoverageStore(database).mark([(series, wish)])
    (found,) = reader.held_series()
    assert (found.since, found.until, found.sources, found.share) == (None, None, (), 0.0)
    assert (found.missing, found.holes) == (10 * MINUTE, 1)


def test_series_are_found_by_the_beginning_of_their_names(writer, cycle, reader):
    payments = Job(source="okx", dataset=Dataset.FUNDING, instruments=(BTC,), since=at(0), until=at(600))
    writer.write(cycle, [bars(0, 5), bars(0, 5, instrument=ETH), batch(job=payments)])
    assert [item.name for item in reader.held_series()] == [
        "binance_futures:ETH-USDT:perp/1m",
        "okx:BTC-USDT:perp/1m",
        "okx:BTC-USDT:perp/funding",
    ]
    (found,) = reader.held_series("okx:BTC-USDT:perp/f")
    assert (found.dataset, found.interval, found.held) == (Dataset.FUNDING, None, timedelta(hours=10))
    assert reader.held_series("kraken") == []


# --------------------------------------------------------------------------- tables


def contents(reader):
    return {item.table: item for item in reader.inventory()}


def test_every_table_is_counted_and_large_ones_are_estimated(writer, cycle, reader, database, monkeypatch):
    writer.write(cycle, [batch(book(), book(observed_at=at(1)), book(observed_at=MARCH))])
    found = contents(reader)
    assert (found["order_books"].rows, found["order_books"].exact) == (3, True)
    assert (found["order_books"].first, found["order_books"].last) == (NOON, MARCH)
    assert (found["tickers"].rows, found["tickers"].first) == (0, None)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE order_books")
    monkeypatch.setattr(inventory, "_COUNTED_BYTES", 0)
    large = contents(reader)["order_books"]
    assert (large.rows, large.exact, large.first, large.last) == (3, False, NOON, MARCH)


def test_bars_are_counted_by_their_windows_and_by_their_own_length(writer, cycle, reader, rows):
    hours = Job(
        source="okx", dataset=Dataset.CANDLES, instruments=(ETH,), interval=Interval.H1, since=at(0), until=at(180)
    )
    hourly = [candle(60 * n, ETH, interval=Interval.H1, observed_at=at(60 * n + 60)) for n in range(3)]
    writer.write(cycle, [bars(0, 100, without=[40]), batch(*hourly, job=hours)])
    found = contents(reader)["candles"]
    assert (found.rows, found.exact, found.first, found.last) == (102, True, NOON, at(120))
    assert rows("SELECT count(*), min(open_time), max(open_time) FROM candles") == [(102, NOON, at(120))]


def test_bars_from_before_there_were_windows_are_counted_one_by_one(writer, cycle, reader):
    writer.write(cycle, [batch(candle(0), candle(9))])  # a job without a range leaves no window
    found = contents(reader)["candles"]
    assert (found.rows, found.first, found.last) == (2, NOON, at(9))


def relations(node):
    """Every table that a query plan reads."""
    found = {node["Relation Name"]} if "Relation Name" in node else set()
    return found.union(*(relations(part) for part in node.get("Plans", [])))


@pytest.mark.parametrize(
    ("statement", "read"),
    [(inventory.SERIES, {"coverage", "instruments"}), (inventory.BARS, {"coverage"})],
    ids=["series", "bars"],
)
def test_the_inventory_reads_no_bars(writer, cycle, database, statement, read):
    writer.write(cycle, [bars(0, 10)])
    with database.reading() as connection:
        values = {"prefix": ""} if statement is inventory.SERIES else {}
        plan = connection.execute(text(f"EXPLAIN (FORMAT JSON) {statement.text}"), values).scalar_one()
    tree = plan if isinstance(plan, list) else json.loads(plan)
    assert relations(tree[0]["Plan"]) == read


def test_the_inventory_answers_while_nobody_can_read_the_bars(writer, cycle, database, reader):
    writer.write(cycle, [bars(0, 10)])
    with database.transaction() as connection:
        connection.execute(text("LOCK TABLE candles IN ACCESS EXCLUSIVE MODE"))
        assert [item.held for item in reader.held_series()] == [10 * MINUTE]
