"""Breakouts of Donchian's channel: a close above the highs, or below the lows, of the `lookback` bars before it.

The bar itself is no part of its channel. A breakout stands until the opposite one, or for `lookback` bars if none
follows; then the state is inside. Strength: where the close lies in the channel, from -1 (low) to 1 (high), cut off
there, and 0 if it lies on the other side than the breakout that stands.
"""

import numpy as np

from collector.analytics.signals.parameters import BREAKOUT, Breakout, rule
from collector.analytics.signals.track import BarEvidence, Grid, Track
from collector.analytics.signals.windows import Floats, highest, latched, later, sided

STATES = {1: "breakout_up", 0: "inside", -1: "breakout_down"}


def breakout(parameters: Breakout, grid: Grid, high: Floats, low: Floats) -> Track:
    """Return the track, named like `breakout_20`; a bar without high or low is a hole."""
    lookback, close = parameters.lookback, grid.close
    top, bottom = channel(high, low, lookback)
    seen = np.isfinite(top) & np.isfinite(bottom) & np.isfinite(close) & np.isfinite(high) & np.isfinite(low)
    raw = ((close > top).astype(np.int8) - (close < bottom).astype(np.int8)).astype(np.int8)
    raw[~seen] = 0
    direction, known = latched(raw, seen, confirmation=1, hold=lookback)
    strength = sided(direction, _place(close, top, bottom))
    evidence = BarEvidence(grid.ends, [high, low, close], bars_of(parameters))
    named = rule(BREAKOUT, f"{BREAKOUT}_{lookback}", {"lookback": lookback}, STATES)
    return Track(named, range(len(grid.subjects)), direction, strength, known, evidence)


def bars_of(parameters: Breakout) -> int:
    """Return the bars that a state and the one before it need."""
    return 2 * parameters.lookback + 1


def channel(high: Floats, low: Floats, lookback: int) -> tuple[Floats, Floats]:
    """Return the highest high and the lowest low of the bars before each bar; NaN where one is missing."""
    return later(highest(high, lookback), 1), later(-highest(-low, lookback), 1)


def _place(close: Floats, top: Floats, bottom: Floats) -> Floats:
    half = (top - bottom) / 2.0
    beyond = close - (top + bottom) / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(half > 0.0, np.clip(beyond / half, -1.0, 1.0), np.sign(beyond))
