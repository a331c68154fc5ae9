"""The only way into the database: every write is one transaction and an upsert, so repeating it changes nothing.

Used by one thread.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from psycopg2.extras import execute_values
from sqlalchemy import Connection, text

from collector.errors import IllegalTransition, StorageRejected
from collector.records import Batch, CycleReport, CycleState, IndicatorBlock, WriteResult
from collector.storage import announce, coverage, indicator_rows, ledger, timeseries
from collector.storage.database import Database
from collector.storage.instrument_ids import InstrumentIds
from collector.storage.merge import Cursor, ensure_staging
from collector.storage.rows import shape_of
from collector.storage.transaction import Groups, Transaction, grouped, months_needed

_FINISHED = (CycleState.OK, CycleState.PARTIAL, CycleState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetStanding:
    """What the universe decided about an asset."""

    asset_id: str
    rank: int | None
    followed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentStanding:
    """What the universe decided about an instrument."""

    instrument: str  # canonical id
    asset_id: str | None
    asset_units: Decimal | None  # coins in one base unit
    match_state: str | None  # matched, unmatched, ambiguous, excluded; None when not judged
    match_detail: str | None
    followed: bool


class Writer:
    """Stores batches, indicators and the ledger. Raises StorageUnavailable when nothing was written: repeat."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = InstrumentIds()
        self._months: dict[str, set[timeseries.Month]] = {}

    # ------------------------------------------------------------------ cycles

    def begin_cycle(self, cadence: str, started_at: datetime, *, instance: str, folder: str, simulated: bool) -> int:
        """Open a cycle and return its number."""
        values = {"cadence": cadence, "at": started_at, "instance": instance, "folder": folder, "sim": simulated}
        with self._database.transaction("begin a cycle") as connection:
            return int(connection.execute(_BEGIN, values).scalar_one())

    def begin_again(
        self, cadence: str, started_at: datetime, *, instance: str, folder: str, simulated: bool
    ) -> tuple[int, bool]:
        """Return the number of the cycle of this cadence and start, and whether it runs; begin it if there is none."""
        with self._database.reading("look for a cycle") as connection:
            row = connection.execute(_FIND, {"cadence": cadence, "at": started_at}).first()
        if row is not None:
            return int(row.cycle_id), row.state == CycleState.RUNNING
        number = self.begin_cycle(cadence, started_at, instance=instance, folder=folder, simulated=simulated)
        return number, True

    def finish_cycle(self, report: CycleReport, *, unheard: bool = False) -> None:
        """Close a running cycle with its report; repeating the same call changes nothing.

        Raises IllegalTransition when the cycle is not running, or when the report's state is no end. `unheard`: an
        earlier call failed, but may have landed without our hearing of it; then that end stays.
        """
        if report.state not in _FINISHED:
            raise IllegalTransition(f"cycle {report.cycle_id} cannot finish as {report.state}")
        values = {
            "cycle_id": report.cycle_id,
            "state": str(report.state),
            "finished_at": report.finished_at,
            "folder": report.folder,
            "report": ledger.report_json(report),
            **ledger.cycle_totals(report),
        }
        with self._database.transaction("finish a cycle") as connection:
            if connection.execute(_FINISH, values).rowcount != 1:
                found = connection.execute(_STATE, {"cycle_id": report.cycle_id}).scalar()
                if unheard and found in {str(state) for state in _FINISHED}:
                    return
                raise IllegalTransition(f"cycle {report.cycle_id} is {found or 'unknown'}, not running")

    def count_late(self, cycle_id: int) -> None:
        """Count what was stored for a cycle after its end; a running one counts its rows when it ends."""
        with self._database.transaction("count late rows") as connection:
            connection.execute(_COUNT_LATE, {"cycle_id": cycle_id})

    def abandon_running(self, now: datetime) -> list[int]:
        """Mark the cycles of dead processes and return their numbers. Only under the writer lock."""
        with self._database.transaction("abandon old cycles") as connection:
            return sorted(connection.execute(_ABANDON, {"now": now}).scalars())

    # ------------------------------------------------------------------ market data

    def write(self, cycle_id: int, batches: Sequence[Batch]) -> list[WriteResult]:
        """Store the batches in one transaction: rows, ledger, rejects and raw answers; return a result for each.

        A row the database refuses becomes a Reject of its batch, everything else lands. `written` counts rows
        inserted or changed, exactly, per batch; `unchanged` the rest, duplicates within the write included. Forming
        candles are left out. A batch of dataset LISTING or INSTRUMENTS with state ok and without rejects is a
        complete list: what is missing from it is marked as gone.
        """
        if not batches:
            return []
        groups = grouped(batches)
        bodies = ledger.compressed(batches)
        self._ensure_months(_months(groups, batches))
        now = self._database.clock.now()
        with self._transaction("write", [shape_of(record_type).table for record_type in groups]) as (
            connection,
            cursor,
        ):
            part = Transaction(connection, cursor, cycle_id=cycle_id, ids=self._ids, now=now)
            results = part.store(batches, groups).results(batches, groups)
            coverage.settle_batches(cursor, batches, results, ids=self._ids, cycle_id=cycle_id, now=now)
            jobs = ledger.write_jobs(cursor, cycle_id, batches, results)
            refused = [[*batch.rejects, *result.rejects] for batch, result in zip(batches, results, strict=True)]
            ledger.write_rejects(cursor, now, jobs, refused)
            ledger.write_payloads(cursor, jobs, bodies)
            announce.announce(cursor, cycle_id, announce.of_batches(groups, batches, results, now))
        return results

    def write_indicators(self, cycle_id: int, blocks: Sequence[IndicatorBlock]) -> int:
        """Store indicator values in one transaction and return how many rows were inserted or changed.

        NaN and infinities become NULL. When two blocks hold the same bar, the later block wins. Raises ValueError
        for a block whose columns differ in length, are unknown, or whose times do not ascend.
        """
        filled = [block for block in blocks if block.open_times]
        if not filled:
            return 0
        months = {timeseries.month_of(moment) for moment in set().union(*(block.open_times for block in filled))}
        self._ensure_months({"indicators": months})
        try:
            return self._merge_indicators(cycle_id, filled)
        except StorageRejected:
            if not self._make_again("indicators", months):
                raise
            return self._merge_indicators(cycle_id, filled)

    def _merge_indicators(self, cycle_id: int, blocks: Sequence[IndicatorBlock]) -> int:
        now = self._database.clock.now()
        with self._transaction("write indicators", ["indicators"]) as (_, cursor):
            numbers = self._ids.of(cursor, [block.instrument for block in blocks], now)
            changed = indicator_rows.merge(cursor, blocks, numbers, cycle_id=cycle_id, computed_at=now)
            announce.announce(cursor, cycle_id, announce.of_blocks(blocks, changed, now))
            return changed

    # ------------------------------------------------------------------ universe

    def save_universe(
        self, source: str, assets: Iterable[AssetStanding], instruments: Iterable[InstrumentStanding]
    ) -> tuple[int, int]:
        """Store which assets of `source` and which instruments are followed; return (assets, instruments) changed.

        Assets not named are no longer followed and lose their rank; instruments not named stay as they are.
        """
        chosen = [(item.asset_id, item.rank, item.followed) for item in assets]
        with self._transaction("save the universe") as (_, cursor):
            cursor.execute(_CHOICES)
            _fill(cursor, "INSERT INTO chosen_assets VALUES %s", chosen)
            cursor.execute(_CHOOSE_ASSETS, (source,))
            changed = cursor.rowcount
            matches = [
                (x.instrument, x.asset_id, x.asset_units, x.match_state, x.match_detail, x.followed)
                for x in instruments
            ]
            _fill(cursor, "INSERT INTO chosen_instruments VALUES %s", matches)
            cursor.execute(_CHOOSE_INSTRUMENTS)
            return changed, cursor.rowcount

    # ------------------------------------------------------------------ upkeep

    def ensure_ahead(self, now: datetime, months: int = 3) -> int:
        """Make the partitions of this month and the next `months`; return how many were missing."""
        with self._database.transaction("make partitions") as connection:
            return timeseries.ensure_ahead(connection, now, months)

    def prune_payloads(self, before: datetime) -> int:
        """Delete the raw answers received before a moment and return how many; whole months are dropped."""
        with self._database.transaction("prune raw payloads") as connection:
            count = connection.execute(_COUNT_PAYLOADS, {"before": before}).scalar_one()
            timeseries.drop_before(connection, "raw_payloads", before)
            connection.execute(_DELETE_PAYLOADS, {"before": before})
        self._months.pop("raw_payloads", None)
        return int(count)

    def prune_payloads_above(self, size: int) -> int:
        """Delete the oldest raw answers while all together hold more than `size` bytes; return how many went.

        Counted as stored, compressed. The server uses their space for new ones.
        """
        with self._database.reading("measure raw payloads") as connection:
            last = connection.execute(_PAYLOADS_ABOVE, {"size": size}).scalar()
        return 0 if last is None else self.prune_payloads(last + timedelta.resolution)

    def prune_ledger(self, before: datetime) -> int:
        """Delete the jobs, with their rejects, of cycles started before a moment; return how many. Cycles stay.

        Suspects noted before it go too; revisions stay, for nothing else tells what a value was.
        """
        with self._database.transaction("prune the ledger") as connection:
            connection.execute(_DELETE_SUSPECTS, {"before": before})
            return int(connection.execute(_DELETE_JOBS, {"before": before}).rowcount)

    # ------------------------------------------------------------------ inside

    @contextmanager
    def _transaction(self, doing: str, staged: Sequence[str] = ()) -> Iterator[tuple[Connection, Cursor]]:
        try:
            with self._database.connection(doing) as connection:
                ensure_staging(connection, staged)
                with connection.begin():
                    yield connection, connection.connection.cursor()  # type: ignore[misc]
        except BaseException:
            self._ids.forget_fresh()
            raise
        self._ids.commit()

    def _ensure_months(self, months: Mapping[str, set[timeseries.Month]]) -> None:
        """Make partitions, committed by themselves: what they wait for must not hold up a transaction."""
        for table, wanted in months.items():
            if not wanted <= self._months.setdefault(table, set()):
                with self._database.transaction("make partitions") as connection:
                    timeseries.ensure_partitions(connection, table, wanted)
                self._months[table] |= wanted

    def _make_again(self, table: str, months: set[timeseries.Month]) -> bool:
        """Make partitions that retention dropped meanwhile; return whether there were any."""
        with self._database.transaction("make partitions") as connection:
            return bool(timeseries.ensure_partitions(connection, table, months))


