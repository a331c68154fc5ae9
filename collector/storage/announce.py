"""Tells whoever listens that rows were stored: one small notification per transaction, sent when it commits.

The text is a JSON object: `cycle`, `xid` (the transaction, as text) and `tables`: name -> `rows` (inserted or changed),
`intervals` of bars, and where to look for them: `since` and `until` (the rows' time) and `of` (canonical instrument
ids or asset ids). What is not told has to be looked for more widely; nothing is told of a write that changed nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collector.records import Batch, Candle, FundingRate, IndicatorBlock, MarketSnapshot, Record, WriteResult
from collector.storage.merge import Cursor
from collector.storage.rows import Rows, shape_of

CHANNEL = "collector_rows"
LONGEST = 7_900  # bytes; PostgreSQL refuses 8000
MOST_NAMED = 150  # instruments or assets; more are not told apart
MOST_ROWS = 5_000  # changed rows of a table; where more are, nobody is led to each
NEWS = timedelta(days=1)  # what is older than this when it is stored is history

_INSERT = "SELECT pg_notify(%s, %s || pg_current_xact_id()::text || '\"}')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """What a transaction changed in one table; None and empty: not told."""

    rows: int
    intervals: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    of: tuple[str, ...] = ()


def announce(cursor: Cursor, cycle_id: int, tables: Mapping[str, Fresh]) -> None:
    """Let the transaction tell what it changed when it commits; the last statement of it."""
    told = {name: item for name, item in tables.items() if item.rows}
    if told:
        cursor.execute(_INSERT, (CHANNEL, _text(cycle_id, told)))


def _text(cycle_id: int, tables: Mapping[str, Fresh]) -> str:
    """Return the notification up to the number of the transaction, as precise as fits."""
    for precise in (("since", "until", "of"), ("since", "until"), ()):
        parts = {name: _part(item, precise) for name, item in tables.items()}
        told = json.dumps({"cycle": cycle_id, "tables": parts}, separators=(",", ":"))
        text = f'{told[:-1]},"xid":"'
        if len(text.encode()) <= LONGEST:
            return text
    raise AssertionError("the names of our tables alone do not fit")


def _part(item: Fresh, precise: Sequence[str]) -> dict[str, Any]:
    part: dict[str, Any] = {"rows": item.rows}
    if item.intervals:
        part["intervals"] = item.intervals
    for name in precise:
        value = getattr(item, name)
        if value:
            part[name] = value.isoformat() if isinstance(value, datetime) else value
    return part


def of_batches(
    groups: Mapping[type[Record], Rows], batches: Sequence[Batch], results: Sequence[WriteResult], now: datetime
) -> dict[str, Fresh]:
    """Return what a write of batches changed, by table."""
    written: Counter[str] = Counter()
    for result in results:
        written.update(result.written)
    types = {shape_of(kind).table: kind for kind in groups}
    return {
        name: _of_rows(types[name], groups[types[name]], rows, batches, now) if name in types else Fresh(rows=rows)
        for name, rows in written.items()
    }


def _of_rows(kind: type[Record], rows: Rows, changed: int, batches: Sequence[Batch], now: datetime) -> Fresh:
    intervals: tuple[str, ...] = ()
    if kind is Candle:
        found = {batches[number].job.interval for number in set(rows.numbers)}
        intervals = tuple(sorted(str(interval) for interval in found if interval is not None))
    if changed > MOST_ROWS or not changed:
        return Fresh(rows=changed, intervals=intervals)
    moments = set(rows.column(time_column(kind)))
    return Fresh(
        rows=changed,
        intervals=intervals,
        since=max(min(moments), now - NEWS - timedelta(days=7) * (kind is Candle)),
        until=max(moments),
        of=_named(kind, rows),
    )


def time_column(kind: type[Record]) -> str:
    """Return the column by which the rows of a record type are found."""
    return {Candle: "open_time", FundingRate: "funding_time"}.get(kind, "observed_at")


def _named(kind: type[Record], rows: Rows) -> tuple[str, ...]:
    if kind is MarketSnapshot:
        return _few(set(rows.column("asset_id")))
    if not shape_of(kind).has_instrument:
        return ()
    objects = {id(item): item for item in rows.column("instrument")}
    return _few({item.id for item in objects.values()})


def _few(names: Iterable[str]) -> tuple[str, ...]:
    found = sorted(names)
    return tuple(found) if len(found) <= MOST_NAMED else ()


def of_blocks(blocks: Sequence[IndicatorBlock], changed: int, now: datetime) -> dict[str, Fresh]:
    """Return what a write of indicators changed; their blocks hold at least one bar each."""
    intervals = tuple(sorted({str(block.interval) for block in blocks}))
    if changed > MOST_ROWS:
        return {"indicators": Fresh(rows=changed, intervals=intervals)}
    first = min(block.open_times[0] for block in blocks)
    return {
        "indicators": Fresh(
            rows=changed,
            intervals=intervals,
            since=max(first, now - NEWS - timedelta(days=7)),
            until=max(block.open_times[-1] for block in blocks),
            of=_few({block.instrument.id for block in blocks}),
        )
    }
