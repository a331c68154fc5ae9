"""All standard indicators of 300 series of 500 bars: the whole history at once, and again when a bar has come.

When a bar has come every side recomputes from the 500 bars that it holds and keeps the newest: the collector too,
which stores no running state that a corrected bar would make wrong. Bare TA-Lib is the limit. The answer is the newest
value of each indicator of each series; libraries that start an average elsewhere are given what is left of that after
500 bars.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.asked import Asked
from benchmarks.harness import OURS, Comparison, Disagreement, Outcome, Reach, Side

BARE, FREQTRADE = "bare TA-Lib", "freqtrade"
PANDAS_TA, PANDAS_TA_TALIB, TA = "pandas-ta-classic", "pandas-ta-classic, talib=True", "ta"
SERIES, QUICK_SERIES, BARS = 300, 30, 500
CONFIGURATIONS = {
    OURS: "compute_many: 33 columns with pivots, swings, Fibonacci levels and warm-up; holes and still prices minded",
    BARE: "the talib calls under those columns on numpy arrays, swing search included, results kept",
    PANDAS_TA: "functions on columns, 19 indicators in a new frame; talib=False is its default",
    PANDAS_TA_TALIB: "the same handing over to TA-Lib where it can",
    TA: "its indicator classes, 18 indicators in a new frame",
    FREQTRADE: "IStrategy.advise_all_indicators with talib.abstract on frames, 19 indicators, as its strategy template",
}
# What different starts of a recursive average leave after 500 bars, relative; 1e-9 is rounding. (199/201)^500 is 0.7 %
# of the first difference, which is a few percent of the price.
LOOSE = {"ema_200": 2e-3, "ema_50": 1e-6}
TIGHT = 1e-7
LEAST = 1e-6  # of the typical size of a column: values near zero are compared with that


def agree(phase: str, answers: Mapping[str, Any]) -> None:
    """Raise Disagreement unless all sides have the same values under the names that they share with the limit."""
    wanted = answers[BARE]["last"]
    for side, answer in answers.items():
        for name, values in answer["last"].items():
            mine, theirs = np.array(values), np.array(wanted[name])
            scale = LEAST * float(np.abs(theirs).mean())
            if not np.allclose(mine, theirs, rtol=LOOSE.get(name, TIGHT), atol=max(scale, 1e-9)):
                worst = int(np.nanargmax(np.abs(mine - theirs)))
                raise Disagreement(f"{phase}: {name} of series {worst}: {BARE} {theirs[worst]}, {side} {mine[worst]}")


def measure(asked: Asked) -> Outcome:
    """Measure all libraries."""
    work = {"series": asked.size(SERIES, QUICK_SERIES), "bars": BARS}
    fast = Comparison(
        sides=[_side(OURS, "ours", work), _side(BARE, "talib", work)],
        phases={"batch": "the whole history", "incremental": "a bar has come"},
        rounds=asked.times(15, 3),
        warm_ups=2,
        agree=agree,
    ).measure()
    slow = Comparison(
        sides=[
            _side(OURS, "ours", work),
            _side(BARE, "talib", work),
            _side(FREQTRADE, "freqtrade", work, peer=True),
            _side(PANDAS_TA, "pandas_ta", {**work, "talib": False}, peer=True),
            _side(PANDAS_TA_TALIB, "pandas_ta", {**work, "talib": True}, peer=True),
            _side(TA, "ta", work, peer=True),
        ],
        phases={"batch_peers": "the whole history, all libraries"},
        rounds=asked.times(3),
        warm_ups=asked.size(1, 0),
        agree=agree,
    ).measure()
    batch, incremental, libraries = (*fast, *slow)
    return Outcome(
        title="Indicators",
        work=__doc__ or "",
        parts=[batch, incremental, libraries],
        reaches=[
            Reach(key="bare_batch", text="batch, ours / bare", value=batch.ratio(OURS, BARE), limit=1.3),
            Reach(
                key="bare_incremental",
                text="a bar has come, ours / bare",
                value=incremental.ratio(OURS, BARE),
                limit=1.3,
            ),
            *(
                Reach(
                    key=key,
                    text=f"batch, {name} / ours",
                    value=libraries.ratio(name, OURS),
                    limit=limit,
                    at_least=True,
                )
                for key, name, limit in (
                    ("pandas_ta", PANDAS_TA, 20),
                    ("pandas_ta_talib", PANDAS_TA_TALIB, 20),
                    ("ta", TA, 20),
                    ("freqtrade", FREQTRADE, 1),
                )
            ),
        ],
        configurations=CONFIGURATIONS,
        notes=[
            "The other libraries recompute the whole series when a bar has come, so their time is that of the batch.",
        ],
    )


def _side(name: str, module: str, work: Mapping[str, object], *, peer: bool = False) -> Side:
    module = f"benchmarks.sides.indicators_{module}"
    return Side(name=name, module=module, configuration=CONFIGURATIONS[name], work=work, peer=peer)
