"""The model against the published tables of He & Litterman and of Idzorek, and against skfolio's own."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skfolio.moments import EquilibriumMu
from skfolio.prior import BlackLitterman, EmpiricalPrior

from collector.analytics.black_litterman import (
    Score,
    Views,
    confident_omega,
    posterior,
    proportional_omega,
    views_from_scores,
)

# He & Litterman (1999), tables 1 and 2: Australia, Canada, France, Germany, Japan, UK, USA.
MARKET = np.array([0.016, 0.022, 0.052, 0.055, 0.116, 0.124, 0.615])
VOLATILITY = np.array([0.160, 0.203, 0.248, 0.271, 0.210, 0.200, 0.187])
CORRELATION = np.array(
    [
        [1.000, 0.488, 0.478, 0.515, 0.439, 0.512, 0.491],
        [0.488, 1.000, 0.664, 0.655, 0.310, 0.608, 0.779],
        [0.478, 0.664, 1.000, 0.861, 0.355, 0.783, 0.668],
        [0.515, 0.655, 0.861, 1.000, 0.354, 0.777, 0.653],
        [0.439, 0.310, 0.355, 0.354, 1.000, 0.405, 0.306],
        [0.512, 0.608, 0.783, 0.777, 0.405, 1.000, 0.652],
        [0.491, 0.779, 0.668, 0.653, 0.306, 0.652, 1.000],
    ]
)
COVARIANCE = np.outer(VOLATILITY, VOLATILITY) * CORRELATION
TAU, DELTA = 0.05, 2.5
GERMANY = [0.0, 0.0, -0.295, 1.0, 0.0, -0.705, 0.0]  # against France and the UK by their market weights
CANADA = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0]  # against the USA
ROUNDING = 0.06  # the tables print one digit of percent


def he_litterman(picks, wanted, doubt=1.0):
    """The paper's posterior; `doubt` multiplies the uncertainty of the first view (table 7)."""
    views = Views(picks=np.array(picks), returns=np.array(wanted), confidences=np.full(len(wanted), 0.5))
    omega = proportional_omega(COVARIANCE, views.picks, TAU)
    omega[0, 0] *= doubt
    return posterior(COVARIANCE, MARKET, views, tau=TAU, risk_aversion=DELTA, omega=omega)


def weights_of_views(result, picks):
    """Lambda of formula 17: w* (1 + tau) is the market plus lambda times the views."""
    return np.linalg.lstsq(np.array(picks).T, result.weights * (1 + TAU) - MARKET, rcond=None)[0]


def test_equilibrium_returns_are_those_of_table_2():
    result = posterior(COVARIANCE, MARKET, tau=TAU, risk_aversion=DELTA)
    np.testing.assert_allclose(result.prior_returns * 100, [3.9, 6.9, 8.4, 9.0, 4.3, 6.8, 7.6], atol=ROUNDING)


def test_germany_outperforms_europe_as_in_table_4():
    result = he_litterman([GERMANY], [0.05])
    np.testing.assert_allclose(result.returns * 100, [4.3, 7.6, 9.3, 11.0, 4.5, 7.0, 8.1], atol=ROUNDING)
    np.testing.assert_allclose(result.weights * 100, [1.5, 2.1, -3.9, 35.4, 11.0, -9.5, 58.6], atol=ROUNDING)
    tilt = (result.weights - MARKET / (1 + TAU)) * 100
    np.testing.assert_allclose(tilt, [0.0, 0.0, -8.9, 30.2, 0.0, -21.3, 0.0], atol=ROUNDING)
    assert result.omega[0, 0] / TAU == pytest.approx(0.021, abs=0.0005)
    np.testing.assert_allclose(weights_of_views(result, [GERMANY]), [0.317], atol=0.0005)


