"""TimescaleDB, where the server has it: what is set up, what `db timescale enable` would do, and doing it, repeatably.

Nothing here is needed: every other module works the same on partitions. Which statements are wanted follows from a
look at the server, so a second run has nothing to do, and an interrupted one goes on where it stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, text

from collector.errors import ConfigError
from collector.records import Interval
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.hypertables import aggregates, conversion
from collector.storage.hypertables.aggregates import AggregateState
from collector.storage.models import METADATA

OLDEST = (2, 14)
"""The oldest TimescaleDB whose statements are used; compressed rows are writable since 2.11."""
IMAGE = "timescale/timescaledb"
NOT_COMPRESSED = frozenset({"raw_payloads"})  # its bodies are compressed already, and it is deleted by age
_LIMIT = "timescaledb.max_tuples_decompressed_per_dml_transaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What shall be set up."""

    chunk: timedelta
    compress_after: timedelta | None  # None: rows are not compressed
    drop_after: Mapping[str, timedelta] = field(default_factory=dict)
    aggregates: Sequence[Interval] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What the server offers. `licence` is None until the extension is in the database."""

    available: str | None  # version that could be installed; None: the server does not have it
    installed: str | None  # version in this database
    preloaded: bool
    licence: str | None

    @property
    def full(self) -> bool:
        """Return whether compression, policies and continuous aggregates may be used: not under the Apache licence."""
        return self.licence == "timescale"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """One big table."""

    table: str
    hypertable: bool
    pieces: int  # partitions, or chunks
    compressed: int = 0  # chunks
    chunk: timedelta | None = None
    compression: bool = False
    compress_after: timedelta | None = None  # of the policy
    drop_after: timedelta | None = None  # of the policy
    bytes_before: int | None = None  # of the compressed chunks, before and after; None: none is
    bytes_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is set up now."""

    support: Support
    tables: Sequence[TableState]
    aggregates: Sequence[AggregateState] = ()
    unfinished: Sequence[str] = ()  # tables whose conversion was interrupted
    unlimited: bool = False  # whether any number of compressed rows may be changed at once

    def table(self, name: str) -> TableState:
        """Return the state of one table."""
        return next(table for table in self.tables if table.table == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do: statements in one transaction, or a table to convert."""

    what: str
    statements: Sequence[str] = ()
    converts: str = ""
    alone: bool = False  # each statement by itself: it refuses to be in a transaction


# ------------------------------------------------------------------ looking


def load_state(database: Database) -> State:
    """Return what the server has and what is set up. Raises StorageError."""
    with database.reading("look at TimescaleDB") as connection:
        support = _support(connection)
        values = {"tables": list(timeseries.PARTITIONED)}
        pieces = {row.table: row.pieces for row in connection.execute(_PIECES, values)}
        tables = [TableState(table=name, hypertable=False, pieces=pieces.get(name, 0)) for name in values["tables"]]
        unfinished = conversion.unfinished(connection)
        if support.installed is None:
            return State(support=support, tables=tables, unfinished=unfinished)
        found = {row.table: row._asdict() for row in connection.execute(_HYPERTABLES, values)}
        for name in [name for name, row in found.items() if support.full and row["compressed"]]:
            found[name].update(connection.execute(_COMPRESSED_SIZE, {"table": name}).one()._asdict())
        return State(
            support=support,
            tables=[TableState(**found[item.table]) if item.table in found else item for item in tables],
            aggregates=aggregates.load_states(connection),
            unfinished=unfinished,
            unlimited=bool(connection.execute(_UNLIMITED, {"setting": f"{_LIMIT}=0"}).scalar()),
        )


def _support(connection: Connection) -> Support:
    return Support(**connection.execute(_SUPPORT).one()._asdict())


def refuse_unsupported(support: Support) -> None:
    """Raise ConfigError with the remedy when the server cannot do it."""
    if support.available is None:
        raise ConfigError(
            "this server does not have TimescaleDB, and nothing needs it; to use it, install the extension on the "
            f"server or run the {IMAGE} image, then repeat this command"
        )
    if not support.preloaded:
        raise ConfigError(
            "TimescaleDB is installed and not loaded: add timescaledb to shared_preload_libraries in postgresql.conf, "
            "restart the server, then repeat this command"
        )
    version = support.installed or support.available
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigError(
            f"TimescaleDB is {version}; {oldest} or newer is needed: update it on the server, then run "
            "ALTER EXTENSION timescaledb UPDATE as the first command of a new psql session"
        )


# ------------------------------------------------------------------ what to do


def steps(state: State, wanted: Wanted) -> list[Step]:
    """Return what is left to do, in this order; nothing when all of it is done."""
    support, found = state.support, []
    if support.installed is None:
        found.append(Step(what="create the extension", statements=["CREATE EXTENSION timescaledb"], alone=True))
    for table in state.tables:
        if not table.hypertable:
            made = [hypertable_sql(f"{conversion.WORKSHOP}.{table.table}", table.table, wanted.chunk)]
            found.append(Step(what=f"turn {table.table} into a hypertable", statements=made, converts=table.table))
        elif table.chunk != wanted.chunk:
            resize = f"SELECT set_chunk_time_interval('{table.table}', {interval_sql(wanted.chunk)})"
            found.append(
                Step(what=f"make new chunks of {table.table} {wanted.chunk.days} days long", statements=[resize])
            )
    if support.installed is not None and not support.full:
        return found
    if not state.unlimited:
        lift = f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {_LIMIT} = 0', current_database()); END $$"
        found.append(Step(what="let compressed rows be changed in any number", statements=[lift]))
    for table in state.tables:
        found += _compression(table, wanted.compress_after) + _dropping(table, wanted.drop_after.get(table.table))
    return found + [
        Step(what=what, statements=statements, alone=alone)
        for what, statements, alone in aggregates.missing(state.aggregates, wanted.aggregates, wanted.drop_after)
    ]


def hypertable_sql(table: str, name: str, chunk: timedelta) -> str:
    """Return the statement that makes an empty table a hypertable; the default index would repeat ours."""
    column = timeseries.PARTITIONED[name]
    return (
        f"SELECT create_hypertable('{table}', by_range('{column}', {interval_sql(chunk)}), "
        "create_default_indexes => false)"
    )


def compression_sql(table: str) -> str:
    """Return the statement that says how a table is compressed: a series together, its rows in order of time."""
    column = timeseries.PARTITIONED[table]
    series = ", ".join(item.name for item in METADATA.tables[table].primary_key.columns if item.name != column)
    return (
        f"ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby = '{series}', "
        f"timescaledb.compress_orderby = '{column} DESC')"
    )


def interval_sql(length: timedelta) -> str:
    """Return a whole number of seconds as SQL, days apart where it is days."""
    days, rest = divmod(int(length.total_seconds()), 86400)
    return f"INTERVAL '{rest} seconds'" if rest else f"INTERVAL '{days} days'"


def _compression(table: TableState, after: timedelta | None) -> list[Step]:
    if table.table in NOT_COMPRESSED or table.compress_after == after:
        return []
    if after is None:
        stop = f"SELECT remove_compression_policy('{table.table}')"
        return [Step(what=f"no longer compress {table.table}", statements=[stop])]
    statements = [] if table.compression else [compression_sql(table.table)]
    if table.compress_after is not None:
        statements.append(f"SELECT remove_compression_policy('{table.table}')")
    statements.append(f"SELECT add_compression_policy('{table.table}', compress_after => {interval_sql(after)})")
    return [Step(what=f"compress {table.table} from an age of {after.days} days", statements=statements)]


def _dropping(table: TableState, after: timedelta | None) -> list[Step]:
    if table.drop_after == after:
        return []
    statements = [] if table.drop_after is None else [f"SELECT remove_retention_policy('{table.table}')"]
    what = f"no longer drop rows of {table.table}"
    if after is not None:
        statements.append(f"SELECT add_retention_policy('{table.table}', drop_after => {interval_sql(after)})")
        what = f"drop rows of {table.table} from an age of {after.days} days"
    return [Step(what=what, statements=statements)]


# ------------------------------------------------------------------ doing it


def enable(database: Database, wanted: Wanted, *, say: Callable[[str], None]) -> list[str]:
    """Do what is left to do and return it in words. The writer's lock must be held.

    Raises ConfigError with the remedy when the server cannot, or something stands in the way.
    """
    unknown = sorted(set(wanted.drop_after) - set(timeseries.PARTITIONED))
    if unknown:
        known = ", ".join(timeseries.PARTITIONED)
        raise ConfigError(f"timescale.drop_after_days: {', '.join(unknown)} is none of {known}")
    done: list[str] = []
    state = load_state(database)
    refuse_unsupported(state.support)
    if state.support.installed is None:
        first = steps(state, wanted)[:1]
        done += [_run(database, step, wanted, say) for step in first]
        state = load_state(database)  # now the licence is known
    done += [_run(database, step, wanted, say) for step in steps(state, wanted)]
    database.engine.dispose()  # sessions from before know neither the extension nor the new limits
    return done


def disable(database: Database, *, say: Callable[[str], None]) -> list[str]:
    """Turn every hypertable back into partitions, without losing a row; return what was done, in words.

    The writer's lock must be held. The extension stays in the database.
    """
    state = load_state(database)
    done = [f"dropped the unfinished copy of {name}" for name in conversion.forget_copies(database)]
    if state.support.installed is not None:
        with database.transaction("drop aggregates") as connection:
            aggregates.refuse_foreign(connection, list(timeseries.PARTITIONED))
            for found in state.aggregates:
                connection.execute(text(f"DROP MATERIALIZED VIEW {found.name}"))
                done.append(f"dropped {found.name}")
    for table in state.tables:
        if table.hypertable:
            swapped = conversion.convert(database, table.table, lambda _: (), partitioned=True, say=say)
            done.append(f"turned {table.table} back into partitions, {swapped.rows:,} rows")
            say(done[-1])
    if state.unlimited:
        with database.transaction("reset a setting") as connection:
            reset = f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET {_LIMIT}', current_database()); END $$"
            connection.execute(text(reset))
    with database.transaction("make partitions") as connection:
        timeseries.ensure_ahead(connection, database.clock.now())
    database.engine.dispose()
    return done


def _run(database: Database, step: Step, wanted: Wanted, say: Callable[[str], None]) -> str:
    say(step.what)
    if step.converts:
        name = step.converts
        shape: conversion.Shape = lambda copy: [hypertable_sql(copy, name, wanted.chunk)]  # noqa: E731 - one line
        swapped = conversion.convert(database, name, shape, partitioned=False, say=say)
        return f"{step.what}: {swapped.rows:,} rows, compared to the letter"
    if step.alone:
        _run_alone(database, step)
    else:
        with database.transaction(step.what) as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            for statement in step.statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))
    return step.what


def _run_alone(database: Database, step: Step) -> None:
    """Run statements that must not be in a transaction, on a connection that does not return to the pool."""
    with database.connection(step.what) as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        alone.execute(text("SET statement_timeout = 0"))
        for statement in step.statements:
            alone.exec_driver_sql(statement.replace("%", "%%"))
        alone.invalidate()


# The licence is a setting of the extension, unknown where it is not; `disable_load` is one of its preloaded part.
_SUPPORT = text(
    """
    SELECT (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb') AS available,
        (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS installed,
        current_setting('timescaledb.disable_load', true) IS NOT NULL
            OR current_setting('timescaledb.license', true) IS NOT NULL AS preloaded,
        CASE WHEN EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
            THEN current_setting('timescaledb.license', true) END AS licence
    """
)
_PIECES = text(
    """
    SELECT c.relname::text AS table, count(i.inhrelid) AS pieces
    FROM pg_class c LEFT JOIN pg_inherits i ON i.inhparent = c.oid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(:tables) GROUP BY 1
    """
)
_POLICY = """
    (SELECT (j.config ->> '{}')::interval FROM timescaledb_information.jobs j
     WHERE j.hypertable_schema = h.hypertable_schema AND j.hypertable_name = h.hypertable_name
       AND j.proc_name = '{}' LIMIT 1)
"""
_HYPERTABLES = text(
    f"""
    SELECT h.hypertable_name::text AS table, true AS hypertable, h.num_chunks AS pieces,
        (SELECT count(*) FROM timescaledb_information.chunks k
         WHERE k.hypertable_schema = h.hypertable_schema AND k.hypertable_name = h.hypertable_name
           AND k.is_compressed) AS compressed,
        d.time_interval AS chunk, h.compression_enabled AS compression,
        {_POLICY.format("compress_after", "policy_compression")} AS compress_after,
        {_POLICY.format("drop_after", "policy_retention")} AS drop_after
    FROM timescaledb_information.hypertables h
    JOIN timescaledb_information.dimensions d USING (hypertable_schema, hypertable_name)
    WHERE h.hypertable_schema = current_schema() AND h.hypertable_name = ANY(:tables) AND d.dimension_number = 1
    """
)
_COMPRESSED_SIZE = text(
    "SELECT before_compression_total_bytes AS bytes_before, after_compression_total_bytes AS bytes_after "
    "FROM hypertable_compression_stats(to_regclass(:table))"
)
_UNLIMITED = text(
    "SELECT count(*) > 0 FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase "
    "WHERE d.datname = current_database() AND s.setrole = 0 AND :setting = ANY(s.setconfig)"
)
