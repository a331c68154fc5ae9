"""The tables, and which record goes into which; every column explains itself in the database's own comments."""

from collections.abc import Mapping

from sqlalchemy import Table

from collector import records
from collector.storage.models.alerts import ALERT_MESSAGES, ALERTS
from collector.storage.models.analytics import ANALYTICS
from collector.storage.models.columns import METADATA
from collector.storage.models.ledger import CYCLES, JOBS, PROVIDER_BUDGETS, PROVIDER_STATE, RAW_PAYLOADS, REJECTS
from collector.storage.models.listings import ASSET_DETAILS, ASSETS, INSTRUMENTS, LISTING_CHANGES
from collector.storage.models.market import (
    CANDLES,
    FUNDING_FORECASTS,
    FUNDING_RATES,
    FUNDING_TERMS,
    GLOBAL_SNAPSHOTS,
    INDICATOR_COLUMNS,
    INDICATORS,
    MARK_PRICES,
    MARKET_SNAPSHOTS,
    OPEN_INTEREST,
    ORDER_BOOKS,
    SENTIMENTS,
    TICKERS,
)
from collector.storage.models.retention import COLD_MONTHS, RETENTION, TABLE_SIZES, THINNED_MONTHS
from collector.storage.models.sinks import SINK_WATERMARKS
from collector.storage.models.trust import COVERAGE, REVISIONS, SUSPECTS

TABLES: Mapping[type[records.Record], Table] = {
    records.Asset: ASSETS,
    records.AssetDetails: ASSET_DETAILS,
    records.InstrumentListing: INSTRUMENTS,
    records.MarketSnapshot: MARKET_SNAPSHOTS,
    records.GlobalMarket: GLOBAL_SNAPSHOTS,
    records.Ticker: TICKERS,
    records.Candle: CANDLES,
    records.OrderBook: ORDER_BOOKS,
    records.MarkPrice: MARK_PRICES,
    records.FundingForecast: FUNDING_FORECASTS,
    records.FundingRate: FUNDING_RATES,
    records.FundingTerms: FUNDING_TERMS,
    records.OpenInterest: OPEN_INTEREST,
    records.Sentiment: SENTIMENTS,
}
"""Where each record is stored. Its key is the table's primary key, with `instrument_id` for `instrument`."""

__all__ = [
    "ALERTS",
    "ALERT_MESSAGES",
    "ANALYTICS",
    "ASSETS",
    "ASSET_DETAILS",
    "CANDLES",
    "COLD_MONTHS",
    "COVERAGE",
    "CYCLES",
    "FUNDING_FORECASTS",
    "FUNDING_RATES",
    "FUNDING_TERMS",
    "GLOBAL_SNAPSHOTS",
    "INDICATORS",
    "INDICATOR_COLUMNS",
    "INSTRUMENTS",
    "JOBS",
    "LISTING_CHANGES",
    "MARKET_SNAPSHOTS",
    "MARK_PRICES",
    "METADATA",
    "OPEN_INTEREST",
    "ORDER_BOOKS",
    "PROVIDER_BUDGETS",
    "PROVIDER_STATE",
    "RAW_PAYLOADS",
    "REJECTS",
    "RETENTION",
    "REVISIONS",
    "SENTIMENTS",
    "SINK_WATERMARKS",
    "SUSPECTS",
    "TABLES",
    "TABLE_SIZES",
    "THINNED_MONTHS",
    "TICKERS",
]
