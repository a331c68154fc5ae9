"""The vocabulary: instruments, records, jobs and reports. Frozen values; no I/O.

Units, everywhere: prices in the quote currency, sizes and volumes in BASE units of the instrument (never in
contracts), money in the currency its name ends with, rates as fractions (0.0001 is one basis point), percentages
in percent. Every time is aware and UTC. None means the provider did not say; zero is a value.
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar


class Interval(StrEnum):
    """Length of a candle. Bars open on the UTC grid; weeks on Monday."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"
    W1 = "1w"

    @property
    def width(self) -> timedelta:
        return _WIDTHS[self]


_WIDTHS = {
    Interval.M1: timedelta(minutes=1),
    Interval.M5: timedelta(minutes=5),
    Interval.M15: timedelta(minutes=15),
    Interval.H1: timedelta(hours=1),
    Interval.H4: timedelta(hours=4),
    Interval.D1: timedelta(days=1),
    Interval.W1: timedelta(weeks=1),
}


class Dataset(StrEnum):
    """A kind of data that a source can be asked for."""

    LISTING = "listing"  # all assets a provider knows
    INSTRUMENTS = "instruments"  # all instruments a venue lists
    MARKETS = "markets"  # price, cap, volume and supply per asset, ranked
    GLOBAL = "global"  # the whole market in one row
    ASSET_DETAILS = "asset_details"  # slow facts of one asset
    MARKET_HISTORY = "market_history"  # past price, cap and volume of one asset
    TICKERS = "tickers"  # last price and 24 h figures per instrument
    CANDLES = "candles"
    ORDER_BOOKS = "order_books"
    MARK_PRICES = "mark_prices"  # mark and index price, and the funding rate forecast where it comes along
    FUNDING = "funding"  # settled funding rates
    FUNDING_FORECASTS = "funding_forecasts"  # the rate of the running funding period
    FUNDING_TERMS = "funding_terms"  # funding interval and bounds per instrument
    OPEN_INTEREST = "open_interest"
    SENTIMENT = "sentiment"  # fear and greed


class Kind(StrEnum):
    """What an instrument is."""

    SPOT = "spot"
    PERP = "perp"
    FUTURE = "future"
    INDEX = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """Something with a price at a venue. `.id` is its canonical name, as `okx:BTC-USDT:perp`."""

    venue: str  # where it trades; for an INDEX, who computes it
    base: str  # the venue's own base code in upper case ("1000PEPE" stays so); an asset id for an INDEX
    quote: str
    kind: Kind
    venue_symbol: str  # the venue's spelling, as sent on the wire
    contract_size: Decimal = Decimal(1)  # base units in one contract

    @property
    def symbol(self) -> str:
        return f"{self.base}-{self.quote}"

    @property
    def id(self) -> str:
        return f"{self.venue}:{self.base}-{self.quote}:{self.kind}"


