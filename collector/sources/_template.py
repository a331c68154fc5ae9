"""Template of a source: copy this file to `<name>.py` and replace every line that says so.

Keep the order: this docstring, constants, `unwrap`, one `parse_<dataset>` per dataset, the class last.

Write here what a reader must know about the provider before trusting a number:
- units: sizes in base units or contracts, percent or fraction, seconds or milliseconds;
- order of lists, meaning of an empty one, what `null` and `""` stand for;
- how it says no: statuses, and errors that come with HTTP 200;
- which candle is unfinished and how one sees it.

Allowed imports: records, errors, clock, instruments, parsing and sources.base; nothing that does I/O or knows the time.
A source is done when its line is in `SOURCES`, its section in `config/config.yaml`, its row in `docs/sources.md`, and
`tests/sources/test_<name>.py` has each dataset's normal, empty, zero-valued and error answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from collector.clock import bar_count, to_millis
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueUnreachable
from collector.parsing import decode_json, objects, rows, to_decimal, to_integer, to_millis_time, to_object
from collector.records import Answer, Candle, Dataset, Interval, Job, Payload, Record, Reject, RejectReason, Ticker
from collector.sources.base import Collector, Cost, Http, Limit, Parser, Plan, Shape, bar_interval, payload, reject

NAME = "template"  # the file's name, the key in SOURCES and in the configuration, and `source` of every record
SETTLE = timedelta(seconds=2)  # a bar that ended less than this before the answer may still be changing
REQUESTS = "requests"  # a metered scope; most providers have one, some meter endpoints apart
PAGE = 500  # most candles in one answer
OK, REDIRECTION, NOT_FOUND, TOO_MANY, SERVER_SIDE = 200, 300, 404, 429, 500
DENIED = frozenset({401, 403, 451})


def unwrap(answer: Answer) -> None:
    """Raise the VenueError that an answer stands for; return when it is good.

    Called on every answer, so a big good body must not be decoded here. The class of the error decides what happens
    next (see errors.py): RateLimited silences the source until `retry_at`, AccessDenied switches it off, and
    VenueUnreachable is tried again.
    """
    status = answer.status
    if OK <= status < REDIRECTION:  # look into the body here if the provider has errors that come with 200
        return
    text = f"HTTP {status}"
    if status == TOO_MANY:
        raise RateLimited(text, source=NAME, status=status, retry_at=None)  # the moment it names, if it names one
    if status in DENIED:
        raise AccessDenied(text, source=NAME, status=status)
    if status >= SERVER_SIDE:
        raise VenueUnreachable(text, source=NAME, status=status)
    raise RequestRejected(text, source=NAME, status=status, symbol_gone=status == NOT_FOUND)


def parse_tickers(payload: Payload) -> list[Record | Reject]:
    """Return the tickers of the job's instruments from `{"tickers": [{"symbol", "last", ...}]}`.

    Pure: payload in, records out. A missing or mistyped field raises PayloadError by itself, naming the path. A row
    that is understood but cannot be believed becomes a Reject. `require` what must be there; absent stays None.
    """
    wanted = {instrument.venue_symbol: instrument for instrument in payload.job.instruments}
    result: list[Record | Reject] = []
    for fields in objects(to_object(decode_json(payload.body), "$").list("tickers"), "$.tickers"):
        instrument = wanted.get(fields.text("symbol"))
        if instrument is None:  # a bulk answer holds more than the job asks for
            continue
        last_price, observed_at = fields.optional_decimal("last"), fields.optional_millis("time")
        if last_price is None or observed_at is None:
            reason = RejectReason.NO_PRICE if last_price is None else RejectReason.NO_TIME
            result.append(reject(payload, fields.values, reason, "no last or time"))
            continue
        result.append(
            Ticker(
                source=NAME,
                observed_at=observed_at,  # the provider's time, never ours, unless it gives none
                received_at=payload.received_at,
                instrument=instrument,
                last_price=last_price,
                bid_price=fields.optional_decimal("bid"),
                bid_size=None,
                ask_price=fields.optional_decimal("ask"),
                ask_size=None,
                open_24h=None,
                high_24h=None,
                low_24h=None,
                volume_24h=fields.optional_decimal("volume"),  # in base units: multiply contracts by contract_size
                quote_volume_24h=None,
                change_24h_pct=None,
            )
        )
    return result


def parse_candles(payload: Payload) -> list[Record | Reject]:
    """Return the bars of a page from `[[open ms, open, high, low, close, volume], ...]`, oldest first."""
    (instrument,), interval = payload.job.instruments, bar_interval(payload.job)
    result: list[Record | Reject] = []
    for path, row in rows(decode_json(payload.body), 6):
        opened, open_, high, low, close, volume = row[:6]  # name the columns in the first line
        ends_at = to_millis_time(to_integer(opened, path) + _millis(interval), path)
        result.append(
            Candle(
                source=NAME,
                observed_at=ends_at,
                received_at=payload.received_at,
                instrument=instrument,
                interval=interval,
                open_time=to_millis_time(opened, path),
                open=to_decimal(open_, path),
                high=to_decimal(high, path),
                low=to_decimal(low, path),
                close=to_decimal(close, path),
                volume=to_decimal(volume, path),
                quote_volume=None,
                trades=None,
                taker_buy_volume=None,
                closed=ends_at <= payload.received_at - SETTLE,  # never by its place in the list
            )
        )
    return result


def _millis(interval: Interval) -> int:
    return interval.width // timedelta(milliseconds=1)


class TemplateCollector(Collector):
    """What the provider is, in a line. Shared by threads: keep no state between calls."""

    name: ClassVar[str] = NAME
    shapes: ClassVar[Mapping[Dataset, Shape]] = {Dataset.TICKERS: Shape.BULK, Dataset.CANDLES: Shape.EACH}
    parsers: ClassVar[Mapping[Dataset, Parser]] = {
        Dataset.TICKERS: parse_tickers,
        Dataset.CANDLES: parse_candles,
    }
    intervals: ClassVar[tuple[Interval, ...]] = tuple(Interval)
    plans: ClassVar[Mapping[str, Plan]] = {
        "public": Plan(
            base_url="https://api.example.com",
            limits=(Limit(scope=REQUESTS, capacity=60, window=timedelta(minutes=1)),),
        )
    }

    def __init__(self, http: Http) -> None:
        self._http = http  # or `client: Sdk`, with `client.call(lambda sdk: sdk.method(...), Cost(...))`

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for; return when it is good."""
        unwrap(answer)

    @staticmethod
    def used_weight(answer: Answer) -> Mapping[str, int]:
        """Return what the provider says is used of a scope; leave this out when its headers do not tell."""
        used = answer.headers.get("x-used-requests", "")
        return {REQUESTS: int(used)} if used.isascii() and used.isdigit() else {}

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return the calls of a job: the proof of a schedule counts on them."""
        if job.dataset is not Dataset.CANDLES or job.since is None or job.until is None:
            return [Cost(scope=REQUESTS)]
        return [Cost(scope=REQUESTS)] * -(-bar_count(job.since, job.until, bar_interval(job)) // PAGE)

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the calls of a job and yield their answers, in order."""
        match job.dataset:
            case Dataset.TICKERS:
                yield self._get(job, "/v1/tickers", {})
            case Dataset.CANDLES:
                yield from self._candles(job)
            case _:
                raise ValueError(f"{NAME} has no {job.dataset}")

    def _candles(self, job: Job) -> Iterator[Payload]:
        """Yield pages that go forward from job.since; what came back decides where the next one starts."""
        (instrument,), interval = job.instruments, bar_interval(job)
        asked: dict[str, str | int] = {"symbol": instrument.venue_symbol, "interval": str(interval), "limit": PAGE}
        if job.until is not None:
            asked["end"] = to_millis(job.until) - 1  # inclusive here; see what it is at your provider
        if job.since is None:
            yield self._get(job, "/v1/candles", asked)
            return
        start = to_millis(job.since)
        while job.until is None or start < to_millis(job.until):
            page = self._get(job, "/v1/candles", {**asked, "start": start})
            yield page
            opens = [to_integer(row[0], path) for path, row in rows(decode_json(page.body), 6)]
            if not opens or max(opens) + _millis(interval) >= to_millis(page.received_at):
                return
            if max(opens) < start:
                raise PayloadError(f"the page asked from {start} ends before it: paging would never end")
            start = max(opens) + _millis(interval)

    def _get(self, job: Job, path: str, params: Mapping[str, str | int]) -> Payload:
        return payload(job, self._http.get(path, params, Cost(scope=REQUESTS)))
