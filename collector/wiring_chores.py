"""Builds the chores of the housekeeping from the settings: those that are enabled, in the order of their turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collector.backups.making import folder_of, wish_of
from collector.clock import Clock
from collector.config import Settings
from collector.housekeeping import Chore, Housekeeper
from collector.retention.disk import Places
from collector.retention.samples import SizeSamples, cold_folder
from collector.storage.database import Database, RoleLock
from collector.storage.outgoing.sinking import BIGQUERY, SinkStore
from collector.storage.timeseries import Month
from collector.wiring import open_database

if TYPE_CHECKING:
    from collector.retention.turn import Retention


@contextmanager
def open_housekeeper(settings: Settings, clock: Clock, *, lasting: bool) -> Iterator[Housekeeper]:
    """Lend what does the chores. `lasting`: it takes the embedded server over when the process that ran it ends.

    Raises ConfigError when a chore cannot be done as it is set.
    """
    with open_database(settings, lasting=lasting, name="housekeeper") as database:
        always = list(_watching(settings, database, clock))
        chores = list(_chores(settings, database, clock))
        with Housekeeper(chores, lambda: _lock(database), clock, always=always) as keeper:
            yield keeper


@contextmanager
def _lock(database: Database) -> Iterator[RoleLock]:
    """Hold the lock on a database whose tables are this program's. Raises ConfigError for others, LockHeld."""
    database.require_tables()
    with database.housekeeper_lock() as lock:
        yield lock


def _watching(settings: Settings, database: Database, clock: Clock) -> Iterator[Chore]:
    """Yield what is done even while the database is away, or another chore takes its time."""
    if settings.alerts.enabled:
        from collector.wiring_alerts import build_alerts  # noqa: PLC0415 - packages of each only when it is enabled

        yield build_alerts(settings, database, clock)


def _chores(settings: Settings, database: Database, clock: Clock) -> Iterator[Chore]:
    yield SizeSamples(database, places_of(settings))
    if settings.bigquery.enabled:
        from collector.sinks.bigquery.sink import BigQuerySink  # noqa: PLC0415 - the same

        yield BigQuerySink(settings.bigquery, sorted(settings.sources), database, clock)
    if settings.export.enabled:
        from collector.sinks.files.scheduled import ScheduledExport  # noqa: PLC0415 - the same

        yield ScheduledExport(settings.export, database, clock, simulated=settings.simulated)
    if settings.backups.enabled:
        from collector.backups.chore import Backups  # noqa: PLC0415 - the same

        yield Backups(settings.backups, wish_of(settings), database, clock)
    if settings.retention.enabled:
        from collector.retention.chores import RetentionChore  # noqa: PLC0415 - the same

        yield RetentionChore(settings.retention, build_retention(settings, database, clock), database, clock)


# --------------------------------------------------------------------------- retention


def build_retention(settings: Settings, database: Database, clock: Clock) -> "Retention":
    """Return what lets months leave the database; none that BigQuery, where it is used, has not got yet."""
    from collector.retention.turn import Retention  # noqa: PLC0415 - pyarrow, when months leave

    folder = cold_folder(settings.retention, settings.data_dir)
    if not settings.bigquery.enabled:
        return Retention(settings.retention, folder, database, clock)
    store = SinkStore(database, BIGQUERY)

    def held(dataset: str, month: Month) -> str:
        return "BigQuery has not got all of it yet" if store.unsent_in(dataset, month) else ""

    return Retention(settings.retention, folder, database, clock, held=held)


def places_of(settings: Settings) -> Places:
    """Return the folders that grow."""
    return Places(
        data=settings.data_dir,
        folders={
            "cold": cold_folder(settings.retention, settings.data_dir),
            "logs": settings.logs.directory,
            "spool": settings.data_dir / "spool",
            "backups": folder_of(settings),
        },
        floor=settings.retention.floor,
    )
