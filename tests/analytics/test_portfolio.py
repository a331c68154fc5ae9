"""Portfolios: limits kept, answers for what cannot be, the same again from the inputs, nothing from the future."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from collector.analytics.black_litterman import Score
from collector.analytics.portfolio import build_portfolio, repeat
from collector.analytics.portfolio_terms import DEFAULT_EXCLUDED, PortfolioParameters
from collector.analytics.portfolio_weights import (
    Limits,
    Unsolvable,
    check_feasible,
    least_turnover,
    optimal_weights,
    turnover,
)

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 120
AS_OF = START + timedelta(days=DAYS - 1)
NAMES = ("ada", "bitcoin", "doge", "ethereum", "solana")
CAPS = {"bitcoin": 1200.0, "ethereum": 400.0, "solana": 250.0, "ada": 100.0, "doge": 50.0}
VIEWS = {"ada": Score(zscore=1.5, confidence=0.6), "bitcoin": Score(zscore=-0.5, confidence=0.4)}
WIDE = PortfolioParameters(max_weight=1.0, lookback_bars=90, turnover_limit=None)


def market(names=NAMES, days=DAYS, seed=7):
    generator = np.random.default_rng(seed)
    moves = generator.normal(0, 0.03, size=(days, 1)) + generator.normal(0.001, 0.025, size=(days, len(names)))
    index = pd.DatetimeIndex([START + timedelta(days=day) for day in range(days)])
    return pd.DataFrame(100 * np.cumprod(1 + moves, axis=0), index=index, columns=list(names))


def build(closes=None, caps=None, views=None, previous=None, parameters=WIDE, as_of=AS_OF):
    closes = market() if closes is None else closes
    return build_portfolio(closes, caps or CAPS, views or {}, previous, parameters, as_of=as_of)


def held(portfolio):
    return {row.asset_id: row.weight for row in portfolio.weights}


def with_(**changes):
    return PortfolioParameters(**{"max_weight": 1.0, "lookback_bars": 90, "turnover_limit": None, **changes})


def test_without_views_and_bounds_the_portfolio_is_the_market():
    result = build()
    assert (result.state, result.assets) == ("ok", 5)
    assert result.reason == "5 assets, no views: the market within the bounds"
    for row in result.weights:
        assert row.market_weight == pytest.approx(CAPS[row.asset_id] / 2000)
        assert row.weight == pytest.approx(row.market_weight, abs=1e-9)
        assert (row.view_return, row.confidence, row.previous_weight) == (None, None, None)
        assert row.posterior_return == row.prior_return
    assert sum(held(result).values()) == pytest.approx(1, abs=1e-12)
    assert result.turnover is None


def test_a_view_moves_weight_towards_its_asset_and_is_told():
    plain, viewed = build(), build(views=VIEWS)
    before, after = held(plain), held(viewed)
    assert after["ada"] > before["ada"] + 0.01
    assert after["bitcoin"] < before["bitcoin"] - 0.001
    rows = {row.asset_id: row for row in viewed.weights}
    volatility = math.sqrt(viewed.inputs["covariance"][0][0])
    assert rows["ada"].view_return == pytest.approx(rows["ada"].prior_return + 0.05 * 1.5 * volatility)
    assert (rows["ada"].confidence, rows["doge"].view_return) == (0.6, None)
    assert viewed.reason == "5 assets, 2 with a view"


def test_expected_return_and_volatility_are_those_of_the_weights():
    result = build()
    covariance = np.array(result.inputs["covariance"])
    weights = np.array([row.weight for row in result.weights])
    # without views: pi = delta Sigma w, posterior covariance (1 + tau) Sigma, delta 1, tau 0.05
    shares = np.array([CAPS[row.asset_id] / 2000 for row in result.weights])
    assert result.expected_return == pytest.approx(float(weights @ covariance @ shares), rel=1e-9)
    assert result.expected_volatility == pytest.approx(
        math.sqrt(1.05 * float(weights @ covariance @ weights)), rel=1e-9
    )


@pytest.mark.parametrize("limit", [None, 0.05, 0.2])
def test_weights_are_at_least_as_good_as_those_of_another_solver(limit):
    generator = np.random.default_rng(11)
    factors = generator.normal(size=(6, 6))
    covariance = factors @ factors.T / 6 + 0.1 * np.eye(6)
    returns = generator.normal(0.2, 0.3, size=6)
    previous = np.array([0.3, 0.3, 0.1, 0.1, 0.1, 0.1])
    limits = Limits(low=0.02, high=0.4, previous=previous, turnover=limit)
    ours = optimal_weights(returns, covariance, 2.0, limits)

    def loss(weights):
        return -(weights @ returns) + weights @ covariance @ weights

    # weights as previous + bought - sold, so that the turnover is a linear constraint
    def split(parts):
        return previous + parts[:6] - parts[6:]

    rules = [
        {"type": "eq", "fun": lambda parts: split(parts).sum() - 1},
        {"type": "ineq", "fun": lambda parts: split(parts) - 0.02},
        {"type": "ineq", "fun": lambda parts: 0.4 - split(parts)},
    ]
    if limit is not None:
        rules.append({"type": "ineq", "fun": lambda parts: 2 * limit - parts.sum()})
    found = minimize(
        lambda parts: loss(split(parts)),
        np.zeros(12),
        bounds=[(0, 1)] * 12,
        constraints=rules,
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 1000},
    )
    assert found.success
    np.testing.assert_allclose(ours, split(found.x), atol=2e-4)
    assert loss(ours) <= found.fun + 1e-6
    assert turnover(ours, limits) <= (limit or 1) + 1e-5
    assert ours.min() >= 0.02
    assert ours.max() <= 0.4
    assert ours.sum() == pytest.approx(1, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([None, 0.05, 0.3]))
def test_no_other_allowed_portfolio_is_better(seed, limit):
    generator = np.random.default_rng(seed)
    count = int(generator.integers(2, 25))
    factors = generator.normal(size=(count, count + 5))
    covariance, returns = factors @ factors.T / count, generator.normal(0.2, 0.4, size=count)
    previous = generator.dirichlet(np.ones(count))
    limits = Limits(low=0.0, high=1.0, previous=previous, turnover=limit)
    best = optimal_weights(returns, covariance, 2.0, limits)
    assert (best.min() >= 0, best.sum()) == (True, pytest.approx(1, abs=1e-12))
    assert turnover(best, limits) <= (limit or 1) + 1e-5
    # from the portfolio before, every way towards any other one, as far as the limit lets it
    others = np.vstack([generator.dirichlet(np.full(count, 0.5), size=200), np.eye(count)])
    ways = others - previous
    reach = np.abs(ways).sum(axis=1) / 2
    allowed = previous + ways * np.minimum(1, (limit or 1) / reach)[:, np.newaxis]
    utilities = allowed @ returns - np.einsum("ij,jk,ik->i", allowed, covariance, allowed)
    assert utilities.max() <= best @ returns - best @ covariance @ best + 1e-8


def test_two_assets_give_the_closed_form():
    # max w a + (1-w) b - d/2 (w^2 s + (1-w)^2 t), independent: w = ((a - b) / d + t) / (s + t) = (0.05 + 0.16) / 0.25
    weights = optimal_weights(np.array([0.2, 0.1]), np.diag([0.09, 0.16]), 2.0, Limits(low=0.0, high=1.0))
    np.testing.assert_allclose(weights, [0.84, 0.16], atol=1e-12)


def test_no_asset_is_above_its_bound():
    result = build(parameters=with_(max_weight=0.3, min_weight=0.05), views=VIEWS)
    assert max(held(result).values()) <= 0.3
    assert min(held(result).values()) >= 0.05
    assert sum(held(result).values()) == pytest.approx(1, abs=1e-12)


def test_turnover_is_one_way_and_kept_to_its_limit():
    previous = dict.fromkeys(NAMES, 0.2)
    free = build(previous=previous)
    # to 5, 60, 2.5, 20, 12.5 % from 20 % each: bitcoin alone is bought, 40 %
    assert free.turnover == pytest.approx(0.4, abs=1e-9)
    bound = build(previous=previous, parameters=with_(turnover_limit=0.1))
    assert bound.turnover == pytest.approx(0.1, abs=1e-9)
    assert held(bound)["bitcoin"] == pytest.approx(0.3, abs=1e-4)
    assert {row.previous_weight for row in bound.weights} == {0.2}


def test_what_is_not_held_any_more_and_cash_count_as_turnover():
    previous = {"bitcoin": 0.5, "delisted-coin": 0.3}  # the other 0.2 is cash
    result = build(previous=previous)
    assert result.left_out == {"delisted-coin": "no closes"}
    assert result.turnover == pytest.approx(0.5, abs=1e-9)  # bitcoin to 60 %, 40 % into the others
    refused = build(previous=previous, parameters=with_(turnover_limit=0.2))
    assert refused.state == "refused"
    assert refused.reason == (
        "turnover_limit 0.2 cannot be kept: leaving what is not held any more and keeping to the bounds takes 0.5: "
        "raise turnover_limit"
    )


def test_the_least_turnover_into_the_bounds_by_hand():
    previous = np.array([0.6, 0.4, 0.0])
    assert least_turnover(Limits(low=0.0, high=0.5, previous=previous)) == pytest.approx(0.1)
    assert least_turnover(Limits(low=0.1, high=0.5, previous=previous)) == pytest.approx(0.1)
    assert least_turnover(Limits(low=0.0, high=1.0, previous=previous)) == pytest.approx(0.0)
    gone = Limits(low=0.0, high=0.5, previous=np.array([0.4, 0.3]), elsewhere=0.3)
    assert least_turnover(gone) == pytest.approx(0.3)


def test_a_turnover_limit_of_zero_keeps_the_portfolio():
    previous = dict.fromkeys(NAMES, 0.2)
    result = build(previous=previous, views=VIEWS, parameters=with_(turnover_limit=0.0))
    assert all(weight == pytest.approx(0.2, abs=1e-5) for weight in held(result).values())


def test_bounds_that_cannot_add_up_to_one_are_refused_in_one_line():
    result = build(parameters=with_(max_weight=0.15))
    assert result.reason == (
        "5 assets of at most 0.15 each add up to 0.75 and not to 1: raise max_weight or follow more assets"
    )
    with pytest.raises(Unsolvable, match=r"at least 0\.3 each add up to 1\.5"):
        check_feasible(5, Limits(low=0.3, high=0.5))


def test_one_asset_takes_all_where_the_bound_allows_it_and_is_refused_otherwise():
    closes = market(("bitcoin",))
    alone = build(closes=closes)
    assert held(alone) == {"bitcoin": 1.0}
    assert alone.reason == "1 asset, no views: the market within the bounds"
    refused = build(closes=closes, parameters=with_(max_weight=0.3))
    assert refused.reason.startswith("1 asset of at most 0.3 each add up to 0.3 and not to 1")


def test_an_asset_without_a_market_cap_is_left_out_by_name():
    for cap in (None, 0.0, float("nan")):
        result = build(caps={**CAPS, "doge": cap})
        assert result.left_out == {"doge": "no market cap"}
        assert result.assets == 4
    nobody = build(caps={"x": 1.0})
    assert nobody.state == "refused"
    assert nobody.reason == "no asset is usable: left_out has the reason of each"
    assert nobody.left_out == dict.fromkeys(NAMES, "no market cap")


def test_two_assets_that_move_as_one_make_a_singular_matrix_and_are_named():
    closes, caps = market(), {**CAPS, "wrapped": 5.0}
    near = closes.assign(wrapped=closes["solana"] * (1 + np.random.default_rng(3).normal(0, 1e-8, size=DAYS)))
    singular = build(closes=near, caps=caps, parameters=with_(shrink=False, duplicate_correlation=1.0))
    assert singular.state == "refused"
    assert singular.reason.startswith("the covariance is singular (condition ")
    assert singular.reason.endswith(
        "closest are solana and wrapped (correlation 1.0000): turn shrinkage on or exclude one"
    )


def test_more_assets_than_days_are_singular_without_shrinkage_and_solved_with_it():
    names = tuple(f"coin-{number:02d}" for number in range(40))
    closes, caps = market(names, days=31), {name: 1.0 + number for number, name in enumerate(names)}
    few = {"lookback_bars": 30, "min_bars": 20, "largest": 40}
    when = START + timedelta(days=30)
    plain = build(closes=closes, caps=caps, parameters=with_(**few, shrink=False), as_of=when)
    shrunk = build(closes=closes, caps=caps, parameters=with_(**few), as_of=when)
    assert plain.reason.startswith("the covariance is singular")
    assert (shrunk.state, shrunk.assets) == ("ok", 40)
    assert 0 < shrunk.shrinkage < 1


def test_a_wrapped_duplicate_that_no_list_knows_is_left_out_for_the_larger_one():
    closes = market()
    closes["bridged"] = closes["bitcoin"] * (1 + np.random.default_rng(1).normal(0, 0.0005, size=DAYS))
    result = build(closes=closes, caps={**CAPS, "bridged": 2.0})
    assert set(result.left_out) == {"bridged"}
    assert result.left_out["bridged"].startswith("moves as bitcoin (correlation 0.99")


def test_stablecoins_are_left_out_by_list_and_by_volatility():
    closes = market()
    closes["tether"] = closes["bitcoin"] * 0.37
    closes["new-dollar"] = 1 + np.random.default_rng(2).normal(0, 0.0005, size=DAYS)
    closes["frozen"] = 1.0
    result = build(closes=closes, caps={**CAPS, "tether": 140.0, "new-dollar": 9.0, "frozen": 9.0})
    assert result.left_out["tether"] == "excluded"
    assert result.left_out["new-dollar"].startswith("pegged: moves by 1.")
    assert result.left_out["frozen"] == "pegged: moves by 0.00% in a year"
    assert result.assets == 5
    assert {"tether", "usd-coin", "wrapped-bitcoin", "staked-ether"} <= set(DEFAULT_EXCLUDED)


def test_the_largest_take_part_and_the_others_are_named():
    result = build(parameters=with_(largest=3))
    assert sorted(held(result)) == ["bitcoin", "ethereum", "solana"]
    assert result.left_out == dict.fromkeys(("ada", "doge"), "not among the 3 largest")


def test_an_asset_with_too_little_history_is_left_out_by_name():
    closes = market()
    closes.loc[: START + timedelta(days=60), "doge"] = np.nan
    assert build(closes=closes).left_out == {"doge": "58 daily returns in the window, 81 needed"}


def test_too_few_common_days_are_refused():
    closes = market()
    for place in range(len(NAMES)):
        closes.iloc[40 + place * 16 : 40 + place * 16 + 8, place] = np.nan
    result = build(closes=closes, parameters=with_(min_bars=60))
    assert result.reason == "45 days on which all 5 assets have a return, 60 needed"


def test_old_closes_are_refused():
    result = build(as_of=AS_OF + timedelta(days=3))
    assert result.reason == "the newest close is of 2025-04-30 00:00, more than 2 days before"
    assert build(as_of=START - timedelta(days=1)).reason == "no closes up to 2024-12-31 00:00"


def test_views_and_previous_weights_that_mean_nothing_are_refused():
    assert build(views={"ada": Score(zscore=1.0, confidence=1.2)}).reason.startswith("the view on ada is unusable")
    assert build(previous={"ada": -0.1}).reason == "the previous weight of ada is -0.1: it must be from 0 to 1"
    assert build(previous={"ada": 0.7, "doge": 0.5}).reason == "the previous weights add up to 1.2, more than 1"


def test_parameters_that_mean_nothing_are_named():
    with pytest.raises(ValueError, match=r"max_weight is 1.5: it must be above 0 and at most 1"):
        PortfolioParameters(max_weight=1.5)
    with pytest.raises(ValueError, match=r"min_weight is 0.4: it must be at least 0 and at most 0.3"):
        PortfolioParameters(min_weight=0.4)
    with pytest.raises(ValueError, match="tau is nan"):
        PortfolioParameters(tau=float("nan"))


def test_moments_without_a_zone_are_refused():
    with pytest.raises(ValueError, match="aware"):
        build(as_of=AS_OF.replace(tzinfo=None))
    with pytest.raises(ValueError, match="aware"):
        build(closes=market().tz_localize(None))


def test_the_inputs_give_the_same_portfolio_to_the_last_digit():
    result = build(views=VIEWS, previous=dict.fromkeys(NAMES, 0.2), parameters=with_(turnover_limit=0.2))
    again = repeat(json.loads(json.dumps(result.inputs)))
    assert again == result
    assert [row.weight.hex() for row in again.weights] == [row.weight.hex() for row in result.weights]
    refused = build(parameters=with_(max_weight=0.1))
    assert repeat(json.loads(json.dumps(refused.inputs))) == refused


def test_the_hashes_tell_inputs_and_parameters_apart():
    one, same, viewed, bounded = build(), build(), build(views=VIEWS), build(parameters=with_(max_weight=0.7))
    assert (one.inputs_hash, one.parameter_hash) == (same.inputs_hash, same.parameter_hash)
    assert viewed.inputs_hash != one.inputs_hash
    assert viewed.parameter_hash == one.parameter_hash
    assert bounded.parameter_hash != one.parameter_hash
    assert {"clarabel", "skfolio", "numpy"} <= set(one.inputs["versions"])


def test_nothing_after_the_moment_is_used():
    closes = market()
    later = closes.copy()
    later.loc[START + timedelta(days=100) :] *= 7.0
    later["newcomer"] = np.where(np.arange(DAYS) >= 100, 5.0, np.nan)
    when = START + timedelta(days=99, hours=12)
    assert build(closes=closes, views=VIEWS, as_of=when) == build(
        closes=later.drop(columns="newcomer"), views=VIEWS, as_of=when
    )
    assert held(build(closes=later, as_of=when)) == held(build(closes=closes, as_of=when))


@settings(max_examples=8, deadline=None)
@given(st.permutations(NAMES), st.integers(0, 1000))
def test_permuting_assets_permutes_weights_exactly(order, seed):
    closes = market(seed=seed)
    plain = build(closes=closes, views=VIEWS)
    other = build(
        closes=closes[list(order)],
        caps={name: CAPS[name] for name in order},
        views={name: VIEWS[name] for name in order if name in VIEWS},
    )
    assert held(other) == held(plain)
    assert other.inputs_hash == plain.inputs_hash


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from([1e-8, 0.5, 3.0, 1e6]), min_size=5, max_size=5))
def test_scaling_prices_changes_no_weight(factors):
    plain, scaled = build(views=VIEWS), build(closes=market() * factors, views=VIEWS)
    for name, weight in held(plain).items():
        assert held(scaled)[name] == pytest.approx(weight, abs=1e-9)


def test_two_builds_of_thirty_assets_keep_every_promise():
    names = tuple(f"coin-{number:02d}" for number in range(30))
    generator = np.random.default_rng(4)
    caps = {name: float(np.exp(generator.normal(0, 2))) for name in names}
    views = {name: Score(zscore=float(generator.normal()), confidence=float(generator.uniform())) for name in names}
    parameters = PortfolioParameters(lookback_bars=90)
    first = build(closes=market(names), caps=caps, views=views, parameters=parameters)
    second = build(closes=market(names, seed=8), caps=caps, views=views, previous=held(first), parameters=parameters)
    for result in (first, second):
        assert result.state == "ok"
        assert sum(held(result).values()) == pytest.approx(1, abs=1e-12)
        assert min(held(result).values()) >= 0
        assert max(held(result).values()) <= 0.3
    assert second.turnover <= 0.3 + 1e-5
