"""Seeded noise: the same numbers for the same seed, index and period, at any place in time and in any order.

Everything is a pure function of 64-bit integers (the splitmix64 finaliser), so no state is kept, two processes agree,
and a single value equals the same value inside a large vector.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


@functools.lru_cache(maxsize=1 << 16)
def key(*parts: str | int) -> int:
    """Return a 64-bit key for a list of names and numbers; different lists give unrelated keys."""
    return _digest(*parts)


def _digest(*parts: str | int) -> int:
    text = "\x1f".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def keys(values: list[int]) -> Keys:
    """Return 64-bit keys as a column (n, 1), ready to be combined with a row of indices."""
    return np.array(values, dtype=np.uint64).reshape(-1, 1)


def unit(seeds: Keys, index: Ints) -> Floats:
    """Return uniform numbers in [0, 1) for every combination of seed and index (normal numpy broadcasting)."""
    x = seeds + index.astype(np.uint64) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _MIX_A
    x = (x ^ (x >> np.uint64(27))) * _MIX_B
    x = x ^ (x >> np.uint64(31))
    uniform: Floats = (x >> np.uint64(11)).astype(np.float64) * _TO_UNIT
    return uniform


def pick(seed: int, index: int, choices: int) -> int:
    """Return one whole number in [0, choices) for a seed and an index."""
    return _digest(seed, index) % choices


def value_noise(seeds: Keys, index: Ints, period: int | Ints) -> Floats:
    """Return smooth noise in [-1, 1) that has an independent value every `period` steps of the index.

    Normal numpy broadcasting: a column of seeds may come with a column of periods.
    """
    cell = index // period
    part = (index - cell * period) / period
    part = part * part * (3.0 - 2.0 * part)
    low = unit(seeds, cell)
    high = unit(seeds, cell + 1)
    return 2.0 * (low + (high - low) * part) - 1.0


def bell_table(seed: int, size: int) -> Floats:
    """Return `size` numbers of roughly normal distribution (mean 0, deviation 1, never beyond 3.5)."""
    four = unit(keys([key(seed, "bell", part) for part in range(4)]), np.arange(size).reshape(1, -1))
    total: Floats = four.sum(axis=0)
    bell: Floats = (total - 2.0) * np.sqrt(3.0)
    return bell
