"""What is told about states: a signal where one changes, the state itself, and by name where nothing can be told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from collector.analytics.signals.parameters import Values
from collector.records import Interval

WARM_UP = "warm_up"  # not enough history yet
HOLE = "hole"  # a bar or a settlement is missing inside the window


class Named(Protocol):
    """A signal as it is stored: the fields that name it, and where it points."""

    @property
    def subject(self) -> str: ...
    @property
    def interval(self) -> Interval: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def bar_end(self) -> datetime: ...
    @property
    def direction(self) -> int: ...
    @property
    def parameter_hash(self) -> str: ...
    @property
    def version(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A state that changed at a closed bar. Natural key: subject, interval, name, bar_end, parameter_hash, version.

    `direction`: 1 speaks for rising prices, -1 for falling ones, 0 for neither; `state` is its name. `strength` in
    [-1, 1] has the direction's sign and is 0 without one; each kind's module says what 1 means. `price`: this bar's
    close, None if the bar is missing (funding alone goes without). `window_since` to `window_until`: the first and the
    last input used, `bars` of them, both states included; for bars their ends, for funding the settlements' times.
    `inputs_hash`: SHA-256 over those inputs as little-endian doubles (first 16 hexadecimal digits).
    """

    subject: str
    interval: Interval
    kind: str
    name: str
    bar_end: datetime
    direction: int
    state: str
    strength: float
    price: float | None
    window_since: datetime
    window_until: datetime
    bars: int
    parameter_hash: str
    version: int
    parameters: Values = field(hash=False)
    inputs_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalState:
    """The state of one rule for one series at `bar_end`, the last bar at which it is known.

    `since`: the bar at which it began; where `since_known` is False it may be older, the bars before cannot tell.
    `changed_bars`: bars from `since` to `bar_end`.
    """

    subject: str
    interval: Interval
    kind: str
    name: str
    bar_end: datetime
    direction: int
    state: str
    strength: float
    price: float | None
    since: datetime
    since_known: bool
    changed_bars: int
    parameter_hash: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalGap:
    """Bars at which no signal of a rule can be told, first to last: its window is not whole.

    `reason`: `warm_up` (the series is too young) or `hole` (an input is missing).
    """

    subject: str
    interval: Interval
    kind: str
    name: str
    since: datetime
    until: datetime
    bars: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that one panel says: changes, present states, and where nothing can be told.

    It speaks of bars that end from `first` to `until`; None: there were none.
    """

    interval: Interval
    signals: Sequence[Signal]
    states: Sequence[SignalState]
    skipped: Sequence[SignalGap]
    rules: frozenset[tuple[str, str, str, int]]  # subject, name, parameter_hash, version of all that was looked at
    first: datetime | None
    until: datetime | None
