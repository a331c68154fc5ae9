"""The reads of a cycle through ccxt.

Binanceusdm and okx, unified methods, one exchange object each for the whole time.

`mode` async: everything is gathered at once, ccxt's own throttler paces the calls where limits are on (the default
that its documents advise). `mode` sync: the plain classes, call after call. What there is in bulk is read in bulk.
Markets are loaded beforehand. CoinGecko, which ccxt does not know, is read by its two plain calls. Phase "stored": the
answers also go into PostgreSQL, a DataFrame for each kind with to_sql.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import ccxt
import ccxt.async_support
import pandas as pd
from sqlalchemy import create_engine, make_url

from benchmarks.sides.copied import copied
from benchmarks.sides.reads import BARS_ASKED, EACH, Bar, Values, book, told

LEVELS = 50
VENUES = ("binance_futures", "okx")


def configuration(venue: str, work: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an exchange: the simulator's address, only its perpetuals, the throttler as asked."""
    address = work["addresses"][venue]
    urls = {"fapiPublic": f"{address}/fapi/v1"} if venue == "binance_futures" else {"rest": address}
    options = {"fetchMarkets": {"types": ["linear" if venue == "binance_futures" else "swap"]}}
    return {"enableRateLimit": work["limits"], "urls": {"api": urls}, "options": options}


def classes(module: Any) -> dict[str, Any]:
    return {"binance_futures": module.binanceusdm, "okx": module.okx}


def coingecko(work: Mapping[str, Any]) -> list[str]:
    root = work["addresses"]["coingecko"]
    return [f"{root}/coins/markets?vs_currency=usd&per_page=250&page=1", f"{root}/global"]


def bulk_calls(venue: str) -> list[tuple[str, list[Any]]]:
    """Return the calls that bring something of all instruments at once: name, method and arguments."""
    kind = [{"instType": "SWAP"}]
    if venue == "okx":
        return [
            ("fetch_tickers", [None, *kind]),
            ("fetch_mark_prices", [None, *kind]),
            ("fetch_open_interests", [None, *kind]),
            ("fetch_funding_rates", []),
        ]
    return [("fetch_tickers", []), ("fetch_funding_rates", [])]  # the latter brings mark prices too


def each_calls(venue: str, symbol: str) -> list[tuple[str, list[Any]]]:
    """Return the calls for one instrument."""
    calls: list[tuple[str, list[Any]]] = [
        ("fetch_order_book", [symbol, LEVELS]),
        ("fetch_ohlcv", [symbol, "1m", None, BARS_ASKED]),
    ]
    return calls if venue == "okx" else [*calls, ("fetch_open_interest", [symbol])]


KINDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "fetch_tickers": {"tickers": ["last"]},
    "fetch_mark_prices": {"marks": ["markPrice"]},
    "fetch_open_interest": {"open_interest": ["openInterestAmount"]},
    "fetch_open_interests": {"open_interest": ["openInterestAmount"]},
    "fetch_funding_rates": {"funding": ["fundingTimestamp", "fundingRate"], "marks": ["markPrice"]},
}


