"""Kraken spot on the wire: everything in an envelope with HTTP 200, keyed by each pair's oldest name.

Candles: 720 finished ones at most and the running one, which is always last; minutes without trades as flat rows; weeks
open on Thursday, as the epoch did. A level of a book has the time of its last change in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from collector.simulator.limits import Window
from collector.simulator.markets import Market, first_open
from collector.simulator.series import BASE, CLOSE, DAY_MS, HIGH, LOW, OPEN, TRADES
from collector.simulator.universe import KRAKEN_CODES, KRAKEN_OLD, Contract
from collector.simulator.wire import Request, Response, fixed, fixed_all, full_text, json_response

Query = Mapping[str, str]
VENUE = "kraken"
INTERVALS = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w"}
MOST_BARS, MOST_LEVELS, USUAL_LEVELS = 720, 500, 100
_SHIFTS_MS = {"1w": -4 * DAY_MS}  # from Monday to Thursday
CALLS, WINDOW_MS = 12, 10_000  # one a second is always fine; a little more is


class _Refused(Exception):
    """An error text of the envelope."""


class KrakenLimits:
    """Calls of an address in a rolling window; refused with HTTP 200, as everything there."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def refuse(self, request: Request, now_ms: int) -> Response | None:
        """Count a call; return the refusing answer, or None when it may pass."""
        window = self._windows.setdefault(request.address, Window(WINDOW_MS))
        window.add(now_ms)
        return _failure("EGeneral:Too many requests") if window.count(now_ms) > CALLS else None


