"""One SELECT over the database and Parquet files together, through DuckDB.

Each dataset that the statement names is copied into a scratch database on disk first, within a time if one is given:
the rows of PostgreSQL, then those of sealed months and of exported folders whose keys are not there yet. Memory is
bounded; the disk needs room for the copy. Nothing is ever written to where the rows come from.
"""

import csv
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import duckdb

from collector.errors import ConfigError
from collector.printing import table
from collector.sinks.files.atomic import TEMPORARY
from collector.sinks.files.parquet import file_schema, text_columns
from collector.sinks.files.tables import DoesNotFit, arrow_schema, read_rows
from collector.storage import timeseries
from collector.storage.cold.cold_months import ColdMonths
from collector.storage.database import Database
from collector.storage.outgoing.copying import Spelling, copied_out, load_slices
from collector.storage.outgoing.datasets import EXPORTABLE, Exportable, Form, Slice

_TYPES = {
    Form.TEXT: "VARCHAR",
    Form.REAL: "DOUBLE",
    Form.WHOLE: "BIGINT",
    Form.FLAG: "BOOLEAN",
    Form.MOMENT: "TIMESTAMPTZ",
    Form.DOCUMENT: "VARCHAR",
    Form.TEXTS: "VARCHAR[]",
    Form.BYTES: "BLOB",
}
_EXPLAIN = "explain"
_ABOUT = frozenset({"describe", "desc", "show", _EXPLAIN})  # tell of tables and plans, and need no rows
_READING = frozenset({"select", "with", "from", "summarize", *_ABOUT})
_PAGE = 1000
LISTEN_S = 0.1  # between two looks for a signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where rows come from, and of which time."""

    database: Database
    cold: Path  # folder of sealed months
    folders: Sequence[Path] = ()  # of exports
    since: datetime | None = None
    until: datetime | None = None


