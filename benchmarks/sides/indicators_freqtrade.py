"""freqtrade's path: a strategy whose `populate_indicators` calls talib.abstract on the frame, as its template does.

`advise_all_indicators` runs it for all pairs, as its backtests do; a bot that trades recomputes each pair's whole frame
when a bar has come, which is the same call.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import talib.abstract as ta
from freqtrade.enums import CandleType, RunMode
from freqtrade.strategy import IStrategy

from benchmarks.sides.indicators_frame import Frames


class Standard(IStrategy):  # type: ignore[misc]
    """The same indicators as the other sides."""

    timeframe = "1h"
    minimal_roi: Mapping[str, float] = {"0": 1}
    stoploss = -0.1

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: Any) -> pd.DataFrame:
        del metadata
        macd, bands = ta.MACD(dataframe, 12, 26, 9), ta.BBANDS(dataframe, 20, 2.0, 2.0)
        stoch = ta.STOCH(dataframe, 14, 3, 0, 3, 0)
        dataframe["rsi_14"] = ta.RSI(dataframe, 14)
        dataframe["macd"], dataframe["macd_signal"] = macd["macd"], macd["macdsignal"]
        dataframe["macd_hist"] = macd["macdhist"]
        for period in (20, 50, 200):
            dataframe[f"sma_{period}"] = ta.SMA(dataframe, period)
        for period in (12, 26, 50, 200):
            dataframe[f"ema_{period}"] = ta.EMA(dataframe, period)
        dataframe["bb_upper"], dataframe["bb_middle"] = bands["upperband"], bands["middleband"]
        dataframe["bb_lower"] = bands["lowerband"]
        dataframe["atr_14"] = ta.ATR(dataframe, 14)
        dataframe["adx_14"] = ta.ADX(dataframe, 14)
        dataframe["stoch_k"], dataframe["stoch_d"] = stoch["slowk"], stoch["slowd"]
        dataframe["obv"] = ta.OBV(dataframe)
        return dataframe

    def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: Any) -> pd.DataFrame:
        del metadata
        return dataframe

    def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: Any) -> pd.DataFrame:
        del metadata
        return dataframe


class Freqtrade(Frames):
    """All pairs handed over at once."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        settings = {"runmode": RunMode.BACKTEST, "candle_type_def": CandleType.SPOT, "stake_currency": "USDT"}
        self.strategy = Standard(settings)
        self.pairs = {f"A{number}/USDT": frame for number, frame in enumerate(self.frames)}

    def run(self, _phase: str) -> None:
        self.found = list(self.strategy.advise_all_indicators(self.pairs).values())

    def answer(self, phase: str) -> dict[str, Any]:
        inputs = list(self.frames[0].columns)
        self.found = [frame.drop(columns=inputs) for frame in self.found]
        return super().answer(phase)


def open_side(work: Mapping[str, Any]) -> Freqtrade:
    return Freqtrade(work)
