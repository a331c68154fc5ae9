"""Turns what goes wrong on the wire into our errors, in one line a person understands and without a secret in it."""

import http.client
import math
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, quote_plus

import requests
import urllib3.exceptions as wire

from collector.errors import AccessDenied, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.records import Answer

FOREIGN = (requests.RequestException, wire.HTTPError, http.client.HTTPException, OSError)
"""Everything that requests, urllib3, ssl and sockets raise."""

HIDDEN = "***"
_KEYED = re.compile(r"(?i)((?:api[_-]?key|apikey|signature|secret|token|password)=)[^&\s'\"]+")
_LOGIN = re.compile(r"(://)[^/\s:@]+:[^/\s@]+@")
REFUSALS = (418, 429)  # to go on calling after these is what providers ban for
_DENIED = (401, 403, 451)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without the secrets, however they are quoted, and without key parameters and logins of URLs."""
    for secret in secrets:
        if secret:
            for form in {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}:
                text = text.replace(form, HIDDEN)
    return _LOGIN.sub(rf"\1{HIDDEN}@", _KEYED.sub(rf"\1{HIDDEN}", text))


def redact_chain(error: BaseException, secrets: Iterable[str]) -> None:
    """Redact the texts of an error and of everything behind it, in place."""
    for item in _chain(error):
        item.args = tuple(redact(value, secrets) if isinstance(value, str) else value for value in item.args)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, its causes and the errors wrapped in its arguments, each once."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        item = todo.pop()
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            todo += [*item.args, item.__cause__, item.__context__, getattr(item, "reason", None)]


def unreachable(error: BaseException, host: str, timeouts: tuple[float, float], proxy: str | None = None) -> str:
    """Return what a foreign error means; `host` is host or host:port, `timeouts` connect and read in seconds.

    `proxy` is host:port of the proxy that the call went through: the text says that it was in between.
    """
    causes = list(_chain(error))
    where = behind(host, proxy)
    if proxy and any(isinstance(item, wire.ProxyError) for item in causes):  # it was the proxy that did not answer
        where = f"the proxy {proxy} on the way to {host}"
    for kind, text in (
        (wire.NameResolutionError, f"cannot resolve {where}"),
        (ConnectionRefusedError, f"{where} refuses connections"),
        (wire.NewConnectionError, f"no connection to {where}"),
        (wire.ConnectTimeoutError, f"no connection to {where} within {timeouts[0]:g} s"),
        (wire.ReadTimeoutError, f"no answer from {where} within {timeouts[1]:g} s"),
        (ssl.SSLCertVerificationError, f"cannot trust the certificate of {where}"),
        (http.client.IncompleteRead, f"the answer of {where} is cut off"),
        (wire.DecodeError, f"the answer of {where} cannot be decompressed"),
        (wire.SSLError, f"no secure connection to {where}"),
        (ConnectionError, f"{where} closed the connection without a full answer"),
        (http.client.BadStatusLine, f"{where} does not speak HTTP"),
        (TimeoutError, f"no answer from {where} within {timeouts[1]:g} s"),
        (wire.ProtocolError, f"the answer of {where} is cut off"),
        (wire.ProxyError, f"{where} gives no connection"),
    ):
        found = next((item for item in causes if isinstance(item, kind)), None)
        if found is not None:
            return text + _detail(found)
    return f"no usable answer from {where} ({type(error).__name__})"


def behind(host: str, proxy: str | None) -> str:
    """Return the host with the proxy in front of it, if there is one."""
    return f"{host} (through the proxy {proxy})" if proxy else host


def _detail(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f": {error.verify_message}"
    if isinstance(error, wire.IncompleteRead):
        return f" ({error.partial} bytes came, {error.expected} were missing)"
    if isinstance(error, wire.NewConnectionError) and isinstance(error.__cause__, OSError):
        reason = error.__cause__
        return "" if isinstance(reason, socket.gaierror) else f": {reason.strerror or reason}"
    return ""


def classify(answer: Answer) -> VenueError | None:
    """Return the error that a status alone stands for; None for 2xx."""
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004
        return None
    said = _excerpt(answer)
    if status in REFUSALS:
        return RateLimited(f"HTTP {status}: calls are refused for now{said}", status=status, banned=status == 418)  # noqa: PLR2004
    if status in _DENIED:
        return AccessDenied(f"HTTP {status}: access denied{said}", status=status)
    if status == 408 or status >= 500:  # noqa: PLR2004
        return VenueUnreachable(f"HTTP {status}: the provider fails{said}", status=status)
    if status >= 400:  # noqa: PLR2004
        return RequestRejected(f"HTTP {status}: request rejected{said}", status=status)
    target = answer.headers.get("location", "")
    return VenueError(f"HTTP {status}: redirected to {target or 'nowhere'}, not followed", status=status)


def _excerpt(answer: Answer) -> str:
    """Return the beginning of an error text in one printable line; nothing for a web page."""
    text = answer.body[:200].decode("utf-8", "replace").strip()
    if not text or text.startswith("<"):
        return ""
    return ": " + "".join(char if char.isprintable() else " " for char in text)


def retry_after(answer: Answer, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, negative when past; None when it says nothing usable."""
    text = answer.headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text, now)
    return seconds if math.isfinite(seconds) else None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
