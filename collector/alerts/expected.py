"""What the settings promise of time: how often each dataset has a new value, each cadence a cycle (pure)."""

from collections.abc import Iterator
from datetime import timedelta

from collector.alerts.rules import Expected
from collector.config import CadenceSettings, DatasetSettings, Settings
from collector.config.alerts import longest_gap
from collector.records import Dataset

# What has a new value less often than it is asked for, or whose turn comes only when there is something to ask for.
PERIODS = {
    Dataset.GLOBAL: timedelta(minutes=10),
    Dataset.FUNDING: timedelta(hours=8),
    Dataset.SENTIMENT: timedelta(days=1),
}


def expected(settings: Settings) -> Expected:
    """Return what may be waited for with these settings."""
    cadences = {name: every(part) for name, part in settings.cadences.items()}
    return Expected(
        datasets={
            (name, dataset): max(cadences[choice.cadence], *_period(dataset, choice))
            for name, source in settings.sources.items()
            if source.enabled
            for dataset, choice in source.datasets.items()
            if choice.enabled
        },
        cadences=cadences,
        deadlines={name: part.deadline for name, part in settings.cadences.items()},
        backups=settings.backups.enabled,
        sinks=frozenset({"bigquery"} if settings.bigquery.enabled else ()),
    )


def every(cadence: CadenceSettings) -> timedelta:
    """Return the longest time between two starts of a cadence."""
    if cadence.cron is not None:
        return longest_gap(cadence.cron)
    assert cadence.every is not None  # noqa: S101 - checked when the settings were loaded
    return cadence.every


def _period(dataset: Dataset, choice: DatasetSettings) -> Iterator[timedelta]:
    yield PERIODS.get(dataset, timedelta(0))
    if dataset is Dataset.CANDLES and choice.intervals:
        yield min(interval.width for interval in choice.intervals)
