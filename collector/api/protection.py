"""The outside of the API: what every request passes before a route sees it, and every answer before it leaves.

Each answer carries a request id and safe headers; each error is the envelope; each request is bounded, counted and
logged. All of it is plain ASGI: a class that wraps each request in a task of its own costs 41 % of throughput.
"""

import itertools
import re
import secrets
import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.api import description, faults, http_rules, limits, pages
from collector.api.access import demand_token, is_open, networks, peer_of
from collector.api.cache import Answers, told
from collector.api.errors import ApiError, Code
from collector.api.limits import Limiter
from collector.api.metrics import MEDIA_TYPE, Metrics, Samples
from collector.api.parts import Parts
from collector.log import get_logger

MAX_BODY = 64 * 1024
MAX_TARGET = 8 * 1024  # path and query together
MAX_HEADERS = 32 * 1024
MAX_HEADER_COUNT = 100
GZIP_FROM = 600  # bytes
GZIP_LEVEL = 6
GZIP_THREAD_FROM = 32 * 1024  # bytes; packing as much takes about a millisecond of the event loop
CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
LOG_EVERY_S = 0.25
LOGGED_PATH = 300  # characters of a path in the log; no path of ours is half as long
SHORTCUTS = 2048  # requests whose answer is known by path and query
SHORTCUT_QUERY = 512  # bytes; longer queries take the long way
CORS_METHODS = ("GET", "HEAD")
CORS_HEADERS = ("Authorization", "X-API-Key", "Content-Type", "If-None-Match", "Last-Event-ID", "X-Request-ID")
EXPOSED = (
    *("ETag", "Link", "Retry-After", "X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    *("X-Next-Cursor", "X-Source", "X-As-Of", "X-Stale", "X-Simulated"),  # of formats without a place for them
)

_OURS, _NUMBERS = secrets.token_hex(4), itertools.count()  # of request ids: this process, and the request
_LOG = get_logger("Api")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def install(app: FastAPI, parts: Parts) -> None:
    """Put the protection around an application, and on its state: `limiter`, `answers` and `metrics`.

    Raises ConfigError for a setting that cannot be used.
    """
    networks(tuple(parts.settings.trusted_proxies))
    app.state.answers = Answers(parts.settings.cache_mb * 1_000_000, parts.clock)
    app.state.limiter = Limiter(parts.settings, parts.clock)
    app.state.metrics = Metrics()
    handled = faults.handlers(parts.clock, _LOG)
    for kind, handler in handled.items():
        if kind is not Exception:
            app.add_exception_handler(kind, handler)
    app.router.redirect_slashes = False  # the redirect would go wherever the Host header says
    # The last added is the outermost.
    app.add_middleware(
        GZipMiddleware,
        minimum_size=GZIP_FROM,
        compresslevel=GZIP_LEVEL,
        thread_minimum_size=GZIP_THREAD_FROM,
    )
    app.add_middleware(http_rules.Encodings)
    app.add_middleware(Shortcut, parts=parts, answers=app.state.answers, limiter=app.state.limiter)
    app.add_middleware(Gate, parts=parts)
    app.add_middleware(ExceptionMiddleware, handlers=handled)
    app.add_middleware(http_rules.Head)
    if parts.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=parts.settings.cors_origins,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_HEADERS,
            expose_headers=EXPOSED,
        )
    app.add_middleware(Edge, parts=parts, metrics=app.state.metrics)
    _count_everything(app, parts)
    pages.install(app)
    description.install(app, parts)


