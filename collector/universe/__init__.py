"""Which assets and instruments are followed today: pure functions from listings, prices and configuration.

Guarantees: the order of the input never matters; an instrument is matched to an asset only when their prices agree, for
ticker symbols are shared by many coins; what cannot be told apart is reported and never guessed.
"""

from collector.universe.assets import AssetChoice, FollowedAsset, RankedAsset, choose_assets
from collector.universe.instruments import InstrumentChoice, choose_instruments, choose_most_traded
from collector.universe.matching import KnownMatch, Match, Matches, MatchState, match_instruments

__all__ = [
    "AssetChoice",
    "FollowedAsset",
    "InstrumentChoice",
    "KnownMatch",
    "Match",
    "MatchState",
    "Matches",
    "RankedAsset",
    "choose_assets",
    "choose_instruments",
    "choose_most_traded",
    "match_instruments",
]
