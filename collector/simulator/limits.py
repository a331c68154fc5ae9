"""The documented request limits of each venue, counted per client address, and the answers that refuse.

Binance: 2400 weight per clock minute (then 429, then a ban), 500 funding and 1000 statistics calls per five minutes.
OKX: calls per two seconds for each endpoint, for some per instrument. CoinGecko: calls per minute by key or address.
CoinCap: calls per minute and credits per month by key.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping

from collector.clock import from_millis
from collector.simulator.wire import Request, Response, json_response

MINUTE_MS = 60_000
FIVE_MINUTES_MS = 300_000
BINANCE_WEIGHT = 2_400
FUNDING_CALLS = 500
STATISTICS_CALLS = 1_000
_CALLS_BEFORE_BAN = 10
_FIRST_BAN_MS = 120_000
_LONGEST_BAN_MS = 3 * 86_400_000
USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"

# path: (weight with symbol, weight without)
_BINANCE_WEIGHTS = {
    "/fapi/v1/ping": (1, 1),
    "/fapi/v1/time": (1, 1),
    "/fapi/v1/exchangeInfo": (1, 1),
    "/fapi/v1/premiumIndex": (1, 10),
    "/fapi/v1/openInterest": (1, 1),
    "/fapi/v1/ticker/24hr": (1, 40),
    "/fapi/v1/ticker/bookTicker": (2, 5),
    "/fapi/v1/ticker/price": (1, 2),
    "/fapi/v2/ticker/price": (1, 2),
    "/fapi/v1/fundingRate": (0, 0),
    "/fapi/v1/fundingInfo": (0, 0),
}
_DEPTH_WEIGHTS = ((50, 2), (100, 5), (500, 10), (1_000, 20))
_KLINE_WEIGHTS = ((99, 1), (499, 2), (1_000, 5), (10_000_000, 10))
_FUNDING_PATHS = {"/fapi/v1/fundingRate", "/fapi/v1/fundingInfo"}

# path: (calls, window in ms, query parameter that gives each value its own budget)
_OKX_BUDGETS = {
    "/api/v5/public/time": (10, 2_000, ""),
    "/api/v5/public/instruments": (20, 2_000, "instType"),
    "/api/v5/market/tickers": (20, 2_000, ""),
    "/api/v5/market/ticker": (20, 2_000, ""),
    "/api/v5/market/candles": (40, 2_000, ""),
    "/api/v5/market/history-candles": (20, 2_000, ""),
    "/api/v5/market/books": (40, 2_000, ""),
    "/api/v5/public/funding-rate": (10, 2_000, "instId"),
    "/api/v5/public/funding-rate-history": (10, 2_000, "instId"),
    "/api/v5/public/open-interest": (20, 2_000, "instId"),
    "/api/v5/public/mark-price": (10, 2_000, "instId"),
    "/api/v5/system/status": (1, 5_000, ""),
}


class Window:
    """Calls of the last `width_ms`, whatever the clock shows: a rolling window."""

    def __init__(self, width_ms: int) -> None:
        self._width_ms = width_ms
        self._times: deque[int] = deque()

    def count(self, now_ms: int) -> int:
        """Return the number of calls still inside the window."""
        while self._times and self._times[0] <= now_ms - self._width_ms:
            self._times.popleft()
        return len(self._times)

    def add(self, now_ms: int) -> None:
        """Count one call."""
        self._times.append(now_ms)


class _BinanceAddress:
    """What one address has used."""

    def __init__(self) -> None:
        self.minute = -1
        self.weight = 0
        self.calls_over = 0
        self.banned_until_ms = 0
        self.bans = 0
        self.funding = Window(FIVE_MINUTES_MS)
        self.statistics = Window(FIVE_MINUTES_MS)


def binance_weight(path: str, query: Mapping[str, str]) -> int:
    """Return the documented weight of a call; an unknown path and the pools of their own weigh 0."""
    if path == "/fapi/v1/depth":
        return _by_limit(_DEPTH_WEIGHTS, query.get("limit", "500"))
    if path == "/fapi/v1/klines":
        return _by_limit(_KLINE_WEIGHTS, query.get("limit", "500"))
    with_symbol, without = _BINANCE_WEIGHTS.get(path, (0, 0))
    return with_symbol if query.get("symbol") else without


def _by_limit(table: tuple[tuple[int, int], ...], text: str) -> int:
    limit = int(text) if text.isdecimal() else 0
    return next((weight for most, weight in table if limit <= most), table[-1][1])


class BinanceLimits:
    """Weight per clock minute, two call pools, and bans that double each time.

    Futures and spot count apart: `capacity` and `weight_of` are those of the host.
    """

    def __init__(
        self, capacity: int = BINANCE_WEIGHT, weight_of: Callable[[str, Mapping[str, str]], int] | None = None
    ) -> None:
        self._capacity = capacity
        self._weight_of = weight_of or binance_weight
        self._addresses: defaultdict[str, _BinanceAddress] = defaultdict(_BinanceAddress)

    def refuse(self, request: Request, path: str, now_ms: int) -> Response | None:
        """Count a call; return the refusing answer, or None when it may pass."""
        used = self._current(request.address, now_ms)
        if now_ms < used.banned_until_ms:
            return _banned(request.address, used, now_ms)
        used.weight += self._weight_of(path, request.query)
        over = used.weight > self._capacity
        if path in _FUNDING_PATHS:
            used.funding.add(now_ms)
            over = over or used.funding.count(now_ms) > FUNDING_CALLS
        if path.startswith("/futures/data/"):
            used.statistics.add(now_ms)
            over = over or used.statistics.count(now_ms) > STATISTICS_CALLS
        if not over:
            return None
        used.calls_over += 1
        if used.calls_over > 1 + _CALLS_BEFORE_BAN:
            used.bans += 1
            used.banned_until_ms = now_ms + min(_FIRST_BAN_MS * 2 ** (used.bans - 1), _LONGEST_BAN_MS)
            return _banned(request.address, used, now_ms)
        text = (
            f"Too many requests; current limit is {self._capacity} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
        return json_response({"code": -1003, "msg": text}, 429)

    def headers(self, address: str, now_ms: int) -> dict[str, str]:
        """Return the headers that tell an address what it has used in this minute."""
        return {USED_WEIGHT: str(self._current(address, now_ms).weight)}

    def used(self) -> dict[str, int]:
        """Return the weight of the last counted minute by address."""
        return {address: used.weight for address, used in list(self._addresses.items())}

    def _current(self, address: str, now_ms: int) -> _BinanceAddress:
        used = self._addresses[address]
        if now_ms // MINUTE_MS != used.minute:
            used.minute, used.weight, used.calls_over = now_ms // MINUTE_MS, 0, 0
        return used


def _banned(address: str, used: _BinanceAddress, now_ms: int) -> Response:
    text = (
        f"Way too many requests; IP({address}) banned until {used.banned_until_ms}. "
        "Please use the websocket for live updates to avoid bans."
    )
    seconds = -(-(used.banned_until_ms - now_ms) // 1000)
    return json_response({"code": -1003, "msg": text}, 418, {"Retry-After": str(seconds)})


class OkxLimits:
    """A rolling window for each endpoint, for some also for each instrument; refused calls are not counted."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, str], Window] = {}

    def refuse(self, request: Request, path: str, now_ms: int) -> Response | None:
        """Count a call; return the refusing answer, or None when it may pass."""
        calls, width_ms, by = _OKX_BUDGETS.get(path, (20, 2_000, ""))
        scope = (request.address, path, request.query.get(by, "") if by else "")
        window = self._windows.setdefault(scope, Window(width_ms))
        if window.count(now_ms) >= calls:
            return json_response({"msg": "Too Many Requests", "code": "50011"}, 429)
        window.add(now_ms)
        return None


