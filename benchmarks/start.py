"""How long a start takes: from the process to the first committed row, and to the first word of the command line.

`python main.py once` is started against the simulator (answers after 80 ms), with a data folder that an earlier run
left and with none at all. Another connection polls the database until a transaction with market rows is visible; then
the process is told to stop. `main.py --version` and `--help`: what the command line costs before it does anything; it
answers both without the imports of the commands. What those imports cost stands beside it, without a limit: the import
of `collector.cli_commands` by a fresh interpreter, and the whole of `main.py plan`, which loads it, reads the shipped
settings and prints what a cycle would ask for.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg2

from benchmarks.asked import Asked, CannotMeasure
from benchmarks.harness import OURS, Outcome, Part, Reach, Spread
from benchmarks.scratch import ROOT, SimulatorProcess, end, simulator, work_folder
from collector.clock import SystemClock

FIRST_ROW_S, COMMAND_LINE_S = 3.0, 0.4
GIVE_UP_S = 60.0
STOP_S = 60.0
POLL_S = 0.01  # between two looks
CLOCK = SystemClock()
ASSETS, LATENCY_MS = 450, 80
SOURCES = ("coingecko", "binance_futures", "okx", "binance_spot", "kraken", "alternative_me")
TEXTS = {
    "fresh": "`main.py once` to the first committed row, no data folder",
    "ready": "`main.py once` to the first committed row, data folder ready",
    "version": "`main.py --version`",
    "help": "`main.py --help`",
    "imports": "imports of a command: a fresh interpreter, `import collector.cli_commands`",
    "plan": "imports of a command and its work: `main.py plan`",
}
COMMAND_LINES = {
    "version": ("main.py", "--version"),
    "help": ("main.py", "--help"),
    "imports": ("-c", "import collector.cli_commands"),
    "plan": ("main.py", "plan"),
}
# A job's row is committed together with the rows it brought.
NEW_ROWS = "SELECT count(*) FROM jobs WHERE rows_written > 0 AND cycle_id > %s"
LAST_CYCLE = "SELECT coalesce(max(cycle_id), 0) FROM cycles"


def environment(folder: Path, simulated: SimulatorProcess) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("COLLECTOR_")}
    own |= {"COLLECTOR_DATA_DIR": str(folder / "data"), "COLLECTOR_LOGS__DIRECTORY": str(folder / "logs")}
    for source in SOURCES:  # those that a start asks by itself
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
                    if cursor.fetchall()[0][0]:
                        cursor.execute(LAST_CYCLE)
                        return int(cursor.fetchall()[0][0])
                    CLOCK.sleep(POLL_S)
        except psycopg2.Error:  # not started, not migrated
            CLOCK.sleep(POLL_S)
    raise CannotMeasure(f"no row within {GIVE_UP_S:g} s, or the collector ended ({process.poll()})")


def first_row_s(folder: Path, simulated: SimulatorProcess, after_cycle: int) -> tuple[float, int]:
    """Start the collector, return the seconds to its first committed row, and the number of its cycle."""
    command = [sys.executable, str(ROOT / "main.py"), "once"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment(folder, simulated), stderr=subprocess.DEVNULL, process_group=0)
    try:
        cycle = wait_for_rows(folder, process, after_cycle)
        return time.perf_counter() - started, cycle
    finally:
        end(process, STOP_S)  # nothing of it is measured


def command_line_s(words: Sequence[str]) -> float:
    """Return the seconds of a whole process; with the shipped settings, whatever the environment says."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("COLLECTOR_")}
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True, cwd=ROOT, env=own)
    took = time.perf_counter() - started
    if done.returncode:
        raise CannotMeasure(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-300:]}")
    return took


def measure(asked: Asked) -> Outcome:
    """Measure starts with and without a data folder, and the command line alone."""
    took: dict[str, list[float]] = {key: [] for key in TEXTS}
    starts = asked.times(5)
    # Without limits: a person does not start ten times a minute, and the waiting is measured by `cycle`.
    with simulator(assets=asked.size(ASSETS, 60), latency_ms=LATENCY_MS, limits=False) as simulated:
        for _ in range(starts):
            with work_folder("bench-start-") as folder:
                seconds, cycle = first_row_s(folder, simulated, 0)
                took["fresh"].append(seconds)
                took["ready"].append(first_row_s(folder, simulated, cycle)[0])
    for words in COMMAND_LINES.values():
        command_line_s(words)  # its bytecode may have to be written, once
    for _ in range(starts):
        for key, words in COMMAND_LINES.items():
            took[key].append(command_line_s(words))
    limits = {"fresh": FIRST_ROW_S, "ready": FIRST_ROW_S, "version": COMMAND_LINE_S, "help": COMMAND_LINE_S}
    spreads = {key: Spread(tuple(values)) for key, values in took.items()}
    return Outcome(
        title="Start",
        work=__doc__ or "",
        parts=[Part(key=key, text=TEXTS[key], figures={OURS: {"wall_s": value}}) for key, value in spreads.items()],
        reaches=[
            Reach(key=key, text=TEXTS[key], value=spreads[key], limit=limit, unit="s") for key, limit in limits.items()
        ],
        beside=[(TEXTS[key], spreads[key], "s") for key in spreads if key not in limits],
        configurations={OURS: f"shipped settings, simulated providers with answers after {LATENCY_MS} ms, no limits"},
    )
