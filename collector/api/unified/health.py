"""GET /api/health: whether answers can be given, and how old what is stored is; answers with everything else down.

healthy: the database answers, the last cycle did not fail, and every provider is online. unhealthy: neither the
database nor any provider can be asked. degraded: anything between.
"""

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from collector.api.cache import Answers
from collector.api.fallback import Stored
from collector.api.parts import Health, Parts
from collector.clock import from_millis, iso
from collector.errors import StorageError
from collector.records import CycleState
from collector.storage.quotes import LastCycle, Quotes

LOOKED_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What the database said."""

    reason: str | None  # why it did not answer
    cycle: LastCycle | None
    newest: dict[str, datetime]


class HealthReport:
    """Makes the report; the database is looked at every few seconds, by one asker, however many there are."""

    def __init__(self, parts: Parts, stored: Stored) -> None:
        self._parts, self._stored = parts, stored
        self._began = parts.clock.monotonic()
        self._lock = threading.Lock()
        self._looked: _Looked | None = None
        self._again_at = float("-inf")

    def content(self, answers: Answers) -> dict[str, Any]:
        """Return the body of the answer."""
        looked, providers = self._look(), self._parts.live.health()
        now, stats = self._parts.clock.now(), answers.stats()
        cycle = looked.cycle
        return {
            "status": _status(looked, providers),
            "uptime": int(self._parts.clock.monotonic() - self._began),
            "version": self._parts.version,
            "providers": [_provider(name, health) for name, health in providers.items()],
            "cache": {"size": stats["size"], "hitRate": round(stats["hit_rate"], 4)},
            "timestamp": iso(now),
            "simulated": self._parts.simulated,
            "database": {"status": "offline" if looked.reason else "online", "reason": looked.reason},
            "lastCycle": None if cycle is None else _cycle(cycle),
            "newestRows": {name: round((now - at).total_seconds(), 1) for name, at in looked.newest.items()},
        }

    def _look(self) -> _Looked:
        with self._lock:
            if self._looked is None or self._parts.clock.monotonic() >= self._again_at:
                self._looked = self._read()
                self._again_at = self._parts.clock.monotonic() + LOOKED_EVERY_S
            return self._looked

    def _read(self) -> _Looked:
        now = self._parts.clock.now()

        def read(quotes: Quotes) -> _Looked:
            return _Looked(reason=None, cycle=quotes.last_cycle(), newest=quotes.newest_rows(now))

        try:
            return self._stored.read(read)
        except StorageError as error:
            return _Looked(reason=str(error), cycle=None, newest={})


def _status(looked: _Looked, providers: dict[str, Health] | Any) -> str:
    standings = {health.status for health in providers.values()}
    if looked.reason is not None and standings <= {"offline"}:
        return "unhealthy"
    failed = looked.cycle is not None and looked.cycle.state in (CycleState.FAILED, CycleState.ABANDONED)
    return "degraded" if looked.reason is not None or failed or standings - {"online"} else "healthy"


def _provider(name: str, health: Health) -> dict[str, Any]:
    checked = None if health.last_check is None else iso(from_millis(int(health.last_check * 1000)))
    return {
        "name": name,
        "status": health.status,
        "latency": health.latency_ms,
        "lastCheck": checked,
        "reason": health.reason or None,
    }


def _cycle(cycle: LastCycle) -> dict[str, Any]:
    return {
        "id": cycle.cycle_id,
        "cadence": cycle.cadence,
        "state": cycle.state.value,
        "startedAt": iso(cycle.started_at),
        "finishedAt": None if cycle.finished_at is None else iso(cycle.finished_at),
    }
