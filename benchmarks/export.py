"""How fast and in how little memory candles leave for Parquet, beside a bare COPY of the same rows, and come back.

    python -m benchmarks.export [--rows 10000000] [--rounds 2] [--folder FOLDER] [--no-import]

A server is started in a temporary folder with the settings of the default database and filled with candles of 1
minute, series after series, as a back-fill stores them; with --live minute after minute, as cycles do. Both sides are
processes of their own, in turn: `COPY (SELECT ...) TO STDOUT` of every column of the table in no order, thrown away as
it comes, and `main.py export candles` with manifest and all. The best round of each counts. Then the folder is imported
into an empty database by `main.py import`, exported again and compared byte by byte. Exits with 1 when a target is
missed.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not only with -m

from benchmarks.scratch import ROOT, Line, clean_up_when_told_to_stop, judge
from collector.clock import SystemClock
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.embedded import EmbeddedPostgres

PEAK_MB = 512
SHARE = 0.5  # of the bare COPY's speed
BARS = 40_000  # of a series: a month of minutes is 44 640
COLUMNS = (
    "source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high, low, close, volume, "
    "quote_volume, trades, taker_buy_volume"
)
INSTRUMENTS = text(
    """
    INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, first_seen_at,
        last_seen_at)
    SELECT 'bench:C' || n || '-USDT:perp', 'bench', 'C' || n, 'USDT', 'perp', 'C' || n || 'USDT', 1,
        '2026-01-01+00', '2026-01-01+00'
    FROM generate_series(1, :series) n
    """
)
CANDLES = """
    INSERT INTO candles ({columns})
    SELECT 'bench', t + interval '1 minute', t + interval '61 seconds' + (n % 1000) * interval '1 microsecond', n,
        i.instrument_id, '1m', t, p, p + 0.5, p - 0.5, p + 0.1, n * 7919 % 100000 + 0.123,
        n::bigint * 104729 % 10000000 + 0.4567, n, n * 31 % 1000 + 0.5
    FROM (SELECT instrument_id FROM instruments ORDER BY 1) i, generate_series(0, {last}) n,
        LATERAL (SELECT timestamptz '2026-01-01+00' + n * interval '1 minute' AS t,
            100 + i.instrument_id + (n * 37 % 10000) * 0.0001 AS p) s
    ORDER BY {order} LIMIT :rows
"""


class Nowhere(io.RawIOBase):
    """Takes bytes and keeps none."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]


def fill(database: Database, rows: int, *, live: bool) -> None:
    order = "n, i.instrument_id" if live else "i.instrument_id, n"
    candles = CANDLES.format(columns=COLUMNS, last=BARS - 1, order=order)
    with database.transaction() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        timeseries.ensure_partitions(connection, "candles", [(2026, 1)])
        connection.execute(INSTRUMENTS, {"series": -(-rows // BARS)})
        connection.execute(text(candles), {"rows": rows})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE candles"))
        connection.execute(text("CHECKPOINT"))


def copy_bare(url: str) -> None:
    """Be the other side: the whole of a process."""
    database = Database(url, clock=SystemClock())
    with database.reading() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        cursor = connection.connection.cursor()
        cursor.copy_expert(f"COPY (SELECT {COLUMNS} FROM candles) TO STDOUT", Nowhere())
    database.close()


def timed(command: list[str], url: str) -> tuple[float, float]:
    """Run a process and return its seconds and its peak memory in MB."""
    environment = {**os.environ, "COLLECTOR_DATABASE__URL": url}
    began = time.perf_counter()  # measuring is what this program is for
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def program(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "main.py"), *words]


def measure(server: EmbeddedPostgres, database: Database, options: argparse.Namespace, folder: Path) -> list[Line]:
    url = database.url.render_as_string(hide_password=False)
    bare, ours, peaks = [], [], []
    for _ in range(options.rounds):
        bare.append(timed([sys.executable, "-m", "benchmarks.export", "--bare", url], url)[0])
        took, peak = timed(program("export", "candles", "--out", str(folder / "first"), "--json"), url)
        ours.append(took)
        peaks.append(peak)
    size = sum(path.stat().st_size for path in (folder / "first").rglob("*.parquet"))
    print(f"bare COPY    {min(bare):8.2f} s  {options.rows / min(bare):10,.0f} rows/s")
    rate, each = options.rows / min(ours), size / options.rows
    print(f"export       {min(ours):8.2f} s  {rate:10,.0f} rows/s  {each:.1f} bytes a row")
    print(f"speed of the export against the bare COPY: {min(bare) / min(ours):.2f}; peak memory {max(peaks):.0f} MB")
    lines = [
        Line("export, time", min(ours), min(bare) / SHARE, "s"),
        Line("export, peak memory", max(peaks), PEAK_MB, "MB"),
    ]
    return lines if options.no_import else [*lines, *round_trip(server, options, folder)]


def round_trip(server: EmbeddedPostgres, options: argparse.Namespace, folder: Path) -> list[Line]:
    clock = SystemClock()
    home = Database(server.url, clock=clock)
    with home.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE brought_back"))
    url = home.url.set(database="brought_back").render_as_string(hide_password=False)
    home.close()
    took, peak = timed(program("import", str(folder / "first"), "--json"), url)
    print(f"import       {took:8.2f} s  {options.rows / took:10,.0f} rows/s, checked first; peak memory {peak:.0f} MB")
    timed(program("export", "candles", "--out", str(folder / "second"), "--json"), url)
    first, second = (
        {path.relative_to(folder / name): path.read_bytes() for path in (folder / name).rglob("*.parquet")}
        for name in ("first", "second")
    )
    differing = sum(first.get(path) != second.get(path) for path in first.keys() | second.keys())
    print(f"brought back: {len(second)} files, {differing} of them differ")
    return [Line("import, peak memory", peak, PEAK_MB, "MB"), Line("files that differ", differing + 1, 1, "")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--live", action="store_true", help="rows lie as cycles store them")
    parser.add_argument("--no-import", action="store_true", help="only the way out")
    parser.add_argument("--bare", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        copy_bare(options.bare)
        return 0
    clean_up_when_told_to_stop()
    with tempfile.TemporaryDirectory(prefix="bench", dir=options.folder) as name:
        folder = Path(name)
        with EmbeddedPostgres(folder / "postgres", clock=SystemClock()) as server:
            database = Database(server.url, clock=SystemClock())
            database.upgrade()
            fill(database, options.rows, live=options.live)
            lines = measure(server, database, options, folder)
            database.close()
    return judge(lines)


if __name__ == "__main__":
    sys.exit(main())
