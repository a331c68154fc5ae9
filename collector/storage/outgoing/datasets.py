"""The datasets that leave as files: columns in the tables' own types, keys, times, and how they are cut into files.

A file carries an instrument's canonical id in place of its number, which means something in one database only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Boolean, DateTime, Double, Integer, LargeBinary, Numeric, Table
from sqlalchemy import Column as TableColumn
from sqlalchemy.dialects.postgresql import JSONB

from collector.storage.models import METADATA


class Form(Enum):
    """What a value is."""

    TEXT = "text"
    NUMBER = "number"  # exact
    REAL = "real"  # computed, float64
    WHOLE = "whole"
    FLAG = "flag"
    MOMENT = "moment"  # microseconds, UTC
    DOCUMENT = "document"  # JSON as text
    TEXTS = "texts"  # list
    NUMBERS = "numbers"  # list of exact numbers
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a file. `scale`: decimal places of an exact number in Parquet; 38 - scale digits are before them."""

    name: str
    form: Form
    nullable: bool
    comment: str
    scale: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exportable:
    """A table as it leaves in files and comes back from them."""

    name: str  # of the dataset, its table and its folder
    columns: tuple[Column, ...]  # of a file, in order: the table's, `instrument` in place of `instrument_id`
    key: tuple[str, ...]  # the natural key in a file's words
    time: str | None  # what ranges and months are about; None: one present state, always exported whole
    partition: str | None  # venue, source, or None: there is a file for each value and month
    received: str | None  # the column that says when a row became known
    numbered: bool  # the table says instrument_id where the file says instrument
    condition: str = "true"  # which rows of the table `t` are told at all
    past: str = ""  # why what was known at a past moment cannot be told; empty: it can
    imported: str = ""  # why rows cannot go into another database; empty: they can

    @property
    def by_series(self) -> bool:
        """Return whether the table's key leads to the rows of one instrument in order of time."""
        if not self.numbered or self.time is None:
            return False
        return self.key[2 if self.has_interval else 1] == self.time

    @property
    def has_interval(self) -> bool:
        """Return whether the second part of the key is the length of a bar."""
        return self.key[1:2] == ("interval",)

    def column(self, name: str) -> Column:
        """Return a column by its name; raises KeyError for another one."""
        return {column.name: column for column in self.columns}[name]

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns, in order."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Which rows of a dataset: those of a time [since, until) and of one venue or source. None is no bound.

    A dataset without a time has no bounds in time. `as_of` gives what was known then; None: today.
    """

    since: datetime | None = None
    until: datetime | None = None
    part: str | None = None
    as_of: datetime | None = None


# Decimal places in Parquet. Prices of the smallest coins have many, percentages and rates are given as computed, and
# there are more coins of some kinds than 20 digits hold. What does not fit all the same is kept as text.
_PRICES = (
    *("open", "high", "low", "close", "last_price", "bid_price", "ask_price", "open_24h", "high_24h", "low_24h"),
    *("bid_prices", "ask_prices", "best_bid", "best_ask", "mark_price", "index_price", "tick_size"),
    *("price_usd", "high_24h_usd", "low_24h_usd", "ath_usd", "atl_usd"),
)
_SHARES = (
    *("rate", "rate_cap", "rate_floor", "change_1h_pct", "change_24h_pct", "change_7d_pct"),
    *("btc_dominance_pct", "eth_dominance_pct", "market_cap_change_24h_pct"),
)
_SUPPLIES = ("circulating_supply", "total_supply", "max_supply")
_SCALES = {**dict.fromkeys(_PRICES, 24), **dict.fromkeys(_SHARES, 28), **dict.fromkeys(_SUPPLIES, 12)}
_SCALE = 18  # of sizes, volumes and money

IMPORT = "import"
"""The cadence of the cycles that stand for imports; they have negative numbers, which no collector gives."""

_FORMS: tuple[tuple[type[Any], Form], ...] = (
    (Double, Form.REAL),
    (Numeric, Form.NUMBER),
    (BigInteger, Form.WHOLE),
    (Integer, Form.WHOLE),
    (Boolean, Form.FLAG),
    (DateTime, Form.MOMENT),
    (JSONB, Form.DOCUMENT),
    (LargeBinary, Form.BYTES),
)


def _form(column: TableColumn[Any]) -> Form:
    kind = column.type
    if isinstance(kind, ARRAY):
        return Form.NUMBERS if isinstance(kind.item_type, Numeric) else Form.TEXTS
    return next((form for base, form in _FORMS if isinstance(kind, base)), Form.TEXT)


def _column(column: TableColumn[Any]) -> Column:
    if column.name == "instrument_id":
        return Column(
            name="instrument", form=Form.TEXT, nullable=False, comment="canonical id (instruments.instrument)"
        )
    form = _form(column)
    return Column(
        name=column.name,
        form=form,
        nullable=bool(column.nullable),
        comment=str(column.comment),
        scale=_SCALES.get(column.name, _SCALE) if form in {Form.NUMBER, Form.NUMBERS} else 0,
    )


def _exportable(
    name: str, time: str | None, *, past: str = "", imported: str = "", condition: str = "true"
) -> Exportable:
    table = METADATA.tables[name]
    numbered = "instrument_id" in table.columns and name != "instruments"
    columns = tuple(_column(column) for column in table.columns if numbered or column.name != "instrument_id")
    key = ("instrument",) if name == "instruments" else tuple(column.name for column in table.primary_key)
    return Exportable(
        name=name,
        columns=columns,
        key=tuple("instrument" if part == "instrument_id" else part for part in key),
        time=time,
        partition=_partition(table),
        received=next((known for known in _RECEIVED if known in table.columns), None),
        numbered=numbered,
        condition=condition,
        past=past,
        imported=imported,
    )


def _partition(table: Table) -> str | None:
    if "instrument_id" in table.columns:
        return "venue"
    return "source" if "source" in table.columns and table.columns["source"].primary_key else None


_RECEIVED = ("received_at", "computed_at", "detected_at", "noted_at", "at")
_STATE = "only its present state is kept"
_AGAIN = "its rows are computed again when their inputs change, and the former ones are not kept"
_LOCAL = "its rows mean something in their own database only"
_OBSERVED = ("market_snapshots", "global_snapshots", "tickers", "order_books", "mark_prices", "funding_forecasts")
_COMPUTED = {
    "trends": "as_of",
    "breadth": "as_of",
    "derived_metrics": "observed_at",
    "rank_history": "day",
    "asset_views": "as_of",
    "factor_returns": "day",
    "factor_exposures": "as_of",
    "portfolio_runs": "as_of",
    "portfolio_weights": "as_of",
    "signal_outcomes": "bar_end",
    "information_coefficients": "as_of",
    "paper_equity": "day",
}

EXPORTABLE: Mapping[str, Exportable] = {
    found.name: found
    for found in (
        _exportable("instruments", None, past=_STATE),
        _exportable("assets", None, past=_STATE),
        _exportable("asset_details", None, past=_STATE),
        _exportable("candles", "open_time"),
        *(_exportable(name, "observed_at") for name in _OBSERVED),
        _exportable("funding_rates", "funding_time"),
        _exportable("funding_terms", None, past=_STATE),
        _exportable("open_interest", "observed_at"),
        _exportable("sentiments", "observed_at"),
        _exportable("indicators", "open_time", past=_AGAIN),
        _exportable("signals", "bar_end"),
        _exportable("signal_revisions", "bar_end"),
        *(_exportable(name, time, past=_AGAIN) for name, time in _COMPUTED.items()),
        _exportable("cycles", "started_at", past=_STATE, condition=f"t.cadence <> '{IMPORT}'"),
        _exportable("coverage", None, past=_STATE),
        _exportable("suspects", "noted_at", past=_STATE),
        _exportable("listing_changes", "at", imported=_LOCAL),
        _exportable("revisions", "detected_at", imported=_LOCAL),
        _exportable("jobs", None, past=_STATE, imported=_LOCAL),
        _exportable("rejects", "at", imported=_LOCAL),
        _exportable("raw_payloads", "received_at", imported=_LOCAL),
    )
}
"""Every dataset by its name, in the order in which files are imported: what others refer to comes first."""
