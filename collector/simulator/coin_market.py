"""The truth about coins as an aggregator shows it: price, market cap, changes and the whole market, at any moment.

Rows belong to a grid of ten seconds: the row at `t` is the row of the last grid point, which is its `last_updated_ms`.
Prices carry six significant digits of the coin's central price; asking again for `last_updated_ms` gives the same row.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from decimal import Decimal

import numpy as np

from collector.simulator.noise import Floats, Ints, key, keys, value_noise
from collector.simulator.series import DAY_MS, HOUR_MS, MINUTE_MS, STEP_MS, Prices
from collector.simulator.universe import Coin, tick_exp_for

ROW_GRID_MS = 10_000
GLOBAL_GRID_MS = 60_000
WINDOWS_MS = {
    "1h": HOUR_MS,
    "24h": DAY_MS,
    "7d": 7 * DAY_MS,
    "14d": 14 * DAY_MS,
    "30d": 30 * DAY_MS,
    "60d": 60 * DAY_MS,
    "200d": 200 * DAY_MS,
    "1y": 365 * DAY_MS,
}
_OHLC_WIDTHS_MS = ((2, 30 * MINUTE_MS), (30, 4 * HOUR_MS), (100_000, 4 * DAY_MS))
# Prices stay between 0.4 and 2.5 times their centre, so these two are never passed.
_ATH_FACTOR, _ATL_FACTOR = 3.2, 0.2
_ATH_MS, _ATL_MS = 1_761_080_262_558, 1_520_035_200_000
_CACHED_ROWS = 8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MarketRow:
    """One coin in USD. None means the provider says null. Percentages are percent; supplies are whole coins."""

    coin: Coin
    last_updated_ms: int | None
    price: Decimal | None
    market_cap: int | None
    rank: int | None
    fully_diluted: int | None
    volume_24h: int | None
    high_24h: Decimal | None
    low_24h: Decimal | None
    change_24h: Decimal | None
    changes_pct: dict[str, Decimal | None]
    cap_change_24h: int | None
    cap_change_24h_pct: Decimal | None
    circulating: int | None
    total_supply: int | None
    max_supply: int | None
    ath: Decimal | None
    ath_change_pct: Decimal | None
    ath_ms: int | None
    atl: Decimal | None
    atl_change_pct: Decimal | None
    atl_ms: int | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GlobalMarket:
    """The whole market in USD; `dominance` maps the ten biggest ticker symbols to percent of the total cap."""

    updated_ms: int
    active_coins: int
    markets: int
    total_cap: int
    total_volume: int
    dominance: dict[str, Decimal]
    cap_change_24h_pct: Decimal
    volume_change_24h_pct: Decimal


def percent(now: float, before: float, digits: int = 5) -> Decimal:
    """Return the change in percent, rounded."""
    return Decimal(str(round((now - before) / before * 100.0, digits)))


class CoinMarket:
    """Computes aggregator rows for all coins at once and keeps the last few moments."""

    def __init__(self, seed: int, coins: tuple[Coin, ...], prices: Prices) -> None:
        self._coins = coins
        self._prices = prices
        self._place = {coin.id: place for place, coin in enumerate(coins)}
        self._exponents = [tick_exp_for(coin.anchor_usd) for coin in coins]
        self._scale: Floats = np.array([10.0**-e for e in self._exponents]).reshape(-1, 1)
        self._activity = keys([key(seed, "coin activity", coin.id) for coin in coins])
        self._rows: OrderedDict[int, tuple[MarketRow, ...]] = OrderedDict()

    def coin(self, coin_id: str) -> Coin:
        """Return a coin by its id; raises KeyError for an unknown one."""
        return self._coins[self._place[coin_id]]

    def price(self, coin_id: str, at_ms: int) -> Decimal:
        """Return the price in USD at a moment (rounded down to a second)."""
        return self.prices(coin_id, np.array([at_ms], dtype=np.int64))[0]

    def prices(self, coin_id: str, times_ms: Ints) -> list[Decimal]:
        """Return the prices in USD at many moments."""
        place = self._place[coin_id]
        exponent = self._exponents[place]
        ticks = self._ticks(np.array([place]), times_ms)[0]
        return [Decimal(t).scaleb(exponent) for t in ticks.tolist()]

    def volume(self, coin_id: str, at_ms: int) -> int:
        """Return the volume of the last 24 hours in USD at a moment."""
        return int(self._volumes(np.array([self._place[coin_id]]), at_ms)[0])

    def _ticks(self, places: Ints, times_ms: Ints) -> Ints:
        exact = self._prices.at(places, times_ms) * self._scale[places]
        ticks: Ints = np.maximum(np.rint(exact), 1.0).astype(np.int64)
        return ticks

    def _volumes(self, places: Ints, at_ms: int) -> Ints:
        usual = np.array([max(2e5, c.anchor_usd * c.supply * c.turnover) for c in self._coins])[places]
        step = np.array([[at_ms // ROW_GRID_MS]], dtype=np.int64)
        swing = value_noise(self._activity[places], step, 2_160)[:, 0]
        volumes: Ints = np.rint(usual * np.exp(0.6 * swing)).astype(np.int64)
        return volumes

    def rows(self, at_ms: int) -> tuple[MarketRow, ...]:
        """Return the row of every coin in the order of `coins`."""
        grid = at_ms - at_ms % ROW_GRID_MS
        if grid not in self._rows:
            self._rows[grid] = self._build(grid)
            if len(self._rows) > _CACHED_ROWS:
                self._rows.popitem(last=False)
        return self._rows[grid]

    def row(self, coin_id: str, at_ms: int) -> MarketRow:
        """Return one coin's row; raises KeyError for an unknown id."""
        return self.rows(at_ms)[self._place[coin_id]]

    def _build(self, grid: int) -> tuple[MarketRow, ...]:
        everything = np.arange(len(self._coins))
        moments = [grid] + [grid - width for width in WINDOWS_MS.values()]
        ticks = self._ticks(everything, np.array(moments, dtype=np.int64))
        day_steps = np.arange((grid - DAY_MS) // STEP_MS + 1, grid // STEP_MS + 1, dtype=np.int64) * STEP_MS
        day = self._ticks(everything, day_steps)
        high = np.maximum(day.max(axis=1), ticks[:, 0]).tolist()
        low = np.minimum(day.min(axis=1), ticks[:, 0]).tolist()
        volumes = self._volumes(everything, grid).tolist()
        caps = [_cap(coin, t, e) for coin, t, e in zip(self._coins, ticks[:, 0].tolist(), self._exponents, strict=True)]
        ranks = _ranks(self._coins, caps)
        return tuple(
            self._row(place, grid, ticks[place].tolist(), (high[place], low[place]), volumes[place], ranks[place])
            for place in range(len(self._coins))
        )

    def _row(
        self, place: int, grid: int, ticks: list[int], day: tuple[int, int], volume: int, rank: int | None
    ) -> MarketRow:
        coin, exponent = self._coins[place], self._exponents[place]
        if coin.quirk == "dead":
            return _dead_row(coin)
        price, before = Decimal(ticks[0]).scaleb(exponent), Decimal(ticks[2]).scaleb(exponent)
        cap, cap_before = _cap(coin, ticks[0], exponent), _cap(coin, ticks[2], exponent)
        known = coin.quirk != "no_changes"
        ath = Decimal(round(coin.anchor_usd * _ATH_FACTOR * 10.0**-exponent)).scaleb(exponent)
        atl = Decimal(round(coin.anchor_usd * _ATL_FACTOR * 10.0**-exponent)).scaleb(exponent)
        return MarketRow(
            coin=coin,
            last_updated_ms=grid,
            price=price,
            market_cap=cap,
            rank=rank,
            fully_diluted=int(price * (coin.max_supply or coin.supply)) if coin.supply else None,
            volume_24h=volume,
            high_24h=Decimal(day[0]).scaleb(exponent) if known else None,
            low_24h=Decimal(day[1]).scaleb(exponent) if known else None,
            change_24h=price - before if known else None,
            changes_pct={
                name: percent(ticks[0], ticks[1 + number]) if known and grid - width >= coin.listed_ms else None
                for number, (name, width) in enumerate(WINDOWS_MS.items())
            },
            cap_change_24h=cap - cap_before if cap and cap_before and known else None,
            cap_change_24h_pct=percent(cap, cap_before) if cap and cap_before and known else None,
            circulating=coin.supply or None,
            total_supply=coin.supply or None,
            max_supply=coin.max_supply,
            ath=ath,
            ath_change_pct=percent(float(price), float(ath)),
            ath_ms=_ATH_MS,
            atl=atl,
            atl_change_pct=percent(float(price), float(atl)),
            atl_ms=_ATL_MS,
        )

    def whole(self, at_ms: int) -> GlobalMarket:
        """Return the totals at the last full minute; coins without a known cap count nothing."""
        grid = at_ms - at_ms % GLOBAL_GRID_MS
        rows = self.rows(grid)
        caps = [row.market_cap or 0 for row in rows]
        before = [(row.market_cap or 0) - (row.cap_change_24h or 0) for row in rows]
        total = sum(caps)
        volume = sum(row.volume_24h or 0 for row in rows)
        everything = np.arange(len(self._coins))
        volume_before = float(self._volumes(everything, grid - DAY_MS).sum())
        biggest = sorted(zip(caps, rows, strict=True), key=lambda pair: -pair[0])[:10]
        return GlobalMarket(
            updated_ms=grid,
            active_coins=sum(1 for coin in self._coins if coin.quirk != "dead"),
            markets=1_400,
            total_cap=total,
            total_volume=volume,
            dominance={row.coin.symbol: Decimal(str(round(cap / total * 100.0, 10))) for cap, row in biggest},
            cap_change_24h_pct=percent(total, sum(before), 10),
            volume_change_24h_pct=percent(volume, volume_before, 10),
        )

    def ohlc(self, coin_id: str, days: int, at_ms: int) -> list[tuple[int, Decimal, Decimal, Decimal, Decimal]]:
        """Return (close time in ms, open, high, low, close), oldest first; the last one closes in the future.

        Candles are 30 minutes up to 2 days, 4 hours up to 30 days, else 4 days, built from prices every five minutes
        (every hour for the long ones) and the price now.
        """
        width = next(w for limit, w in _OHLC_WIDTHS_MS if days <= limit)
        sample = HOUR_MS if width > 4 * HOUR_MS else STEP_MS
        last_open = at_ms - at_ms % width
        first_open = max(last_open - days * DAY_MS + width, self.coin(coin_id).listed_ms // width * width)
        times = np.arange(first_open, at_ms + 1, sample, dtype=np.int64)
        times = np.append(times, at_ms) if times[-1] != at_ms else times
        values = self.prices(coin_id, times)
        groups: dict[int, list[Decimal]] = {}
        for time_ms, value in zip(times.tolist(), values, strict=True):
            groups.setdefault(time_ms - time_ms % width, []).append(value)
        return [(opened + width, v[0], max(v), min(v), v[-1]) for opened, v in groups.items()]


def _cap(coin: Coin, ticks: int, exponent: int) -> int | None:
    if coin.quirk in {"no_cap", "dead"}:
        return None
    return int(Decimal(ticks).scaleb(exponent) * coin.supply)


def _ranks(coins: tuple[Coin, ...], caps: list[int | None]) -> list[int | None]:
    """Return the rank by market cap; a coin whose cap is unknown or zero has none."""
    order = sorted((place for place in range(len(coins)) if caps[place]), key=lambda place: -(caps[place] or 0))
    ranks: list[int | None] = [None] * len(coins)
    for rank, place in enumerate(order, start=1):
        ranks[place] = rank
    return ranks


def _dead_row(coin: Coin) -> MarketRow:
    return MarketRow(
        coin=coin,
        last_updated_ms=None,
        price=None,
        market_cap=None,
        rank=None,
        fully_diluted=None,
        volume_24h=None,
        high_24h=None,
        low_24h=None,
        change_24h=None,
        changes_pct=dict.fromkeys(WINDOWS_MS),
        cap_change_24h=None,
        cap_change_24h_pct=None,
        circulating=None,
        total_supply=None,
        max_supply=None,
        ath=None,
        ath_change_pct=None,
        ath_ms=None,
        atl=None,
        atl_change_pct=None,
        atl_ms=None,
    )
