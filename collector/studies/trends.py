"""Trend and risk of assets and instruments, market breadth and factor returns, whenever another day has closed."""

from datetime import datetime, timedelta

import pandas as pd

from collector.analytics.bars import bar_panel
from collector.analytics.breadth import breadth, market_index
from collector.analytics.factors import FactorParameters, FactorReturn, exposures, factor_returns
from collector.analytics.trends import Trend, TrendParameters, roi, trends
from collector.config import AnalyticsSettings, format_duration
from collector.records import Interval
from collector.storage.past import Past
from collector.studies.prices import AssetPrices, asset_prices, daily_caps
from collector.studies.rows import Found, rows

DAY = timedelta(days=1)
BITCOIN = "bitcoin"
FACTORS = FactorParameters()
FACTOR_DAYS = FACTORS.exposure_days + max(
    FACTORS.momentum_days + FACTORS.momentum_skip, FACTORS.volatility_days, FACTORS.liquidity_days
)


class TrendStudy:
    """Trends of every series of daily candles, and of the assets that they are prices of."""

    name = "trends"

    def __init__(self, past: Past, settings: AnalyticsSettings) -> None:
        part = settings.trends
        self._past = past
        self._venues = settings.venues
        self._windows = {
            format_duration(span) if span % (7 * DAY) else f"{span // DAY}d": span // DAY for span in part.spans
        }
        self._parameters = TrendParameters(sma_fast=part.sma_fast, sma_slow=part.sma_slow)
        self._made_of: tuple[datetime, int] | None = None  # the newest day, and how many series have it

    def make(self, now: datetime) -> Found:
        """Return the rows of the newest closed day; nothing when they were made of the same bars before."""
        series = self._past.series(Interval.D1)
        newest = max((item.last for item in series), default=None)
        if newest is None:
            return {}
        made_of = (newest, sum(item.last == newest for item in series))
        if made_of == self._made_of:
            return {}
        told = self._past.newest("factor_returns", "day")
        found = self.trends(now)
        # A day that was told stays: its look-back is no longer read whole, and its assets were those of that day.
        found["factor_returns"] = [row for row in found.get("factor_returns", []) if not told or row["day"] >= told]
        self._made_of = made_of
        return found

    def trends(self, as_of: datetime, *, known: datetime | None = None) -> Found:
        """Return the rows as of a moment, with the values known at `known` (None: at that moment)."""
        known = known or as_of
        since = as_of - (max(2 * max(self._windows.values()) + self._parameters.sma_slow, FACTOR_DAYS) + 2) * DAY
        prices = asset_prices(self._past, self._venues, since=since, as_of=as_of, known=known)
        closes = prices.bars.close
        caps = _aligned(daily_caps(self._past, since=since, as_of=as_of), closes)
        market = market_index(closes, caps)
        names = [item.instrument for item in self._past.series(Interval.D1)]
        by_name = self._past.bars(names, Interval.D1, since=since, as_of=as_of, known=known)
        instruments = bar_panel(by_name, Interval.D1)
        bitcoin = closes.get(BITCOIN)
        told: list[Trend] = []
        for panel in (prices.bars, instruments):
            told += trends(
                panel,
                self._windows,
                bitcoin=None if bitcoin is None else bitcoin.reindex(panel.close.index),
                market=market.reindex(panel.close.index),
                parameters=self._parameters,
            )
        found = {"trends": rows(told), "breadth": rows(self._breadth(prices))}
        if len(closes.index):
            returns = self._factors(prices, caps)
            betas = rows(exposures(closes, returns, FACTORS))
            found["factor_returns"] = rows(returns)
            found["factor_exposures"] = [{**row, "asset_id": row.pop("asset")} for row in map(dict, betas)]
        return found

    def returns_since(self, since: datetime, as_of: datetime) -> dict[str, float | None]:
        """Return what was earned on each asset and instrument bought at `since`; None: a price is missing."""
        begin = since - 2 * DAY
        prices = asset_prices(self._past, self._venues, since=begin, as_of=as_of, known=as_of).bars.close
        names = [item.instrument for item in self._past.series(Interval.D1)]
        windows = self._past.bars(names, Interval.D1, since=begin, as_of=as_of, known=as_of)
        instruments = bar_panel(windows, Interval.D1).close
        found: dict[str, float | None] = {}
        for closes in (prices, instruments):
            if len(closes.index):
                earned = roi(closes, since).items()
                found |= {str(name): None if pd.isna(value) else float(value) for name, value in earned}
        return found

    def _factors(self, prices: AssetPrices, caps: pd.DataFrame) -> list[FactorReturn]:
        """Return the factors of the days since the first market cap is known."""
        closes = prices.bars.close
        traded = prices.bars.volume * closes  # of the asset's own instrument, in dollars
        told = factor_returns(closes, caps, traded, FACTORS)
        first = caps.dropna(how="all").index.min()
        return [row for row in told if first is not pd.NaT and row.day > first]

    def _breadth(self, prices: AssetPrices) -> list[object]:
        closes, sma = prices.bars.close, self._parameters.sma_slow
        told = (breadth(closes, window=window, bars=bars, sma=sma) for window, bars in self._windows.items())
        return [row for row in told if row is not None]


def _aligned(caps: pd.DataFrame, closes: pd.DataFrame) -> pd.DataFrame:
    return caps.reindex(index=closes.index, columns=closes.columns)
