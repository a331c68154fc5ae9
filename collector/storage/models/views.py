"""Views for people at psql: names in place of ids, one level per row, and the newest row of each subject."""

from collections.abc import Mapping

from sqlalchemy import Table

from collector.storage.models.analytics import DERIVED_METRICS, SIGNAL_OUTCOMES, SIGNAL_REVISIONS, SIGNALS
from collector.storage.models.market import (
    CANDLES,
    FUNDING_FORECASTS,
    FUNDING_RATES,
    FUNDING_TERMS,
    INDICATORS,
    MARK_PRICES,
    MARKET_SNAPSHOTS,
    OPEN_INTEREST,
    ORDER_BOOKS,
    TICKERS,
)
from collector.storage.models.price_trends import PRICE_TRENDS

NAMED = (
    CANDLES,
    DERIVED_METRICS,
    FUNDING_FORECASTS,
    FUNDING_RATES,
    FUNDING_TERMS,
    INDICATORS,
    MARK_PRICES,
    OPEN_INTEREST,
    ORDER_BOOKS,
    SIGNALS,
    SIGNAL_OUTCOMES,
    SIGNAL_REVISIONS,
    TICKERS,
)
LATEST = (MARK_PRICES, OPEN_INTEREST, TICKERS)
_FIRST = ("interval", "open_time", "funding_time", "observed_at")
_LAST = ("source", "received_at", "computed_at", "cycle_id")


def _columns(table: Table) -> str:
    """Return the columns as a person reads them: when, the values, then where they came from."""
    names = [column.name for column in table.columns if column.name not in {"instrument_id", "asset_id"}]
    values = [name for name in names if name not in _FIRST + _LAST]
    ordered = [name for name in _FIRST if name in names] + values + [name for name in _LAST if name in names]
    return ", ".join(f"t.{name}" for name in ordered)


def _named(table: Table) -> str:
    return f"SELECT i.instrument, {_columns(table)} FROM {table.name} t JOIN instruments i USING (instrument_id)"


def _latest(table: Table) -> str:
    return (
        f"SELECT i.instrument, {_columns(table)} FROM instruments i CROSS JOIN LATERAL (SELECT * FROM {table.name} r "
        "WHERE r.instrument_id = i.instrument_id ORDER BY r.observed_at DESC LIMIT 1) t"
    )


def _levels(side: str) -> str:
    return (
        f"SELECT i.instrument, b.observed_at, '{side}' AS side, l.level::integer AS level, l.price, l.size, b.source, "
        "b.cycle_id FROM order_books b JOIN instruments i USING (instrument_id) CROSS JOIN LATERAL "
        f"unnest(b.{side}_prices, b.{side}_sizes) WITH ORDINALITY AS l(price, size, level)"
    )


VIEWS: Mapping[str, str] = {
    **{f"v_{table.name}": _named(table) for table in NAMED},
    "v_market_snapshots": (
        f"SELECT t.asset_id, a.symbol, a.name, {_columns(MARKET_SNAPSHOTS)} "
        "FROM market_snapshots t LEFT JOIN assets a USING (source, asset_id)"
    ),
    "order_book_levels": f"{_levels('bid')} UNION ALL {_levels('ask')}",
    **{f"latest_{table.name}": _latest(table) for table in LATEST},
    "latest_market_snapshots": (
        f"SELECT t.asset_id, a.symbol, a.name, {_columns(MARKET_SNAPSHOTS)} FROM assets a CROSS JOIN LATERAL "
        "(SELECT * FROM market_snapshots r WHERE r.asset_id = a.asset_id AND r.source = a.source "
        "ORDER BY r.observed_at DESC LIMIT 1) t"
    ),
    "v_price_trends": " ".join(PRICE_TRENDS.split()),
}
"""View -> its query. A view that is not in the newest migration does not exist: `tests/migrations` compares."""

COMMENTS: Mapping[str, str] = {
    **{f"v_{table.name}": f"{table.name} with instrument names" for table in NAMED},
    "v_market_snapshots": "market_snapshots with symbols and names",
    "order_book_levels": "order_books, one row per level; level 1 is the best",
    **{f"latest_{table.name}": f"newest row of {table.name} per instrument" for table in LATEST},
    "latest_market_snapshots": "newest row of market_snapshots per asset",
    "v_price_trends": "change, volatility and drawdowns over 7, 30 and 90 days per instrument, from 1d candles",
}
