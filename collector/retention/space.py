"""The floor of free space: below it things stop in order, what is stored is never touched, and all begins again alone.

The floor is where raw answers stop being kept; books stop below three quarters of it, other snapshots below half,
everything below a quarter. A stage ends when a tenth more than its own bound is free, so that it does not flutter.
"""

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from collector.config.retention import MEGABYTE, read_floor
from collector.log import get_logger
from collector.records import Dataset
from collector.storage.database import Database
from collector.storage.serving import server_folder

LOOK_EVERY = timedelta(seconds=10)  # asked for many times in a cycle
RECOVERY = 1.1  # of a stage's bound must be free for it to end

_BOOKS = frozenset({Dataset.ORDER_BOOKS})
# Lost for ever when not fetched, but they grow by the minute. Candles, funding and lists are small, and go on.
_SNAPSHOTS = _BOOKS | {
    Dataset.TICKERS,
    Dataset.MARK_PRICES,
    Dataset.FUNDING_FORECASTS,
    Dataset.OPEN_INTEREST,
}


class Stage(IntEnum):
    """What has stopped; each stage includes the ones before."""

    NOTHING = 0
    PAYLOADS = 1  # raw answers are not kept
    BOOKS = 2  # order books are not fetched
    SNAPSHOTS = 3  # nor tickers, mark prices, forecasts, open interest
    ALL = 4  # nothing is fetched


BOUNDS = {Stage.PAYLOADS: 1.0, Stage.BOOKS: 0.75, Stage.SNAPSHOTS: 0.5, Stage.ALL: 0.25}
"""Share of the floor below which a stage begins."""
STOPPED = {
    Stage.NOTHING: "nothing",
    Stage.PAYLOADS: "keeping raw answers",
    Stage.BOOKS: "keeping raw answers, order books",
    Stage.SNAPSHOTS: "keeping raw answers, order books, tickers, mark prices, funding forecasts, open interest",
    Stage.ALL: "everything",
}


class Space(NamedTuple):
    """The space of a file system, in bytes."""

    total: int
    free: int


def space_of(folder: Path) -> Space:
    """Return the space where a folder is, or will be: its nearest parent counts. Raises OSError."""
    there = next((item for item in (folder, *folder.parents) if item.exists()), folder)
    found = shutil.disk_usage(there)
    return Space(found.total, found.free)


def stage_after(stage: Stage, share: float) -> Stage:
    """Return the stage when `share` of the floor is free (2.0: twice the floor), coming from `stage`."""
    falls_to = max((item for item, bound in BOUNDS.items() if share < bound), default=Stage.NOTHING)
    holds = max((item for item, bound in BOUNDS.items() if share < bound * RECOVERY), default=Stage.NOTHING)
    return falls_to if falls_to >= stage else min(stage, holds)


class FreeSpace:
    """Says what has stopped; owned by the thread that runs the cycles. Without a floor nothing ever stops."""

    def __init__(self, floor: str, folders: Sequence[Path], *, measure: Callable[[Path], Space] = space_of) -> None:
        """`folders` are looked at together: the one with the least of its floor free decides."""
        self._least, self._share = read_floor(floor)
        self._folders = folders
        self._measure = measure
        self._stage = Stage.NOTHING
        self._looked_at: datetime | None = None
        self._unknown: set[Path] = set()  # said once
        self._log = get_logger("Collector")

    def stage(self, now: datetime) -> Stage:
        """Return what has stopped; looks at the disk every ten seconds at most, and says each change once."""
        if not (self._least or self._share):
            return Stage.NOTHING
        if self._looked_at is None or not timedelta(0) <= now - self._looked_at < LOOK_EVERY:
            self._looked_at = now
            self._look()
        return self._stage

    def stopped_datasets(self, now: datetime) -> frozenset[Dataset]:
        """Return the datasets that are not to be fetched now."""
        stage = self.stage(now)
        if stage is Stage.ALL:
            return frozenset(Dataset)
        return _SNAPSHOTS if stage is Stage.SNAPSHOTS else _BOOKS if stage is Stage.BOOKS else frozenset()

    def keeps_payloads(self, now: datetime) -> bool:
        """Return whether raw answers may be stored."""
        return self.stage(now) is Stage.NOTHING

    def _look(self) -> None:
        found = [(space.free / self._floor(space), space) for space in self._spaces()]
        if not found:  # what cannot be seen stops nothing, and ends nothing
            return
        share, space = min(found)
        before, self._stage = self._stage, stage_after(self._stage, share)
        told = {"free_mb": space.free // MEGABYTE, "floor_mb": int(self._floor(space)) // MEGABYTE}
        if self._stage > before:
            self._log.error("free_space_low", **told, stopped=STOPPED[self._stage])
        elif self._stage < before:
            self._log.warning("free_space_back", **told, still_stopped=STOPPED[self._stage])

    def _floor(self, space: Space) -> float:
        return max(self._least or space.total * self._share, 1)

    def _spaces(self) -> list[Space]:
        spaces = []
        for folder in self._folders:
            try:
                spaces.append(self._measure(folder))
            except OSError as error:
                if folder not in self._unknown:
                    self._unknown.add(folder)
                    self._log.warning("free_space_unknown", folder=str(folder), reason=str(error))
        return spaces


def free_space(floor: str, data_folder: Path, database: Database) -> FreeSpace:
    """Return what watches the data folder, and the database's own folder where it is on this machine.

    Raises StorageError when a floor is set and the database does not tell its folder.
    """
    folders = [data_folder]
    if floor:
        found, _ = server_folder(database)
        if found is not None and Path(found).exists():
            folders.append(Path(found))
    return FreeSpace(floor, folders)
