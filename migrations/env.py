"""Runs migrations: one process at a time, short lock waits, one transaction per migration.

The program hands in its connection; the alembic command line gives `-x url=...`. Logging is left as it is: the
program owns its handlers.
"""

import re

from alembic import context
from sqlalchemy import Connection, create_engine, text

from collector.errors import ConfigError
from collector.storage.database import driver_url
from collector.storage.models import METADATA

LOCK = "hashtextextended('collector migrations of ' || current_schema(), 0)"
PARTITION = re.compile(r"_\d{4}_\d{2}$")


def include_name(name, type_, _parent_names) -> bool:
    """Leave the monthly partitions out of comparisons: they are data, not schema."""
    return not (type_ == "table" and name is not None and PARTITION.search(name))


def note_applied(*, step, **_) -> None:
    """Tell the program which migrations this process has really run."""
    context.config.attributes.setdefault("applied", []).append(step.up_revision_id)


def migrate(connection: Connection) -> None:
    """Run the asked-for migrations on a connection that no transaction is open on."""
    with connection.begin():
        # Waiting for another process's migrations may take a while; waiting for a table must not.
        connection.execute(text("SET statement_timeout = 0; SET lock_timeout = '60s'"))
        connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
        connection.execute(text("SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = 0"))
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        include_name=include_name,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
        on_version_apply=note_applied,
    )
    try:
        with context.begin_transaction():
            context.run_migrations()
    finally:
        if not connection.invalidated:
            connection.rollback()
            with connection.begin():
                connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))


def main() -> None:
    """Use the connection handed in, or open the one named on the command line."""
    handed_in = context.config.attributes.get("connection")
    if handed_in is not None:
        migrate(handed_in)
        return
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise ConfigError("no database named; use: alembic -x url=postgresql://user:password@host/name ...")
    with create_engine(driver_url(url)).connect() as connection:
        migrate(connection)


main()
