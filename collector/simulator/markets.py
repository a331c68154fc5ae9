"""The simulator's truth: everything any simulated venue says at a moment, as exact numbers a test can compare with.

All answers are functions of (seed, instrument, time); nothing is remembered between calls except finished computations.
Times are Unix milliseconds. Prices and sizes are Decimals with the instrument's own number of decimals.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from collector.simulator.coin_market import CoinMarket, GlobalMarket, MarketRow
from collector.simulator.noise import Floats, Ints, key, keys, pick, unit, value_noise
from collector.simulator.series import (
    BASE,
    CLOSE,
    DAY_MS,
    HIGH,
    HOUR_MS,
    LOTS,
    LOW,
    MINUTE_MS,
    OPEN,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    Bars,
    Prices,
    Series,
    aggregate,
)
from collector.simulator.universe import (
    Coin,
    Contract,
    build_coins,
    build_contracts,
    build_underlyings,
    quarterly,
    quarterly_contracts,
)

VENUES = ("binance_futures", "okx")
WIDTHS_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "2d": 2 * DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}
"""Width of every interval except the calendar month "1M"."""
_MONDAY_MS = 4 * DAY_MS  # 1970-01-05 was the first Monday
BOOK_GRID_MS = 100
_FORECAST_GRID_MS = 600_000


class UnknownSymbol(LookupError):
    """The venue does not list this symbol, or not yet, or not any more."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One candle. Volumes are in units of the contract's base; `contracts` is the size in the venue's own unit.

    At Binance the base of 1000PEPEUSDT is "1000PEPE": one unit is `Contract.multiplier` coins. `closed` is judged at
    the moment the candle was asked for.
    """

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    contracts: Decimal
    closed: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """Rolling 24 hours: the minutes from `open_ms` (a full minute) up to and with the point at `close_ms`."""

    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    last_size: Decimal
    volume: Decimal
    quote_volume: Decimal
    contracts: Decimal
    trades: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Levels (price, size), best first, at a grid of 100 ms.

    Sizes are in the venue's unit: base units at Binance, contracts at OKX.
    """

    at_ms: int
    last_update_id: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Long and short shares of accounts or positions (fractions that add up to 1) and long divided by short."""

    long: Decimal
    short: Decimal
    ratio: Decimal


class Market:
    """One deterministic market of 45 to 600 assets.

    `binance_perpetuals` and `okx_swaps` cap the number of plain USDT contracts; by default most coins have one.
    """

    def __init__(
        self,
        seed: int = 1,
        assets: int = 60,
        *,
        binance_perpetuals: int | None = None,
        okx_swaps: int | None = None,
    ) -> None:
        self.seed = seed
        self.coins: tuple[Coin, ...] = build_coins(assets)
        self._prices = Prices(seed, build_underlyings(self.coins))
        self._series = Series(seed, self._prices)
        self._contracts = build_contracts(self.coins, binance_perpetuals, okx_swaps)
        self._by_symbol = {(c.venue, c.symbol): c for c in self._contracts}
        self.coin_market = CoinMarket(seed, self.coins, self._prices)

    # instruments ------------------------------------------------------------------------------------------------

    def instruments(self, venue: str, at_ms: int | None = None) -> tuple[Contract, ...]:
        """Return the contracts a venue trades; a moment adds Binance's dated futures and drops the not yet listed."""
        lasting = tuple(c for c in self._contracts if c.venue == venue and (at_ms is None or c.listed_ms <= at_ms))
        if at_ms is None or venue != "binance_futures":
            return lasting
        return lasting + quarterly_contracts(self.coins, at_ms)

    def contract(self, venue: str, symbol: str, at_ms: int | None = None) -> Contract:
        """Return one contract; raises UnknownSymbol, also when it is not listed yet or has expired at the moment."""
        found = self._by_symbol.get((venue, symbol)) or self._dated(venue, symbol)
        if found is None:
            raise UnknownSymbol(f"{venue} does not list {symbol}")
        if at_ms is not None and not found.listed_ms <= at_ms < (found.expires_ms or at_ms + 1):
            raise UnknownSymbol(f"{venue} does not list {symbol} at {at_ms}")
        return found

    def _dated(self, venue: str, symbol: str) -> Contract | None:
        if venue != "binance_futures" or not symbol.startswith("BTCUSDT_") or not symbol[8:].isdecimal():
            return None
        try:
            day = datetime.strptime(symbol[8:], "%y%m%d").replace(tzinfo=UTC, hour=8)
        except ValueError:
            return None
        expires_ms = int(day.timestamp() * 1000)
        first, _ = quarterly_contracts(self.coins, expires_ms - 1)
        return quarterly(self.coins, expires_ms) if first.expires_ms == expires_ms else None

    # prices and candles -----------------------------------------------------------------------------------------

    def last_price(self, venue: str, symbol: str, at_ms: int) -> Decimal:
        """Return the last traded price at a moment; it lies inside the candle that is running then."""
        contract = self.contract(venue, symbol)
        return Decimal(self._series.last_ticks(contract, at_ms)[0]).scaleb(contract.tick_exp)

    def bars(
        self,
        contract: Contract,
        interval: str,
        start_ms: int,
        end_ms: int,
        *,
        at_ms: int | None = None,
        shift_ms: int = 0,
    ) -> Bars:
        """Return candles in whole numbers whose open time is in [start, end); see `candles` and `series.Bars`.

        `shift_ms` moves the boundaries: -8 hours gives days of UTC+8, which open at 16:00 UTC.
        """
        limit = min(end_ms, contract.expires_ms or end_ms, end_ms if at_ms is None else at_ms + 1)
        start = max(start_ms, first_open(interval, contract.listed_ms, shift_ms))
        opens = open_times(interval, start, limit, shift_ms) if start < limit else np.empty(0, dtype=np.int64)
        if not len(opens):
            return Bars(opens, np.empty((10, 0), dtype=np.int64))
        until = next_open(interval, int(opens[-1]), shift_ms)
        until = min(until, contract.expires_ms or until)
        grain = _grain_ms(interval)
        begin = max(int(opens[0]), contract.listed_ms)
        now = at_ms if at_ms is not None and at_ms < until else None
        count = ((until if now is None else now + grain - now % grain) - begin) // grain
        if grain == MINUTE_MS:
            columns = self._series.minutes(contract, begin // grain, count, now)
        else:
            columns = self._series.hours(contract, grain // HOUR_MS, begin // grain, count, now)
        starts = (np.maximum(opens, begin) - begin) // grain
        return Bars(opens, aggregate(columns, starts) if len(starts) < columns.shape[1] else columns)

    def candles(
        self,
        venue: str,
        symbol: str,
        interval: str,
        start_ms: int,
        end_ms: int,
        *,
        at_ms: int | None = None,
        shift_ms: int = 0,
    ) -> list[Candle]:
        """Return the candles opening in [start, end), oldest first.

        Without `at_ms` all are complete. With it nothing after that moment is known: the running candle holds what has
        been traded so far and says closed=False. Intervals are those of WIDTHS_MS and "1M"; weeks open on Monday.
        """
        contract = self.contract(venue, symbol)
        bars = self.bars(contract, interval, start_ms, end_ms, at_ms=at_ms, shift_ms=shift_ms)
        return [
            _candle(contract, opened, row, at_ms is None or next_open(interval, opened, shift_ms) <= at_ms)
            for opened, row in zip(bars.open_ms.tolist(), bars.columns.T.tolist(), strict=True)
        ]

    def ticker_24h(self, venue: str, symbol: str, at_ms: int) -> Ticker:
        """Return the rolling 24 hours at a moment."""
        return self.ticker_of(self.contract(venue, symbol), at_ms)

    def ticker_of(self, contract: Contract, at_ms: int) -> Ticker:
        """Return the rolling 24 hours of a contract."""
        begin = max(at_ms - DAY_MS, contract.listed_ms) // MINUTE_MS
        columns = self._series.minutes(contract, begin, at_ms // MINUTE_MS - begin + 1, at_ms)
        row = aggregate(columns, np.zeros(1, dtype=np.int64))[:, 0].tolist()
        last, size = self._series.last_ticks(contract, at_ms)
        return Ticker(
            open_ms=begin * MINUTE_MS,
            close_ms=at_ms,
            open=Decimal(row[OPEN]).scaleb(contract.tick_exp),
            high=Decimal(row[HIGH]).scaleb(contract.tick_exp),
            low=Decimal(row[LOW]).scaleb(contract.tick_exp),
            last=Decimal(last).scaleb(contract.tick_exp),
            last_size=Decimal(size).scaleb(contract.lot_exp),
            volume=Decimal(row[BASE]).scaleb(contract.base_exp),
            quote_volume=Decimal(row[QUOTE]).scaleb(contract.quote_exp),
            contracts=Decimal(row[LOTS]).scaleb(contract.lot_exp),
            trades=row[TRADES],
        )

    def order_book(self, venue: str, symbol: str, at_ms: int, levels: int) -> Book:
        """Return up to `levels` levels a side around the last price; more levels continue the same book."""
        contract = self.contract(venue, symbol)
        grid = at_ms - at_ms % BOOK_GRID_MS
        last, _ = self._series.last_ticks(contract, grid)
        place = np.arange(levels + 1, dtype=np.int64).reshape(1, -1)
        chance = unit(keys([key(self.seed, "book", contract.key, grid, part) for part in range(4)]), place)
        best_bid = last - int(2.0 * chance[0, 0])
        best_ask = best_bid + 1 + int(chance[1, 0] * (40 if contract.quiet else 3))
        bid_ticks = best_bid - np.cumsum(np.append(0, 1 + (chance[0, 1:levels] * 4).astype(np.int64)))
        ask_ticks = best_ask + np.cumsum(np.append(0, 1 + (chance[1, 1:levels] * 4).astype(np.int64)))
        usual = contract.daily_lots / 5_760.0 * (1.0 + 0.1 * place[0, :levels])
        sizes = 1 + (-np.log1p(-chance[2:, :levels]) * usual).astype(np.int64)
        return Book(
            at_ms=grid,
            last_update_id=grid // BOOK_GRID_MS * 37 + contract.key % 1_000_000,
            bids=_levels(contract, bid_ticks, sizes[0]),
            asks=_levels(contract, ask_ticks, sizes[1]),
        )

    # mark, index, funding, open interest ------------------------------------------------------------------------

    def mark_price(self, venue: str, symbol: str, at_ms: int) -> Decimal:
        """Return the mark price at a moment (rounded down to a second)."""
        return self.mark_prices([self.contract(venue, symbol)], at_ms)[0]

    def index_price(self, venue: str, symbol: str, at_ms: int) -> Decimal:
        """Return the index price at a moment (rounded down to a second)."""
        return self.index_prices([self.contract(venue, symbol)], at_ms)[0]

    def mark_prices(self, contracts: list[Contract], at_ms: int) -> list[Decimal]:
        """Return the mark prices of many contracts at one moment."""
        return self.marks(contracts, [at_ms] * len(contracts))

    def index_prices(self, contracts: list[Contract], at_ms: int) -> list[Decimal]:
        """Return the index prices of many contracts at one moment."""
        return _quantised(contracts, self._index(contracts, [at_ms] * len(contracts)))

    def marks(self, contracts: list[Contract], times_ms: list[int]) -> list[Decimal]:
        """Return one mark price for each pair of contract and moment."""
        seconds = np.array(times_ms, dtype=np.int64).reshape(-1, 1) // 1000
        seeds = keys([key(self.seed, "mark", c.key) for c in contracts])
        wander = 0.0003 * value_noise(seeds, seconds, 600)[:, 0]
        premium = 1.0 + np.array([c.premium for c in contracts]) + wander
        return _quantised(contracts, self._index(contracts, times_ms) * premium)

    def _index(self, contracts: list[Contract], times_ms: list[int]) -> Floats:
        rows = np.array([c.underlying for c in contracts], dtype=np.int64)
        spot = self._prices.at(rows, np.array(times_ms, dtype=np.int64).reshape(-1, 1))[:, 0]
        price: Floats = spot * np.array([c.multiplier for c in contracts], dtype=np.float64)
        return price

    def funding_rate(self, venue: str, symbol: str, funding_ms: int) -> Decimal:
        """Return the rate settled at a time (rounded to the minute); about one in fifty is exactly zero."""
        return self.settled_rates([self.contract(venue, symbol)], [funding_ms])[0]

    def settled_rates(self, contracts: list[Contract], times_ms: list[int]) -> list[Decimal]:
        """Return one settled rate for each pair of contract and settlement."""
        hours = [round(time_ms / MINUTE_MS) // 60 for time_ms in times_ms]
        at = np.array(hours, dtype=np.int64).reshape(-1, 1)
        slow = value_noise(keys([key(self.seed, "funding", c.key, 0) for c in contracts]), at, 24)[:, 0]
        fast = value_noise(keys([key(self.seed, "funding", c.key, 1) for c in contracts]), at, 6)[:, 0]
        counts = np.rint(10_000 + 19_000 * slow + 12_000 * fast).astype(np.int64).tolist()
        return [
            Decimal(0 if pick(c.key, hour, 50) == 0 else count).scaleb(-8)
            for c, hour, count in zip(contracts, hours, counts, strict=True)
        ]

    def funding_forecast(self, venue: str, symbol: str, at_ms: int) -> Decimal:
        """Return what is expected for the next settlement; it moves every ten minutes and never equals the result."""
        return self.forecast_rates([self.contract(venue, symbol)], [at_ms])[0]

    def forecast_rates(self, contracts: list[Contract], times_ms: list[int]) -> list[Decimal]:
        """Return one expected rate for each pair of contract and moment."""
        coming = [next_funding_ms(c, time_ms) for c, time_ms in zip(contracts, times_ms, strict=True)]
        misses = [
            1 + pick(c.key, time_ms // _FORECAST_GRID_MS, 3_000) for c, time_ms in zip(contracts, times_ms, strict=True)
        ]
        settled = self.settled_rates(contracts, coming)
        return [
            rate + Decimal(miss if miss % 2 else -miss).scaleb(-8) for rate, miss in zip(settled, misses, strict=True)
        ]

    def funding_times(self, contract: Contract, start_ms: int, end_ms: int) -> list[int]:
        """Return the scheduled settlements in [start, end], oldest first; the first one comes after listing."""
        width = contract.funding_hours * HOUR_MS
        first = max(-(-start_ms // width), contract.listed_ms // width + 1) * width
        return list(range(first, end_ms + 1, width))

    def open_interest(self, venue: str, symbol: str, at_ms: int) -> Decimal:
        """Return the open interest (base units at Binance, contracts at OKX) at a moment, rounded down to a second."""
        return self.open_interests([self.contract(venue, symbol)], at_ms)[0]

    def open_interests(self, contracts: list[Contract], at_ms: int) -> list[Decimal]:
        """Return the open interest of many contracts at one moment."""
        return self.interests(contracts, [at_ms] * len(contracts))

    def interests(self, contracts: list[Contract], times_ms: list[int]) -> list[Decimal]:
        """Return one open interest for each pair of contract and moment."""
        second = np.array(times_ms, dtype=np.int64).reshape(-1, 1) // 1000
        slow = value_noise(keys([key(self.seed, "interest", c.key) for c in contracts]), second, 43_200)[:, 0]
        fast = value_noise(keys([key(self.seed, "interest fast", c.key) for c in contracts]), second, 300)[:, 0]
        lots = np.array([c.daily_lots for c in contracts]) * 0.7 * (1.0 + 0.3 * slow + 0.01 * fast)
        counts = (1 + np.rint(lots)).astype(np.int64).tolist()
        return [Decimal(n).scaleb(c.lot_exp) for n, c in zip(counts, contracts, strict=True)]

    def position_ratio(self, symbol: str, kind: str, at_ms: int) -> Ratio:
        """Return long and short shares at Binance; kind is accounts, top_accounts or top_positions."""
        contract = self.contract("binance_futures", symbol)
        step = np.array([[at_ms // 300_000]], dtype=np.int64)
        swing = float(value_noise(keys([key(self.seed, "ratio", kind, contract.key)]), step, 48)[0, 0])
        share = round(5_400 + 2_200 * swing)
        long, short = Decimal(share).scaleb(-4), Decimal(10_000 - share).scaleb(-4)
        return Ratio(long=long, short=short, ratio=(long / short).quantize(Decimal("0.0001")))

    # the aggregator's view --------------------------------------------------------------------------------------

    def market_row(self, coin_id: str, at_ms: int) -> MarketRow:
        """Return a coin's row as CoinGecko shows it; raises KeyError for an unknown id."""
        return self.coin_market.row(coin_id, at_ms)

    def coin_price(self, coin_id: str, at_ms: int) -> Decimal:
        """Return a coin's price in USD at a moment (rounded down to a second)."""
        return self.coin_market.price(coin_id, at_ms)

    def global_market(self, at_ms: int) -> GlobalMarket:
        """Return the whole market at the last full minute."""
        return self.coin_market.whole(at_ms)


def _quantised(contracts: list[Contract], prices: Floats) -> list[Decimal]:
    exponents = [mark_exp(c) for c in contracts]
    counts = np.rint(prices * np.array([10.0**-e for e in exponents])).astype(np.int64).tolist()
    return [Decimal(count).scaleb(e) for count, e in zip(counts, exponents, strict=True)]


def mark_exp(contract: Contract) -> int:
    """Return the power of ten of mark prices: eight decimals at Binance, more for tiny prices; ticks at OKX."""
    return contract.tick_exp if contract.venue == "okx" else min(-8, contract.tick_exp)


def next_funding_ms(contract: Contract, at_ms: int) -> int:
    """Return the first scheduled settlement after a moment."""
    width = contract.funding_hours * HOUR_MS
    return (at_ms // width + 1) * width


def first_open(interval: str, at_ms: int, shift_ms: int = 0) -> int:
    """Return the open time of the candle that contains a moment."""
    if interval == "1M":
        moment = datetime.fromtimestamp((at_ms - shift_ms) / 1000, UTC)
        return _month_ms(moment.year, moment.month) + shift_ms
    origin = shift_ms + (_MONDAY_MS if interval == "1w" else 0)
    return at_ms - (at_ms - origin) % WIDTHS_MS[interval]


def next_open(interval: str, open_ms: int, shift_ms: int = 0) -> int:
    """Return the open time of the following candle."""
    if interval == "1M":
        return first_open("1M", open_ms + 32 * DAY_MS, shift_ms)
    return open_ms + WIDTHS_MS[interval]


def open_times(interval: str, start_ms: int, end_ms: int, shift_ms: int = 0) -> Ints:
    """Return the open times in [start, end)."""
    first = first_open(interval, start_ms, shift_ms)
    first = first if first == start_ms else next_open(interval, first, shift_ms)
    if interval != "1M":
        return np.arange(first, max(end_ms, first), WIDTHS_MS[interval], dtype=np.int64)
    opens: list[int] = []
    while first < end_ms:
        opens.append(first)
        first = next_open("1M", first, shift_ms)
    return np.array(opens, dtype=np.int64)


def _grain_ms(interval: str) -> int:
    """Return the width of the ready-made candles an interval is built from: 8 hours divide a day of UTC+8 too."""
    if interval == "1M" or WIDTHS_MS[interval] % (8 * HOUR_MS) == 0:
        return 8 * HOUR_MS
    return HOUR_MS if WIDTHS_MS[interval] % HOUR_MS == 0 else MINUTE_MS


def _month_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)


def _candle(contract: Contract, opened: int, row: list[int], closed: bool) -> Candle:
    return Candle(
        open_ms=opened,
        open=Decimal(row[OPEN]).scaleb(contract.tick_exp),
        high=Decimal(row[HIGH]).scaleb(contract.tick_exp),
        low=Decimal(row[LOW]).scaleb(contract.tick_exp),
        close=Decimal(row[CLOSE]).scaleb(contract.tick_exp),
        volume=Decimal(row[BASE]).scaleb(contract.base_exp),
        quote_volume=Decimal(row[QUOTE]).scaleb(contract.quote_exp),
        trades=row[TRADES],
        taker_buy_volume=Decimal(row[TAKER_BASE]).scaleb(contract.base_exp),
        taker_buy_quote_volume=Decimal(row[TAKER_QUOTE]).scaleb(contract.quote_exp),
        contracts=Decimal(row[LOTS]).scaleb(contract.lot_exp),
        closed=closed,
    )


def _levels(contract: Contract, ticks: Ints, sizes: Ints) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple(
        (Decimal(tick).scaleb(contract.tick_exp), Decimal(size).scaleb(contract.lot_exp))
        for tick, size in zip(ticks.tolist(), sizes.tolist(), strict=True)
        if tick > 0
    )
