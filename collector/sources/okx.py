"""OKX v5, public market data of perpetual swaps: every size leaves here in base units, every list oldest first.

Quirks of the venue, each answered below:

- Success is HTTP 200 and `code` "0": an unknown instrument (51001) and a refusal for too many calls (50011) can come
  with 200 as well. Refusals have no `data` key, and `code` was once a number.
- Every scalar is text; `""` means "does not apply" and becomes None, never zero.
- Sizes of a swap (`bidSz`, book sizes, `vol`, `oi`) count contracts, whole or not. One contract of a linear swap is
  `ctVal * ctMult` base units; of an inverse swap it is that many US dollars. `volCcy`, `volCcy24h` and `oiCcy` are
  base units already.
- Lists are newest first. `after=T` means older than T, `before=T` newer than T, both without T.
- `1D` opens at 16:00 UTC: daily and weekly bars are asked for as `1Dutc` and `1Wutc`.
- `fundingRate` of /public/funding-rate is a forecast; `realizedRate` of the history is what was charged.
- A stale server can answer with an older snapshot than before: `ts` is kept as it is, never taken to grow.

Candles and funding history are read backwards (`_okx_pages.py`). /market/candles has the newest bars but only the last
1440; /market/history-candles has years. There is no clock here, so the venue decides: a job starts at /market/candles
and goes on at /market/history-candles from the same cursor when the first has no older rows. Near the present this
costs nothing; a window older than 1440 bars costs one empty answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from collector.clock import bar_count, floor_time
from collector.errors import PayloadError
from collector.parsing import Fields, hours, objects, pairs, rows
from collector.records import (
    Answer,
    Candle,
    Dataset,
    FundingForecast,
    FundingRate,
    FundingTerms,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Payload,
    Record,
    RejectReason,
    Ticker,
)
from collector.sources._okx import Item, NotBelieved, check_envelope, converted, moment, number, said, unwrap
from collector.sources._okx_pages import Endpoint, Query, Series, read_back
from collector.sources.base import Collector, Cost, Http, Limit, Parser, Plan, Shape, bar_interval, payload

NAME = "okx"
BARS = dict(zip(Interval, ("1m", "5m", "15m", "1H", "4H", "1Dutc", "1Wutc"), strict=True))
CANDLE_PAGE = 300
RECENT_BARS = 1440  # as far back as /market/candles reaches
CANDLE_COLUMNS = ("ts", "o", "h", "l", "c", "vol", "volCcy", "volCcyQuote", "confirm")
FUNDING_PAGE = 400
BOOK_LEVELS = 400  # a side, the most that /market/books gives; without `sz` it gives one
CATEGORIES = {"1": "crypto", "3": "stock", "4": "commodity", "5": "forex", "6": "bond"}
LINEAR, INVERSE = "linear", "inverse"

# What one call answers for all swaps: path, parameters, scope.
BULK_CALLS: Mapping[Dataset, tuple[str, Query, str]] = {
    Dataset.INSTRUMENTS: ("/api/v5/public/instruments", {"instType": "SWAP"}, "instruments"),
    Dataset.TICKERS: ("/api/v5/market/tickers", {"instType": "SWAP"}, "tickers"),
    Dataset.MARK_PRICES: ("/api/v5/public/mark-price", {"instType": "SWAP"}, "mark_price"),
    Dataset.FUNDING_FORECASTS: ("/api/v5/public/funding-rate", {"instId": "ANY"}, "funding_rate"),
    Dataset.OPEN_INTEREST: ("/api/v5/public/open-interest", {"instType": "SWAP"}, "open_interest"),
}
# What is read page by page.
RECENT_CANDLES: Endpoint = ("/api/v5/market/candles", "candles")
OLDER_CANDLES: Endpoint = ("/api/v5/market/history-candles", "history_candles")
FUNDING_HISTORY: Endpoint = ("/api/v5/public/funding-rate-history", "funding_history")

# Documented calls per address in two seconds; each endpoint has a budget of its own. The funding history allows 10 for
# EACH instrument and any number over many. One job makes 7 at most (three months of hourly payments, 400 a page, and
# the empty page), so a single instrument stays below its 10; 20 over all of them is half of what candles may take.
BUDGETS = {
    10: ("mark_price", "funding_rate"),
    20: ("instruments", "tickers", "history_candles", "open_interest", "funding_history"),
    40: ("candles", "books"),
}


# --------------------------------------------------------------------------- what the parsers share


def _base_units(contracts: Decimal | None, instrument: Instrument) -> Decimal | None:
    return None if contracts is None else contracts * instrument.contract_size


def _stamp(origin: Payload, instrument: Instrument, observed_at: datetime) -> dict[str, Any]:
    """Return the fields that every record of an instrument has."""
    return {"source": NAME, "instrument": instrument, "observed_at": observed_at, "received_at": origin.received_at}


def _rows(body: bytes) -> Iterator[Fields]:
    return objects(unwrap(body), "$.data")


def _bars(body: bytes) -> Iterator[Fields]:
    """Yield candle rows, their columns named; unknown columns behind the known ones are ignored."""
    for path, row in rows(unwrap(body), len(CANDLE_COLUMNS), "$.data"):
        yield Fields(dict(zip(CANDLE_COLUMNS, row, strict=False)), path)


def _followed(origin: Payload) -> Iterator[tuple[Fields, Instrument]]:
    """Yield the rows about instruments of the job, each with its instrument."""
    by_symbol = {instrument.venue_symbol: instrument for instrument in origin.job.instruments}
    for row in _rows(origin.body):
        instrument = by_symbol.get(row.text("instId"))
        if instrument is not None:
            yield row, instrument


def _only_instrument(job: Job) -> Instrument:
    (instrument,) = job.instruments
    return instrument


# --------------------------------------------------------------------------- instruments


def parse_instruments(origin: Payload) -> Sequence[Item]:
    """Return every swap of the listing; `received_at` is the time of observation, as the venue gives none.

    A linear swap is named by its contract's currency and its family (`BTC-USDT`, `BTC-USDC`, `BTC-USD_UM`), so that
    USD-margined and coin-margined swaps of one coin stay apart. An inverse swap is listed with category "inverse" and
    is never tradable here: its `contract_size` is in US dollars, not in base units, and `lot_size` is None.
    Almost empty rows of instruments before their opening are left out. Category is "" where the venue says none.
    """
    taken: dict[str, str] = {}
    return [converted(origin, row, _listing, taken) for row in _rows(origin.body) if not _is_placeholder(row)]


def _is_placeholder(row: Fields) -> bool:
    unopened = row.optional_text("state") == "preopen" and row.optional_text("ctVal") is None
    return unopened or row.optional_text("instId") is None


def _listing(origin: Payload, row: Fields, taken: dict[str, str]) -> InstrumentListing:
    instrument, linear = _swap(row)
    if taken.setdefault(instrument.id, instrument.venue_symbol) != instrument.venue_symbol:
        raise NotBelieved(RejectReason.INCONSISTENT, f"{instrument.id} is {taken[instrument.id]} already")
    state = row.text("state").lower()
    category = row.optional_text("instCategory") or ""  # absent before 2025
    return InstrumentListing(
        **_stamp(origin, instrument, origin.received_at),
        status=state,
        tradable=linear and state == "live",
        listed_at=row.optional_millis("listTime"),
        delists_at=row.optional_millis("expTime"),
        tick_size=said(row, "tickSz"),
        lot_size=_base_units(said(row, "lotSz"), instrument) if linear else None,
        category=CATEGORIES.get(category, category.lower()) if linear else INVERSE,
    )


def _swap(row: Fields) -> tuple[Instrument, bool]:
    """Return the instrument and whether it is linear."""
    if row.text("instType") != "SWAP":
        raise NotBelieved(RejectReason.WRONG_SUBJECT, "not a swap")
    contract_type = row.text("ctType")
    if contract_type not in {LINEAR, INVERSE}:
        raise NotBelieved(RejectReason.INCONSISTENT, f"unknown contract type {contract_type[:40]!r}")
    contract_size = number(row, "ctVal") * number(row, "ctMult")
    if contract_size <= 0:
        raise NotBelieved(RejectReason.NOT_POSITIVE, "contract value")
    linear = contract_type == LINEAR
    base, quote = _currencies(row, linear=linear)
    if not (base and quote):
        raise NotBelieved(RejectReason.INCONSISTENT, "no base or no quote currency")
    symbol, kind = row.text("instId"), Kind.PERP
    named = Instrument(venue=NAME, base=base, quote=quote, kind=kind, venue_symbol=symbol, contract_size=contract_size)
    return named, linear


def _currencies(row: Fields, *, linear: bool) -> tuple[str, str]:
    """Return base and quote: of `BTC-USD_UM-SWAP` BTC and USD_UM (settled in USD), of `BTC-USD-SWAP` BTC and USD."""
    settle, unit = row.text("settleCcy").upper(), row.text("ctValCcy").upper()
    family = (row.optional_text("instFamily") or "").upper()  # absent in 2022
    if not linear:
        return settle, unit
    return unit, family.removeprefix(f"{unit}-") if family.startswith(f"{unit}-") else settle


# --------------------------------------------------------------------------- one call for all swaps


def parse_tickers(origin: Payload) -> Sequence[Item]:
    """Return the tickers of the job's instruments; the venue gives no volume in quote currency for swaps."""
    return [converted(origin, row, _ticker, instrument) for row, instrument in _followed(origin)]


