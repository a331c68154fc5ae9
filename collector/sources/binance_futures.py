"""Binance USD-M futures: instruments, tickers, marks, funding, open interest, books and candles of linear contracts.

What to know about the venue:
- Prices, sizes and rates are JSON text, times are UTC milliseconds, lists are oldest first.
- Sizes and volumes are in base units: one contract is one unit of the base ("1000PEPE" counts thousands of PEPE).
- An empty list is a good answer; HTTP 200 can still carry an error object (`_binance.py`). Unknown keys appear any day.
- The candle that still runs comes as the last row without a mark; `closed` is worked out from the time we got it.
- A ban states its end only in the text of its message. There is no `Retry-After` promise on this host.
- The used-weight header is wrong on bookTicker and /fapi/v2/ticker/price; no dataset here is read from those two.

Canonical names: a perpetual is `BTC-USDT`. A dated contract carries its delivery day (UTC) in the quote, because a
pair has several at once: `BTCUSDT_260925` is base `BTC`, quote `USDT-260925`, id
`binance_futures:BTC-USDT-260925:future`. The base stays the venue's own code, so assets are matched alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from collector.clock import EPOCH, to_millis
from collector.parsing import (
    Fields,
    decode_json,
    objects,
    to_list,
    to_object,
)
from collector.records import (
    Dataset,
    FundingForecast,
    FundingRate,
    FundingTerms,
    Instrument,
    InstrumentListing,
    Job,
    Kind,
    MarkPrice,
    OpenInterest,
    Payload,
    Record,
    Reject,
    RejectReason,
)
from collector.sources._binance import (
    WEIGHT,
    BinanceCollector,
    after_last_bar,
    each_once,
    filter_value,
    number,
    pages,
    parse_book,
    parse_day_tickers,
    parse_klines,
    rows_of_job,
    symbol_of,
    width_ms,
    window,
    wrong_subject,
)
from collector.sources.base import Cost, Limit, Parser, Plan, Shape, bar_interval, reject

NAME = "binance_futures"
NEVER_YEAR = 2100  # deliveryDate of a perpetual; two spellings a few seconds apart have been seen
DEFAULT_FUNDING_HOURS = Decimal(8)  # of every perpetual that fundingInfo does not list

FUNDING_CALLS, STATISTICS_CALLS = "funding", "statistics"
LIMITS = (  # per address
    Limit(scope=WEIGHT, capacity=2400, window=timedelta(minutes=1)),
    Limit(scope=FUNDING_CALLS, capacity=500, window=timedelta(minutes=5)),  # fundingRate and fundingInfo together
    Limit(scope=STATISTICS_CALLS, capacity=1000, window=timedelta(minutes=5)),  # everything under /futures/data/
)
INSTRUMENTS_WEIGHT = OPEN_INTEREST_WEIGHT = ONE_SYMBOL_WEIGHT = 1
ALL_TICKERS_WEIGHT = 40
ALL_MARKS_WEIGHT = 10
BOOK_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}  # levels -> weight; no other number is allowed
KLINE_WEIGHTS = ((99, 1), (499, 2), (1000, 5), (1500, 10))  # most rows asked for -> weight
KLINE_PAGE = 499  # 249 rows per unit of weight; 99 rows give 99, 1000 give 200 and 1500 give 150
NEWEST_BARS = 99  # without a window: as many as the lowest weight buys
DEFAULT_LEVELS = 50  # the deepest book at the lowest weight
FUNDING_PAGE = 1000  # documented maximum; 1001 is answered with an error, and 1000 has been answered with 500 rows
SHORTEST_FUNDING_CUT = 100  # the default limit; no page was ever cut below it, so a shorter one held all there was


# --------------------------------------------------------------------------- parsers


def parse_instruments(payload: Payload) -> list[Record | Reject]:
    """Return a listing of every linear contract, tradable or not, in the order of the payload.

    `observed_at` is our time: the venue says that serverTime is no clock. Two contracts never share an id: of two
    that would, the tradable one stays (else the first) and the other is rejected, so nothing is merged unseen.
    """
    return each_once(payload, _listing)


def _listing(fields: Fields, payload: Payload) -> InstrumentListing | Reject:
    symbol, contract, status = fields.text("symbol"), fields.text("contractType"), fields.text("status")
    base, quote = fields.text("baseAsset"), fields.text("quoteAsset")
    delivery = _moment(fields, "deliveryDate")
    kind = _kind(contract, symbol)
    if kind is None:
        return reject(payload, fields.values, RejectReason.INCONSISTENT, f"unknown contractType {contract!r}")
    if fields.text("marginAsset") == base:  # coin-margined: its sizes count USD, not base units
        return reject(payload, fields.values, RejectReason.INCONSISTENT, f"{symbol} is an inverse contract")
    if kind is Kind.FUTURE:
        if delivery is None:
            return reject(payload, fields.values, RejectReason.NO_TIME, f"{symbol} has no delivery date")
        quote = f"{quote}-{delivery:%y%m%d}"
    filters = {item.text("filterType"): item for item in objects(fields.list("filters"), fields.at("filters"))}
    underlying = fields.text("underlyingType").lower()
    return InstrumentListing(
        source=NAME,
        observed_at=payload.received_at,
        received_at=payload.received_at,
        instrument=Instrument(venue=NAME, base=base, quote=quote, kind=kind, venue_symbol=symbol),
        status=status.lower(),
        tradable=status == "TRADING",
        listed_at=_moment(fields, "onboardDate"),
        delists_at=None if delivery is not None and delivery.year >= NEVER_YEAR else delivery,
        tick_size=filter_value(filters, "PRICE_FILTER", "tickSize"),
        lot_size=filter_value(filters, "LOT_SIZE", "stepSize"),
        category="crypto" if underlying == "coin" else underlying,
    )


def _kind(contract: str, symbol: str) -> Kind | None:
    """Return what a contractType means. A contract that waits for its first day has none: then the symbol tells."""
    if "PERPETUAL" in contract:  # PERPETUAL, PERPETUAL_DELIVERING, TRADIFI_PERPETUAL
        return Kind.PERP
    if "MONTH" in contract or "QUARTER" in contract:
        return Kind.FUTURE
    if contract == "":
        return Kind.FUTURE if "_" in symbol else Kind.PERP
    return None


def _moment(fields: Fields, key: str) -> datetime | None:
    """Return a millisecond time that must be there; the venue writes 0 (or nothing) where it has none."""
    fields.require(key)
    moment = fields.optional_millis(key)
    return None if moment == EPOCH else moment


def parse_tickers(payload: Payload) -> list[Record | Reject]:
    """Return the rolling 24 h figures of the job's instruments. The answer has no quotes; observed_at is closeTime."""
    return parse_day_tickers(payload, NAME, quoted=False)


