"""What each command does: reads the settings, calls, prints. Returns the exit code; errors are left to the caller."""

import argparse
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from collector import providers, status, wiring
from collector.clock import SystemClock
from collector.companion import Companion
from collector.config import ROOT, Layer, Settings, environment_name, explain, load_settings
from collector.errors import ConfigError
from collector.exits import NOT_ALL_WELL, OK, USAGE
from collector.log import set_up_logging, tear_down_logging
from collector.plan import render_proof
from collector.records import CycleState, Dataset
from collector.sources import SOURCES

if TYPE_CHECKING:
    from collector.simulator.faults import Faults

Command = Callable[[argparse.Namespace], int]


def execute(arguments: argparse.Namespace) -> int:
    """Run the command that the parser named and return its exit code."""
    try:
        return COMMANDS[arguments.command](arguments)
    finally:
        tear_down_logging()


def _settings(arguments: argparse.Namespace, *overrides: Layer) -> Settings:
    return _settings_and_layers(arguments, *overrides)[0]


def _settings_and_layers(arguments: argparse.Namespace, *overrides: Layer) -> tuple[Settings, tuple[Layer, ...]]:
    if not arguments.demo:
        return load_settings(file=arguments.config, overrides=overrides)
    from collector import demo  # noqa: PLC0415 - the simulator, a sixth of a start, which real work never needs

    settings, layers = load_settings(file=arguments.config, overrides=(demo.demo_layer(), *overrides))
    return demo.apart(settings), layers


def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    set_up_logging(settings.logs, console=sys.stderr)
    beside = [*_api_process(arguments, settings), *_housekeeping_process(arguments, settings)]
    wiring.run_daemon(settings, say=_say, beside=beside, analyst=_analyst_process(arguments, settings))
    return OK


def _collect(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    set_up_logging(settings.logs, console=sys.stderr)
    wiring.run_daemon(settings, say=_say, analyst=_analyst_process(arguments, settings))
    return OK


def _api_process(arguments: argparse.Namespace, settings: Settings, **addresses: str) -> list[Companion]:
    """Return the API as a process beside the collector, with the same settings; none when it is switched off."""
    if not settings.api.enabled:
        return []
    named = {environment_name(f"sources.{source}.base_url"): url for source, url in addresses.items()}
    return [Companion("api_ended", [*_program(arguments), "api", "--attached"], {**os.environ, **named}, SystemClock())]


def _analyst_process(arguments: argparse.Namespace, settings: Settings) -> Companion | None:
    """Return what makes the analytics, as a process beside the collector; None when they are switched off."""
    if not settings.analytics.enabled:
        return None
    command = [*_program(arguments), "analyse", "--attached"]
    return Companion("analyst_ended", command, dict(os.environ), SystemClock())


def _housekeeping_process(arguments: argparse.Namespace, settings: Settings) -> list[Companion]:
    """Return what does the chores, as a process beside the collector; none when all of them are switched off."""
    parts = (settings.export, settings.bigquery, settings.retention, settings.backups, settings.alerts)
    if not any(part.enabled for part in parts):
        return []
    if settings.alerts.enabled and (settings.alerts.targets or settings.alerts.without):
        from collector.wiring_alerts import check_alerts  # noqa: PLC0415 - Apprise, only where there is a target

        check_alerts(settings)
    command = [*_program(arguments), "housekeep", "--attached"]
    return [Companion("housekeeping_ended", command, dict(os.environ), SystemClock())]


def _program(arguments: argparse.Namespace) -> list[str]:
    """Return the beginning of a command line of our own with the same settings."""
    chosen = ["--config", str(arguments.config)] if arguments.config else []
    return [sys.executable, str(ROOT / "main.py"), *chosen, *(["--demo"] if arguments.demo else [])]


def _api(arguments: argparse.Namespace) -> int:
    from collector import cli_api  # noqa: PLC0415 - what only the API's own process shall load

    return cli_api.run(_settings(arguments), attached=arguments.attached)


def _housekeep(arguments: argparse.Namespace) -> int:
    from collector import cli_housekeeping  # noqa: PLC0415 - what only its own process shall load

    return cli_housekeeping.run(_settings(arguments), attached=arguments.attached, once=arguments.once)


def _api_token(arguments: argparse.Namespace) -> int:
    from collector import cli_api  # noqa: PLC0415 - the same

    return cli_api.token(_settings(arguments))


def _once(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    set_up_logging(settings.logs, console=sys.stderr)
    report = wiring.run_once(settings, arguments.cadence)
    if arguments.json:
        _print_json(asdict(report))
    return OK if report.state is CycleState.OK else NOT_ALL_WELL


def _demo(arguments: argparse.Namespace) -> int:
    from collector import cli_coverage, demo  # noqa: PLC0415 - as in `_settings_and_layers`

    arguments.demo = True
    _faults(arguments)
    began = SystemClock().now()
    with demo.simulator_process(arguments.faults, _tell_faults) as addresses:
        settings = _settings(arguments, demo.addresses_layer(addresses))
        set_up_logging(settings.logs, console=sys.stderr)
        served = {name: url for name, url in addresses.items() if name in settings.sources}
        beside = [*_api_process(arguments, settings, **served), *_housekeeping_process(arguments, settings)]
        analyst = _analyst_process(arguments, settings)
        wiring.run_daemon(settings, say=_say, cycles=arguments.cycles, beside=beside, analyst=analyst)
        if arguments.cycles:
            _say(status.render_inventory(wiring.load_status(settings, cycles=arguments.cycles)))
            _say(_found_so_far(settings))
            _say(demo.LOOK_FURTHER)
        if arguments.faults:
            _say(cli_coverage.weather(settings, began))
    return OK


def _found_so_far(settings: Settings) -> str:
    from collector import cli_analytics  # noqa: PLC0415 - pandas, which only its commands need

    return cli_analytics.found_so_far(settings)


def _faults(arguments: argparse.Namespace) -> "Faults | None":
    from collector.simulator.faults import Faults  # noqa: PLC0415 - the same

    try:
        return Faults.named(arguments.faults, getattr(arguments, "seed", 1)) if arguments.faults else None
    except ValueError as error:
        raise ConfigError(f"--faults: {error}") from error


def _tell_faults(counts: dict[str, int]) -> None:
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))
    _say(f"the simulated providers misbehaved in {sum(counts.values())} answers: {told or 'nothing'}")


