"""Strict readers for provider JSON: a wrong shape raises PayloadError with its path, never anything else.

Numbers become Decimal from the provider's own text. `""` and null mean "not said" and are None in the
`optional_*` readers; zero stays zero.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn

from collector.clock import from_millis
from collector.errors import PayloadError

# ASCII only: float() and Decimal() would also take "1_000", " 12 ", "NaN" and full-width digits.
# Possessive (`+` after a quantifier): without groups to remember and ways to go back, a quarter faster.
_NUMBER = r"-?[0-9]{1,60}+(?:\.[0-9]{0,80}+)?+(?:[eE][+-]?[0-9]{1,2}+)?+"
_is_number = re.compile(_NUMBER, re.ASCII).fullmatch
_are_numbers = re.compile(rf"(?:{_NUMBER}\n)*+", re.ASCII).fullmatch
_is_integer = re.compile(r"-?[0-9]{1,24}+", re.ASCII).fullmatch
_LONGEST_INTEGER = 10**24
# What ISO 8601 and UTC allow and `fromisoformat` does not: the end of a day as 24:00, and a leap second.
_END_OF_DAY = re.compile(r"(\d{4}-\d\d-\d\d)[T ]24:00(?::00(?:\.0{1,9})?)?(Z|[+-]\d\d:?\d\d)", re.ASCII)
_LEAP_SECOND = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):60(?:\.\d{1,9})?(Z|[+-]\d\d:?\d\d)", re.ASCII)
MAX_DEPTH_MESSAGE = "nested too deeply"


def decode_json(body: bytes) -> Any:
    """Return the decoded document with Decimal for every fraction; NaN and Infinity are refused."""
    try:
        return json.loads(body, parse_float=_decimal_literal, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise PayloadError(MAX_DEPTH_MESSAGE) from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError and integers of over 4 300 digits
        raise PayloadError(f"not JSON: {error}") from error


def _decimal_literal(text: str) -> Decimal:
    if not _is_number(text):
        raise PayloadError(f"number out of any plausible range: {text[:40]}")
    return Decimal(text)


def _refuse_constant(text: str) -> NoReturn:
    raise PayloadError(f"{text} is not a number")


def to_decimal(value: Any, path: str) -> Decimal:
    """Return a JSON number or a number in text as Decimal; anything else raises PayloadError."""
    if type(value) is str and _is_number(value):  # nearly all numbers of the venues
        return Decimal(value)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**60:
        return Decimal(value)
    raise PayloadError(f"expected a number, got {describe(value)}", path)


def to_decimals(values: Sequence[Any]) -> list[Decimal] | None:
    """Return a column of numbers in text as Decimals; None where one is anything else. Half the cost of one by one."""
    if set(map(type, values)) != {str}:
        return None
    lines = "\n".join([*values, ""])
    return list(map(Decimal, values)) if _are_numbers(lines) and lines.count("\n") == len(values) else None


def to_optional_decimal(value: Any, path: str) -> Decimal | None:
    """Like `to_decimal`; null and the empty text are None."""
    return None if value is None or value == "" else to_decimal(value, path)


def to_integer(value: Any, path: str) -> int:
    """Return a JSON integer or an integer in text, of 24 digits at most."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LONGEST_INTEGER:
        return value
    if isinstance(value, str) and _is_integer(value):
        return int(value)
    raise PayloadError(f"expected an integer, got {describe(value)}", path)


def to_integers(values: Sequence[Any]) -> list[int] | None:
    """Return a column of JSON integers of at most 24 digits; None where one is anything else."""
    if set(map(type, values)) != {int} or max(values) >= _LONGEST_INTEGER or min(values) <= -_LONGEST_INTEGER:
        return None
    return list(values)


def to_text(value: Any, path: str) -> str:
    """Return a text; the empty text is allowed."""
    if isinstance(value, str):
        return value
    raise PayloadError(f"expected text, got {describe(value)}", path)


def to_millis_time(value: Any, path: str) -> datetime:
    """Return the moment given as milliseconds since the epoch (number or text)."""
    try:
        return from_millis(to_integer(value, path))
    except OverflowError as error:
        raise PayloadError(f"time out of range: {describe(value)}", path) from error


def to_seconds_time(value: Any, path: str) -> datetime:
    """Return the moment given as whole seconds since the epoch."""
    try:
        return from_millis(to_integer(value, path) * 1000)
    except OverflowError as error:
        raise PayloadError(f"time out of range: {describe(value)}", path) from error


def to_iso_time(value: Any, path: str) -> datetime:
    """Return the moment given as ISO 8601 text with a zone, in UTC.

    `24:00:00` is the start of the next day. A leap second, 23:59:60 in UTC, is the second after it, as in Unix time.
    """
    text = to_text(value, path)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        rolled = _rolled_over(text, path)
        if rolled is None:
            raise PayloadError(f"expected an ISO 8601 time, got {describe(value)}", path) from error
        return rolled
    if moment.tzinfo is None:
        raise PayloadError(f"time without a zone: {describe(value)}", path)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise PayloadError(f"time out of range: {describe(value)}", path) from error


