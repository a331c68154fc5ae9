"""GET /api/v1/stream: new rows of chosen kinds as server-sent events, within a second of their commit.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from collector.api.access import client_key, peer
from collector.api.errors import ApiError, Code
from collector.api.events import Edition, Wish, frame, spelled
from collector.api.fanout import Fanout, Reader
from collector.api.limits import limited
from collector.api.parts import Parts
from collector.errors import ConfigError, StorageError
from collector.records import Interval
from collector.storage.news import KINDS, Position
from collector.storage.serving import unknown_symbols

RETRY = b"retry: 3000\n\n"  # ms after which a browser reconnects
KEEP_ALIVE, KEEP_ALIVE_S = b": keep-alive\n\n", 15.0
FAREWELL_S = 1.0  # what a reader that is let go may still take to hear why
SLICE = 64 * 1024  # bytes handed to the connection at once: what it holds back for a slow reader stays bounded
MOST_SYMBOLS = 50
BUSY_RETRY_S = 10
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Type": "text/event-stream; charset=utf-8"}
PARAMETERS = ("kinds", "symbols", "interval", "numbers")
_SYMBOL = re.compile(r"[^\s,\x00-\x1f\x7f]{1,80}")

EXAMPLE = """retry: 3000

event: ready
id: 812-90417
data: {"kinds":["candles"],"listening":true,"simulated":false}

event: candles
id: 812-90421
data: {"kind":"candles","source":"okx","as_of":"2026-01-31T15:31:00.000Z","stale":false,"count":1,"rows":[...]}
"""


def lifespan(parts: Parts) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what opens the streams' connection to the database and closes it at the end of the application."""

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        fanout = Fanout(parts.database, most=parts.settings.streams, simulated=parts.simulated)
        app.state.fanout = fanout
        fanout.open()
        try:
            yield
        finally:
            fanout.close()
            await fanout.closed()

    return live


def router(parts: Parts) -> APIRouter:
    """Return the route of the stream."""
    routes = APIRouter(prefix="/api/v1", tags=["stream"])

    @routes.get(
        "/stream",
        summary="New rows as server-sent events",
        response_class=Events,
        status_code=200,  # what the document says; the class has no default of its own
        dependencies=[Depends(limited(parts, "data"))],
        responses={
            200: {"content": {"text/event-stream": {"example": EXAMPLE}}, "description": "Never ends by itself"}
        },
    )
    async def stream(
        request: Request,
        kinds: Annotated[
            str | None, Query(description=f"Of {', '.join(KINDS)}; default: all", examples=["markets,candles"])
        ] = None,
        symbols: Annotated[
            str | None,
            Query(description="Assets, pairs or instruments; default: all", examples=["BTC,ETHUSDT,okx:SOL-USDT:perp"]),
        ] = None,
        interval: Annotated[str | None, Query(description="Of bars and indicators", examples=["1m,1h"])] = None,
        numbers: Annotated[Literal["number", "string"], Query(description="How exact decimals are written")] = "number",
        last_event_id: Annotated[
            str | None, Header(description="The id of the last event that came: what was missed is sent first")
        ] = None,
    ) -> Response:
        """Send new rows as they are committed: an event per kind and commit, its name is the kind.

        `ready` comes first; `reset` says that rows were missed that are not sent again: read what you need anew; `end`
        is the last event and says why. A row may come twice after a reconnection, its natural key tells.
        """
        _refuse_unknown_parameters(request)
        wish = _wish(kinds, symbols, interval, exact=numbers == "string")
        await run_in_threadpool(_refuse_unknown_symbols, parts, wish.symbols)
        fanout: Fanout | None = getattr(request.app.state, "fanout", None)
        client = client_key(peer(request, parts))
        reason = "the server is not ready" if fanout is None else fanout.room(client)
        if fanout is None or reason:
            raise ApiError(Code.RATE_LIMITED, f"No stream: {reason}", retry_after=BUSY_RETRY_S)
        return Events(fanout, client, wish, last_event_id, simulated=parts.simulated)

    return routes


def _refuse_unknown_parameters(request: Request) -> None:
    for name in request.query_params:
        if name not in PARAMETERS:
            why = f"is no parameter of this address; there are {', '.join(PARAMETERS)}"
            raise ApiError(Code.INVALID_PARAMETER, f"{name[:40]}: {why}", details={name[:40]: why})


def _refuse_unknown_symbols(parts: Parts, names: Collection[str]) -> None:
    """Raise INVALID_SYMBOL for what nobody lists.

    While the database is away nobody can say: a browser would not come back after an error, so it gets its stream.
    """
    asked = sorted(set(names) - {spelled(symbol) for symbol in parts.settings.symbols})
    try:
        strangers = unknown_symbols(parts.database, asked) if asked else []
    except (StorageError, ConfigError):
        return
    if strangers:
        why = f"{strangers[0]!r} is no asset, pair or instrument that is listed; see /api/v1/instruments"
        raise ApiError(Code.INVALID_SYMBOL, f"symbols: {why}", details={"symbols": why})


