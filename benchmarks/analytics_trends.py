"""Trends against the bare numpy and pandas expressions: 300 series of 10 000 hourly bars, best of several rounds.

"bare" takes the same numbers of the same four windows from arrays without a hole: no check for what is missing, no
counts, no rows. Its volume profile is the cheaper one, a histogram of typical prices. Limit: 2 times, for whole series
and for series with holes (for which "bare" is still the one that could not do it).
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.scratch import Line, judge
from collector.analytics.bars import PARTS, BarPanel
from collector.analytics.breadth import market_index
from collector.analytics.trends import trends
from collector.records import Interval

SERIES, BARS = 300, 10_000
WINDOWS = {"7d": 168, "30d": 720, "90d": 2160, "1y": 8760}
A_YEAR = 365 * 24
LIMIT = 2.0
ROWS, AREA = 50, 0.7


def make_panel(seed: int) -> BarPanel:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.004, (BARS, SERIES)), axis=0))
    opened = np.vstack([np.full((1, SERIES), 100.0), close[:-1]])
    high = np.maximum(opened, close) * (1 + random.random((BARS, SERIES)) * 0.002)
    low = np.minimum(opened, close) * (1 - random.random((BARS, SERIES)) * 0.002)
    index = pd.date_range("2025-01-01", periods=BARS, freq="h", tz="UTC", unit="s")
    names = [f"asset-{number}" for number in range(SERIES)]
    parts = opened, high, low, close, random.random((BARS, SERIES)) * 1000
    frames = (pd.DataFrame(part, index=index, columns=names) for part in parts)
    return BarPanel(Interval.H1, **dict(zip(PARTS, frames, strict=True)))


def with_holes(panel: BarPanel, seed: int) -> BarPanel:
    """Return the panel without one bar in a hundred of every series."""
    kept = np.random.default_rng(seed).random((BARS, SERIES)) >= 0.01
    return replace(panel, **{part: getattr(panel, part).where(kept) for part in PARTS})


def bare(panel: BarPanel, bitcoin: pd.Series, market: pd.Series) -> list[object]:
    reach = max(WINDOWS.values()) + 50
    opened, high, low, close, volume = (getattr(panel, part).to_numpy() for part in PARTS)
    fast, slow = (panel.close.iloc[-reach:].rolling(bars).mean().to_numpy() for bars in (20, 50))
    above = np.sign(fast - slow)
    found: list[object] = [fast[-1], slow[-1], above[-1]]
    for bars in WINDOWS.values():
        closes = close[-bars - 1 :]
        found += [closes[0], closes[-1], closes[-1] / closes[0] - 1]
        found += bare_risk(opened[-bars:], high[-bars:], low[-bars:], closes)
        found += bare_line(np.log(closes), bars)
        found.append((above[-bars:] != above[-bars - 1 : -1])[::-1].argmax(axis=0))
        total = volume[-bars:].sum(axis=0)
        found += [total, total / volume[-2 * bars : -bars].sum(axis=0) - 1]
        found += bare_profile(high[-bars:], low[-bars:], closes[1:], volume[-bars:])
        for levels in (bitcoin.to_numpy()[-bars - 1 :], market.to_numpy()[-bars - 1 :]):
            found += bare_comovement(closes, levels)
    return found


def bare_risk(opened: np.ndarray, high: np.ndarray, low: np.ndarray, closes: np.ndarray) -> list[object]:
    spans, moves = np.log(high / low) ** 2, np.log(closes[1:] / opened) ** 2
    falls = closes / np.maximum.accumulate(closes, axis=0) - 1
    return [
        np.diff(np.log(closes), axis=0).std(axis=0, ddof=1) * np.sqrt(A_YEAR),
        np.sqrt(spans.mean(axis=0) / (4 * np.log(2)) * A_YEAR),
        np.sqrt((spans / 2 - (2 * np.log(2) - 1) * moves).mean(axis=0) * A_YEAR),
        falls[-1],
        falls.min(axis=0),
    ]


def bare_line(logs: np.ndarray, bars: int) -> list[object]:
    times = np.arange(bars + 1) - bars / 2
    slope = times @ logs / (times @ times)
    return [slope * 24, slope**2 * (times @ times) / ((logs - logs.mean(axis=0)) ** 2).sum(axis=0)]


def bare_profile(high: np.ndarray, low: np.ndarray, close: np.ndarray, volume: np.ndarray) -> list[object]:
    typical = (high + low + close) / 3
    found: list[object] = []
    for series in range(SERIES):
        by_row, edges = np.histogram(typical[:, series], bins=ROWS, weights=volume[:, series])
        largest = np.argsort(-by_row)
        held = largest[: np.searchsorted(np.cumsum(by_row[largest]), AREA * by_row.sum()) + 1]
        found.append((edges[largest[0]], edges[held.min()], edges[held.max() + 1]))
    return found


def bare_comovement(closes: np.ndarray, levels: np.ndarray) -> list[object]:
    returns, reference = closes[1:] / closes[:-1] - 1, levels[1:] / levels[:-1] - 1
    returns, reference = returns - returns.mean(axis=0), reference - reference.mean()
    shared = reference @ returns
    spread = reference @ reference
    return [shared / spread, shared / np.sqrt(spread * (returns**2).sum(axis=0))]


def measure(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    whole = make_panel(1)
    holed = with_holes(whole, 2)
    bitcoin = whole.close["asset-0"]
    market = market_index(whole.close, whole.close * np.arange(1, SERIES + 1))
    works: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(whole, bitcoin, market),
        "whole series": lambda: trends(whole, WINDOWS, bitcoin=bitcoin, market=market),
        "series with holes": lambda: trends(holed, WINDOWS, bitcoin=bitcoin, market=market),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(options.rounds):  # interleaved, so that a slow moment of the machine hits all three
        for name, work in works.items():
            best[name] = min(best[name], measure(work))
    print(f"{SERIES} series of {BARS} bars, {len(WINDOWS)} windows, best of {options.rounds}")
    for name, seconds in best.items():
        print(f"  {name:<18} {seconds * 1e3:8.1f} ms")
    return judge([Line(f"{name} / bare", best[name] / best["bare"], LIMIT, "x") for name in list(works)[1:]])


if __name__ == "__main__":
    raise SystemExit(main())
