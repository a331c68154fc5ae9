"""Plays decisions through the bars: orders, waiting, funding, delistings; every unit and every cent accounted for.

Order of things inside bar k (its end is `index[k]`): orders decided earlier fill at the open; funding is paid on what
is held; orders fill at the close instead, if so asked; an asset delisted in this bar is sold at its last known close,
with fee and slippage; the equity is taken at the close; then the next decision is made.

A price that is not there is not invented: the order waits, bar by bar, until a price is there or a new decision
replaces it, and is told in `waits`. A held asset without a close is valued at its last known one, and told in
`stale_bars`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.analytics.backtest.costs import Fills, fill, funding_per_unit
from collector.analytics.backtest.market import Floats, Market, last_bars
from collector.analytics.backtest.parameters import BacktestParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One filled order. `bar` is the end of the bar it filled in; `units` and `value` are negative for a sale."""

    asset: str
    reason: str  # rebalance, delisting
    decided_at: datetime
    bar: datetime
    units: float
    price: float  # of the bar, before slippage
    value: float  # units times price
    fee: float
    slippage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """An order that found no price; `waited_bars` until it was filled or replaced, or nothing came."""

    asset: str
    decided_at: datetime
    waited_bars: int
    outcome: str  # filled, replaced, delisted, open


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came out, one row a bar from the first decision on; money in the unit of `initial`."""

    equity: pd.Series
    units: pd.DataFrame  # held at the end of each bar
    weights: pd.DataFrame  # share of the equity at the end of each bar
    targets: pd.DataFrame  # one row a decision
    costs: pd.DataFrame  # columns fees, slippage, funding (negative: received)
    traded: pd.Series  # value bought and sold in a bar over the equity before
    trades: tuple[Trade, ...]
    waits: tuple[Wait, ...]
    stale_bars: dict[str, int]  # bars at which an asset was held without a close
    ruined_at: datetime | None  # the bar after which nothing was left; None: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The costs of a run; a benchmark runs with none."""

    fee: float
    slippage: float
    funding: bool


Decide = Callable[[int], Floats | None]


def play(
    market: Market, decide: Decide, decisions: npt.NDArray[np.intp], parameters: BacktestParameters, rates: Rates
) -> Played:
    """Return what the decisions made of the initial money, from the first decision to the last bar before `end`.

    `decisions` holds positions in the market's index, ascending; `decide` is asked at each of them, in this order.
    """
    run = _Run(market, parameters, rates, first=int(decisions[0]))
    at_open = parameters.execution == "open"
    planned = set(decisions.tolist())
    for bar in range(run.first, run.end):
        if bar > run.first:
            run.bar(bar, at_open=at_open)
        if bar in planned and not run.ruined and (weights := decide(bar)) is not None:
            run.order(weights, bar)
    return run.played()


