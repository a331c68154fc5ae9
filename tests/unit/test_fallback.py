"""Who may stand in for whom: only what means the same, and never under another name than its own."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from collector.fallback import (
    KnownAsset,
    VenuePrice,
    equivalents,
    in_our_ids,
    prices_of_venues,
    stand_in,
)
from collector.records import Asset, Batch, Dataset, Instrument, Interval, Job, Kind, MarketSnapshot
from tests.storage import samples

NOW = datetime(2026, 3, 11, 14, 37, tzinfo=UTC)
ORDER = ("binance_futures", "binance_spot", "kraken", "okx")
D = Decimal
ONE = D(1)


@dataclass(frozen=True)
class Row:
    instrument: Instrument
    asset_id: str | None = "bitcoin"
    asset_units: Decimal | None = ONE
    match_state: str | None = "matched"
    tradable: bool | None = True
    gone_at: datetime | None = None


def item(venue, base="BTC", quote="USDT", kind=Kind.PERP):
    return Instrument(venue=venue, base=base, quote=quote, kind=kind, venue_symbol=f"{base}{quote}")


WANTED = Row(item("binance_futures"))


def found(*others, wanted=WANTED, order=ORDER):
    return [other.id for other in equivalents(wanted.instrument, [wanted, *others], order)]


def test_the_same_contract_of_another_venue_stands_in():
    assert found(Row(item("okx"))) == ["okx:BTC-USDT:perp"]


def test_the_configured_order_decides_and_whoever_is_not_in_it_never_stands_in():
    wanted = Row(item("okx", kind=Kind.SPOT))
    rows = [Row(item(venue, kind=Kind.SPOT)) for venue in ("kraken", "binance_spot", "elsewhere")]
    assert found(*rows, wanted=wanted) == ["binance_spot:BTC-USDT:spot", "kraken:BTC-USDT:spot"]
    assert found(*rows, wanted=wanted, order=("kraken", "okx")) == ["kraken:BTC-USDT:spot"]


@pytest.mark.parametrize(
    "other",
    [
        Row(item("okx", kind=Kind.SPOT)),
        Row(item("okx", quote="USDC")),
        Row(item("okx", quote="USD")),
        Row(item("okx"), asset_id="wrapped-bitcoin"),
        Row(item("okx", base="1000BTC"), asset_units=D(1000)),
        Row(item("okx"), match_state="ambiguous"),
        Row(item("okx"), asset_id=None, asset_units=None, match_state=None),
        Row(item("okx"), tradable=False),
        Row(item("okx"), gone_at=NOW),
        Row(item("binance_futures", base="XBT")),
    ],
    ids=["spot", "usdc", "dollar", "asset", "units", "ambiguous", "unmatched", "halted", "gone", "own venue"],
)
def test_what_does_not_mean_the_same_does_not(other):
    assert found(other) == []


def test_without_a_match_nothing_is_known_to_be_the_same():
    assert found(Row(item("okx")), wanted=Row(item("binance_futures"), match_state="unmatched")) == []


def test_different_names_of_one_coin_are_the_same_when_the_units_are():
    wanted = Row(item("binance_futures", base="1000PEPE"), asset_id="pepe", asset_units=D(1000))
    same = Row(item("okx", base="KPEPE"), asset_id="pepe", asset_units=D(1000))
    assert found(same, Row(item("okx", base="PEPE"), asset_id="pepe"), wanted=wanted) == ["okx:KPEPE-USDT:perp"]


def test_a_bar_that_stands_in_gets_the_wanted_instrument_and_keeps_its_source():
    bar = samples.candle()
    job = Job(
        source="okx", dataset=Dataset.CANDLES, instruments=(samples.BTC,), interval=Interval.M1, stands_for=item("x")
    )
    (changed,) = stand_in(Batch(job=job, records=(bar,))).records
    assert changed == replace(bar, instrument=item("x"))
    assert changed.source == "okx"
    plain = Batch(job=replace(job, stands_for=None), records=(bar,))
    assert stand_in(plain) is plain


def test_bars_beside_what_was_asked_for_do_not_stand_in():
    bars = tuple(samples.candle(minute) for minute in range(4))
    job = Job(
        source="okx",
        dataset=Dataset.CANDLES,
        instruments=(samples.BTC,),
        interval=Interval.M1,
        since=bars[1].open_time,
        until=bars[3].open_time,
        stands_for=item("x"),
    )
    assert [bar.open_time for bar in stand_in(Batch(job=job, records=bars)).records] == [
        bars[1].open_time,
        bars[2].open_time,
    ]


# --------------------------------------------------------------------------- prices


def snapshot(asset_id, price):
    return replace(samples.snapshot(asset_id, "1"), source="coincap", price_usd=None if price is None else D(price))


OURS = [
    KnownAsset(asset_id="bitcoin", symbol="btc", price_usd=D(100_000)),
    KnownAsset(asset_id="ripple", symbol="xrp", price_usd=D(2)),
    KnownAsset(asset_id="one-coin", symbol="dup", price_usd=D(1)),
    KnownAsset(asset_id="two-coin", symbol="dup", price_usd=D(1)),
    KnownAsset(asset_id="unpriced", symbol="unp", price_usd=None),
    KnownAsset(asset_id="real", symbol="cpy", price_usd=D(3)),
    KnownAsset(asset_id="bridged-real", symbol="cpy", price_usd=None),
    KnownAsset(asset_id="other-real", symbol="cpy", price_usd=D(30)),
]
SYMBOLS = {"bitcoin": "BTC", "xrp": "XRP", "dup": "DUP", "unp": "UNP", "also-xrp": "XRP", "ripple": "RPL", "cpy": "CPY"}


def named(*rows):
    job = Job(source="coincap", dataset=Dataset.MARKETS, limit=9)
    batch = in_our_ids(Batch(job=job, records=rows), SYMBOLS, OURS)
    return [(row.asset_id, row.source, row.price_usd) for row in batch.records]


def test_the_same_id_with_the_same_symbol_is_ours_whatever_the_price():
    assert named(snapshot("bitcoin", 5)) == [("bitcoin", "coincap", D(5))]


@pytest.mark.parametrize(("price", "known"), [("2.39", True), ("1.61", True), ("2.41", False), ("1.59", False)])
def test_another_id_is_ours_by_its_symbol_and_a_price_within_a_fifth(price, known):
    assert named(snapshot("xrp", price)) == ([("ripple", "coincap", D(price))] if known else [])


@pytest.mark.parametrize("row", [snapshot("dup", 1), snapshot("unp", 1), snapshot("xrp", None), snapshot("ripple", 2)])
def test_two_of_a_symbol_no_price_and_an_id_with_another_symbol_prove_nothing(row):
    assert named(row) == []


@pytest.mark.parametrize(("price", "name"), [(3, "real"), (31, "other-real")])
def test_of_several_with_one_symbol_the_only_one_with_that_price_is_meant_and_unpriced_copies_do_not_count(price, name):
    assert named(snapshot("cpy", price)) == [(name, "coincap", D(price))]


def test_symbols_that_come_beside_the_prices_are_enough_and_win_over_stored_ones():
    def asset(asset_id, symbol):
        times = {"observed_at": NOW, "received_at": NOW}
        return Asset(source="coincap", asset_id=asset_id, symbol=symbol, name=symbol, **times)

    job = Job(source="coincap", dataset=Dataset.MARKETS, limit=9)
    rows = (asset("xrp", "XRP"), snapshot("xrp", 2), asset("bitcoin", "WBTC"), snapshot("bitcoin", 100_000))
    found = in_our_ids(Batch(job=job, records=rows), {"bitcoin": "BTC"}, OURS).records
    assert found == (snapshot("ripple", 2),)  # neither the assets, nor a bitcoin that says it is something else


def test_two_that_would_be_one_asset_are_both_left_out():
    assert named(snapshot("xrp", 2), snapshot("also-xrp", 2), snapshot("bitcoin", 1)) == [("bitcoin", "coincap", D(1))]


def price(instrument, value):
    return VenuePrice(instrument=instrument.id, price=D(value), observed_at=NOW - timedelta(seconds=5))


def test_the_prices_of_venues_become_prices_of_coins_each_with_its_venue():
    pepe = Row(item("okx", base="1000PEPE"), asset_id="pepe", asset_units=D(1000))
    btc = [Row(item("okx")), Row(item("binance_spot", kind=Kind.SPOT)), Row(item("okx", quote="BTC"))]
    rows = [pepe, *btc, Row(item("okx", base="ETH"), asset_id="ethereum")]
    prices = [price(row.instrument, value) for row, value in zip(rows, ("0.012", 101, 100, 1, 7), strict=True)]
    batches = prices_of_venues(prices, rows, ["bitcoin", "pepe"], ("binance_spot", "okx"), NOW)
    assert [(batch.job.source, batch.job.dataset, batch.state) for batch in batches] == [
        ("binance_spot", "markets", "ok"),
        ("okx", "markets", "ok"),
    ]
    ((bitcoin,), (frog,)) = (batch.records for batch in batches)
    assert (bitcoin.asset_id, bitcoin.source, bitcoin.price_usd) == ("bitcoin", "binance_spot", D(100))
    assert (frog.asset_id, frog.source, frog.price_usd) == ("pepe", "okx", D("0.000012"))
    assert isinstance(frog, MarketSnapshot)
    assert frog.observed_at == NOW - timedelta(seconds=5)
    assert {frog.market_cap_usd, frog.rank, frog.volume_24h_usd, frog.change_24h_pct, frog.ath_usd} == {None}


def test_without_a_price_in_dollars_there_is_no_row():
    rows = [Row(item("okx", quote="BTC")), Row(item("okx"))]
    assert prices_of_venues([price(rows[0].instrument, 1)], rows, ["bitcoin"], ("okx",), NOW) == []
