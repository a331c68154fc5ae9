"""A year of bars by `python main.py backfill`, its start included, into a new PostgreSQL database each round."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import make_url

from benchmarks.launch import program
from benchmarks.sides.year import UNTIL, environment, since, told
from collector.config import ROOT

SERIES = "binance_spot:BTC-USDT:spot/1m"
BARS = """
    SELECT extract(epoch FROM open_time)::bigint, open::float8, high::float8, low::float8, close::float8, volume::float8
    FROM candles WHERE interval = '1m' ORDER BY open_time
"""


class Ours:
    """Before the clock starts the instruments are known, as they are after the first cycle of a collector."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.work = work
        self.admin = make_url(work["url"])
        self.folder = tempfile.TemporaryDirectory(prefix="bench-backfill-")
        self.number = 0
        self.environment: dict[str, str] = {}

    @property
    def name(self) -> str:
        return f"backfill_{self.number}"

    def prepare(self, _phase: str) -> None:
        """Make a database and let a cycle fetch the list of instruments."""
        self._admin(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        self.number += 1
        self._admin(f"CREATE DATABASE {self.name}")
        self.environment = {
            **environment(self.work, os.environ),
            "COLLECTOR_DATA_DIR": str(Path(self.folder.name) / "data"),
            "COLLECTOR_LOGS__DIRECTORY": str(Path(self.folder.name) / "logs"),
            "COLLECTOR_DATABASE__URL": self.admin.set(database=self.name).render_as_string(hide_password=False),
        }
        self._program("once", "--cadence", "daily")

    def run(self, _phase: str) -> None:
        start = since(self.work["days"])
        self._program("backfill", SERIES, "--from", f"{start:%Y-%m-%d}", "--to", f"{UNTIL:%Y-%m-%d}")

    def answer(self, _phase: str) -> dict[str, Any]:
        url = self.admin.set(database=self.name, drivername="postgresql").render_as_string(hide_password=False)
        session = psycopg2.connect(url)
        with session, session.cursor() as cursor:
            cursor.execute(BARS)
            bars = cursor.fetchall()
        session.close()
        return told(bars)

    def close(self) -> None:
        self.folder.cleanup()

    def _program(self, *words: str) -> None:
        program(sys.executable, str(ROOT / "main.py"), *words, environment=self.environment)

    def _admin(self, statement: str) -> None:
        session = psycopg2.connect(self.admin.set(drivername="postgresql").render_as_string(hide_password=False))
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(statement)
        session.close()


def open_side(work: Mapping[str, Any]) -> Ours:
    return Ours(work)
