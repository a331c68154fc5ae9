"""A year of bars the way most scripts do it: fetch_ohlcv page after page, a DataFrame, to_sql; imports not timed."""

from collections.abc import Mapping
from typing import Any

import ccxt
import pandas as pd
from sqlalchemy import DateTime, create_engine, make_url, text

from benchmarks.sides.copied import copied
from benchmarks.sides.year import MINUTE_MS, UNTIL, since, told

PAGE = 1000
CHUNK = 10_000
COLUMNS = ["open_time", "open", "high", "low", "close", "volume"]


class Ccxt:
    """The sync exchange without its throttler; pages of 1 000, the most that the venue gives."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.first = int(since(work["days"]).timestamp() * 1000)
        self.until = int(UNTIL.timestamp() * 1000)
        self.engine = create_engine(make_url(work["url"]).set(drivername="postgresql+psycopg2"))
        self.exchange = ccxt.binance(
            {
                "enableRateLimit": False,
                "options": {"fetchMarkets": {"types": ["spot"]}},
                "urls": {"api": {"public": f"{work['spot']}/api/v3"}},
            }
        )

    def prepare(self, _phase: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS bars"))

    def run(self, _phase: str) -> None:
        self.exchange.load_markets()
        bars: list[list[float]] = []
        at = self.first
        while at < self.until:
            page = self.exchange.fetch_ohlcv("BTC/USDT", "1m", since=at, limit=PAGE)
            bars += page
            at = int(page[-1][0]) + MINUTE_MS
        frame = pd.DataFrame(bars, columns=COLUMNS)
        frame = frame[frame["open_time"] < self.until]
        frame["open_time"] = pd.to_datetime(frame["open_time"], unit="ms", utc=True)
        types = {"open_time": DateTime(timezone=True)}
        with self.engine.begin() as connection:
            frame.to_sql("bars", connection, index=False, chunksize=CHUNK, dtype=types, method=copied)
            connection.execute(text("ALTER TABLE bars ADD PRIMARY KEY (open_time)"))

    def answer(self, _phase: str) -> dict[str, Any]:
        with self.engine.connect() as connection:
            query = (
                f"SELECT extract(epoch FROM open_time)::bigint, {', '.join(COLUMNS[1:])} FROM bars ORDER BY open_time"
            )
            return told(tuple(row) for row in connection.execute(text(query)))

    def close(self) -> None:
        self.engine.dispose()


def open_side(work: Mapping[str, Any]) -> Ccxt:
    return Ccxt(work)
