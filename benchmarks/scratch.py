"""What the benchmarks share: work folders, a simulator in a process of its own, settings for it, a table of ratios."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.asked import CannotMeasure
from collector.clock import SystemClock

CLOCK = SystemClock()
ROOT = Path(__file__).resolve().parent.parent
RUN = "bench-run-"
REMOVALS = 50  # tries, ten seconds together: a server that ends still writes


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
def work_folder(prefix: str) -> Iterator[Path]:
    """Lend a temporary folder that is removed even while a process that is about to end writes there."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        CLOCK.sleep(0.2)
    print(f"benchmarks: {folder} could not be removed", file=sys.stderr)


@contextmanager
def run_folder() -> Iterator[None]:
    """Put the temporary files of a whole run, and of all that it starts, into one folder that goes with it."""
    before = os.environ.get("TMPDIR")
    with work_folder(RUN) as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = None
            os.environ.pop("TMPDIR")
            os.environ |= {"TMPDIR": before} if before is not None else {}


def abandon() -> None:
    """Kill all that this process has started, and remove the folder of the run: its end waits for something.

    A database server of this process ends with it.
    """
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if tempfile.tempdir is not None and Path(tempfile.tempdir).name.startswith(RUN):
        _remove(Path(tempfile.tempdir))


def end(process: "subprocess.Popen[Any]", seconds: float = 30.0) -> None:
    """End a program of ours by its own way; kill it when that takes longer."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def simulator(*, assets: int, latency_ms: int, limits: bool = True) -> Iterator[SimulatorProcess]:
    """Lend a simulator that ends with us."""
    command = [sys.executable, str(ROOT / "main.py"), "simulate", "--port", "0", "--json", "--attached"]
    command += ["--assets", str(assets), "--latency-ms", str(latency_ms), *([] if limits else ["--no-limits"])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            assert process.stdout is not None
            if not (line := process.stdout.readline()):
                raise CannotMeasure("the simulated providers did not start")
            yield SimulatorProcess(json.loads(line))
        finally:
            end(process)


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
