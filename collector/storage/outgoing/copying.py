"""Rows of a dataset as a stream out of the database and into it, by COPY, with a few buffers of memory.

Out: the same rows leave in the same order from every database that holds them (see `copy_statements`).
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO

import psycopg2
from sqlalchemy import Connection, text

from collector.errors import CollectorError
from collector.records import Interval
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.faults import translated
from collector.storage.merge import Chunks
from collector.storage.outgoing.copy_statements import LINE_OPTIONS, Spelling, copy_sql, copy_values, series_sql
from collector.storage.outgoing.datasets import Exportable, Slice
from collector.storage.outgoing.pipe import Pipe

__all__ = ["Spelling", "copied_out", "copy_in", "estimated_rows", "load_slices"]

_AHEAD_BYTES = 32 << 20  # what the server may be ahead of the one that takes the rows
# A long copy is no stuck statement. One process sorts and reads: the order of rows must not depend on workers.
_PATIENT = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "
    "SET LOCAL work_mem = '64MB'; SET LOCAL max_parallel_workers_per_gather = 0; "
    "SET LOCAL enable_material = off; SET LOCAL extra_float_digits = 1"
)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def copied_out(database: Database, dataset: Exportable, where: Slice, spelling: Spelling) -> Iterator[BinaryIO]:
    """Lend the rows of a slice as a stream of bytes; a thread of its own reads them from the server.

    The block's end says whether all rows came: raises StorageUnavailable or another StorageError when they did not,
    however the block took the end of the stream. Leaving the block early cancels the statement.
    """
    pipe = Pipe(_AHEAD_BYTES)
    feed = _Feed(database, dataset, where, spelling, pipe.writer)
    feed.start()
    try:
        yield pipe.reader
    except BaseException:
        feed.cancel()  # raises what ended the stream early, if anything did
        raise
    finally:
        pipe.reader.close()
        feed.join()
    feed.complain()


class _Feed(threading.Thread):
    """Runs one COPY into a pipe."""

    def __init__(
        self, database: Database, dataset: Exportable, where: Slice, spelling: Spelling, pipe: BinaryIO
    ) -> None:
        super().__init__(name=f"copy-{dataset.name}", daemon=True)
        self._database, self._dataset, self._where, self._spelling = database, dataset, where, spelling
        self._pipe = pipe
        self._running: psycopg2.extensions.connection | None = None
        self._unwanted = False
        self._error: CollectorError | None = None

    def run(self) -> None:
        try:
            self._copy()
        except CollectorError as error:
            self._error = error
        except BrokenPipeError:
            self._unwanted = True
        finally:
            with suppress(BrokenPipeError):
                self._pipe.close()

    def _copy(self) -> None:
        doing = f"copy {self._dataset.name}"
        with self._database.reading(doing) as connection:
            connection.exec_driver_sql(_PATIENT)
            series = _series(connection, self._dataset, self._where)
            if self._dataset.by_series:  # in order of the key: a bitmap would be sorted again, series by series
                connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
            if self._dataset.by_series and not series:
                return
            cursor = connection.connection.cursor()
            statement = copy_sql(self._dataset, self._where, self._spelling)
            values = copy_values(self._dataset, self._where, series)
            self._running = connection.connection.driver_connection
            try:
                with translated(doing):
                    cursor.copy_expert(cursor.mogrify(statement, values), self._pipe)
                    self._pipe.flush()
            finally:
                self._running = None

    def cancel(self) -> None:
        """End the statement now, unless it has failed by itself: then raise why."""
        self.complain()
        running, self._unwanted = self._running, True
        if running is not None:
            with suppress(psycopg2.Error):
                running.cancel()

    def complain(self) -> None:
        """Raise what went wrong; an end that was asked for is none."""
        if self._error is not None and not self._unwanted:
            raise self._error


def _series(connection: Connection, dataset: Exportable, where: Slice) -> list[tuple[int, str, str]]:
    """Return the series that a slice has rows of, in their order: number, canonical id, interval or ""."""
    if not dataset.by_series:
        return []
    values: dict[str, Any] = {"since": where.since, "until": where.until, "part": where.part}
    if dataset.has_interval:
        values["bars"] = [str(interval) for interval in Interval]
    return [(row[0], row[1], row[2]) for row in connection.execute(text(series_sql(dataset)), values)]


# --------------------------------------------------------------------------- what there is


def load_slices(
    database: Database, dataset: Exportable, since: datetime | None = None, until: datetime | None = None
) -> list[Slice]:
    """Return the slices that make up a time of a dataset, by venue or source and month; some may hold no rows.

    A month that the time covers in part is cut there. A dataset without a time is cut by venue or source alone.
    """
    with database.reading(f"look at {dataset.name}") as connection:
        connection.exec_driver_sql(_PATIENT)
        if dataset.time is None:
            return [Slice(part=part) for part in _parts(connection, dataset, None, None)]
        found = []
        for month in _months(connection, dataset, since, until):
            begin, end = _clipped(month, since, until)
            found += [Slice(since=begin, until=end, part=part) for part in _parts(connection, dataset, begin, end)]
    return sorted(found, key=lambda where: (where.part or "", where.since or _FIRST))


def _clipped(month: timeseries.Month, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    begin, end = timeseries.start_of(month), timeseries.start_of(timeseries.following(month))
    return max(begin, since or begin), min(end, until or end)


def _months(
    connection: Connection, dataset: Exportable, since: datetime | None, until: datetime | None
) -> list[timeseries.Month]:
    """Return the months of a time that hold a row, oldest first; one look for each that may."""
    candidates = timeseries.months_stored(connection, dataset.name)
    if not candidates:
        bounds = connection.execute(text(f"SELECT min({dataset.time}), max({dataset.time}) FROM {dataset.name}")).one()
        if bounds[0] is None:
            return []
        candidates = set(_between(timeseries.month_of(bounds[0]), timeseries.month_of(bounds[1])))
    query = text(f"SELECT EXISTS (SELECT 1 FROM {dataset.name} WHERE {dataset.time} >= :a AND {dataset.time} < :b)")
    found = []
    for month in sorted(candidates):
        begin, end = _clipped(month, since, until)
        if begin < end and connection.execute(query, {"a": begin, "b": end}).scalar():
            found.append(month)
    return found


def _between(first: timeseries.Month, last: timeseries.Month) -> Iterator[timeseries.Month]:
    month = first
    while month <= last:
        yield month
        month = timeseries.following(month)


def _parts(
    connection: Connection, dataset: Exportable, since: datetime | None, until: datetime | None
) -> list[str | None]:
    if dataset.partition is None:
        return [None]
    if dataset.partition == "venue":
        return list(connection.execute(text("SELECT DISTINCT venue FROM instruments ORDER BY 1")).scalars())
    bounds = "" if dataset.time is None else f"WHERE {dataset.time} >= :since AND {dataset.time} < :until"
    query = text(f"SELECT DISTINCT source FROM {dataset.name} {bounds} ORDER BY 1")
    return list(connection.execute(query, {"since": since, "until": until} if bounds else {}).scalars())


def estimated_rows(database: Database, dataset: Exportable, slices: Sequence[Slice]) -> int:
    """Return about how many rows slices hold, by the server's statistics."""
    if not slices:
        return 0
    starts = [where.since for where in slices if where.since is not None]
    ends = [where.until for where in slices if where.until is not None]
    bounds = f"WHERE {dataset.time} >= %(since)s AND {dataset.time} < %(until)s" if starts else ""
    with database.reading(f"look at {dataset.name}") as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN (FORMAT json) SELECT 1 FROM {dataset.name} {bounds}",
            {"since": min(starts), "until": max(ends)} if starts else {},
        ).scalar()
    return int(plan[0]["Plan"]["Plan Rows"])  # type: ignore[index]


# --------------------------------------------------------------------------- in


def copy_in(
    connection: Connection, table: str, columns: Sequence[str], parts: Iterable[bytes], *, lines: bool = False
) -> int:
    """Copy rows that are spelled as CSV without a header, or `lines` of JSON, into a table and return how many.

    NULL is nothing at all, an empty text is "". In the caller's transaction. Raises StorageRejected for a value that
    does not fit the table.
    """
    cursor = connection.connection.cursor()
    options = LINE_OPTIONS if lines else "FORMAT csv"
    with translated(f"copy into {table}"):
        cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN ({options})", Chunks(iter(parts)))
    return int(cursor.rowcount)
