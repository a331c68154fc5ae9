"""Derived metrics after each cycle: what the newest observations say beside those just before them.

Nothing is remembered from one cycle to the next. The observations that a window needs are read each time, so a restart
changes no number.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pandas as pd

from collector.analytics.derived import DerivedParameters, derive, grid, history_needed
from collector.config import DerivedSettings
from collector.records import Interval
from collector.storage.past import Observations, Past
from collector.studies.rows import Found, rows

MINUTE = timedelta(minutes=1)


class DerivedStudy:
    """Slopes, means and z-scores of raw rows."""

    name = "derived"

    def __init__(self, past: Past, settings: DerivedSettings, *, every: timedelta) -> None:
        """`every` is how often raw rows are collected: several may fall into one minute."""
        self._past = past
        self._settings = settings
        self._parameters = DerivedParameters(window_size=settings.window_size, intervals=settings.intervals)
        self._last = history_needed(self._parameters) * max(1, -(-MINUTE // every))

    def make(self, now: datetime) -> Found:
        """Return the metrics of the newest observation of every measure and instrument."""
        names = self._past.followed(self._settings.venues)
        frames = {measure: _frame(found) for measure, found in self._observed(names, now) if len(found.values)}
        return {"derived_metrics": rows(derive(frames, self._parameters), subject="instrument")}

    def _observed(self, names: list[str], now: datetime) -> Iterator[tuple[str, Observations]]:
        for measure in self._settings.measures:
            yield measure, self._past.observations(measure, names, last=self._last, as_of=now)
        interval = Interval(self._settings.indicator_interval)
        for column in self._settings.indicators:
            yield column, self._past.indicators(column, interval, names, last=self._last, as_of=now)


def _frame(found: Observations) -> pd.DataFrame:
    return grid(found.times, found.subjects, found.values)
