"""A simulator with more assets than `main.py simulate` offers.

How a cycle grows shows only with thousands of contracts.

Started as `python -m benchmarks.big_market ASSETS`; prints the addresses as JSON, no limits, ends with its standard
input.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import ROOT
from benchmarks.scratch import SimulatorProcess
from collector import demo
from collector.simulator import Simulator, universe


def main() -> None:
    """Serve until standard input closes."""
    assets = int(sys.argv[1])
    universe.MAX_ASSETS = max(universe.MAX_ASSETS, assets)
    simulator = Simulator(assets=assets, limits=False)
    demo.serve_simulator(simulator, lambda addresses: print(json.dumps(addresses), flush=True), attached=True)


@contextmanager
def big_simulator(assets: int) -> Iterator[SimulatorProcess]:
    """Lend a simulator with so many assets in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.big_market", str(assets)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, process_group=0
    ) as process:
        try:
            assert process.stdout is not None
            yield SimulatorProcess(json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
