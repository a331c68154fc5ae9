"""How signals turned out, once their future is past: forward returns, hit rates and information coefficients.

No look-ahead: a signal is known when its bar has ended, so it is entered at the open of the NEXT bar, the first price
anyone could have had, and left at the close of the bar `horizon` bars after the signal's. A missing price gives no
return, by name; the bars between entry and exit do not matter.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import pandas as pd

from collector.analytics.bars import BarPanel
from collector.analytics.signals.rows import Named
from collector.records import Interval

HORIZONS = (1, 5, 20)
DONE, PENDING, HOLE = "done", "pending", "hole"
Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution
FEWEST_ASSETS = 3  # two always have a rank correlation of 1 or -1

Group: TypeAlias = tuple[str, str, str, int, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one signal after `horizon` bars.

    `status`: `done`, `pending` (the exit bar has not ended) or `hole` (the entry or exit price is missing).
    `forward_return`: exit / entry - 1, times the direction; `hit`: whether it is above 0. Both are None unless done,
    and for a signal without a direction, which promises nothing.
    """

    subject: str
    interval: Interval
    kind: str
    name: str
    bar_end: datetime
    parameter_hash: str
    version: int
    direction: int
    horizon: int
    exit_end: datetime
    entry_price: float | None
    exit_price: float | None
    forward_return: float | None
    hit: bool | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRate:
    """How often signals of one rule on one interval were right after `horizon` bars.

    `low` to `high`: Wilson's 95 % interval, which takes the outcomes as independent; signals of one moment on many
    assets, or of overlapping horizons, are not, so it is then too narrow.
    """

    kind: str
    name: str
    interval: Interval
    horizon: int
    parameter_hash: str
    version: int
    hits: int
    outcomes: int
    hit_rate: float | None
    low: float | None
    high: float | None
    mean_return: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """The rank correlation of scores and later returns over the assets of one moment; None: under 3, or all equal."""

    as_of: datetime
    assets: int
    coefficient: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationCoefficient:
    """Spearman's rank correlation, moment by moment, and its mean over `moments` of them that have one.

    `t_statistic`: mean / (deviation / sqrt(moments)), sample deviation; returns that overlap make it too large. None
    where fewer than two moments have one, or all are the same.
    """

    moments: int
    mean: float | None
    deviation: float | None
    t_statistic: float | None
    by_moment: Sequence[Coefficient]


def outcomes(signals: Iterable[Named], panel: BarPanel, horizons: Sequence[int] = HORIZONS) -> list[Outcome]:
    """Return an outcome per signal and horizon (bars).

    `panel`: opens and closes of the signals' interval. Raises ValueError for a signal of another interval, for one
    that is not on the panel's grid and for a horizon below 1.
    """
    if any(horizon < 1 for horizon in horizons):
        raise ValueError("outcomes: a horizon is at least one bar")
    index = pd.DatetimeIndex(panel.close.index)
    rows = {end: row for row, end in enumerate(index.to_pydatetime())}
    columns = {name: column for column, name in enumerate(panel.close.columns)}
    opens, closes = panel.open.to_numpy(float), panel.close.to_numpy(float)
    found = []
    for signal in signals:
        if signal.interval != panel.interval:
            raise ValueError(f"outcomes: {signal.name} is of {signal.interval}, the bars of {panel.interval}")
        if signal.bar_end not in rows:
            raise ValueError(f"outcomes: no bar of the panel ends at {signal.bar_end.isoformat()}")
        row, column = rows[signal.bar_end], columns.get(signal.subject)
        for horizon in horizons:
            entry = _price(opens, row + 1, column)
            leave = _price(closes, row + horizon, column)
            found.append(_outcome(signal, horizon, entry, leave, pending=row + horizon >= len(index)))
    return found


def hit_rates(found: Iterable[Outcome]) -> list[HitRate]:
    """Return the hit rate per rule (name, parameters, version), interval and horizon, of outcomes that have a hit."""
    groups: dict[Group, list[tuple[bool, float]]] = defaultdict(list)
    for outcome in found:
        rule = (outcome.parameter_hash, outcome.version)
        group = groups[outcome.kind, outcome.name, str(outcome.interval), outcome.horizon, *rule]
        if outcome.hit is not None and outcome.forward_return is not None:
            group.append((outcome.hit, outcome.forward_return))
    return [_hit_rate(group, groups[group]) for group in sorted(groups)]


