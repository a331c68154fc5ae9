"""Rows of files into their tables through the natural keys: what is there already stays unless the file is newer.

A part is one transaction, and storing it twice changes nothing. A closed value that a newer answer replaces is noted
in `revisions`, as the collector does; an older answer never replaces a newer one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, text

from collector.errors import StorageRejected
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.merge import CIRCUMSTANCES
from collector.storage.outgoing.copying import copy_in
from collector.storage.outgoing.datasets import IMPORT, Exportable, Form
from collector.storage.revisions import FINAL

_KEPT_FIRST = frozenset({"instruments", "assets", "signals", "signal_revisions", "cycles", "coverage"})
"""Tables whose stored rows no file changes."""
_PATIENT = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What became of the rows of a part."""

    rows: int = 0
    inserted: int = 0
    replaced: int = 0  # stored values that the file knew newer
    kept: int = 0  # stored values that differ from the file's and are newer, or whose table keeps what it has

    def __add__(self, other: "Landed") -> "Landed":
        return Landed(
            rows=self.rows + other.rows,
            inserted=self.inserted + other.inserted,
            replaced=self.replaced + other.replaced,
            kept=self.kept + other.kept,
        )


def begin_import(database: Database, *, at: datetime, folder: str, simulated: bool) -> tuple[int, bool]:
    """Return the number of an import's own cycle, and whether rows keep the numbers of theirs.

    They do in a database without cycles: no other cycle can be meant there. The same import gets the same cycle.
    """
    values = {"at": at, "folder": folder, "simulated": simulated, "cadence": IMPORT}
    with database.transaction("begin the import") as connection:
        found = connection.execute(_FIND, values).scalar()
        number = connection.execute(_BEGIN, values).scalar_one() if found is None else found
        return int(number), not connection.execute(_HAS_CYCLES).scalar()


_FIND = text("SELECT cycle_id FROM cycles WHERE cadence = :cadence AND started_at = :at")
_BEGIN = text(
    """
    INSERT INTO cycles (cycle_id, cadence, state, started_at, finished_at, instance, folder, simulated)
    OVERRIDING SYSTEM VALUE
    SELECT least(coalesce(min(cycle_id), 0), 0) - 1, :cadence, 'ok', :at, :at, 'import', :folder, :simulated FROM cycles
    RETURNING cycle_id
    """
)
_HAS_CYCLES = text("SELECT EXISTS (SELECT 1 FROM cycles WHERE cycle_id > 0)")


def store_part(
    database: Database,
    dataset: Exportable,
    part: bytes,
    *,
    spelling: str,
    cycle: int | None,
    trimmed: Iterable[str] = (),
) -> Landed:
    """Store rows in one transaction and return what became of them.

    `spelling`: csv (without a header) or jsonl. `cycle`: the number to store rows under, None to keep theirs.
    `trimmed`: columns whose exact numbers lose the zeros at their end, which a file type has added. Raises
    StorageUnavailable when nothing was stored, StorageRejected for rows that the database does not take.
    """
    with database.transaction(f"import {dataset.name}") as connection:
        connection.exec_driver_sql(_PATIENT)
        _stage(connection, dataset, part, spelling)
        _check_instruments(connection, dataset)
        _make_partitions(connection, dataset)
        rows = int(connection.execute(text("SELECT count(*) FROM imported")).scalar_one())
        chosen = _chosen(dataset, tuple(sorted(trimmed)), cycle)
        inserted = connection.execute(text(_insert_sql(dataset, chosen))).rowcount
        replaced, kept = (0, 0) if inserted == rows else _existing(connection, dataset, chosen)
        if cycle is None and "cycle_id" in dataset.names():
            connection.execute(_ADVANCE)
        return Landed(rows=rows, inserted=inserted, replaced=replaced, kept=kept)


_ADVANCE = text(
    "SELECT setval(pg_get_serial_sequence('cycles', 'cycle_id'), greatest(max(i.cycle_id), min(s.last_value))) "
    "FROM imported i, pg_sequences s WHERE s.schemaname = current_schema() AND s.sequencename = 'cycles_cycle_id_seq' "
    "HAVING max(i.cycle_id) > 0 AND max(i.cycle_id) > coalesce(min(s.last_value), 0)"
)


def _stage(connection: Connection, dataset: Exportable, part: bytes, spelling: str) -> None:
    named = ", NULL::text AS instrument" if dataset.numbered else ""
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE imported ON COMMIT DROP AS SELECT t.*{named} FROM {dataset.name} t WITH NO DATA"
    )
    if spelling == "csv":
        copy_in(connection, "imported", dataset.names(), [part])
        return
    connection.exec_driver_sql("CREATE TEMPORARY TABLE imported_lines (line json) ON COMMIT DROP")
    copy_in(connection, "imported_lines", ["line"], [part], lines=True)
    connection.exec_driver_sql(
        "INSERT INTO imported SELECT r.* FROM imported_lines l "
        "CROSS JOIN LATERAL json_populate_record(NULL::imported, l.line) r"
    )


def _check_instruments(connection: Connection, dataset: Exportable) -> None:
    if not dataset.numbered:
        return
    unknown = connection.execute(_UNKNOWN).scalars().all()
    if unknown:
        raise StorageRejected(f"{dataset.name}: the instrument {unknown[0]} is not known; import instruments first")


_UNKNOWN = text(
    "SELECT DISTINCT s.instrument FROM imported s WHERE NOT EXISTS "
    "(SELECT 1 FROM instruments i WHERE i.instrument = s.instrument) LIMIT 1"
)


