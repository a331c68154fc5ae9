"""Binance USD-M futures on the wire: paths and parameters to the documented JSON. Lists are oldest first.

Prices, sizes and rates are strings, times whole milliseconds, errors `{"code": int, "msg": str}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from collector.simulator.listings import PENDING_SYMBOL, binance_symbols
from collector.simulator.markets import (
    WIDTHS_MS,
    Market,
    Ticker,
    UnknownSymbol,
    first_open,
    next_funding_ms,
    next_open,
)
from collector.simulator.noise import pick
from collector.simulator.series import (
    BASE,
    CLOSE,
    DAY_MS,
    HIGH,
    HOUR_MS,
    LOW,
    OPEN,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    Bars,
)
from collector.simulator.universe import EPOCH_2020_MS, Contract
from collector.simulator.wire import BadQuery, Response, encode, fixed_all, full_text, json_response

Query = Mapping[str, str]
VENUE = "binance_futures"
_INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
_PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
_USUAL_FUNDING_HOURS = 8
_MOST_FUNDING_ROWS = 1_000
_LONGEST_NUMBER = 16
_DEPTHS = (5, 10, 20, 50, 100, 500, 1_000)
_RATIOS = {
    "globalLongShortAccountRatio": "accounts",
    "topLongShortAccountRatio": "top_accounts",
    "topLongShortPositionRatio": "top_positions",
}
_STATISTICS_REACH_MS = 30 * DAY_MS


def routed(routes: Mapping[str, Callable[[Query, int], object]], path: str, query: Query, now_ms: int) -> Response:
    """Return what the path's route answers, or its refusal; an unknown path is a 404 with a page that is not JSON."""
    route = routes.get(path)
    if route is None:
        return Response(status=404, body=b"<html><body>404 Not Found</body></html>", content_type="text/html")
    try:
        return json_response(route(query, now_ms))
    except BadQuery as refused:
        return json_response(refused.body, refused.status)


def one_or_all(rows: Sequence[object], *, single: bool) -> object:
    """Return the only row as an object where one symbol was asked for, else the list."""
    return rows[0] if single else rows


def error(code: int, text: str, status: int = 400) -> BadQuery:
    """Return a refusal in the venue's envelope."""
    return BadQuery(status, {"code": code, "msg": text})


