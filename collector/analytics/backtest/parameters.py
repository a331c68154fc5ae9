"""The parameters of a backtest, checked when they are made; together with data and code they name its result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from collector.analytics.backtest.market import BacktestRefused

Rebalance = Literal["bar", "1d", "1w", "1M", "once"]
RELATIVE_SLIPPAGE = 1e-4  # one basis point
_FLOATS = ("fee", "slippage_bps", "minimum_coverage", "initial", "max_gross")


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkForward:
    """Fit anew every `step` bars on the `train` bars before; needs a strategy with `fit`."""

    train: int
    step: int

    def __post_init__(self) -> None:
        if self.train < 1 or self.step < 1:
            raise BacktestRefused("walk-forward: train and step are one bar or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestParameters:
    """What is asked of a backtest.

    The first decision falls on the first bar that ends at or after `start`, the last bar ends at or before `end`; bars
    before `start` are known to the strategy (its warm-up). `fee` is a fraction of the traded value, `slippage_bps` the
    distance from the bar's price in hundredths of a percent, always against us. `rebalance`: a decision at the last bar
    of each UTC day, week (Monday to Sunday), month, at each bar, or once. `execution`: at the open or the close of the
    bar after the decision. `minimum_coverage`: with less of its bars an asset makes the backtest refuse or warn.
    `initial` is the money at the first decision, `benchmark` the asset whose holding is shown beside it.
    """

    start: datetime
    end: datetime
    fee: float = 0.001
    slippage_bps: float = 5.0
    rebalance: Rebalance = "1w"
    execution: Literal["open", "close"] = "open"
    walk_forward: WalkForward | None = None
    minimum_coverage: float = 0.95
    on_holes: Literal["refuse", "warn"] = "refuse"
    initial: float = 10_000.0
    short: bool = False  # whether weights below zero are meant
    max_gross: float = 1.0  # the most that the absolute weights may add up to
    benchmark: str = "bitcoin"
    look_ahead_samples: int = 5  # decisions repeated on truncated data; 0 switches the test off

    def __post_init__(self) -> None:
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment.utcoffset() != timedelta(0):
                raise BacktestRefused(f"{name}: {moment} is not in UTC")
        if self.start >= self.end:
            raise BacktestRefused(f"start {self.start} is not before end {self.end}")
        for name in _FLOATS:  # 1000 and 1000.0 are one parameter and must name one result
            object.__setattr__(self, name, float(getattr(self, name)))
        bounds = {
            "fee": (self.fee, 0.0, 0.5),
            "slippage_bps": (self.slippage_bps, 0.0, 5_000.0),
            "minimum_coverage": (self.minimum_coverage, 0.0, 1.0),
            "initial": (self.initial, 1e-9, 1e18),
            "max_gross": (self.max_gross, 1e-9, 100.0),
            "look_ahead_samples": (self.look_ahead_samples, 0, 1_000_000),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise BacktestRefused(f"{name}: {value} is not between {low:g} and {high:g}")

    @property
    def slippage(self) -> float:
        """The slippage as a fraction."""
        return self.slippage_bps * RELATIVE_SLIPPAGE

    def as_row(self) -> Mapping[str, Any]:
        """Return names and values that JSON can hold; moments in ISO 8601."""
        row = asdict(self)
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
