"""Closed values that change after they were stored: noted once, whoever may change them, nothing lost."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.records import Dataset, FundingRate, Instrument, Kind
from tests.storage.samples import BTC, NOON, RECEIVED, batch, candle, perp, stamped, ticker

REVISIONS = "SELECT table_name, subject, source, columns, old, new, cause, cycle_id FROM revisions ORDER BY revision_id"
LATER = RECEIVED + timedelta(minutes=1)
D = Decimal


def funding(**changes):
    values = {"instrument": BTC, "funding_time": NOON, "rate": D("0.0001"), "mark_price": None}
    return FundingRate(**stamped(), **{**values, **changes})


def test_a_closed_bar_that_changes_is_overwritten_and_noted(writer, cycle, rows):
    writer.write(cycle, [batch(candle())])
    (result,) = writer.write(cycle, [batch(candle(close=D("100.25"), trades=8, received_at=LATER))])
    assert (result.written, result.unchanged, result.revised) == ({"candles": 1}, 0, 1)
    assert rows("SELECT close, trades, received_at FROM candles") == [(D("100.25"), 8, LATER)]
    assert rows(REVISIONS) == [
        (
            "candles",
            "okx:BTC-USDT:perp",
            "okx",
            ["close", "trades"],
            {"close": "100", "trades": "7"},
            {"close": "100.25", "trades": "8"},
            "provider",
            cycle,
        )
    ]


def test_the_note_names_the_bar_by_its_natural_key(writer, cycle, rows):
    writer.write(cycle, [batch(candle())])
    writer.write(cycle, [batch(candle(close=D(101)))])
    assert rows("SELECT key FROM revisions") == [
        ({"instrument": "okx:BTC-USDT:perp", "interval": "1m", "open_time": "2026-01-31T12:00:00+00:00"},)
    ]


def test_the_same_bar_again_is_no_revision_whenever_and_however_it_came(writer, cycle, rows):
    writer.write(cycle, [batch(candle())])
    again = candle(received_at=LATER, open=D("100.500"), volume=D("12.50"))
    (result,) = writer.write(cycle, [batch(again)])
    assert (result.written, result.unchanged, result.revised) == ({}, 1, 0)
    assert rows(REVISIONS) == []
    assert rows("SELECT received_at, open::text FROM candles") == [(RECEIVED, "100.5")]


def test_a_value_that_was_unknown_and_one_that_is_no_longer_said_are_changes(writer, cycle, rows):
    writer.write(cycle, [batch(candle(trades=None))])
    writer.write(cycle, [batch(candle(trades=0, volume=None))])
    assert rows("SELECT columns, old, new FROM revisions") == [
        (["trades", "volume"], {"trades": None, "volume": "12.5"}, {"trades": "0", "volume": None})
    ]


def test_new_changed_and_equal_bars_of_several_batches_are_counted_each_by_its_batch(writer, cycle, rows):
    eth = perp("ETH")
    writer.write(cycle, [batch(candle(0), candle(1), candle(0, eth))])
    first = batch(candle(0), candle(1, close=D("100.75")), candle(2))
    second = batch(candle(0, eth, low=D(98)), candle(1, eth))
    one, two = writer.write(cycle, [first, second])
    assert (one.written, one.unchanged, one.revised) == ({"candles": 2}, 1, 1)
    assert (two.written, two.unchanged, two.revised) == ({"candles": 2}, 0, 1)
    assert rows("SELECT subject, columns FROM revisions ORDER BY subject") == [
        ("okx:BTC-USDT:perp", ["close"]),
        ("okx:ETH-USDT:perp", ["low"]),
    ]


def test_a_bar_changed_far_back_is_found_among_other_months(writer, cycle, rows):
    old = candle(-60 * 24 * 200)
    writer.write(cycle, [batch(old, candle())])
    (result,) = writer.write(cycle, [batch(replace(old, close=D(101)), candle(1))])
    assert (result.written, result.revised) == ({"candles": 2}, 1)
    assert rows("SELECT old ->> 'close' FROM revisions") == [("100",)]


def test_the_instrument_s_own_provider_replaces_a_bar_that_another_filled_in(writer, cycle, rows):
    writer.write(cycle, [batch(candle(source="binance_futures"))])
    writer.write(cycle, [batch(candle(close=D("100.5")))])
    assert rows("SELECT source, close FROM candles") == [("okx", D("100.5"))]
    ((_, _, source, columns, old, _, cause, _),) = rows(REVISIONS)
    assert (source, columns, cause) == ("okx", ["close", "source"], "source")
    assert old == {"close": "100", "source": "binance_futures"}


def test_an_equal_bar_of_the_own_provider_still_says_who_really_gave_it(writer, cycle, rows):
    writer.write(cycle, [batch(candle(source="binance_futures"))])
    writer.write(cycle, [batch(candle())])
    assert rows("SELECT source FROM candles") == [("okx",)]
    assert rows("SELECT columns, cause FROM revisions") == [(["source"], "source")]


@pytest.mark.parametrize("stored", ["okx", "kraken"])
def test_a_bar_from_elsewhere_replaces_neither_the_own_one_nor_that_of_a_third(stored, writer, cycle, rows):
    writer.write(cycle, [batch(candle(source=stored))])
    (result,) = writer.write(cycle, [batch(candle(source="binance_futures", close=D("100.5")))])
    assert (result.written, result.unchanged, result.revised) == ({}, 1, 0)
    assert rows("SELECT source, close FROM candles") == [(stored, D(100))]
    assert rows(REVISIONS) == []


def test_who_filled_a_bar_in_may_correct_it(writer, cycle, rows):
    writer.write(cycle, [batch(candle(source="kraken"))])
    writer.write(cycle, [batch(candle(source="kraken", close=D("100.5")))])
    assert rows("SELECT close FROM candles") == [(D("100.5"),)]
    assert rows("SELECT cause FROM revisions") == [("provider",)]


def test_a_settled_funding_rate_that_changes_is_a_revision(writer, cycle, rows):
    writer.write(cycle, [batch(funding(), dataset=Dataset.FUNDING)])
    (result,) = writer.write(cycle, [batch(funding(rate=D("0.00015")), dataset=Dataset.FUNDING)])
    assert result.revised == 1
    assert rows("SELECT table_name, columns, old, new, key ->> 'rate_type' FROM revisions") == [
        ("funding_rates", ["rate"], {"rate": "0.0001"}, {"rate": "0.00015"}, "regular")
    ]


def test_a_newer_ticker_is_an_observation_not_a_revision(writer, cycle, rows):
    writer.write(cycle, [batch(ticker(last_price="100"), dataset=Dataset.TICKERS)])
    (result,) = writer.write(cycle, [batch(ticker(last_price="101"), dataset=Dataset.TICKERS)])
    assert (result.written, result.revised) == ({"tickers": 1}, 0)
    assert rows(REVISIONS) == []


def test_a_revision_the_database_refuses_leaves_the_stored_bar_and_no_note(writer, cycle, rows):
    writer.write(cycle, [batch(candle(0), candle(1))])
    poisoned = candle(0, high=D("NaN"))
    (result,) = writer.write(cycle, [batch(poisoned, candle(1, close=D("100.5")))])
    assert [reject.reason.value for reject in result.rejects] == ["refused_by_database"]
    assert rows("SELECT high, close FROM candles ORDER BY open_time") == [(D(101), D(100)), (D(101), D("100.5"))]
    assert rows("SELECT new FROM revisions") == [({"close": "100.5"},)]


def test_nothing_is_written_or_locked_when_a_thousand_bars_come_again_unchanged(writer, cycle, rows):
    series = [candle(minute) for minute in range(1000)]
    writer.write(cycle, [batch(*series)])
    before = rows("SELECT xmin::text, xmax::text, ctid::text FROM candles_2026_01 ORDER BY open_time")
    (result,) = writer.write(cycle, [batch(*series)])
    assert (result.unchanged, result.revised) == (1000, 0)
    assert rows("SELECT xmin::text, xmax::text, ctid::text FROM candles_2026_01 ORDER BY open_time") == before


def test_an_index_price_belongs_to_whoever_computes_it(writer, cycle, rows):
    index = Instrument(venue="coingecko", base="bitcoin", quote="USD", kind=Kind.INDEX, venue_symbol="bitcoin")
    writer.write(cycle, [batch(candle(instrument=index, source="coingecko"))])
    writer.write(cycle, [batch(candle(instrument=index, source="coincap", close=D("100.5")))])
    assert rows("SELECT source, close FROM candles") == [("coingecko", D(100))]
