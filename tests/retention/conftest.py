"""What the tests of retention share: a database with some months in it, and what does retention on it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from collector.clock import ManualClock
from collector.config.retention import RetentionSettings
from collector.records import Interval
from collector.retention.turn import Retention
from collector.storage.database import Database
from collector.storage.writer import Writer
from tests.storage.samples import BTC, batch, candle, perp

ETH = perp("ETH")
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
JANUARY, FEBRUARY = (2026, 1), (2026, 2)


class Stand:
    """A database, a writer, and retention on a clock that moves only when told."""

    def __init__(self, url, folder):
        self.clock = ManualClock(NOW)
        self.folder = folder
        self.database = Database(url, clock=self.clock)
        self.writer = Writer(self.database)
        self.cycle = self.writer.begin_cycle("market", NOW, instance="test:1", folder="", simulated=True)

    def write(self, *records, **changes):
        return self.writer.write(self.cycle, [batch(*records, **changes)])

    def rows(self, query, **values):
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def execute(self, statement, **values):
        with self.database.transaction() as connection:
            return connection.execute(text(statement), values).rowcount

    def retention(self, **settings):
        return Retention(RetentionSettings(**settings), self.folder, self.database, self.clock)

    def sealing(self, dataset="candles", **settings):
        return self.retention(datasets={dataset: {"age": "60d", "then": "seal"}}, **settings)

    def hot(self, where="true"):
        query = f"SELECT instrument_id, interval, open_time, close FROM candles WHERE {where} ORDER BY 1, 2, 3"
        return self.rows(query)

    def cold(self):
        return self.rows("SELECT dataset, month, state, generation, rows FROM cold_months ORDER BY 1, 2")


@pytest.fixture
def stand(emptied, tmp_path):
    made = Stand(emptied.url.render_as_string(hide_password=False), tmp_path / "cold")
    yield made
    for table in ("candles", "tickers", "order_books", "indicators"):
        made.execute(f"DROP TABLE IF EXISTS {table}_2026_01, {table}_2026_02, {table}_2024_01")
    made.database.close()


def bars(day, count, *, year=2026, month=1, instrument=BTC, interval=Interval.M1, **changes):
    """Candles of a day, from midnight on."""
    first = datetime(year, month, day, tzinfo=UTC)
    return [
        candle(
            instrument=instrument,
            interval=interval,
            open_time=first + n * interval.width,
            observed_at=first + (n + 1) * interval.width,
            received_at=first + (n + 1) * interval.width + timedelta(seconds=2),
            **changes,
        )
        for n in range(count)
    ]
