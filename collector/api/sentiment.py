"""The mood of the market in one number: a formula over fear & greed, breadth and momentum; pure.

Three components, each on a scale of 0 (as bad as it gets) to 100 (as good as it gets):

- fear & greed: the published index as it is, 0 to 100; weight 0.50
- breadth: 100 x (assets whose price rose over 24 h) / (assets whose change is known); weight 0.25
- momentum: 50 + 50 x (d + w) / 2, with d = median change over 24 h / 5 % and w = median change over 7 days / 15 %, each
  held within -1 and 1; where only one of the two is known, it stands alone; weight 0.25

Breadth and momentum over few assets say little: their weights are multiplied by min(1, assets / 20).

score = sum(weight x component) / sum(weight), over the components that are known, to one decimal
sentiment = "bullish" from 55 on, "bearish" up to 45, else "neutral"
confidence = sum(weight) x agreement, 0 to 1, to two decimals; agreement = 1 - (largest - smallest component) / 100. It
is full when everything is known and says the same, and falls with what is missing and with how far parts disagree. A
fear & greed value that is stale counts with half its weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

FEAR_GREED_WEIGHT, BREADTH_WEIGHT, MOMENTUM_WEIGHT = 0.50, 0.25, 0.25
DAY_SCALE_PCT, WEEK_SCALE_PCT = 5.0, 15.0  # median changes at which momentum cannot get any better or worse
ENOUGH_ASSETS = 20
STALE_SHARE = 0.5
BULLISH_FROM, BEARISH_TO = 55.0, 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """The verdict. `score` is None, and `confidence` 0, when nothing is known."""

    sentiment: str  # bullish, bearish or neutral
    score: float | None  # 0 to 100
    confidence: float  # 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    value: float
    weight: float


def overall(
    fear_greed: float | None,
    changes_24h: Sequence[float],
    changes_7d: Sequence[float],
    *,
    stale: bool = False,
) -> Mood:
    """Return the mood; see the module for the formula. Changes are in percent, one for each asset where it is known.

    `stale` says that the fear & greed value is not today's.
    """
    parts = []
    if fear_greed is not None:
        parts.append(_Part(value=fear_greed, weight=FEAR_GREED_WEIGHT * (STALE_SHARE if stale else 1)))
    risen, drift = breadth(changes_24h), momentum(changes_24h, changes_7d)
    if risen is not None:
        parts.append(_Part(value=risen, weight=BREADTH_WEIGHT * _trust(len(changes_24h))))
    if drift is not None:
        assets = max(len(changes_24h), len(changes_7d))
        parts.append(_Part(value=drift, weight=MOMENTUM_WEIGHT * _trust(assets)))
    if not parts:
        return Mood(sentiment="neutral", score=None, confidence=0.0)
    weight = sum(part.weight for part in parts)
    score = round(sum(part.weight * part.value for part in parts) / weight, 1)
    values = [part.value for part in parts]
    agreement = 1 - (max(values) - min(values)) / 100
    return Mood(sentiment=_word(score), score=score, confidence=round(weight * agreement, 2))


def breadth(changes_24h: Sequence[float]) -> float | None:
    """Return the share of assets that rose, in percent; None without assets. Unchanged ones did not rise."""
    if not changes_24h:
        return None
    return 100 * sum(change > 0 for change in changes_24h) / len(changes_24h)


def momentum(changes_24h: Sequence[float], changes_7d: Sequence[float]) -> float | None:
    """Return how far the typical asset moved, 0 to 100 with 50 for not at all; None when nothing is known."""
    scaled = [
        max(-1.0, min(1.0, median(changes) / scale))
        for changes, scale in ((changes_24h, DAY_SCALE_PCT), (changes_7d, WEEK_SCALE_PCT))
        if changes
    ]
    return 50 + 50 * sum(scaled) / len(scaled) if scaled else None


def _trust(assets: int) -> float:
    return min(1.0, assets / ENOUGH_ASSETS)


def _word(score: float) -> str:
    if score >= BULLISH_FROM:
        return "bullish"
    return "bearish" if score <= BEARISH_TO else "neutral"
