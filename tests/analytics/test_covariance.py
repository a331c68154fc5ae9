"""The shrunk covariance against scikit-learn and numbers by hand, and what happens to assets with holes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from collector.analytics.covariance import (
    LeftOut,
    annual_volatility,
    condition_number,
    estimate_covariance,
    ledoit_wolf,
    usable_history,
)

START = datetime(2025, 1, 2, tzinfo=UTC)


def frame(columns):
    count = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.DatetimeIndex([START + timedelta(days=day) for day in range(count)]))


def random_returns(count, width, seed=1):
    generator = np.random.default_rng(seed)
    market = generator.normal(0, 0.03, size=(count, 1))
    return market + generator.normal(0, 0.01, size=(count, width)) * np.arange(1, width + 1)


@pytest.mark.parametrize(("count", "width"), [(250, 5), (40, 60), (90, 1), (2, 3), (365, 30)])
def test_shrinkage_equals_scikit_learn(count, width):
    returns = random_returns(count, width, seed=count)
    theirs = LedoitWolf().fit(returns)
    matrix, weight = ledoit_wolf(returns)
    assert weight == pytest.approx(theirs.shrinkage_, abs=1e-12)
    np.testing.assert_allclose(matrix, theirs.covariance_, rtol=1e-10, atol=1e-16)


def test_shrinkage_of_three_days_of_two_assets_equals_the_numbers_by_hand():
    # centred days (1, 0), (0, 1), (-1, -1): S = [[2/3, 1/3], [1/3, 2/3]], target 2/3 I, distance 2 * (1/3)^2 = 2/9;
    # |x|^4: 1, 1, 4 -> 6/3 = 2, less |S|^2 = 10/9, over 3: 8/27, which is more than 2/9, so the target takes all.
    matrix, weight = ledoit_wolf(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    assert weight == pytest.approx(1.0)
    np.testing.assert_allclose(matrix, [[2 / 3, 0], [0, 2 / 3]], atol=1e-15)


def test_more_assets_than_days_are_singular_without_shrinkage_and_not_with_it():
    returns = pd.DataFrame(random_returns(20, 30))
    plain = estimate_covariance(returns, shrink=False)
    shrunk = estimate_covariance(returns)
    assert plain.condition > 1e12
    assert shrunk.condition < 1e5
    assert 0 < shrunk.shrinkage < 1
    assert np.linalg.cholesky(shrunk.matrix).shape == (30, 30)


def test_a_year_has_365_days_and_the_plain_covariance_is_numpy_s():
    returns = pd.DataFrame(random_returns(50, 3))
    plain = estimate_covariance(returns, shrink=False)
    np.testing.assert_allclose(plain.matrix, np.cov(returns.to_numpy().T) * 365, rtol=1e-12)
    assert (plain.shrinkage, plain.bars, plain.bars_dropped) == (0.0, 50, 0)


def test_condition_is_the_ratio_of_the_outer_eigenvalues():
    assert condition_number(np.diag([4.0, 1.0, 2.0])) == pytest.approx(4.0)
    assert condition_number(np.array([[1.0, 1.0], [1.0, 1.0]])) > 1e15
    assert condition_number(np.zeros((2, 2))) == float("inf")


def test_a_return_is_simple_and_a_hole_gives_none_on_both_sides():
    history = usable_history(frame({"a": [100.0, 110.0, np.nan, 99.0, 108.9]}), lookback=4, min_coverage=0.5)
    np.testing.assert_allclose(history.returns["a"], [0.1, np.nan, np.nan, 0.1], rtol=1e-12)


def test_assets_that_cannot_be_used_are_left_out_by_name_with_their_reason():
    good = np.linspace(100, 120, 11)
    young, gone, zero, holes = (good.copy() for _ in range(4))
    young[:5] = np.nan
    gone[-1] = np.nan
    zero[4] = 0.0
    holes[5] = np.nan
    closes = frame({"good": good, "young": young, "gone": gone, "zero": zero, "holes": holes, "none": good * np.nan})
    history = usable_history(closes, lookback=10, min_coverage=0.8)
    assert list(history.returns.columns) == ["good", "holes"]
    assert history.left_out == (
        LeftOut(asset="young", reason="5 daily returns in the window, 8 needed"),
        LeftOut(asset="gone", reason="no close at the end of the window (2025-01-12 00:00)"),
        LeftOut(asset="zero", reason="a close that is not above zero"),
        LeftOut(asset="none", reason="no closes in the window"),
    )


def test_days_without_a_return_of_one_asset_are_left_out_for_all():
    returns = pd.DataFrame(random_returns(30, 2), columns=["a", "b"])
    holed = returns.copy()
    holed.loc[[3, 7], "b"] = np.nan
    estimate = estimate_covariance(holed)
    whole = estimate_covariance(returns.drop(index=[3, 7]))
    np.testing.assert_array_equal(estimate.matrix, whole.matrix)
    assert (estimate.bars, estimate.bars_dropped) == (28, 2)


def test_too_little_for_a_matrix_gives_none():
    assert estimate_covariance(pd.DataFrame({"a": [0.1]})) is None
    assert estimate_covariance(pd.DataFrame({"a": [0.1, np.nan], "b": [np.nan, 0.2]})) is None
    assert estimate_covariance(pd.DataFrame(index=range(5))) is None


def test_volatility_is_the_sample_deviation_times_the_root_of_365():
    # deviations of +-1 % around 0 over four days: sqrt(4 * 0.0001 / 3) = 0.011547; times sqrt(365) = 0.220605
    volatility = annual_volatility(pd.DataFrame({"a": [0.01, -0.01, 0.01, -0.01]}))
    assert volatility["a"] == pytest.approx(0.2206052, abs=1e-7)


@given(st.integers(0, 10_000), st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**30]))
def test_scaling_prices_changes_nothing(seed, factor):
    prices = 100 * np.cumprod(1 + random_returns(30, 3, seed), axis=0)
    scaled = prices * np.array([factor, 1.0, 1 / factor])
    plain, other = (
        estimate_covariance(usable_history(pd.DataFrame(table), lookback=29).returns) for table in (prices, scaled)
    )
    np.testing.assert_array_equal(plain.matrix, other.matrix)


@given(st.integers(0, 10_000), st.permutations(range(4)))
def test_permuting_assets_permutes_the_matrix(seed, order):
    returns = pd.DataFrame(random_returns(40, 4, seed))
    plain, other = estimate_covariance(returns), estimate_covariance(returns[order])
    np.testing.assert_allclose(other.matrix, plain.matrix[np.ix_(order, order)], rtol=1e-10, atol=1e-14)
    assert other.shrinkage == pytest.approx(plain.shrinkage, rel=1e-9)


def test_the_window_is_the_last_bars_alone():
    closes = pd.DataFrame(100 * np.cumprod(1 + random_returns(60, 2), axis=0), columns=["a", "b"])
    pd.testing.assert_frame_equal(
        usable_history(closes, lookback=20).returns, usable_history(closes.iloc[-21:], lookback=20).returns
    )
