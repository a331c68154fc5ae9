"""What the Binance hosts have in common: errors, weights, tickers, books, kline rows and paging forward in time.

Not a source itself: spot and futures answer alike in these, so each fact is written down once.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from operator import add
from typing import Any, ClassVar

from collector.bars import Bars
from collector.clock import from_millis, to_millis
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.parsing import (
    Fields,
    decode_json,
    objects,
    pairs,
    rows,
    to_decimal,
    to_decimals,
    to_integer,
    to_integers,
    to_millis_time,
    to_object,
    to_optional_decimal,
)
from collector.records import (
    Answer,
    Candle,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    OrderBook,
    Payload,
    Record,
    Reject,
    RejectReason,
    Ticker,
)
from collector.sources.base import Collector, Cost, Limit, Sdk, bar_interval, payload, reject

WEIGHT = "weight"  # the scope that both hosts meter most of their calls by
SETTLE = timedelta(seconds=2)  # a bar that ended less than this before the answer may still be changing
LIMIT_INTERVALS = {"SECOND": timedelta(seconds=1), "MINUTE": timedelta(minutes=1), "DAY": timedelta(days=1)}
KLINE_COLUMNS = 12
LEAST_IN_COLUMNS = 32  # bars; fewer are as quick row by row
PAGES_AT_ONCE = 8  # read by as many threads

OK, REDIRECTION, TIMED_OUT, BANNED, TOO_MANY, SERVER_SIDE = 200, 300, 408, 418, 429, 500
DENIED = frozenset({401, 403, 451})  # key missing, firewall (in HTML), country
TOO_MANY_CODE, UNKNOWN_SYMBOL_CODE, SHUT_DOWN_CODE = "-1003", "-1121", "-1016"
SERVER_SIDE_CODES = frozenset({"-1000", "-1001", "-1006", "-1007", "-1008"})  # the same call can succeed later
ERROR_STARTS = (b'{"code"', b'{"msg"', b'{"status"')  # no good answer begins like these
SMALL_BODY = 2048  # objects up to here are looked into whatever their first key is; error objects have 40 to 300 bytes
LARGEST_ERROR = 65_536  # an error body above this is not read for its code
BANNED_UNTIL = re.compile(r"banned until ([0-9]{12,14})", re.ASCII)
RETRY_AFTER = re.compile(r"[0-9]{1,7}", re.ASCII)
USED_WEIGHT = re.compile(r"[0-9]{1,9}", re.ASCII)


def unwrap(answer: Answer, source: str) -> None:
    """Raise the VenueError that an answer stands for; return when it is good. A large good body is not decoded."""
    good = OK <= answer.status < REDIRECTION
    if good and not _can_be_error(answer.body):
        return
    code, text = _complaint(answer.body)
    if good and not code:
        return
    raise _venue_error(answer, source, code, text)


def _can_be_error(body: bytes) -> bool:
    start = body[:64].lstrip()
    if not start.startswith(b"{"):
        return False
    small = len(body) <= SMALL_BODY and (b'"code"' in body or b'"ERROR"' in body)
    return small or start.startswith(ERROR_STARTS)


def _complaint(body: bytes) -> tuple[str, str]:
    """Return code and text of an error body, "" for what it does not have.

    Two envelopes: `{"code", "msg"}`, and `{"status": "ERROR", "code", "errorData"}` with the code as text.
    """
    if len(body) > LARGEST_ERROR:
        return "", ""
    try:
        document = decode_json(body)
    except PayloadError:  # HTML from the firewall, or a good-looking start of something else: the parser will say
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    code, text = document.get("code"), document.get("msg") or document.get("errorData") or ""
    if code is None and document.get("status") == "ERROR":
        code = "ERROR"
    one_line = " ".join(str(text).split())[:200].encode("utf-8", "backslashreplace").decode()
    return str(code)[:20] if isinstance(code, int | str) else "", one_line


def _venue_error(answer: Answer, source: str, code: str, text: str) -> VenueError:
    """Choose the error by status and code; the text is only quoted, and read for the end of a ban."""
    status = answer.status
    message = f"HTTP {status}{f' code {code}' if code else ''}{f': {text}' if text else ''}"
    if status in (BANNED, TOO_MANY) or code == TOO_MANY_CODE:
        banned = status == BANNED or BANNED_UNTIL.search(text) is not None
        retry_at = _retry_at(answer, text, banned=banned)
        return RateLimited(message, source=source, status=status, code=code, retry_at=retry_at, banned=banned)
    if status in DENIED:
        return AccessDenied(message, source=source, status=status, code=code)
    if code in SERVER_SIDE_CODES or status == TIMED_OUT or (status >= SERVER_SIDE and code != SHUT_DOWN_CODE):
        return VenueUnreachable(message, source=source, status=status, code=code)
    gone = code == UNKNOWN_SYMBOL_CODE  # not -4141: a closed market can open again
    return RequestRejected(message, source=source, status=status, code=code, symbol_gone=gone)


def _retry_at(answer: Answer, text: str, *, banned: bool) -> datetime | None:
    """Return the latest moment the venue named: the end of the ban in the text, or Retry-After in whole seconds.

    A plain refusal names none: the used weight is counted by the clock's minute and starts anew with the next one,
    and calls before that are what a ban punishes.
    """
    named = []
    if ban := BANNED_UNTIL.search(text):
        named.append(from_millis(int(ban[1])))
    seconds = answer.headers.get("retry-after", "").strip()
    if RETRY_AFTER.fullmatch(seconds):
        named.append(answer.received_at + timedelta(seconds=int(seconds)))
    if not named and not banned:
        return answer.received_at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return max(named, default=None)


def each_once(
    payload: Payload, listing: Callable[[Fields, Payload], InstrumentListing | Reject]
) -> list[Record | Reject]:
    """Return a listing of each symbol of exchangeInfo, in its order.

    Two symbols never share an id: of two that would, the tradable one stays (else the first) and the other is
    rejected, so nothing is merged unseen.
    """
    found: dict[str, InstrumentListing] = {}
    rejects: list[Record | Reject] = []
    for fields in objects(to_object(decode_json(payload.body), "$").list("symbols"), "$.symbols"):
        item = listing(fields, payload)
        if isinstance(item, Reject):
            rejects.append(item)
            continue
        name = item.instrument.id
        other = found.setdefault(name, item)
        if other is item:
            continue
        kept, lost = (item, other) if item.tradable and not other.tradable else (other, item)
        found[name] = kept
        symbol = lost.instrument.venue_symbol
        detail = f"{symbol} and {kept.instrument.venue_symbol} are both {name}"
        rejects.append(reject(payload, symbol, RejectReason.INCONSISTENT, detail))
    return [*found.values(), *rejects]


def filter_value(filters: Mapping[str, Fields], kind: str, key: str) -> Decimal | None:
    """Return a value of one of a symbol's filters; None where it has no such filter."""
    return filters[kind].decimal(key) if kind in filters else None