@pytest.mark.parametrize(
    ("wanted", "doubt", "returns", "weights", "lambdas", "omegas"),
    [
        (
            [0.05, 0.03],  # table 5: and Canada outperforms the USA by 3 %
            1.0,
            [4.4, 8.7, 9.5, 11.2, 4.6, 7.0, 7.5],
            [1.5, 41.9, -3.4, 33.6, 11.0, -8.2, 18.8],
            [0.298, 0.418],
            [0.021, 0.017],
        ),
        (
            [0.05, 0.04],  # table 6: by 4 %
            1.0,
            [4.4, 9.1, 9.5, 11.3, 4.6, 7.0, 7.3],
            [1.5, 53.3, -3.3, 33.1, 11.0, -7.8, 7.3],
            [0.292, 0.538],
            [0.021, 0.017],
        ),
        (
            [0.05, 0.04],  # table 7: half as sure of Germany
            2.0,
            [4.3, 8.9, 9.3, 10.6, 4.6, 6.9, 7.2],
            [1.5, 53.9, -0.5, 23.6, 11.0, -1.1, 6.8],
            [0.193, 0.544],
            [0.043, 0.017],
        ),
    ],
    ids=["table 5", "table 6", "table 7"],
)
def test_two_views_as_in_the_tables(wanted, doubt, returns, weights, lambdas, omegas):
    result = he_litterman([GERMANY, CANADA], wanted, doubt)
    np.testing.assert_allclose(result.returns * 100, returns, atol=ROUNDING)
    np.testing.assert_allclose(result.weights * 100, weights, atol=ROUNDING)
    np.testing.assert_allclose(weights_of_views(result, [GERMANY, CANADA]), lambdas, atol=0.0006)
    np.testing.assert_allclose(np.diag(result.omega) / TAU, omegas, atol=0.0006)


def test_confidences_of_the_worked_example_of_idzorek():
    """Idzorek (2005): bonds (US, other), US large growth, large value, small growth, small value, developed,
    emerging. His delta is 3.07 and his matrix printed with six digits, so the last digit of a table may differ.
    """
    market = np.array([0.1934, 0.2613, 0.1209, 0.1209, 0.0134, 0.0134, 0.2418, 0.0349])
    covariance = np.array(
        [
            [0.001005, 0.001328, -0.000579, -0.000675, 0.000121, 0.000128, -0.000445, -0.000437],
            [0.001328, 0.007277, -0.001307, -0.000610, -0.002237, -0.000989, 0.001442, -0.001535],
            [-0.000579, -0.001307, 0.059852, 0.027588, 0.063497, 0.023036, 0.032967, 0.048039],
            [-0.000675, -0.000610, 0.027588, 0.029609, 0.026572, 0.021465, 0.020697, 0.029854],
            [0.000121, -0.002237, 0.063497, 0.026572, 0.102488, 0.042744, 0.039443, 0.065994],
            [0.000128, -0.000989, 0.023036, 0.021465, 0.042744, 0.032056, 0.019881, 0.032235],
            [-0.000445, 0.001442, 0.032967, 0.020697, 0.039443, 0.019881, 0.028355, 0.035064],
            [-0.000437, -0.001535, 0.048039, 0.029854, 0.065994, 0.032235, 0.035064, 0.079958],
        ]
    )
    picks = np.array([[0, 0, 0, 0, 0, 0, 1, 0], [-1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0.9, -0.9, 0.1, -0.1, 0, 0]])
    views = Views(picks=picks, returns=np.array([0.0525, 0.0025, 0.02]), confidences=np.full(3, 0.5))
    result = posterior(covariance, market, views, tau=0.025, risk_aversion=3.07)
    equilibrium = [0.08, 0.67, 6.41, 4.08, 7.43, 3.70, 4.80, 6.60]
    np.testing.assert_allclose(result.prior_returns * 100, equilibrium, atol=0.03)
    np.testing.assert_allclose(np.diag(result.omega), [0.000709, 0.000141, 0.000866], atol=1e-6)
    # his weights are of the unchanged covariance: (delta Sigma)^-1 mu, table 6
    weights = np.linalg.solve(3.07 * covariance, result.returns) * 100
    np.testing.assert_allclose(weights, [29.88, 15.59, 9.35, 14.82, 1.04, 1.65, 27.81, 3.49], atol=0.04)


@pytest.mark.parametrize("confidence", [0.25, 0.5, 0.65, 1.0])
def test_one_view_moves_the_return_by_its_confidence_of_the_way(confidence):
    views = Views(picks=np.array([GERMANY]), returns=np.array([0.05]), confidences=np.array([confidence]))
    result = posterior(COVARIANCE, MARKET, views, tau=TAU, risk_aversion=DELTA)
    before, after = (float(np.array(GERMANY) @ returns) for returns in (result.prior_returns, result.returns))
    assert (after - before) / (0.05 - before) == pytest.approx(confidence, rel=1e-9)


def test_no_views_give_back_the_prior_and_the_market():
    for views in (None, Views(picks=np.zeros((0, 7)), returns=np.zeros(0), confidences=np.zeros(0))):
        result = posterior(COVARIANCE, MARKET, views, tau=TAU, risk_aversion=DELTA)
        np.testing.assert_array_equal(result.returns, result.prior_returns)
        np.testing.assert_allclose(result.covariance, 1.05 * COVARIANCE, rtol=1e-12)
        np.testing.assert_allclose(result.weights, MARKET / 1.05, rtol=1e-9)


