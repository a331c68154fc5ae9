"""Many rows for stretches that hold nothing go straight into their table, and end as by every other way."""

from datetime import timedelta
from decimal import Decimal

import pytest

from collector.records import Interval, RejectReason
from collector.storage import fresh
from tests.storage.samples import BTC, NOON, RECEIVED, batch, candle, perp, snapshot, ticker

MINUTES = 600
ETH = perp("ETH")
HELD = "SELECT instrument_id, interval, open_time, close, received_at, cycle_id FROM candles ORDER BY 1, 2, 3"


@pytest.fixture
def direct(monkeypatch):
    """Whether each write went straight into the table."""
    taken = []
    copy_fresh = fresh.copy_fresh

    def noted(*given):
        changes = copy_fresh(*given)
        taken.append(changes is not None)
        return changes

    monkeypatch.setattr("collector.storage.transaction.copy_fresh", noted)
    return taken


def bars(first=0, count=MINUTES, instrument=BTC, **changes):
    return [candle(minute, instrument, **changes) for minute in range(first, first + count)]


def test_rows_of_each_batch_are_counted_and_a_repetition_changes_nothing(writer, cycle, rows, direct):
    parts = [batch(*bars(0, 400)), batch(*bars(400, 200))]
    assert [result.written for result in writer.write(cycle, parts)] == [{"candles": 400}, {"candles": 200}]
    assert direct == [True]
    held = rows(HELD)
    assert len(held) == MINUTES
    again = writer.write(cycle, [batch(*bars(0, 400, received_at=RECEIVED + timedelta(hours=1))), parts[1]])
    assert [(result.written, result.unchanged) for result in again] == [({}, 400), ({}, 200)]
    assert direct == [True, False]
    assert rows(HELD) == held


def test_one_stored_bar_in_the_stretch_sends_all_through_the_merge(writer, cycle, rows, direct):
    writer.write(cycle, [batch(candle(300))])
    later = RECEIVED + timedelta(minutes=1)
    changed = [candle(300, close=Decimal("100.25"), received_at=later)]
    (result,) = writer.write(cycle, [batch(*bars(0, 300), *changed, *bars(301, 299))])
    assert (result.written, result.unchanged, result.revised) == ({"candles": MINUTES}, 0, 1)
    assert direct == [False, False]
    assert rows("SELECT count(*) FROM revisions") == [(1,)]
    assert rows("SELECT count(*), sum(close) FROM candles") == [(MINUTES, Decimal("60000.25"))]  # 599 * 100 + 100.25


def test_bars_beside_stored_ones_are_fresh(writer, cycle, direct):
    writer.write(cycle, [batch(candle(-1), candle(MINUTES), candle(5, ETH), candle(5, interval=Interval.M5))])
    (result,) = writer.write(cycle, [batch(*bars())])
    assert result.written == {"candles": MINUTES}
    assert direct == [False, True]


def test_several_series_in_any_order_with_the_newest_of_doubles(writer, cycle, rows, direct):
    newer = RECEIVED + timedelta(seconds=1)
    given = [*bars(0, 400, ETH), *reversed(bars(0, 400)), *bars(7, 1, close=Decimal(101), received_at=newer)]
    (result,) = writer.write(cycle, [batch(*given)])
    assert (result.written, result.unchanged) == ({"candles": 800}, 1)
    assert direct == [True]
    assert rows("SELECT open_time, received_at FROM candles WHERE close = 101") == [(candle(7).open_time, newer)]


def test_a_bar_that_the_database_refuses_is_set_aside_and_the_others_land(writer, cycle, rows):
    given = bars()
    given[123] = candle(123, trades=2**63)
    (result,) = writer.write(cycle, [batch(*given)])
    assert result.written == {"candles": MINUTES - 1}
    assert [reject.reason for reject in result.rejects] == [RejectReason.REFUSED_BY_DATABASE]
    assert rows("SELECT count(*) FROM candles") == [(MINUTES - 1,)]


def test_few_rows_and_many_series_are_merged(writer, cycle, direct):
    writer.write(cycle, [batch(*bars(0, 10))])
    coins = [perp(f"C{number}") for number in range(40)]
    (result,) = writer.write(cycle, [batch(*(candle(minute, coin) for coin in coins for minute in range(20)))])
    assert result.written == {"candles": 800}
    assert direct == [False, False]


def test_a_bar_that_somebody_stores_at_the_same_moment_is_found_again(writer, cycle, database, monkeypatch):
    """Between our look and our COPY another session's row appears: as when a file is imported meanwhile."""
    writer.write(cycle, [batch(candle(-5))])
    chunks, moves = fresh.chunks, ["UPDATE candles SET open_time = open_time + interval '20 minutes'"]

    def meanwhile(*given, **options):
        if moves:
            with database.transaction() as other:
                other.exec_driver_sql(moves.pop())
        return chunks(*given, **options)

    monkeypatch.setattr(fresh, "chunks", meanwhile)
    (result,) = writer.write(cycle, [batch(*bars())])
    assert (result.written, result.unchanged) == ({"candles": MINUTES - 1}, 1)


def test_observations_of_a_new_moment_are_fresh_and_those_of_a_known_one_are_merged(writer, cycle, rows, direct):
    coins = [perp(f"C{number}") for number in range(80)]
    first = [batch(*(ticker(coin) for coin in coins[:40])), batch(*(ticker(coin) for coin in coins[40:]))]
    assert [result.written for result in writer.write(cycle, first)] == [{"tickers": 40}, {"tickers": 40}]
    later = NOON + timedelta(minutes=5)
    (result,) = writer.write(cycle, [batch(*(ticker(coin, at=later) for coin in coins))])
    assert result.written == {"tickers": 80}
    assert direct == [True, True]
    again = [ticker(coin, "101" if coin is coins[7] else "100", at=later) for coin in coins]
    (result,) = writer.write(cycle, [batch(*again)])
    assert (result.written, result.unchanged) == ({"tickers": 1}, 79)
    assert direct == [True, True, False]
    assert rows("SELECT count(*), sum(last_price) FROM tickers") == [(160, Decimal(16001))]


def test_keys_that_no_database_can_hold_are_refused_alone(writer, cycle, rows):
    given = [snapshot(f"coin-{number}") for number in range(100)]
    given += [snapshot("a\x00b"), snapshot("a\ud800b")]
    (result,) = writer.write(cycle, [batch(*given)])
    assert result.written == {"market_snapshots": 100}
    assert len(result.rejects) == 2
    assert rows("SELECT count(*) FROM market_snapshots") == [(100,)]
