"""How far a sink has come: places in the order of commits, kept by the table outside that they are about.

A place is the number of a transaction: the oldest one that had not ended when the place was taken, by the server's own
snapshot. Whatever had ended before is a transaction with a lower number, or is seen by a later look: a look reads the
rows of transactions from its place on, up to now, and the next place is taken *before* that reading. So a transaction
that was under way, of whatever connection, is before no place; it makes the next look start earlier, and no row is
passed over. Savepoints have higher numbers than their transaction, which holds the place back until it ends. What two
looks both see is sent twice, and merged.

Two looks share the work. The recent one reads rows that speak of the last two days, which indexes lead to; the full one
reads all rows and so finds what came late, was filled in, imported or revised. Numbers belong to one server: the place
is given up, and everything is sent again, when the server, its timeline or its database is another one, when its
numbers went back, or when half a round of 2**32 has passed.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from collector.errors import LockHeld
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.outgoing.sink_rows import RAW, ROUND

BIGQUERY = "bigquery"
"""The sink's word in the table of watermarks."""

RECENT = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in the order of commits."""

    server: str
    xid: int
    at: datetime  # by the server's clock, later than every place before


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """How far one table outside has come; see docs/data-dictionary.md for each field."""

    target: str
    source: str
    content: str
    server: str = ""
    generation: int = 0
    recent_xid: int | None = None
    recent_at: datetime | None = None
    recent_since: datetime | None = None
    full_xid: int | None = None
    full_at: datetime | None = None
    done: Mapping[str, int] = field(default_factory=dict)
    rows_sent: int = 0
    bytes_loaded: int = 0
    bytes_merged: int = 0
    answers_lost: int = 0
    lost_until: datetime | None = None
    error: str = ""
    failed_at: datetime | None = None

    def begun_anew(self, server: str) -> "Watermark":
        """Return it with nothing sent yet; what was sent is sent again, under other job names."""
        nothing: dict[str, Any] = dict.fromkeys(("recent_xid", "recent_at", "recent_since", "full_xid", "full_at"))
        return replace(self, server=server, generation=self.generation + 1, done={}, **nothing)

    def at_server(self, place: Place) -> "Watermark":
        """Return it as it counts at this server: as it is, or begun anew when its numbers mean nothing here."""
        if not self.server:
            return replace(self, server=place.server)
        known = [xid for xid in (self.recent_xid, self.full_xid, *self.done.values()) if xid is not None]
        valid = all(0 <= place.xid - xid < ROUND // 2 for xid in known)
        return self if self.server == place.server and valid else self.begun_anew(place.server)

    def after_recent(self, place: Place, since: datetime) -> "Watermark":
        """Return it after a recent look that began at a place and read rows from a time on."""
        latest = max(since, self.recent_since or since)
        return replace(self, recent_xid=place.xid, recent_at=place.at, recent_since=latest, error="", failed_at=None)

    def after_full(self, place: Place) -> "Watermark":
        """Return it after a full look that began at a place."""
        return replace(
            self,
            recent_xid=place.xid,
            recent_at=place.at,
            recent_since=None,
            full_xid=place.xid,
            full_at=place.at,
            done={},
            error="",
            failed_at=None,
        )

    def with_error(self, error: str, now: datetime) -> "Watermark":
        """Return it with the reason why it could not go on; since when is kept."""
        return replace(self, error=error, failed_at=self.failed_at or now)


def distinct_errors(errors: Mapping[str, str]) -> list[tuple[list[str], str]]:
    """Return each error once, with the tables that it keeps: those that differ only in the table they name are one.

    `errors` are by table; an empty text is none. The text is the first table's, whole.
    """
    names = "|".join(sorted(map(re.escape, errors), key=len, reverse=True))
    about = re.compile(rf"(_staging_)?({names})(_[0-9a-f]{{16}})?")
    found: dict[str, tuple[list[str], str]] = {}
    for table, error in errors.items():
        if error:
            found.setdefault(about.sub("*", error), ([], error))[0].append(table)
    return list(found.values())


class SinkStore:
    """Keeps the watermarks of one sink."""

    def __init__(self, database: Database, sink: str) -> None:
        self._database, self._sink = database, sink

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one who sends. Raises LockHeld when another process does."""
        with self._database.connection("lock a sink") as connection:
            taken = connection.execute(_LOCK, {"sink": self._sink}).scalar()
            connection.commit()
            if not taken:
                raise LockHeld(f"another process sends to {self._sink}; stop it first, or let it do the work")
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):  # now: the server notices the end of a session a moment later
                    connection.rollback()
                    connection.execute(_UNLOCK, {"sink": self._sink})
                    connection.commit()
                connection.invalidate()  # the end of the session frees the lock, whatever state it is in

    def place(self, after: datetime | None = None) -> Place:
        """Return the place of now; its time is later than `after`, even when the server's clock went back."""
        with self._database.reading("look for a place") as connection:
            row = connection.execute(_PLACE).one()
        at = row.at if after is None else max(row.at, after + timedelta.resolution)
        return Place(server=row.server, xid=row.xid, at=at)

    def load(self) -> dict[str, Watermark]:
        """Return the watermarks by target."""
        with self._database.reading("load watermarks") as connection:
            rows = connection.execute(_LOAD, {"sink": self._sink}).mappings().all()
        return {row["target"]: Watermark(**{**row, "done": dict(row["done"])}) for row in rows}

    def save(self, watermarks: Sequence[Watermark]) -> None:
        """Store watermarks in one transaction."""
        now = self._database.clock.now()
        rows = [
            {**asdict(item), "done": json.dumps(dict(item.done)), "sink": self._sink, "now": now} for item in watermarks
        ]
        if rows:
            with self._database.transaction("save watermarks") as connection:
                connection.execute(_SAVE, rows)

    def unsent_in(self, table: str, month: timeseries.Month) -> bool:
        """Return whether a month of a table may hold rows that were not sent; True before the first full look."""
        marks = [mark for mark in self.load().values() if mark.content != RAW]
        full = [mark.full_xid for mark in marks if mark.full_xid is not None]
        if not full or len(full) < len(marks):
            return True
        column = timeseries.PARTITIONED[table]
        query = text(
            f"SELECT EXISTS (SELECT FROM {table} WHERE {column} >= :since AND {column} < :until "
            "AND age(xmin) <= age(CAST(:xid AS xid)))"
        )
        bounds = {"since": timeseries.start_of(month), "until": timeseries.start_of(timeseries.following(month))}
        with self._database.reading("look for unsent rows") as connection:
            return bool(connection.execute(query, {**bounds, "xid": str(min(full) % ROUND)}).scalar())

    def with_losses(self, watermark: Watermark) -> Watermark:
        """Return a watermark of raw answers with those counted that were deleted before they could be sent.

        They are told by the ledger: good jobs since the watermark that answers older than the oldest kept one belong
        to. What was deleted before the first answer was sent was never asked for, and is no loss.
        """
        if watermark.content != RAW or watermark.recent_xid is None or watermark.recent_at is None:
            return watermark
        values = {
            "source": watermark.source,
            "xid": str(watermark.recent_xid % ROUND),
            "counted": watermark.lost_until,
        }
        with self._database.reading("count lost answers") as connection:
            oldest = connection.execute(_OLDEST_ANSWER).scalar()
            if oldest is not None and oldest <= watermark.recent_at:
                return watermark
            row = connection.execute(_LOST, {**values, "oldest": oldest}).one()
        if not row.lost:
            return watermark
        return replace(watermark, answers_lost=watermark.answers_lost + row.lost, lost_until=row.until)


