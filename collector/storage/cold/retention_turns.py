"""The turns of retention: when each began and ended, and what it did."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from collector.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn; `ended_at` is None while it runs, or when its process died."""

    began_at: datetime
    ended_at: datetime | None
    months: int
    rows: int
    thinned: int
    freed_bytes: int
    postponed: str


def begin_turn(database: Database, now: datetime) -> None:
    """Note that a turn begins. Raises StorageError."""
    with database.transaction("note a turn") as connection:
        connection.execute(_BEGIN, {"now": now})


def add_to_turn(
    database: Database,
    began_at: datetime,
    *,
    months: int,
    rows: int,
    thinned: int,
    freed_bytes: int,
    postponed: str,
    ended_at: datetime | None,
) -> None:
    """Add what was done to a turn, and its end; None: it goes on. Raises StorageError."""
    values = {
        "began_at": began_at,
        "months": months,
        "rows": rows,
        "thinned": thinned,
        "freed": freed_bytes,
        "postponed": postponed,
        "ended_at": ended_at,
    }
    with database.transaction("note a turn") as connection:
        connection.execute(_ADD, values)


def last_turn(database: Database) -> Turn | None:
    """Return the newest turn; None: there was none. Raises StorageError."""
    with database.reading("look for turns") as connection:
        row = connection.execute(_LAST).mappings().first()
    return None if row is None else Turn(**row)


_BEGIN = text(
    """
    INSERT INTO retention_turns (began_at, months, rows, thinned, freed_bytes, postponed)
    VALUES (:now, 0, 0, 0, 0, '') ON CONFLICT DO NOTHING
    """
)
_ADD = text(
    """
    UPDATE retention_turns SET months = months + :months, rows = rows + :rows, thinned = thinned + :thinned,
        freed_bytes = freed_bytes + :freed, postponed = :postponed, ended_at = :ended_at
    WHERE began_at = :began_at
    """
)
_LAST = text("SELECT * FROM retention_turns ORDER BY began_at DESC LIMIT 1")
