"""A client of the unified endpoints: one method for each, every answer checked when it arrives.

The shapes are typed dictionaries; fields beyond theirs may be there. A float may arrive as a whole number, nothing
else is turned into anything.
"""

import math
import re
import typing
from datetime import datetime
from typing import Any, Literal, TypedDict, TypeVar

import requests

YEAR_2009, YEAR_2100 = 1_230_768_000_000, 4_102_444_800_000
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Millis(int):
    """Milliseconds since the epoch."""


class Moment:
    """Milliseconds since the epoch where it is a number, ISO 8601 in UTC where it is a text."""


Interval = Literal["1m", "5m", "15m", "1h", "4h", "1d", "1w"]
Code = Literal[
    "INVALID_SYMBOL",
    "INVALID_INTERVAL",
    "INVALID_PARAMETER",
    "PROVIDER_ERROR",
    "RATE_LIMITED",
    "NOT_FOUND",
    "UNAUTHORIZED",
    "INTERNAL_ERROR",
]


class Candle(TypedDict):
    timestamp: Millis
    open: float
    high: float
    low: float
    close: float
    volume: float


class Ohlcv(TypedDict):
    success: Literal[True]
    data: list[Candle]
    symbol: str
    interval: Interval
    count: int
    source: str
    timestamp: Moment


class Price(TypedDict):
    """None: not known."""

    symbol: str
    name: str | None
    price: float | None
    priceUsd: float | None
    change1h: float | None
    change24h: float | None
    change7d: float | None
    volume24h: float | None
    marketCap: float | None
    rank: int | None
    lastUpdate: Moment | None


class Prices(TypedDict):
    data: list[Price]
    timestamp: Moment
    source: str


class FearGreed(TypedDict):
    value: float
    classification: str
    timestamp: Moment


class News(TypedDict):
    bullish: int
    bearish: int
    neutral: int
    total: int


class Overall(TypedDict):
    sentiment: str
    score: float
    confidence: float


class Mood(TypedDict):
    fearGreed: FearGreed
    news: News
    overall: Overall


class Sentiment(TypedDict):
    data: Mood


class Mover(TypedDict):
    symbol: str


class Market(TypedDict):
    totalMarketCap: float
    totalVolume24h: float
    btcDominance: float
    ethDominance: float
    activeCoins: int
    topGainers: list[Mover]
    topLosers: list[Mover]
    trending: list[Mover]


class Overview(TypedDict):
    data: Market


class Provider(TypedDict):
    name: str
    status: Literal["online", "degraded", "offline"]
    latency: float | None
    lastCheck: Moment | None


class Cache(TypedDict):
    size: int
    hitRate: float


class Health(TypedDict):
    status: Literal["healthy", "degraded", "unhealthy"]
    uptime: float
    version: str
    providers: list[Provider]
    cache: Cache


class Done(TypedDict):
    success: Literal[True]


class Error(TypedDict):
    code: Code
    message: str
    details: dict[str, Any]
    retryAfter: int | None


class ErrorAnswer(TypedDict):
    success: Literal[False]
    error: Error
    timestamp: Moment


T = TypeVar("T")


class Misshapen(Exception):
    """An answer that is not what it must be."""


class Refused(Exception):
    """Everything that is not a 2xx. `retry_after` is the header of that name."""

    def __init__(self, status: int, answer: ErrorAnswer, retry_after: str | None) -> None:
        super().__init__(f"HTTP {status} {answer['error']['code']}: {answer['error']['message']}")
        self.status, self.answer, self.retry_after = status, answer, retry_after


class UnifiedClient:
    """Blocking, one connection."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http = requests.Session()
        self._http.trust_env = False

    def health(self) -> Health:
        return checked(self.get("/api/health"), Health, "health")

    def ohlcv(self, symbol: str, interval: str | None = None, limit: int | None = None) -> Ohlcv:
        found = self.get("/api/ohlcv", symbol=symbol, interval=interval, limit=limit)
        return checked(found, Ohlcv, f"ohlcv {symbol} {interval}")

    def prices(self, symbols: typing.Sequence[str] | None = None, convert: str | None = None) -> Prices:
        found = self.get("/api/prices", symbols=",".join(symbols) if symbols else None, convert=convert)
        return checked(found, Prices, f"prices {symbols}")

    def sentiment(self) -> Sentiment:
        return checked(self.get("/api/sentiment"), Sentiment, "sentiment")

    def overview(self) -> Overview:
        return checked(self.get("/api/market/overview"), Overview, "overview")

    def cache_stats(self) -> Done:
        return checked(self.get("/api/cache/stats"), Done, "cache stats")

    def clear_cache(self) -> Done:
        return checked(self._body(self._http.post(f"{self._address}/api/cache/clear", timeout=20)), Done, "cache clear")

    def get(self, path: str, **query: str | int | None) -> object:
        return self._body(self._http.get(self._address + path, params=query, timeout=20))

    def _body(self, response: requests.Response) -> object:
        if response.ok:
            return response.json()
        answer = checked(response.json(), ErrorAnswer, f"HTTP {response.status_code}")
        raise Refused(response.status_code, answer, response.headers.get("Retry-After"))


def checked(value: Any, shape: type[T], place: str) -> T:
    """Return a value as what it is; raises Misshapen with the place of what is wrong."""
    found: T = _checked(value, shape, place)
    return found


def _checked(value: Any, shape: Any, place: str) -> Any:  # noqa: PLR0911 - one line for each kind of shape
    origin, inner = typing.get_origin(shape), typing.get_args(shape)
    if typing.is_typeddict(shape):
        fields = typing.get_type_hints(shape)
        found = _of_type(value, dict, place)
        return {name: _checked(_field(found, name, place), kind, f"{place}.{name}") for name, kind in fields.items()}
    if origin is Literal:
        return value if any(value is word or value == word for word in inner) else _fail(place, shape, value)
    if origin is list:
        return [_checked(item, inner[0], f"{place}[{n}]") for n, item in enumerate(_of_type(value, list, place))]
    if origin is dict:
        return _of_type(value, dict, place)
    if type(None) in inner:
        return None if value is None else _checked(value, inner[0], place)
    if shape is float:
        is_number = type(value) in (int, float) and math.isfinite(value)
        return value if is_number else _fail(place, shape, value)
    if shape in (Millis, Moment):
        return _moment(value, shape, place)
    return _of_type(value, shape, place)


def _field(found: dict[str, Any], name: str, place: str) -> Any:
    return found[name] if name in found else _fail(f"{place}.{name}", "a field", found)


def _of_type(value: Any, shape: type, place: str) -> Any:
    """A bool is no int here, and an empty text is none."""
    return value if type(value) is shape and value != "" else _fail(place, shape, value)


def _moment(value: Any, shape: type, place: str) -> Any:
    if type(value) is int and YEAR_2009 < value < YEAR_2100:
        return value
    if shape is Moment and type(value) is str and ISO.fullmatch(value) and datetime.fromisoformat(value):
        return value
    return _fail(place, shape, value)


def _fail(place: str, wanted: Any, value: Any) -> typing.NoReturn:
    raise Misshapen(f"{place}: wanted {wanted}, got {value!r}")
