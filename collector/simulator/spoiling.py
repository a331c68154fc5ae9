"""Changes what a good answer says, without knowing which provider it is from; for the faults of the simulator.

Numbers are the leaves with a fraction: prices, sizes and rates. Whole numbers are left alone, since times, counts and
ids are among them.
"""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from collector.simulator.wire import Response

BOMB_BYTES = 150_000_000
_DAY_S = 86_400
_MORE_DIGITS = "000000000000000000000123456789"
_FRACTION = re.compile(r"-?[0-9]+\.[0-9]+")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")
_SECONDS, _MILLIS = (1_200_000_000, 2_500_000_000), (1_200_000_000_000, 2_500_000_000_000)  # 2008 to 2049
_BARE = re.compile(rb'"@([^"@]+)@"')


def rewritten(response: Response, change: Callable[[object], object]) -> Response:
    """Return the answer with its decoded body changed; as it is when it is no JSON of status 200."""
    if response.status != 200:  # noqa: PLR2004
        return response
    try:
        document = json.loads(response.body)
    except ValueError:
        return response
    body = json.dumps(change(document), separators=(",", ":"), ensure_ascii=False).encode()
    return replace(response, body=_BARE.sub(rb"\1", body))


def each_leaf(document: object, change: Callable[[Any], object]) -> object:
    """Return the document with every value that is no list and no object changed."""
    if isinstance(document, dict):
        return {name: each_leaf(value, change) for name, value in document.items()}
    if isinstance(document, list):
        return [each_leaf(value, change) for value in document]
    return change(document)


def _is_number(leaf: object) -> bool:
    return isinstance(leaf, float) or (isinstance(leaf, str) and _FRACTION.fullmatch(leaf) is not None)


def put_for_numbers(text: str, *, quoted: bool | None = None) -> Callable[[object], object]:
    """Return a change that writes `text` for each number, quoted or bare; without `quoted` as the number was."""

    def put(leaf: object) -> object:
        if not _is_number(leaf):
            return leaf
        return text if (isinstance(leaf, str) if quoted is None else quoted) else f"@{text}@"

    return lambda document: each_leaf(document, put)


def lengthen(document: object) -> object:
    """Give each number thirty more digits; its value hardly changes."""

    def longer(leaf: Any) -> object:
        if not _is_number(leaf):
            return leaf
        text = f"{Decimal(str(leaf)):f}"
        text += ("" if "." in text else ".") + _MORE_DIGITS
        return text if isinstance(leaf, str) else f"@{text}@"

    return each_leaf(document, longer)


def wrap_numbers(document: object) -> object:
    """Put each number into a list of its own."""
    return each_leaf(document, lambda leaf: [leaf] if _is_number(leaf) else leaf)


def negate(document: object) -> object:
    """Turn the sign of each number."""

    def turned(leaf: Any) -> object:
        if not _is_number(leaf):
            return leaf
        return -leaf if isinstance(leaf, float) else leaf.removeprefix("-") if leaf[0] == "-" else f"-{leaf}"

    return each_leaf(document, turned)


def change_rows(change: Callable[[list[Any]], list[Any]]) -> Callable[[object], object]:
    """Return a change of the longest list of rows in a document; one without rows stays."""

    def changed(document: object) -> object:
        longest = max(_lists_of_rows(document), key=len, default=None)
        if longest is not None:
            longest[:] = change(longest)
        return document

    return changed


def _lists_of_rows(document: object) -> list[list[Any]]:
    if isinstance(document, dict):
        return [found for value in document.values() for found in _lists_of_rows(value)]
    if not isinstance(document, list):
        return []
    mine = [document] if len(document) > 1 and all(isinstance(row, dict | list) for row in document) else []
    return mine + [found for value in document for found in _lists_of_rows(value)]


def doubled(rows: list[Any]) -> list[Any]:
    """Give every row twice."""
    return [row for row in rows for _ in range(2)]


def thinned(rows: list[Any]) -> list[Any]:
    """Leave out every third row, the second one first."""
    return [row for place, row in enumerate(rows) if place % 3 != 1]


def shuffled(rows: list[Any]) -> list[Any]:
    """Give the rows of odd places first."""
    return rows[1::2] + rows[::2]


def move_to_tomorrow(document: object) -> object:
    """Add a day to every value that reads as a time between 2008 and 2049: Unix seconds, milliseconds, ISO."""
    return each_leaf(document, _tomorrow)


def _tomorrow(leaf: Any) -> object:
    if isinstance(leaf, str) and _ISO.fullmatch(leaf):
        moved = datetime.fromisoformat(leaf) + timedelta(seconds=_DAY_S)
        return moved.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(leaf, bool) or not (isinstance(leaf, int) or (isinstance(leaf, str) and leaf.isdecimal())):
        return leaf
    for (first, last), second in ((_SECONDS, 1), (_MILLIS, 1_000)):
        if first <= int(leaf) <= last:
            return type(leaf)(int(leaf) + _DAY_S * second)
    return leaf


def later_date(response: Response, *, seconds: int) -> str:
    """Return the moment so many seconds after the answer's own date, as HTTP writes it."""
    return format_datetime(parsedate_to_datetime(response.headers["Date"]) + timedelta(seconds=seconds), usegmt=True)


@functools.cache
def gzip_bomb() -> bytes:
    """Return 150 MB of spaces as gzip: about 150 kB."""
    packer = zlib.compressobj(level=9, wbits=31)
    block = b" " * 1_000_000
    return b"".join(packer.compress(block) for _ in range(BOMB_BYTES // len(block))) + packer.flush()