class Answers:
    """What came, by venue: (method, symbol or None, answer)."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[str, str | None, Any]]] = {venue: [] for venue in VENUES}
        self.coins: list[Any] = []
        self.took_s: dict[str, float] = {}  # until the last answer of a venue; only where the venues are read at once


class Ccxt:
    """Base of both modes."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.work = work
        self.symbols: dict[str, list[str]] = {}
        self.ids: dict[str, dict[str, str]] = {}
        self.units: dict[str, float] = {}
        self.answers = Answers()
        self.rows = 0
        self.before: Mapping[str, Any] = {}
        self.engine = (
            create_engine(make_url(work["url"]).set(drivername="postgresql+psycopg2")) if "url" in work else None
        )

    def learn(self, venue: str, markets: Mapping[str, Any]) -> None:
        """Remember the symbols of the instruments that are followed."""
        wanted = set(self.work["symbols"][venue])
        self.ids[venue] = {symbol: market["id"] for symbol, market in markets.items() if market["id"] in wanted}
        self.symbols[venue] = list(self.ids[venue])
        self.units |= {symbol: markets[symbol]["contractSize"] for symbol in self.ids[venue]}
        assert len(self.symbols[venue]) == len(wanted), (venue, len(self.symbols[venue]), len(wanted))

    def prepare(self, _phase: str) -> None:
        read_json(f"{self.work['addresses']['binance_futures']}/fapi/v1/ticker/24hr")  # half a second for the simulator
        read_json(f"{self.work['addresses']['okx']}/api/v5/market/tickers?instType=SWAP")
        self.answers, self.rows = Answers(), 0
        self.before = state(self.work)

    def run(self, phase: str) -> None:
        self.read()
        if phase == "stored":
            self.store()

    def read(self) -> None:
        """Make all calls."""
        raise NotImplementedError

    def store(self) -> None:
        """Append what came to a table for each kind."""
        assert self.engine is not None
        with self.engine.begin() as connection:
            for name, frame in frames(self.answers).items():
                frame.to_sql(name, connection, if_exists="append", index=False, method=copied)
                self.rows += len(frame)

    def answer(self, _phase: str) -> dict[str, Any]:
        now = state(self.work)
        requests = {call: count - self.before["requests"].get(call, 0) for call, count in now["requests"].items()}
        facts = {
            "requests": sum(requests.values()),
            "weight": weight_of(requests),
            "refused": sum(now["refused"].values()) - sum(self.before["refused"].values()),
            "rows": self.rows,
            **{f"{venue}_s": seconds for venue, seconds in self.answers.took_s.items()},
        }
        return told(values_of(self.answers, self.ids, self.units), bars(self.answers, self.ids), facts, requests)

    def close(self) -> None:
        if self.engine is not None:
            self.engine.dispose()


class Sync(Ccxt):
    """One call after the other."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.exchanges = {venue: made(configuration(venue, work)) for venue, made in classes(ccxt).items()}
        for venue, exchange in self.exchanges.items():
            self.learn(venue, exchange.load_markets())

    def read(self) -> None:
        self.answers.coins = [read_json(url) for url in coingecko(self.work)]
        for venue, exchange in self.exchanges.items():
            found = self.answers.found[venue]
            for name, given in bulk_calls(venue):
                found.append((name, None, getattr(exchange, name)(*given)))
            for symbol in self.symbols[venue]:
                for name, given in each_calls(venue, symbol):
                    found.append((name, symbol, getattr(exchange, name)(*given)))


class Async(Ccxt):
    """Everything gathered at once."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.runner = asyncio.Runner()
        self.ended: dict[str, float] = {}
        self.exchanges: dict[str, Any] = {}
        self.runner.run(self._open())

    async def _open(self) -> None:
        for venue, made in classes(ccxt.async_support).items():
            self.exchanges[venue] = made(configuration(venue, self.work))
            self.learn(venue, await self.exchanges[venue].load_markets())

    def read(self) -> None:
        self.runner.run(self._read())

    async def _read(self) -> None:
        calls = [asyncio.to_thread(read_json, url) for url in coingecko(self.work)]
        for venue in VENUES:
            calls += [self._one(venue, name, None, given) for name, given in bulk_calls(venue)]
            calls += [
                self._one(venue, name, symbol, given)
                for symbol in self.symbols[venue]
                for name, given in each_calls(venue, symbol)
            ]
        began = time.perf_counter()
        self.answers.coins = (await asyncio.gather(*calls))[:2]
        self.answers.took_s = {venue: at - began for venue, at in self.ended.items()}

    async def _one(self, venue: str, name: str, symbol: str | None, given: Sequence[Any]) -> None:
        answer = await getattr(self.exchanges[venue], name)(*given)
        self.answers.found[venue].append((name, symbol, answer))
        self.ended[venue] = time.perf_counter()

    def close(self) -> None:
        self.runner.run(self._close())
        self.runner.close()
        super().close()

    async def _close(self) -> None:
        for exchange in self.exchanges.values():
            await exchange.close()


