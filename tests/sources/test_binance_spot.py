"""Binance spot over payloads in the documented shape; what it shares with the futures is tested there."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.clock import from_millis
from collector.errors import RateLimited, RequestRejected
from collector.records import (
    Candle,
    Dataset,
    Instrument,
    InstrumentListing,
    Interval,
    Kind,
    OrderBook,
    RejectReason,
    Ticker,
)
from collector.sources.base import Cost, Limit
from collector.sources.binance_spot import BinanceSpotCollector
from tests.sources.samples import Samples

D = Decimal
RECEIVED = datetime(2025, 10, 9, 9, 1, 30, tzinfo=UTC)  # 30 s into the bar of 1760000460000
SAMPLES = Samples(BinanceSpotCollector, RECEIVED)
body, answer, payload_of = SAMPLES.body, SAMPLES.answer, SAMPLES.payload
job_for, parse = SAMPLES.job, SAMPLES.parse


def pair(base, quote="USDT"):
    return Instrument(venue="binance_spot", base=base, quote=quote, kind=Kind.SPOT, venue_symbol=base + quote)


AAA, BBB = pair("AAA"), pair("BBB")


def test_a_pair_is_listed_with_its_steps_and_without_a_date() -> None:
    first, second = parse(Dataset.INSTRUMENTS, "normal")
    assert first == InstrumentListing(
        source="binance_spot",
        observed_at=RECEIVED,
        received_at=RECEIVED,
        instrument=AAA,
        status="trading",
        tradable=True,
        listed_at=None,
        delists_at=None,
        tick_size=D("0.01"),
        lot_size=D("0.001"),
        category="crypto",
    )
    assert (first.instrument.id, first.instrument.contract_size) == ("binance_spot:AAA-USDT:spot", 1)
    assert (second.instrument.id, second.status, second.tradable) == ("binance_spot:BBB-BTC:spot", "break", False)
    assert (second.tick_size, second.lot_size) == (None, None)


def test_an_empty_list_of_pairs_and_steps_of_zero_are_values() -> None:
    assert parse(Dataset.INSTRUMENTS, "empty") == []
    (row,) = parse(Dataset.INSTRUMENTS, "zero")
    assert (row.tick_size, row.lot_size) == (D(0), D(0))


def test_the_limit_of_weight_is_read_from_the_list_of_pairs() -> None:
    origin = payload_of(job_for(Dataset.INSTRUMENTS), body("instruments__normal"))
    assert BinanceSpotCollector.told_limits(origin) == [
        Limit(scope="weight", capacity=6000, window=timedelta(minutes=1))
    ]


def test_tickers_carry_the_best_bid_and_ask_and_only_pairs_of_the_job() -> None:
    (row,) = parse(Dataset.TICKERS, "normal", AAA, BBB)
    assert row == Ticker(
        source="binance_spot",
        observed_at=from_millis(1760000000123),
        received_at=RECEIVED,
        instrument=AAA,
        last_price=D("10.2"),
        bid_price=D("10.19"),
        bid_size=D("3.5"),
        ask_price=D("10.21"),
        ask_size=D(4),
        open_24h=D(10),
        high_24h=D("10.5"),
        low_24h=D("9.8"),
        volume_24h=D(99999),
        quote_volume_24h=D("1005000.1"),
        change_24h_pct=D(2),
    )
    (alone,) = parse(Dataset.TICKERS, "one_symbol", AAA)
    assert (alone.instrument, alone.last_price) == (AAA, D("10.2"))
    assert parse(Dataset.TICKERS, "empty", AAA) == []


def test_an_empty_side_of_the_book_is_no_price_and_a_day_without_trades_is_zero_volume() -> None:
    ticker, reject = parse(Dataset.TICKERS, "zero", AAA, BBB)
    assert (ticker.bid_price, ticker.bid_size, ticker.ask_price, ticker.ask_size) == (None, None, D("10.21"), D(0))
    assert (ticker.volume_24h, ticker.quote_volume_24h, ticker.change_24h_pct) == (D(0), D(0), D(0))
    assert (reject.reason, reject.detail) == (RejectReason.NO_PRICE, "lastPrice is empty")


def test_a_book_is_stamped_with_our_time_and_cut_to_the_levels_of_the_job() -> None:
    (book,) = parse(Dataset.ORDER_BOOKS, "normal", AAA, limit=2)
    assert book == OrderBook(
        source="binance_spot",
        observed_at=RECEIVED,
        received_at=RECEIVED,
        instrument=AAA,
        last_update_id=987654321,
        bids=((D("10.01"), D("1.5")), (D(10), D(7))),
        asks=((D("10.02"), D(2)), (D("10.04"), D(3))),
    )


def test_empty_books_and_levels_of_no_size_are_left_to_the_checks() -> None:
    (empty,), (zero,) = parse(Dataset.ORDER_BOOKS, "empty", AAA), parse(Dataset.ORDER_BOOKS, "zero", AAA)
    assert (empty.bids, empty.asks) == ((), ())
    assert zero.bids == ((D("10.01"), D(0)),)


def test_the_running_bar_is_not_closed() -> None:
    first, second = parse(Dataset.CANDLES, "normal", AAA, interval=Interval.M1)
    assert first == Candle(
        source="binance_spot",
        observed_at=from_millis(1760000460000),
        received_at=RECEIVED,
        instrument=AAA,
        interval=Interval.M1,
        open_time=from_millis(1760000400000),
        open=D(10),
        high=D("10.5"),
        low=D("9.9"),
        close=D("10.2"),
        volume=D(1200),
        quote_volume=D("12100.5"),
        trades=321,
        taker_buy_volume=D(600),
        closed=True,
    )
    assert second.closed is False


def test_a_bar_without_trades_has_zero_volume_and_an_empty_page_no_bars() -> None:
    (bar,) = parse(Dataset.CANDLES, "zero", AAA, interval=Interval.M1)
    assert (bar.volume, bar.trades) == (D(0), 0)
    assert parse(Dataset.CANDLES, "empty", AAA, interval=Interval.M1) == []


def test_errors_come_in_the_envelope_of_all_binance_hosts() -> None:
    with pytest.raises(RequestRejected) as gone:
        BinanceSpotCollector.check(answer(body("error__symbol"), 400))
    assert gone.value.symbol_gone
    assert gone.value.source == "binance_spot"
    with pytest.raises(RateLimited) as ban:
        BinanceSpotCollector.check(answer(body("error__ban"), 418))
    assert (ban.value.banned, ban.value.retry_at) == (True, from_millis(1760000600000))


class Sdk:
    """Takes calls as the SDK's methods and answers each with a body."""

    def __init__(self, *bodies):
        self.bodies, self.asked = list(bodies), []

    def call(self, use, cost):
        made = []

        class Methods:
            def __getattr__(self, name):
                return lambda **values: made.append((name, values))

        use(Methods())
        self.asked.append((*made[0], cost))
        return answer(self.bodies.pop(0))


