"""A page as bytes: JSON, CSV or an Arrow stream; numbers that are none leave as null in all of them."""

import csv
import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response

from collector.storage.serving import Column, Form

Row = Sequence[Any]
ARROW = "application/vnd.apache.arrow.stream"
TYPES = {"json": "application/json", "csv": "text/csv; charset=utf-8", "arrow": ARROW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is told, whatever the format."""

    name: str  # for the file
    columns: Sequence[Column]
    rows: Sequence[Row]
    source: Sequence[str]
    as_of: str | None
    stale: bool
    simulated: bool
    cursor: str | None  # of the next page
    exact: bool = False  # decimals are text


def response(answer: Answer, form: str, request: Request) -> Response:
    """Return the response to a request; 304 without a body when the client has the same one."""
    return tagged(_WRITERS[form](answer), {"Content-Type": TYPES[form], **_told(answer, form, request)}, request)


def tagged(body: bytes, more: Mapping[str, str], request: Request) -> Response:
    """Return the response of a body with a tag of its bytes; 304 without a body when the client has the same one."""
    tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", **more}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers)


def _told(answer: Answer, form: str, request: Request) -> dict[str, str]:
    headers = {}
    if answer.cursor is not None:
        query = {**request.query_params, "cursor": answer.cursor}
        headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    if form == "json":
        return headers
    headers |= {f"X-{name}": value for name, value in _facts(answer).items()}
    headers["Content-Disposition"] = f'attachment; filename="{answer.name}.{form}"'
    return headers


def _facts(answer: Answer) -> dict[str, str]:
    """Return what the JSON body says beside its rows, for formats that only have rows."""
    told = {
        "Source": ",".join(answer.source),
        "As-Of": answer.as_of or "",
        "Stale": str(answer.stale).lower(),
        "Simulated": str(answer.simulated).lower(),
        "Next-Cursor": answer.cursor or "",
    }
    return {name: value for name, value in told.items() if value}


def rows_of(columns: Sequence[Column], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows by column name, as orjson writes them (it writes what is no number as null)."""
    names = [column.name for column in columns]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for column in columns:
        if column.form is Form.JSON:
            for row in found:
                if row[column.name] is not None:
                    row[column.name] = orjson.Fragment(row[column.name])
    return found


def _json(answer: Answer) -> bytes:
    return orjson.dumps(
        {
            "data": rows_of(answer.columns, answer.rows),
            "count": len(answer.rows),
            "next": answer.cursor,
            "source": answer.source,
            "as_of": answer.as_of,
            "stale": answer.stale,
            "simulated": answer.simulated,
        }
    )


def _csv(answer: Answer) -> bytes:
    if not answer.columns:
        return b""  # of what nobody collects yet no column is known
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow([column.name for column in answer.columns])
    writer.writerows([[_cell(value) for value in row] for row in answer.rows])
    return written.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return orjson.dumps(value).decode() if isinstance(value, list) else value


def _arrow(answer: Answer) -> bytes:
    import pyarrow as pa  # type: ignore[import-untyped] # noqa: PLC0415 - 40 MB that a server without Arrow clients does not pay for

    kinds: Mapping[Form, Any] = {
        Form.TEXT: pa.string(),
        Form.NUMBER: pa.string() if answer.exact else pa.float64(),
        Form.REAL: pa.float64(),
        Form.WHOLE: pa.int64(),
        Form.FLAG: pa.bool_(),
        Form.MOMENT: pa.timestamp("us", tz="UTC"),
        Form.JSON: pa.string(),
        Form.TEXTS: pa.list_(pa.string()),
        Form.NUMBERS: pa.list_(pa.string() if answer.exact else pa.float64()),
    }
    told = {name.lower().replace("-", "_"): value for name, value in _facts(answer).items()}
    schema = pa.schema([pa.field(column.name, kinds[column.form]) for column in answer.columns], metadata=told)
    columns = zip(*answer.rows, strict=True) if answer.rows else [() for _ in answer.columns]
    arrays = [pa.array(map(_finite, values), kind.type) for values, kind in zip(columns, schema, strict=True)]
    written = io.BytesIO()
    with pa.ipc.new_stream(written, schema) as stream:
        stream.write_batch(pa.record_batch(arrays, schema=schema))
    return written.getvalue()


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


_WRITERS: Mapping[str, Callable[[Answer], bytes]] = {"json": _json, "csv": _csv, "arrow": _arrow}
