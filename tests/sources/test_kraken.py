"""Kraken over payloads in the documented shape: its names, its envelope, and what its figures mean."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from collector.clock import ManualClock
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueUnreachable
from collector.records import (
    Candle,
    Dataset,
    Instrument,
    InstrumentListing,
    Interval,
    Kind,
    OrderBook,
    Payload,
    RejectReason,
    Ticker,
)
from collector.resilience.quota import Quota
from collector.sources.base import Cost
from collector.sources.kraken import KrakenCollector
from tests.sources.samples import Samples

D = Decimal
RECEIVED = datetime(2026, 1, 1, 0, 2, 30, tzinfo=UTC)  # half a minute into the bar of 1767225720
SAMPLES = Samples(KrakenCollector, RECEIVED)
body, answer, payload_of = SAMPLES.body, SAMPLES.answer, SAMPLES.payload
job_for, parse = SAMPLES.job, SAMPLES.parse


def pair(base, quote, key):
    return Instrument(venue="kraken", base=base, quote=quote, kind=Kind.SPOT, venue_symbol=key)


BTC, ETH = pair("BTC", "USD", "XXBTZUSD"), pair("ETH", "USD", "XETHZUSD")


def test_a_pair_is_listed_under_the_name_everybody_uses_and_asked_for_by_the_oldest() -> None:
    first = parse(Dataset.INSTRUMENTS, "normal")[0]
    assert first == InstrumentListing(
        source="kraken",
        observed_at=RECEIVED,
        received_at=RECEIVED,
        instrument=BTC,
        status="online",
        tradable=True,
        listed_at=None,
        delists_at=None,
        tick_size=D("0.1"),
        lot_size=D("0.00000001"),
        category="crypto",
    )
    assert first.instrument.id == "kraken:BTC-USD:spot"


def test_bitcoin_and_dogecoin_have_their_usual_codes_on_either_side_of_a_pair() -> None:
    _, doge, quoted, *_ = parse(Dataset.INSTRUMENTS, "normal")
    assert (doge.instrument.id, doge.instrument.venue_symbol) == ("kraken:DOGE-USD:spot", "XDGUSD")
    assert (quoted.instrument.id, quoted.instrument.venue_symbol) == ("kraken:AAA-BTC:spot", "AAAXBT")


def test_status_category_and_absent_fields() -> None:
    _, doge, old, stock, dark = parse(Dataset.INSTRUMENTS, "normal")
    assert (doge.status, doge.tradable, doge.tick_size) == ("cancel_only", False, None)
    assert (old.status, old.tradable, old.category) == ("online", True, "crypto")
    assert stock.category == "tokenized"
    assert (dark.reason, dark.detail) == (RejectReason.INCONSISTENT, "XXBTZUSD.d has no public name")


def test_of_two_pairs_with_one_name_the_first_stays_and_the_other_is_told_of() -> None:
    (row,) = json.loads(body("instruments__zero"))["result"].values()
    text = json.dumps({"error": [], "result": {"AAAUSD": row, "AAAZUSD": row}}).encode()
    origin = payload_of(job_for(Dataset.INSTRUMENTS), text)
    first, other = KrakenCollector.parsers[Dataset.INSTRUMENTS](origin)
    assert (first.instrument.id, first.instrument.venue_symbol) == ("kraken:AAA-USD:spot", "AAAUSD")
    assert (other.reason, other.row) == (RejectReason.INCONSISTENT, "AAAZUSD")
    assert other.detail == "AAAZUSD and AAAUSD are both kraken:AAA-USD:spot"


def test_no_pairs_and_steps_of_zero_and_of_one() -> None:
    assert parse(Dataset.INSTRUMENTS, "empty") == []
    (row,) = parse(Dataset.INSTRUMENTS, "zero")
    assert (row.tick_size, row.lot_size) == (D(0), D(1))


@pytest.mark.parametrize("decimals", ["-1", "41", "100000000000"])
def test_a_number_of_decimals_that_no_pair_has_is_an_unknown_shape(decimals) -> None:
    text = body("instruments__zero").replace(b'"lot_decimals":0', b'"lot_decimals":' + decimals.encode())
    origin = Payload(job=job_for(Dataset.INSTRUMENTS), status=200, body=text, received_at=RECEIVED)
    with pytest.raises(PayloadError, match=r"\$\.result\.AAAUSD\.lot_decimals"):
        KrakenCollector.parsers[Dataset.INSTRUMENTS](origin)


def test_a_ticker_tells_of_24_hours_and_not_of_today_and_has_our_time() -> None:
    (row,) = parse(Dataset.TICKERS, "normal", BTC, ETH)
    assert row == Ticker(
        source="kraken",
        observed_at=RECEIVED,
        received_at=RECEIVED,
        instrument=BTC,
        last_price=D("100.15"),
        bid_price=D("100.1"),
        bid_size=D("7.5"),
        ask_price=D("100.2"),
        ask_size=D("5.25"),
        open_24h=None,
        high_24h=D("102.5"),
        low_24h=D("98.5"),
        volume_24h=D("20.5"),
        quote_volume_24h=None,
        change_24h_pct=None,
    )
    assert parse(Dataset.TICKERS, "empty", BTC) == []


def test_a_day_without_trades_has_zero_volume_and_no_prices_that_nobody_made() -> None:
    (row,) = parse(Dataset.TICKERS, "zero", BTC)
    assert (row.volume_24h, row.high_24h, row.low_24h) == (D(0), None, None)
    assert (row.bid_price, row.bid_size, row.ask_price, row.ask_size) == (None, None, D("100.2"), D(0))


def test_a_book_has_our_time_and_the_levels_of_the_job() -> None:
    (book,) = parse(Dataset.ORDER_BOOKS, "normal", BTC, limit=2)
    assert book == OrderBook(
        source="kraken",
        observed_at=RECEIVED,
        received_at=RECEIVED,
        instrument=BTC,
        last_update_id=None,
        bids=((D("100.1"), D("7.5")), (D(100), D(2))),
        asks=((D("100.2"), D("5.25")), (D("100.3"), D(1))),
    )


def test_an_empty_side_is_empty_and_a_level_of_no_size_is_left_to_the_checks() -> None:
    (empty,), (zero,) = parse(Dataset.ORDER_BOOKS, "empty", BTC), parse(Dataset.ORDER_BOOKS, "zero", BTC)
    assert (empty.bids, empty.asks) == ((), ())
    assert (zero.bids, zero.asks) == ((), ((D("100.2"), D(0)),))


def test_a_book_of_another_pair_is_refused() -> None:
    with pytest.raises(PayloadError, match="asked for XETHZUSD, got XXBTZUSD"):
        parse(Dataset.ORDER_BOOKS, "normal", ETH)


def test_bars_have_their_volume_from_the_seventh_column_and_the_last_one_still_runs() -> None:
    first, flat, running = parse(Dataset.CANDLES, "normal", BTC, interval=Interval.M1)
    assert first == Candle(
        source="kraken",
        observed_at=datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        received_at=RECEIVED,
        instrument=BTC,
        interval=Interval.M1,
        open_time=datetime(2026, 1, 1, tzinfo=UTC),
        open=D(100),
        high=D("101.2"),
        low=D("99.9"),
        close=D("100.5"),
        volume=D("3.25"),
        quote_volume=None,
        trades=12,
        taker_buy_volume=None,
        closed=True,
    )
    assert (flat.open, flat.low, flat.volume, flat.trades, flat.closed) == (D("100.5"), D("100.5"), D(0), 0, True)
    assert running.closed is False


def test_an_empty_answer_has_no_bars_and_one_without_trades_is_a_bar() -> None:
    assert parse(Dataset.CANDLES, "empty", BTC, interval=Interval.M1) == []
    (bar,) = parse(Dataset.CANDLES, "zero", BTC, interval=Interval.M1)
    assert (bar.volume, bar.trades) == (D(0), 0)


def test_bars_that_nobody_asked_for_are_left_out_so_that_a_window_gives_the_same_bars_at_any_time() -> None:
    second = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    window = {"interval": Interval.M1, "since": second, "until": second + timedelta(minutes=1)}
    (bar,) = parse(Dataset.CANDLES, "normal", BTC, **window)
    assert (bar.open_time, bar.closed) == (second, True)
    older = {"interval": Interval.M1, "since": second - timedelta(days=2), "until": second - timedelta(days=1)}
    assert parse(Dataset.CANDLES, "normal", BTC, **older) == [], "720 bars back, and no further"


def test_the_last_bar_runs_even_when_our_clock_says_that_it_ended() -> None:
    text = body("candles__normal")
    job = job_for(Dataset.CANDLES, BTC, interval=Interval.M1)
    late = Payload(job=job, status=200, body=text, received_at=RECEIVED + timedelta(minutes=5))
    assert [bar.closed for bar in KrakenCollector.parsers[Dataset.CANDLES](late)] == [True, True, False]


def test_weeks_that_open_on_thursday_are_not_offered() -> None:
    assert Interval.W1 not in KrakenCollector.intervals
    assert {Interval.M1, Interval.H1, Interval.D1} <= set(KrakenCollector.intervals)


def test_the_answer_about_another_pair_is_refused() -> None:
    with pytest.raises(PayloadError, match="asked for XXBTZUSD, got XETHZUSD"):
        parse(Dataset.CANDLES, "other_pair", BTC, interval=Interval.M1)


def check(name, status=200):
    KrakenCollector.check(answer(body(name), status))


def test_errors_come_with_status_200() -> None:
    with pytest.raises(RequestRejected, match="EQuery:Unknown asset pair") as gone:
        check("error__pair")
    assert gone.value.symbol_gone
    with pytest.raises(RateLimited) as refused:
        check("error__refused")
    assert (refused.value.retry_at, refused.value.banned) == (None, False)
    with pytest.raises(RateLimited) as locked:
        check("error__lockout")
    assert (locked.value.retry_at, locked.value.banned) == (RECEIVED + timedelta(minutes=15), True)
    with pytest.raises(VenueUnreachable):
        check("error__service")
    with pytest.raises(RequestRejected, match="EFunding"):
        check("error__text")


@pytest.mark.parametrize("name", ["error__warning", "candles__normal", "tickers__empty", "instruments__normal"])
def test_warnings_and_good_answers_pass(name) -> None:
    assert KrakenCollector.check(answer(body(name))) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, RateLimited), (403, AccessDenied), (451, AccessDenied), (520, VenueUnreachable), (400, RequestRejected)],
)
def test_a_status_counts_where_there_is_no_envelope(status, kind) -> None:
    with pytest.raises(kind):
        KrakenCollector.check(answer(b"<html>", status))


def test_an_address_that_is_not_served_switches_off_whatever_the_envelope_says() -> None:
    with pytest.raises(AccessDenied, match="HTTP 403: EGeneral:Too many requests"):
        check("error__refused", status=403)


def asked(job, name):
    made = []

    class Wire:
        def get(self, path, params, cost):
            made.append((path, dict(params), cost))
            return answer(body(name))

    assert len(list(KrakenCollector(Wire()).fetch(job))) == 1
    assert KrakenCollector.calls(job) == [made[0][2]]
    return made[0]


CALL = Cost(scope="calls")


def test_one_call_serves_each_job() -> None:
    assert asked(job_for(Dataset.INSTRUMENTS), "instruments__normal") == ("/0/public/AssetPairs", {}, CALL)
    assert asked(job_for(Dataset.TICKERS, BTC, ETH), "tickers__normal") == ("/0/public/Ticker", {}, CALL)
    assert asked(job_for(Dataset.TICKERS, BTC), "tickers__normal") == ("/0/public/Ticker", {"pair": "XXBTZUSD"}, CALL)


@pytest.mark.parametrize(("levels", "count"), [(50, 50), (1000, 500), (None, 500)])
def test_a_book_is_asked_for_with_as_many_levels_as_there_are(levels, count) -> None:
    job = job_for(Dataset.ORDER_BOOKS, BTC, limit=levels)
    assert asked(job, "order_books__normal") == ("/0/public/Depth", {"pair": "XXBTZUSD", "count": count}, CALL)


def test_candles_are_asked_for_from_the_second_before_the_first_bar() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    job = job_for(Dataset.CANDLES, BTC, interval=Interval.H4, since=since, until=since + timedelta(hours=8))
    assert asked(job, "candles__normal") == (
        "/0/public/OHLC",
        {"pair": "XXBTZUSD", "interval": 240, "since": 1767225599},
        CALL,
    )
    newest = job_for(Dataset.CANDLES, BTC, interval=Interval.M1)
    assert asked(newest, "candles__normal")[1] == {"pair": "XXBTZUSD", "interval": 1}


def test_calls_are_a_second_apart_and_at_most_five_in_six_seconds() -> None:
    clock = ManualClock(RECEIVED)
    quota = Quota(KrakenCollector.plans["public"].limits, clock=clock, reserve=0.0)
    moments = []
    for _ in range(12):
        quota.acquire(CALL, clock.monotonic() + 60)
        moments.append(clock.monotonic())
    assert min(later - sooner for sooner, later in pairwise(moments)) >= 1
    assert min(later - sooner for sooner, later in zip(moments, moments[5:], strict=False)) >= 6


def test_nothing_is_told_about_limits_and_other_datasets_are_not_offered() -> None:
    assert KrakenCollector.told_limits(payload_of(job_for(Dataset.TICKERS, BTC), b"")) == ()
    assert KrakenCollector.used_weight(answer(b"")) == {}
    with pytest.raises(ValueError, match="no funding"):
        asked(job_for(Dataset.FUNDING, BTC), "tickers__empty")
