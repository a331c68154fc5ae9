"""Long pages of Binance's bars: read by columns where nothing is odd, and the same as row by row where something is."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.bars import Bars
from collector.clock import to_millis
from collector.errors import PayloadError
from collector.records import Candle, Dataset, Instrument, Interval, Job, Kind, Payload, Reject, RejectReason
from collector.sources import binance_futures, binance_spot

FIRST = datetime(2026, 1, 14, 12, tzinfo=UTC)
FIRST_MS, MINUTE_MS = to_millis(FIRST), 60_000
COUNT = 50
BTC = Instrument(venue="binance_spot", base="BTC", quote="USDT", kind=Kind.SPOT, venue_symbol="BTCUSDT")
LATER = FIRST + timedelta(days=1)


def row(n):
    opened = FIRST_MS + n * MINUTE_MS
    numbers = ["100.10", f"{101 + n}.00000000", "99.5", "100.2", "12.5", opened + 59_999, "1251.25", 40 + n, "6.25"]
    return [opened, *numbers, "625.6", "0"]


def parsed(rows, received_at=LATER, source=binance_spot, interval=Interval.M1):
    job = Job(source=source.NAME, dataset=Dataset.CANDLES, instruments=(BTC,), interval=interval)
    return source.parse_candles(Payload(job=job, status=200, body=json.dumps(rows).encode(), received_at=received_at))


def page():
    return [row(n) for n in range(COUNT)]


@pytest.mark.parametrize("source", [binance_spot, binance_futures], ids=["spot", "futures"])
def test_a_long_page_of_finished_bars_is_read_by_columns(source):
    bars = parsed(page(), source=source)
    assert isinstance(bars, Bars)
    assert len(bars) == COUNT
    assert bars[7] == Candle(
        source=source.NAME,
        observed_at=datetime(2026, 1, 14, 12, 8, tzinfo=UTC),
        received_at=LATER,
        instrument=BTC,
        interval=Interval.M1,
        open_time=datetime(2026, 1, 14, 12, 7, tzinfo=UTC),
        open=Decimal("100.10"),
        high=Decimal(108),
        low=Decimal("99.5"),
        close=Decimal("100.2"),
        volume=Decimal("12.5"),
        quote_volume=Decimal("1251.25"),
        trades=47,
        taker_buy_volume=Decimal("6.25"),
        closed=True,
    )
    assert str(bars[0].high) == "101.00000000"  # every digit of the text
    assert bars[-1].open_time == FIRST + timedelta(minutes=COUNT - 1)


@pytest.mark.parametrize(("late_ms", "is_over"), [(1999, False), (2000, True)])
def test_the_newest_bar_is_closed_two_seconds_after_its_end(late_ms, is_over):
    found = parsed(page(), received_at=FIRST + timedelta(minutes=COUNT, milliseconds=late_ms))
    assert [candle.closed for candle in found] == [True] * (COUNT - 1) + [is_over]


def changed(change):
    rows = page()
    change(rows)
    return rows


def put(place, column, value):
    def change(rows):
        rows[place][column] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.pop(20),
        lambda rows: rows.reverse(),
        lambda rows: rows.append(rows[3]),
        lambda rows: [item.append("new") for item in rows],
        lambda rows: rows[20].append("new"),
        put(20, 1, 100.10),
        put(20, 1, 100),
        put(20, 1, "1e2"),
        put(20, 8, "47"),
        put(0, 8, 2**70),
        put(20, 0, str(FIRST_MS + 20 * MINUTE_MS)),
    ],
    ids=["hole", "newest first", "twice", "wider", "uneven", "fraction", "whole", "power", "text", "huge", "time"],
)
def test_an_odd_but_sound_page_gives_the_same_bars(change):
    rows = changed(change)
    assert list(parsed(rows)) == [candle for item in rows for candle in parsed([item])]


@pytest.mark.parametrize("place", [0, 20, COUNT - 1])
def test_a_bar_of_another_width_is_rejected_and_the_others_stay(place):
    rows = changed(put(place, 6, FIRST_MS + place * MINUTE_MS + 299_999))
    rejects = [item for item in parsed(rows) if isinstance(item, Reject)]
    assert [item.reason for item in rejects] == [RejectReason.INCONSISTENT]
    assert len(parsed(rows)) == COUNT
    everything = parsed(page(), interval=Interval.M5)
    assert {item.reason for item in everything} == {RejectReason.INCONSISTENT}


@pytest.mark.parametrize("place", [0, 20, COUNT - 1])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        (1, "NaN"),
        (1, "Infinity"),
        (2, "1_000"),
        (3, " 99.5"),
        (3, "99.5\n"),
        (4, ""),
        (4, None),
        (5, True),
        (7, "12 50"),
        (7, "12\n50"),
        (8, None),
        (8, 1.5),
        (8, True),
        (8, 10**24),
        (9, "\u0663"),
        (0, None),
        (0, True),
        (6, "never"),
    ],
)
def test_what_is_no_number_names_its_row(column, value, place):
    with pytest.raises(PayloadError) as failure:
        parsed(changed(put(place, column, value)))
    assert f"[{place}]" in str(failure.value)


@pytest.mark.parametrize(
    "rows",
    [
        {"rows": page()},
        [*page(), None],
        [*page(), {}],
        changed(lambda rows: rows[20].pop()),
        changed(put(0, 0, -MINUTE_MS)),
        changed(put(20, 0, 10**23)),
    ],
    ids=["object", "null", "object in it", "short row", "before 1970", "year 3 168 808 806 029"],
)
def test_another_shape_is_no_page_of_bars(rows):
    outcome = None
    try:
        outcome = parsed(rows)
    except PayloadError:
        return
    assert any(isinstance(item, Reject) for item in outcome)
    assert not isinstance(outcome, Bars)
