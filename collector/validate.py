"""Plausibility: what a row must satisfy to be believed. A batch in, kept records and rejects out; pure.

A row that breaks a rule is moved to the rejects with one reason; the others stay, in their order. Forming candles are
left out without being rejects. Zero is a valid size, volume, rate and count; it is never a valid price.

Of two bars with one key in an answer, equal ones are left to the writer, which stores one. When they differ, the one
received last (of one answer: the one further down) is kept and the other rejected: one of them is wrong, the later is
more likely to be final, and the next read of the bar decides.

Numbers are exact up to `HIGHEST`, whatever their number of digits; nothing in a market is larger.

Times before 2009, when there was no market, and later than `CLOCK_SKEW` after now are not believed: they show seconds,
milliseconds and microseconds taken for each other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from operator import le, mul, sub
from typing import Any

from collector.bars import Bars
from collector.clock import EPOCH, MONDAY
from collector.records import (
    Batch,
    Candle,
    FundingForecast,
    FundingRate,
    FundingTerms,
    GlobalMarket,
    Instrument,
    InstrumentListing,
    Interval,
    MarketSnapshot,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Record,
    Reject,
    RejectReason,
    Sentiment,
    Ticker,
)

Complaint = tuple[RejectReason, str]
Rule = Callable[[Any, datetime], Complaint | None]
Values = Iterable[tuple[str, Decimal | int | None]]

FIRST_MARKET = datetime(2009, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(minutes=10)  # how far a provider's clock may run ahead of ours
LATEST_FUNDING = timedelta(days=31)  # funding is forecast hours ahead; further off is a wrong unit
HIGHEST_RATE = Decimal(1)  # a funding payment of the position's whole value
HIGHEST = Decimal(10) ** 36  # a billion times the largest supply of any token
HIGHEST_PRICE = Decimal(10) ** 15  # a bitcoin in the cheapest currency that trades costs a million times less
MOST = 2**31 - 1  # of anything that is counted: trades of a bar, assets, ranks
LAST_NUMBER = 2**63 - 1  # a venue's sequence number, as the database holds it
MEAN_PRICE_FACTOR = 5  # volumes are rounded, contract sizes are powers of ten: between the two
ROW_LENGTH = 300


def check(batch: Batch, *, now: datetime) -> Batch:
    """Return the batch with only believable, finished records; the others are added to its rejects."""
    if isinstance(batch.records, Bars) and _are_believable(batch.records, now):
        return batch
    kept: list[Record] = []
    rejects: list[Reject] = []
    contradicted = _contradicted(batch.records)
    for place, record in enumerate(batch.records):
        if isinstance(record, Candle) and not record.closed:
            continue
        rule = RULES.get(type(record))
        complaint = rule(record, now) if rule else None
        complaint = complaint or (CONTRADICTED if place in contradicted else None)
        if complaint is None:
            kept.append(record)
        else:
            reason, detail = complaint
            rejects.append(Reject(job=batch.job, row=row_text(record), reason=reason, detail=detail))
    return replace(batch, records=tuple(kept), rejects=(*batch.rejects, *rejects))


def _are_believable(bars: Bars, now: datetime) -> bool:
    """Return whether all bars satisfy `check_candle` and ascend, by whole columns; when in doubt, False."""
    high, low, volume, quoted = bars.high, bars.low, bars.volume, bars.quote_volume
    first, last, width = bars.open_time[0], bars.open_time[-1], bars.interval.width
    steps = set(map(sub, bars.open_time[1:], bars.open_time))
    return (
        all(step > timedelta(0) and not step % width for step in steps)
        and not (first - _origin(bars.interval)) % width
        and (first >= FIRST_MARKET and last - now <= _EARLY[bars.interval])
        and all(all(map(le, low, prices)) and all(map(le, prices, high)) for prices in (bars.open, bars.close))
        and (min(low) > 0 and max(high) <= HIGHEST_PRICE)
        and all(min(amounts) >= 0 and max(amounts) <= HIGHEST for amounts in (volume, quoted))
        and (min(bars.trades) >= 0 and max(bars.trades) <= MOST)
        and (min(bars.taker_buy_volume) >= 0 and all(map(le, bars.taker_buy_volume, volume)))
        and all(map(le, map(mul, low, volume), [amount * MEAN_PRICE_FACTOR for amount in quoted]))
        and all(map(le, quoted, map(mul, high, [amount * MEAN_PRICE_FACTOR for amount in volume])))
    )


CONTRADICTED: Complaint = (RejectReason.INCONSISTENT, "the provider gave this bar twice with different values")


def _contradicted(records: Sequence[Record]) -> set[int]:
    """Return the places of closed bars that a later bar with the same key contradicts."""
    bars = [(place, item) for place, item in enumerate(records) if isinstance(item, Candle) and item.closed]
    if _ascending([bar for _, bar in bars]):
        return set()
    newest: dict[tuple[Any, ...], tuple[int, Candle]] = {}
    found: set[int] = set()
    for place, bar in sorted(bars, key=lambda item: item[1].received_at):
        key = (bar.instrument.id, bar.interval, bar.open_time)
        before = newest.get(key)
        if before is not None and _figures(before[1]) != _figures(bar):
            found.add(before[0])
        newest[key] = (place, bar)
    return found


def _ascending(bars: Sequence[Candle]) -> bool:
    """Return whether the bars are one series in order of time, without a double: the usual answer."""
    return all(
        one.instrument is other.instrument and one.interval is other.interval and one.open_time < other.open_time
        for one, other in pairwise(bars)
    )


def _figures(bar: Candle) -> tuple[Any, ...]:
    amounts = (bar.volume, bar.quote_volume, bar.trades, bar.taker_buy_volume)
    return (bar.source, bar.open, bar.high, bar.low, bar.close, *amounts)


def count_forming(batch: Batch) -> int:
    """Return how many candles `check` leaves out because their time is not over."""
    return sum(isinstance(record, Candle) and not record.closed for record in batch.records)


def row_text(record: Record) -> str:
    """Return the record as short text for a reject: what the provider gave, without what it did not."""
    parts = []
    for item in fields(record):
        value = getattr(record, item.name)
        if value is not None:
            parts.append(f"{item.name}={_value_text(value)}")
    return f"{type(record).__name__}({' '.join(parts)})"[:ROW_LENGTH]


def _value_text(value: Any) -> str:
    if isinstance(value, Instrument):
        return value.id
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return "[" + " ".join(":".join(map(str, level)) for level in value[:5]) + "]"
    return str(value)


# --------------------------------------------------------------------------- rules by record type


def check_candle(candle: Candle, now: datetime) -> Complaint | None:
    """Demand finite positive prices inside [low, high], plausible volumes, on the grid, its time over."""
    opened, high, low, close = candle.open, candle.high, candle.low, candle.close
    if not (opened.is_finite() and high.is_finite() and low.is_finite() and close.is_finite()):
        return RejectReason.NOT_FINITE, f"open {opened}, high {high}, low {low}, close {close}"
    if not (low <= opened <= high and low <= close <= high):  # with a positive low, all are positive
        complaint = _not_positive((("open", opened), ("high", high), ("low", low), ("close", close)))
        return complaint or (
            RejectReason.INCONSISTENT,
            f"open {opened} or close {close} lies outside low {low} to high {high}",
        )
    if low <= 0:
        return RejectReason.NOT_POSITIVE, f"low is {low}"
    if high > HIGHEST_PRICE:
        return _too_large("high", high)
    return _amounts(candle) or _volumes(candle) or _off_grid(candle) or _candle_time(candle, now)


def check_order_book(book: OrderBook, now: datetime) -> Complaint | None:
    """Demand positive prices and sizes, best first on both sides, not crossed; a side may be empty."""
    for side, levels, falling in (("bid", book.bids, True), ("ask", book.asks, False)):
        complaint = _levels(side, levels, falling=falling)
        if complaint:
            return complaint
    if book.bids and book.asks and book.bids[0][0] >= book.asks[0][0]:
        return RejectReason.INCONSISTENT, f"crossed: best bid {book.bids[0][0]}, best ask {book.asks[0][0]}"
    if book.last_update_id is not None and abs(book.last_update_id) > LAST_NUMBER:
        return RejectReason.OUT_OF_RANGE, f"last_update_id is {book.last_update_id}"
    return _observed(book, now)


def check_ticker(ticker: Ticker, now: datetime) -> Complaint | None:
    """Demand positive prices, sizes and volumes not negative, bid not above ask, 24 h high not below low."""
    prices: Values = (
        ("last_price", ticker.last_price),
        ("bid_price", ticker.bid_price),
        ("ask_price", ticker.ask_price),
        ("open_24h", ticker.open_24h),
        ("high_24h", ticker.high_24h),
        ("low_24h", ticker.low_24h),
    )
    sizes: Values = (
        ("bid_size", ticker.bid_size),
        ("ask_size", ticker.ask_size),
        ("volume_24h", ticker.volume_24h),
        ("quote_volume_24h", ticker.quote_volume_24h),
    )
    return (
        _not_positive(prices)
        or _negative(sizes)
        or _not_finite((("change_24h_pct", ticker.change_24h_pct),))
        or _reversed("bid_price", ticker.bid_price, "ask_price", ticker.ask_price)
        or _reversed("low_24h", ticker.low_24h, "high_24h", ticker.high_24h)
        or _observed(ticker, now)
    )


def check_mark_price(mark: MarkPrice, now: datetime) -> Complaint | None:
    """Demand positive prices."""
    prices = (("mark_price", mark.mark_price), ("index_price", mark.index_price))
    return _not_positive(prices) or _observed(mark, now)


def check_funding_rate(funding: FundingRate, now: datetime) -> Complaint | None:
    """Demand a rate within -1 to 1, settled at a time that has passed."""
    return (
        _rate("rate", funding.rate)
        or _not_positive((("mark_price", funding.mark_price),))
        or _moment("funding_time", funding.funding_time, now + CLOCK_SKEW)
        or _observed(funding, now)
    )


def check_funding_forecast(forecast: FundingForecast, now: datetime) -> Complaint | None:
    """Demand a rate within -1 to 1, due in the near future."""
    return (
        _rate("rate", forecast.rate)
        or _moment("funding_time", forecast.funding_time, now + LATEST_FUNDING)
        or _observed(forecast, now)
    )


def check_funding_terms(terms: FundingTerms, now: datetime) -> Complaint | None:
    """Demand a positive interval, floor not above cap."""
    return (
        _not_positive((("interval_hours", terms.interval_hours),))
        or _not_finite((("rate_cap", terms.rate_cap), ("rate_floor", terms.rate_floor)))
        or _reversed("rate_floor", terms.rate_floor, "rate_cap", terms.rate_cap)
        or _observed(terms, now)
    )


def check_open_interest(interest: OpenInterest, now: datetime) -> Complaint | None:
    """Demand that nothing is negative."""
    amounts: Values = (
        ("open_interest", interest.open_interest),
        ("contracts", interest.contracts),
        ("value_usd", interest.value_usd),
    )
    return _negative(amounts) or _observed(interest, now)


def check_market_snapshot(market: MarketSnapshot, now: datetime) -> Complaint | None:
    """Demand a positive price or none, nothing negative, plausible times of the extremes.

    Lifetime and daily extremes of dead coins are rounded to zero by aggregators; they are not the price and may be 0.
    """
    return (
        _not_positive((("price_usd", market.price_usd), ("rank", market.rank)))
        or _negative((name, getattr(market, name)) for name in _SNAPSHOT_AMOUNTS)
        or _not_finite((name, getattr(market, name)) for name in _SNAPSHOT_CHANGES)
        or _reversed("low_24h_usd", market.low_24h_usd, "high_24h_usd", market.high_24h_usd)
        or _moment("ath_at", market.ath_at, now + CLOCK_SKEW)
        or _moment("atl_at", market.atl_at, now + CLOCK_SKEW)
        or _observed(market, now)
    )


_SNAPSHOT_AMOUNTS = (
    "market_cap_usd",
    "fully_diluted_usd",
    "volume_24h_usd",
    "high_24h_usd",
    "low_24h_usd",
    "circulating_supply",
    "total_supply",
    "max_supply",
    "ath_usd",
    "atl_usd",
)
_SNAPSHOT_CHANGES = ("change_1h_pct", "change_24h_pct", "change_7d_pct")


def check_global_market(market: GlobalMarket, now: datetime) -> Complaint | None:
    """Demand a positive market cap, shares of it within 0 to 100, nothing negative."""
    shares: Values = (("btc_dominance_pct", market.btc_dominance_pct), ("eth_dominance_pct", market.eth_dominance_pct))
    counts: Values = (
        ("volume_24h_usd", market.volume_24h_usd),
        ("active_assets", market.active_assets),
        ("markets", market.markets),
    )
    complaint = (
        _not_positive((("market_cap_usd", market.market_cap_usd),))
        or _negative((*counts, *shares))
        or _not_finite((("market_cap_change_24h_pct", market.market_cap_change_24h_pct),))
        or _observed(market, now)
    )
    if complaint:
        return complaint
    above = next((item for item in shares if item[1] is not None and item[1] > 100), None)  # noqa: PLR2004 - percent
    return (RejectReason.INCONSISTENT, f"{above[0]} is {above[1]}, more than the whole") if above else None


def check_sentiment(sentiment: Sentiment, now: datetime) -> Complaint | None:
    """Demand a value within 0 to 100 of a day that has begun."""
    if not 0 <= sentiment.value <= 100:  # noqa: PLR2004 - the scale of the index
        return RejectReason.INCONSISTENT, f"value is {sentiment.value}, not within 0 to 100"
    return _observed(sentiment, now)


def check_listing(listing: InstrumentListing, now: datetime) -> Complaint | None:
    """Demand positive sizes, listed at a plausible time."""
    sizes: Values = (
        ("contract_size", listing.instrument.contract_size),
        ("tick_size", listing.tick_size),
        ("lot_size", listing.lot_size),
    )
    return _not_positive(sizes) or _observed(listing, now)


RULES: dict[type[Record], Rule] = {
    Candle: check_candle,
    OrderBook: check_order_book,
    Ticker: check_ticker,
    MarkPrice: check_mark_price,
    FundingRate: check_funding_rate,
    FundingForecast: check_funding_forecast,
    FundingTerms: check_funding_terms,
    OpenInterest: check_open_interest,
    MarketSnapshot: check_market_snapshot,
    GlobalMarket: check_global_market,
    InstrumentListing: check_listing,
    Sentiment: check_sentiment,
}
"""Record types without a rule are believed."""


# --------------------------------------------------------------------------- the parts of rules


def _not_finite(values: Values) -> Complaint | None:
    for name, value in values:
        if isinstance(value, Decimal) and not value.is_finite():
            return RejectReason.NOT_FINITE, f"{name} is {value}"
    return None


def _not_positive(values: Values) -> Complaint | None:
    for name, value in values:
        if value is None:
            continue
        if isinstance(value, Decimal) and not value.is_finite():
            return RejectReason.NOT_FINITE, f"{name} is {value}"
        if value <= 0:
            return RejectReason.NOT_POSITIVE, f"{name} is {value}"
        if value > (MOST if isinstance(value, int) else HIGHEST_PRICE):
            return _too_large(name, value)
    return None


def _negative(values: Values) -> Complaint | None:
    for name, value in values:
        if value is None:
            continue
        if isinstance(value, Decimal) and not value.is_finite():
            return RejectReason.NOT_FINITE, f"{name} is {value}"
        if value < 0:
            return RejectReason.NEGATIVE, f"{name} is {value}"
        if value > (MOST if isinstance(value, int) else HIGHEST):
            return _too_large(name, value)
    return None


def _too_large(name: str, value: Decimal | int) -> Complaint:
    return RejectReason.OUT_OF_RANGE, f"{name} is {value:.3g}, more than any market has"


def _amounts(candle: Candle) -> Complaint | None:
    """Demand volumes and a count that are finite and not negative; which one is not is looked for only then."""
    for value in (candle.volume, candle.quote_volume, candle.taker_buy_volume):
        if value is not None and not (value.is_finite() and 0 <= value <= HIGHEST):
            break
    else:
        if candle.trades is None or 0 <= candle.trades <= MOST:
            return None
    names = ("volume", "quote_volume", "trades", "taker_buy_volume")
    return _negative(tuple((name, getattr(candle, name)) for name in names))


def _volumes(candle: Candle) -> Complaint | None:
    """Demand that takers bought no more than was traded, and that the mean price of the trades is near the bar's.

    Trades happen between low and high. The mean price may lie a factor of `MEAN_PRICE_FACTOR` outside, for rounded
    volumes; further off the volume is in contracts instead of base units, or the amounts are mixed up.
    """
    volume, quoted = candle.volume, candle.quote_volume
    if volume is None:
        return None
    if candle.taker_buy_volume is not None and candle.taker_buy_volume > volume:
        return RejectReason.INCONSISTENT, f"taker_buy_volume {candle.taker_buy_volume} is above volume {volume}"
    if not quoted or not volume:
        return None
    if not candle.low * volume <= quoted * MEAN_PRICE_FACTOR or not quoted <= candle.high * volume * MEAN_PRICE_FACTOR:
        return (
            RejectReason.INCONSISTENT,
            f"quote_volume {quoted} is far from the price of the bar times volume {volume}",
        )
    return None


def _rate(name: str, value: Decimal) -> Complaint | None:
    if not value.is_finite():
        return RejectReason.NOT_FINITE, f"{name} is {value}"
    if abs(value) > HIGHEST_RATE:
        return RejectReason.INCONSISTENT, f"{name} is {value}, beyond {HIGHEST_RATE}: a fraction was expected"
    return None


def _reversed(low_name: str, low: Decimal | None, high_name: str, high: Decimal | None) -> Complaint | None:
    if low is not None and high is not None and low > high:
        return RejectReason.INCONSISTENT, f"{low_name} {low} is above {high_name} {high}"
    return None


def _levels(side: str, levels: tuple[tuple[Decimal, Decimal], ...], *, falling: bool) -> Complaint | None:
    before: Decimal | None = None
    for price, size in levels:
        if not (price.is_finite() and size.is_finite()):
            return RejectReason.NOT_FINITE, f"{side} {price} x {size}"
        if price <= 0 or size <= 0:
            return RejectReason.NOT_POSITIVE, f"{side} {price} x {size}"
        if before is not None and (price >= before if falling else price <= before):
            return RejectReason.INCONSISTENT, f"{side}s are not best first: {price} after {before}"
        before = price
    return None


def _off_grid(candle: Candle) -> Complaint | None:
    if (candle.open_time - _origin(candle.interval)) % candle.interval.width:
        return RejectReason.OFF_GRID, f"a {candle.interval} candle cannot open at {candle.open_time.isoformat()}"
    return None


def _origin(interval: Interval) -> datetime:
    return MONDAY if interval is Interval.W1 else EPOCH


def _candle_time(candle: Candle, now: datetime) -> Complaint | None:
    """Demand that a closed candle has ended; our clock may lag by two of its intervals, at most `CLOCK_SKEW`."""
    if candle.open_time < FIRST_MARKET or candle.open_time - now > _EARLY[candle.interval]:
        return RejectReason.IMPLAUSIBLE_TIME, f"open_time {candle.open_time.isoformat()}, now {now.isoformat()}"
    return None


_EARLY = {interval: min(2 * interval.width, CLOCK_SKEW) - interval.width for interval in Interval}


def _observed(record: Record, now: datetime) -> Complaint | None:
    return _moment("observed_at", record.observed_at, now + CLOCK_SKEW)


def _moment(name: str, value: datetime | None, latest: datetime) -> Complaint | None:
    if value is not None and not FIRST_MARKET <= value <= latest:
        return RejectReason.IMPLAUSIBLE_TIME, f"{name} {value.isoformat()}"
    return None
