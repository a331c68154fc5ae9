"""How fast indicators get into PostgreSQL, and the windows that they are computed from out of it.

    python -m benchmarks.writer [--rounds 5] [--url postgresql://...]

Without --url a server is started in a temporary folder with the settings of the default database. The best round
counts. Exits with 1 when a target is missed. Candles are measured by `upsert`.
"""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
from sqlalchemy import text

from benchmarks.sides.made_candles import BARS, START
from benchmarks.sides.upsert_ours import candles, instrument
from benchmarks.stand import opened
from collector.records import Batch, Dataset, IndicatorBlock, Interval, Job
from collector.storage.database import Database
from collector.storage.models import INDICATOR_COLUMNS
from collector.storage.reader import Reader
from collector.storage.writer import Writer

INDICATOR_TARGET, WINDOW_TARGET_S = 40_000, 1.5  # rows a second, seconds


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()  # measuring is what this program is for
    work()
    return time.perf_counter() - began


def empty(database: Database, table: str) -> None:
    with database.transaction() as connection:
        connection.execute(text(f"TRUNCATE {table}"))


def measure_indicators(database: Database, rounds: int) -> bool:
    series, bars = 100, 500
    random = np.random.default_rng(1)
    times = tuple(START + timedelta(minutes=number) for number in range(bars))
    blocks = [
        IndicatorBlock(
            instrument=instrument(f"C{number}USDT"),
            interval=Interval.M1,
            open_times=times,
            columns={name: random.normal(100, 5, bars) for name in INDICATOR_COLUMNS},
            extra={},
            warm=(True,) * bars,
        )
        for number in range(series)
    ]
    writer = Writer(database)
    fresh = []
    for _ in range(rounds):
        empty(database, "indicators")
        fresh.append(timed(lambda: writer.write_indicators(1, blocks)))
    again = timed(lambda: writer.write_indicators(1, blocks))
    rate = series * bars / min(fresh)
    print(f"indicators, fresh              {rate:10,.0f} rows/s   {len(INDICATOR_COLUMNS)} columns")
    print(f"indicators, repeated unchanged {series * bars / again:10,.0f} rows/s")
    return rate >= INDICATOR_TARGET


def measure_windows(database: Database) -> bool:
    bars, series = 2400, 300
    query = text(
        """
        INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
            open, high, low, close, volume)
        SELECT 'bench', t, t, 1, i.instrument_id, '5m', t, 100.1234 + n % 7, 110.5, 90.5, 100.4321, n
        FROM (SELECT instrument_id FROM instruments ORDER BY 1 LIMIT 300) i,
            generate_series(0, :last) n, LATERAL (SELECT CAST(:start AS timestamptz) + n * interval '5 minutes' AS t) s
        """
    )
    with database.transaction() as connection:
        connection.execute(query, {"last": bars - 1, "start": START})
    ids = [row.instrument.id for row in Reader(database).load_instruments()][:series]
    reader, until = Reader(database), START + timedelta(days=365)
    took = min(
        timed(lambda: reader.load_candle_windows(dict.fromkeys(ids, (START, until)), Interval.M5)) for _ in range(3)
    )
    print(f"windows of {len(ids)} series x {bars}   {took:10.2f} s")
    return took <= WINDOW_TARGET_S


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", help="an empty database to use instead of a temporary server")
    options = parser.parse_args()
    with opened(options.url) as database:
        writer = Writer(database)
        writer.begin_cycle("bench", START, instance="bench", folder="", simulated=True)
        writer.write(1, [Batch(job=Job(source="b", dataset=Dataset.CANDLES), records=tuple(candles(300_000)[::BARS]))])
        met = measure_indicators(database, options.rounds)
        met &= measure_windows(database)
    print("all targets met" if met else "TARGET MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
