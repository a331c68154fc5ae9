"""pandas-ta-classic, function by function on the columns of a frame, as its documents show for single indicators.

With `talib` its functions hand over to TA-Lib where they can; its own default is without.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pandas_ta_classic as ta

from benchmarks.sides.indicators_frame import Frames


class PandasTa(Frames):
    """Plain functions: the batch interface (`df.ta.strategy`) starts processes, which costs more than 500 bars."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.talib = {"talib": True} if work["talib"] else {}

    def columns(self, frame: pd.DataFrame) -> pd.DataFrame:
        high, low, close, own = frame["high"], frame["low"], frame["close"], self.talib
        macd = ta.macd(close, fast=12, slow=26, signal=9, **own)
        bands = ta.bbands(close, length=20, std=2, **own)
        stoch = ta.stoch(high, low, close, k=14, d=3, smooth_k=3, **own)
        found = {
            "rsi_14": ta.rsi(close, length=14, **own),
            "macd": macd["MACD_12_26_9"],
            "macd_signal": macd["MACDs_12_26_9"],
            "macd_hist": macd["MACDh_12_26_9"],
            **{f"sma_{period}": ta.sma(close, length=period, **own) for period in (20, 50, 200)},
            **{f"ema_{period}": ta.ema(close, length=period, **own) for period in (12, 26, 50, 200)},
            "bb_upper": bands.iloc[:, 2],
            "bb_middle": bands.iloc[:, 1],
            "bb_lower": bands.iloc[:, 0],
            "atr_14": ta.atr(high, low, close, length=14, **own),
            "adx_14": ta.adx(high, low, close, length=14, **own)["ADX_14"],
            "stoch_k": stoch.iloc[:, 0],
            "stoch_d": stoch.iloc[:, 1],
            "obv": ta.obv(close, frame["volume"], **own),
        }
        return pd.DataFrame(found)


def open_side(work: Mapping[str, Any]) -> PandasTa:
    return PandasTa(work)
