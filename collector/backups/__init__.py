"""Backups: consistent copies of the database that are known to be restorable, and their way back.

Guarantees: a backup under its final name is whole; one that is called verified was restored and found equal, table by
table; a restore replaces the database at one instant or not at all.
"""

from collector.backups.chore import Backups
from collector.backups.making import Made, Wish, folder_of, make_backup, wish_of
from collector.backups.manifest import Manifest, NotVerified
from collector.backups.restoring import Restored, check_backup, restore
from collector.backups.shelf import Backup, Keeping, backups_in, failed_in, find_backup, newest_verified

__all__ = [
    "Backup",
    "Backups",
    "Keeping",
    "Made",
    "Manifest",
    "NotVerified",
    "Restored",
    "Wish",
    "backups_in",
    "check_backup",
    "failed_in",
    "find_backup",
    "folder_of",
    "make_backup",
    "newest_verified",
    "restore",
    "wish_of",
]
