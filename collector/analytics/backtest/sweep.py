"""Many EMA crosses over many assets at once: what each pair of spans made of each asset, costs included.

A position is worth looking at only where it changes: between two changes the return is a quotient of two closes. So
each pair costs one comparison of two averages; the rest is done at the changes alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.analytics.backtest.market import BacktestRefused, Floats

Progress = Callable[[int, int], None]
DAYS_A_YEAR = 365.0
_MEMORY = 48 * 2**20  # bytes for the averages of one chunk of assets
_NO_RISK = 1e-15


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One pair on one asset. `trades` counts entries, `exposure` is the share of bars in the position.

    `total_return` and `sharpe` are None with fewer bars than the slow span and one to fill an order; `sharpe` as well
    where nothing moved. `hold_return` is what buying at the first close and doing nothing made, without costs.
    """

    asset: str
    fast: int
    slow: int
    bars: int
    trades: int
    exposure: float | None
    total_return: float | None
    hold_return: float | None
    sharpe: float | None


def sweep(
    closes: pd.DataFrame,
    fast: Sequence[int],
    slow: Sequence[int],
    *,
    fee: float = 0.001,
    slippage_bps: float = 5.0,
    progress: Progress | None = None,
) -> tuple[SweepRow, ...]:
    """Return every pair fast < slow on every asset: assets in the order of the columns, pairs ascending.

    `closes`: index the ends of bars, columns assets, NaN = no such bar (left out: averages, orders and returns go on
    with the next bar there is). In while the fast average is above the slow one, all money, otherwise out; a state at
    one close is executed at the close of the next bar, moved by the slippage against us, the fee on the traded value
    inside the money spent; what is still held is valued at the last close. Averages are recursive, alpha = 2 / (span +
    1), from the first close (pandas `ewm(span, adjust=False)`, vectorbt `MA.run(ewm=True)`) and count from the
    `span`-th close on; TA-Lib's EMA starts from a simple mean instead. Sharpe ratio: mean / deviation (n - 1) of the
    bars' returns, costs in their bars, annualised with 365 days. `progress` is called with (done, total), counted in
    pairs times assets.
    """
    pairs = sorted({(one, other) for one in fast for other in slow if one < other})
    if not pairs or pairs[0][0] < 1:
        raise BacktestRefused(f"sweep: no pair of spans 1 <= fast < slow in {list(fast)} and {list(slow)}")
    values = closes.to_numpy(dtype=float)
    if not len(values) or not (np.isnan(values) | (values > 0)).all():
        raise BacktestRefused("sweep: closes must be there and above zero")
    bars_a_year = _bars_a_year(pd.DatetimeIndex(closes.index))
    found: dict[int, list[SweepRow]] = {}
    done, total = 0, len(pairs) * values.shape[1]
    spans = sorted({span for pair in pairs for span in pair})
    for columns, prices in _chunks(values, len(spans)):
        chunk = _Chunk(
            prices, spans, buying=(1 + slippage_bps / 1e4) * (1 + fee), selling=(1 - slippage_bps / 1e4) * (1 - fee)
        )
        names = [str(closes.columns[column]) for column in columns]
        for column in columns:
            found[column] = []
        for pair in pairs:
            for column, row in zip(columns, chunk.rows(pair, names, bars_a_year), strict=True):
                found[column].append(row)
            done += len(columns)
            if progress:
                progress(done, total)
    return tuple(row for column in sorted(found) for row in found[column])


def _bars_a_year(index: pd.DatetimeIndex) -> float:
    if len(index) < 2:  # noqa: PLR2004 - two make a step
        return DAYS_A_YEAR
    return DAYS_A_YEAR * 86_400 / float(np.median(np.diff(index.as_unit("ns").asi8))) * 1e9


