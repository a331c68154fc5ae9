"""Paper equity: what stored portfolio weights would have earned, beside holding bitcoin and the cap-weighted market.

No look-ahead: weights are traded at the first open that is not before the moment they were made, and a bar is valued
at its close. Between trades the units stay as they are (weights drift). What the weights leave over is cash without
interest. A held asset without a price leaves the equity of that bar unknown; no older price is carried on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collector.analytics.bars import BarPanel

BITCOIN = "bitcoin"
FULL = 1.0 + 1e-9  # weights may add up to 1, and to what rounding makes of it

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperEquity:
    """Worth at the end of one bar of 1 at the first trade; None: not known.

    `bitcoin`: bought once at the first trade's price with the same fee. `market`: all assets with a cap and prices,
    by their caps at the bar before, without fees; once a bar of it is unknown, so is the rest.
    `turnover`: traded at this bar's open, as a fraction of the worth before; None without a trade.
    `unpriced`: held assets without a close.
    """

    bar_end: datetime
    equity: float | None
    bitcoin: float | None
    market: float | None
    turnover: float | None
    fees: float
    unpriced: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedTrade:
    """Weights that could not be traded: an asset to buy or sell had no price; what was held stayed."""

    as_of: datetime
    bar_end: datetime
    unpriced: tuple[str, ...]


@dataclass(slots=True)
class _Book:
    units: Floats
    cash: float
    turnover: float | None = None
    fees: float = 0.0


def paper_equity(
    weights: pd.DataFrame,
    panel: BarPanel,
    *,
    fee: float,
    caps: pd.DataFrame | None = None,
    delisted: Mapping[str, datetime] | None = None,
) -> tuple[list[PaperEquity], list[SkippedTrade]]:
    """Return the worth bar by bar from the first trade on, and the weights that could not be traded.

    `weights`: index the moments they were made (ascending), columns assets, fractions of the worth; NaN is 0. `fee`:
    fraction of the traded value. `caps`: market caps, on the panel's grid. `delisted`: when an asset's trading ended;
    what is held of it becomes cash at its last close until then. Weights replaced before they could be traded are
    passed over. Raises ValueError for weights below 0, above 1 together, of an asset without bars or out of order.
    """
    _check(weights, panel, fee)
    index = pd.DatetimeIndex(panel.close.index)
    opens, closes = panel.open.to_numpy(float), panel.close.to_numpy(float)
    targets = weights.reindex(columns=panel.close.columns).fillna(0.0).to_numpy(float)
    made = pd.DatetimeIndex(weights.index)
    opened = index.searchsorted(made + panel.interval.width)  # the first bar that opens then or later
    trades = {int(row): number for number, row in enumerate(opened) if row < len(index)}
    if not trades:
        return [], []
    names = [str(name) for name in panel.close.columns]
    ends = index.to_pydatetime()
    gone = _delistings(delisted or {}, names, index, closes)
    book, rows, skipped = _Book(np.zeros(len(names)), 1.0), [], []
    for row in range(min(trades), len(index)):
        book.turnover, book.fees = None, 0.0
        if row in trades:
            lacking = _trade(book, targets[trades[row]], opens[row], fee)
            if lacking.any():
                as_of = made[trades[row]].to_pydatetime()
                skipped.append(SkippedTrade(as_of=as_of, bar_end=ends[row], unpriced=_named(lacking, names)))
        for column, price in gone.get(row, []):
            _close(book, column, price, fee)
        rows.append(_valued(book, closes[row], ends[row], names))
    return _beside(rows, panel, caps, min(trades), fee), skipped


def _check(weights: pd.DataFrame, panel: BarPanel, fee: float) -> None:
    values = weights.fillna(0.0).to_numpy(float)
    unknown = sorted(str(name) for name in set(weights.columns) - set(panel.close.columns))
    if unknown:
        raise ValueError(f"paper equity: no bars of {', '.join(unknown)}")
    if not weights.index.is_monotonic_increasing:
        raise ValueError("paper equity: weights must be in ascending order of time")
    if (values < 0).any() or (values.sum(axis=1) > FULL).any():
        raise ValueError("paper equity: weights must not be negative, nor more than 1 together")
    if not 0 <= fee < 1:
        raise ValueError(f"paper equity: a fee is a fraction from 0 to below 1, not {fee}")


def _trade(book: _Book, target: Floats, prices: Floats, fee: float) -> NDArray[np.bool_]:
    """Bring the book to the target weights at these prices; with any of them missing do nothing and tell which.

    The fee is taken on the values traded before it is paid; what that leaves is spread by the weights.
    """
    wanted = (target > 0) | (book.units > 0)
    lacking = wanted & ~(prices > 0)
    if lacking.any():
        return lacking
    price = np.where(wanted, prices, 1.0)
    held = book.units * price
    worth = book.cash + float(held.sum())
    traded = float(np.abs(target * worth - held).sum())
    book.turnover, book.fees = traded / worth, fee * traded
    left = worth - book.fees
    book.units = target * left / price
    book.cash = left * max(0.0, 1.0 - float(target.sum()))
    return lacking


def _close(book: _Book, column: int, price: float, fee: float) -> None:
    value = float(book.units[column]) * price
    book.units[column] = 0.0
    book.cash += value * (1.0 - fee)
    book.fees += value * fee


def _delistings(
    delisted: Mapping[str, datetime], names: list[str], index: pd.DatetimeIndex, closes: Floats
) -> dict[int, list[tuple[int, float]]]:
    """Return, by bar, the assets whose last close it is, each with that close."""
    found: dict[int, list[tuple[int, float]]] = {}
    for name, moment in delisted.items():
        if name not in names:
            continue
        column = names.index(name)
        rows = np.flatnonzero(np.isfinite(closes[: index.searchsorted(pd.Timestamp(moment), side="right"), column]))
        if len(rows):
            found.setdefault(int(rows[-1]), []).append((column, float(closes[rows[-1], column])))
    return found


def _valued(book: _Book, closes: Floats, end: datetime, names: list[str]) -> PaperEquity:
    held = book.units > 0
    lacking = held & ~np.isfinite(closes)
    worth = None if lacking.any() else book.cash + float(np.sum(book.units[held] * closes[held]))
    return PaperEquity(
        bar_end=end,
        equity=worth,
        bitcoin=None,
        market=None,
        turnover=book.turnover,
        fees=book.fees,
        unpriced=_named(lacking, names),
    )


def _beside(
    rows: list[PaperEquity], panel: BarPanel, caps: pd.DataFrame | None, first: int, fee: float
) -> list[PaperEquity]:
    bitcoin = np.full(len(rows), np.nan)
    if BITCOIN in panel.close.columns:
        price = float(panel.open[BITCOIN].iloc[first])
        bought = (1.0 - fee) / price if price > 0 else np.nan
        bitcoin = bought * panel.close[BITCOIN].to_numpy(float)[first:]
    market = np.full(len(rows), np.nan) if caps is None else market_equity(panel, caps, first)
    return [
        replace(row, bitcoin=_told(one), market=_told(other))
        for row, one, other in zip(rows, bitcoin, market, strict=True)
    ]


def market_equity(panel: BarPanel, caps: pd.DataFrame, first: int) -> Floats:
    """Return the worth of 1 in the cap-weighted market from the open of bar `first` on, at each close; NaN: not known.

    Each bar weighs the assets by their caps at the end of the bar before, over those that have both prices.
    """
    before = caps.reindex(index=panel.close.index, columns=panel.close.columns).shift(1).to_numpy(float)[first:]
    starts = panel.close.shift(1).to_numpy(float)[first:].copy()
    starts[0] = panel.open.to_numpy(float)[first]
    change = panel.close.to_numpy(float)[first:] / starts
    weight = np.where(np.isfinite(change) & (before > 0), before, 0.0)
    total = weight.sum(axis=1)
    with np.errstate(invalid="ignore"):  # no asset at all: 0 / 0
        growth: Floats = np.where(weight > 0, weight * change, 0.0).sum(axis=1) / total
    return np.asarray(np.cumprod(growth), np.float64)


def _named(mask: NDArray[np.bool_], names: list[str]) -> tuple[str, ...]:
    return tuple(names[column] for column in np.flatnonzero(mask))


def _told(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