def parse_mark_prices(payload: Payload) -> list[Record | Reject]:
    """Return mark and index price of the job's instruments, each followed by its funding forecast where it has one."""
    named, result = rows_of_job(payload)
    for fields, instrument in named:
        result.append(_mark_price(fields, instrument, payload))
        forecast = _forecast(fields, instrument, payload)
        if forecast is not None:
            result.append(forecast)
    return result


def _mark_price(fields: Fields, instrument: Instrument, payload: Payload) -> MarkPrice | Reject:
    mark = number(fields, "markPrice")
    if mark is None:
        return reject(payload, fields.values, RejectReason.NO_PRICE, "markPrice is empty")
    return MarkPrice(
        source=NAME,
        observed_at=fields.millis("time"),
        received_at=payload.received_at,
        instrument=instrument,
        mark_price=mark,
        index_price=number(fields, "indexPrice"),
    )


def _forecast(fields: Fields, instrument: Instrument, payload: Payload) -> FundingForecast | None:
    """Return the running period's rate, which `lastFundingRate` is despite its name; None for a dated contract.

    Dated contracts pay no funding: their rate is empty or zero and their time 0.
    """
    rate, funding_time = number(fields, "lastFundingRate"), _moment(fields, "nextFundingTime")
    if instrument.kind is not Kind.PERP or rate is None or funding_time is None:
        return None
    return FundingForecast(
        source=NAME,
        observed_at=fields.millis("time"),
        received_at=payload.received_at,
        instrument=instrument,
        funding_time=funding_time,
        rate=rate,
    )


def parse_open_interest(payload: Payload) -> list[Record | Reject]:
    """Return the open interest of one contract, in base units. The venue counts no contracts and gives no value."""
    (instrument,) = payload.job.instruments
    fields = to_object(decode_json(payload.body), "$")
    if wrong := wrong_subject(fields, payload):
        return [wrong]
    return [
        OpenInterest(
            source=NAME,
            observed_at=fields.millis("time"),
            received_at=payload.received_at,
            instrument=instrument,
            open_interest=fields.decimal("openInterest"),
            contracts=None,
            value_usd=None,
        )
    ]


def parse_order_books(payload: Payload) -> list[Record | Reject]:
    """Return one book, cut to the levels a side that the job asks for.

    `observed_at` is T, when the matching engine had this book; E is when the message was made.
    """
    return parse_book(payload, NAME, time_key="T")


def parse_candles(payload: Payload) -> Sequence[Record | Reject]:
    """Return the bars of one page, oldest first, the forming one with `closed` false; volumes in base units."""
    return parse_klines(payload, NAME)


