"""One price out of many: the robust median of an asset's fresh sources, and what an aggregator says about it; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from collector.api.symbols import Coin
from collector.fallback import RANKING
from collector.records import MarketSnapshot

AGGREGATORS = (RANKING, "coincap")  # whose prices are over all venues; best first
RENEWED_WITHIN = timedelta(seconds=90)  # aggregators renew their prices once a minute
OBSERVED_WITHIN = timedelta(minutes=5)  # a price that its provider itself calls older is not fresh
FACTS_WITHIN = timedelta(hours=1)  # caps, ranks and changes older than this are stale
TOLERANCE = Decimal("0.05")  # of the median: sources further off are left out
STABLE = "USDT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One source's price of one coin. `snapshot` is all that an aggregator says; None at venues."""

    source: str
    price: Decimal
    quote: str  # currency of the price
    observed_at: datetime
    received_at: datetime
    change_24h_pct: Decimal | None = None
    snapshot: MarketSnapshot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One source's part in a price."""

    source: str
    price_usd: Decimal
    observed_at: datetime
    fresh: bool
    used: bool  # the price is made of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One asset. `price_usd` is None when nobody gave one."""

    coin: Coin
    parts: Sequence[Part] = ()
    price_usd: Decimal | None = None
    observed_at: datetime | None = None  # of the newest part that the price is made of
    stale: bool = True
    snapshot: MarketSnapshot | None = None  # the newest of an aggregator
    current: bool = False  # the snapshot is young enough
    change_24h_pct: Decimal | None = None  # over all venues, or else at one

    @property
    def givers(self) -> list[str]:
        return [part.source for part in self.parts if part.used]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All rows by symbol, best rank first. `usdt_usd` is the price of one USDT in USD; None when it is not known."""

    rows: Mapping[str, Row]
    usdt_usd: Decimal | None
    followed: frozenset[str] = frozenset()  # asset ids
    reasons: Mapping[str, str] = field(default_factory=dict)  # why providers gave nothing


def weigh(
    coins: Iterable[Coin], offers: Mapping[str, Sequence[Offer]], *, now: datetime, ttl: timedelta
) -> tuple[dict[str, Row], Decimal | None]:
    """Return a row for each coin, and the price of one USDT in USD, from the offers by symbol.

    A price in USDT or USDC is turned into USD by the price of USDT where that is known, and else taken as it is.
    """
    listed = list(coins)
    stable = next((coin for coin in listed if coin.symbol == STABLE), Coin(symbol=STABLE, asset_id=None, name=None))
    in_usd = [offer for offer in offers.get(STABLE, ()) if offer.quote == "USD"]
    rate = _row(stable, in_usd, None, now, ttl).price_usd
    rows = {coin.symbol: _row(coin, offers.get(coin.symbol, ()), rate, now, ttl) for coin in listed}
    return rows, rate


def _row(coin: Coin, offers: Sequence[Offer], rate: Decimal | None, now: datetime, ttl: timedelta) -> Row:
    ordered = sorted(offers, key=lambda offer: (offer.source not in AGGREGATORS, offer.source != RANKING))
    prices = [_in_usd(offer, rate) for offer in ordered]
    fresh = [_is_fresh(offer, now, ttl) for offer in ordered]
    used = _used(ordered, prices, fresh)
    parts = tuple(
        Part(source=offer.source, price_usd=price, observed_at=offer.observed_at, fresh=young, used=place in used)
        for place, (offer, price, young) in enumerate(zip(ordered, prices, fresh, strict=True))
    )
    snapshots = [offer.snapshot for offer in ordered if offer.snapshot is not None]
    snapshot = max(snapshots, key=lambda item: item.observed_at, default=None)
    change = snapshot.change_24h_pct if snapshot else None
    at_venues = (offer.change_24h_pct for offer in ordered if offer.change_24h_pct is not None)
    return Row(
        coin=coin,
        parts=parts,
        price_usd=median(prices[place] for place in used) if used else None,
        observed_at=max((ordered[place].observed_at for place in used), default=None),
        stale=not any(fresh),
        snapshot=snapshot,
        current=snapshot is not None and now - snapshot.observed_at <= FACTS_WITHIN,
        change_24h_pct=next(at_venues, None) if change is None else change,
    )


def _in_usd(offer: Offer, rate: Decimal | None) -> Decimal:
    return offer.price * rate if offer.quote == STABLE and rate is not None else offer.price


def _is_fresh(offer: Offer, now: datetime, ttl: timedelta) -> bool:
    longest = max(ttl, RENEWED_WITHIN) if offer.source in AGGREGATORS else ttl
    return now - offer.received_at <= longest and now - offer.observed_at <= OBSERVED_WITHIN


def _used(offers: Sequence[Offer], prices: Sequence[Decimal], fresh: Sequence[bool]) -> list[int]:
    """Return the places of the offers that the price is made of.

    Of the fresh ones those near their median; when none is, for they contradict each other, the first in the order of
    trust. Without a fresh one the newest.
    """
    places = [place for place, young in enumerate(fresh) if young]
    if not places:
        return [max(range(len(offers)), key=lambda place: offers[place].observed_at)] if offers else []
    middle = median(prices[place] for place in places)
    near = [place for place in places if abs(prices[place] - middle) <= TOLERANCE * middle]
    return near or places[:1]
