"""CoinGecko's errors, which come in five JSON shapes, as plain text and as HTML, in the terms of ours."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.parsing import decode_json
from collector.records import Answer

ACCESS_CODES = frozenset({"10002", "10010", "10011", "1020"})  # key, root URL; 1020 is the firewall
OTHER_PLAN = "10005"  # sent with status 401 for an endpoint that the plan does not have; the others are served
STATUS_CODES = frozenset({"401", "403", "404", "408", "429", "500", "502", "503", "504"})  # meant even under a 200
RANGE_TOO_OLD = "10012"  # sent with status 401, yet only this request is wrong


def raise_error(answer: Answer, source: str) -> None:
    """Raise the VenueError that an answer stands for; a 2xx without an error object passes."""
    good = HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
    if good and not answer.body.lstrip().startswith(b"{"):
        return
    error = read_error(answer.body)
    if good and error is None:
        return
    code, text = error or ("", answer.body[:2000].decode("utf-8", "replace"))
    raise _translate(answer, source, code, text)


def read_error(body: bytes) -> tuple[str, str] | None:
    """Return (code, text) of an error object in any of the five shapes; None when the body is no such object.

    Shapes: {error: text}, {status: {error_code, error_message}}, the same inside {error: ...},
    {error_code, status: {error_message}} and {status: number, error: text}.
    """
    try:
        document = decode_json(body)
    except PayloadError:
        return None
    if not isinstance(document, dict):
        return None
    error, status = document.get("error"), document.get("status")
    inner = error.get("status", error) if isinstance(error, dict) else status
    if isinstance(inner, dict) and (isinstance(error, dict) or {"error_code", "error_message"} & inner.keys()):
        return _code(inner.get("error_code", document.get("error_code"))), str(inner.get("error_message", ""))
    if error is not None:
        return _code(status), str(error)
    return (_code(document["error_code"]), "") if "error_code" in document else None


def _code(value: Any) -> str:
    return str(value) if isinstance(value, int | str) else ""


def _translate(answer: Answer, source: str, code: str, text: str) -> VenueError:
    message = f"HTTP {answer.status}" + (f", code {code}" if code else "") + f": {' '.join(text.split())[:200]}"
    facts: dict[str, Any] = {"source": source, "status": answer.status, "code": code}
    status = int(code) if code in STATUS_CODES else answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or text.strip().lower().startswith("throttled"):
        return RateLimited(message, retry_at=_retry_at(answer), **facts)
    if code in ACCESS_CODES or (status in {401, 403, 451} and code not in {RANGE_TOO_OLD, OTHER_PLAN}):
        return AccessDenied(message, **facts)
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return VenueUnreachable(message, **facts)
    return RequestRejected(message, symbol_gone="coin not found" in text.lower(), **facts)


def _retry_at(answer: Answer) -> datetime | None:
    """Return when `Retry-After` is over; it was always seen in whole seconds, at most some minutes."""
    seconds = answer.headers.get("retry-after", "").strip()
    try:
        return answer.received_at + timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):  # absent, a date, or beyond the calendar
        return None
