"""Alerts and the messages about them, in and out of the database.

States and messages that follow from one look are stored together, before anything is sent: whoever is killed between
sends at the next start. A stored state is left only on the ways that `collector.alerts.book` knows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from collector.errors import IllegalTransition
from collector.storage.database import Database
from collector.storage.rows import clean

_LOCK = "hashtextextended('collector alerts of ' || current_schema(), 0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that is or was wrong with one subject."""

    alert_id: str
    rule: str
    subject: str
    severity: str  # critical, warning, info
    state: str  # pending, firing, resolved
    detail: str
    since: datetime
    seen_at: datetime
    looks: int = 1
    clear_looks: int = 0
    flaps: int = 0
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    told: str = ""  # the last state that was told; empty: nothing was
    told_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Return whether it is not over."""
        return self.state != "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes to one target."""

    message_id: str
    target: str
    kind: str  # alerts, self_test
    severity: str
    title: str
    body: str
    made_at: datetime
    state: str = "waiting"  # waiting, delivered, given_up
    attempts: int = 0
    next_try_at: datetime | None = None
    delivered_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a look goes on from."""

    alerts: Sequence[Alert]  # open ones, and those over that were not told or may come back
    messages: Sequence[Message]  # that wait, and the newest self-test of each target


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTotals:
    """What metrics tell of alerts."""

    firing: Mapping[tuple[str, str], int]  # by (rule, severity)
    waiting: Mapping[str, int]  # messages by target
    self_tests: Sequence[Message]  # the newest of each target


class AlertStore:
    """Keeps alerts and messages. Used by one thread. Raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Lend the right to look: whether it is ours. It is free again at the end, and when the process dies."""
        with self._database.connection("take turns at the alerts") as connection:
            with connection.begin():
                mine = bool(connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar())
            try:
                yield mine
            finally:
                # A connection that is lost has freed the lock already; what was done in the turn counts all the same.
                with suppress(SQLAlchemyError), connection.begin():
                    connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK}) WHERE :mine"), {"mine": mine})

    def load(self, since: datetime, until: datetime) -> Stored:
        """Return what is open or was over since a moment, the messages that wait, and the newest self-tests.

        Self-tests after `until` do not count: they were made by a clock that was put back since.
        """
        with self._database.reading("read the alerts") as connection:
            alerts = [Alert(**row) for row in connection.execute(_OPEN, {"since": since}).mappings()]
            messages = [Message(**row) for row in connection.execute(_WAITING).mappings()]
            tests = [Message(**row) for row in connection.execute(_TESTS, {"until": until}).mappings()]
        known = {message.message_id for message in messages}
        return Stored(alerts=alerts, messages=[*messages, *(item for item in tests if item.message_id not in known)])

    def save(self, alerts: Sequence[Alert], messages: Sequence[Message], dismissed: Sequence[str] = ()) -> None:
        """Store what a look changed, all or nothing. Raises IllegalTransition for a move that states do not have."""
        if not (alerts or messages or dismissed):
            return
        with self._database.transaction("save the alerts") as connection:
            cursor: Any = connection.connection.cursor()
            if dismissed:
                cursor.execute(
                    "DELETE FROM alerts WHERE alert_id = ANY(%s::uuid[]) AND state = 'pending'", (list(dismissed),)
                )
            # Those that are over first: another one of the same subject may be among the open ones.
            ordered = sorted(alerts, key=lambda alert: alert.open)
            if len(_upsert(cursor, "alerts", "alert_id", ordered, _LEGAL)) != len(ordered):
                raise IllegalTransition("an alert that was over was changed")
            _upsert(cursor, "alert_messages", "message_id", messages, _LEGAL_MESSAGE)

    def recent(self, limit: int) -> list[Alert]:
        """Return what fires and what was over last: open ones first, newest first."""
        with self._database.reading("read the alerts") as connection:
            return [Alert(**row) for row in connection.execute(_RECENT, {"limit": limit}).mappings()]

    def totals(self) -> AlertTotals:
        """Return what metrics tell."""
        with self._database.reading("count the alerts") as connection:
            firing = {(row.rule, row.severity): row.number for row in connection.execute(_FIRING)}
            waiting = {row.target: row.number for row in connection.execute(_WAITING_BY_TARGET)}
            tests = [Message(**row) for row in connection.execute(_TESTS, {"until": None}).mappings()]
        return AlertTotals(firing=firing, waiting=waiting, self_tests=tests)

    def prune(self, before: datetime) -> int:
        """Delete what was over before a moment, and return how many rows went."""
        with self._database.transaction("prune the alerts") as connection:
            gone = connection.execute(text("DELETE FROM alerts WHERE resolved_at < :before"), {"before": before})
            sent = connection.execute(_PRUNE_MESSAGES, {"before": before})
            return int(gone.rowcount) + int(sent.rowcount)


def _upsert(cursor: Any, table: str, key: str, rows: Sequence[Alert | Message], legal: str) -> list[Any]:
    if not rows:
        return []
    names = [field.name for field in fields(rows[0])]
    texts = {"detail", "subject", "title", "body", "error"}
    lines = [
        tuple(clean(getattr(row, name)) if name in texts else getattr(row, name) for name in names) for row in rows
    ]
    moves = ", ".join(f"{name} = EXCLUDED.{name}" for name in names if name != key)
    kinds = ", ".join("%s::uuid" if name == key else "%s" for name in names)
    found: list[Any] = execute_values(
        cursor,
        f"INSERT INTO {table} ({', '.join(names)}) VALUES %s ON CONFLICT ({key}) DO UPDATE SET {moves} "
        f"WHERE {legal} RETURNING 1",
        lines,
        template=f"({kinds})",
        page_size=1000,
        fetch=True,
    )
    return found


def _columns(kind: type[Any], key: str) -> str:
    return ", ".join(f"{field.name}::text" if field.name == key else field.name for field in fields(kind))


_ALERT, _MESSAGE = _columns(Alert, "alert_id"), _columns(Message, "message_id")
# From pending to resolved: it fired and was over while the database was away.
_LEGAL = """
    alerts.state = EXCLUDED.state
    OR (alerts.state, EXCLUDED.state) IN (('pending', 'firing'), ('firing', 'resolved'), ('pending', 'resolved'))
