"""All simulated venues behind one loopback port: routing, keys, limits, counting, and the admin page.

Each venue has a prefix (see _PREFIXES); GET /_simulator/state tells what was asked.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from email.utils import format_datetime
from types import TracebackType
from typing import Protocol, Self

from collector.clock import SystemClock, from_millis, to_millis
from collector.simulator.alternative_me import AlternativeMe
from collector.simulator.binance import Binance
from collector.simulator.binance_spot import WEIGHT, BinanceSpot, weight_of
from collector.simulator.coincap import CoinCap, key_of, keyless
from collector.simulator.coingecko import CoinGecko
from collector.simulator.faults import Faults
from collector.simulator.kraken import Kraken, KrakenLimits
from collector.simulator.limits import BinanceLimits, CoinCapLimits, CoinGeckoLimits, OkxLimits
from collector.simulator.markets import Market
from collector.simulator.okx import Okx
from collector.simulator.server import Server
from collector.simulator.wire import Request, Response, json_response

LOG_ROWS = 100_000
_LAST_PORT = 65_535
_REFUSALS = {418, 429}
_PREFIXES = (
    ("/coingecko-pro/api/v3", "coingecko_pro"),
    ("/coingecko/api/v3", "coingecko"),
    ("/binance", "binance_futures"),
    ("/binance-spot", "binance_spot"),
    ("/okx", "okx"),
    ("/kraken", "kraken"),
    ("/alternative-me", "alternative_me"),
    ("/coincap/v3", "coincap"),
)


class Interceptor(Protocol):
    """Stands between the network and the venues. Both methods run on the server's thread and must not block."""

    def before(self, venue: str, path: str, request: Request) -> Response | None:
        """Return an answer to send in place of the venue's (nothing is counted against its limits), or None."""

    def after(self, venue: str, path: str, request: Request, response: Response) -> Response:
        """Return the answer to send: the given one or a changed one."""


def wall_clock_ms() -> int:
    """Return the time now in Unix milliseconds."""
    return to_millis(SystemClock().now())


