"""The command line: every command with its options, and what an error becomes.

Only the parser is here, so that --help, --version and a typo need not wait for the imports of the commands.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from collector import __version__
from collector.errors import CollectorError, LockHeld, Verdict
from collector.exits import DEFECT, LOCKED, NOT_ALL_WELL, OK, USAGE

__all__ = ["DEFECT", "LOCKED", "NOT_ALL_WELL", "OK", "USAGE", "build_parser", "main"]


# Python looks for cycles of garbage after 700 new objects: a quarter of a backfill's time, for nothing that is one.
GARBAGE = (50_000, 20, 100)
STRATEGIES = ("ema_cross", "ema_fitted", "momentum", "cap_weighted", "hold", "black_litterman")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    gc.set_threshold(*GARBAGE)
    own, passed_on = _split_psql(sys.argv[1:] if words is None else words)
    arguments = build_parser().parse_args(own)
    arguments.passed_on = passed_on
    try:
        from collector import cli_commands  # noqa: PLC0415 - takes most of a second

        return cli_commands.execute(arguments)
    except LockHeld as error:
        return _complain(str(error), LOCKED)
    except CollectorError as error:
        return _complain(str(error), NOT_ALL_WELL if error.verdict is Verdict.RETRY else USAGE)
    except BrokenPipeError:  # the reader of a pipe, as `head`, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130


def _split_psql(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return our words and those for psql: whatever follows `psql` is its own, options like -c included."""
    if "psql" not in words:
        return words, ()
    place = words.index("psql") + 1
    return words[:place], words[place:]


