"""Rows that are new for sure: one COPY straight into their table.

A back-fill brings hundreds of thousands of bars where there are none, and a cycle prices and books of moments that
nobody has. Whether that is so is one look into the index for each series, or for each row; staging the rows and
merging them would take the server several times as long as taking them in.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from collector.storage import timeseries
from collector.storage.merge import Changes, Chunks, Cursor
from collector.storage.revisions import FINAL
from collector.storage.rows import Rows, RowShape, chunks, clean

LEAST_ROWS = 64  # of a write; for fewer the looks cost as much as they save
MOST_SERIES = 16  # of bars, which come many at once


def copy_fresh(cursor: Cursor, shape: RowShape, rows: Rows, ids: Mapping[int, int], cycle_id: int) -> Changes | None:
    """Store rows, sorted by key and one for each, where none of them is there.

    Returns None, with nothing done, where one may be, for few rows, and for tables that are not cut by month. A row
    that somebody else stores at the same moment makes the server refuse all (StorageRejected).
    """
    time = timeseries.PARTITIONED.get(shape.table)
    if len(rows) < LEAST_ROWS or time not in shape.key:
        return None
    look = _hold_series if shape.table in FINAL else _hold_rows
    if look(cursor, shape, dict(zip(shape.key, shape.keys(rows, ids), strict=True)), time):
        return None
    parts = chunks(rows, shape, ids, cycle_id, numbered=False)
    cursor.copy_expert(f"COPY {shape.table} ({', '.join(shape.columns)}) FROM STDIN", Chunks(parts))
    return Changes(Counter(rows.numbers))


def _hold_series(cursor: Cursor, shape: RowShape, keys: Mapping[str, list[Any]], time: str) -> bool:
    """Return whether there may be rows of these series between the first and the last of each."""
    times = keys[time]
    series = {name: values for name, values in keys.items() if name != time}
    spans = list(_spans(list(zip(*series.values(), strict=True))))
    if len(spans) > MOST_SERIES or len(times) < LEAST_ROWS * len(spans):  # the newest bars of many: some are there
        return True
    same = " AND ".join(f"{name} = %s" for name in series)
    look = f"SELECT EXISTS (SELECT 1 FROM {shape.table} WHERE {same} AND {time} BETWEEN %s AND %s)"
    for start, stop in spans:
        cursor.execute(look, (*(values[start] for values in series.values()), times[start], times[stop - 1]))
        if cursor.fetchall()[0][0]:
            return True
    return False


def _hold_rows(cursor: Cursor, shape: RowShape, keys: Mapping[str, list[Any]], time: str) -> bool:
    """Return whether there is a row with one of these keys, by one probe of the index for each."""
    lists = ", ".join(f"%s::{_KINDS.get(name, 'text')}[]" for name in keys)
    same = " AND ".join(f"t.{name} = k.{name}" for name in keys)
    look = (
        f"SELECT EXISTS (SELECT 1 FROM unnest({lists}) k({', '.join(keys)}), LATERAL (SELECT 1 FROM {shape.table} t "
        f"WHERE {same} AND t.{time} BETWEEN %s AND %s OFFSET 0) held)"  # OFFSET keeps the planner from joining
    )
    values = (values if name in _KINDS else list(map(clean, values)) for name, values in keys.items())
    cursor.execute(look, (*values, min(keys[time]), max(keys[time])))
    return bool(cursor.fetchall()[0][0])


_KINDS = {"instrument_id": "integer", "observed_at": "timestamptz"}


def _spans(series: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of each run of equals in a sorted list."""
    start = 0
    while start < len(series):
        stop = bisect_right(series, series[start], start)
        yield start, stop
        start = stop
