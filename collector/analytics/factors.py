"""What common factors earned day by day, and how far each asset moves with them. Missing data has a name, never a NaN.

Market, size and momentum are the factors of Liu, Tsyvinski and Wu, "Common Risk Factors in Cryptocurrency", Journal of
Finance 77 (2022), here from daily instead of weekly returns, with terciles, and without a riskless rate (returns of a
day in dollars, not in excess of a bill's). Momentum goes back to Jegadeesh and Titman, "Returns to Buying Winners and
Selling Losers", Journal of Finance 48 (1993); volatility to Ang, Hodrick, Xing and Zhang, "The Cross-Section of
Volatility and Expected Returns", Journal of Finance 61 (2006); illiquidity is Amihud's, "Illiquidity and stock
returns", Journal of Financial Markets 5 (2002).

All frames have ends of days (UTC, one day apart, none left out) as index and asset ids as columns; NaN is not known.
Legs are formed from what was known a day before their return, and weighted by the caps of that moment. An asset that
has no close on the day itself stays in the sorting, and out of the return.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FACTORS = ("market", "size", "momentum", "volatility", "liquidity")
DAY = timedelta(days=1)
TOO_FEW_ASSETS = "too_few_assets"  # a leg has fewer than `least_assets` with a return
SHORT_HISTORY = "short_history"  # fewer days were handed in than the factor looks back over
TOO_FEW_DAYS = "too_few_days"  # fewer than `least_days` with returns of the asset and all factors
NO_FACTORS = "no_factors"  # no factor has a value in the window
COLLINEAR = "collinear_factors"  # a factor does not change, or follows from the others
ROUNDING = 1e-10  # spread that is this small beside the size of the numbers is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorParameters:
    """How factors are formed and betas estimated; durations in days."""

    groups: int = 3  # a leg is the first or last of so many equal groups
    least_assets: int = 3  # in each leg
    momentum_days: int = 28
    momentum_skip: int = 1  # newest days left out: prices bounce back within them (Jegadeesh 1990)
    volatility_days: int = 28
    liquidity_days: int = 28
    exposure_days: int = 90
    least_days: int = 30

    def __post_init__(self) -> None:
        days = (self.momentum_days, self.liquidity_days, self.volatility_days - 1, self.exposure_days, self.least_days)
        if min(self.groups - 1, self.least_assets, self.momentum_skip + 1, *days) < 1:
            raise ValueError(f"parameters of factors must be positive, groups and volatility_days 2 or more: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorReturn:
    """What one factor earned on one day. `reason` names why there is no value; it is empty when there is one."""

    factor: str
    day: datetime  # end of the day (UTC)
    value: float | None  # long leg minus short leg, fraction; the market has a long leg alone
    long_assets: int  # with a return, in the leg
    short_assets: int | None  # None for the market
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Betas of one asset: least squares of its daily return on a constant and all factors that have values.

    Everything is None where `reason` is not empty; a beta alone is None where its factor has no value in the window.
    """

    asset: str
    as_of: datetime  # end of the newest day (UTC)
    alpha: float | None  # the constant: return of a day that no factor explains, fraction
    betas: Mapping[str, float | None]  # by factor, in the order of FACTORS
    r_squared: float | None  # 0 to 1; None for returns that are all the same
    bars: int  # days used
    reason: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known at the end of each day, as arrays (days, assets); NaN is not."""

    days: list[datetime]
    closes: Floats
    returns: Floats
    caps: Floats
    illiquidity: Floats  # abs(return) / money traded


@dataclass(frozen=True, slots=True)
class _Leg:
    value: Floats  # cap-weighted return by day, NaN without assets
    assets: npt.NDArray[np.intp]  # with a return, by day


def factor_returns(
    closes: pd.DataFrame, market_caps: pd.DataFrame, volumes: pd.DataFrame, parameters: FactorParameters
) -> list[FactorReturn]:
    """Return each factor's return of each day, in the order of days and of FACTORS.

    market: all assets. size: small minus big. momentum: winners minus losers by the return of `momentum_days`, without
    the last `momentum_skip`. volatility: low minus high deviation of the last returns. liquidity: illiquid minus
    liquid, by the mean of abs(return) / volume of the last days (Amihud 2002). A hole in an asset's look-back keeps it
    out of that factor; assets that are equal are sorted by name.

    Caps and volumes are in one currency (volume: money traded in the day); what they do not tell of an asset or day
    of `closes` is not known, nor is what is not above zero. Raises ValueError for an index that is not of days.
    """
    known = _known(closes, market_caps, volumes)
    everything = np.isfinite(known.caps)
    legs: dict[str, tuple[_Leg, _Leg | None]] = {"market": (_leg(known, everything), None)}
    for name, (characteristic, long_is_high) in _characteristics(known, parameters).items():
        low, high = _outer_groups(np.where(everything, characteristic, np.nan), parameters.groups)
        ends = _leg(known, high), _leg(known, low)
        legs[name] = ends if long_is_high else ends[::-1]
    return [
        _row(name, known.days, number, legs[name], parameters) for number in range(len(known.days)) for name in FACTORS
    ]


def exposures(closes: pd.DataFrame, returns: Sequence[FactorReturn], parameters: FactorParameters) -> list[Exposure]:
    """Return the betas of each asset over the last `exposure_days` of `closes`, in the order of its columns.

    Only days count on which the asset and all factors have a return; a factor with fewer than `least_days` returns in
    the window is left out of all regressions. Raises ValueError for an index that is not of days.
    """
    days = _days(closes)
    if not days:
        return []
    window = slice(-parameters.exposure_days, None)
    table = _factor_table(days, returns)[window]
    used = np.isfinite(table).sum(axis=0) >= parameters.least_days
    assets = _returns(_positive(closes.to_numpy(dtype=float, na_value=np.nan)))[window]
    return [
        _exposure(str(name), days[-1], assets[:, column], table, used, parameters)
        for column, name in enumerate(closes.columns)
    ]


def _known(closes: pd.DataFrame, market_caps: pd.DataFrame, volumes: pd.DataFrame) -> _Known:
    """Return the frames as arrays with assets in the order of their names, on which ties and rounding then rest."""
    days, assets = _days(closes), sorted(closes.columns)
    prices, caps, money = (
        _positive(frame.reindex(index=closes.index, columns=assets).to_numpy(dtype=float, na_value=np.nan))
        for frame in (closes, market_caps, volumes)
    )
    returns = _returns(prices)
    return _Known(days, prices, returns, caps, np.abs(returns) / money)


def _days(frame: pd.DataFrame) -> list[datetime]:
    if len(frame.index) == 0:
        return []
    days = [moment.to_pydatetime() for moment in pd.DatetimeIndex(frame.index)]
    if any(day.utcoffset() != timedelta(0) for day in days):
        raise ValueError("the index must be aware and UTC")
    if any(later - earlier != DAY for earlier, later in itertools.pairwise(days)):
        raise ValueError("the index must hold every day once, ascending")
    return [day.astimezone(UTC) for day in days]


def _positive(values: Floats) -> Floats:
    return np.ascontiguousarray(np.where(np.isfinite(values) & (values > 0), values, np.nan))


def _lagged(values: Floats, days: int) -> Floats:
    """Return what stood so many days earlier, NaN before the first day."""
    found = np.full_like(values, np.nan)
    found[days:] = values[: max(len(values) - days, 0)]
    return found


def _returns(prices: Floats) -> Floats:
    return prices / _lagged(prices, 1) - 1


def _trailing_mean(values: Floats, days: int) -> Floats:
    """Return the mean of the last days; the sum runs from the newest day back, so older days change no digit."""
    return np.asarray(sum(_lagged(values, lag) for lag in range(days)) / days)


def _trailing_deviation(values: Floats, days: int) -> Floats:
    mean = _trailing_mean(values, days)
    squares = sum((_lagged(values, lag) - mean) ** 2 for lag in range(days))
    return np.sqrt(squares / (days - 1))


def _characteristics(known: _Known, parameters: FactorParameters) -> dict[str, tuple[Floats, bool]]:
    """Return what assets are sorted by at the end of each day, and whether the long leg is the high end."""
    newest = _lagged(known.closes, parameters.momentum_skip)
    return {
        "size": (known.caps, False),
        "momentum": (newest / _lagged(newest, parameters.momentum_days), True),
        "volatility": (_trailing_deviation(known.returns, parameters.volatility_days), False),
        "liquidity": (_trailing_mean(known.illiquidity, parameters.liquidity_days), True),
    }


def _outer_groups(characteristic: Floats, groups: int) -> tuple[Flags, Flags]:
    """Return who is in the lowest and who in the highest of so many groups, day by day."""
    order = np.argsort(characteristic, axis=1, kind="stable")  # NaN comes last
    rank = np.argsort(order, axis=1, kind="stable")
    count = np.isfinite(characteristic).sum(axis=1, keepdims=True)
    size = count // groups
    return rank < size, (rank >= count - size) & (rank < count)


def _leg(known: _Known, members: Flags) -> _Leg:
    """Return what those who were members at the end of the day before earned, weighted by their caps of then."""
    weights = _lagged(np.where(members, known.caps, np.nan), 1)
    told = np.isfinite(weights) & np.isfinite(known.returns)
    weights = np.where(told, weights, 0.0)
    earned = (weights * np.where(told, known.returns, 0.0)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return _Leg(earned / weights.sum(axis=1), told.sum(axis=1))


def _days_before(name: str, parameters: FactorParameters) -> int:
    """Return how many days must stand before the first day on which a factor can have a return."""
    return (
        1
        + {
            "market": 0,
            "size": 0,
            "momentum": parameters.momentum_days + parameters.momentum_skip,
            "volatility": parameters.volatility_days,
            "liquidity": parameters.liquidity_days,
        }[name]
    )


def _row(
    name: str, days: Sequence[datetime], number: int, legs: tuple[_Leg, _Leg | None], parameters: FactorParameters
) -> FactorReturn:
    long, short = legs
    counts = [int(leg.assets[number]) for leg in legs if leg is not None]
    reason = ""
    if number < _days_before(name, parameters):
        reason = SHORT_HISTORY
    elif min(counts) < parameters.least_assets:
        reason = TOO_FEW_ASSETS
    value = long.value[number] - (0.0 if short is None else short.value[number])
    return FactorReturn(
        factor=name,
        day=days[number],
        value=None if reason else float(value),
        long_assets=counts[0],
        short_assets=None if short is None else counts[1],
        reason=reason,
    )


def _factor_table(days: Sequence[datetime], returns: Sequence[FactorReturn]) -> Floats:
    """Return the factors' values as an array (days, FACTORS)."""
    values = {(row.day, row.factor): row.value for row in returns if row.value is not None}
    return np.array([[values.get((day, name), np.nan) for name in FACTORS] for day in days])