def _ticker(origin: Payload, row: Fields, instrument: Instrument) -> Ticker:
    last, opened = number(row, "last", RejectReason.NO_PRICE), said(row, "open24h")
    return Ticker(
        **_stamp(origin, instrument, moment(row, "ts")),
        last_price=last,
        bid_price=said(row, "bidPx"),
        bid_size=_base_units(said(row, "bidSz"), instrument),
        ask_price=said(row, "askPx"),
        ask_size=_base_units(said(row, "askSz"), instrument),
        open_24h=opened,
        high_24h=said(row, "high24h"),
        low_24h=said(row, "low24h"),
        volume_24h=said(row, "volCcy24h"),
        quote_volume_24h=None,
        change_24h_pct=None if opened is None or opened == 0 else (last - opened) / opened * 100,
    )


def parse_mark_prices(origin: Payload) -> Sequence[Item]:
    """Return the mark prices of the job's instruments; the index price is another endpoint and stays None."""
    return [converted(origin, row, _mark_price, instrument) for row, instrument in _followed(origin)]


def _mark_price(origin: Payload, row: Fields, instrument: Instrument) -> MarkPrice:
    price = number(row, "markPx", RejectReason.NO_PRICE)
    return MarkPrice(**_stamp(origin, instrument, moment(row, "ts")), mark_price=price, index_price=None)


