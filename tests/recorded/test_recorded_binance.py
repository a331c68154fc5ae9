"""Binance USD-M futures: the parsers over real recordings and documentation samples, with values read by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.errors import AccessDenied, RateLimited, RequestRejected
from collector.records import (
    Answer,
    Candle,
    Dataset,
    FundingForecast,
    FundingRate,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Payload,
    Reject,
    RejectReason,
)
from collector.sources.binance_futures import BinanceFuturesCollector

RECEIVED = datetime(2026, 7, 6, 3, 16, 30, tzinfo=UTC)


def perpetual(symbol: str) -> Instrument:
    base = symbol.removesuffix("USDT")
    return Instrument(venue="binance_futures", base=base, quote="USDT", kind=Kind.PERP, venue_symbol=symbol)


BTC = perpetual("BTCUSDT")


def parse(content: bytes, dataset: Dataset, *instruments: Instrument, **more: object) -> list:
    """Check the answer as the session does, then parse it."""
    BinanceFuturesCollector.check(Answer(status=200, headers={}, body=content, received_at=RECEIVED))
    job = Job(source="binance_futures", dataset=dataset, instruments=instruments, **more)
    payload = Payload(job=job, status=200, body=content, received_at=RECEIVED)
    return list(BinanceFuturesCollector.parsers[dataset](payload))


def test_the_listing_of_2021_has_all_its_contracts_under_ids_of_their_own(recorded):
    records = parse(recorded("binance/rec_fapi_exchangeInfo_2021-07-22.json"), Dataset.INSTRUMENTS)
    assert len(records) == 122
    assert all(isinstance(record, InstrumentListing) for record in records)
    assert len({record.instrument.id for record in records}) == 122
    found = {record.instrument.venue_symbol: record for record in records}
    assert (found["BTCUSDT"].tick_size, found["BTCUSDT"].lot_size) == (Decimal("0.01"), Decimal("0.001"))
    assert found["BTCUSDT"].delists_at is None
    assert found["DEFIUSDT"].category == "index"
    assert sum(record.tradable for record in records) == 121


def test_the_pending_contract_of_2021_without_a_type_is_a_perpetual_that_does_not_trade(recorded):
    records = parse(recorded("binance/rec_fapi_exchangeInfo_2021-07-22.json"), Dataset.INSTRUMENTS)
    (pending,) = [record for record in records if not record.tradable]
    assert (pending.instrument.id, pending.status) == ("binance_futures:BTCST-USDT:perp", "pending_trading")
    assert pending.listed_at == datetime(2021, 3, 3, 7, tzinfo=UTC)


def test_the_quarterly_contracts_of_2021_carry_their_day(recorded):
    records = parse(recorded("binance/rec_fapi_exchangeInfo_2021-07-22.json"), Dataset.INSTRUMENTS)
    dated = [record for record in records if record.instrument.kind is Kind.FUTURE]
    assert [(record.instrument.venue_symbol, record.instrument.symbol) for record in dated] == [
        ("BTCUSDT_210924", "BTC-USDT-210924"),
        ("ETHUSDT_210924", "ETH-USDT-210924"),
    ]
    assert {record.delists_at for record in dated} == {datetime(2021, 9, 24, 8, tzinfo=UTC)}


def test_the_listing_of_2022_never_ends_although_its_far_date_is_another(recorded):
    btc, eth, dated = parse(recorded("binance/rec_fapi_exchangeInfo_2022-02-19_trimmed.json"), Dataset.INSTRUMENTS)
    assert (btc.delists_at, btc.tick_size) == (None, Decimal("0.10"))
    assert eth.instrument.id == "binance_futures:ETH-USDT:perp"
    assert dated.instrument.id == "binance_futures:BTC-USDT-220325:future"
    assert dated.delists_at == datetime(2022, 3, 25, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("symbol", "update_id", "milliseconds", "levels", "best_bid", "best_ask"),
    [
        ("AKROUSDT", 600859605486, 238, (609, 763), ("0.01731", "57618"), ("0.01732", "72524")),
        ("SUSHIUSDT", 600859605926, 261, (1000, 1000), ("7.6110", "6"), ("7.6120", "297")),
    ],
)
def test_a_recorded_book_is_whole_sorted_and_timed_by_the_engine(
    recorded, symbol, update_id, milliseconds, levels, best_bid, best_ask
):
    content = recorded(f"binance/rec_fapi_depth_{symbol}_limit1000.json")
    (book,) = parse(content, Dataset.ORDER_BOOKS, perpetual(symbol), limit=1000)
    assert isinstance(book, OrderBook)
    assert book.last_update_id == update_id
    assert book.observed_at == datetime(2021, 7, 22, 22, 25, 41, milliseconds * 1000, tzinfo=UTC)
    assert (len(book.bids), len(book.asks)) == levels
    assert book.bids[0] == (Decimal(best_bid[0]), Decimal(best_bid[1]))
    assert book.asks[0] == (Decimal(best_ask[0]), Decimal(best_ask[1]))
    assert list(book.bids) == sorted(book.bids, reverse=True)
    assert list(book.asks) == sorted(book.asks)


def test_the_weekly_bar_of_the_documentation(recorded):
    (bar,) = parse(recorded("binance/doc_fapi_klines.json"), Dataset.CANDLES, BTC, interval=Interval.W1)
    assert isinstance(bar, Candle)
    assert (bar.open_time, bar.observed_at) == (
        datetime(2017, 7, 3, tzinfo=UTC),  # a Monday
        datetime(2017, 7, 10, tzinfo=UTC),
    )
    assert (bar.open, bar.close) == (Decimal("0.01634790"), Decimal("0.01577100"))
    assert (bar.volume, bar.quote_volume) == (Decimal("148976.11427815"), Decimal("2434.19055334"))
    assert (bar.trades, bar.taker_buy_volume, bar.closed) == (308, Decimal("1756.87402397"), True)


def test_the_weekly_bar_asked_for_as_a_day_is_rejected(recorded):
    (reject,) = parse(recorded("binance/doc_fapi_klines.json"), Dataset.CANDLES, BTC, interval=Interval.D1)
    assert isinstance(reject, Reject)
    assert reject.reason is RejectReason.INCONSISTENT


def test_the_live_daily_bar_was_still_running(recorded):
    content = recorded("binance/live2026_fapi_klines_BTCUSDT_1d_1row.json")
    (bar,) = parse(content, Dataset.CANDLES, BTC, interval=Interval.D1)
    assert (bar.open_time, bar.close, bar.trades) == (datetime(2026, 7, 6, tzinfo=UTC), Decimal("63385.20"), 516386)
    assert not bar.closed


@pytest.mark.parametrize(
    ("name", "value", "observed_at"),
    [
        ("doc_fapi_openInterest", "10659.509", datetime(2020, 5, 14, 6, 25, 30, 11000, tzinfo=UTC)),
        ("live2026_fapi_openInterest_BTCUSDT", "104935.279", datetime(2026, 7, 6, 3, 16, 23, 695000, tzinfo=UTC)),
    ],
)
def test_recorded_open_interest(recorded, name, value, observed_at):
    (found,) = parse(recorded(f"binance/{name}.json"), Dataset.OPEN_INTEREST, BTC)
    assert isinstance(found, OpenInterest)
    assert (found.open_interest, found.observed_at) == (Decimal(value), observed_at)


@pytest.mark.parametrize(
    ("name", "mark", "index", "rate", "funding_time", "observed_at"),
    [
        (
            "doc_fapi_premiumIndex_single",
            "11793.63104562",
            "11781.80495970",
            "0.00038246",
            datetime(2020, 8, 14, 8, tzinfo=UTC),
            datetime(2020, 8, 14, 2, 1, 35, 2000, tzinfo=UTC),
        ),
        (
            "live2026_fapi_premiumIndex_BTCUSDT",
            "63392.81973913",
            "63415.27130435",
            "0.00009007",
            datetime(2026, 7, 6, 8, tzinfo=UTC),
            datetime(2026, 7, 6, 3, 16, 28, 7000, tzinfo=UTC),
        ),
    ],
)
def test_a_recorded_mark_price_comes_with_its_forecast(recorded, name, mark, index, rate, funding_time, observed_at):
    price, forecast = parse(recorded(f"binance/{name}.json"), Dataset.MARK_PRICES, BTC)
    assert isinstance(price, MarkPrice)
    assert (price.mark_price, price.index_price, price.observed_at) == (Decimal(mark), Decimal(index), observed_at)
    assert isinstance(forecast, FundingForecast)
    assert (forecast.rate, forecast.funding_time) == (Decimal(rate), funding_time)


@pytest.mark.parametrize(
    ("name", "last", "change", "volume", "observed_at"),
    [
        (
            "doc_fapi_ticker24hr_single",
            "4.00000200",
            "-95.960",
            "8913.30000000",
            datetime(2017, 7, 12, 14, 31, 39, 40000, tzinfo=UTC),
        ),
        (
            "live2026_fapi_ticker24hr_BTCUSDT",
            "63385.10",
            "1.023",
            "98084.543",
            datetime(2026, 7, 6, 3, 16, 23, 694000, tzinfo=UTC),
        ),
    ],
)
def test_a_recorded_ticker(recorded, name, last, change, volume, observed_at):
    (ticker,) = parse(recorded(f"binance/{name}.json"), Dataset.TICKERS, BTC)
    assert (ticker.last_price, ticker.change_24h_pct) == (Decimal(last), Decimal(change))
    assert (ticker.volume_24h, ticker.observed_at) == (Decimal(volume), observed_at)


def test_the_funding_sample_of_the_documentation_has_no_mark_price(recorded):
    first, second = parse(recorded("binance/doc_fapi_fundingRate.json"), Dataset.FUNDING, BTC)
    assert isinstance(first, FundingRate)
    assert (first.rate, first.funding_time) == (Decimal("-0.03750000"), datetime(2019, 10, 9, 8, tzinfo=UTC))
    assert (second.rate, second.mark_price) == (Decimal("0.00010000"), None)


def test_live_settlements_of_many_symbols_give_only_the_one_asked_for(recorded):
    content = recorded("binance/live2026_fapi_fundingRate_no_params_first6.json")
    records = parse(content, Dataset.FUNDING, perpetual("THETAUSDT"))
    (settled,) = [record for record in records if isinstance(record, FundingRate)]
    assert (settled.rate, settled.mark_price) == (Decimal("-0.00001507"), Decimal("0.15005000"))
    assert settled.funding_time == datetime(2026, 6, 10, 8, tzinfo=UTC) + timedelta(milliseconds=11)
    assert [record.reason for record in records if isinstance(record, Reject)] == [RejectReason.WRONG_SUBJECT] * 5


@pytest.mark.parametrize(
    ("name", "status", "error", "code"),
    [
        ("err_200_99099990_fundingRate_limit1001", 200, RequestRejected, "99099990"),
        ("err_400_-1121", 400, RequestRejected, "-1121"),
        ("err_400_-1130_startTime", 400, RequestRejected, "-1130"),
        ("err_418_-1003_banned", 418, RateLimited, "-1003"),
        ("err_429_-1003", 429, RateLimited, "-1003"),
        ("err_451_restricted", 451, AccessDenied, "0"),
    ],
)
def test_a_recorded_error_becomes_the_error_that_says_what_to_do(recorded, name, status, error, code):
    content = recorded(f"binance/{name}.json")
    with pytest.raises(error) as caught:
        BinanceFuturesCollector.check(Answer(status=status, headers={}, body=content, received_at=RECEIVED))
    assert (caught.value.status, caught.value.code) == (status, code)
    if error is RequestRejected:
        assert caught.value.symbol_gone is (code == "-1121")


def test_the_recorded_ban_names_its_end(recorded):
    content = recorded("binance/err_418_-1003_banned.json")
    with pytest.raises(RateLimited) as caught:
        BinanceFuturesCollector.check(Answer(status=418, headers={}, body=content, received_at=RECEIVED))
    assert caught.value.banned
    assert caught.value.retry_at == datetime(2021, 3, 8, 6, 7, 49, 840000, tzinfo=UTC)
