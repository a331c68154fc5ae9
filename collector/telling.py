"""What a cycle did, told: as a report, as the file report.json, and as log lines that say each outage once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from collector.clock import Clock
from collector.log import CycleFolder, get_logger
from collector.records import CycleReport, CycleState, SourceReport
from collector.worker import Run, Source, Tally

CLOCK_OFF_S = 10.0
CLOCK_SAID_EVERY_S = 3_600.0


def report_of(
    run: Run, sources: Mapping[str, Source], started_at: datetime, finished_at: datetime, *, simulated: bool
) -> CycleReport:
    """Return the report of a cycle whose work is over."""
    parts = tuple(_source_report(sources[name], tally) for name, tally in run.tallies.items())
    return CycleReport(
        cycle_id=run.cycle_id,
        cadence=run.cadence,
        state=_state(parts, whole=not run.storage_failed and not run.touched),
        started_at=started_at,
        finished_at=finished_at,
        sources=parts,
        indicator_rows=run.indicator_rows,
        filled=dict(run.filled),
        healed=run.healed,
        revisions=run.revisions,
        suspects=run.suspects,
        spooled=run.spooled,
        uncomputed=len(run.touched),
        storage_failed=run.storage_failed,
        folder=run.folder.path.name if run.folder else "",
        simulated=simulated,
    )


def _source_report(source: Source, tally: Tally) -> SourceReport:
    counters = source.venue.counters()
    return SourceReport(
        source=source.name,
        jobs_ok=tally.jobs_ok,
        jobs_failed=tally.jobs_failed,
        jobs_skipped=tally.jobs_skipped,
        requests=counters.requests,
        retries=counters.retries,
        refused=counters.refused,
        waited_s=round(counters.waited_s, 3),
        clock_offset_s=source.venue.clock_offset(),
        rows=dict(tally.rows),
        unchanged=tally.unchanged,
        rejects=tally.rejects,
        errors=tuple(tally.errors),
        duration_s=round(max(0.0, tally.finished - tally.started), 3),
    )


def _state(sources: Sequence[SourceReport], *, whole: bool) -> CycleState:
    done = sum(part.jobs_ok for part in sources)
    lost = sum(part.jobs_failed + part.jobs_skipped for part in sources)
    if lost == 0 and whole:
        return CycleState.OK
    return CycleState.PARTIAL if done else CycleState.FAILED


def write_report(folder: CycleFolder, report: CycleReport) -> None:
    """Put report.json into the folder of the cycle; a folder that cannot be written costs only that file."""
    try:
        folder.write_file("report.json", json.dumps(asdict(report), default=_plain, indent=1) + "\n")
    except OSError as error:
        get_logger("Collector").warning("report_unwritable", folder=folder.path, reason=error.strerror)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class Teller:
    """Logs the end of every cycle; an outage once when it begins and once when it is over."""

    def __init__(self, sources: Iterable[Source], clock: Clock) -> None:
        self._services = {source.name: source.service for source in sources}
        self._clock_notes = ClockNotes(clock)
        self._down: set[str] = set()  # sources whose outage was said already
        self._log = get_logger("Collector")

    def say(self, run: Run, report: CycleReport) -> None:
        """Say what every source did, what was stored, and what was lost, healed and from where."""
        for part in report.sources:
            self._say_source(part, run.tallies[part.source].unreachable)
        get_logger("Database").info("rows_stored", cycle=report.cycle_id, **_by_table(report))
        self._log.info(
            "cycle_finished",
            cycle=report.cycle_id,
            cadence=report.cadence,
            state=report.state.value,
            rows=sum(sum(part.rows.values()) for part in report.sources),
            indicator_rows=report.indicator_rows,
            failed_jobs=sum(part.jobs_failed for part in report.sources),
            skipped_jobs=sum(part.jobs_skipped for part in report.sources),
            **_extras(report),
            duration_s=(report.finished_at - report.started_at).total_seconds(),
            folder=report.folder,
        )

    def _say_source(self, part: SourceReport, unreachable: str) -> None:
        log = get_logger(self._services[part.source])
        self._clock_notes.say(self._services[part.source], part)
        if part.jobs_ok + part.jobs_failed + part.jobs_skipped:
            log.info("source_finished", **_fields(part))
        if unreachable and not part.jobs_ok and part.source not in self._down:
            self._down.add(part.source)
            log.warning(
                "source_unreachable",
                reason=unreachable,
                remedy="next try on schedule; see everything without a network with: make demo",
            )
        elif part.jobs_ok and part.source in self._down:
            self._down.discard(part.source)
            log.warning("source_is_back")


class ClockNotes:
    """Says that a provider's clock is off, once an hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said_at: dict[str, float] = {}

    def say(self, service: str, part: SourceReport) -> None:
        """Warn when the clocks differ by more than 10 s: bars would close too late, or look closed too early."""
        now = self._clock.monotonic()
        if part.clock_offset_s is None or abs(part.clock_offset_s) <= CLOCK_OFF_S:
            return
        if now - self._said_at.get(part.source, float("-inf")) >= CLOCK_SAID_EVERY_S:
            self._said_at[part.source] = now
            get_logger(service).warning(
                "provider_clock_off", offset_s=part.clock_offset_s, remedy="check this machine's clock (NTP)"
            )


def _by_table(report: CycleReport) -> dict[str, int]:
    counts: dict[str, int] = {"indicators": report.indicator_rows} if report.indicator_rows else {}
    for part in report.sources:
        for table, count in part.rows.items():
            counts[table] = counts.get(table, 0) + count
    return counts


def _extras(report: CycleReport) -> dict[str, Any]:
    """Return what is worth a word only when it happened."""
    filled = ", ".join(f"{count} from {name}" for name, count in sorted(report.filled.items()))
    counts = {
        "filled": filled,
        "healed": report.healed,
        "revisions": report.revisions,
        "suspects": report.suspects,
        "spooled": report.spooled,
        "uncomputed_series": report.uncomputed,
        "database": "failed at times" if report.storage_failed else "",
    }
    return {name: value for name, value in counts.items() if value}


def _fields(part: SourceReport) -> dict[str, Any]:
    row = asdict(part)
    del row["source"]
    row["rows"] = sum(part.rows.values())
    row["errors"] = len(part.errors)
    return row
