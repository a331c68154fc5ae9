"""The settings of `backups`: scheduled backups of the database."""

from datetime import UTC, datetime
from typing import Annotated

from apscheduler.triggers.cron import CronTrigger
from pydantic import BeforeValidator, Field

from collector.config.section import Section
from collector.config.values import CronLine, Folder


def _none_if_empty(value: object) -> object:
    """Let an empty environment variable mean the usual folder."""
    return None if value == "" else value


class BackupSettings(Section):
    """Scheduled backups of the database."""

    enabled: bool = Field(False, description="Whether this is done")
    cron: CronLine = Field("40 2 * * *", description="When: a cron line of five fields, UTC")
    folder: Annotated[Folder | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="Where backups go; empty: backups in data_dir. Another disk is better"
    )
    verify: bool = Field(True, description="Whether each is restored into a second embedded server and compared")
    verify_folder: Annotated[Folder | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="Where that server gets its files, about as large as the database; empty: the backup folder"
    )
    keep: int = Field(7, ge=1, le=1000, description="How many of the newest verified backups are kept")
    keep_weekly: int = Field(4, ge=0, le=520, description="And the newest of each of so many weeks")
    keep_monthly: int = Field(6, ge=0, le=120, description="And the newest of each of so many months")
    payloads: bool = Field(False, description="Whether raw provider answers are in it; they are large and short-lived")
    free_mb: int = Field(1024, ge=0, description="A backup ends before it leaves less free than this on its disk, MB")

    def next_turn(self, after: datetime) -> datetime | None:
        """Return the first turn of the cron line after a moment (UTC); None when it never comes."""
        found = CronTrigger.from_crontab(self.cron, timezone=UTC).get_next_fire_time(after, after)
        if found is None:
            return None
        turn: datetime = found.astimezone(UTC)
        return turn
