"""One side of a comparison, in a process of its own: prepares, works under the clock, and tells its answer.

Started by the harness as `python -m benchmarks.side MODULE` with the work as JSON on the first line of standard input.
Only the standard library is imported here, so that it runs in the environment of the peers too. The module has
`open_side(work) -> Side`. Commands and answers are lines of JSON; whatever a library prints goes to standard error.
"""

import cProfile
import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from benchmarks.launch import programs_kb

MEGABYTE = 1e6
PROFILE = "BENCH_PROFILE"  # folder for a cProfile of each side and phase (its main thread), the last round stays


class Side(Protocol):
    """Does a phase of the work. Only `run` is under the clock."""

    def prepare(self, phase: str) -> None:
        """Bring about the state in which the phase begins."""

    def run(self, phase: str) -> None:
        """Do the work."""

    def answer(self, phase: str) -> Mapping[str, Any]:
        """Return what came out: "same" is compared with the other sides, every number of "facts" becomes a figure."""

    def close(self) -> None:
        """Give back what is held."""


def cpu_s() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in used)


def forget_peak() -> None:
    """Let the highest resident size start anew from the present one, and forget the programs that have run."""
    programs_kb.clear()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float:
    """Return the highest resident size since `forget_peak`, or that of the largest program run since if larger."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return max([own, *programs_kb]) * 1024 / MEGABYTE


def measured(side: Side, phase: str) -> dict[str, float]:
    """Run a phase and return its figures. Objects of the preparation are no garbage that the work has to look at."""
    gc.collect()
    gc.freeze()
    forget_peak()
    profile = cProfile.Profile() if PROFILE in os.environ else None
    cpu, began = cpu_s(), time.perf_counter()
    if profile is None:
        side.run(phase)
    else:
        profile.runcall(side.run, phase)
    wall = time.perf_counter() - began
    if profile is not None:
        profile.dump_stats(Path(os.environ[PROFILE]) / f"{sys.argv[1].rpartition('.')[2]}-{phase}.prof")
    figures = {"wall_s": wall, "cpu_s": cpu_s() - cpu, "peak_mb": peak_mb()}
    gc.unfreeze()
    return figures


def main() -> None:
    """Serve the commands of the harness until its end of the pipe closes."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get between the lines
    side: Side = importlib.import_module(sys.argv[1]).open_side(json.loads(sys.stdin.readline()))
    try:
        print(json.dumps({"ready": True}), file=told, flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            found: Any = None
            if command["do"] == "prepare":
                side.prepare(command["phase"])
            elif command["do"] == "run":
                found = measured(side, command["phase"])
            else:
                found = side.answer(command["phase"])
            print(json.dumps(found, default=str), file=told, flush=True)
    finally:
        side.close()


if __name__ == "__main__":
    main()
