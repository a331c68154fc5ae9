"""The resident size of a collector after so many cycles, in a process that does nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.side import MEGABYTE
from benchmarks.sides.cycle_ours import Ours
from collector.records import CycleState


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024 / MEGABYTE


class Memory(Ours):
    """A phase is named by the number of the cycle after which it ends; each goes on where the one before ended."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.done = 1  # the first one, with the history
        self.rows = 0

    def prepare(self, phase: str) -> None: ...

    def run(self, phase: str) -> None:
        while self.done < int(phase):
            self.report = self.collecting.runner.run("market")
            if self.report.state is not CycleState.OK:
                raise RuntimeError(f"cycle {self.done + 1}: {self.report}")
            self.rows += sum(sum(part.rows.values()) for part in self.report.sources)
            self.done += 1

    def answer(self, phase: str) -> dict[str, Any]:
        return {"same": {"cycles": int(phase)}, "facts": {"resident_mb": resident_mb(), "rows": self.rows}}


def open_side(work: Mapping[str, Any]) -> Memory:
    return Memory(work)
