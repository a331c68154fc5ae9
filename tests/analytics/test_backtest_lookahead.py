"""A strategy that peeks is caught, an honest one is not accused."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from collector.analytics.backtest.engine import backtest
from collector.analytics.backtest.lookahead import look_ahead, sample
from collector.analytics.backtest.market import Market
from collector.analytics.backtest.parameters import BacktestParameters, WalkForward
from collector.analytics.backtest.strategies import CapWeighted, Decided, EmaCross, FixedWeights, Hold, Momentum, Tabled


def random_market(assets=4, bars=90, seed=5, freq="D"):
    rng = np.random.default_rng(seed)
    index = pd.date_range("2025-01-01", periods=bars, freq=freq, tz="UTC")
    names = ["bitcoin", *(f"coin{number}" for number in range(1, assets))]
    closes = pd.DataFrame(
        50 * np.exp(np.cumsum(rng.normal(0, 0.02, (bars, assets)), axis=0)), index=index, columns=names
    )
    caps = closes * rng.lognormal(10, 1, assets)
    return Market(closes=closes, opens=closes.shift(1).fillna(50.0), volumes=closes * 0 + 1, caps=caps)


MARKET = random_market()
ASKED = BacktestParameters(
    start=MARKET.index[40].to_pydatetime(), end=MARKET.index[-1].to_pydatetime(), rebalance="1d", look_ahead_samples=10
)


@dataclass(frozen=True)
class Peeking:
    """Holds what will rise most in the next bar."""

    name: str = "peeking"

    def details(self):
        return {}

    def prepare(self, market):
        best = market.closes.pct_change().shift(-1).fillna(0).idxmax(axis=1)
        table = pd.DataFrame(0.0, index=market.index, columns=market.assets)
        for moment, asset in best.items():
            table.loc[moment, asset] = 1.0
        return Tabled(name=self.name, table=table)

    def weights(self, known, t):
        return self.prepare(known).weights(known, t)


@dataclass(frozen=True)
class WholeSampleScore(Peeking):
    """Standardises with the mean of the whole sample, the quiet way to look ahead."""

    def prepare(self, market):
        change = market.closes.pct_change().fillna(0)
        score = (change - change.mean()) / change.std()
        table = score.clip(lower=0).div(score.clip(lower=0).sum(axis=1).replace(0, 1), axis=0)
        return Tabled(name=self.name, table=table)


@pytest.mark.parametrize("strategy", [Peeking(), WholeSampleScore()])
def test_a_strategy_that_peeks_is_caught(strategy):
    found = look_ahead(MARKET, strategy, ASKED, 10)
    assert found
    assert all(difference.whole != difference.truncated for difference in found)


def test_a_backtest_looks_by_itself_and_tells():
    result = backtest(MARKET, Peeking(), ASKED)
    assert result.look_ahead.passed is False
    assert result.warnings[0].startswith("LOOK AHEAD")
    assert len(result.look_ahead.sampled) == 10


def test_a_function_that_keeps_later_rows_of_its_own_is_caught():
    future = MARKET.closes

    def peek(known, t):
        after = future.loc[t + timedelta(days=1) :]
        return {str((after.iloc[0] / known.closes.iloc[-1]).idxmax()): 1.0} if len(after) else None

    found = look_ahead(MARKET, Decided(name="closure", function=peek), ASKED, 5)
    assert any("keeps rows until" in difference.reason for difference in found)


def test_a_table_computed_from_the_whole_market_beforehand_is_caught():
    table = EmaCross().prepare(MARKET)
    assert any("keeps rows until" in difference.reason for difference in look_ahead(MARKET, table, ASKED, 5))


@pytest.mark.parametrize(
    "strategy",
    [
        EmaCross(pairs=((5, 20), (10, 30))),
        Momentum(lookback=20, top=2, skip=1),
        CapWeighted(top=3),
        Hold("bitcoin"),
        FixedWeights(shares={"bitcoin": 0.4, "coin1": 0.4}),
        Decided(name="last", function=lambda known, _: {str(known.closes.iloc[-1].idxmax()): 1.0}),
    ],
    ids=lambda strategy: strategy.name,
)
def test_the_built_in_strategies_do_not_look_ahead(strategy):
    assert look_ahead(MARKET, strategy, ASKED, 1000) == []


class Trained:
    """Holds what rose most in its training window."""

    name = "trained"

    def __init__(self, asset="bitcoin"):
        self.asset = asset

    def details(self):
        return {"asset": self.asset}

    def fit(self, known, t):
        return Trained(str((known.closes.iloc[-1] / known.closes.iloc[0]).idxmax()))

    def weights(self, known, t):
        return {self.asset: 1.0}


def test_fits_are_repeated_on_what_was_known_at_their_moment():
    asked = BacktestParameters(
        start=ASKED.start, end=ASKED.end, rebalance="1d", walk_forward=WalkForward(train=30, step=7)
    )
    assert look_ahead(MARKET, Trained(), asked, 1000) == []


def test_samples_are_spread_and_hold_the_last_decision():
    assert sample(list(range(100)), 4) == [25, 50, 74, 99]
    assert sample([3, 4], 5) == [3, 4]
    assert sample([3, 4], 0) == []


def test_a_test_that_was_switched_off_is_told():
    asked = BacktestParameters(start=ASKED.start, end=ASKED.end, look_ahead_samples=0)
    result = backtest(MARKET, Hold("bitcoin"), asked)
    assert result.look_ahead.passed is None
    assert "the look-ahead test was switched off" in result.warnings
