"""The look-ahead test: decisions repeated on data that ends at their moment must be the decisions of the whole run."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from collector.analytics.backtest.calendar import decision_bars
from collector.analytics.backtest.deciding import Decider
from collector.analytics.backtest.market import Floats, Market, checked
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.strategies import Strategy

TOLERANCE = (
    1e-9  # recursive averages over a longer table may differ in the last digits, a look ahead does not stay below
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One weight that knew more than its moment.

    `asset` "" and both weights None: the strategy keeps rows of its own that end after the moment, where no cut
    reaches. A weight alone is None where there was no decision.
    """

    decided_at: datetime
    asset: str
    whole: float | None
    truncated: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAhead:
    """What the test of a backtest found: decisions repeated, and every difference."""

    sampled: tuple[datetime, ...]
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool | None:
        """Whether all were equal; None when nothing was sampled."""
        return not self.differences if self.sampled else None


def look_ahead(market: Market, strategy: Strategy, parameters: BacktestParameters, samples: int) -> list[Difference]:
    """Return every difference between decisions on the whole market and on the market cut at their moment.

    `samples` decisions, evenly spread, the last one included; all of them when there are fewer. Empty: no look-ahead
    seen.
    """
    ready = checked(market)
    bars = planned_bars(ready, parameters)
    return [
        difference for bar in sample(bars, samples) for difference in at_bar(ready, strategy, parameters, bar, bars)
    ]


def planned_bars(market: Market, parameters: BacktestParameters) -> list[int]:
    """Return the positions of all decisions between `start` and `end`; empty when no bar lies between."""
    first = int(market.index.searchsorted(pd.Timestamp(parameters.start), side="left"))
    stop = int(market.index.searchsorted(pd.Timestamp(parameters.end), side="right"))
    return [first + int(bar) for bar in decision_bars(market.index[first:stop], parameters.rebalance)]


def sample(bars: list[int], samples: int) -> list[int]:
    """Return evenly spread bars, the last one among them."""
    if samples >= len(bars):
        return bars
    return [bars[int(place)] for place in np.linspace(0, len(bars) - 1, samples + 1)[1:].round()]


def at_bar(
    market: Market, strategy: Strategy, parameters: BacktestParameters, bar: int, bars: list[int]
) -> Iterator[Difference]:
    """Yield what a decision on the whole market says differently from one on the market cut at its moment."""
    moment: datetime = market.index[bar].to_pydatetime()
    for kept in later_rows(strategy, moment):
        yield Difference(decided_at=moment, asset="", whole=None, truncated=None, reason=kept)
    whole = Decider(market, strategy, parameters, first=bars[0]).weights(bar)
    truncated = Decider(market.until(moment), strategy, parameters, first=bars[0]).weights(bar)
    yield from _compared(market.assets, whole, truncated, moment)


def _compared(
    assets: list[str], whole: Floats | None, truncated: Floats | None, moment: datetime
) -> Iterator[Difference]:
    if whole is None and truncated is None:
        return
    for column, asset in enumerate(assets):
        one = None if whole is None else float(whole[column])
        other = None if truncated is None else float(truncated[column])
        if one is None or other is None or abs(one - other) > TOLERANCE:
            reason = "the decision changes when later rows are taken away"
            yield Difference(decided_at=moment, asset=asset, whole=one, truncated=other, reason=reason)


def later_rows(strategy: object, moment: datetime) -> Iterator[str]:
    """Yield a sentence for each frame or market that a strategy or its function keeps and that ends after a moment."""
    for place, value in _kept(strategy):
        frame = value.closes if isinstance(value, Market) else value
        if not isinstance(frame, pd.DataFrame | pd.Series) or not isinstance(frame.index, pd.DatetimeIndex):
            continue
        if frame.index.tz is not None and len(frame.index) and frame.index.max() > pd.Timestamp(moment):
            yield f"{place} keeps rows until {frame.index.max()}: hand them in with the market, or compute in prepare"


def _kept(strategy: object) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds: its attributes, and what a function among them has closed over or as defaults."""
    held = dict(getattr(strategy, "__dict__", {}))
    if is_dataclass(strategy):
        held.update({entry.name: getattr(strategy, entry.name) for entry in fields(strategy)})
    for name, value in held.items():
        yield name, value
        function = getattr(value, "__func__", value)
        for cell in getattr(function, "__closure__", None) or ():
            yield f"{name} (closure)", cell.cell_contents
        for default in getattr(function, "__defaults__", None) or ():
            yield f"{name} (default)", default