def parse_funding(payload: Payload) -> list[Record | Reject]:
    """Return the settled rates of one contract, oldest first.

    `funding_time` is the venue's raw time, up to 20 ms after the hour. `rateType` came in 2026; rows without it are
    regular. Old rows have no mark price.
    """
    (instrument,) = payload.job.instruments
    result: list[Record | Reject] = []
    for fields in objects(decode_json(payload.body)):
        if wrong := wrong_subject(fields, payload):
            result.append(wrong)
            continue
        settled_at = fields.millis("fundingTime")
        result.append(
            FundingRate(
                source=NAME,
                observed_at=settled_at,
                received_at=payload.received_at,
                instrument=instrument,
                funding_time=settled_at,
                rate=fields.decimal("fundingRate"),
                mark_price=fields.optional_decimal("markPrice"),
                rate_type=(fields.optional_text("rateType") or "regular").lower(),
            )
        )
    return result


def parse_funding_terms(payload: Payload) -> list[Record | Reject]:
    """Return interval (hours) and bounds (fractions) of the job's perpetuals; `observed_at` is our time, it has none.

    The venue lists only what it adjusted. A perpetual it does not list has the documented default of 8 h, and bounds
    that this endpoint does not tell (None).
    """
    adjusted = {fields.text("symbol"): fields for fields in objects(decode_json(payload.body))}
    perpetuals = [instrument for instrument in payload.job.instruments if instrument.kind is Kind.PERP]
    return [_terms(instrument, adjusted.get(instrument.venue_symbol), payload.received_at) for instrument in perpetuals]


def _terms(instrument: Instrument, fields: Fields | None, received_at: datetime) -> FundingTerms:
    return FundingTerms(
        source=NAME,
        observed_at=received_at,
        received_at=received_at,
        instrument=instrument,
        interval_hours=DEFAULT_FUNDING_HOURS if fields is None else fields.decimal("fundingIntervalHours"),
        rate_cap=None if fields is None else number(fields, "adjustedFundingRateCap"),
        rate_floor=None if fields is None else number(fields, "adjustedFundingRateFloor"),
    )


# --------------------------------------------------------------------------- calls


def _after_last_settlement(page: Payload) -> int | None:
    """Return the millisecond after the newest settlement of a page; None when the page held all there was."""
    settled = decode_json(page.body)
    if len(to_list(settled, "$")) < SHORTEST_FUNDING_CUT:
        return None
    return max(fields.integer("fundingTime") for fields in objects(settled)) + 1


