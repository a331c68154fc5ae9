"""What the tests of /api/v1 share: a database with chosen rows behind the routes, on a clock that stands still."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from collector.api import protection, v1
from collector.api.parts import Parts
from collector.clock import ManualClock
from collector.config import ApiSettings
from collector.records import Dataset
from collector.storage.database import Database
from collector.storage.findings import Findings
from collector.storage.writer import Writer
from tests.conftest import FILLED
from tests.storage.samples import NOON

NOW = NOON + timedelta(minutes=5)
CADENCES = {
    ("okx", Dataset.TICKERS): timedelta(minutes=5),
    ("okx", Dataset.CANDLES): timedelta(minutes=5),
    ("okx", Dataset.ORDER_BOOKS): timedelta(minutes=5),
    ("okx", Dataset.FUNDING): timedelta(hours=1),
    ("coingecko", Dataset.MARKETS): timedelta(minutes=5),
    ("coingecko", Dataset.GLOBAL): timedelta(minutes=5),
    ("alternative_me", Dataset.SENTIMENT): timedelta(hours=1),
}


class NoLive:
    """A collector without providers: what is stored needs none."""

    def sources(self):
        return ()

    def ask(self, job, *, within):
        raise AssertionError("nothing under /api/v1 asks a provider")

    def health(self):
        return {}


class Stand:
    """A database, its writer and a client of the routes above it."""

    def __init__(
        self, url: str, *, now: datetime = NOW, cadences: Mapping = CADENCES, more: Mapping | None = None, **settings
    ) -> None:
        """`more` are further parts of the API."""
        self.clock = ManualClock(now)
        self.database = Database(url, clock=self.clock)
        self._begin()
        self.parts = Parts(
            settings=ApiSettings(**{"rate_data": 100_000, **settings}),
            database=self.database,
            live=NoLive(),
            clock=self.clock,
            version="1.2.3",
            simulated=True,
            venues=("binance_spot", "okx"),
            cadences=cadences,
            **(more or {}),
        )
        self.app = FastAPI()
        protection.install(self.app, self.parts)
        self.app.include_router(v1.router(self.parts))
        self.client = TestClient(self.app, raise_server_exceptions=True)

    def _begin(self) -> None:
        self.writer = Writer(self.database)
        self.cycle = self.writer.begin_cycle("market", NOON, instance="test:1", folder="f", simulated=True)

    def empty(self) -> None:
        """Forget all rows: much faster than another database."""
        with self.database.transaction() as connection:
            filled = connection.execute(text(FILLED)).scalars().all()
            connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE"))
        self._begin()

    def write(self, *batches):
        return self.writer.write(self.cycle, batches)

    def find(self, **tables):
        """Store rows of the analytics, by table."""
        return Findings(self.database).store(tables, cycle_id=self.cycle)

    def get(self, path: str, **query):
        return self.client.get(f"/api/v1{path}", params={name.rstrip("_"): value for name, value in query.items()})

    def page(self, path: str, **query):
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def all_pages(self, path: str, between=None, **query):
        """Return the rows of all pages, oldest page first; `between` is called after each."""
        rows, after = [], {}
        while True:
            page = self.page(path, **query, **after)
            rows += page["data"]
            if page["next"] is None:
                return rows
            after = {"cursor": page["next"]}
            if between:
                between()

    def refusal(self, path: str, **query):
        """Return the status and the code of an answer that is an error."""
        answer = self.get(path, **query)
        return answer.status_code, answer.json()["error"]["code"]

    def close(self) -> None:
        self.database.close()
