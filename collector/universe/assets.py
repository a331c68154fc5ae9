"""Which assets are followed: the best by market cap, and those that the configuration names."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

_NAMED = 3  # how many coins a note names before it only counts the rest
UNRANKED = 10**9  # sorts after every rank


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


def choose_assets(
    ranked: Iterable[RankedAsset], top: int, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> AssetChoice:
    """Choose the `top` assets by rank, and the included ones beside them.

    Words of `include` and `exclude` are asset ids, or symbols that one asset alone has in `ranked`; hand in the whole
    listing, or symbols look clearer than they are. Excluded assets take no place and win over included ones.
    """
    assets = in_order(ranked)
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


def in_order(assets: Iterable[RankedAsset]) -> list[RankedAsset]:
    """Return each asset once, best rank first; of two rows of one asset the better-ranked, priced one counts."""
    unique: dict[str, RankedAsset] = {}
    for asset in sorted(assets, key=_order):
        unique.setdefault(asset.asset_id, asset)
    return list(unique.values())


def _order(asset: RankedAsset) -> tuple[int, str, bool, Decimal, str, str]:
    rank = UNRANKED if asset.rank is None else asset.rank
    return rank, asset.asset_id, asset.price_usd is None, asset.price_usd or Decimal(0), asset.symbol, asset.name


def by_symbol_of(assets: Iterable[RankedAsset]) -> dict[str, list[RankedAsset]]:
    """Return the assets of each symbol (upper case), in the order given."""
    index: dict[str, list[RankedAsset]] = defaultdict(list)
    for asset in assets:
        index[asset.symbol.upper()].append(asset)
    return dict(index)


def _resolve(option: str, words: Sequence[str], assets: Sequence[RankedAsset]) -> tuple[set[str], list[str]]:
    """Return the asset ids that `words` mean, and a note for each word that means none or several."""
    ids, by_symbol = {asset.asset_id for asset in assets}, by_symbol_of(assets)
    found: set[str] = set()
    notes: list[str] = []
    for word in sorted(set(words)):
        sharing = by_symbol.get(word.upper(), [])
        if word in ids:
            found.add(word)
        elif len(sharing) == 1:
            found.add(sharing[0].asset_id)
        elif sharing:
            notes.append(f"{option}: the symbol {word} is shared by {names_of(sharing)}; name an asset id")
        else:
            notes.append(f"{option}: {word} is neither an asset id nor a symbol of the listing")
    return found, notes


def names_of(assets: Iterable[RankedAsset]) -> str:
    """Return ids and ranks for a note."""
    return first_of(
        [asset.asset_id if asset.rank is None else f"{asset.asset_id} (rank {asset.rank})" for asset in assets]
    )


def first_of(words: Sequence[str]) -> str:
    """Return the first few words for a note, and how many more there are."""
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