def asked(job, *bodies):
    sdk = Sdk(*bodies)
    pages = list(BinanceSpotCollector(sdk).fetch(job))
    assert len(pages) == len(sdk.asked)
    return sdk.asked


@pytest.mark.parametrize(
    ("job", "name", "values", "weight"),
    [
        (job_for(Dataset.INSTRUMENTS), "get_exchange_info", {}, 20),
        (job_for(Dataset.TICKERS, AAA, BBB), "get_ticker", {}, 80),
        (job_for(Dataset.TICKERS, AAA), "get_ticker", {"symbol": "AAAUSDT"}, 2),
        (job_for(Dataset.ORDER_BOOKS, AAA), "get_order_book", {"symbol": "AAAUSDT", "limit": 100}, 5),
        (job_for(Dataset.ORDER_BOOKS, AAA, limit=500), "get_order_book", {"symbol": "AAAUSDT", "limit": 500}, 25),
        (job_for(Dataset.ORDER_BOOKS, AAA, limit=5000), "get_order_book", {"symbol": "AAAUSDT", "limit": 5000}, 250),
    ],
)
def test_each_call_is_charged_what_it_costs(job, name, values, weight) -> None:
    cost = Cost(scope="weight", weight=weight)
    assert asked(job, b"[]") == [(name, values, cost)]
    assert BinanceSpotCollector.calls(job) == [cost]


def test_candles_are_asked_for_in_whole_pages_that_go_on_after_the_last_bar() -> None:
    since = from_millis(1760000400000)
    until = since + timedelta(minutes=1)
    job = job_for(Dataset.CANDLES, AAA, interval=Interval.M1, since=since, until=until)
    (first,) = asked(job, body("candles__zero"))
    assert first == (
        "get_klines",
        {
            "symbol": "AAAUSDT",
            "interval": "1m",
            "startTime": 1760000400000,
            "endTime": 1760000459999,
            "limit": 1000,
        },
        Cost(scope="weight", weight=2),
    )
    two = job_for(Dataset.CANDLES, AAA, interval=Interval.M1, since=since - timedelta(hours=4), until=since)
    pages = asked(two, body("candles__empty"))
    assert len(pages) == 1, "an empty page is the end"
    assert len(BinanceSpotCollector.calls(job_for(Dataset.CANDLES, AAA, interval=Interval.M1))) == 1
    long = job_for(Dataset.CANDLES, AAA, interval=Interval.M1, since=since - timedelta(minutes=1001), until=since)
    assert len(BinanceSpotCollector.calls(long)) == 2


def test_other_datasets_are_not_offered() -> None:
    with pytest.raises(ValueError, match="no funding"):
        asked(job_for(Dataset.FUNDING, AAA))


def test_the_used_weight_is_the_header() -> None:
    assert BinanceSpotCollector.used_weight(answer(b"[]", headers={"x-mbx-used-weight-1m": "42"})) == {"weight": 42}
    assert BinanceSpotCollector.used_weight(answer(body("order_books__normal"))) == {}
