"""Every setting with its default, its bounds and its meaning."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from collector.config.alerts import AlertSettings
from collector.config.analytics import AnalyticsSettings
from collector.config.backups import BackupSettings
from collector.config.bigquery import BigQuerySettings
from collector.config.export import ExportSettings
from collector.config.retention import RetentionSettings
from collector.config.section import Section
from collector.config.timescale import TimescaleSettings
from collector.config.values import (
    CronLine,
    Duration,
    Folder,
    HttpUrl,
    Intervals,
    PositiveDuration,
    Words,
    database_url,
    no_switch,
    not_too_rare,
)
from collector.records import Dataset, Interval


class DatabaseSettings(Section):
    """Where rows are stored, and for how long raw answers are."""

    url: Annotated[SecretStr, AfterValidator(database_url)] = Field(
        SecretStr(""), description="Address of a PostgreSQL 14 or newer; empty: the embedded server in data_dir"
    )
    keep_payloads: PositiveDuration = Field(timedelta(days=2), description="How long raw provider answers are kept")
    keep_payloads_mb: int = Field(
        4096, ge=1, description="Total size in MB, as stored, above which the oldest raw answers are deleted"
    )
    keep_ledger: PositiveDuration = Field(
        timedelta(days=30), description="How long jobs and rejected rows are kept; cycles stay"
    )
    spool_mb: int = Field(
        256, ge=1, description="Most that waits on disk while the database is away, in MB; then the oldest goes"
    )


class LogSettings(Section):
    """Log files, their form and their retention."""

    directory: Folder = Field(Path("logs"), description="Folder of the cycle folders and of collector.log")
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Least level written")
    format: Literal["text", "json"] = Field("text", description="One line per event as text, or as JSON")
    keep: PositiveDuration = Field(timedelta(days=14), description="Age at which cycle folders are deleted")
    keep_mb: int = Field(512, ge=1, description="Total size in MB above which the oldest cycle folders are deleted")


class UniverseSettings(Section):
    """Which assets and instruments are followed."""

    top: int = Field(250, ge=1, le=5000, description="How many assets by market cap are followed")
    include: Words = Field((), description="Asset ids (or unambiguous symbols) followed whatever their rank")
    exclude: Words = Field((), description="Asset ids (or unambiguous symbols) never followed")
    quotes: Words = Field(
        ("USDT", "USDC", "USD"), min_length=1, description="Quote currencies of followed instruments, best first"
    )
    include_instruments: Words = Field((), description="Instruments followed beside the chosen ones")
    exclude_instruments: Words = Field((), description="Instruments never followed, as okx:BTC-USDT:perp")
    price_tolerance_pct: Decimal = Field(
        Decimal(3), gt=0, le=50, description="How far an instrument's price may be from its asset's to be matched"
    )


class CadenceSettings(Section):
    """When cycles of one kind start and how long they may start jobs."""

    every: Annotated[PositiveDuration, AfterValidator(not_too_rare)] | None = Field(
        None, description="Run on the UTC grid of this length, as 5m"
    )
    cron: CronLine | None = Field(None, description="Or a cron line of five fields, UTC")
    offset: Duration = Field(timedelta(0), description="Shift of the grid, so that cadences do not start together")
    deadline: PositiveDuration = Field(timedelta(minutes=4), description="Time after which a cycle starts no new job")

    @model_validator(mode="after")
    def _one_trigger(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs exactly one of every and cron, as every: 5m")
        if self.every is not None and self.offset >= self.every:
            raise ValueError("has an offset that is not shorter than every")
        return self


class DatasetSettings(Section):
    """One dataset of one source; each dataset reads only the keys that mean something to it."""

    enabled: bool = Field(True, description="Whether this dataset is collected")
    cadence: str = Field("market", description="The cadence that collects this dataset")
    intervals: Intervals = Field((), description="Candle intervals, of 1m 5m 15m 1h 4h 1d 1w")
    history: int = Field(499, ge=1, le=100_000, description="Bars fetched for a series that holds none yet")
    levels: int = Field(50, ge=1, le=1000, description="Levels a side of an order book")
    assets: int = Field(5, ge=1, le=5000, description="Assets fetched per cycle, longest waiting first")
    lookback: PositiveDuration = Field(timedelta(days=30), description="Time fetched when nothing is stored yet")


class LimitSettings(Section):
    """One metered scope of a provider."""

    capacity: int = Field(ge=1, description="Units of weight (or calls) that fit into one window")
    window: PositiveDuration = Field(description="Length of the window, as 1m")


class SourceSettings(Section):
    """One provider."""

    enabled: bool = Field(True, description="Whether this source is collected")
    base_url: HttpUrl | None = Field(None, description="Root address; empty: the provider's public address")
    api_key: SecretStr | None = Field(None, description="Key of the provider, if the plan has one")
    plan: str = Field("public", description="Plan at the provider; sets its root address, key header and limits")
    parallelism: int = Field(16, ge=1, le=64, description="Calls under way at once")
    limits: dict[str, LimitSettings] = Field({}, description="Replaces documented limits, by metered scope")
    datasets: dict[Dataset, DatasetSettings] = Field({}, description="What is collected from this source, and when")


class ExtraIndicator(Section):
    """One more TA-Lib function."""

    function: str = Field(description="Name of a TA-Lib function, as CCI")
    parameters: dict[str, Annotated[float, BeforeValidator(no_switch)]] = Field(
        {}, description="Its parameters, as timeperiod: 20"
    )


class IndicatorSettings(Section):
    """What is computed on closed candles."""

    enabled: bool = Field(True, description="Whether indicators are computed")
    intervals: Intervals = Field(
        (Interval.M1, Interval.H1, Interval.D1), description="Candle intervals with indicators"
    )
    swing_lookback: int = Field(120, ge=5, le=2000, description="Closed bars searched for the last swing (Fibonacci)")
    extra: tuple[ExtraIndicator, ...] = Field((), description="Further TA-Lib functions, stored in extra")


class CheckSettings(Section):
    """When a stored value is doubted."""

    jump_pct: Decimal = Field(
        Decimal(20), gt=0, le=1000, description="Change of a price within a minute above which it is a suspect, percent"
    )
    divergence_pct: Decimal = Field(
        Decimal(5), gt=0, le=1000, description="Distance from other sources' price above which it is a suspect, percent"
    )


class FallbackSettings(Section):
    """Who is asked when a provider gives nothing."""

    candles: Words = Field(
        ("binance_futures", "binance_spot", "kraken", "okx"),
        description="Venues whose candles may stand in for the same instrument of another, best first",
    )
    prices: Words = Field(
        ("coincap", "tickers"),
        description="Who gives asset prices when CoinGecko does not, best first; tickers: the followed venues",
    )


class HttpSettings(Section):
    """Bounds of every call to a provider."""

    connect_timeout_s: float = Field(3.0, gt=0, le=60, description="Longest wait for a connection")
    read_timeout_s: float = Field(10.0, gt=0, le=120, description="Longest silence within an answer")
    total_timeout_s: float = Field(15.0, gt=0, le=300, description="Longest time of a call from start to last byte")
    max_body_mb: int = Field(20, ge=1, le=500, description="Largest decompressed answer that is read")
    reserve_pct: int = Field(5, ge=0, le=90, description="Share of every limit that is left unused")
    healing_pct: int = Field(
        10, ge=0, le=90, description="Share of what may be used that no schedule plans with: kept for filling holes"
    )


class ApiSettings(Section):
    """The data API."""

    enabled: bool = Field(True, description="Whether `run` starts the API beside the collector")
    host: str = Field("127.0.0.1", description="Address it listens on; HOST works too")
    port: int = Field(8000, ge=0, le=65535, description="Port it listens on, 0: any free one; PORT works too")
    symbols: Words = Field(
        ("BTC", "ETH", "SOL", "XRP", "BNB", "ADA", "DOT", "LINK", "LTC", "BCH", "POL", "AVAX", "XLM", "TRX"),
        description="Assets it answers for beside those that are followed; SUPPORTED_SYMBOLS works too",
    )
    ttl_prices: PositiveDuration = Field(
        timedelta(seconds=30), description="For how long prices are fresh; CACHE_TTL_PRICES (seconds) works too"
    )
    ttl_ohlcv: PositiveDuration = Field(
        timedelta(minutes=5), description="For how long candles are fresh; CACHE_TTL_OHLCV (seconds) works too"
    )
    ttl_sentiment: PositiveDuration = Field(
        timedelta(minutes=10), description="For how long sentiment is fresh; CACHE_TTL_SENTIMENT (seconds) works too"
    )
    ttl_overview: PositiveDuration = Field(
        timedelta(minutes=5), description="For how long the market overview is fresh"
    )
    rate_prices: int = Field(
        120, ge=1, description="Requests for prices a client may make in a minute; RATE_LIMIT_PRICES works too"
    )
    rate_ohlcv: int = Field(
        60, ge=1, description="Requests for candles a client may make in a minute; RATE_LIMIT_OHLCV works too"
    )
    rate_sentiment: int = Field(
        30, ge=1, description="Requests for sentiment a client may make in a minute; RATE_LIMIT_SENTIMENT works too"
    )
    rate_data: int = Field(300, ge=1, description="Requests under /api/v1 a client may make in a minute")
    page_rows: int = Field(5000, ge=1, le=100_000, description="Most rows of one page under /api/v1")
    cache_mb: int = Field(64, ge=1, le=4096, description="Most memory that kept answers take, in MB")
    streams: int = Field(500, ge=1, le=10_000, description="Event streams open at once; a client has four at most")
    tokens: Words = Field(
        (), description="SHA-256 of the tokens that are let in, made with: python main.py api token; empty: no token"
    )
    trusted_proxies: Words = Field(
        (), description="Addresses or networks whose X-Forwarded-For is believed, as 10.0.0.0/8"
    )
    cors_origins: Words = Field((), description="Origins whose pages may read the API, as https://example.org")


class Settings(BaseSettings):
    """All settings. Build with `load_settings`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    database: DatabaseSettings = Field(DatabaseSettings(), description="Where rows are stored")
    data_dir: Folder = Field(
        Path("data"), description="Folder of the embedded database and of what waits for a database that is away"
    )
    logs: LogSettings = Field(LogSettings(), description="Log files")
    universe: UniverseSettings = Field(UniverseSettings(), description="Which assets and instruments are followed")
    cadences: dict[str, CadenceSettings] = Field(min_length=1, description="When cycles start, by name")
    sources: dict[str, SourceSettings] = Field(min_length=1, description="Providers, by name")
    indicators: IndicatorSettings = Field(IndicatorSettings(), description="TA-Lib indicators")
    analytics: AnalyticsSettings = Field(AnalyticsSettings(), description="What is computed from stored rows")
    fallback: FallbackSettings = Field(FallbackSettings(), description="Who is asked when a provider gives nothing")
    checks: CheckSettings = Field(CheckSettings(), description="When a stored value is doubted")
    http: HttpSettings = Field(HttpSettings(), description="Bounds of every call")
    api: ApiSettings = Field(ApiSettings(), description="The data API")
    export: ExportSettings = Field(ExportSettings(), description="Scheduled exports to a folder or a bucket")
    bigquery: BigQuerySettings = Field(BigQuerySettings(), description="What goes to BigQuery, and how")
    retention: RetentionSettings = Field(
        RetentionSettings(), description="What leaves the database by age, and where it goes"
    )
    timescale: TimescaleSettings = Field(
        TimescaleSettings(), description="What `db timescale enable` sets up where the server has TimescaleDB"
    )
    backups: BackupSettings = Field(BackupSettings(), description="Scheduled backups of the database")
    alerts: AlertSettings = Field(AlertSettings(), description="What is told to whom when something is wrong")
    simulated: bool = Field(default=False, description="Marks everything stored and shown as simulated")

    @model_validator(mode="after")
    def _cadences_exist(self) -> Self:
        for name in self.cadences:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
                raise ValueError(f"cadences.{name}: a name is lower-case letters, digits and _, at most 31")
        for source, part in self.sources.items():
            for dataset, settings in part.datasets.items():
                if settings.cadence not in self.cadences:
                    raise ValueError(
                        f"sources.{source}.datasets.{dataset}.cadence: {settings.cadence!r} is no cadence; "
                        f"use one of {', '.join(self.cadences)} or add it under cadences"
                    )
        if self.analytics.enabled:
            for key, cadence in self.analytics.cadences():
                if cadence not in self.cadences:
                    raise ValueError(
                        f"analytics.{key}.cadence: {cadence!r} is no cadence; use one of {', '.join(self.cadences)}, "
                        f"or analytics.{key}.enabled: false"
                    )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load_settings` hands over: it merges the layers, so that it can name the origins."""
        return (init_settings,)