class Kraken:
    """Answers the documented public paths from the market's truth."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._routes: dict[str, Callable[[Query, int], object]] = {
            "/0/public/Time": lambda _query, now: {"unixtime": now // 1000},
            "/0/public/SystemStatus": lambda _query, _now: {"status": "online"},
            "/0/public/AssetPairs": self._pairs,
            "/0/public/Ticker": self._tickers,
            "/0/public/OHLC": self._candles,
            "/0/public/Depth": self._book,
        }

    def answer(self, path: str, query: Query, now_ms: int) -> Response:
        """Return the answer to a GET; an unknown path is an error of the envelope too."""
        route = self._routes.get(path)
        if route is None:
            return _failure("EGeneral:Unknown method")
        try:
            return json_response({"error": [], "result": route(query, now_ms)})
        except _Refused as refused:
            return _failure(str(refused))

    def _pairs(self, _query: Query, now_ms: int) -> object:
        pairs = {pair.symbol: _listed(pair) for pair in self._market.instruments(VENUE, now_ms)}
        dark = {name: value for name, value in next(iter(pairs.values())).items() if name != "wsname"}
        return {**pairs, "XXBTZUSD.d": {**dark, "altname": "XBTUSD.d"}}

    def _asked(self, query: Query, now_ms: int) -> list[Contract]:
        listed = self._market.instruments(VENUE, now_ms)
        if "pair" not in query:
            return list(listed)
        by_name = {name: pair for pair in listed for name in (pair.symbol, _altname(pair))}
        names = query["pair"].split(",")
        if any(name not in by_name for name in names):
            raise _Refused("EQuery:Unknown asset pair")
        return [by_name[name] for name in names]

    def _one(self, query: Query, now_ms: int) -> Contract:
        if "," in query.get("pair", ","):
            raise _Refused("EGeneral:Invalid arguments")
        (pair,) = self._asked(query, now_ms)
        return pair

    def _tickers(self, query: Query, now_ms: int) -> object:
        return {pair.symbol: self._ticker(pair, now_ms) for pair in self._asked(query, now_ms)}

    def _ticker(self, pair: Contract, now_ms: int) -> dict[str, object]:
        ticker = self._market.ticker_of(pair, now_ms)
        book = self._market.order_book(VENUE, pair.symbol, now_ms, 1)
        (ask, ask_size), (bid, bid_size) = book.asks[0], book.bids[0]
        average = full_text(
            (ticker.quote_volume / ticker.volume).quantize(ticker.last) if ticker.volume else Decimal(0)
        )
        high, low, volume = full_text(ticker.high), full_text(ticker.low), full_text(ticker.volume)
        return {
            "a": [full_text(ask), str(int(ask_size)), full_text(ask_size)],
            "b": [full_text(bid), str(int(bid_size)), full_text(bid_size)],
            "c": [full_text(ticker.last), full_text(ticker.last_size)],
            "v": [volume, volume],
            "p": [average, average],
            "t": [ticker.trades, ticker.trades],
            "l": [low, low],
            "h": [high, high],
            "o": full_text(ticker.open),
        }

    def _book(self, query: Query, now_ms: int) -> object:
        pair, count = self._one(query, now_ms), query.get("count", str(USUAL_LEVELS))
        if not (count.isdecimal() and 1 <= int(count) <= MOST_LEVELS):
            raise _Refused("EGeneral:Invalid arguments")
        book = self._market.order_book(VENUE, pair.symbol, now_ms, int(count))
        sides = {"asks": book.asks, "bids": book.bids}
        return {
            pair.symbol: {
                side: [
                    [full_text(price), full_text(size), book.at_ms // 1000 - place]
                    for place, (price, size) in enumerate(levels)
                ]
                for side, levels in sides.items()
            }
        }

    def _candles(self, query: Query, now_ms: int) -> object:
        pair = self._one(query, now_ms)
        if query.get("interval", "1") not in map(str, INTERVALS):
            raise _Refused("EGeneral:Invalid arguments")
        minutes = int(query.get("interval", "1"))
        interval, width = INTERVALS[minutes], minutes * 60_000
        shift = _SHIFTS_MS.get(interval, 0)
        running = first_open(interval, now_ms, shift)
        start = max(running - MOST_BARS * width, first_open(interval, pair.listed_ms, shift))
        bars = self._market.bars(pair, interval, start, running + width, at_ms=now_ms, shift_ms=shift)
        since = int(query["since"]) if query.get("since", "").isdecimal() else -1
        rows = _rows(pair, bars.open_ms.tolist(), bars.columns.tolist())
        kept = [row for row in rows[:-1] if row[0] > since] + rows[-1:]  # type: ignore[operator]
        last = rows[-2][0] if len(rows) > 1 else 0
        return {pair.symbol: kept, "last": last}


def _rows(pair: Contract, opens: list[int], values: list[list[int]]) -> list[list[object]]:
    """Return the rows of an answer: seconds, prices, average price, volume in base units, trades."""
    prices = [fixed_all(values[column], pair.tick_exp) for column in (OPEN, HIGH, LOW, CLOSE)]
    averages = [close if trades else "0.0" for close, trades in zip(prices[3], values[TRADES], strict=True)]
    volumes = fixed_all(values[BASE], pair.base_exp)
    columns = ([opened // 1000 for opened in opens], *prices, averages, volumes, values[TRADES])
    return [list(row) for row in zip(*columns, strict=True)]


def _altname(pair: Contract) -> str:
    return KRAKEN_CODES.get(pair.base, pair.base) + pair.quote


def _listed(pair: Contract) -> dict[str, object]:
    code = KRAKEN_CODES.get(pair.base, pair.base)
    return {
        "altname": _altname(pair),
        "wsname": f"{code}/{pair.quote}",
        "aclass_base": "currency",
        "base": KRAKEN_OLD.get(pair.base, code),
        "aclass_quote": "currency",
        "quote": "ZUSD" if pair.quote == "USD" else pair.quote,
        "cost_decimals": 5,
        "pair_decimals": max(0, -pair.tick_exp),
        "lot_decimals": max(0, -pair.lot_exp),
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "ordermin": fixed(1, pair.lot_exp),
        "tick_size": fixed(1, pair.tick_exp),
        "status": "online",
    }


def _failure(text: str) -> Response:
    return json_response({"error": [text]})
