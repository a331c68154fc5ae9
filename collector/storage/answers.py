"""What a cycle asked and was answered: its jobs rebuilt exactly as they were, its raw answers checked by their digests.

A job names its instruments by their canonical ids. What else an instrument was made of at that time, its contract size
and the venue's spelling, is found by undoing the listing changes of later cycles.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from collector.errors import StorageError
from collector.records import CycleState, Dataset, Instrument, Interval, Job, Kind, Payload
from collector.storage.database import Database
from collector.storage.ledger import fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCycle:
    """A cycle as the ledger knows it."""

    cycle_id: int
    cadence: str
    state: CycleState
    started_at: datetime
    finished_at: datetime | None  # None while running
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedJob:
    """A job of a cycle with everything that came of it."""

    job_id: int
    job: Job
    state: str
    error: str
    finished_at: datetime  # when its rows were checked
    payloads: tuple[Payload, ...]
    rejects: tuple[tuple[str, str, str], ...]  # (reason, detail, row), in order
    stored_with: str  # equal for jobs that were stored in one transaction


def load_cycle(database: Database, cycle_id: int) -> RecordedCycle | None:
    """Return a cycle; None for an unknown number."""
    with database.reading("read a cycle") as connection:
        row = connection.execute(_CYCLE, {"cycle_id": cycle_id}).mappings().first()
    return None if row is None else RecordedCycle(**{**row, "state": CycleState(row["state"])})


def load_jobs(database: Database, cycle_id: int) -> Iterator[RecordedJob]:
    """Yield the jobs of a cycle that were tried, in the order in which they were stored.

    Raises StorageError when an answer is gone or damaged, or a job cannot be rebuilt.
    """
    with database.reading("read raw answers") as connection:
        jobs = connection.execute(_JOBS, {"cycle_id": cycle_id}).mappings().all()
        answers = _by_job(connection, _ANSWERS, cycle_id)
        rejects = _by_job(connection, _REJECTS, cycle_id)
        instruments = _instruments_then(connection, cycle_id, jobs)
    gone = [row["job_id"] for row in jobs if row["told"] and row["job_id"] not in answers]
    if gone:
        raise StorageError(
            f"cycle {cycle_id}: the answers of {len(gone)} of {len(jobs)} jobs are not kept any more, as of job "
            f"{gone[0]} (see database.keep_payloads)"
        )
    for row in jobs:
        number = row["job_id"]
        job = _job(row, instruments)
        yield RecordedJob(
            job_id=number,
            job=job,
            state=row["state"],
            error=row["error"],
            finished_at=row["finished_at"],
            payloads=tuple(_payload(job, answer) for answer in answers.get(number, ())),
            rejects=tuple((item["reason"], item["detail"], item["row"]) for item in rejects.get(number, ())),
            stored_with=row["stored_with"],
        )


def _by_job(connection: Connection, query: Any, cycle_id: int) -> dict[int, list[RowMapping]]:
    found: defaultdict[int, list[RowMapping]] = defaultdict(list)
    for row in connection.execute(query, {"cycle_id": cycle_id}).mappings():
        found[row["job_id"]].append(row)
    return dict(found)


def _payload(job: Job, row: RowMapping) -> Payload:
    """Return an answer; its digest and its length must be those of the day it came."""
    where = f"answer {row['seq']} of job {row['job_id']}"
    try:
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(row["body"], row["size"] + 1)  # no more, whatever a damaged body unfolds to
    except zlib.error as error:
        raise StorageError(f"{where} is damaged: {error}") from error
    payload = Payload(job=job, status=row["status"], body=body, received_at=row["received_at"])
    if len(body) != row["size"] or payload.sha256 != row["sha256"]:
        raise StorageError(f"{where} is damaged: its sha256 is not {row['sha256']}")
    return payload


def _job(row: RowMapping, instruments: Mapping[str, Instrument]) -> Job:
    job = Job(
        source=row["source"],
        dataset=Dataset(row["dataset"]),
        instruments=tuple(instruments[name] for name in row["instruments"] if name in instruments),
        assets=tuple(row["assets"]),
        interval=None if row["interval"] is None else Interval(row["interval"]),
        since=row["since"],
        until=row["until"],
        limit=row["row_limit"],
        stands_for=None if row["stands_for"] is None else instruments.get(row["stands_for"]),
    )
    if fingerprint(job) != row["fingerprint"].replace("-", ""):
        raise StorageError(f"job {row['job_id']} cannot be rebuilt from the ledger: its request was another one")
    return job


def _instruments_then(connection: Connection, cycle_id: int, jobs: Sequence[RowMapping]) -> dict[str, Instrument]:
    """Return the instruments that the jobs name, as they were during the cycle.

    A cycle stores listings before it plans what needs them, so its own listing changes were known to its jobs.
    """
    names = {name for row in jobs for name in (*row["instruments"], row["stands_for"]) if name is not None}
    values = {"names": sorted(names), "cycle_id": cycle_id}
    found = {row["instrument"]: _instrument(row) for row in connection.execute(_INSTRUMENTS, values).mappings()}
    for subject, change, old in connection.execute(_LATER_CHANGES, values):
        if change == "contract_size":
            found[subject] = replace(found[subject], contract_size=Decimal(old))
        else:
            found[subject] = replace(found[subject], venue_symbol=old)
    return found


def _instrument(row: RowMapping) -> Instrument:
    values = {name: row[name] for name in ("venue", "base", "quote", "venue_symbol", "contract_size")}
    return Instrument(kind=Kind(row["kind"]), **values)


_CYCLE = text(
    "SELECT cycle_id, cadence, state, started_at, finished_at, simulated FROM cycles WHERE cycle_id = :cycle_id"
)
# xmin is the transaction that wrote the row: jobs that share it were stored together.
# What venues say of assets was worked out from their tickers when nobody gave it: no answer is behind it.
_JOBS = text(
    """
    SELECT job_id, fingerprint::text AS fingerprint, source, dataset, instruments, assets, interval, since, until,
        row_limit, stands_for, state, error, coalesce(finished_at, c.at) AS finished_at, jobs.xmin::text AS stored_with,
        rows_written + rows_unchanged + rejects > 0 AS told
    FROM jobs CROSS JOIN (SELECT coalesce(finished_at, started_at) AS at FROM cycles WHERE cycle_id = :cycle_id) c
    WHERE jobs.cycle_id = :cycle_id AND state <> 'skipped'
      AND NOT (dataset = 'markets' AND source IN (SELECT venue FROM instruments WHERE kind IN ('spot', 'perp')))
    ORDER BY job_id
    """
)
_ANSWERS = text(
    """
    SELECT p.job_id, p.seq, p.received_at, p.status, p.sha256, p.size, p.body
    FROM raw_payloads p JOIN jobs j USING (job_id) WHERE j.cycle_id = :cycle_id ORDER BY p.job_id, p.seq
    """
)
_REJECTS = text(
    """
    SELECT r.job_id, r.reason, r.detail, r.row
    FROM rejects r JOIN jobs j USING (job_id) WHERE j.cycle_id = :cycle_id ORDER BY r.job_id, r.seq
    """
)
_INSTRUMENTS = text(
    "SELECT instrument, venue, base, quote, kind, venue_symbol, contract_size FROM instruments "
    "WHERE instrument = ANY(:names)"
)
_LATER_CHANGES = text(
    "SELECT subject, change, old FROM listing_changes WHERE cycle_id > :cycle_id AND subject = ANY(:names) "
    "AND change IN ('contract_size', 'renamed') ORDER BY change_id DESC"
)