class Simulator:
    """CoinGecko, Binance USD-M futures and OKX on one loopback port, in a thread of its own or in the foreground.

    `now_ms` is the market's time and also the limits' (give `limits_now_ms` when the market stands still but the limits
    should run). `coingecko_per_minute` is the limit without a key. Use it as a context manager, or start and stop it.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        assets: int = 60,
        latency_s: float = 0.0,
        limits: bool = True,
        now_ms: Callable[[], int] = wall_clock_ms,
        limits_now_ms: Callable[[], int] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        coingecko_per_minute: int = 30,
        coingecko_demo_per_minute: int = 30,
        coingecko_pro_per_minute: int = 500,
        binance_perpetuals: int | None = None,
        okx_swaps: int | None = None,
        market: Market | None = None,
        interceptor: Interceptor | None = None,
    ) -> None:
        if not host.startswith("127.") and host not in {"localhost", "::1"}:
            raise ValueError(f"the simulator listens on loopback only, not on {host}")
        if not 0 <= port <= _LAST_PORT:
            raise ValueError(f"port must be 0..65535, got {port}")
        self.market = market or Market(seed, assets, binance_perpetuals=binance_perpetuals, okx_swaps=okx_swaps)
        self.interceptor = interceptor
        self.now_ms = now_ms
        self.requests: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.log: deque[tuple[int, str, str, dict[str, str], int]] = deque(maxlen=LOG_ROWS)
        self._limits_on = limits
        self._limits_now_ms = limits_now_ms or now_ms
        self._host, self._port = host, port
        self._latency_s = latency_s
        self._coingecko, self._okx = CoinGecko(self.market), Okx(self.market)
        self._alternative_me = AlternativeMe(self.market.seed)
        self._kraken, self._kraken_limits = Kraken(self.market), KrakenLimits()
        self._coincap, self._coincap_limits = CoinCap(self.market), CoinCapLimits()
        self._coingecko_limits = CoinGeckoLimits(
            coingecko_per_minute, coingecko_demo_per_minute, coingecko_pro_per_minute
        )
        self._binance_hosts: dict[str, tuple[Binance | BinanceSpot, BinanceLimits]] = {
            "binance_futures": (Binance(self.market), BinanceLimits()),
            "binance_spot": (BinanceSpot(self.market), BinanceLimits(WEIGHT, weight_of)),
        }
        self._okx_limits = OkxLimits()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None

    # life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen in a thread of its own; returns when requests are answered. Raises OSError when the port is taken."""
        if self._thread is not None:
            raise RuntimeError("the simulator is running already")
        ready: threading.Event = threading.Event()
        problems: list[OSError] = []
        self._thread = threading.Thread(target=self._run, args=(ready, problems), name="simulator", daemon=True)
        self._thread.start()
        ready.wait()
        if problems:
            self._thread.join()
            self._thread = None
            raise problems[0]
        return self

    def stop(self) -> None:
        """Stop listening, drop all connections and end the thread (or `run_forever`); doing it twice is harmless."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run_forever(self, ready: Callable[[], None] | None = None) -> None:
        """Listen in this thread until interrupted (Ctrl+C); `ready` is called once requests are answered."""
        try:
            asyncio.run(self._serve(ready or (lambda: None)))
        except KeyboardInterrupt:
            return

    def _run(self, ready: threading.Event, problems: list[OSError]) -> None:
        try:
            asyncio.run(self._serve(ready.set))
        except OSError as problem:
            problems.append(problem)
        finally:
            ready.set()

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = Server(self.answer, self._latency_s)
        self._port = await server.open(self._host, self._port)
        ready()
        try:
            await self._stopping.wait()
        finally:
            self._loop = self._stopping = None
            await server.close()

    @property
    def port(self) -> int:
        """The port in use; 0 before the start when any free one was asked for."""
        return self._port

    @property
    def base_urls(self) -> dict[str, str]:
        """What to give the collectors as base URL, by source name."""
        root = f"http://{self._host}:{self._port}"
        return {
            "coingecko": f"{root}/coingecko/api/v3",
            "coingecko_pro": f"{root}/coingecko-pro/api/v3",
            "binance_futures": f"{root}/binance",
            "binance_spot": f"{root}/binance-spot",
            "okx": f"{root}/okx",
            "kraken": f"{root}/kraken",
            "alternative_me": f"{root}/alternative-me",
            "coincap": f"{root}/coincap/v3",
        }

    # requests ---------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Return the answer to a request: interceptor, routing, limits, venue, interceptor; and count it."""
        if request.path == "/_simulator/state":
            return json_response(self.state())
        venue, path = _venue_of(request.path)
        if venue is None:
            return json_response({"error": "no such venue", "prefixes": [prefix for prefix, _ in _PREFIXES]}, 404)
        now_ms = self.now_ms()
        response = self.interceptor.before(venue, path, request) if self.interceptor is not None else None
        if response is None:
            response = self._venue_answer(venue, path, request, now_ms)
        response = _dated(response, now_ms)
        if self.interceptor is not None:
            response = self.interceptor.after(venue, path, request, response)
        self.requests[venue, path] += 1
        if response.status in _REFUSALS:
            self.refused[venue] += 1
        self.log.append((now_ms, venue, path, dict(request.query), response.status))
        return response

    def _venue_answer(self, venue: str, path: str, request: Request, now_ms: int) -> Response:
        if venue in self._binance_hosts:
            return self._binance_answer(venue, path, request, now_ms)
        if venue == "okx":
            return self._okx_answer(path, request, now_ms)
        if venue == "alternative_me":
            return self._alternative_me.answer(path, request.query, now_ms)
        if venue == "kraken":
            refused = self._kraken_limits.refuse(request, self._limits_now_ms()) if self._limits_on else None
            return refused or self._kraken.answer(path, request.query, now_ms)
        if venue == "coincap":
            return self._coincap_answer(path, request, now_ms)
        return self._coingecko_answer("pro" if venue == "coingecko_pro" else "public", path, request, now_ms)

    def _binance_answer(self, venue: str, path: str, request: Request, now_ms: int) -> Response:
        host, limits = self._binance_hosts[venue]
        limits_now = self._limits_now_ms()
        refused = limits.refuse(request, path, limits_now) if self._limits_on else None
        response = refused or host.answer(path, request.query, now_ms)
        headers = dict(response.headers) | limits.headers(request.address, limits_now)
        return Response(status=response.status, body=response.body, content_type=response.content_type, headers=headers)

    def _okx_answer(self, path: str, request: Request, now_ms: int) -> Response:
        if request.method != "GET":
            return json_response({"code": "50115", "msg": "Invalid request method", "data": []}, 405)
        refused = self._okx_limits.refuse(request, path, self._limits_now_ms()) if self._limits_on else None
        return refused or self._okx.answer(path, request.query, now_ms)

    def _coincap_answer(self, path: str, request: Request, now_ms: int) -> Response:
        key, limits_now = key_of(request), self._limits_now_ms()
        if not key:
            return keyless()
        refused = self._coincap_limits.refuse(key, limits_now) if self._limits_on else None
        if refused is not None:
            return refused
        response = self._coincap.answer(path, request.query, now_ms)
        self._coincap_limits.charge(key, len(response.body), limits_now)
        return response

    def _coingecko_answer(self, root: str, path: str, request: Request, now_ms: int) -> Response:
        if self._limits_on:
            plan, who = self._coingecko.plan_of(request, root)
            refused = self._coingecko_limits.refuse(plan, who, self._limits_now_ms())
            if refused is not None:
                return refused
        wrong_key = self._coingecko.refuse(request, root, now_ms)
        return wrong_key or self._coingecko.answer(path, request.query, root, now_ms)

    # what happened ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """Return counters as plain JSON values: requests by "venue path", refusals by venue, used Binance weight."""
        return {
            "simulated": True,
            "seed": self.market.seed,
            "assets": len(self.market.coins),
            "now_ms": self.now_ms(),
            "limits": self._limits_on,
            "requests": {f"{venue} {path}": count for (venue, path), count in dict(self.requests).items()},
            "refused": dict(self.refused),
            "weights": {venue: limits.used() for venue, (_, limits) in self._binance_hosts.items()},
            "faults": self.interceptor.counts() if isinstance(self.interceptor, Faults) else {},
        }


def _dated(response: Response, now_ms: int) -> Response:
    """Return the answer with the header that tells the provider's time, in whole seconds."""
    date = format_datetime(from_millis(now_ms), usegmt=True)
    return replace(response, headers={"Date": date, **response.headers})


def _venue_of(path: str) -> tuple[str | None, str]:
    """Return the venue of a full path and the path as the venue knows it."""
    for prefix, venue in _PREFIXES:
        if path == prefix or path.startswith(prefix + "/"):
            return venue, path[len(prefix) :] or "/"
    return None, path
