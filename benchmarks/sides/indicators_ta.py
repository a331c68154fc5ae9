"""`ta`, class by class, as its documents show.

Its slow stochastic has no second smoothing, so `stoch_d` is left out.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from ta.momentum import RSIIndicator, StochasticOscillator
from ta.trend import MACD, ADXIndicator, EMAIndicator, SMAIndicator
from ta.volatility import AverageTrueRange, BollingerBands
from ta.volume import OnBalanceVolumeIndicator

from benchmarks.sides.indicators_frame import Frames


class Ta(Frames):
    """Values with `fillna` left off, the default."""

    def columns(self, frame: pd.DataFrame) -> pd.DataFrame:
        high, low, close = frame["high"], frame["low"], frame["close"]
        macd, bands = MACD(close, 26, 12, 9), BollingerBands(close, 20, 2)
        found = {
            "rsi_14": RSIIndicator(close, 14).rsi(),
            "macd": macd.macd(),
            "macd_signal": macd.macd_signal(),
            "macd_hist": macd.macd_diff(),
            **{f"sma_{period}": SMAIndicator(close, period).sma_indicator() for period in (20, 50, 200)},
            **{f"ema_{period}": EMAIndicator(close, period).ema_indicator() for period in (12, 26, 50, 200)},
            "bb_upper": bands.bollinger_hband(),
            "bb_middle": bands.bollinger_mavg(),
            "bb_lower": bands.bollinger_lband(),
            "atr_14": AverageTrueRange(high, low, close, 14).average_true_range(),
            "adx_14": ADXIndicator(high, low, close, 14).adx(),
            "stoch_k": StochasticOscillator(high, low, close, 14, 3).stoch_signal(),
            "obv": OnBalanceVolumeIndicator(close, frame["volume"]).on_balance_volume(),
        }
        return pd.DataFrame(found)


def open_side(work: Mapping[str, Any]) -> Ta:
    return Ta(work)