class Parser(argparse.ArgumentParser):
    """Refuses words in one line, as every other error is told."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"collector: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = Parser(
        prog="main.py",
        description="Collects crypto market data from public providers into PostgreSQL. Without a command: run.",
        epilog="No network? `python main.py demo` shows everything against simulated providers.",
    )
    parser.add_argument("--version", action="version", version=f"Crypto Data Collector {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file instead of config/config.yaml")
    parser.add_argument(
        "--demo", action="store_true", help="work on the demo's database and logs, as in: --demo psql, --demo status"
    )
    parser.set_defaults(command="run")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_collecting(commands)
    _add_looking(commands)
    _add_analysing(commands)
    _add_administration(commands)
    _add_watch(commands)
    _add_housekeeping(commands)
    _add_alerts(commands)
    _add_files(commands)
    _add_retention(commands)
    _add_sinks(commands)
    return parser


def _whole(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds, for an option."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return read


def _add_collecting(commands: Any) -> None:
    command = commands.add_parser("run", help="collect on the schedule and serve the API until Ctrl+C (the default)")
    command.set_defaults(command="run")
    command = commands.add_parser("collect", help="only collect, without the API and the housekeeping")
    command.set_defaults(command="collect")
    command = commands.add_parser(
        "once", help="run one cycle and exit: 0 only if it is ok; for cron and systemd timers"
    )
    command.add_argument("--cadence", metavar="NAME", help="which cadence; default: the first of the settings")
    command.add_argument("--json", action="store_true", help="print the cycle's report as JSON")
    command.set_defaults(command="once")
    command = commands.add_parser("backfill", help="fetch a range of one series: 0 only if all of it is held then")
    command.add_argument("series", metavar="SERIES", help="as okx:BTC-USDT:perp/1m, or .../funding")
    command.add_argument(
        "--from",
        required=True,
        dest="since",
        metavar="TIME",
        help="start, inclusive: 2026-01-31 or 2026-01-31T12:00, UTC",
    )
    command.add_argument("--to", dest="until", metavar="TIME", help="end, exclusive; default: now")
    command.add_argument("--source", metavar="NAME", help="ask this provider instead of the series' own")
    command.set_defaults(command="backfill")
    command = commands.add_parser("demo", help="collect from simulated providers on this machine; no network needed")
    command.add_argument(
        "--cycles",
        type=_whole(0),
        default=0,
        metavar="N",
        help="end after N cycles of the first cadence and print what was stored",
    )
    _add_faults(command)
    command.set_defaults(command="demo")
    command = commands.add_parser("simulate", help="only the simulated providers, for other programs to poll")
    command.add_argument(
        "--port", type=_whole(0, 65_535), default=8900, help="port on 127.0.0.1; 0 picks a free one (default 8900)"
    )
    command.add_argument(
        "--assets", type=_whole(45, 600), default=60, help="how many assets the simulated market has: 45 to 600"
    )
    command.add_argument("--seed", type=int, default=1, help="the market to simulate: same seed, same prices")
    command.add_argument("--latency-ms", type=_whole(0, 60_000), default=0, help="time every answer is held back")
    command.add_argument("--no-limits", action="store_true", help="do not enforce the providers' rate limits")
    _add_faults(command)
    command.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
    command.add_argument("--attached", action="store_true", help="end when standard input closes")
    command.set_defaults(command="simulate")


def _add_faults(command: Any) -> None:
    command.add_argument(
        "--faults", default="", metavar="NAME", help="let the providers misbehave by this script: storm, all at once"
    )


def _add_looking(commands: Any) -> None:
    command = commands.add_parser("status", help="last cycles, sources and what is stored")
    command.add_argument(
        "--cycles", type=_whole(1), default=10, metavar="N", help="how many cycles to show (default 10)"
    )
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command="status")
    command = commands.add_parser(
        "plan", help="prove that the schedule fits every provider's limits: 0 if it does, 2 if not"
    )
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command="plan")
    command = commands.add_parser(
        "replay", help="parse a cycle's kept answers again and compare with what it stored: 0 if it is the same"
    )
    command.add_argument("cycle", type=_whole(1, 2**63 - 1), metavar="CYCLE", help="number of the cycle, as in status")
    command.add_argument("--write", action="store_true", help="store the corrected rows as revisions")
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command="replay")
    command = commands.add_parser("gaps", help="what is not held of candles and funding, exact windows and why")
    command.add_argument(
        "series",
        nargs="?",
        metavar="SERIES",
        help="its beginning is enough: okx:BTC-USDT:perp/1m; then all its windows",
    )
    command.add_argument(
        "--rescan", action="store_true", help="compare with the stored rows first; not while collecting"
    )
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command="gaps")
    command = commands.add_parser(
        "psql", help="open psql on the database; what follows is psql's: psql -c 'select ...'"
    )
    command.set_defaults(command="psql")
    command = commands.add_parser(
        "check-source", help="fetch one of each dataset of a source; print rows and freshness"
    )
    command.add_argument("name", metavar="NAME", help="a source of the settings, as okx")
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command="check_source")
    command = commands.add_parser("logs", help="where the log files are")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    parts.add_parser("path", help="print the log folder; the newest cycle is in latest/").set_defaults(
        command="logs_path"
    )


def _add_analysing(commands: Any) -> None:
    command = commands.add_parser("trends", help="trend and risk of assets, from stored daily bars")
    command.add_argument("subjects", nargs="*", metavar="SUBJECT", help="assets (bitcoin), instruments or venues (okx)")
    command.add_argument("--span", default="30d", help="how far back, one of analytics.trends.spans (default 30d)")
    command.add_argument("--since", default="", metavar="TIME", help="also the return of what was bought then")
    command.add_argument("--instruments", action="store_true", help="instruments instead of assets")
    command.add_argument("--breadth", action="store_true", help="how many assets rise and fall")
    command.add_argument("--factors", action="store_true", help="what market, size, momentum ... earned")
    _add_table(command, "trends")
    command = commands.add_parser("signals", help="what closed bars say: a view per asset, or the states of some")
    command.add_argument("subjects", nargs="*", metavar="SUBJECT", help="assets (bitcoin) or instruments (okx:BTC-)")
    command.add_argument("--recent", type=_whole(1), default=0, metavar="N", help="the newest N signals instead")
    command.add_argument("--performance", action="store_true", help="how often stored signals were right")
    _add_table(command, "signals")
    command = commands.add_parser("portfolio", help="Black-Litterman weights from market caps, prices and signals")
    command.add_argument("--history", action="store_true", help="the stored runs instead")
    command.add_argument("--equity", action="store_true", help="what the stored ones would have earned instead")
    _add_table(command, "portfolio")
    _add_backtest(commands)
    _add_analyst(commands)


def _add_analyst(commands: Any) -> None:
    command = commands.add_parser("analyse", help="make all analytics of stored rows now, as `run` does after cycles")
    command.add_argument(
        "--attached", action="store_true", help="those of each cycle told on standard input, until it closes"
    )
    command.set_defaults(command="analyse")


def _add_backtest(commands: Any) -> None:
    command = commands.add_parser("backtest", help="what a strategy would have earned on stored bars, costs included")
    command.add_argument("strategy", metavar="STRATEGY", choices=STRATEGIES, help=f"one of {', '.join(STRATEGIES)}")
    command.add_argument("--from", dest="since", default="", metavar="TIME", help="start (UTC); default a year before")
    command.add_argument("--to", default="", metavar="TIME", help="end (UTC); default now")
    command.add_argument("--interval", choices=("1h", "4h", "1d"), default="1d", help="bars (default 1d)")
    command.add_argument("--assets", nargs="+", default=[], metavar="ASSET", help="these instead of the largest")
    command.add_argument("--perpetuals", action="store_true", help="perpetuals with their funding instead of spot")
    command.add_argument("--pairs", default="", metavar="F/S", help="ema_cross, ema_fitted: averages")
    command.add_argument(
        "--walk-forward", default="180/30", metavar="N/M", help="ema_fitted: choose on N bars, every M (default 180/30)"
    )
    command.add_argument("--lookback", type=_whole(1), default=28, metavar="N", help="momentum: bars (default 28)")
    command.add_argument("--winners", type=_whole(1), default=5, metavar="N", help="momentum: assets (default 5)")
    command.add_argument("--rebalance", choices=("bar", "1d", "1w", "1M", "once"), default="1w", help="default 1w")
    command.add_argument("--fee", type=float, default=0.001, help="share of what is traded (default 0.001)")
    command.add_argument(
        "--slippage-bps", type=float, default=5.0, metavar="BPS", help="hundredths of a %% (default 5)"
    )
    command.add_argument(
        "--minimum-coverage", type=float, default=0.95, metavar="X", help="share of bars an asset needs (default 0.95)"
    )
    command.add_argument("--on-holes", choices=("refuse", "warn"), default="refuse", help="below it (default refuse)")
    command.add_argument("--report", type=Path, metavar="FILE", help="write a report that opens without a network")
    command.add_argument(
        "--sweep", default="", metavar="FAST,SLOW", help="try many averages instead, as 5..25:5,30..120:10"
    )
    _add_table(command, "backtest", store=False)


def _add_table(command: Any, name: str, *, store: bool = True) -> None:
    """Add the options of a command that shows a table of a moment."""
    if store:
        command.add_argument("--as-of", default="", metavar="TIME", help="as it was known then (UTC); default now")
    most = "most rows (default 50)" if store else "assets to choose from, and rows of a sweep (default 50)"
    command.add_argument("--top", type=_whole(1), default=50, metavar="N", help=most)
    if store:
        command.add_argument("--store", action="store_true", help="store what is computed, as the collector does")
    command.add_argument("--json", action="store_true", help="print everything as JSON")
    command.add_argument("--csv", action="store_true", help="print everything as CSV")
    command.set_defaults(command=name)


def _add_administration(commands: Any) -> None:
    command = commands.add_parser("api", help="only serve the data API until Ctrl+C")
    command.add_argument("--attached", action="store_true", help="end when standard input closes")
    command.set_defaults(command="api")
    parts = command.add_subparsers(metavar="WHAT")
    part = parts.add_parser("token", help="make a token for clients of the API; print it and its setting")
    part.set_defaults(command="api_token")
    command = commands.add_parser("db", help="upgrade the database, or print its address")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    part = parts.add_parser("upgrade", help="bring the tables to this version")
    part.set_defaults(command="db_upgrade")
    part = parts.add_parser("downgrade", help="take the tables back to those of an earlier release, to run that again")
    part.add_argument("revision", metavar="REVISION", help="schema of the earlier release, as 0004; see CHANGELOG.md")
    part.add_argument("--yes", action="store_true", help="do it; without it only what would be done is said")
    part.set_defaults(command="db_downgrade")
    part = parts.add_parser("url", help="print the address for other programs (the password is left out)")
    part.set_defaults(command="db_url")
    _add_backups(parts)
    _add_timescale(parts)
    command = commands.add_parser("config", help="show the settings")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    part = parts.add_parser("explain", help="every setting: name, value, origin, meaning")
    part.add_argument("--json", action="store_true", help="print as JSON")
    part.set_defaults(command="config_explain")


def _add_housekeeping(commands: Any) -> None:
    command = commands.add_parser(
        "housekeep", help="sinks, exports, retention, backups and alerts, as `run` does beside the collector"
    )
    command.add_argument("--once", action="store_true", help="do what is due and end: 0 if nothing failed")
    command.add_argument("--attached", action="store_true", help="end when standard input closes")
    command.set_defaults(command="housekeep")


def _seconds(text: str) -> float:
    """Return a length of time for an option."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:  # noqa: PLR2004 - an hour
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 3600")
    return value