def _chunks(values: Floats, spans: int) -> Iterator[tuple[list[int], Floats]]:
    """Yield columns that have the same bars with their closes (assets x bars), a bounded number at a time."""
    there = ~np.isnan(values)
    groups: dict[bytes, list[int]] = {}
    for column in range(values.shape[1]):
        groups.setdefault(np.packbits(there[:, column]).tobytes(), []).append(column)
    width = max(1, _MEMORY // (8 * len(values) * (spans + 6)))
    for columns in groups.values():
        rows = there[:, columns[0]]
        for first in range(0, len(columns), width):
            some = columns[first : first + width]
            yield some, np.ascontiguousarray(values[rows][:, some].T)


class _Chunk:
    """Assets with the same bars, their averages, and sums from which any stretch of returns is a difference."""

    def __init__(self, prices: Floats, spans: list[int], *, buying: float, selling: float) -> None:
        self.prices, self.buying, self.selling = prices, buying, selling
        self.assets, self.bars = prices.shape
        frame = pd.DataFrame(prices.T)
        self.averages = {
            span: np.ascontiguousarray(frame.ewm(span=span, adjust=False, min_periods=span).mean().to_numpy().T)
            for span in spans
            if span < self.bars
        }
        self.logs = np.log(prices)
        self.returns = np.zeros_like(prices)
        self.returns[:, 1:] = prices[:, 1:] / prices[:, :-1] - 1
        self.sums = np.cumsum(self.returns, axis=1)
        self.squares = np.cumsum(self.returns**2, axis=1)
        # A state at bar k is held from bar k + 1 on, which is column k + 2; the first and last columns are never in.
        self.inside = np.zeros((self.assets, self.bars + 2), dtype=bool)

    def rows(self, pair: tuple[int, int], names: list[str], bars_a_year: float) -> Iterator[SweepRow]:
        fast, slow = pair
        if slow >= self.bars:
            for name in names:
                yield SweepRow(
                    asset=name, fast=fast, slow=slow, bars=self.bars, trades=0,
                    exposure=None, total_return=None, hold_return=None, sharpe=None,
                )  # fmt: skip
            return
        trades, exposure, growth, sharpe = self._measured(fast, slow, bars_a_year)
        held = self.logs[:, -1] - self.logs[:, 0]
        for place, name in enumerate(names):
            yield SweepRow(
                asset=name,
                fast=fast,
                slow=slow,
                bars=self.bars,
                trades=int(trades[place]),
                exposure=float(exposure[place]),
                total_return=float(np.expm1(growth[place])),
                hold_return=float(np.expm1(held[place])),
                sharpe=None if np.isnan(sharpe[place]) else float(sharpe[place]),
            )

    def _changes(self, fast: int, slow: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return for each position its asset, the bar of its entry and of its exit (`bars`: still held at the end)."""
        np.greater(
            self.averages[fast][:, : self.bars - 1], self.averages[slow][:, : self.bars - 1], out=self.inside[:, 2:-1]
        )
        flat = self.inside.ravel()
        edges = np.flatnonzero(flat[1:] != flat[:-1])  # an edge at e: the state changes in column e + 1, which is bar e
        asset, entry = np.divmod(edges[0::2], self.bars + 2)
        return asset, entry, edges[1::2] - asset * (self.bars + 2)

    def _measured(self, fast: int, slow: int, bars_a_year: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Return trades, exposure, log of the growth, and Sharpe ratio (NaN: none) for each asset."""
        asset, entry, leave = self._changes(fast, slow)
        last = np.minimum(leave, self.bars - 1)
        sold = leave < self.bars
        into, out = np.log(1 / self.buying), np.log(self.selling)

        def added(weights: Floats) -> Floats:
            return np.bincount(asset, weights=weights, minlength=self.assets).astype(np.float64)

        trades = np.bincount(asset, minlength=self.assets).astype(float)
        growth = added(self.logs[asset, last] - self.logs[asset, entry] + into + sold * out)
        exposure = added((last - entry).astype(float)) / (self.bars - 1)
        ends = self.returns[asset, last]
        after = (1 + ends) * self.selling - 1
        paid = 1 / self.buying - 1
        first = added(self.sums[asset, last] - self.sums[asset, entry] + paid + sold * (after - ends))
        second = added(self.squares[asset, last] - self.squares[asset, entry] + paid**2 + sold * (after**2 - ends**2))
        count = self.bars - 1
        mean = first / count
        variance = (second - count * mean**2) / max(count - 1, 1)
        deviation = np.sqrt(np.maximum(variance, 0.0))
        sharpe = np.divide(mean, deviation, out=np.full_like(mean, np.nan), where=deviation > _NO_RISK)
        return trades, exposure, growth, sharpe * np.sqrt(bars_a_year)
