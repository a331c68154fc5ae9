"""Bars: candles of one series, column by column. A year of minutes is made, checked and stored by whole columns.

As a sequence it is the `Candle` records that it stands for, made when they are asked for; so whoever knows only
candles reads it as well, at their price.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any, ClassVar, overload

from collector.records import Candle, Instrument, Interval, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars(Sequence[Candle]):
    """Closed bars from a source that tells every figure of a candle; all columns have one length, at least 1."""

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "received_at",
        "open_time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "quote_volume",
        "trades",
        "taker_buy_volume",
    )

    source: str
    instrument: Instrument
    interval: Interval
    received_at: list[datetime]
    open_time: list[datetime]
    open: list[Decimal]
    high: list[Decimal]
    low: list[Decimal]
    close: list[Decimal]
    volume: list[Decimal]
    quote_volume: list[Decimal]
    trades: list[int]
    taker_buy_volume: list[Decimal]

    @property
    def series(self) -> tuple[str, Instrument, Interval]:
        """Return what all bars have in common."""
        return self.source, self.instrument, self.interval

    @property
    def until(self) -> datetime:
        """Return the end of the newest bar."""
        return max(self.open_time) + self.interval.width

    def column(self, name: str) -> list[Any]:
        """Return a value of each bar, by the name of the candle's field."""
        if name in self.COLUMNS:
            return list(getattr(self, name))
        if name == "observed_at":
            return [opened + self.interval.width for opened in self.open_time]
        return [True if name == "closed" else getattr(self, name)] * len(self)

    def __len__(self) -> int:
        return len(self.open_time)

    @overload
    def __getitem__(self, place: int) -> Candle: ...
    @overload
    def __getitem__(self, place: slice) -> "Bars": ...
    def __getitem__(self, place: int | slice) -> "Candle | Bars":
        found = {name: getattr(self, name)[place] for name in self.COLUMNS}
        return replace(self, **found) if isinstance(place, slice) else self._candle(found)

    def __iter__(self) -> Iterator[Candle]:
        for values in zip(*(getattr(self, name) for name in self.COLUMNS), strict=True):
            yield self._candle(dict(zip(self.COLUMNS, values, strict=True)))

    def _candle(self, values: Mapping[str, Any]) -> Candle:
        return Candle(
            source=self.source,
            instrument=self.instrument,
            interval=self.interval,
            observed_at=values["open_time"] + self.interval.width,
            closed=True,
            **values,
        )


def joined(parts: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """Return all records in their order: as Bars where all parts are Bars of one series, else one by one."""
    bars = [part for part in parts if isinstance(part, Bars)]
    if not bars or len(bars) < len(parts) or any(part.series != bars[0].series for part in bars):
        return tuple(record for part in parts for record in part)
    if len(bars) == 1:
        return bars[0]
    columns: dict[str, Any] = {name: [*chain(*(getattr(part, name) for part in bars))] for name in Bars.COLUMNS}
    return replace(bars[0], **columns)
