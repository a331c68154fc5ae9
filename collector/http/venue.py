"""One provider's door, shared by its threads: every call passes breaker, quota, deadline, size cap and check.

What comes out is a good Answer or one of our errors; nothing of requests, urllib3 or an SDK. The SDKs get a session
of this door (`Venue.session`), so that they are paced, retried and bounded in the same way.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import requests

from collector import __version__
from collector.clock import Clock
from collector.errors import (
    AccessDenied,
    ConfigError,
    IllegalTransition,
    PayloadError,
    RateLimited,
    VenueError,
    VenueUnreachable,
)
from collector.http.deadline import Deadline
from collector.http.refusals import Refusals
from collector.http.skew import Skew
from collector.http.translate import FOREIGN, REFUSALS, behind, classify, redact, redact_chain, unreachable
from collector.http.transport import (
    Adapter,
    TooLarge,
    proxies_and_certificates,
    proxy_between,
    read_body,
    tls_context,
)
from collector.records import Answer
from collector.resilience.breaker import Breaker, NotTried
from collector.resilience.quota import Charge, Quota
from collector.resilience.retry import RetryPolicy

NOTHING = b"{}"
USER_AGENT = f"crypto-data-collector/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds: to connect, between two reads, and for the whole call from name resolution to the last byte."""

    connect: float = 3.0
    read: float = 10.0
    total: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What happened since `begin`; waiting is summed over the threads."""

    requests: int = 0  # sent, repeats included
    retries: int = 0
    refused: int = 0  # answers that told us to wait: 418, 429 and their like
    waited_s: float = 0.0  # for the quota and for pauses


class EventHook(Protocol):
    """Takes a constant event name and fields, as a logger's `debug` does."""

    def __call__(self, event: str, /, **fields: Any) -> None: ...


