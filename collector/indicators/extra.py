"""Further TA-Lib functions by name and parameters from the configuration; checked when they are loaded, pure.

Names of the results: the function and all its parameters in TA-Lib's order, as `cci_20` or `ultosc_7_14_28`; a function
with several results adds TA-Lib's name of each, as `aroon_14_aroondown`. Inputs are TA-Lib's defaults (the close where
it takes one series). A hole in the bars ends a stretch here too.

Refused, because the answer depends on where the bars begin and not on the market: running totals since the first bar
(AD, VWAP, ...) and functions that return an array index. OBV is a standard column. MAVP needs a series of periods.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import talib
from talib import abstract

from collector.indicators.compute import LOOKBACK, Bars, stretches_of
from collector.indicators.stretch import Columns, Floats

_FUNCTION: Any = abstract.Function  # type: ignore[attr-defined]  # the package's own stubs leave it out
_KNOWN: list[str] = talib.get_functions()  # type: ignore[no-untyped-call]

TOTALS = frozenset({"AD", "CUMSUM", "NVI", "OBV", "PVI", "PVT", "VWAP", "WAD"})
INDEXES = frozenset({"MAXINDEX", "MININDEX", "MINMAXINDEX"})

# Bars after which recursive averages of the largest period have forgotten where they began: ((p-1)/p)^(28p) = e^-28
# = 7e-13 for Wilder's, less for the others. Periods that need more history than this limit are refused.
MEMORY = 28
MAX_HISTORY = 20_000

_SAMPLE_BARS = 64  # TA-Lib checks parameters before it looks at the length


@dataclass(frozen=True, slots=True)
class ExtraFunction:
    """A checked TA-Lib function with its parameters."""

    function: str
    parameters: Mapping[str, float]  # all of them, in TA-Lib's order
    outputs: tuple[str, ...]  # names of the results in `extra`
    history: int  # bars before the first wanted one, for the same value as from the whole history


def load_extra(wanted: Iterable[tuple[str, Mapping[str, float]]]) -> tuple[ExtraFunction, ...]:
    """Check functions and parameters; parameters not given have TA-Lib's defaults.

    Raises ValueError naming the function or parameter, its value and what can be used instead.
    """
    loaded: dict[tuple[str, ...], ExtraFunction] = {}
    for name, parameters in wanted:
        extra = _load_one(name.upper(), parameters)
        if extra.outputs in loaded:
            raise ValueError(f"{extra.function}: the same parameters are given twice ({', '.join(extra.outputs)})")
        loaded[extra.outputs] = extra
    return tuple(loaded.values())


def compute_extra(bars: Bars, functions: Sequence[ExtraFunction]) -> Columns:
    """Return a float column per output of `functions`; NaN until warm, and where a volume is needed but not known."""
    columns: Columns = {}
    stretches = stretches_of(bars.open_time, bars.width)
    for extra in functions:
        for name in extra.outputs:
            columns[name] = np.full(len(bars), np.nan)
        for start, stop in stretches:
            for name, values in zip(extra.outputs, _call(extra, _inputs(bars, start, stop)), strict=True):
                columns[name][start:stop] = values
    return columns


def _load_one(name: str, given: Mapping[str, float]) -> ExtraFunction:
    if name not in _KNOWN:
        raise ValueError(f"{name}: TA-Lib has no such function{_near(name, _KNOWN)}")
    if name in TOTALS | INDEXES or name == "MAVP":
        reason = "needs a series of periods" if name == "MAVP" else "depends on where the bars begin"
        raise ValueError(f"{name}: cannot be used, its value {reason}; remove it (obv is a standard column)")
    function = _FUNCTION(name)
    parameters: dict[str, float] = {}
    for key, value in function.parameters.items():
        parameters[key] = _fitting(name, key, given.get(key, value), value)
    for key in given:
        if key not in parameters:
            choices = f"; it takes {', '.join(parameters)}" if parameters else "; it takes no parameters"
            raise ValueError(f"{name}: no parameter {key!r}{_near(key, list(parameters)) or choices}")
    extra = ExtraFunction(name, parameters, _output_names(name, parameters, function.output_names), 0)
    _try_out(extra)
    periods = [int(value) for value in parameters.values() if isinstance(value, int)]
    history = max(LOOKBACK, _FUNCTION(name, **parameters).lookback + MEMORY * max(periods, default=0))
    if history > MAX_HISTORY:
        raise ValueError(
            f"{name}: needs {history} bars of history, at most {MAX_HISTORY} are read; shorten its periods"
        )
    return ExtraFunction(name, parameters, extra.outputs, history)


def _try_out(extra: ExtraFunction) -> None:
    """Call the function on a sample; raise ValueError with TA-Lib's words when it refuses the parameters.

    It has no class of its own for that: a parameter out of range is a bare `Exception` (its return code 2), one beyond
    a C long an OverflowError. Subclasses of Exception mean something else and go on as they are.
    """
    try:
        _call(extra, _sample())
    except Exception as failure:
        if type(failure) not in (Exception, OverflowError):
            raise
        values = ", ".join(f"{key}={value}" for key, value in extra.parameters.items())
        raise ValueError(f"{extra.function}({values}): TA-Lib refuses these parameters: {failure}") from failure


def _fitting(function: str, key: str, value: float, default: float) -> float:
    """Return `value` as the type TA-Lib wants: whole numbers where its default is one."""
    if not isinstance(default, int):
        if not math.isfinite(value):
            raise ValueError(f"{function}: parameter {key!r} must be a finite number, not {value}")
        return float(value)
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"{function}: parameter {key!r} must be a whole number, not {value}")
    return int(value)


def _output_names(name: str, parameters: Mapping[str, float], outputs: Sequence[str]) -> tuple[str, ...]:
    stem = "_".join([name.lower(), *(f"{value:g}" for value in parameters.values())])
    return (stem,) if len(outputs) == 1 else tuple(f"{stem}_{output}" for output in outputs)


def _call(extra: ExtraFunction, inputs: Mapping[str, Floats]) -> Iterator[Floats]:
    result: Any = _FUNCTION(extra.function)(dict(inputs), **extra.parameters)
    return iter(result if isinstance(result, (list, tuple)) else [result])


def _inputs(bars: Bars, start: int, stop: int) -> dict[str, Floats]:
    names = ("open", "high", "low", "close", "volume")
    return {name: getattr(bars, name)[start:stop] for name in names}


def _sample() -> dict[str, Floats]:
    close = np.arange(100.0, 100.0 + _SAMPLE_BARS)
    return {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": close}


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
