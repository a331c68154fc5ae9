"""What providers asked of us and what we used of their limits, kept across restarts; any thread may call.

Each call is one transaction on a connection of its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from collector.resilience.quota import Spent
from collector.storage.database import Database
from collector.storage.rows import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderState:
    """What a provider asked of us; `paused_until` is None when calls are free."""

    source: str
    paused_until: datetime | None
    reason: str
    banned: bool
    denied: bool  # it does not serve us; it is probed when the pause ends
    updated_at: datetime


class ProviderStore:
    """Keeps pauses, bans, refused access and used budgets. Raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_state(
        self, source: str, paused_until: datetime | None, reason: str, *, banned: bool = False, denied: bool = False
    ) -> None:
        """Remember what a provider asked of us, in place of what it asked before."""
        values = {"source": source, "until": paused_until, "reason": clean(reason), "banned": banned, "denied": denied}
        with self._database.transaction("save a provider's state") as connection:
            connection.execute(_SAVE_STATE, {**values, "now": self._database.clock.now()})

    def save_clock_offset(self, source: str, offset_s: float) -> None:
        """Remember how far a provider's clock is from ours."""
        values = {"source": source, "offset": offset_s, "now": self._database.clock.now()}
        with self._database.transaction("save a provider's clock") as connection:
            connection.execute(_SAVE_OFFSET, values)

    def load_states(self) -> dict[str, ProviderState]:
        """Return what each provider asked of us, by source."""
        query = text(
            "SELECT source, paused_until, reason, banned, denied, updated_at FROM provider_state ORDER BY source"
        )
        with self._database.reading("read the providers' states") as connection:
            return {row.source: ProviderState(**row._asdict()) for row in connection.execute(query)}

    def save_budgets(self, source: str, account: str, spent: Sequence[Spent]) -> None:
        """Remember what was used of each limit of one account."""
        now = self._database.clock.now()
        rows = [
            {
                "source": source,
                "account": account,
                "scope": item.scope,
                "window": item.window_s,
                "capacity": item.capacity,
                "used": sum(weight for _, weight in item.entries),
                "entries": json.dumps([[at.isoformat(), weight] for at, weight in item.entries]),
                "now": now,
            }
            for item in spent
        ]
        if rows:
            with self._database.transaction("save budgets") as connection:
                connection.execute(_SAVE_BUDGET, rows)

    def load_budgets(self, source: str, account: str) -> list[Spent]:
        """Return what was used of each limit of one account, as last saved."""
        query = text(
            "SELECT scope, window_s, capacity, entries FROM provider_budgets "
            "WHERE source = :source AND account = :account ORDER BY scope, window_s"
        )
        with self._database.reading("read budgets") as connection:
            rows = connection.execute(query, {"source": source, "account": account}).all()
        return [
            Spent(
                scope=row.scope,
                window_s=row.window_s,
                capacity=row.capacity,
                entries=tuple((datetime.fromisoformat(at), int(weight)) for at, weight in row.entries),
            )
            for row in rows
        ]


_SAVE_STATE = text(
    """
    INSERT INTO provider_state (source, paused_until, reason, banned, denied, updated_at)
    VALUES (:source, :until, :reason, :banned, :denied, :now)
    ON CONFLICT (source) DO UPDATE SET paused_until = EXCLUDED.paused_until, reason = EXCLUDED.reason,
        banned = EXCLUDED.banned, denied = EXCLUDED.denied, updated_at = EXCLUDED.updated_at
    """
)
_SAVE_OFFSET = text(
    """
    INSERT INTO provider_state (source, reason, banned, clock_offset_s, updated_at)
    VALUES (:source, '', false, :offset, :now)
    ON CONFLICT (source) DO UPDATE SET clock_offset_s = EXCLUDED.clock_offset_s
    """
)
_SAVE_BUDGET = text(
    """
    INSERT INTO provider_budgets (source, account, scope, window_s, capacity, used, entries, updated_at)
    VALUES (:source, :account, :scope, :window, :capacity, :used, CAST(:entries AS jsonb), :now)
    ON CONFLICT (source, account, scope, window_s) DO UPDATE SET capacity = EXCLUDED.capacity, used = EXCLUDED.used,
        entries = EXCLUDED.entries, updated_at = EXCLUDED.updated_at
    """
)
