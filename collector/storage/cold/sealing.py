"""The database's side of sealing: what a file shall hold of a month, the drop of an unchanged month, and its return.

Rows are copied, and counted with a digest, in one snapshot. The drop compares that digest under a lock that keeps
writers out of the month, so a row that came after the copy keeps it from happening.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text

from collector.errors import StorageRejected
from collector.storage import timeseries
from collector.storage.cold.cold_months import ColdMonth, Event, move
from collector.storage.cold.cold_windows import forget_windows
from collector.storage.database import Database
from collector.storage.faults import translated
from collector.storage.outgoing.copying import copy_in
from collector.storage.outgoing.datasets import EXPORTABLE, Exportable, Form
from collector.storage.timeseries import Month

WITH_BARS = ("candles", "indicators")
# Not so long that writers, who wait behind us, give up after their 5 s; shorter than the server's search for deadlocks,
# so that of two that wait for each other it is us who gives way.
LOCK_WAIT = "800ms"
Parts = Callable[[], Iterable[bytes]]
"""Begins the rows of a file, as `copy_in` takes them."""


@dataclass(frozen=True, slots=True)
class Hot:
    """What the database holds of a month and may leave it."""

    rows: int
    fingerprint: str  # whatever the order of the rows


@dataclass(frozen=True, slots=True)
class Gone:
    """What left the database."""

    rows: int
    freed_bytes: int  # of the month's partition


def kept_sql(dataset: str, keep_intervals: Sequence[str]) -> str:
    """Return the condition of rows that never leave; empty: there are none."""
    if dataset not in WITH_BARS or not keep_intervals:
        return ""
    return f"interval IN ({', '.join(repr(str(item)) for item in keep_intervals)})"


def hot_rows(connection: Connection, dataset: str, month: Month, kept: str) -> Hot:
    """Return what may leave, by reading all of it."""
    query = f"""
        SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {dataset} t
        WHERE {_leaving(dataset, month, kept)}
    """
    row = connection.execute(text(query)).one()
    return Hot(rows=int(row[0]), fingerprint=str(row[1]))


def count_leaving(database: Database, dataset: str, month: Month, kept: str) -> int:
    """Return how many rows may leave. Raises StorageError."""
    with database.reading("count a month") as connection:
        _be_patient(connection)
        query = f"SELECT count(*) FROM {dataset} t WHERE {_leaving(dataset, month, kept)}"
        return int(connection.execute(text(query)).scalar_one())


def has_leaving(database: Database, dataset: str, month: Month, kept: str) -> bool:
    """Return whether there are rows that may leave. Raises StorageError."""
    with database.reading("look into a month") as connection:
        _be_patient(connection)
        query = f"SELECT EXISTS (SELECT FROM {dataset} t WHERE {_leaving(dataset, month, kept)})"
        return bool(connection.execute(text(query)).scalar_one())


class MonthSource(Database):
    """A month as its next file shall hold it: what may leave the database, and what an older file has beside it.

    To a reader of a `Database` the dataset holds nothing else. `hot` and `replaced` are those of the last reading.
    """

    def __init__(
        self, database: Database, dataset: Exportable, month: Month, *, kept: str, older: Parts | None = None
    ) -> None:
        self.url, self.clock, self.engine = database.url, database.clock, database.engine
        self.application_name = database.application_name
        self._dataset, self._month, self._kept, self._older = dataset, month, kept, older
        self.hot = Hot(0, "")
        self.replaced = 0

    @contextmanager
    def reading(self, doing: str = "read") -> Iterator[Connection]:
        """Lend a connection inside a snapshot in which the dataset is what the file shall hold."""
        with translated(doing), self.engine.connect() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            _be_patient(connection)
            self.hot = hot_rows(connection, self._dataset.name, self._month, self._kept)
            if self._older is None:
                connection.execute(text(f"CREATE TEMPORARY VIEW {self._dataset.name} AS {self._leaving(connection)}"))
            else:
                self.replaced = self._merge(connection, self._older)
            yield connection
            connection.rollback()  # nothing of this is there for anybody else

    def _leaving(self, connection: Connection) -> str:
        schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
        name = self._dataset.name
        return f"SELECT * FROM {schema}.{name} t WHERE {_leaving(name, self._month, self._kept)}"

    def _merge(self, connection: Connection, older: Parts) -> int:
        """Put the older file and the database's rows into one temporary table; return how many rows were replaced."""
        name, leaving = self._dataset.name, self._leaving(connection)
        load_file(connection, self._dataset, older())
        # Hides the real table in this session, and has its key.
        connection.execute(
            text(f"CREATE TEMPORARY TABLE {name} (LIKE {name} INCLUDING DEFAULTS INCLUDING INDEXES) ON COMMIT DROP")
        )
        held = connection.execute(text(f"INSERT INTO pg_temp.{name} {from_file(self._dataset)}")).rowcount
        key = ", ".join(_stored_key(self._dataset))
        sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in _stored_columns(self._dataset))
        came = connection.execute(
            text(f"INSERT INTO pg_temp.{name} {leaving} ON CONFLICT ({key}) DO UPDATE SET {sets}")
        ).rowcount
        connection.execute(text(f"ANALYZE pg_temp.{name}"))
        together = connection.execute(text(f"SELECT count(*) FROM pg_temp.{name}")).scalar_one()
        return held + came - int(together)