@functools.cache
def _time_fields(kind: type["Record"]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind) if "datetime" in str(item.type))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One observation. `KEY` names the fields that identify it in storage."""

    KEY: ClassVar[tuple[str, ...]] = ()

    source: str  # where the data came from
    observed_at: datetime  # the provider's time of the observation
    received_at: datetime  # when we got it

    def __post_init__(self) -> None:
        # By hand and per class: walking dataclasses.fields() for each record was a quarter of all parsing time.
        for name in _time_fields(type(self)):  # type: ignore[arg-type]  # a class is hashable
            value = getattr(self, name)
            if value is not None and value.tzinfo is not UTC and value.utcoffset() != timedelta(0):
                raise ValueError(f"{type(self).__name__}.{name} must be aware and UTC, got {value!r}")

    @property
    def key(self) -> tuple[Any, ...]:
        """Return the natural key's values, in the order of `KEY`."""
        return tuple(getattr(self, name) for name in self.KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset(Record):
    """A coin or token in a provider's listing. Symbols are not unique; ids are."""

    KEY = ("source", "asset_id")

    asset_id: str
    symbol: str  # upper case
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetDetails(Record):
    """Slow facts about one asset."""

    KEY = ("source", "asset_id")

    asset_id: str
    symbol: str
    name: str
    categories: tuple[str, ...]
    platforms: Mapping[str, str]  # platform id -> contract address
    genesis_date: str | None  # ISO date
    hashing_algorithm: str | None
    homepage: str | None
    country_origin: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentListing(Record):
    """An instrument as its venue lists it. The size of a contract is in the instrument."""

    KEY = ("instrument",)

    instrument: Instrument
    status: str  # the venue's own word, lower case: trading, live, suspend, ...
    tradable: bool  # can be collected: trading normally now
    listed_at: datetime | None
    delists_at: datetime | None  # None for a perpetual without announced end
    tick_size: Decimal | None  # in quote
    lot_size: Decimal | None  # in base units
    category: str  # crypto, stock, commodity, index, forex, ... in the venue's terms, lower case


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSnapshot(Record):
    """Price, size and changes of one asset over all venues, as an aggregator computes them."""

    KEY = ("source", "asset_id", "observed_at")

    asset_id: str
    price_usd: Decimal | None
    market_cap_usd: Decimal | None
    fully_diluted_usd: Decimal | None = None
    rank: int | None = None
    volume_24h_usd: Decimal | None = None
    high_24h_usd: Decimal | None = None
    low_24h_usd: Decimal | None = None
    change_1h_pct: Decimal | None = None
    change_24h_pct: Decimal | None = None
    change_7d_pct: Decimal | None = None
    circulating_supply: Decimal | None = None
    total_supply: Decimal | None = None
    max_supply: Decimal | None = None
    ath_usd: Decimal | None = None
    ath_at: datetime | None = None
    atl_usd: Decimal | None = None
    atl_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalMarket(Record):
    """The whole market."""

    KEY = ("source", "observed_at")

    market_cap_usd: Decimal
    volume_24h_usd: Decimal
    btc_dominance_pct: Decimal | None
    eth_dominance_pct: Decimal | None
    market_cap_change_24h_pct: Decimal | None
    active_assets: int | None
    markets: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker(Record):
    """Last trade, best quotes and rolling 24 h figures of one instrument."""

    KEY = ("source", "instrument", "observed_at")

    instrument: Instrument
    last_price: Decimal
    bid_price: Decimal | None
    bid_size: Decimal | None
    ask_price: Decimal | None
    ask_size: Decimal | None
    open_24h: Decimal | None
    high_24h: Decimal | None
    low_24h: Decimal | None
    volume_24h: Decimal | None
    quote_volume_24h: Decimal | None
    change_24h_pct: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle(Record):
    """One bar. Only closed bars are stored; `observed_at` is the end of the bar."""

    KEY = ("instrument", "interval", "open_time")

    instrument: Instrument
    interval: Interval
    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    quote_volume: Decimal | None
    trades: int | None
    taker_buy_volume: Decimal | None
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBook(Record):
    """Resting orders of one instrument; levels are (price, size), best first."""

    KEY = ("source", "instrument", "observed_at")

    instrument: Instrument
    last_update_id: int | None
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkPrice(Record):
    """The price a venue uses for margin and funding."""

    KEY = ("source", "instrument", "observed_at")

    instrument: Instrument
    mark_price: Decimal
    index_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingForecast(Record):
    """The funding rate that would be charged at `funding_time`, as it stood at `observed_at`."""

    KEY = ("source", "instrument", "observed_at")

    instrument: Instrument
    funding_time: datetime
    rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRate(Record):
    """A settled funding payment: long pays short `rate` of the position's value when positive."""

    KEY = ("source", "instrument", "funding_time", "rate_type")

    instrument: Instrument
    funding_time: datetime
    rate: Decimal
    mark_price: Decimal | None
    rate_type: str = "regular"


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingTerms(Record):
    """Funding interval and bounds of one instrument, as last announced."""

    KEY = ("source", "instrument")

    instrument: Instrument
    interval_hours: Decimal | None
    rate_cap: Decimal | None
    rate_floor: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInterest(Record):
    """Open positions of one instrument, one side."""

    KEY = ("source", "instrument", "observed_at")

    instrument: Instrument
    open_interest: Decimal
    contracts: Decimal | None
    value_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentiment(Record):
    """The mood of the market on one day: 0 is extreme fear, 100 extreme greed. `observed_at` is the day's start."""

    KEY = ("source", "observed_at")

    value: int
    classification: str  # the provider's words, as "Extreme Fear"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorBlock:
    """Indicator values of consecutive closed bars of one series, column by column.

    All columns have the length of `open_times`. A value is NaN until its warm-up is over (stored as NULL).
    Columns are sequences of float (numpy arrays in practice).
    """

    instrument: Instrument
    interval: Interval
    open_times: tuple[datetime, ...]
    columns: Mapping[str, Any]  # standard indicators by column name of the `indicators` table
    extra: Mapping[str, Any]  # configured TA-Lib functions by output name, into the JSONB column
    warm: tuple[bool, ...]  # every standard indicator has its full history at this bar


# --------------------------------------------------------------------------- work and its results


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work for one source: plain values, so it can be written as JSON and run anywhere."""

    source: str
    dataset: Dataset
    instruments: tuple[Instrument, ...] = ()
    assets: tuple[str, ...] = ()  # the provider's asset ids
    interval: Interval | None = None
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive
    limit: int | None = None  # assets to rank, levels a side of a book
    stands_for: Instrument | None = None  # the series that these rows fill, when another provider's answer must do

    @property
    def subject(self) -> str:
        """Return what the job is about, in a word, for logs and the ledger."""
        names = [item.id for item in self.instruments] or list(self.assets)
        return names[0] if len(names) == 1 else f"{len(names)} items" if names else "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came over the wire for one call."""

    status: int
    headers: Mapping[str, str]  # keys in lower case
    body: bytes  # decompressed
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One answer that belongs to a job; parsing it needs nothing else."""

    job: Job
    status: int
    body: bytes
    received_at: datetime

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class RejectReason(StrEnum):
    """Why a row was not believed."""

    NOT_FINITE = "not_finite"
    NOT_POSITIVE = "not_positive"
    NEGATIVE = "negative"
    INCONSISTENT = "inconsistent"  # high below low, crossed book, unsorted levels
    IMPLAUSIBLE_TIME = "implausible_time"
    OFF_GRID = "off_grid"  # a candle that does not open on its interval's grid
    NO_TIME = "no_time"  # the provider gave no time of observation
    NO_PRICE = "no_price"
    OUT_OF_RANGE = "out_of_range"  # larger than anything in a market
    WRONG_SUBJECT = "wrong_subject"  # the answer is about another instrument than asked for
    REFUSED_BY_DATABASE = "refused_by_database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A row that was not believed, and why; the other rows of its payload go on."""

    job: Job
    row: str  # the row as text, cut to a sane length
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A value that is stored although it looks wrong, and what it was compared with."""

    dataset: Dataset
    subject: str  # instrument or asset id
    source: str
    observed_at: datetime
    kind: str  # jump (against the value before), divergence (against other sources)
    value: Decimal
    reference: Decimal
    reference_source: str
    detail: str  # the doubt in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one job produced, ready to be written in one transaction."""

    job: Job
    records: Sequence[Record] = ()
    rejects: tuple[Reject, ...] = ()
    payloads: tuple[Payload, ...] = ()
    state: str = "ok"  # ok, failed, skipped
    error: str = ""  # one line when not ok
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What the database did with a batch."""

    written: Mapping[str, int] = field(default_factory=dict)  # table -> rows inserted or changed
    unchanged: int = 0  # rows that were stored already with the same values
    revised: int = 0  # of those written: closed values that differ from what was stored before
    rejects: tuple[Reject, ...] = ()  # rows the database refused


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """One source's part in a cycle."""

    source: str
    jobs_ok: int = 0
    jobs_failed: int = 0
    jobs_skipped: int = 0  # not started: the deadline, or the source refused further calls
    requests: int = 0
    retries: int = 0
    refused: int = 0  # answers that told us to wait
    waited_s: float = 0.0  # for the quota and for pauses, summed over the threads
    clock_offset_s: float | None = None  # the provider's clock less ours; None when it told no time
    rows: Mapping[str, int] = field(default_factory=dict)  # table -> rows written
    unchanged: int = 0
    rejects: int = 0
    errors: tuple[str, ...] = ()  # distinct one-line messages
    duration_s: float = 0.0


class CycleState(StrEnum):
    """running -> ok | partial | failed; a running cycle of a dead process becomes abandoned."""

    RUNNING = "running"
    OK = "ok"
    PARTIAL = "partial"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """One cycle from start to end."""

    cycle_id: int
    cadence: str
    state: CycleState
    started_at: datetime
    finished_at: datetime
    sources: tuple[SourceReport, ...]
    indicator_rows: int = 0
    filled: Mapping[str, int] = field(default_factory=dict)  # provider -> rows it gave in place of another one
    healed: int = 0  # rows of windows that an earlier cycle missed
    revisions: int = 0  # stored values that a provider has changed since
    suspects: int = 0  # rows stored, but marked as doubtful
    spooled: int = 0  # batches kept on disk because the database was away
    uncomputed: int = 0  # candle series whose indicators wait for the next cycle
    storage_failed: bool = False  # something could not be read or written; the log says what
    folder: str = ""
    simulated: bool = False
