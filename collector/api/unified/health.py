"""GET /api/health: whether answers can be given, and how old what is stored is; answers with everything else down.

A provider whose calls from here failed is online all the same once the collector stored something of it since; one
that gave the collector nothing when it was last asked is degraded, however its calls from here fared.
healthy: the database answers, the last cycle did not fail, and every provider is online. unhealthy: neither the
database nor any provider can be asked. degraded: anything between.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from collector.api.cache import Answers
from collector.api.fallback import Stored
from collector.api.parts import Health, Parts
from collector.clock import from_millis, iso
from collector.errors import StorageError
from collector.records import CycleState
from collector.storage.quotes import LastCycle, Quotes

LOOKED_EVERY_S = 5.0
GOOD_WITHIN = timedelta(hours=1)  # the longest that a provider stays off without being tried


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What the database said."""

    reason: str | None  # why it did not answer
    cycle: LastCycle | None
    newest: dict[str, datetime]
    good: Mapping[str, datetime] = field(default_factory=dict)  # when the collector last had something of a source
    failing: Mapping[str, str] = field(default_factory=dict)  # why it had nothing when it last asked


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
        looked = self._look()
        providers = {
            name: _as_seen(health, looked.good.get(name), looked.failing.get(name))
            for name, health in self._parts.live.health().items()
        }
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
            sources, since = self._parts.live.sources(), now - GOOD_WITHIN
            return _Looked(
                reason=None,
                cycle=quotes.last_cycle(),
                newest=quotes.newest_rows(now),
                good=quotes.last_good(sources, since),
                failing=quotes.failing(sources, since),
            )

        try:
            return self._stored.read(read)
        except StorageError as error:
            return _Looked(reason=str(error), cycle=None, newest={})


def _as_seen(health: Health, good_at: datetime | None, failing: str | None) -> Health:
    """Return how a provider is, when the collector had something of it at a moment, or nothing when it last asked."""
    if failing is not None:
        return replace(health, status="degraded", reason=failing) if health.status == "online" else health
    if health.failed_at is None or good_at is None or good_at.timestamp() <= health.failed_at:
        return health
    return replace(health, status="online", reason="")


def _status(looked: _Looked, providers: Mapping[str, Health]) -> str:
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