def rows_of_job(payload: Payload) -> tuple[list[tuple[Fields, Instrument]], list[Record | Reject]]:
    """Return the rows of the job's instruments with theirs; other symbols of a list are not ours and left out.

    Asked for one symbol the venue answers with one object: another symbol in it is a Reject.
    """
    document, wanted = decode_json(payload.body), {item.venue_symbol: item for item in payload.job.instruments}
    if isinstance(document, dict):
        fields = to_object(document, "$")
        wrong = wrong_subject(fields, payload)
        return ([], [wrong]) if wrong else ([(fields, wanted[fields.text("symbol")])], [])
    named = ((fields, wanted.get(fields.text("symbol"))) for fields in objects(document))
    return [(fields, instrument) for fields, instrument in named if instrument is not None], []


def wrong_subject(fields: Fields, payload: Payload) -> Reject | None:
    """Return the Reject of a row about another symbol than those asked for; None when it is one of them."""
    symbol, asked = fields.text("symbol"), [item.venue_symbol for item in payload.job.instruments]
    if symbol in asked:
        return None
    return reject(payload, fields.values, RejectReason.WRONG_SUBJECT, f"asked for {', '.join(asked)}, got {symbol}")


def number(fields: Fields, key: str) -> Decimal | None:
    """Return a number whose key must be there but whose text may be empty: the venue's way to say nothing."""
    return to_optional_decimal(fields.require(key), fields.at(key))


def parse_day_tickers(payload: Payload, source: str, *, quoted: bool) -> list[Record | Reject]:
    """Return the rolling 24 h figures of the job's instruments; `quoted`: rows have the best bid and ask as well.

    `observed_at` is closeTime. A side of the book that is empty is written as zero there, and None here.
    """
    named, result = rows_of_job(payload)
    for fields, instrument in named:
        last_price = number(fields, "lastPrice")
        if last_price is None:
            result.append(reject(payload, fields.values, RejectReason.NO_PRICE, "lastPrice is empty"))
            continue
        bid_price, bid_size = _best(fields, "bid") if quoted else (None, None)
        ask_price, ask_size = _best(fields, "ask") if quoted else (None, None)
        result.append(
            Ticker(
                source=source,
                observed_at=fields.millis("closeTime"),
                received_at=payload.received_at,
                instrument=instrument,
                last_price=last_price,
                bid_price=bid_price,
                bid_size=bid_size,
                ask_price=ask_price,
                ask_size=ask_size,
                open_24h=number(fields, "openPrice"),
                high_24h=number(fields, "highPrice"),
                low_24h=number(fields, "lowPrice"),
                volume_24h=number(fields, "volume"),
                quote_volume_24h=number(fields, "quoteVolume"),
                change_24h_pct=number(fields, "priceChangePercent"),
            )
        )
    return result


