"""Three market cycles and one of each other cadence: every table is filled, with exactly what the venues said."""

import math
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from tests.acceptance import truth as facts
from tests.acceptance.conftest import ASSETS, SEED
from tests.acceptance.program import wait_until
from tests.acceptance.truth import Truth

LEVELS = 20
HISTORY = 250
FED_BY = {
    "market_snapshots": {"coingecko"},
    "global_snapshots": {"coingecko"},
    "order_books": {"binance_futures", "okx"},
    "mark_prices": {"binance_futures", "okx"},
    "funding_rates": {"binance_futures", "okx"},
    "funding_forecasts": {"binance_futures", "okx"},
    "funding_terms": {"binance_futures", "okx"},
    "open_interest": {"binance_futures", "okx"},
    "tickers": {"binance_futures", "okx"},
    "candles": {"coingecko", "binance_futures", "okx"},
}
FOLLOWED = {
    "binance_futures:BTC-USDT:perp": ("bitcoin", 1, 1),
    "binance_futures:ETH-USDT:perp": ("ethereum", 1, 1),
    "binance_futures:XRP-USDT:perp": ("ripple", 1, 1),
    "binance_futures:1000PEPE-USDT:perp": ("pepe", 1, 1000),
    "okx:BTC-USDT:perp": ("bitcoin", Decimal("0.01"), 1),
    "okx:ETH-USDT:perp": ("ethereum", Decimal("0.1"), 1),
    "okx:XRP-USDT:perp": ("ripple", 100, 1),
    "okx:PEPE-USDT:perp": ("pepe", 10_000_000, 1),
}


@pytest.fixture(scope="module")
def program(install, venues):
    """A collector that has run three market cycles and one of each other cadence, and was asked to stop."""
    made = install(venues.base_urls)
    with made.running("run") as daemon:
        wait_until(
            lambda: made.ended_cycles("market") >= 3 and made.ended_cycles("hourly") and made.ended_cycles("daily"),
            "three market cycles and one of each other cadence",
            limit_s=40,
        )
        assert daemon.stop() == 0
    return made


@pytest.fixture(scope="module")
def truth():
    return Truth(SEED, ASSETS)


def test_every_cycle_is_ok_and_the_first_ones_start_at_once(program):
    cycles = program.cycles()
    assert [name for name, _ in cycles[:3]] == ["market", "hourly", "daily"]
    assert {state for _, state in cycles} == {"ok"}


def test_every_table_holds_rows_of_every_source_that_feeds_it(program):
    found = {table: {name for (name,) in program.rows(f"SELECT DISTINCT source FROM {table}")} for table in FED_BY}
    assert found == FED_BY


def test_indicators_exist_for_the_candles_of_both_venues_and_every_interval(program):
    found = program.rows("SELECT DISTINCT venue, interval FROM indicators JOIN instruments USING (instrument_id)")
    assert set(found) == {(venue, width) for venue in ("binance_futures", "okx") for width in ("1m", "1h", "1d")}


def test_the_biggest_assets_are_followed_through_the_right_contracts(program):
    found = program.rows("SELECT instrument, asset_id, contract_size, asset_units FROM instruments WHERE followed")
    assert {name: tuple(rest) for name, *rest in found} == FOLLOWED


def test_nothing_is_followed_on_the_strength_of_a_shared_ticker_symbol(program):
    """MSTR is a stock at both venues and a coin at the aggregator; PEPE is the symbol of two coins."""
    found = dict(program.rows("SELECT instrument, asset_id FROM instruments WHERE base IN ('MSTR', 'PEPE')"))
    assert found["okx:PEPE-USDT:perp"] == "pepe"
    assert found["okx:MSTR-USDT:perp"] is None
    assert found["binance_futures:MSTR-USDT:perp"] is None


def test_tickers_equal_the_market(program, truth):
    rows = facts.stored(program, "tickers", facts.TICKERS)
    assert rows == {key: truth.ticker(*key) for key in rows}


def test_every_cycle_has_a_ticker_and_a_mark_price_of_every_contract_that_trades(program):
    trading = dict(program.rows("SELECT venue, count(*) FROM instruments WHERE tradable GROUP BY venue"))
    cycles = program.ended_cycles("market")
    for table in ("tickers", "mark_prices"):
        counts = dict(program.rows(f"SELECT source, count(*) FROM {table} GROUP BY source"))
        assert counts == {venue: count * cycles for venue, count in trading.items() if venue in counts}
        assert set(counts) == {"binance_futures", "okx"}


