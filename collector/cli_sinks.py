"""What `sink status`, `sink run` and `sink estimate` do: read the settings, call, print. Errors are the caller's."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, NoReturn

from collector import wiring
from collector.cli_coverage import Screen
from collector.clock import SystemClock
from collector.config import Settings, format_duration
from collector.errors import ConfigError, SinkError
from collector.exits import NOT_ALL_WELL, OK
from collector.log import set_up_logging
from collector.printing import table
from collector.storage.database import Database
from collector.storage.outgoing.sinking import Watermark, distinct_errors

TIB = 2**40
LEAST_BILLED = 10 * 2**20  # bytes of each table that a query reads
MONTH = timedelta(days=30)
_TABLES_READ = 2  # by a MERGE: the table and what is staged


def status(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print how far every table outside has come and what waits for it."""
    with _sink(settings) as (sink, database):
        marks = sink.marks()
        waiting = sink.waiting()
        now = database.clock.now()
    rows = [_state(name, mark, waiting[name], now) for name, mark in marks.items()]
    if arguments.json:
        print(json.dumps(rows, default=str, indent=1))
    else:
        print(_render_status(rows))
    return NOT_ALL_WELL if any(row["error"] for row in rows) else OK


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Send what is new: with `once` everything there is now, otherwise as the housekeeping does until Ctrl+C."""
    set_up_logging(settings.logs, console=None)
    screen = Screen(sys.stderr, SystemClock())
    with _sink(settings, told=lambda name, rows: screen.show(f"{name}: {rows:,} rows sent")) as (sink, _):
        try:
            if arguments.again:
                sink.begin_anew()
            if not arguments.once:
                _run_on(sink, arguments, screen)
            said = sink.send_all()
        finally:
            screen.end()
    _tell(said, as_json=arguments.json)
    return OK


def _run_on(sink: Any, arguments: argparse.Namespace, screen: Screen) -> NoReturn:
    """Send as the housekeeping does, until Ctrl+C."""
    clock = SystemClock()
    while True:
        if sink.due(clock.now()):
            try:
                said = sink.run(clock.now())
            except SinkError as error:
                screen.tell(str(error))
            else:
                screen.end()
                if said:
                    _tell(said, as_json=arguments.json)
        clock.sleep(1.0)


def estimate(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what sending costs, by BigQuery's own estimate of a MERGE into each table as it is now."""
    chosen = settings.bigquery
    turns = MONTH / chosen.buffer_age
    rows = []
    with _sink(settings) as (sink, _):
        waiting = sink.waiting()
        for name, found in sink.merge_bytes().items():
            billed = max(found, _TABLES_READ * LEAST_BILLED)
            price = Decimal(billed) / TIB * chosen.usd_per_tib
            rows.append(
                {
                    "table": name,
                    "waiting_rows": waiting[name],
                    "merge_bytes": found,
                    "billed_bytes": billed,
                    "usd_per_merge": round(price, 6),
                    "usd_per_month": round(price * Decimal(turns), 2),
                }
            )
    if arguments.json:
        print(json.dumps(rows, default=str, indent=1))
    elif rows:
        print(_render_estimate(settings, rows))
    else:
        print("nothing was sent yet, so there is nothing to estimate by; python main.py sink run --once sends it")
    return OK


@contextmanager
def _sink(
    settings: Settings, told: Callable[[str, int], None] = lambda _name, _rows: None
) -> Iterator[tuple[Any, Database]]:
    if not settings.bigquery.project:
        raise ConfigError(
            "bigquery.project: is empty, so nothing goes to BigQuery; write it like my-project-123 (docs/bigquery.md)"
        )
    from collector.sinks.bigquery.sink import BigQuerySink  # noqa: PLC0415 - Google's libraries take a second

    with wiring.open_database(settings) as database:
        database.require_tables()
        sink = BigQuerySink(settings.bigquery, sorted(settings.sources), database, SystemClock(), told=told)
        with closing(sink):
            yield sink, database


def _tell(said: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(said or {"rows": 0, "tables": 0}), flush=True)
    else:
        print(f"sent {said['rows']:,} rows to {said['tables']} tables" if said else "nothing to send", flush=True)


def _state(name: str, mark: Watermark, waiting: int, now: Any) -> dict[str, Any]:
    behind = None if mark.recent_at is None else max(0, round((now - mark.recent_at).total_seconds()))
    return {
        "table": name,
        "target": mark.target,
        "waiting_rows": waiting,
        "behind_s": behind,
        "recent_until": mark.recent_at,
        "all_until": mark.full_at,
        "rows_sent": mark.rows_sent,
        "bytes_loaded": mark.bytes_loaded,
        "bytes_merged": mark.bytes_merged,
        "answers_lost": mark.answers_lost,
        "lost_until": mark.lost_until,
        "error": mark.error,
        "failed_at": mark.failed_at,
    }


def _render_status(rows: list[dict[str, Any]]) -> str:
    shown = [
        [
            row["table"],
            f"{row['waiting_rows']:,}",
            "never sent" if row["behind_s"] is None else f"{row['behind_s']:,} s",
            f"{row['rows_sent']:,}",
            _megabytes(row["bytes_loaded"]),
            _megabytes(row["bytes_merged"]),
        ]
        for row in rows
    ]
    lines = table(["table", "waiting", "behind", "rows sent", "loaded", "merged"], shown)
    lines += [
        f"{row['table']}: {row['answers_lost']:,} answers were deleted by age before they were sent, "
        f"the last of {row['lost_until']:%Y-%m-%d %H:%M} UTC"
        for row in rows
        if row["answers_lost"]
    ]
    since = {row["table"]: row["failed_at"] for row in rows}
    for tables, error in distinct_errors({row["table"]: row["error"] for row in rows}):
        earliest = min(since[name] for name in tables)
        lines.append(f"{', '.join(tables)}: {error} (since {earliest:%Y-%m-%d %H:%M})")
    return "\n".join(lines)


def _render_estimate(settings: Settings, rows: list[dict[str, Any]]) -> str:
    shown = [
        [
            row["table"],
            f"{row['waiting_rows']:,}",
            _megabytes(row["merge_bytes"]),
            _megabytes(row["billed_bytes"]),
            f"{row['usd_per_merge']:.6f}",
            f"{row['usd_per_month']:,.2f}",
        ]
        for row in rows
    ]
    total = sum((row["usd_per_month"] for row in rows), Decimal(0))
    every, price = format_duration(settings.bigquery.buffer_age), settings.bigquery.usd_per_tib
    lines = table(["table", "waiting", "a MERGE reads", "billed", "USD each", "USD a month"], shown)
    lines.append(f"together {total:,.2f} USD a month, with a batch every {every} and {price} USD per TiB")
    lines.append("load jobs cost nothing; storage and your own queries are not counted")
    return "\n".join(lines)


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MB"
