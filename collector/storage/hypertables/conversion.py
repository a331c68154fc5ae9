"""A partitioned table into a hypertable, or back: no row is lost, and killed anywhere the next call goes on.

The rows are copied month by month into a table of the same name in a schema of its own. When both hold the same rows,
to the letter, one transaction keeps writers out, compares them once more, puts the copy in the table's place, points
the views at it and drops the old one. Until then readers and writers know nothing of the copy. It takes as much room
as the table does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from collector.errors import ConfigError, StorageUnavailable
from collector.storage import timeseries
from collector.storage.database import Database

WORKSHOP = "collector_timescale"
"""The schema where copies grow; it exists only while one does."""
_RETIRED = "collector_retired"
_ROUNDS = 3  # comparisons before we say that somebody keeps writing

Shape = Callable[[str], Sequence[str]]
"""What makes an empty copy of a table, named with its schema, what it shall be: statements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What became of one table."""

    table: str
    rows: int
    copied: int  # months copied now; others had been before


def convert(
    database: Database, table: str, shape: Shape, *, partitioned: bool, say: Callable[[str], None]
) -> Converted:
    """Put a copy of another shape in a table's place. The writer's lock must be held.

    `shape` makes an empty table what it shall be; `partitioned` says that it is to be cut by month. Raises ConfigError
    naming what stands in the way, StorageUnavailable when somebody changes the rows all the time.
    """
    with database.transaction(f"prepare a copy of {table}") as connection:
        _refuse_obstacles(connection, table)
        _prepare(connection, table, shape, partitioned=partitioned)
    copied = 0
    for _ in range(_ROUNDS):
        copied += _copy(database, table, say)
        rows = _swap(database, table)
        if rows is not None:
            return Converted(table=table, rows=rows, copied=copied)
    raise StorageUnavailable(f"rows of {table} changed while they were copied: stop whoever writes, then run it again")


def forget_copies(database: Database) -> list[str]:
    """Drop what an interrupted conversion left, and return its tables."""
    with database.transaction("drop unfinished copies") as connection:
        names = unfinished(connection)
        connection.execute(text(f"DROP SCHEMA IF EXISTS {WORKSHOP} CASCADE"))
    return names


def unfinished(connection: Connection) -> list[str]:
    """Return the tables of which a copy was begun and not finished."""
    found = connection.execute(_COPIES, {"workshop": WORKSHOP, "tables": list(timeseries.PARTITIONED)}).scalars()
    return list(found)


# ------------------------------------------------------------------ the empty copy


def _refuse_obstacles(connection: Connection, table: str) -> None:
    found = connection.execute(_OBSTACLES, {"table": table}).scalars().all()
    if found:
        raise ConfigError(
            f"{table} cannot be swapped: {', '.join(found)} would be lost; drop it, run this again and make it anew"
        )


def _prepare(connection: Connection, table: str, shape: Shape, *, partitioned: bool) -> None:
    """Make the empty copy; one that was begun goes on unless the table has other columns by now."""
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {WORKSHOP}"))
    copy = f"{WORKSHOP}.{table}"
    if table in unfinished(connection):
        same = connection.execute(_SAME_COLUMNS, {"one": table, "other": copy}).scalar()
        if same and _is_partitioned(connection, copy) == partitioned:
            return
        connection.execute(text(f"DROP TABLE {copy}"))
    column = timeseries.PARTITIONED[table]
    kept = "INCLUDING COMMENTS INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE"
    cut = f" PARTITION BY RANGE ({column})" if partitioned else ""
    connection.execute(text(f"CREATE TABLE {copy} (LIKE {table} {kept}){cut}"))
    for row in connection.execute(_KEYS, {"table": table}):
        connection.execute(text(f"ALTER TABLE {copy} ADD CONSTRAINT {row.name} {row.definition}"))
    for row in connection.execute(_INDEXES, {"table": table}):
        connection.execute(text(f"CREATE {row.kind} {row.name} ON {copy} {row.rest}"))
    for statement in shape(copy):
        connection.execute(text(statement))
    for statement in connection.execute(_MANNERS, {"table": table, "copy": copy}).scalars().all():
        connection.exec_driver_sql(statement.replace("%", "%%"))


def _is_partitioned(connection: Connection, table: str) -> bool:
    return bool(connection.execute(_PARTITIONED, {"table": table}).scalar())


# ------------------------------------------------------------------ its rows


def _copy(database: Database, table: str, say: Callable[[str], None]) -> int:
    """Copy the months that differ, each in a transaction of its own; return how many."""
    with database.reading(f"look at {table}") as connection:
        months = timeseries.months_stored(connection, table) | _months_of_copy(connection, table)
    copied = 0
    for number, month in enumerate(sorted(months), 1):
        with database.transaction(f"copy {table}") as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            rows = _copy_month(connection, table, month)
        if rows is not None:
            copied += 1
            say(f"{table}: month {number} of {len(months)} ({month[0]:04d}-{month[1]:02d}), {rows:,} rows copied")
    return copied


def _months_of_copy(connection: Connection, table: str) -> set[timeseries.Month]:
    connection.execute(text(f"SET LOCAL search_path = {WORKSHOP}"))
    months = timeseries.months_stored(connection, table)
    connection.execute(text("SET LOCAL search_path TO DEFAULT"))
    return months


def _copy_month(connection: Connection, table: str, month: timeseries.Month) -> int | None:
    """Make a month of the copy as the table has it; return its rows, None when it was so already."""
    copy, column = f"{WORKSHOP}.{table}", timeseries.PARTITIONED[table]
    since, until = timeseries.bounds(month)
    values = {"since": since, "until": until}
    within = f"{column} >= :since" + (f" AND {column} < :until" if until else "")
    held, wanted = (
        connection.execute(text(f"SELECT EXISTS (SELECT FROM {name} WHERE {within})"), values).scalar_one()
        for name in (copy, table)
    )
    if not wanted and not held:
        return None
    if held:
        if _fingerprint(connection, table, within, values) == _fingerprint(connection, copy, within, values):
            return None
        connection.execute(text(f"DELETE FROM {copy} WHERE {within}"), values)
    if wanted and _is_partitioned(connection, copy):
        connection.execute(text(f"SET LOCAL search_path = {WORKSHOP}"))
        timeseries.ensure_partitions(connection, table, [month])
        connection.execute(text("SET LOCAL search_path TO DEFAULT"))
    names = ", ".join(_columns(connection, table))
    query = text(f"INSERT INTO {copy} ({names}) SELECT {names} FROM {table} WHERE {within}")
    return int(connection.execute(query, values).rowcount)


def _columns(connection: Connection, table: str) -> Sequence[str]:
    return connection.execute(_COLUMNS, {"table": table}).scalars().all()


def _fingerprint(
    connection: Connection, table: str, within: str = "true", values: Mapping[str, Any] | None = None
) -> Row[Any]:
    """Return (rows, sum of their hashes): the same for the same rows in any order, to the letter of each value."""
    row = f"ROW({', '.join(_columns(connection, table))})::text"
    query = f"SELECT count(*), coalesce(sum(hashtextextended({row}, 0)::numeric), 0) FROM {table} WHERE {within}"
    return connection.execute(text(query), values or {}).one()


# ------------------------------------------------------------------ the swap


def _swap(database: Database, table: str) -> int | None:
    """Put the copy in the table's place and return its rows; None when they are not the same any more."""
    copy = f"{WORKSHOP}.{table}"
    with database.transaction(f"swap {table}") as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'"))
        connection.execute(text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))  # readers go on
        rows = _fingerprint(connection, table)
        if rows != _fingerprint(connection, copy):
            return None
        _put_in_place(connection, table)
    with database.transaction(f"count {table}") as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"ANALYZE {table}"))
    return int(rows[0])


