"""Long-only weights that are best for given returns and covariance within bounds and a turnover limit.

Guarantee: weights keep to the bounds exactly, add up to 1 to the last digits, and keep to the turnover limit within
0.001 % (nearly always to the last digits as well, see `_polished`). What cannot be met is told beforehand in one line,
by closed form and not by the solver's word.

The one module that imports skfolio (and the cvxpy under it). Both skfolio and PyPortfolioOpt are released these days.
This is skfolio, because its optimisers are scikit-learn estimators (walk-forward splits and searches apply to them), a
company stands behind it, and it needs only the small cvxpy-base with the Clarabel solver, where PyPortfolioOpt needs
all of cvxpy. Neither limits the whole turnover by itself: skfolio limits the change of each asset, PyPortfolioOpt
leaves it to the caller (its issues 350 and 555).
"""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from cvxpy.atoms.norm1 import norm1
from skfolio.exceptions import OptimizationError
from skfolio.optimization import MeanRisk, ObjectiveFunction
from skfolio.prior import BasePrior, ReturnDistribution

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NEAR = 5e-5  # a weight this near to a limit is taken to be on it: interior-point solvers end just inside
WORTH = 1e-8  # of utility, that is of return a year, is no difference
SLACK = 1e-9  # rounding in sums of weights
# Clarabel nearly always ends within the first of these; what it cannot, it solves within the second. Never worse.
TOLERANCES = (1e-9, 1e-7)


class Unsolvable(Exception):
    """No weights meet what is asked; the text says in one line why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What weights have to keep to: the same bounds for each asset, and how much may be traded.

    `previous`: N weights held before, None for a first portfolio, which has no turnover. `elsewhere`: the share that
    was held in anything else, which is sold (or spent, where it is cash) whatever the weights. `turnover`: one-way,
    the share of the portfolio that changes hands, half the sum of all changes; None for no limit.
    """

    low: float
    high: float
    previous: Array | None = None
    elsewhere: float = 0.0
    turnover: float | None = None


class _Given(BasePrior):  # type: ignore[misc]  # skfolio has no types
    """A prior that is handed in, where skfolio would estimate one from returns."""

    def __init__(self, returns: Array, covariance: Array) -> None:
        self.returns = returns
        self.covariance = covariance

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:  # noqa: ARG002, N803 (the estimators' signature)
        """Take what was given; the history is not looked at."""
        self.return_distribution_ = ReturnDistribution(mu=self.returns, covariance=self.covariance, returns=X)
        return self


def optimal_weights(returns: Array, covariance: Array, risk_aversion: float, limits: Limits) -> Array:
    """Return the N weights that make w' mu - delta / 2 w' Sigma w largest; `Unsolvable` where no weights can be."""
    count = len(returns)
    check_feasible(count, limits)
    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_aversion=risk_aversion / 2,
        prior_estimator=_Given(returns, covariance),
        min_weights=limits.low,
        max_weights=limits.high,
        add_constraints=_turnover_constraint(limits),
    )
    return _polished(_settled(_solved(model, count), limits), returns, risk_aversion * covariance, limits)


