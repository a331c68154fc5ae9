"""Clients written for the shapes of the unified endpoints, run unchanged against the real program.

The TypeScript one meets the API that runs beside the collector, the Python one an API that runs alone.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.program import SMALL, changed, wait_until

CLIENTS = Path(__file__).parent / "clients"
TYPESCRIPT, PYTHON = CLIENTS / "typescript", CLIENTS / "python"
COMPILER = TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
ADDRESS = re.compile(r"data API: (http://127\.0\.0\.1:\d+)/docs")


def served(running):
    """Return where an API listens, as it says itself."""

    def told():
        assert running.alive(), running.err[-3000:]
        return ADDRESS.search(running.err)

    return wait_until(told, "the API is up").group(1)


@pytest.fixture(scope="module")
def collecting(install, venues):
    """A program that runs with its API, after one cycle of each cadence: (program, address)."""
    calm = changed(SMALL, ("cadences", "market", "every"), "1m")
    program = install(venues.base_urls, settings=calm, COLLECTOR_API__ENABLED="true", PORT="0")
    with program.running("run") as running:
        for cadence in ("daily", "hourly", "market"):
            wait_until(lambda cadence=cadence: program.ended_cycles(cadence), f"a {cadence} cycle is over")
        yield program, served(running)
        assert running.stop() == 0, running.err[-3000:]


def output_of(*command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def judge(line, client):
    """The client checked every field; this looks at what it says it saw."""
    told = json.loads(line)
    assert told["client"] == client
    assert told["health"]["status"] in {"healthy", "degraded"}
    assert {"coingecko", "binance_futures", "okx", "alternative_me"} <= set(told["health"]["providers"])
    assert told["ohlcv"] == {"source": "binance", "count": 100}
    assert {"coingecko", "binance", "okx"} <= set(told["prices"]["source"].split("+"))
    assert told["prices"]["supported"] >= 14
    assert told["moods"]["activeCoins"] > 0
    assert 1 <= told["refusals"]["retryAfter"] <= 60


def test_a_typescript_client_with_axios_runs_unchanged(collecting):
    node = shutil.which("node")
    if node is None or not COMPILER.exists():
        pytest.skip("node or the packages of the TypeScript client are missing; make clients installs the packages")
    output_of(node, str(COMPILER), "--project", ".", folder=TYPESCRIPT)
    judge(output_of(node, "dist/main.js", collecting[1], folder=TYPESCRIPT), "typescript")


def test_a_python_client_with_requests_runs_unchanged_against_an_api_that_runs_alone(collecting):
    program, _ = collecting
    with program.running("api") as running:
        judge(output_of(sys.executable, "main.py", served(running), folder=PYTHON), "python")
        assert running.stop() == 0, running.err[-3000:]
