"""Binance spot on the wire: the same envelope, rows and order as the futures host, with paths below /api/v3.

A book has no time; a ticker has the best bid and ask; a price list has no time either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from collector.simulator.binance import day_figures, error, kline_rows, missing, one_or_all, routed, row_limit, whole
from collector.simulator.markets import Market, UnknownSymbol
from collector.simulator.universe import Contract
from collector.simulator.wire import Response, encode, fixed, full_text

Query = Mapping[str, str]
VENUE = "binance_spot"
WEIGHT = 6_000  # per minute and address
MOST_BARS, MOST_LEVELS = 1_000, 5_000
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
_PRE_TRADING = "SOONUSDT"

# path: (weight with symbol, weight without)
_WEIGHTS = {
    "/api/v3/ping": (1, 1),
    "/api/v3/time": (1, 1),
    "/api/v3/exchangeInfo": (20, 20),
    "/api/v3/klines": (2, 2),
    "/api/v3/ticker/24hr": (2, 80),
    "/api/v3/ticker/price": (2, 4),
}
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1_000, 50), (10_000_000, 250))


def weight_of(path: str, query: Query) -> int:
    """Return the documented weight of a call; an unknown path weighs 0."""
    if path == "/api/v3/depth":
        text = query.get("limit", "100")
        return next(weight for most, weight in _DEPTH_WEIGHTS if (int(text) if text.isdecimal() else 0) <= most)
    one, every = _WEIGHTS.get(path, (0, 0))
    return one if query.get("symbol") else every


class BinanceSpot:
    """Answers the documented public spot paths from the market's truth."""

    def __init__(self, market: Market) -> None:
        self._market = market
        get = "/api/v3/"
        self._routes: dict[str, Callable[[Query, int], object]] = {
            get + "ping": lambda _query, _now: {},
            get + "time": lambda _query, now: {"serverTime": now},
            get + "depth": self._depth,
            get + "klines": self._klines,
            get + "ticker/24hr": self._tickers,
        }

    def answer(self, path: str, query: Query, now_ms: int) -> Response:
        """Return the answer to a GET; an unknown path is a 404 with a page that is not JSON."""
        if path == "/api/v3/exchangeInfo":
            return Response(status=200, body=self._exchange_info(now_ms))
        return routed(self._routes, path, query, now_ms)

    def _exchange_info(self, now_ms: int) -> bytes:
        rows = [_listed(pair) for pair in self._market.instruments(VENUE, now_ms)]
        soon = rows[0] | {"symbol": _PRE_TRADING, "baseAsset": "SOON", "status": "PRE_TRADING"}
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
        ]
        head = {"timezone": "UTC", "serverTime": now_ms, "rateLimits": limits, "exchangeFilters": []}
        return encode({**head, "symbols": [*rows, soon]})

    def _pair(self, query: Query, now_ms: int) -> Contract:
        symbol = query.get("symbol", "")
        if not symbol:
            raise missing("symbol")
        try:
            return self._market.contract(VENUE, symbol, now_ms)
        except UnknownSymbol:
            raise error(-1121, "Invalid symbol.") from None

    def _depth(self, query: Query, now_ms: int) -> object:
        pair = self._pair(query, now_ms)
        levels = min(whole(query, "limit", 100), MOST_LEVELS)
        book = self._market.order_book(VENUE, pair.symbol, now_ms, levels)
        return {
            "lastUpdateId": book.last_update_id,
            "bids": [[full_text(price), full_text(size)] for price, size in book.bids],
            "asks": [[full_text(price), full_text(size)] for price, size in book.asks],
        }

    def _klines(self, query: Query, now_ms: int) -> object:
        pair, interval = self._pair(query, now_ms), query.get("interval", "")
        if interval not in INTERVALS[1:]:
            raise error(-1120, "Invalid interval.")
        return kline_rows(self._market, pair, query, now_ms, min(row_limit(query, 500, 10_000), MOST_BARS))

    def _tickers(self, query: Query, now_ms: int) -> object:
        pairs = [self._pair(query, now_ms)] if query.get("symbol") else list(self._market.instruments(VENUE, now_ms))
        return one_or_all([self._ticker(pair, now_ms) for pair in pairs], single=bool(query.get("symbol")))

    def _ticker(self, pair: Contract, now_ms: int) -> dict[str, object]:
        ticker = self._market.ticker_of(pair, now_ms)
        book = self._market.order_book(VENUE, pair.symbol, now_ms, 1)
        return {
            "symbol": pair.symbol,
            **day_figures(ticker),
            "prevClosePrice": full_text(ticker.open),
            "bidPrice": full_text(book.bids[0][0]),
            "bidQty": full_text(book.bids[0][1]),
            "askPrice": full_text(book.asks[0][0]),
            "askQty": full_text(book.asks[0][1]),
            "firstId": 1,
            "lastId": ticker.trades,
            "count": ticker.trades,
        }


def _listed(pair: Contract) -> dict[str, object]:
    tick, step = fixed(1, pair.tick_exp), fixed(1, pair.lot_exp)
    return {
        "symbol": pair.symbol,
        "status": "TRADING",
        "baseAsset": pair.base,
        "baseAssetPrecision": 8,
        "quoteAsset": pair.quote,
        "quotePrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }
