"""Binance spot: pairs, tickers, books and candles, on a host and a weight limit apart from the futures.

What to know about the venue, beyond `_binance.py`:
- Sizes and volumes are in base units; the list of tickers comes with the best bid and ask.
- A book has neither a time nor a symbol in it: it is stamped with when we got it.
- A page of candles weighs the same whatever its length, so it is always asked for whole.
- A pair has no date of listing.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from collector.clock import bar_count
from collector.parsing import Fields, objects
from collector.records import (
    Dataset,
    Instrument,
    InstrumentListing,
    Job,
    Kind,
    Payload,
    Record,
    Reject,
)
from collector.sources._binance import (
    WEIGHT,
    BinanceCollector,
    after_last_bar,
    each_once,
    filter_value,
    pages,
    parse_book,
    parse_day_tickers,
    parse_klines,
    symbol_of,
    window,
)
from collector.sources.base import Cost, Limit, Parser, Plan, Shape, bar_interval

NAME = "binance_spot"
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
    """Return the rolling 24 h figures of the job's pairs with the best bid and ask; observed_at is closeTime."""
    return parse_day_tickers(payload, NAME, quoted=True)


def parse_order_books(payload: Payload) -> list[Record | Reject]:
    """Return one book, cut to the levels a side that the job asks for; it has no time of its own, so ours."""
    return parse_book(payload, NAME, time_key=None)


def parse_candles(payload: Payload) -> Sequence[Record | Reject]:
    """Return the bars of one page, oldest first, the forming one with `closed` false; volumes in base units."""
    return parse_klines(payload, NAME)


def _book_weight(depth: int) -> int:
    return next((weight for most, weight in BOOK_WEIGHTS if depth <= most), BOOK_WEIGHTS[-1][1])


class BinanceSpotCollector(BinanceCollector):
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
    plans: ClassVar[Mapping[str, Plan]] = {"public": Plan(base_url="https://api.binance.com", limits=LIMITS)}

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
