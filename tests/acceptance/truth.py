"""What must be in the database, worked out from the simulated market at each row's own time; and what is there.

Every function returns rows by key, as plain values. Sizes are turned into base units here by hand: an OKX contract is
10**unit_exp coins, a Binance size is in units of its base already (1000PEPE is a base of its own).
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from collector.simulator import Market
from collector.simulator.markets import WIDTHS_MS, next_funding_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIVE_MINUTES_MS, FOUR_HOURS_MS = 300_000, 14_400_000


def millis(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment(time_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=time_ms)


class Truth:
    """The market behind a simulator of the same seed and size."""

    def __init__(self, seed: int, assets: int) -> None:
        self.market = Market(seed, assets)

    def contract(self, venue, symbol):
        return self.market.contract(venue, symbol)

    def contract_size(self, venue, symbol):
        """Return the base units of one unit in which the venue counts."""
        contract = self.contract(venue, symbol)
        return Decimal(10) ** contract.unit_exp if venue == "okx" else Decimal(1)

    # what a venue shows at a moment: (venue, symbol, observed_at) -> values -------------------------------------

    def ticker(self, venue, symbol, at):
        seen = self.market.ticker_24h(venue, symbol, millis(at))
        change = (seen.last - seen.open) / seen.open * 100
        if venue == "binance_futures":
            quotes, quote_volume = (None,) * 4, seen.quote_volume
            change = change.quantize(Decimal("0.001"))
        else:
            size = self.contract_size(venue, symbol)
            book = self.market.order_book(venue, symbol, millis(at), 1)
            (bid, bid_size), (ask, ask_size) = book.bids[0], book.asks[0]
            quotes, quote_volume = (bid, bid_size * size, ask, ask_size * size), None
        return (seen.last, *quotes, seen.open, seen.high, seen.low, seen.volume, quote_volume, change)

    def order_book(self, venue, symbol, at, levels):
        book = self.market.order_book(venue, symbol, millis(at), levels)
        assert moment(book.at_ms) == at, "a book has the time of its last change"
        size = self.contract_size(venue, symbol)
        sides = [([price for price, _ in side], [n * size for _, n in side]) for side in (book.bids, book.asks)]
        return (*sides[0], *sides[1], sides[0][0][0], sides[1][0][0])

    def mark_price(self, venue, symbol, at):
        index = self.market.index_price(venue, symbol, millis(at)) if venue == "binance_futures" else None
        return self.market.mark_price(venue, symbol, millis(at)), index

    def open_interest(self, venue, symbol, at):
        interest = self.market.open_interest(venue, symbol, millis(at))
        if venue == "binance_futures":
            return interest, None, None
        coins = interest * self.contract_size(venue, symbol)
        return coins, interest, coins * self.market.mark_price(venue, symbol, millis(at))

    def forecast(self, venue, symbol, at):
        coming = next_funding_ms(self.contract(venue, symbol), millis(at))
        return moment(coming), self.market.funding_forecast(venue, symbol, millis(at))

    # series ------------------------------------------------------------------------------------------------------

    def settlements(self, venue, symbol, first, last):
        """Return time (to the hour) -> (rate, mark price) of every settlement in [first, last]."""
        contract = self.contract(venue, symbol)
        found = {}
        for time_ms in self.market.funding_times(contract, millis(first), millis(last)):
            mark = self.market.mark_price(venue, symbol, time_ms) if venue == "binance_futures" else None
            found[moment(time_ms)] = (self.market.funding_rate(venue, symbol, time_ms), mark)
        return found

    def candles(self, venue, symbol, interval, first, last):
        """Return open time -> values of every bar that opens in [first, last]."""
        bars = self.market.candles(venue, symbol, interval, millis(first), millis(last) + 1)
        assert all(bar.closed for bar in bars)
        return {moment(bar.open_ms): self._bar(venue, bar) for bar in bars}

    def _bar(self, venue, bar):
        prices = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume)
        return (*prices, bar.trades, bar.taker_buy_volume) if venue == "binance_futures" else (*prices, None, None)

    def index_candles(self, asset_id, opens):
        """Return open time -> values of closed 4 h bars of an aggregator, which looks at the price every 5 minutes."""
        looks = FOUR_HOURS_MS // FIVE_MINUTES_MS
        times = [millis(opened) + step * FIVE_MINUTES_MS for opened in opens for step in range(looks)]
        seen = self.market.coin_market.prices(asset_id, np.array(times, dtype=np.int64))
        found = {}
        for number, opened in enumerate(opens):
            prices = seen[number * looks : (number + 1) * looks]
            found[opened] = (prices[0], max(prices), min(prices), prices[-1], None, None, None, None)
        return found

    # the aggregator ---------------------------------------------------------------------------------------------

    def snapshot(self, asset_id, at):
        """Return the ranked row of an asset."""
        row = self.market.market_row(asset_id, millis(at))
        assert moment(row.last_updated_ms) == at
        changes = (row.changes_pct["1h"], row.changes_pct["24h"], row.changes_pct["7d"])
        # Supplies are doubles on the wire: past 2**53 the shortest text of one is not the whole number itself.
        supplies = [None if n is None else Decimal(repr(float(n))) for n in (row.circulating, row.total_supply)]
        supplies.append(row.max_supply)
        extremes = (row.ath, moment(row.ath_ms), row.atl, moment(row.atl_ms))
        unknown_supply = row.market_cap == 0 and row.rank is None
        cap = None if unknown_supply else row.market_cap
        sizes = (row.price, cap, row.fully_diluted, row.rank, row.volume_24h, row.high_24h, row.low_24h)
        return (*sizes, *changes, *supplies, *extremes)

    def past(self, asset_id, at):
        """Return what a chart says about a moment: price, market cap, volume."""
        price = self.market.coin_price(asset_id, millis(at))
        supply = self.market.coin_market.coin(asset_id).supply
        return price, int(price * supply), self.market.coin_market.volume(asset_id, millis(at))

    def whole(self, at):
        market = self.market.global_market(millis(at))
        assert moment(market.updated_ms) == at
        shares = (market.dominance["btc"], market.dominance["eth"])
        return (market.total_cap, market.total_volume, *shares, market.cap_change_24h_pct, market.active_coins)


TICKERS = """
    last_price, bid_price, bid_size, ask_price, ask_size, open_24h, high_24h, low_24h, volume_24h, quote_volume_24h,
    change_24h_pct
"""
BOOKS = "bid_prices, bid_sizes, ask_prices, ask_sizes, best_bid, best_ask"
BARS = "open, high, low, close, volume, quote_volume, trades, taker_buy_volume"
SNAPSHOTS = """
    price_usd, market_cap_usd, fully_diluted_usd, rank, volume_24h_usd, high_24h_usd, low_24h_usd, change_1h_pct,
    change_24h_pct, change_7d_pct, circulating_supply, total_supply, max_supply, ath_usd, ath_at, atl_usd, atl_at
"""
WIDTHS = {name: timedelta(milliseconds=width) for name, width in WIDTHS_MS.items()}


def stored(program, table, columns):
    """Return (venue, symbol, observed_at) -> values of every row of a table about instruments."""
    found = program.rows(
        f"SELECT venue, venue_symbol, observed_at, {columns} FROM {table} t JOIN instruments USING (instrument_id) "
        "WHERE t.source = venue"
    )
    assert len(found) == program.value(f"SELECT count(*) FROM {table}"), "every row is its own venue's"
    return {row[:3]: row[3:] for row in found}
