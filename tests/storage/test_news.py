"""News: the writer tells each transaction once, the reader finds its rows, and only them, exactly once."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from collector.clock import ManualClock
from collector.records import Batch, Dataset, IndicatorBlock, Interval, Job
from collector.storage.announce import LONGEST
from collector.storage.database import Database
from collector.storage.news import KINDS, Announcement, Listener, NewsReader, Position
from collector.storage.writer import Writer
from tests.storage.samples import NOON, asset, book, candle, perp, snapshot, ticker

LATER = NOON + timedelta(minutes=10)


@pytest.fixture
def stored(migrated_url):
    """A writer, what reads news and what hears of them, ten minutes after the samples' time."""
    opened = Database(migrated_url, clock=ManualClock(LATER))
    writer = Writer(opened)
    cycle = writer.begin_cycle("market", NOON, instance="t", folder="", simulated=True)
    with Listener(opened) as listener:
        yield writer, NewsReader(opened), listener, cycle, opened
    opened.close()


def batch(*records, dataset=Dataset.CANDLES, interval=Interval.M1):
    return Batch(job=Job(source="okx", dataset=dataset, interval=interval), records=records, state="ok")


def test_a_write_is_told_once_with_counts_and_intervals(stored):
    writer, _, listener, cycle, _ = stored
    writer.write(cycle, [batch(candle(0), candle(1)), batch(ticker(), dataset=Dataset.TICKERS, interval=None)])
    (told,) = listener.hear(5)
    assert told.position.cycle == cycle
    assert {name: item.rows for name, item in told.tables.items()} == {"candles": 2, "tickers": 1}
    assert told.tables["candles"].intervals == ("1m",)
    assert told.tables["candles"].of == ("okx:BTC-USDT:perp",)
    assert listener.hear(0) == []


def test_a_write_that_changes_nothing_is_not_told(stored):
    writer, _, listener, cycle, _ = stored
    writer.write(cycle, [batch(candle(0))])
    assert len(listener.hear(5)) == 1
    writer.write(cycle, [batch(candle(0))])
    writer.write(cycle, [batch()])
    assert listener.hear(0.1) == []


def test_a_write_that_is_undone_is_not_told(stored, monkeypatch):
    writer, _, listener, cycle, _ = stored
    monkeypatch.setattr("collector.storage.announce._INSERT", "SELECT pg_notify(%s, %s || '\"}') / 0")
    with pytest.raises(Exception, match="write"):
        writer.write(cycle, [batch(candle(0))])
    assert listener.hear(0.1) == []


def test_indicators_are_told_with_their_intervals(stored):
    writer, reader, listener, cycle, _ = stored
    block = IndicatorBlock(
        instrument=perp(),
        interval=Interval.M1,
        open_times=(NOON, NOON + timedelta(minutes=1)),
        columns={"rsi_14": [float("nan"), 55.5]},
        extra={},
        warm=(False, True),
    )
    writer.write(cycle, [batch(candle(0))])
    writer.write_indicators(cycle, [block])
    told = [*listener.hear(5), *listener.hear(0.2)][-1]
    assert told.tables["indicators"].intervals == ("1m",)
    (found,) = reader.of_announcement(told, list(KINDS)).found
    assert [(row["instrument"], row["interval"], row["rsi_14"], row["warm"]) for row in found.rows] == [
        ("okx:BTC-USDT:perp", "1m", None, False),
        ("okx:BTC-USDT:perp", "1m", 55.5, True),
    ]


def test_the_rows_of_a_transaction_are_read_and_no_others(stored):
    writer, reader, listener, cycle, _ = stored
    writer.write(cycle, [batch(candle(0))])
    writer.write(cycle, [batch(candle(0), candle(1, close=Decimal("100.75"), instrument=perp("ETH")))])
    told = [*listener.hear(5), *listener.hear(0.2)][-1]
    (found,) = reader.of_announcement(told, ["candles", "tickers"]).found
    assert [(row["instrument"], row["open_time"], row["close"]) for row in found.rows] == [
        ("okx:ETH-USDT:perp", NOON + timedelta(minutes=1), Decimal("100.75"))
    ]
    assert found.missing == 0
    assert "instrument_id" not in found.rows[0]


def test_every_kind_can_be_read(stored):
    writer, reader, listener, cycle, _ = stored
    writer.write(
        cycle,
        [
            batch(asset(), snapshot(), dataset=Dataset.MARKETS, interval=None),
            batch(book(), dataset=Dataset.ORDER_BOOKS, interval=None),
        ],
    )
    (told,) = listener.hear(5)
    found = {item.kind: item.rows for item in reader.of_announcement(told, list(KINDS)).found}
    assert found["markets"][0]["symbol"] == "BTC"
    assert found["markets"][0]["price_usd"] == 100000
    assert found["order_books"][0]["best_bid"] == 99
    assert "bid_prices" not in found["order_books"][0]


def test_history_is_counted_and_not_read(stored):
    writer, reader, listener, cycle, _ = stored
    old = candle(-60 * 48)
    writer.write(cycle, [batch(old, candle(0))])
    (told,) = listener.hear(5)
    (found,) = reader.of_announcement(told, ["candles"]).found
    assert [row["open_time"] for row in found.rows] == [NOON]
    assert found.missing == 1


