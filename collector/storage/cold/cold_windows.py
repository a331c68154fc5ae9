"""Windows of series whose rows left the database: sealed months stay held, deleted ones are not wanted any more.

Without this a scan of the stored rows would take what was sealed for holes, and the collector would fetch it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import Connection, text

from collector.clock import floor_time
from collector.coverage import HELD, Finding, Window
from collector.records import Interval
from collector.storage import timeseries
from collector.storage.timeseries import Month

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('collector coverage of ' || current_schema(), 0))"
"""Whoever changes windows holds it."""

Range = tuple[datetime, datetime]
Island = tuple[datetime, datetime, str]
"""A stretch of bars without a hole: since, until, source."""


@dataclass(frozen=True, slots=True)
class Left:
    """Which months of a dataset left the database, as ranges of time."""

    sealed: Sequence[Range] = ()  # to files
    deleted: Sequence[Range] = ()


def load_left(cursor: Any, dataset: str, interval: str) -> Left:
    """Return what of a series is not in the database, on the grid of its bars."""
    cursor.execute(_LEFT, (dataset,))
    rows = [(range_of(timeseries.month_of(month), interval), deleted) for month, deleted in cursor.fetchall()]
    return Left(
        sealed=[found for found, deleted in rows if not deleted], deleted=[found for found, deleted in rows if deleted]
    )


def load_sealed(connection: Connection) -> list[tuple[str, datetime, datetime]]:
    """Return the months that left the database for files, in order: dataset, since, until."""
    return [(row.dataset, *range_of(timeseries.month_of(row.month), "")) for row in connection.execute(_SEALED)]


def range_of(month: Month, interval: str) -> Range:
    """Return what the bars that open in a month cover; a week belongs to the month of its Monday."""
    since, until = timeseries.start_of(month), timeseries.start_of(timeseries.following(month))
    return (_ceiling(since, interval), _ceiling(until, interval)) if interval else (since, until)


def _ceiling(moment: datetime, interval: str) -> datetime:
    length = Interval(interval)
    opened = floor_time(moment, length)
    return opened if opened == moment else opened + length.width


def with_sealed(islands: Sequence[Island], before: Sequence[Window], left: Left) -> list[Island]:
    """Return the islands of the database with those that sealed months hold by the windows known before."""
    held = [window for window in before if window.state in HELD]
    more = [
        (since, until, window.source)
        for window in held
        for range_ in left.sealed
        for since, until in _without(_cut((window.since, window.until), range_), [item[:2] for item in islands])
    ]
    return sorted([*islands, *more])


def without_deleted(told: Sequence[Finding], left: Left) -> Iterator[Finding]:
    """Yield findings, those of holes only outside of deleted months."""
    for finding in told:
        if not finding.reason:  # of rows
            yield finding
            continue
        for since, until in _without((finding.since, finding.until), left.deleted):
            yield replace(finding, since=since, until=until)


def forget_windows(connection: Connection, month: Month, kept: Sequence[str]) -> int:
    """Take a month out of the windows of all candles but those of kept intervals; return how many windows it was in.

    In the transaction that deletes the rows, after them: the writer takes its locks in this order too.
    """
    connection.execute(text(LOCK))
    count = 0
    for interval in [str(item) for item in Interval if str(item) not in kept]:
        since, until = range_of(month, interval)
        found = connection.execute(_TAKE, {"interval": interval, "since": since, "until": until}).mappings().all()
        count += len(found)
        rests = [
            {**window, "since": start, "until": end}
            for window in found
            for start, end in _without((window["since"], window["until"]), [(since, until)])
        ]
        if rests:
            columns = ", ".join(rests[0])
            cursor = connection.connection.cursor()
            statement = f"INSERT INTO coverage ({columns}) VALUES %s"
            execute_values(cursor, statement, [tuple(rest.values()) for rest in rests])
    return count


def _cut(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])


def _without(whole: Range, parts: Sequence[Range]) -> Iterator[Range]:
    """Yield what is left of a range without some parts, in order; nothing of an empty one."""
    since, until = whole
    for start, end in sorted(parts):
        if end <= since or start >= until:
            continue
        if since < start:
            yield since, min(start, until)
        since = max(since, end)
    if since < until:
        yield since, until


_LEFT = """
    SELECT month, state = 'deleted' FROM cold_months
    WHERE dataset = %s AND (state = 'deleted' OR (file <> '' AND state <> 'restored')) ORDER BY month
"""
_TAKE = text(
    """
    DELETE FROM coverage WHERE dataset = 'candles' AND interval = :interval AND since < :until AND until > :since
    RETURNING *
    """
)
_SEALED = text(
    "SELECT dataset, month FROM cold_months WHERE file <> '' AND state IN ('dropped', 'restoring', 'sealing') "
    "ORDER BY dataset, month"
)
