"""The way back to an earlier release: which migrations that undoes, and whether rows would be out of its reach."""

from dataclasses import dataclass

from alembic.script import ScriptDirectory
from sqlalchemy import text

from collector.errors import ConfigError
from collector.storage import schema
from collector.storage.database import Database

COLD_SINCE = "0006"  # releases before it know no months that left the database


@dataclass(frozen=True, slots=True)
class Step:
    """One migration that is undone, and its first line."""

    revision: str
    about: str


def steps_back(database: Database, target: str) -> list[Step]:
    """Return the migrations to undo for a schema, newest first; none when the database is at it.

    Raises ConfigError for an empty database, and for a schema that is unknown or newer than the database's.
    """
    current = database.revision()
    if current is None:
        raise ConfigError("the database has no tables yet: there is nothing to take back")
    chain = list(ScriptDirectory(str(schema.MIGRATIONS)).iterate_revisions(current, "base"))
    names = [step.revision for step in chain]
    if target not in names:
        older = ", ".join(names[1:]) or "none"
        raise ConfigError(f"REVISION: {target!r} is no schema before {current}; use one of: {older}")
    undone = chain[: names.index(target)]
    return [Step(step.revision, (step.doc or "").splitlines()[0]) for step in undone]


def months_out_of_reach(database: Database, target: str) -> int:
    """Return how many months may have rows in sealed files only, where the schema `target` does not know of them."""
    if target >= COLD_SINCE:
        return 0
    with database.reading("look for sealed months") as connection:
        if connection.execute(text("SELECT to_regclass('cold_months') IS NULL")).scalar():
            return 0
        query = text("SELECT count(*) FROM cold_months WHERE file <> '' AND state <> 'restored'")
        return int(connection.execute(query).scalar_one())


def hypertables(database: Database) -> list[str]:
    """Return the tables that are hypertables of TimescaleDB; releases before 0005 take them for plain ones."""
    with database.reading("look for hypertables") as connection:
        if connection.execute(text("SELECT to_regclass('timescaledb_information.hypertables') IS NULL")).scalar():
            return []
        query = (
            "SELECT hypertable_name FROM timescaledb_information.hypertables "
            "WHERE hypertable_schema = current_schema() ORDER BY 1"
        )
        return list(connection.execute(text(query)).scalars())


def roll_back(database: Database, target: str) -> None:
    """Undo the migrations after `target`, one transaction each, as the only one at work. Raises LockHeld.

    What they added is dropped with its rows; what was stored in older tables stays.
    """
    with database.writer_lock(), database.housekeeper_lock():
        schema.downgrade(database.engine, target)
