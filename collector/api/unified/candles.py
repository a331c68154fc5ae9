"""GET /api/ohlcv: closed bars of one asset, from the database while it is whole and young, else from a venue.

Only closed bars are given, from wherever they come: the last one never changes, and indicators computed on them do not
either. What happens in the running bar is in /api/prices.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import orjson

from collector.api.cache import Body
from collector.api.errors import ApiError, Code
from collector.api.fallback import Budget, Stored, Upstream, joined, public_name
from collector.api.parts import Parts
from collector.api.symbols import Coin, pair
from collector.api.unified.known import Known, Series, Universe, order_of
from collector.clock import floor_time, from_millis, iso, last_closed_open, to_millis
from collector.errors import VenueError
from collector.records import Candle, Dataset, Interval, Job
from collector.storage.quotes import Bar, Quotes

SETTLE_S = 3.0  # after its end a bar is not asked for at once: venues need a moment to finish it
# Stored smaller bars that add up to larger ones; never the other way round.
MADE_OF: Mapping[Interval, Interval] = {
    Interval.M5: Interval.M1,
    Interval.M15: Interval.M1,
    Interval.H4: Interval.H1,
    Interval.W1: Interval.D1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asked for, at one moment."""

    coin: Coin
    interval: Interval
    limit: int
    until: datetime  # the running bar opens here
    good_from: datetime  # a series that ends with a bar opened here or later is young enough

    @property
    def since(self) -> datetime:
        return self.until - self.limit * self.interval.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Bars of one series, oldest first, prices and volumes of one coin; never empty."""

    series: Series
    bars: Sequence[Bar]
    stored: bool

    @property
    def newest(self) -> datetime:
        return from_millis(self.bars[-1][0])


class Candles:
    """Finds the bars of an answer."""

    def __init__(self, parts: Parts, stored: Stored, upstream: Upstream, universe: Universe) -> None:
        self._parts, self._stored, self._upstream, self._universe = parts, stored, upstream, universe

    def ttl_s(self, interval: Interval) -> float:
        """Return for how long an answer that is made now stays fresh: until the next bar is there, or the setting."""
        now = self._parts.clock.now()
        next_bar = floor_time(now, interval) + interval.width - now
        return min(self._parts.settings.ttl_ohlcv.total_seconds(), next_bar.total_seconds() + SETTLE_S)

    def body(self, coin: Coin, interval: Interval, limit: int, budget: Budget) -> Body:
        """Return the answer.

        Raises ApiError when there is no bar: NOT_FOUND where no venue lists the asset, else PROVIDER_ERROR.
        """
        now = self._parts.clock.now()
        good_from = last_closed_open(now - self._late(interval), interval)
        asked = Request(coin=coin, interval=interval, limit=limit, until=floor_time(now, interval), good_from=good_from)
        known = self._universe.load()
        held = self._held(asked, known)
        if held and _whole(held[0], asked):
            return self._encoded(held[0], asked, stale=False)
        reasons: dict[str, str] = {}
        venues = order_of(self._parts.venues, self._upstream.sources())
        asks = [(venue, partial(self._ask, asked, venue)) for venue in venues]
        live = self._upstream.in_turn(asks, budget, reasons)
        if live is not None:
            return self._encoded(_joined(live, held, asked), asked, stale=live.newest < asked.good_from)
        best = max(held or self._ever(asked, known), key=lambda item: (item.newest, len(item.bars)), default=None)
        if best is None and self._universe.nowhere(coin):
            raise ApiError(Code.NOT_FOUND, f"No venue has a market of {coin.symbol}", details=reasons)
        if best is None:
            raise self._upstream.error(f"{interval} candles of {coin.symbol}", reasons)
        # What was cut short by an outage must not stand for as long as what is all there is.
        short = bool(reasons) and not _whole(best, asked)
        return self._encoded(best, asked, stale=short or best.newest < asked.good_from)

    def _late(self, interval: Interval) -> timedelta:
        """Return how late the newest bar may be: the setting, of shorter intervals the one bar the collector needs."""
        return min(self._parts.settings.ttl_ohlcv, interval.width + timedelta(seconds=SETTLE_S))

    # ------------------------------------------------------------------ the database

    def _held(self, asked: Request, known: Known) -> list[Found]:
        """Return what is stored of the asked window, by venue; when one series is whole, that alone."""
        held: list[Found] = []
        for series in self._stored_series(asked.coin, known):
            found = self._read(series, partial(_window_of, series=series, asked=asked))
            if found is not None and _whole(found, asked):
                return [found]
            held += [found] if found else []
        return held

    def _ever(self, asked: Request, known: Known) -> list[Found]:
        """Return the newest stored bars of any age, by venue."""
        every = self._stored_series(asked.coin, known)
        found = [self._read(series, partial(_newest_of, series=series, asked=asked)) for series in every]
        return [item for item in found if item is not None]

    def _read(self, series: Series, query: Callable[[Quotes], list[Bar]]) -> Found | None:
        none: list[Bar] = []
        bars = self._stored.read_or(none, query)
        return Found(series=series, bars=_per_coin(bars, series.units), stored=True) if bars else None

    def _stored_series(self, coin: Coin, known: Known) -> list[Series]:
        every = [series for venue in self._parts.venues for series in known.series(coin, venue)]
        return [series for series in every if series.followed and series.number is not None]

    # ------------------------------------------------------------------ providers

    def _ask(self, asked: Request, venue: str, within: timedelta) -> Found:
        budget = Budget(self._parts.clock, within.total_seconds())
        series = self._universe.best(asked.coin, venue, within)
        job = Job(
            source=venue,
            dataset=Dataset.CANDLES,
            instruments=(series.instrument,),
            interval=asked.interval,
            since=asked.since,
            until=asked.until,
        )
        records = self._upstream.ask(job, budget.share(1))
        bars = {to_millis(item.open_time): _bar(item) for item in records if isinstance(item, Candle)}
        if not bars:
            raise VenueError(f"gave no closed {asked.interval} candle of {series.instrument.symbol}", source=venue)
        return Found(series=series, bars=_per_coin([bars[at] for at in sorted(bars)], series.units), stored=False)

    # ------------------------------------------------------------------ the answer

    def _encoded(self, found: Found, asked: Request, *, stale: bool) -> Body:
        bars, source = found.bars[-asked.limit :], joined(_givers(found.bars[-asked.limit :]))
        as_of = found.newest + asked.interval.width
        content = {
            "success": True,
            "data": [
                {"timestamp": at, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
                for at, open_, high, low, close, volume, _ in bars
            ],
            "symbol": pair(asked.coin),
            "interval": str(asked.interval),
            "count": len(bars),
            "source": source,
            "timestamp": iso(self._parts.clock.now()),
            "stale": stale,
            "asOf": iso(as_of),
            "detail": {
                "instrument": found.series.instrument.id,
                "quote": found.series.instrument.quote,
                "from": "database" if found.stored else "provider",
            },
        }
        # What a venue has is as new as it gets: asking it again at once would change nothing.
        return Body(orjson.dumps(content), source=source, as_of=as_of, stale=stale and found.stored)


def _window_of(quotes: Quotes, series: Series, asked: Request) -> list[Bar]:
    """Return the stored bars of the asked window; made of smaller ones where they are not stored themselves."""
    number = series.number or 0
    since = asked.good_from - (asked.limit - 1) * asked.interval.width
    bars = quotes.bars(number, asked.interval, asked.until, asked.limit, since)
    smaller = MADE_OF.get(asked.interval)
    if bars or smaller is None:
        return bars
    return quotes.derived_bars(number, asked.interval, smaller, asked.until, asked.limit, since)


def _newest_of(quotes: Quotes, series: Series, asked: Request) -> list[Bar]:
    """Return the newest stored bars, however old they are."""
    return quotes.bars(series.number or 0, asked.interval, asked.until, asked.limit, None)


def _whole(found: Found, asked: Request) -> bool:
    """Return whether bars are as many as asked for or as there ever were, without a hole, and young enough."""
    width_ms = asked.interval.width // timedelta(milliseconds=1)
    span_ms = found.bars[-1][0] - found.bars[0][0]
    every = len(found.bars) == asked.limit or _from_the_start(found, asked.interval)
    return every and span_ms == (len(found.bars) - 1) * width_ms and found.newest >= asked.good_from


def _from_the_start(found: Found, interval: Interval) -> bool:
    """Return whether bars begin with the first whole one of a market whose first day of trading is known."""
    if found.series.listed_at is None:
        return False
    began = floor_time(found.series.listed_at, interval)  # the first bar may lack its beginning, and be left out
    return began <= from_millis(found.bars[0][0]) <= began + interval.width


def _joined(live: Found, held: Sequence[Found], asked: Request) -> Found:
    """Return what a venue gave with the bars that are stored of the same instrument beside it."""
    same = next((item for item in held if item.series.instrument.id == live.series.instrument.id), None)
    if same is None:
        return live
    bars = {bar[0]: bar for bar in (*same.bars, *live.bars)}
    first_ms = to_millis(asked.since)
    return Found(series=live.series, bars=[bars[at] for at in sorted(bars) if at >= first_ms], stored=False)


def _givers(bars: Sequence[Bar]) -> list[str]:
    """Return the public names of who gave the bars."""
    return [public_name(name) for source in {bar[6] for bar in bars} for name in source.split("+")]


def _bar(item: Candle) -> Bar:
    volume = None if item.volume is None else float(item.volume)
    prices = (float(item.open), float(item.high), float(item.low), float(item.close))
    return (to_millis(item.open_time), *prices, volume, item.source)


def _per_coin(bars: Sequence[Bar], units: Decimal) -> Sequence[Bar]:
    """Return bars of one coin: a market of 1000 coins a unit prices a thousand of them."""
    if units == 1:
        return bars
    size = float(units)
    return [
        (at, open_ / size, high / size, low / size, close / size, None if volume is None else volume * size, source)
        for at, open_, high, low, close, volume, source in bars
    ]