class VenueSession(requests.Session):
    """A requests session of one thread whose `send` is the provider's door.

    Each request needs a cost: wrap it in `charging`. Redirects, cookies and netrc are not used.
    """

    def __init__(self, venue: "Venue", adapter: Adapter, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._venue = venue
        self._cost: Charge | None = None
        self.answer: Answer | None = None  # of the last request inside `charging`
        self.trust_env = False  # the environment was read once, by the venue
        self.headers.clear()
        self.headers.update(headers)
        self.adapters.clear()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    @contextlib.contextmanager
    def charging(self, cost: Charge) -> Iterator[None]:
        """Let exactly one request leave inside the block, at this cost; its Answer is in `answer` afterwards."""
        self._cost, self.answer = cost, None
        try:
            yield
        finally:
            self._cost = None

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare with our headers alone; looking for cookies, netrc and hooks of the session takes as long again."""
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=(request.method or "GET").upper(),
            url=request.url,
            headers={**self.headers, **(request.headers or {})},
            data=request.data,
            params=request.params,
            json=request.json,
        )
        return prepared

    def merge_environment_settings(self, *_: Any, **__: Any) -> Any:
        """Return nothing: `send` goes by what the venue read once."""
        return {}

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # noqa: ARG002 - ours rule
        """Send through the door; the caller's timeout and redirect settings are replaced by ours."""
        cost, self._cost = self._cost, None
        if cost is None:
            raise IllegalTransition("a request without a cost, or a second request in one call: a defect")
        self.answer, response = self._venue.exchange(self, request, cost)
        response._content = NOTHING  # noqa: SLF001 - what an SDK makes of a good answer is read by nobody
        return response


class Venue:
    """One provider: `get` for plain REST, `session` for SDKs.

    `check` raises what an answer stands for, `used_weight` reads the provider's own count; both come from the
    source. `secrets` never appear in an error or an event. `on_event` is told about every call, for DEBUG logs.
    """

    def __init__(
        self,
        *,
        source: str,
        base_url: str,
        check: Callable[[Answer], None],
        used_weight: Callable[[Answer], Mapping[str, int]],
        quota: Quota,
        breaker: Breaker,
        clock: Clock,
        timeouts: Timeouts = Timeouts(),
        max_body: int = 20 * 1024 * 1024,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        on_event: EventHook | None = None,
    ) -> None:
        self.source = source
        self.base_url = base_url.rstrip("/")
        self.quota = quota
        self.breaker = breaker
        self.on_pause: Callable[[str], None] | None = None  # told the source's name, by the thread that was refused
        self._check, self._used_weight = check, used_weight
        self._clock, self._timeouts, self._max_body = clock, timeouts, max_body
        self._secrets, self._on_event = tuple(secrets), on_event
        self._origin = _origin(source, self.base_url)
        self._where = urlsplit(self._origin).netloc.rpartition("@")[2]
        self._headers = _request_headers(source, headers or {})
        settings = proxies_and_certificates(self.base_url)
        self._tls = tls_context(settings["verify"]) if self._origin.startswith("https:") else None
        self._sending = {
            "stream": True,
            "timeout": (timeouts.connect, timeouts.read),
            "proxies": settings["proxies"],
        }
        self._proxy = proxy_between(self._origin, settings["proxies"])
        self._retry = RetryPolicy(clock=clock)
        self._refusals = Refusals(clock=clock)
        self._skew = Skew()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[tuple[threading.Thread, VenueSession]] = []
        self._running: set[Deadline] = set()
        self._closed = False
        self._give_up_at: float | None = None
        self._sent = self._refused = self._repeats = 0
        self._waited_s = 0.0

    def get(self, path: str, params: Mapping[str, str | int], cost: Charge) -> Answer:
        """GET base_url + path and return a 2xx answer that is no error envelope; raise VenueError otherwise."""
        if not path.startswith("/"):
            raise ValueError(f"a path begins with a slash, got {path!r}")
        session = self.session()
        with session.charging(cost):
            # A text from outside in the path (an asset id) cannot become a query, a fragment or another host.
            session.get(self.base_url + quote(path, safe="/%:@!$&'()*+,;=~"), params=params)
        if session.answer is None:
            raise IllegalTransition("a request ended without an answer and without an error: a defect")
        return session.answer

    def session(self) -> VenueSession:
        """Return this thread's session; that of a thread that has ended goes to the next new one, still connected."""
        mine: VenueSession | None = getattr(self._local, "session", None)
        if mine is None:
            me = threading.current_thread()
            with self._lock:
                index = next((i for i, (owner, _) in enumerate(self._sessions) if not owner.is_alive()), None)
                if index is None:
                    mine = VenueSession(self, Adapter(self._tls), self._headers)
                    self._sessions.append((me, mine))
                else:
                    mine = self._sessions[index][1]
                    self._sessions[index] = (me, mine)
            self._local.session = mine
        return mine

    def begin(self, give_up_at: float) -> None:
        """Start a cycle: no call starts or waits after `give_up_at` (monotonic); counters and retry budget anew.

        Before the first `begin` a call may wait as long as a call may take in all.
        """
        with self._lock:
            self._give_up_at = give_up_at
            self._sent = self._refused = self._repeats = 0
            self._waited_s = 0.0
        self._retry.begin()

    @contextlib.contextmanager
    def bounded(self, give_up_at: float) -> Iterator[None]:
        """End the calls of this thread inside the block at `give_up_at` (monotonic), whatever `begin` said."""
        self._local.give_up_at = give_up_at
        try:
            yield
        finally:
            self._local.give_up_at = None

    def counters(self) -> Counters:
        """Return what happened since `begin`."""
        with self._lock:
            return Counters(
                requests=self._sent,
                retries=self._retry.retries + self._repeats,
                refused=self._refused,
                waited_s=self._waited_s,
            )

    def clock_offset(self) -> float | None:
        """Return the provider's clock less ours in seconds, to within half a second; None when it told no time."""
        return self._skew.offset_s()

    def close(self) -> None:
        """End the calls that are under way, from any thread, and close all connections; nothing leaves afterwards."""
        with self._lock:
            self._closed = True
            running, sessions = list(self._running), [session for _, session in self._sessions]
            self._sessions.clear()
        for deadline in running:
            deadline.end()
        for session in sessions:
            session.close()

    def redact(self, text: str) -> str:
        """Return the text without this provider's secrets."""
        return redact(text, self._secrets)

    def exchange(
        self, session: VenueSession, request: requests.PreparedRequest, cost: Charge
    ) -> tuple[Answer, requests.Response]:
        """Send a prepared request as often as the rules allow and return the good answer; raise our errors only."""
        if not (request.url or "").startswith(self._origin):
            raise IllegalTransition(f"a request to another place than {self._origin} is a defect")
        give_up_at = self._mine_ends_at() or self._give_up_at
        if give_up_at is None:
            give_up_at = self._clock.monotonic() + self._timeouts.total
        call = _Call(session.get_adapter(self.base_url), request, cost, give_up_at)
        try:
            return self._retry.run(lambda: self._try(call), give_up_at)
        except (VenueError, PayloadError) as error:
            if isinstance(error, VenueError):
                error.source = error.source or self.source
            redact_chain(error, self._secrets)
            self._tell("call_failed", path=request.path_url, error=str(error), tries=call.tries)
            raise

    def _try(self, call: "_Call") -> tuple[Answer, requests.Response]:
        """Make one attempt; after a plain refusal one more, once the pause is over.

        The repeat is outside the retry budget: the pause paces it, and without it each of the threads that met the
        same refusal would lose its piece of work.
        """
        try:
            return self._attempt(call)
        except RateLimited:
            if call.refused_s is None or call.repeated:
                raise
            if self._clock.monotonic() + call.refused_s > call.give_up_at:
                raise
        call.repeated = True
        with self._lock:
            self._repeats += 1
        return self._attempt(call)

    def _attempt(self, call: "_Call") -> tuple[Answer, requests.Response]:
        call.refused_s = None
        try:
            return self._let_through(call)
        except (RateLimited, AccessDenied):
            # Only now does the breaker know too; what was met is stored before anything else is done.
            if call.paused and self.on_pause is not None:
                self.on_pause(self.source)
            raise

    def _let_through(self, call: "_Call") -> tuple[Answer, requests.Response]:
        call.paused = False
        with self.breaker.attempt() as attempt:
            self._wait_for_quota(call)
            call.sent_at = self._clock.monotonic()
            answer, response = self._send(call)
            attempt.answered = True
            took_s = self._clock.monotonic() - call.sent_at
            self.quota.observe(took_s)
            self._skew.hear(answer, took_s)
            self._tell(
                "call_answered",
                path=call.request.path_url,
                status=answer.status,
                bytes=len(answer.body),
                took_ms=round(took_s * 1000),
            )
            self._judge(call, answer)
            return answer, response

    def _wait_for_quota(self, call: "_Call") -> None:
        before = self._clock.monotonic()
        try:
            self.quota.acquire(call.cost, call.give_up_at)
        finally:
            waited = self._clock.monotonic() - before
            with self._lock:
                self._waited_s += waited

    def _send(self, call: "_Call") -> tuple[Answer, requests.Response]:
        """Send once and read all of the body, bounded in time and in size."""
        with self._deadline() as deadline:
            call.tries += 1
            try:
                response = call.adapter.send(call.request, **self._sending)
                body = self._read(response)
            except FOREIGN as error:
                raise self._unreachable(error, deadline) from error
        if deadline.cut:  # a body without a length ends like a whole one when its connection is cut
            raise self._unreachable(EOFError(), deadline)
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"***")  # an answer that repeats our key is stored and logged too
        headers = {name.lower(): value for name, value in response.headers.items()}
        answer = Answer(status=response.status_code, headers=headers, body=body, received_at=self._clock.now())
        return answer, response

    def _read(self, response: requests.Response) -> bytes:
        try:
            return read_body(response, self._max_body)
        except TooLarge as error:
            response.close()
            text = f"refused: the answer of {self._where} has more than {self._max_body} bytes"
            raise VenueError(text, status=response.status_code) from error

    def _mine_ends_at(self) -> float | None:
        """Return when the calls of this thread end; None where nobody bounded them."""
        ends: float | None = getattr(self._local, "give_up_at", None)
        return ends

    def _longest(self) -> float:
        """Return how many seconds a call that begins now may take."""
        ends = self._mine_ends_at()
        return self._timeouts.total if ends is None else min(self._timeouts.total, ends - self._clock.monotonic())

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[Deadline]:
        with Deadline(self._longest()) as deadline:
            with self._lock:
                if self._closed:
                    raise NotTried("not tried: the collector is stopping")
                self._running.add(deadline)
                self._sent += 1
            try:
                yield deadline
            finally:
                with self._lock:
                    self._running.discard(deadline)

    def _unreachable(self, error: BaseException, deadline: Deadline) -> VenueUnreachable:
        if self._closed:
            return NotTried(f"the call to {self._where} was ended because the collector stops")
        if deadline.cut:
            where = behind(self._where, self._proxy)
            return VenueUnreachable(f"no complete answer from {where} within {deadline.seconds:.3g} s")
        limits = (self._timeouts.connect, self._timeouts.read)
        return VenueUnreachable(unreachable(error, self._where, limits, self._proxy))

    def _judge(self, call: "_Call", answer: Answer) -> None:
        """Raise the error that the answer stands for; pause the provider if it says so."""
        for scope, used in self._used_weight(answer).items():
            self.quota.correct(scope, used)
        error = self._error_of(answer)
        if error is None:
            self._refusals.answered(call.sent_at)
            return
        if error.status is None:
            error.status = answer.status
        self._pause(call, error, answer)
        raise error

    def _error_of(self, answer: Answer) -> VenueError | None:
        try:
            self._check(answer)
        except VenueError as error:
            return _refused_by_status(error, answer)
        except PayloadError as error:  # an error page instead of the provider's envelope
            by_status = classify(answer)
            if by_status is None:
                raise
            by_status.__cause__ = error
            return by_status
        return classify(answer)

    def _pause(self, call: "_Call", error: VenueError, answer: Answer) -> None:
        banned = isinstance(error, RateLimited) and (error.banned or answer.status == 418)  # noqa: PLR2004
        if isinstance(error, RateLimited):
            error.banned = banned
        seconds = self._refusals.pause_s(error, answer, call.sent_at)
        if seconds is None:
            return
        until = self._clock.now() + timedelta(seconds=seconds)
        reason = self.redact(str(error))
        self.quota.pause(until, reason, banned=banned)
        call.paused = True
        if isinstance(error, RateLimited):
            error.retry_at = until
            call.refused_s = None if banned else seconds
            with self._lock:
                self._refused += 1
        self._tell("provider_paused", seconds=round(seconds, 3), banned=banned, reason=reason)

    def _tell(self, event: str, **fields: object) -> None:
        if self._on_event is not None:
            self._on_event(event, **{k: self.redact(v) if isinstance(v, str) else v for k, v in fields.items()})


