"""What `db timescale` does: reads the settings, calls, prints. Returns the exit code; errors are the caller's."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from collector import wiring
from collector.clock import SystemClock
from collector.config import Settings
from collector.exits import NOT_ALL_WELL, OK
from collector.records import Interval
from collector.storage.database import Database
from collector.storage.hypertables import aggregates, timescale

APACHE = (
    "licence apache: hypertables only; compression, policies and continuous aggregates need timescaledb.license = "
    "'timescale' on the server"
)

SINK = "not compressed: bigquery.enabled; a sink knows new rows by their transaction, which compressed rows do not keep"


def show_status(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what the server has, what is set up and what `enable` would do."""
    with wiring.open_database(settings) as database:
        state = timescale.load_state(database)
        left = _left(state, settings)
    if arguments.json:
        _print_json({**asdict(state), "left_to_do": [step.what for step in left]})
    else:
        print("\n".join(render(state, left, no_compression=settings.bigquery.enabled)))
    return OK


def enable(settings: Settings, arguments: argparse.Namespace) -> int:
    """Set up what the settings ask for, or with --dry-run print the statements."""
    if arguments.dry_run:
        return _rehearse(settings, arguments)
    with _alone(settings) as database:
        done = timescale.enable(database, wanted(settings), say=_say)
        state = timescale.load_state(database)
    _tell(done, state, arguments)
    return OK


def disable(settings: Settings, arguments: argparse.Namespace) -> int:
    """Turn hypertables back into partitions, or with --dry-run say which."""
    if arguments.dry_run:
        with wiring.open_database(settings) as database:
            state = timescale.load_state(database)
        left = [f"drop {item.name}" for item in state.aggregates]
        left += [f"turn {item.table} back into partitions" for item in state.tables if item.hypertable]
        _print_json({"left_to_do": left}) if arguments.json else print("\n".join(left) or "nothing to do")
        return OK
    with _alone(settings) as database:
        done = timescale.disable(database, say=_say)
        state = timescale.load_state(database)
    _tell(done, state, arguments)
    return OK


def compare(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compare the continuous aggregates with the stored candles: 0 if they agree."""
    since = SystemClock().now() - timedelta(days=arguments.days)
    intervals = [Interval(arguments.interval)] if arguments.interval else settings.timescale.aggregates
    with wiring.open_database(settings) as database:
        found = [aggregates.compare(database, interval, since, arguments.top) for interval in intervals]
    if arguments.json:
        _print_json([asdict(item) for item in found])
    else:
        print("\n".join(line for item in found for line in _comparison(item)) or "no aggregates in the settings")
    return NOT_ALL_WELL if any(item.differing for item in found) else OK


def wanted(settings: Settings) -> timescale.Wanted:
    """Return what the settings ask for. Raises ConfigError for ages that contradict each other."""
    part = settings.timescale
    after = {name: timedelta(days=days) for name, days in part.drop_after_days.items()}
    return timescale.Wanted(
        chunk=timedelta(days=part.chunk_days),
        # The sink knows new rows by the transaction that wrote them, which compressed rows do not keep.
        compress_after=None if settings.bigquery.enabled else timedelta(days=part.compress_after_days),
        drop_after=after,
        aggregates=part.aggregates,
    )


@contextmanager
def _alone(settings: Settings) -> Iterator[Database]:
    """Lend the database while nobody collects or keeps house."""
    with ExitStack() as stack:
        database = stack.enter_context(wiring.open_database(settings))
        database.upgrade()
        stack.enter_context(database.writer_lock())
        stack.enter_context(database.housekeeper_lock())
        yield database


def _left(state: timescale.State, settings: Settings) -> list[timescale.Step]:
    return timescale.steps(state, wanted(settings)) if state.support.available else []


def _rehearse(settings: Settings, arguments: argparse.Namespace) -> int:
    with wiring.open_database(settings) as database:
        state = timescale.load_state(database)
    timescale.refuse_unsupported(state.support)
    left = _left(state, settings)
    if arguments.json:
        _print_json([{"what": step.what, "statements": list(step.statements)} for step in left])
        return OK
    for step in left:
        copied = ["  copied month by month, compared, swapped in one transaction"] if step.converts else []
        print("\n".join([step.what, *copied, *(f"  {statement};" for statement in step.statements)]))
    print(f"{len(left)} steps; nothing was changed" if left else "nothing to do")
    return OK


def _tell(done: list[str], state: timescale.State, arguments: argparse.Namespace) -> None:
    if arguments.json:
        _print_json({"done": done, "state": asdict(state)})
        return
    print("\n".join(done) or "nothing to do")
    if state.support.licence == "apache":
        print(APACHE)


def render(state: timescale.State, left: list[timescale.Step], *, no_compression: bool = False) -> list[str]:
    """Return the status as lines."""
    support = state.support
    if support.installed is None:
        what = f"offered by the server ({support.available}), not used" if support.available else "not on this server"
        lines = [f"TimescaleDB: {what}; tables are cut by month by PostgreSQL itself"]
    else:
        lines = [f"TimescaleDB {support.installed}, licence {support.licence}"]
        lines += [APACHE] if not support.full else []
    for table in state.tables:
        lines.append(f"  {table.table:<18} {_described(table)}")
    for item in state.aggregates:
        every = f"refreshed every {item.refresh_every}" if item.refresh_every else "not refreshed: enable again"
        lines.append(f"  {item.name:<18} continuous aggregate, {every}; last refresh: {item.last_run or 'none yet'}")
    if state.unfinished:
        lines.append(f"interrupted: {', '.join(state.unfinished)}; `db timescale enable` goes on, `disable` drops it")
    if support.full and no_compression:
        lines.append(SINK)
    if left and support.available:
        lines.append(f"`db timescale enable` has {len(left)} steps left to do; --dry-run shows them")
    return lines


def _described(table: timescale.TableState) -> str:
    if not table.hypertable:
        return f"{table.pieces} partitions"
    parts = [f"hypertable, {table.pieces} chunks"]
    if table.chunk:
        parts.append(f"of {table.chunk.days} days")
    if table.compressed:
        saved = ""
        if table.bytes_before and table.bytes_after is not None:
            saved = f" ({table.bytes_before / 1e6:,.1f} MB became {table.bytes_after / 1e6:,.1f} MB)"
        parts.append(f"{table.compressed} compressed{saved}")
    if table.compress_after:
        parts.append(f"compressed from {table.compress_after.days} days")
    if table.drop_after:
        parts.append(f"dropped from {table.drop_after.days} days")
    return ", ".join(parts)


def _comparison(found: aggregates.Comparison) -> Iterator[str]:
    yield f"{aggregates.name_of(found.interval)}: {found.compared:,} bars compared, {found.differing:,} differ"
    for row in found.differences:
        names = [name for name in row if f"aggregated_{name}" in row]
        pairs = [(name, row[name], row[f"aggregated_{name}"]) for name in names]
        told = [f"{name} {one} / {other}" for name, one, other in pairs if None not in (one, other) and one != other]
        yield f"  {row['instrument']} {row['open_time']:%Y-%m-%d %H:%M} ({row['source']}): {', '.join(told)}"


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=_plain, indent=1))


def _plain(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
