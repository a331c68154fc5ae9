"""600 order books of 100 levels into PostgreSQL by the collector's writer.

With the measures it keeps beside the levels.
"""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg2
from sqlalchemy import make_url

from benchmarks.sides.made_candles import START, transaction
from benchmarks.sides.upsert_ours import instrument
from collector.clock import SystemClock
from collector.cycle import GROUP_BATCHES
from collector.records import Batch, Dataset, Instrument, Job, OrderBook
from collector.storage.database import Database
from collector.storage.writer import Writer

STORED = """
    SELECT count(*), sum(hashtextextended(concat_ws('|', i.venue_symbol, extract(epoch FROM b.observed_at)::bigint,
        b.bid_prices::text, b.bid_sizes::text, b.ask_prices::text, b.ask_sizes::text), 0))
    FROM order_books b JOIN instruments i USING (instrument_id) WHERE b.cycle_id = %s
"""


def levels(number: int, side: int, count: int) -> tuple[tuple[Decimal, Decimal], ...]:
    """Return one side of a book, best first, with digits like those of a venue; `side` is 1 or -1."""
    middle = (100 + number) * 10_000
    return tuple(
        (
            Decimal(middle + side * (level + 1) * 3) / 10_000,
            Decimal(f"{1 + level * 7919 % 1000}.{(level + number) % 1000:03d}"),
        )
        for level in range(count)
    )


class Stored:
    """The collector's own table; every round stores the books of a new moment, as a cycle does."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.owners: list[Instrument] = [instrument(f"C{number}USDT") for number in range(work["books"])]
        self.sides = [
            (levels(number, -1, work["levels"]), levels(number, 1, work["levels"])) for number in range(work["books"])
        ]
        self.database = Database(work["url"], clock=SystemClock())
        self.database.upgrade()
        self.looking = psycopg2.connect(
            make_url(work["url"]).set(drivername="postgresql").render_as_string(hide_password=False)
        )
        self.writer = Writer(self.database)
        self.round = 0
        self.cycle = 0
        self.books: list[OrderBook] = []
        self.prepare("")
        self.write()  # makes the instruments and the partition known

    def prepare(self, _phase: str) -> None:
        self.round += 1
        at = START + timedelta(minutes=self.round)
        self.cycle = self.writer.begin_cycle("bench", at, instance="bench", folder="", simulated=True)
        self.books = [
            OrderBook(
                source="bench", observed_at=at, received_at=at, instrument=owner, last_update_id=7, bids=bids, asks=asks
            )
            for owner, (bids, asks) in zip(self.owners, self.sides, strict=True)
        ]
        transaction(self.looking)

    def write(self) -> None:
        """Hand the books to the writer, a batch for each, as many in a transaction as a cycle does."""
        batches = [
            Batch(job=Job(source="bench", dataset=Dataset.ORDER_BOOKS, instruments=(book.instrument,)), records=(book,))
            for book in self.books
        ]
        for start in range(0, len(batches), GROUP_BATCHES):
            self.writer.write(self.cycle, batches[start : start + GROUP_BATCHES])

    def answer(self, _phase: str) -> dict[str, Any]:
        with self.looking.cursor() as cursor:
            cursor.execute(STORED, (self.cycle,))
            ((count, digest),) = cursor.fetchall()
        self.looking.commit()
        return {"same": {"books": count, "digest": str(digest)}, "facts": {"rows": count}}

    def close(self) -> None:
        self.looking.close()
        self.database.close()


class Ours(Stored):
    """As a cycle writes."""

    def run(self, _phase: str) -> None:
        self.write()


def open_side(work: Mapping[str, Any]) -> Ours:
    return Ours(work)
