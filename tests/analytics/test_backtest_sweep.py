"""The sweep against the engine, against a loop written out, and by hand."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from collector.analytics.backtest.engine import backtest
from collector.analytics.backtest.market import BacktestRefused, Market
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.strategies import Decided
from collector.analytics.backtest.sweep import sweep

INDEX = pd.date_range("2025-01-01", periods=400, freq="h", tz="UTC")
CLOSES = pd.DataFrame(
    100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, (400, 3)), axis=0)),
    index=INDEX,
    columns=list("ABC"),
)


def test_one_pair_on_five_bars_is_the_one_worked_out_by_hand():
    # Spans 1 and 3: fast is the close; slow 10, 11, 11.5, 15.75, 10.875, warm from the third bar on.
    # Above at bars 3 (12) and 4 (20), below at bar 5 (6). In at the close of bar 4, still in at bar 5, out at bar 6.
    closes = pd.DataFrame({"A": [10.0, 12, 12, 20, 6, 8]}, index=INDEX[:6])
    (row,) = sweep(closes, [1], [3], fee=0.1, slippage_bps=100)
    growth = 8 * 0.99 * 0.9 / (20 * 1.01 * 1.1)
    assert row.total_return == pytest.approx(growth - 1)
    assert (row.trades, row.bars, row.exposure) == (1, 6, pytest.approx(2 / 5))
    assert row.hold_return == pytest.approx(-0.2)
    returns = np.array([0, 0, 1 / 1.111 - 1, 6 / 20 - 1, 8 / 6 * 0.99 * 0.9 - 1])
    assert row.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(8760))


def test_a_position_still_held_is_valued_at_the_last_close_without_selling():
    closes = pd.DataFrame({"A": [10.0, 12, 13, 14, 15]}, index=INDEX[:5])
    (row,) = sweep(closes, [1], [3], fee=0.25, slippage_bps=0)
    assert row.total_return == pytest.approx(15 / 14 / 1.25 - 1)


@pytest.mark.parametrize("asset", ["A", "B"])
def test_the_engine_makes_the_same_of_the_same_pair(asset):
    def cross(known, t):
        closes = known.closes[asset]
        if len(closes) < 24:
            return {}
        fast, slow = (closes.ewm(span=span, adjust=False).mean().iloc[-1] for span in (6, 24))
        return {asset: 1.0} if fast > slow else {}

    market = Market(closes=CLOSES, opens=CLOSES, volumes=CLOSES * 0 + 1)
    asked = BacktestParameters(
        start=INDEX[0].to_pydatetime(),
        end=INDEX[-1].to_pydatetime(),
        rebalance="bar",
        execution="close",
        benchmark=asset,
        look_ahead_samples=2,
    )
    result = backtest(market, Decided(name="cross", function=cross), asked)
    row = next(row for row in sweep(CLOSES, [6], [24]) if row.asset == asset)
    assert row.total_return == pytest.approx(result.metrics.total_return, rel=1e-9)
    assert row.sharpe == pytest.approx(result.metrics.sharpe, rel=1e-9)
    assert row.trades == sum(trade.units > 0 for trade in result.trades) > 3


def test_bars_that_are_missing_are_left_out():
    holed = CLOSES.copy()
    holed.iloc[100:120, 0] = np.nan
    holed.iloc[:50, 1] = np.nan
    whole = {row.asset: row for row in sweep(holed, [5], [20])}
    alone = sweep(CLOSES[["A"]].drop(CLOSES.index[100:120]), [5], [20])[0]
    assert whole["A"].total_return == pytest.approx(alone.total_return)
    assert whole["A"].bars == 380
    assert whole["B"].total_return == pytest.approx(sweep(CLOSES[["B"]].iloc[50:], [5], [20])[0].total_return)
    assert whole["C"].bars == 400


def test_too_few_bars_give_none_and_not_nan():
    (row,) = sweep(CLOSES.iloc[:20, :1], [5], [20])
    assert (row.total_return, row.sharpe, row.exposure, row.trades, row.bars) == (None, None, None, 0, 20)
    flat = sweep(CLOSES.iloc[:, :1] * 0 + 7, [5], [20])[0]
    assert (flat.total_return, flat.sharpe, flat.trades) == (0, None, 0)


def test_every_pair_of_the_grid_is_there_once_and_progress_ends_at_all():
    told = []
    rows = sweep(CLOSES, [5, 10, 20], [10, 20], progress=lambda done, total: told.append((done, total)))
    pairs = [(5, 10), (5, 20), (10, 20)]
    assert [(row.asset, row.fast, row.slow) for row in rows] == [(name, *pair) for name in "ABC" for pair in pairs]
    assert told[-1] == (9, 9)
    assert told == sorted(told)


def test_chunks_change_no_number(monkeypatch):
    whole = sweep(CLOSES, [5, 10], [20, 30])
    monkeypatch.setattr("collector.analytics.backtest.sweep._MEMORY", 1)
    assert sweep(CLOSES, [5, 10], [20, 30]) == whole


@pytest.mark.parametrize(("fast", "slow"), [([], [5]), ([5], [5]), ([0], [5])])
def test_a_grid_without_pairs_is_refused(fast, slow):
    with pytest.raises(BacktestRefused, match="no pair of spans"):
        sweep(CLOSES, fast, slow)


def test_what_happens_later_changes_no_position_before():
    (one,) = sweep(CLOSES.iloc[:300, :1], [5], [20])
    later = CLOSES.iloc[:300, :1].copy()
    later.iloc[-1] *= 2  # the last close decides nothing that could still be filled
    (other,) = sweep(later, [5], [20])
    assert one.trades == other.trades
    assert INDEX[1] - INDEX[0] == timedelta(hours=1)
