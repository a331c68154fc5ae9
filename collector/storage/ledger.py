"""The ledger: what was asked, how it ended, which rows were refused, and the raw answers; in the writer's transaction.

A job's row is keyed by cycle and request, so that writing the same batch again replaces its entries.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg2.extras import execute_values

from collector.records import Batch, CycleReport, Job, Payload, Reject, WriteResult
from collector.storage.merge import Chunks, Cursor
from collector.storage.rows import clean

# JSON of market data shrinks to a sixth at level 1 and to an eighth at level 6, which takes three times as long.
_COMPRESSION = 1
_ROW_CHARACTERS = 4000

Body = tuple[Payload, bytes]
"""(the payload, its body compressed)"""


def fingerprint(job: Job) -> str:
    """Return a digest of everything that makes a request what it is, as a UUID's text."""
    return hashlib.md5(json.dumps(_request(job), default=str).encode(), usedforsecurity=False).hexdigest()


def _request(job: Job) -> tuple[Any, ...]:
    names = [item.id for item in job.instruments]
    request = (job.source, job.dataset, names, list(job.assets), job.interval, job.since, job.until, job.limit)
    return request if job.stands_for is None else (*request, job.stands_for.id)


def compressed(batches: Sequence[Batch]) -> list[list[Body]]:
    """Return the raw answers of each batch with their bodies compressed."""
    return [[(item, zlib.compress(item.body, _COMPRESSION)) for item in batch.payloads] for batch in batches]


def write_jobs(cursor: Cursor, cycle_id: int, batches: Sequence[Batch], results: Sequence[WriteResult]) -> list[int]:
    """Store a ledger row per batch, rejects included in the count, and return the job ids in the same order."""
    names = [fingerprint(batch.job) for batch in batches]
    newest = dict(zip(names, zip(batches, results, strict=True), strict=True))
    rows = [_job_row(name, batch, result) for name, (batch, result) in newest.items()]
    cursor.execute(_STORE_JOBS, (cycle_id, json.dumps(rows)))
    found = cursor.fetchall()
    ids = {name.replace("-", ""): job_id for name, job_id, _ in found}
    again = [job_id for _, job_id, was_there in found if was_there]
    if again:
        cursor.execute("DELETE FROM rejects WHERE job_id = ANY(%s)", (again,))
        cursor.execute("DELETE FROM raw_payloads WHERE job_id = ANY(%s)", (again,))
    return [ids[name] for name in names]


# As one JSON document: the driver takes five times as long to spell the rows as its parameters.
_STORE_JOBS = """
    INSERT INTO jobs (
        cycle_id, fingerprint, source, dataset, subject, instruments, assets, interval, since, until, row_limit,
        stands_for, state, error, rows_written, rows_unchanged, rejects, started_at, finished_at)
    SELECT %s, told.*
    FROM json_to_recordset(%s) AS told(
        fingerprint uuid, source text, dataset text, subject text, instruments text[], assets text[], interval text,
        since timestamptz, until timestamptz, row_limit integer, stands_for text, state text, error text,
        rows_written integer, rows_unchanged integer, rejects integer, started_at timestamptz, finished_at timestamptz)
    ON CONFLICT (cycle_id, fingerprint) DO UPDATE SET
        state = EXCLUDED.state, error = EXCLUDED.error, rejects = EXCLUDED.rejects,
        rows_written = greatest(jobs.rows_written, EXCLUDED.rows_written),
        rows_unchanged = EXCLUDED.rows_unchanged,
        started_at = EXCLUDED.started_at, finished_at = EXCLUDED.finished_at
    RETURNING fingerprint::text, job_id, xmax <> 0
"""


def _job_row(name: str, batch: Batch, result: WriteResult) -> dict[str, Any]:
    job = batch.job
    return {
        "fingerprint": name,
        "source": job.source,
        "dataset": job.dataset,
        "subject": job.subject,
        "instruments": [item.id for item in job.instruments],
        "assets": job.assets,
        "interval": job.interval,
        "since": _moment(job.since),
        "until": _moment(job.until),
        "row_limit": job.limit,
        "stands_for": None if job.stands_for is None else job.stands_for.id,
        "state": batch.state,
        "error": clean(batch.error),
        "rows_written": sum(result.written.values()),
        "rows_unchanged": result.unchanged,
        "rejects": len(batch.rejects) + len(result.rejects),
        "started_at": _moment(batch.started_at),
        "finished_at": _moment(batch.finished_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def write_rejects(cursor: Cursor, at: datetime, job_ids: Sequence[int], rejects: Sequence[Sequence[Reject]]) -> None:
    """Store the refused rows of each job."""
    counted: dict[int, int] = {}
    rows = []
    for job_id, items in zip(job_ids, rejects, strict=True):
        for item in items:
            seq = counted[job_id] = counted.get(job_id, 0) + 1
            texts = (item.job.source, str(item.job.dataset), str(item.reason), item.detail, item.row)
            rows.append((job_id, seq, at, *(clean_reject(text) for text in texts)))
    if rows:
        execute_values(
            cursor,
            "INSERT INTO rejects (job_id, seq, at, source, dataset, reason, detail, row) VALUES %s",
            rows,
            page_size=500,
        )


def clean_reject(text: str) -> str:
    """Return a text of a reject or of an error as it is stored."""
    return clean(text[:_ROW_CHARACTERS])


def write_payloads(cursor: Cursor, job_ids: Sequence[int], bodies: Sequence[Sequence[Body]]) -> None:
    """Store the raw answers of each job."""
    counted: dict[int, int] = {}
    lines = []
    for job_id, items in zip(job_ids, bodies, strict=True):
        for item, body in items:
            seq = counted[job_id] = counted.get(job_id, 0) + 1
            moment = item.received_at.isoformat()
            start = f"{job_id}\t{seq}\t{moment}\t{item.status}\t{item.sha256}\t{len(item.body)}\t\\\\x"
            lines.append(f"{start}{body.hex()}\n".encode())
    if lines:
        columns = "job_id, seq, received_at, status, sha256, size, body"
        cursor.copy_expert(f"COPY raw_payloads ({columns}) FROM STDIN", Chunks(iter(lines)))


# --------------------------------------------------------------------------- cycles


def report_json(report: CycleReport) -> str:
    """Return a report as a JSON document; moments in ISO 8601, enums by their word."""
    return json.dumps(asdict(report), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value)


def cycle_totals(report: CycleReport) -> dict[str, int]:
    """Return the sums of a report over its sources, by column of `cycles`."""
    parts: Iterable[Any] = report.sources
    return {
        "rows_written": sum(sum(part.rows.values()) for part in parts),
        "indicator_rows": report.indicator_rows,
        "jobs_ok": sum(part.jobs_ok for part in parts),
        "jobs_failed": sum(part.jobs_failed for part in parts),
        "jobs_skipped": sum(part.jobs_skipped for part in parts),
        "rejects": sum(part.rejects for part in parts),
    }
