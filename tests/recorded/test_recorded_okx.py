"""The OKX parsers over recorded and transcribed answers; expected values are read off the recordings by eye."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from collector.errors import RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.records import (
    Answer,
    Dataset,
    FundingForecast,
    FundingTerms,
    Instrument,
    Interval,
    Job,
    Kind,
    Payload,
    Reject,
    RejectReason,
)
from collector.sources.okx import OkxCollector

RECEIVED = datetime(2026, 1, 31, tzinfo=UTC)
D = Decimal
Recorded = Callable[[str, str], bytes]


def perp(base: str, quote: str, venue_symbol: str, contract_size: str) -> Instrument:
    return Instrument(
        venue="okx",
        base=base,
        quote=quote,
        kind=Kind.PERP,
        venue_symbol=venue_symbol,
        contract_size=D(contract_size),
    )


BTC = perp("BTC", "USDT", "BTC-USDT-SWAP", "0.01")
LTC_INVERSE = perp("LTC", "USD", "LTC-USD-SWAP", "10")
BTC_INVERSE = perp("BTC", "USD", "BTC-USD-SWAP", "100")


def parse(body: bytes, dataset: Dataset, *instruments: Instrument, interval: Interval | None = None) -> list[Any]:
    OkxCollector.check(Answer(status=200, headers={}, body=body, received_at=RECEIVED))
    job = Job(source="okx", dataset=dataset, instruments=instruments, interval=interval)
    return list(OkxCollector.parsers[dataset](Payload(job=job, status=200, body=body, received_at=RECEIVED)))


def test_the_listing_of_2022_is_read_whole(recorded: Recorded) -> None:
    listings = parse(recorded("okx", "rec_public_instruments_SWAP_2022-05-13.json"), Dataset.INSTRUMENTS)
    assert len(listings) == 166
    assert not [item for item in listings if isinstance(item, Reject)]
    assert sum(item.tradable for item in listings) == 126  # all linear ones; 40 are inverse
    assert len({item.instrument.id for item in listings}) == 166
    by_id = {item.instrument.id: item for item in listings}
    shib = by_id["okx:SHIB-USDT:perp"]
    assert shib.instrument.contract_size == 1_000_000
    assert shib.lot_size == 1_000_000
    assert shib.tick_size == D("0.00000001")
    assert shib.listed_at == datetime(2021, 5, 9, 9, 9, 8, tzinfo=UTC)
    assert (shib.status, shib.category, shib.delists_at) == ("live", "", None)
    assert by_id["okx:ETH-USD:perp"].category == "inverse"


def test_the_listing_of_2025_is_read_whole(recorded: Recorded) -> None:
    inverse, eth, btc = parse(recorded("okx", "rec_public_instruments_SWAP_2025_trimmed.json"), Dataset.INSTRUMENTS)
    assert (inverse.instrument, inverse.tradable, inverse.category) == (BTC_INVERSE, False, "inverse")
    assert (btc.instrument, btc.tradable, btc.status) == (BTC, True, "live")
    assert (btc.lot_size, btc.tick_size) == (D("0.0001"), D("0.1"))  # lotSz 0.01 contracts of 0.01 BTC
    assert eth.instrument == perp("ETH", "USDT", "ETH-USDT-SWAP", "0.1")
    assert eth.lot_size == D("0.001")


def test_nothing_of_a_spot_listing_becomes_a_swap(recorded: Recorded) -> None:
    for name in ("rec_public_instruments_SPOT_2022-05-13.json", "rec_public_instruments_SPOT_2025_trimmed.json"):
        items = parse(recorded("okx", name), Dataset.INSTRUMENTS)
        assert items
        assert {item.reason for item in items if isinstance(item, Reject)} == {RejectReason.WRONG_SUBJECT}
        assert all(isinstance(item, Reject) for item in items)


def test_minute_candles_give_coins_and_quote_currency(recorded: Recorded) -> None:
    body = recorded("okx", "rec_market_candles_BTC-USDT-SWAP_1m_2rows.json")
    first, last = parse(body, Dataset.CANDLES, BTC, interval=Interval.M1)
    assert first.open_time == datetime(2025, 5, 12, 23, 53, tzinfo=UTC)
    assert (first.open, first.high, first.low, first.close) == (
        D(102806),
        D("102820.5"),
        D("102783.1"),
        D("102806.1"),
    )
    assert (first.volume, first.quote_volume, first.closed) == (D("71.6404"), D("7364701.57952"), True)
    assert last.open_time == datetime(2025, 5, 12, 23, 54, tzinfo=UTC)
    assert last.volume == D("1040.37") * BTC.contract_size  # what the contracts column says


def test_hour_candles_come_oldest_first(recorded: Recorded) -> None:
    body = recorded("okx", "rec_market_candles_SWAP_1H_4rows_2024-06.json")
    candles = parse(body, Dataset.CANDLES, BTC, interval=Interval.H1)
    assert [item.open_time for item in candles] == [
        datetime(2024, 6, 17, 18, tzinfo=UTC),
        datetime(2024, 6, 17, 19, tzinfo=UTC),
        datetime(2024, 6, 17, 20, tzinfo=UTC),
        datetime(2024, 6, 17, 21, tzinfo=UTC),
    ]
    assert [item.volume for item in candles] == [D("13459.959"), D("4499.461"), D("5325.668"), D("2016.056")]
    assert candles[0].observed_at == datetime(2024, 6, 17, 19, tzinfo=UTC)


def test_unfinished_sample_candles_are_not_closed(recorded: Recorded) -> None:
    body = recorded("okx", "doc_market_history_candles.json")
    candles = parse(body, Dataset.CANDLES, BTC, interval=Interval.M1)
    assert [item.closed for item in candles] == [False, False]
    assert candles[0].quote_volume == D("12698348.04828491")


def test_mark_price(recorded: Recorded) -> None:
    (mark,) = parse(recorded("okx", "rec_public_mark_price_BTC-USDT-SWAP.json"), Dataset.MARK_PRICES, BTC)
    assert (mark.mark_price, mark.index_price) == (D("84660.1"), None)
    assert mark.observed_at == datetime(2025, 4, 14, 0, 25, 49, 506000, tzinfo=UTC)


def test_tickers_of_the_documentation(recorded: Recorded) -> None:
    body = recorded("okx", "doc_market_tickers.json")
    ltc, btc = parse(body, Dataset.TICKERS, BTC_INVERSE, LTC_INVERSE)
    assert (ltc.instrument, btc.instrument) == (LTC_INVERSE, BTC_INVERSE)
    assert (ltc.last_price, ltc.volume_24h, ltc.ask_size) == (D("9999.99"), D(2222), D(110))
    assert parse(body, Dataset.TICKERS, BTC) == []


def test_one_ticker_of_the_documentation(recorded: Recorded) -> None:
    (btc,) = parse(recorded("okx", "doc_market_ticker.json"), Dataset.TICKERS, BTC_INVERSE)
    assert btc.change_24h_pct is not None
    assert abs(btc.change_24h_pct - D("11.111")) < D("0.0001")  # 999.99 above 9000


def test_open_interest_with_and_without_dollars(recorded: Recorded) -> None:
    (old,) = parse(recorded("okx", "doc_public_open_interest.json"), Dataset.OPEN_INTEREST, BTC)
    assert (old.open_interest, old.contracts, old.value_usd) == (D("555.55"), D(5000), None)
    body = recorded("okx", "live2025_public_open_interest_DEMO_BTC-USDT-SWAP.json")
    (long_tail,) = parse(body, Dataset.OPEN_INTEREST, BTC)
    assert long_tail.open_interest == D("963996.95809999716")
    assert long_tail.value_usd == D("88957542893.771927925084")


@pytest.mark.parametrize(
    ("name", "rate", "funding_time"),
    [
        ("doc_public_funding_rate.json", "0.0000792386885340", datetime(2023, 12, 20, 16, tzinfo=UTC)),
        ("doc_public_funding_rate_2026.json", "0.0000182221218054", datetime(2025, 4, 2, 16, tzinfo=UTC)),
    ],
)
def test_funding_forecasts(recorded: Recorded, name: str, rate: str, funding_time: datetime) -> None:
    forecast, terms = parse(recorded("okx", name), Dataset.FUNDING_FORECASTS, BTC)
    assert isinstance(forecast, FundingForecast)
    assert isinstance(terms, FundingTerms)
    assert (forecast.rate, forecast.funding_time) == (D(rate), funding_time)
    assert (terms.interval_hours, terms.rate_cap, terms.rate_floor) == (8, D("0.00375"), D("-0.00375"))


def test_settled_funding_is_the_realized_rate(recorded: Recorded) -> None:
    earlier, later = parse(recorded("okx", "doc_public_funding_rate_history.json"), Dataset.FUNDING, BTC)
    assert (earlier.funding_time, earlier.rate) == (datetime(2023, 12, 31, 16, tzinfo=UTC), D("-0.00002"))
    assert (later.funding_time, later.rate) == (datetime(2024, 1, 1, tzinfo=UTC), D("0.00015"))
    (live,) = parse(recorded("okx", "live2026_public_funding_rate_history_1row.json"), Dataset.FUNDING, BTC)
    assert (live.funding_time, live.rate) == (datetime(2026, 9, 4, 0, 0, tzinfo=UTC), D("0.0000418741079605"))


def test_settled_funding_of_another_instrument_is_rejected(recorded: Recorded) -> None:
    body = recorded("okx", "doc_public_funding_rate_history_2026.json")
    assert {item.reason for item in parse(body, Dataset.FUNDING, BTC)} == {RejectReason.WRONG_SUBJECT}
    first, second = parse(body, Dataset.FUNDING, BTC_INVERSE)
    assert (first.rate, second.rate) == (D("0.0002279755647389"), D("0.0000746572360545"))


def test_the_levels_of_a_recorded_book_in_the_form_of_a_rest_answer(recorded: Recorded) -> None:
    """No REST book was recorded; the snapshot of the stream carries the same rows."""
    frames = json.loads(recorded("okx", "rec_ws_books_UNI-USD-SWAP.json"))
    book = next(frame for frame in frames if frame.get("action") == "snapshot")["data"][0]
    body = json.dumps({"code": "0", "msg": "", "data": [{key: book[key] for key in ("asks", "bids", "ts")}]}).encode()
    (parsed,) = parse(body, Dataset.ORDER_BOOKS, perp("UNI", "USD", "UNI-USD-SWAP", "2"))
    assert parsed.asks[:2] == ((D("5.148"), D(120)), (D("5.149"), D(384)))  # 60 and 192 contracts of 2
    assert (len(parsed.asks), len(parsed.bids)) == (len(book["asks"]), len(book["bids"]))
    assert parsed.bids[0][0] < parsed.asks[0][0]
    assert list(parsed.bids) == sorted(parsed.bids, reverse=True)
    assert list(parsed.asks) == sorted(parsed.asks)


@pytest.mark.parametrize(
    ("name", "status", "kind", "code"),
    [
        ("err_50011_rate_limit.json", 429, RateLimited, "50011"),
        ("err_50011_rate_limit.json", 200, RateLimited, "50011"),
        ("err_50011_rate_limit_2021_int_code.json", 429, RateLimited, "50011"),
        ("err_50013_busy.json", 429, VenueUnreachable, "50013"),
        ("err_50026_system.json", 500, VenueUnreachable, "50026"),
        ("err_51000_param.json", 400, RequestRejected, "51000"),
        ("err_51001_instrument.json", 200, RequestRejected, "51001"),
    ],
)
def test_recorded_errors(recorded: Recorded, name: str, status: int, kind: type[VenueError], code: str) -> None:
    body = recorded("okx", name)
    with pytest.raises(kind) as caught:
        OkxCollector.check(Answer(status=status, headers={}, body=body, received_at=RECEIVED))
    assert caught.value.code == code
    assert getattr(caught.value, "symbol_gone", False) is (code == "51001")