def _make_partitions(connection: Connection, dataset: Exportable) -> None:
    column = timeseries.PARTITIONED.get(dataset.name)
    if column is None:
        return
    query = text(f"SELECT DISTINCT date_trunc('month', {column}, 'UTC') FROM imported")
    months = [timeseries.month_of(moment) for moment in connection.execute(query).scalars()]
    timeseries.ensure_partitions(connection, dataset.name, months)


# --------------------------------------------------------------------------- statements


@cache
def _chosen(dataset: Exportable, trimmed: tuple[str, ...], cycle: int | None) -> str:
    """Return the query of what is staged, in the table's words."""
    columns = []
    for column in dataset.columns:
        name = column.name
        value = f"s.{name}"
        if name == "instrument" and dataset.numbered:
            columns.append("i.instrument_id")
            continue
        if name == "cycle_id" and cycle is not None and dataset.name != "cycles":
            value = str(cycle)
        elif name in trimmed and column.form is Form.NUMBER:
            value = f"trim_scale(s.{name})"
        elif name in trimmed and column.form is Form.NUMBERS:
            value = (
                f"CASE WHEN s.{name} IS NOT NULL THEN ARRAY(SELECT trim_scale(v) FROM unnest(s.{name}) "
                "WITH ORDINALITY AS u (v, n) ORDER BY n) END"
            )
        columns.append(f"{value} AS {name}")
    join = "JOIN instruments i ON i.instrument = s.instrument" if dataset.numbered else ""
    return f"SELECT {', '.join(columns)} FROM imported s {join}"


def _table_columns(dataset: Exportable) -> list[str]:
    return ["instrument_id" if name == "instrument" and dataset.numbered else name for name in dataset.names()]


def _key(dataset: Exportable) -> list[str]:
    return ["instrument_id" if name == "instrument" and dataset.numbered else name for name in dataset.key]


def _insert_sql(dataset: Exportable, chosen: str) -> str:
    names = ", ".join(_table_columns(dataset))
    overriding = "OVERRIDING SYSTEM VALUE" if dataset.name == "cycles" else ""
    # Windows of a series never overlap: one that meets a stored window is that window, or is not needed.
    apart = (
        "WHERE NOT EXISTS (SELECT 1 FROM coverage c WHERE c.instrument_id = n.instrument_id AND c.dataset = n.dataset "
        "AND c.interval = n.interval AND c.since < n.until AND c.until > n.since)"
        if dataset.name == "coverage"
        else ""
    )
    return (
        f"INSERT INTO {dataset.name} ({names}) {overriding} SELECT {names} FROM ({chosen}) n {apart} "
        f"ON CONFLICT ({', '.join(_key(dataset))}) DO NOTHING"
    )


def _existing(connection: Connection, dataset: Exportable, chosen: str) -> tuple[int, int]:
    """Look at the rows whose keys were stored before: return how many were replaced and how many kept."""
    row = connection.execute(text(_existing_sql(dataset, chosen))).one()
    return int(row.replaced), int(row.differing) - int(row.replaced)


def _existing_sql(dataset: Exportable, chosen: str) -> str:
    key = _key(dataset)
    values = [name for name in _table_columns(dataset) if name not in key and name not in CIRCUMSTANCES]
    same = " AND ".join(f"o.{name} = n.{name}" for name in key)
    differs = " OR ".join(f"n.{name} IS DISTINCT FROM o.{name}" for name in values) or "false"
    kept = ", ".join(f"o.{name} AS old_{name}" for name in values)
    newer = f"n.{dataset.received} > o.{dataset.received}" if _replaceable(dataset) else "false"
    sets = [name for name in _table_columns(dataset) if name not in key]
    update = (
        f"UPDATE {dataset.name} o SET {', '.join(f'{name} = d.{name}' for name in sets)} FROM differing d "
        f"WHERE d.newer AND {' AND '.join(f'o.{name} = d.{name}' for name in key)}"
    )
    noted = f", noted AS ({_note_sql(dataset, values)})" if dataset.name in FINAL else ""
    changed = f", changed AS ({update})" if _replaceable(dataset) else ""
    return f"""
        WITH n AS ({chosen}), differing AS MATERIALIZED (
            SELECT n.*, {kept or "NULL AS old"}, {newer} AS newer
            FROM n JOIN {dataset.name} o ON {same} WHERE {differs}
        ){noted}{changed}
        SELECT count(*) FILTER (WHERE newer) AS replaced, count(*) AS differing FROM differing
    """


def _replaceable(dataset: Exportable) -> bool:
    return dataset.received is not None and dataset.name not in _KEPT_FIRST


def _note_sql(dataset: Exportable, values: list[str]) -> str:
    listed = ", ".join(
        f"('{name}', d.old_{name}::text, d.{name}::text, d.old_{name} IS DISTINCT FROM d.{name})" for name in values
    )
    key = ", ".join(
        "'instrument', i.instrument" if name == "instrument_id" else f"'{name}', d.{name}" for name in _key(dataset)
    )
    changed = (
        "CASE WHEN d.old_source <> d.source THEN 'source' ELSE 'provider' END" if "source" in values else "'provider'"
    )
    return f"""
        INSERT INTO revisions (table_name, subject, key, source, columns, old, new, cause, detected_at, cycle_id)
        SELECT '{dataset.name}', i.instrument, jsonb_build_object({key}), d.source, v.columns, v.old, v.new,
            {changed}, d.{dataset.received}, d.cycle_id
        FROM differing d JOIN instruments i USING (instrument_id) CROSS JOIN LATERAL (
            SELECT array_agg(name ORDER BY name), jsonb_object_agg(name, old), jsonb_object_agg(name, new)
            FROM (VALUES {listed}) AS v(name, old, new, differs) WHERE differs
        ) AS v(columns, old, new) WHERE d.newer
    """
