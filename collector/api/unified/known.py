"""What the unified endpoints can be asked about: assets, and the markets in which each has a price."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from collector.api.fallback import Stored, Upstream
from collector.api.parts import Parts
from collector.api.symbols import WELL_KNOWN, Coin, Symbols
from collector.errors import RequestRejected
from collector.fallback import DOLLARS, RANKING
from collector.records import Dataset, Instrument, InstrumentListing, Job, Kind
from collector.storage.quotes import Market, Quotes

AGE_S = 60.0  # the universe changes once a day
AGE_AWAY_S = 5.0  # the same when the database did not answer
LISTING_S = 3_600.0  # for how long a venue's own listing stands in where none is stored
QUOTES = ("USDT", "USD", "USDC")  # best first: what is not traded against USDT is at least traded against a dollar


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A market of one asset. Its prices are of `units` coins."""

    number: int | None  # of its stored rows; None when it is not stored
    instrument: Instrument
    units: Decimal
    followed: bool
    listed_at: datetime | None = None  # when trading began; None when it is not known


class Known:
    """What is known at one moment."""

    def __init__(self, symbols: Symbols, markets: Iterable[Market], followed: Iterable[str]) -> None:
        self.symbols = symbols
        self.followed = frozenset(followed)  # asset ids
        self.venues: set[str] = set()  # whose listing is stored
        self._by_asset: defaultdict[tuple[str, str], list[Market]] = defaultdict(list)
        self._unmatched: defaultdict[tuple[str, str], list[Market]] = defaultdict(list)
        for market in markets:
            venue = market.instrument.venue
            self.venues.add(venue)
            if market.matched and market.asset_id is not None:
                self._by_asset[venue, market.asset_id].append(market)
            else:
                self._unmatched[venue, market.instrument.base].append(market)

    def series(self, coin: Coin, venue: str) -> list[Series]:
        """Return the markets of an asset at a venue, best first.

        Symbols are shared by many coins: a market that is not matched yet counts only for an asset everybody knows.
        """
        found = self._by_asset.get((venue, coin.asset_id or ""), [])
        if not found and coin.symbol in WELL_KNOWN:
            found = self._unmatched.get((venue, coin.symbol), [])
        return [
            Series(
                number=item.number,
                instrument=item.instrument,
                units=item.asset_units,
                followed=item.followed,
                listed_at=item.listed_at,
            )
            for item in sorted(found, key=lambda item: _preference(item.instrument, item.asset_units, item.followed))
        ]

    def has_none(self, coin: Coin, venue: str) -> bool:
        """Return whether the stored listing of a venue is without any market that may be of an asset."""
        may_be = (venue, coin.asset_id or "") in self._by_asset or (venue, coin.symbol) in self._unmatched
        return venue in self.venues and not may_be


class Universe:
    """Keeps what is known, read once a minute; a database that is away leaves what was known before."""

    def __init__(self, parts: Parts, stored: Stored, upstream: Upstream) -> None:
        self._parts, self._stored, self._upstream = parts, stored, upstream
        self._lock = threading.Lock()
        self._known: Known | None = None
        self._until = float("-inf")
        self._listings: dict[str, tuple[float, Mapping[str, list[Series]]]] = {}

    def at_hand(self) -> Known | None:
        """Return what is known if it is young enough; never blocks."""
        return self._known if self._parts.clock.monotonic() < self._until else None

    def load(self) -> Known:
        """Return what is known, read anew when it is too old."""
        known = self.at_hand()
        if known is not None:
            return known
        with self._lock:
            known = self.at_hand()
            if known is not None:
                return known
            read = self._stored.read_or(None, self._read)
            if read is not None or self._known is None:
                self._known = read or Known(Symbols(self._parts.settings.symbols), (), ())
            self._until = self._parts.clock.monotonic() + (AGE_S if read is not None else AGE_AWAY_S)
            return self._known

    def _read(self, quotes: Quotes) -> Known:
        assets = quotes.followed_assets(RANKING)
        coins = [Coin(symbol=row.symbol, asset_id=row.asset_id, name=row.name, rank=row.rank) for row in assets]
        markets = quotes.markets(self._parts.venues, QUOTES)
        return Known(Symbols(self._parts.settings.symbols, coins), markets, (row.asset_id for row in assets))

    def series(self, coin: Coin, venue: str, within: timedelta) -> list[Series]:
        """Return the markets of an asset at a venue, best first; asks the venue where its listing is not stored.

        Raises VenueError or PayloadError when it must be asked and does not answer.
        """
        known = self.load()
        if venue in known.venues:
            return known.series(coin, venue)
        return list(self._listing(venue, within).get(coin.symbol, ()))

    def _listing(self, venue: str, within: timedelta) -> Mapping[str, list[Series]]:
        now = self._parts.clock.monotonic()
        read_at, found = self._listings.get(venue, (float("-inf"), {}))
        if now - read_at >= LISTING_S:
            records = self._upstream.ask(Job(source=venue, dataset=Dataset.INSTRUMENTS), within)
            found = _by_base(item for item in records if isinstance(item, InstrumentListing))
            self._listings[venue] = (now, found)
        return found

    def nowhere(self, coin: Coin) -> bool:
        """Return whether the listing of every venue is known, and none has a market of an asset; asks nobody."""
        known, now = self.load(), self._parts.clock.monotonic()
        venues = order_of(self._parts.venues, self._upstream.sources()) or self._parts.venues
        for venue in venues:
            read_at, listing = self._listings.get(venue, (float("-inf"), {}))
            # A listing that is not stored is searched for assets everybody knows only.
            unlisted = now - read_at < LISTING_S and coin.symbol in WELL_KNOWN and coin.symbol not in listing
            if not (known.has_none(coin, venue) if venue in known.venues else unlisted):
                return False
        return bool(venues)

    def best(self, coin: Coin, venue: str, within: timedelta) -> Series:
        """Return the best market of an asset at a venue; raises RequestRejected when it has none."""
        found = self.series(coin, venue, within)
        if not found:
            raise RequestRejected(f"lists no {coin.symbol} against {', '.join(DOLLARS)}", source=venue)
        return found[0]


def _by_base(listings: Iterable[InstrumentListing]) -> dict[str, list[Series]]:
    found: defaultdict[str, list[Series]] = defaultdict(list)
    for row in listings:
        item = row.instrument
        if row.tradable and item.kind in (Kind.PERP, Kind.SPOT) and item.quote in QUOTES and item.base in WELL_KNOWN:
            found[item.base].append(Series(number=None, instrument=item, units=Decimal(1), followed=False))
    for series in found.values():
        series.sort(key=lambda one: _preference(one.instrument, one.units, one.followed))
    return dict(found)


def _preference(instrument: Instrument, units: Decimal, followed: bool) -> tuple[int, bool, bool, bool, str]:
    """Return what markets are ordered by: the quote, coins in units of one, followed, perpetuals, the name."""
    kind = instrument.kind is not Kind.PERP
    return QUOTES.index(instrument.quote), units != 1, not followed, kind, instrument.id


def order_of(venues: Sequence[str], enabled: Sequence[str]) -> list[str]:
    """Return the venues that may be asked, best first."""
    return [venue for venue in venues if venue in enabled]
