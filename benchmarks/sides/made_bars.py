"""Made-up bars of many series, and what is told of the columns that a side made of them; numpy only."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WIDTH = 3600
TAIL = 100  # of the newest bars: there averages that start elsewhere are nearly the same


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
    """Return the answer of a side: every column of every series, each as `summed`; `kept` are the newest bars to tell.

    Raises ValueError when the series have not the same columns.
    """
    names = list(values[0])
    if any(list(one) != names for one in values):
        raise ValueError("the series have not the same columns")
    columns = {name: summed([one[name][-kept:] for one in values]) for name in names}
    return {"same": {"columns": columns}, "facts": {"values": len(values) * len(names) * kept}}


def summed(column: Sequence[Any]) -> dict[str, list[float]]:
    """Return what stands for a column of all series: bars, where values are missing, sums with a weight for each bar.

    A wrong value anywhere changes a sum. `size` is the typical amount of a value, by which sums are compared. Raises
    ValueError when the series have not as many bars.
    """
    found = np.array(column, dtype=float)
    missing = np.isnan(found)
    whole = np.random.default_rng(7).uniform(0.5, 1.5, found.shape[1]) * np.where(missing, 0.0, found)
    summed = {
        "whole": whole.mean(axis=1),
        "tail": whole[:, -TAIL:].mean(axis=1),
        "last": whole[:, -1],
        "size": np.abs(whole).sum(axis=1) / np.maximum(1, (~missing).sum(axis=1)),
        "missing_tail": missing[:, -TAIL:].sum(axis=1),
    }
    gaps = [zlib.crc32(row.tobytes()) for row in missing]
    return {**{name: values.tolist() for name, values in summed.items()}, "missing": gaps, "bars": [found.shape[1]]}
