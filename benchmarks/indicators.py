"""All standard indicators of 300 series of 500 bars: the whole history at once, and again when a bar has come.

When a bar has come every side recomputes from the 500 bars that it holds and keeps the newest: the collector too,
which stores no running state that a corrected bar would make wrong. Bare TA-Lib is the limit. The answer is every
column of every series, whole; of libraries that start an average elsewhere the newest 100 bars, less what is left of
that start by then. Pivot and Fibonacci levels, which only the collector has, are compared with their formulas.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.asked import Asked
from benchmarks.harness import OURS, Comparison, Disagreement, Outcome, Reach, Side
from benchmarks.sides.made_bars import WIDTH, newest, series, summed
from benchmarks.sides.made_levels import PIVOTS, RATIOS, levels

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
# What every library has. Swings are the collector's and those of the bare calls, other levels the collector's own.
NAMES = (
    *("rsi_14", "macd", "macd_signal", "macd_hist", "sma_20", "sma_50", "sma_200", "ema_12", "ema_26", "ema_50"),
    *("ema_200", "bb_upper", "bb_middle", "bb_lower", "atr_14", "adx_14", "stoch_k", "stoch_d", "obv"),
)
SWINGS, LEVELS = ("swing_high", "swing_low"), (*PIVOTS, *RATIOS)
CLAIMED = {
    OURS: {*NAMES, *SWINGS, *LEVELS},
    BARE: {*NAMES, *SWINGS, "swing_order"},
    PANDAS_TA: {*NAMES},
    PANDAS_TA_TALIB: {*NAMES},
    TA: {*NAMES} - {"stoch_d"},
    FREQTRADE: {*NAMES},
}
# The collector and freqtrade call TA-Lib as the limit does: all bars, missing values in the same places, and nothing
# but rounding between them.
SAME_CALLS, EXACT = (OURS, FREQTRADE), 1e-9
# The pandas libraries start recursive averages elsewhere (at the first bar, or at the mean of the first ones), so they
# are compared over the newest 100 bars only. What is left there of the start: of an average of n bars it is
# ((n - 1) / (n + 1))^400 of the first difference, a few percent of the price: 2 % of that for 200 bars, 1e-7 for 50.
LOOSE = {"ema_200": 2e-3, "ema_50": 1e-6}
TIGHT = 1e-7
LEAST = 1e-9  # sizes below say nothing


class Agreement:
    """Compares every column that a side claims with the bare calls, and levels with their formulas."""

    def __init__(self, work: Mapping[str, int]) -> None:
        self._work = dict(work)
        made = [levels(bars, WIDTH) for bars in series(work["series"], work["bars"])]
        # The whole columns, and the newest value alone.
        self._levels = {
            kept: {name: summed([one[name][-kept:] for one in made]) for name in LEVELS} for kept in (work["bars"], 1)
        }

    def __call__(self, phase: str, answers: Mapping[str, Any]) -> None:
        """Raise Disagreement unless every side has all it claims of every series, and the values are right."""
        kept = newest(phase, self._work["bars"])
        wanted = {**answers[BARE]["columns"], **self._levels[kept]}
        for side, answer in answers.items():
            columns = answer["columns"]
            if {*columns} != CLAIMED[side]:
                raise Disagreement(f"{phase}: {side} lacks {CLAIMED[side] - {*columns}} of the columns it claims")
            for name, found in columns.items():
                if found["bars"] != [kept] or len(found["last"]) != self._work["series"]:
                    raise Disagreement(f"{phase}: {side} has {name} of {len(found['last'])} x {found['bars']} bars")
                _same(f"{phase}: {side}, {name}", name, found, wanted[name], exact=side in SAME_CALLS)


def _same(what: str, name: str, mine: Mapping[str, Any], theirs: Mapping[str, Any], *, exact: bool) -> None:
    gaps, keys, most = "missing_tail", ("tail", "last"), LOOSE.get(name, TIGHT)
    if exact:
        gaps, keys, most = "missing", ("whole", "tail", "last"), EXACT
    if mine[gaps] != theirs[gaps]:
        raise Disagreement(f"{what}: values are missing elsewhere than with {BARE} or by the formula")
    for key in keys:
        pairs = zip(mine[key], theirs[key], theirs["size"], strict=True)
        for number, (one, other, size) in enumerate(pairs):
            if not abs(one - other) <= most * max(size, LEAST):
                raise Disagreement(f"{what} of series {number}, {key}: {one}; {BARE} or formula {other}")


def measure(asked: Asked) -> Outcome:
    """Measure all libraries."""
    agree = Agreement(work := {"series": asked.size(SERIES, QUICK_SERIES), "bars": BARS})
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
