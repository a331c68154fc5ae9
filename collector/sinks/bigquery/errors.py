"""What Google's libraries raise, as errors of ours: what cannot be reached, what refuses us, what is wrong here."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, ServerError, TooManyRequests
from google.auth.exceptions import GoogleAuthError, TransportError
from google.resumable_media.common import DataCorruption, InvalidResponse

from collector.errors import SinkError, Verdict

_MOST_TEXT = 2000  # a page instead of a message; what BigQuery says of a statement has 600
_PASSING = {"rateLimitExceeded", "backendError", "internalError", "jobBackendError", "jobInternalError", "timeout"}
_PASSING |= {"tableUnavailable", "jobRateLimitExceeded"}
_REFUSING = {"accessDenied", "billingNotEnabled", "responseTooLarge", "billingTierLimitExceeded", "blocked"}


class WarehouseDown(SinkError):
    """BigQuery cannot be reached, or cannot work now: every table waits for the next turn."""

    verdict = Verdict.RETRY


class AccessRefused(SinkError):
    """BigQuery does not let us in: a human must act."""


class TableGone(SinkError):
    """A table that was there is not any more."""


FOREIGN = (GoogleAPICallError, RetryError, GoogleAuthError, InvalidResponse, DataCorruption, OSError)
"""What the libraries raise for what happens outside; connections cut are OSErrors."""


def passes(error: BaseException) -> bool:
    """Return whether the same call may succeed in a moment."""
    if isinstance(error, Forbidden):
        return bool(_reasons(error) & _PASSING)
    if isinstance(error, TransportError | InvalidResponse | DataCorruption | OSError):
        return True
    return isinstance(error, TooManyRequests | ServerError)


def _reasons(error: GoogleAPICallError) -> set[str]:
    return {str(item.get("reason")) for item in error.errors if isinstance(item, Mapping)}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise an error of ours in place of the libraries'; `doing` begins its text."""
    try:
        yield
    except FOREIGN as error:
        raise _ours(error, doing) from error


def _ours(error: Exception, doing: str) -> SinkError:
    cause = error.cause if isinstance(error, RetryError) and error.cause is not None else error
    text = f"{doing}: {one_line(cause)}"
    if isinstance(cause, GoogleAuthError) and not isinstance(cause, TransportError):
        return AccessRefused(f"{text} (gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS)")
    if isinstance(cause, NotFound):
        return TableGone(text)
    if passes(cause) or isinstance(error, RetryError):
        return WarehouseDown(text)
    if isinstance(cause, GoogleAPICallError) and cause.code in {401, 403}:
        if "quotaExceeded" in _reasons(cause):
            return WarehouseDown(f"{text} (a quota of the project is used up)")
        return AccessRefused(f"{text} (the roles it needs are in docs/bigquery.md)")
    return SinkError(text)


def of_job(error: Mapping[str, Any], doing: str) -> SinkError:
    """Return the error that a failed job ended with; WarehouseDown when another try may succeed."""
    reason, text = str(error.get("reason")), f"{doing}: {_cut(str(error.get('message')))} [{error.get('reason')}]"
    if reason in _PASSING | {"quotaExceeded", "stopped"}:
        return WarehouseDown(text)
    if reason in _REFUSING:
        return AccessRefused(f"{text} (the roles it needs are in docs/bigquery.md)")
    return TableGone(text) if reason == "notFound" else SinkError(text)


def one_line(error: BaseException) -> str:
    """Return what an error says on one line, cut to a sane length and without the address it was sent to."""
    text = error.message if isinstance(error, GoogleAPICallError) else str(error)
    code = f"HTTP {error.code} " if isinstance(error, GoogleAPICallError) and error.code else ""
    return f"{code}{_cut(text) or type(error).__name__}"


def _cut(text: str) -> str:
    without = re.sub(r"(GET|POST|PUT|PATCH|DELETE) https?://\S+:? ?", "", text)
    said = " ".join(without.split())
    return said if len(said) <= _MOST_TEXT else f"{said[:_MOST_TEXT]} ..."
