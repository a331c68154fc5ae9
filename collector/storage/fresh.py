"""Rows for stretches of series that hold nothing yet: one COPY straight into their table.

A back-fill brings hundreds of thousands of bars where there are none. Whether that is so is one look into the index
for each series; staging the rows and merging them would take the server three times as long as taking them in.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from collector.storage import timeseries
from collector.storage.merge import Changes, Chunks, Cursor
from collector.storage.rows import Rows, RowShape, chunks

LEAST_ROWS = 500  # of a write; for fewer the looks cost as much as they save
MOST_SERIES = 16  # as many looks at most


def copy_fresh(cursor: Cursor, shape: RowShape, rows: Rows, ids: Mapping[int, int], cycle_id: int) -> Changes | None:
    """Store rows, sorted by key and one for each, where their series hold nothing from their first to their last.

    Returns None, with nothing done, where they may hold something and for tables whose key is not a series and a time.
    A row that somebody else stores at the same moment makes the server refuse all (StorageRejected).
    """
    if len(rows) < LEAST_ROWS or shape.key[-1] != timeseries.PARTITIONED.get(shape.table):
        return None
    *series, times = shape.keys(rows.records, ids)
    spans = list(_spans(list(zip(*series, strict=True))))
    if len(spans) > MOST_SERIES:
        return None
    same = " AND ".join(f"{name} = %s" for name in shape.key[:-1])
    look = f"SELECT EXISTS (SELECT 1 FROM {shape.table} WHERE {same} AND {shape.key[-1]} BETWEEN %s AND %s)"
    for start, stop in spans:
        cursor.execute(look, (*(part[start] for part in series), times[start], times[stop - 1]))
        if cursor.fetchall()[0][0]:
            return None
    parts = chunks(rows, shape, ids, cycle_id, numbered=False)
    cursor.copy_expert(f"COPY {shape.table} ({', '.join(shape.columns)}) FROM STDIN", Chunks(parts))
    return Changes(Counter(rows.numbers))


def _spans(series: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of each run of equals in a sorted list."""
    start = 0
    while start < len(series):
        stop = bisect_right(series, series[start], start)
        yield start, stop
        start = stop
