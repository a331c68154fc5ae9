"""The portfolio of the day: market caps, daily closes and the newest views, as they are known when it is made."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from collector.analytics.black_litterman import Score
from collector.analytics.portfolio import build_portfolio
from collector.analytics.portfolio_terms import DEFAULT_EXCLUDED, Portfolio, PortfolioParameters, Refusal
from collector.config import AnalyticsSettings, PortfolioSettings
from collector.records import Interval
from collector.storage.past import Past
from collector.studies.prices import CAPS_SOURCE, STOPPED, asset_prices, start_of_day
from collector.studies.rows import Found, rows

DAY = timedelta(days=1)
CAPS_WITHIN = 2 * DAY  # an older market cap is not today's
VIEWS_WITHIN = 2 * DAY
WEIGHTS_WITHIN = 400 * DAY
OK = "ok"
AGAIN = timedelta(hours=1)  # after a refusal: what was missing may have come


def portfolio_parameters(settings: PortfolioSettings) -> PortfolioParameters:
    """Return the parameters; ValueError in one line when they cannot be."""
    return PortfolioParameters(
        largest=settings.assets,
        lookback_bars=settings.lookback // DAY,
        max_weight=settings.max_weight,
        turnover_limit=settings.turnover_limit,
        risk_aversion=settings.risk_aversion,
        tau=settings.tau,
        information_coefficient=settings.information_coefficient,
        exclude=(*DEFAULT_EXCLUDED, *settings.exclude),
    )


class PortfolioStudy:
    """Black-Litterman weights, once for each `every` days that have closed."""

    name = "portfolio"

    def __init__(self, past: Past, settings: AnalyticsSettings) -> None:
        self._past = past
        self._venues = settings.venues
        self._settings = settings.portfolio
        self._parameters = portfolio_parameters(settings.portfolio)

    def make(self, now: datetime) -> Found:
        """Return the portfolio of the newest closed day, or why there is none; nothing when it is not due.

        It is due `every` days after the day of the last one, and `AGAIN` after a refusal.
        """
        newest = newest_day([item.last for item in self._past.series(Interval.D1)])
        if newest is None:
            return {}
        made = self._past.newest("portfolio_runs", "as_of", portfolio=self._settings.name, state=OK)
        tried = self._past.newest("portfolio_runs", "as_of", portfolio=self._settings.name)
        if made is not None and newest + DAY < start_of_day(made) + self._settings.every:
            return {}
        if tried is not None and tried != made and now - tried < AGAIN:
            return {}
        return self.rows_of(self.portfolio(now))

    def portfolio(self, as_of: datetime) -> Portfolio | Refusal:
        """Return the portfolio as of a moment."""
        since = as_of - (self._parameters.lookback_bars + 2) * DAY
        closes = asset_prices(self._past, self._venues, since=since, as_of=as_of, known=as_of).bars.close
        return build_portfolio(
            closes, self._caps(as_of), self._views(as_of), self._held(closes, as_of), self._parameters, as_of=as_of
        )

    def rows_of(self, made: Portfolio | Refusal) -> Found:
        """Return a portfolio, or a refusal, as rows."""
        named = {"portfolio": self._settings.name}
        nothing = {"expected_return": None, "expected_volatility": None, "turnover": None}
        if isinstance(made, Refusal):
            return {"portfolio_runs": [{**nothing, **row} for row in rows([made], **named)]}
        return {
            "portfolio_runs": rows([made], without=["weights"], **named),
            "portfolio_weights": rows(made.weights, as_of=made.as_of, **named),
        }

    def _caps(self, as_of: datetime) -> dict[str, float | None]:
        """Return the newest market cap of each asset; None: its last snapshot told none."""
        found = self._past.daily_markets(CAPS_SOURCE, since=as_of - CAPS_WITHIN, as_of=as_of)
        return {row["asset_id"]: row["market_cap_usd"] for row in found}  # by day: the newest comes last

    def _views(self, as_of: datetime) -> dict[str, Score]:
        found = self._past.views(since=as_of - VIEWS_WITHIN, as_of=as_of)
        newest = {row["asset_id"]: row for row in found}
        return {
            asset: Score(zscore=row["zscore"], confidence=row["confidence"])
            for asset, row in newest.items()
            if row["zscore"] is not None
        }

    def _held(self, closes: pd.DataFrame, as_of: datetime) -> dict[str, float] | None:
        """Return the last weights at today's prices; None when there are none, or a price of them is missing."""
        found = self._past.weights(self._settings.name, since=as_of - WEIGHTS_WITHIN, as_of=as_of)
        last = [row for row in found if row["as_of"] == found[-1]["as_of"]]
        if not last:
            return None
        return drifted({row["asset_id"]: row["weight"] for row in last}, closes, last[0]["as_of"])


def newest_day(lasts: Sequence[datetime]) -> datetime | None:
    """Return the newest bar that nine of ten series have, of those that still go on; None without series.

    Venues are fetched one after the other: a portfolio of the first one's bars would sell what the others trade.
    """
    going_on = sorted(last for last in lasts if max(lasts) - last <= STOPPED)
    return going_on[len(going_on) // 10] if going_on else None


def drifted(weights: Mapping[str, float], closes: pd.DataFrame, since: datetime) -> dict[str, float]:
    """Return what weights have become at the newest closes; an asset without both closes keeps its weight."""
    before, now = _newest(closes.loc[:since]), _newest(closes)
    grown: dict[str, float] = {}
    for asset, weight in weights.items():
        growth = now.get(asset, 1.0) / before.get(asset, 1.0) if asset in before and asset in now else 1.0
        grown[asset] = weight * growth
    total = sum(grown.values())
    return {asset: weight / total for asset, weight in grown.items()} if total > 0 else dict(weights)


def _newest(closes: pd.DataFrame) -> dict[Any, float]:
    return {} if closes.empty else {asset: float(value) for asset, value in closes.iloc[-1].dropna().items()}
