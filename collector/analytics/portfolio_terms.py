"""What a portfolio is asked for and what it answers: the words of those who build, store and show it.

Needs nothing but the standard library, so that configuration and storage do not load the optimiser.
"""

import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

# CoinGecko's ids of what is worth a currency or another asset of the list, whatever its caps: stablecoins, then
# wrapped, bridged and staked forms. What is missing here is caught by its volatility or its correlation.
STABLECOINS = (
    "binance-usd blackrock-usd-institutional-digital-liquidity-fund crvusd dai ethena-staked-usde ethena-usde "
    "falcon-finance first-digital-usd frax gemini-dollar gho global-dollar ondo-us-dollar-yield paxos-standard "
    "paypal-usd ripple-usd savings-dai susds syrupusdc tether true-usd usd-coin usd1-wlfi usdb usdd usds usdt0 "
    "usual-usd"
)
DUPLICATES = (
    "binance-peg-weth binance-staked-sol bitcoin-avalanche-bridged-btc-b coinbase-wrapped-btc coinbase- "
    "wrapped-staked-eth ether-fi-staked-btc ignition-fbtc jito-staked-sol jupiter-staked-sol kelp-dao- "
    "restaked-eth liquid-staked-ethereum lombard-staked-btc mantle-staked-ether msol renzo-restaked-eth "
    "rocket-pool-eth solv-btc staked-ether staked-frax-ether tbtc wbnb weth wrapped-bitcoin wrapped-eeth "
    "wrapped-solana wrapped-steth"
)
DEFAULT_EXCLUDED = tuple(sorted((STABLECOINS + " " + DUPLICATES).split()))


LARGEST = 1e6  # of any number here; JSON has no infinity
SHARES = ("min_coverage", "duplicate_correlation")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioParameters:
    """How a portfolio is built; shares and volatilities are fractions.

    `risk_aversion`: the market's delta, its expected excess return over its variance a year. The paper's 2.5 is of
    shares; a market of 60 % volatility would then have to earn 90 % a year, so 1 (36 %) is the default here.
    `turnover_limit`: one-way, None for none. `largest`: how many assets by market cap. `lookback_bars`: days of
    history; `min_coverage`: the share of them that an asset needs a return on; `min_bars`: on how many days all assets
    together. `shrink`: Ledoit-Wolf or the plain sample. `condition_limit`: beyond it the covariance counts as singular
    (doubles end at 4.5e15).
    `pegged_volatility`: assets that move less in a year are left out; `duplicate_correlation`: so are assets that move
    with a larger one at least this closely. `max_age_days`: how old the newest close may be.
    """

    max_weight: float = 0.3
    min_weight: float = 0.0
    turnover_limit: float | None = 0.3
    risk_aversion: float = 1.0
    tau: float = 0.05
    information_coefficient: float = 0.05
    zscore_limit: float = 3.0
    largest: int = 30
    lookback_bars: int = 180
    min_coverage: float = 0.9
    min_bars: int = 60
    shrink: bool = True
    condition_limit: float = 1e10
    pegged_volatility: float = 0.05
    duplicate_correlation: float = 0.995
    max_age_days: float = 2.0
    exclude: tuple[str, ...] = DEFAULT_EXCLUDED

    def __post_init__(self) -> None:
        """Refuse values that mean nothing: ValueError names the parameter, its value and what it may be."""
        object.__setattr__(self, "exclude", tuple(sorted(self.exclude)))
        _within("max_weight", self.max_weight, 0, 1, above=True)
        _within("min_weight", self.min_weight, 0, self.max_weight)
        if self.turnover_limit is not None:
            _within("turnover_limit", self.turnover_limit, 0, 1)
        for name in ("risk_aversion", "tau", "zscore_limit", "max_age_days", "min_coverage", "duplicate_correlation"):
            _within(name, getattr(self, name), 0, 1 if name in SHARES else LARGEST, above=True)
        _within("information_coefficient", self.information_coefficient, 0, 1)
        _within("pegged_volatility", self.pegged_volatility, 0, LARGEST)
        _within("condition_limit", self.condition_limit, 1, 1 / sys.float_info.epsilon)
        _within("largest", self.largest, 1, LARGEST)
        _within("min_bars", self.min_bars, 2, self.lookback_bars)


def _within(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    if not (low < value if above else low <= value) or not value <= high:
        raise ValueError(f"{name} is {value}: it must be {'above' if above else 'at least'} {low} and at most {high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioWeight:
    """One asset of a portfolio. Returns are excess returns a year as fractions.

    `view_return` and `confidence` are None without a view, `previous_weight` without a portfolio before.
    """

    asset_id: str
    market_weight: float
    view_return: float | None
    confidence: float | None
    prior_return: float
    posterior_return: float
    weight: float
    previous_weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Weights of one moment and all they were made of.

    `expected_return` and `expected_volatility` are a year's under the posterior, `turnover` the share that changes
    hands (None for a first portfolio), `shrinkage` and `condition` of the covariance, `left_out` the reason by asset.
    """

    as_of: datetime
    state: Literal["ok"] = "ok"
    reason: str
    expected_return: float
    expected_volatility: float
    turnover: float | None
    shrinkage: float
    condition: float
    assets: int
    left_out: dict[str, str]
    inputs: dict[str, Any]
    inputs_hash: str
    parameter_hash: str
    weights: tuple[PortfolioWeight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no portfolio of that moment: one line in `reason`, and the assets that were left out before."""

    as_of: datetime
    state: Literal["refused"] = "refused"
    reason: str
    shrinkage: float | None
    condition: float | None
    assets: int
    left_out: dict[str, str]
    inputs: dict[str, Any]
    inputs_hash: str
    parameter_hash: str
