"""Turns whatever goes wrong into the envelope of errors, with the status it deserves and nothing of our insides."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from collector.api.errors import ApiError, Code, envelope
from collector.clock import Clock
from collector.errors import PayloadError, StorageUnavailable, VenueError
from collector.log import ServiceLogger

Handler = Callable[[Request, Exception], Awaitable[Response]]

DATABASE_RETRY_S = 5
_BY_STATUS = {
    401: Code.UNAUTHORIZED,
    403: Code.UNAUTHORIZED,
    404: Code.NOT_FOUND,
    429: Code.RATE_LIMITED,
}
_BY_PARAMETER = {"symbol": Code.INVALID_SYMBOL, "symbols": Code.INVALID_SYMBOL, "interval": Code.INVALID_INTERVAL}
_SERVER_FAULT = 500


def handlers(clock: Clock, log: ServiceLogger) -> dict[type[Exception], Handler]:
    """Return what answers each kind of error; the last resort writes the traceback to the log."""

    def answering(told: Callable[[Request, Any], ApiError]) -> Handler:
        async def handle(request: Request, error: Exception) -> Response:
            return response(told(request, error), clock, _headers(error))

        return handle

    def unexpected(request: Request, error: Exception) -> ApiError:
        request_id = str(request.scope.get("state", {}).get("request_id", ""))
        log.defect("request_failed", error, request_id=request_id, path=request.scope.get("path", ""))
        return ApiError(Code.INTERNAL_ERROR, "Something went wrong here", details={"requestId": request_id})

    return {
        ApiError: answering(lambda _, error: error),
        RequestValidationError: answering(lambda _, error: refused_parameters(error)),
        HTTPException: answering(_plain),
        VenueError: answering(lambda _, error: ApiError(Code.PROVIDER_ERROR, str(error), details=_venue(error))),
        PayloadError: answering(lambda _, error: ApiError(Code.PROVIDER_ERROR, str(error))),
        StorageUnavailable: answering(lambda _, __: _database_away()),
        Exception: answering(unexpected),
    }


def response(error: ApiError, clock: Clock, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that is an error, with Retry-After where waiting helps."""
    told = dict(headers or {})
    if error.retry_after is not None:
        told["retry-after"] = str(error.retry_after)
    if error.code is Code.UNAUTHORIZED and error.status == 401:  # noqa: PLR2004 - the status that asks for a token
        told["www-authenticate"] = "Bearer"
    told["cache-control"] = "no-store"
    body = orjson.dumps(envelope(error, clock.now()), default=str)
    return Response(body, status_code=error.status, headers=told, media_type="application/json")


def refused_parameters(error: RequestValidationError) -> ApiError:
    """Return the error that names each parameter that was not understood, and why."""
    details: dict[str, str] = {}
    for problem in error.errors():
        place = [str(part) for part in problem["loc"][1:]] or [str(part) for part in problem["loc"]]
        details.setdefault(".".join(place), str(problem["msg"]))
    names = {str(problem["loc"][1]) for problem in error.errors() if len(problem["loc"]) > 1}
    codes = {_BY_PARAMETER.get(name, Code.INVALID_PARAMETER) for name in names}
    code = codes.pop() if len(codes) == 1 else Code.INVALID_PARAMETER
    return ApiError(code, "; ".join(f"{name}: {why}" for name, why in details.items()), details=details)


def _headers(error: Exception) -> dict[str, str]:
    """Return what the framework says beside an error; what can be read can be asked for without its body too."""
    told = dict(getattr(error, "headers", None) or {})
    if "GET" in (allowed := told.get("Allow", "").split(", ")) and "HEAD" not in allowed:
        told["Allow"] = ", ".join([*allowed, "HEAD"])
    return told


def _plain(request: Request, error: HTTPException) -> ApiError:
    """Translate what the framework refuses by itself: no such path, no such method, a body that cannot be read."""
    if error.status_code == 404:  # noqa: PLR2004
        return ApiError(Code.NOT_FOUND, f"There is nothing at {request.scope.get('path', '')[:200]}")
    if error.status_code == 405:  # noqa: PLR2004
        return ApiError(Code.INVALID_PARAMETER, f"{request.method[:20]} is not possible here", status=405)
    is_ours = error.status_code >= _SERVER_FAULT
    code = Code.INTERNAL_ERROR if is_ours else _BY_STATUS.get(error.status_code, Code.INVALID_PARAMETER)
    return ApiError(code, str(error.detail), status=error.status_code)


def _venue(error: VenueError) -> dict[str, str]:
    return {error.source: str(error)} if error.source else {}


def _database_away() -> ApiError:
    message = "The database cannot be asked now"
    return ApiError(Code.INTERNAL_ERROR, message, retry_after=DATABASE_RETRY_S, status=503)