_KEY = "hashtextextended('collector sink ' || :sink || ' of ' || current_schema(), 0)"
_LOCK, _UNLOCK = text(f"SELECT pg_try_advisory_lock({_KEY})"), text(f"SELECT pg_advisory_unlock({_KEY})")
_PLACE = text(
    """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid, clock_timestamp() AS at,
        (SELECT system_identifier FROM pg_control_system()) || '/' ||
        (SELECT timeline_id FROM pg_control_checkpoint()) || '/' ||
        (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || current_schema() AS server
    """
)
_COLUMNS = (
    *("target", "source", "content", "server", "generation", "recent_xid", "recent_at", "recent_since", "full_xid"),
    *("full_at", "done", "rows_sent", "bytes_loaded", "bytes_merged", "answers_lost", "lost_until", "error"),
    "failed_at",
)
_LOAD = text(f"SELECT {', '.join(_COLUMNS)} FROM sink_watermarks WHERE sink = :sink ORDER BY target")
_SAVE = text(
    f"""
    INSERT INTO sink_watermarks (sink, {", ".join(_COLUMNS)}, updated_at)
    VALUES (:sink, {", ".join(f":{name}" if name != "done" else "CAST(:done AS jsonb)" for name in _COLUMNS)}, :now)
    ON CONFLICT (sink, target) DO UPDATE SET updated_at = EXCLUDED.updated_at,
        {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS if name != "target")}
    """
)
_OLDEST_ANSWER = text("SELECT min(received_at) FROM raw_payloads")
# Written since the last batch, answered before what is kept begins, and without an answer: it was deleted.
_LOST = text(
    """
    SELECT count(*) AS lost, max(j.finished_at) AS until FROM jobs j
    WHERE j.source = :source AND j.state = 'ok' AND age(j.xmin) <= age(CAST(:xid AS xid))
        AND (CAST(:counted AS timestamptz) IS NULL OR j.finished_at > :counted)
        AND (CAST(:oldest AS timestamptz) IS NULL OR j.finished_at < :oldest)
        AND NOT EXISTS (SELECT FROM raw_payloads p WHERE p.job_id = j.job_id)
    """
)
