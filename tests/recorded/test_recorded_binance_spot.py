"""Binance spot: the parsers over real recordings of 2021 and 2023, with values read by hand."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from collector.records import (
    Answer,
    Candle,
    Dataset,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    OrderBook,
    Payload,
)
from collector.sources.base import Limit
from collector.sources.binance_spot import BinanceSpotCollector

D = Decimal
RECEIVED = datetime(2023, 1, 6, 9, 0, 1, tzinfo=UTC)


def pair(base: str, quote: str) -> Instrument:
    return Instrument(venue="binance_spot", base=base, quote=quote, kind=Kind.SPOT, venue_symbol=base + quote)


BTC = pair("BTC", "USDT")


def payload(content: bytes, dataset: Dataset, *instruments: Instrument, **more: Any) -> Payload:
    """Check the answer as the session does, and return it with its job."""
    received_at = more.pop("received_at", RECEIVED)
    BinanceSpotCollector.check(Answer(status=200, headers={}, body=content, received_at=received_at))
    job = Job(source="binance_spot", dataset=dataset, instruments=instruments, **more)
    return Payload(job=job, status=200, body=content, received_at=received_at)


def parse(content: bytes, dataset: Dataset, *instruments: Instrument, **more: Any) -> list[Any]:
    return list(BinanceSpotCollector.parsers[dataset](payload(content, dataset, *instruments, **more)))


def test_the_listing_of_2021_has_all_its_pairs_under_ids_of_their_own(recorded):
    records = parse(recorded("binance/rec_api3_exchangeInfo_2021-10-12.json"), Dataset.INSTRUMENTS)
    assert len(records) == 1695
    assert all(isinstance(record, InstrumentListing) for record in records)
    assert len({record.instrument.id for record in records}) == 1695
    assert Counter(record.status for record in records) == {"trading": 1262, "break": 433}
    assert sum(record.tradable for record in records) == 1262
    found = {record.instrument.id: record for record in records}
    btc = found["binance_spot:BTC-USDT:spot"]
    assert (btc.instrument, btc.tick_size, btc.lot_size) == (BTC, D("0.01"), D("0.00001"))


def test_the_limit_told_in_2021_is_the_lower_one_of_that_year(recorded):
    answer = payload(recorded("binance/rec_api3_exchangeInfo_2021-10-12.json"), Dataset.INSTRUMENTS)
    told = BinanceSpotCollector.told_limits(answer)
    assert told == [Limit(scope="weight", capacity=1200, window=timedelta(minutes=1))]


@pytest.mark.parametrize(
    ("symbol", "update_id", "levels", "best_bid", "best_ask"),
    [
        (("BLZ", "ETH"), 281916627, (174, 1000), ("0.00006547", "100"), ("0.00006555", "6617")),
        (("NKN", "USDT"), 499869752, (609, 1000), ("0.3521", "672"), ("0.3525", "3959")),
    ],
)
def test_a_recorded_book_is_whole_and_sorted_and_has_our_time(recorded, symbol, update_id, levels, best_bid, best_ask):
    instrument = pair(*symbol)
    content = recorded(f"binance/rec_api3_depth_{instrument.venue_symbol}_limit1000.json")
    (book,) = parse(content, Dataset.ORDER_BOOKS, instrument, limit=1000)
    assert isinstance(book, OrderBook)
    assert (book.last_update_id, book.observed_at) == (update_id, RECEIVED)
    assert (len(book.bids), len(book.asks)) == levels
    assert book.bids[0] == (D(best_bid[0]), D(best_bid[1]))
    assert book.asks[0] == (D(best_ask[0]), D(best_ask[1]))
    assert list(book.bids) == sorted(book.bids, reverse=True)
    assert list(book.asks) == sorted(book.asks)


def test_recorded_hours_of_2023_are_closed_bars_in_base_and_quote_units(recorded):
    content = recorded("binance/rec_spot_klines_1h_4rows_2023-01.json")
    bars = parse(content, Dataset.CANDLES, BTC, interval=Interval.H1)
    assert [bar.open_time.hour for bar in bars] == [5, 6, 7, 8]
    assert [bar.closed for bar in bars] == [True, True, True, False]  # the last one ended a second before the answer
    assert bars[0] == Candle(
        source="binance_spot",
        observed_at=datetime(2023, 1, 6, 6, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=BTC,
        interval=Interval.H1,
        open_time=datetime(2023, 1, 6, 5, tzinfo=UTC),
        open=D("16823.24"),
        high=D("16823.63"),
        low=D("16792.12"),
        close=D("16810.18"),
        volume=D("6230.44034"),
        quote_volume=D("104737787.3657063"),
        trades=162086,
        taker_buy_volume=D("3058.60695"),
        closed=True,
    )


def test_the_recorded_page_of_2021_ends_with_a_bar_that_still_ran(recorded):
    received_at = datetime(2021, 10, 22, 23, 12, 3, tzinfo=UTC)  # three seconds into the last bar, of seven trades
    content = recorded("binance/rec_api3_klines_BTCUSDT_1m.json")
    bars = parse(content, Dataset.CANDLES, BTC, interval=Interval.M1, received_at=received_at)
    assert [bar.closed for bar in bars] == [True] * 9 + [False]
    assert (bars[-1].trades, bars[-1].volume) == (7, D("0.04734"))