def _add_watch(commands: Any) -> None:
    command = commands.add_parser("watch", help="what the collector does now, on the terminal, until q or Ctrl+C")
    command.add_argument("--once", action="store_true", help="print one picture and exit: 1 when there is no database")
    command.add_argument("--json", action="store_true", help="print each picture as one line of JSON")
    command.add_argument(
        "--every", type=_seconds, default=2.0, metavar="SECONDS", help="time between two looks (default 2)"
    )
    command.set_defaults(command="watch")


def _add_backups(parts: Any) -> None:
    part = parts.add_parser("backup", help="make a backup, also while a collector works: 0 only if it is verified")
    part.add_argument("--out", type=Path, metavar="FOLDER", help="where to; default: backups.folder of the settings")
    part.add_argument("--no-verify", action="store_true", help="do not restore a copy of it to compare")
    part.add_argument("--json", action="store_true", help="print as JSON")
    part.set_defaults(command="db_backup")
    part = parts.add_parser("backups", help="the backups there are: 0 only if one of them is verified")
    part.add_argument("--out", type=Path, metavar="FOLDER", help="where; default: backups.folder of the settings")
    part.add_argument("--json", action="store_true", help="print as JSON")
    part.set_defaults(command="db_backups")
    part = parts.add_parser("restore", help="put a backup in the place of the database; not while a collector works")
    part.add_argument("backup", metavar="BACKUP", help="its name in the folder, its path, or latest (verified)")
    part.add_argument("--into", metavar="URL", help="this database instead of the configured one; made if missing")
    part.add_argument("--replace", action="store_true", help="even if rows are lost that stand there now")
    part.add_argument("--yes", action="store_true", help="do not ask before rows are replaced")
    part.add_argument("--json", action="store_true", help="print as JSON")
    part.set_defaults(command="db_restore")


