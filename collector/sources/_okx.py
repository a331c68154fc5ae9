"""The OKX envelope in the terms of our errors, and readers for its rows, where "" means that a value does not apply."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.parsing import Fields, decode_json, to_object, to_optional_decimal
from collector.records import Answer, Payload, Record, Reject, RejectReason

Item = Record | Reject

SUCCESS = "0"
TOO_MANY = frozenset({"50011", "50040"})
BUSY = frozenset({"50001", "50004", "50013", "50026"})
NOT_SERVED = frozenset({"50051", "50052", "50059", "50121"})  # by country, law or address
GONE = frozenset({"50047", "51001", "51014"})  # settled for good, no such instrument, no such index
HTTP_GOOD, HTTP_SERVER_ERRORS = range(200, 300), range(500, 600)
_KEY_TROUBLE = re.compile(r"501(0[1-9]|1[0-4])")  # 50101-50114
_WAIT = re.compile(r"[0-9]{1,6}", re.ASCII)  # seconds
_GOOD_START = re.compile(rb'\s*\{\s*("msg"\s*:\s*"[^"\\]{0,200}"\s*,\s*)?"code"\s*:\s*"0"\s*[,}]')


def check_envelope(answer: Answer, source: str) -> None:
    """Raise the VenueError that an answer stands for, whatever its HTTP status; return for a good one.

    A good answer that names its code first is not decoded. A 2xx answer of unknown shape passes: its parser says
    where the shape is wrong.
    """
    good_status = answer.status in HTTP_GOOD
    if good_status and _GOOD_START.match(answer.body):
        return
    if good_status and answer.body[:64].lstrip().startswith(b"<"):
        raise VenueUnreachable("a page of markup instead of data", source=source, status=answer.status)
    code, message = _read_envelope(answer.body)
    if good_status and code in {SUCCESS, ""}:
        return
    raise _error(answer, code, message, source)


def _read_envelope(body: bytes) -> tuple[str, str]:
    """Return code and message; both empty when the body is no envelope."""
    try:
        document = decode_json(body)
    except PayloadError:  # markup, an empty or a cut body: the HTTP status has to do
        return "", ""
    code = document.get("code") if isinstance(document, dict) else None
    if not isinstance(code, str | int):
        return "", ""
    one_line = " ".join(str(document.get("msg") or "").split())[:200]
    return str(code)[:20], one_line.encode("utf-8", "backslashreplace").decode()


def _error(answer: Answer, code: str, message: str, source: str) -> VenueError:
    status = answer.status
    base = code.partition("_")[0]  # "51004_1101" is a kind of 51004
    text = f"HTTP {status}, code {code or 'none'}: {message or 'no message'}"
    if base in BUSY:
        return VenueUnreachable(text, source=source, status=status, code=code)
    if base in TOO_MANY or status in {418, 429}:
        return RateLimited(text, source=source, status=status, code=code, retry_at=_retry_at(answer))
    if base in NOT_SERVED or _KEY_TROUBLE.fullmatch(base) or status in {401, 403, 451}:
        return AccessDenied(text, source=source, status=status, code=code)
    if status in HTTP_SERVER_ERRORS and base not in GONE:
        return VenueUnreachable(text, source=source, status=status, code=code)
    return RequestRejected(text, source=source, status=status, code=code, symbol_gone=base in GONE)


def _retry_at(answer: Answer) -> datetime | None:
    """OKX documents no Retry-After; a proxy in front of it may send one in seconds."""
    wait = answer.headers.get("retry-after", "")
    return answer.received_at + timedelta(seconds=int(wait)) if _WAIT.fullmatch(wait) else None


def unwrap(body: bytes) -> list[Any]:
    """Return `data` of a good envelope; anything else raises PayloadError."""
    envelope = to_object(decode_json(body), "$")
    code = str(envelope.require("code"))
    if code != SUCCESS:
        raise PayloadError(f"expected code 0, got {code[:40]!r}", "$.code")
    return envelope.list("data")


class NotBelieved(Exception):
    """One row has no value that its record needs; `converted` turns this into a Reject, the other rows go on."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def converted(origin: Payload, row: Fields, convert: Callable[..., Record], *context: object) -> Item:
    """Return the record of one row, or its Reject."""
    try:
        return convert(origin, row, *context)
    except NotBelieved as doubt:
        return Reject(job=origin.job, row=str(row.values)[:500], reason=doubt.reason, detail=str(doubt))


def said(row: Fields, key: str) -> Decimal | None:
    """Return the number, None for ""; a missing key is an unknown shape."""
    return to_optional_decimal(row.require(key), row.at(key))


def number(row: Fields, key: str, reason: RejectReason = RejectReason.INCONSISTENT) -> Decimal:
    """Return the number; a row without it is not believed."""
    value = said(row, key)
    if value is None:
        raise NotBelieved(reason, f"{key} is empty")
    return value


def moment(row: Fields, key: str) -> datetime:
    """Return the moment; a row without it is not believed."""
    row.require(key)
    value = row.optional_millis(key)
    if value is None:
        raise NotBelieved(RejectReason.NO_TIME, f"{key} is empty")
    return value