def parse_open_interest(origin: Payload) -> Sequence[Item]:
    """Return the open interest of the job's instruments: base units, contracts, US dollars (None where not said)."""
    return [converted(origin, row, _open_interest, instrument) for row, instrument in _followed(origin)]


def _open_interest(origin: Payload, row: Fields, instrument: Instrument) -> OpenInterest:
    return OpenInterest(
        **_stamp(origin, instrument, moment(row, "ts")),
        open_interest=number(row, "oiCcy"),
        contracts=said(row, "oi"),
        value_usd=row.optional_decimal("oiUsd"),  # absent in older answers
    )


def parse_funding_forecasts(origin: Payload) -> Sequence[Item]:
    """Return for each of the job's instruments the forecast and the terms of its funding.

    The interval is the time between the next two payments; None when the venue names only one.
    """
    return [
        converted(origin, row, convert, instrument)
        for row, instrument in _followed(origin)
        for convert in (_funding_forecast, _funding_terms)
    ]


def _funding_forecast(origin: Payload, row: Fields, instrument: Instrument) -> Record:
    return FundingForecast(
        **_stamp(origin, instrument, moment(row, "ts")),
        funding_time=moment(row, "fundingTime"),
        rate=number(row, "fundingRate"),
    )


def _funding_terms(origin: Payload, row: Fields, instrument: Instrument) -> Record:
    coming, following = row.optional_millis("fundingTime"), row.optional_millis("nextFundingTime")
    interval = None if coming is None or following is None else hours(following - coming)
    if interval is not None and interval <= 0:
        raise NotBelieved(RejectReason.INCONSISTENT, "nextFundingTime is not after fundingTime")
    return FundingTerms(
        **_stamp(origin, instrument, moment(row, "ts")),
        interval_hours=interval,
        rate_cap=row.optional_decimal("maxFundingRate"),
        rate_floor=row.optional_decimal("minFundingRate"),
    )


