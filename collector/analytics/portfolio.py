"""Portfolios from market caps, closes and signals: Black-Litterman returns, then long-only weights within bounds.

Guarantee: weights are within the bounds, add up to 1 and trade at most `turnover_limit` of the portfolio; where that
cannot be had, the answer is a `Refusal` with one line that says why, never a portfolio that breaks a limit. There is no
cash: the portfolio is fully invested. Nothing after `as_of` is used. Every answer carries `inputs`, from which `repeat`
gives the same answer again to the last digit (under the library versions named there): `build_portfolio` itself only
gathers inputs and hands them to `repeat`. Assets are in order of their names throughout.

The posterior covariance without views is (1 + tau) Sigma, so that an investor of the market's own aversion would hold
w / (1 + tau) and the rest in cash (He & Litterman 1999, section on the unconstrained portfolio). This portfolio has no
cash; the aversion is divided by (1 + tau), and without views and within the bounds it is the market itself.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.analytics.black_litterman import Posterior, Score, Views, posterior, views_from_scores
from collector.analytics.covariance import Covariance, annual_volatility, estimate_covariance, usable_history
from collector.analytics.portfolio_terms import Portfolio, PortfolioParameters, PortfolioWeight, Refusal
from collector.analytics.portfolio_weights import Limits, Unsolvable, optimal_weights, turnover

Array = npt.NDArray[np.float64]

LIBRARIES = ("clarabel", "cvxpy-base", "numpy", "pandas", "scipy", "skfolio")


def build_portfolio(
    closes: pd.DataFrame,
    caps: Mapping[str, float | None],
    views: Mapping[str, Score],
    previous_weights: Mapping[str, float] | None,
    parameters: PortfolioParameters,
    *,
    as_of: datetime,
) -> Portfolio | Refusal:
    """Build the portfolio of a moment.

    `closes`: daily, in one currency for all assets, index the ends of bars (aware), columns asset ids, NaN where there
    is no bar. `caps`: market caps of that date in that currency. `views`: scores of the aggregated signals known by
    then. `previous_weights`: what is held now, at today's prices; what they lack of 1 is cash; None or empty: nothing.
    """
    if as_of.tzinfo is None or closes.index.tz is None:  # type: ignore[attr-defined]
        raise ValueError("as_of and the index of closes must be aware datetimes")
    known = closes.loc[:as_of]
    left_out: dict[str, str] = {}
    inputs: dict[str, Any] = {
        "as_of": as_of.isoformat(),
        "parameters": asdict(parameters),
        "views": {asset: asdict(views[asset]) for asset in sorted(views)},
        "previous_weights": dict(sorted(previous_weights.items())) if previous_weights else None,
        "versions": {name: version(name) for name in LIBRARIES},
        "assets": [],
        "left_out": left_out,
        "refused": _too_old(known, parameters, as_of),
    }
    if inputs["refused"] is None:
        returns = _select(known, caps, parameters, left_out)
        inputs |= _measured(returns, caps, parameters)
        for asset in sorted({*views, *(previous_weights or {})} - {*inputs["assets"], *left_out}):
            left_out[asset] = "no closes"
    return repeat(json.loads(_canonical(inputs)))


def _too_old(closes: pd.DataFrame, parameters: PortfolioParameters, as_of: datetime) -> str | None:
    if closes.empty:
        return f"no closes up to {as_of:%Y-%m-%d %H:%M}"
    newest = closes.index[-1]
    if as_of - newest > timedelta(days=parameters.max_age_days):
        return f"the newest close is of {newest:%Y-%m-%d %H:%M}, more than {parameters.max_age_days:g} days before"
    return None


def _select(
    closes: pd.DataFrame, caps: Mapping[str, float | None], parameters: PortfolioParameters, left_out: dict[str, str]
) -> pd.DataFrame:
    """Return the returns of the assets that take part; each other one gets its reason in `left_out`."""
    for asset in sorted(closes.columns):
        if asset in parameters.exclude:
            left_out[asset] = "excluded"
        elif not 0 < (caps.get(asset) or 0) < math.inf:
            left_out[asset] = "no market cap"
    candidates = [asset for asset in sorted(closes.columns) if asset not in left_out]
    history = usable_history(
        closes[candidates], lookback=parameters.lookback_bars, min_coverage=parameters.min_coverage
    )
    left_out |= {one.asset: one.reason for one in history.left_out}
    yearly = annual_volatility(history.returns)
    for asset, volatility in zip(history.returns.columns, yearly.tolist(), strict=True):
        if not volatility >= parameters.pegged_volatility:
            left_out[asset] = f"pegged: moves by {volatility:.2%} in a year"
    moving = history.returns[[asset for asset in history.returns.columns if asset not in left_out]]
    by_size = sorted(moving.columns, key=lambda asset: (-float(caps[asset] or 0), asset))
    left_out |= _duplicates(moving[by_size], parameters.duplicate_correlation)
    distinct = [asset for asset in by_size if asset not in left_out]
    left_out |= dict.fromkeys(distinct[parameters.largest :], f"not among the {parameters.largest} largest")
    return moving[sorted(distinct[: parameters.largest])]


def _duplicates(returns: pd.DataFrame, limit: float) -> dict[str, str]:
    """Name the columns that move as one with an earlier (larger) one that is kept."""
    together = returns.corr().to_numpy()
    found: dict[str, str] = {}
    kept: list[int] = []
    for place, asset in enumerate(returns.columns):
        twin = next((other for other in kept if together[place, other] >= limit), None)
        if twin is None:
            kept.append(place)
        else:
            found[asset] = f"moves as {returns.columns[twin]} (correlation {together[place, twin]:.4f})"
    return found


def _measured(
    returns: pd.DataFrame, caps: Mapping[str, float | None], parameters: PortfolioParameters
) -> dict[str, Any]:
    """Return the part of the inputs that comes from closes and caps."""
    found = estimate_covariance(returns, shrink=parameters.shrink)
    if not len(returns.columns):
        return {"refused": "no asset is usable: left_out has the reason of each"}
    assets = [str(asset) for asset in returns.columns]
    measured = {"assets": assets, "caps": {asset: float(caps[asset] or 0) for asset in assets}}
    bars = found.bars if found else len(returns.dropna())
    if found is None or bars < parameters.min_bars:
        few = f"{bars} days on which all {len(assets)} assets have a return, {parameters.min_bars} needed"
        return {**measured, "refused": few}
    return {
        **measured,
        "covariance": found.matrix.tolist(),
        "shrinkage": found.shrinkage,
        "condition": found.condition if math.isfinite(found.condition) else None,
        "bars": found.bars,
        "bars_dropped": found.bars_dropped,
        "first_bar": returns.index[0].isoformat(),
        "last_bar": returns.index[-1].isoformat(),
        "refused": _singular(found, parameters.condition_limit),
    }


def _singular(found: Covariance, limit: float) -> str | None:
    if found.condition <= limit:
        return None
    deviation = np.sqrt(np.diag(found.matrix))
    correlation = np.triu(found.matrix / np.outer(deviation, deviation), k=1)
    one, other = np.unravel_index(np.argmax(correlation), correlation.shape)
    return (
        f"the covariance is singular (condition {found.condition:.1e}); closest are {found.assets[one]} and "
        f"{found.assets[other]} (correlation {correlation[one, other]:.4f}): turn shrinkage on or exclude one"
    )


def repeat(inputs: dict[str, Any]) -> Portfolio | Refusal:
    """Give the answer that belongs to the `inputs` of a portfolio or refusal, also after a trip through JSON."""
    parameters = PortfolioParameters(**inputs["parameters"])
    told = {
        "as_of": datetime.fromisoformat(inputs["as_of"]),
        "shrinkage": inputs.get("shrinkage"),
        "condition": inputs.get("condition"),
        "assets": len(inputs["assets"]),
        "left_out": inputs["left_out"],
        "inputs": inputs,
        "inputs_hash": _hash(inputs),
        "parameter_hash": _hash(inputs["parameters"]),
    }
    if inputs["refused"]:
        return Refusal(**told, reason=inputs["refused"])
    try:
        return _solve(inputs, parameters, told)
    except Unsolvable as error:
        return Refusal(**told, reason=str(error))


def _solve(inputs: dict[str, Any], parameters: PortfolioParameters, told: dict[str, Any]) -> Portfolio:
    assets: list[str] = inputs["assets"]
    covariance = np.array(inputs["covariance"], dtype=np.float64)
    caps = np.array([inputs["caps"][asset] for asset in assets])
    market = caps / caps.sum()
    limits = _limits(assets, inputs["previous_weights"], parameters)
    scores = _scores(inputs["views"], assets)
    prior = posterior(covariance, market, tau=parameters.tau, risk_aversion=parameters.risk_aversion).prior_returns
    views = views_from_scores(
        assets,
        scores,
        prior,
        np.sqrt(np.diag(covariance)),
        information_coefficient=parameters.information_coefficient,
        zscore_limit=parameters.zscore_limit,
    )
    result = posterior(covariance, market, views, tau=parameters.tau, risk_aversion=parameters.risk_aversion)
    aversion = parameters.risk_aversion / (1 + parameters.tau)
    weights = optimal_weights(result.returns, result.covariance, aversion, limits)
    return Portfolio(
        **told,
        reason=_summary(len(assets), len(scores)),
        expected_return=float(weights @ result.returns),
        expected_volatility=math.sqrt(float(weights @ result.covariance @ weights)),
        turnover=turnover(weights, limits),
        weights=_rows(assets, market, views, scores, result, weights, limits),
    )


def _summary(assets: int, views: int) -> str:
    said = f"{views} with a view" if views else "no views: the market within the bounds"
    return f"{assets} asset{'s' if assets > 1 else ''}, {said}"


def _limits(assets: list[str], previous: dict[str, float] | None, parameters: PortfolioParameters) -> Limits:
    limits = Limits(low=parameters.min_weight, high=parameters.max_weight, turnover=parameters.turnover_limit)
    if not previous:
        return limits
    for asset, weight in previous.items():
        if not 0 <= weight <= 1:
            raise Unsolvable(f"the previous weight of {asset} is {weight}: it must be from 0 to 1")
    total = sum(previous.values())
    if total > 1 + 1e-6:  # rounding of stored weights
        raise Unsolvable(f"the previous weights add up to {total:.6g}, more than 1")
    held = np.array([previous.get(asset, 0.0) for asset in assets])
    sold = total - float(held.sum())
    return replace(limits, previous=held, elsewhere=max(sold, 0.0) + max(1 - total, 0.0))


def _scores(views: dict[str, dict[str, float]], assets: list[str]) -> dict[str, Score]:
    """Return the scores of the assets that take part; a score without confidence is no view."""
    for asset, view in views.items():
        if not math.isfinite(view["zscore"]) or not 0 <= view["confidence"] <= 1:
            raise Unsolvable(f"the view on {asset} is unusable: {view}")
    return {asset: Score(**views[asset]) for asset in assets if asset in views and views[asset]["confidence"] > 0}


def _rows(
    assets: list[str],
    market: Array,
    views: Views,
    scores: dict[str, Score],
    result: Posterior,
    weights: Array,
    limits: Limits,
) -> tuple[PortfolioWeight, ...]:
    wanted = dict(zip([asset for asset in assets if asset in scores], views.returns.tolist(), strict=True))
    return tuple(
        PortfolioWeight(
            asset_id=asset,
            market_weight=float(market[place]),
            view_return=wanted.get(asset),
            confidence=scores[asset].confidence if asset in scores else None,
            prior_return=float(result.prior_returns[place]),
            posterior_return=float(result.returns[place]),
            weight=float(weights[place]),
            previous_weight=None if limits.previous is None else float(limits.previous[place]),
        )
        for place, asset in enumerate(assets)
    )


def _canonical(value: Any) -> str:
    """Return the one JSON text of a value; floats keep every digit. NaN and infinity are refused: ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()
