"""Kraken spot: pairs, tickers, books and candles over plain REST.

What to know about the venue:
- Every answer is `{"error": [...], "result": {...}}`, errors come with HTTP 200 and without a result. A text that
  begins with W is a warning and may come with a result.
- A pair has three names. The answer is keyed by the oldest one (XXBTZUSD), which is `venue_symbol` here; base and quote
  are read from the newest (`wsname`, XBT/USD). Bitcoin is XBT and Dogecoin XDG in all of them, BTC and DOGE here.
- Prices and volumes are text, times whole seconds. Volumes are in base units.
- Candles go back 720 bars and no further, whatever is asked for, and come up to now: bars outside the job's window are
  left out here. The running one is always the last row. A minute without trades is a flat row, its average price zero.
- Weeks open on Thursday there, as the epoch did, and on Monday here: weekly bars are not taken.
- A level of a book has the time of its own last change; the book has none, so ours.
- A ticker has no time, so ours; what it calls today begins at 00:00 UTC, and only its second figures are of 24 hours.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from collector.clock import to_millis
from collector.errors import (
    AccessDenied,
    PayloadError,
    RateLimited,
    RequestRejected,
    VenueError,
    VenueUnreachable,
)
from collector.parsing import (
    Fields,
    decode_json,
    pairs,
    rows,
    to_decimal,
    to_integer,
    to_list,
    to_object,
    to_seconds_time,
)
from collector.records import (
    Answer,
    Candle,
    Dataset,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    OrderBook,
    Payload,
    Record,
    Reject,
    RejectReason,
    Ticker,
)
from collector.sources.base import Collector, Cost, Http, Limit, Parser, Plan, Shape, bar_interval, in_window, payload

NAME = "kraken"
CALLS = "calls"
SETTLE = timedelta(seconds=2)  # a bar that ended less than this before the answer may still be changing
LOCKOUT = timedelta(minutes=15)
INTERVALS: tuple[Interval, ...] = tuple(interval for interval in Interval if interval is not Interval.W1)
MINUTES = {interval: interval.width // timedelta(minutes=1) for interval in INTERVALS}
MOST_LEVELS = 500
MOST_DECIMALS = 40
CODES = {"XBT": "BTC", "XDG": "DOGE"}  # the venue's own codes of what everybody else calls otherwise
COLUMNS = 8
GOOD_START = re.compile(rb'\s*\{\s*"error"\s*:\s*\[\s*\]')
OK, REDIRECTION, TOO_MANY, SERVER_SIDE = 200, 300, 429, 500
DENIED = frozenset({401, 403, 451})
REFUSALS = ("Too many requests", "Rate limit exceeded", "Temporary lockout")
SERVER_SIDE_TEXTS = ("EService:", "EGeneral:Internal error", "EDatabase:Internal error")
GONE = ("EQuery:Unknown asset pair", "EQuery:Invalid asset pair", "EQuery:Unknown asset")


def unwrap(answer: Answer) -> None:
    """Raise the VenueError that an answer stands for; return when it is good. A large good body is not decoded."""
    if OK <= answer.status < REDIRECTION and GOOD_START.match(answer.body[:64]):
        return
    complaint = _complaint(answer.body)
    if complaint and answer.status not in DENIED:
        raise _venue_error(complaint, answer)
    if OK <= answer.status < REDIRECTION:  # warnings only, or no envelope: the parser says what is wrong with it
        return
    text = f"HTTP {answer.status}{': ' if complaint else ''}{complaint}"
    if answer.status == TOO_MANY:
        raise RateLimited(text, source=NAME, status=answer.status, retry_at=None)
    if answer.status in DENIED:
        raise AccessDenied(text, source=NAME, status=answer.status)
    if answer.status >= SERVER_SIDE:
        raise VenueUnreachable(text, source=NAME, status=answer.status)
    raise RequestRejected(text, source=NAME, status=answer.status)


def _complaint(body: bytes) -> str:
    """Return the first error text of the envelope; "" when there is none. One error was once seen without its list."""
    try:
        document = decode_json(body)
    except PayloadError:
        return ""
    told = document.get("error") if isinstance(document, dict) else None
    texts = told if isinstance(told, list) else [told]
    return next((" ".join(text.split())[:200] for text in texts if isinstance(text, str) and text[:1] == "E"), "")


def _venue_error(text: str, answer: Answer) -> VenueError:
    facts: dict[str, Any] = {"source": NAME, "status": answer.status, "code": text.partition(":")[0]}
    if any(words in text for words in REFUSALS):
        locked = "lockout" in text
        return RateLimited(text, **facts, retry_at=answer.received_at + LOCKOUT if locked else None, banned=locked)
    if text.startswith(SERVER_SIDE_TEXTS):
        return VenueUnreachable(text, **facts)
    return RequestRejected(text, **facts, symbol_gone=text.startswith(GONE))


# --------------------------------------------------------------------------- parsers


def _result(payload: Payload) -> Fields:
    return to_object(decode_json(payload.body), "$").object("result")


def parse_instruments(payload: Payload) -> list[Record | Reject]:
    """Return a listing of every pair; `observed_at` is our time, the answer has none. No `wsname`: dark.

    Two pairs never share an id: of two that would, the first stays and the other is rejected.
    """
    result, keys, found = _result(payload), dict[str, str](), list[Record | Reject]()
    for key in result.values:
        row = _listing(key, result.object(key), payload)
        if isinstance(row, InstrumentListing):
            name = row.instrument.id
            other = keys.setdefault(name, key)
            row = row if other == key else _reject(key, f"{key} and {other} are both {name}", payload)
        found.append(row)
    return found


def _reject(row: str, detail: str, payload: Payload) -> Reject:
    return Reject(job=payload.job, row=row[:500], reason=RejectReason.INCONSISTENT, detail=detail[:200])


def _listing(key: str, fields: Fields, payload: Payload) -> InstrumentListing | Reject:
    base, slash, quote = (fields.optional_text("wsname") or "").partition("/")
    if not (base and slash and quote):
        return _reject(repr(fields.values), f"{key} has no public name", payload)
    status = fields.optional_text("status") or "online"  # there was none before 2022
    crypto = (fields.optional_text("aclass_base") or "currency") == "currency"
    return InstrumentListing(
        source=NAME,
        observed_at=payload.received_at,
        received_at=payload.received_at,
        instrument=Instrument(
            venue=NAME,
            base=CODES.get(base, base),
            quote=CODES.get(quote, quote),
            kind=Kind.SPOT,
            venue_symbol=key,
        ),
        status=status,
        tradable=status == "online",
        listed_at=None,
        delists_at=None,
        tick_size=fields.optional_decimal("tick_size"),
        lot_size=Decimal(1).scaleb(-_decimals(fields, "lot_decimals")),
        category="crypto" if crypto else "tokenized",
    )


def _decimals(fields: Fields, key: str) -> int:
    value = fields.integer(key)
    if not 0 <= value <= MOST_DECIMALS:
        raise PayloadError(f"expected a number of decimals, got {value}", fields.at(key))
    return value


def parse_tickers(payload: Payload) -> list[Record | Reject]:
    """Return last price, best bid and ask and the figures of 24 hours of the job's pairs; observed_at is our time."""
    result, found = _result(payload), list[Record | Reject]()
    for instrument in payload.job.instruments:
        if instrument.venue_symbol in result.values:
            found.append(_ticker(result.object(instrument.venue_symbol), instrument, payload))
    return found


