"""Candles into PostgreSQL by the collector's own writer: batches, ledger, windows held, rejects and all."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

import psycopg2
from sqlalchemy import make_url, text

from benchmarks.sides.made_candles import BARS, GROUPS, LOT, START, WIDTH, Row, rows, told, transaction
from collector.clock import SystemClock
from collector.records import Batch, Candle, Dataset, Instrument, Interval, Job, Kind
from collector.storage.database import Database
from collector.storage.writer import Writer

STORED = """
    SELECT i.venue_symbol AS symbol, c.*, c.xmin::text::bigint AS written
    FROM candles c JOIN instruments i USING (instrument_id)
"""


def instrument(symbol: str) -> Instrument:
    return Instrument(
        venue="bench", base=symbol.removesuffix("USDT"), quote="USDT", kind=Kind.PERP, venue_symbol=symbol
    )


def candles(count: int) -> list[Candle]:
    """Return made-up candles as records; those of a series share their instrument, as those of an answer do."""
    return [
        _candle(row, owner)
        for symbol, series in groupby(rows(count), key=lambda row: row.symbol)
        for owner in (instrument(symbol),)
        for row in series
    ]


def _candle(row: Row, owner: Instrument) -> Candle:
    return Candle(
        source="bench",
        observed_at=row.open_time + WIDTH,
        received_at=START,
        instrument=owner,
        interval=Interval.M1,
        open_time=row.open_time,
        open=Decimal(row.open),
        high=Decimal(row.high),
        low=Decimal(row.low),
        close=Decimal(row.close),
        volume=Decimal(row.volume),
        quote_volume=Decimal(row.quote_volume),
        trades=row.trades,
        taker_buy_volume=Decimal(row.taker_buy_volume),
        closed=True,
    )


def lots(records: Sequence[Candle]) -> Iterator[Sequence[Candle]]:
    return (records[start : start + LOT] for start in range(0, len(records), LOT))


class Stored:
    """The collector's own tables in a database of this side; base of the two sides that write there."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.records = candles(work["rows"])
        self.database = Database(work["url"], clock=SystemClock())
        self.database.upgrade()
        plain = make_url(work["url"]).set(drivername="postgresql").render_as_string(hide_password=False)
        self.looking = psycopg2.connect(plain)
        self.writer = Writer(self.database)
        self.cycle = self.writer.begin_cycle("bench", START, instance="bench", folder="", simulated=True)
        self.write(self.records[::BARS])  # makes the instruments and the partitions known
        self.since = 0

    def write(self, records: Sequence[Candle]) -> None:
        """Hand the records to the writer, a lot at a time."""
        job = Job(source="bench", dataset=Dataset.CANDLES, interval=Interval.M1)
        for lot in lots(records):
            self.writer.write(self.cycle, [Batch(job=job, records=tuple(lot))])

    def prepare(self, phase: str) -> None:
        if phase.startswith("new"):
            with self.database.transaction() as connection:
                connection.execute(text("TRUNCATE candles"))
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CHECKPOINT")
        self.since = transaction(self.looking)

    def answer(self, _phase: str) -> dict[str, Any]:
        return told(self.looking, STORED, self.since, len(self.records), list(GROUPS))

    def close(self) -> None:
        self.looking.close()
        self.database.close()


class Ours(Stored):
    """As a cycle writes: batches of 10 000 rows, one transaction each."""

    def run(self, _phase: str) -> None:
        self.write(self.records)


def open_side(work: Mapping[str, Any]) -> Ours:
    return Ours(work)