@dataclass(slots=True)
class _Call:
    """One call on its way through the door, repeats included."""

    adapter: requests.adapters.BaseAdapter
    request: requests.PreparedRequest
    cost: Charge
    give_up_at: float
    tries: int = 0
    sent_at: float = 0.0
    refused_s: float | None = None  # length of the pause that the last attempt met and that may be waited for
    repeated: bool = False
    paused: bool = False  # the last attempt made the provider pause


def _origin(source: str, base_url: str) -> str:
    """Return scheme, host and port as requests spells them in the URLs of its requests, with a slash at the end."""
    try:
        url = requests.Request("GET", base_url).prepare().url or ""
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # requests' complaints about a URL are ValueErrors too
        good = False
    if not good:
        raise ConfigError(f"{source}: base_url {redact(base_url)!r} is no http(s) address with a host")
    return f"{parts.scheme}://{parts.netloc}/"


def _request_headers(source: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every request; a value that cannot be sent is refused here, without showing it."""
    for name, value in own.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            text = "holds a space at an end, a control or a non-ASCII character: copy the key again"
            raise ConfigError(f"{source}: the value of the header {name} cannot be sent; it {text}")
    return {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip", **own}


def _refused_by_status(error: VenueError, answer: Answer) -> VenueError:
    """Return the error a source saw, as a refusal where the status is one: a source may know only its own statuses."""
    if answer.status not in REFUSALS or isinstance(error, RateLimited):
        return error
    refusal = RateLimited(str(error), source=error.source, status=answer.status)
    refusal.__cause__ = error
    return refusal
