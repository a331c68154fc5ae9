"""The shapes of the unified endpoints, for the documents and for tests; field names are the clients' own, in camelCase.

Bodies are built as bytes and not through these models, which would cost ten times as much; contract tests hold every
body against its model. A number that is not known is null, never zero. Texts of time are ISO 8601 in UTC, numbers of
time are milliseconds since the epoch.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """A shape without room for anything else."""

    model_config = ConfigDict(extra="forbid")


class Aged(Shape):
    """What every answer says of its age."""

    success: Literal[True]
    timestamp: str = Field(description="When the answer was made", examples=["2026-01-31T15:30:02.120Z"])
    stale: bool = Field(description="The newest that could be had is older than it should be")
    asOf: str | None = Field(description="Time of the newest observation in it", examples=["2026-01-31T15:30:00.000Z"])  # noqa: N815


class Bar(Shape):
    """One closed bar; prices in the quote currency, volume in coins."""

    timestamp: int = Field(description="Start of the bar", examples=[1769871600000])
    open: float = Field(examples=[84012.5])
    high: float = Field(examples=[84200.0])
    low: float = Field(examples=[83950.1])
    close: float = Field(examples=[84101.9])
    volume: float | None = Field(description="null when the provider does not say", examples=[1250.75])


class BarsDetail(Shape):
    """Where bars come from."""

    instrument: str = Field(description="The market", examples=["binance_futures:BTC-USDT:perp"])
    quote: str = Field(description="The currency of its prices", examples=["USDT"])
    from_: Literal["database", "provider"] = Field(alias="from")


class OhlcvAnswer(Aged):
    """GET /api/ohlcv."""

    data: list[Bar]
    symbol: str = Field(examples=["BTCUSDT"])
    interval: str = Field(examples=["1h"])
    count: int = Field(description="Bars in data", examples=[100])
    source: str = Field(description="Who gave the bars", examples=["binance"])
    detail: BarsDetail


class PricePart(Shape):
    """One source's part in a price."""

    source: str = Field(examples=["binance_futures"])
    priceUsd: float = Field(examples=[84101.9])  # noqa: N815
    observedAt: str  # noqa: N815
    fresh: bool
    used: bool = Field(description="The price is made of it")


class Price(Shape):
    """One asset."""

    symbol: str = Field(examples=["BTC"])
    name: str | None = Field(examples=["Bitcoin"])
    price: float | None = Field(description="In the currency asked for", examples=[84110.3])
    priceUsd: float | None = Field(examples=[84101.9])  # noqa: N815
    change1h: float | None = Field(description="Percent", examples=[0.12])
    change24h: float | None = Field(description="Percent", examples=[-1.4])
    change7d: float | None = Field(description="Percent", examples=[3.8])
    volume24h: float | None = Field(description="USD, over all venues", examples=[31000000000.0])
    marketCap: float | None = Field(description="USD", examples=[1670000000000.0])  # noqa: N815
    rank: int | None = Field(description="By market cap", examples=[1])
    lastUpdate: str | None = Field(description="When the price was observed")  # noqa: N815
    stale: bool = Field(description="Its price is older than it should be")
    parts: list[PricePart] | None = Field(None, description="Only with parts=true")


class PricesAnswer(Aged):
    """GET /api/prices."""

    data: list[Price]
    source: str = Field(description="Who the prices are made of", examples=["coingecko+coincap+binance"])
    convert: Literal["USD", "USDT"]


class FearGreed(Shape):
    """The published index."""

    value: int | None = Field(description="0 is extreme fear, 100 extreme greed", examples=[34])
    classification: str | None = Field(examples=["Fear"])
    timestamp: int | None = Field(description="Start of the day it is about", examples=[1769817600000])


class News(Shape):
    """Zeros: there is no source of news."""

    bullish: int = 0
    bearish: int = 0
    neutral: int = 0
    total: int = 0


class Overall(Shape):
    """The mood as computed here."""

    sentiment: Literal["bullish", "bearish", "neutral"]
    score: float | None = Field(description="0 to 100", examples=[47.2])
    confidence: float = Field(description="0 to 1", examples=[0.81])


class Sentiments(Shape):
    """What is known of the mood of the market."""

    fearGreed: FearGreed  # noqa: N815
    news: News
    overall: Overall


class SentimentAnswer(Aged):
    """GET /api/sentiment."""

    data: Sentiments
    source: str = Field(examples=["alternative_me+coingecko"])


class Mover(Shape):
    """An asset in a list of the overview."""

    symbol: str = Field(examples=["SOL"])
    name: str | None = Field(examples=["Solana"])
    price: float | None = Field(description="USD", examples=[142.7])
    change24h: float | None = Field(description="Percent", examples=[7.3])
    volume24h: float | None = Field(description="USD")
    marketCap: float | None = Field(description="USD")  # noqa: N815
    rank: int | None = Field(examples=[6])


class Market(Shape):
    """The whole market."""

    totalMarketCap: float | None = Field(description="USD")  # noqa: N815
    totalVolume24h: float | None = Field(description="USD")  # noqa: N815
    btcDominance: float | None = Field(description="Percent", examples=[57.1])  # noqa: N815
    ethDominance: float | None = Field(description="Percent", examples=[11.9])  # noqa: N815
    activeCoins: int | None = Field(examples=[17412])  # noqa: N815
    topGainers: list[Mover]  # noqa: N815
    topLosers: list[Mover]  # noqa: N815
    trending: list[Mover]


class OverviewAnswer(Aged):
    """GET /api/market/overview."""

    data: Market
    source: str = Field(examples=["coingecko"])


class ProviderState(Shape):
    """One provider."""

    name: str = Field(examples=["kraken"])
    status: Literal["online", "degraded", "offline"]
    latency: float | None = Field(description="Milliseconds of the last call; null before the first", examples=[84.1])
    lastCheck: str | None = Field(description="When it was last called from here")  # noqa: N815
    reason: str | None = Field(description="Why it is not online")


class CacheState(Shape):
    """The kept answers in short."""

    size: int = Field(description="Answers kept")
    hitRate: float = Field(description="Of all askers since the start, 0 to 1", examples=[0.93])  # noqa: N815


class DatabaseState(Shape):
    """The database."""

    status: Literal["online", "offline"]
    reason: str | None


class CycleState(Shape):
    """The newest pass of the collector."""

    id: int
    cadence: str
    state: str
    startedAt: str  # noqa: N815
    finishedAt: str | None  # noqa: N815


class HealthAnswer(Shape):
    """GET /api/health."""

    status: Literal["healthy", "degraded", "unhealthy"]
    uptime: int = Field(description="Seconds")
    version: str
    providers: list[ProviderState]
    cache: CacheState
    timestamp: str
    simulated: bool = Field(description="All numbers are made up")
    database: DatabaseState
    lastCycle: CycleState | None = Field(description="null before the first, or while the database is away")  # noqa: N815
    newestRows: dict[str, float] = Field(description="Age in seconds of the newest row, by dataset")  # noqa: N815


class CacheStats(Shape):
    """What the cache did since the start."""

    size: int = Field(description="Answers kept")
    bytes: int
    hits: int
    misses: int
    stale: int = Field(description="Old answers given because no new one could be had")
    hitRate: float  # noqa: N815


class CacheStatsAnswer(Shape):
    """GET /api/cache/stats."""

    success: Literal[True]
    data: CacheStats
    timestamp: str


class Cleared(Shape):
    """How much was forgotten."""

    cleared: int


class CacheClearAnswer(Shape):
    """POST /api/cache/clear."""

    success: Literal[True]
    data: Cleared
    timestamp: str
