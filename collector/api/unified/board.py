"""One table of all supported assets with their newest prices, shared by prices, sentiment and the overview.

It is read from the database and, where that is too old, from the providers; once for any number of askers.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial

from collector.api.fallback import Budget, Stored, Upstream
from collector.api.parts import Parts
from collector.api.symbols import WELL_KNOWN, Coin
from collector.api.unified.known import Known, Series, Universe, order_of
from collector.api.unified.pricing import AGGREGATORS, STABLE, Offer, Table, weigh
from collector.errors import VenueError
from collector.fallback import RANKING, KnownAsset, in_our_ids
from collector.records import Batch, Dataset, Job, MarketSnapshot, Record, Ticker
from collector.storage.quotes import Quotes

ASKED_ASSETS = 250  # one page of a ranking
ASKED_EVERY_S = 60.0  # aggregators renew their prices once a minute, and count calls by the month
LOOK_BACK = timedelta(days=7)  # older prices are not worth showing
FIRST_S = 1.5  # for the aggregators and the best venue, side by side; what is left is for the other venues
FAILED_S = 5.0  # for which a table without any fresh price is kept
AHEAD = 0.3  # of the time of a table that is left when the next one is begun
ENOUGH = 0.5  # share of assets with a fresh price below which further venues are asked

Offers = dict[tuple[str, str], Offer]
"""By symbol and source."""


class Board:
    """Makes the table, at most one at a time, and keeps it for as long as prices are fresh."""

    def __init__(self, parts: Parts, stored: Stored, upstream: Upstream, universe: Universe) -> None:
        self._parts, self._stored, self._upstream, self._universe = parts, stored, upstream, universe
        self._ttl = parts.settings.ttl_prices
        self._lock = threading.Lock()
        self._table: Table | None = None
        self._life_s = 0.0
        self._until = float("-inf")
        self._clears = 0
        self._anew = False  # ask providers, however young what is known may be
        self._heard: Offers = {}  # what providers said last
        self._asked_at: dict[str, float] = {}  # aggregators that answered

    def table(self, budget: Budget) -> Table:
        """Return the table, made anew when it is too old; what could not be had anew is marked stale in it.

        While another asker makes it for longer than the budget allows, the one before, or one without rows.
        """
        if self._table is not None and self.left_s() > 0:
            return self._table
        if not self._lock.acquire(timeout=budget.left_s):
            return self._table or Table(rows={}, usdt_usd=None, reasons={"prices": "another request still asks"})
        try:
            if self._table is None or self.left_s() <= 0:
                self._renew(budget)
            return self._table or Table(rows={}, usdt_usd=None)
        finally:
            self._lock.release()

    def ahead(self) -> None:
        """Begin to make the next table when the present one is about to end, so that no asker waits for providers."""
        if 0 < self.left_s() < self._life_s * AHEAD and self._lock.acquire(blocking=False):
            self._upstream.later(self._renew_ahead)

    def _renew_ahead(self) -> None:
        try:
            self._renew(Budget(self._parts.clock))
        finally:
            self._lock.release()

    def _renew(self, budget: Budget) -> None:
        clears = self._clears
        table = self._make(budget)
        fresh = any(not row.stale for row in table.rows.values())
        self._table = table
        self._life_s = self._ttl.total_seconds() if fresh else FAILED_S
        if clears == self._clears:
            self._until = self._parts.clock.monotonic() + self._life_s

    def left_s(self) -> float:
        """Return for how many seconds the table stays as it is; 0 when the next asker makes another."""
        return max(0.0, self._until - self._parts.clock.monotonic())

    def clear(self) -> None:
        """Let the next table be made of new answers; what providers said last stays to stand in. Never blocks."""
        self._clears += 1
        self._until = float("-inf")
        self._anew = True

    def _make(self, budget: Budget) -> Table:
        known = self._universe.load()
        coins = known.symbols.all()
        if all(coin.symbol != STABLE for coin in coins):
            coins.append(Coin(symbol=STABLE, asset_id=WELL_KNOWN[STABLE][0], name=WELL_KNOWN[STABLE][1]))
        stored = self._read(coins, known)
        table = self._weigh(coins, known, stored, {})
        if not self._anew and all(not row.stale for row in table.rows.values()):
            return table
        self._anew = False
        reasons: dict[str, str] = {}
        self._ask(coins, budget, reasons)
        table = self._weigh(coins, known, stored, reasons)
        others = self._venues()[1:]
        while others and sum(not row.stale for row in table.rows.values()) < ENOUGH * len(coins):
            venue, share = others.pop(0), budget.share(len(others) + 1)
            self._keep(self._upstream.together({venue: partial(self._ask_venue, coins, venue)}, share, reasons))
            table = self._weigh(coins, known, stored, reasons)
        return table

    def _weigh(self, coins: Sequence[Coin], known: Known, stored: Offers, reasons: Mapping[str, str]) -> Table:
        """Return the table of what is stored and what was heard, of each source what is newer."""
        newest = dict(stored)
        for key, offer in self._heard.items():
            if key not in newest or newest[key].received_at < offer.received_at:
                newest[key] = offer
        offers: defaultdict[str, list[Offer]] = defaultdict(list)
        for (symbol, _), offer in newest.items():
            offers[symbol].append(offer)
        rows, rate = weigh(coins, offers, now=self._parts.clock.now(), ttl=self._ttl)
        return Table(rows=rows, usdt_usd=rate, followed=known.followed, reasons=reasons)

    # ------------------------------------------------------------------ the database

    def _read(self, coins: Sequence[Coin], known: Known) -> Offers:
        since = self._parts.clock.now() - LOOK_BACK
        symbols = {coin.asset_id: coin.symbol for coin in coins if coin.asset_id is not None}
        markets: dict[int, tuple[str, Series]] = {}
        for coin in coins:
            for venue in self._parts.venues:
                found = [item for item in known.series(coin, venue) if item.followed and item.number is not None]
                markets |= {item.number: (coin.symbol, item) for item in found[:1] if item.number is not None}

        def read(quotes: Quotes) -> Offers:
            snapshots = quotes.latest_snapshots(list(symbols), AGGREGATORS, since)
            offers = _of_snapshots(snapshots, symbols)
            for row in quotes.venue_quotes(list(markets), since):
                symbol, series = markets[row.number]
                offers[symbol, series.instrument.venue] = Offer(
                    source=series.instrument.venue,
                    price=row.price / series.units,
                    quote=series.instrument.quote,
                    observed_at=row.observed_at,
                    received_at=row.received_at,
                    change_24h_pct=row.change_24h_pct,
                )
            return offers

        nothing: Offers = {}
        return self._stored.read_or(nothing, read)

    # ------------------------------------------------------------------ providers

    def _venues(self) -> list[str]:
        """Return the venues that may be asked, best first, those that are away last."""
        venues = order_of(self._parts.venues, self._upstream.sources())
        return sorted(venues, key=lambda venue: not self._upstream.is_up(venue))

    def _ask(self, coins: Sequence[Coin], budget: Budget, reasons: dict[str, str]) -> None:
        """Ask aggregators, where it is time again, and the best venue, side by side."""
        now = self._parts.clock.monotonic()
        enabled = self._upstream.sources()
        due = [name for name in AGGREGATORS if now - self._asked_at.get(name, float("-inf")) >= ASKED_EVERY_S]
        asks = {name: partial(self._ask_aggregator, coins, name) for name in due if name in enabled}
        asks |= {venue: partial(self._ask_venue, coins, venue) for venue in self._venues()[:1]}
        within = timedelta(seconds=min(FIRST_S, budget.left_s))
        found = self._upstream.together(asks, within, reasons)
        self._asked_at |= {name: now for name in found if name in AGGREGATORS}
        self._keep(found)

    def _keep(self, found: Mapping[str, Offers]) -> None:
        for offers in found.values():
            self._heard |= offers

    def _ask_aggregator(self, coins: Sequence[Coin], name: str, within: timedelta) -> Offers:
        job = Job(source=name, dataset=Dataset.MARKETS, limit=ASKED_ASSETS)
        records: Iterable[Record] = self._upstream.ask(job, within)
        if name != RANKING:
            records = in_our_ids(Batch(job=job, records=tuple(records)), {}, self._our_assets(coins)).records
        symbols = {coin.asset_id: coin.symbol for coin in coins if coin.asset_id is not None}
        return _of_snapshots((row for row in records if isinstance(row, MarketSnapshot)), symbols)

    def _our_assets(self, coins: Sequence[Coin]) -> list[KnownAsset]:
        """Return our assets with the last known prices, by which another provider's are recognised."""
        rows = self._table.rows if self._table else {}
        prices = {symbol: row.price_usd for symbol, row in rows.items()}
        return [
            KnownAsset(asset_id=coin.asset_id, symbol=coin.symbol, price_usd=prices.get(coin.symbol))
            for coin in coins
            if coin.asset_id is not None
        ]

    def _ask_venue(self, coins: Sequence[Coin], venue: str, within: timedelta) -> Offers:
        budget = Budget(self._parts.clock, within.total_seconds())
        markets: dict[str, tuple[str, Series]] = {}
        for coin in coins:
            for series in self._universe.series(coin, venue, budget.share(1))[:1]:
                markets[series.instrument.id] = (coin.symbol, series)
        if not markets:
            raise VenueError("lists none of the assets", source=venue)
        instruments = tuple(series.instrument for _, series in markets.values())
        job = Job(source=venue, dataset=Dataset.TICKERS, instruments=instruments)
        offers: Offers = {}
        for row in self._upstream.ask(job, budget.share(1)):
            if isinstance(row, Ticker) and row.instrument.id in markets:
                symbol, series = markets[row.instrument.id]
                offers[symbol, venue] = Offer(
                    source=venue,
                    price=row.last_price / series.units,
                    quote=row.instrument.quote,
                    observed_at=row.observed_at,
                    received_at=row.received_at,
                    change_24h_pct=row.change_24h_pct,
                )
        return offers


def _of_snapshots(snapshots: Iterable[MarketSnapshot], symbols: Mapping[str, str]) -> Offers:
    """Return what an aggregator says, of the assets in `symbols` (asset id -> symbol) that it has a price of."""
    return {
        (symbols[row.asset_id], row.source): Offer(
            source=row.source,
            price=row.price_usd,
            quote="USD",
            observed_at=row.observed_at,
            received_at=row.received_at,
            snapshot=row,
        )
        for row in snapshots
        if row.asset_id in symbols and row.price_usd is not None
    }
