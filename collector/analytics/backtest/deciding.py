"""Asks a strategy for its weights, walk-forward where it learns, and takes nothing but weights that can be traded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from collector.analytics.backtest.market import BacktestRefused, Floats, Market
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.strategies import Learns, Prepares, Strategy

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One fit of a walk-forward: `details` is what came out, for decisions from `fitted_at` to the next fit."""

    fitted_at: datetime
    train_from: datetime
    details: Mapping[str, Any]


class Decider:
    """Answers with weights for bars of one market; `last` is the newest bar the strategy's preparation may see.

    Asked for the same bar on a longer and a shorter market, an honest strategy gives the same answer.
    """

    def __init__(self, market: Market, strategy: Strategy, parameters: BacktestParameters, *, first: int) -> None:
        self.fits: list[Fit] = []
        self._market, self._strategy, self._parameters, self._first = market, strategy, parameters, first
        self._assets = market.assets
        self._index = market.index
        self._walking = parameters.walk_forward
        self._ready: tuple[int, Strategy] | None = None
        if self._walking and not isinstance(strategy, Learns):
            raise BacktestRefused(f"walk-forward: {strategy.name} has nothing to fit")

    def weights(self, bar: int) -> Floats | None:
        """Return the target weights decided at the end of a bar, in the order of the assets; None: no decision."""
        known = self._market.until(self._moment(bar))
        answer = self._fitted(bar).weights(known, self._moment(bar))
        return None if answer is None else self._tradable(answer, self._moment(bar))

    def _moment(self, bar: int) -> datetime:
        moment: datetime = self._index[bar].to_pydatetime()
        return moment

    def _fitted(self, bar: int) -> Strategy:
        """Return the strategy as it was at a bar: fitted at the latest step, prepared on this market."""
        at = self._first if self._walking is None else bar - (bar - self._first) % self._walking.step
        if self._ready is None or self._ready[0] != at:
            strategy = self._strategy
            if self._walking is not None and isinstance(strategy, Learns):
                known = self._market.until(self._moment(at)).last(self._walking.train)
                strategy = strategy.fit(known, self._moment(at))
                since = known.index[0].to_pydatetime()
                self.fits.append(Fit(fitted_at=self._moment(at), train_from=since, details=strategy.details()))
            self._ready = (at, strategy.prepare(self._market) if isinstance(strategy, Prepares) else strategy)
        return self._ready[1]

    def _tradable(self, answer: Mapping[str, float] | pd.Series, moment: datetime) -> Floats:
        given = {str(name): float(weight) for name, weight in answer.items()}
        if unknown := sorted(set(given) - set(self._assets)):
            raise BacktestRefused(f"{self._strategy.name} at {moment}: {unknown} are not in this market")
        weights = np.array([given.get(name, 0.0) for name in self._assets])
        if not np.isfinite(weights).all():
            bad = [name for name, weight in given.items() if not np.isfinite(weight)]
            raise BacktestRefused(f"{self._strategy.name} at {moment}: no weight for {bad}")
        if not self._parameters.short and (weights < -_ROUNDING).any():
            raise BacktestRefused(f"{self._strategy.name} at {moment}: weights below zero need short=True")
        if (gross := float(np.abs(weights).sum())) > self._parameters.max_gross + _ROUNDING:
            raise BacktestRefused(f"{self._strategy.name} at {moment}: weights of {gross:.6g} are above max_gross")
        return weights if self._parameters.short else np.maximum(weights, 0.0)
