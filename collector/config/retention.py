"""The settings of `retention`: what leaves the database by age, and where it goes; when collecting stops for space."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal, Self

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from collector.config.section import Section
from collector.config.values import CronLine, Folder, Intervals, PositiveDuration, Words, parse_duration
from collector.records import Interval

KEPT_BY_AGE = (
    "market_snapshots",
    "tickers",
    "candles",
    "order_books",
    "mark_prices",
    "funding_forecasts",
    "open_interest",
    "indicators",
    "derived_metrics",
)
"""Tables that are stored month by month, so that a month can leave. Raw answers have an age of their own."""
YOUNGEST = timedelta(days=31)  # indicators of 15m bars look back 30 days; a month that still gets rows must not leave
_GRID = re.compile(r"(\w+)/(\w+)")
_FLOOR = re.compile(r"(\d{1,9})\s*(MB|%)")
MEGABYTE = 1024 * 1024
MOST_PERCENT = 90


def read_grid(text: str) -> tuple[timedelta, timedelta]:
    """Return (age, grid) from `7d/1m`: rows older than the age are thinned to one per grid cell."""
    match = _GRID.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no age and grid; write 7d/1m")
    age, grid = parse_duration(match[1]), parse_duration(match[2])
    if not timedelta(0) < grid <= timedelta(days=1) or timedelta(days=1) % grid or age < grid:
        raise ValueError(f"{text!r}: the grid must divide a day and be no longer than the age, as 7d/1m")
    return age, grid


def _grids(texts: tuple[str, ...]) -> tuple[str, ...]:
    read = sorted(read_grid(text) for text in texts)
    if any(later[0] == sooner[0] or later[1] % sooner[1] for sooner, later in pairwise(read)):
        raise ValueError("must become coarser with age, each grid a multiple of the one before: 7d/1m, 30d/1h")
    return texts


def read_floor(text: str) -> tuple[int, float]:
    """Return (bytes, fraction of the disk) of `2048MB` or `5%`; nothing: (0, 0)."""
    match = _FLOOR.fullmatch(text.strip())
    if text.strip() and (not match or (match[2] == "%" and int(match[1]) > MOST_PERCENT)):
        raise ValueError(f"{text!r} is no free space; write 2048MB or 5%")
    if not match:
        return 0, 0.0
    return (int(match[1]) * MEGABYTE, 0.0) if match[2] == "MB" else (0, int(match[1]) / 100)


def _floor(text: str) -> str:
    read_floor(text)
    return text


def _none_if_empty(value: object) -> object:
    """Let an empty environment variable mean the usual folder."""
    return None if value == "" else value


Grids = Annotated[Words, AfterValidator(_grids)]


class DatasetAge(Section):
    """What becomes of one dataset."""

    age: PositiveDuration = Field(description="A month leaves the database when its last row is older; at least 31d")
    then: Literal["seal", "delete"] = Field(
        description="seal: to a verified Parquet file that stays readable; delete: for ever"
    )

    @model_validator(mode="after")
    def _old_enough(self) -> Self:
        if self.age < YOUNGEST:
            raise ValueError(f"has an age below {YOUNGEST.days}d: indicators and late rows still need these months")
        return self


class RetentionSettings(Section):
    """What leaves the database by age, and where it goes; when collecting stops for space."""

    enabled: bool = Field(False, description="Whether this is done on the schedule; the command works without")
    cron: CronLine = Field("40 3 * * *", description="When: a cron line of five fields, UTC")
    folder: Annotated[Folder | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="Folder of the sealed months; empty: cold in data_dir"
    )
    datasets: Mapping[str, DatasetAge] = Field({}, description="By dataset; what is not named is kept for ever")
    keep_intervals: Intervals = Field(
        (Interval.H1, Interval.H4, Interval.D1, Interval.W1),
        description="Bars that stay in the database whatever their age: analytics look back years with them",
    )
    thin_order_books: Grids = Field(
        (), description="Age and grid after which one book per instrument and cell is kept, as 7d/1m, 30d/1h"
    )
    thin_tickers: Grids = Field((), description="The same for tickers")
    floor: Annotated[str, AfterValidator(_floor)] = Field(
        "", description="Free space below which things stop in order, as 2048MB or 5%; empty: never"
    )

    @model_validator(mode="after")
    def _known_datasets(self) -> Self:
        unknown = [name for name in self.datasets if name not in KEPT_BY_AGE]
        if unknown:
            raise ValueError(f"datasets: no such dataset {unknown[0]!r}; use some of {', '.join(KEPT_BY_AGE)}")
        return self

    def next_turn(self, after: datetime) -> datetime:
        """Return the first turn of the cron line after a moment (UTC)."""
        found = CronTrigger.from_crontab(self.cron, timezone=UTC).get_next_fire_time(after, after)
        assert found is not None  # noqa: S101 - a cron line that never comes is refused
        turn: datetime = found.astimezone(UTC)
        return turn
