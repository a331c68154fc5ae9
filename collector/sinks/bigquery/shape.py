"""What our rows are in BigQuery: the columns of both tables of a source, and a row as a line of JSON.

A raw table holds answers as they came. A derived table holds the rows of all datasets, each dataset in its own columns.
Numbers stay exact: what a BIGNUMERIC cannot hold is NULL in its column and stands as text in `unfit`.
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from collector.storage.outgoing.sink_rows import DERIVED, RAW, SENDABLE, Form, Sendable

_DIGITS = 38  # before and after the point; a BIGNUMERIC holds at least that many of both
_TYPES = {
    Form.TEXT: "STRING",
    Form.NUMBER: "BIGNUMERIC",
    Form.REAL: "FLOAT",
    Form.WHOLE: "INTEGER",
    Form.FLAG: "BOOLEAN",
    Form.MOMENT: "TIMESTAMP",
    Form.DOCUMENT: "JSON",
    Form.TEXTS: "STRING",
    Form.NUMBERS: "BIGNUMERIC",
    Form.BYTES: "BYTES",
}
SAME_TYPE = {"FLOAT64": "FLOAT", "INT64": "INTEGER", "BOOL": "BOOLEAN", "BIGDECIMAL": "BIGNUMERIC"}
"""Names that BigQuery may give our types back under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column in BigQuery."""

    name: str
    type: str
    mode: str = "NULLABLE"
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A table in BigQuery: its columns, and those that it is clustered by. All are partitioned by `row_time`."""

    columns: tuple[Column, ...]
    clustering: tuple[str, ...]
    comment: str

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns, in order."""
        return tuple(column.name for column in self.columns)


KEY = ("dataset", "row_key", "row_time")
"""What a row is found by, in every table."""
SENT_AT = Column(name="sent_at", type="TIMESTAMP", comment="when it was read from the database, to be sent (UTC)")
_OWN = (
    Column(name="dataset", type="STRING", comment="the kind of row: candles, tickers ...; in raw: what was asked for"),
    Column(name="row_key", type="STRING", comment="the natural key as a JSON list"),
    Column(name="row_time", type="TIMESTAMP", comment="what time it speaks of: open of a bar, else the observation"),
    Column(name="row_version", type="INTEGER", comment="the transaction that wrote it last"),
)
_KNOWN = {
    "base": Column(name="base", type="STRING", comment="base asset of the instrument; in market_snapshots the symbol"),
    "quote": Column(name="quote", type="STRING", comment="quote asset of the instrument"),
    "kind": Column(name="kind", type="STRING", comment="spot, perp, future or index"),
}
_RAW = (
    Column(name="source", type="STRING", comment="who was asked"),
    Column(name="cycle_id", type="INTEGER", comment="the cycle; the same in the derived table"),
    Column(name="cadence", type="STRING", comment="which schedule started the cycle"),
    Column(name="cycle_started_at", type="TIMESTAMP", comment="start of the cycle (UTC)"),
    Column(name="job_id", type="INTEGER", comment="the job"),
    Column(name="seq", type="INTEGER", comment="order within the job"),
    Column(name="subject", type="STRING", comment="about what: an instrument, an asset, all, or a count"),
    Column(name="instruments", type="STRING", mode="REPEATED", comment="canonical ids asked for"),
    Column(name="assets", type="STRING", mode="REPEATED", comment="asset ids asked for"),
    Column(name="interval", type="STRING", comment="length of the bars asked for"),
    Column(name="since", type="TIMESTAMP", comment="start of the range, inclusive (UTC)"),
    Column(name="until", type="TIMESTAMP", comment="end of the range, exclusive (UTC)"),
    Column(name="received_at", type="TIMESTAMP", comment="when the answer was complete (UTC); the same as row_time"),
    Column(name="status", type="INTEGER", comment="HTTP status"),
    Column(name="sha256", type="STRING", comment="digest of the body, hex"),
    Column(name="size", type="INTEGER", comment="length of the body, bytes"),
    Column(name="body", type="STRING", comment="the body as it came; NULL when it is no UTF-8 text"),
    Column(name="body_bytes", type="BYTES", comment="the body as it came, when it is no UTF-8 text"),
)
_UNFIT = Column(name="unfit", type="JSON", comment="values that their column cannot hold exactly, as text by column")


def _derived_columns() -> tuple[Column, ...]:
    found = dict(_KNOWN)
    for kind in SENDABLE[DERIVED]:
        for column in kind.columns:
            mode = "REPEATED" if column.form in {Form.TEXTS, Form.NUMBERS} else "NULLABLE"
            new = Column(name=column.name, type=_TYPES[column.form], mode=mode, comment=column.comment)
            old = found.get(column.name)
            if old is not None and {old.type, new.type} == {"INTEGER", "FLOAT"}:
                new = Column(name=column.name, type="FLOAT", comment=old.comment)  # holds both exactly
            elif old is not None:
                new = old
            found[column.name] = new
    return tuple(found.values())


SHAPES: Mapping[str, Shape] = {
    DERIVED: Shape(
        columns=(*_OWN, *_derived_columns(), _UNFIT),
        clustering=("dataset", "instrument", "interval"),
        comment="Rows of all datasets of one source, each dataset in its own columns",
    ),
    RAW: Shape(
        columns=(*_OWN, *_RAW),
        clustering=("dataset", "cycle_id"),
        comment="Answers of one source as they came",
    ),
}
"""The columns that are sent, by content. A table outside has `sent_at` beside them, which MERGE sets."""


def encode(kind: Sendable, values: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return a row as JSON takes it, with the columns of its shape; what is None is left out."""
    row: dict[str, Any] = {
        "dataset": values["dataset"] if kind.table == "raw_payloads" else kind.table,
        "row_key": json.dumps([_plain(values[name]) for name in kind.key], separators=(",", ":"), ensure_ascii=False),
        "row_time": _plain(values[kind.time]),
        "row_version": version,
    }
    unfit: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        if name == "body":
            row.update(_body(value))
        elif fits(value):
            row[name] = _plain(value)
        else:
            unfit[name] = _exact(value)
    return row | {"unfit": unfit} if unfit else row


def fits(value: Any) -> bool:
    """Return whether a value goes into its column exactly."""
    if isinstance(value, Decimal):
        whole, _, places = format(value, "f").lstrip("-").partition(".")
        return value.is_finite() and len(whole.lstrip("0")) <= _DIGITS and len(places.rstrip("0")) <= _DIGITS
    if isinstance(value, float):
        return math.isfinite(value)
    return all(map(fits, value)) if isinstance(value, list) else True


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _exact(value: Any) -> Any:
    return [_exact(item) for item in value] if isinstance(value, list) else str(value)


def _body(packed: Any) -> dict[str, str]:
    """Return a raw answer as text, or else as bytes in base64."""
    body = zlib.decompress(bytes(packed))
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        import base64  # noqa: PLC0415 - almost no answer needs it

        return {"body_bytes": base64.b64encode(body).decode()}


def quoted(names: Iterable[str], prefix: str = "") -> str:
    """Return names as SQL takes them: some of ours are words of BigQuery."""
    return ", ".join(f"{prefix}`{name}`" for name in names)


__all__ = ["DERIVED", "KEY", "RAW", "SAME_TYPE", "SENT_AT", "SHAPES", "Column", "Shape", "encode", "fits", "quoted"]
