"""The Black-Litterman model in closed form: equilibrium returns and views in, posterior returns and covariance out.

Guarantee: no view, or views without confidence, give back exactly the equilibrium. All returns are excess returns a
year as fractions (0.05 is 5 %), covariances are of returns a year.

Sources: He & Litterman, "The Intuition Behind Black-Litterman Model Portfolios" (1999), numbers of formulas below are
theirs; Idzorek, "A Step-by-Step Guide to the Black-Litterman Model" (2005), for confidences in percent, in the closed
form of Walters, "The Black-Litterman Model in Detail" (2014); Grinold & Kahn, "Active Portfolio Management" (2000,
chapter 10), for turning scores into views.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the aggregated signals say of one asset.

    `zscore`: how far it stands above (or below) the other assets, in standard deviations. `confidence`: from 0 (the
    view counts nothing) to 1 (it is certain).
    """

    zscore: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """K views on N assets: `picks` (K x N) times the returns of the assets shall be `returns` (K).

    `confidences` (K) are from 0 to 1.
    """

    picks: Array
    returns: Array
    confidences: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Equilibrium and views in one: N `returns`, and the `covariance` (N x N) of returns drawn around them.

    `prior_returns` (N) is the equilibrium alone. `omega` (K x K): the variance that was given to each view; a view of
    no confidence is not in it. The weights an unbounded investor would hold are `weights`.
    """

    prior_returns: Array
    returns: Array
    covariance: Array
    omega: Array
    weights: Array


def equilibrium_returns(covariance: Array, market_weights: Array, risk_aversion: float) -> Array:
    """Return the excess returns at which the market's own weights are optimal (formula 12: delta Sigma w)."""
    equilibrium: Array = risk_aversion * covariance @ market_weights
    return equilibrium


def proportional_omega(covariance: Array, picks: Array, tau: float) -> Array:
    """Return the paper's choice of uncertainty: each view as uncertain as the equilibrium is about the same thing.

    The diagonal of P (tau Sigma) P', the ratio omega/tau of tables 4 to 8 being p Sigma p'.
    """
    return np.diag(tau * np.einsum("ki,ij,kj->k", picks, covariance, picks))


def confident_omega(covariance: Array, picks: Array, confidences: Array, tau: float) -> Array:
    """Return the uncertainty at which each view alone moves the returns by its confidence of the whole way.

    Idzorek (2005) in Walters' closed form: (1 - c) / c times the proportional omega; 0.5 is the paper's own choice,
    1 is certainty. A confidence of 0 has no finite omega: ValueError, leave such a view out.
    """
    if confidences.size and not (np.all(confidences > 0) and np.all(confidences <= 1)):
        raise ValueError("a confidence must be above 0 and at most 1")
    return (1 / confidences - 1)[:, np.newaxis] * proportional_omega(covariance, picks, tau)


def posterior(
    covariance: Array,
    market_weights: Array,
    views: Views | None = None,
    *,
    tau: float = 0.05,
    risk_aversion: float = 2.5,
    omega: Array | None = None,
) -> Posterior:
    """Combine the equilibrium with the views.

    `covariance` N x N; `market_weights` N, adding up to 1; `omega` K x K replaces the one from the confidences. The
    defaults of `tau` and `risk_aversion` are those of the paper. Formulas 8, 9 and 15 in the form that inverts
    neither Sigma nor omega, so that a certain view (omega 0) works. Views that contradict each other with certainty:
    ValueError.
    """
    prior = equilibrium_returns(covariance, market_weights, risk_aversion)
    picks, wanted, uncertainty = _weighed(covariance, views, tau, omega)
    reach = tau * covariance @ picks.T
    try:
        gain = np.linalg.solve(picks @ reach + uncertainty, reach.T).T if len(wanted) else np.zeros_like(reach)
    except np.linalg.LinAlgError as error:
        raise ValueError("the views are certain and say the same thing twice, or contradict each other") from error
    returns = prior + gain @ (wanted - picks @ prior)
    spread = (1 + tau) * covariance - gain @ reach.T
    spread = (spread + spread.T) / 2
    weights = np.asarray(np.linalg.lstsq(risk_aversion * spread, returns, rcond=None)[0], dtype=np.float64)
    return Posterior(prior_returns=prior, returns=returns, covariance=spread, omega=uncertainty, weights=weights)


def _weighed(covariance: Array, views: Views | None, tau: float, omega: Array | None) -> tuple[Array, Array, Array]:
    if views is None:
        return np.zeros((0, len(covariance))), np.zeros(0), np.zeros((0, 0))
    if omega is not None:
        return views.picks, views.returns, omega
    told = views.confidences > 0
    picks = views.picks[told]
    return picks, views.returns[told], confident_omega(covariance, picks, views.confidences[told], tau)


def views_from_scores(
    assets: Sequence[str],
    scores: Mapping[str, Score],
    prior_returns: Array,
    volatility: Array,
    *,
    information_coefficient: float = 0.05,
    zscore_limit: float = 3.0,
) -> Views:
    """Turn scores of assets into one view on each: the equilibrium plus volatility x IC x score.

    Grinold & Kahn's rule of thumb (alpha = volatility x IC x score): an average score adds nothing to
    the equilibrium, and what a score adds shrinks with the skill of the signal. `volatility` is a year's, so
    `information_coefficient` is the correlation of scores with returns of a year; one measured on returns of h days
    is worth sqrt(365 / h) as much. Their 0.05 is a good forecaster's. Scores beyond `zscore_limit` count as the limit:
    a lone outlier is more often an error than an opportunity. Assets without a score have no view; scores of assets
    that are not in `assets` are not used.
    """
    scored = [position for position, asset in enumerate(assets) if asset in scores]
    said = [scores[assets[position]] for position in scored]
    zscores = np.clip([score.zscore for score in said], -zscore_limit, zscore_limit)
    returns = prior_returns[scored] + information_coefficient * zscores * volatility[scored]
    picks = np.eye(len(assets))[scored].reshape(len(scored), len(assets))
    return Views(picks=picks, returns=returns, confidences=np.array([score.confidence for score in said], dtype=float))
