"""What the peers that store candles share: a table of their own with the natural key, and reading it back."""

from collections.abc import Mapping
from typing import Any

import psycopg2
from sqlalchemy import make_url

from benchmarks.sides.made_candles import told, transaction

TABLE = """
    CREATE TABLE candles (
        symbol text, interval text, open_time timestamptz, open numeric, high numeric, low numeric, close numeric,
        volume numeric, quote_volume numeric, trades integer, taker_buy_volume numeric,
        PRIMARY KEY (symbol, interval, open_time)
    )
"""
STORED = "SELECT *, xmin::text::bigint AS written FROM candles"


class Peer:
    """Base of the sides that store in a table of their own."""

    table, stored = TABLE, STORED
    groups: tuple[str, ...] = ("shared", "volumes")

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.url = make_url(work["url"]).set(drivername="postgresql")
        self.count = int(work["rows"])
        self.looking = psycopg2.connect(self.url.render_as_string(hide_password=False))
        self.since = 0
        self._execute(self.table)

    def prepare(self, phase: str) -> None:
        if phase.startswith("new"):
            self._execute("TRUNCATE candles")
        self._execute("CHECKPOINT")
        self.since = transaction(self.looking)

    def answer(self, _phase: str) -> dict[str, Any]:
        return told(self.looking, self.stored, self.since, self.count, self.groups)

    def close(self) -> None:
        self.looking.close()

    def _execute(self, statement: str) -> None:
        with self.looking.cursor() as cursor:
            cursor.execute(statement)
        self.looking.commit()
