"""Candles through cryptofeed's PostgreSQL backend, as its example sets it up: CandlesPostgres with its own table.

To the documented table (`examples/postgres_tables.sql`) comes the natural key, without which nothing is ever a repeat.
The backend drops a whole batch when one row of it is there already, and knows neither quote nor taker volume.
"""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cryptofeed.backends.postgres import CandlesPostgres
from cryptofeed.types import Candle

from benchmarks.sides.made_candles import LOT, START, WIDTH, rows
from benchmarks.sides.upsert_peer import Peer


class Cryptofeed(Peer):
    """Candle objects, handed to the callback; every 10 000 its queue is waited for, so that its batches are as ours."""

    table = """
        CREATE TABLE candles (id serial PRIMARY KEY, timestamp TIMESTAMP, receipt_timestamp TIMESTAMP,
            exchange VARCHAR(32), symbol VARCHAR(32), candle_start TIMESTAMP, candle_stop TIMESTAMP,
            interval VARCHAR(4), trades INTEGER, open NUMERIC(64, 32), close NUMERIC(64, 32), high NUMERIC(64, 32),
            low NUMERIC(64, 32), volume NUMERIC(64, 32), closed BOOLEAN,
            UNIQUE (exchange, symbol, interval, candle_start))
    """
    stored = """
        SELECT symbol, candle_start AT TIME ZONE 'UTC' AS open_time, open, high, low, close, volume, trades,
            xmin::text::bigint AS written
        FROM candles
    """
    groups = ("shared",)

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        width, received = WIDTH.total_seconds(), START.timestamp()
        self.candles = [
            Candle(
                "BENCH",
                row.symbol,
                row.open_time.timestamp(),
                row.open_time.timestamp() + width,
                "1m",
                row.trades,
                Decimal(row.open),
                Decimal(row.close),
                Decimal(row.high),
                Decimal(row.low),
                Decimal(row.volume),
                True,
                received,
            )
            for row in rows(self.count)
        ]

    def run(self, _phase: str) -> None:
        asyncio.run(self._write())

    async def _write(self) -> None:
        host = self.url.host or self.url.query["host"]
        port = self.url.port or self.url.query.get("port")
        backend = CandlesPostgres(
            host=host, port=port, user=self.url.username, pw=self.url.password, db=self.url.database
        )
        backend.start(asyncio.get_running_loop())
        received = START.timestamp()
        for number, candle in enumerate(self.candles, 1):
            await backend(candle, received)
            if number % LOT == 0 or number == len(self.candles):
                await backend.queue.join()
        await backend.stop()
        await backend.worker
        await backend.conn.close()


def open_side(work: Mapping[str, Any]) -> Cryptofeed:
    return Cryptofeed(work)
