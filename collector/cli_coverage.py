"""What `gaps` and `backfill` do: read the settings, call, print. Return the exit code; errors are the caller's."""

import argparse
import json
import sys
from collections import Counter
from datetime import UTC, datetime

from collector import demo, gaps, status, wiring
from collector.backfill import Outcome, Request
from collector.clock import SystemClock
from collector.config import Settings
from collector.coverage import Series, State
from collector.errors import ConfigError, LockHeld
from collector.exits import NOT_ALL_WELL, OK
from collector.log import set_up_logging
from collector.records import Dataset, Interval
from collector.storage.coverage import CoverageStore

INTERRUPTED = 130
MOST_TOLD = 100  # cycles of a demo in bad weather


def show_gaps(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what is not held; first scan what is stored when that is asked for."""
    with wiring.open_database(settings) as database:
        if not database.revision():
            raise ConfigError("the database is empty; start with `python main.py run` or `make demo`")
        store = CoverageStore(database)
        if arguments.rescan:
            with database.writer_lock():
                count = store.scan(again=True)
            print(f"scanned {count} series", file=sys.stderr)
        found = gaps.load_gaps(store, arguments.series or "", SystemClock().now())
    if arguments.json:
        print(json.dumps(gaps.as_json(found), default=str, indent=1))
    else:
        print(status.label(settings.simulated) + gaps.render(found))
    return OK


def backfill(settings: Settings, arguments: argparse.Namespace) -> int:
    """Fetch a range, or leave it to the daemon that works on the database; print what could not be had."""
    now = SystemClock().now()
    request = Request(
        series=read_series(arguments.series),
        since=read_moment("--from", arguments.since),
        until=read_moment("--to", arguments.until) if arguments.until else now,
        source=arguments.source,
    )
    set_up_logging(settings.logs, console=None)
    try:
        with wiring.open_backfill(settings, show_line) as work:
            outcome = work.run(request)
    except LockHeld as error:
        print(f"collector: {error}; left to it, Ctrl+C stops only this display", file=sys.stderr)
        outcome = wiring.follow_backfill(settings, request, show_line)
    return _tell(request, outcome)


def _tell(request: Request, outcome: Outcome) -> int:
    print(file=sys.stderr)
    print(f"{request.series.name}: {outcome.rows:,} rows stored or changed")
    if outcome.left:
        print("not held:")
        print("\n".join(gaps.render_windows([(request.series, window) for window in outcome.left])))
    if outcome.interrupted:
        return INTERRUPTED
    return NOT_ALL_WELL if outcome.left else OK


def show_line(text: str) -> None:
    """Write a line of progress over the last one; on its own where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def weather(settings: Settings, began: datetime) -> str:
    """Return what misbehaving providers cost the cycles since a moment, oldest first."""
    cycles = wiring.load_status(settings, cycles=MOST_TOLD).cycles
    with wiring.open_database(settings) as database:
        found = gaps.load_gaps(CoverageStore(database), "", SystemClock().now())
    missing = Counter(window.source for _, window in found.windows if window.state is State.MISSING)
    return demo.render_weather(settings, [cycle.folder for cycle in cycles if cycle.started_at >= began][::-1], missing)


def read_series(text: str) -> Series:
    """Return the series that a text names, as okx:BTC-USDT:perp/1m or okx:BTC-USDT:perp/funding."""
    instrument, slash, length = text.rpartition("/")
    if slash and length == Dataset.FUNDING:
        return Series(instrument=instrument, dataset=Dataset.FUNDING)
    if not slash or length not in list(Interval):
        known = ", ".join([*Interval, "funding"])
        raise ConfigError(f"{text!r} names no series; write it like okx:BTC-USDT:perp/1m, with one of {known}")
    return Series(instrument=instrument, dataset=Dataset.CANDLES, interval=Interval(length))


def read_moment(option: str, text: str) -> datetime:
    """Return a moment in UTC from ISO 8601; without a zone it is UTC already, without a time it is midnight."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r} is no date; write 2026-01-31 or 2026-01-31T12:00") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
