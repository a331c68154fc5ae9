"""The database is away: what was observed goes to the spool, and returns with its cycle when the database is back.

Used by the thread that runs the cycles.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from collector.errors import StorageError, StorageUnavailable
from collector.log import get_logger
from collector.records import Batch, CycleReport, CycleState, SourceReport, WriteResult
from collector.spool import Spool, SpooledCycle
from collector.storage.writer import Writer
from collector.worker import Run, Tally

DROPPED = "dropped: the spool was full before the database was back"


@dataclass(slots=True)
class _Returned:
    """What came back of one cycle."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    batches: int = 0
    rows: int = 0


class Outage:
    """Keeps batches while the database is away and stores them when it is back."""

    def __init__(self, spool: Spool, writer: Writer) -> None:
        self._spool = spool
        self._writer = writer
        self._unfinished: list[CycleReport] = []  # cycles that began, and whose end could not be recorded
        self._unrecorded: list[tuple[SpooledCycle, CycleReport]] = []  # cycles that could not begin
        self._log = get_logger("Database")

    def keep(self, run: Run, cycle: SpooledCycle, group: Sequence[Batch]) -> list[Batch]:
        """Put what cannot be asked for again into the spool; return the batches that are kept."""
        kept = self._spool.keep(cycle, group).batches
        run.spooled += len(kept)
        return list(kept)

    def could_not_finish(self, report: CycleReport) -> None:
        """Remember the end of a cycle that is recorded as running."""
        self._unfinished.append(report)

    def could_not_begin(self, cycle: SpooledCycle, report: CycleReport) -> None:
        """Remember a cycle that the database does not know."""
        self._unrecorded.append((cycle, report))

    def finish_old(self) -> None:
        """Record the ends that could not be recorded. Raises StorageError; then the rest is tried again later."""
        while self._unfinished:
            self._writer.finish_cycle(self._unfinished[0], unheard=True)
            self._unfinished.pop(0)

    def bring_back(self) -> int:
        """Store what waits, oldest first, and return how many rows; cycles without a row in the ledger get one.

        Raises StorageUnavailable when the database goes away again: what is left returns later.
        """
        rows = 0
        files = groupby(self._spool.waiting(), lambda item: item[1])
        for cycle, items in files:
            number, running = cycle.cycle_id, False
            if number is None:
                number, running = self._writer.begin_again(
                    cycle.cadence,
                    cycle.started_at,
                    instance=cycle.instance,
                    folder=cycle.folder,
                    simulated=cycle.simulated,
                )
            returned = _Returned()
            for file, _, batches in items:
                if self._store(number, batches, returned):
                    self._writer.count_late(number)
                    self._spool.done(file)
                else:
                    self._spool.refused(file)
            rows += returned.rows
            if running:
                self._writer.finish_cycle(self._report(number, cycle, returned))
        self._tell_dropped()
        return rows

    def _store(self, number: int, batches: Sequence[Batch], returned: _Returned) -> bool:
        try:
            results = self._writer.write(number, batches)
        except StorageUnavailable:
            raise
        except StorageError as error:
            self._log.error("spool_file_refused", cycle=number, reason=str(error))
            return False
        _add(returned, zip(batches, results, strict=True))
        return True

    def _report(self, number: int, cycle: SpooledCycle, returned: _Returned) -> CycleReport:
        """Return the report of a cycle that ran without the database, with the rows that came back."""
        known = next((report for other, report in self._unrecorded if other == cycle), None)
        self._unrecorded = [item for item in self._unrecorded if item[0] != cycle]
        parts = tuple(
            SourceReport(
                source=name,
                jobs_ok=tally.jobs_ok,
                jobs_failed=tally.jobs_failed,
                rows=dict(tally.rows),
                unchanged=tally.unchanged,
                rejects=tally.rejects,
                errors=tuple(tally.errors),
            )
            for name, tally in sorted(returned.tallies.items())
        )
        base = known or _unknown(cycle, returned.batches)
        if known is not None and returned.batches < known.spooled:
            lost = SourceReport(source="spool", jobs_failed=known.spooled - returned.batches, errors=(DROPPED,))
            parts = (*parts, lost)
        return replace(base, cycle_id=number, state=CycleState.PARTIAL, sources=parts)

    def _tell_dropped(self) -> None:
        """Record the cycles of which nothing is left in the spool, so that `gaps` can name them."""
        while self._unrecorded:
            cycle, report = self._unrecorded[0]
            number, running = self._writer.begin_again(
                cycle.cadence,
                cycle.started_at,
                instance=cycle.instance,
                folder=cycle.folder,
                simulated=cycle.simulated,
            )
            if running:
                lost = SourceReport(source="spool", jobs_failed=report.spooled, errors=(DROPPED,))
                sources = (lost,) if report.spooled else report.sources
                ended = replace(report, cycle_id=number, state=CycleState.FAILED, sources=sources)
                self._writer.finish_cycle(ended)
            self._unrecorded.pop(0)


def _add(returned: _Returned, pairs: Iterable[tuple[Batch, WriteResult]]) -> None:
    for batch, result in pairs:
        returned.tallies.setdefault(batch.job.source, Tally()).add(batch, result)
        returned.batches += 1
        returned.rows += sum(result.written.values())


def _unknown(cycle: SpooledCycle, batches: int) -> CycleReport:
    """Return a report of a cycle that an earlier process ran; when it ended is not known."""
    return CycleReport(
        cycle_id=0,
        cadence=cycle.cadence,
        state=CycleState.PARTIAL,
        started_at=cycle.started_at,
        finished_at=cycle.started_at,
        sources=(),
        spooled=batches,
        folder=cycle.folder,
        simulated=cycle.simulated,
    )


def spooled_cycle(run: Run, *, instance: str, simulated: bool) -> SpooledCycle:
    """Return what the spool has to know of the cycle in progress."""
    return SpooledCycle(
        cadence=run.cadence,
        started_at=run.started_at,
        cycle_id=run.cycle_id or None,
        folder=run.folder.path.name if run.folder else "",
        instance=instance,
        simulated=simulated,
    )
