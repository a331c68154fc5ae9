"""Panels of bars for the tests of signals, views and outcomes: walks with a fixed seed, and closes given by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from collector.analytics.bars import PARTS, BarPanel
from collector.analytics.signals import Breakout, EmaCross, FundingExtremes, Macd, Rsi, SignalParameters
from collector.records import Interval

START = datetime(2026, 1, 1, tzinfo=UTC)
SHORT = SignalParameters(
    ema_cross=EmaCross(pairs=((3, 6), (4, 9)), confirmation=2, hysteresis=0.2, memory=3),
    rsi=Rsi(period=4, memory=3),
    macd=Macd(fast=3, slow=6, signal=3, memory=3),
    breakout=Breakout(lookback=6),
    funding=FundingExtremes(lookback=6, threshold=1.5),
)


def only(**kinds):
    """Parameters of which nothing but these kinds is on."""
    return SignalParameters(
        **{"ema_cross": None, "rsi": None, "macd": None, "breakout": None, "funding": None, **kinds}
    )


def ends(bars, interval=Interval.H1):
    return pd.date_range(START + interval.width, periods=bars, freq=interval.width)


def panel(close, *, high=None, low=None, opens=None, names=None, interval=Interval.H1):
    """A panel from closes (bars, or bars by series); highs and lows are the closes unless given."""
    close = np.asarray(close, float)
    close = close[:, None] if close.ndim == 1 else close
    names = names or [f"okx:C{number}-USDT:perp" for number in range(close.shape[1])]
    index = ends(len(close), interval)

    def frame(values):
        values = close if values is None else np.asarray(values, float)
        return pd.DataFrame(values.reshape(close.shape), index=index, columns=names)

    return BarPanel(interval, frame(opens), frame(high), frame(low), frame(None), frame(np.ones_like(close)))


def walk(bars, series=1, *, seed=1, interval=Interval.H1, names=None):
    """A panel of random walks: 1 % a bar, highs and lows around open and close."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, (bars, series)), axis=0))
    opens = np.vstack([np.full((1, series), 100.0), close[:-1]])
    high = np.maximum(opens, close) * (1 + np.abs(random.normal(0, 0.003, close.shape)))
    low = np.minimum(opens, close) * (1 - np.abs(random.normal(0, 0.003, close.shape)))
    return panel(close, high=high, low=low, opens=opens, names=names, interval=interval)


def funding_of(bars, *, every=4, seed=2):
    """Settled rates of the panel's series, each `every` bars."""
    index = bars.close.index[every - 1 :: every]
    rates = np.random.default_rng(seed).normal(0.0001, 0.0002, (len(index), len(bars.close.columns)))
    return pd.DataFrame(rates, index=index, columns=bars.close.columns)


def changed(bars, change):
    """The panel with every frame passed through `change`."""
    return replace(bars, **{part: change(getattr(bars, part)) for part in PARTS})


def without(bars, row, column=0):
    """The panel with one bar missing."""

    def drop(frame):
        frame = frame.copy()
        frame.iloc[row, column] = np.nan
        return frame

    return changed(bars, drop)
