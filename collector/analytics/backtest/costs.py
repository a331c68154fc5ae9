"""What an order moves and costs: units, fee and slippage of a rebalancing, and the funding of a held position.

An order is a sum of money: buying takes |w E - v| out of the cash with fee and slippage inside, selling brings |w E -
v| after them (w target weight, E equity, v value held). So each order bears its own costs, no order borrows for another
one's, and cash stays at zero or above while the weights add up to one or less. The same settlement as `bt`
(Security.allocate).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.analytics.backtest.market import Floats

_DUST = 1e-12  # orders below this share of the equity are rounding, not orders
_PASSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fills:
    """Orders filled at one moment, arrays over all assets: units bought (sold: negative) and money."""

    units: Floats
    fee: Floats
    slippage: Floats
    cash: float  # what the orders added to the cash


def fill(
    weights: Floats,
    held: Floats,
    prices: Floats,
    *,
    cash: float,
    now: npt.NDArray[np.bool_],
    fee: float,
    slippage: float,
) -> Fills:
    """Return the orders that bring the assets of `now` to their weights, at prices moved by the slippage against us.

    `prices`: of the execution for assets in `now`, last known ones for the others, which are left alone and tie up
    their money: the orders then share what the weights leave beside it. An asset sold to nothing is sold whole and its
    costs come off the equity that the other weights are taken of.
    """
    values = held * prices
    buying, selling = (1 + slippage) * (1 + fee), (1 - slippage) * (1 - fee)
    leaving = now & (weights == 0) & (held != 0)
    units = np.zeros_like(held)
    for _ in range(_PASSES):
        amounts = _amounts(weights, values, now=now, leaving=leaving, cash=cash, costs=(buying, selling))
        units = amounts / (prices * np.where(amounts > 0, buying, selling))
        oversold = now & ~leaving & (weights >= 0) & (held > 0) & (units < -held)
        if not oversold.any():
            break
        leaving = leaving | oversold  # what is left would not pay for the selling: sell it whole
    units = np.where(leaving, -held, units)
    moved = np.abs(units) * prices
    paid_slippage = moved * slippage
    paid_fee = moved * (1 + np.sign(units) * slippage) * fee
    return Fills(
        units=units,
        fee=paid_fee,
        slippage=paid_slippage,
        cash=float(-(units * prices).sum() - paid_fee.sum() - paid_slippage.sum()),
    )


def _amounts(
    weights: Floats,
    values: Floats,
    *,
    now: npt.NDArray[np.bool_],
    leaving: npt.NDArray[np.bool_],
    cash: float,
    costs: tuple[float, float],
) -> Floats:
    """Return the money each order takes (negative: brings); zero for what leaves whole and what is not in `now`."""
    buying, selling = costs
    equity = cash + float(values.sum())
    loss = np.where(values > 0, values * (1 - selling), -values * (buying - 1))
    base = equity - float(loss[leaving].sum())
    ordered = now & ~leaving & ((weights != 0) | (values != 0))
    tied = float(np.abs(values[~now]).sum())
    scale = 1.0
    wanted = float(np.abs(weights[ordered]).sum()) * base
    if tied > 0 and wanted > 0:
        scale = min(1.0, max(0.0, float(np.abs(weights).sum()) * base - tied) / wanted)
    amounts = np.where(ordered, weights * scale * base - values, 0.0)
    return np.where(np.abs(amounts) <= _DUST * abs(equity), 0.0, amounts)


def funding_per_unit(
    funding: pd.DataFrame | None, index: pd.DatetimeIndex, assets: list[str], known: Floats
) -> Floats | None:
    """Return what one unit held through a bar pays (negative: receives), bars x assets; None without funding.

    A payment belongs to the bar in which its moment lies, the end included: rate times the last close known at that
    moment (`known`, bars x assets), which is this bar's close at its end and the one before inside it. No mark price is
    invented.
    """
    if funding is None or funding.empty:
        return None
    moments = pd.DatetimeIndex(funding.index)
    bars = index.searchsorted(moments, side="left")
    inside = bars < len(index)
    bars, moments = bars[inside], moments[inside]
    at_end = index[bars] == moments
    priced = np.where(at_end, bars, bars - 1)
    columns = [assets.index(str(name)) for name in funding.columns]
    prices = np.where(priced[:, None] >= 0, known[np.maximum(priced, 0)][:, columns], np.nan)
    paid = np.nan_to_num(
        funding.to_numpy(dtype=float)[inside] * prices
    )  # no rate told, or never a price: nothing is held
    total = np.zeros(known.shape)
    for position, column in enumerate(columns):
        total[:, column] = np.bincount(bars, weights=paid[:, position], minlength=len(index))
    return total
