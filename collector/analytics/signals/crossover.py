"""EMA crossovers and MACD: one line about zero, with a dead band, confirmation and a bounded memory.

EMA cross: the line is the fast average less the slow one. MACD (Appel): the line is the histogram, that is
EMA(fast) - EMA(slow) less its own average over `signal` bars. Bullish above the band, bearish below it.

Every average is taken over a window of `memory` times its period and starts at the mean of the window's first
`period` values (see `windows`), so a state needs a bounded number of bars and older history changes nothing. With 5
the seed of the slow average weighs 0.03 % at most, with 10 it weighs 1.6e-8. A state that is not confirmed again
within `slow` bars, the line resting inside the band, becomes neutral; that bounds the states' memory too.

Unit of the line: the mean absolute change of the close per bar over the slow period, the "average range" that needs
closes alone. The band is `hysteresis` of it. Strength: the line as a multiple of its standard deviation if the price
were a random walk with the same average change (normal steps: deviation = mean absolute change * sqrt(pi / 2)), put
through x / sqrt(1 + x^2): 0.71 is one deviation. So strengths of different pairs and kinds can be compared.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from collector.analytics.signals.parameters import EMA_CROSS, MACD, EmaCross, Macd, rule
from collector.analytics.signals.track import BarEvidence, Grid, Track
from collector.analytics.signals.windows import Floats, bounded, ema, latched, later, mean, sided

STATES = {1: "bullish", 0: "neutral", -1: "bearish"}
# Two averages of one constant price differ by rounding, some 1e-15 of it. Less than this is no difference.
ROUNDING = 1e-12
NORMAL = math.sqrt(math.pi / 2)  # standard deviation of a normal step whose mean absolute value is 1


def ema_crosses(parameters: EmaCross, grid: Grid) -> Iterator[Track]:
    """Yield a track per pair, named like `ema_cross_12_26`."""
    for fast, slow in parameters.pairs:
        values = {
            "fast": fast,
            "slow": slow,
            "confirmation": parameters.confirmation,
            "hysteresis": parameters.hysteresis,
            "memory": parameters.memory,
        }

        def line(close: Floats, fast: int = fast, slow: int = slow) -> Floats:
            return ema_line(close, fast, slow, parameters.memory)

        yield _track(f"{EMA_CROSS}_{fast}_{slow}", EMA_CROSS, values, line, parameters.memory * slow, grid)


def macd(parameters: Macd, grid: Grid) -> Track:
    """Return the track, named like `macd_12_26_9`."""
    values = {
        "fast": parameters.fast,
        "slow": parameters.slow,
        "signal": parameters.signal,
        "confirmation": parameters.confirmation,
        "hysteresis": parameters.hysteresis,
        "memory": parameters.memory,
    }
    name = f"{MACD}_{parameters.fast}_{parameters.slow}_{parameters.signal}"
    window = parameters.memory * (parameters.slow + parameters.signal) - 1
    return _track(name, MACD, values, lambda close: macd_histogram(close, parameters), window, grid)


def ema_line(close: Floats, fast: int, slow: int, memory: int) -> Floats:
    """Return EMA(fast) - EMA(slow), in the price's unit; NaN where `memory * slow` bars are not whole."""
    return ema(close, fast, memory * fast) - ema(close, slow, memory * slow)


def macd_histogram(close: Floats, parameters: Macd) -> Floats:
    """Return MACD less its signal line, in the price's unit."""
    line = ema_line(close, parameters.fast, parameters.slow, parameters.memory)
    return line - ema(line, parameters.signal, parameters.memory * parameters.signal)


def bars_of(window: int, slow: int, confirmation: int) -> int:
    """Return the bars that a state and the one before it need: one line value needs `window` of them."""
    return window + slow + confirmation - 1


def deviation_per_change(line: Callable[[Floats], Floats], window: int) -> float:
    """Return the line's standard deviation if the price walks with independent steps of deviation 1.

    The line is linear in the price, so a step k bars ago moves it by its response to a unit step after k bars; the
    variance is the sum of their squares.
    """
    step = np.concatenate([np.zeros(window), np.ones(window)])[:, None]
    response = line(step)[window:]
    return math.sqrt(float(np.sum(response * response)))


def _track(
    name: str, kind: str, values: dict[str, int | float], line: Callable[[Floats], Floats], window: int, grid: Grid
) -> Track:
    close, slow, confirmation = grid.close, int(values["slow"]), int(values["confirmation"])
    oscillation = line(close)
    change = mean(np.abs(close - later(close, 1)), slow)
    smallest = ROUNDING * np.abs(close)
    band = np.maximum(values["hysteresis"] * change, smallest)
    scale = np.maximum(change * (NORMAL * deviation_per_change(line, window)), smallest)
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = bounded(oscillation / scale)
    seen = np.isfinite(magnitude)
    raw = (np.where(oscillation > band, 1, 0) - np.where(oscillation < -band, 1, 0)).astype(np.int8)
    raw[~seen] = 0
    direction, known = latched(raw, seen, confirmation=confirmation, hold=slow)
    strength = sided(direction, magnitude)
    evidence = BarEvidence(grid.ends, [close], bars_of(window, slow, confirmation))
    named = rule(kind, name, values, STATES)
    return Track(named, range(len(grid.subjects)), direction, strength, known, evidence)
