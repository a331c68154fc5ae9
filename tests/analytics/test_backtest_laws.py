"""What must hold for any market: the unit of a price, the order of the assets and the future change nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.analytics.backtest.engine import backtest
from collector.analytics.backtest.market import Market
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.strategies import CapWeighted, EmaCross, Momentum
from collector.analytics.backtest.sweep import sweep

NAMES = ["bitcoin", "ether", "<b>coin</b>", "okx:SOL-USDT:perp"]
STRATEGIES = [EmaCross(pairs=((2, 5), (3, 8))), Momentum(lookback=5, top=2), CapWeighted()]


def market_of(seed, bars=60):
    rng = np.random.default_rng(seed)
    index = pd.date_range("2025-01-25", periods=bars, freq="D", tz="UTC")
    steps = rng.normal(0, 0.05, (bars, len(NAMES)))
    closes = pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), index=index, columns=NAMES)
    opens = closes.shift(1).fillna(100.0) * np.exp(rng.normal(0, 0.003, closes.shape))
    hole = rng.random(closes.shape) < 0.03
    thrice = pd.date_range("2025-01-25", periods=3 * bars, freq="8h", tz="UTC")
    funding = pd.DataFrame({NAMES[3]: rng.normal(0, 0.0005, 3 * bars)}, index=thrice)
    return Market(
        closes=closes.mask(hole),
        opens=opens.mask(hole),
        volumes=closes * 0 + 1,
        funding=funding,
        caps=closes.ffill() * [9, 4, 2, 1],
        delisted={"ether": index[45].to_pydatetime()},
    )


def run(market, strategy, end=None):
    index = market.index
    asked = BacktestParameters(
        start=index[10].to_pydatetime(),
        end=index[-1].to_pydatetime() if end is None else end,
        rebalance="1w",
        on_holes="warn",
        look_ahead_samples=2,
    )
    return backtest(market, strategy, asked)


seeds = st.integers(0, 10_000)
some = settings(max_examples=6, deadline=None)


@some
@given(seeds, st.sampled_from(STRATEGIES), st.sampled_from(NAMES), st.sampled_from([1e-6, 0.5, 3.0, 1e7]))
def test_scaling_the_prices_of_one_asset_changes_no_return(seed, strategy, name, factor):
    market = market_of(seed)
    closes, opens = market.closes.copy(), market.opens.copy()
    closes[name] *= factor
    opens[name] *= factor
    scaled = Market(
        closes=closes,
        opens=opens,
        volumes=market.volumes,
        funding=market.funding,
        caps=market.caps,  # a cap is price times supply: splitting a coin changes no cap
        delisted=market.delisted,
    )
    one, other = run(market, strategy), run(scaled, strategy)
    assert other.returns.to_numpy() == pytest.approx(one.returns.to_numpy(), abs=1e-10)
    assert other.costs.total == pytest.approx(one.costs.total, rel=1e-9, abs=1e-9)


@some
@given(seeds, st.sampled_from(STRATEGIES), st.permutations(NAMES))
def test_permuting_the_assets_permutes_the_weights_and_nothing_else(seed, strategy, order):
    market = market_of(seed)
    moved = Market(
        closes=market.closes[order],
        opens=market.opens[order],
        volumes=market.volumes[order],
        funding=market.funding,
        caps=market.caps[order],
        delisted=market.delisted,
    )
    one, other = run(market, strategy), run(moved, strategy)
    pd.testing.assert_frame_equal(other.weights[one.weights.columns], one.weights)
    assert other.equity.tolist() == one.equity.tolist()
    assert other.result_key == one.result_key


@some
@given(seeds, st.sampled_from(STRATEGIES), st.integers(20, 58))
def test_truncating_the_future_changes_nothing_that_was_there_before(seed, strategy, bar):
    market = market_of(seed)
    moment = market.index[bar].to_pydatetime()
    whole, cut = run(market, strategy), run(market.until(moment), strategy, moment)
    assert whole.equity.iloc[: len(cut.equity)].tolist() == cut.equity.tolist()
    assert [trade for trade in whole.trades if trade.bar <= moment] == list(cut.trades)
    assert whole.look_ahead.passed


@some
@given(seeds, st.sampled_from(STRATEGIES))
def test_money_is_neither_made_nor_lost_on_the_way(seed, strategy):
    result = run(market_of(seed), strategy)
    bought = sum(trade.value for trade in result.trades)
    market = market_of(seed)
    units = pd.Series(0.0, index=NAMES)
    for trade in result.trades:
        units[trade.asset] += trade.units
    held = (units * market.closes.ffill().iloc[-1]).sum()
    assert 10_000 - bought - result.costs.total + held == pytest.approx(result.equity.iloc[-1], rel=1e-9)
    assert (result.weights.to_numpy() >= 0).all()
    # Funding alone may take more than the cash that is left.
    assert (result.weights.sum(axis=1) <= 1.02).all()


@some
@given(seeds, st.sampled_from([1e-6, 3.0, 1e7]))
def test_a_sweep_knows_neither_units_nor_order(seed, factor):
    closes = market_of(seed).closes
    one = {(row.asset, row.fast, row.slow): row for row in sweep(closes, [2, 3], [5, 8])}
    for row in sweep(closes[NAMES[::-1]] * factor, [3, 2], [8, 5]):
        same = one[row.asset, row.fast, row.slow]
        assert row.trades == same.trades
        assert row.total_return == pytest.approx(same.total_return, rel=1e-8, abs=1e-10)
        assert row.sharpe == pytest.approx(same.sharpe, rel=1e-6, abs=1e-8)