def test_after_a_position_come_the_later_rows_exactly_once(stored):
    writer, reader, listener, cycle, _ = stored
    writer.write(cycle, [batch(candle(0), candle(1, instrument=perp("ETH")))])
    (first,) = listener.hear(5)
    place = reader.of_announcement(first, ["candles"]).position
    assert reader.since(place, ["candles"]).found == []
    writer.write(cycle, [batch(candle(2)), batch(ticker(), dataset=Dataset.TICKERS, interval=None)])
    second = writer.begin_cycle("market", LATER, instance="t", folder="", simulated=True)
    writer.write(second, [batch(candle(3))])
    news = reader.since(place, list(KINDS))
    times = {item.kind: [row.get("open_time", row["observed_at"]) for row in item.rows] for item in news.found}
    assert times == {"candles": [NOON + timedelta(minutes=2), NOON + timedelta(minutes=3)], "tickers": [NOON]}
    assert news.position.cycle == second
    assert reader.since(news.position, list(KINDS)).found == []


def test_a_place_that_is_too_long_ago_or_unknown_is_not_resumed(stored):
    _, reader, _, cycle, opened = stored
    place = reader.position()
    assert reader.since(place, ["candles"]) is not None
    assert reader.since(Position(cycle + 1, place.xid), ["candles"]) is None
    assert reader.since(Position(cycle, place.xid + 2**20), ["candles"]) is None
    opened.clock.advance(50 * 60)  # the cycle began ten minutes before
    assert reader.since(place, ["candles"]) is not None
    opened.clock.advance(1)
    assert reader.since(place, ["candles"]) is None


def test_too_many_missed_rows_are_not_resumed(stored, monkeypatch):
    writer, reader, _, cycle, _ = stored
    place = reader.position()
    monkeypatch.setattr("collector.storage.news.MOST_ROWS", 2)
    writer.write(cycle, [batch(candle(0), candle(1))])
    assert len(reader.since(place, ["candles"]).found[0].rows) == 2
    writer.write(cycle, [batch(candle(2))])
    assert reader.since(place, ["candles"]) is None


def test_more_rows_than_are_told_are_cut_and_counted(stored, monkeypatch):
    writer, reader, listener, cycle, _ = stored
    monkeypatch.setattr("collector.storage.news.MOST_ROWS", 2)
    writer.write(cycle, [batch(*(candle(minute) for minute in range(5)))])
    (told,) = listener.hear(5)
    news = reader.of_announcement(told, ["candles"])
    assert (len(news.found[0].rows), news.found[0].missing) == (2, 3)
    assert reader.since(news.position, ["candles"]).found == []


def test_a_notification_never_gets_too_long_to_be_sent(stored):
    writer, reader, listener, cycle, _ = stored
    many = [ticker(instrument=perp(f"COIN{number:04}{'X' * 40}")) for number in range(150)]
    writer.write(cycle, [batch(*many, dataset=Dataset.TICKERS, interval=None)])
    more = [ticker(instrument=perp(f"MORE{number:04}")) for number in range(500)]
    writer.write(cycle, [batch(*more, dataset=Dataset.TICKERS, interval=None)])
    first, second = [*listener.hear(5), *listener.hear(0.2)]
    assert first.tables["tickers"].of == second.tables["tickers"].of == ()
    assert len(reader.of_announcement(first, ["tickers"]).found[0].rows) == 150
    assert len(reader.of_announcement(second, ["tickers"]).found[0].rows) == 500
    assert LONGEST < 8000


def test_what_others_notify_is_passed_over(stored):
    _, _, listener, cycle, opened = stored
    with opened.transaction() as connection:
        for payload in ("", "{", "[]", '{"cycle": 1}', json.dumps({"cycle": cycle, "xid": "1", "tables": {"x": 1}})):
            connection.execute(text("SELECT pg_notify('collector_rows', :payload)"), {"payload": payload})
    assert listener.hear(5) == []
    assert Announcement.parse(json.dumps({"cycle": 1, "xid": "2", "tables": {}})).position == Position(1, 2)


@pytest.mark.parametrize("words", ["", "1", "1-", "-1", "a-1", "1-1-1", "1-²", "9" * 30 + "-1", f"1-{2**63}", "1 - 2"])
def test_a_text_that_is_no_position_is_none(words):
    assert Position.parse(words) is None


def test_a_position_is_read_as_it_is_written():
    assert Position.parse(str(Position(12, 34567890123))) == Position(12, 34567890123)


def test_a_listener_wakes_when_it_is_told_to(stored):
    _, _, listener, _, _ = stored
    listener.wake()
    assert listener.hear(60) == []


def test_numbers_of_transactions_may_count_round(stored):
    writer, reader, _, cycle, opened = stored
    place = reader.position()
    writer.write(cycle, [batch(candle(0))])
    with opened.reading() as connection:
        now = connection.execute(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")).scalar()
    assert place.xid < now < 2**31
    assert len(reader.since(place, ["candles"]).found[0].rows) == 1
