"""What an export says beside its rows: schema revision, whether the data is simulated, and the holes of its series."""

from datetime import datetime
from typing import Any

from sqlalchemy import text

from collector.storage.database import Database

COVERED = {"candles": "candles", "funding_rates": "funding"}
"""Dataset -> its word in the table of coverage."""


def is_simulated(database: Database) -> bool:
    """Return whether any cycle stored made-up data."""
    with database.reading("look for simulated cycles") as connection:
        return bool(connection.execute(text("SELECT EXISTS (SELECT 1 FROM cycles WHERE simulated)")).scalar())


def load_holes(
    database: Database, dataset: str, since: datetime | None, until: datetime | None
) -> list[dict[str, Any]]:
    """Return the windows of a dataset's series that are not held and reach into a time, by series and start.

    Keys: instrument, interval, since, until, state, reason. Empty for a dataset without coverage.
    """
    if dataset not in COVERED:
        return []
    with database.reading("read the coverage") as connection:
        rows = connection.execute(_HOLES, {"dataset": COVERED[dataset], "since": since, "until": until})
        return [dict(row) for row in rows.mappings()]


def venues_of(database: Database) -> list[str]:
    """Return the venues that have an instrument, in order."""
    with database.reading("read the venues") as connection:
        return list(connection.execute(text("SELECT DISTINCT venue FROM instruments ORDER BY 1")).scalars())


_HOLES = text(
    """
    SELECT i.instrument, c.interval, c.since, c.until, c.state, c.reason
    FROM coverage c JOIN instruments i USING (instrument_id)
    WHERE c.dataset = :dataset AND c.state NOT IN ('observed', 'filled')
      AND c.since < coalesce(CAST(:until AS timestamptz), 'infinity')
      AND c.until > coalesce(CAST(:since AS timestamptz), '-infinity')
    ORDER BY i.instrument COLLATE "C", c.interval COLLATE "C", c.since
    """
)
