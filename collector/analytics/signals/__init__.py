"""Signals: where a state of the market changed, on closed bars, each from a bounded window and never repainted.

What a panel says about a bar does not depend on bars after it, nor on bars before its window, nor on the other
series: not even in the last digit. A window with a hole in it says nothing, by name (`SignalGap`).
"""

from collections.abc import Iterator
from datetime import datetime

import pandas as pd

from collector.analytics.bars import BarPanel
from collector.analytics.signals import breakout, crossover, oscillators
from collector.analytics.signals.funding import funding_extremes
from collector.analytics.signals.parameters import (
    KINDS,
    VERSIONS,
    Breakout,
    EmaCross,
    FundingExtremes,
    Macd,
    Rsi,
    SignalParameters,
    checked,
)
from collector.analytics.signals.revisions import Revision, revised
from collector.analytics.signals.rows import HOLE, WARM_UP, Reading, Signal, SignalGap, SignalState
from collector.analytics.signals.track import Grid, Track, track_gaps, track_signals, track_states

__all__ = [
    "HOLE",
    "KINDS",
    "VERSIONS",
    "WARM_UP",
    "Breakout",
    "EmaCross",
    "FundingExtremes",
    "Macd",
    "Reading",
    "Revision",
    "Rsi",
    "Signal",
    "SignalGap",
    "SignalParameters",
    "SignalState",
    "bars_needed",
    "latest_states",
    "read_signals",
    "revised",
    "settlements_needed",
    "signals",
]


def read_signals(
    panel: BarPanel,
    parameters: SignalParameters,
    *,
    funding: pd.DataFrame | None = None,
    since: datetime | None = None,
) -> Reading:
    """Return all that a panel says: the changes of bars that end after `since`, the last states, and the gaps.

    `funding`: settled rates (fractions) by time of settlement, columns as the panel's; a series without a column has
    no funding. Raises ValueError if the parameters cannot be, or settlements are not ascending.
    """
    checked(parameters)
    grid = _grid(panel, since)
    tracks = list(_tracks(panel, parameters, grid, funding)) if grid.ends else []
    return Reading(
        interval=panel.interval,
        signals=[row for track in tracks for row in track_signals(track, grid)],
        states=[row for track in tracks for row in track_states(track, grid)],
        skipped=[row for track in tracks for row in track_gaps(track, grid)],
        rules=frozenset(
            (grid.subjects[column], track.rule.name, track.rule.parameter_hash, track.rule.version)
            for track in tracks
            for column in track.columns
        ),
        first=grid.ends[grid.since] if grid.since < len(grid.ends) else None,
        until=grid.ends[-1] if grid.since < len(grid.ends) else None,
    )


def signals(
    panel: BarPanel,
    parameters: SignalParameters,
    *,
    funding: pd.DataFrame | None = None,
    since: datetime | None = None,
) -> list[Signal]:
    """Return a row for every bar at which a state changed; see `read_signals`."""
    return list(read_signals(panel, parameters, funding=funding, since=since).signals)


def latest_states(
    panel: BarPanel, parameters: SignalParameters, *, funding: pd.DataFrame | None = None
) -> list[SignalState]:
    """Return the last known state of every rule for each series; a series that never had one is left out."""
    checked(parameters)
    grid = _grid(panel, None)
    tracks = _tracks(panel, parameters, grid, funding) if grid.ends else ()
    return [row for track in tracks for row in track_states(track, grid)]


def bars_needed(parameters: SignalParameters) -> int:
    """Return how many bars, up to and with one, tell all signals of that one; 1 if no kind is on that uses bars."""
    needed = [1]
    if parameters.ema_cross is not None:
        cross = parameters.ema_cross
        needed += [crossover.bars_of(cross.memory * slow, slow, cross.confirmation) for _, slow in cross.pairs]
    if parameters.macd is not None:
        macd = parameters.macd
        window = macd.memory * (macd.slow + macd.signal) - 1
        needed.append(crossover.bars_of(window, macd.slow, macd.confirmation))
    if parameters.rsi is not None:
        needed.append(oscillators.changes_of(parameters.rsi) + 2)
    if parameters.breakout is not None:
        needed.append(breakout.bars_of(parameters.breakout))
    return max(needed)


def settlements_needed(parameters: SignalParameters) -> int:
    """Return how many settlements before the end of the bar before tell funding at a bar; 0: funding is off."""
    return 0 if parameters.funding is None else parameters.funding.lookback + 1


def _grid(panel: BarPanel, since: datetime | None) -> Grid:
    index = pd.DatetimeIndex(panel.close.index)
    first = 0 if since is None else int(index.searchsorted(pd.Timestamp(since), side="right"))
    ends = list(index.to_pydatetime())
    return Grid(panel.interval, ends, [str(name) for name in panel.close.columns], panel.close.to_numpy(float), first)


def _tracks(panel: BarPanel, parameters: SignalParameters, grid: Grid, funding: pd.DataFrame | None) -> Iterator[Track]:
    if parameters.ema_cross is not None:
        yield from crossover.ema_crosses(parameters.ema_cross, grid)
    if parameters.rsi is not None:
        yield oscillators.rsi(parameters.rsi, grid)
    if parameters.macd is not None:
        yield crossover.macd(parameters.macd, grid)
    if parameters.breakout is not None:
        high, low = panel.high.to_numpy(float), panel.low.to_numpy(float)
        yield breakout.breakout(parameters.breakout, grid, high, low)
    if parameters.funding is not None and funding is not None:
        if not funding.index.is_monotonic_increasing:
            raise ValueError("funding: settlements must be in ascending order of time")
        yield funding_extremes(parameters.funding, grid, funding)
