"""What the benchmarks share: a simulator in a process of its own, settings for a scratch folder, a table of ratios."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Line:
    """One judged figure: what was measured against what is allowed."""

    name: str
    measured: float
    limit: float
    unit: str

    @property
    def ratio(self) -> float:
        return self.measured / self.limit


def judge(lines: Sequence[Line]) -> int:
    """Print the figures with their ratios to the limits; return the exit status: 1 when a limit is missed."""
    width = max(len(line.name) for line in lines)
    print(f"\n{'':<{width}}  {'measured':>10}  {'limit':>10}  {'ratio':>6}")
    for line in lines:
        verdict = "ok" if line.ratio <= 1 else "MISSED"
        numbers = f"{line.measured:>8.2f} {line.unit:<2}{line.limit:>9.2f} {line.unit:<2}{line.ratio:>7.2f}"
        print(f"{line.name:<{width}}  {numbers}  {verdict}")
    return 0 if all(line.ratio <= 1 for line in lines) else 1


class SimulatorProcess:
    """The simulated providers of one process, with their documented limits on."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.addresses = addresses
        self._root = addresses["okx"].rpartition("/")[0]

    def state(self) -> dict[str, Any]:
        """Return the simulator's own counts: requests by "venue path", refusals and used weight."""
        return dict(self._read(f"{self._root}/_simulator/state"))

    def get(self, source: str, path: str) -> Any:
        """Return the decoded answer of one provider; counts as a request of this machine's address."""
        return self._read(self.addresses[source] + path)

    @staticmethod
    def _read(url: str) -> Any:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
            return json.load(answer)


def clean_up_when_told_to_stop() -> None:
    """Let SIGTERM leave every `with` block, so that no process and no folder stays behind."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def simulator(*, assets: int, latency_ms: int, limits: bool = True) -> Iterator[SimulatorProcess]:
    """Lend a simulator that ends with us."""
    command = [sys.executable, str(ROOT / "main.py"), "simulate", "--port", "0", "--json", "--attached"]
    command += ["--assets", str(assets), "--latency-ms", str(latency_ms), *([] if limits else ["--no-limits"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield SimulatorProcess(json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(30)


def scratch_tree(folder: Path, addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return settings for a database and logs in `folder` and the providers at `addresses`."""
    sources = {name: {"base_url": url} for name, url in addresses.items() if name != "coingecko_pro"}
    return {
        "simulated": True,
        "data_dir": str(folder / "data"),
        "logs": {"directory": str(folder / "logs")},
        "database": {"url": ""},
        "cadences": {"market": {"deadline": "10m"}},  # the first cycle's history is slow to simulate
        "sources": sources,
    }
