"""One turn of retention: thin what has aged, seal or delete the months that are due, and say what could not be done.

What fails for one month is told and left for the next turn; the other months go on. A second turn finds nothing to do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from collector.clock import Clock
from collector.config.retention import RetentionSettings, read_grid
from collector.errors import ConfigError, SinkError, StorageError, StorageUnavailable
from collector.log import get_logger
from collector.retention.sealing import Sealer
from collector.storage import timeseries
from collector.storage.cold.cold_months import ColdMonth, ColdMonths, State, spelled
from collector.storage.cold.sealing import Gone, count_leaving, has_leaving, kept_sql, size_of_month, stored_months
from collector.storage.cold.thinning import Thinning, ThinningPlan
from collector.storage.database import Database
from collector.storage.timeseries import Month

BY_HAND = frozenset({State.RESTORED, State.RESTORING})
Say = Callable[[str, int], None]
"""Told what is being done and how many rows of it are done; once with 0 at its start."""
Held = Callable[[str, Month], str]
"""Returns why a month of a dataset must not leave yet, as a sink that has not sent it; empty: it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One month that is due. `rows` and `size` are None until they are counted."""

    dataset: str
    month: Month
    what: Literal["seal", "delete", "thin"]
    rows: int | None = None  # that leave the database
    size: int | None = None  # bytes that the month takes in the database
    grid: timedelta | None = None  # of thinning
    until: datetime | None = None  # of thinning

    @property
    def label(self) -> str:
        """Return it in words, as seal candles 2026-01."""
        grid = "" if self.grid is None else f" to one row per {self.grid}"
        return f"{self.what} {self.dataset} {spelled(self.month)}{grid}"


@dataclass(slots=True, kw_only=True)
class Done:
    """What a turn did."""

    months: int = 0
    rows: int = 0  # that left the database with them
    thinned: int = 0
    freed_bytes: int = 0
    postponed: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class Retention:
    """Does what the settings say of age. Raises StorageError, SinkError, LockHeld while somebody else does it."""

    def __init__(
        self,
        settings: RetentionSettings,
        folder: Path,
        database: Database,
        clock: Clock,
        *,
        held: Held = lambda _dataset, _month: "",
    ) -> None:
        """`folder` is where sealed months go; `held` is asked before one leaves by age."""
        self._held = held
        self._settings = settings
        self._database = database
        self._clock = clock
        self._keep = [str(item) for item in settings.keep_intervals]
        self._months = ColdMonths(database)
        self._thinning = Thinning(database)
        self.sealer = Sealer(database, folder, self._keep, clock)
        self._log = get_logger("Retention")

    def plan(self, now: datetime) -> list[Step]:
        """Return what a turn would do now, counted by reading; nothing is changed."""
        return [self._counted(step) for step in self._steps(now)]

    def months(self) -> list[ColdMonth]:
        """Return the months that left the database, in order."""
        return self._months.load()

    def turn(self, now: datetime, say: Say | None = None, *, budget_s: float | None = None) -> tuple[Done, bool]:
        """Do what is due; return what was done, and whether that is all: no month begins after `budget_s` seconds."""
        done, began = Done(), self._clock.monotonic()
        say = say or _nobody
        with self._months.lock():
            self.sealer.sweep()
            self.sealer.forget_empty()
            self._finish_restores()
            for step in self._steps(now):
                if budget_s is not None and self._clock.monotonic() - began > budget_s:
                    return done, False
                self._do(step, done, say)
            for month in self._months.load():
                self.sealer.remove_stale(month.dataset, month.month)
        return done, True

    def without_file(self) -> list[ColdMonth]:
        """Return the sealed months whose file is not in the folder, as after a restore without it."""
        return [month for month in self._months.load() if month.file and not self.sealer.has_file(month)]

    def seal(self, dataset: str, month: Month, say: Say | None = None) -> Gone:
        """Seal a month by hand, whatever its age, once it is over; a restored one too."""
        if timeseries.start_of(timeseries.following(month)) > self._clock.now():
            raise ConfigError(f"MONTH: {spelled(month)} is not over; what is collected now stays in the database")
        with self._months.lock():
            return self._seal(Step(dataset=dataset, month=month, what="seal"), say or _nobody)

    def restore(self, dataset: str, month: Month) -> int:
        """Put a sealed month back into the database, where it stays until it is sealed by hand; return its rows."""
        with self._months.lock():
            return self.sealer.restore(dataset, month)

    def verify(self, say: Say | None = None) -> list[tuple[ColdMonth, str]]:
        """Read every file again and return what is wrong with each; empty: nothing is."""
        found = []
        for month in self._months.load():
            if month.file:
                (say or _nobody)(f"verify {month.label}", 0)
                found.append((month, self.sealer.verify(month)))
        return found

    # ------------------------------------------------------------------ inside

    def _steps(self, now: datetime) -> Iterator[Step]:
        for plan in self._thinnings(now):
            yield Step(dataset=plan.dataset, month=plan.month, what="thin", grid=plan.grid, until=plan.until)
        known = {(item.dataset, item.month): item for item in self._months.load()}
        for dataset, age in self._settings.datasets.items():
            for month in stored_months(self._database, dataset):
                before = known.get((dataset, month))
                if timeseries.start_of(timeseries.following(month)) > now - age.age:
                    continue
                if before is not None and before.state in BY_HAND:
                    continue
                if has_leaving(self._database, dataset, month, kept_sql(dataset, self._keep)):
                    # Rows that come to a sealed month join its file, whatever is done with others now.
                    sealed = before is not None and before.file
                    yield Step(dataset=dataset, month=month, what="seal" if sealed else age.then)

    def _thinnings(self, now: datetime) -> Iterator[ThinningPlan]:
        wanted = {"order_books": self._settings.thin_order_books, "tickers": self._settings.thin_tickers}
        for dataset, grids in wanted.items():
            for age, grid in sorted(map(read_grid, grids)):
                yield from self._thinning.due(dataset, grid, now - age)

    def _counted(self, step: Step) -> Step:
        if step.what == "thin":
            rows = self._thinning.count(self._plan_of(step))
            return Step(
                dataset=step.dataset, month=step.month, what="thin", rows=rows, grid=step.grid, until=step.until
            )
        rows = count_leaving(self._database, step.dataset, step.month, kept_sql(step.dataset, self._keep))
        size = size_of_month(self._database, step.dataset, step.month)
        return Step(dataset=step.dataset, month=step.month, what=step.what, rows=rows, size=size)

    def _plan_of(self, step: Step) -> ThinningPlan:
        assert step.grid is not None  # noqa: S101 - a step that thins has both
        assert step.until is not None  # noqa: S101
        return next(
            plan for plan in self._thinning.due(step.dataset, step.grid, step.until) if plan.month == step.month
        )

    def _do(self, step: Step, done: Done, say: Say) -> None:
        say(step.label, 0)
        reason = "" if step.what == "thin" else self._held(step.dataset, step.month)
        if reason:
            done.postponed.append(f"{step.label}: {reason}")
            return
        try:
            if step.what == "thin":
                self._thin(step, done, say)
                return
            gone = self._seal(step, say) if step.what == "seal" else self.sealer.delete(step.dataset, step.month)
        except (StorageError, SinkError) as error:
            if isinstance(error, StorageUnavailable) and not self._is_there():
                raise
            done.postponed.append(f"{step.label}: {error}")
            self._log.warning("retention_postponed", step=step.label, kind=type(error).__name__, reason=str(error))
            return
        done.months += 1
        done.rows += gone.rows
        done.freed_bytes += gone.freed_bytes
        done.steps.append(
            Step(dataset=step.dataset, month=step.month, what=step.what, rows=gone.rows, size=gone.freed_bytes)
        )
        self._log.info("month_left", step=step.label, rows=gone.rows, freed_bytes=gone.freed_bytes)

    def _seal(self, step: Step, say: Say) -> Gone:
        count = 0

        def told(rows: int) -> None:
            nonlocal count
            count += rows
            say(step.label, count)

        return self.sealer.seal(step.dataset, step.month, told)

    def _thin(self, step: Step, done: Done, say: Say) -> None:
        removed = 0
        for count in self._thinning.thin(self._plan_of(step)):
            removed += count
            done.thinned += count
            say(step.label, removed)
        if removed:
            self._log.info("thinned", step=step.label, rows=removed)
        done.steps.append(
            Step(dataset=step.dataset, month=step.month, what="thin", rows=removed, grid=step.grid, until=step.until)
        )

    def _finish_restores(self) -> None:
        """Bring back what a killed process was bringing back."""
        for month in self._months.load():
            if month.state is State.RESTORING:
                rows = self.sealer.restore(month.dataset, month.month)
                self._log.info("month_restored", month=month.label, rows=rows)

    def _is_there(self) -> bool:
        """Return whether the database answers: then only one month could not be done."""
        try:
            self._months.load()
        except StorageError:
            return False
        return True


def _nobody(_what: str, _rows: int) -> None:
    pass


def in_words(done: Done) -> Sequence[str]:
    """Return what a turn did, for people."""
    said = f"{done.months} months with {done.rows:,} rows left the database, {done.freed_bytes:,} bytes are free again"
    return [f"{said}; {done.thinned:,} rows were thinned", *(f"postponed: {item}" for item in done.postponed)]