class Edge:
    """The outermost layer: gives each request an id, and each answer its headers, a count and a line in the log."""

    def __init__(self, app: ASGIApp, parts: Parts, metrics: Metrics) -> None:
        self._app = app
        self._parts = parts
        self._metrics = metrics
        self._access = AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            self._access.write()
            return
        started = self._parts.clock.monotonic()
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(scope)
        sent = {"status": 0, "bytes": 0}

        async def dress(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
                _dress(message, state)
            elif message["type"] == "http.response.body":
                sent["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, dress)
        finally:
            self._tell(scope, sent, self._parts.clock.monotonic() - started)

    def _tell(self, scope: Scope, sent: dict[str, int], seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.count(route, scope["method"], sent["status"], seconds)
        self._access.add(
            self._parts.clock.now().timestamp(),
            {
                "id": scope["state"]["request_id"],
                "peer": peer_of(scope, self._parts),
                "method": scope["method"],
                "path": scope["path"][:LOGGED_PATH],
                "status": sent["status"],
                "bytes": sent["bytes"],
                "ms": round(seconds * 1000, 1),
            },
        )


class AccessLog:
    """Writes a line per request: the first at once, those that follow it closely together a moment later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[tuple[float, dict[str, Any]]] = []
        self._waiting = False  # whether a timer will write

    def add(self, at: float, fields: dict[str, Any]) -> None:
        """Take one line; `at` is in seconds since the epoch."""
        with self._lock:
            self._rows.append((at, fields))
            first, self._waiting = not self._waiting, True
        if first:
            self.write()
            timer = threading.Timer(LOG_EVERY_S, self._write_later)
            timer.daemon = True
            timer.start()

    def write(self) -> None:
        """Write what waits."""
        with self._lock:
            rows, self._rows = self._rows, []
        _LOG.many("request", rows)

    def _write_later(self) -> None:
        with self._lock:
            self._waiting = False
        self.write()


class Gate:
    """Refuses what is too large, and what lacks the token that the settings ask for."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or raise ApiError."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _check_head(scope)
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:20]) > MAX_BODY:
            raise _too_long()
        if self._parts.settings.tokens and not is_open(_path(scope)):
            demand_token(headers, self._parts)
        if _path(scope).startswith("/api/"):
            http_rules.refuse_repeated(scope["query_string"])
        body = _bounded(receive)
        if "transfer-encoding" in headers:
            body = await http_rules.read_ahead(body)
        await self._app(scope, body, send)


class Shortcut:
    """Answers a request that was answered before, and whose answer is kept fresh, without asking its route again.

    Reading parameters and finding the route takes more time than all the rest of a kept answer. The request still
    passed the gate, and counts on the same limit as the first one.
    """

    def __init__(self, app: ASGIApp, parts: Parts, answers: Answers, limiter: Limiter) -> None:
        self._app = app
        self._parts = parts
        self._answers = answers
        self._limiter = limiter
        self._known: LRUCache[tuple[str, bytes], _Known] = LRUCache(SHORTCUTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on and learn from its answer."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        asked = (scope["path"], scope["query_string"])
        known = self._known.get(asked)
        kept = None
        if known is not None:
            scope["route"] = known.route
            self._limiter.admit(known.counted, peer_of(scope, self._parts), scope["state"])
            kept = self._answers.fresh(known.key)
        if kept is None:
            await self._app(scope, receive, send)
            self._learn(asked, scope)
        else:
            status, headers, content = told(kept, scope["headers"])
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": content})

    def _learn(self, asked: tuple[str, bytes], scope: Scope) -> None:
        state = scope["state"]
        if state.get("answered") is not None and "counted" in state and len(asked[1]) <= SHORTCUT_QUERY:
            self._known[asked] = _Known(state["answered"], state["counted"], scope.get("route"))


@dataclass(frozen=True, slots=True)
class _Known:
    """What a request was answered from, on which limit it counted, and which route it took."""

    key: Hashable
    counted: str
    route: Any


def _check_head(scope: Scope) -> None:
    if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > MAX_TARGET:
        raise ApiError(Code.INVALID_PARAMETER, f"Path and query have more than {MAX_TARGET} bytes", status=414)
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size > MAX_HEADERS or len(scope["headers"]) > MAX_HEADER_COUNT:
        message = f"The headers have more than {MAX_HEADERS} bytes or {MAX_HEADER_COUNT} lines"
        raise ApiError(Code.INVALID_PARAMETER, message, status=431)


def _bounded(receive: Receive) -> Receive:
    """Return a reader of the body that stops one that is longer than it may be, whatever length was declared."""
    size = 0

    async def read() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            # Not ApiError: the framework would turn any other error while it reads a body into a 400.
            raise HTTPException(413, f"The body has more than {MAX_BODY} bytes")
        return message

    return read


def _too_long() -> ApiError:
    return ApiError(Code.INVALID_PARAMETER, f"The body has more than {MAX_BODY} bytes", status=413)


def _path(scope: Scope) -> str:
    """Return the path as the routes see it: without the prefix that a server in front may put there."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _request_id(scope: Scope) -> str:
    """Return the id the client gave when it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return f"{_OURS}{next(_NUMBERS):08x}"


def _dress(message: Message, state: dict[str, Any]) -> None:
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
    present = {name for name, _ in headers}
    if b"etag" in present:
        headers = http_rules.varying(headers)
    headers += [pair for pair in SAFE_HEADERS if pair[0] not in present]
    headers.append((b"x-request-id", state["request_id"].encode()))
    if "grant" in state:
        headers += limits.headers(state["grant"])
    message["headers"] = headers


def _count_everything(app: FastAPI, parts: Parts) -> None:
    """Serve /metrics: what is counted here, and what the providers' states are."""
    metrics: Metrics = app.state.metrics
    answers: Answers = app.state.answers
    limiter: Limiter = app.state.limiter

    def cache(name: str) -> Any:
        return lambda: [({}, answers.stats()[name])]

    for name, kind, meaning in (
        ("hits", "counter", "Answers served fresh from the cache."),
        ("misses", "counter", "Answers that had to be built or waited for."),
        ("stale", "counter", "Old answers served because no new one could be had."),
    ):
        metrics.register(f"collector_api_cache_{name}_total", meaning, cache(name), kind=kind)
    metrics.register("collector_api_cache_bytes", "Memory that kept answers take.", cache("bytes"))
    metrics.register("collector_api_cache_answers", "Answers kept.", cache("size"))
    metrics.register(
        "collector_api_rate_limited_total",
        "Requests refused because their client had made too many.",
        lambda: [({}, limiter.refused)],
        kind="counter",
    )
    metrics.register(
        "collector_api_clients", "Clients whose requests are counted now.", lambda: [({}, limiter.clients)]
    )
    metrics.register("collector_provider_up", "1 online, 0.5 degraded, 0 offline.", lambda: _provider_states(parts))

    if parts.figures is not None:
        metrics.register_all(parts.figures)

    @app.get("/metrics", include_in_schema=False)
    def read_metrics(request: Request) -> Response:  # noqa: ARG001
        return Response(metrics.text(), media_type=MEDIA_TYPE)


def _provider_states(parts: Parts) -> Samples:
    worth = {"online": 1.0, "degraded": 0.5, "offline": 0.0}
    return [({"provider": name}, worth[health.status]) for name, health in parts.live.health().items()]
