"""OKX v5 public data on the wire: every scalar is a string, lists are newest first, sizes of swaps are contracts.

`after` returns older rows and `before` newer ones, both without the named moment; `before` alone gives the newest rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from collector.simulator.listings import okx_family, okx_instrument, okx_preopen
from collector.simulator.markets import WIDTHS_MS, Market, UnknownSymbol, next_funding_ms, next_open
from collector.simulator.series import (
    BASE,
    CLOSE,
    DAY_MS,
    HIGH,
    HOUR_MS,
    LOTS,
    LOW,
    OPEN,
    QUOTE,
)
from collector.simulator.universe import Contract
from collector.simulator.wire import BadQuery, Response, encode, json_response, short_all, short_text

Query = Mapping[str, str]
VENUE = "okx"
_KINDS = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS")
_HONG_KONG_MS = -8 * HOUR_MS
_SHORT_BARS = {"1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "2H": "2h", "4H": "4h"}
_LONG_BARS = {"6H": "6h", "12H": "12h", "1D": "1d", "2D": "2d", "3D": "3d", "1W": "1w", "1M": "1M"}
BARS: dict[str, tuple[str, int]] = (
    {name: (interval, 0) for name, interval in _SHORT_BARS.items()}
    | {name: (interval, _HONG_KONG_MS) for name, interval in _LONG_BARS.items()}
    | {name + "utc": (interval, 0) for name, interval in _LONG_BARS.items()}
)
"""Wire name of a bar: our interval and the shift of its boundaries (days of UTC+8 without the suffix utc)."""
_RECENT_ROWS = 1_440
_LONGEST_NUMBER = 16
_MOST_LEVELS = 400
_FUNDING_REACH_MS = 92 * DAY_MS
_MISSING = "Instrument ID, Instrument ID code, or Spread ID doesn't exist."
_UNKNOWN_PATH = {
    "code": "404",
    "data": {},
    "detailMsg": "",
    "error_code": "404",
    "error_message": "Not Found",
    "msg": "Not Found",
}


def _error(code: int, text: str, status: int = 200) -> BadQuery:
    return BadQuery(status, {"code": str(code), "msg": text, "data": []})


class Okx:
    """Answers the documented public paths from the market's truth."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._listing: dict[tuple[str, ...], bytes] = {}
        self._routes: dict[str, Callable[[Query, int], object]] = {
            "/api/v5/public/time": lambda _query, now: [{"ts": str(now)}],
            "/api/v5/market/tickers": self._tickers,
            "/api/v5/market/ticker": self._ticker,
            "/api/v5/market/candles": self._candles,
            "/api/v5/market/history-candles": self._history_candles,
            "/api/v5/market/books": self._books,
            "/api/v5/public/funding-rate": self._funding_rate,
            "/api/v5/public/funding-rate-history": self._funding_history,
            "/api/v5/public/open-interest": self._open_interest,
            "/api/v5/public/mark-price": self._mark_price,
            "/api/v5/system/status": self._status,
        }

    def answer(self, path: str, query: Query, now_ms: int) -> Response:
        """Return the answer to a GET; errors keep the venue's envelope, most of them with status 200."""
        try:
            if path == "/api/v5/public/instruments":
                return self._instruments(query, now_ms)
            route = self._routes.get(path)
            if route is None:
                return json_response(_UNKNOWN_PATH, 404)
            return json_response({"code": "0", "msg": "", "data": route(query, now_ms)})
        except BadQuery as refused:
            return json_response(refused.body, refused.status)

    # selecting --------------------------------------------------------------------------------------------------

    def _contract(self, query: Query, now_ms: int) -> Contract:
        name = query.get("instId", "")
        if not name:
            raise _error(50014, "Parameter instId can not be empty.", 400)
        try:
            return self._market.contract(VENUE, name, now_ms)
        except UnknownSymbol:
            raise _error(51001, _MISSING) from None

    def _class(self, query: Query, now_ms: int) -> list[Contract]:
        """Return the contracts of the class asked for; the simulator trades swaps only, other classes are empty."""
        kind = query.get("instType", "")
        if not kind:
            raise _error(50014, "Parameter instType can not be empty.", 400)
        if kind not in _KINDS:
            raise _error(51000, "Parameter instType error", 400)
        if kind == "OPTION" and not query.get("instFamily"):
            raise _error(50014, "Parameter instFamily can not be empty.", 400)
        contracts = list(self._market.instruments(VENUE, now_ms)) if kind == "SWAP" else []
        family, name = query.get("instFamily"), query.get("instId")
        if family:
            contracts = [c for c in contracts if okx_family(c) == family]
        if name:
            contracts = [c for c in contracts if c.symbol == name]
            if not contracts:
                raise _error(51001, _MISSING)
        return contracts

    # listing ----------------------------------------------------------------------------------------------------

    def _instruments(self, query: Query, now_ms: int) -> Response:
        contracts = self._class(query, now_ms)
        listed = tuple(c.symbol for c in contracts)
        whole = query.get("instType") == "SWAP" and not query.get("instFamily") and not query.get("instId")
        if not whole:
            return json_response({"code": "0", "msg": "", "data": [okx_instrument(c) for c in contracts]})
        if listed not in self._listing:
            rows = [okx_instrument(c) for c in contracts]
            self._listing = {listed: encode({"code": "0", "msg": "", "data": [*rows, okx_preopen(rows[0])]})}
        return Response(status=200, body=self._listing[listed])

    # market -----------------------------------------------------------------------------------------------------

    def _tickers(self, query: Query, now_ms: int) -> object:
        return [self._ticker_row(contract, now_ms) for contract in self._class(query, now_ms)]

    def _ticker(self, query: Query, now_ms: int) -> object:
        return [self._ticker_row(self._contract(query, now_ms), now_ms)]

    def _ticker_row(self, contract: Contract, now_ms: int) -> dict[str, object]:
        ticker = self._market.ticker_of(contract, now_ms)
        book = self._market.order_book(VENUE, contract.symbol, now_ms, 1)
        midnight = now_ms - now_ms % DAY_MS
        hong_kong = now_ms - (now_ms + 8 * HOUR_MS) % DAY_MS
        return {
            "instType": "SWAP",
            "instId": contract.symbol,
            "last": short_text(ticker.last),
            "lastSz": short_text(ticker.last_size),
            "askPx": short_text(book.asks[0][0]),
            "askSz": short_text(book.asks[0][1]),
            "bidPx": short_text(book.bids[0][0]),
            "bidSz": short_text(book.bids[0][1]),
            "open24h": short_text(ticker.open),
            "high24h": short_text(ticker.high),
            "low24h": short_text(ticker.low),
            "volCcy24h": short_text(ticker.volume),
            "vol24h": short_text(ticker.contracts),
            "sodUtc0": short_text(self._market.last_price(VENUE, contract.symbol, midnight)),
            "sodUtc8": short_text(self._market.last_price(VENUE, contract.symbol, hong_kong)),
            "ts": str(now_ms),
        }

    def _candles(self, query: Query, now_ms: int) -> object:
        return self._candle_rows(query, now_ms, recent=True)

    def _history_candles(self, query: Query, now_ms: int) -> object:
        return self._candle_rows(query, now_ms, recent=False)

    def _candle_rows(self, query: Query, now_ms: int, *, recent: bool) -> object:
        contract = self._contract(query, now_ms)
        bar = query.get("bar", "1m")
        if bar not in BARS:
            raise _error(51000, "Parameter bar error", 400)
        interval, shift_ms = BARS[bar]
        limit = min(_whole(query, "limit", 100), 300)
        width = WIDTHS_MS.get(interval, 31 * DAY_MS)
        after, before = _whole(query, "after", 0), _whole(query, "before", 0)
        end = min(after, now_ms + 1) if after else now_ms + 1
        start = max(end - (limit + 1) * width, before + 1)
        if recent:
            start = max(start, now_ms - _RECENT_ROWS * width)
        bars = self._market.bars(contract, interval, max(start, 0), end, at_ms=now_ms, shift_ms=shift_ms)
        opens = bars.open_ms.tolist()
        values, tick = bars.columns.tolist(), contract.tick_exp
        columns = [
            [str(opened) for opened in opens],
            *(short_all(values[column], tick) for column in (OPEN, HIGH, LOW, CLOSE)),
            short_all(values[LOTS], contract.lot_exp),
            short_all(values[BASE], contract.base_exp),
            short_all(values[QUOTE], contract.quote_exp),
            ["1" if next_open(interval, opened, shift_ms) <= now_ms else "0" for opened in opens],
        ]
        rows = list(zip(*columns, strict=True))
        return rows[-limit:][::-1]

    def _books(self, query: Query, now_ms: int) -> object:
        contract = self._contract(query, now_ms)
        levels = _whole(query, "sz", 1)
        if not 1 <= levels <= _MOST_LEVELS:
            raise _error(51000, "Parameter sz error", 400)
        book = self._market.order_book(VENUE, contract.symbol, now_ms, levels)
        sides = [
            [[short_text(price), short_text(size), "0", str(1 + index % 9)] for index, (price, size) in enumerate(side)]
            for side in (book.asks, book.bids)
        ]
        return [{"asks": sides[0], "bids": sides[1], "ts": str(book.at_ms)}]

    # funding, open interest, mark price -------------------------------------------------------------------------

    def _funding_rate(self, query: Query, now_ms: int) -> object:
        if query.get("instId") != "ANY":
            return self._funding_rows([self._contract(query, now_ms)], now_ms)
        return self._funding_rows(list(self._market.instruments(VENUE, now_ms)), now_ms)

    def _funding_rows(self, contracts: list[Contract], now_ms: int) -> list[object]:
        expected = self._market.forecast_rates(contracts, [now_ms] * len(contracts))
        past = [next_funding_ms(c, now_ms) - c.funding_hours * HOUR_MS for c in contracts]
        settled = self._market.settled_rates(contracts, past)
        return [_funding_row(*row, now_ms) for row in zip(contracts, expected, settled, strict=True)]

    def _funding_history(self, query: Query, now_ms: int) -> object:
        contract = self._contract(query, now_ms)
        limit = min(_whole(query, "limit", 400), 400)
        after, before = _whole(query, "after", 0), _whole(query, "before", 0)
        end = min(after - 1, now_ms) if after else now_ms
        start = max(now_ms - _FUNDING_REACH_MS, before + 1)
        times = self._market.funding_times(contract, start, end)[-limit:][::-1]
        if not times:
            return []
        same = [contract] * len(times)
        expected = self._market.forecast_rates(same, [time_ms - 1 for time_ms in times])
        settled = self._market.settled_rates(same, times)
        return [
            {
                "instType": "SWAP",
                "instId": contract.symbol,
                "formulaType": "withRate",
                "fundingRate": _rate(forecast),
                "realizedRate": _rate(realized),
                "fundingTime": str(time_ms),
                "method": "current_period",
            }
            for time_ms, forecast, realized in zip(times, expected, settled, strict=True)
        ]

    def _open_interest(self, query: Query, now_ms: int) -> object:
        contracts = self._class(query, now_ms)
        if not contracts:
            return []
        interests = self._market.open_interests(contracts, now_ms)
        marks = self._market.mark_prices(contracts, now_ms)
        rows: list[object] = []
        for contract, interest, mark in zip(contracts, interests, marks, strict=True):
            coins, usd = _coins_and_usd(contract, interest, mark)
            rows.append(
                {
                    "instType": "SWAP",
                    "instId": contract.symbol,
                    "oi": short_text(interest),
                    "oiCcy": short_text(coins),
                    "oiUsd": short_text(usd),
                    "ts": str(now_ms),
                }
            )
        return rows

    def _mark_price(self, query: Query, now_ms: int) -> object:
        contracts = self._class(query, now_ms)
        marks = self._market.mark_prices(contracts, now_ms) if contracts else []
        return [
            {"instType": "SWAP", "instId": c.symbol, "markPx": short_text(mark), "ts": str(now_ms)}
            for c, mark in zip(contracts, marks, strict=True)
        ]

    def _status(self, query: Query, _now_ms: int) -> object:
        """Return the announced maintenance: none."""
        if query.get("state", "scheduled") not in {"scheduled", "ongoing", "pre_open", "completed", "canceled"}:
            raise _error(51000, "Parameter state error", 400)
        return []


