"""What `retention` and `disk` do: read the settings, call, print. Return the exit code; errors are the caller's."""

import argparse
import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Self

from collector import wiring
from collector.clock import Clock, SystemClock
from collector.config import Settings
from collector.config.retention import KEPT_BY_AGE
from collector.errors import ConfigError
from collector.exits import NOT_ALL_WELL, OK
from collector.log import set_up_logging
from collector.printing import moment, table
from collector.retention.disk import as_json, in_bytes, look, render
from collector.retention.turn import Retention, Step, in_words
from collector.storage.cold.cold_months import spelled
from collector.storage.cold.retention_turns import add_to_turn, begin_turn
from collector.storage.database import Database
from collector.storage.timeseries import Month
from collector.wiring_chores import build_retention, places_of

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
QUIET_S = 5.0  # between lines of progress where nobody watches


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Do a turn now, or say what it would do."""
    with _open(settings) as (retention, database, clock):
        if arguments.dry_run:
            return _show_plan(retention.plan(clock.now()), as_json=arguments.json)
        if not settings.retention.datasets and not _thins(settings):
            print("retention: nothing has an age in the settings, so everything is kept", file=sys.stderr)
        began = clock.now()
        begin_turn(database, began)
        with Progress(clock) as progress:
            done, _ = retention.turn(began, progress.say)
        add_to_turn(
            database,
            began,
            months=done.months,
            rows=done.rows,
            thinned=done.thinned,
            freed_bytes=done.freed_bytes,
            postponed="; ".join(done.postponed),
            ended_at=clock.now(),
        )
    if arguments.json:
        _print_json({**asdict(done), "steps": [_step(step) for step in done.steps]})
    else:
        print("\n".join(in_words(done)))
    return NOT_ALL_WELL if done.postponed else OK


def months(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print which months left the database, and where they are."""
    with _open(settings) as (retention, _, _):
        found = retention.months()
    if arguments.json:
        _print_json([{**asdict(month), "month": spelled(month.month)} for month in found])
        return OK
    head_ = ("dataset", "month", "state", "rows in file", "size", "sealed at", "dropped at", "file")
    rows = [
        (
            month.dataset,
            spelled(month.month),
            str(month.state),
            f"{month.rows:,}",
            in_bytes(month.size),
            moment(month.sealed_at),
            moment(month.dropped_at),
            month.file or "-",
        )
        for month in found
    ]
    print("\n".join(table(head_, rows)) if rows else "no month has left the database")
    return OK


def seal(settings: Settings, arguments: argparse.Namespace) -> int:
    """Seal one month now, whatever its age."""
    dataset, month = _dataset(arguments.dataset), read_month(arguments.month)
    with _open(settings) as (retention, _, clock), Progress(clock) as progress:
        gone = retention.seal(dataset, month, progress.say)
    print(f"sealed {dataset} {spelled(month)}: {gone.rows:,} rows left the database, {gone.freed_bytes:,} bytes")
    return OK


def restore(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put a sealed month back into the database."""
    dataset, month = _dataset(arguments.dataset), read_month(arguments.month)
    with _open(settings) as (retention, _, _):
        rows = retention.restore(dataset, month)
    print(f"restored {dataset} {spelled(month)}: {rows:,} rows; it stays until you seal it again by hand")
    return OK


def verify(settings: Settings, arguments: argparse.Namespace) -> int:
    """Read every file again and compare it with what was sealed."""
    with _open(settings) as (retention, _, clock), Progress(clock) as progress:
        found = retention.verify(progress.say)
    wrong = [(month, what) for month, what in found if what]
    if arguments.json:
        _print_json([{"dataset": m.dataset, "month": spelled(m.month), "wrong": what} for m, what in found])
    else:
        print(
            "\n".join([f"{len(found)} files read, {len(wrong)} wrong", *(f"  {m.label}: {what}" for m, what in wrong)])
        )
    return NOT_ALL_WELL if wrong else OK


def disk(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what everything takes, how fast it grows, and how long the disk lasts."""
    with wiring.open_database(settings) as database:
        database.require_tables()
        report = look(database, places_of(settings), SystemClock().now())
    if arguments.json:
        _print_json(as_json(report))
    else:
        print(render(report))
    return OK


def read_month(text: str) -> Month:
    """Return a month of `2026-01`; raises ConfigError for anything else."""
    match = _MONTH.fullmatch(text)
    if not match or not int(match[1]):
        raise ConfigError(f"MONTH: {text!r} is no month; write 2026-01")
    return int(match[1]), int(match[2])


class Progress:
    """Says how far a long work is: a changing line on a terminal, else a line every few seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said_at = clock.monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def say(self, what: str, rows: int) -> None:
        """Tell what is being done, and how many rows of it are."""
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{what}: {rows:,} rows")
            sys.stderr.flush()
        elif self._clock.monotonic() - self._said_at >= QUIET_S:
            self._said_at = self._clock.monotonic()
            print(f"{what}: {rows:,} rows", file=sys.stderr, flush=True)


@contextmanager
def _open(settings: Settings) -> Iterator[tuple[Retention, Database, Clock]]:
    set_up_logging(settings.logs, console=None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as by Ctrl+C: nothing half-written stays
    clock = SystemClock()
    with wiring.open_database(settings) as database:
        database.require_tables()
        yield build_retention(settings, database, clock), database, clock


def _dataset(name: str) -> str:
    if name not in KEPT_BY_AGE:
        raise ConfigError(f"DATASET: {name!r} is not stored by month; use one of {', '.join(KEPT_BY_AGE)}")
    return name


def _thins(settings: Settings) -> bool:
    return bool(settings.retention.thin_order_books or settings.retention.thin_tickers)


def _step(step: Step) -> dict[str, Any]:
    grid = None if step.grid is None else step.grid.total_seconds()
    return {**asdict(step), "month": spelled(step.month), "grid": grid}


def _show_plan(steps: list[Step], *, as_json: bool) -> int:
    if as_json:
        _print_json([_step(step) for step in steps])
        return OK
    rows = [
        (step.what, step.dataset, spelled(step.month), f"{step.rows or 0:,}", in_bytes(step.size), _how(step))
        for step in steps
    ]
    head_ = ("what", "dataset", "month", "rows that leave", "size of the month", "")
    print("\n".join(table(head_, rows)) if rows else "nothing is due")
    freed = sum(step.size or 0 for step in steps)
    print(f"a turn would let {sum(step.rows or 0 for step in steps):,} rows go and free up to {in_bytes(freed)}")
    return OK


def _how(step: Step) -> str:
    if step.grid is not None:
        return f"one row per {step.grid} and instrument, up to {moment(step.until)}"
    return "to a file" if step.what == "seal" else "for good"


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=str, indent=1))