def test_contracts_whose_sizes_are_dollars_give_no_rows(program):
    assert program.value("SELECT count(*) FROM instruments WHERE category = 'inverse' AND NOT tradable") == 2
    for table in ("tickers", "mark_prices", "open_interest", "order_books", "candles", "funding_rates"):
        found = program.value(
            f"SELECT count(*) FROM {table} JOIN instruments USING (instrument_id) WHERE category = 'inverse'"
        )
        assert found == 0, table


def test_order_books_equal_the_market_with_sizes_in_base_units(program, truth):
    rows = facts.stored(program, "order_books", facts.BOOKS)
    assert rows == {key: truth.order_book(*key, LEVELS) for key in rows}
    assert len(rows) == len(FOLLOWED) * program.ended_cycles("market")


def test_mark_prices_equal_the_market(program, truth):
    rows = facts.stored(program, "mark_prices", "mark_price, index_price")
    assert rows == {key: truth.mark_price(*key) for key in rows}


def test_open_interest_equals_the_market_in_base_units(program, truth):
    rows = facts.stored(program, "open_interest", "open_interest, contracts, value_usd")
    assert rows == {key: truth.open_interest(*key) for key in rows}
    assert {key[1] for key in rows} >= {"BTCUSDT", "1000PEPEUSDT", "BTC-USDT-SWAP", "PEPE-USDT-SWAP"}


def test_funding_forecasts_equal_the_market(program, truth):
    rows = facts.stored(program, "funding_forecasts", "funding_time, rate")
    assert rows == {key: truth.forecast(*key) for key in rows}


def test_settled_funding_rates_are_the_charged_ones_and_none_of_the_last_week_is_missing(program, truth):
    rows = facts.stored(program, "funding_rates", "rate, mark_price")
    asked_at = program.value("SELECT max(since) + interval '7 days' FROM jobs WHERE dataset = 'funding'")
    series = {}
    for (venue, symbol, at), values in rows.items():
        hour = at.replace(minute=0, second=0, microsecond=0)
        assert at - hour < timedelta(milliseconds=20)
        series.setdefault((venue, symbol), {})[hour] = values
    assert len(series) == len(FOLLOWED)
    for (venue, symbol), found in series.items():
        first = min(asked_at - timedelta(days=7), *found)  # a page may reach further back than asked for
        assert found == truth.settlements(venue, symbol, first, asked_at)


def test_funding_terms_tell_each_contract_its_own_interval(program, truth):
    rows = facts.stored(program, "funding_terms", "interval_hours")
    assert {key[:2]: hours for key, (hours,) in rows.items()} == {
        key[:2]: truth.contract(*key[:2]).funding_hours for key in rows
    }
    assert {hours for (hours,) in rows.values()} == {1, 4, 8}


def test_candles_equal_the_market_and_no_bar_is_missing(program, truth):
    series = program.rows(
        "SELECT venue, venue_symbol, interval, min(open_time), max(open_time) FROM candles "
        "JOIN instruments USING (instrument_id) WHERE kind <> 'index' GROUP BY 1, 2, 3"
    )
    assert len(series) == len(FOLLOWED) * 3
    for venue, symbol, interval, first, last in series:
        rows = program.rows(
            f"SELECT open_time, {facts.BARS} FROM candles JOIN instruments USING (instrument_id) "
            "WHERE venue = %s AND venue_symbol = %s AND interval = %s",
            venue,
            symbol,
            interval,
        )
        assert {row[0]: row[1:] for row in rows} == truth.candles(venue, symbol, interval, first, last)
        assert len(rows) >= HISTORY


def test_index_candles_equal_the_market_of_the_aggregator(program, truth):
    rows = program.rows(
        f"SELECT base, open_time, {facts.BARS} FROM candles JOIN instruments USING (instrument_id) "
        "WHERE kind = 'index' AND interval = '4h'"
    )
    series = {}
    for asset_id, opened, *values in rows:
        series.setdefault(asset_id, {})[opened] = tuple(values)
    assert len(series) == 3
    for asset_id, found in series.items():
        assert found == truth.index_candles(asset_id, list(found))
        assert len(found) > 170


def test_no_forming_candle_is_stored(program):
    early = program.value(
        """
        SELECT count(*) FROM candles WHERE received_at < open_time + CASE interval WHEN '1m' THEN interval '1 minute'
            WHEN '1h' THEN interval '1 hour' WHEN '4h' THEN interval '4 hours' ELSE interval '1 day' END
        """
    )
    assert early == 0


def test_ranked_snapshots_equal_the_market(program, truth):
    rows = program.rows(
        f"SELECT asset_id, observed_at, {facts.SNAPSHOTS} FROM market_snapshots WHERE ath_usd IS NOT NULL"
    )
    assert {row[:2]: row[2:] for row in rows} == {row[:2]: truth.snapshot(*row[:2]) for row in rows}
    assert {row[0] for row in rows} >= {"bitcoin", "ethereum", "pepe", "pepe-classic"}


