"""The opaque text of a place between two pages, bound to what was asked for.

Its content is a key, not a right: a forged one reads from another place of the same rows, and nothing else.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from collector.api.errors import ApiError, Code
from collector.storage.serving import Form, Key, Topic

MOST_CHARACTERS = 2000
_BIGGEST = 2**63 - 1


def mark_of(topic: Topic, filters: Mapping[str, Any], *, newest_first: bool) -> str:
    """Return what a cursor is good for: one topic, one choice of rows, one order."""
    told = orjson.dumps([topic.name, sorted(filters.items()), newest_first])
    return hashlib.blake2b(told, digest_size=6).hexdigest()


def encode(mark: str, key: Sequence[str | int]) -> str:
    """Return the cursor that stands behind the row with this key."""
    return base64.urlsafe_b64encode(orjson.dumps([mark, *key])).decode().rstrip("=")


def decode(text: str, mark: str, keys: Sequence[Key]) -> list[str | int]:
    """Return the key a cursor stands behind; INVALID_PARAMETER when it is none, or of another request."""
    try:
        told = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise _refused("is not a cursor; leave it out to begin with the first page") from None
    if not isinstance(told, list) or len(told) != len(keys) + 1 or not isinstance(told[0], str):
        raise _refused("is not a cursor; leave it out to begin with the first page")
    if told[0] != mark:
        raise _refused("belongs to another request; only limit, from, to, columns, numbers and format may change")
    if not all(_fits(value, key) for value, key in zip(told[1:], keys, strict=True)):
        raise _refused("is not a cursor; leave it out to begin with the first page")
    return told[1:]


def _fits(value: object, key: Key) -> bool:
    if key.form is Form.WHOLE:
        return type(value) is int and -_BIGGEST <= value <= _BIGGEST
    if not isinstance(value, str) or "\0" in value:
        return False
    return key.form is not Form.MOMENT or _is_moment(value)


def _is_moment(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _refused(why: str) -> ApiError:
    return ApiError(Code.INVALID_PARAMETER, f"cursor: {why}", details={"cursor": why})
