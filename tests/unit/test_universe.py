"""What is followed: ranks and lists choose assets, prices decide which coin an instrument is about."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.records import Instrument, InstrumentListing, Kind
from collector.universe import (
    FollowedAsset,
    KnownMatch,
    Matches,
    MatchState,
    RankedAsset,
    choose_assets,
    choose_instruments,
    match_instruments,
)

NOW = datetime(2026, 1, 31, 15, 30, tzinfo=UTC)


def coin(asset_id, symbol, rank, price=None):
    return RankedAsset(
        asset_id=asset_id, symbol=symbol, rank=rank, price_usd=None if price is None else Decimal(str(price))
    )


BITCOIN = coin("bitcoin", "BTC", 1, 60000)
ETHEREUM = coin("ethereum", "ETH", 2, 3000)
PEPE = coin("pepe", "PEPE", 30, "0.00001")
PEPE_CLASSIC = coin("pepe-classic", "PEPE", 800, "4.2")
INCH = coin("1inch", "1INCH", 150, "0.4")
COINS = [BITCOIN, ETHEREUM, PEPE, PEPE_CLASSIC, INCH]


def listed(base, quote="USDT", venue="okx", kind=Kind.PERP, tradable=True, category="crypto"):
    instrument = Instrument(
        venue=venue,
        base=base,
        quote=quote,
        kind=kind,
        venue_symbol=f"{base}-{quote}-{'SWAP' if kind == 'perp' else ''}",
    )
    return InstrumentListing(
        source=venue,
        observed_at=NOW,
        received_at=NOW,
        instrument=instrument,
        status="live" if tradable else "suspend",
        tradable=tradable,
        listed_at=None,
        delists_at=None,
        tick_size=None,
        lot_size=None,
        category=category,
    )


def match_one(base, price, coins=COINS, known=None, quote="USDT", category="crypto", **options):
    listing = listed(base, quote=quote, category=category)
    prices = {} if price is None else {listing.instrument.id: Decimal(str(price))}
    before = {} if known is None else {listing.instrument.id: known}
    (match,) = match_instruments([listing], coins, prices, known=before, **options).items
    return match


def outcome(match):
    return match.state, match.asset_id, match.asset_units


# --------------------------------------------------------------------------- assets


def test_the_top_assets_are_chosen_by_rank():
    choice = choose_assets([INCH, ETHEREUM, PEPE, BITCOIN], 3)
    assert [asset.asset_id for asset in choice.followed] == ["bitcoin", "ethereum", "pepe"]
    assert {asset.reason for asset in choice.followed} == {"top"}
    assert choice.notes == ()


def test_an_unranked_asset_is_never_in_the_top_but_can_be_included():
    unranked = coin("nobody", "NOB", None)
    choice = choose_assets([unranked, BITCOIN], 5, include=["nobody"])
    assert choice.followed == (
        FollowedAsset(asset_id="bitcoin", symbol="BTC", rank=1, reason="top"),
        FollowedAsset(asset_id="nobody", symbol="NOB", rank=None, reason="included"),
    )
    assert [asset.asset_id for asset in choose_assets([unranked, BITCOIN], 5).followed] == ["bitcoin"]


def test_an_excluded_asset_takes_no_place_in_the_top():
    choice = choose_assets(COINS, 2, exclude=["bitcoin"])
    assert [asset.asset_id for asset in choice.followed] == ["ethereum", "pepe"]


def test_an_included_asset_takes_no_place_in_the_top():
    choice = choose_assets(COINS, 2, include=["1inch", "ethereum"])
    assert [(asset.asset_id, asset.reason) for asset in choice.followed] == [
        ("bitcoin", "top"),
        ("ethereum", "top"),
        ("1inch", "included"),
    ]


def test_a_symbol_that_one_asset_has_can_stand_for_it_in_any_case():
    assert [asset.asset_id for asset in choose_assets(COINS, 0, include=["eth"]).followed] == ["ethereum"]


def test_a_shared_symbol_is_not_guessed_but_noted():
    choice = choose_assets(COINS, 1, include=["PEPE"], exclude=["pepe-token"])
    assert [asset.asset_id for asset in choice.followed] == ["bitcoin"]
    assert choice.notes == (
        "include: the symbol PEPE is shared by pepe (rank 30), pepe-classic (rank 800); name an asset id",
        "exclude: pepe-token is neither an asset id nor a symbol of the listing",
    )


def test_an_asset_id_goes_before_a_symbol_of_the_same_spelling():
    choice = choose_assets([coin("pepe", "PEPE", 1), coin("other", "pepe", 2)], 0, include=["pepe"])
    assert [asset.asset_id for asset in choice.followed] == ["pepe"]


def test_exclusion_wins_over_inclusion_and_says_so():
    choice = choose_assets(COINS, 1, include=["ethereum"], exclude=["ETH"])
    assert [asset.asset_id for asset in choice.followed] == ["bitcoin"]
    assert choice.notes == ("include: ethereum is excluded as well and not followed",)


def test_an_asset_seen_on_two_pages_counts_once_with_its_better_rank():
    choice = choose_assets([coin("ethereum", "ETH", 3), BITCOIN, ETHEREUM], 2)
    assert [(asset.asset_id, asset.rank) for asset in choice.followed] == [("bitcoin", 1), ("ethereum", 2)]


@pytest.mark.parametrize("top", [0, -1])
def test_no_top_follows_only_what_is_included(top):
    assert choose_assets(COINS, top).followed == ()


def test_many_sharing_coins_are_counted_and_not_all_named():
    sharing = [coin(f"cat-{number}", "CAT", number) for number in range(1, 6)]
    (note,) = choose_assets(sharing, 0, include=["cat"]).notes
    assert "cat-1 (rank 1), cat-2 (rank 2), cat-3 (rank 3) and 2 more" in note


# --------------------------------------------------------------------------- matching


@pytest.mark.parametrize(
    ("base", "price", "asset_id", "units"),
    [
        ("BTC", "60100", "bitcoin", 1),
        ("PEPE", "0.00001", "pepe", 1),
        ("PEPE", "4.21", "pepe-classic", 1),
        ("1000PEPE", "0.0101", "pepe", 1000),
        ("10000PEPE", "0.1", "pepe", 10_000),
        ("1000000PEPE", "10.1", "pepe", 1_000_000),
        ("1MPEPE", "9.9", "pepe", 1_000_000),
        ("kPEPE", "0.0099", "pepe", 1000),
        ("KPEPE", "0.0099", "pepe", 1000),
        ("1INCH", "0.401", "1inch", 1),
    ],
)
def test_the_price_says_which_coin_a_code_means_and_how_many_of_it(base, price, asset_id, units):
    assert outcome(match_one(base, price)) == (MatchState.MATCHED, asset_id, Decimal(units))


def test_the_detail_of_a_match_tells_units_and_distance():
    assert match_one("1000PEPE", "0.0101").detail == "1000 x pepe, prices 1.00 % apart"
    assert match_one("BTC", "60000").detail == "bitcoin, prices 0.00 % apart"


@pytest.mark.parametrize(
    ("price", "state"),
    [
        ("61800", MatchState.MATCHED),  # exactly 3 % above 60000
        ("58200", MatchState.MATCHED),  # exactly 3 % below
        ("61800.01", MatchState.UNMATCHED),
        ("58199.99", MatchState.UNMATCHED),
    ],
)
def test_the_tolerance_is_three_percent_of_the_assets_price_and_inclusive(price, state):
    assert match_one("BTC", price).state is state


def test_the_tolerance_can_be_set():
    assert match_one("BTC", "60100", tolerance_pct=Decimal("0.1")).state is MatchState.UNMATCHED


def test_a_price_that_fits_no_sharing_coin_leaves_the_instrument_unmatched_with_the_distances():
    match = match_one("PEPE", "2.1")
    assert outcome(match) == (MatchState.UNMATCHED, None, None)
    assert match.detail == "the price 2.1 fits none of pepe (20999900.00 % away), pepe-classic (50.00 % away)"


def test_two_ranked_coins_at_one_price_are_ambiguous():
    twins = [coin("cat-one", "CAT", 10, "1.00"), coin("cat-two", "CAT", 400, "1.02")]
    match = match_one("CAT", "1.01", twins)
    assert outcome(match) == (MatchState.AMBIGUOUS, None, None)
    assert match.detail == "could be cat-one (rank 10), cat-two (rank 400): their prices do not tell them apart"


def test_the_worse_ranked_coin_is_matched_when_only_its_price_agrees():
    cats = [coin("cat-one", "CAT", 10, "5"), coin("cat-two", "CAT", 400, "1.02")]
    assert outcome(match_one("CAT", "1.01", cats)) == (MatchState.MATCHED, "cat-two", Decimal(1))


def test_an_unranked_copy_at_the_same_price_does_not_hide_the_ranked_original():
    coins = [coin("solana", "SOL", 6, "150"), coin("wrapped-solana", "SOL", None, "150.01")]
    assert outcome(match_one("SOL", "150.1", coins)) == (MatchState.MATCHED, "solana", Decimal(1))


def test_two_unranked_coins_at_one_price_are_ambiguous():
    coins = [coin("copy-a", "CPY", None, "2"), coin("copy-b", "CPY", None, "2.01")]
    assert match_one("CPY", "2", coins).state is MatchState.AMBIGUOUS


def test_a_better_ranked_coin_without_a_price_cannot_be_ruled_out():
    coins = [coin("cat-one", "CAT", 10, None), coin("cat-two", "CAT", 400, "1")]
    assert match_one("CAT", "1", coins).state is MatchState.AMBIGUOUS


def test_worse_ranked_and_unranked_coins_without_a_price_are_no_rivals():
    coins = [coin("cat-one", "CAT", 10, "1"), coin("cat-two", "CAT", 400, None), coin("cat-old", "CAT", None, None)]
    assert outcome(match_one("CAT", "1", coins)) == (MatchState.MATCHED, "cat-one", Decimal(1))


def test_a_multiplier_coin_and_its_thousandth_part_are_ambiguous_when_both_are_listed():
    coins = [coin("sats", "SATS", 200, "0.0000002"), coin("1000sats", "1000SATS", 300, "0.0002")]
    assert match_one("1000SATS", "0.0002", coins).state is MatchState.AMBIGUOUS


@pytest.mark.parametrize("price", [None, 0, -1])
def test_without_a_price_nothing_is_matched(price):
    match = match_one("BTC", price)
    assert match.state is MatchState.UNMATCHED
    assert match.detail == "no price yet to compare with bitcoin (rank 1)"


@pytest.mark.parametrize("asset_price", [None, 0])
def test_an_asset_without_a_price_is_no_match(asset_price):
    match = match_one("BTC", "60000", [coin("bitcoin", "BTC", 1, asset_price)])
    assert match.state is MatchState.UNMATCHED
    assert match.detail == "the price 60000 fits none of bitcoin (no price)"


def test_a_code_that_no_coin_has_is_unmatched():
    assert match_one("XYZ", "1").detail == "no coin has the symbol XYZ"


@pytest.mark.parametrize("category", ["stock", "commodity", "index", "forex", "inverse", "premarket"])
def test_what_is_no_coin_is_excluded_even_when_a_coin_has_its_ticker_and_price(category):
    match = match_one("MSTR", "0.031", [coin("mstr-meme", "MSTR", 90, "0.031")], category=category)
    assert outcome(match) == (MatchState.EXCLUDED, None, None)
    assert match.detail == f"not a coin: category {category}"


@pytest.mark.parametrize("category", ["crypto", "COIN", ""])
def test_coins_and_what_the_venue_leaves_open_are_judged_by_price(category):
    assert match_one("BTC", "60000", category=category).state is MatchState.MATCHED


@pytest.mark.parametrize("quote", ["USD", "USDC", "USDT", "USD_UM"])
def test_dollar_quotes_are_compared_as_dollars(quote):
    assert match_one("BTC", "60000", quote=quote).state is MatchState.MATCHED


def test_other_quotes_are_unmatched_with_the_reason():
    match = match_one("ETH", "0.05", quote="BTC")
    assert (match.state, match.detail) == (MatchState.UNMATCHED, "quoted in BTC, not in a dollar")


@pytest.mark.parametrize("quote", ["USDT-261225", "USDT"])
def test_a_dated_contract_is_excluded_even_when_its_price_fits(quote):
    dated = listed("BTC", quote=quote, kind=Kind.FUTURE)
    (match,) = match_instruments([dated], COINS, {dated.instrument.id: Decimal(60000)}).items
    assert outcome(match) == (MatchState.EXCLUDED, None, None)
    assert match.detail == "a dated contract, not followed"


def test_a_renamed_coin_is_found_under_its_new_symbol_when_the_price_agrees():
    coins = [coin("polygon-ecosystem-token", "POL", 60, "0.42")]
    assert outcome(match_one("MATIC", "0.421", coins)) == (MatchState.MATCHED, "polygon-ecosystem-token", Decimal(1))
    assert match_one("MATIC", "0.9", coins).state is MatchState.UNMATCHED


def test_a_renamed_coin_keeps_its_multiplier():
    coins = [coin("new", "XNO", 60, "0.001")]
    assert outcome(match_one("1000NANO", "1", coins)) == (MatchState.MATCHED, "new", Decimal(1000))


def test_the_coin_of_the_codes_own_name_goes_before_a_renamed_one_at_the_same_price():
    coins = [coin("matic-network", "MATIC", 500, "0.42"), coin("polygon-ecosystem-token", "POL", 60, "0.42")]
    assert match_one("MATIC", "0.42", coins).asset_id == "matic-network"


def test_the_listing_that_trades_counts_when_one_id_is_listed_twice():
    rows = [listed("BTC", tradable=False), listed("BTC")]
    (match,) = match_instruments(rows, COINS, {"okx:BTC-USDT:perp": Decimal(60000)}).items
    assert match.tradable is True


# --------------------------------------------------------------------------- matched before

KNOWN_PEPE = KnownMatch(asset_id="pepe", asset_units=Decimal(1000))


@pytest.mark.parametrize("price", ["0.0119", "0.012", "0.008"])  # 19 % above, 20 % above, 20 % below
def test_a_spike_within_the_wider_tolerance_keeps_the_match(price):
    assert outcome(match_one("1000PEPE", price, known=KNOWN_PEPE)) == (MatchState.MATCHED, "pepe", Decimal(1000))
    assert match_one("1000PEPE", price).state is MatchState.UNMATCHED


def test_a_price_beyond_the_wider_tolerance_ends_the_match_and_says_why():
    match = match_one("1000PEPE", "0.0121", known=KNOWN_PEPE)
    assert outcome(match) == (MatchState.UNMATCHED, None, None)
    assert match.detail == "was pepe, whose price is now 21.00 % away"


def test_a_ticker_taken_over_by_another_coin_is_let_go_first_and_found_the_next_time():
    listing = listed("PEPE")
    prices = {listing.instrument.id: Decimal("4.2")}
    known = {listing.instrument.id: KnownMatch(asset_id="pepe", asset_units=Decimal(1))}
    first = match_instruments([listing], COINS, prices, known=known)
    assert first.items[0].state is MatchState.UNMATCHED
    second = match_instruments([listing], COINS, prices, known=first.known())
    assert second.items[0].asset_id == "pepe-classic"


@pytest.mark.parametrize("price", [None, "0.01"])
def test_a_missing_price_on_either_side_is_no_evidence_against_a_match(price):
    coins = COINS if price is None else [coin("pepe", "PEPE", 30, None)]
    match = match_one("1000PEPE", price, coins, known=KNOWN_PEPE)
    assert outcome(match) == (MatchState.MATCHED, "pepe", Decimal(1000))
    assert match.detail == "pepe as before; a price is missing now"


def test_a_match_outlives_a_renamed_symbol_of_its_asset():
    coins = [coin("pepe", "FROG", 30, "0.00001")]
    assert match_one("1000PEPE", "0.0101", coins, known=KNOWN_PEPE).asset_id == "pepe"


def test_a_match_ends_when_its_asset_is_not_listed_any_more():
    match = match_one("1000PEPE", "0.01", [BITCOIN], known=KNOWN_PEPE)
    assert (match.state, match.detail) == (MatchState.UNMATCHED, "was pepe, which is not listed any more")


def test_a_twin_that_appears_later_does_not_disturb_a_match():
    twins = [coin("cat-one", "CAT", 10, "1.00"), coin("cat-two", "CAT", 5, "1.01")]
    known = KnownMatch(asset_id="cat-one", asset_units=Decimal(1))
    assert match_one("CAT", "1.01", twins, known=known).asset_id == "cat-one"


def test_a_match_ends_when_the_instrument_turns_out_to_be_no_coin():
    assert match_one("1000PEPE", "0.01", known=KNOWN_PEPE, category="stock").state is MatchState.EXCLUDED


# --------------------------------------------------------------------------- instruments


def judged(*rows, coins=COINS, price_of=None):
    usd = {"BTC": 60000, "ETH": 3000, "1000PEPE": "0.01", "PEPE": "0.00001", "1INCH": "0.4", **(price_of or {})}
    prices = {row.instrument.id: Decimal(str(usd[row.instrument.base])) for row in rows if row.instrument.base in usd}
    return match_instruments(rows, coins, prices)


FOLLOWED = choose_assets(COINS, 3).followed  # bitcoin, ethereum, pepe


def test_one_perpetual_per_asset_and_venue_is_chosen_in_rank_order():
    matches = judged(
        listed("1000PEPE", venue="binance_futures"),
        listed("ETH"),
        listed("BTC"),
        listed("BTC", quote="USDC"),
        listed("BTC", venue="binance_futures"),
        listed("1INCH"),
    )
    choice = choose_instruments(matches, FOLLOWED)
    assert choice.by_venue == {
        "binance_futures": ("binance_futures:BTC-USDT:perp", "binance_futures:1000PEPE-USDT:perp"),
        "okx": ("okx:BTC-USDT:perp", "okx:ETH-USDT:perp"),
    }
    assert choice.notes == ()


def test_the_first_quote_of_the_preference_that_is_there_counts():
    rows = [listed("BTC", quote="USDC"), listed("BTC"), listed("ETH", quote="USDC")]
    assert choose_instruments(judged(*rows), FOLLOWED, quotes=("usdc", "USDT")).by_venue == {
        "okx": ("okx:BTC-USDC:perp", "okx:ETH-USDC:perp")
    }
    assert choose_instruments(judged(*rows), FOLLOWED).by_venue == {"okx": ("okx:BTC-USDT:perp", "okx:ETH-USDC:perp")}
    assert choose_instruments(judged(*rows), FOLLOWED, quotes=("USD",)).by_venue == {}


def test_only_what_trades_is_chosen_and_the_next_quote_steps_in():
    rows = [listed("BTC", tradable=False), listed("BTC", quote="USDC")]
    assert choose_instruments(judged(*rows), FOLLOWED).by_venue == {"okx": ("okx:BTC-USDC:perp",)}


def test_a_venue_is_followed_in_perpetuals_and_in_spot_only_where_it_lists_no_perpetual():
    rows = [
        listed("BTC"),
        listed("BTC", kind=Kind.SPOT),
        listed("BTC", kind=Kind.FUTURE),
        listed("ETH", kind=Kind.SPOT),
    ]
    assert choose_instruments(judged(*rows), FOLLOWED).by_venue == {"okx": ("okx:BTC-USDT:perp",)}
    spot = [row for row in rows if row.instrument.kind is not Kind.PERP]
    assert choose_instruments(judged(*spot), FOLLOWED).by_venue == {"okx": ("okx:BTC-USDT:spot", "okx:ETH-USDT:spot")}


def test_of_two_bases_of_one_coin_the_one_with_fewer_coins_in_it_counts():
    rows = [listed("1000PEPE"), listed("PEPE")]
    assert choose_instruments(judged(*rows), FOLLOWED).by_venue == {"okx": ("okx:PEPE-USDT:perp",)}


def test_unmatched_ambiguous_and_excluded_instruments_are_not_chosen():
    rows = [listed("XYZ"), listed("BTC", category="stock"), listed("ETH")]
    choice = choose_instruments(judged(*rows, price_of={"ETH": 9}), FOLLOWED)
    assert choice.by_venue == {}


def test_included_instruments_are_followed_beside_the_chosen_ones_when_they_trade():
    rows = [listed("BTC"), listed("BTC", quote="USDC"), listed("XYZ"), listed("OLD", tradable=False)]
    choice = choose_instruments(
        judged(*rows),
        FOLLOWED,
        include=[
            "okx:XYZ-USDT:perp",
            "okx:BTC-USDC:perp",
            "okx:BTC-USDT:perp",
            "okx:OLD-USDT:perp",
            "okx:NO-USDT:perp",
        ],
    )
    assert choice.by_venue == {"okx": ("okx:BTC-USDT:perp", "okx:BTC-USDC:perp", "okx:XYZ-USDT:perp")}
    assert choice.notes == (
        "include_instruments: okx:NO-USDT:perp is not listed by its venue",
        "include_instruments: okx:OLD-USDT:perp does not trade now",
    )


def test_excluded_instruments_are_never_followed_and_win_over_included_ones():
    rows = [listed("BTC"), listed("BTC", quote="USDC"), listed("ETH")]
    choice = choose_instruments(
        judged(*rows),
        FOLLOWED,
        include=["okx:ETH-USDT:perp"],
        exclude=["okx:BTC-USDT:perp", "okx:ETH-USDT:perp", "okx:GONE-USDT:perp"],
    )
    assert choice.by_venue == {"okx": ("okx:BTC-USDC:perp",)}
    assert choice.notes == (
        "exclude_instruments: okx:GONE-USDT:perp is not listed by its venue",
        "include_instruments: okx:ETH-USDT:perp is excluded as well and not followed",
    )


def test_verdicts_can_be_read_by_state():
    matches = judged(listed("BTC"), listed("XYZ"))
    assert [match.instrument.base for match in matches.of(MatchState.UNMATCHED)] == ["XYZ"]
    assert matches.known() == {"okx:BTC-USDT:perp": KnownMatch(asset_id="bitcoin", asset_units=Decimal(1))}
    assert Matches().known() == {}


# --------------------------------------------------------------------------- laws

SYMBOLS = st.sampled_from(["A", "B", "KA", "1000A", "1000000B", "MATIC", "POL"])
PRICES = st.sampled_from(
    [None, Decimal(0), Decimal("0.001"), Decimal(1), Decimal("1.02"), Decimal("1.1"), Decimal(1000)]
)
ASSETS = st.lists(
    st.builds(
        RankedAsset,
        asset_id=st.sampled_from(["a", "b", "c", "d", "e", "f"]),
        symbol=SYMBOLS,
        rank=st.none() | st.integers(1, 4),
        price_usd=PRICES,
    ),
    max_size=8,
)
LISTINGS = st.lists(
    st.builds(
        listed,
        SYMBOLS,
        quote=st.sampled_from(["USDT", "USDC", "EUR"]),
        venue=st.sampled_from(["okx", "binance_futures"]),
        tradable=st.booleans(),
        category=st.sampled_from(["crypto", "stock"]),
    ),
    max_size=8,
)


@given(LISTINGS, ASSETS, st.data())
def test_the_order_of_the_input_changes_nothing(listings, assets, data):
    prices = {row.instrument.id: data.draw(PRICES) for row in listings}
    prices = {key: price for key, price in prices.items() if price is not None}
    words = data.draw(st.lists(st.sampled_from(["a", "B", "f", "zzz"]), max_size=3))
    ids = data.draw(
        st.lists(st.sampled_from([row.instrument.id for row in listings] + ["okx:NO-USDT:perp"]), max_size=3)
    )

    def run(rows, coins):
        chosen = choose_assets(coins, 3, include=words)
        matches = match_instruments(rows, coins, prices)
        again = match_instruments(rows, coins, {}, known=matches.known())
        return chosen, matches, again, choose_instruments(matches, chosen.followed, include=ids)

    rows, coins = data.draw(st.permutations(listings)), data.draw(st.permutations(assets))
    assert run(rows, coins) == run(listings, assets)


@given(LISTINGS, ASSETS, st.sampled_from([Decimal("0.001"), Decimal(1), Decimal(1000)]))
def test_every_match_agrees_in_price_and_every_instrument_has_one_verdict_of_one_line(listings, assets, price):
    matches = match_instruments(listings, assets, {row.instrument.id: price for row in listings})
    assert [match.instrument.id for match in matches.items] == sorted({row.instrument.id for row in listings})
    for match in matches.items:
        assert match.detail
        assert "\n" not in match.detail
        assert (match.state is MatchState.MATCHED) == (match.asset_id is not None) == (match.asset_units is not None)
        if match.asset_id is not None:
            offered = {asset.price_usd for asset in assets if asset.asset_id == match.asset_id}
            assert any(
                usd and abs(price - usd * match.asset_units) <= usd * match.asset_units * 3 / 100 for usd in offered
            )


@given(
    st.decimals(Decimal("0.0001"), Decimal(100_000), places=4),
    st.decimals(Decimal("1.05"), Decimal(500), places=2),
    st.booleans(),
)
def test_a_shared_symbol_with_prices_apart_picks_the_right_coin(price, factor, cheap):
    coins = [coin("cheap", "CAT", 10, price), coin("dear", "CAT", 20, price * factor)]
    target = price if cheap else price * factor
    assert match_one("CAT", target, coins, tolerance_pct=Decimal(2)).asset_id == ("cheap" if cheap else "dear")


@given(
    st.decimals(Decimal("0.0001"), Decimal(100_000), places=4),
    st.decimals(Decimal("0.98"), Decimal("1.02"), places=4),
    st.permutations([1, 2]),
)
def test_a_shared_symbol_with_prices_close_is_ambiguous(price, factor, ranks):
    coins = [coin("one", "CAT", ranks[0], price), coin("two", "CAT", ranks[1], price * factor)]
    assert match_one("CAT", price, coins).state is MatchState.AMBIGUOUS
