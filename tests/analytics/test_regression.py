"""Lines and co-movement: against scipy, statistics by hand and TA-Lib; silence where nothing can be said."""

import math

import numpy as np
import pytest
import talib
from scipy.stats import linregress

from collector.analytics.regression import comovement, line
from collector.analytics.risk import simple_returns

NAN = float("nan")
RANDOM = np.random.default_rng(7)


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_slope_and_strength_agree_with_scipy():
    values = RANDOM.normal(0, 1, (50, 3)).cumsum(axis=0) + 4
    slope, strength, count = line(values)
    for series in range(3):
        fit = linregress(np.arange(50), values[:, series])
        assert slope[series] == pytest.approx(fit.slope, rel=1e-10)
        assert strength[series] == pytest.approx(fit.rvalue**2, rel=1e-10)
    assert list(np.broadcast_to(count, 3)) == [50, 50, 50]


def test_slope_agrees_with_talib():
    values = RANDOM.normal(0, 1, 30)
    assert line(values[:, None])[0][0] == pytest.approx(talib.LINEARREG_SLOPE(values, 30)[-1], rel=1e-9)


def test_absent_values_keep_their_place_in_time():
    values = np.column_stack([RANDOM.normal(0, 1, 12), RANDOM.normal(0, 1, 12)])
    values[[2, 3, 7], 0] = NAN
    slope, strength, count = line(values)
    there = ~np.isnan(values[:, 0])
    fit = linregress(np.arange(12)[there], values[there, 0])
    assert (slope[0], strength[0]) == (pytest.approx(fit.slope, rel=1e-10), pytest.approx(fit.rvalue**2, rel=1e-10))
    assert slope[1] == pytest.approx(linregress(np.arange(12), values[:, 1]).slope, rel=1e-10)
    assert list(count) == [9, 12]


def test_a_still_series_has_no_slope_and_no_strength_and_two_points_have_neither():
    slope, strength, _ = line(np.full((20, 1), math.log(0.3)))
    assert slope[0] == pytest.approx(0, abs=1e-15)
    assert math.isnan(strength[0])
    assert math.isnan(line(column(1, 2))[0][0])
    assert math.isnan(line(column(1, NAN, 2))[0][0])


def test_beta_and_correlation_agree_with_talib():
    reference = 100 * np.exp(np.cumsum(RANDOM.normal(0, 0.02, 61)))
    prices = 5 * np.exp(np.cumsum(RANDOM.normal(0, 0.03, 61))) * reference
    returns, market = simple_returns(prices[:, None]), simple_returns(reference[:, None])
    correlation, beta, count = comovement(returns, market)
    assert beta[0] == pytest.approx(talib.BETA(reference, prices, 60)[-1], rel=1e-8)
    assert correlation[0] == pytest.approx(talib.CORREL(returns[:, 0], market[:, 0], 60)[-1], rel=1e-8)
    assert np.broadcast_to(count, 1)[0] == 60


def test_beta_by_hand():
    # Reference -1, 0, 1; returns -2, 1, 1: cov 3 / var 2 = 1.5, correlation 3 / sqrt(2 * 6).
    correlation, beta, _ = comovement(column(-2, 1, 1), column(-1, 0, 1))
    assert (beta[0], correlation[0]) == (pytest.approx(1.5), pytest.approx(3 / math.sqrt(12)))


def test_only_rows_that_both_have_count():
    correlation, beta, count = comovement(column(1, 2, NAN, 5, 9), column(2, 4, 100, 10, NAN))
    assert (correlation[0], beta[0], count[0]) == (pytest.approx(1), pytest.approx(0.5), 3)
    assert math.isnan(comovement(column(1, 2, NAN), column(1, 2, 3))[0][0])  # two pairs always lie on a line


def test_a_reference_that_does_not_move_gives_neither_and_a_still_series_gives_beta_zero():
    correlation, beta, _ = comovement(column(0.1, 0.2, 0.4), column(0.1, 0.1, 0.1))
    assert np.isnan([correlation[0], beta[0]]).all()
    correlation, beta, _ = comovement(column(0, 0, 0), column(0.1, 0.2, 0.4))
    assert math.isnan(correlation[0])
    assert beta[0] == 0


def test_a_series_with_itself_is_one():
    own = RANDOM.normal(0, 0.01, (300, 1))
    correlation, beta, _ = comovement(own, own)
    assert (correlation[0], beta[0]) == (pytest.approx(1, abs=1e-12), pytest.approx(1, abs=1e-12))
    assert correlation[0] <= 1
