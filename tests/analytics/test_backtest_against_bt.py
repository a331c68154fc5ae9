"""The same portfolios played by bt: equity equal to 1e-6 relative, bar by bar.

Configured in bt so that both settle alike: fractions of units (`integer_positions=False`), its commission as a fraction
of the traded value, and orders on the dates at which ours are filled, since bt fills at the close of the date it
decides on and ours at the close of the bar after (`execution="close"`). Both take the fee out of the money of each
order.
"""

import warnings
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from collector.analytics.backtest.engine import backtest
from collector.analytics.backtest.market import Market
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.strategies import Decided, FixedWeights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import bt

FEE = 0.002
RNG = np.random.default_rng(11)
INDEX = pd.date_range("2024-03-01", periods=366, freq="D", tz="UTC")
CLOSES = pd.DataFrame(
    20 * np.exp(np.cumsum(RNG.normal(0.0005, 0.04, (366, 4)), axis=0)), index=INDEX, columns=["A", "B", "C", "D"]
)
MARKET = Market(closes=CLOSES, opens=CLOSES, volumes=CLOSES * 0 + 1)


def ours(strategy, rebalance, *, fee=FEE):
    asked = BacktestParameters(
        start=INDEX[0].to_pydatetime(),
        end=INDEX[-1].to_pydatetime(),
        fee=fee,
        slippage_bps=0,
        rebalance=rebalance,
        execution="close",
        initial=1_000_000,
        benchmark="A",
    )
    return backtest(MARKET, strategy, asked)


def theirs(result, *, fee=FEE):
    """Let bt trade towards the same weights on the dates at which our orders were filled."""
    decided = result.targets[
        result.targets.index < INDEX[-1]
    ]  # what is decided at the last close is not filled any more
    filled = INDEX[INDEX.get_indexer(decided.index) + 1]
    weights = decided.set_axis(filled.tz_localize(None))
    algos = [bt.algos.RunOnDate(*weights.index), bt.algos.WeighTarget(weights), bt.algos.Rebalance()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = bt.Backtest(
            bt.Strategy("same", algos),
            CLOSES.tz_localize(None),
            initial_capital=1_000_000.0,
            commissions=lambda quantity, price: abs(quantity) * price * fee,
            integer_positions=False,
            progress_bar=False,
        )
        bt.run(run)
    return run.strategy.values.reindex(INDEX.tz_localize(None))  # noqa: PD011 - a series of bt's own


def assert_equal(result, other):
    assert len(result.equity) == len(other) == 366
    assert result.equity.to_numpy() == pytest.approx(other.to_numpy(), rel=1e-6)
    assert result.equity.iloc[-1] != pytest.approx(1_000_000, rel=1e-3)  # something happened


def test_buying_and_holding_four_assets_with_a_fee_is_worth_the_same():
    result = ours(FixedWeights(shares=dict.fromkeys("ABCD", 0.25)), "once")
    assert_equal(result, theirs(result))


def test_fixed_weights_rebalanced_every_week_with_fees_are_worth_the_same():
    result = ours(FixedWeights(shares={"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}), "1w")
    assert len(result.targets) == 53  # the first bar and 52 Mondays at 00:00
    assert_equal(result, theirs(result))


def test_fixed_weights_with_cash_left_rebalanced_every_month_are_worth_the_same():
    result = ours(FixedWeights(shares={"A": 0.3, "B": 0.3}), "1M")
    assert_equal(result, theirs(result))


def changing(known, t: datetime):
    pair = "AB" if t.month % 2 else "CD"
    return dict.fromkeys(pair, 0.5)


def test_weights_that_change_wholly_are_worth_the_same_without_costs():
    # With fees they are not meant to: bt takes the new weights of the equity before the costs of what was sold whole
    # and lets the cash go below zero, ours buys with what is left.
    result = ours(Decided(name="changing", function=changing), "1M", fee=0.0)
    assert_equal(result, theirs(result, fee=0.0))
    assert ours(Decided(name="changing", function=changing), "1M").weights.sum(axis=1).max() <= 1 + 1e-12
