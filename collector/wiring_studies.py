"""Builds the studies from the settings: those that are enabled, in the order in which they follow a cycle."""

import difflib
from collections.abc import Iterator
from datetime import timedelta

from collector.clock import Clock
from collector.config import Settings
from collector.errors import ConfigError
from collector.storage.database import Database
from collector.storage.findings import Findings
from collector.storage.models import INDICATOR_COLUMNS
from collector.storage.past import Past
from collector.studies.after_cycle import Planned, Studies, Study


def build_studies(settings: Settings, database: Database, clock: Clock) -> Studies:
    """Return what runs after each cycle. Packages of a study are imported when its first turn comes."""
    return Studies(list(_planned(settings, Past(database))), Findings(database), clock)


def check_studies(settings: Settings) -> None:
    """Raise the ConfigError for a study that could never be made."""
    for name in settings.analytics.derived.indicators:
        if name not in INDICATOR_COLUMNS:
            near = difflib.get_close_matches(name, INDICATOR_COLUMNS, n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; use some of {', '.join(INDICATOR_COLUMNS)}"
            raise ConfigError(f"analytics.derived.indicators: {name!r} is no column of indicators{meant}")


def _planned(settings: Settings, past: Past) -> Iterator[Planned]:
    part = settings.analytics
    first = next(iter(settings.cadences))

    def derived() -> Study:
        from collector.studies.derived import DerivedStudy  # noqa: PLC0415 - pandas, when its turn comes

        every = settings.cadences[part.derived.cadence or first].every or timedelta(hours=1)
        return DerivedStudy(past, part.derived, every=every)

    def ranks() -> Study:
        from collector.studies.ranks import RankStudy  # noqa: PLC0415 - the same

        return RankStudy(past, part.ranks)

    def trends() -> Study:
        from collector.studies.trends import TrendStudy  # noqa: PLC0415 - the same

        return TrendStudy(past, part)

    def signals() -> Study:
        from collector.studies.signals import SignalStudy  # noqa: PLC0415 - the same

        return SignalStudy(past, part)

    def portfolio() -> Study:
        from collector.studies.portfolio import PortfolioStudy  # noqa: PLC0415 - the packages of analytics as well

        return PortfolioStudy(past, part)

    def performance() -> Study:
        from collector.studies.performance import PerformanceStudy  # noqa: PLC0415 - the same

        return PerformanceStudy(past, part)

    for name, own, build in (
        ("derived", part.derived, derived),
        ("ranks", part.ranks, ranks),
        ("trends", part.trends, trends),
        ("signals", part.signals, signals),
        ("portfolio", part.portfolio, portfolio),
        ("performance", part.signals, performance),
    ):
        if part.enabled and own.enabled:
            yield Planned(name, own.cadence or first, build)
