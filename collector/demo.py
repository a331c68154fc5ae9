"""The demo: settings apart from the real ones, and the simulated providers in a process of their own."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from collector.config import ROOT, Layer, Settings
from collector.errors import CollectorError
from collector.simulator.venues import Simulator
from collector.sources import SOURCES

SIMULATOR_START_S = 30


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
            },
        },
    )


def apart(settings: Settings) -> Settings:
    """Return the demo's settings with a database and logs of its own, so that nothing made up meets real data."""
    logs = settings.logs.model_copy(update={"directory": settings.logs.directory / "demo"})
    return settings.model_copy(update={"logs": logs, "data_dir": settings.data_dir / "demo"})


def addresses_layer(addresses: Mapping[str, str]) -> Layer:
    """Return the settings that send each source to the simulator."""
    return Layer(
        "simulator", {"sources": {name: {"base_url": url} for name, url in addresses.items() if name in SOURCES}}
    )


@contextmanager
def simulator_process() -> Iterator[dict[str, str]]:
    """Lend the addresses of simulated providers that run in a process of their own, for as long as we live."""
    command = [sys.executable, str(ROOT / "main.py"), "simulate", "--port", "0", "--json", "--attached"]
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
            process.wait(SIMULATOR_START_S)


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