def leave(database: Database, month: ColdMonth, kept: str) -> Gone | None:
    """Drop a sealed month from the database if it still holds what was copied; None: it does not, and stays.

    Raises StorageLocked when somebody reads or writes the table for long.
    """
    with database.transaction(f"drop {month.label}") as connection:
        _be_patient(connection)
        now = database.clock.now()
        gone = Gone(0, 0)
        if month.month in timeseries.months_stored(connection, month.dataset):
            timeseries.lock_month(connection, month.dataset, month.month)
            hot = hot_rows(connection, month.dataset, month.month, kept)
            if (hot.rows, hot.fingerprint) != (month.hot_rows, month.hot_fingerprint):
                move(connection, month.dataset, month.month, Event.CHANGED, now=now)
                return None
            gone = Gone(hot.rows, timeseries.size_of_month(connection, month.dataset, month.month))
            timeseries.drop_month(connection, month.dataset, month.month, keep=kept)
        move(connection, month.dataset, month.month, Event.LEFT, now=now, dropped_at=now)
        return gone


def delete(database: Database, dataset: str, month: Month, kept: str, keep_intervals: Sequence[str]) -> Gone:
    """Drop a month from the database for good; windows of its candles are not wanted any more."""
    with database.transaction(f"delete {dataset}") as connection:
        _be_patient(connection)
        now = database.clock.now()
        timeseries.lock_month(connection, dataset, month)
        rows = hot_rows(connection, dataset, month, kept).rows
        gone = Gone(rows, timeseries.size_of_month(connection, dataset, month))
        timeseries.drop_month(connection, dataset, month, keep=kept)
        if dataset == "candles":
            forget_windows(connection, month, [str(item) for item in keep_intervals])
        move(connection, dataset, month, Event.DELETED, now=now, dropped_at=now)
        return gone


def bring_back(database: Database, month: ColdMonth, parts: Iterable[bytes]) -> int:
    """Put the rows of a file into the database and return how many came; a row that is there already stays.

    Raises StorageRejected when the file does not fit the database.
    """
    dataset = EXPORTABLE[month.dataset]
    with database.transaction("make partitions") as connection:
        timeseries.ensure_partitions(connection, dataset.name, [month.month])
    with database.transaction(f"restore {month.label}") as connection:
        _be_patient(connection)
        load_file(connection, dataset, parts)
        known = connection.execute(text(f"SELECT count(*) FROM ({from_file(dataset)}) known")).scalar_one()
        if known != month.rows:
            raise StorageRejected(f"{month.label}: the file has {month.rows} rows, {known} of known instruments")
        key = ", ".join(_stored_key(dataset))
        came = connection.execute(
            text(f"INSERT INTO {dataset.name} {from_file(dataset)} ON CONFLICT ({key}) DO NOTHING")
        ).rowcount
        stale = list(dict.fromkeys([*month.stale, month.file]))
        values = {"file": "", "rows": 0, "size": 0, "sha256": "", "fingerprint": "", "stale": stale, "sealed_at": None}
        move(connection, dataset.name, month.month, Event.BACK, now=database.clock.now(), **values)
        return int(came)


def load_file(connection: Connection, dataset: Exportable, parts: Iterable[bytes]) -> int:
    """Copy the rows of a file into the temporary table `cold_rows`, in the file's words; return how many."""
    columns = ", ".join(
        "NULL::text AS instrument" if dataset.numbered and name == "instrument" else f"t.{name}"
        for name in dataset.names()
    )
    connection.execute(
        text(f"CREATE TEMPORARY TABLE cold_rows ON COMMIT DROP AS SELECT {columns} FROM {dataset.name} t WITH NO DATA")
    )
    count = copy_in(connection, "cold_rows", dataset.names(), parts)
    connection.execute(text("ANALYZE cold_rows"))
    return count


def from_file(dataset: Exportable) -> str:
    """Return the query of what `load_file` loaded, in the table's columns; zeros that a file adds to numbers go."""
    values = ", ".join(f"{_value(dataset, name)} AS {name}" for name in _stored_columns(dataset))
    join = "JOIN instruments i ON i.instrument = c.instrument" if dataset.numbered else ""
    return f"SELECT {values} FROM cold_rows c {join}"


def _value(dataset: Exportable, name: str) -> str:
    if name == "instrument_id":
        return "i.instrument_id"
    form = dataset.column(name).form
    if form is Form.NUMBER:
        return f"trim_scale(c.{name})"
    if form is Form.NUMBERS:
        return (
            f"CASE WHEN cardinality(c.{name}) = 0 THEN c.{name} ELSE "
            f"(SELECT array_agg(trim_scale(n) ORDER BY place) FROM unnest(c.{name}) WITH ORDINALITY u (n, place)) END"
        )
    return f"c.{name}"


def _stored_columns(dataset: Exportable) -> list[str]:
    """Return the table's columns in the table's order, which is that of the file."""
    return ["instrument_id" if dataset.numbered and name == "instrument" else name for name in dataset.names()]


def _stored_key(dataset: Exportable) -> list[str]:
    return ["instrument_id" if dataset.numbered and name == "instrument" else name for name in dataset.key]


def _leaving(dataset: str, month: Month, kept: str) -> str:
    time = timeseries.PARTITIONED[dataset]
    since, until = timeseries.start_of(month), timeseries.start_of(timeseries.following(month))
    within = f"t.{time} >= '{since.isoformat()}' AND t.{time} < '{until.isoformat()}'"
    return f"{within} AND NOT (t.{kept})" if kept else within


def _be_patient(connection: Connection) -> None:
    """Let a month take its time, and give way soon to whoever holds a lock."""
    connection.exec_driver_sql(
        "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "
        f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"
    )


def stored_months(database: Database, dataset: str) -> list[Month]:
    """Return the months that the database has room for, oldest first. Raises StorageError."""
    with database.reading("look for months") as connection:
        return sorted(timeseries.months_stored(connection, dataset))


def size_of_month(database: Database, dataset: str, month: Month) -> int:
    """Return how many bytes a month takes, with its indexes. Raises StorageError."""
    with database.reading("measure a month") as connection:
        return timeseries.size_of_month(connection, dataset, month)