def missing(name: str) -> BadQuery:
    """Return the refusal of a query without a parameter, or with one that is no number."""
    return error(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def late_ms(contract: Contract, funding_ms: int) -> int:
    """Return the time the venue writes for a settlement: 0 to 19 ms after the scheduled moment."""
    return funding_ms + pick(contract.key, funding_ms // HOUR_MS, 20)


class Binance:
    """Answers the documented public futures paths from the market's truth."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._listing: dict[tuple[str, ...], bytes] = {}
        get = "/fapi/v1/"
        self._routes: dict[str, Callable[[Query, int], object]] = {
            get + "ping": lambda _query, _now: {},
            get + "time": lambda _query, now: {"serverTime": now},
            get + "depth": self._depth,
            get + "premiumIndex": self._premium_index,
            get + "fundingRate": self._funding_rate,
            get + "fundingInfo": self._funding_info,
            get + "openInterest": self._open_interest,
            get + "klines": self._klines,
            get + "ticker/24hr": self._ticker_24h,
            get + "ticker/bookTicker": self._book_ticker,
            get + "ticker/price": self._ticker_price,
            "/fapi/v2/ticker/price": self._ticker_price,
            "/futures/data/openInterestHist": self._interest_history,
        }
        for name, kind in _RATIOS.items():
            self._routes["/futures/data/" + name] = self._ratio_route(kind)

    def answer(self, path: str, query: Query, now_ms: int) -> Response:
        """Return the answer to a GET; an unknown path is a 404 with a page that is not JSON."""
        if path == "/fapi/v1/exchangeInfo":
            return Response(status=200, body=self._exchange_info(now_ms))
        return routed(self._routes, path, query, now_ms)

    # listing ----------------------------------------------------------------------------------------------------

    def _exchange_info(self, now_ms: int) -> bytes:
        contracts = self._market.instruments(VENUE, now_ms)
        listed = tuple(c.symbol for c in contracts)
        if listed not in self._listing:
            self._listing = {listed: encode(binance_symbols(contracts))}
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ]
        assets = [{"asset": name, "marginAvailable": True, "autoAssetExchange": "-10000"} for name in ("USDT", "USDC")]
        head = {
            "timezone": "UTC",
            "serverTime": now_ms,
            "futuresType": "U_MARGINED",
            "rateLimits": limits,
            "exchangeFilters": [],
            "assets": assets,
        }
        return encode(head)[:-1] + b',"symbols":' + self._listing[listed] + b"}"

    def _live(self, now_ms: int) -> list[Contract]:
        return list(self._market.instruments(VENUE, now_ms))

    def _contract(self, query: Query, now_ms: int) -> Contract:
        symbol = query.get("symbol", "")
        if not symbol:
            raise missing("symbol")
        if not symbol.isascii() or not symbol.replace("_", "").isalnum():
            raise error(-1100, "Illegal characters found in parameter 'symbol'.")
        if symbol == PENDING_SYMBOL:
            raise error(-1122, "Invalid symbol status.")
        try:
            return self._market.contract(VENUE, symbol, now_ms)
        except UnknownSymbol:
            raise error(-1121, "Invalid symbol.") from None

    def _wanted(self, query: Query, now_ms: int) -> tuple[list[Contract], bool]:
        """Return the contracts asked for and whether a single object is due."""
        if query.get("symbol"):
            return [self._contract(query, now_ms)], True
        return self._live(now_ms), False

    # market -----------------------------------------------------------------------------------------------------

    def _depth(self, query: Query, now_ms: int) -> object:
        contract = self._contract(query, now_ms)
        limit = whole(query, "limit", 500)
        if limit not in _DEPTHS:
            raise error(-4021, f"{limit} is not valid depth limit.")
        book = self._market.order_book(VENUE, contract.symbol, now_ms, limit)
        return {
            "lastUpdateId": book.last_update_id,
            "E": now_ms,
            "T": book.at_ms,
            "bids": [[full_text(price), full_text(size)] for price, size in book.bids],
            "asks": [[full_text(price), full_text(size)] for price, size in book.asks],
        }

    def _book_ticker(self, query: Query, now_ms: int) -> object:
        wanted, single = self._wanted(query, now_ms)
        rows: list[object] = []
        for contract in wanted:
            book = self._market.order_book(VENUE, contract.symbol, now_ms, 1)
            rows.append(
                {
                    "symbol": contract.symbol,
                    "bidPrice": full_text(book.bids[0][0]),
                    "bidQty": full_text(book.bids[0][1]),
                    "askPrice": full_text(book.asks[0][0]),
                    "askQty": full_text(book.asks[0][1]),
                    "time": book.at_ms,
                    "lastUpdateId": book.last_update_id,
                }
            )
        return one_or_all(rows, single=single)

    def _ticker_price(self, query: Query, now_ms: int) -> object:
        wanted, single = self._wanted(query, now_ms)
        rows = [
            {
                "symbol": c.symbol,
                "price": full_text(self._market.last_price(VENUE, c.symbol, now_ms)),
                "time": now_ms,
            }
            for c in wanted
        ]
        return one_or_all(rows, single=single)

    def _ticker_24h(self, query: Query, now_ms: int) -> object:
        wanted, single = self._wanted(query, now_ms)
        rows = [self._ticker_row(contract, now_ms) for contract in wanted]
        return one_or_all(rows, single=single)

    def _ticker_row(self, contract: Contract, now_ms: int) -> dict[str, object]:
        ticker = self._market.ticker_of(contract, now_ms)
        last_id = now_ms // 10 + contract.key % 1_000_000
        return {
            "symbol": contract.symbol,
            **day_figures(ticker),
            "firstId": last_id - ticker.trades + 1,
            "lastId": last_id,
            "count": ticker.trades,
        }

    def _klines(self, query: Query, now_ms: int) -> object:
        contract = self._contract(query, now_ms)
        interval = query.get("interval", "")
        if not interval:
            raise missing("interval")
        if interval not in _INTERVALS:
            raise error(-1120, "Invalid interval.")
        return kline_rows(self._market, contract, query, now_ms, row_limit(query, 500, 1_500))

    # mark price, funding, open interest -------------------------------------------------------------------------

    def _premium_index(self, query: Query, now_ms: int) -> object:
        wanted, single = self._wanted(query, now_ms)
        marks = self._market.mark_prices(wanted, now_ms)
        indices = self._market.index_prices(wanted, now_ms)
        rates = self._market.forecast_rates(wanted, [now_ms] * len(wanted))
        rows = [
            {
                "symbol": contract.symbol,
                "markPrice": full_text(mark),
                "indexPrice": full_text(index),
                "estimatedSettlePrice": full_text(index),
                "lastFundingRate": "" if contract.kind == "dated" else full_text(rate),
                "interestRate": "" if contract.kind == "dated" else "0.00010000",
                "nextFundingTime": 0 if contract.kind == "dated" else next_funding_ms(contract, now_ms),
                "time": now_ms,
            }
            for contract, mark, index, rate in zip(wanted, marks, indices, rates, strict=True)
        ]
        return one_or_all(rows, single=single)

    def _funding_rate(self, query: Query, now_ms: int) -> object:
        limit_text = query.get("limit", "100")
        if not limit_text.isdecimal() or not 1 <= int(limit_text) <= _MOST_FUNDING_ROWS:
            body = {
                "status": "ERROR",
                "type": "GENERAL",
                "code": "99099990",
                "errorData": "illegal params.",
                "data": None,
            }
            raise BadQuery(200, body)
        limit = int(limit_text)
        start, end = range_of(query)
        last = now_ms if end is None else min(end, now_ms)
        if query.get("symbol"):
            contract = self._contract(query, now_ms)
            if contract.kind == "dated":
                return []
            span = (limit + 1) * contract.funding_hours * HOUR_MS
            first = last - span if start is None else max(start, contract.listed_ms)
            until = min(last, first + span)
            times = self._settled(contract, first, until)
            kept = times[-limit:] if start is None else times[:limit]
            return self._funding_rows([contract] * len(kept), kept)
        return self._all_funding(limit, start, last, now_ms)

    def _all_funding(self, limit: int, start: int | None, last: int, now_ms: int) -> object:
        """Return settlements of all symbols mixed, oldest first; without a start the most recent ones."""
        first = last - DAY_MS if start is None else max(start, EPOCH_2020_MS)
        until = min(last, first + DAY_MS)
        contracts = [c for c in self._live(now_ms) if c.kind != "dated"]
        pairs = [(t, c) for c in contracts for t in self._settled(c, first, until)]
        pairs.sort(key=lambda pair: (pair[0], pair[1].symbol))
        kept = pairs[-limit:] if start is None else pairs[:limit]
        rows = self._funding_rows([c for _, c in kept], [t for t, _ in kept])
        return sorted(rows, key=lambda row: row["fundingTime"])

    def _settled(self, contract: Contract, first_ms: int, last_ms: int) -> list[int]:
        """Return the scheduled settlements whose written (slightly late) time is in [first, last]."""
        times = self._market.funding_times(contract, max(first_ms - 1_000, 0), last_ms)
        return [t for t in times if first_ms <= late_ms(contract, t) <= last_ms]

    def _funding_rows(self, contracts: list[Contract], times_ms: list[int]) -> list[dict[str, Any]]:
        if not contracts:
            return []
        rates = self._market.settled_rates(contracts, times_ms)
        marks = self._market.marks(contracts, times_ms)
        rows: list[dict[str, Any]] = []
        for contract, time_ms, rate, mark in zip(contracts, times_ms, rates, marks, strict=True):
            row = {
                "symbol": contract.symbol,
                "fundingTime": late_ms(contract, time_ms),
                "fundingRate": full_text(rate),
                "markPrice": full_text(mark),
            }
            rows.append(row | {"rateType": "Regular"} if contract.kind == "stock" else row)
        return rows

    def _funding_info(self, _query: Query, now_ms: int) -> object:
        return [
            {
                "symbol": c.symbol,
                "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000",
                "fundingIntervalHours": c.funding_hours,
                "disclaimer": False,
            }
            for c in self._live(now_ms)
            if c.funding_hours != _USUAL_FUNDING_HOURS and c.kind != "dated"
        ]

    def _open_interest(self, query: Query, now_ms: int) -> object:
        contract = self._contract(query, now_ms)
        interest = self._market.open_interests([contract], now_ms)[0]
        return {"symbol": contract.symbol, "openInterest": full_text(interest), "time": now_ms}

    # statistics -------------------------------------------------------------------------------------------------

    def _statistics(self, query: Query, now_ms: int) -> tuple[Contract, list[int]] | None:
        """Return the contract and the ends of the periods asked for; None for an unknown symbol or period."""
        for name in ("symbol", "period"):
            if not query.get(name):
                raise missing(name)
        period = query["period"]
        if not period[:-1].isdecimal():
            raise error(-1130, "parameter 'period' is invalid.")
        limit = row_limit(query, 30, 500)
        start, end = range_of(query)
        if start is not None and start <= now_ms - _STATISTICS_REACH_MS:
            raise error(-1130, "parameter 'startTime' is invalid.")
        try:
            contract = self._market.contract(VENUE, query["symbol"], now_ms)
        except UnknownSymbol:
            return None
        if period not in _PERIODS:
            return None
        width = WIDTHS_MS[period]
        last = now_ms if end is None else min(end, now_ms)
        oldest = max(now_ms - _STATISTICS_REACH_MS + 1, contract.listed_ms)
        first = max(oldest, start if start is not None else last - limit * width + 1)
        times = list(range(-(-first // width) * width, last + 1, width))
        return contract, times[:limit] if start is not None else times[-limit:]

    def _interest_history(self, query: Query, now_ms: int) -> object:
        found = self._statistics(query, now_ms)
        if found is None:
            return []
        contract, times = found
        if not times:
            return []
        interests = self._market.interests([contract] * len(times), times)
        marks = self._market.marks([contract] * len(times), times)
        return [
            {
                "symbol": contract.symbol,
                "sumOpenInterest": full_text(interest),
                "sumOpenInterestValue": full_text((interest * mark).quantize(Decimal("0.00000001"))),
                "timestamp": time_ms,
            }
            for interest, mark, time_ms in zip(interests, marks, times, strict=True)
        ]

    def _ratio_route(self, kind: str) -> Callable[[Query, int], object]:
        def route(query: Query, now_ms: int) -> object:
            found = self._statistics(query, now_ms)
            if found is None:
                return []
            contract, times = found
            return [self._ratio_row(contract, kind, time_ms) for time_ms in times]

        return route

    def _ratio_row(self, contract: Contract, kind: str, time_ms: int) -> dict[str, object]:
        ratio = self._market.position_ratio(contract.symbol, kind, time_ms)
        return {
            "symbol": contract.symbol,
            "longShortRatio": full_text(ratio.ratio),
            "longAccount": full_text(ratio.long),
            "shortAccount": full_text(ratio.short),
            "timestamp": time_ms,
        }


def day_figures(ticker: Ticker) -> dict[str, object]:
    """Return what the 24 h tickers of both hosts say."""
    change = ticker.last - ticker.open
    return {
        "priceChange": full_text(change),
        "priceChangePercent": full_text((change / ticker.open * 100).quantize(Decimal("0.001"))),
        "weightedAvgPrice": full_text((ticker.quote_volume / ticker.volume).quantize(ticker.last)),
        "lastPrice": full_text(ticker.last),
        "lastQty": full_text(ticker.last_size),
        "openPrice": full_text(ticker.open),
        "highPrice": full_text(ticker.high),
        "lowPrice": full_text(ticker.low),
        "volume": full_text(ticker.volume),
        "quoteVolume": full_text(ticker.quote_volume),
        "openTime": ticker.open_ms,
        "closeTime": ticker.close_ms,
    }


def kline_rows(market: Market, contract: Contract, query: Query, now_ms: int, limit: int) -> list[list[object]]:
    """Return the candles of a query, oldest first: the first ones from startTime on, without it the newest ones."""
    interval = query["interval"]
    start, end = range_of(query)
    width = WIDTHS_MS.get(interval, 31 * DAY_MS)
    last = now_ms if end is None else min(end, now_ms)
    newest = start is None
    if start is None:
        start = first_open(interval, last) - (limit - 1) * width
    start = max(start, first_open(interval, contract.listed_ms))
    end_open = min(last + 1, start + (limit + 1) * width)
    rows = _kline_rows(contract, interval, market.bars(contract, interval, start, end_open, at_ms=now_ms))
    return rows[-limit:] if newest else rows[:limit]


def _kline_rows(contract: Contract, interval: str, bars: Bars) -> list[list[object]]:
    """Return the twelve items of each candle; the last one is unused by the venue."""
    values = bars.columns.tolist()
    opens = bars.open_ms.tolist()
    tick, base, quote = contract.tick_exp, contract.base_exp, contract.quote_exp
    columns: list[list[Any]] = [
        opens,
        *(fixed_all(values[column], tick) for column in (OPEN, HIGH, LOW, CLOSE)),
        fixed_all(values[BASE], base),
        [next_open(interval, opened) - 1 for opened in opens],
        fixed_all(values[QUOTE], quote),
        values[TRADES],
        fixed_all(values[TAKER_BASE], base),
        fixed_all(values[TAKER_QUOTE], quote),
        ["0"] * len(opens),
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def whole(query: Query, name: str, default: int) -> int:
    """Return a whole number of the query, or refuse it."""
    text = query.get(name, str(default))
    if not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        raise missing(name)
    return int(text)


def row_limit(query: Query, default: int, most: int) -> int:
    """Return how many rows are asked for, or refuse a number out of range."""
    limit = whole(query, "limit", default)
    if not 1 <= limit <= most:
        raise error(-1130, "parameter 'limit' is invalid.")
    return limit


def range_of(query: Query) -> tuple[int | None, int | None]:
    """Return startTime and endTime, or refuse a range that ends before it starts."""
    start = whole(query, "startTime", 0) if "startTime" in query else None
    end = whole(query, "endTime", 0) if "endTime" in query else None
    if start is not None and end is not None and start > end:
        raise error(-1023, "Start time is greater than end time.")
    return start, end
