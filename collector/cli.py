"""Every command: parses the line, calls, prints.

Exit codes: 0 done, 1 not all was well, 2 usage or settings, 3 another collector holds the lock, 70 a defect.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from collector import __version__, checkup, status, wiring
from collector.clock import SystemClock
from collector.config import Layer, Settings, explain, load_settings
from collector.errors import CollectorError, LockHeld
from collector.log import set_up_logging, tear_down_logging
from collector.records import CycleState, Dataset
from collector.simulator.venues import Simulator

OK, NOT_ALL_WELL, USAGE, LOCKED, DEFECT = 0, 1, 2, 3, 70


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    own, passed_on = _split_psql(sys.argv[1:] if words is None else words)
    arguments = build_parser().parse_args(own)
    arguments.passed_on = passed_on
    try:
        return int(arguments.command(arguments))
    except LockHeld as error:
        return _complain(str(error), LOCKED)
    except CollectorError as error:
        return _complain(str(error), USAGE)
    except BrokenPipeError:  # the reader of a pipe, as `head`, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130
    finally:
        tear_down_logging()


def _split_psql(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return our words and those for psql: whatever follows `psql` is its own, options like -c included."""
    if "psql" not in words:
        return words, ()
    place = words.index("psql") + 1
    return words[:place], words[place:]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Collects crypto market data from public providers into PostgreSQL. Without a command: run.",
        epilog="No network? `python main.py demo` shows everything against simulated providers.",
    )
    parser.add_argument("--version", action="version", version=f"Crypto Data Collector {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file instead of config/config.yaml")
    parser.add_argument(
        "--demo", action="store_true", help="work on the demo's database and logs, as in: --demo psql, --demo status"
    )
    parser.set_defaults(command=_run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_collecting(commands)
    _add_looking(commands)
    _add_administration(commands)
    return parser


def _add_collecting(commands: Any) -> None:
    command = commands.add_parser("run", help="collect on the schedule until Ctrl+C (the default)")
    command.set_defaults(command=_run)
    command = commands.add_parser(
        "once", help="run one cycle and exit: 0 only if it is ok; for cron and systemd timers"
    )
    command.add_argument("--cadence", metavar="NAME", help="which cadence; default: the first of the settings")
    command.add_argument("--json", action="store_true", help="print the cycle's report as JSON")
    command.set_defaults(command=_once)
    command = commands.add_parser("demo", help="collect from simulated providers on this machine; no network needed")
    command.add_argument(
        "--cycles", type=int, default=0, metavar="N", help="end after N cycles and print what was stored"
    )
    command.set_defaults(command=_demo)
    command = commands.add_parser("simulate", help="only the simulated providers, for other programs to poll")
    command.add_argument("--port", type=int, default=8900, help="port on 127.0.0.1; 0 picks a free one (default 8900)")
    command.add_argument("--assets", type=int, default=60, help="how many assets the simulated market has")
    command.add_argument("--seed", type=int, default=1, help="the market to simulate: same seed, same prices")
    command.add_argument("--latency-ms", type=float, default=0.0, help="time every answer is held back")
    command.add_argument("--no-limits", action="store_true", help="do not enforce the providers' rate limits")
    command.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
    command.add_argument("--attached", action="store_true", help="end when standard input closes")
    command.set_defaults(command=_simulate)


def _add_looking(commands: Any) -> None:
    command = commands.add_parser("status", help="last cycles, sources and what is stored")
    command.add_argument("--cycles", type=int, default=10, metavar="N", help="how many cycles to show (default 10)")
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command=_status)
    command = commands.add_parser(
        "psql", help="open psql on the database; what follows is psql's: psql -c 'select ...'"
    )
    command.set_defaults(command=_psql)
    command = commands.add_parser(
        "check-source", help="fetch one of each dataset of a source; print rows and freshness"
    )
    command.add_argument("name", metavar="NAME", help="a source of the settings, as okx")
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command=_check_source)
    command = commands.add_parser("logs", help="where the log files are")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    parts.add_parser("path", help="print the log folder; the newest cycle is in latest/").set_defaults(
        command=_logs_path
    )


