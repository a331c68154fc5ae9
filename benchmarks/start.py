"""How long a start takes: from the process to the first committed row, and to the first word of the command line.

`python main.py once` is started against the simulator (answers after 80 ms), with a data folder that an earlier run
left and with none at all. Another connection polls the database until a transaction with market rows is visible; then
the process is told to stop. Medians of several starts; the limits are 5 s and 0.7 s.

Run from anywhere: .venv/bin/python benchmarks/start.py
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not only with -m

from benchmarks.scratch import ROOT, Line, SimulatorProcess, clean_up_when_told_to_stop, judge, simulator
from collector.clock import SystemClock

FIRST_ROW_S, COMMAND_LINE_S = 5.0, 0.7
GIVE_UP_S = 60.0
STOP_S = 20.0
POLL_S = 0.01  # between two looks
CLOCK = SystemClock()
ASSETS, LATENCY_MS = 450, 80
# A job's row is committed together with the rows it brought.
NEW_ROWS = "SELECT count(*) FROM jobs WHERE rows_written > 0 AND cycle_id > %s"
LAST_CYCLE = "SELECT coalesce(max(cycle_id), 0) FROM cycles"


def environment(folder: Path, simulated: SimulatorProcess) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("COLLECTOR_")}
    own |= {"COLLECTOR_DATA_DIR": str(folder / "data"), "COLLECTOR_LOGS__DIRECTORY": str(folder / "logs")}
    for source in ("coingecko", "binance_futures", "okx"):
        own[f"COLLECTOR_SOURCES__{source.upper()}__BASE_URL"] = simulated.addresses[source]
    return own


def connect(folder: Path) -> "psycopg2.extensions.connection":
    """Connect to the embedded server of a folder; raises psycopg2.OperationalError while it is not there."""
    socket = folder / "data" / "postgres" / "run"
    connection = psycopg2.connect(host=str(socket), port=5432, user="collector", dbname="collector")
    connection.autocommit = True
    return connection


def wait_for_rows(folder: Path, process: "subprocess.Popen[bytes]", after_cycle: int) -> int:
    """Return when rows of a newer cycle are committed, with the number of that cycle."""
    give_up_at = time.perf_counter() + GIVE_UP_S
    while time.perf_counter() < give_up_at and process.poll() is None:
        try:
            with closing(connect(folder)) as connection, connection.cursor() as cursor:
                while time.perf_counter() < give_up_at:
                    cursor.execute(NEW_ROWS, (after_cycle,))
                    if cursor.fetchone()[0]:
                        cursor.execute(LAST_CYCLE)
                        return int(cursor.fetchone()[0])
                    CLOCK.sleep(POLL_S)
        except psycopg2.Error:  # not started, not migrated
            CLOCK.sleep(POLL_S)
    raise SystemExit(f"no row within {GIVE_UP_S:g} s, or the collector ended ({process.poll()})")


def first_row_s(folder: Path, simulated: SimulatorProcess, after_cycle: int) -> tuple[float, int]:
    """Start the collector, return the seconds to its first committed row, and the number of its cycle."""
    command = [sys.executable, str(ROOT / "main.py"), "once"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment(folder, simulated), stderr=subprocess.DEVNULL)
    try:
        cycle = wait_for_rows(folder, process, after_cycle)
        return time.perf_counter() - started, cycle
    finally:
        process.terminate()
        process.wait(STOP_S)


def command_line_s() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / "main.py"), "--version"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="starts of each kind (default 5)")
    options = parser.parse_args()
    clean_up_when_told_to_stop()
    fresh: list[float] = []
    ready: list[float] = []
    # Without limits: a person does not start ten times a minute, and the waiting is measured by cycle.py.
    with simulator(assets=ASSETS, latency_ms=LATENCY_MS, limits=False) as simulated:
        for _ in range(options.starts):
            with tempfile.TemporaryDirectory(prefix="bench-") as name:
                seconds, cycle = first_row_s(Path(name), simulated, 0)
                fresh.append(seconds)
                ready.append(first_row_s(Path(name), simulated, cycle)[0])
    words = [command_line_s() for _ in range(options.starts)]
    for name, values in (("no data folder", fresh), ("data folder ready", ready), ("--version", words)):
        print(f"{name:<18}", "  ".join(f"{value:.2f}" for value in values), "s")
    return judge(
        [
            Line("first row, no data folder", statistics.median(fresh), FIRST_ROW_S, "s"),
            Line("first row, data folder ready", statistics.median(ready), FIRST_ROW_S, "s"),
            Line("main.py --version", statistics.median(words), COMMAND_LINE_S, "s"),
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
