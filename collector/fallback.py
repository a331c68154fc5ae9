"""Fallback: who can stand in for a provider, and what its answer means in terms of ours; pure.

An instrument of another venue stands in for one only if it means the same: the same asset, kind and quote currency,
and as many coins in one unit of the base. A perpetual is no spot pair, and a dollar is no stablecoin. The rows that
come keep the provider that gave them as their source.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from collector.records import Asset, Batch, Candle, Dataset, Instrument, Job, Kind, MarketSnapshot
from collector.sources.base import in_window

RANKING = "coingecko"  # the source whose ids, ranks and prices identify an asset
TICKERS = "tickers"  # in the list of price providers: the venues themselves
DOLLARS = ("USD", "USDT", "USDC")  # best first
PRICE_TOLERANCE = Decimal("0.2")  # of the last known price: days old at worst, and a coin moves


class Listed(Protocol):
    """An instrument as it is stored: matched to an asset, or not."""

    @property
    def instrument(self) -> Instrument: ...

    @property
    def asset_id(self) -> str | None: ...

    @property
    def asset_units(self) -> Decimal | None: ...

    @property
    def match_state(self) -> str | None: ...

    @property
    def tradable(self) -> bool | None: ...

    @property
    def gone_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAsset:
    """One of our assets as another provider's can be recognised by. `price_usd` is the last known one."""

    asset_id: str
    symbol: str
    price_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VenuePrice:
    """The last price of an instrument, in its quote currency."""

    instrument: str  # canonical id
    price: Decimal
    observed_at: datetime


def equivalents(wanted: Instrument, stored: Iterable[Listed], order: Sequence[str]) -> list[Instrument]:
    """Return the instruments of other venues that mean the same as `wanted`, in the order of the venues in `order`.

    A venue that is not in `order` never stands in. Without a match to an asset nothing is known to be the same.
    """
    rows = list(stored)
    own = next((row for row in rows if row.instrument.id == wanted.id), None)
    if own is None or not _matched(own):
        return []
    found = [
        row.instrument
        for row in rows
        if row.instrument.venue != wanted.venue
        and row.instrument.venue in order
        and _matched(row)
        and (row.asset_id, row.asset_units) == (own.asset_id, own.asset_units)
        and (row.instrument.kind, row.instrument.quote) == (wanted.kind, wanted.quote)
        and row.tradable
        and row.gone_at is None
    ]
    return sorted(found, key=lambda item: (order.index(item.venue), item.id))


def _matched(row: Listed) -> bool:
    return row.match_state == "matched" and row.asset_id is not None and row.asset_units is not None


def stand_in(batch: Batch) -> Batch:
    """Return a batch that another venue gave with its candles as those of the instrument they fill.

    Bars outside of what was asked for are left out: those of the venue itself may be stored there.
    """
    wanted = batch.job.stands_for
    if wanted is None:
        return batch
    bars = (item for item in batch.records if isinstance(item, Candle) and in_window(item.open_time, batch.job))
    return replace(batch, records=tuple(replace(bar, instrument=wanted) for bar in bars))


# --------------------------------------------------------------------------- prices


def translated(job: Job) -> bool:
    """Return whether a job's rows got our asset ids by prices known then; its answers alone do not give them again."""
    return job.dataset is Dataset.MARKETS and job.source != RANKING


