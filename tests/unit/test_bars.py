"""Bars by columns: the candles they stand for, and what the checks of whole columns let through."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.bars import Bars, joined
from collector.records import Batch, Candle, Dataset, Instrument, Interval, Job, Kind, RejectReason
from collector.validate import check

NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)
NOW = NOON + timedelta(hours=2)
MINUTE = timedelta(minutes=1)
BTC, ETH = (
    Instrument(venue="binance_spot", base=base, quote="USDT", kind=Kind.SPOT, venue_symbol=f"{base}USDT")
    for base in ("BTC", "ETH")
)
JOB = Job(source="binance_spot", dataset=Dataset.CANDLES, instruments=(BTC,), interval=Interval.M1)
D = Decimal
COUNT = 40


def bars(first=0, count=COUNT, instrument=BTC, **changes):
    """Bars from `first` minutes after noon; the close of each tells its minute."""
    columns = {
        "received_at": [NOW] * count,
        "open_time": [NOON + (first + n) * MINUTE for n in range(count)],
        "open": [D(100)] * count,
        "high": [D(200)] * count,
        "low": [D(90)] * count,
        "close": [D(100 + first + n) for n in range(count)],
        "volume": [D(2)] * count,
        "quote_volume": [D(210)] * count,
        "trades": [7] * count,
        "taker_buy_volume": [D("1.5")] * count,
    }
    return Bars(source="binance_spot", instrument=instrument, interval=Interval.M1, **{**columns, **changes})


def with_one(name, value, place=17):
    """Return bars with another value in one place of a column."""
    column = list(getattr(bars(), name))
    column[place] = value
    return bars(**{name: column})


def checked(records, now=NOW):
    return check(Batch(job=JOB, records=records), now=now)


def test_a_bar_is_the_candle_of_its_place():
    assert bars()[3] == Candle(
        source="binance_spot",
        observed_at=datetime(2026, 1, 14, 12, 4, tzinfo=UTC),
        received_at=NOW,
        instrument=BTC,
        interval=Interval.M1,
        open_time=datetime(2026, 1, 14, 12, 3, tzinfo=UTC),
        open=D(100),
        high=D(200),
        low=D(90),
        close=D(103),
        volume=D(2),
        quote_volume=D(210),
        trades=7,
        taker_buy_volume=D("1.5"),
        closed=True,
    )
    assert [candle.close for candle in bars(0, 3)] == [D(100), D(101), D(102)]
    assert (len(bars()), bars().until) == (40, NOON + 40 * MINUTE)


def test_a_part_of_bars_is_bars():
    part = bars()[10:12]
    assert isinstance(part, Bars)
    assert [candle.close for candle in part] == [D(110), D(111)]


@pytest.mark.parametrize("name", [item.name for item in fields(Candle)])
def test_a_column_has_the_values_of_the_candles(name):
    assert bars().column(name) == [getattr(candle, name) for candle in bars()]


def test_bars_of_one_series_join_in_the_order_given():
    whole = joined([bars(40, 2), bars(0, 2)])
    assert isinstance(whole, Bars)
    assert [candle.close for candle in whole] == [D(140), D(141), D(100), D(101)]


@pytest.mark.parametrize(
    "other",
    [
        bars(instrument=ETH),
        replace(bars(), source="okx"),
        replace(bars(), interval=Interval.M5),
        list(bars()),
        [],
    ],
    ids=["instrument", "source", "interval", "candles", "nothing"],
)
def test_what_is_not_one_series_by_columns_joins_one_by_one(other):
    whole = joined([bars(0, 2), other])
    assert isinstance(whole, tuple)
    assert whole == (*bars(0, 2), *other)


def test_nothing_joins_to_nothing():
    assert joined([]) == ()


def test_believable_bars_stay_columns():
    batch = checked(bars())
    assert isinstance(batch.records, Bars)
    assert (batch.records, batch.rejects) == (bars(), ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("open", D(90)),
        ("close", D(200)),
        ("quote_volume", D(36)),  # 18 a coin: a fifth of the low
        ("quote_volume", D(2000)),  # 1000 a coin: five times the high
        ("taker_buy_volume", D(0)),
        ("taker_buy_volume", D(2)),
        ("trades", 0),
        ("trades", 2**31 - 1),
        ("open_time", NOON + timedelta(minutes=16, seconds=60)),
    ],
)
def test_a_value_at_the_edge_is_believed(name, value):
    batch = checked(with_one(name, value))
    assert (list(batch.records), batch.rejects) == (list(with_one(name, value)), ())


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("open", D("89.99"), RejectReason.INCONSISTENT),
        ("open", D("200.01"), RejectReason.INCONSISTENT),
        ("close", D("89.99"), RejectReason.INCONSISTENT),
        ("close", D("200.01"), RejectReason.INCONSISTENT),
        ("high", D(99), RejectReason.INCONSISTENT),
        ("high", D(10) ** 15 + 1, RejectReason.OUT_OF_RANGE),
        ("low", D(0), RejectReason.NOT_POSITIVE),
        ("low", D(101), RejectReason.INCONSISTENT),
        ("volume", D(-1), RejectReason.NEGATIVE),
        ("volume", D(10) ** 37, RejectReason.OUT_OF_RANGE),
        ("volume", D(1), RejectReason.INCONSISTENT),  # takers bought 1.5
        ("quote_volume", D(-1), RejectReason.NEGATIVE),
        ("quote_volume", D(10) ** 37, RejectReason.OUT_OF_RANGE),
        ("quote_volume", D("35.9"), RejectReason.INCONSISTENT),
        ("quote_volume", D("2000.1"), RejectReason.INCONSISTENT),
        ("taker_buy_volume", D("-0.1"), RejectReason.NEGATIVE),
        ("taker_buy_volume", D("2.1"), RejectReason.INCONSISTENT),
        ("trades", -1, RejectReason.NEGATIVE),
        ("trades", 2**31, RejectReason.OUT_OF_RANGE),
        ("open_time", NOON + timedelta(minutes=17, seconds=1), RejectReason.OFF_GRID),
        ("open_time", datetime(2008, 1, 1, tzinfo=UTC), RejectReason.IMPLAUSIBLE_TIME),
        ("open_time", NOW + timedelta(days=1), RejectReason.IMPLAUSIBLE_TIME),
    ],
)
@pytest.mark.parametrize("place", [0, 17, COUNT - 1])
def test_a_bar_that_breaks_a_rule_is_rejected_and_the_others_stay(name, value, reason, place):
    spoiled = with_one(name, value, place)
    batch = checked(spoiled)
    assert [item.reason for item in batch.rejects] == [reason]
    assert list(batch.records) == [candle for n, candle in enumerate(spoiled) if n != place]


def test_a_minute_without_trades_is_believed():
    nothing = [D(0) if n == 17 else D(2) for n in range(COUNT)]
    quiet = bars(volume=nothing, quote_volume=[amount * 100 for amount in nothing], taker_buy_volume=nothing)
    assert checked(quiet).records == quiet
    only_rounded = with_one("quote_volume", D(0))  # 2 coins for nothing: the provider rounds
    assert (list(checked(only_rounded).records), checked(only_rounded).rejects) == (list(only_rounded), ())


def test_a_bar_that_came_twice_with_other_figures_is_rejected_once():
    batch = checked(with_one("open_time", NOON + 16 * MINUTE))
    assert [item.reason for item in batch.rejects] == [RejectReason.INCONSISTENT]
    assert [candle.close for candle in batch.records] == [D(100 + n) for n in range(COUNT) if n != 16]


def test_weeks_open_on_mondays():
    monday = datetime(2025, 1, 6, tzinfo=UTC)
    weeks = replace(bars(count=2), interval=Interval.W1, open_time=[monday, monday + timedelta(weeks=1)])
    assert checked(weeks).records == weeks
    moved = replace(weeks, open_time=[monday + timedelta(days=3), monday + timedelta(days=10)])  # Thursdays
    assert [item.reason for item in checked(moved).rejects] == [RejectReason.OFF_GRID] * 2
