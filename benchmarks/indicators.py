"""Indicators against bare TA-Lib: 300 series of 500 bars, best of several rounds, as ratios.

Prints the time of the TA-Lib calls that the standard columns rest on and nothing else ("bare"; the last three of them
find the swing), of our TA-Lib columns ("part": the same work without the swing, with stretches, OBV and still prices),
and of every standard column with pivot levels, swings and warm-up ("all"). The target is 1.5 times bare.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import talib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not only with -m

from collector.indicators.compute import Bars, Series, compute_many
from collector.indicators.levels import SWING_LOOKBACK
from collector.indicators.stretch import on_balance_volume, talib_columns

SERIES, BARS, WIDTH = 300, 500, 3600
TARGET = 1.5


def make_series(seed: int) -> Bars:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, BARS)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1 + rng.random(BARS) * 0.002)
    low = np.minimum(opened, close) * (1 - rng.random(BARS) * 0.002)
    times = 1_760_000_400 // WIDTH * WIDTH + np.arange(BARS, dtype=np.int64) * WIDTH
    return Bars(WIDTH, times, opened, high, low, close, rng.random(BARS) * 1000)


def bare(bars: Bars) -> None:
    high, low, close = bars.high, bars.low, bars.close
    talib.RSI(close, 14)
    talib.MACD(close, 12, 26, 9)
    for period in (20, 50, 200):
        talib.SMA(close, period)
    for period in (12, 26, 50, 200):
        talib.EMA(close, period)
    talib.BBANDS(close, 20, 2.0, 2.0)
    talib.ATR(high, low, close, 14)
    talib.ADX(high, low, close, 14)
    talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    talib.OBV(close, bars.volume)
    talib.MAX(high, SWING_LOOKBACK)
    talib.MIN(low, SWING_LOOKBACK)
    talib.AROONOSC(high, low, SWING_LOOKBACK - 1)


def part(bars: Bars) -> None:
    talib_columns(bars.high, bars.low, bars.close)
    on_balance_volume(bars.close, bars.volume, [(0, BARS)], (0, BARS))


def each(work: Callable[[Bars], None]) -> Callable[[list[Bars]], None]:
    def run(series: list[Bars]) -> None:
        for bars in series:
            work(bars)

    return run


def everything(series: list[Bars]) -> None:
    for _ in compute_many(Series(bars) for bars in series):
        pass


def measure(work: Callable[[list[Bars]], None], series: list[Bars]) -> float:
    started = time.perf_counter()
    work(series)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    series = [make_series(seed) for seed in range(SERIES)]
    works = {"bare": each(bare), "part": each(part), "all": everything}
    best = dict.fromkeys(works, float("inf"))
    for _ in range(options.rounds):  # interleaved, so that a slow moment of the machine hits all three
        for name, work in works.items():
            best[name] = min(best[name], measure(work, series))
    ratio_part, ratio_all = best["part"] / best["bare"], best["all"] / best["bare"]
    if options.json:
        print(json.dumps({"seconds": best, "ratio_part": ratio_part, "ratio_all": ratio_all, "target": TARGET}))
    else:
        print(f"{SERIES} series of {BARS} bars, best of {options.rounds}")
        for name, seconds in best.items():
            print(f"  {name:<5} {seconds * 1e3:8.2f} ms  {seconds / SERIES * 1e6:7.1f} us a series")
        print(f"  TA-Lib columns / bare: {ratio_part:.2f}   all columns / bare: {ratio_all:.2f}   target {TARGET}")
    return 0 if ratio_all <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
