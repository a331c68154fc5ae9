"""The statements that copy rows of a dataset out: which rows, in which order, spelled how. Pure text.

Rows leave day by day (UTC), within a day by their natural key, texts by code point: the same rows in the same order in
every database, whatever numbers it gave its instruments and whatever its collation is. A day at a time, because the
rows of a day lie together on disk while those of a series do not, and because a day fits into memory to be sorted.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from sqlalchemy.dialects import postgresql

from collector.storage.models import METADATA
from collector.storage.outgoing.datasets import Column, Exportable, Form, Slice

Values = Mapping[str, Any]
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


class Spelling(Enum):
    """How rows are spelled in a stream."""

    ROWS = "rows"  # CSV without a header, lists of texts as JSON, bytes as base64: for programs
    CSV = "csv"  # CSV with a header as PostgreSQL writes and reads it: NULL is empty, an empty text is ""
    LINES = "lines"  # a JSON object per line, exact numbers as text


# JSON holds no control characters, so that nothing is ever quoted: what leaves are bare lines.
LINE_OPTIONS = r"FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01'"
_OPTIONS = {
    Spelling.ROWS: "FORMAT csv",
    Spelling.CSV: "FORMAT csv, HEADER true",
    Spelling.LINES: LINE_OPTIONS,
}


def copy_sql(dataset: Exportable, where: Slice, spelling: Spelling) -> str:
    """Return the COPY of a slice; it takes the values of `copy_values`."""
    columns = ", ".join(_spelled(dataset, column, where, spelling) for column in dataset.columns)
    rows = f"{_undone(dataset, where)} SELECT {columns} FROM {_source(dataset, where)}"
    if spelling is Spelling.LINES:
        rows = f"SELECT row_to_json(told) FROM ({rows}) told"
    return f"COPY ({rows}) TO STDOUT ({_OPTIONS[spelling]})"


def copy_values(dataset: Exportable, where: Slice, series: list[tuple[int, str, str]]) -> Values:
    """Return the values of a statement; `series` are (number, canonical id, interval or "") in order."""
    values: dict[str, Any] = {"part": where.part, "known": where.as_of, "table": dataset.name}
    if dataset.time is not None:
        if where.since is None or where.until is None:
            raise ValueError(f"{dataset.name} has a time: a slice of it has a start and an end")
        first = where.since.replace(hour=0, minute=0, second=0, microsecond=0)
        values |= {"since": where.since, "until": where.until, "first": first, "last": where.until}
    if dataset.by_series:
        numbers, names, bars = zip(*series, strict=True) if series else ((), (), ())
        values |= {"numbers": list(numbers), "names": list(names), "bars": list(bars)}
    return values


SERIES_WITH_BARS = """
    SELECT i.instrument_id, i.instrument, b.bar FROM instruments i CROSS JOIN unnest(CAST(:bars AS text[])) AS b (bar)
    CROSS JOIN LATERAL (SELECT 1 FROM {table} t WHERE t.instrument_id = i.instrument_id AND t.interval = b.bar
        AND t.{time} >= :since AND t.{time} < :until LIMIT 1) f
    WHERE i.venue = coalesce(CAST(:part AS text), i.venue) ORDER BY i.instrument COLLATE "C", b.bar COLLATE "C"
"""
SERIES = """
    SELECT i.instrument_id, i.instrument, '' FROM instruments i
    CROSS JOIN LATERAL (SELECT 1 FROM {table} t WHERE t.instrument_id = i.instrument_id
        AND t.{time} >= :since AND t.{time} < :until LIMIT 1) f
    WHERE i.venue = coalesce(CAST(:part AS text), i.venue) ORDER BY i.instrument COLLATE "C"
