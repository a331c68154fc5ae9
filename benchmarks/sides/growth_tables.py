"""What the collector asks of a table that holds more and more candles.

The newest 1 000 bars of a series, the inventory.

Bars are laid down month by month into a detached partition without an index, which it gets when it is attached
again, so 50 million take minutes. Windows are kept as a back-fill leaves them.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg2
from sqlalchemy import make_url

from collector.clock import SystemClock
from collector.records import Interval
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.quotes import Quotes
from collector.storage.reader import Reader

END = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BARS = 1000
ASKED = 100  # times each question is asked
SERIES = 400
FILL = """
    INSERT INTO {partition} (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
        open, high, low, close, volume)
    SELECT 'bench', t + interval '1 minute', t + interval '1 minute', 1, n, '1m', t, 100 + n, 101 + n, 99 + n,
        100.5 + n, 12.345
    FROM generate_series(%(first)s, %(last)s) AS n,
        generate_series(%(since)s::timestamptz, %(until)s::timestamptz - interval '1 minute', interval '1 minute') AS t
"""
WINDOWS = """
    INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, attempts, next_try_at,
        updated_at, cycle_id)
    SELECT n, 'candles', '1m', %(since)s, %(until)s, 'observed', 'bench', '', 0, NULL, %(until)s, 1
    FROM generate_series(1, %(series)s) AS n
"""


class Tables:
    """Every phase is named by the number of bars that the table then holds; each adds to the one before."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.database = Database(work["url"], clock=SystemClock())
        self.database.upgrade()
        plain = make_url(work["url"]).set(drivername="postgresql").render_as_string(hide_password=False)
        self.session = psycopg2.connect(plain)
        self.session.autocommit = True
        self.reader, self.quotes = Reader(self.database), Quotes(self.database)
        self.since = END
        self.held = 0
        self._execute(
            "INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, followed, "
            "first_seen_at, last_seen_at) SELECT 'bench:C' || n || '-USDT:perp', 'bench', 'C' || n, 'USDT', 'perp', "
            "'C' || n, 1, false, now(), now() FROM generate_series(1, %(series)s) AS n",
            {"series": SERIES},
        )
        self.found: tuple[int, int] = (0, 0)
        self.took_ms: list[float] = []

    def prepare(self, phase: str) -> None:
        """Fill the past before what is there, so that the newest bars stay the same."""
        wanted = int(phase.split("_")[1])
        if wanted > self.held:
            since = END - wanted // SERIES * MINUTE
            days = (END - since).days + 1
            months = {timeseries.month_of(max(since, END - MINUTE - timedelta(days=day))) for day in range(days)}
            with self.database.transaction() as connection:
                timeseries.ensure_partitions(connection, "candles", months)
            values = {"first": 1, "last": SERIES, "since": since, "until": self.since, "series": SERIES}
            self._execute("SET statement_timeout = 0; SET synchronous_commit = off")
            for month in sorted(months):
                self._fill(month, values)
            self._execute("TRUNCATE coverage")
            self._execute(WINDOWS, {**values, "until": END})
            self._execute("VACUUM ANALYZE candles")
            self.since, self.held = since, wanted
        self._one(phase)

    def run(self, phase: str) -> None:
        self.took_ms = []
        for _ in range(ASKED):
            began = time.perf_counter()
            self._one(phase)
            self.took_ms.append(1000 * (time.perf_counter() - began))

    def answer(self, phase: str) -> dict[str, Any]:
        wanted = BARS if phase.startswith("latest") else self.held // SERIES * SERIES
        if self.found[1] != wanted:
            raise RuntimeError(f"{phase}: {self.found} instead of {wanted}")
        took = sorted(self.took_ms)
        facts = {"median_ms": median(took), "p90_ms": took[int(0.9 * len(took)) - 1], "bars": self.held}
        return {"same": {"found": list(self.found)}, "facts": facts}

    def close(self) -> None:
        self.session.close()
        self.database.close()

    def _one(self, phase: str) -> None:
        if phase.startswith("latest"):
            bars = self.quotes.bars(7, Interval.M1, END, BARS, None)
            self.found = (1, len(bars))
        else:
            series = self.reader.held_series()
            self.found = (len(series), sum(item.held // MINUTE for item in series))

    def _fill(self, month: tuple[int, int], values: Mapping[str, Any]) -> None:
        """Lay down the bars of one month."""
        partition = timeseries.partition_name("candles", month)
        first, last = timeseries.bounds(month)
        since, until = max(values["since"], first), min(values["until"], last or END)
        if since >= until:
            return
        self._execute(f"ALTER TABLE candles DETACH PARTITION {partition}")
        self._execute(f"ALTER TABLE {partition} DROP CONSTRAINT {partition}_pkey")
        self._execute(FILL.format(partition=partition), {**values, "since": since, "until": until})
        self._execute(
            f"ALTER TABLE candles ATTACH PARTITION {partition} FOR VALUES FROM ('{first}') TO ('{last}')",
        )

    def _execute(self, statement: str, values: Mapping[str, Any] | None = None) -> None:
        with self.session.cursor() as cursor:
            cursor.execute(statement, values)


def open_side(work: Mapping[str, Any]) -> Tables:
    return Tables(work)
