"""The settings of the analytics: which studies are made of stored rows, after which cycles, with which parameters."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from collector.config.section import Section
from collector.config.values import Durations, Intervals, PositiveDuration, Wholes, Words, no_switch
from collector.records import Interval

Fraction = Annotated[float, BeforeValidator(no_switch)]
MEASURES = ("price", "volume", "open_interest", "funding", "spread_bps", "imbalance")
DAY = timedelta(days=1)
LONGEST_MINUTES = 10_080  # a week


def _known_measures(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise ValueError(f"no such measure {unknown[0]!r}; use some of {', '.join(MEASURES)}")
    return names


def _pairs(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        fast, _, slow = name.partition("/")
        if not (fast.isdecimal() and slow.isdecimal() and 1 <= int(fast) < int(slow) <= 1000):  # noqa: PLR2004
            raise ValueError(f"{name!r} is no pair of a fast and a slow average; write 12/26")
    return names


def _minutes(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(not 2 <= value <= LONGEST_MINUTES for value in values):  # noqa: PLR2004 - one minute has no slope
        raise ValueError(f"must be minutes, each from 2 to {LONGEST_MINUTES}")
    return values


class Study(Section):
    """What all studies have."""

    enabled: bool = Field(True, description="Whether it is made")
    cadence: str = Field("", description="Made after cycles of this cadence; empty: the first one")


class TrendSettings(Study):
    """Trend and risk of assets and instruments, market breadth, factors: from daily candles."""

    spans: Durations = Field((7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY), description="How far back, whole days")
    sma_fast: int = Field(20, ge=1, le=1000, description="Days of the fast moving average")
    sma_slow: int = Field(50, ge=2, le=2000, description="Days of the slow moving average")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if any(span % DAY for span in self.spans):
            raise ValueError("has spans that are no whole days, as 7d")
        if self.sma_fast >= self.sma_slow:
            raise ValueError("has sma_fast that is not below sma_slow")
        return self


class DerivedSettings(Study):
    """Slopes, means and z-scores of raw rows, minute by minute."""

    venues: Words = Field(("okx",), description="Venues whose followed instruments are looked at")
    measures: Annotated[Words, AfterValidator(_known_measures)] = Field(
        MEASURES, description="Raw values looked at: price volume open_interest funding spread_bps imbalance"
    )
    indicators: Words = Field(("rsi_14",), description="Columns of indicators looked at on the same grid")
    indicator_interval: Interval = Field(Interval.M1, description="Bars whose indicators these are")
    window_size: int = Field(20, ge=3, le=1000, description="Observations of the sliding window")
    intervals: Annotated[Wholes, AfterValidator(_minutes)] = Field(
        (5, 15, 60), description="Further windows, in minutes"
    )


class RankSettings(Study):
    """Daily ranks by market cap."""

    top: int = Field(250, ge=1, le=5000, description="Length of the list whose entries and exits are noted")


class SignalSettings(Study):
    """Signals on closed bars, and one view per asset of all of them."""

    intervals: Intervals = Field((Interval.H1, Interval.D1), description="Bars that give signals")
    kinds: tuple[Literal["ema_cross", "rsi", "macd", "breakout", "funding"], ...] = Field(
        ("ema_cross", "rsi", "macd", "breakout", "funding"), description="Kinds of signals"
    )
    ema_pairs: Annotated[Words, AfterValidator(_pairs)] = Field(
        ("12/26", "50/200"), description="Fast and slow averages whose crossing is a signal, in bars"
    )
    confirmation: int = Field(1, ge=1, le=100, description="Bars in a row that must agree before a state changes")
    hysteresis: Fraction = Field(
        0.1, ge=0, le=100, description="How far averages must be apart, in mean absolute changes of the close per bar"
    )
    rsi_period: int = Field(14, ge=2, le=1000, description="Bars of the relative strength index")
    rsi_oversold: Fraction = Field(30.0, gt=0, lt=100, description="Oversold below")
    rsi_overbought: Fraction = Field(70.0, gt=0, lt=100, description="Overbought above")
    breakout_lookback: int = Field(20, ge=2, le=1000, description="Bars whose highest and lowest price must be left")
    funding_lookback: int = Field(90, ge=5, le=1000, description="Settlements that say which funding is usual")
    funding_threshold: Fraction = Field(2.0, gt=0, le=100, description="Deviations from it that are extreme")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.rsi_oversold >= self.rsi_overbought:
            raise ValueError("has rsi_oversold that is not below rsi_overbought")
        return self


class PortfolioSettings(Study):
    """Black-Litterman weights; needs the packages of requirements-analytics.txt."""

    name: str = Field("black_litterman", min_length=1, max_length=60, description="Name that its rows carry")
    every: PositiveDuration = Field(DAY, description="How often weights are computed, whole days")
    assets: int = Field(30, ge=1, le=500, description="Largest assets by market cap that it chooses from")
    lookback: PositiveDuration = Field(timedelta(days=180), description="Daily returns that the covariance is made of")
    max_weight: Fraction = Field(0.3, gt=0, le=1, description="Largest weight of one asset")
    turnover_limit: Fraction = Field(0.3, gt=0, le=1, description="Most of the portfolio that is traded at once")
    risk_aversion: Fraction = Field(
        1.0, gt=0, le=100, description="What the market earns in a year over its variance; the paper's 2.5 is of shares"
    )
    tau: Fraction = Field(0.05, gt=0, le=1, description="Uncertainty of the market's returns, against their covariance")
    information_coefficient: Fraction = Field(
        0.05, gt=0, le=1, description="How far the signals are trusted: their supposed correlation with returns"
    )
    exclude: Words = Field((), description="Assets left out beside stablecoins and wrapped coins, by id")
    fee: Fraction = Field(0.001, ge=0, lt=1, description="Cost of trading assumed for its paper equity, fraction")

    @model_validator(mode="after")
    def _whole_days(self) -> Self:
        if self.every % DAY:
            raise ValueError("has an every that is no whole days, as 1d or 7d")
        return self


class AnalyticsSettings(Section):
    """What is computed from stored rows after a cycle."""

    enabled: bool = Field(True, description="Whether anything is")
    venues: Words = Field(
        ("binance_spot", "binance_futures", "okx", "kraken"),
        description="Venues whose candles stand for an asset, best first",
    )
    trends: TrendSettings = Field(TrendSettings(), description="Trends and risk, breadth, factors")
    derived: DerivedSettings = Field(DerivedSettings(), description="Slopes and z-scores of raw rows")
    ranks: RankSettings = Field(RankSettings(), description="Daily ranks")
    signals: SignalSettings = Field(SignalSettings(), description="Signals and views")
    portfolio: PortfolioSettings = Field(PortfolioSettings(), description="Black-Litterman weights")

    def cadences(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the cadence of each enabled study that names one."""
        for name in ("trends", "derived", "ranks", "signals", "portfolio"):
            study = getattr(self, name)
            if study.enabled and study.cadence:
                yield name, study.cadence
