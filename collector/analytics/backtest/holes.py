"""How much of the asked window is there, asset by asset, and what follows from it: refuse with names, or warn."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from collector.analytics.backtest.market import BacktestRefused, Market
from collector.analytics.backtest.parameters import BacktestParameters

_TOLD = 3  # windows of one asset, and assets in one sentence
Hole = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetCoverage:
    """The bars of one asset between its first bar ever (or the start) and its delisting (or the end).

    `holes`: ends of the first and the last missing bar of each window. `coverage` is the lower one of the counted share
    and what the market's own coverage says; 0 where bars were expected and none is there.
    """

    asset: str
    expected_bars: int
    bars: int
    coverage: float
    first_bar: datetime | None  # the first bar inside the window; None: none is there
    holes: tuple[Hole, ...]


def asset_coverage(market: Market, parameters: BacktestParameters) -> tuple[AssetCoverage, ...]:
    """Return the coverage of every asset that was listed inside the window; needs a checked market.

    A bar counts when it has a close and, for execution at the open, an open. Bars before the first one ever seen are
    not holes (not listed yet), the bar of a delisting and those after it neither.
    """
    index = market.index
    start = int(index.searchsorted(pd.Timestamp(parameters.start), side="left"))
    end = int(index.searchsorted(pd.Timestamp(parameters.end), side="right"))
    present = market.closes.notna().to_numpy()
    if parameters.execution == "open":
        present = present & market.opens.notna().to_numpy()
    found = []
    for column, asset in enumerate(market.assets):
        gone = market.delisted.get(asset)
        stop = end if gone is None else min(end, int(index.searchsorted(pd.Timestamp(gone), side="right")))
        ever = np.flatnonzero(present[:, column])
        begin = max(start, int(ever[0])) if len(ever) else start
        if begin < stop:
            found.append(_covered(market, asset, present[begin:stop, column], begin))
    return tuple(found)


def _covered(
    market: Market, asset: str, present: np.ndarray[tuple[int], np.dtype[np.bool_]], begin: int
) -> AssetCoverage:
    index = market.index
    edges = np.flatnonzero(np.diff(np.concatenate(([True], present, [True])).astype(np.int8)))
    holes = tuple(
        (index[begin + first].to_pydatetime(), index[begin + after - 1].to_pydatetime())
        for first, after in zip(edges[0::2], edges[1::2], strict=True)
    )
    there = np.flatnonzero(present)
    share = float(present.mean())
    return AssetCoverage(
        asset=asset,
        expected_bars=len(present),
        bars=len(there),
        coverage=min(share, (market.coverage or {}).get(asset, 1.0)),
        first_bar=index[begin + int(there[0])].to_pydatetime() if len(there) else None,
        holes=holes,
    )


def judge_holes(coverage: tuple[AssetCoverage, ...], parameters: BacktestParameters) -> list[str]:
    """Return a warning for every asset with holes; raises `BacktestRefused` for those below the minimum if so asked."""
    if not coverage:
        raise BacktestRefused(f"no asset has bars between {parameters.start} and {parameters.end}")
    low = [entry for entry in coverage if entry.coverage < parameters.minimum_coverage]
    if low and parameters.on_holes == "refuse":
        named = "; ".join(_told(entry) for entry in low[:_TOLD])
        more = f"; and {len(low) - _TOLD} more" if len(low) > _TOLD else ""
        raise BacktestRefused(
            f"{len(low)} of {len(coverage)} assets have less than {parameters.minimum_coverage:.1%} of their bars: "
            f"{named}{more}. Fill the holes, leave these assets out, or ask for a warning instead"
        )
    return [
        ("below the minimum: " if entry.coverage < parameters.minimum_coverage else "") + _told(entry)
        for entry in coverage
        if entry.coverage < 1
    ]


def _told(entry: AssetCoverage) -> str:
    windows = ", ".join(f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}" for first, last in entry.holes[:_TOLD])
    more = f" and {len(entry.holes) - _TOLD} more" if len(entry.holes) > _TOLD else ""
    missing = f", missing {windows}{more}" if windows else ", as the ledger of windows tells it"
    return f"{entry.asset} has {entry.coverage:.1%} of its bars{missing}"
