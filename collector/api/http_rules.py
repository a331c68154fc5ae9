"""What HTTP expects of every server, done once for all: HEAD, refused encodings, bodies of unknown length."""

import asyncio
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote_plus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.api.cache import takes_gzip
from collector.api.errors import ApiError, Code

BODY_S = 10.0  # within which a body of no declared length has to be there
_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class Head:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on; an answer that never ends by itself ends behind its head."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def cut(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send(_END)

        asked = {**scope, "method": "GET"}  # the server still has to know that it was HEAD
        try:
            await self._app(asked, receive, cut)
        finally:
            if "route" in asked:
                scope["route"] = asked["route"]


class Encodings:
    """Hides an Accept-Encoding that refuses gzip from a packer that only looks for the word."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] == "http":
            given = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
            if b"gzip" in given.lower() and not takes_gzip(given.decode("latin-1")):
                scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        await self._app(scope, receive, send)


def varying(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer with a tag, which has to tell caches that it comes packed and not packed."""
    told = b",".join(value for name, value in headers if name == b"vary")
    if b"accept-encoding" in told.lower():
        return headers
    others = [pair for pair in headers if pair[0] != b"vary"]
    return [*others, (b"vary", told + b", Accept-Encoding" if told else b"Accept-Encoding")]


def refuse_repeated(query: bytes) -> None:
    """Raise INVALID_PARAMETER when a parameter is given twice: nobody can say which one is meant."""
    if b"&" not in query:
        return
    seen: set[str] = set()
    for part in query.decode("latin-1").split("&"):
        name = unquote_plus(part.partition("=")[0])
        if part and name in seen:
            why = "is given more than once"
            raise ApiError(Code.INVALID_PARAMETER, f"{name[:40]}: {why}", details={name[:40]: why})
        seen.add(name)


async def read_ahead(receive: Receive) -> Receive:
    """Return a reader of a body that is here already; raises what `receive` raises, and 408 when it takes too long.

    A route that looks at no body would otherwise answer whatever its length is.
    """
    messages: list[MutableMapping[str, Any]] = []
    try:
        async with asyncio.timeout(BODY_S):
            while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
                messages.append(await receive())
    except TimeoutError:
        raise HTTPException(408, f"The body took longer than {BODY_S:.0f} s") from None
    waiting = iter(messages)

    async def read() -> Message:
        return next(waiting, None) or await receive()

    return read
