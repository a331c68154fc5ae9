"""What `collector.validate` believes: one table of cases per record type, worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.records import (
    Asset,
    Batch,
    Candle,
    Dataset,
    FundingForecast,
    FundingRate,
    FundingTerms,
    GlobalMarket,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Reject,
    RejectReason,
    Sentiment,
    Ticker,
)
from collector.validate import check, count_forming, row_text

NOW = datetime(2026, 1, 14, 12, 0, 30, tzinfo=UTC)  # a Wednesday
SEEN = NOW - timedelta(seconds=5)
JOB = Job(source="okx", dataset=Dataset.CANDLES)
SWAP = Instrument(venue="okx", base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTC-USDT-SWAP")
TIMES = {"source": "okx", "observed_at": SEEN, "received_at": NOW}
D = Decimal

CANDLE = Candle(
    **TIMES,
    instrument=SWAP,
    interval=Interval.M1,
    open_time=datetime(2026, 1, 14, 11, 59, tzinfo=UTC),
    open=D("100.5"),
    high=D("101"),
    low=D("99.5"),
    close=D("100"),
    volume=D("12.5"),
    quote_volume=D("1250"),
    trades=40,
    taker_buy_volume=D("6"),
    closed=True,
)
BOOK = OrderBook(
    **TIMES,
    instrument=SWAP,
    last_update_id=7,
    bids=((D("100"), D("2")), (D("99.9"), D("1"))),
    asks=((D("100.1"), D("3")), (D("100.3"), D("4"))),
)
TICKER = Ticker(
    **TIMES,
    instrument=SWAP,
    last_price=D("100"),
    bid_price=D("99.9"),
    bid_size=D("1"),
    ask_price=D("100.1"),
    ask_size=D("2"),
    open_24h=D("98"),
    high_24h=D("103"),
    low_24h=D("97"),
    volume_24h=D("1000"),
    quote_volume_24h=D("100000"),
    change_24h_pct=D("-2.5"),
)
MARK = MarkPrice(**TIMES, instrument=SWAP, mark_price=D("100"), index_price=D("100.2"))
FUNDING = FundingRate(
    **TIMES,
    instrument=SWAP,
    funding_time=datetime(2026, 1, 14, 8, tzinfo=UTC),
    rate=D("-0.0003"),
    mark_price=D("100"),
)
FORECAST = FundingForecast(
    **TIMES, instrument=SWAP, funding_time=datetime(2026, 1, 14, 16, tzinfo=UTC), rate=D("0.0001")
)
TERMS = FundingTerms(**TIMES, instrument=SWAP, interval_hours=D(8), rate_cap=D("0.02"), rate_floor=D("-0.02"))
INTEREST = OpenInterest(**TIMES, instrument=SWAP, open_interest=D("5000"), contracts=D("500000"), value_usd=D("1e6"))
MARKET = MarketSnapshot(
    **TIMES,
    asset_id="bitcoin",
    price_usd=D("100"),
    market_cap_usd=D("2e9"),
    rank=1,
    high_24h_usd=D("103"),
    low_24h_usd=D("97"),
    change_24h_pct=D("-2.5"),
    ath_usd=D("126"),
    ath_at=datetime(2025, 10, 6, tzinfo=UTC),
)
GLOBAL = GlobalMarket(
    **TIMES,
    market_cap_usd=D("3e12"),
    volume_24h_usd=D("1e11"),
    btc_dominance_pct=D("57"),
    eth_dominance_pct=D("12"),
    market_cap_change_24h_pct=D("-1.5"),
    active_assets=17000,
    markets=1400,
)
LISTING = InstrumentListing(
    **TIMES,
    instrument=SWAP,
    status="live",
    tradable=True,
    listed_at=datetime(2019, 12, 1, tzinfo=UTC),
    delists_at=None,
    tick_size=D("0.1"),
    lot_size=D("0.01"),
    category="crypto",
)
EVERYTHING = (CANDLE, BOOK, TICKER, MARK, FUNDING, FORECAST, TERMS, INTEREST, MARKET, GLOBAL, LISTING)


def verdict(record):
    """Return the reason for which a record is rejected, None when it is kept."""
    checked = check(Batch(job=JOB, records=(record,)), now=NOW)
    assert len(checked.records) + len(checked.rejects) == 1
    return checked.rejects[0].reason if checked.rejects else None


def test_a_plausible_record_of_every_type_is_kept():
    assert check(Batch(job=JOB, records=EVERYTHING), now=NOW).records == EVERYTHING


def test_a_type_without_rules_is_kept():
    asset = Asset(**TIMES, asset_id="bitcoin", symbol="BTC", name="Bitcoin")
    assert verdict(asset) is None


MONDAY = datetime(2026, 1, 12, tzinfo=UTC)
MOOD = Sentiment(**TIMES, value=0, classification="Extreme Fear")

KEPT = [
    ("zero volume is a volume", replace(CANDLE, volume=D(0), quote_volume=D(0), trades=0, taker_buy_volume=D(0))),
    ("no volume given", replace(CANDLE, volume=None, quote_volume=None, trades=None, taker_buy_volume=None)),
    ("a bar that did not move", replace(CANDLE, open=D(1), high=D(1), low=D(1), close=D(1), quote_volume=D("12.5"))),
    ("nothing traded", replace(CANDLE, volume=D(0), quote_volume=D(0), trades=0, taker_buy_volume=D(0))),
    ("all bought by takers", replace(CANDLE, taker_buy_volume=D("12.5"))),
    ("a volume rounded to four times itself", replace(CANDLE, volume=D(50), taker_buy_volume=None)),
    ("a value rounded to nothing", replace(CANDLE, quote_volume=D(0))),
    ("more digits than a float holds", replace(CANDLE, close=D("100.123456789012345678901234567890"))),
    ("the largest amount", replace(INTEREST, open_interest=D("1e36"))),
    ("the calmest day", MOOD),
    ("the greediest day", replace(MOOD, value=100)),
    (
        "a tiny price",
        replace(CANDLE, open=D("1e-12"), high=D("1e-12"), low=D("1e-12"), close=D("1e-12"), quote_volume=None),
    ),
    ("a week opens on Monday", replace(CANDLE, interval=Interval.W1, open_time=MONDAY - timedelta(weeks=1))),
    ("four hours on the grid", replace(CANDLE, interval=Interval.H4, open_time=datetime(2026, 1, 14, 4, tzinfo=UTC))),
    ("our clock is 90 s late", replace(CANDLE, open_time=datetime(2026, 1, 14, 12, 1, tzinfo=UTC))),
    ("no bids", replace(BOOK, bids=())),
    ("no asks", replace(BOOK, asks=())),
    ("no orders", replace(BOOK, bids=(), asks=())),
    ("bid equals ask in a ticker", replace(TICKER, bid_price=D("100.1"))),
    ("a ticker without quotes", replace(TICKER, bid_price=None, bid_size=None, ask_price=None, ask_size=None)),
    ("a market without trades", replace(TICKER, volume_24h=D(0), quote_volume_24h=D(0), change_24h_pct=D(0))),
    ("no index price", replace(MARK, index_price=None)),
    ("a zero funding rate", replace(FUNDING, rate=D(0))),
    ("a funding rate of minus one", replace(FUNDING, rate=D(-1))),
    ("terms that say nothing", replace(TERMS, interval_hours=None, rate_cap=None, rate_floor=None)),
    ("zero open interest", replace(INTEREST, open_interest=D(0), contracts=D(0), value_usd=D(0))),
    ("a market without a price", replace(MARKET, price_usd=None)),
    ("a market cap of zero", replace(MARKET, market_cap_usd=D(0), volume_24h_usd=D(0), circulating_supply=D(0))),
    ("an old snapshot", replace(MARKET, observed_at=datetime(2013, 4, 28, tzinfo=UTC))),
    ("nine minutes ahead", replace(MARK, observed_at=NOW + timedelta(minutes=9))),
]

NAN, INF = D("NaN"), D("Infinity")
REJECTED = [
    ("NaN close", replace(CANDLE, close=NAN), "not_finite"),
    ("signalling NaN", replace(CANDLE, open=D("sNaN")), "not_finite"),
    ("infinite high", replace(CANDLE, high=INF), "not_finite"),
    ("NaN volume", replace(CANDLE, volume=NAN), "not_finite"),
    ("zero low", replace(CANDLE, low=D(0)), "not_positive"),
    ("all prices zero", replace(CANDLE, open=D(0), high=D(0), low=D(0), close=D(0)), "not_positive"),
    ("zero close", replace(CANDLE, close=D(0)), "not_positive"),
    ("negative low", replace(CANDLE, low=D(-1)), "not_positive"),
    ("high below low", replace(CANDLE, high=D("99"), open=D("99"), close=D("99")), "inconsistent"),
    ("high below open", replace(CANDLE, high=D("100.4")), "inconsistent"),
    ("low above close", replace(CANDLE, low=D("100.2")), "inconsistent"),
    ("negative volume", replace(CANDLE, volume=D("-0.1")), "negative"),
    ("negative quote volume", replace(CANDLE, quote_volume=D(-1)), "negative"),
    ("negative trades", replace(CANDLE, trades=-1), "negative"),
    ("a second off the grid", replace(CANDLE, open_time=CANDLE.open_time + timedelta(seconds=1)), "off_grid"),
    ("a microsecond off the grid", replace(CANDLE, open_time=CANDLE.open_time + timedelta.resolution), "off_grid"),
    ("a week on Thursday", replace(CANDLE, interval=Interval.W1, open_time=MONDAY - timedelta(days=4)), "off_grid"),
    (
        "a day from 16:00",
        replace(CANDLE, interval=Interval.D1, open_time=datetime(2026, 1, 12, 16, tzinfo=UTC)),
        "off_grid",
    ),
    ("takers bought more than was traded", replace(CANDLE, taker_buy_volume=D("12.6")), "inconsistent"),
    ("contracts of 0.01 taken for coins", replace(CANDLE, volume=D(1250)), "inconsistent"),
    ("coins taken for contracts of 10", replace(CANDLE, volume=D("1.25"), taker_buy_volume=None), "inconsistent"),
    ("a price of 37 digits", replace(CANDLE, high=D("1.1e36")), "out_of_range"),
    ("a volume of 37 digits", replace(CANDLE, volume=D("1e37")), "out_of_range"),
    ("more trades than a counter holds", replace(CANDLE, trades=2**31), "out_of_range"),
    ("a sequence number beyond 64 bits", replace(BOOK, last_update_id=2**63), "out_of_range"),
    ("a rank of ten billion", replace(MARKET, rank=10**10), "out_of_range"),
    ("a mood above the scale", replace(MOOD, value=101), "inconsistent"),
    ("a mood below the scale", replace(MOOD, value=-1), "inconsistent"),
    ("tomorrow's mood", replace(MOOD, observed_at=NOW + timedelta(days=1)), "implausible_time"),
    ("four minutes ahead", replace(CANDLE, open_time=datetime(2026, 1, 14, 12, 4, tzinfo=UTC)), "implausible_time"),
    (
        "a day that is not over",
        replace(CANDLE, interval=Interval.D1, open_time=datetime(2026, 1, 14, tzinfo=UTC)),
        "implausible_time",
    ),
    ("seconds read as milliseconds", replace(CANDLE, open_time=datetime(1970, 1, 21, tzinfo=UTC)), "implausible_time"),
    ("far future", replace(CANDLE, open_time=datetime(9999, 12, 31, 23, 59, tzinfo=UTC)), "implausible_time"),
    ("crossed book", replace(BOOK, bids=((D("100.2"), D(1)),)), "inconsistent"),
    ("touching book", replace(BOOK, bids=((D("100.1"), D(1)),)), "inconsistent"),
    ("bids rising", replace(BOOK, bids=BOOK.bids[::-1]), "inconsistent"),
    ("asks falling", replace(BOOK, asks=BOOK.asks[::-1]), "inconsistent"),
    ("a price twice", replace(BOOK, asks=(BOOK.asks[0], BOOK.asks[0])), "inconsistent"),
    ("an empty level", replace(BOOK, asks=((D("100.1"), D(0)),)), "not_positive"),
    ("a negative size", replace(BOOK, bids=((D("100"), D(-1)),)), "not_positive"),
    ("a price of zero", replace(BOOK, bids=((D(0), D(1)),)), "not_positive"),
    ("NaN size", replace(BOOK, bids=((D("100"), NAN),)), "not_finite"),
    ("last price zero", replace(TICKER, last_price=D(0)), "not_positive"),
    ("bid zero", replace(TICKER, bid_price=D(0)), "not_positive"),
    ("NaN ask", replace(TICKER, ask_price=NAN), "not_finite"),
    ("NaN change", replace(TICKER, change_24h_pct=NAN), "not_finite"),
    ("negative 24 h volume", replace(TICKER, volume_24h=D(-1)), "negative"),
    ("bid above ask", replace(TICKER, bid_price=D("100.2")), "inconsistent"),
    ("24 h low above high", replace(TICKER, low_24h=D("104")), "inconsistent"),
    ("mark price zero", replace(MARK, mark_price=D(0)), "not_positive"),
    ("infinite index price", replace(MARK, index_price=INF), "not_finite"),
    ("a minute too far ahead", replace(MARK, observed_at=NOW + timedelta(minutes=11)), "implausible_time"),
    ("a rate in percent", replace(FUNDING, rate=D("1.01")), "inconsistent"),
    ("NaN rate", replace(FUNDING, rate=NAN), "not_finite"),
    ("settled in the future", replace(FUNDING, funding_time=NOW + timedelta(hours=1)), "implausible_time"),
    ("a forecast for next year", replace(FORECAST, funding_time=NOW + timedelta(days=365)), "implausible_time"),
    ("a forecast below minus one", replace(FORECAST, rate=D("-1.5")), "inconsistent"),
    ("no hours between payments", replace(TERMS, interval_hours=D(0)), "not_positive"),
    ("floor above cap", replace(TERMS, rate_floor=D("0.03")), "inconsistent"),
    ("negative open interest", replace(INTEREST, open_interest=D("-0.01")), "negative"),
    ("NaN value", replace(INTEREST, value_usd=NAN), "not_finite"),
    ("a worthless coin", replace(MARKET, price_usd=D(0)), "not_positive"),
    ("rank zero", replace(MARKET, rank=0), "not_positive"),
    ("negative market cap", replace(MARKET, market_cap_usd=D(-1)), "negative"),
    ("infinite change", replace(MARKET, change_7d_pct=-INF), "not_finite"),
    ("24 h high below low", replace(MARKET, high_24h_usd=D("96")), "inconsistent"),
    ("observed in 1970", replace(MARKET, observed_at=datetime(1970, 1, 20, tzinfo=UTC)), "implausible_time"),
    ("all-time high tomorrow", replace(MARKET, ath_at=NOW + timedelta(days=1)), "implausible_time"),
    ("a market worth nothing", replace(GLOBAL, market_cap_usd=D(0)), "not_positive"),
    ("more than the whole", replace(GLOBAL, btc_dominance_pct=D("100.1")), "inconsistent"),
    ("negative number of assets", replace(GLOBAL, active_assets=-1), "negative"),
    ("no tick", replace(LISTING, tick_size=D(0)), "not_positive"),
    ("contract of nothing", replace(LISTING, instrument=replace(SWAP, contract_size=D(0))), "not_positive"),
]


@pytest.mark.parametrize("record", [case[1] for case in KEPT], ids=[case[0] for case in KEPT])
def test_unusual_rows_that_can_be_true_are_kept(record):
    assert verdict(record) is None


@pytest.mark.parametrize(("record", "reason"), [case[1:] for case in REJECTED], ids=[case[0] for case in REJECTED])
def test_rows_that_cannot_be_true_are_rejected_with_their_reason(record, reason):
    assert verdict(record) is RejectReason(reason)


def test_one_bad_row_leaves_the_others_in_their_order_and_keeps_earlier_rejects():
    earlier = Reject(job=JOB, row="x", reason=RejectReason.NO_TIME, detail="from the parser")
    bad = replace(MARK, mark_price=D(0))
    batch = Batch(job=JOB, records=(BOOK, bad, TICKER), rejects=(earlier,), state="ok", error="", started_at=SEEN)
    checked = check(batch, now=NOW)
    assert checked.records == (BOOK, TICKER)
    assert checked.rejects[0] is earlier
    assert checked.rejects[1].detail == "mark_price is 0"
    assert checked.rejects[1].job is JOB
    assert checked.started_at == SEEN


def test_a_forming_candle_is_left_out_without_being_a_reject():
    forming = replace(CANDLE, closed=False, open_time=datetime(2026, 1, 14, 12, tzinfo=UTC))
    batch = Batch(job=JOB, records=(CANDLE, forming))
    checked = check(batch, now=NOW)
    assert checked.records == (CANDLE,)
    assert checked.rejects == ()
    assert count_forming(batch) == 1


def test_the_row_text_names_the_instrument_and_leaves_out_what_is_unknown():
    text = row_text(replace(MARK, index_price=None))
    assert text == (
        "MarkPrice(source=okx observed_at=2026-01-14T12:00:25+00:00 received_at=2026-01-14T12:00:30+00:00 "
        "instrument=okx:BTC-USDT:perp mark_price=100)"
    )


def test_the_row_text_is_cut_to_300_characters():
    level = (D("100.000000000000000000000001"), D("2.000000000000000000000001"))
    deep = replace(BOOK, bids=tuple((level[0] + 50 - i, level[1]) for i in range(50)))
    checked = check(Batch(job=JOB, records=(deep,)), now=NOW)
    assert len(checked.rejects[0].row) == 300


# --------------------------------------------------------------------------- one bar given twice


def bar(minute, **changes):
    opened = datetime(2026, 1, 14, 11, minute, tzinfo=UTC)
    return replace(CANDLE, open_time=opened, observed_at=opened + timedelta(minutes=1), **changes)


def test_of_a_bar_given_twice_with_different_values_the_one_received_last_is_kept():
    early, late = bar(5, received_at=NOW - timedelta(seconds=2)), bar(5, close=D("99.75"))
    checked = check(Batch(job=JOB, records=(late, early)), now=NOW)
    assert checked.records == (late,)
    assert [(item.reason, item.row) for item in checked.rejects] == [(RejectReason.INCONSISTENT, row_text(early))]


def test_of_a_bar_given_twice_in_one_answer_the_lower_one_is_kept():
    first, second, third = bar(5), bar(5, close=D("99.75")), bar(5, close=D("99.8"))
    checked = check(Batch(job=JOB, records=(bar(4), first, second, third)), now=NOW)
    assert checked.records == (bar(4), third)
    assert [item.row for item in checked.rejects] == [row_text(first), row_text(second)]


def test_equal_bars_of_overlapping_pages_are_no_contradiction():
    pages = (bar(4), bar(5), bar(5, received_at=NOW - timedelta(seconds=1)), bar(6))
    checked = check(Batch(job=JOB, records=pages), now=NOW)
    assert checked.records == pages
    assert checked.rejects == ()


def test_bars_out_of_order_and_of_several_series_are_all_kept():
    other = replace(SWAP, base="ETH", venue_symbol="ETH-USDT-SWAP")
    mixed = (bar(7), bar(5), bar(6, instrument=other), bar(5, instrument=other, close=D("99.75")), bar(6))
    assert check(Batch(job=JOB, records=mixed), now=NOW).records == mixed


def test_a_forming_bar_does_not_contradict_the_closed_one_before_it():
    forming = bar(5, closed=False, close=D("99.75"))
    assert check(Batch(job=JOB, records=(bar(5), forming)), now=NOW).rejects == ()
