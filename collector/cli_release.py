"""What `db downgrade` does: takes the tables back to those of an earlier release, so that this one can run again.

What the earlier release stored is not touched. What only the newer one knows is dropped, and said before it is done.
"""

import argparse

from collector.config import Settings
from collector.errors import ConfigError
from collector.exits import NOT_ALL_WELL, OK
from collector.storage.copies.rollback import hypertables, months_out_of_reach, roll_back, steps_back
from collector.storage.database import Database
from collector.wiring import open_database

HYPERTABLES_SINCE = "0005"


def downgrade(settings: Settings, arguments: argparse.Namespace) -> int:
    """Undo the migrations after a revision; without `--yes` say which, and return 1 when there are some.

    Raises LockHeld while a collector works, ConfigError for a revision that is unknown or newer, and while months are
    sealed: the earlier release cannot read them.
    """
    with open_database(settings) as database:
        undone = steps_back(database, arguments.revision)
        if not undone:
            print(f"database is at {arguments.revision} already")
            return OK
        _refuse_what_it_cannot_read(database, arguments.revision)
        if arguments.yes:
            roll_back(database, arguments.revision)
            print(f"database is at {arguments.revision}; undone now: {', '.join(step.revision for step in undone)}")
            return OK
        for step in undone:
            print(f"would undo {step.revision}: {step.about}")
        print("What these migrations added is dropped with its rows; what was stored before stays.")
        print(f"Make a backup, then: python main.py db downgrade {arguments.revision} --yes")
    return NOT_ALL_WELL


def _refuse_what_it_cannot_read(database: Database, target: str) -> None:
    cold = months_out_of_reach(database, target)
    if cold:
        raise ConfigError(
            f"{cold} sealed months are in files that schema {target} cannot read: bring them back first, "
            "with: python main.py retention restore DATASET MONTH"
        )
    hyper = hypertables(database) if target < HYPERTABLES_SINCE else []
    if hyper:
        raise ConfigError(
            f"{hyper[0]} is a hypertable, which schema {target} does not know: "
            "restore a backup that was made before `db timescale enable`"
        )