@contextmanager
def answered(
    places: Places, statement: str, *, memory_mb: int = 512, note: Callable[[str], None] = lambda _text: None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Run a statement and lend its result, to be fetched; raises ConfigError in one line for what cannot be run.

    `note` is told what is not exact in it.
    """
    with tempfile.TemporaryDirectory(prefix="query-") as scratch:
        connection = duckdb.connect(str(Path(scratch) / "rows.duckdb"))
        try:
            connection.execute(f"SET memory_limit = '{memory_mb}MB'; SET temp_directory = '{scratch}'")
            connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
            with _told(statement):
                for dataset in EXPORTABLE.values():
                    _create(connection, dataset)  # empty: what a statement means is told from its tables
                for name in _names(connection, statement):
                    _load(connection, EXPORTABLE[name], places, note)
                _run(connection, statement)
                yield connection
        finally:
            connection.close()


def _run(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Run a statement in a thread of its own: while DuckDB works, the thread that waits for it hears no signal."""
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(connection.execute, statement)
        try:
            while not wait([work], timeout=LISTEN_S).done:
                pass
        except BaseException:
            connection.interrupt()
            raise
        work.result()


@contextmanager
def _told(statement: str) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except RuntimeError as error:  # what DuckDB makes of Ctrl+C while it works
        if "interrupted" not in str(error):
            raise
        raise KeyboardInterrupt from error
    except duckdb.Error as error:
        raise ConfigError(f"{statement.strip()[:60]!r}: {' '.join(str(error).split())[:300]}") from error


def _names(connection: duckdb.DuckDBPyConnection, statement: str) -> list[str]:
    """Return the datasets whose rows a statement needs; refuses everything but one that reads."""
    _refuse_writing(connection, statement)
    if _first_word(statement) in _ABOUT:
        return []
    connection.execute(f"EXPLAIN {statement}")  # says what is wrong before anything is read
    try:
        named = connection.get_table_names(statement)
    except duckdb.BinderException:  # it does not know the columns, and stumbles over some joins: every word then
        named = set(re.findall(r"\w+", statement.lower()))
    return sorted(name for name in EXPORTABLE if name in named)


def _refuse_writing(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Raise ConfigError unless this is one SELECT, which DESCRIBE, SUMMARIZE and SHOW are too, or the EXPLAIN of one.

    EXPLAIN ANALYZE, which would run what it explains, is refused like everything else.
    """
    found = connection.extract_statements(statement)
    first = _first_word(statement)
    if len(found) == 1 and found[0].type == duckdb.StatementType.EXPLAIN and first == _EXPLAIN:
        _refuse_writing(connection, statement.lstrip()[len(_EXPLAIN) :])
    elif len(found) != 1 or found[0].type != duckdb.StatementType.SELECT or first not in _READING:
        raise ConfigError(
            "query: only one SELECT or WITH statement is run, or DESCRIBE, SUMMARIZE, SHOW or EXPLAIN SELECT; "
            "it reads and changes nothing"
        )


def _first_word(statement: str) -> str:
    return next(iter(re.findall(r"\S+", statement.lstrip("( \t\r\n"))), "").rstrip(";").lower()


# --------------------------------------------------------------------------- loading


def _load(
    connection: duckdb.DuckDBPyConnection, dataset: Exportable, places: Places, note: Callable[[str], None]
) -> None:
    for where in load_slices(places.database, dataset, places.since, places.until):
        _load_slice(connection, dataset, places.database, where)
    for file in _files(dataset, places):  # looked for after the rows: what is sealed meanwhile is in both
        _load_file(connection, dataset, file, places)
    for name, kind in _texts_instead_of_numbers(connection, dataset):
        connection.execute(f'ALTER TABLE {dataset.name} ALTER COLUMN "{name}" TYPE {kind}')
        note(f"{dataset.name}.{name}: a value has more digits than exact numbers have here, so the column is {kind}")


def _texts_instead_of_numbers(connection: duckdb.DuckDBPyConnection, dataset: Exportable) -> list[tuple[str, str]]:
    """Return the columns of exact numbers that had to be read as text, and what they are computed with instead."""
    found = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {dataset.name})").fetchall()
    types = {str(name): str(kind) for name, kind in found}
    numbers = {column.name: column.form for column in dataset.columns if column.form in {Form.NUMBER, Form.NUMBERS}}
    kinds = {name: "DOUBLE" if form is Form.NUMBER else "DOUBLE[]" for name, form in numbers.items()}
    return [(name, kind) for name, kind in kinds.items() if types[name].startswith("VARCHAR")]


def _create(connection: duckdb.DuckDBPyConnection, dataset: Exportable) -> None:
    columns = [f'"{column.name}" {_type(dataset, column.name)}' for column in dataset.columns]
    if dataset.numbered:
        columns.append('"venue" VARCHAR')
    connection.execute(f"CREATE TABLE {dataset.name} ({', '.join(columns)})")


def _type(dataset: Exportable, name: str) -> str:
    column = dataset.column(name)
    number = f"DECIMAL(38, {column.scale})"
    return _TYPES.get(column.form) or (number if column.form is Form.NUMBER else f"{number}[]")


def _as_text(connection: duckdb.DuckDBPyConnection, dataset: Exportable, name: str) -> None:
    """Make a column text: one of its values has more digits than the decimal type."""
    kind = "VARCHAR" if dataset.column(name).form is Form.NUMBER else "VARCHAR[]"
    connection.execute(f'ALTER TABLE {dataset.name} ALTER COLUMN "{name}" TYPE {kind}')


def _load_slice(connection: duckdb.DuckDBPyConnection, dataset: Exportable, database: Database, where: Slice) -> None:
    texts: set[str] = set()
    while (misfit := _inserted(connection, dataset, database, where, texts)) is not None:
        texts.add(misfit)
        _as_text(connection, dataset, misfit)


def _inserted(
    connection: duckdb.DuckDBPyConnection, dataset: Exportable, database: Database, where: Slice, texts: set[str]
) -> str | None:
    """Insert the rows of a slice and return None; or nothing, and the column that has to be text for that."""
    venue = ", split_part(instrument, ':', 1)" if dataset.numbered else ""
    connection.execute("BEGIN")
    try:
        with copied_out(database, dataset, where, Spelling.ROWS) as stream:
            for rows in read_rows(stream, dataset, arrow_schema(dataset, texts)):
                connection.register("arriving", rows)
                connection.execute(f"INSERT INTO {dataset.name} SELECT *{venue} FROM arriving")
                connection.unregister("arriving")
    except DoesNotFit as misfit:
        connection.execute("ROLLBACK")
        return misfit.column
    connection.execute("COMMIT")
    return None


def _files(dataset: Exportable, places: Places) -> Iterator[Path]:
    for month in ColdMonths(places.database).load(dataset.name):
        since, until = timeseries.start_of(month.month), timeseries.start_of(timeseries.following(month.month))
        within = (places.until is None or since < places.until) and (places.since is None or until > places.since)
        if not month.file or not within:
            continue
        if not (places.cold / month.file).exists():
            remedy = "bring it back into retention.folder, or ask for another time with --from and --to"
            raise ConfigError(f"{places.cold / month.file}: the file of a sealed month is not there; {remedy}")
        yield places.cold / month.file
    for folder in places.folders:
        if not folder.is_dir():
            raise ConfigError(f"--files {folder}: is no folder of an export")
        below = sorted((folder / dataset.name).rglob("*.parquet"))
        yield from (path for path in below if not path.name.startswith(TEMPORARY))


def _load_file(connection: duckdb.DuckDBPyConnection, dataset: Exportable, file: Path, places: Places) -> None:
    """Add the rows of a file whose keys are not there yet."""
    for name in text_columns(file_schema(file), dataset):
        _as_text(connection, dataset, name)
    names = ", ".join(f'f."{name}"' for name in dataset.names())
    same = " AND ".join(f'h."{name}" = f."{name}"' for name in dataset.key)
    venue = ", split_part(f.instrument, ':', 1)" if dataset.numbered else ""
    bounds = ""
    values: list[object] = [str(file)]
    for sign, moment in ((">=", places.since), ("<", places.until)):
        if moment is not None and dataset.time is not None:
            bounds += f' AND f."{dataset.time}" {sign} ?'
            values.append(moment)
    connection.execute(
        f"INSERT INTO {dataset.name} SELECT {names}{venue} FROM read_parquet(?, hive_partitioning = false) f "
        f"WHERE NOT EXISTS (SELECT 1 FROM {dataset.name} h WHERE {same}){bounds}",
        values,
    )


# --------------------------------------------------------------------------- printing


def print_answer(result: duckdb.DuckDBPyConnection, form: str, out: TextIO, *, limit: int, simulated: bool) -> None:
    """Print a result as table, csv or json; `limit` cuts a table, and says so."""
    names = [str(column[0]) for column in result.description or ()]
    if form == "table":
        _print_table(result, names, out, limit)
    elif form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for rows in _pages(result):
            writer.writerows([_cell(value) for value in row] for row in rows)
    else:
        _print_json(result, names, out, simulated=simulated)


def _pages(result: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
    while rows := result.fetchmany(_PAGE):
        yield rows


def _print_table(result: duckdb.DuckDBPyConnection, names: list[str], out: TextIO, limit: int) -> None:
    rows = result.fetchmany(limit + 1)
    if names == ["explain_key", "explain_value"]:  # drawn by DuckDB in lines of its own
        print("".join(str(plan) for _, plan in rows), end="", file=out)
        return
    shown = [["" if value is None else str(_cell(value)) for value in row] for row in rows[:limit]]
    print("\n".join(table(names, shown)), file=out)
    if len(rows) > limit:
        print(f"  ... and more: only the first {limit} rows are shown; --top N, --csv or --json give more", file=out)


def _print_json(result: duckdb.DuckDBPyConnection, names: list[str], out: TextIO, *, simulated: bool) -> None:
    out.write(f'{{"simulated": {json.dumps(simulated)}, "rows": [')
    separator = "\n"
    for rows in _pages(result):
        for row in rows:
            out.write(separator + json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False))
            separator = ",\n"
    out.write("\n]}\n")


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: exact numbers as text without zeros at their end, moments as ISO 8601."""
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - what is no number has no place in JSON
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _number(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
