"""Stored rows as they were known at a moment: later corrections are undone, later rows are not there."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from collector.records import IndicatorBlock, Instrument, Interval, Kind
from collector.storage.past import FIRST_KNOWN, LOOKED_AT, Past
from collector.studies.prices import asset_prices, chosen_series, daily_caps
from tests.storage.samples import BTC as SAMPLE
from tests.storage.samples import book, ticker
from tests.studies.market import BTC, DAY, ETH, START, Market, bar, bars, instrument, settled, snapshot

NOW = START + 10 * DAY
SPOT = Kind.SPOT


@pytest.fixture
def past(database):
    return Past(database)


@pytest.fixture
def market(database):
    return Market(database)


@pytest.fixture
def corrected(database, market):
    """A bar of BTC that closed at 100, was corrected to 110 and volume 20 on the 3rd, to 120 on the 5th."""
    market.put(*bars(BTC, [90, 100, 130]))
    opened = START + DAY
    for day, close, volume in ((3, 110, 20), (5, 120, 20)):
        market.put(bar(BTC, opened, close, open=90, volume=volume))
        newest = "(SELECT max(revision_id) FROM revisions)"
        market.run(f"UPDATE revisions SET detected_at = :at WHERE revision_id = {newest}", at=START + day * DAY)


def closes(past, *, as_of=NOW, known=NOW, since=START, item=BTC):
    found = past.bars([item.id], Interval.D1, since=since, as_of=as_of, known=known)
    return list(found[item.id]["close"]) if found else []


# ---------------------------------------------------------------------- bars


def test_a_bar_that_has_not_ended_is_not_there_and_one_that_ends_now_is(past, market):
    market.put(*bars(BTC, [1, 2, 3]))
    assert closes(past, as_of=START + 2 * DAY) == [1, 2]
    assert closes(past, as_of=START + 2 * DAY - timedelta.resolution) == [1]
    assert closes(past, as_of=START) == []


def test_bars_are_those_that_open_at_or_after_since(past, market):
    market.put(*bars(BTC, [1, 2, 3]))
    assert closes(past, since=START + DAY) == [2, 3]
    assert closes(past, since=START + DAY + timedelta.resolution) == [3]


def test_a_correction_counts_from_the_moment_it_was_learnt(past, corrected):
    assert closes(past, known=START + 6 * DAY) == [90, 120, 130]
    assert closes(past, known=START + 5 * DAY) == [90, 120, 130]
    assert closes(past, known=START + 4 * DAY) == [90, 110, 130]
    assert closes(past, known=START + 2 * DAY) == [90, 100, 130]


def test_only_what_was_corrected_is_undone(past, corrected):
    window = past.bars([BTC.id], Interval.D1, since=START, as_of=NOW, known=START + 2 * DAY)[BTC.id]
    assert [window[name][1] for name in ("open", "high", "low", "close", "volume")] == [90, 100, 90, 100, 10]


def test_as_first_known_every_correction_is_undone(past, corrected):
    assert closes(past, known=FIRST_KNOWN) == [90, 100, 130]


def test_a_volume_that_was_not_told_at_first_is_not_known_then(past, market):
    market.put(bar(BTC, START, 5, volume=7))
    market.run("UPDATE candles SET volume = NULL")
    market.put(bar(BTC, START, 5, volume=7))
    then = past.bars([BTC.id], Interval.D1, since=START, as_of=NOW, known=FIRST_KNOWN)[BTC.id]
    assert np.isnan(then["volume"][0])


def test_a_correction_of_another_interval_or_instrument_touches_nothing_else(past, market):
    market.put(bar(BTC, START, 5), bar(ETH, START, 6), bar(BTC, START, 7, interval=Interval.H1))
    market.put(bar(ETH, START, 60), bar(BTC, START, 70, interval=Interval.H1))
    assert closes(past, known=FIRST_KNOWN) == [5]
    assert closes(past, known=FIRST_KNOWN, item=ETH) == [6]


def test_a_corrected_bar_outside_the_window_touches_no_other(past, corrected):
    assert closes(past, known=FIRST_KNOWN, since=START + 2 * DAY) == [130]
    assert closes(past, known=FIRST_KNOWN, as_of=START + DAY) == [90]


def test_unknown_names_and_series_without_bars_are_left_out(past, market):
    market.put(*bars(BTC, [1]))
    found = past.bars([BTC.id, ETH.id, "nowhere:X"], Interval.D1, since=START, as_of=NOW, known=NOW)
    assert list(found) == [BTC.id]
    assert past.bars([], Interval.D1, since=START, as_of=NOW, known=NOW) == {}


# ---------------------------------------------------------------------- observations


def seen(found):
    return sorted(zip(found.times, found.subjects, found.values, strict=True))


def test_the_newest_observations_of_each_instrument_are_told(past, market):
    market.put(*(ticker(BTC, str(10 + n), START + timedelta(minutes=n)) for n in range(5)))
    market.put(ticker(ETH, "7", START), ticker(ETH, "8", START + timedelta(minutes=9)))
    found = past.observations("price", [BTC.id, ETH.id], last=2, as_of=START + timedelta(minutes=3))
    assert seen(found) == [
        (START, ETH.id, 7.0),
        (START + timedelta(minutes=2), BTC.id, 12.0),
        (START + timedelta(minutes=3), BTC.id, 13.0),
    ]


def test_rows_that_do_not_tell_a_measure_do_not_take_the_place_of_those_that_do(past, market):
    told = {0: Decimal(5), 2: Decimal(0)}
    market.put(*(ticker(BTC, "1", START + timedelta(minutes=n), volume_24h=told.get(n)) for n in range(5)))
    found = past.observations("volume", [BTC.id], last=2, as_of=NOW)
    assert seen(found) == [(START, BTC.id, 5.0), (START + timedelta(minutes=2), BTC.id, 0.0)]


def test_a_measure_that_has_not_been_told_for_long_is_not_looked_for_for_ever(past, market):
    market.put(ticker(BTC, "1", START, volume_24h=Decimal(5)))
    market.put(*(ticker(BTC, "1", START + timedelta(minutes=1 + n)) for n in range(LOOKED_AT)))
    assert seen(past.observations("volume", [BTC.id], last=1, as_of=NOW)) == []


def test_every_measure_is_read_from_its_column(past, market):
    market.put(book(bids=(("99", "3"),), asks=(("101", "1"),), observed_at=START))
    spread = past.observations("spread_bps", [SAMPLE.id], last=5, as_of=NOW)
    assert seen(spread) == [(START, SAMPLE.id, pytest.approx(200))]  # 2 of 100
    imbalance = past.observations("imbalance", [SAMPLE.id], last=5, as_of=NOW)
    assert list(imbalance.values) == [0.5]  # (3 - 1) / 4
    with pytest.raises(KeyError):
        past.observations("mood", [SAMPLE.id], last=5, as_of=NOW)


def test_indicators_are_told_at_the_end_of_their_bars_without_those_before_enough_history(past, market):
    times = tuple(START + n * Interval.M1.width for n in range(4))
    values = {"rsi_14": np.array([40.0, np.nan, 50.0, 60.0])}
    block = IndicatorBlock(
        instrument=BTC, interval=Interval.M1, open_times=times, columns=values, extra={}, warm=(True,) * 4
    )
    market.writer.write_indicators(market.cycle, [block])
    as_of = START + timedelta(minutes=3, seconds=59)
    found = past.indicators("rsi_14", Interval.M1, [BTC.id], last=2, as_of=as_of)
    assert seen(found) == [(START + timedelta(minutes=1), BTC.id, 40.0), (START + timedelta(minutes=3), BTC.id, 50.0)]


def test_of_several_sources_the_venues_own_funding_counts(past, market):
    late = START + DAY
    market.put(settled(BTC, START, "0.0001"), settled(BTC, START, "0.0009", source="binance_futures", received_at=late))
    market.put(settled(ETH, START, "0.0002", source="kraken"))
    market.put(settled(ETH, START, "0.0003", source="binance_futures", received_at=late))
    found = past.funding([BTC.id, ETH.id], since=START - DAY, as_of=NOW)
    assert seen(found) == [(START, BTC.id, 0.0001), (START, ETH.id, 0.0003)]


def test_a_corrected_funding_rate_counts_from_the_moment_it_was_learnt(past, market):
    market.put(settled(BTC, START, "0.0001"), settled(BTC, START + DAY, "0.0005"))
    for day, rate in ((3, "0.0002"), (5, "0.0003")):
        market.put(settled(BTC, START, rate))
        newest = "(SELECT max(revision_id) FROM revisions)"
        market.run(f"UPDATE revisions SET detected_at = :at WHERE revision_id = {newest}", at=START + day * DAY)

    def told(known):
        return list(past.funding([BTC.id], since=START - DAY, as_of=NOW, known=known).values)

    assert told(None) == told(NOW) == [0.0003, 0.0005]
    assert told(START + 4 * DAY) == [0.0002, 0.0005]
    assert told(START + 2 * DAY) == told(FIRST_KNOWN) == [0.0001, 0.0005]


def test_funding_is_of_the_time_asked_for_and_regular(past, market):
    hours = [timedelta(hours=8 * n) for n in range(4)]
    market.put(*(settled(BTC, START + after, f"0.000{n + 1}") for n, after in enumerate(hours)))
    market.put(settled(BTC, START + timedelta(hours=9), "0.5", rate_type="special"))
    found = past.funding([BTC.id], since=START, as_of=START + hours[2])
    assert list(found.values) == [0.0002, 0.0003]


# ---------------------------------------------------------------------- assets


def test_the_last_snapshot_of_each_asset_and_day_counts(past, market):
    evening = START + timedelta(hours=23, minutes=59)
    market.put(snapshot("bitcoin", 5, START), snapshot("bitcoin", 6, evening, rank=1, price=3))
    market.put(snapshot("ether", 2, evening - timedelta(hours=5)), snapshot("bitcoin", 7, START + DAY))
    found = past.daily_markets("coingecko", since=START, as_of=START + DAY)
    assert [(row["asset_id"], row["observed_at"], row["market_cap_usd"]) for row in found] == [
        ("bitcoin", evening, 6.0),
        ("ether", evening - timedelta(hours=5), 2.0),
        ("bitcoin", START + DAY, 7.0),
    ]
    assert (found[0]["rank"], found[0]["price_usd"], found[0]["volume_24h_usd"]) == (1, 3.0, None)


def test_daily_snapshots_end_at_the_moment_and_begin_at_since_and_are_of_one_source(past, market):
    at = [START + timedelta(hours=hour) for hour in (1, 5, 9)]
    market.put(*(snapshot("bitcoin", hour, moment) for hour, moment in zip((1, 5, 9), at, strict=True)))
    told = [row["market_cap_usd"] for row in past.daily_markets("coingecko", since=START, as_of=at[1])]
    assert told == [5.0]
    assert past.daily_markets("coingecko", since=at[2] + timedelta.resolution, as_of=NOW) == []
    assert past.daily_markets("coincap", since=START, as_of=NOW) == []


def test_a_cap_that_the_last_snapshot_did_not_tell_is_not_taken_from_an_earlier_one(past, market):
    market.put(snapshot("bitcoin", 5, START), snapshot("bitcoin", None, START + timedelta(hours=1)))
    assert daily_caps(past, since=START, as_of=NOW)["bitcoin"].isna().all()


def test_daily_caps_stand_at_the_end_of_their_day_one_row_a_day(past, market):
    at = [START + timedelta(hours=hour) for hour in (1, 2, 25)]
    market.put(snapshot("bitcoin", 5, at[0]), snapshot("ether", 2, at[1]), snapshot("ether", 3, at[2]))
    caps = daily_caps(past, since=START, as_of=NOW)
    assert list(caps.index) == [START + DAY, START + 2 * DAY]
    assert caps.loc[START + DAY].to_dict() == {"bitcoin": 5.0, "ether": 2.0}
    assert np.isnan(caps.loc[START + 2 * DAY, "bitcoin"])


def test_without_snapshots_there_are_no_caps(past, database):
    assert daily_caps(past, since=START, as_of=NOW).empty


# ---------------------------------------------------------------------- series


def test_a_series_tells_its_ends_its_asset_and_its_units(past, market):
    pepe = instrument("1000PEPE", venue="binance_futures")
    market.follow({BTC: "bitcoin", pepe: "pepe", ETH: None}, units={pepe: 1000})
    market.put(*bars(BTC, [1, 2, 3]), *bars(pepe, [4]), *bars(ETH, [1]))
    found = {item.instrument: item for item in past.series(Interval.D1)}
    assert list(found) == sorted(found)
    btc = found[BTC.id]
    assert (btc.first, btc.last, btc.asset_id, btc.units, btc.venue) == (START, START + 2 * DAY, "bitcoin", 1.0, "okx")
    assert (found[pepe.id].units, found[ETH.id].asset_id) == (1000.0, None)
    assert past.series(Interval.H1) == []


def test_series_nobody_follows_are_told_when_asked_for(past, market):
    market.put(*bars(ETH, [1]))
    market.follow({BTC: "bitcoin"})
    market.put(*bars(BTC, [1]))
    assert [item.instrument for item in past.series(Interval.D1)] == [BTC.id]
    assert [item.instrument for item in past.series(Interval.D1, followed=None)] == [BTC.id, ETH.id]
    assert [item.instrument for item in past.series(Interval.D1, followed=False)] == [ETH.id]


def chosen(past, market, *items, venues=("kraken", "okx")):
    market.follow(dict.fromkeys(items, "bitcoin"))
    for item in items:
        market.put(*bars(item, [1, 2]))
    return chosen_series(past.series(Interval.D1), venues)["bitcoin"].instrument


def test_the_best_venue_stands_for_an_asset_before_anything_else(past, market):
    perp, spot = instrument(venue="kraken", quote="USDC"), instrument(kind=SPOT)
    assert chosen(past, market, spot, perp) == perp.id


def test_spot_stands_before_perpetuals_and_then_the_best_quote(past, market):
    perp, dollar, coin = BTC, instrument(quote="USD", kind=SPOT), instrument(quote="USDC", kind=SPOT)
    assert chosen(past, market, perp, coin, dollar) == dollar.id


def test_of_series_that_are_alike_the_one_that_reaches_back_farthest_stands(past, market):
    young, old = BTC, instrument("XBT")
    market.follow({young: "bitcoin", old: "bitcoin"})
    market.put(*bars(young, [1, 2], start=START + DAY), *bars(old, [1, 2]))
    assert chosen_series(past.series(Interval.D1), ("okx",))["bitcoin"].instrument == old.id


def test_a_followed_series_stands_before_one_that_no_longer_is(past, market):
    gone, kept = instrument(venue="kraken", kind=SPOT), BTC
    market.follow({gone: "bitcoin"}, followed=False)
    market.follow({kept: "bitcoin"})
    market.put(*bars(gone, [1]), *bars(kept, [2]))
    assert chosen_series(past.series(Interval.D1, followed=None), ("kraken", "okx"))["bitcoin"].instrument == kept.id


def test_other_quotes_venues_kinds_and_unknown_assets_stand_for_nothing(past, market):
    others = {
        instrument(quote="EUR"): "bitcoin",
        instrument(venue="bitmex"): "bitcoin",
        Instrument(
            venue="okx", base="BTC", quote="USD", kind=Kind.INDEX, venue_symbol="x", contract_size=Decimal(1)
        ): "bitcoin",
        ETH: None,
    }
    market.follow(others)
    for item in others:
        market.put(*bars(item, [1]))
    assert chosen_series(past.series(Interval.D1), ("okx",)) == {}


def test_prices_are_of_one_coin_and_volumes_in_coins(past, market):
    pepe = instrument("1000PEPE")
    market.follow({pepe: "pepe"}, units={pepe: 1000})
    market.put(*bars(pepe, [2, 4]))
    found = asset_prices(past, ("okx",), since=START, as_of=NOW, known=NOW)
    assert found.instruments == {"pepe": pepe.id}
    assert list(found.bars.close["pepe"]) == [0.002, 0.004]
    assert list(found.bars.high["pepe"]) == [0.002, 0.004]
    assert list(found.bars.volume["pepe"]) == [10_000, 10_000]


def test_a_better_venue_that_came_later_takes_no_past_away(past, market):
    old, new = BTC, instrument(venue="kraken", kind=SPOT)
    market.follow({old: "bitcoin", new: "bitcoin"})
    market.put(*bars(old, [1, 2, 3, 4]))
    then = {"since": START, "as_of": START + 2 * DAY, "known": START + 2 * DAY}
    before = asset_prices(past, ("kraken", "okx"), **then)
    market.put(*bars(new, [7, 8], start=START + 2 * DAY))
    after = asset_prices(past, ("kraken", "okx"), **then)
    assert list(before.bars.close["bitcoin"]) == [1, 2]
    assert after.bars.close.equals(before.bars.close)
    assert after.instruments == before.instruments == {"bitcoin": old.id}


def test_the_newest_moment_of_a_table_is_told_by_its_columns(past, market):
    moment = datetime(2026, 2, 1, tzinfo=UTC)
    assert past.newest("asset_views", "as_of") is None
    market.run(
        "INSERT INTO asset_views (asset_id, as_of, rank, signals, members, computed_at) "
        "VALUES ('a', :one, 1, 1, '{}', :one), ('b', :two, 1, 1, '{}', :one)",
        one=moment,
        two=moment + DAY,
    )
    assert past.newest("asset_views", "as_of") == moment + DAY
    assert past.newest("asset_views", "as_of", asset_id="a") == moment


def test_views_are_all_of_a_time_or_those_at_the_ends_of_days(past, market):
    for hours in (0, 1, 24):
        market.run(
            "INSERT INTO asset_views (asset_id, as_of, rank, signals, members, computed_at) "
            "VALUES ('a', :at, 1, 1, '{}', :at)",
            at=START + timedelta(hours=hours),
        )
    asked = {"since": START - DAY, "as_of": NOW}
    assert [row["as_of"] for row in past.views(**asked)] == [START, START + timedelta(hours=1), START + DAY]
    assert [row["as_of"] for row in past.views(**asked, ends_of_days=True)] == [START, START + DAY]