def _ticker(fields: Fields, instrument: Instrument, payload: Payload) -> Ticker:
    ask, bid = _number(fields, "a", 0) or None, _number(fields, "b", 0) or None  # zero: nobody asks or bids
    return Ticker(
        source=NAME,
        observed_at=payload.received_at,
        received_at=payload.received_at,
        instrument=instrument,
        last_price=_number(fields, "c", 0),
        bid_price=bid,
        bid_size=None if bid is None else _number(fields, "b", 2),
        ask_price=ask,
        ask_size=None if ask is None else _number(fields, "a", 2),
        open_24h=None,
        high_24h=_number(fields, "h", 1) or None,  # zero: nobody traded
        low_24h=_number(fields, "l", 1) or None,
        volume_24h=_number(fields, "v", 1),
        quote_volume_24h=None,
        change_24h_pct=None,
    )


def _number(fields: Fields, key: str, place: int) -> Decimal:
    values = fields.list(key)
    if place >= len(values):
        raise PayloadError(f"expected {place + 1} values, got {len(values)}", fields.at(key))
    return to_decimal(values[place], f"{fields.at(key)}[{place}]")


def parse_order_books(payload: Payload) -> list[Record | Reject]:
    """Return one book, cut to the levels a side that the job asks for; it has no time of its own, so ours."""
    (instrument,) = payload.job.instruments
    fields = to_object(_of_pair(payload, instrument), f"$.result.{instrument.venue_symbol}")
    return [
        OrderBook(
            source=NAME,
            observed_at=payload.received_at,
            received_at=payload.received_at,
            instrument=instrument,
            last_update_id=None,
            bids=_levels(fields, "bids", payload.job.limit),
            asks=_levels(fields, "asks", payload.job.limit),
        )
    ]


def _levels(fields: Fields, side: str, most: int | None) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple(pairs(fields.list(side)[:most], fields.at(side)))


