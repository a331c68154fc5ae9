"""Months that leave the database: the states they go through, and what is stored of each.

The rule of reading: the rows of a month are those in the database, and those of its file whose key the database does
not hold. It holds in every state, so whoever dies wherever leaves the truth readable.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from collector.errors import IllegalTransition, LockHeld
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.faults import translated
from collector.storage.timeseries import Month


class State(StrEnum):
    """Where the rows of a month are."""

    SEALING = "sealing"  # in the database, and in the file of an earlier generation if there is one; a copy is made
    SEALED = "sealed"  # in the database and in the verified file
    DROPPED = "dropped"  # in the file; what came later is in the database
    RESTORING = "restoring"  # as dropped; they come back
    RESTORED = "restored"  # in the database, by hand: left alone until it is sealed by hand again
    DELETED = "deleted"  # nowhere, by the settings


class Event(StrEnum):
    """What happened to a month."""

    BEGUN = "begun"  # a copy is about to be made
    VERIFIED = "verified"  # the copy was read back and holds the same
    CHANGED = "changed"  # rows came after the copy
    LEFT = "left"  # the rows left the database
    CALLED_BACK = "called_back"  # a person wants them in the database
    BACK = "back"  # they are
    DELETED = "deleted"  # the rows left the database for good


TRANSITIONS: Mapping[tuple[State | None, Event], State] = {
    **{(state, Event.BEGUN): State.SEALING for state in (None, *State) if state is not State.RESTORING},
    (State.SEALING, Event.VERIFIED): State.SEALED,
    (State.SEALED, Event.CHANGED): State.SEALING,
    (State.SEALED, Event.LEFT): State.DROPPED,
    **{
        (state, Event.CALLED_BACK): State.RESTORING
        for state in (State.SEALING, State.SEALED, State.DROPPED, State.RESTORING)
    },
    (State.RESTORING, Event.BACK): State.RESTORED,
    (None, Event.DELETED): State.DELETED,
    (State.DELETED, Event.DELETED): State.DELETED,
}
"""(state before, event) -> state after; None: nothing was done with the month yet."""


def moved(state: State | None, event: Event) -> State:
    """Return the state after an event; raise IllegalTransition for a move that does not exist."""
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise IllegalTransition(f"a month that is {state or 'untouched'} cannot be {event}")
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdMonth:
    """What is stored of one month that left the database, or is about to."""

    dataset: str
    month: Month
    state: State
    generation: int = 0
    file: str = ""  # below the folder of sealed months; its rows count. Empty: there is none
    rows: int = 0  # in the file
    size: int = 0  # of the file, bytes
    sha256: str = ""  # of the file
    fingerprint: str = ""  # of its rows
    hot_rows: int = 0  # that the database held when they were copied
    hot_fingerprint: str = ""
    replaced: int = 0
    stale: tuple[str, ...] = ()  # older files, to be removed
    sealed_at: datetime | None = None
    dropped_at: datetime | None = None

    @property
    def label(self) -> str:
        """Return it in words, as candles 2026-01."""
        return f"{self.dataset} {spelled(self.month)}"


def spelled(month: Month) -> str:
    """Return a month as 2026-01."""
    return f"{month[0]:04d}-{month[1]:02d}"


class ColdMonths:
    """Reads and moves what is stored of months. Raises StorageError, IllegalTransition."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, dataset: str | None = None) -> list[ColdMonth]:
        """Return the months of a dataset, or of all, in order."""
        with self._database.reading("read sealed months") as connection:
            return [_month(row) for row in connection.execute(_LOAD, {"dataset": dataset}).mappings()]

    def find(self, dataset: str, month: Month) -> ColdMonth | None:
        """Return one month; None when nothing was done with it."""
        return next((item for item in self.load(dataset) if item.month == month), None)

    def move(self, dataset: str, month: Month, event: Event, **values: object) -> ColdMonth:
        """Move a month by an event and store what is told of it; return it as it is then."""
        with self._database.transaction("move a sealed month") as connection:
            return move(connection, dataset, month, event, now=self._database.clock.now(), **values)

    def forget_stale(self, dataset: str, month: Month, files: tuple[str, ...]) -> None:
        """Note that these older files are removed."""
        values = {"dataset": dataset, "month": timeseries.start_of(month), "files": list(files)}
        with self._database.transaction("note removed files") as connection:
            connection.execute(_FORGET, values)

    def forget(self, dataset: str, month: Month) -> None:
        """Note nothing any more of a month whose first copy was begun and never made."""
        with self._database.transaction("forget a month") as connection:
            connection.execute(_FORGET_BEGUN, {"dataset": dataset, "month": timeseries.start_of(month)})

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one who seals, thins and restores; raises LockHeld while somebody else does."""
        with translated("lock retention"):
            connection = self._database.engine.connect()
        try:
            with translated("lock retention"), connection.begin():
                connection.execute(text("SET idle_session_timeout = 0"))
                taken = connection.execute(text(f"SELECT pg_try_advisory_lock({_KEY})")).scalar()
            if not taken:
                raise LockHeld("another process works on the retention of this database; wait until it has ended")
            yield
        finally:
            with suppress(SQLAlchemyError):
                connection.execute(text(f"SELECT pg_advisory_unlock({_KEY})"))
            connection.invalidate()
            connection.close()


def move(
    connection: Connection, dataset: str, month: Month, event: Event, *, now: datetime, **values: object
) -> ColdMonth:
    """Move a month by an event in the caller's transaction; see `ColdMonths.move`."""
    key = {"dataset": dataset, "month": timeseries.start_of(month)}
    row = connection.execute(_FIND, key).mappings().first()
    before = State(row["state"]) if row else None
    after = moved(before, event)
    if before is None:
        if connection.execute(_NEW, {**key, "state": str(after), "now": now}).rowcount != 1:
            raise IllegalTransition(f"{dataset} {spelled(month)} was moved by somebody else meanwhile")
        before = after
    sets = "".join(f", {name} = :{name}" for name in values)
    statement = text(
        f"UPDATE cold_months SET state = :after, updated_at = :now{sets} "
        "WHERE dataset = :dataset AND month = :month AND state = :before RETURNING *"
    )
    found = connection.execute(
        statement, {**key, **values, "after": str(after), "before": str(before), "now": now}
    ).mappings()
    moved_row = found.first()
    if moved_row is None:
        raise IllegalTransition(f"{dataset} {spelled(month)} is not {before} any more")
    return _month(moved_row)