"""
_LEGAL_MESSAGE = "alert_messages.state = 'waiting'"
_OPEN = text(
    f"""
    SELECT {_ALERT} FROM alerts WHERE state IN ('pending', 'firing')
    UNION ALL
    SELECT {_ALERT} FROM alerts WHERE state = 'resolved' AND resolved_at >= :since
    """
)
_WAITING = text(f"SELECT {_MESSAGE} FROM alert_messages WHERE state = 'waiting' ORDER BY made_at, message_id")
_TESTS = text(
    f"""
    SELECT DISTINCT ON (target) {_MESSAGE} FROM alert_messages
    WHERE kind = 'self_test' AND made_at <= coalesce(CAST(:until AS timestamptz), 'infinity')
    ORDER BY target, made_at DESC, message_id
    """
)
_RECENT = text(
    f"""
    (SELECT {_ALERT} FROM alerts WHERE state = 'firing' ORDER BY fired_at DESC, rule, subject LIMIT :limit)
    UNION ALL
    (SELECT {_ALERT} FROM alerts WHERE state = 'resolved' ORDER BY resolved_at DESC, rule, subject LIMIT :limit)
    """
)
_FIRING = text("SELECT rule, severity, count(*) AS number FROM alerts WHERE state = 'firing' GROUP BY 1, 2")
_WAITING_BY_TARGET = text("SELECT target, count(*) AS number FROM alert_messages WHERE state = 'waiting' GROUP BY 1")
_PRUNE_MESSAGES = text("DELETE FROM alert_messages WHERE made_at < :before AND state <> 'waiting'")
