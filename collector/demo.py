"""The demo: settings apart from the real ones, and the simulated providers in a process of their own."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from collector.config import ROOT, Layer, Settings
from collector.config.alerts import PingSettings
from collector.errors import CollectorError
from collector.printing import table
from collector.simulator.venues import Simulator
from collector.sources import SOURCES
from collector.storage.losses import Outcomes

SIMULATOR_START_S = 30
LOOK_FURTHER = """
what else there is, on the rows of this demo:
  python main.py --demo watch                      the running cycle, live (beside `make demo`)
  python main.py --demo export candles --out demo-files     then: verify demo-files, import demo-files
  python main.py --demo query "select instrument, max(close) from candles group by 1 order by 1"
  python main.py --demo disk                       what each table takes
  python main.py --demo alerts                     what is wrong; alerts test sends one to the targets of the settings
  python main.py --demo db backup                  verified by restoring it; then: db backups, db restore
"""
BILL = ("provider", "dataset", "jobs", "failed", "snapshots lost", "open windows", "rows", "rows for others")


def demo_layer() -> Layer:
    """Return the settings of the demo: simulated, the embedded database, a small universe, short cadences."""
    return Layer(
        "demo",
        {
            "simulated": True,
            "database": {"url": ""},
            "universe": {"top": 25},
            "cadences": {
                "market": {"every": "20s", "cron": None, "offset": "0s", "deadline": "2m"},
                "hourly": {"every": "1m", "cron": None, "offset": "5s", "deadline": "2m"},
                "daily": {"every": "10m", "cron": None, "offset": "10s", "deadline": "2m"},
            },
            "sources": {
                "coingecko": {
                    "plan": "public",
                    "api_key": None,
                    "limits": {"calls": {"capacity": 30, "window": "1m"}},
                    "datasets": {
                        "asset_details": {"assets": 2},
                        "market_history": {"assets": 2},
                        "candles": {"assets": 2},
                    },
                },
                "binance_spot": {"datasets": {"candles": {"history": 300}}},  # 1000 made-up days take 0.3 s a series
                "kraken": {"datasets": {"candles": {"enabled": False}}},  # 20 series at a call a second
                "coincap": {"enabled": True, "plan": "basic", "api_key": "basic-made-up"},
            },
        },
    )


def apart(settings: Settings) -> Settings:
    """Return the demo's settings with a database and logs of its own, so that nothing made up meets real data.

    Nothing leaves this machine: no export, nothing to BigQuery, alerts to files and to programs here only.
    """
    targets = {name: one for name, one in settings.alerts.targets.items() if _stays(one.url.get_secret_value())}
    changes = {
        "logs": settings.logs.model_copy(update={"directory": settings.logs.directory / "demo"}),
        "data_dir": settings.data_dir / "demo",
        "export": settings.export.model_copy(update={"enabled": False}),
        "bigquery": settings.bigquery.model_copy(update={"enabled": False}),
        "alerts": settings.alerts.model_copy(update={"targets": targets, "ping": PingSettings()}),
    }
    return settings.model_copy(update=changes)


def _stays(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "file" or parts.hostname in {"127.0.0.1", "localhost", "::1"}


def addresses_layer(addresses: Mapping[str, str]) -> Layer:
    """Return the settings that send each source to the simulator."""
    return Layer(
        "simulator", {"sources": {name: {"base_url": url} for name, url in addresses.items() if name in SOURCES}}
    )


@contextmanager
def simulator_process(
    faults: str = "", tell: Callable[[dict[str, int]], None] | None = None
) -> Iterator[dict[str, str]]:
    """Lend the addresses of simulated providers that run in a process of their own, for as long as we live.

    `faults` names a script by which they misbehave; at the end `tell` gets how many answers went wrong, by kind.
    """
    command = [sys.executable, str(ROOT / "main.py"), "simulate", "--port", "0", "--json", "--attached"]
    command += ["--faults", faults] if faults else []
    # Its own session: a Ctrl+C reaches us alone, and the providers stay up until the last call has ended.
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            line = process.stdout.readline()
            if not line:
                raise CollectorError(f"the simulator did not start (status {process.wait(SIMULATOR_START_S)})")
            yield json.loads(line)
        finally:
            process.terminate()
            rest = process.stdout.read()
            process.wait(SIMULATOR_START_S)
            if rest and tell is not None:
                tell(json.loads(rest))


def render_weather(
    settings: Settings, folders: Sequence[str], outcomes: Sequence[Outcomes], missing: Mapping[tuple[str, str], int]
) -> str:
    """Return what faults cost: by cycle what failed and what was healed, by dataset what is lost and from whom it came.

    `folders` are the log folders of the cycles to tell about; `missing` counts the windows not held by provider and
    dataset.
    """
    rows = []
    for name in folders:
        file = settings.logs.directory / name / "report.json"
        if name and file.exists():  # the folder of a cycle goes with age, or could not be made
            rows.append(_weather_row(json.loads(file.read_text(encoding="utf-8"))))
    head = (
        "cycle",
        "cadence",
        "state",
        "calls",
        "repeated",
        "jobs failed",
        "rows refused",
        "rows healed",
        "from others",
    )
    bill = [
        (
            *(item.source, item.dataset),
            *map(str, (item.jobs, item.failed, item.lost, open_windows, item.rows, item.rows_for_others)),
        )
        for item in outcomes
        if (open_windows := missing.get((item.source, item.dataset), 0)) or item.failed or item.rows_for_others
    ]
    lines = ["what the weather cost:", *table(head, rows), "", *table(BILL, bill)]
    left = sum(missing.values())
    return "\n".join(
        [
            *lines,
            "snapshots lost were only there at that moment; open windows are asked for again, of others too.",
            f"windows still to be healed: {left or 'none'}; see them with: python main.py --demo gaps",
        ]
    )


def _weather_row(report: Mapping[str, Any]) -> tuple[str, ...]:
    def total(name: str) -> int:
        return sum(int(part[name]) for part in report["sources"])

    filled = ", ".join(f"{count} {source}" for source, count in sorted(report["filled"].items())) or "-"
    lost = total("jobs_failed") + total("jobs_skipped")
    counts = (total("requests"), total("retries"), lost, total("rejects"), report["healed"])
    return (str(report["cycle_id"]), report["cadence"], report["state"], *map(str, counts), filled)


def serve_simulator(simulator: Simulator, announce: Callable[[dict[str, str]], None], *, attached: bool) -> None:
    """Serve until a signal; when `attached`, until standard input closes, which it does when the parent dies."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def end_with_input() -> None:
        sys.stdin.read()
        stop.set()

    with simulator:
        announce(simulator.base_urls)
        if attached:
            threading.Thread(target=end_with_input, daemon=True).start()
        stop.wait()