class CoinGeckoLimits:
    """Calls in any 60 seconds for each key, or for each address without a key; refused calls count too."""

    def __init__(self, public: int, demo: int, pro: int) -> None:
        self._most = {"public": public, "demo": demo, "pro": pro}
        self._windows: dict[tuple[str, str], Window] = {}

    def refuse(self, plan: str, who: str, now_ms: int) -> Response | None:
        """Count a call of a plan by a key or an address; return the refusing answer, or None when it may pass."""
        window = self._windows.setdefault((plan, who), Window(MINUTE_MS))
        window.add(now_ms)
        if window.count(now_ms) <= self._most[plan]:
            return None
        text = (
            "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing "
            "to subscribe to our API plans for higher rate limits."
        )
        body = {"status": {"error_code": 429, "error_message": text}}
        return json_response(body, 429, {"Retry-After": "60"})


COINCAP_CREDITS = {"basic": 75_000, "growth": 225_000, "professional": 675_000, "enterprise": 5_000_000}
COINCAP_FREE = 4_000
COINCAP_CALLS = 600
COINCAP_CREDIT_BYTES = 2_500


class CoinCapLimits:
    """600 calls in any 60 seconds and a number of credits in each calendar month, both for each key.

    A key that begins with the name of a paid plan, as "basic-...", has that plan's credits, any other the free ones.
    """

    def __init__(self) -> None:
        self._calls: defaultdict[str, Window] = defaultdict(lambda: Window(MINUTE_MS))
        self._credits: defaultdict[tuple[str, int, int], int] = defaultdict(int)

    def refuse(self, key: str, now_ms: int) -> Response | None:
        """Count a call; return the refusing answer, or None when it may pass."""
        window = self._calls[key]
        window.add(now_ms)
        if window.count(now_ms) > COINCAP_CALLS:
            return json_response({"error": "Too many requests"}, 429)
        if self.used(key, now_ms) >= COINCAP_CREDITS.get(key.partition("-")[0], COINCAP_FREE):
            return json_response({"error": "No credits left"}, 429)
        return None

    def charge(self, key: str, size: int, now_ms: int) -> None:
        """Take the credits of a call that was answered: one, and one for each 2 500 bytes of the answer."""
        self._credits[_month(key, now_ms)] += 1 + -(-size // COINCAP_CREDIT_BYTES)

    def used(self, key: str, now_ms: int) -> int:
        """Return the credits that a key has used in this month."""
        return self._credits[_month(key, now_ms)]


def _month(key: str, now_ms: int) -> tuple[str, int, int]:
    moment = from_millis(now_ms)
    return key, moment.year, moment.month