class _Run:
    """The ledger while it is written: cash, units, and one row for each bar."""

    def __init__(self, market: Market, parameters: BacktestParameters, rates: Rates, *, first: int) -> None:
        self.first = first
        self.index = market.index
        self.end = int(self.index.searchsorted(pd.Timestamp(parameters.end), side="right"))
        self.assets = market.assets
        self.closes = market.closes.to_numpy(dtype=float)
        self.known = market.closes.ffill().to_numpy(dtype=float)  # last known close: for valuing, never for an order
        prices = market.opens if parameters.execution == "open" else market.closes
        self.prices = prices.to_numpy(dtype=float)
        self.gone = last_bars(self.index, self.assets, market.delisted)
        self.delisting_bars = set(self.gone.tolist())
        self.rates = rates
        self.funding = funding_per_unit(market.funding, self.index, self.assets, self.known) if rates.funding else None
        bars, width = self.end - first, len(self.assets)
        self.held = np.zeros(width)
        self.cash = parameters.initial
        self.units = np.zeros((bars, width))
        self.cash_rows = np.full(bars, self.cash)
        self.costs = np.zeros((bars, 3))
        self.traded = np.zeros(bars)
        self.targets: dict[int, Floats] = {}
        self.filled: list[tuple[str, int, int, Floats, Fills]] = []
        self.waits: list[tuple[npt.NDArray[np.bool_], int, int, str]] = []
        self.target = np.zeros(width)
        self.waiting = np.zeros(width, dtype=bool)
        self.decided = first
        self.ruined: int | None = None

    def order(self, weights: Floats, bar: int) -> None:
        """Take a decision: what still waits of the one before is replaced. Nothing is ordered of what is delisted."""
        if bar > self.decided:
            self._waited(self.waiting, bar, "replaced")
        alive = self.gone > bar
        self.target = np.where(alive, weights, 0.0)
        self.targets[bar] = weights
        self.waiting = alive & ((self.target != 0) | (self.held != 0))
        self.decided = bar

    def bar(self, bar: int, *, at_open: bool) -> None:
        """Play one bar to its end."""
        row = bar - self.first
        if at_open:
            self._execute(bar)
        if self.funding is not None and self.held.any():
            paid = float(self.funding[bar] @ self.held)
            self.cash -= paid
            self.costs[row, 2] = paid
        if bar in self.delisting_bars:
            self._delist(bar)
        if not at_open:
            self._execute(bar)
        self.units[row], self.cash_rows[row] = self.held, self.cash
        if self.held.any() and self.cash + self._value(self.known[bar]) <= 0:
            self._ruin(bar)

    def _value(self, prices: Floats) -> float:
        """Return what is held at these prices; an asset never seen has no price and is not held."""
        return float(np.where(self.held != 0, self.held * prices, 0.0).sum())

    def _execute(self, bar: int) -> None:
        if not self.waiting.any():
            return
        now = self.waiting & ~np.isnan(self.prices[bar])
        if now.any():
            prices = np.where(now, self.prices[bar], self.known[bar - 1])
            self._settle(bar, "rebalance", now, prices, self.target)
            self._waited(now, bar - 1, "filled")
            self.waiting = self.waiting & ~now

    def _delist(self, bar: int) -> None:
        """Sell what is delisted in this bar at its last known close; orders for it end here."""
        going = self.gone == bar
        self._waited(going & self.waiting, bar, "delisted")
        self.waiting = self.waiting & ~going
        self.target = np.where(going, 0.0, self.target)
        if (selling := going & (self.held != 0)).any():
            self._settle(bar, "delisting", selling, self.known[bar], np.zeros_like(self.target))

    def _settle(self, bar: int, reason: str, now: npt.NDArray[np.bool_], prices: Floats, weights: Floats) -> None:
        usable = np.where(np.isnan(prices), 1.0, prices)  # never seen: not held and not ordered, any number does
        before = self.cash + self._value(usable)
        done = fill(
            weights, self.held, usable, cash=self.cash, now=now, fee=self.rates.fee, slippage=self.rates.slippage
        )
        self.held = np.where(now & (weights == 0), 0.0, self.held + done.units)
        self.cash += done.cash
        row = bar - self.first
        self.costs[row, 0] += done.fee.sum()
        self.costs[row, 1] += done.slippage.sum()
        if before > 0:
            self.traded[row] += float((np.abs(done.units) * usable).sum()) / before
        self.filled.append((reason, self.decided, bar, usable, done))

    def _waited(self, which: npt.NDArray[np.bool_], bar: int, outcome: str) -> None:
        """Note orders that found no price in one bar or more; `bar` is the last one without."""
        if which.any() and bar > self.decided:
            self.waits.append((which.copy(), self.decided, bar - self.decided, outcome))

    def _ruin(self, bar: int) -> None:
        """Nothing is left, or less: the run ends with zero; what is owed beyond is not played."""
        row = bar - self.first
        self.held = np.zeros_like(self.held)
        self.cash, self.ruined = 0.0, bar
        self.waiting = np.zeros_like(self.waiting)
        self.units[row], self.cash_rows[row] = 0.0, 0.0

    def played(self) -> Played:
        self._waited(self.waiting, self.end - 1, "open")
        window = self.index[self.first : self.end]
        known, closes = self.known[self.first : self.end], self.closes[self.first : self.end]
        values = np.where(self.units != 0, self.units * known, 0.0)
        equity = self.cash_rows + values.sum(axis=1)
        shares = np.divide(values, equity[:, None], out=np.zeros_like(values), where=equity[:, None] > 0)
        stale = ((self.units != 0) & np.isnan(closes)).sum(axis=0)
        decided = self.index[list(self.targets)]
        targets = np.array(list(self.targets.values())).reshape(len(decided), len(self.assets))
        return Played(
            equity=pd.Series(equity, index=window, name="equity"),
            units=pd.DataFrame(self.units, index=window, columns=self.assets),
            weights=pd.DataFrame(shares, index=window, columns=self.assets),
            targets=pd.DataFrame(targets, index=decided, columns=self.assets),
            costs=pd.DataFrame(self.costs, index=window, columns=["fees", "slippage", "funding"]),
            traded=pd.Series(self.traded, index=window, name="traded"),
            trades=self._trades(),
            waits=self._told_waits(),
            stale_bars={name: int(count) for name, count in zip(self.assets, stale, strict=True) if count},
            ruined_at=None if self.ruined is None else self.index[self.ruined].to_pydatetime(),
        )

    def _trades(self) -> tuple[Trade, ...]:
        ends = self.index.to_pydatetime()
        return tuple(
            Trade(
                asset=self.assets[column],
                reason=reason,
                decided_at=ends[decided] if reason == "rebalance" else ends[bar],
                bar=ends[bar],
                units=float(done.units[column]),
                price=float(prices[column]),
                value=float(done.units[column] * prices[column]),
                fee=float(done.fee[column]),
                slippage=float(done.slippage[column]),
            )
            for reason, decided, bar, prices, done in self.filled
            for column in np.flatnonzero(done.units)
        )

    def _told_waits(self) -> tuple[Wait, ...]:
        ends = self.index.to_pydatetime()
        return tuple(
            Wait(asset=self.assets[column], decided_at=ends[decided], waited_bars=bars, outcome=outcome)
            for which, decided, bars, outcome in self.waits
            for column in np.flatnonzero(which)
        )
