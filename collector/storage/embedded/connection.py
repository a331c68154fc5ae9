"""How a server is reached through its socket, and the proof that it is the one that serves our folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from collector.storage.embedded.cluster import SUPERUSER
from collector.storage.embedded.layout import PORT, SOCKET_NAME, Layout, socket_folder

DATABASE = "collector"
CONNECT_SECONDS = 5


def server_url(socket_dir: Path) -> str:
    """Return the SQLAlchemy URL of the `collector` database; there is no password, the socket's folder is private."""
    return f"postgresql+psycopg2://{SUPERUSER}@/{DATABASE}?host={quote(str(socket_dir))}&port={PORT}"


def psql_environment(socket_dir: Path) -> dict[str, str]:
    """Return what libpq programs read to reach the same database."""
    return {"PGHOST": str(socket_dir), "PGPORT": str(PORT), "PGUSER": SUPERUSER, "PGDATABASE": DATABASE}


@contextlib.contextmanager
def connected(socket_dir: Path, database: str) -> Iterator[Any]:
    """Give an autocommit cursor on one database. Raises psycopg2.Error."""
    connection = psycopg2.connect(
        host=str(socket_dir), port=PORT, user=SUPERUSER, dbname=database, connect_timeout=CONNECT_SECONDS
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def ensure_database(socket_dir: Path) -> None:
    """Create the `collector` database if it is not there. Raises psycopg2.Error when the server does not work."""
    with connected(socket_dir, "postgres") as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE DATABASE {DATABASE}")


def live_server(layout: Layout) -> Path | None:
    """Return the socket's folder if a working server answers there and serves *our* cluster, else None."""
    socket_dir = socket_folder(layout)
    if not (socket_dir / SOCKET_NAME).exists():
        return None
    try:
        with connected(socket_dir, DATABASE) as cursor:
            cursor.execute("SHOW data_directory")
            row = cursor.fetchone()
        return socket_dir if row is not None and Path(row[0]).samefile(layout.pgdata) else None
    except (psycopg2.Error, OSError):  # not there yet, going down, or another folder's: not ours to use
        return None


def others_at_work(socket_dir: Path) -> bool | None:
    """Return whether another session is in the middle of a transaction; None when there is no other session."""
    try:
        with connected(socket_dir, "postgres") as cursor:
            cursor.execute(
                "SELECT bool_or(state <> 'idle') FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            row = cursor.fetchone()
    except psycopg2.Error:  # it is going down by itself
        return None
    return None if row is None else row[0]
