"""Upkeep after cycles: partitions are made ahead of time; old logs, raw answers and ledger rows go. At most hourly."""

from datetime import datetime, timedelta

from collector.config import DatabaseSettings, LogSettings
from collector.errors import StorageError
from collector.log import get_logger, prune_folders
from collector.storage.writer import Writer

EVERY = timedelta(hours=1)
MEGABYTE = 1024 * 1024


class Upkeep:
    """Does the upkeep of one database and one log folder; used by the thread that runs the cycles."""

    def __init__(self, database: DatabaseSettings, logs: LogSettings, writer: Writer) -> None:
        self._database = database
        self._logs = logs
        self._writer = writer
        self._last: datetime | None = None

    def after_cycle(self, now: datetime) -> None:
        """Do what is due; a failure is logged and tried again after the next cycle."""
        if self._last is not None and timedelta(0) <= now - self._last < EVERY:
            return
        log = get_logger("Collector")
        folders = prune_folders(self._logs, now)
        try:
            partitions = self._writer.ensure_ahead(now)
            payloads = self._writer.prune_payloads(now - self._database.keep_payloads)
            payloads += self._writer.prune_payloads_above(self._database.keep_payloads_mb * MEGABYTE)
            jobs = self._writer.prune_ledger(now - self._database.keep_ledger)
        except StorageError as error:
            log.warning("upkeep_failed", reason=str(error))
            return
        self._last = now
        if folders or partitions or payloads or jobs:
            log.info("upkeep_done", folders=folders, partitions=partitions, payloads=payloads, jobs=jobs)
