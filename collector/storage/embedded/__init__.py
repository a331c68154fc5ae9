"""The database that needs no installation: a real PostgreSQL in one folder, run and shared by the collector itself.

    with EmbeddedPostgres(Path("data/postgres"), clock=SystemClock()) as database:
        engine = create_engine(database.url)

Guarantees: reachable only through a private unix socket by the collector's own user and root; works as root and as
an ordinary user, below folders closed to everybody else, without changing the mode of any folder it did not make;
committed data survives `kill -9` of the server, of the collector and of both; nothing but our own child processes
is ever signalled.
"""

from collector.storage.embedded.binaries import PostgresBinaries, find_postgres
from collector.storage.embedded.supervisor import EmbeddedPostgres, Phase, ServerState

__all__ = ["EmbeddedPostgres", "Phase", "PostgresBinaries", "ServerState", "find_postgres"]
