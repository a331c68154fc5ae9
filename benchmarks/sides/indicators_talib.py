"""The limit: the TA-Lib calls that the standard columns rest on, and nothing else; the last three find the swing."""

from collections.abc import Mapping
from typing import Any

import talib

from benchmarks.sides.made_bars import Bars, newest, series, told
from benchmarks.sides.made_levels import SWING


def columns(bars: Bars) -> dict[str, Any]:
    high, low, close = bars.high, bars.low, bars.close
    macd, macd_signal, macd_hist = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    stoch_k, stoch_d = talib.STOCH(high, low, close, 14, 3, slowd_period=3)
    return {
        "rsi_14": talib.RSI(close, 14),
        "macd": macd,
        "macd_signal": macd_signal,
        "macd_hist": macd_hist,
        **{f"sma_{period}": talib.SMA(close, period) for period in (20, 50, 200)},
        **{f"ema_{period}": talib.EMA(close, period) for period in (12, 26, 50, 200)},
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "atr_14": talib.ATR(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14),
        "stoch_k": stoch_k,
        "stoch_d": stoch_d,
        "obv": talib.OBV(close, bars.volume),
        "swing_high": talib.MAX(high, SWING),
        "swing_low": talib.MIN(low, SWING),
        "swing_order": talib.AROONOSC(high, low, SWING - 1),
    }


class Bare:
    """Arrays in, arrays out."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.bars = int(work["bars"])
        self.series = series(work["series"], self.bars)
        self.found: list[dict[str, Any]] = []

    def prepare(self, _phase: str) -> None:
        self.found = []

    def run(self, _phase: str) -> None:
        self.found = [columns(bars) for bars in self.series]

    def answer(self, phase: str) -> dict[str, Any]:
        return told(self.found, newest(phase, self.bars))

    def close(self) -> None: ...


def open_side(work: Mapping[str, Any]) -> Bare:
    return Bare(work)
