"""Derived metrics against bare pandas: 300 series of 10 000 minutes, best of several rounds, as a ratio.

Bare is what a notebook would hold for the same numbers (slope, relative slope, mean, deviation and z-score over the
last 20 rows and over 5, 15 and 60 minutes): rolling means and deviations of the frame, and the slope from rolling
means of minute times value. It knows nothing of rounding: beside it the largest error of both slopes is printed,
against numpy.polyfit, on some windows of values of a billion. Also printed, without a limit: the same with a fifth of
the minutes missing, and the newest rows alone of all series from the history they need, as in each cycle.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from collector.analytics.derived import DerivedParameters, derive, derive_history, history_needed

SERIES, ROWS = 300, 10_000
TARGET = 2.0
PARAMETERS = DerivedParameters()


def make_frame(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, (ROWS, SERIES)), axis=0))
    index = pd.date_range("2026-01-01", periods=ROWS, freq="min", tz="UTC")
    return pd.DataFrame(values, index=index, columns=[f"okx:A{number}-USDT:perp" for number in range(SERIES)])


def bare(frame: pd.DataFrame) -> list[list[pd.DataFrame]]:
    minutes = pd.Series(np.arange(len(frame), dtype=float), index=frame.index)
    found = []
    for window in (PARAMETERS.window_size, *(f"{length}min" for length in PARAMETERS.intervals)):
        ends = {} if isinstance(window, int) else {"closed": "both"}
        mean, deviation = frame.rolling(window, **ends).mean(), frame.rolling(window, **ends).std()
        middle, spread = minutes.rolling(window, **ends).mean(), minutes.rolling(window, **ends).var(ddof=0)
        product = frame.mul(minutes, axis=0).rolling(window, **ends).mean()
        gradient = (product - mean.mul(middle, axis=0)).div(spread, axis=0)
        found.append([gradient, gradient / mean, mean, deviation, (frame - mean) / deviation])
    return found


def ours(frame: pd.DataFrame) -> object:
    return derive_history({"price": frame}, PARAMETERS)


def newest(frame: pd.DataFrame) -> object:
    return derive({"price": frame.iloc[-history_needed(PARAMETERS) :]}, PARAMETERS)


def measure(work: Callable[[pd.DataFrame], object], frame: pd.DataFrame) -> float:
    started = time.perf_counter()
    result = work(frame)
    taken = time.perf_counter() - started
    del result  # giving the memory back is nobody's work
    return taken


def errors() -> tuple[float, float]:
    """Return the largest relative error of the slopes over 20 rows, ours and bare, where values are large."""
    frame = make_frame(7).iloc[:2000, :5] * 1e-3 + 1e9
    found, plain = derive_history({"price": frame}, PARAMETERS)[0].gradient, bare(frame)[0][0]
    worst = [0.0, 0.0]
    for end in range(19, len(frame), 50):
        rows = frame.to_numpy()[end - 19 : end + 1]
        exact = np.polyfit(np.arange(20) - 9.5, rows - rows[0], 1)[0]
        for which, numbers in enumerate((found, plain)):
            wrong = np.abs(numbers.to_numpy()[end] - exact).max() / np.abs(exact).max()
            worst[which] = max(worst[which], float(wrong))
    return worst[0], worst[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    frame = make_frame(1)
    holed = frame.mask(np.random.default_rng(2).random(frame.shape) < 0.2)
    works = {
        "bare": (bare, frame),
        "derived": (ours, frame),
        "bare, holes": (bare, holed),
        "derived, holes": (ours, holed),
        "newest rows": (newest, frame),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(options.rounds):  # interleaved, so that a slow moment of the machine hits all
        for name, (work, given) in works.items():
            best[name] = min(best[name], measure(work, given))
    ratio, ratio_holes = best["derived"] / best["bare"], best["derived, holes"] / best["bare, holes"]
    if options.json:
        print(json.dumps({"seconds": best, "ratio": ratio, "ratio_holes": ratio_holes, "target": TARGET}))
    else:
        print(f"{SERIES} series of {ROWS} minutes, {len(PARAMETERS.windows)} windows, best of {options.rounds}")
        for name, seconds in best.items():
            print(f"  {name:<15} {seconds * 1e3:8.1f} ms  {seconds / SERIES * 1e6:8.1f} us a series")
        print("  largest error of a slope at 1e9: derived {:.1e}, bare {:.1e}".format(*errors()))
        print(f"  derived / bare: {ratio:.2f}   target {TARGET}   with holes {ratio_holes:.2f}")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
