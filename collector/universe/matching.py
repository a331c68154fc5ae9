"""Which coin an instrument prices: names say which it could be, prices which it is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from collector.records import Instrument, InstrumentListing, Kind
from collector.universe.assets import UNRANKED, RankedAsset, by_symbol_of, first_of, in_order, names_of

TOLERANCE_PCT = Decimal(3)  # perpetuals stay within 1 % of the index; the rest is the age of an aggregator's price
KEEP_TOLERANCE_PCT = Decimal(20)  # a spike between two fetches must not end a series
DOLLARS = frozenset({"USD", "USDT", "USDC", "USD_UM"})  # quotes taken as one US dollar
CRYPTO = frozenset({"crypto", "coin", ""})  # "" is a venue that does not say

# Venues trade very cheap coins by the thousand or million: 1000PEPE, 1000000MOG, 1MBABYDOGE, kPEPE.
MULTIPLIERS: Mapping[str, Decimal] = {
    "1000": Decimal(1000),
    "10000": Decimal(10_000),
    "100000": Decimal(100_000),
    "1000000": Decimal(1_000_000),
    "1M": Decimal(1_000_000),
    "K": Decimal(1000),
}

# A venue's code -> symbols the same coin goes by elsewhere. Looked at only when no coin of the code's own name fits,
# because old and new coin often exist side by side at one price. Candidates like all others: the price decides.
RENAMED: Mapping[str, tuple[str, ...]] = {
    "BEAMX": ("BEAM",),
    "BTTC": ("BTT",),
    "DODOX": ("DODO",),
    "EOS": ("A",),
    "FTM": ("S",),
    "KLAY": ("KAIA",),
    "LUNA2": ("LUNA",),
    "MATIC": ("POL",),
    "MIOTA": ("IOTA",),
    "NANO": ("XNO",),
    "RAYSOL": ("RAY",),
    "RNDR": ("RENDER",),
    "RONIN": ("RON",),
    "TONCOIN": ("TON",),
    "WAX": ("WAXP",),
    "XBT": ("BTC",),
    "XDG": ("DOGE",),
}


class MatchState(StrEnum):
    """Whether it is known which coin an instrument prices."""

    MATCHED = "matched"
    UNMATCHED = "unmatched"  # no coin fits, or a price is missing
    AMBIGUOUS = "ambiguous"  # several coins fit
    EXCLUDED = "excluded"  # not a coin (a stock, a commodity, an index), or a dated contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The verdict on one instrument. `asset_id` and `asset_units` are None unless it is matched."""

    instrument: Instrument
    tradable: bool
    state: MatchState
    detail: str  # one line
    asset_id: str | None = None
    asset_units: Decimal | None = None  # coins in one base unit: 1000 for 1000PEPE


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMatch:
    """What an instrument was matched to before."""

    asset_id: str
    asset_units: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """One verdict per instrument, in the order of their canonical ids."""

    items: tuple[Match, ...] = ()

    def of(self, state: MatchState) -> tuple[Match, ...]:
        """Return the verdicts of one state."""
        return tuple(match for match in self.items if match.state is state)

    def known(self) -> dict[str, KnownMatch]:
        """Return what is matched, by instrument id, as `match_instruments` takes it next time."""
        return {
            match.instrument.id: KnownMatch(asset_id=match.asset_id, asset_units=match.asset_units)
            for match in self.items
            if match.asset_id is not None and match.asset_units is not None
        }


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A coin that an instrument could be about, and how far the prices are apart."""

    asset: RankedAsset
    units: Decimal
    gap_pct: Decimal | None  # None when the coin has no price


def match_instruments(
    listings: Iterable[InstrumentListing],
    assets: Iterable[RankedAsset],
    prices: Mapping[str, Decimal],
    *,
    known: Mapping[str, KnownMatch] | None = None,
    tolerance_pct: Decimal = TOLERANCE_PCT,
    keep_tolerance_pct: Decimal = KEEP_TOLERANCE_PCT,
) -> Matches:
    """Say for each listed instrument which coin it prices, as far as that can be known.

    `prices` are by instrument id, in the quote for one base unit. A coin is a candidate when its symbol is the base
    code, with or without a multiplier in front; it fits when the prices agree within `tolerance_pct` of the coin's.
    One fitting coin is a match. Among several, a ranked one wins over unranked ones (wrapped and bridged copies carry
    the symbol and the price of the original, and are not ranked); two ranked ones are ambiguous, and so is a fitting
    coin beside a better-ranked one whose price is unknown.

    An instrument of `known` keeps its coin until the prices are `keep_tolerance_pct` apart, then it is unmatched until
    it is judged anew; a missing price is no evidence against it.
    """
    ordered = in_order(assets)
    by_id, by_symbol = {asset.asset_id: asset for asset in ordered}, by_symbol_of(ordered)
    before = known or {}
    items: list[Match] = []
    for listing in each_once(listings):
        price = prices.get(listing.instrument.id)
        price = price if price is not None and price > 0 else None
        verdict = _impossible(listing)
        if verdict is None and (old := before.get(listing.instrument.id)) is not None:
            verdict = _keep(listing, old, by_id.get(old.asset_id), price, keep_tolerance_pct)
        items.append(verdict or _judge(listing, price, by_symbol, tolerance_pct))
    return Matches(items=tuple(items))


def each_once(listings: Iterable[InstrumentListing]) -> list[InstrumentListing]:
    """Return one listing per canonical id, in the order of ids; the one that trades counts."""

    def order(item: InstrumentListing) -> tuple[str, bool, str, str]:
        return item.instrument.id, not item.tradable, item.instrument.venue_symbol, item.category

    unique: dict[str, InstrumentListing] = {}
    for listing in sorted(listings, key=order):
        unique.setdefault(listing.instrument.id, listing)
    return list(unique.values())


def _verdict(listing: InstrumentListing, state: MatchState, detail: str) -> Match:
    return Match(instrument=listing.instrument, tradable=listing.tradable, state=state, detail=detail)


def _matched(listing: InstrumentListing, asset_id: str, units: Decimal, detail: str) -> Match:
    return Match(
        instrument=listing.instrument,
        tradable=listing.tradable,
        state=MatchState.MATCHED,
        detail=detail,
        asset_id=asset_id,
        asset_units=units,
    )


def _impossible(listing: InstrumentListing) -> Match | None:
    """Return the verdict on what no price can decide: not a coin, a dated contract, or not quoted in dollars."""
    if listing.category.lower() not in CRYPTO:
        return _verdict(listing, MatchState.EXCLUDED, f"not a coin: category {listing.category}")
    if listing.instrument.kind is Kind.FUTURE:  # its price holds a premium that is no price of the coin
        return _verdict(listing, MatchState.EXCLUDED, "a dated contract, not followed")
    if listing.instrument.quote not in DOLLARS:
        return _verdict(listing, MatchState.UNMATCHED, f"quoted in {listing.instrument.quote}, not in a dollar")
    return None


def _gap_pct(price: Decimal, units: Decimal, asset: RankedAsset) -> Decimal | None:
    """Return how far the price of one coin is from the asset's, in percent of the latter; None without a price."""
    if asset.price_usd is None or asset.price_usd <= 0:
        return None
    expected = asset.price_usd * units
    return abs(price - expected) / expected * 100


