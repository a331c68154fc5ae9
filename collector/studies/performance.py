"""How signals, views and portfolios turned out, once a day has closed: outcomes, information coefficients, equity."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pandas as pd

from collector.analytics.bars import PARTS, BarPanel, bar_panel
from collector.analytics.outcomes import (
    DONE,
    HOLE,
    HORIZONS,
    HitRate,
    forward_returns,
    hit_rates,
    information_coefficient,
    outcomes,
)
from collector.analytics.paper import paper_equity
from collector.clock import EPOCH
from collector.config import AnalyticsSettings
from collector.records import Interval
from collector.storage.past import Past
from collector.studies.prices import asset_prices, daily_caps, wide
from collector.studies.rows import Found, rows

DAY = timedelta(days=1)
OUTCOME_BARS = 400  # longer than any horizon: an older signal has its outcome


class PerformanceStudy:
    """What followed."""

    name = "performance"

    def __init__(self, past: Past, settings: AnalyticsSettings) -> None:
        self._past = past
        self._venues = settings.venues
        self._intervals = settings.signals.intervals
        self._portfolio = settings.portfolio
        self._newest: dict[Interval, datetime] = {}

    def make(self, now: datetime) -> Found:
        """Return what became known since the last time: by interval when bars have closed, the rest by day."""
        found: Found = {}
        for interval in self._intervals:
            newest = max((item.last for item in self._past.series(interval)), default=None)
            if newest is None or self._newest.get(interval) == newest:
                continue
            found.setdefault("signal_outcomes", []).extend(self.outcomes(interval, now))
            if interval is Interval.D1:
                found |= self._by_day(now)
            self._newest[interval] = newest
        return found

    def outcomes(self, interval: Interval, now: datetime) -> list[Mapping[str, Any]]:
        """Return the outcomes that are known of signals that lack one.

        They are looked for from `OUTCOME_BARS` bars before the newest signal that has an outcome.
        """
        before = self._past.newest("signal_outcomes", "bar_end", interval=str(interval))
        since = EPOCH if before is None else before - OUTCOME_BARS * interval.width
        given = self._past.signals_without_outcome(since=since, as_of=now, interval=interval, horizons=len(HORIZONS))
        names = sorted({row["instrument"] for row in given})
        first = min((row["bar_end"] for row in given), default=now) - interval.width
        panel = bar_panel(self._past.bars(names, interval, since=first, as_of=now, known=now), interval)
        ends = set(panel.close.index)
        told = outcomes([_emitted(row) for row in given if row["bar_end"] in ends], panel)
        return rows([item for item in told if item.status in (DONE, HOLE)], subject="instrument")

    def hit_rates(self, as_of: datetime) -> list[HitRate]:
        """Return how often the stored signals were right, of outcomes known by a moment."""
        return hit_rates([_emitted(row) for row in self._past.outcomes(as_of=as_of)])

    def _by_day(self, now: datetime) -> Found:
        return {"information_coefficients": self._coefficients(now), "paper_equity": self._equity(now)}

    def _prices(self, since: datetime, now: datetime) -> BarPanel:
        """Return daily bars of all assets, also of those that are no longer followed: they had views and weights."""
        return asset_prices(self._past, self._venues, since=since, as_of=now, known=now, followed=None).bars

    def _coefficients(self, now: datetime) -> list[Mapping[str, Any]]:
        """Return the coefficient of each day's last views: those at the end of a daily bar."""
        since = now - OUTCOME_BARS * DAY
        given = self._past.views(since=since, as_of=now, ends_of_days=True)
        if not given:
            return []
        prices = self._prices(since, now)
        scores = wide(given, "as_of", "asset_id", "score")
        found: list[Mapping[str, Any]] = []
        for horizon in HORIZONS:
            told = information_coefficient(scores, forward_returns(prices, horizon))
            found += [
                {"as_of": item.as_of, "horizon": horizon, "assets": item.assets, "value": item.coefficient}
                for item in told.by_moment
                if item.coefficient is not None
            ]
        return found

    def _equity(self, now: datetime) -> list[Mapping[str, Any]]:
        """Return the whole life of the portfolio: its worth is told against the day of its first weights."""
        given = self._past.weights(self._portfolio.name, since=EPOCH, as_of=now)
        if not given:
            return []
        weights = wide(given, "as_of", "asset_id", "weight")
        since = given[0]["as_of"] - 2 * DAY
        caps = daily_caps(self._past, since=since, as_of=now)
        prices = _with(weights.columns, self._prices(since, now))
        told, _ = paper_equity(weights, prices, fee=self._portfolio.fee, caps=caps)
        return [
            {
                "portfolio": self._portfolio.name,
                "day": item.bar_end,
                "equity": item.equity,
                "bitcoin": item.bitcoin,
                "market": item.market,
                "turnover": item.turnover,
                "fees": item.fees,
            }
            for item in told
        ]


def _with(assets: pd.Index, prices: BarPanel) -> BarPanel:
    """Return prices with a column for each of these assets as well; without bars its worth is not known."""
    names = prices.close.columns.union(assets, sort=False)
    return replace(prices, **{part: getattr(prices, part).reindex(columns=names) for part in PARTS})


def _emitted(row: Mapping[str, Any]) -> Any:
    return SimpleNamespace(**{**row, "subject": row["instrument"], "interval": Interval(row["interval"])})
