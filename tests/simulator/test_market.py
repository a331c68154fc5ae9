"""The simulator's truth: exact aggregation, determinism, the running candle, the awkward members of the universe."""

import hashlib
import itertools
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from collector.simulator import Market
from collector.simulator.markets import Candle, UnknownSymbol, first_open, next_funding_ms

ROOT = Path(__file__).resolve().parents[2]
MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
MIDNIGHT = 1_767_225_600_000  # 2026-01-01T00:00:00Z, a Thursday
MONDAY = MIDNIGHT - 3 * DAY  # 2025-12-29
BINANCE, OKX = "binance_futures", "okx"


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(seed=7, assets=60)


def merged(parts: list[Candle]) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int, Decimal, Decimal]:
    """Aggregate candles by hand: first, highest, lowest, last, and sums."""
    return (
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        parts[-1].close,
        sum((part.volume for part in parts), Decimal(0)),
        sum((part.quote_volume for part in parts), Decimal(0)),
        sum(part.trades for part in parts),
        sum((part.taker_buy_volume for part in parts), Decimal(0)),
        sum((part.contracts for part in parts), Decimal(0)),
    )


def as_row(candle: Candle) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int, Decimal, Decimal]:
    return (
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.trades,
        candle.taker_buy_volume,
        candle.contracts,
    )