# --------------------------------------------------------------------------- one instrument a call


def parse_candles(origin: Payload) -> Sequence[Item]:
    """Return the bars oldest first; a bar is closed only when the venue confirms it with "1"."""
    bars = sorted(_bars(origin.body), key=lambda bar: bar.millis("ts"))
    subject = _only_instrument(origin.job), bar_interval(origin.job)
    return [converted(origin, bar, _candle, *subject) for bar in bars]


def _candle(origin: Payload, bar: Fields, instrument: Instrument, interval: Interval) -> Candle:
    open_time = bar.millis("ts")
    try:
        end = open_time + interval.width
    except OverflowError as error:
        raise PayloadError("time out of range", bar.at("ts")) from error
    return Candle(
        **_stamp(origin, instrument, end),
        interval=interval,
        open_time=open_time,
        open=number(bar, "o", RejectReason.NO_PRICE),
        high=number(bar, "h", RejectReason.NO_PRICE),
        low=number(bar, "l", RejectReason.NO_PRICE),
        close=number(bar, "c", RejectReason.NO_PRICE),
        volume=bar.optional_decimal("volCcy"),
        quote_volume=bar.optional_decimal("volCcyQuote"),
        trades=None,
        taker_buy_volume=None,
        closed=bar.text("confirm") == "1",
    )


def parse_order_books(origin: Payload) -> Sequence[Item]:
    """Return the book, sizes in base units; nothing when the venue has none. The answer does not name its symbol."""
    return [converted(origin, row, _order_book, _only_instrument(origin.job)) for row in _rows(origin.body)]


def _order_book(origin: Payload, row: Fields, instrument: Instrument) -> OrderBook:
    return OrderBook(
        **_stamp(origin, instrument, moment(row, "ts")),
        last_update_id=row.optional_integer("seqId"),
        bids=_levels(row, "bids", instrument),
        asks=_levels(row, "asks", instrument),
    )


def _levels(row: Fields, side: str, instrument: Instrument) -> tuple[tuple[Decimal, Decimal], ...]:
    """Unpack `[price, contracts, "0", orders]`; the last two are dead or not ours."""
    found = pairs(row.require(side), row.at(side))
    return tuple((price, contracts * instrument.contract_size) for price, contracts in found)


def parse_funding(origin: Payload) -> Sequence[Item]:
    """Return the settled funding rates, oldest first.

    The rate is `realizedRate`, what was charged. Where the venue leaves that empty, `fundingRate` of the same settled
    row stands in, as its documentation provides.
    """
    payments = sorted(_rows(origin.body), key=lambda row: row.millis("fundingTime"))
    return [converted(origin, row, _funding_rate, _only_instrument(origin.job)) for row in payments]


def _funding_rate(origin: Payload, row: Fields, instrument: Instrument) -> FundingRate:
    if row.text("instId") != instrument.venue_symbol:
        raise NotBelieved(RejectReason.WRONG_SUBJECT, f"asked for {instrument.venue_symbol}")
    charged, funding_time = said(row, "realizedRate"), row.millis("fundingTime")
    return FundingRate(
        **_stamp(origin, instrument, funding_time),
        funding_time=funding_time,
        rate=number(row, "fundingRate") if charged is None else charged,
        mark_price=None,
    )


