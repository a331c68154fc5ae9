"""What each kind of signal is computed with: frozen, checked, and named by a short hash that a stored row carries.

A rule is one kind with one set of parameters (an EMA pair is a rule of its own), so configuring another pair changes
no other rule's hash.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

EMA_CROSS: Final = "ema_cross"
RSI: Final = "rsi"
MACD: Final = "macd"
BREAKOUT: Final = "breakout"
FUNDING: Final = "funding"
KINDS = (EMA_CROSS, RSI, MACD, BREAKOUT, FUNDING)

# Raised when the same bars and parameters give another signal than before: rows of two versions are never compared.
VERSIONS = {EMA_CROSS: 1, RSI: 1, MACD: 1, BREAKOUT: 1, FUNDING: 1}

Values: TypeAlias = dict[str, int | float]
SHORTEST_MEMORY, LONGEST_MEMORY = 2, 50
LONGEST_PERIOD = 1000  # bars; a rule's window then stays below 51 000 bars
RSI_TOP = 100
FEWEST_SETTLEMENTS = 5  # fewer say nothing about a deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaCross:
    """A fast and a slow exponential average: bullish while the fast one is above.

    `confirmation`: bars in a row that must agree before the state changes; 1 is the crossing bar itself.
    `hysteresis`: how far apart the averages must be, as a fraction of the mean absolute change of the close per bar
    over the slow period (an average range that needs closes alone). `memory`: an average looks back that many times
    its period.
    """

    pairs: tuple[tuple[int, int], ...] = ((12, 26), (50, 200))
    confirmation: int = 1
    hysteresis: float = 0.1
    memory: int = 5

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, a line each."""
        if not self.pairs or len(set(self.pairs)) != len(self.pairs):
            yield "ema_cross.pairs must name at least one pair of periods, and each pair once"
        for fast, slow in self.pairs:
            if not 1 <= fast < slow <= LONGEST_PERIOD:
                yield f"ema_cross.pairs: ({fast}, {slow}) must be 1 <= fast < slow <= {LONGEST_PERIOD}"
        yield from _line_problems(EMA_CROSS, self.confirmation, self.hysteresis, self.memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rsi:
    """Wilder's relative strength index: overbought above one level, oversold below another, else neutral."""

    period: int = 14
    oversold: float = 30.0
    overbought: float = 70.0
    memory: int = 5

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, a line each."""
        if not 2 <= self.period <= LONGEST_PERIOD:  # noqa: PLR2004 - one change alone is all gain or all loss
            yield f"rsi.period must be 2 to {LONGEST_PERIOD}, not {self.period}"
        if not 0 < self.oversold < self.overbought < RSI_TOP:
            yield f"rsi: 0 < oversold < overbought < 100 must hold, not {self.oversold} and {self.overbought}"
        yield from _memory_problems(RSI, self.memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Macd:
    """The difference of two exponential averages against its own average: bullish while above.

    `confirmation`, `hysteresis` and `memory` as in `EmaCross`; the band is about the histogram.
    """

    fast: int = 12
    slow: int = 26
    signal: int = 9
    confirmation: int = 1
    hysteresis: float = 0.05
    memory: int = 5

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, a line each."""
        if not 1 <= self.fast < self.slow <= LONGEST_PERIOD:
            yield f"macd: 1 <= fast < slow <= {LONGEST_PERIOD} must hold, not {self.fast} and {self.slow}"
        if not 2 <= self.signal <= LONGEST_PERIOD:  # noqa: PLR2004 - the mean of one value is that value
            yield f"macd.signal must be 2 to {LONGEST_PERIOD}, not {self.signal}"
        yield from _line_problems(MACD, self.confirmation, self.hysteresis, self.memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakout:
    """Donchian's channel: a close beyond the highs or lows of the `lookback` bars before it."""

    lookback: int = 20

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, a line each."""
        if not 2 <= self.lookback <= LONGEST_PERIOD:  # noqa: PLR2004 - one bar is no channel
            yield f"breakout.lookback must be 2 to {LONGEST_PERIOD} bars, not {self.lookback}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingExtremes:
    """A settled funding rate far from those before it.

    `lookback`: settlements before it that say what is usual (90 are 30 days of 8 hours). `threshold`: deviations.
    `floor`: the deviation is never taken smaller. Venues settle at a constant base rate (0.0001) for weeks; without a
    floor the first other rate would be infinitely far from it.
    """

    lookback: int = 90
    threshold: float = 2.0
    floor: float = 0.00005

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, a line each."""
        if not FEWEST_SETTLEMENTS <= self.lookback <= LONGEST_PERIOD:
            yield f"funding.lookback must be {FEWEST_SETTLEMENTS} to {LONGEST_PERIOD}, not {self.lookback}"
        if not 0 < self.threshold <= RSI_TOP:
            yield f"funding.threshold must be above 0 and at most 100 deviations, not {self.threshold}"
        if not 0 < self.floor < 1:
            yield f"funding.floor must be a rate between 0 and 1, not {self.floor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalParameters:
    """The kinds of signals and their parameters; None: this kind is off."""

    ema_cross: EmaCross | None = field(default_factory=EmaCross)
    rsi: Rsi | None = field(default_factory=Rsi)
    macd: Macd | None = field(default_factory=Macd)
    breakout: Breakout | None = field(default_factory=Breakout)
    funding: FundingExtremes | None = field(default_factory=FundingExtremes)

    def problems(self) -> list[str]:
        """Return what is wrong, a line each; empty: nothing."""
        kinds = (self.ema_cross, self.rsi, self.macd, self.breakout, self.funding)
        return [problem for kind in kinds if kind is not None for problem in kind.problems()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind with one set of parameters, and what its directions are called."""

    kind: str
    name: str
    parameters: Values
    states: dict[int, str]  # direction (-1, 0, 1) -> state
    version: int
    parameter_hash: str


def rule(kind: str, name: str, parameters: Values, states: dict[int, str]) -> Rule:
    """Return a rule with its version and its hash."""
    version = VERSIONS[kind]
    hashed = parameter_hash(kind, parameters)
    return Rule(kind=kind, name=name, parameters=parameters, states=states, version=version, parameter_hash=hashed)


def parameter_hash(kind: str, parameters: Values) -> str:
    """Return the first 16 hexadecimal digits of SHA-256 over kind and parameters as canonical JSON.

    Canonical: names sorted, no spaces, and a whole float is written as the integer it is (2.0 and 2 are one number).
    """
    plain = {name: int(value) if value == int(value) else value for name, value in parameters.items()}
    text = json.dumps({"kind": kind, "parameters": plain}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checked(parameters: SignalParameters) -> SignalParameters:
    """Return the parameters; ValueError with one line if something is wrong with them."""
    problems = parameters.problems()
    if problems:
        raise ValueError("; ".join(problems))
    return parameters


def _line_problems(kind: str, confirmation: int, hysteresis: float, memory: int) -> Iterator[str]:
    if not 1 <= confirmation <= LONGEST_PERIOD:
        yield f"{kind}.confirmation must be 1 to {LONGEST_PERIOD} bars, not {confirmation}"
    if not 0 <= hysteresis <= RSI_TOP:
        yield f"{kind}.hysteresis must be 0 to 100 average changes, not {hysteresis}"
    yield from _memory_problems(kind, memory)


def _memory_problems(kind: str, memory: int) -> Iterator[str]:
    if not SHORTEST_MEMORY <= memory <= LONGEST_MEMORY:
        yield f"{kind}.memory must be {SHORTEST_MEMORY} to {LONGEST_MEMORY} times the period, not {memory}"
