"""The OKX parsers over payloads in the documented shape; errors, calls and mutations are tested in okx/."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from collector.errors import (
    PayloadError,
)
from collector.records import (
    Candle,
    Dataset,
    FundingForecast,
    FundingRate,
    FundingTerms,
    Instrument,
    InstrumentListing,
    Interval,
    Kind,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Reject,
    RejectReason,
    Ticker,
)
from collector.sources.okx import OkxCollector
from tests.sources.okx.samples import AAA, BBB, PAYLOADS, RECEIVED, answer, parse, parse_body

D = Decimal


# --------------------------------------------------------------------------- instruments


def test_linear_swaps_carry_their_contract_in_base_units() -> None:
    first = parse(Dataset.INSTRUMENTS, "normal")[0]
    assert first == InstrumentListing(
        source="okx",
        observed_at=RECEIVED,
        received_at=RECEIVED,
        instrument=Instrument(
            venue="okx",
            base="AAA",
            quote="USDT",
            kind=Kind.PERP,
            venue_symbol="AAA-USDT-SWAP",
            contract_size=D("0.2"),  # ctVal 0.1 times ctMult 2
        ),
        status="live",
        tradable=True,
        listed_at=datetime(2022, 4, 15, 5, 20, tzinfo=UTC),
        delists_at=None,
        tick_size=D("0.01"),
        lot_size=D("0.1"),  # half a contract of 0.2
        category="crypto",
    )


def test_the_three_kinds_of_swap_of_one_coin_have_three_ids_and_each_its_venue_symbol() -> None:
    rows = parse(Dataset.INSTRUMENTS, "normal")
    assert {row.instrument.id: row.instrument.venue_symbol for row in rows} == {
        "okx:AAA-USDT:perp": "AAA-USDT-SWAP",
        "okx:AAA-USD_UM:perp": "AAA-USD_UM-SWAP",
        "okx:AAA-USD:perp": "AAA-USD-SWAP",
        "okx:ACME-USDT:perp": "ACME-USDT-SWAP",
    }


def test_an_inverse_swap_is_listed_but_cannot_be_collected() -> None:
    inverse = parse(Dataset.INSTRUMENTS, "normal")[2]
    assert (inverse.instrument.base, inverse.instrument.quote) == ("AAA", "USD")
    assert (inverse.category, inverse.tradable, inverse.status) == ("inverse", False, "live")
    assert inverse.instrument.contract_size == 10  # US dollars
    assert inverse.lot_size is None


def test_announced_end_category_and_state_come_from_the_row() -> None:
    _, ending, _, stock = parse(Dataset.INSTRUMENTS, "normal")
    assert ending.delists_at == datetime(2026, 2, 2, 2, 40, tzinfo=UTC)
    assert (stock.category, stock.status, stock.tradable) == ("stock", "suspend", False)
    assert (stock.listed_at, stock.tick_size, stock.lot_size) == (None, None, None)


def test_the_field_set_of_2022_is_enough_for_a_listing() -> None:
    (row,) = parse(Dataset.INSTRUMENTS, "2022_fields")
    assert row.instrument.id == "okx:BBB-USDT:perp"
    assert (row.instrument.contract_size, row.tradable, row.category) == (1000, True, "")


def test_a_contract_of_no_size_is_rejected_and_zero_lots_are_kept() -> None:
    unsized, zero = parse(Dataset.INSTRUMENTS, "zero")
    assert (unsized.reason, unsized.detail) == (RejectReason.NOT_POSITIVE, "contract value")
    assert (zero.tick_size, zero.lot_size) == (D(0), D(0))
    assert zero.listed_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_rows_that_are_no_usable_swap_are_rejected_one_by_one() -> None:
    *rejects, odd, twin = parse(Dataset.INSTRUMENTS, "odd_rows")
    assert [(item.reason, item.detail) for item in rejects] == [
        (RejectReason.WRONG_SUBJECT, "not a swap"),
        (RejectReason.INCONSISTENT, "unknown contract type 'quanto'"),
        (RejectReason.INCONSISTENT, "ctVal is empty"),
        (RejectReason.INCONSISTENT, "no base or no quote currency"),
    ]
    assert (odd.status, odd.tradable, odd.category) == ("rebase", False, "9")
    assert twin.detail == "okx:EEE-USDT:perp is EEE-USDT-SWAP already"
    assert "EEE-USDT2-SWAP" in twin.row


# --------------------------------------------------------------------------- one call for all swaps


def test_tickers_come_in_base_units_and_only_for_instruments_of_the_job() -> None:
    first, second = parse(Dataset.TICKERS, "normal")
    assert first == Ticker(
        source="okx",
        observed_at=datetime(2025, 10, 9, 8, 53, 20, 123000, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=AAA,
        last_price=D("10.02"),
        bid_price=D("10.02"),
        bid_size=D("8.8"),  # 88 contracts of 0.1
        ask_price=D("10.03"),
        ask_size=D("12.05"),
        open_24h=D("8.00"),
        high_24h=D("10.5"),
        low_24h=D("7.8"),
        volume_24h=D(51000),
        quote_volume_24h=None,
        change_24h_pct=D("25.25"),  # 2.02 above 8
    )
    assert second.instrument == BBB
    assert (second.bid_size, second.ask_price, second.ask_size) == (D(2500), None, None)
    assert (second.open_24h, second.volume_24h, second.change_24h_pct) == (None, None, None)


def test_zero_ticker_values_are_values_and_a_market_that_never_traded_is_rejected() -> None:
    zero, never = parse(Dataset.TICKERS, "zero")
    assert (zero.bid_size, zero.ask_size, zero.open_24h, zero.volume_24h) == (0, 0, 0, 0)
    assert zero.change_24h_pct is None
    assert (never.reason, never.job.dataset) == (RejectReason.NO_PRICE, Dataset.TICKERS)


def test_mark_prices_keep_the_order_of_the_venue() -> None:
    first, second = parse(Dataset.MARK_PRICES, "normal")
    assert first == MarkPrice(
        source="okx",
        observed_at=datetime(2025, 10, 9, 8, 53, 20, 200000, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=BBB,
        mark_price=D("0.0012305"),
        index_price=None,
    )
    assert (second.instrument, second.mark_price) == (AAA, D("10.025"))


def test_an_empty_mark_price_is_no_zero() -> None:
    zero, empty = parse(Dataset.MARK_PRICES, "zero")
    assert zero.mark_price == 0
    assert empty.reason is RejectReason.NO_PRICE


def test_open_interest_is_in_coins_with_contracts_beside_it() -> None:
    first, second = parse(Dataset.OPEN_INTEREST, "normal")
    assert first == OpenInterest(
        source="okx",
        observed_at=datetime(2025, 10, 9, 8, 53, 20, 123000, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=AAA,
        open_interest=D("123456.78"),
        contracts=D("1234567.8"),
        value_usd=D("1236000.50000000000071"),
    )
    assert (second.open_interest, second.contracts, second.value_usd) == (50000, 50, None)


def test_zero_open_interest_is_stored_and_empty_open_interest_is_not() -> None:
    zero, empty = parse(Dataset.OPEN_INTEREST, "zero")
    assert (zero.open_interest, zero.contracts, zero.value_usd) == (0, 0, 0)
    assert (empty.reason, empty.detail) == (RejectReason.INCONSISTENT, "oiCcy is empty")


def test_a_funding_row_gives_the_forecast_and_the_terms() -> None:
    forecast, terms, lone_forecast, lone_terms = parse(Dataset.FUNDING_FORECASTS, "normal")
    observed_at = datetime(2025, 10, 9, 8, 53, 20, 123000, tzinfo=UTC)
    assert forecast == FundingForecast(
        source="okx",
        observed_at=observed_at,
        received_at=RECEIVED,
        instrument=AAA,
        funding_time=datetime(2025, 10, 9, 16, 0, tzinfo=UTC),
        rate=D("0.0001"),
    )
    assert terms == FundingTerms(
        source="okx",
        observed_at=observed_at,
        received_at=RECEIVED,
        instrument=AAA,
        interval_hours=D(8),
        rate_cap=D("0.00375"),
        rate_floor=D("-0.00375"),
    )
    assert (lone_forecast.instrument, lone_forecast.rate) == (BBB, D("-0.00002"))
    assert (lone_terms.interval_hours, lone_terms.rate_cap, lone_terms.rate_floor) == (None, None, None)


def test_a_zero_forecast_is_a_forecast_and_an_impossible_interval_is_rejected() -> None:
    forecast, terms, no_rate, no_terms = parse(Dataset.FUNDING_FORECASTS, "zero")
    assert forecast.rate == 0
    assert (terms.interval_hours, terms.rate_cap, terms.rate_floor) == (1, 0, 0)
    assert (no_rate.reason, no_rate.detail) == (RejectReason.INCONSISTENT, "fundingRate is empty")
    assert no_terms.detail == "nextFundingTime is not after fundingTime"


# --------------------------------------------------------------------------- one instrument a call


def test_candles_are_turned_oldest_first_and_the_running_one_is_marked() -> None:
    closed, running = parse(Dataset.CANDLES, "normal")
    assert closed == Candle(
        source="okx",
        observed_at=datetime(2025, 10, 9, 9, 1, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=AAA,
        interval=Interval.M1,
        open_time=datetime(2025, 10, 9, 9, 0, tzinfo=UTC),
        open=D("10.00"),
        high=D("10.03"),
        low=D("9.99"),
        close=D("10.02"),
        volume=D(90),  # coins, not the 900 contracts
        quote_volume=D("901.8"),
        trades=None,
        taker_buy_volume=None,
        closed=True,
    )
    assert (running.open_time, running.closed) == (datetime(2025, 10, 9, 9, 1, tzinfo=UTC), False)


def test_zero_volume_is_not_treated_as_missing_and_missing_volume_not_as_zero() -> None:
    no_price, unknown, zero = parse(Dataset.CANDLES, "zero")
    assert (zero.volume, zero.quote_volume) == (0, 0)
    assert (unknown.volume, unknown.quote_volume) == (None, None)
    assert (no_price.reason, no_price.detail) == (RejectReason.NO_PRICE, "h is empty")


def test_an_unknown_confirm_mark_is_not_taken_for_closed() -> None:
    body = b'{"code":"0","data":[["1760000400000","1","1","1","1","1","1","1","2"]]}'
    (candle,) = parse_body(Dataset.CANDLES, body)
    assert candle.closed is False


def test_book_sizes_are_base_units_and_dead_columns_are_ignored() -> None:
    (book,) = parse(Dataset.ORDER_BOOKS, "normal")
    assert book == OrderBook(
        source="okx",
        observed_at=datetime(2025, 10, 9, 8, 53, 20, 123000, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=AAA,
        last_update_id=None,
        bids=((D("10.02"), D("8.8")), (D("10.01"), D("0.05")), (D("10.00"), D("0.1"))),
        asks=((D("10.03"), D("12.05")), (D("10.04"), D("0.7"))),
    )
    (numbered,) = parse(Dataset.ORDER_BOOKS, "with_sequence")
    assert numbered.last_update_id == 987654321


def test_an_empty_side_is_an_empty_side_and_a_zero_size_stays_zero() -> None:
    (book,) = parse(Dataset.ORDER_BOOKS, "zero")
    assert book.asks == ()
    assert book.bids == ((D("10.02"), D(0)),)


def test_the_realized_rate_is_stored_and_the_forecast_only_where_it_is_empty() -> None:
    stranger, unrealized, charged = parse(Dataset.FUNDING, "normal")
    assert charged == FundingRate(
        source="okx",
        observed_at=datetime(2025, 10, 9, 8, 0, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=AAA,
        funding_time=datetime(2025, 10, 9, 8, 0, tzinfo=UTC),
        rate=D("0.0001"),
        mark_price=None,
        rate_type="regular",
    )
    assert (unrealized.funding_time, unrealized.rate) == (datetime(2025, 10, 9, 0, 0, tzinfo=UTC), D("-0.00002"))
    assert (stranger.reason, stranger.detail) == (RejectReason.WRONG_SUBJECT, "asked for AAA-USDT-SWAP")


def test_a_realized_rate_of_zero_is_not_replaced_by_the_forecast() -> None:
    nothing, zero = parse(Dataset.FUNDING, "zero")
    assert zero.rate == 0
    assert (nothing.reason, nothing.detail) == (RejectReason.INCONSISTENT, "fundingRate is empty")


# --------------------------------------------------------------------------- every dataset


@pytest.mark.parametrize("dataset", OkxCollector.parsers)
def test_an_empty_list_is_a_good_answer(dataset: Dataset) -> None:
    OkxCollector.check(answer((PAYLOADS / f"{dataset}__empty.json").read_bytes()))
    assert parse(dataset, "empty") == []


@pytest.mark.parametrize("dataset", OkxCollector.parsers)
def test_the_same_answer_read_twice_gives_the_same_records(dataset: Dataset) -> None:
    assert parse(dataset, "normal") == parse(dataset, "normal")


@pytest.mark.parametrize(
    "dataset", [Dataset.TICKERS, Dataset.MARK_PRICES, Dataset.OPEN_INTEREST, Dataset.FUNDING_FORECASTS]
)
def test_a_row_without_a_time_is_rejected_and_never_given_ours(dataset: Dataset) -> None:
    document = json.loads((PAYLOADS / f"{dataset}__normal.json").read_text())
    for row in document["data"]:
        row["ts"] = ""
    items = parse_body(dataset, json.dumps(document).encode())
    assert items
    assert {item.reason for item in items if isinstance(item, Reject)} == {RejectReason.NO_TIME}
    assert all(isinstance(item, Reject) for item in items)


ROW = '{"code":"0","msg":"","data":[%s]}'


@pytest.mark.parametrize(
    ("dataset", "body", "path"),
    [
        (Dataset.TICKERS, "[]", "$"),
        (Dataset.TICKERS, "not json", "$"),
        (Dataset.TICKERS, '{"msg":""}', "$.code"),
        (Dataset.TICKERS, '{"code":"51001","data":[]}', "$.code"),
        (Dataset.TICKERS, '{"code":"0"}', "$.data"),
        (Dataset.TICKERS, '{"code":"0","data":{}}', "$.data"),
        (Dataset.TICKERS, ROW % '{"instId":"AAA-USDT-SWAP"}', "$.data[0].last"),
        (Dataset.TICKERS, ROW % '{"instType":"SWAP"}', "$.data[0].instId"),
        (Dataset.INSTRUMENTS, ROW % '{"instId":"A","instType":"SWAP","ctType":1}', "$.data[0].ctType"),
        (Dataset.MARK_PRICES, ROW % '{"instId":"AAA-USDT-SWAP","markPx":"1,5"}', "$.data[0].markPx"),
        (Dataset.OPEN_INTEREST, ROW % '{"instId":"AAA-USDT-SWAP","ts":"soon"}', "$.data[0].ts"),
        (Dataset.FUNDING_FORECASTS, ROW % '{"instId":"AAA-USDT-SWAP","ts":"1"}', "$.data[0].fundingTime"),
        (Dataset.CANDLES, ROW % '["1","1","1","1","1","1","1"]', "$.data[0]"),
        (Dataset.CANDLES, ROW % '["1","1","x","1","1","1","1","1","1"]', "$.data[0].h"),
        (Dataset.CANDLES, ROW % '["253402300799999","1","1","1","1","1","1","1","1"]', "$.data[0].ts"),
        (Dataset.ORDER_BOOKS, ROW % '{"ts":"1","bids":[["1","2"],["3"]],"asks":[]}', "$.data[0].bids[1]"),
        (Dataset.ORDER_BOOKS, ROW % '{"ts":"1","bids":[],"asks":[["1",null]]}', "$.data[0].asks[0][1]"),
        (Dataset.FUNDING, ROW % '{"instId":"AAA-USDT-SWAP","fundingTime":"1"}', "$.data[0].realizedRate"),
        (Dataset.FUNDING, ROW % '{"instId":"AAA-USDT-SWAP","fundingTime":""}', "$.data[0].fundingTime"),
    ],
)
def test_an_unknown_shape_names_the_path(dataset: Dataset, body: str, path: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_body(dataset, body.encode())
    assert caught.value.path == path
