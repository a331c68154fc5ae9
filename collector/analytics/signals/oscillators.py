"""RSI: overbought (direction -1), oversold (direction 1), else neutral.

Wilder, New Concepts in Technical Trading Systems (1978): the average gain as a share of average gain plus average
loss, in percent; each average counts a new change with 1 / period. It is an EMA of span 2 * period - 1, so it looks
back `memory` times as many changes and starts at the mean of the first `period` ones: TA-Lib's RSI on that window.
A price that did not move at all is 50 here (TA-Lib says 0): neither side.

Direction is the contrarian reading, as the words say. Strength is (50 - RSI) / 50 while overbought or oversold: 0.4 at
30 and -0.4 at 70, and 0 in between.
"""

import numpy as np

from collector.analytics.signals.parameters import RSI, Rsi, rule
from collector.analytics.signals.track import BarEvidence, Grid, Track
from collector.analytics.signals.windows import Floats, later, smoothed

STATES = {1: "oversold", 0: "neutral", -1: "overbought"}
MIDDLE = 50.0
# RSI is often exactly a level (7 of 10 equal steps up is 70). Rounding must not decide, so it must be passed by this.
MARGIN = 1e-9


def rsi(parameters: Rsi, grid: Grid) -> Track:
    """Return the track, named like `rsi_14`."""
    values: dict[str, int | float] = {
        "period": parameters.period,
        "oversold": parameters.oversold,
        "overbought": parameters.overbought,
        "memory": parameters.memory,
    }
    level = rsi_values(grid.close, parameters)
    known = np.isfinite(level)
    direction = np.zeros(level.shape, np.int8)
    direction[level > parameters.overbought + MARGIN] = -1
    direction[level < parameters.oversold - MARGIN] = 1
    strength = np.where(direction != 0, (MIDDLE - level) / MIDDLE, 0.0)
    evidence = BarEvidence(grid.ends, [grid.close], changes_of(parameters) + 2)
    named = rule(RSI, f"{RSI}_{parameters.period}", values, STATES)
    return Track(named, range(len(grid.subjects)), direction, strength, known, evidence)


def changes_of(parameters: Rsi) -> int:
    """Return how many changes of the close one value looks back."""
    return parameters.memory * (2 * parameters.period - 1)


def rsi_values(close: Floats, parameters: Rsi) -> Floats:
    """Return RSI in percent; NaN where the window is not whole."""
    change = close - later(close, 1)
    weight, bars = 1.0 / parameters.period, changes_of(parameters)
    gain = smoothed(np.maximum(change, 0.0), weight, parameters.period, bars)
    loss = smoothed(np.maximum(-change, 0.0), weight, parameters.period, bars)
    moved = gain + loss
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(moved == 0.0, MIDDLE, 100.0 * gain / moved)
