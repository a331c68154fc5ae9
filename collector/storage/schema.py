"""The schema's version: brings a database to this program's, under a lock, one transaction per migration."""

import threading
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from collector.errors import ConfigError
from collector.storage.faults import translated

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
OLDEST_SERVER = (14,)
_ALEMBIC = threading.Lock()  # the context of a migration environment is a global of the process


def upgrade(engine: Engine, target: str = "head") -> list[str]:
    """Apply the missing migrations and return their revisions, oldest first."""
    with _ALEMBIC, translated("upgrade the database"), closing(_own_connection(engine)) as connection:
        _check_server(connection)
        _current(connection)  # refuses a database that is newer than the program
        config = _config(connection)
        command.upgrade(config, target)
        return list(config.attributes["applied"])


def downgrade(engine: Engine, target: str) -> None:
    """Undo migrations down to a revision, or all of them with "base". Drops the data of what they made."""
    with _ALEMBIC, translated("downgrade the database"), closing(_own_connection(engine)) as connection:
        command.downgrade(_config(connection), target)


def revision(engine: Engine) -> str | None:
    """Return the revision that the database is at; None before the first migration."""
    with translated("read the schema version"), engine.connect() as connection:
        return _current(connection)


def head() -> str | None:
    """Return the newest revision that this program knows."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def _own_connection(engine: Engine) -> Connection:
    """Return a connection that never returns to the pool: migrations change its time limits."""
    connection = engine.connect()
    connection.detach()
    return connection


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["applied"] = []  # filled by migrations/env.py, under its lock
    return config


def _current(connection: Connection) -> str | None:
    with connection.begin():
        found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and not _known(found):
        raise ConfigError(
            f"the database is at schema {found}, this program knows up to {head()}: "
            "run the newer program, or restore a backup made before its upgrade"
        )
    return found


def _known(name: str) -> bool:
    try:
        return ScriptDirectory(str(MIGRATIONS)).get_revision(name) is not None
    except CommandError:
        return False


def _check_server(connection: Connection) -> None:
    with connection.begin():
        version = connection.dialect.server_version_info or (0,)
        encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if version < OLDEST_SERVER:
        raise ConfigError(f"the server is PostgreSQL {version[0]}; 14 or newer is needed")
    if encoding != "UTF8":
        raise ConfigError(f"the database's encoding is {encoding}; create it with ENCODING 'UTF8' TEMPLATE template0")
