"""TA-Lib over one stretch of bars, that is bars that follow each other without a hole: every column that looks back.

What TA-Lib does, and we keep: EMA starts at the mean of its first bars; MACD's fast EMA starts where its slow one
does, so `macd` is not exactly `ema_12 - ema_26` in the first bars; Bollinger bands use the population deviation; the
stochastic is STOCH(14, 3, 3) with simple means, that is the slow one; OBV starts at the first bar's volume. RSI, ADX
and the stochastic of a price that has never moved are 0.
"""

from collections.abc import Iterator, Sequence
from inspect import unwrap
from itertools import pairwise

import numpy as np
import talib
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Columns = dict[str, Floats]
Stretch = tuple[int, int]  # bars [start, stop)

# A price that stands still leaves RSI and ADX as ratios of ever smaller remainders, which never change, although the
# remainders mean nothing any more: after 512 bars they are (13/14)^512 = 3e-17 of what they were, less than a double
# resolves. From then on the value is what TA-Lib gives for a price that never moved: 0.
STILL_BARS = 512

# Index in a stretch of each column's first value. OBV has one at every bar with a volume.
FIRST_BAR = {
    "rsi_14": 14,
    "macd": 33,
    "macd_signal": 33,
    "macd_hist": 33,
    "sma_20": 19,
    "sma_50": 49,
    "sma_200": 199,
    "ema_12": 11,
    "ema_26": 25,
    "ema_50": 49,
    "ema_200": 199,
    "bb_upper": 19,
    "bb_middle": 19,
    "bb_lower": 19,
    "atr_14": 14,
    "adx_14": 27,
    "stoch_k": 17,
    "stoch_d": 17,
    "obv": 0,
}

# TA-Lib's public functions look for pandas and polars arguments first, 0.7 microseconds a call. Ours are always arrays.
_RSI, _MACD, _SMA, _EMA = unwrap(talib.RSI), unwrap(talib.MACD), unwrap(talib.SMA), unwrap(talib.EMA)
_BBANDS, _ATR, _ADX = unwrap(talib.BBANDS), unwrap(talib.ATR), unwrap(talib.ADX)
_STOCH, _OBV = unwrap(talib.STOCH), unwrap(talib.OBV)


def talib_columns(high: Floats, low: Floats, close: Floats) -> Columns:
    """Return the columns of `FIRST_BAR` but OBV for one stretch."""
    macd, macd_signal, macd_hist = _MACD(close, 12, 26, 9)
    bb_upper, bb_middle, bb_lower = _BBANDS(close, 20, 2.0, 2.0, 0)
    stoch_k, stoch_d = _STOCH(high, low, close, 14, 3, 0, 3, 0)
    columns = {
        "rsi_14": _RSI(close, 14),
        "macd": macd,
        "macd_signal": macd_signal,
        "macd_hist": macd_hist,
        "sma_20": bb_middle,  # the same number: the middle band is the 20-bar mean
        "sma_50": _SMA(close, 50),
        "sma_200": _SMA(close, 200),
        "ema_12": _EMA(close, 12),
        "ema_26": _EMA(close, 26),
        "ema_50": _EMA(close, 50),
        "ema_200": _EMA(close, 200),
        "bb_upper": bb_upper,
        "bb_middle": bb_middle,
        "bb_lower": bb_lower,
        "atr_14": _ATR(high, low, close, 14),
        "adx_14": _ADX(high, low, close, 14),
        "stoch_k": stoch_k,
        "stoch_d": stoch_d,
    }
    if len(close) > STILL_BARS:
        _forget_still_prices(columns, high, low, close)
    return columns


def on_balance_volume(close: Floats, volume: Floats, runs: Sequence[Stretch], span: Stretch) -> Floats:
    """Return the OBV of the bars of `span`: it starts anew with each run of `obv_runs`, and is NaN between them."""
    if len(runs) == 1 and runs[0] == span:
        whole: Floats = _OBV(close[span[0] : span[1]], volume[span[0] : span[1]])
        return whole
    obv = np.full(span[1] - span[0], np.nan)
    for start, stop in runs:
        obv[start - span[0] : stop - span[0]] = _OBV(close[start:stop], volume[start:stop])
    return obv


def obv_runs(unknown: NDArray[np.bool_] | None, stretches: Sequence[Stretch]) -> Sequence[Stretch]:
    """Return the ranges over which OBV goes on: inside a stretch, between bars whose volume is not known.

    `unknown` marks those bars; None says that there are none.
    """
    if unknown is None:
        return stretches
    return [
        (before + 1, after)
        for start, stop in stretches
        for before, after in pairwise([start - 1, *(np.flatnonzero(unknown[start:stop]) + start).tolist(), stop])
        if after - before > 1
    ]


def _forget_still_prices(columns: Columns, high: Floats, low: Floats, close: Floats) -> None:
    """Overwrite RSI and ADX where their inputs have not moved for `STILL_BARS` bars (reason there)."""
    for start, stop in _still_ranges(close[1:] != close[:-1]):
        columns["rsi_14"][start:stop] = 0.0
    up, down = high[1:] - high[:-1], low[:-1] - low[1:]
    for start, stop in _still_ranges((up != down) & (np.maximum(up, down) > 0)):  # Wilder's directional movement
        columns["adx_14"][start:stop] = 0.0
        if stop < len(close):  # TA-Lib holds ADX while nothing moves; the old level must not come back
            since = stop - STILL_BARS
            columns["adx_14"][stop:] = _ADX(high[since:], low[since:], close[since:], 14)[STILL_BARS:]


def _still_ranges(moved: NDArray[np.bool_]) -> Iterator[Stretch]:
    """Yield ranges of bars at which none of the last `STILL_BARS` steps moved; step i leads to bar i + 1."""
    moves = np.concatenate(([0], np.flatnonzero(moved) + 1, [len(moved) + 1]))
    for index in np.flatnonzero(moves[1:] - moves[:-1] > STILL_BARS).tolist():
        yield int(moves[index]) + STILL_BARS, int(moves[index + 1])