def _candle_scopes(job: Job) -> list[str]:
    """Return the scope of each call for bars: the recent ones first, then what only the history has."""
    recent = -(-RECENT_BARS // CANDLE_PAGE)
    if job.since is None or job.until is None:
        return [RECENT_CANDLES[1]] * (recent + 1)
    pages = -(-bar_count(job.since, job.until, bar_interval(job)) // CANDLE_PAGE)
    if pages <= 1:
        return [RECENT_CANDLES[1]] * pages
    older = max(0, pages - recent)
    return [RECENT_CANDLES[1]] * (min(pages, recent) + 1) + [OLDER_CANDLES[1]] * (older + 1)


def _first_open(since: datetime, interval: Interval) -> datetime:
    """Return the open time of the first bar that opens at or after `since`."""
    return floor_time(since + interval.width - timedelta.resolution, interval)


LIMITS = tuple(
    Limit(scope=scope, capacity=calls, window=timedelta(seconds=2))
    for calls, scopes in BUDGETS.items()
    for scope in scopes
)
DATASETS: Mapping[Dataset, tuple[Shape, Parser]] = {
    Dataset.INSTRUMENTS: (Shape.WHOLE, parse_instruments),
    Dataset.TICKERS: (Shape.BULK, parse_tickers),
    Dataset.MARK_PRICES: (Shape.BULK, parse_mark_prices),
    Dataset.FUNDING_FORECASTS: (Shape.BULK, parse_funding_forecasts),
    Dataset.OPEN_INTEREST: (Shape.BULK, parse_open_interest),
    Dataset.CANDLES: (Shape.EACH, parse_candles),
    Dataset.ORDER_BOOKS: (Shape.EACH, parse_order_books),
    Dataset.FUNDING: (Shape.EACH, parse_funding),
}


class OkxCollector(Collector):
    """OKX perpetual swaps over public REST."""

    name: ClassVar[str] = NAME
    shapes: ClassVar[Mapping[Dataset, Shape]] = {dataset: shape for dataset, (shape, _) in DATASETS.items()}
    parsers: ClassVar[Mapping[Dataset, Parser]] = {dataset: parser for dataset, (_, parser) in DATASETS.items()}
    intervals: ClassVar[tuple[Interval, ...]] = tuple(Interval)
    plans: ClassVar[Mapping[str, Plan]] = {"public": Plan(base_url="https://www.okx.com", limits=LIMITS)}

    def __init__(self, http: Http) -> None:
        self._http = http

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for, whatever its HTTP status; return for a good one."""
        check_envelope(answer, NAME)

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return the calls of a job; a window longer than a page can end with one call that finds nothing older."""
        if job.dataset is Dataset.CANDLES:
            return [Cost(scope=scope) for scope in _candle_scopes(job)]
        if job.dataset is Dataset.FUNDING:
            since, until = job.since, job.until
            most = FUNDING_PAGE if since is None or until is None else bar_count(since, until, Interval.H1)
            return [Cost(scope=FUNDING_HISTORY[1])] * (-(-most // FUNDING_PAGE) + 1)
        return [Cost(scope="books" if job.dataset is Dataset.ORDER_BOOKS else BULK_CALLS[job.dataset][2])]

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the calls of a job and yield their answers, oldest page first; raise VenueError when one fails.

        Pages come when the last of them is here. Raises PayloadError when the venue ignores the cursor.
        """
        if job.dataset is Dataset.CANDLES:
            yield from self._fetch_candles(job)
        elif job.dataset is Dataset.FUNDING:
            yield from self._fetch_funding(job)
        elif job.dataset is Dataset.ORDER_BOOKS:
            levels = BOOK_LEVELS if job.limit is None else min(job.limit, BOOK_LEVELS)
            params: Query = {"instId": _only_instrument(job).venue_symbol, "sz": levels}
            yield self._get(job, "/api/v5/market/books", params, "books")
        else:
            yield self._get(job, *BULK_CALLS[job.dataset])

    def _fetch_candles(self, job: Job) -> Iterable[Payload]:
        """Read bars; without `since`, as far back as /market/candles reaches (1440 bars)."""
        interval = bar_interval(job)
        series = Series(
            endpoints=(RECENT_CANDLES,) if job.since is None else (RECENT_CANDLES, OLDER_CANDLES),
            query={"instId": _only_instrument(job).venue_symbol, "bar": BARS[interval]},
            spacing=interval,
            page=CANDLE_PAGE,
            rows=_bars,
            time_key="ts",
        )
        return read_back(job, self._get, series, since=None if job.since is None else _first_open(job.since, interval))

    def _fetch_funding(self, job: Job) -> Iterable[Payload]:
        """Read payments; without `since`, all that the venue keeps (three months)."""
        series = Series(
            endpoints=(FUNDING_HISTORY,),
            query={"instId": _only_instrument(job).venue_symbol},
            spacing=Interval.H1,
            page=FUNDING_PAGE,
            rows=_rows,
            time_key="fundingTime",
        )
        return read_back(job, self._get, series, since=job.since)

    def _get(self, job: Job, path: str, params: Query, scope: str) -> Payload:
        return payload(job, self._http.get(path, params, Cost(scope=scope)))
