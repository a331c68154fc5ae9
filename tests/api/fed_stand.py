"""The whole application on a database that one simulated cycle has filled, on a clock that stands still."""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from collector.api.app import create_app
from collector.api.parts import Parts
from collector.api.v1.freshness import collected_every
from collector.clock import Clock
from collector.config import ApiSettings
from collector.simulator import Simulator
from collector.storage.database import Database
from tests.api.unified_stand import VENUES, client_of, live_on
from tests.unit.cycle_rig import Rig, frozen_market

VERSION = "9.8.7"
ROOMY = dict.fromkeys(("rate_prices", "rate_ohlcv", "rate_sentiment", "rate_data"), 1_000_000)


@dataclass(frozen=True)
class Fed:
    """The application, what it is made of, and a client on this machine."""

    app: FastAPI
    database: Database
    clock: Clock
    simulator: Simulator
    parts: Parts

    @property
    def client(self) -> TestClient:
        return client_of(self.app)

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.client.get(path, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]


@contextmanager
def fed(database: Database, clock: Clock, folder: Path, **settings: Any):
    """Lend it; every dataset of every source has been collected once, of the four largest assets."""
    with frozen_market(clock) as simulator:
        with Rig(database, clock, folder, simulator=simulator, indicators=True) as rig:
            for cadence in ("market", "hourly", "daily"):
                report = rig.run(cadence)
                assert report.state.value == "ok", report
        with live_on(simulator, clock) as live:
            parts = Parts(
                settings=ApiSettings(**{**ROOMY, **settings}),
                database=database,
                live=live,
                clock=clock,
                version=VERSION,
                simulated=True,
                venues=VENUES,
                cadences=collected_every(rig.settings),
                log_folder=folder,
            )
            yield Fed(create_app(parts), database, clock, simulator, parts)
