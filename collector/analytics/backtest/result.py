"""What a backtest gives back: the curve, what it cost, what it rests on, and what is to be held against it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from collector import __version__
from collector.analytics.backtest.deciding import Fit
from collector.analytics.backtest.holes import AssetCoverage
from collector.analytics.backtest.lookahead import LookAhead
from collector.analytics.backtest.metrics import Metrics
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.simulation import Trade, Wait

RULES = 1  # raise by one whenever the same data and parameters give other numbers than before
CODE_VERSION = f"{__version__}+rules{RULES}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What was paid, in the unit of the initial money; funding below zero was received."""

    fees: float
    slippage: float
    funding: float

    @property
    def total(self) -> float:
        return self.fees + self.slippage + self.funding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Benchmark:
    """A curve to be compared with, from the same first bar, played without fee, slippage and funding."""

    name: str
    equity: pd.Series
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BacktestResult:
    """The outcome of one backtest. Series and frames have one row a bar, from the first decision to the last bar.

    `weights` are held at the end of each bar, `targets` decided at the moments of its index; `costs_by_bar` has the
    columns fees, slippage, funding; `traded` is value bought and sold over the equity before. `result_key` is a SHA-256
    of data, parameters (with the strategy's) and code version: equal key, equal numbers.
    """

    strategy: str
    strategy_details: Mapping[str, Any]
    parameters: BacktestParameters
    equity: pd.Series
    returns: pd.Series  # one less than equity
    weights: pd.DataFrame
    targets: pd.DataFrame
    trades: tuple[Trade, ...]
    costs: Costs
    costs_by_bar: pd.DataFrame
    traded: pd.Series
    metrics: Metrics
    benchmarks: tuple[Benchmark, ...]
    coverage: tuple[AssetCoverage, ...]
    waits: tuple[Wait, ...]
    fits: tuple[Fit, ...]
    look_ahead: LookAhead
    warnings: tuple[str, ...]
    data_hash: str
    code_version: str
    result_key: str


def result_key(data: str, parameters: BacktestParameters, name: str, details: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a hash of data, the parameters, the strategy with its own, and the code version.

    Raises `TypeError` for details that JSON cannot hold.
    """
    said = {
        "data": data,
        "parameters": parameters.as_row(),
        "strategy": name,
        "details": details,
        "code": CODE_VERSION,
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
