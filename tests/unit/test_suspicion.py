"""Doubts, with bounds worked out by hand: 20 % a minute, its logarithm growing with the fourth root of minutes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.records import (
    Batch,
    Candle,
    Dataset,
    Instrument,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
    MarkPrice,
    OpenInterest,
)
from collector.suspicion import Bounds, Price, View, divergence_of, newest_prices, suspects_of

D = Decimal
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SWAP = Instrument(venue="okx", base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTC-USDT-SWAP")
BOUNDS = Bounds()
MARKS = (Dataset.MARK_PRICES, SWAP.id, "")


def bar(minute, close="100", high=None, low=None, interval=Interval.M1, **changes):
    opened = NOON + timedelta(minutes=minute)
    values = {"high": D(high or close), "low": D(low or close), "open": D(close), "close": D(close)}
    return Candle(
        source=changes.pop("source", "okx"),
        observed_at=opened + interval.width,
        received_at=NOON,
        instrument=SWAP,
        interval=interval,
        open_time=opened,
        volume=None,
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        closed=True,
        **values,
    )


def mark(price, minute=0):
    at = NOON + timedelta(minutes=minute)
    return MarkPrice(
        source="okx", observed_at=at, received_at=at, instrument=SWAP, mark_price=D(price), index_price=None
    )


def batch(*records):
    return Batch(job=Job(source="okx", dataset=Dataset.CANDLES), records=records)


def before(price, minutes=1, series=MARKS):
    return {series: Price(price=D(price), observed_at=NOON - timedelta(minutes=minutes), source="okx")}


@pytest.mark.parametrize(
    ("minutes", "price", "doubted"),
    [
        (1, "120", False),  # exactly 20 %
        (1, "120.1", True),
        (1, "83.34", False),  # 100 / 1.2 = 83.333...
        (1, "83.3", True),
        (0.1, "120.1", True),  # less than a minute counts as one
        (16, "143.9", False),  # twice the logarithm: 1.2 ^ 2 = 1.44
        (16, "144.1", True),
        (81, "172.7", False),  # three times: 1.2 ^ 3 = 1.728
        (81, "172.9", True),
    ],
)
def test_a_price_has_jumped_when_it_moved_further_than_time_allows(minutes, price, doubted):
    found = suspects_of(batch(mark(price)), before("100", minutes), BOUNDS)
    assert bool(found) is doubted


def test_a_suspect_says_what_is_doubted_and_why():
    (suspect,) = suspects_of(batch(mark("150")), before("100", 2), BOUNDS)
    assert (suspect.kind, suspect.dataset, suspect.subject, suspect.source) == (
        "jump",
        Dataset.MARK_PRICES,
        "okx:BTC-USDT:perp",
        "okx",
    )
    assert (suspect.value, suspect.reference, suspect.observed_at) == (D(150), D(100), NOON)
    assert suspect.detail == "price +50 % from the one before, 2 min earlier"


def test_a_spike_inside_a_bar_is_a_jump_and_so_is_the_way_back_only_if_the_close_stayed_there():
    spike = suspects_of(batch(bar(0), bar(1, high="200"), bar(2)), {}, BOUNDS)
    assert [(item.value, item.reference) for item in spike] == [(D(200), D(100))]
    moved = suspects_of(batch(bar(0), bar(1, close="200"), bar(2)), {}, BOUNDS)
    assert [(item.value, item.reference) for item in moved] == [(D(200), D(100)), (D(100), D(200))]


def test_bars_are_compared_in_order_of_time_however_they_came():
    assert suspects_of(batch(bar(2, "140"), bar(0, "100"), bar(1, "118")), {}, BOUNDS) == []
    assert len(suspects_of(batch(bar(2, "150"), bar(0, "100"), bar(1, "118")), {}, BOUNDS)) == 1


def test_a_longer_bar_may_move_more_than_a_minute():
    hours = (bar(0, "100", interval=Interval.H1), bar(60, "165", interval=Interval.H1))
    assert suspects_of(batch(*hours), {}, BOUNDS) == []  # 1.2 ^ (60 ^ 0.25) = 1.661
    assert len(suspects_of(batch(hours[0], bar(60, "167", interval=Interval.H1)), {}, BOUNDS)) == 1


def test_bars_of_two_lengths_are_two_series():
    assert suspects_of(batch(bar(0, "100"), bar(0, "300", interval=Interval.H1)), {}, BOUNDS) == []


def test_nothing_is_doubted_without_a_value_before_or_against_a_newer_one():
    assert suspects_of(batch(mark("1"), bar(0)), {}, BOUNDS) == []
    assert suspects_of(batch(mark("1")), before("100", -5), BOUNDS) == []


def test_records_without_a_price_are_left_alone():
    interest = OpenInterest(
        source="okx",
        observed_at=NOON,
        received_at=NOON,
        instrument=SWAP,
        open_interest=D(1),
        contracts=None,
        value_usd=None,
    )
    unpriced = MarketSnapshot(
        source="coingecko", observed_at=NOON, received_at=NOON, asset_id="x", price_usd=None, market_cap_usd=None
    )
    assert suspects_of(batch(interest, unpriced), {}, BOUNDS) == []
    assert newest_prices(batch(interest, unpriced), {}) == {}


def test_the_newest_price_of_a_series_is_remembered_an_older_one_forgets_nothing():
    series = (Dataset.CANDLES, SWAP.id, "1m")
    known = newest_prices(batch(bar(1, "101"), bar(0, "100")), {})
    assert known == {series: Price(price=D(101), observed_at=NOON + timedelta(minutes=2), source="okx")}
    assert newest_prices(batch(bar(-30, "90")), known) == {}


# --------------------------------------------------------------------------- divergence


def view(source, price, *, quote="USDT", asset="bitcoin", subject=None, minute=0):
    return View(
        asset_id=asset,
        quote=quote,
        dataset=Dataset.TICKERS,
        subject=subject or f"{source}:BTC-{quote}:perp",
        source=source,
        price=D(price),
        observed_at=NOON + timedelta(minutes=minute),
    )


def test_sources_that_agree_within_five_percent_are_no_suspects():
    found = divergence_of([view("okx", "100"), view("binance_futures", "104.9"), view("coingecko", "101")], BOUNDS)
    assert (found.compared, found.suspects) == (1, ())
    assert found.worst_pct == D("3.861")  # 104.9 / 101 - 1
    assert found.worst_subject == "binance_futures:BTC-USDT:perp"


def test_of_three_sources_the_one_that_stands_alone_is_doubted():
    found = divergence_of([view("okx", "100"), view("kraken", "106"), view("coingecko", "100.5")], BOUNDS)
    ((suspect),) = found.suspects
    assert (suspect.kind, suspect.source, suspect.value, suspect.reference) == (
        "divergence",
        "kraken",
        D(106),
        D("100.5"),
    )
    assert suspect.reference_source == "median of coingecko, kraken, okx"
    assert suspect.detail == "5.47 % from what others say a coin of bitcoin costs"


def test_of_two_sources_both_are_doubted():
    found = divergence_of([view("okx", "100"), view("kraken", "110")], BOUNDS)
    assert {(item.source, item.reference, item.reference_source) for item in found.suspects} == {
        ("okx", D(110), "kraken"),
        ("kraken", D(100), "okx"),
    }


def test_several_prices_of_one_source_are_one_voice():
    odd = [view("okx", "120"), view("okx", "120.2"), view("okx", "119.8")]
    found = divergence_of([*odd, view("kraken", "100"), view("coingecko", "100.2")], BOUNDS)
    assert {item.source for item in found.suspects} == {"okx"}
    assert len(found.suspects) == 3


def test_dollars_and_their_coins_are_one_currency_euros_another():
    dollars = [view("okx", "100", quote="USDT"), view("kraken", "100.3", quote="USD")]
    found = divergence_of([*dollars, view("kraken", "92", quote="EUR")], BOUNDS)
    assert (found.compared, found.suspects) == (1, ())


def test_prices_of_different_moments_are_not_compared():
    assert divergence_of([view("okx", "100"), view("kraken", "150", minute=6)], BOUNDS).compared == 0


def test_different_assets_are_never_compared():
    assert divergence_of([view("okx", "100"), view("kraken", "150", asset="ether")], BOUNDS).compared == 0


def test_nothing_to_compare_is_told_as_such():
    found = divergence_of([], BOUNDS)
    assert (found.compared, found.worst_pct, found.worst_subject) == (0, None, "")