def _rolled_over(text: str, path: str) -> datetime | None:
    """Return the moment of a time that is written as the very end of a day or minute; None for any other text."""
    end, leap = _END_OF_DAY.fullmatch(text), _LEAP_SECOND.fullmatch(text)
    try:
        if end:
            return (datetime.fromisoformat(f"{end[1]}T00:00:00{end[2]}") + timedelta(days=1)).astimezone(UTC)
        if leap:
            moment = (datetime.fromisoformat(f"{leap[1]}:59{leap[2]}") + timedelta(seconds=1)).astimezone(UTC)
            return moment if (moment.hour, moment.minute) == (0, 0) else None
    except ValueError:
        return None
    except OverflowError as error:
        raise PayloadError(f"time out of range: {describe(text)}", path) from error
    return None


def to_object(value: Any, path: str) -> "Fields":
    """Return a reader over a JSON object."""
    if isinstance(value, dict):
        return Fields(value, path)
    raise PayloadError(f"expected an object, got {describe(value)}", path)


def to_list(value: Any, path: str) -> list[Any]:
    """Return a JSON list as it is."""
    if isinstance(value, list):
        return value
    raise PayloadError(f"expected a list, got {describe(value)}", path)


def objects(value: Any, path: str = "$") -> Iterator["Fields"]:
    """Yield a reader for each object of a list."""
    for index, item in enumerate(to_list(value, path)):
        yield to_object(item, f"{path}[{index}]")


def rows(value: Any, width: int, path: str = "$") -> Iterator[tuple[str, list[Any]]]:
    """Yield (path, row) for each positional row; a row shorter than `width` raises PayloadError."""
    for index, item in enumerate(to_list(value, path)):
        row = to_list(item, f"{path}[{index}]")
        if len(row) < width:
            raise PayloadError(f"expected at least {width} columns, got {len(row)}", f"{path}[{index}]")
        yield f"{path}[{index}]", row


def pairs(value: Any, path: str = "$") -> list[tuple[Decimal, Decimal]]:
    """Return the first two columns of positional rows, as of the levels of a book: (price, size)."""
    table = to_list(value, path)
    if set(map(type, table)) == {list} and min(map(len, table)) > 1:
        firsts, seconds = to_decimals([row[0] for row in table]), to_decimals([row[1] for row in table])
        if firsts is not None and seconds is not None:
            return list(zip(firsts, seconds, strict=True))
    found = rows(table, 2, path)
    return [(to_decimal(row[0], f"{place}[0]"), to_decimal(row[1], f"{place}[1]")) for place, row in found]


def describe(value: Any) -> str:
    """Return a short, safe picture of a value for an error text."""
    if isinstance(value, (list, dict)):  # its text could be long to make, or nested too deeply for it
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {str(value)[:40]!r}" if value is not None else "null"


class Fields:
    """Reads the fields of one JSON object; each reader names the path when the field is missing or wrong."""

    __slots__ = ("path", "values")

    def __init__(self, values: Mapping[str, Any], path: str = "$") -> None:
        self.values = values
        self.path = path

    def at(self, key: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{key}"

    def require(self, key: str) -> Any:
        """Return the raw value; a missing key raises PayloadError, null does not."""
        if key not in self.values:
            raise PayloadError("missing", self.at(key))
        return self.values[key]

    def text(self, key: str) -> str:
        return to_text(self.require(key), self.at(key))

    def optional_text(self, key: str) -> str | None:
        """Return the text; None when missing, null or empty."""
        value = self.values.get(key)
        return None if value is None or value == "" else to_text(value, self.at(key))

    def decimal(self, key: str) -> Decimal:
        return to_decimal(self.require(key), self.at(key))

    def optional_decimal(self, key: str) -> Decimal | None:
        """Return the number; None when missing, null or empty text."""
        return to_optional_decimal(self.values.get(key), self.at(key))

    def integer(self, key: str) -> int:
        return to_integer(self.require(key), self.at(key))

    def optional_integer(self, key: str) -> int | None:
        """Return the integer; None when missing, null or empty text."""
        value = self.values.get(key)
        return None if value is None or value == "" else to_integer(value, self.at(key))

    def millis(self, key: str) -> datetime:
        return to_millis_time(self.require(key), self.at(key))

    def optional_millis(self, key: str) -> datetime | None:
        """Return the moment; None when missing, null or empty text. Zero is a moment: 1970."""
        value = self.values.get(key)
        return None if value is None or value == "" else to_millis_time(value, self.at(key))

    def seconds(self, key: str) -> datetime:
        return to_seconds_time(self.require(key), self.at(key))

    def optional_iso(self, key: str) -> datetime | None:
        """Return the moment; None when missing or null."""
        value = self.values.get(key)
        return None if value is None or value == "" else to_iso_time(value, self.at(key))

    def list(self, key: str) -> "list[Any]":
        return to_list(self.require(key), self.at(key))

    def object(self, key: str) -> "Fields":
        return to_object(self.require(key), self.at(key))


def hours(value: timedelta) -> Decimal:
    """Return a duration in hours, exact."""
    return Decimal(value // timedelta(seconds=1)) / 3600
