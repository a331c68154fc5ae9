"""What the housekeeping stores for `disk`: how large tables and folders are, every hour."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from collector.config.retention import RetentionSettings
from collector.retention.disk import Places, measure
from collector.storage.cold.sizes import EVERY, last_sampled, store_samples
from collector.storage.database import Database


class SizeSamples:
    """Stores how large tables and folders are, every hour."""

    name = "size_samples"

    def __init__(self, database: Database, places: Places) -> None:
        self._database, self._places = database, places
        self._next: datetime | None = None

    def due(self, now: datetime) -> bool:
        """Return whether an hour is over since the last samples."""
        if self._next is None:
            last = last_sampled(self._database)
            self._next = now if last is None or last > now else last + EVERY
        return now >= self._next

    def run(self, now: datetime) -> Mapping[str, object]:
        """Measure and store; what is in the log of every hour would be too much, so nothing is said."""
        self._next = now + EVERY
        store_samples(self._database, measure(self._database, self._places), now)
        return {}


def cold_folder(settings: RetentionSettings, data_folder: Path) -> Path:
    """Return where sealed months go."""
    return settings.folder or data_folder / "cold"
