"""One view per asset from the states of its signals: a score, its place among all assets, and how far to trust it.

Every strength is already in [-1, 1] with the sign of what it speaks for. A cell is one kind on one interval; its
value is the plain mean over the asset's instruments (venues) and the kind's rules (EMA pairs). The score is the mean
of the cells, each weighing its kind's weight times its interval's weight. So five venues that say the same count once,
and a kind with many parameter sets does not outvote the others.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import pandas as pd

from collector.records import Interval

FRESH_BARS = 2  # a state is used while it is younger than this many of its bars: one may be late, not two
EQUAL = 1e-12  # scores whose deviation is below this are equal but for rounding

Cell: TypeAlias = tuple[str, Interval]  # kind, interval


class State(Protocol):
    """The present state of one rule for one instrument, as `SignalState` has it."""

    @property
    def subject(self) -> str: ...
    @property
    def interval(self) -> Interval: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def bar_end(self) -> datetime: ...
    @property
    def strength(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetView:
    """What the signals say about one asset at one moment.

    `score` in [-1, 1]: the weighted mean strength, positive for rising prices. `zscore`: the score against those of all
    assets of this moment (population deviation); None for one asset alone or equal scores. `rank`: 1 is the most
    bullish; equal scores in the order of asset ids, so a rank is given once. `confidence` in [0, 1]: agreement times
    coverage. Agreement is |sum of w * s| / sum of w * |s| over cells' members: 1 if all that speak point one way, 0 if
    they cancel or none speaks. Coverage is the weight of the cells this asset has over that of the cells any asset has
    (or that were expected). `signals`: how many states were used; `members`: them, by cell, for storing as JSON.
    """

    asset_id: str
    as_of: datetime
    score: float
    zscore: float | None
    rank: int
    confidence: float
    agreement: float
    coverage: float
    signals: int
    members: dict[str, Any] = field(hash=False)


def asset_views(
    states: Iterable[State],
    *,
    asset_of: Mapping[str, str],
    as_of: datetime,
    kind_weights: Mapping[str, float] | None = None,
    interval_weights: Mapping[Interval, float] | None = None,
    expected: Iterable[Cell] | None = None,
) -> list[AssetView]:
    """Return a view per asset that has a usable state, the most bullish first.

    `asset_of`: instrument id to asset id; a state of another instrument is left out. So is a state whose bar ended
    `FRESH_BARS` of its bars before `as_of` or earlier. Weights are 1 unless given; 0 leaves a kind or interval out.
    `expected`: the cells a fully covered asset has; without it those that any asset has. Raises ValueError for a
    state of after `as_of` (it was not known then) and for a negative weight.
    """
    kinds, intervals = dict(kind_weights or {}), dict(interval_weights or {})
    if any(weight < 0 for weight in (*kinds.values(), *intervals.values())):
        raise ValueError("views: a weight of a kind or an interval must not be negative")
    by_asset: dict[str, dict[Cell, list[State]]] = defaultdict(lambda: defaultdict(list))
    for state in states:
        if state.bar_end > as_of:
            raise ValueError(f"views: {state.name} of {state.subject} ends after {as_of.isoformat()}")
        weight = kinds.get(state.kind, 1.0) * intervals.get(state.interval, 1.0)
        if state.subject in asset_of and weight > 0 and as_of - state.bar_end < FRESH_BARS * state.interval.width:
            by_asset[asset_of[state.subject]][state.kind, state.interval].append(state)
    cells = {cell for found in by_asset.values() for cell in found} if expected is None else set(expected)
    weights = {
        cell: kinds.get(cell[0], 1.0) * intervals.get(cell[1], 1.0)
        for cell in cells.union(*(found.keys() for found in by_asset.values()))
    }
    full = math.fsum(weights[cell] for cell in cells)
    return _ranked([_view(asset, found, weights, full, as_of) for asset, found in by_asset.items()])


def score_frame(views: Iterable[AssetView]) -> pd.DataFrame:
    """Return the scores of a history of views: a row per moment, a column per asset; NaN: no view."""
    rows = [(view.as_of, view.asset_id, view.score) for view in views]
    table = pd.DataFrame(rows, columns=["as_of", "asset_id", "score"]).set_index(["as_of", "asset_id"])
    return table["score"].unstack("asset_id").rename_axis(index=None, columns=None)  # noqa: PD010 - refuses a second view


def _view(
    asset: str, found: Mapping[Cell, Sequence[State]], weights: Mapping[Cell, float], full: float, as_of: datetime
) -> AssetView:
    strengths = {cell: [state.strength for state in states] for cell, states in found.items()}
    weight = math.fsum(weights[cell] for cell in found)
    total = math.fsum(weights[cell] * value / len(values) for cell, values in strengths.items() for value in values)
    spoken = math.fsum(
        weights[cell] * abs(value) / len(values) for cell, values in strengths.items() for value in values
    )
    agreement = min(1.0, abs(total) / spoken) if spoken > 0 else 0.0
    coverage = min(1.0, weight / full) if full > 0 else 0.0
    return AssetView(
        asset_id=asset,
        as_of=as_of,
        score=total / weight,
        zscore=None,
        rank=0,
        confidence=agreement * coverage,
        agreement=agreement,
        coverage=coverage,
        signals=sum(len(values) for values in strengths.values()),
        members={f"{cell[0]} {cell[1]}": _cell(found[cell], weights[cell]) for cell in sorted(found)},
    )


def _cell(states: Sequence[State], weight: float) -> dict[str, Any]:
    strengths = {f"{state.subject} {state.name}": state.strength for state in states}
    mean = math.fsum(state.strength for state in states) / len(states)
    return {"weight": weight, "strength": mean, "signals": dict(sorted(strengths.items()))}


def _ranked(views: Sequence[AssetView]) -> list[AssetView]:
    ordered = sorted(views, key=lambda view: (-view.score, view.asset_id))
    scores = [view.score for view in ordered]
    mean = math.fsum(scores) / len(scores) if scores else 0.0
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores)) if scores else 0.0
    apart = deviation > EQUAL
    return [
        replace(view, rank=rank, zscore=(view.score - mean) / deviation if apart else None)
        for rank, view in enumerate(ordered, start=1)
    ]