def _rate(value: Decimal) -> str:
    return format(value, ".16f")


def _funding_row(contract: Contract, rate: Decimal, settled: Decimal, now_ms: int) -> dict[str, object]:
    coming = next_funding_ms(contract, now_ms)
    width = contract.funding_hours * HOUR_MS
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "method": "current_period",
        "formulaType": "withRate",
        "fundingRate": _rate(rate),
        "nextFundingRate": "",
        "fundingTime": str(coming),
        "nextFundingTime": str(coming + width),
        "prevFundingTime": str(coming - width),
        "minFundingRate": "-0.00375",
        "maxFundingRate": "0.00375",
        "interestRate": "0.0001",
        "impactValue": "20000.0",
        "settState": "settled",
        "settFundingRate": _rate(settled),
        "premium": _rate(rate - Decimal("0.0001")),
        "ts": str(now_ms),
    }


def _coins_and_usd(contract: Contract, interest: Decimal, mark: Decimal) -> tuple[Decimal, Decimal]:
    """Return open interest in coins and in USD; a contract is 10**unit_exp coins, or that many USD when inverse."""
    amount = interest.scaleb(contract.unit_exp)
    if contract.inverse:
        return (amount / mark).quantize(Decimal("1E-8")), amount
    return amount, amount * mark


def _whole(query: Query, name: str, default: int) -> int:
    text = query.get(name, "") or str(default)
    if not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        raise _error(51000, f"Parameter {name} error", 400)
    return int(text)
