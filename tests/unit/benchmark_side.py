"""A side of a benchmark for tests: has a child and a file, tells of both, and then does as its work says."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collector.clock import SystemClock

LONG_S = 120.0


class Made:
    """Work "does": answer, raise, sleep, or stubborn, which does not leave its sleep when it is told to."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.work = work
        folder = tempfile.mkdtemp(prefix="made-")
        child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG_S})"])
        told = Path(work["told"])
        told.with_suffix(".new").write_text(f"{os.getpid()} {child.pid} {folder}", encoding="utf-8")
        told.with_suffix(".new").replace(told)

    def prepare(self, phase: str) -> None:
        """Do nothing."""

    def run(self, _phase: str) -> None:
        if self.work["does"] == "raise":
            raise ValueError("no such table")
        if self.work["does"] == "stubborn":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.work["does"] != "answer":
            Path(self.work["told"]).with_suffix(".busy").touch()
            SystemClock().sleep(LONG_S)

    def answer(self, _phase: str) -> Mapping[str, Any]:
        return {"same": self.work["same"]}

    def close(self) -> None:
        """Leave child and file to the harness."""


def open_side(work: Mapping[str, Any]) -> Made:
    return Made(work)
