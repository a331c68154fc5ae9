"""Which instruments are followed: one for each followed asset and venue, and those that the configuration names."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from collector.records import Instrument, InstrumentListing, Kind
from collector.universe.assets import FollowedAsset
from collector.universe.matching import CRYPTO, Match, Matches, each_once


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentChoice:
    """Followed instrument ids by venue, best-ranked asset first; `notes` are lines about ids that could not be used."""

    by_venue: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


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
    listed = each_once(listings)
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
