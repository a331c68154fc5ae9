"""Binance spot: pairs, tickers, books and candles, on a host and a weight limit apart from the futures.

What to know about the venue, beyond `_binance.py`:
- Sizes and volumes are in base units; the list of tickers comes with the best bid and ask.
- A book has neither a time nor a symbol in it: it is stamped with when we got it.
- A page of candles weighs the same whatever its length, so it is always asked for whole.
- A pair has no date of listing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from collector.clock import bar_count
from collector.parsing import Fields, decode_json, objects, to_object
from collector.records import (
    Answer,
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
from collector.sources._binance import (
    after_last_bar,
    bar_interval,
    each_once,
    filter_value,
    levels,
    number,
    pages,
    parse_klines,
    reject,
    request_weights,
    rows_of_job,
    symbol_of,
    unwrap,
    used_weight,
    window,
)
from collector.sources.base import Cost, Limit, Parser, Plan, Sdk, Shape, payload

NAME = "binance_spot"
WEIGHT = "weight"
LIMITS = (Limit(scope=WEIGHT, capacity=6000, window=timedelta(minutes=1)),)  # per address
INSTRUMENTS_WEIGHT, ONE_TICKER_WEIGHT, ALL_TICKERS_WEIGHT, KLINES_WEIGHT = 20, 2, 80, 2
KLINE_PAGE = 1000
BOOK_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))  # most levels a side -> weight
DEFAULT_LEVELS = 100


def parse_instruments(payload: Payload) -> list[Record | Reject]:
    """Return a listing of every pair, tradable or not; `observed_at` is our time, the venue's is no clock."""
    return each_once(payload, _listing)


def _listing(fields: Fields, payload: Payload) -> InstrumentListing:
    status = fields.text("status")
    filters = {item.text("filterType"): item for item in objects(fields.list("filters"), fields.at("filters"))}
    return InstrumentListing(
        source=NAME,
        observed_at=payload.received_at,
        received_at=payload.received_at,
        instrument=Instrument(
            venue=NAME,
            base=fields.text("baseAsset"),
            quote=fields.text("quoteAsset"),
            kind=Kind.SPOT,
            venue_symbol=fields.text("symbol"),
        ),
        status=status.lower(),
        tradable=status == "TRADING",
        listed_at=None,
        delists_at=None,
        tick_size=filter_value(filters, "PRICE_FILTER", "tickSize"),
        lot_size=filter_value(filters, "LOT_SIZE", "stepSize"),
        category="crypto",
    )


def parse_tickers(payload: Payload) -> list[Record | Reject]:
    """Return the rolling 24 h figures of the job's pairs with the best bid and ask; observed_at is closeTime.

    A side of the book that is empty is written as zero there, and None here.
    """
    named, result = rows_of_job(payload)
    for fields, instrument in named:
        last_price = number(fields, "lastPrice")
        if last_price is None:
            result.append(reject(payload, fields.values, RejectReason.NO_PRICE, "lastPrice is empty"))
            continue
        bid, ask = number(fields, "bidPrice") or None, number(fields, "askPrice") or None
        result.append(
            Ticker(
                source=NAME,
                observed_at=fields.millis("closeTime"),
                received_at=payload.received_at,
                instrument=instrument,
                last_price=last_price,
                bid_price=bid,
                bid_size=None if bid is None else number(fields, "bidQty"),
                ask_price=ask,
                ask_size=None if ask is None else number(fields, "askQty"),
                open_24h=number(fields, "openPrice"),
                high_24h=number(fields, "highPrice"),
                low_24h=number(fields, "lowPrice"),
                volume_24h=number(fields, "volume"),
                quote_volume_24h=number(fields, "quoteVolume"),
                change_24h_pct=number(fields, "priceChangePercent"),
            )
        )
    return result


