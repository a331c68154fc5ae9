"""The shapes of answers, for the OpenAPI document: made of the columns that are read, so that both cannot differ."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from collector.api.v1.formats import ARROW
from collector.storage.serving import Column, Form


class AnyRow(BaseModel):
    """A row of something that is not collected yet: there are none."""

    model_config = ConfigDict(extra="allow")


_TYPES: Mapping[Form, Any] = {
    Form.TEXT: str,
    Form.NUMBER: float | str,
    Form.REAL: float,
    Form.WHOLE: int,
    Form.FLAG: bool,
    Form.MOMENT: datetime,
    Form.JSON: dict[str, Any] | list[Any],
    Form.TEXTS: list[str],
    Form.NUMBERS: list[float | str],
}
_EXAMPLES: Mapping[Form, Any] = {
    Form.TEXT: "text",
    Form.NUMBER: 97250.5,
    Form.REAL: 51.25,
    Form.WHOLE: 12,
    Form.FLAG: False,
    Form.MOMENT: "2026-01-31T12:00:00.000Z",
    Form.JSON: {},
    Form.TEXTS: ["okx"],
    Form.NUMBERS: [97250.5, 97250.0],
}
_NAMED: Mapping[str, Any] = {
    "instrument": "okx:BTC-USDT:perp",
    "interval": "1h",
    "source": "okx",
    "venue": "okx",
    "base": "BTC",
    "quote": "USDT",
    "kind": "perp",
    "asset_id": "bitcoin",
    "symbol": "BTC",
    "name": "Bitcoin",
    "dataset": "candles",
    "series": "okx:BTC-USDT:perp/1h",
    "state": "ok",
    "cadence": "market",
    "venue_symbol": "BTC-USDT-SWAP",
}


def example_of(columns: Sequence[Column]) -> dict[str, Any]:
    """Return a row as it may look."""
    return {column.name: _NAMED.get(column.name, _EXAMPLES[column.form]) for column in columns}


def row_model(name: str, columns: Sequence[Column], *, chosen: bool = False) -> type[BaseModel]:
    """Return the model of a row; where columns can be chosen, none but those that name a row has to be there."""
    always = {"instrument", "interval", "open_time"}
    fields: dict[str, Any] = {}
    for column in columns:
        kind = _TYPES[column.form] | None if column.null else _TYPES[column.form]
        default = None if chosen and column.name not in always else ...
        fields[column.name] = (kind, Field(default, description=column.comment or None))
    return create_model(name, **fields)


def page_model(name: str, row: type[BaseModel]) -> type[BaseModel]:
    """Return the model of a page of such rows."""
    fields: dict[str, Any] = {
        "data": (list[row], Field(description="The rows")),  # type: ignore[valid-type]  # a class made at run time
        "count": (int, Field(description="How many rows these are")),
        "next": (str | None, Field(description="Cursor of the next page; null: no row comes after these")),
        **_about(),
    }
    return create_model(name, **fields)


def one_model(name: str, row: type[BaseModel]) -> type[BaseModel]:
    """Return the model of an answer that is one row."""
    fields: dict[str, Any] = {"data": (row, Field(description="The row")), **_about()}
    return create_model(name, **fields)


def _about() -> dict[str, Any]:
    return {
        "source": (list[str], Field(description="Who gave the rows, by name")),
        "as_of": (datetime | None, Field(description="Time of the newest row; null without rows")),
        "stale": (bool, Field(description="Whether that is older than twice the time after which a new row is due")),
        "simulated": (bool, Field(description="Whether the data is made up by the simulator")),
    }


def responses_of(example: Mapping[str, Any], *, paged: bool = True) -> dict[int | str, dict[str, Any]]:
    """Return what an address answers when all is well; the errors are the same everywhere."""
    about = {"source": ["okx"], "as_of": "2026-01-31T12:00:00.000Z", "stale": False, "simulated": False}
    page = {"data": [example], "count": 1, "next": "WyI1ZjNhIiwib2t4Il0", **about}
    body = page if paged else {"data": example, **about}
    content: dict[str, Any] = {"application/json": {"example": body}}
    if paged:
        content |= {"text/csv": {"schema": {"type": "string"}}}
        content |= {ARROW: {"schema": {"type": "string", "format": "binary"}}}
    return {
        200: {"content": content, "description": "The rows"},
        304: {"description": "The client has the same answer already (If-None-Match)"},
    }
