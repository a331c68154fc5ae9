"""Made-up bars of many series, and the values that sides with different libraries must agree on; numpy only."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WIDTH = 3600
# What every library has. Levels, pivots and swings are the collector's own and bare has calls for the swings only.
NAMES = [
    "rsi_14",
    "macd",
    "macd_signal",
    "macd_hist",
    "sma_20",
    "sma_50",
    "sma_200",
    "ema_12",
    "ema_26",
    "ema_50",
    "ema_200",
    "bb_upper",
    "bb_middle",
    "bb_lower",
    "atr_14",
    "adx_14",
    "stoch_k",
    "stoch_d",
    "obv",
]


class Bars(NamedTuple):
    """One series, oldest first; times in seconds."""

    open_time: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def series(number: int, bars: int) -> list[Bars]:
    """Return so many made-up series."""
    return [_one(seed, bars) for seed in range(number)]


def _one(seed: int, bars: int) -> Bars:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, bars)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1 + rng.random(bars) * 0.002)
    low = np.minimum(opened, close) * (1 - rng.random(bars) * 0.002)
    times = 1_760_000_400 // WIDTH * WIDTH + np.arange(bars, dtype=np.int64) * WIDTH
    return Bars(times, opened, high, low, close, rng.random(bars) * 1000)


def newest(phase: str, bars: int) -> int:
    """Return how many of the newest bars a phase keeps: all of a batch, one when a bar has just come."""
    return bars if phase.startswith("batch") else 1


def told(values: Sequence[Mapping[str, Any]], kept: int) -> dict[str, Any]:
    """Return the answer of a side: the newest value of every series by name, and how many values there were."""
    last = {name: [float(one[name][-1]) for one in values] for name in NAMES if name in values[0]}
    return {"same": {"kept": kept, "last": last}, "facts": {"values": len(values) * len(values[0]) * kept}}
