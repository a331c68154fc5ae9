"""What goes wrong for a client, by code; each code has one HTTP status, and every error the same envelope."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from collector.clock import iso


class Code(StrEnum):
    """The codes a client can meet."""

    INVALID_SYMBOL = "INVALID_SYMBOL"
    INVALID_INTERVAL = "INVALID_INTERVAL"
    INVALID_PARAMETER = "INVALID_PARAMETER"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    RATE_LIMITED = "RATE_LIMITED"
    NOT_FOUND = "NOT_FOUND"
    UNAUTHORIZED = "UNAUTHORIZED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


STATUS = {
    Code.INVALID_SYMBOL: 400,
    Code.INVALID_INTERVAL: 400,
    Code.INVALID_PARAMETER: 400,
    Code.PROVIDER_ERROR: 503,
    Code.RATE_LIMITED: 429,
    Code.NOT_FOUND: 404,
    Code.UNAUTHORIZED: 401,
    Code.INTERNAL_ERROR: 500,
}


class ApiError(Exception):
    """An answer that is an error; raised anywhere below a route.

    `details` is per provider or per parameter, in plain words. `retry_after` is in seconds, None when waiting does not
    help. `status` replaces that of the code, as 413 for a body that is too long.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.retry_after = retry_after
        self.status = status or STATUS[code]


def envelope(error: ApiError, now: datetime) -> dict[str, Any]:
    """Return the body of an error, the same for all: success, error {code, message, details, retryAfter}, timestamp."""
    told = {
        "code": error.code.value,
        "message": error.message,
        "details": error.details,
        "retryAfter": error.retry_after,
    }
    return {"success": False, "error": told, "timestamp": iso(now)}