def _add_timescale(parts: Any) -> None:
    command = parts.add_parser("timescale", help="hypertables, compression and aggregates, where the server has them")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    part = parts.add_parser("status", help="what the server has, what is set up, what is left to do")
    part.set_defaults(command="db_timescale_status")
    _add_json(part)
    for name, text in (
        ("enable", "set up what the settings ask for, keeping every row; not while collecting"),
        ("disable", "turn hypertables back into monthly partitions, keeping every row; not while collecting"),
    ):
        part = parts.add_parser(name, help=text)
        part.add_argument("--dry-run", action="store_true", help="only say what would be done")
        _add_json(part)
        part.set_defaults(command=f"db_timescale_{name}")
    part = parts.add_parser("compare", help="aggregated candles against the stored ones: 0 if they agree")
    part.add_argument("--interval", choices=("5m", "15m", "1h", "4h", "1d"), help="only these; default all set")
    part.add_argument("--days", type=_whole(1, 36_500), default=7, metavar="N", help="how far back (default 7)")
    part.add_argument("--top", type=_whole(0), default=20, metavar="N", help="most differences listed (default 20)")
    _add_json(part)
    part.set_defaults(command="db_timescale_compare")


def _add_json(part: Any) -> None:
    part.add_argument("--json", action="store_true", help="print as JSON")


def _add_alerts(commands: Any) -> None:
    command = commands.add_parser("alerts", help="what fires, and what was over last")
    command.set_defaults(command="alerts")
    _add_json(command)
    parts = command.add_subparsers(metavar="WHAT")
    part = parts.add_parser("test", help="send a test alert the whole way: 0 only if every target took it")
    part.set_defaults(command="alerts_test")
    _add_json(part)
    part = parts.add_parser("check", help="look once, without telling anybody: 1 if anything is wrong; for cron")
    part.set_defaults(command="alerts_check")
    _add_json(part)
    command = commands.add_parser("metrics", help="the collector's metrics as Prometheus reads them")
    command.add_argument("--out", type=Path, metavar="FILE", help="put them there at once, for node_exporter")
    command.set_defaults(command="metrics")