def _add_administration(commands: Any) -> None:
    command = commands.add_parser("db", help="upgrade the database, or print its address")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    part = parts.add_parser("upgrade", help="bring the tables to this version")
    part.set_defaults(command=_db_upgrade)
    part = parts.add_parser("url", help="print the address for other programs (the password is left out)")
    part.set_defaults(command=_db_url)
    command = commands.add_parser("config", help="show the settings")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    part = parts.add_parser("explain", help="every setting: name, value, origin, meaning")
    part.add_argument("--json", action="store_true", help="print as JSON")
    part.set_defaults(command=_config_explain)


def _settings(arguments: argparse.Namespace, *overrides: Layer) -> Settings:
    demo = (wiring.demo_layer(),) if arguments.demo else ()
    return load_settings(file=arguments.config, overrides=(*demo, *overrides))[0]


def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    set_up_logging(settings.logs, console=sys.stderr)
    wiring.run_daemon(settings, say=_say)
    return OK


def _once(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    set_up_logging(settings.logs, console=sys.stderr)
    report = wiring.run_once(settings, arguments.cadence)
    if arguments.json:
        _print_json(asdict(report))
    return OK if report.state is CycleState.OK else NOT_ALL_WELL


def _demo(arguments: argparse.Namespace) -> int:
    arguments.demo = True
    with wiring.simulator_process() as addresses:
        settings = _settings(arguments, wiring.addresses_layer(addresses))
        set_up_logging(settings.logs, console=sys.stderr)
        wiring.run_daemon(settings, say=_say, cycles=arguments.cycles)
        if arguments.cycles:
            _say(status.render_inventory(wiring.load_status(settings, cycles=arguments.cycles)))
    return OK


def _simulate(arguments: argparse.Namespace) -> int:
    simulator = Simulator(
        seed=arguments.seed,
        assets=arguments.assets,
        latency_s=arguments.latency_ms / 1000,
        limits=not arguments.no_limits,
        port=arguments.port,
    )
    announce = functools.partial(_announce, as_json=arguments.json)
    wiring.serve_simulator(simulator, announce, attached=arguments.attached)
    return OK


def _announce(addresses: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(addresses), flush=True)
        return
    print("SIMULATED providers (made-up prices); stop with Ctrl+C", flush=True)
    for name, url in addresses.items():
        print(f"  {name:<16} {url}", flush=True)


def _status(arguments: argparse.Namespace) -> int:
    overview = wiring.load_status(_settings(arguments), cycles=arguments.cycles)
    if arguments.json:
        _print_json(asdict(overview))
    else:
        print(status.render(overview))
    return OK


def _psql(arguments: argparse.Namespace) -> int:
    with wiring.psql(_settings(arguments)) as (program, environment):
        return subprocess.run([program, *arguments.passed_on], env=environment, check=False).returncode  # noqa: S603


def _check_source(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    with wiring.one_source(settings, arguments.name) as collector:
        candles = settings.sources[arguments.name].datasets.get(Dataset.CANDLES)
        findings = list(checkup.check_source(collector, candles.intervals if candles else (), SystemClock()))
    if arguments.json:
        _print_json([asdict(finding) for finding in findings])
    else:
        print(checkup.render(arguments.name, findings))
    return OK if all(finding.ok for finding in findings) else NOT_ALL_WELL


def _db_upgrade(arguments: argparse.Namespace) -> int:
    with wiring.open_database(_settings(arguments)) as database:
        applied = database.upgrade()
        print(f"database is at {database.revision()}; applied now: {', '.join(applied) or 'nothing'}")
    return OK


def _db_url(arguments: argparse.Namespace) -> int:
    with wiring.open_database(_settings(arguments)) as database:
        print(database.safe_url)
    return OK


def _config_explain(arguments: argparse.Namespace) -> int:
    demo = (wiring.demo_layer(),) if arguments.demo else ()
    settings, layers = load_settings(file=arguments.config, overrides=demo)
    lines = explain(settings, layers)
    if arguments.json:
        _print_json([asdict(line) for line in lines])
        return OK
    width = max(len(line.name) for line in lines)
    for line in lines:
        print(f"{line.name:<{width}}  {line.value or '-':<28} [{line.origin}]  {line.description}")
    return OK


def _logs_path(arguments: argparse.Namespace) -> int:
    print(_settings(arguments).logs.directory)
    return OK


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=str, indent=1))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _complain(text: str, code: int) -> int:
    print(f"collector: {text}", file=sys.stderr)
    return code
