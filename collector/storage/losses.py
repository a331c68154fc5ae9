"""What is lost for good: snapshots that were not fetched when they were there, and cycles whose process died.

Read from the ledger; what coverage heals is not among it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from collector.records import Dataset
from collector.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class LostJobs:
    """Jobs of one dataset that did not end well for one reason; what they asked for was only there at that moment."""

    source: str
    dataset: str
    error: str
    cycles: Sequence[int]  # cycles.cycle_id, ascending
    first_at: datetime  # start of the first of them
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LostCycle:
    """A cycle whose process died."""

    cycle_id: int
    cadence: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How the jobs of one dataset ended at one provider."""

    source: str
    dataset: str
    jobs: int
    failed: int  # or not started; bars are asked for again, so one window may have failed several times
    lost: int  # of those failed: what they asked for was only there at that moment
    rows: int  # written
    rows_for_others: int  # of those: in place of another provider


def load_outcomes(database: Database, since: datetime, *, ranking: str) -> list[Outcomes]:
    """Return how jobs ended in cycles started at or after `since`, by provider and dataset. Raises StorageUnavailable.

    Asset prices of others than `ranking` are in its place.
    """
    with database.reading("read the ledger") as connection:
        found = connection.execute(_OUTCOMES, {"since": since, "healed": [*_HEALED], "ranking": ranking})
        return [Outcomes(**row._asdict()) for row in found]


def load_lost_jobs(database: Database, since: datetime, prefix: str = "") -> list[LostJobs]:
    """Return which snapshots were not fetched in cycles started at or after `since`, the latest first.

    With `prefix` only those that were about an instrument whose name begins like it. Raises StorageUnavailable.
    """
    values = {"since": since, "prefix": prefix.partition("/")[0], "healed": [*_HEALED]}
    with database.reading("read the ledger") as connection:
        return [LostJobs(**row._asdict()) for row in connection.execute(_LOST_JOBS, values)]


def load_lost_cycles(database: Database, since: datetime) -> list[LostCycle]:
    """Return the cycles started at or after `since` whose process died, the latest first."""
    with database.reading("read the ledger") as connection:
        return [LostCycle(**row._asdict()) for row in connection.execute(_LOST_CYCLES, {"since": since})]


# Asked for again until they come: no snapshot of them is lost.
_HEALED = tuple(
    str(dataset)
    for dataset in (
        Dataset.CANDLES,
        Dataset.FUNDING,
        Dataset.LISTING,
        Dataset.INSTRUMENTS,
        Dataset.ASSET_DETAILS,
        Dataset.MARKET_HISTORY,
        Dataset.SENTIMENT,
    )
)
_LOST_JOBS = text(
    """
    SELECT j.source, j.dataset, j.error, array_agg(DISTINCT c.cycle_id) AS cycles, min(c.started_at) AS first_at,
        max(c.started_at) AS last_at
    FROM cycles c JOIN jobs j USING (cycle_id)
    WHERE c.started_at >= :since AND (c.jobs_failed > 0 OR c.jobs_skipped > 0 OR c.state IN ('abandoned', 'running'))
      AND j.state <> 'ok' AND j.dataset <> ALL(:healed)
      AND (:prefix = '' OR EXISTS (SELECT FROM unnest(j.instruments) AS n(name) WHERE starts_with(n.name, :prefix)))
    GROUP BY 1, 2, 3 ORDER BY max(c.started_at) DESC, 1, 2, 3
    """
)
_OUTCOMES = text(
    """
    SELECT j.source, j.dataset, count(*) AS jobs, count(*) FILTER (WHERE j.state <> 'ok') AS failed,
        count(*) FILTER (WHERE j.state <> 'ok' AND j.dataset <> ALL(:healed)) AS lost,
        CAST(sum(j.rows_written) AS bigint) AS rows,
        CAST(coalesce(sum(j.rows_written) FILTER (WHERE j.stands_for IS NOT NULL
            OR (j.dataset = 'markets' AND j.source <> :ranking)), 0) AS bigint) AS rows_for_others
    FROM cycles c JOIN jobs j USING (cycle_id) WHERE c.started_at >= :since GROUP BY 1, 2 ORDER BY 1, 2
    """
)
_LOST_CYCLES = text(
    "SELECT cycle_id, cadence, started_at FROM cycles WHERE state = 'abandoned' AND started_at >= :since "
    "ORDER BY cycle_id DESC"
)