def in_our_ids(batch: Batch, symbols: Mapping[str, str], ours: Sequence[KnownAsset]) -> Batch:
    """Return a batch of market snapshots with our asset ids; those that are not recognised are left out.

    A provider's symbols are the Assets that come beside its prices, and where there are none `symbols`, by its asset
    ids. The Assets themselves are left out: they are a part of its listing only, and named in its ids.

    An asset with the id and the symbol of ours is ours; else the only one of ours with its symbol whose last known
    price is within a fifth. One without a known price is no candidate: copies (bridged, wrapped) carry the symbol of
    the original and are not ranked. Two that would become the same asset are both left out.
    """
    symbols = {**symbols, **{item.asset_id: item.symbol for item in batch.records if isinstance(item, Asset)}}
    by_id = {item.asset_id: item for item in ours}
    by_symbol: defaultdict[str, list[KnownAsset]] = defaultdict(list)
    for item in ours:
        by_symbol[item.symbol.upper()].append(item)
    named: defaultdict[str, list[MarketSnapshot]] = defaultdict(list)
    for row in batch.records:
        if isinstance(row, MarketSnapshot):
            symbol = symbols.get(row.asset_id, "").upper()
            found = _same_asset(row, by_id.get(row.asset_id), symbol, by_symbol.get(symbol, ()))
            if found is not None:
                named[found].append(row)
    records = [replace(rows[0], asset_id=name) for name, rows in named.items() if len(rows) == 1]
    return replace(batch, records=tuple(records))


def _same_asset(
    row: MarketSnapshot, same_id: KnownAsset | None, symbol: str, same_symbol: Sequence[KnownAsset]
) -> str | None:
    if same_id is not None and same_id.symbol.upper() == symbol:
        return same_id.asset_id
    near = [item.asset_id for item in same_symbol if _near(row.price_usd, item.price_usd)]
    return near[0] if len(near) == 1 else None


def _near(price: Decimal | None, known: Decimal | None) -> bool:
    return price is not None and known is not None and abs(price - known) <= PRICE_TOLERANCE * known


def prices_of_venues(
    prices: Sequence[VenuePrice], stored: Iterable[Listed], wanted: Iterable[str], order: Sequence[str], now: datetime
) -> list[Batch]:
    """Return a batch for each venue with the prices of wanted assets that trade there for dollars, one for each asset.

    Of several instruments of an asset the first venue in `order` counts, there spot before a perpetual, and then the
    quote in the order of `DOLLARS`. Nothing but the price is known: caps, supplies and volumes stay None.
    """
    by_id = {item.instrument: item for item in prices}
    left = set(wanted)
    rows = [row for row in stored if _matched(row) and row.asset_id in left and row.instrument.quote in DOLLARS]
    rows = [row for row in rows if row.instrument.venue in order and row.instrument.id in by_id]
    chosen: defaultdict[str, list[MarketSnapshot]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _preference(row.instrument, order)):
        if row.asset_id in left and row.asset_id is not None and row.asset_units:
            left.discard(row.asset_id)
            found = by_id[row.instrument.id]
            price = found.price / row.asset_units
            chosen[row.instrument.venue].append(
                _bare(row.instrument.venue, row.asset_id, price, found.observed_at, now)
            )
    return [
        Batch(
            job=Job(source=venue, dataset=Dataset.MARKETS, limit=len(items)),
            records=tuple(items),
            started_at=now,
            finished_at=now,
        )
        for venue, items in chosen.items()
    ]


def _preference(instrument: Instrument, order: Sequence[str]) -> tuple[int, bool, int, str]:
    kind = instrument.kind is not Kind.SPOT
    return order.index(instrument.venue), kind, DOLLARS.index(instrument.quote), instrument.id


def _bare(venue: str, asset_id: str, price: Decimal, observed_at: datetime, now: datetime) -> MarketSnapshot:
    return MarketSnapshot(
        source=venue,
        observed_at=observed_at,
        received_at=now,
        asset_id=asset_id,
        price_usd=price,
        market_cap_usd=None,
        fully_diluted_usd=None,
        rank=None,
        volume_24h_usd=None,
        high_24h_usd=None,
        low_24h_usd=None,
        change_1h_pct=None,
        change_24h_pct=None,
        change_7d_pct=None,
        circulating_supply=None,
        total_supply=None,
        max_supply=None,
        ath_usd=None,
        ath_at=None,
        atl_usd=None,
        atl_at=None,
    )
