"""A cycle parsed again from its kept answers, without a network, and compared with what it stored.

The answers are proven to be those that came (sha256), the jobs to be those that were asked (fingerprint). Parsers
and checks are today's; the time they check against is the time of the cycle. So every difference is a change of the
program, or a row that was changed in the database by other means.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from collector import printing, validate
from collector.errors import PayloadError, StorageError
from collector.records import Batch, Dataset, Job, Record, Reject, RejectReason
from collector.sources.base import Parser
from collector.storage.answers import RecordedCycle, RecordedJob, load_cycle, load_jobs
from collector.storage.comparison import Compared, Difference, compare, correct, instrument_numbers, scope_of
from collector.storage.database import Database
from collector.storage.expected import Expected
from collector.storage.ledger import clean_reject

Parsers = Mapping[str, Mapping[Dataset, Parser]]
"""Source -> dataset -> parser."""

Skip = Callable[[Job], bool]
"""Returns whether a job's rows were made of more than its answers, so that these alone do not give them again."""

AfterParse = Callable[[Batch], Batch]
"""Files records under the series that their job stands for; the same function as in a cycle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of a replay."""

    cycle: RecordedCycle
    jobs: int
    answers: int
    tables: tuple[Compared, ...]
    rejects: tuple[Difference, ...]  # refused then and not now, or now and not then
    failures: tuple[Difference, ...]  # answers that today's parsers do not understand
    corrected: Mapping[str, int] = field(default_factory=dict)  # table -> rows written

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Return everything that came out otherwise."""
        return (*(item for table in self.tables for item in table.differences), *self.rejects, *self.failures)


def replay(
    database: Database,
    cycle_id: int,
    *,
    parsers: Parsers,
    after_parse: AfterParse | None = None,
    skip: Skip | None = None,
    write: bool = False,
) -> Replay:
    """Parse a cycle again and compare; with `write` store the corrected rows as revisions (hold the writer's lock).

    Raises StorageError for an unknown or running cycle, and when answers are gone or damaged.
    """
    cycle = load_cycle(database, cycle_id)
    if cycle is None:
        raise StorageError(f"there is no cycle {cycle_id}; see the last ones with: python main.py status")
    if cycle.finished_at is None:
        raise StorageError(f"cycle {cycle_id} is still running; replay it when it has ended")
    expected = Expected(instrument_numbers(database))
    jobs: list[Job] = []
    answers, rejects, failures = 0, list[Difference](), list[Difference]()
    for _, group in groupby(load_jobs(database, cycle_id), key=lambda item: item.stored_with):
        batches = []
        for recorded in group:
            if skip is not None and skip(recorded.job):
                continue
            batch = parsed(recorded, parsers, after_parse)
            jobs.append(recorded.job)
            answers += len(recorded.payloads)
            rejects += _other_rejects(recorded, batch)
            failures += _new_failure(recorded, batch)
            batches.append(_believed(recorded, batch))
        expected.add(batches)
    scope = scope_of(database, cycle, jobs)
    tables = compare(database, scope, expected)
    corrected = correct(database, scope, expected, tables) if write else {}
    return Replay(
        cycle=cycle,
        jobs=len(jobs),
        answers=answers,
        tables=tuple(tables),
        rejects=tuple(rejects),
        failures=tuple(failures),
        corrected=corrected,
    )


def parsed(recorded: RecordedJob, parsers: Parsers, after_parse: AfterParse | None = None) -> Batch:
    """Return the batch that a job's answers give today: what its worker did, without fetching."""
    job = recorded.job
    parse = parsers.get(job.source, {}).get(job.dataset)
    records: list[Record] = []
    rejects: list[Reject] = []
    error = "" if parse else f"no parser for {job.dataset} of {job.source} any more"
    try:
        for payload in recorded.payloads if parse else ():
            for item in parse(payload) if parse else ():
                if isinstance(item, Reject):
                    rejects.append(item)
                else:
                    records.append(item)
    except PayloadError as failure:
        error = str(failure)
    batch = Batch(job=job, records=tuple(records), rejects=tuple(rejects), state=recorded.state, error=error)
    checked = validate.check(batch, now=recorded.finished_at)
    return checked if after_parse is None else after_parse(checked)


def _believed(recorded: RecordedJob, batch: Batch) -> Batch:
    """Return the batch without the rows that the database refused then; they are not stored, and rightly so."""
    refused = {row for reason, _, row in recorded.rejects if reason == RejectReason.REFUSED_BY_DATABASE}
    if not refused:
        return batch
    kept = (item for item in batch.records if clean_reject(repr(item)[:2000]) not in refused)
    return replace(batch, records=tuple(kept))


def _other_rejects(recorded: RecordedJob, batch: Batch) -> list[Difference]:
    """Return the rows that were refused on one side only."""
    then = Counter(item for item in recorded.rejects if item[0] != RejectReason.REFUSED_BY_DATABASE)
    now = Counter((str(item.reason), clean_reject(item.detail), clean_reject(item.row)) for item in batch.rejects)
    gone, new = (then - now).elements(), (now - then).elements()
    return [
        *(_told("rejects", recorded, f"{reason}: {row}", f"refused: {detail}", None) for reason, detail, row in gone),
        *(_told("rejects", recorded, f"{reason}: {row}", None, f"refused: {detail}") for reason, detail, row in new),
    ]


def _new_failure(recorded: RecordedJob, batch: Batch) -> list[Difference]:
    """Return what is not understood now and was then. That a provider failed cannot be seen in its answers."""
    if not batch.error or clean_reject(batch.error) == recorded.error:
        return []
    return [_told("jobs", recorded, "error", recorded.error or None, batch.error)]


def _told(table: str, recorded: RecordedJob, column: str, stored: str | None, replayed: str | None) -> Difference:
    row = f"job {recorded.job_id} {recorded.job.source} {recorded.job.dataset} {recorded.job.subject}"
    return Difference(table=table, row=row, column=column, stored=stored, replayed=replayed)


# --------------------------------------------------------------------------- for people


def render(found: Replay) -> str:
    """Return a replay as text: tables first, then each difference on a line of its own."""
    cycle = found.cycle
    head = ("table", "rows", "same", "unchanged", "superseded", "different")
    rows = [
        (
            part.table,
            *(f"{count:,}" for count in (part.rows, part.same, part.unchanged, part.superseded)),
            f"{len({item.row for item in part.differences}):,}",
        )
        for part in found.tables
    ]
    name = f"cycle {cycle.cycle_id} ({cycle.cadence}, {printing.moment(cycle.started_at)} UTC, {cycle.state})"
    lines = [
        f"{name}: {found.jobs:,} jobs, {found.answers:,} answers parsed again",
        *printing.table(head, rows),
        *_lines(found.differences),
        "",
        _verdict(found),
    ]
    return "\n".join(lines)


def _lines(differences: Sequence[Difference]) -> list[str]:
    return [
        f"  {item.table}: {item.row}{f' {item.column}' if item.column else ''}: "
        f"stored {_shown(item.stored, item)}, now {_shown(item.replayed, item)}"
        for item in differences
    ]


def _shown(value: str | None, item: Difference) -> str:
    return value if value is not None else "NULL" if item.column and item.table not in {"rejects", "jobs"} else "none"


def _verdict(found: Replay) -> str:
    if not found.differences:
        return "the same rows to the byte"
    written = ", ".join(f"{count:,} in {table}" for table, count in found.corrected.items())
    count = len(found.differences)
    return f"{count:,} difference{'s'[: count > 1]}" + (f"; corrected: {written}" if written else "")