def _exposure(
    asset: str, as_of: datetime, earned: Floats, table: Floats, used: Flags, parameters: FactorParameters
) -> Exposure:
    told = np.isfinite(earned) & np.isfinite(table[:, used]).all(axis=1)
    bars = int(told.sum())
    none = dict.fromkeys(FACTORS)
    reason = NO_FACTORS if not used.any() else ""
    if not reason and bars < max(parameters.least_days, int(used.sum()) + 2):
        reason = TOO_FEW_DAYS
    line = None if reason else _least_squares(earned[told], table[told][:, used])
    if line is None:
        bars_used = 0 if reason == NO_FACTORS else bars
        return Exposure(
            asset=asset, as_of=as_of, alpha=None, betas=none, r_squared=None, bars=bars_used, reason=reason or COLLINEAR
        )
    alpha, slopes, r_squared = line
    names = [name for name, is_used in zip(FACTORS, used, strict=True) if is_used]
    betas = {**none, **dict(zip(names, slopes.tolist(), strict=True))}
    return Exposure(asset=asset, as_of=as_of, alpha=alpha, betas=betas, r_squared=r_squared, bars=bars, reason="")


def _least_squares(earned: Floats, factors: Floats) -> tuple[float, Floats, float | None] | None:
    """Return constant, slopes and R squared; None where the factors do not span as many directions as they are."""
    middle, scale = factors.mean(axis=0), factors.std(axis=0)
    if (scale <= ROUNDING * np.abs(middle)).any():
        return None
    centred = earned - earned.mean()
    scaled, _, rank, _ = np.linalg.lstsq((factors - middle) / scale, centred, rcond=ROUNDING)
    if rank < len(scaled):
        return None
    slopes = scaled / scale
    total = float(centred @ centred)
    rest = centred - (factors - middle) @ slopes
    r_squared = None if np.ptp(earned) == 0 else 1 - float(rest @ rest) / total
    return float(earned.mean() - middle @ slopes), slopes, r_squared