# --------------------------------------------------------------------------- what came


def values_of(answers: Answers, ids: Mapping[str, Mapping[str, str]], units: Mapping[str, float]) -> Values:
    """Return what was read of the wanted instruments, in the collector's units.

    `units` are the base units of a contract by symbol: OKX tells sizes and open interest in contracts.
    """
    values: dict[str, dict[str, list[float]]] = {kind: {} for kind in EACH}
    for venue, parts in answers.found.items():
        names = {symbol: f"{venue} {own}" for symbol, own in ids[venue].items()}
        unit = units if venue == "okx" else dict.fromkeys(names, 1.0)
        for name, symbol, answer in parts:
            if name == "fetch_order_book":
                values["books"][names[symbol]] = book(answer["bids"], answer["asks"], unit[symbol])
                continue
            each = {symbol: answer} if symbol is not None else answer
            for kind, keys in KINDS.get(name, {}).items():
                for own in each.keys() & names.keys():
                    found = [each[own][key] for key in keys]
                    if None not in found:
                        base = unit[own] if kind == "open_interest" else 1
                        values[kind][names[own]] = [base * float(value) for value in found]
    for found in values["funding"].values():
        found[0] /= 1000
    coins, whole = answers.coins
    values["coins"] = {coin["id"]: [coin["current_price"]] for coin in coins if coin["current_price"]}
    values["market"] = {"all": [whole["data"]["total_market_cap"]["usd"]]}
    return values


def bars(answers: Answers, ids: Mapping[str, Mapping[str, str]]) -> list[Bar]:
    """Return all bars but the newest of each series, which is still forming."""
    return [
        (venue, ids[venue][symbol], int(opened) // 1000, first, high, low, close, volume)
        for venue, parts in answers.found.items()
        for name, symbol, answer in parts
        if name == "fetch_ohlcv" and symbol is not None
        for opened, first, high, low, close, volume in answer[:-1]
    ]


def frames(answers: Answers) -> dict[str, pd.DataFrame]:
    """Return a frame for each kind, with all that bulk answers hold, as the collector keeps it.

    A book is one row with its levels as text; the two newest closed bars are kept, as many as the collector asks for.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    for venue, parts in answers.found.items():
        for name, symbol, answer in parts:
            if name == "fetch_ohlcv":
                names = ("open_time", "open", "high", "low", "close", "volume")
                rows = [dict(zip(names, bar, strict=True)) | {"symbol": symbol} for bar in answer[-3:-1]]
            elif name == "fetch_order_book":
                levels = {side: json.dumps(answer[side]) for side in ("bids", "asks")}
                rows = [{"symbol": symbol, "timestamp": answer["timestamp"], **levels}]
            else:
                each = [answer] if symbol is not None else list(answer.values())
                rows = [{key: value for key, value in one.items() if key != "info"} for one in each]
            kind = "fetch_open_interests" if name == "fetch_open_interest" else name
            kinds.setdefault(kind, []).extend({**row, "venue": venue} for row in rows)
    coins = answers.coins[0]
    kinds["coins"] = [{key: value for key, value in coin.items() if key != "roi"} for coin in coins]
    return {name: pd.DataFrame(rows) for name, rows in kinds.items()}


WEIGHTS = {"depth": 2, "ticker/24hr": 40, "premiumIndex": 10}


def weight_of(requests: Mapping[str, int]) -> int:
    """Return the documented weight at Binance, and a call for a call elsewhere."""
    return sum(WEIGHTS.get(call.partition(" /fapi/v1/")[2], 1) * count for call, count in requests.items())


def state(work: Mapping[str, Any]) -> Any:
    return read_json(f"{work['addresses']['okx'].rpartition('/')[0]}/_simulator/state")


def read_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def open_side(work: Mapping[str, Any]) -> Ccxt:
    return Sync(work) if work["mode"] == "sync" else Async(work)
