"""Bars given by columns end in the tables, the ledger and the coverage as the same candles one by one."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.bars import Bars
from collector.records import Dataset, Interval, Job, RejectReason
from collector.storage.coverage import CoverageStore
from tests.storage.samples import BTC, NOON, RECEIVED, batch, perp

D = Decimal
MINUTE = timedelta(minutes=1)
ETH = perp("ETH")
STORED = (
    "SELECT c.source, c.interval, c.observed_at, c.received_at, c.cycle_id, c.open_time, c.open, c.high, c.low, "
    "c.close, c.volume, c.quote_volume, c.trades, c.taker_buy_volume FROM candles c JOIN instruments i "
    "USING (instrument_id) WHERE i.instrument = '{}' ORDER BY c.open_time"
)


def bars(first=0, count=100, instrument=BTC, received_at=RECEIVED, **changes):
    columns = {
        "open": [D("100.50")] * count,
        "high": [D(5000)] * count,
        "low": [D("1E-7")] * count,
        "close": [D(100 + first + n) for n in range(count)],
        "volume": [D("0.000")] * count,
        "quote_volume": [D(0)] * count,
        "trades": list(range(count)),
        "taker_buy_volume": [D(0)] * count,
    }
    return Bars(
        source="okx",
        instrument=instrument,
        interval=Interval.M1,
        received_at=[received_at] * count,
        open_time=[NOON + (first + n) * MINUTE for n in range(count)],
        **{**columns, **changes},
    )


def given(records, first=0, count=100):
    job = Job(
        source="okx",
        dataset=Dataset.CANDLES,
        instruments=(records[0].instrument,),
        interval=Interval.M1,
        since=NOON + first * MINUTE,
        until=NOON + (first + count) * MINUTE,
    )
    return replace(batch(job=job), records=records)


def test_columns_are_stored_as_candles_are(writer, cycle, rows):
    (by_column,) = writer.write(cycle, [given(bars())])
    (one_by_one,) = writer.write(cycle, [given(tuple(bars(instrument=ETH)))])
    assert by_column == one_by_one
    assert by_column.written == {"candles": 100}
    stored = rows(STORED.format(BTC.id))
    assert stored == rows(STORED.format(ETH.id))
    assert stored[7] == (
        "okx",
        "1m",
        NOON + 8 * MINUTE,
        RECEIVED,
        cycle,
        NOON + 7 * MINUTE,
        *(D("100.50"), D(5000), D("0.0000001"), D(107), D(0), D(0), 7, D(0)),
    )
    assert rows("SELECT subject, rows_written, rows_unchanged FROM jobs ORDER BY job_id") == [
        (BTC.id, 100, 0),
        (ETH.id, 100, 0),
    ]


def test_the_newest_stretch_may_come_first(writer, cycle, rows):
    parts = [given(bars(200), 200), given(bars(0), 0), given(bars(100), 100)]
    assert [result.written for result in writer.write(cycle, parts)] == [{"candles": 100}] * 3
    assert [row[9] for row in rows(STORED.format(BTC.id))] == [D(100 + n) for n in range(300)]


def test_what_is_held_is_covered(writer, cycle, database):
    holed = replace(bars(), open_time=[NOON + (n + (n >= 50)) * MINUTE for n in range(100)])
    writer.write(cycle, [given(holed, 0, 101)])
    found = [window for _, window in CoverageStore(database).windows("")]
    spans = [((item.since - NOON) // MINUTE, (item.until - NOON) // MINUTE, str(item.state)) for item in found]
    assert spans == [(0, 50, "observed"), (50, 51, "missing"), (51, 101, "observed")]


def test_a_repetition_changes_nothing_and_another_value_is_a_revision(writer, cycle, rows):
    writer.write(cycle, [given(bars())])
    stored = rows(STORED.format(BTC.id))
    later = RECEIVED + timedelta(hours=1)
    (again,) = writer.write(cycle, [given(bars(received_at=later))])
    assert (again.written, again.unchanged) == ({}, 100)
    assert rows(STORED.format(BTC.id)) == stored
    closes = [D(100 + n) for n in range(100)]
    closes[42] = D("142.5")
    (changed,) = writer.write(cycle, [given(bars(received_at=later, close=closes))])
    assert (changed.written, changed.unchanged, changed.revised) == ({"candles": 1}, 99, 1)
    assert rows(STORED.format(BTC.id))[42][9] == D("142.5")


def test_of_two_bars_with_one_key_the_one_received_last_wins(writer, cycle, rows):
    later = RECEIVED + timedelta(minutes=5)
    newer = bars(50, received_at=later, close=[D(1000 + n) for n in range(100)])
    first, second = writer.write(cycle, [given(newer, 50), given(bars())])
    assert (first.written, first.unchanged) == ({"candles": 100}, 0)
    assert (second.written, second.unchanged) == ({"candles": 50}, 50)
    assert [row[9] for row in rows(STORED.format(BTC.id))] == [D(100 + n) for n in range(50)] + newer.close


@pytest.mark.parametrize("place", [0, 61, 99])
def test_a_bar_that_the_database_refuses_is_set_aside_and_the_others_land(writer, cycle, rows, place):
    counts = list(range(100))
    counts[place] = 2**63
    (result,) = writer.write(cycle, [given(bars(trades=counts))])
    assert result.written == {"candles": 99}
    assert [item.reason for item in result.rejects] == [RejectReason.REFUSED_BY_DATABASE]
    assert [row[12] for row in rows(STORED.format(BTC.id))] == [n for n in range(100) if n != place]


def test_columns_and_candles_and_other_series_share_a_write(writer, cycle, rows):
    parts = [given(bars()), given(tuple(bars(100)), 100), given(bars(instrument=ETH))]
    assert [result.written for result in writer.write(cycle, parts)] == [{"candles": 100}] * 3
    assert [row[9] for row in rows(STORED.format(BTC.id))] == [D(100 + n) for n in range(200)]
    assert [row[9] for row in rows(STORED.format(ETH.id))] == [D(100 + n) for n in range(100)]


def test_a_job_without_bars_beside_columns_is_in_the_ledger(writer, cycle, rows):
    failed = replace(given(bars()), records=(), state="failed", error="no answer")
    results = writer.write(cycle, [failed, given(bars(100), 100)])
    assert [result.written for result in results] == [{}, {"candles": 100}]
    assert rows("SELECT state, rows_written FROM jobs ORDER BY job_id") == [("failed", 0), ("ok", 100)]