def _best(fields: Fields, side: str) -> tuple[Decimal | None, Decimal | None]:
    price = number(fields, f"{side}Price") or None
    return price, None if price is None else number(fields, f"{side}Qty")


def parse_book(payload: Payload, source: str, *, time_key: str | None) -> list[Record | Reject]:
    """Return one book, cut to the levels a side that the job asks for; without a key for its time it has ours.

    A thin book has fewer levels than asked. The answer names no symbol.
    """
    (instrument,) = payload.job.instruments
    fields = to_object(decode_json(payload.body), "$")
    return [
        OrderBook(
            source=source,
            observed_at=payload.received_at if time_key is None else fields.millis(time_key),
            received_at=payload.received_at,
            instrument=instrument,
            last_update_id=fields.integer("lastUpdateId"),
            bids=_levels(fields, "bids", payload.job.limit),
            asks=_levels(fields, "asks", payload.job.limit),
        )
    ]


def _levels(fields: Fields, side: str, most: int | None) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple(pairs(fields.list(side)[:most], fields.at(side)))


def symbol_of(instrument: Instrument) -> dict[str, str | int]:
    """Return the parameter that names an instrument."""
    return {"symbol": instrument.venue_symbol}


def window(job: Job, start: int | None) -> dict[str, int]:
    """Return the time parameters of a page that begins at `start` (ms); both ends are inclusive at the venue."""
    first = {} if start is None else {"startTime": start}
    return first if job.until is None else {**first, "endTime": to_millis(job.until) - 1}


def pages(
    job: Job, read: Callable[[int | None, int | None], Payload], following: Callable[[Payload], int | None]
) -> Iterator[Payload]:
    """Yield the pages of [since, until), oldest first; without since one page of the newest. Times are milliseconds.

    `read(start, end)` makes one call. `following(page)` says where the next page starts, None when nothing is left:
    what came back decides. Nothing is asked beyond the time of an answer, and a page that does not go forward raises
    PayloadError.
    """
    if job.since is None:
        yield read(None, None)
        return
    start, end = to_millis(job.since), None if job.until is None else to_millis(job.until)
    while end is None or start < end:
        page = read(start, end)
        yield page
        next_start = following(page)
        if next_start is None:
            return
        if next_start <= start:
            raise PayloadError(f"the page asked from {start} ends before it: paging would never end")
        got_at = to_millis(page.received_at)
        start, end = next_start, got_at if end is None else min(end, got_at)


def width_ms(interval: Interval) -> int:
    """Return the width of a bar in milliseconds."""
    return interval.width // timedelta(milliseconds=1)


def parse_klines(payload: Payload, source: str) -> Sequence[Record | Reject]:
    """Return the bars of one page, oldest first. Volumes: base units; quote volume in the quote currency.

    A row of another width than the job's interval is rejected: the answer names neither symbol nor interval, and the
    close time (open + width - 1 ms) is the only thing in it that can show a mix-up. A long page of finished bars
    without a gap is read by columns, to the same values.
    """
    document, columns = _page(payload.body)
    bars = None if columns is None else _klines_by_column(columns, payload, source)
    return _klines_by_row(document, payload, source) if bars is None else bars


@lru_cache(maxsize=PAGES_AT_ONCE)
def _page(body: bytes) -> tuple[Any, tuple[tuple[Any, ...], ...] | None]:
    """Return a page of bars and its columns, None for a short one and any other shape than rows of one length.

    Paging and the parser read a page one after the other, and change nothing in it.
    """
    document = decode_json(body)
    if not isinstance(document, list) or len(document) < LEAST_IN_COLUMNS or set(map(type, document)) != {list}:
        return document, None
    return document, tuple(zip(*document, strict=True)) if set(map(len, document)) == {KLINE_COLUMNS} else None


