"""Binance USD-M futures: every dataset from whole answers in the documented shape."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.errors import PayloadError
from collector.records import (
    Candle,
    Dataset,
    FundingForecast,
    FundingRate,
    FundingTerms,
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
from tests.sources.binance_futures.samples import (
    BTC,
    DATED,
    JOBS,
    NOON,
    PEPE,
    RECEIVED,
    body,
    candle_job,
    job,
    parse,
    parse_file,
)

# --------------------------------------------------------------------------- instruments


def listings(name: str) -> dict[str, InstrumentListing]:
    found = [item for item in parse_file(name) if isinstance(item, InstrumentListing)]
    return {item.instrument.venue_symbol: item for item in found}


def test_every_contract_is_listed_in_the_order_of_the_answer_tradable_or_not():
    records = parse_file("instruments__normal")
    assert [(item.instrument.id, item.tradable) for item in records] == [
        ("binance_futures:BTC-USDT:perp", True),
        ("binance_futures:1000PEPE-USDT:perp", True),
        ("binance_futures:ETH-USDC:perp", True),
        ("binance_futures:BTC-USDT-260327:future", True),
        ("binance_futures:BTC-USDT-260925:future", True),
        ("binance_futures:NVDA-USDT:perp", True),
        ("binance_futures:DEFI-USDT:perp", True),
        ("binance_futures:SOON-USDT:perp", False),
        ("binance_futures:LEAVE-USDT:perp", False),
    ]


def test_a_listing_has_the_filters_steps_and_the_venue_dates():
    btc = listings("instruments__normal")["BTCUSDT"]
    assert btc.instrument == BTC
    assert btc.instrument.contract_size == 1
    assert (btc.tick_size, btc.lot_size) == (Decimal("0.10"), Decimal("0.001"))  # not the precisions 2 and 3
    assert btc.listed_at == datetime(2019, 9, 25, 8, tzinfo=UTC)
    assert btc.delists_at is None
    assert (btc.status, btc.category) == ("trading", "crypto")
    assert btc.observed_at == btc.received_at == RECEIVED  # serverTime is documented as no clock


def test_both_spellings_of_the_far_delivery_date_mean_never():
    assert listings("instruments__normal")["1000PEPEUSDT"].delists_at is None  # two seconds after the other one


def test_dated_contracts_of_one_pair_differ_by_their_delivery_day():
    found = listings("instruments__normal")
    near, far = found["BTCUSDT_260327"], found["BTCUSDT_260925"]
    assert (near.instrument.symbol, far.instrument.symbol) == ("BTC-USDT-260327", "BTC-USDT-260925")
    assert near.instrument == DATED
    assert near.delists_at == datetime(2026, 3, 27, 8, tzinfo=UTC)


def test_a_stock_contract_is_a_perpetual_of_the_venues_category():
    found = listings("instruments__normal")
    assert (found["NVDAUSDT"].instrument.kind, found["NVDAUSDT"].category) == (Kind.PERP, "equity")
    assert found["DEFIUSDT"].category == "index"


def test_a_leaving_perpetual_stays_a_perpetual_and_has_its_last_day():
    leaving = listings("instruments__normal")["LEAVEUSDT"]
    assert (leaving.instrument.kind, leaving.status, leaving.tradable) == (Kind.PERP, "settling", False)
    assert leaving.delists_at == datetime(2026, 3, 20, 9, tzinfo=UTC)


def test_zero_dates_are_no_dates_and_zero_steps_are_zero():
    (zero,) = parse_file("instruments__zero")
    assert (zero.listed_at, zero.delists_at) == (None, None)
    assert (zero.tick_size, zero.lot_size) == (Decimal(0), Decimal(0))


def test_contracts_that_would_share_an_id_leave_one_listing_the_first_that_trades():
    records = parse_file("instruments__same_id")
    assert [item.instrument.venue_symbol for item in records if isinstance(item, InstrumentListing)] == ["LUNA2USDT"]
    rejects = [item for item in records if isinstance(item, Reject)]
    assert [(item.row, item.reason) for item in rejects] == [
        ("'LUNAUSDT'", RejectReason.INCONSISTENT),
        ("'LUNA3USDT'", RejectReason.INCONSISTENT),
    ]
    assert rejects[0].detail == "LUNAUSDT and LUNA2USDT are both binance_futures:LUNA-USDT:perp"


def test_inverse_unknown_and_undated_contracts_are_rejected_and_the_others_stay():
    records = parse_file("instruments__odd")
    assert [item.instrument.venue_symbol for item in records if isinstance(item, InstrumentListing)] == ["GOODUSDT"]
    assert [(item.reason, item.detail) for item in records if isinstance(item, Reject)] == [
        (RejectReason.INCONSISTENT, "BTCUSD_PERP is an inverse contract"),
        (RejectReason.INCONSISTENT, "unknown contractType 'EVERLASTING'"),
        (RejectReason.NO_TIME, "HALFUSDT_ has no delivery date"),
    ]


def test_the_listed_symbol_finds_its_instrument_again_in_a_bulk_answer():
    found = listings("instruments__normal")
    work = job(Dataset.TICKERS, found["BTCUSDT"].instrument, found["BTCUSDT_260327"].instrument)
    assert [item.instrument.id for item in parse_file("tickers__normal", work)] == [
        "binance_futures:BTC-USDT:perp",
        "binance_futures:BTC-USDT-260327:future",
    ]


# --------------------------------------------------------------------------- tickers


def test_tickers_are_read_for_the_jobs_instruments_only():
    perp, dated = parse_file("tickers__normal")
    assert perp == Ticker(
        source="binance_futures",
        observed_at=datetime(2026, 3, 2, 11, 59, 59, 815000, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=BTC,
        last_price=Decimal("66450.10"),
        bid_price=None,
        bid_size=None,
        ask_price=None,
        ask_size=None,
        open_24h=Decimal("67700.60"),
        high_24h=Decimal("68010.00"),
        low_24h=Decimal("66012.30"),
        volume_24h=Decimal("151234.567"),
        quote_volume_24h=Decimal("10129812345.67"),
        change_24h_pct=Decimal("-1.847"),
    )
    assert (dated.instrument, dated.last_price) == (DATED, Decimal("66730.2"))


def test_the_answer_for_one_symbol_is_one_object():
    (ticker,) = parse_file("tickers__one_symbol", job(Dataset.TICKERS, BTC))
    assert ticker.last_price == Decimal("66450.10")


def test_one_object_about_another_symbol_is_rejected():
    (reject,) = parse_file("tickers__one_symbol", job(Dataset.TICKERS, PEPE))
    assert (reject.reason, reject.detail) == (RejectReason.WRONG_SUBJECT, "asked for 1000PEPEUSDT, got BTCUSDT")


def test_zero_volume_is_a_value_and_an_empty_price_is_no_price():
    quiet, priceless = parse_file("tickers__zero")
    assert (quiet.volume_24h, quiet.quote_volume_24h, quiet.change_24h_pct) == (Decimal(0), Decimal(0), Decimal(0))
    assert isinstance(priceless, Reject)
    assert priceless.reason is RejectReason.NO_PRICE


# --------------------------------------------------------------------------- mark prices and funding forecasts


def test_a_perpetual_has_a_mark_price_and_a_forecast_and_a_dated_contract_only_the_price():
    common = {"source": "binance_futures", "observed_at": NOON + timedelta(milliseconds=2), "received_at": RECEIVED}
    assert parse_file("mark_prices__normal") == [
        MarkPrice(
            instrument=BTC, mark_price=Decimal("66451.23456789"), index_price=Decimal("66470.00000000"), **common
        ),
        FundingForecast(
            instrument=BTC, funding_time=datetime(2026, 3, 2, 16, tzinfo=UTC), rate=Decimal("-0.00003120"), **common
        ),
        MarkPrice(instrument=DATED, mark_price=Decimal("66733.80000000"), index_price=Decimal("66470.0"), **common),
    ]


def test_a_zero_rate_is_a_forecast_but_not_of_a_dated_contract_and_an_empty_mark_is_rejected():
    mark, forecast, empty = parse_file("mark_prices__zero")
    assert mark.index_price == Decimal(0)
    assert (forecast.rate, forecast.funding_time) == (Decimal(0), datetime(2026, 3, 2, 16, tzinfo=UTC))
    assert (type(empty), empty.reason) == (Reject, RejectReason.NO_PRICE)


def test_the_mark_of_one_symbol_is_one_object():
    mark, forecast = parse_file("mark_prices__one_symbol", job(Dataset.MARK_PRICES, BTC))
    assert (mark.mark_price, forecast.rate) == (Decimal("66451.23456789"), Decimal("-0.00003120"))


# --------------------------------------------------------------------------- open interest and books


def test_open_interest_is_in_base_units_and_says_no_more_than_the_venue():
    assert parse_file("open_interest__normal") == [
        OpenInterest(
            source="binance_futures",
            observed_at=datetime(2026, 3, 2, 11, 59, 59, 654000, tzinfo=UTC),
            received_at=RECEIVED,
            instrument=BTC,
            open_interest=Decimal("98765.432"),
            contracts=None,
            value_usd=None,
        )
    ]


def test_zero_open_interest_is_a_value():
    (zero,) = parse_file("open_interest__zero")
    assert zero.open_interest == Decimal(0)


def test_empty_open_interest_is_an_unknown_shape():
    with pytest.raises(PayloadError, match=r"^\$\.openInterest: "):
        parse_file("open_interest__empty")


def test_open_interest_of_another_symbol_is_rejected():
    (reject,) = parse_file("open_interest__other_symbol")
    assert (reject.reason, reject.detail) == (RejectReason.WRONG_SUBJECT, "asked for BTCUSDT, got ETHUSDT")


def test_a_book_has_the_time_of_the_matching_engine_and_its_exact_id():
    (book,) = parse_file("order_books__normal")
    assert book == OrderBook(
        source="binance_futures",
        observed_at=datetime(2026, 3, 2, 12, 0, 0, 244000, tzinfo=UTC),  # T; E is six milliseconds later
        received_at=RECEIVED,
        instrument=BTC,
        last_update_id=9007199254740993,  # one more than a double can hold
        bids=(
            (Decimal("66450.00"), Decimal("1.250")),
            (Decimal("66449.90"), Decimal("0.004")),
            (Decimal("66449.50"), Decimal("3.000")),
            (Decimal("66449.10"), Decimal("0.700")),
            (Decimal("66448.80"), Decimal("2.125")),
        ),
        asks=(
            (Decimal("66450.10"), Decimal("0.090")),
            (Decimal("66450.20"), Decimal("5.500")),
            (Decimal("66450.90"), Decimal("0.001")),
            (Decimal("66451.00"), Decimal("8.000")),
            (Decimal("66451.70"), Decimal("0.333")),
        ),
    )


def test_a_book_is_cut_to_the_levels_asked_for():
    (book,) = parse_file("order_books__normal", job(Dataset.ORDER_BOOKS, BTC, limit=2))
    assert book.bids == ((Decimal("66450.00"), Decimal("1.250")), (Decimal("66449.90"), Decimal("0.004")))
    assert book.asks == ((Decimal("66450.10"), Decimal("0.090")), (Decimal("66450.20"), Decimal("5.500")))


def test_a_book_without_a_wish_is_kept_whole():
    (book,) = parse_file("order_books__normal", job(Dataset.ORDER_BOOKS, BTC))
    assert (len(book.bids), len(book.asks)) == (5, 5)


def test_an_empty_book_is_a_book():
    (book,) = parse_file("order_books__empty")
    assert (book.bids, book.asks, book.last_update_id) == ((), (), 77)


def test_zero_sizes_and_a_zero_id_stay_in_the_book():
    (book,) = parse_file("order_books__zero")
    assert (book.bids, book.last_update_id) == (((Decimal("66450.00"), Decimal("0.000")),), 0)


# --------------------------------------------------------------------------- candles


def test_a_row_becomes_a_candle_with_base_volumes_and_ends_after_its_width():
    first = parse_file("candles__normal")[0]
    assert first == Candle(
        source="binance_futures",
        observed_at=datetime(2026, 3, 2, 11, 58, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=BTC,
        interval=Interval.M1,
        open_time=datetime(2026, 3, 2, 11, 57, tzinfo=UTC),
        open=Decimal("66400.00"),
        high=Decimal("66425.50"),
        low=Decimal("66390.10"),
        close=Decimal("66420.30"),
        volume=Decimal("85.210"),
        quote_volume=Decimal("5658112.40"),
        trades=1873,
        taker_buy_volume=Decimal("40.105"),
        closed=True,
    )


@pytest.mark.parametrize(
    ("after_noon_s", "closed"),
    [
        (1.0, [True, True, False, False]),  # the third bar ended one second ago: it may still change
        (1.999, [True, True, False, False]),
        (2.0, [True, True, True, False]),
        (61.9, [True, True, True, False]),
        (62.0, [True, True, True, True]),
    ],
)
def test_a_bar_is_closed_once_it_ended_two_seconds_before_the_answer(after_noon_s, closed):
    records = parse(candle_job(), body("candles__normal"), NOON + timedelta(seconds=after_noon_s))
    assert [record.closed for record in records] == closed


def test_a_closed_last_row_is_closed_although_it_is_the_last():
    (bar,) = parse_file("candles__zero")
    assert bar.closed


def test_zero_volume_is_not_treated_as_missing():
    (bar,) = parse_file("candles__zero")
    assert (bar.volume, bar.quote_volume, bar.trades, bar.taker_buy_volume) == (Decimal(0), Decimal(0), 0, Decimal(0))


def test_a_row_of_another_width_is_rejected_and_the_others_stay():
    reject, bar = parse_file("candles__other_interval")
    assert (reject.reason, reject.detail) == (RejectReason.INCONSISTENT, "the bar is 0:05:00 wide, 1m was asked for")
    assert bar.close == Decimal("66450.10")


# --------------------------------------------------------------------------- funding


def test_settled_rates_keep_the_raw_time_and_their_kind():
    common = {"source": "binance_futures", "received_at": RECEIVED, "instrument": BTC}
    late, morning = datetime(2026, 3, 2, 0, 0, 0, 7000, tzinfo=UTC), datetime(2026, 3, 2, 8, tzinfo=UTC)
    records = parse_file("funding__normal")
    assert records == [
        FundingRate(
            observed_at=late, funding_time=late, rate=Decimal("0.00010000"), mark_price=Decimal("67010.5"), **common
        ),
        FundingRate(observed_at=morning, funding_time=morning, rate=Decimal("-0.00004210"), mark_price=None, **common),
        FundingRate(
            observed_at=morning,
            funding_time=morning,
            rate=Decimal("0.00120000"),
            mark_price=Decimal("66800.1"),
            rate_type="special",
            **common,
        ),
    ]
    assert len({record.key for record in records}) == 3


def test_a_zero_funding_rate_is_a_value():
    (settled,) = parse_file("funding__zero")
    assert settled.rate == Decimal(0)


def test_a_settlement_of_another_symbol_is_rejected_and_the_others_stay():
    reject, settled = parse_file("funding__other_symbol")
    assert reject.reason is RejectReason.WRONG_SUBJECT
    assert settled.funding_time == datetime(2026, 3, 2, 8, 0, 0, 3000, tzinfo=UTC)


def test_terms_come_from_the_list_or_are_the_default_and_dated_contracts_have_none():
    common = {"source": "binance_futures", "observed_at": RECEIVED, "received_at": RECEIVED}
    assert parse_file("funding_terms__normal") == [
        FundingTerms(instrument=BTC, interval_hours=Decimal(8), rate_cap=None, rate_floor=None, **common),
        FundingTerms(
            instrument=PEPE, interval_hours=Decimal(4), rate_cap=Decimal("0.02"), rate_floor=Decimal("-0.025"), **common
        ),
    ]


def test_nothing_adjusted_means_the_default_for_every_perpetual():
    assert [(item.instrument, item.interval_hours) for item in parse_file("funding_terms__empty")] == [
        (BTC, Decimal(8)),
        (PEPE, Decimal(8)),
    ]


def test_a_zero_bound_is_a_bound():
    btc = parse_file("funding_terms__zero")[0]
    assert (btc.rate_cap, btc.rate_floor) == (Decimal(0), Decimal(0))


# --------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("dataset", ["instruments", "tickers", "mark_prices", "candles", "funding"])
def test_an_empty_list_is_an_answer_without_records(dataset):
    assert list(parse_file(f"{dataset}__empty")) == []


@pytest.mark.parametrize(
    ("dataset", "content", "path"),
    [
        (Dataset.INSTRUMENTS, b'{"timezone":"UTC"}', "$.symbols"),
        (Dataset.INSTRUMENTS, b'{"symbols":[{"symbol":"AUSDT","contractType":"PERPETUAL"}]}', "$.symbols[0].status"),
        (
            Dataset.INSTRUMENTS,
            b'{"symbols":[{"symbol":"A","contractType":"","status":"","baseAsset":"A","quoteAsset":"B"}]}',
            "$.symbols[0].deliveryDate",
        ),
        (Dataset.TICKERS, b'[{"symbol":"BTCUSDT","closeTime":1}]', "$[0].lastPrice"),
        (Dataset.TICKERS, b'[{"sym":"BTCUSDT"}]', "$[0].symbol"),
        (Dataset.TICKERS, b"null", "$"),
        (Dataset.MARK_PRICES, b'[{"symbol":"BTCUSDT","time":1,"markPrice":"1"}]', "$[0].indexPrice"),
        (Dataset.OPEN_INTEREST, b"[]", "$"),
        (Dataset.ORDER_BOOKS, b'{"lastUpdateId":1,"E":2,"bids":[],"asks":[]}', "$.T"),
        (Dataset.ORDER_BOOKS, b'{"lastUpdateId":1,"T":2,"bids":[["1"]],"asks":[]}', "$.bids[0]"),
        (Dataset.ORDER_BOOKS, b'{"lastUpdateId":1,"T":2,"bids":[["1","NaN"]],"asks":[]}', "$.bids[0][1]"),
        (Dataset.CANDLES, b'{"rows":[]}', "$"),
        (Dataset.CANDLES, b'[[1772452620000,"1","1","1","1"]]', "$[0]"),
        (Dataset.FUNDING, b'{"status":"OK"}', "$"),
        (Dataset.FUNDING, b'[{"symbol":"BTCUSDT","fundingTime":1}]', "$[0].fundingRate"),
        (Dataset.FUNDING_TERMS, b'[{"symbol":"BTCUSDT"}]', "$[0].fundingIntervalHours"),
    ],
)
def test_an_unknown_shape_fails_and_names_the_place(dataset, content, path):
    with pytest.raises(PayloadError) as caught:
        parse(JOBS[dataset], content)
    assert caught.value.path == path