def test_past_snapshots_equal_the_market(program, truth):
    rows = program.rows(
        "SELECT asset_id, observed_at, price_usd, market_cap_usd, volume_24h_usd FROM market_snapshots "
        "WHERE ath_usd IS NULL"
    )
    assert {row[:2]: row[2:] for row in rows} == {row[:2]: truth.past(*row[:2]) for row in rows}
    assert len(rows) > 3 * 24 * 5 - 10


def test_the_whole_market_equals_the_market(program, truth):
    rows = program.rows(
        "SELECT observed_at, market_cap_usd, volume_24h_usd, btc_dominance_pct, eth_dominance_pct, "
        "market_cap_change_24h_pct, active_assets FROM global_snapshots"
    )
    assert rows == [(at, *truth.whole(at)) for at, *_ in rows]


def test_assets_are_listed_whole(program, truth):
    listed = dict(program.rows("SELECT asset_id, symbol FROM assets WHERE source = 'coingecko'"))
    assert listed == {coin.id: coin.symbol.upper() for coin in truth.market.coins}


def test_listings_tell_the_steps_of_price_and_size(program, truth):
    rows = program.rows(
        "SELECT venue, venue_symbol, contract_size, tick_size, lot_size FROM instruments "
        "WHERE tradable AND kind = 'perp'"
    )
    expected = {}
    for venue, symbol, *_ in rows:
        contract, size = truth.contract(venue, symbol), truth.contract_size(venue, symbol)
        expected[venue, symbol] = (size, Decimal(10) ** contract.tick_exp, Decimal(10) ** contract.lot_exp * size)
    assert {row[:2]: row[2:] for row in rows} == expected


def test_everything_is_marked_as_simulated(program):
    assert program.rows("SELECT DISTINCT simulated, report ->> 'simulated' FROM cycles") == [(True, "true")]
    assert program.report()["simulated"] is True


def _means(closes, length):
    return [None if i < length - 1 else math.fsum(closes[i - length + 1 : i + 1]) / length for i in range(len(closes))]


def _exponential(closes, length):
    """Return the EMA that starts with the mean of the first bars."""
    found = [None] * (length - 1) + [math.fsum(closes[:length]) / length]
    for close in closes[length:]:
        found.append(found[-1] + (close - found[-1]) * 2 / (length + 1))
    return found


def _strength(closes, length=14):
    """Return Wilder's RSI: the first averages are means, later ones forget a fourteenth a bar."""
    gains = [max(after - before, 0.0) for before, after in pairwise(closes)]
    losses = [max(before - after, 0.0) for before, after in pairwise(closes)]
    found = [None] * length
    gain, loss = math.fsum(gains[:length]) / length, math.fsum(losses[:length]) / length
    for i in range(length, len(closes)):
        if i > length:
            gain = (gain * (length - 1) + gains[i - 1]) / length
            loss = (loss * (length - 1) + losses[i - 1]) / length
        found.append(100 * gain / (gain + loss))
    return found


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
@pytest.mark.parametrize("instrument", ["binance_futures:1000PEPE-USDT:perp", "okx:BTC-USDT:perp"])
def test_indicators_equal_the_formulas_worked_out_from_the_stored_candles(program, instrument, interval):
    rows = program.rows(
        "SELECT c.close::float8, n.sma_20, n.sma_200, n.ema_12, n.ema_200, n.rsi_14 FROM candles c "
        "JOIN instruments USING (instrument_id) LEFT JOIN indicators n USING (instrument_id, interval, open_time) "
        "WHERE instrument = %s AND interval = %s ORDER BY open_time",
        instrument,
        interval,
    )
    closes = [row[0] for row in rows]
    assert len(closes) >= HISTORY
    expected = (_means(closes, 20), _means(closes, 200), _exponential(closes, 12), _exponential(closes, 200))
    for column, values in enumerate([*expected, _strength(closes)], start=1):
        found = [row[column] for row in rows]
        assert [value is None for value in found] == [value is None for value in values]
        assert [v for v in found if v is not None] == pytest.approx([v for v in values if v is not None], rel=1e-9)


def test_every_candle_of_a_followed_instrument_has_its_indicators(program):
    assert _without_indicators(program) == []


def _without_indicators(program):
    return program.rows(
        "SELECT instrument, interval, open_time FROM candles JOIN instruments i USING (instrument_id) "
        "LEFT JOIN indicators n USING (instrument_id, interval, open_time) "
        "WHERE kind <> 'index' AND n.open_time IS NULL"
    )