def _month(row: Mapping[Any, Any]) -> ColdMonth:
    values = {name: row[name] for name in ColdMonth.__slots__ if name not in {"month", "state", "stale"}}
    return ColdMonth(
        month=timeseries.month_of(row["month"]),
        state=State(str(row["state"])),
        stale=tuple(row["stale"]),
        **values,
    )


_KEY = "hashtextextended('collector retention of ' || current_schema(), 0)"
_LOAD = text(
    "SELECT * FROM cold_months WHERE CAST(:dataset AS text) IS NULL OR dataset = :dataset ORDER BY dataset, month"
)
_FIND = text("SELECT state FROM cold_months WHERE dataset = :dataset AND month = :month FOR UPDATE")
_NEW = text(
    """
    INSERT INTO cold_months (dataset, month, state, generation, file, rows, size, sha256, fingerprint, hot_rows,
        hot_fingerprint, replaced, stale, updated_at)
    VALUES (:dataset, :month, :state, 0, '', 0, 0, '', '', 0, '', 0, '{}', :now)
    ON CONFLICT DO NOTHING
    """
)
_FORGET_BEGUN = text(
    "DELETE FROM cold_months WHERE dataset = :dataset AND month = :month AND state = 'sealing' AND generation = 0"
)
_FORGET = text(
    """
    UPDATE cold_months SET stale = coalesce((SELECT array_agg(f) FROM unnest(stale) f WHERE f <> ALL(:files)), '{}')
    WHERE dataset = :dataset AND month = :month
    """
)
