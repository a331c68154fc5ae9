"""What a database holds, in one number per table: taken in a snapshot that a dump can share, compared after a restore.

The number of a table is the sum of hashtextextended() over the text of its rows. A sum does not depend on the order of
rows, and counts a row that is there twice. The text is the same on every server: settings that shape it are fixed here.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg2.extensions import make_dsn
from sqlalchemy import Connection, text

from collector.storage import schema
from collector.storage.database import Database

WATCH_S = 0.2
HASH = "sum(hashtextextended(entry::text, 0))"
"""How a table's number is computed, for manifests: numbers made in another way cannot be compared."""
# Nothing here may be ended for taking long. What follows shapes the text of values.
_SESSION = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
    "SET LOCAL lock_timeout = '30s';"
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';"
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL xmlbinary = 'base64'"
)
_TABLES = text(
    """
    SELECT CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END AS name,
        format('%I.%I', n.nspname, c.relname) AS quoted
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE '\\_timescaledb\\_%'
        AND NOT EXISTS (SELECT FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY name
    """
)
_SERVER = text(
    """
    SELECT current_setting('server_version') AS version,
        current_setting('server_version_num')::integer / 10000 AS major,
        pg_database_size(current_database()) AS size_bytes
    """
)
# An extension is used when something that is no part of it needs a part of it. One that an image or an administrator
# brought along and that nobody uses need not be on the server that a backup is restored to.
_EXTENSIONS = text(
    """
    SELECT e.extname::text AS name, EXISTS (
        SELECT FROM pg_depend part JOIN pg_depend d ON d.refclassid = part.classid AND d.refobjid = part.objid
        WHERE part.refclassid = 'pg_extension'::regclass AND part.refobjid = e.oid AND part.deptype = 'e'
            AND d.deptype IN ('n', 'a')
            AND d.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass,
                'pg_proc'::regclass, 'pg_trigger'::regclass, 'pg_type'::regclass)
            AND NOT EXISTS (SELECT FROM pg_depend own
                WHERE own.classid = d.classid AND own.objid = d.objid AND own.deptype = 'e')
    ) AS used
    FROM pg_extension e WHERE e.extname <> 'plpgsql' ORDER BY 1
    """
)
TIMESCALE = "timescaledb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one table holds."""

    rows: int
    hash: str  # a whole number, as text: it is longer than 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What serves a database."""

    version: str  # as 18.4
    major: int
    size_bytes: int  # of the database on its disk
    extensions: tuple[str, ...]  # in use; without the built-in language
    unused_extensions: tuple[str, ...]