SYMBOLS = [(BINANCE, "BTCUSDT"), (BINANCE, "1000PEPEUSDT"), (OKX, "PEPE-USDT-SWAP"), (OKX, "BTC-USD-SWAP")]
INTERVALS = [("3m", 3), ("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60), ("4h", 240), ("12h", 720), ("1d", 1440)]


@pytest.mark.parametrize(("venue", "symbol"), SYMBOLS)
@pytest.mark.parametrize(("interval", "minutes"), INTERVALS)
def test_a_longer_candle_is_the_aggregate_of_its_minutes(
    market: Market, venue: str, symbol: str, interval: str, minutes: int
) -> None:
    ones = market.candles(venue, symbol, "1m", MIDNIGHT, MIDNIGHT + minutes * MINUTE)
    (long,) = market.candles(venue, symbol, interval, MIDNIGHT, MIDNIGHT + 1)
    assert len(ones) == minutes
    assert as_row(long) == merged(ones)


def test_a_week_opens_on_monday_and_is_the_aggregate_of_seven_days(market: Market) -> None:
    days = market.candles(BINANCE, "ETHUSDT", "1d", MONDAY, MONDAY + 7 * DAY)
    (week,) = market.candles(BINANCE, "ETHUSDT", "1w", MONDAY - 6 * DAY, MONDAY + 1)[-1:]
    assert week.open_ms == MONDAY
    assert as_row(week) == merged(days)


def test_a_month_opens_on_the_first_and_is_the_aggregate_of_its_days(market: Market) -> None:
    days = market.candles(OKX, "ETH-USDT-SWAP", "1d", MIDNIGHT, MIDNIGHT + 31 * DAY)
    (month,) = market.candles(OKX, "ETH-USDT-SWAP", "1M", MIDNIGHT, MIDNIGHT + 31 * DAY)
    assert as_row(month) == merged(days)


def test_a_hong_kong_day_opens_at_16_utc_and_is_the_aggregate_of_its_hours(market: Market) -> None:
    opened = MIDNIGHT - 8 * HOUR
    (day,) = market.candles(OKX, "BTC-USDT-SWAP", "1d", opened, opened + 1, shift_ms=-8 * HOUR)
    assert as_row(day) == merged(market.candles(OKX, "BTC-USDT-SWAP", "1h", opened, opened + DAY))


def test_every_candle_is_plausible(market: Market) -> None:
    for venue in (BINANCE, OKX):
        for contract in market.instruments(venue):
            for candle in market.candles(venue, contract.symbol, "5m", MIDNIGHT, MIDNIGHT + 6 * HOUR):
                assert 0 < candle.low <= min(candle.open, candle.close)
                assert candle.high >= max(candle.open, candle.close)
                assert 0 <= candle.taker_buy_volume <= candle.volume


def test_quote_volume_lies_between_volume_times_low_and_volume_times_high(market: Market) -> None:
    for candle in market.candles(BINANCE, "SOLUSDT", "1h", MIDNIGHT, MIDNIGHT + DAY):
        assert candle.low * candle.volume <= candle.quote_volume <= candle.high * candle.volume


def test_swap_volume_in_coins_is_contracts_times_contract_value(market: Market) -> None:
    (candle,) = market.candles(OKX, "BTC-USDT-SWAP", "1h", MIDNIGHT, MIDNIGHT + 1)
    assert candle.volume == candle.contracts * Decimal("0.01")
    (pepe,) = market.candles(OKX, "PEPE-USDT-SWAP", "1h", MIDNIGHT, MIDNIGHT + 1)
    assert pepe.volume == pepe.contracts * 10_000_000


def test_inverse_swap_counts_dollars_and_derives_coins(market: Market) -> None:
    (candle,) = market.candles(OKX, "BTC-USD-SWAP", "1h", MIDNIGHT, MIDNIGHT + 1)
    assert candle.quote_volume == candle.contracts * 100
    assert candle.quote_volume / candle.high * Decimal("0.9999") <= candle.volume <= candle.quote_volume / candle.low


def test_the_price_now_is_the_close_of_the_running_candle_and_inside_its_range(market: Market) -> None:
    for second in (0, 1, 14, 15, 29, 31, 46, 59):
        now = MIDNIGHT + 7 * HOUR + 13 * MINUTE + second * 1000 + 321
        last = market.last_price(BINANCE, "BTCUSDT", now)
        for interval in ("1m", "5m", "1h", "8h", "1d", "1w", "1M"):
            opened = first_open(interval, now)
            (candle,) = market.candles(BINANCE, "BTCUSDT", interval, opened, now + 1, at_ms=now)
            assert not candle.closed
            assert candle.low <= last <= candle.high
            assert candle.close == last


def test_the_running_candle_grows_into_the_finished_one(market: Market) -> None:
    opened = MIDNIGHT + 5 * HOUR
    volumes = [
        market.candles(BINANCE, "BTCUSDT", "1m", opened, opened + 1, at_ms=opened + s * 1000)[0].volume
        for s in (0, 15, 30, 45, 59)
    ]
    finished = market.candles(BINANCE, "BTCUSDT", "1m", opened, opened + 1, at_ms=opened + MINUTE)[0]
    assert volumes[0] < volumes[1] < volumes[2] < volumes[3] == volumes[4] == finished.volume
    assert finished.closed


def test_nothing_after_now_is_known(market: Market) -> None:
    now = MIDNIGHT + 90_000
    candles = market.candles(BINANCE, "BTCUSDT", "1m", MIDNIGHT, MIDNIGHT + DAY, at_ms=now)
    assert [c.open_ms for c in candles] == [MIDNIGHT, MIDNIGHT + MINUTE]
    assert [c.closed for c in candles] == [True, False]


def test_asking_in_pieces_gives_the_same_candles_as_asking_at_once(market: Market) -> None:
    whole = market.candles(BINANCE, "ADAUSDT", "1m", MIDNIGHT - 3 * HOUR, MIDNIGHT + 3 * HOUR)
    pieces = [
        candle
        for start in range(MIDNIGHT - 3 * HOUR, MIDNIGHT + 3 * HOUR, 47 * MINUTE)
        for candle in market.candles(BINANCE, "ADAUSDT", "1m", start, min(start + 47 * MINUTE, MIDNIGHT + 3 * HOUR))
    ]
    assert pieces == whole


def test_thin_contracts_have_flat_minutes_without_volume(market: Market) -> None:
    thin = next(c for c in market.instruments(OKX) if c.quiet)
    candles = market.candles(OKX, thin.symbol, "1m", MIDNIGHT, MIDNIGHT + DAY)
    empty = [(before, c) for before, c in itertools.pairwise(candles) if c.volume == 0]
    assert 20 < len(empty) < 400
    for before, candle in empty:
        assert candle.open == candle.high == candle.low == candle.close == before.close
        assert candle.trades == 0
        assert candle.quote_volume == 0


def test_two_markets_of_one_seed_agree_and_other_seeds_differ(market: Market) -> None:
    same, other = Market(seed=7, assets=60), Market(seed=8, assets=60)
    args = (BINANCE, "BTCUSDT", "1h", MIDNIGHT, MIDNIGHT + DAY)
    assert same.candles(*args) == market.candles(*args)
    assert other.candles(*args) != market.candles(*args)
    assert same.order_book(OKX, "BTC-USDT-SWAP", MIDNIGHT, 20) == market.order_book(OKX, "BTC-USDT-SWAP", MIDNIGHT, 20)


_PRINT = """
import hashlib
from collector.simulator import Market
m, t = Market(seed=7, assets=60), 1767225600000
facts = [m.candles("okx", "BTC-USDT-SWAP", "4h", t, t + 864000000), m.market_row("pepe", t), m.global_market(t),
         m.funding_rate("okx", "BTC-USDT-SWAP", t), m.open_interest("binance_futures", "1000PEPEUSDT", t)]
print(hashlib.sha256(repr(facts).encode()).hexdigest())
"""


def test_another_process_computes_the_same_numbers(market: Market) -> None:
    facts = [
        market.candles(OKX, "BTC-USDT-SWAP", "4h", MIDNIGHT, MIDNIGHT + 10 * DAY),
        market.market_row("pepe", MIDNIGHT),
        market.global_market(MIDNIGHT),
        market.funding_rate(OKX, "BTC-USDT-SWAP", MIDNIGHT),
        market.open_interest(BINANCE, "1000PEPEUSDT", MIDNIGHT),
    ]
    ours = hashlib.sha256(repr(facts).encode()).hexdigest()
    run = subprocess.run(
        [sys.executable, "-c", _PRINT], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == ours


@pytest.mark.parametrize("at_ms", [1_577_923_200_000, 4_070_908_800_000])
def test_any_time_from_2020_to_2099_works(market: Market, at_ms: int) -> None:
    assert market.last_price(BINANCE, "BTCUSDT", at_ms) > 0
    assert len(market.candles(OKX, "BTC-USDT-SWAP", "1d", at_ms, at_ms + 1)) == 1
    assert market.market_row("bitcoin", at_ms).price is not None


def test_books_are_sorted_uncrossed_and_touch_the_last_price(market: Market) -> None:
    for venue, symbol in SYMBOLS:
        for step in range(20):
            at_ms = MIDNIGHT + step * 7_777
            book = market.order_book(venue, symbol, at_ms, 50)
            bids, asks = [p for p, _ in book.bids], [p for p, _ in book.asks]
            assert bids == sorted(bids, reverse=True)
            assert len(set(bids)) == 50
            assert asks == sorted(asks)
            assert bids[0] < asks[0]
            assert bids[0] <= market.last_price(venue, symbol, book.at_ms) <= asks[0]
            assert all(size > 0 for _, size in (*book.bids, *book.asks))
            assert market.order_book(venue, symbol, book.at_ms, 50) == book


def test_a_deeper_book_continues_the_shallow_one(market: Market) -> None:
    deep = market.order_book(BINANCE, "BTCUSDT", MIDNIGHT, 100)
    shallow = market.order_book(BINANCE, "BTCUSDT", MIDNIGHT, 5)
    assert [price for price, _ in deep.bids[:5]] == [price for price, _ in shallow.bids]
    assert deep.asks[:5] == shallow.asks


def test_venues_and_aggregator_agree_on_the_price_to_a_few_basis_points(market: Market) -> None:
    spot = market.coin_price("bitcoin", MIDNIGHT)
    for venue, symbol in ((BINANCE, "BTCUSDT"), (OKX, "BTC-USDT-SWAP"), (OKX, "BTC-USD-SWAP")):
        assert abs(market.last_price(venue, symbol, MIDNIGHT) / spot - 1) < Decimal("0.003")
    assert abs(market.last_price(BINANCE, "1000PEPEUSDT", MIDNIGHT) / market.coin_price("pepe", MIDNIGHT) - 1000) < 3


def test_the_forecast_differs_from_the_settled_rate_until_and_at_the_end(market: Market) -> None:
    contract = market.contract(OKX, "BTC-USDT-SWAP")
    for step in range(0, 8 * HOUR, 10 * MINUTE):
        at_ms = MIDNIGHT + step
        settled = market.funding_rate(OKX, contract.symbol, next_funding_ms(contract, at_ms))
        assert market.funding_forecast(OKX, contract.symbol, at_ms) != settled


def test_some_settled_rates_are_exactly_zero(market: Market) -> None:
    rates = [market.funding_rate(BINANCE, "BTCUSDT", MIDNIGHT + n * 8 * HOUR) for n in range(400)]
    assert 1 <= sum(rate == 0 for rate in rates) <= 30
    assert any(rate < 0 for rate in rates)


def test_a_late_funding_time_names_the_same_settlement(market: Market) -> None:
    late = market.funding_rate(BINANCE, "BTCUSDT", MIDNIGHT + 19)
    assert late == market.funding_rate(BINANCE, "BTCUSDT", MIDNIGHT)


def test_ticker_of_24_hours_is_the_aggregate_of_its_minutes(market: Market) -> None:
    now = MIDNIGHT + 12 * HOUR + 34_567
    ticker = market.ticker_24h(BINANCE, "BTCUSDT", now)
    minutes = market.candles(BINANCE, "BTCUSDT", "1m", ticker.open_ms, now + 1, at_ms=now)
    assert ticker.open_ms == MIDNIGHT - 12 * HOUR
    assert len(minutes) == 1441
    assert (ticker.open, ticker.high, ticker.low, ticker.last, ticker.volume, ticker.quote_volume) == merged(minutes)[
        :6
    ]


def test_market_row_is_recomputable_from_its_own_time_and_its_changes_from_prices(market: Market) -> None:
    row = market.market_row("ethereum", MIDNIGHT + 12_345)
    assert row.last_updated_ms == MIDNIGHT + 10_000
    assert market.market_row("ethereum", row.last_updated_ms) == row
    now = market.coin_price("ethereum", row.last_updated_ms)
    week_ago = market.coin_price("ethereum", row.last_updated_ms - 7 * DAY)
    assert row.price == now
    assert row.market_cap == int(now * 120_500_000)
    assert row.changes_pct["7d"] == pytest.approx((now / week_ago - 1) * 100, abs=Decimal("0.00001"))
    assert row.low_24h is not None
    assert row.high_24h is not None
    assert row.low_24h <= now <= row.high_24h


def test_ranks_follow_market_caps_and_dominance_is_a_share_of_the_total(market: Market) -> None:
    rows = [market.market_row(coin.id, MIDNIGHT) for coin in market.coins]
    ranked = sorted((row for row in rows if row.rank), key=lambda row: row.rank or 0)
    caps = [row.market_cap or 0 for row in ranked]
    assert caps == sorted(caps, reverse=True)
    whole = market.global_market(MIDNIGHT)
    assert whole.total_cap == sum(caps)
    bitcoin = market.market_row("bitcoin", MIDNIGHT).market_cap or 0
    assert abs(whole.dominance["btc"] - Decimal(bitcoin) / whole.total_cap * 100) < Decimal("0.000001")
    assert len(whole.dominance) == 10


def test_the_awkward_coins_are_there(market: Market) -> None:
    by_id = {coin.id: coin for coin in market.coins}
    assert all(coin.name.endswith(" (simulated)") for coin in market.coins)
    assert [c.id for c in market.coins if c.symbol == "pepe"] == ["pepe", "pepe-classic"]
    assert market.coin_price("pepe-classic", MIDNIGHT) > 100_000 * market.coin_price("pepe", MIDNIGHT)
    assert market.market_row("unranked-coin", MIDNIGHT).market_cap is None
    assert market.market_row("zero-cap-coin", MIDNIGHT).market_cap == 0
    assert market.market_row("zero-cap-coin", MIDNIGHT).rank is None
    assert set(market.market_row("newborn-coin", MIDNIGHT).changes_pct.values()) == {None}
    assert market.market_row("dead-coin", MIDNIGHT).price is None
    assert not by_id["unicode-coin"].name.isascii()
    assert "<b>" in by_id["markup-coin"].name
    assert by_id["polygon-ecosystem-token"].symbol == "pol"


def test_the_awkward_contracts_are_there(market: Market) -> None:
    pepe = market.contract(BINANCE, "1000PEPEUSDT")
    assert (pepe.base, pepe.multiplier, pepe.coin_id) == ("1000PEPE", 1000, "pepe")
    assert market.contract(OKX, "BTC-USD-SWAP").inverse
    assert market.contract(OKX, "BTC-USDC-SWAP").settle == "USDC"
    for venue, symbol in ((BINANCE, "MSTRUSDT"), (OKX, "MSTR-USDT-SWAP")):
        stock = market.contract(venue, symbol)
        assert (stock.kind, stock.coin_id) == ("stock", None)
        assert market.last_price(venue, symbol, MIDNIGHT) > 1000 * market.coin_price("mstr-meme", MIDNIGHT)
    assert {c.funding_hours for c in market.instruments(BINANCE)} == {1, 4, 8}
    for venue, symbol in ((BINANCE, "MATICUSDT"), (OKX, "MATIC-USDT-SWAP"), (BINANCE, "BTCUSDT_260101")):
        with pytest.raises(UnknownSymbol):
            market.contract(venue, symbol)


def test_some_coins_have_a_perpetual_on_one_venue_only(market: Market) -> None:
    binance = {c.coin_id for c in market.instruments(BINANCE)}
    okx = {c.coin_id for c in market.instruments(OKX)}
    assert binance - okx
    assert okx - binance


def test_dated_futures_are_the_last_fridays_of_the_next_two_quarters(market: Market) -> None:
    symbols = [c.symbol for c in market.instruments(BINANCE, MIDNIGHT) if c.kind == "dated"]
    assert symbols == ["BTCUSDT_260327", "BTCUSDT_260626"]  # both dates are Fridays, the last of March and June 2026
    expiry = market.contract(BINANCE, "BTCUSDT_260327").expires_ms
    assert expiry == 1_774_598_400_000  # 2026-03-27T08:00:00Z
    with pytest.raises(UnknownSymbol):
        market.contract(BINANCE, "BTCUSDT_260327", expiry)


def test_prices_span_from_a_hundred_millionth_to_ten_thousands(market: Market) -> None:
    prices = [row.price for coin in market.coins if (row := market.market_row(coin.id, MIDNIGHT)).price is not None]
    assert min(prices) < Decimal("0.0000001")
    assert max(prices) > 10_000


def test_a_big_universe_has_the_promised_number_of_contracts() -> None:
    big = Market(seed=1, assets=400)
    assert len(big.coins) == 400
    assert len({coin.id for coin in big.coins}) == 400
    assert sum(c.quote == "USDT" and c.kind == "perpetual" for c in big.instruments(BINANCE)) >= 300
    assert sum(c.settle == "USDT" and c.kind == "perpetual" for c in big.instruments(OKX)) >= 250
    few = Market(seed=1, assets=400, binance_perpetuals=300, okx_swaps=250)
    assert sum(c.quote == "USDT" and c.kind == "perpetual" for c in few.instruments(BINANCE)) == 300
    assert sum(c.settle == "USDT" and c.kind == "perpetual" for c in few.instruments(OKX)) == 250


@pytest.mark.parametrize("assets", [44, 601])
def test_an_impossible_number_of_assets_is_refused(assets: int) -> None:
    with pytest.raises(ValueError, match=r"45\.\.600"):
        Market(assets=assets)


def test_days_that_make_room_for_others_are_computed_again(monkeypatch):
    """Over midnight a window needs two days; the older one may be the very one that the newer one pushes out."""
    across, evening = (MIDNIGHT - 10 * MINUTE, MIDNIGHT + 10 * MINUTE), (MIDNIGHT - 20 * MINUTE, MIDNIGHT)
    expected = Market(seed=7, assets=60).candles(BINANCE, "BTCUSDT", "1m", *across)
    assert len(expected) == 20
    monkeypatch.setattr("collector.simulator.series._CACHED_DAYS", 2)
    small = Market(seed=7, assets=60)
    small.candles(BINANCE, "BTCUSDT", "1m", *evening)
    small.candles(BINANCE, "ETHUSDT", "1m", *evening)
    assert small.candles(BINANCE, "BTCUSDT", "1m", *across) == expected
    assert small.candles(BINANCE, "BTCUSDT", "1m", *across) == expected