"""


def series_sql(dataset: Exportable) -> str:
    """Return the query of the series that a slice has rows of: one look into the index for each that may be."""
    query = SERIES_WITH_BARS if dataset.has_interval else SERIES
    return query.format(table=dataset.name, time=dataset.time)


# --------------------------------------------------------------------------- which rows


def _source(dataset: Exportable, where: Slice) -> str:
    """Return what follows FROM: rows as `t`, their instrument as `o.instrument`, in order."""
    if dataset.by_series:
        rows = _by_series(dataset)
    elif dataset.time is not None:
        rows = _by_day(dataset)
    else:
        rows = f"({_plain(dataset, _part(dataset))}) t"
    if where.as_of is None:
        return rows
    key = ", ".join(f"'{name}', {_stored(dataset, name)}" for name in dataset.key)
    known = f"t.{dataset.received} <= %(known)s"
    # A corrected row carries the moment of its correction; that it was there before is told by its time alone.
    return (
        f"{rows} LEFT JOIN undone u ON u.key = jsonb_build_object({key}) "
        f"WHERE {known} OR (u.key IS NOT NULL AND {_ended(dataset)} <= %(known)s) "
        f"ORDER BY {_whole_order(dataset)}"
    )


def _by_series(dataset: Exportable) -> str:
    bar = "AND t.interval = o.bar" if dataset.has_interval else ""
    rest = [name for name in dataset.key if name not in {"instrument", "interval"}]
    return f"""(
            SELECT d.since, d.day, u.number, u.instrument, u.bar, u.place
            FROM generate_series(%(first)s::timestamptz, %(last)s::timestamptz, interval '24 hours')
                WITH ORDINALITY AS d (since, day)
            CROSS JOIN unnest(%(numbers)s::integer[], %(names)s::text[], %(bars)s::text[])
                WITH ORDINALITY AS u (number, instrument, bar, place)
            ORDER BY d.day, u.place
        ) o CROSS JOIN LATERAL (
            SELECT * FROM {dataset.name} t WHERE t.instrument_id = o.number {bar}
                AND t.{dataset.time} >= o.since AND t.{dataset.time} < o.since + interval '24 hours'
                AND t.{dataset.time} >= %(since)s AND t.{dataset.time} < %(until)s
            ORDER BY {_order(dataset, rest)} OFFSET 0
        ) t"""


def _by_day(dataset: Exportable) -> str:
    bounds = (
        f"t.{dataset.time} >= o.since AND t.{dataset.time} < o.since + interval '24 hours' "
        f"AND t.{dataset.time} >= %(since)s AND t.{dataset.time} < %(until)s AND {_part(dataset)}"
    )
    return f"""generate_series(%(first)s::timestamptz, %(last)s::timestamptz, interval '24 hours')
            WITH ORDINALITY AS o (since, day) CROSS JOIN LATERAL ({_plain(dataset, bounds)} OFFSET 0) t"""


def _plain(dataset: Exportable, condition: str) -> str:
    join = f"{dataset.name} t JOIN instruments i USING (instrument_id)" if dataset.numbered else f"{dataset.name} t"
    named = "t.*, i.instrument" if dataset.numbered else "t.*"
    order = ", ".join(
        _collated(dataset, name, "i" if name == "instrument" and dataset.numbered else "t") for name in dataset.key
    )
    return f"SELECT {named} FROM {join} WHERE {condition} AND {dataset.condition} ORDER BY {order}"


def _part(dataset: Exportable) -> str:
    if dataset.partition is None:
        return "true"
    owner = "i" if dataset.numbered else "t"
    return f"{owner}.{dataset.partition} = coalesce(%(part)s::text, {owner}.{dataset.partition})"


def _order(dataset: Exportable, names: list[str]) -> str:
    return ", ".join(_collated(dataset, name, "t") for name in names)


def _collated(dataset: Exportable, name: str, owner: str) -> str:
    text = dataset.column(name).form is Form.TEXT
    return f'{owner}.{name} COLLATE "C"' if text else f"{owner}.{name}"


def _instrument(dataset: Exportable) -> str:
    return "o.instrument" if dataset.by_series else "t.instrument"


# --------------------------------------------------------------------------- as it was known


def _undone(dataset: Exportable, where: Slice) -> str:
    """Return the corrections that came after a moment, a row for each corrected one: the oldest value wins."""
    if where.as_of is None:
        return ""
    when = f"(r.key ->> '{dataset.time}')::timestamptz"
    bounds = f"AND {when} >= %(since)s AND {when} < %(until)s" if dataset.time in dataset.key else ""
    return f"""WITH undone AS MATERIALIZED (
            SELECT r.key, jsonb_object_agg(e.key, e.value ORDER BY r.revision_id DESC) AS old
            FROM revisions r CROSS JOIN LATERAL jsonb_each(r.old) e
            WHERE r.table_name = %(table)s AND r.detected_at > %(known)s {bounds}
            GROUP BY r.key
        )"""


def _ended(dataset: Exportable) -> str:
    """Return when the value of a row was there: for a bar its end, which it is observed at."""
    return "t.observed_at" if "observed_at" in dataset.names() else f"t.{dataset.time}"


def _whole_order(dataset: Exportable) -> str:
    if dataset.by_series:
        rest = [name for name in dataset.key if name not in {"instrument", "interval"}]
        return f"o.day, o.place, {_order(dataset, rest)}"
    return f"o.day, {_order(dataset, list(dataset.key))}"


def _stored(dataset: Exportable, name: str) -> str:
    return _instrument(dataset) if name == "instrument" and dataset.numbered else f"t.{name}"


def _value(dataset: Exportable, name: str, where: Slice) -> str:
    stored = _stored(dataset, name)
    if where.as_of is None or name in dataset.key:
        return stored
    kind = METADATA.tables[dataset.name].columns[name].type.compile(_DIALECT)
    # When a corrected row was received first, and by which cycle, is not kept.
    later = "NULL" if name in {"received_at", "cycle_id", "computed_at"} else stored
    undone = f"WHEN u.old ? '{name}' THEN (u.old ->> '{name}')::{kind}"
    return f"CASE {undone} WHEN u.key IS NULL THEN {stored} ELSE {later} END"


# --------------------------------------------------------------------------- spelled how


def _spelled(dataset: Exportable, column: Column, where: Slice, spelling: Spelling) -> str:
    value = _value(dataset, column.name, where)
    if spelling is Spelling.ROWS and column.form is Form.TEXTS:
        value = f"to_json({value})"
    elif spelling is not Spelling.CSV and column.form is Form.BYTES:
        value = f"translate(encode({value}, 'base64'), E'\\n', '')"
    elif spelling is Spelling.LINES and column.form is Form.NUMBER:
        value = f"({value})::text"
    elif spelling is Spelling.LINES and column.form is Form.NUMBERS:
        value = f"({value})::text[]"
    return f"{value} AS {column.name}"