def wilson_interval(hits: int, trials: int, *, z: float = Z_95) -> tuple[float, float] | None:
    """Return Wilson's score interval for a proportion; None without trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if trials == 0:
        return None
    share, square = hits / trials, z * z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == trials else min(1.0, middle + half)
    return low, high


def forward_returns(panel: BarPanel, horizon: int) -> pd.DataFrame:
    """Return, at each bar, the return from the next bar's open to the close `horizon` bars later; NaN: not known."""
    if horizon < 1:
        raise ValueError("outcomes: a horizon is at least one bar")
    return panel.close.shift(-horizon) / panel.open.shift(-1) - 1.0


def information_coefficient(scores: pd.DataFrame, returns: pd.DataFrame) -> InformationCoefficient:
    """Return the rank correlation of scores with the returns that followed, over the assets that have both.

    Both frames: a row per moment, a column per asset. Moments and assets that one of them lacks are left out of it;
    equal values share the mean of their ranks (Spearman 1904, as scipy.stats.spearmanr).
    """
    columns = scores.columns.intersection(returns.columns)
    moments = scores.index.intersection(returns.index)
    first, second = scores.loc[moments, columns], returns.loc[moments, columns]
    both = first.notna() & second.notna()
    ranks = [frame.where(both).rank(axis=1).to_numpy(float) for frame in (first, second)]
    counts = both.to_numpy().sum(axis=1)
    by_moment = [
        Coefficient(as_of=moment, assets=int(count), coefficient=_correlation(one[kept], other[kept]))
        for moment, count, one, other, kept in zip(
            pd.DatetimeIndex(moments).to_pydatetime(), counts, *ranks, both.to_numpy(), strict=True
        )
    ]
    known = [item.coefficient for item in by_moment if item.coefficient is not None]
    mean = math.fsum(known) / len(known) if known else None
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return InformationCoefficient(
        moments=len(known),
        mean=mean,
        deviation=deviation,
        t_statistic=mean / (deviation / math.sqrt(len(known))) if mean is not None and deviation else None,
        by_moment=by_moment,
    )


def _outcome(signal: Named, horizon: int, entry: float | None, leave: float | None, *, pending: bool) -> Outcome:
    made = None
    if not pending and entry is not None and leave is not None and signal.direction != 0:
        made = signal.direction * (leave / entry - 1.0)
    missing = entry is None or leave is None
    return Outcome(
        subject=signal.subject,
        interval=signal.interval,
        kind=signal.kind,
        name=signal.name,
        bar_end=signal.bar_end,
        parameter_hash=signal.parameter_hash,
        version=signal.version,
        direction=signal.direction,
        horizon=horizon,
        exit_end=signal.bar_end + horizon * signal.interval.width,
        entry_price=entry,
        exit_price=leave,
        forward_return=made,
        hit=None if made is None else made > 0,
        status=PENDING if pending else HOLE if missing else DONE,
    )


def _price(prices: np.typing.NDArray[np.float64], row: int, column: int | None) -> float | None:
    if column is None or row >= len(prices) or not prices[row, column] > 0:  # NaN is not above 0
        return None
    return float(prices[row, column])


def _hit_rate(group: Group, made: Sequence[tuple[bool, float]]) -> HitRate:
    hits = sum(hit for hit, _ in made)
    interval = wilson_interval(hits, len(made))
    kind, name, width, horizon, hashed, version = group
    return HitRate(
        kind=kind,
        name=name,
        interval=Interval(width),
        horizon=horizon,
        parameter_hash=hashed,
        version=version,
        hits=hits,
        outcomes=len(made),
        hit_rate=hits / len(made) if made else None,
        low=None if interval is None else interval[0],
        high=None if interval is None else interval[1],
        mean_return=math.fsum(value for _, value in made) / len(made) if made else None,
    )


def _correlation(one: np.typing.NDArray[np.float64], other: np.typing.NDArray[np.float64]) -> float | None:
    if len(one) < FEWEST_ASSETS or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    one, other = one - one.mean(), other - other.mean()
    return float(np.clip(np.sum(one * other) / math.sqrt(np.sum(one * one) * np.sum(other * other)), -1.0, 1.0))
