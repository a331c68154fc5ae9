"""The studies that follow a cycle: each that is due reads, computes and stores; one that fails costs itself alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from collector.clock import Clock
from collector.errors import CollectorError
from collector.log import get_logger
from collector.records import CycleReport
from collector.storage.findings import Findings
from collector.studies.rows import Found

INSTALL = "python -m pip install -r requirements-analytics.txt"
WHEN_TOLD_AGAIN = 3600.0  # seconds between two warnings about one study


class Study(Protocol):
    """One kind of analytics."""

    name: str

    def make(self, now: datetime) -> Found:
        """Return what is due, by table; empty when nothing is. ImportError when a package is not installed."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A study, after which cycles it comes, and how it is built: not before its first turn, packages are heavy."""

    name: str
    cadence: str
    build: Callable[[], Study]


class Studies:
    """Runs what is due after a cycle, in the thread that runs the cycles."""

    def __init__(self, planned: Sequence[Planned], findings: Findings, clock: Clock) -> None:
        self._planned = planned
        self._findings = findings
        self._clock = clock
        self._built: dict[str, Study] = {}
        self._told: dict[str, float] = {}  # study -> when its failure was last told, monotonic
        self._log = get_logger("AnalyticsService")

    def after_cycle(self, report: CycleReport, *, stopping: Callable[[], bool] = lambda: False) -> dict[str, int]:
        """Make the studies of the cycle's cadence; return how many rows of each table were stored."""
        written: dict[str, int] = {}
        for item in self._planned:
            if item.cadence == report.cadence and not stopping():
                written |= self._make(item, report)
        return written

    def _make(self, item: Planned, report: CycleReport) -> Mapping[str, int]:
        started = self._clock.monotonic()
        try:
            if item.name not in self._built:
                self._built[item.name] = item.build()
            found = self._built[item.name].make(self._clock.now())
            written = self._findings.store(found, cycle_id=report.cycle_id)
        except ImportError as missing:
            self._tell(item.name, "study_needs_packages", str(missing), remedy=INSTALL)
        except CollectorError as error:
            self._tell(item.name, "study_failed", str(error), remedy="the next cycle makes it")
        except (ArithmeticError, LookupError, TypeError, ValueError) as defect:
            self._tell(item.name, "study_failed", f"{type(defect).__name__}: {defect}", remedy="please report it")
        else:
            self._told.pop(item.name, None)
            if written:
                spent = self._clock.monotonic() - started
                self._log.info("study_made", study=item.name, **written, duration_s=spent)
            return written
        return {}

    def _tell(self, name: str, event: str, reason: str, *, remedy: str) -> None:
        now = self._clock.monotonic()
        if now - self._told.get(name, -WHEN_TOLD_AGAIN) >= WHEN_TOLD_AGAIN:
            self._told[name] = now
            self._log.warning(event, study=name, reason=reason.splitlines()[0], remedy=remedy)
