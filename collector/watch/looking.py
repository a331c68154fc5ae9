"""Takes pictures: reads the database, the log folder of the running cycle and the disk; survives a database that goes.

A look writes nothing, holds no lock and keeps no transaction open. What cannot be read is said, and what was seen
before stays.
"""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from collector.clock import Clock
from collector.errors import ConfigError, StorageError
from collector.storage.database import Database
from collector.storage.progress import CycleInShort, Progress
from collector.storage.providers import ProviderStore
from collector.storage.reader import Reader
from collector.watch.picture import (
    Disk,
    Picture,
    SourceProgress,
    Waited,
    budgets_of,
    freshness_of,
    pauses_of,
    progress_of,
)

CYCLES, FAILURES = 20, 20
SIZE_EVERY_S = 60.0  # between two looks at the size of the database, which reads a folder of thousands of files
TAIL_BYTES = 16_384  # of the running cycle's log
_PROGRESS = re.compile(r"\bjobs_done\W+(\d+).*?\bjobs\W+(\d+)")  # of a line of text or of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where to look beside the database, and what should be fresh."""

    logs: Path
    data: Path
    waited: Waited
    simulated: bool


class Looker:
    """Takes one picture after the other; owned by one thread."""

    def __init__(self, reach: Callable[[], Database], places: Places, clock: Clock) -> None:
        """`reach` returns the database, connected to or not; it raises StorageError while nobody runs it."""
        self._reach, self._places, self._clock = reach, places, clock
        self._last = Picture(at=clock.now(), simulated=places.simulated)
        self._sized_at = float("-inf")
        self._first_cycle_at: datetime | None = None

    def look(self) -> Picture:
        """Return what is seen now; with `away` set, and the values of the last look, when the database is not."""
        now = self._clock.now()
        try:
            database = self._reach()
            try:
                seen = self._seen(database, now)
            except ConfigError:
                database.require_tables()  # says it better, when a table of another release is missing
                raise
        except (StorageError, ConfigError) as error:
            seen = replace(self._last, at=now, away=str(error) or type(error).__name__, collecting=False)
        disk = self._disk(seen.disk.database_bytes)
        self._last = replace(seen, disk=disk, stage=self._stage(seen))
        return self._last

    def _seen(self, database: Database, now: datetime) -> Picture:
        if database.revision() is None:
            return Picture(at=now, away="the database has no tables yet: start the collector", seen_at=now)
        progress, reader = Progress(database), Reader(database)
        cycles = progress.cycles(CYCLES)
        running = cycles[0] if cycles and cycles[0].finished_at is None else None
        if self._first_cycle_at is None:
            self._first_cycle_at = progress.first_started_at()
        return Picture(
            at=now,
            seen_at=now,
            collecting=database.has_writer(),
            simulated=self._places.simulated,
            cycles=cycles,
            progress=() if running is None else self._progress(progress, running),
            budgets=budgets_of(progress.limits(now)),
            pauses=pauses_of(ProviderStore(database).load_states().values(), now),
            freshness=freshness_of(reader.last_job_times(), self._places.waited, now, self._first_cycle_at),
            failures=progress.failures(FAILURES),
            alerts=progress.alerts(),
            disk=replace(self._last.disk, database_bytes=self._size(progress)),
        )

    def _progress(self, progress: Progress, running: CycleInShort) -> list[SourceProgress]:
        before = progress.last_of(running.cadence)
        return progress_of(progress.done(running.cycle_id), before.jobs if before else {})

    def _size(self, progress: Progress) -> int | None:
        ticks = self._clock.monotonic()
        if ticks - self._sized_at >= SIZE_EVERY_S:
            self._sized_at = ticks
            return progress.size_bytes()
        return self._last.disk.database_bytes

    def _disk(self, database_bytes: int | None) -> Disk:
        free = total = None
        with suppress(OSError):
            room = shutil.disk_usage(_existing(self._places.data))
            free, total = room.free, room.total
        waiting = 0
        with suppress(OSError):
            waiting = sum(entry.stat().st_size for entry in os.scandir(self._places.data / "spool") if entry.is_file())
        return Disk(database_bytes=database_bytes, free_bytes=free, total_bytes=total, spool_bytes=waiting)

    def _stage(self, seen: Picture) -> str:
        """Return what the running cycle's own log says last of its stage; empty when it says nothing yet."""
        if seen.running is None or not seen.running.folder:
            return ""
        try:
            with (self._places.logs / seen.running.folder / "Collector.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        told = [_PROGRESS.search(line) for line in lines if "cycle_progress" in line]
        return f"{told[-1][1]}/{told[-1][2]} jobs" if told and told[-1] else ""


def _existing(folder: Path) -> Path:
    """Return the nearest folder above that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