def _klines_by_column(columns: Sequence[Sequence[Any]], payload: Payload, source: str) -> Bars | None:
    """Return a page of finished bars that follow each other; None for any other page."""
    (instrument,), interval = payload.job.instruments, bar_interval(payload.job)
    opened, open_, high, low, close, volume, last, quoted, trades, bought, _, _ = columns
    width, opens, lasts, counts = width_ms(interval), to_integers(opened), to_integers(last), to_integers(trades)
    if opens is None or lasts is None or counts is None:
        return None
    if opens[0] < 0 or lasts[-1] >= to_millis(payload.received_at - SETTLE):
        return None
    end = opens[0] + len(opens) * width
    if opens != [*range(opens[0], end, width)] or lasts != [*range(opens[0] + width - 1, end, width)]:
        return None
    told = {"open": open_, "high": high, "low": low, "close": close}
    told |= {"volume": volume, "quote_volume": quoted, "taker_buy_volume": bought}
    numbers = {name: found for name, column in told.items() if (found := to_decimals(column)) is not None}
    if len(numbers) < len(told):
        return None
    first, following = from_millis(opens[0]), [interval.width] * (len(opens) - 1)
    return Bars(
        source=source,
        instrument=instrument,
        interval=interval,
        received_at=[payload.received_at] * len(opens),
        open_time=list(accumulate(following, add, initial=first)),
        trades=counts,
        **numbers,
    )


def _klines_by_row(document: Any, payload: Payload, source: str) -> list[Record | Reject]:
    (instrument,), interval = payload.job.instruments, bar_interval(payload.job)
    received_at, settled_before = payload.received_at, payload.received_at - SETTLE
    width, width_in_ms = interval.width, width_ms(interval)
    result: list[Record | Reject] = []
    for path, row in rows(document, KLINE_COLUMNS):
        opened, open_, high, low, close, volume, last, quote_volume, trades, taker_volume, _, _ = row[:KLINE_COLUMNS]
        opened, ends = to_integer(opened, path), to_integer(last, path) + 1
        ends_at = to_millis_time(ends, path)
        if ends - opened != width_in_ms or opened < 0:
            detail = f"the bar is {ends_at - to_millis_time(opened, path)} wide, {interval} was asked for"
            result.append(reject(payload, row, RejectReason.INCONSISTENT, detail))
            continue
        result.append(
            Candle(
                source=source,
                observed_at=ends_at,
                received_at=received_at,
                instrument=instrument,
                interval=interval,
                open_time=ends_at - width,
                open=to_decimal(open_, path),
                high=to_decimal(high, path),
                low=to_decimal(low, path),
                close=to_decimal(close, path),
                volume=to_decimal(volume, path),
                quote_volume=to_decimal(quote_volume, path),
                trades=to_integer(trades, path),
                taker_buy_volume=to_decimal(taker_volume, path),
                closed=ends_at <= settled_before,
            )
        )
    return result


def after_last_bar(page: Payload) -> int | None:
    """Return the end of the newest bar of a page of klines (ms); None when the page is empty."""
    document, columns = _page(page.body)
    opens = None if columns is None else to_integers(columns[0])
    if opens is None:
        opens = [to_integer(row[0], path) for path, row in rows(document, KLINE_COLUMNS)]
    return max(opens) + width_ms(bar_interval(page.job)) if opens else None


class BinanceCollector(Collector):
    """A host read through python-binance, whose transport is our session; every number is read from the wire."""

    intervals: ClassVar[tuple[Interval, ...]] = tuple(Interval)

    def __init__(self, client: Sdk) -> None:
        self._client = client

    @classmethod
    def check(cls, answer: Answer) -> None:
        """Raise the VenueError that an answer stands for; return when it is good."""
        unwrap(answer, cls.name)

    @staticmethod
    def used_weight(answer: Answer) -> Mapping[str, int]:
        """Return the weight this address has used in the running minute, where the answer says so.

        The header is wrong on ticker/bookTicker and on /fapi/v2/ticker/price: do not use it there.
        """
        text = answer.headers.get("x-mbx-used-weight-1m", "")
        return {WEIGHT: int(text)} if USED_WEIGHT.fullmatch(text) else {}

    @staticmethod
    def told_limits(payload: Payload) -> Sequence[Limit]:
        """Return the limits of REQUEST_WEIGHT in exchangeInfo, as `[{rateLimitType, interval, intervalNum, limit}]`.

        An interval that is none of the documented ones is passed over; no `rateLimits` is no limits.
        """
        told = to_object(decode_json(payload.body), "$").values.get("rateLimits") or []
        return [
            Limit(scope=WEIGHT, capacity=item.integer("limit"), window=width * item.integer("intervalNum"))
            for item in objects(told, "$.rateLimits")
            if item.text("rateLimitType") == "REQUEST_WEIGHT" and (width := LIMIT_INTERVALS.get(item.text("interval")))
        ]

    def _read(self, job: Job, use: Callable[[Any], object], weight: int, scope: str = WEIGHT) -> Payload:
        return payload(job, self._client.call(use, Cost(scope=scope, weight=weight)))
