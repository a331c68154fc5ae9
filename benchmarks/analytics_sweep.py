"""A sweep of 100 EMA crosses over 50 assets of hourly bars for two years, and vectorbt on the same work if installed.

The work: recursive averages (alpha = 2 / (span + 1)), long while fast is above slow, executed at the close of the next
bar, fee and slippage on each side, the total return of each pair on each asset. Total returns of both engines must be
equal to 1e-9. vectorbt is asked for nothing more (no Sharpe ratio, which ours works out as well), in chunks of pairs so
that it fits in memory; its compilation is not counted. Limit: our time over its time at most 1.
"""

import argparse
import importlib
import importlib.util
import json
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from collector.analytics.backtest.sweep import SweepRow, sweep

ASSETS, BARS = 50, 17_520
FAST = (5, 8, 10, 12, 15, 20, 24, 30, 36, 48)
SLOW = (60, 72, 96, 120, 144, 168, 200, 240, 300, 400)
FEE, SLIPPAGE_BPS = 0.001, 5.0
PAIRS_AT_ONCE = 10  # of vectorbt: its arrays for 100 pairs at once need several gigabytes
TARGET = 1.0
TOLERANCE = 1e-9


def make_closes() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    steps = rng.normal(0.00002, 0.006, (BARS, ASSETS))
    index = pd.date_range("2024-01-01 01:00", periods=BARS, freq="h", tz="UTC")
    return pd.DataFrame(
        100 * np.exp(np.cumsum(steps, axis=0)), index=index, columns=[f"a{n:02d}" for n in range(ASSETS)]
    )


def ours(closes: pd.DataFrame) -> tuple[SweepRow, ...]:
    return sweep(closes, FAST, SLOW, fee=FEE, slippage_bps=SLIPPAGE_BPS)


def theirs(closes: pd.DataFrame) -> pd.Series:
    """Return vectorbt's total returns; its index: fast span, recursive, slow span, recursive, asset."""
    vectorbt = importlib.import_module("vectorbt")
    pairs = [(fast, slow) for fast in FAST for slow in SLOW]
    found = []
    for first in range(0, len(pairs), PAIRS_AT_ONCE):
        some = pairs[first : first + PAIRS_AT_ONCE]
        fast, slow = (
            vectorbt.MA.run(closes, window=[pair[side] for pair in some], ewm=True, short_name=name)
            for side, name in enumerate(("fast", "slow"))
        )
        above, below = fast.ma_above(slow), fast.ma_below(slow)
        portfolio = vectorbt.Portfolio.from_signals(
            closes,
            above.vbt.signals.fshift(1),
            below.vbt.signals.fshift(1),
            fees=FEE,
            slippage=SLIPPAGE_BPS / 1e4,
            init_cash=100.0,
            freq="1h",
        )
        found.append(portfolio.total_return())
    return pd.concat(found)


def measure(work: Callable[[pd.DataFrame], object], closes: pd.DataFrame) -> tuple[float, object]:
    started = time.perf_counter()
    answer = work(closes)
    return time.perf_counter() - started, answer


def largest_difference(rows: tuple[SweepRow, ...], other: pd.Series) -> float:
    """Return the largest difference of two growths relative to the growth; both must have every pair and asset."""
    one = {(row.fast, row.slow, row.asset): row.total_return for row in rows}
    assert len(one) == len(other) == len(FAST) * len(SLOW) * ASSETS
    return max(abs(one[key[0], key[2], key[-1]] - value) / (1 + abs(value)) for key, value in other.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    closes = make_closes()
    works: dict[str, Callable[[pd.DataFrame], object]] = {"ours": ours}
    if importlib.util.find_spec("vectorbt"):
        works["vectorbt"] = theirs
        theirs(closes.iloc[:500])  # compiles
    best, answers = dict.fromkeys(works, float("inf")), {}
    for _ in range(options.rounds):  # interleaved, so that a slow moment of the machine hits both
        for name, work in works.items():
            seconds, answers[name] = measure(work, closes)
            best[name] = min(best[name], seconds)
    report: dict[str, object] = {"seconds": best, "target": TARGET}
    if "vectorbt" in works:
        report["ratio"] = best["ours"] / best["vectorbt"]
        report["largest_difference"] = largest_difference(answers["ours"], answers["vectorbt"])
        assert report["largest_difference"] < TOLERANCE, report
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{len(FAST) * len(SLOW)} pairs on {ASSETS} assets of {BARS} bars, best of {options.rounds}")
        for name, seconds in best.items():
            print(f"  {name:<9} {seconds:7.3f} s")
        ratio = report.get("ratio")
        compared = f"ours / vectorbt: {ratio:.3f}" if ratio else "vectorbt is not installed: nothing to compare with"
        print(f"  {compared}   target {TARGET}")
    return 0 if float(report.get("ratio", 0.0)) <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
