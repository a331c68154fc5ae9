"""Which assets and instruments are followed today: pure functions from listings, prices and configuration.

Guarantees: the order of the input never matters; an instrument is matched to an asset only when their prices agree, for
ticker symbols are shared by many coins; what cannot be told apart is reported and never guessed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from collector.records import Instrument, InstrumentListing, Kind

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
_NAMED = 3  # how many coins a note names before it only counts the rest
_UNRANKED = 10**9  # sorts after every rank


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedAsset:
    """An asset of the listing with what is known of it now."""

    asset_id: str
    symbol: str
    name: str = ""
    rank: int | None = None  # by market cap, 1 is the largest; None for coins the provider does not rank
    price_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedAsset:
    """An asset that is collected."""

    asset_id: str
    symbol: str  # upper case
    rank: int | None
    reason: str  # top or included


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetChoice:
    """Followed assets, best rank first, unranked ones last; `notes` are lines about words that could not be used."""

    followed: tuple[FollowedAsset, ...] = ()
    notes: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentChoice:
    """Followed instrument ids by venue, best-ranked asset first; `notes` are lines about ids that could not be used."""

    by_venue: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


# --------------------------------------------------------------------------- assets


def choose_assets(
    ranked: Iterable[RankedAsset], top: int, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> AssetChoice:
    """Choose the `top` assets by rank, and the included ones beside them.

    Words of `include` and `exclude` are asset ids, or symbols that one asset alone has in `ranked`; hand in the whole
    listing, or symbols look clearer than they are. Excluded assets take no place and win over included ones.
    """
    assets = _in_order(ranked)
    wanted, include_notes = _resolve("include", include, assets)
    unwanted, exclude_notes = _resolve("exclude", exclude, assets)
    notes = [f"include: {asset_id} is excluded as well and not followed" for asset_id in sorted(wanted & unwanted)]
    allowed = [asset for asset in assets if asset.asset_id not in unwanted]
    best = {asset.asset_id for asset in [asset for asset in allowed if asset.rank is not None][: max(0, top)]}
    followed = tuple(
        FollowedAsset(
            asset_id=asset.asset_id,
            symbol=asset.symbol.upper(),
            rank=asset.rank,
            reason="top" if asset.asset_id in best else "included",
        )
        for asset in allowed
        if asset.asset_id in best or asset.asset_id in wanted
    )
    return AssetChoice(followed=followed, notes=(*include_notes, *exclude_notes, *notes))


def _in_order(assets: Iterable[RankedAsset]) -> list[RankedAsset]:
    """Return each asset once, best rank first; of two rows of one asset the better-ranked, priced one counts."""
    unique: dict[str, RankedAsset] = {}
    for asset in sorted(assets, key=_order):
        unique.setdefault(asset.asset_id, asset)
    return list(unique.values())


def _order(asset: RankedAsset) -> tuple[int, str, bool, Decimal, str, str]:
    rank = _UNRANKED if asset.rank is None else asset.rank
    return rank, asset.asset_id, asset.price_usd is None, asset.price_usd or Decimal(0), asset.symbol, asset.name


def _by_symbol(assets: Iterable[RankedAsset]) -> dict[str, list[RankedAsset]]:
    index: dict[str, list[RankedAsset]] = defaultdict(list)
    for asset in assets:
        index[asset.symbol.upper()].append(asset)
    return dict(index)


def _resolve(option: str, words: Sequence[str], assets: Sequence[RankedAsset]) -> tuple[set[str], list[str]]:
    """Return the asset ids that `words` mean, and a note for each word that means none or several."""
    ids, by_symbol = {asset.asset_id for asset in assets}, _by_symbol(assets)
    found: set[str] = set()
    notes: list[str] = []
    for word in sorted(set(words)):
        sharing = by_symbol.get(word.upper(), [])
        if word in ids:
            found.add(word)
        elif len(sharing) == 1:
            found.add(sharing[0].asset_id)
        elif sharing:
            notes.append(f"{option}: the symbol {word} is shared by {_names(sharing)}; name an asset id")
        else:
            notes.append(f"{option}: {word} is neither an asset id nor a symbol of the listing")
    return found, notes


def _names(assets: Sequence[RankedAsset]) -> str:
    shown = [asset.asset_id if asset.rank is None else f"{asset.asset_id} (rank {asset.rank})" for asset in assets]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return ", ".join(shown[:_NAMED]) + more


# --------------------------------------------------------------------------- matching


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
    ordered = _in_order(assets)
    by_id, by_symbol = {asset.asset_id: asset for asset in ordered}, _by_symbol(ordered)
    before = known or {}
    items: list[Match] = []
    for listing in _each_once(listings):
        price = prices.get(listing.instrument.id)
        price = price if price is not None and price > 0 else None
        verdict = _impossible(listing)
        if verdict is None and (old := before.get(listing.instrument.id)) is not None:
            verdict = _keep(listing, old, by_id.get(old.asset_id), price, keep_tolerance_pct)
        items.append(verdict or _judge(listing, price, by_symbol, tolerance_pct))
    return Matches(items=tuple(items))


def _each_once(listings: Iterable[InstrumentListing]) -> list[InstrumentListing]:
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
        names = _names([candidate.asset for candidate in own or renamed])
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
        names = _names([item.asset for item in sorted(rivals, key=_candidate_order)])
        return _verdict(listing, MatchState.AMBIGUOUS, f"could be {names}: their prices do not tell them apart")
    asset, units = best[0].asset, best[0].units
    return _matched(listing, asset.asset_id, units, _fit_text(asset, units, best[0].gap_pct or Decimal(0)))


def _candidate_order(item: _Candidate) -> tuple[int, str, Decimal]:
    return _UNRANKED if item.asset.rank is None else item.asset.rank, item.asset.asset_id, item.units


def _offers(candidates: Sequence[_Candidate]) -> str:
    ordered = sorted(candidates, key=_candidate_order)
    shown = [
        f"{item.asset.asset_id} ({'no price' if item.gap_pct is None else f'{item.gap_pct:.2f} % away'})"
        for item in ordered[:_NAMED]
    ]
    return ", ".join(shown) + (f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else "")


# --------------------------------------------------------------------------- instruments


def choose_instruments(
    matches: Matches,
    followed: Sequence[FollowedAsset],
    *,
    quotes: Sequence[str] = ("USDT", "USDC"),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> InstrumentChoice:
    """Choose one tradable instrument per followed asset and venue: the first of `quotes` that is there.

    A perpetual at a venue that lists perpetuals, else the spot pair: each venue is followed in what it is asked for.
    Included ids are followed beside the chosen ones, matched or not, as long as they trade; excluded ids never. Of two
    instruments alike in everything the one with fewer coins in its base unit counts.
    """
    usable = {match.instrument.id: match for match in matches.items if match.tradable}
    by_venue: dict[str, list[str]] = defaultdict(list)
    unwanted = set(exclude)
    allowed = [match for instrument_id, match in usable.items() if instrument_id not in unwanted]
    kinds = _kinds_followed(match.instrument for match in matches.items)
    for instrument in _best(allowed, followed, quotes, kinds):
        by_venue[instrument.venue].append(instrument.id)
    for instrument_id in sorted((set(include) - unwanted) & usable.keys()):
        of_venue = by_venue[usable[instrument_id].instrument.venue]
        if instrument_id not in of_venue:
            of_venue.append(instrument_id)
    return InstrumentChoice(
        by_venue={venue: tuple(by_venue[venue]) for venue in sorted(by_venue)},
        notes=tuple(_instrument_notes(matches, include, exclude)),
    )


def choose_most_traded(
    listings: Iterable[InstrumentListing],
    turnovers: Mapping[str, Decimal],
    top: int,
    *,
    quotes: Sequence[str] = ("USDT", "USDC"),
    exclude: Sequence[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Choose the `top` tradable instruments of each venue by 24 h turnover: for as long as no ranking is known.

    `turnovers` are in the quote, by instrument id; instruments without one come last, in the order of their ids.
    One instrument per base and venue, by quote preference, as in `choose_instruments`.
    """
    upper = [quote.upper() for quote in quotes]
    listed = _each_once(listings)
    kinds, unwanted = _kinds_followed(item.instrument for item in listed), set(exclude)
    usable = [item.instrument for item in listed if item.tradable and item.category.lower() in CRYPTO]
    usable = [item for item in usable if item.kind is kinds[item.venue] and item.quote in upper]
    usable = [item for item in usable if item.id not in unwanted]
    best: dict[tuple[str, str], Instrument] = {}
    for item in sorted(usable, key=lambda item: (upper.index(item.quote), item.id)):
        best.setdefault((item.venue, item.base), item)
    order = sorted(best.values(), key=lambda item: (-turnovers.get(item.id, Decimal(0)), item.id))
    chosen: dict[str, list[str]] = defaultdict(list)
    for item in order:
        if len(chosen[item.venue]) < top:
            chosen[item.venue].append(item.id)
    return {venue: tuple(ids) for venue, ids in sorted(chosen.items())}


