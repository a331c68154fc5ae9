"""A cross whose pair is chosen walk-forward: the best on the bars before each step, and on nothing later."""

import numpy as np
import pandas as pd
import pytest

from collector.analytics.backtest.engine import backtest
from collector.analytics.backtest.market import BacktestRefused, Market
from collector.analytics.backtest.parameters import BacktestParameters, WalkForward
from collector.analytics.backtest.strategies import FittedCross

FAST, SLOW = (2, 5), (20, 60)
BARS = 400


def market():
    """200 bars that swing every ten bars, which only the fast pair can follow; then a rise that both follow."""
    swings = 100 * (1 + 0.1 * np.sin(np.arange(200) * np.pi / 10))
    rise = swings[-1] * 1.01 ** np.arange(1, BARS - 199)
    turns = np.tile([1.0, 1.0, -1.0, -1.0], len(rise) // 4)  # the fast pair follows each turn one bar too late
    noisy = rise * (1 + 0.10 * turns)
    prices = np.concatenate([swings, noisy])
    index = pd.date_range("2025-01-01", periods=BARS, freq="D", tz="UTC")
    closes = pd.DataFrame({"bitcoin": prices, "other": prices * 3}, index=index)
    return Market(closes=closes, opens=closes, volumes=closes * 0 + 1)


def played(pairs=(FAST, SLOW)):
    whole = market()
    parameters = BacktestParameters(
        start=whole.index[150].to_pydatetime(),
        end=whole.index[-1].to_pydatetime(),
        rebalance="1d",
        walk_forward=WalkForward(train=120, step=100),
        look_ahead_samples=10,
    )
    return backtest(whole, FittedCross(pairs=pairs), parameters)


def test_each_step_takes_the_pair_that_did_best_before_it():
    result = played()
    assert [fit.details["pairs"] for fit in result.fits] == [[list(FAST)], [list(SLOW)], [list(SLOW)]]
    assert result.look_ahead.differences == ()


def test_the_order_in_which_pairs_are_named_changes_nothing():
    one, other = played(), played((SLOW, FAST))
    pd.testing.assert_series_equal(one.equity, other.equity)


def test_without_a_ratio_the_first_pair_stands():
    known = market().until(
        market().index[30]
    )  # the slow average is not there yet, the fast one of a still price earns 0
    still = Market(closes=known.closes * 0 + 1, opens=known.opens, volumes=known.volumes)
    assert FittedCross(pairs=((10, 90), (3, 80))).fit(still, still.index[-1]).pairs == ((3, 80),)


def test_pairs_that_are_none_are_refused():
    with pytest.raises(BacktestRefused, match="fast < slow"):
        FittedCross(pairs=((5, 5),))
