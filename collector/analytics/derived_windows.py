"""Means, deviations and slopes over sliding windows of many series at once, by pairs of blocks.

A block of 2, 4, 8, ... consecutive observations is joined from its two halves, and a window from the blocks that its
length is the sum of. So a number rests on the observations of its window alone, to the last bit: where the history
begins or ends changes nothing. Joining the moments of two halves is formula 2.1 of Chan, Golub and LeVeque, "Updating
Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979); it loses far fewer digits than running sums.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.intp]

# A mean this small beside the deviation is what rounding leaves of zero: 64 observations are summed with an error of a
# few times 2.2e-16 of their size.
ZERO = 1e-14
CHUNK = 1 << 15  # observations worked on at once: a few arrays of 256 kB, which stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed, without the gaps: row `s` holds `counts[s]` observations, oldest first, then filler.

    `value` and `minutes` (since the epoch, ascending) have the shape (series, longest); where all series were observed
    in the same minutes, `minutes` is one row for all. `series` and `rows` say where each came from in the frame.
    """

    value: Floats
    minutes: Floats
    counts: Whole
    series: Whole
    rows: Whole
    places: Whole  # the column of `value` that it went to

    def put(self, numbers: Floats, into: Floats) -> None:
        """Write numbers of the shape of `value` to where they came from; NaN where nothing was observed."""
        if len(self.rows) == into.size:
            into[...] = numbers
        else:
            into[...] = np.nan
            into[self.series, self.rows] = numbers[self.series, self.places]


