"""What the housekeeping does of retention: a turn by the schedule."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from collector.clock import Clock
from collector.config.retention import RetentionSettings
from collector.retention.turn import Done, Retention
from collector.storage.cold.retention_turns import Turn, add_to_turn, begin_turn, last_turn
from collector.storage.database import Database

BUDGET_S = 300.0  # of one run; a month that was begun is finished, then the other chores have their turn

RETRY = timedelta(minutes=10)


class RetentionChore:
    """Runs turns of retention by the schedule. A turn that is not finished goes on at the next look."""

    name = "retention"

    def __init__(self, settings: RetentionSettings, retention: Retention, database: Database, clock: Clock) -> None:
        self._settings, self._retention = settings, retention
        self._database, self._clock = database, clock
        self._last: Turn | None = None  # as stored; None: not read yet
        self._next: datetime | None = None  # None: not known yet

    def due(self, now: datetime) -> bool:
        """Return whether a turn is due, was missed, or is not finished; the first one is due at once."""
        if self._next is None:
            self._last = last_turn(self._database)
            going_on = self._last is None or self._last.ended_at is None
            self._next = now if self._last is None or going_on else self._settings.next_turn(self._last.began_at)
        return now >= self._next

    def run(self, now: datetime) -> Mapping[str, object]:
        """Do what is due, for a few minutes; return what was done. Raises CollectorError: the next turn goes on."""
        self._next = now + RETRY  # after an error not at once again
        if self._last is None or self._last.ended_at is not None:
            begin_turn(self._database, now)
            self._last = last_turn(self._database)
        assert self._last is not None  # noqa: S101 - it was begun
        done, finished = self._retention.turn(now, budget_s=BUDGET_S)
        ended_at = self._clock.now() if finished else None
        add_to_turn(
            self._database,
            self._last.began_at,
            months=done.months,
            rows=done.rows,
            thinned=done.thinned,
            freed_bytes=done.freed_bytes,
            postponed="; ".join(done.postponed),
            ended_at=ended_at,
        )
        self._last = last_turn(self._database)
        self._next = self._settings.next_turn(now) if finished else now
        return _told(done)


def _told(done: Done) -> dict[str, object]:
    told: dict[str, object] = {
        "months": done.months,
        "rows": done.rows,
        "thinned": done.thinned,
        "freed_bytes": done.freed_bytes,
        "postponed": len(done.postponed),
    }
    return told if any(told.values()) else {}
