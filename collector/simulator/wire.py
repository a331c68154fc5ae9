"""Requests and responses as plain values, and the exact text of numbers; what every simulated venue shares.

A `Request` is what arrived, a `Response` what leaves: the two places where a fault may be put in between.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One parsed request. Header names are lower case; `query` holds the last value of a repeated name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    address: str


class Manner(Enum):
    """How the bytes of an answer leave; anything but WHOLE ends the connection afterwards."""

    WHOLE = "whole"
    SILENT = "silent"  # the connection stays open and nothing comes
    HANG_UP = "hang_up"  # closed without a byte
    RESET_AFTER_HEAD = "reset_after_head"
    CUT_BODY = "cut_body"  # closed in the middle of the announced length
    DRIP_HEAD = "drip_head"  # byte by byte
    DRIP_BODY = "drip_body"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer: status, body bytes, their type, extra headers, and how it is delivered."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    manner: Manner = Manner.WHOLE


class BadQuery(ValueError):
    """The request cannot be answered; carries the venue's own status and error body."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a body as compact JSON."""
    return Response(status=status, body=encode(body), headers=headers or {})


def encode(body: object) -> bytes:
    """Return compact UTF-8 JSON; whole Decimals become integers and others floats (exact up to 15 digits)."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, default=_number).encode()


def _number(value: object) -> int | float:
    if not isinstance(value, Decimal):
        raise TypeError(f"cannot write {type(value).__name__} as JSON")
    return int(value) if value == value.to_integral_value() else float(value)


def fixed(value: int, exponent: int) -> str:
    """Write a count of 10**exponent with all its decimals: 150 hundredths are "1.50"."""
    return fixed_all([value], exponent)[0]


def fixed_all(values: list[int], exponent: int) -> list[str]:
    """Write many counts (0 or more) of 10**exponent with all their decimals."""
    if exponent >= 0:
        return [f"{value}{'0' * exponent}" if value else "0" for value in values]
    least = 1 - exponent
    texts = [str(value).zfill(least) for value in values]
    return [f"{text[:exponent]}.{text[exponent:]}" for text in texts]


def short_all(values: list[int], exponent: int) -> list[str]:
    """Write many counts (0 or more) of 10**exponent without needless zeros."""
    texts = fixed_all(values, exponent)
    return [text.rstrip("0").rstrip(".") for text in texts] if exponent < 0 else texts


def full_text(value: Decimal) -> str:
    """Return a Decimal with all its decimals and never an exponent."""
    return format(value, "f")


def short_text(value: Decimal) -> str:
    """Return a Decimal without needless zeros and never an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