def _page_bars(start: int | None, end: int | None, width: int) -> int:
    """Return how many bars to ask for: what [start, end) holds, at most the page with the least weight per row."""
    if start is None:
        return NEWEST_BARS
    return KLINE_PAGE if end is None else min(KLINE_PAGE, -((start - end) // width))


def _bar_pages(job: Job) -> list[int]:
    """Return the bars asked for page by page, for a window that the venue holds all of."""
    width = width_ms(bar_interval(job))
    start, end = (None if moment is None else to_millis(moment) for moment in (job.since, job.until))
    if start is None or end is None:
        return [_page_bars(start, end, width)]
    pages = []
    while start < end:
        pages.append(_page_bars(start, end, width))
        start += pages[-1] * width
    return pages


def _funding_pages(job: Job) -> int:
    """Return how many calls read a window of settlements, which are an hour apart at least."""
    if job.since is None or job.until is None:
        return 1
    most = -((job.since - job.until) // timedelta(hours=1)) + 1
    return 1 if most < SHORTEST_FUNDING_CUT else most // SHORTEST_FUNDING_CUT + 1


def _kline_weight(limit: int) -> int:
    return next(weight for most, weight in KLINE_WEIGHTS if limit <= most)


def _book_depth(levels: int | None) -> int:
    """Return the smallest depth the venue offers that holds `levels` a side; its deepest when none does."""
    return next((depth for depth in BOOK_WEIGHTS if depth >= (levels or DEFAULT_LEVELS)), max(BOOK_WEIGHTS))


class BinanceFuturesCollector(BinanceCollector):
    """USD-M futures through python-binance, whose transport is our session; every number is read from the wire."""

    name: ClassVar[str] = NAME
    shapes: ClassVar[Mapping[Dataset, Shape]] = {
        Dataset.INSTRUMENTS: Shape.WHOLE,
        Dataset.TICKERS: Shape.BULK,
        Dataset.MARK_PRICES: Shape.BULK,
        Dataset.OPEN_INTEREST: Shape.EACH,
        Dataset.ORDER_BOOKS: Shape.EACH,
        Dataset.CANDLES: Shape.EACH,
        Dataset.FUNDING: Shape.EACH,
        Dataset.FUNDING_TERMS: Shape.BULK,
    }
    parsers: ClassVar[Mapping[Dataset, Parser]] = {
        Dataset.INSTRUMENTS: parse_instruments,
        Dataset.TICKERS: parse_tickers,
        Dataset.MARK_PRICES: parse_mark_prices,
        Dataset.OPEN_INTEREST: parse_open_interest,
        Dataset.ORDER_BOOKS: parse_order_books,
        Dataset.CANDLES: parse_candles,
        Dataset.FUNDING: parse_funding,
        Dataset.FUNDING_TERMS: parse_funding_terms,
    }
    plans: ClassVar[Mapping[str, Plan]] = {"public": Plan(base_url="https://fapi.binance.com", limits=LIMITS)}

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return the calls of a job, each of the least weight that its rows can be had for."""
        one = len(job.instruments) == 1
        weights = {
            Dataset.INSTRUMENTS: INSTRUMENTS_WEIGHT,
            Dataset.TICKERS: ONE_SYMBOL_WEIGHT if one else ALL_TICKERS_WEIGHT,
            Dataset.MARK_PRICES: ONE_SYMBOL_WEIGHT if one else ALL_MARKS_WEIGHT,
            Dataset.OPEN_INTEREST: OPEN_INTEREST_WEIGHT,
            Dataset.ORDER_BOOKS: BOOK_WEIGHTS[_book_depth(job.limit)],
        }
        if job.dataset is Dataset.CANDLES:
            return [Cost(scope=WEIGHT, weight=_kline_weight(bars)) for bars in _bar_pages(job)]
        if job.dataset in (Dataset.FUNDING, Dataset.FUNDING_TERMS):
            return [Cost(scope=FUNDING_CALLS)] * (_funding_pages(job) if job.dataset is Dataset.FUNDING else 1)
        return [Cost(scope=WEIGHT, weight=weights[job.dataset])]

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the calls of a job and yield their answers, in order. For one instrument, bulk endpoints ask for one."""
        only = symbol_of(*job.instruments) if len(job.instruments) == 1 else {}
        match job.dataset:
            case Dataset.INSTRUMENTS:
                yield self._read(job, lambda sdk: sdk.futures_exchange_info(), INSTRUMENTS_WEIGHT)
            case Dataset.TICKERS:
                weight = ONE_SYMBOL_WEIGHT if only else ALL_TICKERS_WEIGHT
                yield self._read(job, lambda sdk: sdk.futures_ticker(**only), weight)
            case Dataset.MARK_PRICES:
                weight = ONE_SYMBOL_WEIGHT if only else ALL_MARKS_WEIGHT
                yield self._read(job, lambda sdk: sdk.futures_mark_price(**only), weight)
            case Dataset.OPEN_INTEREST:
                yield self._read(job, lambda sdk: sdk.futures_open_interest(**only), OPEN_INTEREST_WEIGHT)
            case Dataset.ORDER_BOOKS:
                depth = _book_depth(job.limit)
                yield self._read(job, lambda sdk: sdk.futures_order_book(**only, limit=depth), BOOK_WEIGHTS[depth])
            case Dataset.CANDLES:
                yield from self._candles(job)
            case Dataset.FUNDING:
                yield from self._funding(job)
            case Dataset.FUNDING_TERMS:
                yield self._read(job, lambda sdk: sdk.futures_v1_get_funding_info(), 1, FUNDING_CALLS)
            case _:
                raise ValueError(f"{NAME} has no {job.dataset}")

    def _candles(self, job: Job) -> Iterator[Payload]:
        """Yield pages of bars that open in [since, until); without since one page of the newest."""
        (instrument,), interval = job.instruments, bar_interval(job)

        def read(start: int | None, end: int | None) -> Payload:
            bars = _page_bars(start, end, width_ms(interval))
            asked = {**symbol_of(instrument), "interval": str(interval), **window(job, start), "limit": bars}
            return self._read(job, lambda sdk: sdk.futures_klines(**asked), _kline_weight(bars))

        yield from pages(job, read, after_last_bar)

    def _funding(self, job: Job) -> Iterator[Payload]:
        """Yield pages of settlements in [since, until); without since one page of the newest."""
        (instrument,) = job.instruments

        def read(start: int | None, _end: int | None) -> Payload:
            asked = {**symbol_of(instrument), **window(job, start), "limit": FUNDING_PAGE}
            return self._read(job, lambda sdk: sdk.futures_funding_rate(**asked), 1, FUNDING_CALLS)

        yield from pages(job, read, _after_last_settlement)