def _wish(kinds: str | None, symbols: str | None, interval: str | None, *, exact: bool) -> Wish:
    chosen = _words("kinds", kinds, Code.INVALID_PARAMETER)
    for name in chosen:
        if name not in KINDS:
            raise _refused(Code.INVALID_PARAMETER, "kinds", f"{name[:40]!r} is none; use {', '.join(KINDS)}")
    intervals = _words("interval", interval, Code.INVALID_INTERVAL)
    for name in intervals:
        if name not in set(Interval):
            raise _refused(Code.INVALID_INTERVAL, "interval", f"{name[:40]!r} is none; use {', '.join(Interval)}")
    names = _words("symbols", symbols, Code.INVALID_SYMBOL)
    if len(names) > MOST_SYMBOLS:
        raise _refused(Code.INVALID_PARAMETER, "symbols", f"{len(names)} are too many; at most {MOST_SYMBOLS}")
    for name in names:
        if not _SYMBOL.fullmatch(name):
            raise _refused(
                Code.INVALID_SYMBOL, "symbols", f"{name[:40]!r} is none; write BTC,ETHUSDT,okx:SOL-USDT:perp"
            )
    return Wish(
        kinds=tuple(name for name in KINDS if name in chosen or not chosen),
        symbols=frozenset(map(spelled, names)),
        intervals=frozenset(intervals),
        exact=exact,
    )


def _words(parameter: str, text: str | None, code: Code) -> list[str]:
    """Return the words of a list; a list that is given has at least one, and none is empty."""
    if text is None:
        return []
    words = [word.strip(" ") for word in text.split(",")]
    if not all(words):
        raise _refused(code, parameter, "has an empty name; leave the parameter out for all")
    return words


def _refused(code: Code, parameter: str, why: str) -> ApiError:
    return ApiError(code, f"{parameter}: {why}", details={parameter: why})


class Events(Response):
    """The answer that never ends by itself: what was missed, then what comes."""

    media_type = "text/event-stream"

    def __init__(self, fanout: Fanout, client: str, wish: Wish, last_event_id: str | None, *, simulated: bool) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._fanout, self._client, self._wish = fanout, client, wish
        self._last_event_id = last_event_id
        self._simulated = simulated

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the protocol's
        """Send until the reader goes, or is let go."""
        reader = self._fanout.join(self._client, self._wish)
        pump = asyncio.create_task(self._pump(reader, send))
        others = [asyncio.create_task(_gone(receive)), asyncio.create_task(_overdue(reader))]
        try:
            await asyncio.wait([pump, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._fanout.leave(reader)
            for task in (pump, *others):
                task.cancel()
            await asyncio.gather(pump, *others, return_exceptions=True)
        if pump.done() and not pump.cancelled() and (error := pump.exception()) and not isinstance(error, OSError):
            raise error

    async def _pump(self, reader: Reader, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await _send(send, RETRY)
        after = await self._begin(reader, send)
        while True:
            try:
                item = await asyncio.wait_for(reader.queue.get(), KEEP_ALIVE_S)
            except TimeoutError:
                await _send(send, KEEP_ALIVE)
                continue
            if item is None:
                break
            position, text = item
            if after is None or position is None or position.xid > after.xid:
                await _send(send, text)
        await _send(send, frame("end", {"reason": reader.reason}))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self, reader: Reader, send: Send) -> Position | None:
        """Say that the stream is open, and what was missed; return the place up to which everything has been said."""
        here = self._fanout.position
        told = {
            "kinds": list(self._wish.kinds),
            "listening": self._fanout.listening,
            "simulated": self._simulated,
        }
        if self._last_event_id is None:
            await _send(send, frame("ready", told, here))
            return None
        missed = await self._missed(self._last_event_id)
        if missed is None:
            reason = "what was missed is too long ago or too much; read what you need anew"
            await _send(send, frame("ready", told) + frame("reset", {"reason": reason}, here))
            return None
        await _send(send, frame("ready", told) + missed.frames(reader.wish))
        return missed.position

    async def _missed(self, last_event_id: str) -> Edition | None:
        place = Position.parse(last_event_id.strip())
        if place is None:
            return None
        try:
            return await self._fanout.missed(place, self._wish)
        except StorageError:
            return None  # a reset tells the reader the same: what it holds is not whole


async def _send(send: Send, text: bytes) -> None:
    for start in range(0, len(text), SLICE):
        await send({"type": "http.response.body", "body": text[start : start + SLICE], "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _overdue(reader: Reader) -> None:
    await reader.over.wait()
    await asyncio.sleep(FAREWELL_S)
