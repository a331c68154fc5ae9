"""The addresses of the unified endpoints, what they accept, and how their answers are kept."""

from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from collector.api import schemas
from collector.api.access import needs_token
from collector.api.cache import Answers, Body, answer
from collector.api.errors import ApiError, Code
from collector.api.fallback import Budget, Stored, Upstream
from collector.api.limits import limited
from collector.api.parts import Parts
from collector.api.symbols import Symbols
from collector.api.unified.board import Board
from collector.api.unified.candles import Candles
from collector.api.unified.health import HealthReport
from collector.api.unified.known import Universe
from collector.api.unified.mood import Mood
from collector.api.unified.overview import Overview
from collector.api.unified.prices import CURRENCIES, Prices
from collector.clock import iso
from collector.records import Interval

KEEP_S = 86_400.0  # for which an answer may stand in, marked stale, once its time is over
MOST_BARS = 1_000
MOST_TEXT = 2_000  # of a list of symbols


class Unified:
    """What the routes work with; one per application."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        stored, upstream = Stored(parts.database, parts.clock), Upstream(parts.live)
        self.universe = Universe(parts, stored, upstream)
        self.board = Board(parts, stored, upstream, self.universe)
        self.candles = Candles(parts, stored, upstream, self.universe)
        self.prices = Prices(parts, upstream, self.board)
        self.mood = Mood(parts, stored, upstream, self.board)
        self.overview = Overview(parts, stored, upstream, self.board)
        self.health = HealthReport(parts, stored)

    async def symbols(self) -> Symbols:
        """Return what is supported; reads the database, in a thread, once a minute."""
        known = self.universe.at_hand()
        if known is None:
            known = await run_in_threadpool(self.universe.load)
        return known.symbols


async def kept(request: Request, key: tuple[Any, ...], ttl_s: float, build: Callable[[], Body]) -> Response:
    """Return the kept answer of a key, built in a thread when there is none that is fresh."""
    answers: Answers = request.app.state.answers
    return answer(request, await answers.fetch(key, ttl_s, build, keep=KEEP_S))


def router(parts: Parts) -> APIRouter:
    """Return the routes of part 1."""
    made = APIRouter(prefix="/api", tags=["unified"])
    unified = Unified(parts)
    for add in (_add_candles, _add_prices, _add_moods, _add_state):
        add(made, unified)
    return made


def _interval(text: str) -> Interval:
    try:
        return Interval(text.strip())
    except ValueError as error:
        known = ", ".join(Interval)
        shown = "".join(letter for letter in text[:20] if letter.isprintable())
        message = f"{shown!r} is no interval; use one of {known}"
        raise ApiError(Code.INVALID_INTERVAL, message, details={"intervals": list(Interval)}) from error


def _add_candles(made: APIRouter, unified: Unified) -> None:
    @made.get(
        "/ohlcv",
        response_model=schemas.OhlcvAnswer,
        dependencies=[Depends(limited(unified.parts, "ohlcv"))],
        summary="Closed candles of one asset, oldest first",
    )
    async def ohlcv(
        request: Request,
        symbol: Annotated[str, Query(description="BTC, BTCUSDT, BTC/USDT or BTC-USDT", examples=["BTCUSDT"])],
        interval: Annotated[
            str, Query(description="Length of a bar", examples=["1h"], json_schema_extra={"enum": list(Interval)})
        ] = "1h",
        limit: Annotated[int, Query(ge=1, le=MOST_BARS, description="The newest so many", examples=[100])] = 100,
    ) -> Response:
        width = _interval(interval)
        began = unified.parts.clock.monotonic()
        coin = (await unified.symbols()).one(symbol)
        return await kept(
            request,
            ("ohlcv", coin.symbol, width, limit),
            unified.candles.ttl_s(width),
            lambda: unified.candles.body(coin, width, limit, Budget.since(began, unified.parts.clock)),
        )


def _add_prices(made: APIRouter, unified: Unified) -> None:
    @made.get(
        "/prices",
        response_model=schemas.PricesAnswer,
        response_model_exclude_unset=True,
        dependencies=[Depends(limited(unified.parts, "prices"))],
        summary="Newest prices, in the order asked for",
    )
    async def prices(
        request: Request,
        symbols: Annotated[
            str | None, Query(max_length=MOST_TEXT, description="As BTC,ETH; all when left out", examples=["BTC,ETH"])
        ] = None,
        convert: Annotated[
            str, Query(description="Currency of price", examples=["USDT"], json_schema_extra={"enum": list(CURRENCIES)})
        ] = "USDT",
        parts: Annotated[bool, Query(description="Show what each source said")] = False,
    ) -> Response:
        currency = convert.strip().upper()
        if currency not in CURRENCIES:
            message = f"convert: use one of {', '.join(CURRENCIES)}"
            raise ApiError(Code.INVALID_PARAMETER, message, details={"convert": "USD or USDT"})
        began = unified.parts.clock.monotonic()
        coins = (await unified.symbols()).several(symbols)
        unified.board.ahead()
        return await kept(
            request,
            ("prices", tuple(coin.symbol for coin in coins), currency, parts),
            unified.board.left_s() or unified.parts.settings.ttl_prices.total_seconds(),
            lambda: unified.prices.body(coins, currency, Budget.since(began, unified.parts.clock), with_parts=parts),
        )


def _add_moods(made: APIRouter, unified: Unified) -> None:
    @made.get(
        "/sentiment",
        response_model=schemas.SentimentAnswer,
        dependencies=[Depends(limited(unified.parts, "sentiment"))],
        summary="Fear and greed, and the mood of the market",
    )
    async def sentiment(request: Request) -> Response:
        ttl, clock = unified.parts.settings.ttl_sentiment, unified.parts.clock
        return await kept(request, ("sentiment",), ttl.total_seconds(), lambda: unified.mood.body(Budget(clock)))

    @made.get(
        "/market/overview",
        response_model=schemas.OverviewAnswer,
        dependencies=[Depends(limited(unified.parts, "prices"))],
        summary="The whole market, and what moves it",
    )
    async def overview(request: Request) -> Response:
        ttl, clock = unified.parts.settings.ttl_overview, unified.parts.clock
        return await kept(request, ("overview",), ttl.total_seconds(), lambda: unified.overview.body(Budget(clock)))


def _add_state(made: APIRouter, unified: Unified) -> None:
    clock = unified.parts.clock

    @made.get(
        "/health",
        response_model=schemas.HealthAnswer,
        summary="Whether answers can be given; never limited, never needs a token",
    )
    def health(request: Request) -> Response:
        return _json(unified.health.content(request.app.state.answers))

    @made.get(
        "/cache/stats",
        response_model=schemas.CacheStatsAnswer,
        dependencies=[Depends(limited(unified.parts, "data"))],
        summary="What the cache of answers did",
    )
    async def stats(request: Request) -> Response:
        found = request.app.state.answers.stats()
        told = {name: found[name] for name in ("size", "bytes", "hits", "misses", "stale")}
        data = {**told, "hitRate": round(found["hit_rate"], 4)}
        return _json({"success": True, "data": data, "timestamp": iso(clock.now())})

    @made.post(
        "/cache/clear",
        response_model=schemas.CacheClearAnswer,
        dependencies=[Depends(limited(unified.parts, "data")), Depends(needs_token(unified.parts))],
        summary="Forget all kept answers; needs a token, or this machine while none is configured",
    )
    async def clear(request: Request) -> Response:
        cleared = request.app.state.answers.clear()
        unified.board.clear()
        return _json({"success": True, "data": {"cleared": cleared}, "timestamp": iso(clock.now())})


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