def _put_in_place(connection: Connection, table: str) -> None:
    home = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    views = connection.execute(_VIEWS, {"table": table}).all()
    connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
    pieces = connection.execute(_PIECES, {"copy": f"{WORKSHOP}.{table}", "workshop": WORKSHOP}).scalars().all()
    retired = connection.execute(_PIECES, {"copy": table, "workshop": home}).scalars().all()
    connection.execute(text(f"CREATE SCHEMA {_RETIRED}"))
    for name in (table, *retired):
        connection.execute(text(f"ALTER TABLE {name} SET SCHEMA {_RETIRED}"))
    for name in (table, *pieces):
        connection.execute(text(f"ALTER TABLE {WORKSHOP}.{name} SET SCHEMA {home}"))
    for view in views:  # the same columns: grants, comments and views on views stay
        options = f" WITH ({view.options})" if view.options else ""
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {view.name}{options} AS {view.query}".replace("%", "%%"))
    connection.execute(text(f"DROP TABLE {_RETIRED}.{table}"))
    connection.execute(text(f"DROP SCHEMA {_RETIRED}"))
    if not unfinished(connection):
        connection.execute(text(f"DROP SCHEMA {WORKSHOP}"))


_COPIES = text(
    "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = :workshop AND c.relkind IN ('r', 'p') AND c.relname = ANY(:tables) ORDER BY 1"
)
_PARTITIONED = text("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(:table)")
_COLUMNS = text(
    "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0 "
    "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
)
_SIGNATURE = (
    "(SELECT array_agg((attname::text, format_type(atttypid, atttypmod), attnotnull)::text ORDER BY attnum) "
    "FROM pg_attribute WHERE attrelid = to_regclass({}) AND attnum > 0 AND NOT attisdropped)"
)
_SAME_COLUMNS = text(f"SELECT {_SIGNATURE.format(':one')} = {_SIGNATURE.format(':other')}")
_KEYS = text(
    "SELECT quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint "
    "WHERE conrelid = to_regclass(:table) AND contype IN ('p', 'u', 'x') ORDER BY contype"
)
# "CREATE INDEX name ON ONLY schema.table USING ...": what follows the table's name is kept.
_INDEXES = text(
    """
    SELECT quote_ident(c.relname) AS name, CASE WHEN i.indisunique THEN 'UNIQUE INDEX' ELSE 'INDEX' END AS kind,
        substring(pg_get_indexdef(i.indexrelid) FROM ' (USING .*)$') AS rest
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = to_regclass(:table)
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    ORDER BY c.relname
    """
)
# The table's comment, owner and grants, as statements for its copy.
_MANNERS = text(
    """
    SELECT statement FROM (
        SELECT 1 AS place, format('COMMENT ON TABLE %s IS %L', CAST(:copy AS text), obj_description(oid, 'pg_class'))
            AS statement FROM pg_class WHERE oid = to_regclass(:table)
        UNION ALL
        SELECT 2, format('GRANT %s ON %s TO %s%s', a.privilege_type, CAST(:copy AS text),
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = to_regclass(:table) AND a.grantee <> c.relowner
        UNION ALL
        SELECT 3, format('ALTER TABLE %s OWNER TO %I', CAST(:copy AS text), pg_get_userbyid(relowner))
        FROM pg_class WHERE oid = to_regclass(:table) AND pg_get_userbyid(relowner) <> current_user
    ) s ORDER BY place
    """
)
_DEPENDENT = """
    pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = to_regclass(:table)
"""
_VIEWS = text(
    f"""
    SELECT DISTINCT c.oid::regclass::text AS name, pg_get_viewdef(c.oid) AS query,
        array_to_string(c.reloptions, ', ') AS options
    FROM {_DEPENDENT} AND c.relkind = 'v' ORDER BY 1
    """
)
_PIECES = text(
    """
    SELECT quote_ident(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass(:copy) AND c.relnamespace = CAST(:workshop AS regnamespace) ORDER BY 1
    """
)
# What a view is not, and what the swap would take away without a word.
_OBSTACLES = text(
    f"""
    SELECT DISTINCT 'materialized view ' || c.oid::regclass::text FROM {_DEPENDENT} AND c.relkind = 'm'
    UNION ALL
    SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND NOT tgisinternal
        AND tgname <> 'ts_insert_blocker'
    UNION ALL
    SELECT 'row security of ' || relname FROM pg_class WHERE oid = to_regclass(:table) AND relrowsecurity
    UNION ALL
    SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND (confrelid = to_regclass(:table) OR conrelid = to_regclass(:table))
    UNION ALL
    SELECT 'publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    WHERE r.prrelid = to_regclass(:table)
    UNION ALL
    SELECT 'grants on column ' || attname FROM pg_attribute
    WHERE attrelid = to_regclass(:table) AND attacl IS NOT NULL AND NOT attisdropped
    """
)
