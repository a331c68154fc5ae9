"""What a backtest knows of the past: bars, funding, caps and delistings, cut at a moment, no later row left."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.errors import CollectorError

Floats = npt.NDArray[np.float64]


class BacktestRefused(CollectorError):
    """The data or the parameters cannot carry a backtest; the text names what and where."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """Bars of several assets on one complete grid; index the END of a bar (UTC), NaN = no such bar.

    `funding` holds rates at the moments they were paid (0.0001: a long pays one hundredth of a percent of the
    position); `caps` the market capitalisation as known at its index, NaN for an asset outside the universe of that
    moment; `delisted` the moment trading ended. `coverage` is the share of bars stored (0 to 1) as the ledger of
    windows tells it; None: counted from the frames alone.
    """

    closes: pd.DataFrame
    opens: pd.DataFrame
    volumes: pd.DataFrame
    funding: pd.DataFrame | None = None
    caps: pd.DataFrame | None = None
    delisted: Mapping[str, datetime] = field(default_factory=dict)
    coverage: Mapping[str, float] | None = None

    @property
    def assets(self) -> list[str]:
        return [str(name) for name in self.closes.columns]

    @property
    def index(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.closes.index)

    @property
    def step(self) -> timedelta:
        """The length of a bar; needs two of them."""
        return timedelta(seconds=(self.index[1] - self.index[0]).total_seconds())

    def until(self, moment: datetime) -> Self:
        """Return what was known at a moment: ended bars, paid rates, told caps, delistings that had happened."""
        return replace(
            self,
            closes=_before(self.closes, moment),
            opens=_before(self.opens, moment),
            volumes=_before(self.volumes, moment),
            funding=None if self.funding is None else _before(self.funding, moment),
            caps=None if self.caps is None else _before(self.caps, moment),
            delisted={name: when for name, when in self.delisted.items() if when <= moment},
        )

    def last(self, bars: int) -> Self:
        """Return the newest bars alone; funding and caps stay whole."""
        return replace(
            self, closes=self.closes.iloc[-bars:], opens=self.opens.iloc[-bars:], volumes=self.volumes.iloc[-bars:]
        )


def _before(frame: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    return frame.iloc[: frame.index.searchsorted(pd.Timestamp(moment), side="right")]


def checked(market: Market) -> Market:
    """Return the market with its assets in alphabetical order and no bar after a delisting.

    Raises `BacktestRefused` where the frames are not what `Market` says: times, shapes, names, or a price not above
    zero.
    """
    _check_index(market.closes.index, "closes")
    if len(market.closes.index) < 2:  # noqa: PLR2004 - two make a step
        raise BacktestRefused(f"{len(market.closes.index)} bars: a backtest needs two or more")
    if len(set(np.diff(market.closes.index.asi8))) != 1:  # type: ignore[attr-defined]
        raise BacktestRefused("the bars are not one step apart: hand in the complete grid, NaN where no bar is")
    if len(set(market.assets)) != len(market.assets) or not market.assets:
        raise BacktestRefused("the assets need names, each one once")
    _check_shapes(market)
    ordered = sorted(market.assets)
    last = last_bars(market.index, ordered, market.delisted)
    gone = np.arange(len(market.index))[:, None] > last[None, :]
    return replace(
        market,
        closes=market.closes[ordered].astype(float).mask(gone),
        opens=market.opens[ordered].astype(float).mask(gone),
        volumes=market.volumes[ordered].astype(float).mask(gone),
        funding=None if market.funding is None else market.funding[sorted(market.funding.columns)].astype(float),
        caps=None if market.caps is None else market.caps[sorted(market.caps.columns)].astype(float),
    )


def _check_index(index: object, what: str) -> None:
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        raise BacktestRefused(f"{what}: the index must be moments in UTC")
    if not (index.is_monotonic_increasing and index.is_unique):
        raise BacktestRefused(f"{what}: the index must ascend, each moment once")


def _check_shapes(market: Market) -> None:
    for name, frame in (("opens", market.opens), ("volumes", market.volumes)):
        if not (frame.index.equals(market.closes.index) and frame.columns.equals(market.closes.columns)):
            raise BacktestRefused(f"{name}: index and columns must be those of the closes")
    for name, prices in (("closes", market.closes), ("opens", market.opens)):
        values = prices.to_numpy(dtype=float)
        wrong = ~(np.isnan(values) | ((values > 0) & np.isfinite(values)))
        if wrong.any():
            row, column = (int(where[0]) for where in np.nonzero(wrong))
            raise BacktestRefused(
                f"{name}: {values[row, column]} of {market.assets[column]} at {market.index[row]} is no price"
            )
    for name, extra in (("funding", market.funding), ("caps", market.caps)):
        if extra is not None:
            _check_index(extra.index, name)
            if not set(extra.columns) <= set(market.assets):
                raise BacktestRefused(f"{name}: {sorted(set(extra.columns) - set(market.assets))} have no bars")
    if wrong_names := sorted(set(market.delisted) - set(market.assets)):
        raise BacktestRefused(f"delisted: {wrong_names} have no bars")


def last_bars(index: pd.DatetimeIndex, assets: list[str], delisted: Mapping[str, datetime]) -> npt.NDArray[np.intp]:
    """Return for each asset the position of the bar in which it was delisted; len(index) where it was not."""
    found = [
        int(index.searchsorted(pd.Timestamp(delisted[name]), side="left")) if name in delisted else len(index)
        for name in assets
    ]
    return np.array(found, dtype=np.intp)


def data_hash(market: Market) -> str:
    """Return a SHA-256 of everything in the market; the order of the assets changes nothing, one digit changes all."""
    digest = hashlib.sha256()
    frames = ("closes", "opens", "volumes", "funding", "caps")
    for part in frames:
        frame: pd.DataFrame | None = getattr(market, part)
        digest.update(f"|{part}:{'none' if frame is None else frame.shape}|".encode())
        if frame is not None:
            _add_frame(digest.update, frame)
    for name in sorted(market.delisted):
        digest.update(f"|{name}:{pd.Timestamp(market.delisted[name]).value}".encode())
    for name in sorted(market.coverage or {}):
        digest.update(f"|{name}:{(market.coverage or {})[name]!r}".encode())
    return digest.hexdigest()


def _add_frame(add: Callable[[bytes], object], frame: pd.DataFrame) -> None:
    ordered = frame[sorted(frame.columns)]
    values = ordered.to_numpy(dtype="<f8").copy()
    values[np.isnan(values)] = np.nan  # one bit pattern for "no such bar"
    add("\x00".join(str(name) for name in ordered.columns).encode())
    add(pd.DatetimeIndex(ordered.index).as_unit("ns").asi8.astype("<i8").tobytes())
    add(np.ascontiguousarray(values).tobytes())
