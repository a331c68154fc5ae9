"""Rows of the ledger as they lie in the database, for tests that read what it says of the work."""

import json
from datetime import timedelta

from sqlalchemy import text

from tests.storage.samples import NOON

MINUTE = timedelta(minutes=1)
CYCLE = """
    INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated, report)
    VALUES (:cadence, :state, :began, :ended, 'host:1', '', true, CAST(:report AS jsonb)) RETURNING cycle_id
"""
JOB = """
    INSERT INTO jobs (cycle_id, fingerprint, source, dataset, subject, instruments, assets, state, error, rows_written,
        rows_unchanged, rejects, started_at, finished_at)
    VALUES (:cycle, gen_random_uuid(), :source, :dataset, 'all', '{}', '{}', :state, '', 1, 0, 0, :began, :ended)
    RETURNING job_id
"""


class Ledger:
    """Writes rows of the ledger as they lie in the database."""

    def __init__(self, database):
        self._database = database

    def one(self, query, **values):
        with self._database.transaction() as connection:
            done = connection.execute(text(query), values)
            return done.scalar() if done.returns_rows else None

    def cycle(self, ended, *parts, cadence="market", state="ok", took=MINUTE):
        report = json.dumps({"sources": parts}) if ended else None
        return self.one(CYCLE, cadence=cadence, state=state, began=(ended or NOON) - took, ended=ended, report=report)

    def job(self, cycle, ended, *, source="okx", dataset="tickers", state="ok", took=2.0):
        began = ended - timedelta(seconds=took)
        return self.one(JOB, cycle=cycle, source=source, dataset=dataset, state=state, began=began, ended=ended)


def part(source="okx", **values):
    plain = {"jobs_ok": 1, "jobs_failed": 0, "jobs_skipped": 0, "requests": 2, "retries": 0, "refused": 0}
    more = {"rejects": 0, "waited_s": 0.5, "duration_s": 1.5, "rows": {"tickers": 10}, "errors": []}
    return {"source": source, **plain, **more, **values}