def _keep(
    listing: InstrumentListing,
    old: KnownMatch,
    asset: RankedAsset | None,
    price: Decimal | None,
    tolerance_pct: Decimal,
) -> Match:
    if asset is None:
        return _verdict(listing, MatchState.UNMATCHED, f"was {old.asset_id}, which is not listed any more")
    gap = None if price is None else _gap_pct(price, old.asset_units, asset)
    if gap is None:
        return _matched(listing, old.asset_id, old.asset_units, f"{old.asset_id} as before; a price is missing now")
    if gap > tolerance_pct:
        detail = f"was {old.asset_id}, whose price is now {gap:.2f} % away"
        return _verdict(listing, MatchState.UNMATCHED, detail)
    return _matched(listing, old.asset_id, old.asset_units, _fit_text(asset, old.asset_units, gap))


def _fit_text(asset: RankedAsset, units: Decimal, gap_pct: Decimal) -> str:
    times = "" if units == 1 else f"{units} x "
    return f"{times}{asset.asset_id}, prices {gap_pct:.2f} % apart"


def _judge(
    listing: InstrumentListing,
    price: Decimal | None,
    by_symbol: Mapping[str, Sequence[RankedAsset]],
    tolerance_pct: Decimal,
) -> Match:
    base = listing.instrument.base.upper()
    own = list(_candidates((base,), by_symbol, price))
    renamed = list(_candidates(_renamed(base), by_symbol, price))
    if not own and not renamed:
        return _verdict(listing, MatchState.UNMATCHED, f"no coin has the symbol {base}")
    if price is None:
        names = names_of([candidate.asset for candidate in own or renamed])
        return _verdict(listing, MatchState.UNMATCHED, f"no price yet to compare with {names}")
    for candidates in (own, renamed):
        verdict = _pick(listing, candidates, tolerance_pct)
        if verdict is not None:
            return verdict
    return _verdict(listing, MatchState.UNMATCHED, f"the price {price:f} fits none of {_offers(own or renamed)}")