def _simulate(arguments: argparse.Namespace) -> int:
    from collector import demo  # noqa: PLC0415 - the same
    from collector.simulator.venues import Simulator  # noqa: PLC0415

    announce = functools.partial(_announce, as_json=arguments.json)
    faults = _faults(arguments)
    try:
        simulator = Simulator(
            seed=arguments.seed,
            assets=arguments.assets,
            latency_s=arguments.latency_ms / 1000,
            limits=not arguments.no_limits,
            port=arguments.port,
            interceptor=faults,
        )
        demo.serve_simulator(simulator, announce, attached=arguments.attached)
        if faults:
            print(json.dumps(faults.counts()), flush=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"--port: {arguments.port} cannot be used ({reason}); name another, or 0 for any") from error
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


def _plan(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    proof = providers.build_proof(settings)
    if arguments.json:
        _print_json({**asdict(proof), "fits": proof.fits, "simulated": settings.simulated})
    else:
        print(status.label(settings.simulated) + render_proof(proof))
    return OK if proof.fits else USAGE


def _replay(arguments: argparse.Namespace) -> int:
    from collector import replay  # noqa: PLC0415 - what no other command needs
    from collector.fallback import stand_in, translated  # noqa: PLC0415

    parsers = {name: kind.parsers for name, kind in SOURCES.items()}
    with ExitStack() as stack:
        database = stack.enter_context(wiring.open_database(_settings(arguments)))
        database.require_tables()
        if arguments.write:
            stack.enter_context(database.writer_lock())
        found = replay.replay(
            database,
            arguments.cycle,
            parsers=parsers,
            after_parse=stand_in,
            skip=translated,
            write=arguments.write,
        )
    if arguments.json:
        _print_json({**asdict(found), "same": not found.differences})
    else:
        print(replay.render(found))
    return NOT_ALL_WELL if found.differences else OK


def _psql(arguments: argparse.Namespace) -> int:
    with wiring.psql(_settings(arguments)) as (program, environment):
        return subprocess.run([program, *arguments.passed_on], env=environment, check=False).returncode  # noqa: S603


def _check_source(arguments: argparse.Namespace) -> int:
    from collector import checkup  # noqa: PLC0415 - what no other command needs

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
    settings, layers = _settings_and_layers(arguments)
    lines = explain(settings, layers)
    if arguments.json:
        _print_json([asdict(line) for line in lines])
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            print(f"{line.name:<{width}}  {line.value or '-':<28} [{line.origin}]  {line.description}")
    wiring.check_settings(settings)  # what only a start would say otherwise
    return OK


def _logs_path(arguments: argparse.Namespace) -> int:
    print(_settings(arguments).logs.directory)
    return OK


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=str, indent=1))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _later(module: str, function: str) -> Command:
    """Return a command whose module is imported when it runs: each loads packages that no other one needs."""

    def run(arguments: argparse.Namespace) -> int:
        return int(getattr(import_module(f"collector.{module}"), function)(_settings(arguments), arguments))

    return run


LATER = {
    "cli_coverage": {"gaps": "show_gaps", "backfill": "backfill"},
    "cli_analytics": {"trends": "trends", "signals": "signals", "portfolio": "portfolio", "analyse": "analyse"},
    "cli_backtest": {"backtest": "backtest"},
    "cli_watch": {"watch": "watch"},
    "cli_release": {"db_downgrade": "downgrade"},
    "cli_database": {"db_backup": "backup", "db_backups": "show", "db_restore": "restore"},
    "cli_timescale": {
        "db_timescale_status": "show_status",
        "db_timescale_enable": "enable",
        "db_timescale_disable": "disable",
        "db_timescale_compare": "compare",
    },
    "cli_alerts": {"alerts": "show", "alerts_test": "test", "alerts_check": "check", "metrics": "metrics"},
    "cli_files": {"export": "export", "verify": "verify", "import": "import_files", "query": "query"},
    "cli_retention": {
        "retention": "run",
        "retention_months": "months",
        "retention_verify": "verify",
        "retention_seal": "seal",
        "retention_restore": "restore",
        "disk": "disk",
    },
    "cli_sinks": {"sink_status": "status", "sink_run": "run", "sink_estimate": "estimate"},
}
"""Module -> command -> its function, which takes the settings and the words."""

COMMANDS: dict[str, Command] = {
    "run": _run,
    "collect": _collect,
    "api": _api,
    "api_token": _api_token,
    "housekeep": _housekeep,
    "once": _once,
    "demo": _demo,
    "simulate": _simulate,
    "status": _status,
    "plan": _plan,
    "replay": _replay,
    "psql": _psql,
    "check_source": _check_source,
    "db_upgrade": _db_upgrade,
    "db_url": _db_url,
    "config_explain": _config_explain,
    "logs_path": _logs_path,
    **{name: _later(module, function) for module, made in LATER.items() for name, function in made.items()},
}
