"""Reads one page of a topic: one statement in one read-only transaction, rows as plain tuples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collector.storage.database import Database
from collector.storage.serving.topics import Column, Form, Key, Topic

# What `to_char` leaves: milliseconds for people, microseconds where the exact place in an index is needed.
_SHOWN = """'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'"""
_EXACT = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
_CASTS = {Form.TEXT: "text", Form.WHOLE: "bigint", Form.MOMENT: "timestamptz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is wanted of a topic. Only `filters` that the topic has are looked at; none may hold None."""

    limit: int
    filters: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive
    after: Sequence[str | int] | None = None  # `last_key` of the page before
    newest_first: bool | None = None  # None: the topic's own order
    columns: Sequence[str] | None = None  # None: all
    exact: bool = False  # decimals as text to the last digit, else as float
    typed: bool = False  # moments as datetimes, else as ISO text with milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Rows of a topic."""

    columns: Sequence[Column]
    rows: Sequence[tuple[Any, ...]]
    last_key: Sequence[str | int] | None  # None: no row comes after these


class Serving:
    """Reads pages. Used by any number of threads. Raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, topic: Topic, ask: Ask) -> Page:
        """Return the rows of a topic that come after `ask.after`, `ask.limit` at most."""
        columns = chosen(topic, ask.columns)
        query, values = statement(topic, ask)
        with self._database.reading(f"read {topic.name}") as connection:
            cursor = connection.connection.cursor()
            cursor.execute(query, values)
            rows = cursor.fetchall()
        more = len(rows) > ask.limit
        last = _key_of(topic, columns, rows[ask.limit - 1]) if more else None
        shown, width = rows[: ask.limit], len(columns)
        if shown and len(shown[0]) > width:
            shown = [row[:width] for row in shown]
        return Page(columns=columns, rows=shown, last_key=last)


def chosen(topic: Topic, names: Sequence[str] | None) -> Sequence[Column]:
    """Return the columns of a page: all, or those named; in the topic's order, what names a row always among them."""
    if names is None:
        return topic.columns
    always = {"instrument", "interval", "open_time"}
    return [column for column in topic.columns if column.name in always or column.name in names]


def statement(topic: Topic, ask: Ask) -> tuple[str, dict[str, Any]]:
    """Return the query of one page with one row more than asked for, and its values."""
    values: dict[str, Any] = {**ask.filters, "limit": ask.limit + 1}
    newest_first = topic.newest_first if ask.newest_first is None else ask.newest_first
    conditions = [*topic.always, *(topic.filters[name] for name in ask.filters if name in topic.filters)]
    conditions += _times(topic, ask, values)
    if ask.after is not None:
        conditions += _beyond(topic.keys, ask.after, values, newest_first=newest_first)
    direction = "DESC" if newest_first else "ASC"
    order = ", ".join(f"{key.sql} {direction}" for key in topic.keys)
    shown = [_read(column, ask) for column in chosen(topic, ask.columns)]
    hidden = [_exact(key) for key in topic.keys if not key.column]
    inside = f"{_where(conditions, 'AND')} ORDER BY {order} LIMIT %(limit)s"
    if "{inside}" in topic.origin:
        origin, rest = topic.origin.replace("{inside}", inside), f"ORDER BY {order} LIMIT %(limit)s"
    else:
        origin, rest = topic.origin, _where(conditions, "WHERE") + inside.removeprefix(_where(conditions, "AND"))
    return f"SELECT {', '.join([*shown, *hidden])} FROM {origin} {rest}", values


def _where(conditions: Sequence[str], word: str) -> str:
    return f" {word} {' AND '.join(conditions)}" if conditions else ""


def _times(topic: Topic, ask: Ask, values: dict[str, Any]) -> list[str]:
    if not topic.time:
        return []
    values |= {"since": ask.since, "until": ask.until}
    conditions = []
    if ask.since is not None:
        conditions.append(f"{topic.time_end} > %(since)s" if topic.time_end else f"{topic.time} >= %(since)s")
    if ask.until is not None:
        conditions.append(f"{topic.time} < %(until)s")
    return conditions


def _beyond(
    keys: Sequence[Key], after: Sequence[str | int], values: dict[str, Any], *, newest_first: bool
) -> list[str]:
    """Return the conditions for what lies behind a place; the first also tells what need not be looked at."""
    values |= {f"after_{number}": value for number, value in enumerate(after)}
    bound = [f"%(after_{number})s::{_CASTS[key.form]}" for number, key in enumerate(keys)]
    sign = "<" if newest_first else ">"
    beyond = f"({', '.join(key.sql for key in keys)}) {sign} ({', '.join(bound)})"
    if len(keys) > 1:
        return [f"{keys[0].sql} {sign}= {bound[0]}", beyond]
    return [beyond]


def _read(column: Column, ask: Ask) -> str:
    sql, cast = column.sql, "text" if ask.exact else "float8"
    match column.form:
        case Form.NUMBER:
            sql = f"({sql})::{cast}"
        case Form.NUMBERS:
            sql = f"({sql})::{cast}[]"
        case Form.MOMENT if not ask.typed:
            sql = f"to_char({sql}, {_SHOWN})"
        case Form.JSON:
            sql = f"({sql})::text"
        case _:
            pass
    return f"{sql} AS {column.name}"


def _exact(key: Key) -> str:
    return f"to_char({key.sql}, {_EXACT})" if key.form is Form.MOMENT else key.sql


def _key_of(topic: Topic, columns: Sequence[Column], row: Sequence[Any]) -> list[str | int]:
    places = {column.name: place for place, column in enumerate(columns)}
    hidden = iter(row[len(columns) :])
    values = [row[places[key.column]] if key.column else next(hidden) for key in topic.keys]
    return [value.isoformat() if isinstance(value, datetime) else value for value in values]
