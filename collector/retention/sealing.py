"""Sealing: a month becomes a Parquet file, the file is read back and compared, and only then the rows leave.

Every step is noted in `cold_months` before or with what it does, so that a killed process goes on where it was. A file
of an older generation is removed only after the newer one holds all of it and the database says so.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from collector.clock import Clock
from collector.errors import ConfigError, SinkError, StorageLocked
from collector.sinks.files.atomic import sweep, sync_folder
from collector.sinks.files.parquet import FileFacts, database_parts, facts_of, measure, same_rows, write_slice
from collector.storage import timeseries
from collector.storage.cold.cold_months import ColdMonth, ColdMonths, Event, State, spelled
from collector.storage.cold.sealing import Gone, MonthSource, bring_back, delete, has_leaving, kept_sql, leave
from collector.storage.database import Database
from collector.storage.outgoing.datasets import EXPORTABLE, Exportable, Slice
from collector.storage.timeseries import Month

SET_ASIDE = "replaced"  # folder of files that the ledger does not name any more; a backup may still do
SET_ASIDE_S = 200 * 86_400.0  # then they go: longer than six monthly backups are kept
COPIES = 3  # of a month that changes meanwhile; then it waits for the next turn
LOCK_TRIES, LOCK_PAUSE_S = 5, 2.0
Told = Callable[[int], None]
T = TypeVar("T")


def _set_aside(folder: Path, name: str) -> None:
    """Move a file where a restored backup that names it finds it; nothing when it is not there any more."""
    path, aside = folder / name, folder / SET_ASIDE / name
    if path.exists():
        aside.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # from now on it ages
        path.replace(aside)


class Sealer:
    """Seals, drops, deletes and brings back months. Used under `ColdMonths.lock`. Raises StorageError, SinkError."""

    def __init__(self, database: Database, folder: Path, keep_intervals: Sequence[str], clock: Clock) -> None:
        self._database = database
        self._folder = folder
        self._keep = [str(item) for item in keep_intervals]
        self._clock = clock
        self._months = ColdMonths(database)

    def kept(self, dataset: str) -> str:
        """Return the condition of rows of a dataset that never leave; empty: there are none."""
        return kept_sql(dataset, self._keep)

    def seal(self, dataset: str, month: Month, told: Told | None = None) -> Gone:
        """Write a month to a file, verify it and drop it; return what left the database.

        Raises StorageLocked when the drop has to wait: the next call does it.
        """
        found = self._months.find(dataset, month)
        for _ in range(COPIES):
            if found is None or found.state is not State.SEALED:
                found = self._copy(dataset, month, told)
            gone = self._leave(found)
            if gone is not None:
                self.remove_stale(dataset, month)
                return gone
            found = None
        raise StorageLocked(f"{dataset} {spelled(month)}: it changed while it was copied, {COPIES} times")

    def delete(self, dataset: str, month: Month) -> Gone:
        """Drop a month for good and return what left the database."""
        return self._patiently(lambda: delete(self._database, dataset, month, self.kept(dataset), self._keep))

    def restore(self, dataset: str, month: Month) -> int:
        """Put a sealed month back into the database; return how many rows came. Raises ConfigError when it is not."""
        found = self._months.find(dataset, month)
        if found is None or not found.file or found.state is State.RESTORED:
            raise ConfigError(f"{dataset} {spelled(month)}: there is no sealed file of it; see `retention months`")
        found = self._months.move(dataset, month, Event.CALLED_BACK)
        came = bring_back(self._database, found, self._parts(found))
        self.remove_stale(dataset, month)
        return came

    def verify(self, month: ColdMonth) -> str:
        """Read a file again and return what is wrong with it; empty: it holds what was sealed."""
        try:
            facts = facts_of(self.path_of(month), EXPORTABLE[month.dataset])
        except SinkError as error:
            return str(error)
        if facts.sha256 != month.sha256:
            return f"{month.file}: its digest is {facts.sha256}, it was {month.sha256}"
        same = (facts.rows, facts.fingerprint) == (month.rows, month.fingerprint)
        return "" if same else f"{month.file}: it has {facts.rows} rows, {month.rows} were sealed, or others than those"

    def path_of(self, month: ColdMonth) -> Path:
        """Return where the file of a month is."""
        return self._folder / month.file

    def remove_stale(self, dataset: str, month: Month) -> None:
        """Set aside the older files of a month that a newer file, or the database, took the place of."""
        found = self._months.find(dataset, month)
        stale = found.stale if found is not None else ()
        if not stale:
            return
        for name in stale:
            try:
                _set_aside(self._folder, name)
            except OSError as error:
                raise SinkError(f"{name}: cannot be set aside ({error.strerror})") from error
        self._months.forget_stale(dataset, month, stale)

    def sweep(self) -> None:
        """Remove what killed processes left unfinished in the folder, and what was set aside long ago."""
        if self._folder.exists():
            sweep(self._folder)
        for file in (self._folder / SET_ASIDE).rglob("*.parquet"):
            if file.stat().st_mtime < self._clock.now().timestamp() - SET_ASIDE_S:
                file.unlink(missing_ok=True)

    def forget_empty(self) -> None:
        """Forget months whose first copy was begun, and of which no row is in the database: nothing was done."""
        for item in self._months.load():
            begun = item.state is State.SEALING and not item.generation and item.dropped_at is None
            if begun and not has_leaving(self._database, item.dataset, item.month, self.kept(item.dataset)):
                self._months.forget(item.dataset, item.month)

    def has_file(self, month: ColdMonth) -> bool:
        """Return whether the file of a month is there; one that was set aside is brought back, as after a restore."""
        path, aside = self.path_of(month), self._folder / SET_ASIDE / month.file
        if not path.exists() and aside.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(path)
        return path.exists()

    # ------------------------------------------------------------------ inside

    def _copy(self, dataset: str, month: Month, told: Told | None) -> ColdMonth:
        """Write and verify a file with all there is of a month, and note it; SinkError when there is nothing of it."""
        before = self._months.find(dataset, month)
        if not (before and before.file) and not has_leaving(self._database, dataset, month, self.kept(dataset)):
            raise SinkError(f"{dataset} {spelled(month)}: there is nothing to seal; the database holds no row to leave")
        begun = self._months.move(dataset, month, Event.BEGUN)
        source = MonthSource(
            self._database,
            EXPORTABLE[dataset],
            month,
            kept=self.kept(dataset),
            older=(lambda: self._parts(begun)) if begun.file else None,
        )
        name = f"{dataset}/{spelled(month)}/{dataset}_{spelled(month)}_g{begun.generation + 1:04d}.parquet"
        facts, replaced = self._written(source, EXPORTABLE[dataset], month, self._folder / name, told)
        return self._months.move(
            dataset,
            month,
            Event.VERIFIED,
            generation=begun.generation + 1,
            file=name,
            rows=facts.rows,
            size=facts.bytes,
            sha256=facts.sha256,
            fingerprint=facts.fingerprint,
            hot_rows=source.hot.rows,
            hot_fingerprint=source.hot.fingerprint,
            replaced=begun.replaced + replaced,
            stale=[*begun.stale, *([begun.file] if begun.file else [])],
            sealed_at=self._clock.now(),
        )

    def _written(
        self, source: MonthSource, dataset: Exportable, month: Month, path: Path, told: Told | None
    ) -> tuple[FileFacts, int]:
        """Return the facts of a file that holds what the database does, and how many older rows were replaced."""
        where = Slice(since=timeseries.start_of(month), until=timeseries.start_of(timeseries.following(month)))
        for _ in range(COPIES):
            facts = write_slice(source, dataset, where, path, told=told)
            if facts is None:
                raise SinkError(f"{dataset.name} {spelled(month)}: there is nothing to seal")
            copied, replaced = source.hot, source.replaced
            same = same_rows(source, dataset, where, path)
            if source.hot != copied:  # rows came between the two readings
                continue
            read = facts_of(path, dataset)
            if not same or (read.rows, read.fingerprint, read.sha256) != (facts.rows, facts.fingerprint, facts.sha256):
                raise SinkError(f"{path}: read back, it is not what the database holds; nothing was dropped")
            sync_folder(path.parent.parent)
            return facts, replaced
        raise StorageLocked(f"{dataset.name} {spelled(month)}: it changed while it was copied, {COPIES} times")

    def _leave(self, month: ColdMonth) -> Gone | None:
        size, digest = measure(self.path_of(month))
        if (size, digest) != (month.size, month.sha256):
            raise SinkError(f"{self.path_of(month)}: it is not the file that was verified; nothing was dropped")
        return self._patiently(lambda: leave(self._database, month, self.kept(month.dataset)))

    def _patiently(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, repeating it while somebody holds a lock; then let the error through."""
        for _ in range(LOCK_TRIES - 1):
            try:
                return work()
            except StorageLocked:
                self._clock.sleep(LOCK_PAUSE_S)
        return work()

    def _parts(self, month: ColdMonth) -> Iterable[bytes]:
        """Return the rows of a file that is what was verified. Raises SinkError for another one."""
        size, digest = measure(self.path_of(month))
        if (size, digest) != (month.size, month.sha256):
            raise SinkError(f"{self.path_of(month)}: it is not the file that was verified ({month.sha256})")
        return database_parts(self.path_of(month), EXPORTABLE[month.dataset])
