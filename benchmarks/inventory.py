"""How fast the collector says what it holds, and what keeping account of that adds to a cycle's writing.

    python -m benchmarks.inventory [--bars 50000000] [--series 1700] [--url postgresql://...]

The inventory: windows are stored as so many bars in so many series would leave them, without the bars, for the answer
must not depend on them; once with a few holes in each series, once with a hole after every thousand bars, more than any
collector leaves that runs. The account: steady cycles of 1 650 series, written in groups as a cycle does, with the time
inside `settle_batches` taken apart. Exits with 1 when a limit is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median

from sqlalchemy import text

from benchmarks.scratch import Line, judge
from benchmarks.sides.upsert_ours import candles, instrument
from benchmarks.stand import opened
from collector.records import Batch, Candle, Dataset, Instrument, Interval, Job
from collector.storage import coverage
from collector.storage.database import Database
from collector.storage.reader import Reader
from collector.storage.writer import Writer

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
INVENTORY_S, ACCOUNT_S = 0.1, 0.05
GROUP = 64  # batches of one write, as in a cycle
STEADY, CYCLES = 1650, 7
HOLES = {"3 holes each": 3, "30 holes each": 30}

_FILL = text(
    """
    INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, attempts, next_try_at,
        updated_at, cycle_id)
    SELECT i.instrument_id, 'candles', '1m', w.since, w.until, w.state, 'bench', w.reason, w.attempts, w.next_try_at,
        w.until, 1
    FROM instruments i CROSS JOIN LATERAL (
        SELECT n, CAST(:start AS timestamptz) + n * :gap * interval '1 minute' AS at FROM generate_series(0, :last) n
    ) s CROSS JOIN LATERAL (VALUES
        (s.at, s.at + (:gap - 1) * interval '1 minute', 'observed', '', 0, CAST(NULL AS timestamptz)),
        (s.at + (:gap - 1) * interval '1 minute', s.at + :gap * interval '1 minute', 'missing',
            'not in the provider''s answer', 1, now())
    ) AS w(since, until, state, reason, attempts, next_try_at)
    WHERE NOT (w.state = 'missing' AND s.n = :last)
    """
)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()  # measuring is what this program is for
    work()
    return time.perf_counter() - began


def measure_inventory(database: Database, series: int, bars: int) -> list[Line]:
    """Judge the answer to what is held, of each series and of all together."""
    know(database, series)
    reader, each, lines = Reader(database), bars // series, []
    for name, holes in HOLES.items():
        gap = each // (holes + 1)
        with database.transaction() as connection:
            connection.execute(text("TRUNCATE coverage"))
            connection.execute(_FILL, {"start": START, "gap": gap, "last": each // gap - 1})
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE coverage")
        found = reader.held_series()
        held = sum(item.held // MINUTE for item in found)
        count = sum(item.holes for item in found)
        print(f"{len(found):,} series, {held:,} bars held, {count:,} holes ({name})")
        lines.append(Line(f"series, {name}", 1e3 * fastest(reader.held_series), 1e3 * INVENTORY_S, "ms"))
        lines.append(Line(f"tables, {name}", 1e3 * fastest(reader.inventory), 1e3 * INVENTORY_S, "ms"))
    return lines


def fastest(work: Callable[[], object]) -> float:
    return min(timed(work) for _ in range(5))


def know(database: Database, count: int) -> None:
    """Make instruments known, by a write that leaves no window."""
    rows = tuple(candle(instrument(f"C{number}USDT"), START - MINUTE) for number in range(count))
    writer = Writer(database)
    cycle = writer.begin_cycle("bench", START, instance="bench", folder="", simulated=True)
    writer.write(cycle, [Batch(job=Job(source="bench", dataset=Dataset.CANDLES), records=rows)])


def measure_account(database: Database) -> list[Line]:
    """Judge what a steady cycle spends on windows; print what its writes take with and without them."""
    with database.transaction() as connection:
        connection.execute(text("TRUNCATE coverage, candles"))
    owners = [instrument(f"C{number}USDT") for number in range(STEADY)]
    writer, spent = Writer(database), [0.0]
    whole: list[float] = []
    bare: list[float] = []
    settle = coverage.settle_batches

    def taken_apart(*given: object, **named: object) -> None:
        spent[-1] += timed(lambda: settle(*given, **named))  # type: ignore[arg-type]

    def left_out(*_: object, **__: object) -> None: ...

    for number in range(2 * CYCLES):
        # Cycles in turn with and without: what the machine does besides then falls on both.
        coverage.settle_batches = taken_apart if number % 2 == 0 else left_out
        groups = steady_cycle(owners, number // 2 + number % 2 * CYCLES * 4)
        took = timed(partial(write_all, writer, groups))
        (whole if number % 2 == 0 else bare).append(took)
        if number % 2 == 0:
            spent.append(0.0)
    coverage.settle_batches = settle
    rows = Reader(database).held_series()
    if len(rows) != STEADY or any(item.holes for item in rows):
        raise RuntimeError("not every series is one window: this measures something else")
    account = [1e3 * item for item in spent[1:-1]]  # the first cycle makes the windows
    print(
        f"\n{STEADY:,} series a cycle: writing {1e3 * median(whole[1:]):.0f} ms, "
        f"{1e3 * median(bare[1:]):.0f} ms without windows; inside settle_batches "
        f"{min(account):.0f} to {max(account):.0f} ms"
    )
    return [Line("windows of a steady cycle", min(account), 1e3 * ACCOUNT_S, "ms")]


def write_all(writer: Writer, groups: Sequence[Sequence[Batch]]) -> None:
    for group in groups:
        writer.write(1, group)


def steady_cycle(owners: list[Instrument], number: int) -> list[list[Batch]]:
    """Return the writes of a cycle: each job reads the newest bar again and brings the next."""
    since, until = START + number * MINUTE, START + (number + 2) * MINUTE
    batches = [
        Batch(
            job=Job(
                source="bench",
                dataset=Dataset.CANDLES,
                instruments=(owner,),
                interval=Interval.M1,
                since=since,
                until=until,
            ),
            records=(candle(owner, since), candle(owner, since + MINUTE)),
        )
        for owner in owners
    ]
    return [batches[start : start + GROUP] for start in range(0, len(batches), GROUP)]


def candle(owner: Instrument, opened: datetime) -> Candle:
    (sample,) = candles(1)
    return replace(sample, instrument=owner, open_time=opened, observed_at=opened + MINUTE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=50_000_000)
    parser.add_argument("--series", type=int, default=1700)
    parser.add_argument("--url", help="an empty database to use instead of a temporary server")
    options = parser.parse_args()
    with opened(options.url) as database:
        lines = measure_inventory(database, options.series, options.bars)
        lines += measure_account(database)
    return judge(lines)


if __name__ == "__main__":
    sys.exit(main())
