"""Prices and trades at quarter-minute resolution, and their exact aggregation into candles.

Every minute has four points (at second 0, 15, 30 and 45) with a price in ticks, a traded size in lots and the part of
it that buyers took. A candle of any length is the aggregate of its points, in whole numbers, so a longer candle is
exactly the aggregate of the shorter ones. The price "at t" is the last point at or before t: inside the running candle.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from collector.simulator.noise import Floats, Ints, Keys, bell_table, key, keys, unit, value_noise
from collector.simulator.universe import Contract, Underlying

STEP_MS = 300_000
"""Distance of the price lattice: the market is computed every five minutes and runs straight in between."""
POINT_MS = 15_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

# period in lattice steps (5 minutes) and amplitude of log price: 400 d, 90 d, 21 d, 5 d, 1 d, 6 h, 1 h, 15 min, 5 min.
# The amplitudes sum to 0.69, so a price stays within a factor of 2 of its centre (2.5 at volatility 1.3).
_OCTAVES = (
    (115_200, 0.30),
    (25_920, 0.18),
    (6_048, 0.10),
    (1_440, 0.06),
    (288, 0.03),
    (72, 0.012),
    (12, 0.006),
    (3, 0.0015),
    (1, 0.0008),
)
_JITTER = 0.0003
_BASIS = 0.0004
_TABLE = 1 << 15
_DAY_MINUTES = 1_440
_BLOCK_DAYS = 8
_REMEMBERED_DAYS = 3
_CACHED_DAYS = 2_400  # of 69 kB
_CACHED_BLOCKS = {1: 4_000, 8: 20_000}  # by hours of a candle; of 15 and 2 kB

OPEN, HIGH, LOW, CLOSE, LOTS, BASE, QUOTE, TRADES, TAKER_BASE, TAKER_QUOTE = range(10)
_REDUCERS: tuple[tuple[int, np.ufunc], ...] = (
    (HIGH, np.maximum),
    (LOW, np.minimum),
    *((column, np.add) for column in (LOTS, BASE, QUOTE, TRADES, TAKER_BASE, TAKER_QUOTE)),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Points:
    """Quarter-minute data, each array shaped (4, minutes): price in ticks, size in lots, lots taken by buyers."""

    ticks: NDArray[np.integer]
    lots: NDArray[np.integer]
    taken: NDArray[np.integer]


@dataclasses.dataclass(frozen=True, slots=True)
class Bars:
    """Candles as whole numbers: open times in ms, and columns shaped (10, candles) in the order of this module."""

    open_ms: Ints
    columns: Ints


def aggregate(columns: Ints, starts: Ints) -> Ints:
    """Merge neighbouring candles; `starts` are the positions at which a new, longer candle begins (the first is 0)."""
    out = np.empty((10, len(starts)), dtype=np.int64)
    out[OPEN] = columns[OPEN][starts]
    ends = np.append(starts[1:], columns.shape[1]) - 1
    out[CLOSE] = columns[CLOSE][ends]
    for column, reducer in _REDUCERS:
        out[column] = reducer.reduceat(columns[column], starts)
    return out


class Prices:
    """The continuous price of every underlying, in quote units, at any moment."""

    def __init__(self, seed: int, underlyings: tuple[Underlying, ...]) -> None:
        self.anchors: Floats = np.array([u.anchor for u in underlyings]).reshape(-1, 1)
        self.widths: Floats = np.array([u.volatility for u in underlyings]).reshape(-1, 1)
        names = [u.name for u in underlyings]
        self._keys: list[Keys] = [keys([key(seed, "price", name, period) for name in names]) for period, _ in _OCTAVES]
        self._periods: Ints = np.array([period for period, _ in _OCTAVES], dtype=np.int64).reshape(-1, 1)

    def lattice(self, rows: Ints, steps: Ints) -> Floats:
        """Return prices shaped (rows, n) at five-minute steps from 1970; `steps` is shaped (1, n) or (rows, n)."""
        total = np.zeros((len(rows), steps.shape[1]))
        if len(rows) == 1:  # all octaves in one go: the usual case, and three times as fast for a day or two
            own = np.concatenate([seeds[rows] for seeds in self._keys])
            for noise, (_, amplitude) in zip(value_noise(own, steps, self._periods), _OCTAVES, strict=True):
                total[0] += amplitude * noise
        else:
            for seeds, (period, amplitude) in zip(self._keys, _OCTAVES, strict=True):
                total += amplitude * value_noise(seeds[rows], steps, period)
        moved: Floats = self.anchors[rows] * np.exp(total * self.widths[rows])
        return moved

    def at(self, rows: Ints, times_ms: Ints) -> Floats:
        """Return prices at moments rounded down to a second.

        Times shaped (n,) or (1, n) give (rows, n); shaped (rows, n) each row has its own times.
        """
        times = np.atleast_2d(times_ms)
        steps = times // STEP_MS
        part = (times % STEP_MS // 1000) / 300.0
        low = self.lattice(rows, steps)
        high = self.lattice(rows, steps + 1)
        return low + (high - low) * part


class Series:
    """Points and candles of contracts, computed on demand by the day and kept for a while."""

    def __init__(self, seed: int, prices: Prices) -> None:
        self._seed = seed
        self._prices = prices
        self._jitter = _stretches(bell_table(key(seed, "jitter"), _TABLE + _DAY_MINUTES) * _JITTER)
        self._size = _stretches(np.exp(bell_table(key(seed, "size"), _TABLE + _DAY_MINUTES)) * 0.6)
        uniform = keys([key(seed, "taken"), key(seed, "quiet")])
        both = unit(uniform, np.arange(_TABLE + _DAY_MINUTES).reshape(1, -1))
        self._taken = _stretches(0.2 + 0.6 * both[0])
        self._quiet = _stretches(both[1])
        self._days: OrderedDict[tuple[int, int], Points] = OrderedDict()
        self._blocks: dict[int, OrderedDict[tuple[int, int], Ints]] = {1: OrderedDict(), 8: OrderedDict()}

    def points(self, contract: Contract, first_day: int, days: int) -> Points:
        """Return the points of whole UTC days (counted from 1970); up to three days come from memory."""
        if days > _REMEMBERED_DAYS:
            return self._compute(contract, first_day, days)
        found: dict[int, Points] = {}
        for day in range(first_day, first_day + days):
            known = self._days.get((contract.key, day))
            if known is not None:
                self._days.move_to_end((contract.key, day))
                found[day] = known
        missing = [day for day in range(first_day, first_day + days) if day not in found]
        if missing:
            found |= self._remember(contract, missing[0], missing[-1] - missing[0] + 1)
        parts = [found[first_day + step] for step in range(days)]
        if len(parts) == 1:
            return parts[0]
        return Points(
            np.concatenate([p.ticks for p in parts], axis=1),
            np.concatenate([p.lots for p in parts], axis=1),
            np.concatenate([p.taken for p in parts], axis=1),
        )

    def _remember(self, contract: Contract, first_day: int, days: int) -> dict[int, Points]:
        """Keep the points of some days, the oldest ones of others make room; return them by day."""
        full = self._compute(contract, first_day, days)
        made: dict[int, Points] = {}
        for step in range(days):
            day = slice(step * _DAY_MINUTES, (step + 1) * _DAY_MINUTES)
            small = [array[:, day].astype(np.int32) for array in (full.ticks, full.lots, full.taken)]
            made[first_day + step] = self._days[contract.key, first_day + step] = Points(*small)
        while len(self._days) > _CACHED_DAYS:
            self._days.popitem(last=False)
        return made

    def _compute(self, contract: Contract, first_day: int, days: int) -> Points:
        """Build the points of consecutive days in one go (about 0.1 ms a day when many are asked)."""
        start, slope = self._base_line(contract, first_day, days)
        mean_lots = self._mean_lots(contract, first_day, days)
        places = self._places(contract, first_day, days)
        shape = (4, days * _DAY_MINUTES)
        ticks = np.empty(shape, dtype=np.int64)
        lots = np.empty(shape, dtype=np.int64)
        taken = np.empty(shape, dtype=np.int64)
        for quarter in range(4):
            part = (np.arange(5) * 4 + quarter) / 20.0
            price = (start[:, None] + slope[:, None] * part[None, :]).reshape(-1)
            price *= 1.0 + self._jitter[places[quarter]].reshape(-1)
            ticks[quarter] = np.maximum(np.rint(price), 1.0)
            size = np.minimum(mean_lots * self._size[places[4 + quarter]].reshape(-1), 2.0e9)
            lots[quarter] = 1 + size.astype(np.int64)
            taken[quarter] = lots[quarter] * self._taken[places[8 + quarter]].reshape(-1)
        points = Points(ticks, lots, taken)
        if contract.quiet:
            _silence(points, self._quiet[places[12]] < contract.quiet)
        return points

    def _base_line(self, contract: Contract, first_day: int, days: int) -> tuple[Floats, Floats]:
        """Return price in ticks and its change to the next step, for every lattice step of the days."""
        steps = np.arange(first_day * 288, (first_day + days) * 288 + 1, dtype=np.int64).reshape(1, -1)
        line = self._prices.lattice(np.array([contract.underlying]), steps)[0]
        basis = value_noise(keys([key(self._seed, "basis", contract.key)]), steps, 36)[0]
        line = line * (1.0 + contract.premium + _BASIS * basis) * (contract.multiplier * 10.0**-contract.tick_exp)
        return line[:-1], np.diff(line)

    def _mean_lots(self, contract: Contract, first_day: int, days: int) -> Floats:
        """Return the usual size of a point for every minute: it swings by a factor of up to three over hours."""
        hours = np.arange(first_day * 24, (first_day + days) * 24, dtype=np.int64).reshape(1, -1)
        swing = value_noise(keys([key(self._seed, "activity", contract.key, part) for part in (0, 1)]), hours, 3)
        mean = contract.daily_lots / 5_760.0 * np.exp(0.7 * swing[0] + 0.4 * swing[1])
        return np.repeat(mean, 60)

    def _places(self, contract: Contract, first_day: int, days: int) -> Ints:
        """Return where a day's stretch of a table begins, shaped (13 uses, days): depends on contract, day and use."""
        seeds = keys([key(self._seed, "window", contract.key, use) for use in range(13)])
        chance = unit(seeds, np.arange(first_day, first_day + days, dtype=np.int64).reshape(1, -1))
        return (chance * _TABLE).astype(np.int64)

    def last_ticks(self, contract: Contract, at_ms: int) -> tuple[int, int]:
        """Return price in ticks and size in lots of the last point at or before a moment."""
        points = self.points(contract, at_ms // DAY_MS, 1)
        minute, rest = divmod(at_ms % DAY_MS, MINUTE_MS)
        return int(points.ticks[rest // POINT_MS, minute]), int(points.lots[rest // POINT_MS, minute])

    def minutes(self, contract: Contract, first: int, count: int, until_ms: int | None) -> Ints:
        """Return `count` one-minute candles from minute `first` (counted from 1970), shaped (10, count).

        With `until_ms` the minute that contains this moment holds only the points up to it and must be the last one.
        """
        first_day, last_day = first // _DAY_MINUTES, (first + count - 1) // _DAY_MINUTES
        points = self.points(contract, first_day, last_day - first_day + 1)
        begin = first - first_day * _DAY_MINUTES
        window = slice(begin, begin + count)
        cut = [array[:, window].astype(np.int64) for array in (points.ticks, points.lots, points.taken)]
        if until_ms is not None and until_ms // MINUTE_MS == first + count - 1:
            shown = until_ms % MINUTE_MS // POINT_MS
            cut[0][shown:, -1] = cut[0][shown, -1]
            cut[1][shown + 1 :, -1] = 0
            cut[2][shown + 1 :, -1] = 0
        return _minute_columns(contract, *cut)

    def hours(self, contract: Contract, width: int, first: int, count: int, until_ms: int | None) -> Ints:
        """Return candles of `width` (1 or 8) hours like `minutes`; finished ones are remembered by blocks of days."""
        running = until_ms is not None and until_ms // (width * HOUR_MS) == first + count - 1
        whole = count - 1 if running else count
        parts: list[Ints] = []
        place = first
        while place < first + whole:
            block, begin = divmod(place, _BLOCK_DAYS * 24 // width)
            part = self._block(contract, width, block)[:, begin : begin + first + whole - place]
            parts.append(part)
            place += part.shape[1]
        if running and until_ms is not None:
            parts.append(self._running(contract, width, first + whole, until_ms))
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def _running(self, contract: Contract, width: int, place: int, until_ms: int) -> Ints:
        """Return the running candle of 1 or 8 hours, built from the next finer ones."""
        if width == 1:
            start = place * 60
            fine = self.minutes(contract, start, until_ms // MINUTE_MS - start + 1, until_ms)
        else:
            start = place * width
            fine = self.hours(contract, 1, start, until_ms // HOUR_MS - start + 1, until_ms)
        return aggregate(fine, np.zeros(1, dtype=np.int64))

    def _block(self, contract: Contract, width: int, block: int) -> Ints:
        blocks = self._blocks[width]
        known = blocks.get((contract.key, block))
        if known is not None:
            blocks.move_to_end((contract.key, block))
            return known
        points = self._compute(contract, block * _BLOCK_DAYS, _BLOCK_DAYS)
        columns = _minute_columns(contract, points.ticks, points.lots, points.taken)
        made = aggregate(columns, np.arange(0, columns.shape[1], 60 * width, dtype=np.int64))
        blocks[contract.key, block] = made
        if len(blocks) > _CACHED_BLOCKS[width]:
            blocks.popitem(last=False)
        return made


def _stretches(table: Floats) -> Floats:
    """Return a view of a table in which row n is the day's stretch that begins at n."""
    return np.lib.stride_tricks.sliding_window_view(table, _DAY_MINUTES)


def _silence(points: Points, quiet: NDArray[np.bool_]) -> None:
    """Turn minutes, shaped (days, minutes), into flat ones at the previous close; the first of a day always trades."""
    quiet[:, 0] = False
    days = len(quiet)
    place = np.where(quiet, 0, np.arange(_DAY_MINUTES)[None, :])
    last = np.maximum.accumulate(place, axis=1) + (np.arange(days) * _DAY_MINUTES)[:, None]
    flat = quiet.reshape(-1)
    points.ticks[:, flat] = points.ticks[3][last.reshape(-1)[flat]][None, :]
    points.lots[:, flat] = 0
    points.taken[:, flat] = 0


def _minute_columns(
    contract: Contract, ticks: NDArray[np.integer], lots: NDArray[np.integer], taken: NDArray[np.integer]
) -> Ints:
    """Merge four points into one candle each. A point of n lots counts as 1 + n // 128 trades, an empty one as none."""
    out = np.empty((10, ticks.shape[1]), dtype=np.int64)
    out[OPEN], out[CLOSE] = ticks[0], ticks[3]
    out[HIGH] = np.maximum(np.maximum(ticks[0], ticks[1]), np.maximum(ticks[2], ticks[3]))
    out[LOW] = np.minimum(np.minimum(ticks[0], ticks[1]), np.minimum(ticks[2], ticks[3]))
    if contract.inverse:
        # one lot is 10**quote_exp USD; coins are counted in units of 1e-8, rounded down at each point
        worth = 10 ** (8 + contract.quote_exp - contract.tick_exp)
        base, quote = lots * worth // ticks, lots
        taker_base, taker_quote = taken * worth // ticks, taken
    else:
        base, quote, taker_base, taker_quote = lots, ticks * lots, taken, ticks * taken
    trades = np.where(lots > 0, 1 + (lots >> 7), 0)
    sums = ((LOTS, lots), (BASE, base), (QUOTE, quote), (TRADES, trades), (TAKER_BASE, taker_base))
    for column, values in (*sums, (TAKER_QUOTE, taker_quote)):
        out[column] = values[0] + values[1] + values[2] + values[3]
    return out
