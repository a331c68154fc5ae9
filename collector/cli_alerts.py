"""What `alerts`, `alerts test`, `alerts check` and `metrics` do."""

import argparse
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from collector.alerts import rules
from collector.alerts.exposition import text_of
from collector.clock import SystemClock
from collector.config import Settings
from collector.errors import ConfigError
from collector.exits import NOT_ALL_WELL, OK
from collector.log import set_up_logging
from collector.printing import moment, table
from collector.storage.alerts import Alert, AlertStore
from collector.storage.database import Database
from collector.wiring import open_database
from collector.wiring_alerts import SIMULATED, build_alerts, build_figures

RECENT = 20
TURN_WITHIN_S, TURN_EVERY_S = 40.0, 0.5  # a look of the housekeeping ends within the time of its slowest target


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what fires, and what was over last."""
    with _open(settings) as database:
        found = AlertStore(database).recent(RECENT)
    if arguments.json:
        _print_json({"simulated": settings.simulated, "alerts": [asdict(alert) for alert in found]})
    else:
        print((SIMULATED if settings.simulated else "") + _told(found))
    return OK


def check(settings: Settings, arguments: argparse.Namespace) -> int:
    """Look once and print what is wrong; nothing is stored or sent."""
    with _open(settings) as database:
        found = build_alerts(settings, database, SystemClock()).look(SystemClock().now())
    if arguments.json:
        _print_json({"simulated": settings.simulated, "findings": [asdict(item) for item in found.findings]})
    elif found.findings:
        rows = [(item.severity, item.rule, item.subject, item.detail) for item in found.findings]
        print("\n".join([f"{len(rows)} found:", *table(("severity", "rule", "subject", "what"), rows)]))
    else:
        print(f"nothing is wrong, by {len(rules.RULES)} rules")
    return NOT_ALL_WELL if found.findings else OK


def test(settings: Settings, arguments: argparse.Namespace) -> int:
    """Send a test alert the whole way: 0 only if every target took it."""
    clock = SystemClock(threading.Event())
    set_up_logging(settings.logs, console=None, file="alerts.log")
    if not settings.alerts.addresses():
        raise ConfigError("alerts.targets: there is none; set COLLECTOR_ALERTS__TARGETS__<NAME>__URL, as tgram://...")
    with _open(settings) as database:
        alerts = build_alerts(settings, database, clock)
        deadline = clock.monotonic() + TURN_WITHIN_S
        results = alerts.test(clock.now())
        while results is None and clock.monotonic() < deadline:
            clock.sleep(TURN_EVERY_S)
            results = alerts.test(clock.now())
    if results is None:
        print("collector: another process is at the alerts and does not end; try again", file=sys.stderr)
        return NOT_ALL_WELL
    if arguments.json:
        _print_json({name: {"delivered": not reason, "reason": reason} for name, reason in results.items()})
    else:
        rows = [(name, "not delivered" if reason else "delivered", reason) for name, reason in results.items()]
        print("\n".join(table(("target", "test", "why"), rows)))
    return NOT_ALL_WELL if any(results.values()) or not results else OK


def metrics(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the collector's metrics for Prometheus, or put them into a file at once."""
    with _open(settings, read_only=True) as database:
        text = text_of(build_figures(settings, database, SystemClock())())
    if arguments.out is None:
        print(text, end="")
    else:
        _write_whole(arguments.out, text)
    return OK


@contextmanager
def _open(settings: Settings, *, read_only: bool = False) -> Iterator[Database]:
    """Lend the database. Raises ConfigError when its tables are not this program's."""
    with open_database(settings, read_only=read_only, name="collector alerts") as database:
        database.require_tables()
        yield database


def _write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable for node_exporter, which runs as somebody else."""
    if not path.name or path.is_dir():
        raise ConfigError(f"--out: {str(path)!r} is no file; write metrics.prom, for example")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _told(found: Sequence[Alert]) -> str:
    firing = [alert for alert in found if alert.open]
    over = [alert for alert in found if not alert.open]
    lines = ["nothing fires"] if not firing else ["firing:", *_table(firing)]
    return "\n".join([*lines, *(["", "over, newest first:", *_table(over)] if over else [])])


def _table(alerts: Sequence[Alert]) -> list[str]:
    rows = [
        (item.severity, item.rule, item.subject, moment(item.since), moment(item.resolved_at), item.told, item.detail)
        for item in alerts
    ]
    return table(("severity", "rule", "subject", "since", "until", "told", "what"), rows)


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=_plain, indent=1))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