def _months(groups: Groups, batches: Sequence[Batch]) -> dict[str, set[timeseries.Month]]:
    """Return the months that a write needs partitions for, by table."""
    received = {item.received_at for batch in batches for item in batch.payloads}
    return {**months_needed(groups), "raw_payloads": {timeseries.month_of(moment) for moment in received}}


def _fill(cursor: Cursor, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        execute_values(cursor, statement, rows, page_size=1000)


_BEGIN = text(
    "INSERT INTO cycles (cadence, state, started_at, instance, folder, simulated) "
    "VALUES (:cadence, 'running', :at, :instance, :folder, :sim) RETURNING cycle_id"
)
_COUNT_LATE = text(
    """
    UPDATE cycles c
    SET rows_written = greatest(c.rows_written, l.written), rejects = greatest(c.rejects, l.refused)
    FROM (SELECT coalesce(sum(rows_written), 0) AS written, coalesce(sum(rejects), 0) AS refused
        FROM jobs WHERE cycle_id = :cycle_id) l
    WHERE cycle_id = :cycle_id AND state <> 'running'
    """
)
_FIND = text("SELECT cycle_id, state FROM cycles WHERE cadence = :cadence AND started_at = :at LIMIT 1")
# Names the states it may leave; the second is the same call once more, after an answer that got lost. The ledger counts
# what landed, even when the answer to its COMMIT got lost and the report knows only that a repetition changed nothing.
_FINISH = text(
    """
    UPDATE cycles SET state = :state, finished_at = :finished_at, folder = :folder, report = CAST(:report AS jsonb),
        rows_written = greatest(:rows_written, l.written), indicator_rows = :indicator_rows, jobs_ok = :jobs_ok,
        jobs_failed = :jobs_failed, jobs_skipped = :jobs_skipped, rejects = greatest(:rejects, l.refused)
    FROM (SELECT coalesce(sum(rows_written), 0) AS written, coalesce(sum(rejects), 0) AS refused
        FROM jobs WHERE cycle_id = :cycle_id) l
    WHERE cycle_id = :cycle_id AND (state = 'running' OR (state = :state AND finished_at = :finished_at))
    """
)
_STATE = text("SELECT state FROM cycles WHERE cycle_id = :cycle_id")
# What it did until its process died is in its jobs.
_ABANDON = text(
    """
    UPDATE cycles c SET state = 'abandoned', finished_at = greatest(started_at, :now), rows_written = d.rows,
        rejects = d.rejects, jobs_ok = d.ok, jobs_failed = d.failed, jobs_skipped = d.skipped
    FROM (SELECT r.cycle_id, coalesce(sum(j.rows_written), 0) AS rows, coalesce(sum(j.rejects), 0) AS rejects,
            count(*) FILTER (WHERE j.state = 'ok') AS ok, count(*) FILTER (WHERE j.state = 'failed') AS failed,
            count(*) FILTER (WHERE j.state = 'skipped') AS skipped
        FROM cycles r LEFT JOIN jobs j USING (cycle_id) WHERE r.state = 'running' GROUP BY 1) d
    WHERE c.cycle_id = d.cycle_id AND c.state = 'running'
    RETURNING c.cycle_id
    """
)
_CHOICES = """
    CREATE TEMPORARY TABLE chosen_assets (asset_id text, rank integer, followed boolean) ON COMMIT DROP;
    CREATE TEMPORARY TABLE chosen_instruments (instrument text, asset_id text, asset_units numeric, match_state text,
        match_detail text, followed boolean) ON COMMIT DROP
"""
_CHOOSE_ASSETS = """
    UPDATE assets a SET rank = c.rank, followed = coalesce(c.followed, false)
    FROM assets b LEFT JOIN chosen_assets c USING (asset_id)
    WHERE b.source = %s AND a.source = b.source AND a.asset_id = b.asset_id
      AND (a.rank, a.followed) IS DISTINCT FROM (c.rank, coalesce(c.followed, false))
"""
_CHOOSE_INSTRUMENTS = """
    UPDATE instruments i SET asset_id = c.asset_id, asset_units = c.asset_units, match_state = c.match_state,
        match_detail = c.match_detail, followed = c.followed
    FROM chosen_instruments c
    WHERE i.instrument = c.instrument
      AND (i.asset_id, i.asset_units, i.match_state, i.match_detail, i.followed)
        IS DISTINCT FROM (c.asset_id, c.asset_units, c.match_state, c.match_detail, c.followed)
"""
_COUNT_PAYLOADS = text("SELECT count(*) FROM raw_payloads WHERE received_at < :before")
_DELETE_JOBS = text("DELETE FROM jobs WHERE cycle_id IN (SELECT cycle_id FROM cycles WHERE started_at < :before)")
_DELETE_SUSPECTS = text("DELETE FROM suspects WHERE noted_at < :before")
# The newest answer that no longer fits. The length of a body kept out of line is known without reading it.
_PAYLOADS_ABOVE = text(
    """
    SELECT max(received_at) FROM (
        SELECT received_at, sum(octet_length(body)) OVER (ORDER BY received_at DESC, job_id DESC, seq DESC) AS held
        FROM raw_payloads
    ) newest WHERE held > :size
    """
)
_DELETE_PAYLOADS = text("DELETE FROM raw_payloads WHERE received_at < :before")
