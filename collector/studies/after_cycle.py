"""The studies that follow a cycle: each that is due reads, computes and stores; one that fails costs itself alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from collector.clock import Clock
from collector.errors import CollectorError
from collector.log import get_logger
from collector.storage.findings import Findings
from collector.studies.rows import Found

INSTALL = "python -m pip install -r requirements-analytics.txt"
DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
WHEN_TOLD_AGAIN = 3600.0  # seconds between two warnings about one study


class Ended(Protocol):
    """A cycle that has ended."""

    @property
    def cadence(self) -> str: ...

    @property
    def cycle_id(self) -> int | None: ...


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
    """Runs what is due after a cycle; used by one thread."""

    def __init__(self, planned: Sequence[Planned], findings: Findings, clock: Clock) -> None:
        self._planned = planned
        self._findings = findings
        self._clock = clock
        self._built: dict[str, Study] = {}
        self._told: dict[str, float] = {}  # study -> when its failure was last told, monotonic
        self._log = get_logger("AnalyticsService")

    def after_cycle(self, ended: Ended, *, stopping: Callable[[], bool] = lambda: False) -> dict[str, int]:
        """Make the studies of the cycle's cadence; return how many rows of each table were stored."""
        due = [item for item in self._planned if item.cadence == ended.cadence]
        return self._make_all(due, ended.cycle_id, stopping)

    def now(self) -> dict[str, int]:
        """Make every study, outside a cycle; return the same."""
        return self._make_all(self._planned, None, lambda: False)

    def _make_all(self, due: Sequence[Planned], cycle_id: int | None, stopping: Callable[[], bool]) -> dict[str, int]:
        written: dict[str, int] = {}
        for item in due:
            if not stopping():
                for table, count in self._make(item, cycle_id).items():
                    written[table] = written.get(table, 0) + count
        return written

    def _make(self, item: Planned, cycle_id: int | None) -> Mapping[str, int]:
        started = self._clock.monotonic()
        try:
            if item.name not in self._built:
                self._built[item.name] = item.build()
            found = self._built[item.name].make(self._clock.now())
            written = self._findings.store(found, cycle_id=cycle_id)
        except ImportError as missing:
            self._tell(item.name, "study_needs_packages", str(missing), remedy=INSTALL)
        except CollectorError as error:
            self._tell(item.name, "study_failed", str(error), remedy="the next cycle makes it")
        except DEFECTS as defect:
            self._tell(item.name, "study_failed", f"{type(defect).__name__}: {defect}", remedy="please report it")
        else:
            self._told.pop(item.name, None)
            if written:
                spent = self._clock.monotonic() - started
                self._log.info("study_made", study=item.name, **written, duration_s=spent)
            return written
        self._built.pop(item.name, None)  # what it remembers as told is not stored: the next one begins anew
        return {}

    def _tell(self, name: str, event: str, reason: str, *, remedy: str) -> None:
        now = self._clock.monotonic()
        if now - self._told.get(name, -WHEN_TOLD_AGAIN) >= WHEN_TOLD_AGAIN:
            self._told[name] = now
            self._log.warning(event, study=name, reason=reason.partition("\n")[0], remedy=remedy)
