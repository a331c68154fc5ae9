"""Answers kept for the next asker: bounded by bytes, built once for any number of simultaneous askers.

An answer is fresh for its time, then kept a while longer to stand in, marked stale, when a new one cannot be had.
Time is the monotonic clock: setting the machine's clock makes nothing old or young.
"""

import asyncio
import gzip
import hashlib
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime

from cachetools import TLRUCache, TTLCache
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from collector.api.errors import ApiError, Code
from collector.clock import Clock
from collector.errors import CollectorError

PATIENCE_S = 10.0  # how long one waits for the answer that another is building
IMPATIENCE_S = 2.0  # the same when an older answer can be given
REFUSAL_S = 2.0  # how long a failure answers for the next askers, so that a dead provider is not asked by each in turn
_REFUSALS = 1024  # failures remembered at once
_GZIP_FROM = 600  # bytes; below, packing saves nothing on a wire
_GZIP_LEVEL = 4  # 1 000 bars: 1.2 ms and 26 kB; level 6 takes 2.8 ms for 24 kB
_OVERHEAD = 600  # bytes of objects around one entry
_SERVER_FAULT = 500


@dataclass(frozen=True, slots=True)
class Body:
    """An answer as built: encoded bytes, and what they are made of.

    A JSON body says `"stale":false` (no blanks, as orjson writes it) wherever it promises freshness; when it must be
    served old, each of these is turned. `stale` is true when it was built from old data: it is not kept as fresh.
    """

    content: bytes
    media_type: str = "application/json"
    source: str = ""
    as_of: datetime | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as served. `left` is for how many seconds it stays fresh, 0 when it is stale."""

    body: Body
    etag: str
    gzipped: bytes | None  # None when packing does not pay
    stale: bool
    left: float
    key: Hashable = None  # of the answer in the cache


@dataclass(slots=True)
class _Entry:
    """What the cache holds: the answer, until when it is fresh, and until when it may stand in."""

    kept: Kept
    fresh_until: float
    kept_until: float
    key_bytes: int
    aged: Kept | None = None  # the same, marked stale; made when first needed

    @property
    def size(self) -> int:
        packed = len(self.kept.gzipped or b"")
        return 2 * (len(self.kept.body.content) + packed) + self.key_bytes + _OVERHEAD  # twice: it may get a stale twin

    def served(self, now: float) -> Kept:
        """Return the answer with what is left of its time."""
        kept = self.kept
        left = 0.0 if kept.stale else self.fresh_until - now
        return Kept(kept.body, kept.etag, kept.gzipped, kept.stale, left, kept.key)

    def standing_in(self) -> Kept:
        """Return the answer marked stale."""
        if self.aged is None:
            body = self.kept.body
            content = body.content.replace(b'"stale":false', b'"stale":true')
            self.aged = _packed(self.kept.key, replace(body, content=content, stale=True))
        return self.aged


@dataclass(slots=True)
class _Flight:
    """One answer being built, and who waits for it."""

    key: Hashable
    ttl: float
    keep: float
    generation: int
    older: _Entry | None  # what can stand in
    landed: "Future[Kept]" = field(default_factory=Future)


@dataclass(slots=True)
class _Counts:
    asked: int = 0
    hits: int = 0
    misses: int = 0
    stale: int = 0


class Answers:
    """Kept answers by key; safe for threads. Use `get` in a thread and `fetch` in the event loop."""

    def __init__(self, capacity_bytes: int, clock: Clock, *, patience_s: float = PATIENCE_S) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._entries: TLRUCache[Hashable, _Entry] = TLRUCache(
            capacity_bytes, ttu=lambda _, entry, __: entry.kept_until, timer=clock.monotonic, getsizeof=lambda e: e.size
        )
        self._refusals: TTLCache[Hashable, Exception] = TTLCache(_REFUSALS, REFUSAL_S, timer=clock.monotonic)
        self._flights: dict[Hashable, _Flight] = {}
        self._generation = 0
        self._counts = _Counts()

    def get(self, key: Hashable, ttl: float, build: Callable[[], Body], *, keep: float) -> Kept:
        """Return the answer of a key, built when no fresh one is kept; it is fresh for `ttl` seconds.

        Of any number of simultaneous askers one builds, the others wait for the same result or failure. When building
        fails with an error of ours, an answer at most `keep` seconds over its time is served instead, marked stale;
        else the error is raised, and to everybody who asks within the next two seconds. Errors that blame the request
        (status below 500) are raised whatever is kept. Raises PROVIDER_ERROR when the wait becomes too long.
        """
        found = self._look(key, ttl, keep)
        if isinstance(found, Kept):
            return found
        flight, is_first = found
        if is_first:
            return self._build(flight, build)
        try:
            return flight.landed.result(self._patience(flight))
        except TimeoutError:
            return self._late(flight)

    async def fetch(self, key: Hashable, ttl: float, build: Callable[[], Body], *, keep: float) -> Kept:
        """Return the same as `get`, from the event loop: `build` runs in a thread, those who wait need none.

        An asker that goes away takes nothing from the others.
        """
        found = self._look(key, ttl, keep)
        if isinstance(found, Kept):
            return found
        flight, is_first = found
        if is_first:
            try:
                return await run_in_threadpool(self._build, flight, build)
            finally:
                self._abandon(flight)  # nothing to do, unless we were cancelled before a thread was free
        try:
            waiting = asyncio.shield(asyncio.wrap_future(flight.landed))
            return await asyncio.wait_for(waiting, self._patience(flight))
        except TimeoutError:
            return self._late(flight)

    def fresh(self, key: Hashable) -> Kept | None:
        """Return the answer of a key if a fresh one is kept, else None; never waits, never builds."""
        with self._lock:
            now = self._clock.monotonic()
            entry: _Entry | None = self._entries.get(key)
            if entry is None or now >= entry.fresh_until:
                return None
            self._counts.asked += 1
            self._count(stale=entry.kept.stale)
            return entry.served(now)

    def clear(self) -> int:
        """Forget everything and return how many answers that were; what is being built now will not be kept."""
        with self._lock:
            self._generation += 1
            count = len(self._entries)
            for store in (self._entries, self._refusals, self._flights):
                store.clear()
            return count

    def stats(self) -> dict[str, float]:
        """Return size (answers), bytes, hits, misses, stale and hit_rate, the last four since the start.

        A hit was served fresh, a miss had to be built or waited for, a stale one was served old (after a miss or after
        a failure a moment ago). hit_rate is the share of hits among all that was asked, 0 before the first.
        """
        with self._lock:
            counts = self._counts
            return {
                "size": len(self._entries),
                "bytes": self._entries.currsize,
                "hits": counts.hits,
                "misses": counts.misses,
                "stale": counts.stale,
                "hit_rate": counts.hits / counts.asked if counts.asked else 0.0,
            }

    def _look(self, key: Hashable, ttl: float, keep: float) -> Kept | tuple[_Flight, bool]:
        """Return what can be served at once, or the flight to wait for and whether it is ours to fly."""
        with self._lock:
            self._counts.asked += 1
            now = self._clock.monotonic()
            entry: _Entry | None = self._entries.get(key)
            if entry is not None and now < entry.fresh_until:
                self._count(stale=entry.kept.stale)
                return entry.served(now)
            refusal = self._refusals.get(key)
            if refusal is None:
                self._counts.misses += 1
                return self._board(key, ttl, keep, entry)
        return self._stand_in(entry, refusal)

    def _board(self, key: Hashable, ttl: float, keep: float, older: _Entry | None) -> tuple[_Flight, bool]:
        flight = self._flights.get(key)
        if flight is not None:
            return flight, False
        flight = self._flights[key] = _Flight(key, ttl, keep, self._generation, older)
        flight.landed.set_running_or_notify_cancel()  # from here on no waiter can cancel it for the others
        return flight, True

    def _build(self, flight: _Flight, build: Callable[[], Body]) -> Kept:
        try:
            kept = _packed(flight.key, build())
        except (ApiError, CollectorError) as error:
            self._fail(flight, error)
            return self._stand_in(flight.older, error)
        else:
            self._land(flight, kept)
            return flight.landed.result()
        finally:
            self._abandon(flight)

    def _land(self, flight: _Flight, kept: Kept) -> None:
        """Keep an answer, unless the cache was cleared meanwhile, and give it to all who wait."""
        now = self._clock.monotonic()
        # An answer made from old data is asked for again soon, but not by each in turn.
        ttl = min(flight.ttl, REFUSAL_S) if kept.stale else flight.ttl
        entry = _Entry(kept, now + ttl, now + ttl + flight.keep, len(repr(flight.key)))
        with self._lock:
            if flight.generation == self._generation and entry.size <= self._entries.maxsize:
                self._entries[flight.key] = entry
            self._leave(flight)
        flight.landed.set_result(entry.served(now))

    def _fail(self, flight: _Flight, error: Exception) -> None:
        """Remember a failure for a moment and give it to all who wait, or what stands in for it."""
        with self._lock:
            if flight.generation == self._generation:
                self._refusals[flight.key] = error
            self._leave(flight)
        if flight.older is None or _blames_request(error):
            flight.landed.set_exception(error)
        else:
            flight.landed.set_result(flight.older.standing_in())

    def _abandon(self, flight: _Flight) -> None:
        """Let nobody wait for an answer that will not come: a defect in `build`, or a cancelled first asker."""
        with self._lock:
            self._leave(flight)
        if not flight.landed.done():
            flight.landed.set_exception(ApiError(Code.INTERNAL_ERROR, "The answer could not be built", retry_after=1))

    def _leave(self, flight: _Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def _stand_in(self, older: _Entry | None, error: Exception) -> Kept:
        if older is None or _blames_request(error):
            raise error.with_traceback(None)  # it is raised to many: their tracebacks would add up
        with self._lock:
            self._count(stale=True)
        return older.standing_in()

    def _late(self, flight: _Flight) -> Kept:
        message = "The answer takes too long to come; others wait for it too"
        return self._stand_in(flight.older, ApiError(Code.PROVIDER_ERROR, message, retry_after=int(REFUSAL_S)))

    def _patience(self, flight: _Flight) -> float:
        return self._patience_s if flight.older is None else min(self._patience_s, IMPATIENCE_S)

    def _count(self, *, stale: bool) -> None:
        if stale:
            self._counts.stale += 1
        else:
            self._counts.hits += 1


def answer(request: Request, kept: Kept) -> Response:
    """Return the response of a kept answer: 304 when the client has it already, packed when it takes gzip.

    The key of the answer must follow from path and query alone: the same path and query are answered from it without
    asking the route again, as long as it is fresh.
    """
    request.state.answered = kept.key
    status, headers, content = told(kept, request.scope["headers"])
    response = Response(content, status_code=status)
    response.raw_headers = headers
    return response


def told(kept: Kept, asked: Iterable[tuple[bytes, bytes]]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of a kept answer for a request with these headers."""
    known, accepted = "", ""
    for name, value in asked:
        if name == b"if-none-match":
            known = value.decode("latin-1")
        elif name == b"accept-encoding":
            accepted = value.decode("latin-1")
    fresh_for = b"no-cache" if kept.stale else b"max-age=%d" % kept.left
    headers = [(b"etag", kept.etag.encode()), (b"cache-control", fresh_for)]
    if known and _has(known, kept.etag):
        return 304, headers, b""
    content = kept.body.content
    headers.append((b"content-type", kept.body.media_type.encode()))
    if kept.gzipped is not None and accepted and takes_gzip(accepted):
        content = kept.gzipped
        headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
    headers.append((b"content-length", b"%d" % len(content)))
    return 200, headers, content