def parse_order_books(payload: Payload) -> list[Record | Reject]:
    """Return one book, cut to the levels a side that the job asks for; it has no time of its own, so ours."""
    (instrument,) = payload.job.instruments
    fields = to_object(decode_json(payload.body), "$")
    return [
        OrderBook(
            source=NAME,
            observed_at=payload.received_at,
            received_at=payload.received_at,
            instrument=instrument,
            last_update_id=fields.integer("lastUpdateId"),
            bids=levels(fields, "bids", payload.job.limit),
            asks=levels(fields, "asks", payload.job.limit),
        )
    ]


def parse_candles(payload: Payload) -> list[Record | Reject]:
    """Return the bars of one page, oldest first, the forming one with `closed` false; volumes in base units."""
    return parse_klines(payload, NAME)


def _book_weight(depth: int) -> int:
    return next((weight for most, weight in BOOK_WEIGHTS if depth <= most), BOOK_WEIGHTS[-1][1])


class BinanceSpotCollector:
    """Spot pairs through python-binance, whose transport is our session; every number is read from the wire."""

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
    intervals: ClassVar[tuple[Interval, ...]] = tuple(Interval)
    plans: ClassVar[Mapping[str, Plan]] = {"public": Plan(base_url="https://api.binance.com", limits=LIMITS)}

    def __init__(self, client: Sdk) -> None:
        self._client = client

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for; return when it is good."""
        unwrap(answer, NAME)

    @staticmethod
    def used_weight(answer: Answer) -> Mapping[str, int]:
        """Return the weight this address has used in the running minute, where the answer says so."""
        used = used_weight(answer)
        return {} if used is None else {WEIGHT: used}

    @staticmethod
    def told_limits(payload: Payload) -> Sequence[Limit]:
        """Return the weight per minutes that exchangeInfo tells."""
        return request_weights(payload, WEIGHT)

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return the calls of a job, with their weights."""
        if job.dataset is Dataset.CANDLES:
            bars = 1 if job.since is None or job.until is None else bar_count(job.since, job.until, bar_interval(job))
            return [Cost(scope=WEIGHT, weight=KLINES_WEIGHT)] * -(-bars // KLINE_PAGE)
        weights = {
            Dataset.INSTRUMENTS: INSTRUMENTS_WEIGHT,
            Dataset.TICKERS: ONE_TICKER_WEIGHT if len(job.instruments) == 1 else ALL_TICKERS_WEIGHT,
            Dataset.ORDER_BOOKS: _book_weight(job.limit or DEFAULT_LEVELS),
        }
        return [Cost(scope=WEIGHT, weight=weights[job.dataset])]

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the calls of a job and yield their answers, in order. Tickers of one pair ask for that one only."""
        only = symbol_of(*job.instruments) if len(job.instruments) == 1 else {}
        match job.dataset:
            case Dataset.INSTRUMENTS:
                yield self._read(job, lambda sdk: sdk.get_exchange_info(), INSTRUMENTS_WEIGHT)
            case Dataset.TICKERS:
                weight = ONE_TICKER_WEIGHT if only else ALL_TICKERS_WEIGHT
                yield self._read(job, lambda sdk: sdk.get_ticker(**only), weight)
            case Dataset.ORDER_BOOKS:
                depth = job.limit or DEFAULT_LEVELS
                yield self._read(job, lambda sdk: sdk.get_order_book(**only, limit=depth), _book_weight(depth))
            case Dataset.CANDLES:
                yield from self._candles(job)
            case _:
                raise ValueError(f"{NAME} has no {job.dataset}")

    def _candles(self, job: Job) -> Iterator[Payload]:
        """Yield pages of bars that open in [since, until); without since one page of the newest."""
        (instrument,), interval = job.instruments, bar_interval(job)

        def read(start: int | None, _end: int | None) -> Payload:
            asked = {**symbol_of(instrument), "interval": str(interval), **window(job, start), "limit": KLINE_PAGE}
            return self._read(job, lambda sdk: sdk.get_klines(**asked), KLINES_WEIGHT)

        yield from pages(job, read, after_last_bar)

    def _read(self, job: Job, use: Callable[[Any], object], weight: int) -> Payload:
        return payload(job, self._client.call(use, Cost(scope=WEIGHT, weight=weight)))
