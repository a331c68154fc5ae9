"""Completes the OpenAPI document: the one shape of every error, and the token where one is needed."""

from typing import Any

from fastapi import FastAPI

from collector.api.access import is_open
from collector.api.errors import Code
from collector.api.parts import Parts

_ERROR = {"$ref": "#/components/schemas/Error"}
_EXAMPLE = {
    "success": False,
    "error": {
        "code": Code.INVALID_INTERVAL.value,
        "message": "interval: 2h is none of 1m 5m 15m 1h 4h 1d 1w",
        "details": {"interval": "2h is none of 1m 5m 15m 1h 4h 1d 1w"},
        "retryAfter": None,
    },
    "timestamp": "2026-01-31T15:30:00.000Z",
}
SCHEMA = {
    "title": "Error",
    "type": "object",
    "required": ["success", "error", "timestamp"],
    "properties": {
        "success": {"const": False},
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "retryAfter"],
            "properties": {
                "code": {"type": "string", "enum": [code.value for code in Code]},
                "message": {"type": "string", "description": "One line for people"},
                "details": {"type": "object", "description": "Reasons by provider or by parameter"},
                "retryAfter": {
                    "type": ["integer", "null"],
                    "description": "Seconds after which the same request may succeed, as in Retry-After",
                },
            },
            "additionalProperties": False,
        },
        "timestamp": {"type": "string", "format": "date-time"},
    },
    "additionalProperties": False,
    "examples": [_EXAMPLE],
}
_TOKEN = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token made with: python main.py api token"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same token"},
}


def install(app: FastAPI, parts: Parts) -> None:
    """Make the application describe its errors; each route describes only what it answers when all is well."""
    written = app.openapi

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(written(), needs_token=bool(parts.settings.tokens))
        return app.openapi_schema or {}

    # Replacing the method is the framework's documented way.
    app.openapi = describe  # type: ignore[method-assign]


def _complete(document: dict[str, Any], *, needs_token: bool) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = SCHEMA
    components["securitySchemes"] = _TOKEN  # also where none is needed yet: who sends one is served as well
    for path, methods in document.get("paths", {}).items():
        for operation in methods.values():
            _describe_errors(operation, has_token=needs_token and not is_open(path))


def _describe_errors(operation: dict[str, Any], *, has_token: bool) -> None:
    answers = operation.setdefault("responses", {})
    answers.pop("422", None)  # the framework's own, which never leaves here
    wrong = {"400": "A parameter is wrong"} if operation.get("parameters") else {}
    denied = {"401": "A token is missing or not known"} if has_token else {}
    if has_token:
        operation["security"] = [{name: []} for name in _TOKEN]
    for status, meaning in {**wrong, **denied, "default": "Any other error"}.items():
        answers.setdefault(status, {"description": meaning, "content": {"application/json": {"schema": _ERROR}}})
