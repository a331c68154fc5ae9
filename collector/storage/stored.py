"""What comes out of the database: plain frozen values, no rows or sessions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from collector.records import CycleState, Dataset, Instrument, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """An asset as listed and chosen."""

    source: str
    asset_id: str
    symbol: str
    name: str
    rank: int | None
    followed: bool
    first_seen_at: datetime
    last_seen_at: datetime
    delisted_at: datetime | None  # None while listed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstrument:
    """An instrument as listed, matched and chosen."""

    instrument_id: int
    instrument: Instrument
    source: str | None  # whose listing holds it; None when it was only ever seen in data
    status: str | None
    tradable: bool | None  # None when never listed
    listed_at: datetime | None
    delists_at: datetime | None
    tick_size: Decimal | None
    lot_size: Decimal | None
    category: str | None
    asset_id: str | None
    asset_units: Decimal | None  # coins in one base unit
    match_state: str | None  # matched, unmatched, ambiguous, excluded; None when not judged yet
    match_detail: str | None
    followed: bool
    first_seen_at: datetime
    last_seen_at: datetime
    gone_at: datetime | None  # None while listed


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestPrice:
    """The newest known price of an instrument, in its quote."""

    price: Decimal
    observed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestMarket:
    """The newest snapshot of an asset, in short."""

    symbol: str | None  # None when the asset is not in a listing
    name: str | None
    price_usd: Decimal | None
    rank: int | None
    observed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleSummary:
    """One cycle in numbers."""

    cycle_id: int
    cadence: str
    state: CycleState
    started_at: datetime
    finished_at: datetime | None  # None while running
    instance: str
    folder: str
    simulated: bool
    rows_written: int
    indicator_rows: int
    jobs_ok: int
    jobs_failed: int
    jobs_skipped: int
    rejects: int
    report: Mapping[str, Any] | None  # None while running and when abandoned


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """What a source did in a span of time."""

    source: str
    jobs_ok: int
    jobs_failed: int
    jobs_skipped: int
    rows_written: int
    rows_unchanged: int
    rejects: int
    last_ok_at: datetime | None  # end of its newest good job; None when it never had one
    last_error: str | None  # newest in the span, of a job that was tried if there is one; None without one
    last_error_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContents:
    """How much a table holds, and from when to when."""

    table: str
    rows: int
    exact: bool  # False: the server's estimate, for tables too large to count
    size_bytes: int
    first: datetime | None  # None when empty
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeries:
    """What is held of one instrument's bars of one interval, or of its funding payments."""

    name: str  # as okx:BTC-USDT:perp/1m
    venue: str
    dataset: Dataset
    interval: Interval | None  # None: funding
    since: datetime | None  # start of the oldest held stretch; None when nothing is held
    until: datetime | None  # end of the newest, exclusive
    held: timedelta
    missing: timedelta  # asked for again until it comes
    provider_has_none: timedelta
    holes: int  # missing windows
    sources: tuple[str, ...]  # who gave what is held
    next_try_at: datetime | None  # of the first missing window; None: nothing is waited for

    @property
    def share(self) -> float:
        """Held part of what was wanted and exists, 0 to 1."""
        return self.held / (self.held + self.missing) if self.held + self.missing else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingChange:
    """Something that was listed, renamed, delisted or came back."""

    at: datetime
    source: str
    subject: str
    change: str
    old: str | None
    new: str | None
    cycle_id: int
