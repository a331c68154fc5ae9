"""Strategies: what is known at a moment in, target weights out. The built-in ones, and the contract for others."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from collector.analytics.backtest.market import BacktestRefused, Market
from collector.analytics.backtest.sweep import sweep

Weights = Mapping[str, float] | pd.Series


class Strategy(Protocol):
    """Decides weights at the end of a bar; they are executed in the next one."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    def details(self) -> Mapping[str, Any]:
        """Return every parameter as JSON can hold it: part of the key of a result."""
        ...

    def weights(self, known: Market, t: datetime) -> Weights | None:
        """Return target weights by asset (left out: zero) from what was known at t; None: keep what is held."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A strategy that computes once over all bars instead of at each decision; the look-ahead test repeats it."""

    def prepare(self, market: Market) -> Strategy:
        """Return the strategy that answers for any moment of this market."""
        ...


@runtime_checkable
class Learns(Protocol):
    """A strategy that is fitted walk-forward."""

    def fit(self, known: Market, t: datetime) -> Strategy:
        """Return the strategy fitted to bars that had ended at t."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedWeights:
    """The same weights at each decision."""

    shares: Mapping[str, float]
    name: str = "fixed weights"

    def details(self) -> Mapping[str, Any]:
        return {"shares": dict(sorted(self.shares.items()))}

    def weights(self, known: Market, t: datetime) -> Weights:  # noqa: ARG002 - the contract
        return self.shares


@dataclass(frozen=True, slots=True)
class Hold:
    """All money in one asset."""

    asset: str

    @property
    def name(self) -> str:
        return f"hold {self.asset}"

    def details(self) -> Mapping[str, Any]:
        return {"asset": self.asset}

    def weights(self, known: Market, t: datetime) -> Weights:  # noqa: ARG002 - the contract
        return {self.asset: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class CapWeighted:
    """The market: each asset with its share of the market capitalisation known at that moment.

    `top`: only so many of the largest, None for all. Assets without a bar at that moment are left out. Without caps, or
    with caps older than `oldest`, there is no decision.
    """

    top: int | None = None
    oldest: timedelta = timedelta(days=3)

    @property
    def name(self) -> str:
        return "cap-weighted market" if self.top is None else f"cap-weighted, top {self.top}"

    def details(self) -> Mapping[str, Any]:
        return {"top": self.top, "oldest_s": self.oldest.total_seconds()}

    def weights(self, known: Market, t: datetime) -> Weights | None:
        if known.caps is None or not len(known.caps.index) or known.caps.index[-1] < pd.Timestamp(t) - self.oldest:
            return None
        caps = known.caps.iloc[-1]
        traded = known.closes.iloc[-1].reindex(caps.index).notna().to_numpy()
        caps = caps[traded & (caps.to_numpy() > 0)]
        if self.top is not None:
            caps = caps.sort_index().sort_values(ascending=False, kind="stable").iloc[: self.top]
        return None if caps.empty else caps / caps.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class Momentum:
    """Equal shares of the `top` assets by price change over `lookback` bars, the newest `skip` bars left out.

    The cross-sectional momentum of Jegadeesh and Titman (1993), long side. `rising`: only assets with a change above
    zero; the money of empty places stays in cash. An asset without one of the two closes, or without a bar now, is no
    candidate.
    """

    lookback: int
    top: int
    skip: int = 0
    rising: bool = True

    def __post_init__(self) -> None:
        if self.lookback < 1 or self.top < 1 or self.skip < 0:
            raise BacktestRefused("momentum: lookback and top are 1 or more, skip is 0 or more")

    @property
    def name(self) -> str:
        return f"momentum {self.lookback}, top {self.top}"

    def details(self) -> Mapping[str, Any]:
        return asdict(self)

    def weights(self, known: Market, t: datetime) -> Weights | None:  # noqa: ARG002 - the contract
        if len(known.closes.index) <= self.lookback + self.skip:
            return None
        now = known.closes.iloc[-1 - self.skip]
        change = (
            (now / known.closes.iloc[-1 - self.skip - self.lookback] - 1).where(known.closes.iloc[-1].notna()).dropna()
        )
        if self.rising:
            change = change[change > 0]
        best = change.sort_index().sort_values(ascending=False, kind="stable").index[: self.top]
        return dict.fromkeys((str(name) for name in best), 1 / self.top)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaCross:
    """Long while the fast average is above the slow one: 1/n of the money for each of the n assets with a bar.

    With several `pairs` (fast, slow in bars) an asset gets the share of its pairs that say so; the rest is cash. The
    averages are recursive, alpha = 2 / (span + 1), started at the first close (pandas `ewm(span, adjust=False,
    ignore_na=True)`), and count from the `slow`-th close on. In a hole the last state stays.
    """

    pairs: tuple[tuple[int, int], ...] = ((12, 26),)

    def __post_init__(self) -> None:
        if not self.pairs or any(not 1 <= fast < slow for fast, slow in self.pairs):
            raise BacktestRefused(f"ema_cross: {self.pairs} are not pairs of fast < slow")

    @property
    def name(self) -> str:
        return "EMA cross " + ", ".join(f"{fast}/{slow}" for fast, slow in self.pairs)

    def details(self) -> Mapping[str, Any]:
        return {"pairs": [list(pair) for pair in self.pairs]}

    def prepare(self, market: Market) -> "Tabled":
        closes = market.closes
        states = np.zeros(closes.shape)
        for fast, slow in self.pairs:
            states += (_ema(closes, fast) > _ema(closes, slow)).to_numpy() & _warm(closes, slow)
        begun = closes.notna().cummax()
        for asset, when in market.delisted.items():
            begun[asset] &= begun.index < pd.Timestamp(when)
        slots = begun.sum(axis=1).clip(lower=1)
        table = pd.DataFrame(states / len(self.pairs), index=closes.index, columns=closes.columns)
        return Tabled(name=self.name, inputs=self.details(), table=table.where(begun, 0.0).div(slots, axis=0))

    def weights(self, known: Market, t: datetime) -> Weights | None:
        return self.prepare(known).weights(known, t)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCross:
    """An EMA cross whose pair is chosen anew at each step of a walk-forward: the best on the bars before.

    The best is the pair with the highest median Sharpe ratio over the assets, costs included; of equal ones the
    first. Where no pair has one, the first pair stands.
    """

    pairs: tuple[tuple[int, int], ...]
    fee: float = 0.001
    slippage_bps: float = 5.0

    def __post_init__(self) -> None:
        EmaCross(pairs=self.pairs)  # the same pairs are refused

    @property
    def name(self) -> str:
        return f"EMA cross, the best of {len(self.pairs)} pairs"

    def details(self) -> Mapping[str, Any]:
        return {"pairs": [list(pair) for pair in self.pairs], "fee": self.fee, "slippage_bps": self.slippage_bps}

    def fit(self, known: Market, t: datetime) -> EmaCross:  # noqa: ARG002 - the contract
        """Return the cross with the pair that did best on what was known."""
        ratios: dict[tuple[int, int], list[float]] = {pair: [] for pair in sorted(self.pairs)}
        fast, slow = zip(*self.pairs, strict=True)
        for row in sweep(known.closes, fast, slow, fee=self.fee, slippage_bps=self.slippage_bps):
            if row.sharpe is not None and (row.fast, row.slow) in ratios:
                ratios[row.fast, row.slow].append(row.sharpe)
        told = {pair: median(found) for pair, found in ratios.items() if found}
        best = max(told, key=lambda pair: told[pair]) if told else min(ratios)
        return EmaCross(pairs=(best,))

    def weights(self, known: Market, t: datetime) -> Weights | None:
        return self.fit(known, t).weights(known, t)


def _ema(closes: pd.DataFrame, span: int) -> pd.DataFrame:
    return closes.ewm(span=span, adjust=False, ignore_na=True).mean()


def _warm(closes: pd.DataFrame, bars: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return (closes.notna().cumsum() >= bars).to_numpy()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tabled:
    """Weights computed beforehand: one row for each moment of decision."""

    name: str
    table: pd.DataFrame
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def details(self) -> Mapping[str, Any]:
        return self.inputs

    def weights(self, known: Market, t: datetime) -> Weights | None:  # noqa: ARG002 - the contract
        row = int(self.table.index.searchsorted(pd.Timestamp(t)))
        return pd.Series(self.table.to_numpy()[row], index=self.table.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Any function of (what is known, moment): portfolios of another module, such as Black-Litterman.

    `inputs` must name everything the function depends on besides the market, since it is what the key of a result sees.
    """

    name: str
    function: Callable[[Market, datetime], Weights | None]
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def details(self) -> Mapping[str, Any]:
        return self.inputs

    def weights(self, known: Market, t: datetime) -> Weights | None:
        return self.function(known, t)