def test_a_view_without_confidence_counts_nothing():
    wanted = Views(picks=np.array([GERMANY, CANADA]), returns=np.array([0.5, 0.03]), confidences=np.array([0.0, 0.5]))
    alone = Views(picks=np.array([CANADA]), returns=np.array([0.03]), confidences=np.array([0.5]))
    np.testing.assert_array_equal(
        posterior(COVARIANCE, MARKET, wanted).returns, posterior(COVARIANCE, MARKET, alone).returns
    )
    with pytest.raises(ValueError, match="above 0"):
        confident_omega(COVARIANCE, wanted.picks, wanted.confidences, TAU)


def test_certain_views_that_contradict_each_other_are_refused():
    views = Views(picks=np.array([[1.0, 0.0], [1.0, 0.0]]), returns=np.array([0.1, 0.2]), confidences=np.ones(2))
    with pytest.raises(ValueError, match="contradict"):
        posterior(np.diag([0.25, 0.25]), np.array([0.5, 0.5]), views)


@pytest.mark.parametrize("confidences", [None, [0.3, 0.8]])
def test_the_posterior_equals_skfolio_s(confidences):
    generator = np.random.default_rng(5)
    returns = pd.DataFrame(generator.normal(0.001, 0.03, size=(200, 4)), columns=["a", "b", "c", "d"])
    market = np.array([0.5, 0.3, 0.15, 0.05])
    prior = EmpiricalPrior(mu_estimator=EquilibriumMu(risk_aversion=2.5, weights=market))
    theirs = BlackLitterman(
        views=["a = 0.002", "b - c = 0.001"], tau=0.05, view_confidences=confidences, prior_estimator=prior
    )
    theirs.fit(returns)
    views = Views(
        picks=np.array([[1.0, 0, 0, 0], [0, 1.0, -1.0, 0]]),
        returns=np.array([0.002, 0.001]),
        confidences=np.array(confidences or [0.5, 0.5]),
    )
    covariance = theirs.prior_estimator_.return_distribution_.covariance
    ours = posterior(covariance, market, views, tau=0.05, risk_aversion=2.5)
    np.testing.assert_allclose(ours.returns, theirs.return_distribution_.mu, rtol=1e-9)
    np.testing.assert_allclose(ours.covariance, theirs.return_distribution_.covariance, rtol=1e-9)


def test_a_score_becomes_volatility_times_skill_times_score():
    # Grinold & Kahn: 0.60 * 0.05 * 2 = 0.06 on top of a prior of 0.10; a score of -9 counts as -3: -0.8 * 0.05 * 3
    views = views_from_scores(
        ["a", "b", "c"],
        {
            "c": Score(zscore=-9.0, confidence=0.2),
            "a": Score(zscore=2.0, confidence=0.7),
            "x": Score(zscore=1, confidence=1),
        },
        np.array([0.10, 0.20, 0.30]),
        np.array([0.60, 0.70, 0.80]),
    )
    np.testing.assert_array_equal(views.picks, [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(views.returns, [0.16, 0.18])
    np.testing.assert_array_equal(views.confidences, [0.7, 0.2])


def test_no_scores_give_no_views_and_an_average_score_changes_nothing():
    none = views_from_scores(["a", "b"], {}, np.array([0.1, 0.2]), np.array([0.6, 0.7]))
    assert none.picks.shape == (0, 2)
    assets = [str(number) for number in range(7)]
    prior = posterior(COVARIANCE, MARKET).prior_returns
    average = views_from_scores(assets, {"3": Score(zscore=0.0, confidence=0.9)}, prior, VOLATILITY)
    np.testing.assert_allclose(posterior(COVARIANCE, MARKET, average).returns, prior, rtol=1e-12)


@given(st.permutations(range(7)))
def test_permuting_assets_permutes_returns_and_weights(order):
    views = Views(picks=np.array([GERMANY, CANADA]), returns=np.array([0.05, 0.03]), confidences=np.array([0.4, 0.6]))
    moved = Views(picks=views.picks[:, order], returns=views.returns, confidences=views.confidences)
    plain = posterior(COVARIANCE, MARKET, views)
    other = posterior(COVARIANCE[np.ix_(order, order)], MARKET[order], moved)
    np.testing.assert_allclose(other.returns, plain.returns[order], rtol=1e-9)
    np.testing.assert_allclose(other.weights, plain.weights[order], rtol=1e-7, atol=1e-10)