def _best(
    matches: Sequence[Match], followed: Sequence[FollowedAsset], quotes: Sequence[str], kinds: Mapping[str, Kind]
) -> list[Instrument]:
    """Return the best instrument per venue and asset, of the venue's kind, in the order of `followed`."""
    places = {asset.asset_id: place for place, asset in enumerate(followed)}
    upper_quotes = [quote.upper() for quote in quotes]
    rated: list[tuple[tuple[int, str], tuple[int, Decimal, str], Instrument]] = []
    for match in matches:
        instrument, units = match.instrument, match.asset_units
        place = None if match.asset_id is None else places.get(match.asset_id)
        if place is None or units is None or instrument.quote not in upper_quotes:
            continue
        if instrument.kind is not kinds[instrument.venue]:
            continue
        rated.append(
            ((place, instrument.venue), (upper_quotes.index(instrument.quote), units, instrument.id), instrument)
        )
    best: dict[tuple[int, str], Instrument] = {}
    for slot, _, instrument in sorted(rated, key=lambda item: item[:2]):
        best.setdefault(slot, instrument)
    return list(best.values())


def _kinds_followed(listed: Iterable[Instrument]) -> dict[str, Kind]:
    """Return what is followed of each venue: its perpetuals, or its spot pairs where it lists no perpetual."""
    kinds: dict[str, Kind] = {}
    for instrument in listed:
        perpetual = instrument.kind is Kind.PERP or kinds.get(instrument.venue) is Kind.PERP
        kinds[instrument.venue] = Kind.PERP if perpetual else Kind.SPOT
    return kinds


def _instrument_notes(matches: Matches, include: Sequence[str], exclude: Sequence[str]) -> Iterator[str]:
    tradable = {match.instrument.id: match.tradable for match in matches.items}
    for option, words in (("include_instruments", include), ("exclude_instruments", exclude)):
        for word in sorted(set(words) - tradable.keys()):
            yield f"{option}: {word} is not listed by its venue"
    for word in sorted(set(include) & set(exclude)):
        yield f"include_instruments: {word} is excluded as well and not followed"
    for word in sorted(set(include) - set(exclude)):
        if tradable.get(word) is False:
            yield f"include_instruments: {word} does not trade now"