def _solved(model: Any, count: int) -> Array:
    """Fit the model; a solution that the solver itself calls inaccurate is none."""
    reason = ""
    for tolerance in TOLERANCES:
        model.set_params(solver_params=dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                model.fit(np.zeros((2, count)))
        except (OptimizationError, UserWarning) as error:
            reason = str(error).splitlines()[0]
        else:
            return np.asarray(model.weights_, dtype=np.float64)
    raise Unsolvable(f"the optimiser found no weights ({reason})")


def turnover(weights: Array, limits: Limits) -> float | None:
    """Return the share of the portfolio that changes hands; None for a first portfolio."""
    if limits.previous is None:
        return None
    return (float(np.abs(weights - limits.previous).sum()) + limits.elsewhere) / 2


def check_feasible(count: int, limits: Limits) -> None:
    """Raise `Unsolvable` where the bounds leave no weights that add up to 1, or none within the turnover limit."""
    if count * limits.high < 1 - SLACK:
        raise Unsolvable(
            f"{_assets(count)} of at most {limits.high:.4g} each add up to {count * limits.high:.4g} and not to 1: "
            "raise max_weight or follow more assets"
        )
    if count * limits.low > 1 + SLACK:
        raise Unsolvable(
            f"{_assets(count)} of at least {limits.low:.4g} each add up to {count * limits.low:.4g} and not to 1: "
            "lower min_weight or follow fewer assets"
        )
    least = least_turnover(limits)
    if limits.turnover is not None and least > limits.turnover + SLACK:
        raise Unsolvable(
            f"turnover_limit {limits.turnover:.4g} cannot be kept: leaving what is not held any more and keeping to "
            f"the bounds takes {least:.4g}: raise turnover_limit"
        )


def least_turnover(limits: Limits) -> float:
    """Return the least turnover that leads into the bounds.

    Each weight first goes to its nearest bound; what is then missing from 1 (or beyond it) is bought (or sold) in
    assets that have not moved the other way, so that the sum of both is the least there is.
    """
    if limits.previous is None:
        return 0.0
    within = np.clip(limits.previous, limits.low, limits.high)
    moved = float(np.abs(within - limits.previous).sum()) + abs(1 - float(within.sum()))
    return (moved + limits.elsewhere) / 2


def _turnover_constraint(limits: Limits) -> Any:
    """Bound the sum of all changes, which is what costs money; `max_turnover` of skfolio bounds the change of each."""
    allowed = _allowed_changes(limits)
    return None if allowed is None else lambda weights: norm1(weights - limits.previous) <= allowed


def _allowed_changes(limits: Limits) -> float | None:
    if limits.previous is None or limits.turnover is None:
        return None
    return 2 * max(limits.turnover, least_turnover(limits)) - limits.elsewhere


def _settled(weights: Array, limits: Limits) -> Array:
    """Bring weights that are within the solver's tolerance of the bounds and of a sum of 1 onto both."""
    settled = np.clip(weights, limits.low, limits.high)
    gap = 1 - float(settled.sum())
    room = limits.high - settled if gap > 0 else settled - limits.low
    if room.sum() > 0:
        settled = settled + room * (np.sign(gap) * min(abs(gap) / float(room.sum()), 1.0))
    return np.clip(settled, limits.low, limits.high)


def _polished(start: Array, returns: Array, curvature: Array, limits: Limits) -> Array:
    """Return the exact optimum on the limits that the solver's weights touch, or those where that is no better.

    The solver is right to about 1e-5; with its limits as equations the optimum is one linear system (the solution
    polishing of OSQP: Stellato et al., Mathematical Programming Computation 12, 2020).
    """
    low, high = start < limits.low + NEAR, start > limits.high - NEAR
    exact = np.where(low, limits.low, np.where(high, limits.high, start))
    free = ~(low | high)
    rows, sums = [np.ones_like(start)], [1.0]
    allowed = _allowed_changes(limits)
    if limits.previous is not None and allowed is not None:
        changes = start - limits.previous
        if np.abs(changes).sum() > allowed - NEAR:
            unchanged = free & (np.abs(changes) < NEAR)
            exact[unchanged] = limits.previous[unchanged]
            free &= ~unchanged
            side = np.sign(exact - limits.previous)
            rows.append(side)
            sums.append(allowed + float(side @ limits.previous))
    exact[free] = _on_equations(exact, free, np.array(rows), np.array(sums), returns, curvature)
    worse = _utility(start, returns, curvature) - _utility(exact, returns, curvature)
    return _settled(exact, limits) if _keeps(exact, limits, allowed) and worse <= WORTH else start


def _on_equations(exact: Array, free: Mask, rows: Array, sums: Array, returns: Array, curvature: Array) -> Array:
    """Return the free weights of the largest utility among those for which rows @ weights equals sums."""
    count, fixed = int(free.sum()), ~free
    pull = returns[free] - curvature[np.ix_(free, fixed)] @ exact[fixed]
    known = sums - rows[:, fixed] @ exact[fixed]
    system = np.block([[curvature[np.ix_(free, free)], rows[:, free].T], [rows[:, free], np.zeros((len(rows),) * 2)]])
    solution: Array = np.linalg.lstsq(system, np.concatenate([pull, known]), rcond=None)[0].astype(np.float64)
    return solution[:count]


def _keeps(weights: Array, limits: Limits, allowed: float | None) -> bool:
    within = weights.min() >= limits.low - SLACK and weights.max() <= limits.high + SLACK
    if limits.previous is not None and allowed is not None:
        within = within and np.abs(weights - limits.previous).sum() <= allowed + SLACK
    return bool(within and abs(weights.sum() - 1) <= SLACK)


def _utility(weights: Array, returns: Array, curvature: Array) -> float:
    return float(weights @ returns - weights @ curvature @ weights / 2)


def _assets(count: int) -> str:
    return "1 asset" if count == 1 else f"{count} assets"