def _add_files(commands: Any) -> None:
    command = commands.add_parser("export", help="datasets as Parquet, CSV or JSON lines, with a manifest")
    command.add_argument("datasets", nargs="+", metavar="DATASET", help="tables, as candles funding_rates signals")
    command.add_argument("--from", dest="since", default="", metavar="TIME", help="start, inclusive (UTC)")
    command.add_argument("--to", dest="until", default="", metavar="TIME", help="end, exclusive (UTC)")
    command.add_argument("--format", choices=("parquet", "csv", "jsonl"), default="parquet", help="default parquet")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="new, empty, or of an earlier export")
    command.add_argument("--as-of", default="", metavar="TIME", help="values as they were known then (UTC)")
    _add_json(command)
    command.set_defaults(command="export")
    command = commands.add_parser("verify", help="compare an exported folder with its manifest: 0 if all is as it says")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="what export wrote")
    _add_json(command)
    command.set_defaults(command="verify")
    command = commands.add_parser("import", help="store an exported folder's rows; not while collecting")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="what export wrote")
    command.add_argument(
        "--allow-simulated", action="store_true", help="also made-up data into a database of real data"
    )
    _add_json(command)
    command.set_defaults(command="import")
    command = commands.add_parser("query", help="one SELECT over the database and Parquet files together (DuckDB)")
    command.add_argument("statement", metavar="STATEMENT", help="select ..., with ..., describe TABLE, summarize TABLE")
    command.add_argument("--files", type=Path, action="append", metavar="FOLDER", help="also rows of this export")
    command.add_argument("--from", dest="since", default="", metavar="TIME", help="rows from here on (UTC): reads less")
    command.add_argument("--to", dest="until", default="", metavar="TIME", help="rows before this (UTC): reads less")
    command.add_argument("--top", type=_whole(1), default=100, metavar="N", help="most rows of a table (default 100)")
    command.add_argument("--memory-mb", type=_whole(64), default=512, metavar="MB", help="for DuckDB (default 512)")
    command.add_argument("--csv", action="store_true", help="print all rows as CSV")
    _add_json(command)
    command.set_defaults(command="query")


def _add_retention(commands: Any) -> None:
    command = commands.add_parser(
        "retention", help="seal, delete and thin by age as the settings say, now: 0 if nothing had to wait"
    )
    command.add_argument("--dry-run", action="store_true", help="only count what would be done")
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command="retention")
    parts = command.add_subparsers(metavar="WHAT")
    part = parts.add_parser("months", help="which months left the database, and where they are")
    part.add_argument("--json", action="store_true", help="print as JSON")
    part.set_defaults(command="retention_months")
    part = parts.add_parser("verify", help="read every sealed file again: 0 if all hold what was sealed")
    part.add_argument("--json", action="store_true", help="print as JSON")
    part.set_defaults(command="retention_verify")
    for name, does in {
        "seal": "seal one month now, whatever its age; one that was restored too",
        "restore": "put a sealed month back into the database, where it stays until it is sealed by hand",
    }.items():
        part = parts.add_parser(name, help=does)
        part.add_argument("dataset", metavar="DATASET", help="as candles or order_books")
        part.add_argument("month", metavar="MONTH", help="as 2026-01")
        part.set_defaults(command=f"retention_{name}")
    command = commands.add_parser("disk", help="size and growth of tables and folders, and how long the disk lasts")
    command.add_argument("--json", action="store_true", help="print as JSON")
    command.set_defaults(command="disk")


def _add_sinks(commands: Any) -> None:
    command = commands.add_parser("sink", help="what goes to BigQuery: how far it is, send now, what it costs")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    part = parts.add_parser("status", help="how far every table is, and what waits: 1 while one of them fails")
    _add_json(part)
    part.set_defaults(command="sink_status")
    part = parts.add_parser("run", help="send what is new until Ctrl+C, as `run` does beside the collector")
    part.add_argument("--once", action="store_true", help="send everything that there is now, and end")
    part.add_argument("--again", action="store_true", help="first forget what was sent: rows there are not doubled")
    _add_json(part)
    part.set_defaults(command="sink_run")
    part = parts.add_parser("estimate", help="what sending costs, by BigQuery's own estimate")
    _add_json(part)
    part.set_defaults(command="sink_estimate")


def _complain(text: str, code: int) -> int:
    print(f"collector: {text}", file=sys.stderr)
    return code
