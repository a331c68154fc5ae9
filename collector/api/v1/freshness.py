"""How old an answer is, and whether that is older than it should be.

An answer is stale when its newest row is older than twice the time after which a new one is expected: how often its
dataset is collected, or how often there is a new value where that is longer. It is measured from now, or from where the
answer ends on purpose: at `to`, at the place of the cursor, or because the page is full.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from collector.config import CadenceSettings, Settings, cron_turns
from collector.records import Dataset, Interval

Cadences = Mapping[tuple[str, Dataset], timedelta]

UNKNOWN = timedelta(minutes=5)  # the shortest cadence of the shipped configuration
# What has a new value less often than it is asked for.
PERIODS = {
    Dataset.MARKETS: timedelta(minutes=1),  # aggregators renew their prices once a minute
    Dataset.GLOBAL: timedelta(minutes=10),  # CoinGecko's documented period of /global
    Dataset.FUNDING: timedelta(hours=8),
    Dataset.SENTIMENT: timedelta(days=1),
}
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
# How often there is a new row of what is computed, unless the settings say otherwise.
COMPUTED: Mapping[str, timedelta] = {
    "trends": _DAY,
    "breadth": _DAY,
    "factor_returns": _DAY,
    "derived_metrics": UNKNOWN,
    "asset_views": _DAY,
    "portfolio_runs": _DAY,
    "portfolio_weights": _DAY,
    "paper_equity": _DAY,
}


def collected_every(settings: Settings) -> dict[tuple[str, Dataset], timedelta]:
    """Return how often each dataset of each enabled source is collected."""
    return {
        (name, dataset): _length(settings.cadences[choice.cadence])
        for name, source in settings.sources.items()
        if source.enabled
        for dataset, choice in source.datasets.items()
        if choice.enabled
    }


def computed_every(settings: Settings) -> dict[str, timedelta]:
    """Return how often there is a new row of the tables of COMPUTED, where that depends on the settings."""
    part = settings.analytics
    cadence = settings.cadences[part.derived.cadence or next(iter(settings.cadences))]
    return {
        "derived_metrics": max(_length(cadence), timedelta(minutes=1)),
        "asset_views": min(interval.width for interval in part.signals.intervals),
        **dict.fromkeys(("portfolio_runs", "portfolio_weights"), part.portfolio.every),
    }


def _length(cadence: CadenceSettings) -> timedelta:
    return cadence.every if cadence.cron is None and cadence.every is not None else cron_turns(cadence.cron or "")[0]


@dataclass(frozen=True, slots=True)
class Computed:
    """When rows of what is computed every so often are stale."""

    every: timedelta

    def latest(self, _sources: Collection[str], until: datetime) -> datetime:
        """Return the time that a row must reach to be fresh at `until`."""
        return until - 2 * self.every if until - BEGINNING > 2 * self.every else BEGINNING


@dataclass(frozen=True, slots=True)
class Expected:
    """When rows of one dataset are stale; `interval` for bars."""

    cadences: Cadences
    dataset: Dataset
    interval: Interval | None = None

    def allowed(self, sources: Collection[str]) -> timedelta:
        """Return how old the newest row may be; of several sources the slowest decides."""
        known = [length for (_, dataset), length in self.cadences.items() if dataset is self.dataset]
        fallback = min(known, default=UNKNOWN)
        slowest = max((self.cadences.get((source, self.dataset), fallback) for source in sources), default=fallback)
        period = self.interval.width if self.interval else PERIODS.get(self.dataset, timedelta(0))
        return 2 * max(slowest, period)

    def latest(self, sources: Collection[str], until: datetime) -> datetime:
        """Return the time that a row of these sources must reach to be fresh at `until`."""
        allowed = self.allowed(sources)
        return until - allowed if until - BEGINNING > allowed else BEGINNING