def observed(values: Floats, minutes: Floats, last: int | None = None) -> Observed:
    """Return the observations in an array (series, minutes) where NaN is none; of each the `last` ones if told."""
    seen = ~np.isnan(values)
    counts = seen.sum(axis=1)
    series, rows = np.nonzero(seen)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    if last is not None:
        before = np.maximum(counts - last, 0)
        kept = places >= before[series]
        series, rows = series[kept], rows[kept]
        places, counts = places[kept] - before[series], counts - before
    shape = (len(values), int(counts.max(initial=0)))
    dense, times = np.zeros(shape), np.zeros(shape)
    dense[series, places] = values[series, rows]
    times[series, places] = minutes[rows]
    if len(times) and (times == times[0]).all() and (counts == counts[0]).all():
        times = times[:1]
    return Observed(dense, times, counts, series, rows, places)


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, sum of minutes, mean, and the sums of squares and products about the means: t of minutes, x of values."""

    count: Any  # int for blocks of one length, an array for windows of several lengths
    minutes: Floats
    mean: Floats
    tt: Floats
    xx: Floats
    tx: Floats

    def part(self, first: int, width: int) -> Self:
        """Return the blocks that start at `width` places from `first` on."""
        return type(self)(self.count, *(array[:, first : first + width] for array in self._arrays()))

    def at(self, series: Whole, starts: Whole) -> Self:
        """Return the blocks of these series that start at these places, as flat arrays."""
        own = series * self.mean.shape[1] + starts
        places = (own if len(array) > 1 else starts for array in self._arrays())
        flat = (array.ravel().take(place) for array, place in zip(self._arrays(), places, strict=True))
        return type(self)(np.full(len(starts), float(self.count)), *flat)

    def columns(self) -> tuple[Floats, ...]:
        return (self.count, *self._arrays())

    def _arrays(self) -> tuple[Floats, ...]:
        return self.minutes, self.mean, self.tt, self.xx, self.tx


def joined(earlier: Moments, later: Moments) -> Moments:
    """Return the moments of two runs of observations as one."""
    first, second = earlier.count, later.count
    count = first + second
    step = later.mean - earlier.mean
    lead = first * later.minutes - second * earlier.minutes  # exact: whole numbers below 2 ** 53
    return Moments(
        count,
        earlier.minutes + later.minutes,
        earlier.mean + step * (second / count),
        earlier.tt + later.tt + lead * lead / np.maximum(first * second * count, 1),  # 1: one of them is empty
        earlier.xx + later.xx + step * step * (first * second / count),
        earlier.tx + later.tx + (lead / count) * step,
    )


class Blocks:
    """The moments of all blocks of 1, 2, 4, ... observations; each size is computed when it is first asked for."""

    def __init__(self, seen: Observed) -> None:
        self.width = seen.value.shape[1]
        nothing, no_time = np.zeros_like(seen.value), np.zeros_like(seen.minutes)
        self._sizes = [Moments(1, seen.minutes, seen.value, no_time, nothing, nothing)]

    def _of(self, power: int) -> Moments:
        while len(self._sizes) <= power:
            half = 1 << (len(self._sizes) - 1)
            width = self.width - 2 * half + 1
            self._sizes.append(joined(self._sizes[-1].part(0, width), self._sizes[-1].part(half, width)))
        return self._sizes[power]

    def sliding(self, length: int) -> Moments:
        """Return every window of `length` observations (not more than there are), by the place of its first one."""
        width, offset = self.width - length + 1, length
        found: Moments | None = None
        for power in _powers(length):
            offset -= 1 << power
            block = self._of(power).part(offset, width)
            found = block if found is None else joined(block, found)
        assert found is not None, "a window has at least one observation"  # noqa: S101 - a defect of ours
        return found

    def ending(self, series: Whole, ends: Whole, lengths: Whole) -> Moments:
        """Return windows of several lengths by the place of their last observation, as flat arrays.

        The blocks are those of `sliding`, joined in the same order: the numbers are the same to the last bit.
        """
        columns = [np.zeros(len(ends)) for _ in range(6)]
        left = ends + 1  # where that ends which is not yet joined
        for power in _powers(int(np.bitwise_or.reduce(lengths))):
            due = np.flatnonzero(lengths & (1 << power))
            start = left.take(due) - (1 << power)
            block = self._of(power).at(series.take(due), start)
            if columns[0].take(due).any():  # otherwise there is nothing yet to join it with
                block = joined(block, Moments(*(column.take(due) for column in columns)))
            for column, numbers in zip(columns, block.columns(), strict=True):
                column[due] = numbers
            left[due] = start
        return Moments(*columns)


@dataclass(frozen=True, slots=True)
class Summary:
    """What `derived` stores of windows; NaN where it cannot be computed."""

    mean: Floats
    deviation: Floats
    gradient: Floats
    gradient_relative: Floats
    zscore: Floats
    samples: Floats


def _summary(window: Moments, newest: Floats) -> tuple[Floats, ...]:
    """Return the parts of a Summary; 0 / 0 is the NaN of one observation, or of values that are all the same."""
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(window.xx / np.subtract(window.count, 1))
        gradient = window.tx / window.tt
        relative = gradient / np.where(np.abs(window.mean) > ZERO * deviation, window.mean, np.nan)
        zscore = (newest - window.mean) / np.where(deviation > 0, deviation, np.nan)
    return window.mean, deviation, gradient, relative, zscore, np.broadcast_to(window.count, newest.shape)


def count_windows(seen: Observed, blocks: Blocks, length: int) -> Summary:
    """Summarise the last `length` observations at each one; while there are not so many, there is `samples` alone."""
    parts = _empty(seen)
    parts[-1][:, : length - 1] = np.arange(1, length)[: blocks.width]
    if blocks.width >= length:
        found = _summary(blocks.sliding(length), seen.value[:, length - 1 :])
        for part, numbers in zip(parts, found, strict=True):
            part[:, length - 1 :] = numbers
    return Summary(*parts)


def time_windows(seen: Observed, blocks: Blocks, minutes: int) -> Summary:
    """Summarise at each observation those from `minutes` before it on, however many there are.

    Most windows of a regular series hold the same number; these are done at one go, the others one by one.
    """
    parts = _empty(seen)
    lengths = np.broadcast_to(_lengths(seen, minutes), seen.value.shape)
    usual = int(np.bincount(lengths.ravel()).argmax()) if lengths.size else 1
    if lengths.size:
        found = _summary(blocks.sliding(usual), seen.value[:, usual - 1 :])
        for part, numbers in zip(parts, found, strict=True):
            part[:, usual - 1 :] = numbers
    series, ends = np.nonzero(lengths != usual)
    if len(ends):
        found = _summary(blocks.ending(series, ends, lengths[series, ends]), seen.value[series, ends])
        for part, numbers in zip(parts, found, strict=True):
            part[series, ends] = numbers
    return Summary(*parts)


def _empty(seen: Observed) -> list[Floats]:
    return [np.full(seen.value.shape, np.nan) for _ in range(6)]


def _lengths(seen: Observed, minutes: int) -> Whole:
    """Return how many observations lie within so many minutes up to each one; 1 for the filler."""
    lengths = np.ones(seen.minutes.shape, dtype=np.intp)
    for times, count, found in zip(seen.minutes, seen.counts, lengths, strict=False):
        own = times[:count]
        found[:count] = np.arange(1, count + 1) - np.searchsorted(own, own - minutes, side="left")
    return lengths


def _powers(length: int) -> Iterator[int]:
    """Yield the powers of two that a length is the sum of, the largest first."""
    return (power for power in range(length.bit_length() - 1, -1, -1) if length >> power & 1)