def parse_candles(payload: Payload) -> list[Record | Reject]:
    """Return the bars that open in the job's window, oldest first, the running one with `closed` false."""
    (instrument,), interval = payload.job.instruments, bar_interval(payload.job)
    path = f"$.result.{instrument.venue_symbol}"
    found = rows(to_list(_of_pair(payload, instrument), path), COLUMNS, path)
    bars = [_candle(row, place, instrument, interval, payload) for place, row in found]
    if bars:
        bars[-1] = replace(bars[-1], closed=False)  # it still runs there, even when our clock is ahead of theirs
    return [bar for bar in bars if in_window(bar.open_time, payload.job)]


def _of_pair(payload: Payload, instrument: Instrument) -> Any:
    """Return what an answer says of a pair. It names its pair: another than the job's is no answer to it."""
    result = _result(payload)
    if instrument.venue_symbol not in result.values:
        names = ", ".join(sorted(set(result.values) - {"last"}))[:100]
        raise PayloadError(f"asked for {instrument.venue_symbol}, got {names or 'nothing'}", "$.result")
    return result.values[instrument.venue_symbol]


def _candle(row: list[Any], path: str, instrument: Instrument, interval: Interval, payload: Payload) -> Candle:
    opened, open_, high, low, close, _average, volume, trades = row[:COLUMNS]
    opens_at = to_seconds_time(opened, path)
    ends_at = to_seconds_time(to_integer(opened, path) + MINUTES[interval] * 60, path)
    return Candle(
        source=NAME,
        observed_at=ends_at,
        received_at=payload.received_at,
        instrument=instrument,
        interval=interval,
        open_time=opens_at,
        open=to_decimal(open_, path),
        high=to_decimal(high, path),
        low=to_decimal(low, path),
        close=to_decimal(close, path),
        volume=to_decimal(volume, path),
        quote_volume=None,
        trades=to_integer(trades, path),
        taker_buy_volume=None,
        closed=ends_at <= payload.received_at - SETTLE,
    )


class KrakenCollector(Collector):
    """Spot pairs. Shared by threads: it keeps no state between calls."""

    name: ClassVar[str] = NAME
    shapes: ClassVar[Mapping[Dataset, Shape]] = {
        Dataset.INSTRUMENTS: Shape.WHOLE,
        Dataset.TICKERS: Shape.BULK,
        Dataset.ORDER_BOOKS: Shape.EACH,
        Dataset.CANDLES: Shape.EACH,
    }
    parsers: ClassVar[Mapping[Dataset, Parser]] = {
        Dataset.INSTRUMENTS: parse_instruments,
        Dataset.TICKERS: parse_tickers,
        Dataset.ORDER_BOOKS: parse_order_books,
        Dataset.CANDLES: parse_candles,
    }
    intervals: ClassVar[tuple[Interval, ...]] = INTERVALS
    plans: ClassVar[Mapping[str, Plan]] = {
        "public": Plan(
            base_url="https://api.kraken.com",
            limits=(
                Limit(scope=CALLS, capacity=1, window=timedelta(seconds=1)),  # said to be always fine; no burst is
                Limit(scope=CALLS, capacity=5, window=timedelta(seconds=6)),  # what clients found to pass for candles
            ),
        )
    }

    def __init__(self, http: Http) -> None:
        self._http = http

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for; return when it is good."""
        unwrap(answer)

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return the one call of a job: candles that one call does not give cannot be had."""
        del job
        return [Cost(scope=CALLS)]

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the call of a job and yield its answer. Tickers of one pair ask for that one only."""
        match job.dataset:
            case Dataset.INSTRUMENTS:
                yield self._get(job, "AssetPairs", {})
            case Dataset.TICKERS:
                only = {"pair": job.instruments[0].venue_symbol} if len(job.instruments) == 1 else {}
                yield self._get(job, "Ticker", only)
            case Dataset.ORDER_BOOKS:
                yield self._get(job, "Depth", _book_parameters(job))
            case Dataset.CANDLES:
                yield self._get(job, "OHLC", _candle_parameters(job))
            case _:
                raise ValueError(f"{NAME} has no {job.dataset}")

    def _get(self, job: Job, name: str, params: Mapping[str, str | int]) -> Payload:
        return payload(job, self._http.get(f"/0/public/{name}", params, Cost(scope=CALLS)))


def _book_parameters(job: Job) -> dict[str, str | int]:
    (instrument,) = job.instruments
    return {"pair": instrument.venue_symbol, "count": min(job.limit or MOST_LEVELS, MOST_LEVELS)}


def _candle_parameters(job: Job) -> dict[str, str | int]:
    """Return what to ask for. `since` (seconds) is left out of the answer, so the second before is named."""
    (instrument,) = job.instruments
    asked: dict[str, str | int] = {"pair": instrument.venue_symbol, "interval": MINUTES[bar_interval(job)]}
    return asked if job.since is None else {**asked, "since": to_millis(job.since) // 1000 - 1}
