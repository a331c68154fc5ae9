"""The scheduled backup, as the housekeeping does it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from collector.backups.making import Wish, make_backup
from collector.backups.shelf import backups_in
from collector.clock import Clock
from collector.config.backups import BackupSettings
from collector.log import get_logger
from collector.storage.database import Database

AGAIN = timedelta(minutes=30)  # after one that failed


class Backups:
    """Makes a backup at each turn of the cron line, and at once when there is none yet; owned by one thread."""

    name = "backups"

    def __init__(self, settings: BackupSettings, wish: Wish, database: Database, clock: Clock) -> None:
        """Look at nothing yet. `wish` is made by wish_of()."""
        self._settings, self._wish = settings, wish
        self._database, self._clock = database, clock
        self._next: datetime | None = None  # None: not known yet

    def due(self, now: datetime) -> bool:
        """Return whether a turn has come since the newest backup; the folder is read once per backup."""
        if self._next is None:
            self._next = self._turn(now)
        return now >= self._next

    def run(self, now: datetime) -> Mapping[str, object]:
        """Make one, verified if the settings say so, and rotate. Raises CollectorError."""
        self._next = now + AGAIN  # unless it ends well
        if now < self._turn(now):  # somebody made one by hand meanwhile
            self._next = None
            return {}
        log = get_logger("Backups")
        made = make_backup(self._database, self._wish, self._clock, lambda text: log.debug("backup_step", step=text))
        self._next = None
        manifest = made.backup.manifest
        return {
            "backup": made.backup.path.name,
            "rows": manifest.rows,
            "bytes": manifest.size_bytes,
            "verified": made.backup.verified,
            "rotated": len(made.rotated),
        }

    def _turn(self, now: datetime) -> datetime:
        """Return the first turn after the newest backup that is as good as wished; now when there is none."""
        wanted = (backup for backup in backups_in(self._wish.folder) if backup.verified or not self._wish.verify)
        newest = next(wanted, None)
        if newest is None:
            return now
        return self._settings.next_turn(newest.manifest.created_at) or datetime.max.replace(tzinfo=now.tzinfo)
