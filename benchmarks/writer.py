"""How fast candles and indicators get into PostgreSQL, beside a bare COPY-and-merge of the same rows.

    python -m benchmarks.writer [--rows 100000] [--rounds 5] [--url postgresql://...]

Without --url a server is started in a temporary folder with the settings of the default database. The bare way is what
one would write by hand for this one table: text of the same rows, COPY into a temporary table, one guarded upsert; no
batches, no ledger, no duplicates, no rejects. Building the text is inside the time on both sides. Both write in lots of
the same size, each round into an emptied table, in turn; the best round counts. Exits with 1 when a target is missed.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not only with -m

from collector.clock import SystemClock
from collector.records import Batch, Candle, Dataset, IndicatorBlock, Instrument, Interval, Job, Kind
from collector.storage.database import Database
from collector.storage.embedded import EmbeddedPostgres
from collector.storage.models import INDICATOR_COLUMNS
from collector.storage.reader import Reader
from collector.storage.writer import Writer

START = datetime(2026, 1, 20, tzinfo=UTC)
BARS = 1000  # of a series: about what one answer of a venue holds
LOT = 10_000
FRESH_TARGET, BARE_TARGET, INDICATOR_TARGET, WINDOW_TARGET_S = 80_000, 1.3, 40_000, 1.5
COLUMNS = (
    "source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high, low, close, volume, "
    "quote_volume, trades, taker_buy_volume"
)


def instrument(number: int) -> Instrument:
    return Instrument(venue="bench", base=f"C{number}", quote="USDT", kind=Kind.PERP, venue_symbol=f"C{number}USDT")


def candles(count: int) -> list[Candle]:
    """Return series after series, each in order of time, over two months, with digits like those of a venue."""
    made = []
    for row in range(count):
        series, bar = divmod(row, BARS)
        if bar == 0:
            owner = instrument(series)
        opened = START + timedelta(minutes=20 * bar)
        price = Decimal(f"{100 + series}.{bar * 37 % 10_000:04d}")
        made.append(
            Candle(
                source="bench",
                observed_at=opened + timedelta(minutes=1),
                received_at=START,
                instrument=owner,
                interval=Interval.M1,
                open_time=opened,
                open=price,
                high=price + Decimal("0.5"),
                low=price - Decimal("0.5"),
                close=price + Decimal("0.1"),
                volume=Decimal(f"{bar * 7919 % 100_000}.123"),
                quote_volume=Decimal(f"{bar * 104729 % 10_000_000}.4567"),
                trades=bar,
                taker_buy_volume=Decimal(f"{bar * 31 % 1000}.5"),
                closed=True,
            )
        )
    return made


def lots(rows: Sequence[Candle]) -> Iterator[Sequence[Candle]]:
    return (rows[start : start + LOT] for start in range(0, len(rows), LOT))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()  # measuring is what this program is for
    work()
    return time.perf_counter() - began


def write_ours(writer: Writer, cycle: int, rows: Sequence[Candle]) -> None:
    job = Job(source="bench", dataset=Dataset.CANDLES, interval=Interval.M1)
    for lot in lots(rows):
        writer.write(cycle, [Batch(job=job, records=tuple(lot))])


def write_bare(database: Database, ids: dict[str, int], rows: Sequence[Candle]) -> None:
    values = ["source", *COLUMNS.split(", ")[7:]]
    guard = [", ".join(f"{side}.{name}" for name in values) for side in ("candles", "EXCLUDED")]
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in [*values, "observed_at", "received_at", "cycle_id"])
    upsert = (
        f"INSERT INTO candles ({COLUMNS}) SELECT {COLUMNS} FROM bare ON CONFLICT (instrument_id, interval, open_time) "
        f"DO UPDATE SET {sets} WHERE ({guard[0]}) IS DISTINCT FROM ({guard[1]})"
    )
    with database.engine.connect() as connection:
        cursor = connection.connection.cursor()
        moments: dict[datetime, str] = {}
        cursor.execute(f"CREATE TEMP TABLE bare ON COMMIT DELETE ROWS AS SELECT {COLUMNS} FROM candles WITH NO DATA")
        connection.connection.commit()
        for lot in lots(rows):
            objects = {id(c.instrument): c.instrument for c in lot}
            numbers = {key: ids[owner.id] for key, owner in objects.items()}
            for c in lot:
                for moment in (c.observed_at, c.received_at, c.open_time):
                    if moment not in moments:
                        moments[moment] = moment.isoformat()
            lines = [
                f"{c.source}\t{moments[c.observed_at]}\t{moments[c.received_at]}\t1\t{numbers[id(c.instrument)]}\t{c.interval}\t"
                f"{moments[c.open_time]}\t{c.open!s}\t{c.high!s}\t{c.low!s}\t{c.close!s}\t{c.volume!s}\t"
                f"{c.quote_volume!s}\t{c.trades}\t{c.taker_buy_volume!s}\n"
                for c in lot
            ]
            cursor.copy_expert(f"COPY bare ({COLUMNS}) FROM STDIN", io.StringIO("".join(lines)), 1 << 20)
            cursor.execute(upsert)
            connection.connection.commit()
        cursor.execute("DROP TABLE bare")
        connection.connection.commit()


def empty(database: Database, table: str) -> None:
    with database.transaction() as connection:
        connection.execute(text(f"TRUNCATE {table}"))


def rewritten(database: Database) -> int:
    """Return how many rows of candles this server has updated so far."""
    with database.transaction() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    query = "SELECT coalesce(sum(n_tup_upd + n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname LIKE 'candles%'"
    with database.reading() as connection:
        return int(connection.execute(text(query)).scalar_one())


def measure_candles(database: Database, rows: Sequence[Candle], rounds: int) -> bool:
    writer = Writer(database)
    cycle = writer.begin_cycle("bench", START, instance="bench", folder="", simulated=True)
    write_ours(writer, cycle, rows)
    ids = {row.instrument.id: row.instrument_id for row in Reader(database).load_instruments()}
    fresh, bare, again = [], [], []
    for _ in range(rounds):
        empty(database, "candles")
        bare.append(timed(lambda: write_bare(database, ids, rows)))
        empty(database, "candles")
        fresh.append(timed(lambda: write_ours(writer, cycle, rows)))
        before = rewritten(database)
        again.append(timed(lambda: write_ours(writer, cycle, rows)))
        dead = rewritten(database) - before
    count = len(rows)
    ratio = min(fresh) / min(bare)
    print(f"candles, bare COPY and merge   {count / min(bare):10,.0f} rows/s")
    print(f"candles, fresh                 {count / min(fresh):10,.0f} rows/s   {ratio:.2f} times the bare time")
    print(f"candles, repeated unchanged    {count / min(again):10,.0f} rows/s   {dead} rows rewritten or dead")
    return count / min(fresh) >= FRESH_TARGET and ratio <= BARE_TARGET and dead == 0


def measure_indicators(database: Database, rounds: int) -> bool:
    series, bars = 100, 500
    random = np.random.default_rng(1)
    times = tuple(START + timedelta(minutes=number) for number in range(bars))
    blocks = [
        IndicatorBlock(
            instrument=instrument(number),
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


@contextmanager
def opened(url: str | None) -> Iterator[Database]:
    with ExitStack() as stack:
        if url is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench"))
            url = stack.enter_context(EmbeddedPostgres(Path(folder) / "postgres", clock=SystemClock())).url
        database = Database(url, clock=SystemClock())
        stack.callback(database.close)
        database.upgrade()
        yield database


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", help="an empty database to use instead of a temporary server")
    options = parser.parse_args()
    with opened(options.url) as database:
        met = measure_candles(database, candles(options.rows), options.rounds)
        writer = Writer(database)
        writer.write(1, [Batch(job=Job(source="b", dataset=Dataset.CANDLES), records=tuple(candles(300_000)[::BARS]))])
        met &= measure_indicators(database, options.rounds)
        met &= measure_windows(database)
    print("all targets met" if met else "TARGET MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
