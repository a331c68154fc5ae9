"""What the collector asks of a table that holds more and more candles.

The newest 1 000 bars of a series, the inventory.

Bars are laid down month by month into a detached partition without an index, which it gets when it is attached
again, so 50 million take minutes. What is really there is counted, outside the clock.

Windows grow with the history, as a collector leaves them. One that runs makes the last window of a series longer, and
a stop that it later makes up for from the same provider leaves no trace. What stays for good are stretches that another
provider had to fill and bars that no provider has. Of every series one of each a week is laid down here, ten minutes
and one minute long, which is more than most have: 1 window after two days, 11 after two weeks, 49 after three months,
which is what 1, 10 and 50 million bars are.
"""

import time
from collections.abc import Mapping, Sequence
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
SERIES, SERIES_ASKED = 400, 7
WEEK = timedelta(days=7)
FILLED = (timedelta(days=4), timedelta(days=4, minutes=10))  # in each week: from and to
FILL = """
    INSERT INTO {partition} (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
        open, high, low, close, volume)
    SELECT 'bench', t + interval '1 minute', t + interval '1 minute', 1, n, '1m', t, 100 + n, 101 + n, 99 + n,
        100.5 + n, 12.345
    FROM generate_series(%(first)s, %(last)s) AS n, (SELECT t FROM
        generate_series(%(since)s::timestamptz, %(until)s::timestamptz - interval '1 minute', interval '1 minute') AS t
        WHERE t <> ALL(%(missing)s::timestamptz[])) AS times
"""
WINDOWS = """
    INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, attempts, next_try_at,
        updated_at, cycle_id)
    SELECT n, 'candles', '1m', %(since)s, %(until)s, %(state)s, %(source)s, %(reason)s, %(attempts)s, NULL, %(until)s, 1
    FROM generate_series(1, %(series)s) AS n
"""
COUNT = """
    SELECT sum(bars), count(*), min(bars), max(bars)
    FROM (SELECT count(*) AS bars FROM candles WHERE interval = '1m' GROUP BY instrument_id) AS series
"""

Window = tuple[datetime, datetime, str]


def history(bars: int) -> tuple[datetime, list[Window]]:
    """Return since when a series is collected that has so many bars by END, and its windows, oldest first."""
    lacking = 0
    while (bars + lacking) * MINUTE // WEEK > lacking:
        lacking += 1
    since = END - (bars + lacking) * MINUTE
    apart: list[Window] = []
    for week in (END - number * WEEK for number in range(lacking + 1, 0, -1)):
        apart += [(week, week + MINUTE, "provider_has_none"), (week + FILLED[0], week + FILLED[1], "filled")]
    windows, at = [], since
    for begin, end, state in apart:
        if begin >= since:
            windows += [(at, begin, "observed"), (begin, end, state)] if begin > at else [(begin, end, state)]
            at = end
    return since, [*windows, (at, END, "observed")]


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
        self.counted: list[Any] = []
        self.windows = 0
        self.told: dict[str, Any] = {}
        self.took_ms: list[float] = []

    def prepare(self, phase: str) -> None:
        """Fill the past before what is there, so that the newest bars stay the same; count what is there then."""
        wanted = int(phase.split("_")[1])
        if wanted > self.held:
            since, windows = history(wanted // SERIES)
            days = (END - since).days + 1
            months = {timeseries.month_of(max(since, END - MINUTE - timedelta(days=day))) for day in range(days)}
            with self.database.transaction() as connection:
                timeseries.ensure_partitions(connection, "candles", months)
            lacking = [begin for begin, _, state in windows if state == "provider_has_none"]
            values = {"first": 1, "last": SERIES, "since": since, "until": self.since, "missing": lacking}
            self._execute("SET statement_timeout = 0; SET synchronous_commit = off")
            for month in sorted(months):
                self._fill(month, values)
            self._cover(windows)
            self._execute("VACUUM ANALYZE candles")
            self.since, self.held = since, wanted
            with self.session.cursor() as cursor:
                cursor.execute(COUNT)
                self.counted = [int(value) for value in cursor.fetchall()[0]]
        self._one(phase)

    def run(self, phase: str) -> None:
        self.took_ms = []
        for _ in range(ASKED):
            began = time.perf_counter()
            self._one(phase)
            self.took_ms.append(1000 * (time.perf_counter() - began))

    def answer(self, _phase: str) -> dict[str, Any]:
        """Tell what the question found, and what the table really holds: bars, series, fewest and most bars of one."""
        took = sorted(self.took_ms)
        facts = {"median_ms": median(took), "p90_ms": took[int(0.9 * len(took)) - 1]}
        facts |= {"bars": self.counted[0], "windows": self.windows}
        return {"same": {"counted": self.counted, "windows": self.windows, **self.told}, "facts": facts}

    def close(self) -> None:
        self.session.close()
        self.database.close()

    def _one(self, phase: str) -> None:
        if phase.startswith("latest"):
            bars = self.quotes.bars(SERIES_ASKED, Interval.M1, END, BARS, None)
            self.told = {"bars": len(bars), "oldest": bars[0][:6], "newest": bars[-1][:6]}
        else:
            series = self.reader.held_series()
            held = [item.held // MINUTE for item in series]
            self.told = {"series": len(series), "least": min(held), "most": max(held)}

    def _cover(self, windows: Sequence[Window]) -> None:
        """Lay down the windows of every series."""
        self._execute("TRUNCATE coverage")
        for since, until, state in windows:
            given = {
                "since": since,
                "until": until,
                "state": state,
                "source": "other" if state == "filled" else "bench",
                "reason": "not in the provider's answer" if state == "provider_has_none" else "",
                "attempts": 3 if state == "provider_has_none" else 0,
            }
            self._execute(WINDOWS, {**given, "series": SERIES})
        self._execute("VACUUM ANALYZE coverage")
        self.windows = len(windows) * SERIES

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