def _renamed(base: str) -> tuple[str, ...]:
    """Return the other names of a code, with the multiplier it had in front."""
    prefixes = ("", *(prefix for prefix in MULTIPLIERS if base.startswith(prefix)))
    return tuple(prefix + name for prefix in prefixes for name in RENAMED.get(base.removeprefix(prefix), ()))


def _candidates(
    codes: Iterable[str], by_symbol: Mapping[str, Sequence[RankedAsset]], price: Decimal | None
) -> Iterator[_Candidate]:
    """Yield the coins that a code can stand for; the bare code counts too, as in 1INCH."""
    for code in codes:
        readings = [(code, Decimal(1))]
        readings += [
            (code.removeprefix(prefix), units) for prefix, units in MULTIPLIERS.items() if code.startswith(prefix)
        ]
        for symbol, units in readings:
            for asset in by_symbol.get(symbol, ()) if symbol else ():
                yield _Candidate(asset, units, None if price is None else _gap_pct(price, units, asset))


def _pick(listing: InstrumentListing, candidates: Sequence[_Candidate], tolerance_pct: Decimal) -> Match | None:
    """Return the match, or that there are several; None when no candidate fits."""
    fits = [item for item in candidates if item.gap_pct is not None and item.gap_pct <= tolerance_pct]
    if not fits:
        return None
    best = sorted([item for item in fits if item.asset.rank is not None] or fits, key=_candidate_order)
    # A coin without a price cannot be ruled out, which counts when it is the better known one.
    unclear = [item for item in candidates if item.gap_pct is None and item.asset.rank is not None]
    rivals = best + [item for item in unclear if _candidate_order(item) < _candidate_order(best[0])]
    if len(rivals) > 1:
        names = names_of([item.asset for item in sorted(rivals, key=_candidate_order)])
        return _verdict(listing, MatchState.AMBIGUOUS, f"could be {names}: their prices do not tell them apart")
    asset, units = best[0].asset, best[0].units
    return _matched(listing, asset.asset_id, units, _fit_text(asset, units, best[0].gap_pct or Decimal(0)))


def _candidate_order(item: _Candidate) -> tuple[int, str, Decimal]:
    return UNRANKED if item.asset.rank is None else item.asset.rank, item.asset.asset_id, item.units


def _offers(candidates: Sequence[_Candidate]) -> str:
    return first_of(
        [
            f"{item.asset.asset_id} ({'no price' if item.gap_pct is None else f'{item.gap_pct:.2f} % away'})"
            for item in sorted(candidates, key=_candidate_order)
        ]
    )
