"""One write transaction: the records of several batches into their tables, table by table, poison rows set aside."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, groupby

from sqlalchemy import Connection

from collector.bars import Bars, joined
from collector.errors import StorageRejected
from collector.records import Batch, Candle, Record, Reject, RejectReason, WriteResult
from collector.storage import timeseries
from collector.storage.fresh import copy_fresh
from collector.storage.instrument_ids import InstrumentIds
from collector.storage.listings import LISTINGS, Listing, is_complete, known_sources, mark_missing, merge_listing
from collector.storage.merge import Changes, Cursor, merge_staged, savepoint, stage
from collector.storage.revisions import FINAL, merge_final
from collector.storage.rows import Rows, shape_of

Groups = dict[type[Record], Rows]


def grouped(batches: Sequence[Batch]) -> Groups:
    """Return the rows to store by record type, each with the number of its batch. A forming candle is no row."""
    bars = _in_columns(batches)
    if bars is not None:
        return {Candle: bars}
    records: defaultdict[type[Record], list[Record]] = defaultdict(list)
    numbers: defaultdict[type[Record], list[int]] = defaultdict(list)
    for number, batch in enumerate(batches):
        for record_type, run in groupby(batch.records, key=type):
            found = [record for record in run if not (isinstance(record, Candle) and not record.closed)]
            if found:
                records[record_type] += found
                numbers[record_type] += [number] * len(found)
    # Listings first: they say more about a new instrument than its first price does.
    ordered = sorted(records, key=lambda record_type: record_type not in LISTINGS)
    return {record_type: Rows(records[record_type], numbers[record_type]) for record_type in ordered}


def _in_columns(batches: Sequence[Batch]) -> Rows | None:
    """Return all rows of the batches by columns, the oldest first; None where they are not bars of one series."""
    filled = [(number, batch.records) for number, batch in enumerate(batches) if batch.records]
    parts = [(number, bars) for number, bars in filled if isinstance(bars, Bars)]
    parts.sort(key=lambda part: part[1].open_time[0])  # the newest stretch of a back-fill is fetched first
    bars = joined([bars for _, bars in parts])
    if len(parts) < len(filled) or not isinstance(bars, Bars):
        return None
    return Rows(bars, [number for number, part in parts for _ in range(len(part))])


def months_needed(groups: Groups) -> dict[str, set[timeseries.Month]]:
    """Return the months that each partitioned table gets rows for."""
    needed: dict[str, set[timeseries.Month]] = {}
    for record_type, rows in groups.items():
        table = shape_of(record_type).table
        column = timeseries.PARTITIONED.get(table)
        if column is not None:
            needed[table] = {timeseries.month_of(moment) for moment in set(rows.column(column))}
    return needed


@dataclass(slots=True)
class Outcome:
    """What became of the rows so far."""

    changed: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    revised: Counter[int] = field(default_factory=Counter)  # final rows whose values changed
    gone: Counter[int] = field(default_factory=Counter)  # subjects marked as gone, which no row was given for
    refused: list[tuple[int, Record, str]] = field(default_factory=list)

    def results(self, batches: Sequence[Batch], groups: Groups) -> list[WriteResult]:
        """Return the result of each batch: exact numbers, whatever batches shared a statement."""
        given = Counter(chain.from_iterable(rows.numbers for rows in groups.values()))
        return [self._result(number, batch, given[number]) for number, batch in enumerate(batches)]

    def _result(self, number: int, batch: Batch, given: int) -> WriteResult:
        written = {table: counts[number] for table, counts in self.changed.items() if counts[number]}
        rejects = tuple(
            Reject(job=batch.job, row=repr(record)[:2000], reason=RejectReason.REFUSED_BY_DATABASE, detail=detail)
            for owner, record, detail in self.refused
            if owner == number
        )
        unchanged = given + self.gone[number] - sum(written.values()) - len(rejects)
        revised = self.revised[number]
        return WriteResult(written=written, unchanged=unchanged, revised=revised, rejects=rejects)


class Transaction:
    """Merges rows inside an open database transaction. The staging tables must exist."""

    def __init__(
        self, connection: Connection, cursor: Cursor, *, cycle_id: int, ids: InstrumentIds, now: datetime
    ) -> None:
        self._connection = connection
        self._cursor = cursor
        self._cycle_id = cycle_id
        self._ids = ids
        self._now = now
        self._outcome = Outcome()

    def store(self, batches: Sequence[Batch], groups: Groups) -> Outcome:
        """Store all rows and return what became of them."""
        for record_type, rows in groups.items():
            listing = LISTINGS.get(record_type)
            if listing is None:
                self._land(rows, self._merge)
            else:
                self._store_listing(listing, batches, rows)
        return self._outcome

    def _land(self, rows: Rows, merge: Callable[[Rows], Changes]) -> None:
        """Merge rows; when the database refuses some, halve until only those are left over."""
        table = shape_of(type(rows.records[0])).table
        try:
            with savepoint(self._cursor):
                changes = merge(rows)
        except StorageRejected as error:
            self._ids.forget_fresh()
            if self._partition_was_missing(table, rows):
                self._land(rows, merge)
            elif len(rows) == 1:
                self._outcome.refused.append((rows.numbers[0], rows.records[0], str(error)))
            else:
                # In order of receipt, so that of two rows with one key the newer still comes last.
                ordered, middle = rows.by_receipt(), len(rows) // 2
                self._land(ordered[:middle], merge)
                self._land(ordered[middle:], merge)
        else:
            self._outcome.changed[table].update(changes.changed)
            self._outcome.revised.update(changes.revised)

    def _partition_was_missing(self, table: str, rows: Rows) -> bool:
        """Make partitions that somebody dropped behind our back; return whether there were any."""
        months = months_needed({type(rows.records[0]): rows}).get(table, set())
        return bool(timeseries.ensure_partitions(self._connection, table, months))

    def _merge(self, rows: Rows) -> Changes:
        shape = shape_of(type(rows.records[0]))
        ids: Mapping[int, int] = self._ids.of_rows(self._cursor, rows, self._now) if shape.has_instrument else {}
        distinct = shape.distinct(rows, ids)
        fresh = copy_fresh(self._cursor, shape, distinct, ids, self._cycle_id)
        if fresh is not None:
            return fresh
        stage(self._cursor, shape, distinct, ids, self._cycle_id)
        if shape.table in FINAL:
            return merge_final(self._cursor, shape, distinct, now=self._now)
        return merge_staged(self._cursor, shape, distinct)

    def _store_listing(self, listing: Listing, batches: Sequence[Batch], rows: Rows) -> None:
        known = known_sources(self._cursor, listing)

        def merge(part: Rows) -> Changes:
            shape = shape_of(listing.record)
            stage(self._cursor, shape, shape.distinct(part, {}), {}, self._cycle_id)
            at = max(record.received_at for record in part.records)
            changed = merge_listing(self._cursor, listing, at=at, cycle_id=self._cycle_id, known=known)
            return Changes(Counter({part.numbers[0]: changed}))

        for number in sorted(set(rows.numbers)):
            self._land(rows.of_batch(number), merge)
            if is_complete(batches[number], listing):
                gone = mark_missing(self._cursor, listing, batches[number], self._cycle_id)
                self._outcome.changed[listing.table][number] += gone
                self._outcome.gone[number] += gone
