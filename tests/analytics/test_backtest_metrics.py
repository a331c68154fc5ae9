"""Figures of an equity curve: against ffn on a long curve, by hand on short ones, and where there is nothing to say."""

import math

import ffn
import numpy as np
import pandas as pd
import pytest

from collector.analytics.backtest.metrics import metrics


def curve(values, freq="D"):
    return pd.Series(values, index=pd.date_range("2025-01-01", periods=len(values), freq=freq, tz="UTC"), dtype=float)


def test_figures_of_a_short_curve_are_the_ones_worked_out_by_hand():
    found = metrics(curve([100, 110, 99, 99, 108.9]))  # returns 0.1, -0.1, 0, 0.1
    assert found.bars == 4
    assert found.total_return == pytest.approx(0.089)
    assert found.annual_return == pytest.approx(1.089 ** (365 / 4) - 1)
    deviation = math.sqrt((0.075**2 + 0.125**2 + 0.025**2 + 0.075**2) / 3)  # around the mean of 0.025
    assert found.volatility == pytest.approx(deviation * math.sqrt(365))
    assert found.sharpe == pytest.approx(0.025 / deviation * math.sqrt(365))
    assert found.sortino == pytest.approx(0.025 / 0.05 * math.sqrt(365))  # the root of 0.01 / 4
    assert found.max_drawdown == pytest.approx(-0.1)
    assert found.max_drawdown_bars == 3  # from the second bar to the end, never back
    assert found.calmar == pytest.approx((1.089 ** (365 / 4) - 1) / 0.1)
    assert found.hit_rate == pytest.approx(2 / 3)  # the bar without a change is neither


def test_a_drawdown_lasts_until_its_peak_is_reached_again():
    assert metrics(curve([10, 9, 8, 9, 10, 11, 10.5, 12])).max_drawdown_bars == 4
    assert metrics(curve([1, 2, 3, 4])).max_drawdown_bars == 0
    assert metrics(curve([1, 2, 3, 4])).max_drawdown == 0


def test_figures_agree_with_ffn_on_a_long_curve():
    rng = np.random.default_rng(3)
    equity = curve(100 * np.exp(np.cumsum(rng.normal(0.0005, 0.03, 731))))
    found = metrics(equity)
    returns = equity.pct_change().dropna()
    assert found.total_return == pytest.approx(ffn.calc_total_return(equity), rel=1e-12)
    assert found.sharpe == pytest.approx(ffn.calc_sharpe(returns, rf=0, nperiods=365, annualize=True), rel=1e-9)
    assert found.max_drawdown == pytest.approx(ffn.calc_max_drawdown(equity), rel=1e-12)
    longest = ffn.drawdown_details(ffn.to_drawdown_series(equity))["Length"].max()
    assert abs(found.max_drawdown_bars - int(longest)) <= 1  # ffn counts days from the first one below the peak


def test_hourly_bars_are_annualised_with_8760_hours():
    found = metrics(curve([100, 101, 100, 101, 100.5], "h"))
    returns = pd.Series([100, 101, 100, 101, 100.5]).pct_change().dropna()
    assert found.volatility == pytest.approx(returns.std() * math.sqrt(8760))


def test_what_has_no_variance_has_no_ratio():
    flat = metrics(curve([100, 100, 100]))
    assert (flat.total_return, flat.volatility, flat.max_drawdown) == (0, 0, 0)
    assert (flat.sharpe, flat.sortino, flat.calmar, flat.hit_rate) == (None, None, None, None)
    assert metrics(curve([100, 101])).volatility is None  # one return has no deviation


def test_a_growth_too_large_for_a_year_is_none_and_not_infinite():
    assert metrics(curve([1, 1000, 2000], "min")).annual_return is None


def test_turnover_is_a_year_s_and_exposure_a_mean():
    equity = curve([100.0] * 366)
    found = metrics(equity, exposure=equity * 0 + 0.5, traded=equity * 0 + 0.01)
    assert found.turnover == pytest.approx(3.66)
    assert found.exposure == pytest.approx(0.5)


def test_one_value_is_no_curve():
    with pytest.raises(ValueError, match="two values"):
        metrics(curve([100]))
