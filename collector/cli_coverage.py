"""What `gaps` and `backfill` do: read the settings, call, print. Return the exit code; errors are the caller's."""

import argparse
import json
import shutil
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TextIO

from collector import demo, gaps, status, wiring
from collector.backfill import (
    CADENCE,
    Offer,
    Outcome,
    Request,
    bounded,
    is_waited_for,
    refuse_source,
    whom,
    windows_of,
)
from collector.clock import Clock, SystemClock
from collector.config import Settings
from collector.coverage import Series, State
from collector.errors import ConfigError, LockHeld
from collector.exits import NOT_ALL_WELL, OK
from collector.fallback import RANKING
from collector.log import set_up_logging
from collector.records import CycleState, Dataset, Interval
from collector.sources import SOURCES
from collector.storage.asked_ranges import count_rows, take_back
from collector.storage.coverage import CoverageStore
from collector.storage.losses import load_outcomes
from collector.storage.reader import Reader

INTERRUPTED = 130
OPEN = (State.MISSING, State.PENDING)
MOST_TOLD = 100  # cycles of a demo in bad weather
TAKE_BACK_S = 3
QUIET_S = 10.0  # between lines of progress where nobody watches


def show_gaps(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what is not held; first scan what is stored when that is asked for."""
    with wiring.open_database(settings) as database:
        database.require_tables()
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
    """Fetch a range, or leave it to the collector that works on the database; print what could not be had."""
    request = read_request(arguments, SystemClock().now())
    set_up_logging(settings.logs, console=None)
    screen = Screen(sys.stderr, SystemClock())
    try:
        outcome = _fetched(settings, request, screen)
    finally:
        screen.end()
    code = _tell(request, outcome)
    if outcome.interrupted and any(map(is_waited_for, outcome.left)):
        _offer_to_take_back(settings, request)
    return code


def _fetched(settings: Settings, request: Request, screen: "Screen") -> Outcome:
    try:
        with wiring.open_backfill(settings, screen.show) as work:
            screen.tell(*work.check(request).notes)
            return work.run(request)
    except LockHeld as error:
        holder = str(error).removesuffix("; stop it first")
    return _followed(settings, request, screen, holder)


def _followed(settings: Settings, request: Request, screen: "Screen", holder: str) -> Outcome:
    """Leave the range to the collector that holds the writer's lock; nothing is said before it is sure to take it."""
    with wiring.open_database(settings) as database:
        reader = Reader(database)
        found = bounded(request, reader, SystemClock().now())
        if request.source is not None:
            stored, equivalents = reader.load_instruments(), wiring.build_equivalents(settings)
            whom(found.request, found.row, stored, _offers(settings), equivalents)
            refuse_source(request)
        if any(cycle.cadence == CADENCE and cycle.state is CycleState.RUNNING for cycle in reader.recent_cycles(1)):
            raise LockHeld(f"{holder}, and is a backfill itself; try again when it has ended")
        if not settings.http.healing_pct:
            raise ConfigError(
                f"http.healing_pct: is 0, so nothing is healed, and {holder}; stop it, or raise the setting"
            )
        request = found.request
        before = count_rows(database, request.series, request.since, request.until)
        left_to_it = f"{holder}; its healing fetches the range. Ctrl+C ends this display, twice takes the range back"
        screen.tell(*found.notes, left_to_it)
        outcome = wiring.follow_backfill(settings, request, screen.show)
        after = count_rows(database, request.series, request.since, request.until)
    return replace(outcome, rows=max(0, after - before), by_others=True)


def _offers(settings: Settings) -> dict[str, Offer]:
    enabled = {name: SOURCES[name] for name, part in settings.sources.items() if part.enabled and name in SOURCES}
    return {name: Offer(intervals=kind.intervals, datasets=kind.shapes) for name, kind in enabled.items()}


def _tell(request: Request, outcome: Outcome) -> int:
    who = "stored since this command began, by the collector at work" if outcome.by_others else "stored or changed"
    print(f"{request.series.name}: {outcome.rows:,} rows {who}")
    if outcome.interrupted:
        print("stopped; the same command goes on where it was")
    if outcome.left:
        print("not held:")
        print("\n".join(gaps.render_windows([(request.series, window) for window in outcome.left])), flush=True)
    if outcome.interrupted:
        return INTERRUPTED
    return NOT_ALL_WELL if outcome.left else OK


def _offer_to_take_back(settings: Settings, request: Request) -> None:
    """Wait for a second Ctrl+C, and then let nobody fetch the rest."""
    try:
        print(
            "what is not held stays asked for, and a collector fetches it. "
            f"Ctrl+C within {TAKE_BACK_S} s takes it back; later: the same command, and Ctrl+C twice",
            file=sys.stderr,
            flush=True,
        )
        SystemClock().sleep(TAKE_BACK_S)
    except KeyboardInterrupt:
        series = request.series
        with wiring.open_database(settings) as database:
            taken = take_back(database, series, request.since, request.until)
            rest = [window for window in windows_of(CoverageStore(database), request) if is_waited_for(window)]
        print(f"taken back: {gaps.amount_of(series, taken)} are not asked for any more")
        if rest:
            length = sum((window.until - window.since for window in rest), timedelta(0))
            print(f"still asked for: {gaps.amount_of(series, length)}, under way now, or holes in what is collected")


class Screen:
    """Shows progress: on a terminal over the last line, elsewhere as a line every ten seconds, and the last one."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._on_terminal = stream.isatty()
        self._unfinished = False  # a line on the terminal
        self._kept = ""  # not shown yet
        self._shown_at = float("-inf")

    def show(self, text: str) -> None:
        """Show a state that replaces the one before."""
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be written over
            print(f"\r\x1b[K{text[:width]}", end="", file=self._stream, flush=True)
            self._unfinished = True
            return
        self._kept = text
        if self._clock.monotonic() - self._shown_at >= QUIET_S:
            self._shown_at = self._clock.monotonic()
            self.end()

    def tell(self, *lines: str) -> None:
        """Print lines that stay."""
        self.end()
        for line in lines:
            print(f"collector: {line}", file=self._stream, flush=True)

    def end(self) -> None:
        """Leave the last state standing."""
        if self._unfinished:
            print(file=self._stream, flush=True)
        if self._kept:
            print(self._kept, file=self._stream, flush=True)
        self._unfinished, self._kept = False, ""


def weather(settings: Settings, began: datetime) -> str:
    """Return what misbehaving providers cost since a moment: by cycle, oldest first, and by dataset."""
    cycles = wiring.load_status(settings, cycles=MOST_TOLD).cycles
    with wiring.open_database(settings) as database:
        found = gaps.load_gaps(CoverageStore(database), "", SystemClock().now())
        outcomes = load_outcomes(database, began, ranking=RANKING)
    missing = Counter((window.source, str(series.dataset)) for series, window in found.windows if window.state in OPEN)
    folders = [cycle.folder for cycle in cycles if cycle.started_at >= began][::-1]
    return demo.render_weather(settings, folders, outcomes, missing)


def read_request(arguments: argparse.Namespace, now: datetime) -> Request:
    """Return the range that the words of `backfill` name; ConfigError when it cannot be meant."""
    since = read_moment("--from", arguments.since)
    until = read_moment("--to", arguments.until) if arguments.until is not None else now
    series = read_series(arguments.series)
    if arguments.until is not None and since > until:
        raise ConfigError(f"--from: {arguments.since} is after --to {arguments.until}; swap them")
    if arguments.until is not None and since == until:
        raise ConfigError(f"--to: {arguments.until} is --from as well, and exclusive; name a later one")
    if since >= now:
        raise ConfigError(f"--from: {arguments.since} is in the future; name a moment that has passed, in UTC")
    return Request(series=series, since=since, until=until, source=arguments.source)


def read_series(text: str) -> Series:
    """Return the series that a text names, as okx:BTC-USDT:perp/1m or okx:BTC-USDT:perp/funding."""
    instrument, slash, length = text.rpartition("/")
    if slash and length == Dataset.FUNDING:
        return Series(instrument=instrument, dataset=Dataset.FUNDING)
    if not slash or length not in list(Interval):
        known = ", ".join([*Interval, "funding"])
        raise ConfigError(f"SERIES: {text!r} names no series; write it like okx:BTC-USDT:perp/1m, with one of {known}")
    return Series(instrument=instrument, dataset=Dataset.CANDLES, interval=Interval(length))


def read_moment(option: str, text: str) -> datetime:
    """Return a moment in UTC from ISO 8601; without a zone it is UTC already, without a time it is midnight."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{option}: {text!r} is no date; write 2026-01-31 or 2026-01-31T12:00") from error