def takes_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding header lets us answer in gzip."""
    if accepted in {"gzip, deflate, br", "gzip, deflate, br, zstd", "gzip, deflate"}:  # what most clients send
        return True
    weights = {"gzip": 0.0}
    for word in accepted.lower().split(","):
        name, *options = (part.strip() for part in word.split(";"))
        weights[name] = _weight(options)
    return weights["gzip"] > 0 or ("*" in weights and "gzip" not in accepted.lower() and weights["*"] > 0)


def _weight(options: list[str]) -> float:
    for option in options:
        if option.startswith("q="):
            try:
                return float(option[2:])
            except ValueError:
                return 0.0
    return 1.0


def _has(given: str, etag: str) -> bool:
    """Say whether If-None-Match names a tag; W/ in front of one does not matter there."""
    tags = {word.strip().removeprefix("W/") for word in given.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def _packed(key: Hashable, body: Body) -> Kept:
    """Return an answer with its tag and its twin; the tag is weak, as the same one stands for both."""
    digest = hashlib.blake2b(body.content, digest_size=12).hexdigest()
    gzipped = gzip.compress(body.content, _GZIP_LEVEL, mtime=0) if len(body.content) >= _GZIP_FROM else None
    if gzipped is not None and len(gzipped) >= len(body.content):
        gzipped = None
    return Kept(body, f'W/"{digest}"', gzipped, body.stale, 0.0, key)


def _blames_request(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.status < _SERVER_FAULT