class Snapshot:
    """One moment of a database, for as long as it is lent; only for the thread that it was lent to."""

    def __init__(self, connection: Connection, tables: dict[str, str], name: str) -> None:
        self._connection = connection
        self._tables = tables
        self.name = name  # for pg_dump --snapshot

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables, sorted; those outside `public` with their schema."""
        return tuple(self._tables)

    def held(self, table: str, watch: Callable[[], None]) -> Held:
        """Return what a table holds; reads all of it, calling `watch` meanwhile, whose errors end it, as Ctrl+C does.

        The driver waits for an answer deaf to everything: another thread waits for it, and nobody else uses the
        connection until it has.
        """
        with ThreadPoolExecutor(max_workers=1) as thread:
            answer = thread.submit(self._held, table)
            try:
                while not wait([answer], WATCH_S).done:
                    watch()
            except BaseException:
                driver = self._connection.connection.dbapi_connection
                if driver is not None:
                    driver.cancel()  # psycopg2's own, made for other threads
                raise
            return answer.result()

    def _held(self, table: str) -> Held:
        query = f"SELECT count(*) AS rows, coalesce({HASH}, 0)::text AS hash FROM {self._tables[table]} AS entry"
        found = self._connection.execute(text(query)).one()
        return Held(rows=found.rows, hash=found.hash)

    def simulated(self) -> bool | None:
        """Return whether a cycle stored made-up rows; None when no cycle stored anything."""
        if "cycles" not in self._tables:
            return None
        found: bool | None = self._connection.execute(text("SELECT bool_or(simulated) FROM cycles")).scalar()
        return found


@contextmanager
def snapshot(database: Database, doing: str) -> Iterator[Snapshot]:
    """Lend one moment of the database; no table of it can be dropped meanwhile. `doing` begins the text of any error.

    Nothing waits for it but what drops or rewrites a table. Raises StorageError; StorageLocked when a table is locked
    for 30 s, and ConfigError when one was dropped within the same second: try again.
    """
    with database.connection(doing) as connection:
        with connection.begin():
            tables = {row.name: row.quoted for row in connection.execute(_TABLES)}
        with connection.begin():
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            connection.execute(text(_SESSION))
            if tables:  # before the snapshot is taken: what it sees must still be there when it is read
                connection.execute(text(f"LOCK TABLE {', '.join(tables.values())} IN ACCESS SHARE MODE"))
            name = connection.execute(text("SELECT pg_export_snapshot()")).scalar()
            yield Snapshot(connection, tables, str(name))


def load_server(database: Database) -> Server:
    """Return what serves the database. Raises StorageError."""
    with database.reading("ask the server for its version") as connection:
        row = connection.execute(_SERVER).one()
        found = {item.name: item.used for item in connection.execute(_EXTENSIONS)}
        if TIMESCALE in found:  # its tables show no dependence
            query = "SELECT EXISTS (SELECT FROM _timescaledb_catalog.hypertable)"
            found[TIMESCALE] = bool(connection.execute(text(query)).scalar())
    return Server(
        version=row.version,
        major=row.major,
        size_bytes=row.size_bytes,
        extensions=tuple(name for name, used in found.items() if used),
        unused_extensions=tuple(name for name, used in found.items() if not used),
    )


def prepare_timescale(database: Database, *, done: bool) -> None:
    """Tell TimescaleDB that a dump with its tables is about to be restored, or that it was.

    As its documents demand of pg_restore; the extension must be of the version that made the dump.
    """
    steps = ["SELECT timescaledb_post_restore()"]
    if not done:
        steps = [f"CREATE EXTENSION IF NOT EXISTS {TIMESCALE}", "SELECT timescaledb_pre_restore()"]
    for step in steps:
        with database.transaction("prepare TimescaleDB for a restore") as connection:
            connection.execute(text(step))


def has_rows(database: Database) -> list[str]:
    """Return the tables that hold rows, sorted; not the one that notes the schema's version."""
    with database.reading("look for rows") as connection:
        tables = [row for row in connection.execute(_TABLES) if row.name != "alembic_version"]
        query = "SELECT EXISTS (SELECT FROM {})"
        return [row.name for row in tables if connection.execute(text(query.format(row.quoted))).scalar()]


def analyse(database: Database) -> None:
    """Let the server look at rows that have just come, so that the first queries are planned well."""
    with database.transaction("look at the restored rows") as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("ANALYZE"))


def knows_revision(revision: str) -> bool:
    """Return whether this program knows a revision of the schema."""
    try:
        return ScriptDirectory(str(schema.MIGRATIONS)).get_revision(revision) is not None
    except CommandError:
        return False


def program_address(database: Database) -> tuple[str, dict[str, str]]:
    """Return the address for pg_dump's --dbname, without a secret, and the environment that carries the secret."""
    url = database.url
    query = {name: value for name, value in url.query.items() if isinstance(value, str)}
    password = query.pop("password", None) or url.password
    query.pop("sslpassword", None)  # a secret too, for which libpq knows no variable: use a key without one
    parts = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database, **query}
    address: str = make_dsn(**{name: str(value) for name, value in parts.items() if value is not None})
    return address, {} if password is None else {"PGPASSWORD": str(password)}
