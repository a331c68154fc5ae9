"""Parquet files of a dataset: written from a stream of rows with constant memory, and read back to compare or import.

The same rows give the same bytes. A file has its name only when all of it is on the disk.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from collector.errors import SinkError
from collector.sinks.files.atomic import atomic_file
from collector.sinks.files.tables import DoesNotFit, Fingerprint, arrow_schema, database_text, read_rows
from collector.storage.database import Database
from collector.storage.outgoing.copying import Spelling, copied_out
from collector.storage.outgoing.datasets import Exportable, Form, Slice

ENDING = ".parquet"
Told = Callable[[int], None]
_HASHED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What a file holds, as a manifest tells it."""

    rows: int
    first: datetime | None  # smallest and largest value of the dataset's time column; None for a dataset without one
    last: datetime | None
    bytes: int
    sha256: str  # of the file, hex
    fingerprint: str  # of the values, whichever version of the library wrote them, hex; empty for CSV and JSON lines
    sources: tuple[str, ...]  # distinct values of the column `source`, in order; empty without that column
    texts: tuple[str, ...]  # columns of exact numbers that are text here, because a value has too many digits


@dataclass(slots=True)
class Tally:
    """Counts what tables hold while they pass."""

    dataset: Exportable
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None
    sources: set[str] = field(default_factory=set)
    fingerprint: Fingerprint = field(default_factory=Fingerprint)

    def add(self, table: pa.Table, *, values: bool = True) -> None:
        """Count a table; `values`: also for the fingerprint."""
        self.rows += table.num_rows
        if self.dataset.time is not None and table.num_rows:
            ends = pc.min_max(table.column(self.dataset.time)).as_py()
            self.first = ends["min"] if self.first is None else min(self.first, ends["min"])
            self.last = ends["max"] if self.last is None else max(self.last, ends["max"])
        if "source" in table.column_names:
            self.sources.update(name for name in pc.unique(table.column("source")).to_pylist() if name is not None)
        if values:
            self.fingerprint.add(table)

    def facts(self, *, size: int, sha256: str, texts: Iterable[str] = (), fingerprint: bool = True) -> FileFacts:
        """Return what was counted, with what is known of the file."""
        return FileFacts(
            rows=self.rows,
            first=self.first,
            last=self.last,
            bytes=size,
            sha256=sha256,
            fingerprint=self.fingerprint.hex() if fingerprint else "",
            sources=tuple(sorted(self.sources)),
            texts=tuple(sorted(texts)),
        )


# --------------------------------------------------------------------------- writing


def write_slice(
    database: Database,
    dataset: Exportable,
    where: Slice,
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    told: Told | None = None,
) -> FileFacts | None:
    """Write the rows of a slice to a file and return its facts; None, and no file, when there are none.

    `metadata` goes into the file beside its schema; `told` is called with the number of rows of each group written.
    Whatever happens, `path` is what it was or complete: temporary name in the same folder, fsync, rename, fsync of the
    folder. Raises StorageError kinds for the database and SinkError for the disk.
    """
    texts: set[str] = set()
    while True:
        try:
            return _write_slice(database, dataset, where, path, texts, metadata or {}, told or _nobody)
        except DoesNotFit as misfit:  # rare, and known only when it comes: begin again with that column as text
            texts.add(misfit.column)


def _nobody(_rows: int) -> None:
    pass


def _write_slice(
    database: Database,
    dataset: Exportable,
    where: Slice,
    path: Path,
    texts: set[str],
    metadata: Mapping[str, str],
    told: Told,
) -> FileFacts | None:
    schema = arrow_schema(dataset, texts, past=where.as_of is not None)
    tally = Tally(dataset)
    with atomic_file(path) as file:
        # The stream's end is checked before the file gets its name.
        with copied_out(database, dataset, where, Spelling.ROWS) as stream:
            tables = read_rows(stream, dataset, schema)
            write_tables(file, tables, schema.with_metadata({**schema.metadata, **metadata}), tally, told)
        if not tally.rows:
            file.discard()
            return None
    return tally.facts(size=file.bytes, sha256=file.sha256, texts=texts)


def write_tables(file: Any, tables: Iterable[pa.Table], schema: pa.Schema, tally: Tally, told: Told) -> None:
    """Write tables to an open file, a row group each."""
    words = [item.name for item in schema if pa.types.is_string(item.type)]
    # What goes on evenly, as times and counters do, is kept as differences: a third less to compress and to store.
    even = {item.name: "DELTA_BINARY_PACKED" for item in schema if _is_whole(item.type)}
    with pq.ParquetWriter(
        file, schema, compression="zstd", use_dictionary=words, column_encoding=even, version="2.6"
    ) as writer:
        for table in tables:
            tally.add(table)
            writer.write_table(table, row_group_size=table.num_rows)
            pa.default_memory_pool().release_unused()  # or it keeps more with every group
            told(table.num_rows)


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind))


# --------------------------------------------------------------------------- reading


def read_tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a file as tables, one in memory at a time; raises SinkError for what is no such file."""
    try:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number, columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise SinkError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def file_schema(path: Path) -> pa.Schema:
    """Return the columns of a file; raises SinkError for what is no such file."""
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise SinkError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def text_columns(schema: pa.Schema, dataset: Exportable) -> tuple[str, ...]:
    """Return the columns of exact numbers that a file holds as text, in order."""
    numbers = {column.name for column in dataset.columns if column.form in {Form.NUMBER, Form.NUMBERS}}
    found = [item.name for item in schema if item.name in numbers and not _is_decimal(item.type)]
    return tuple(sorted(found))


def _is_decimal(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return bool(pa.types.is_decimal(inner))


def facts_of(path: Path, dataset: Exportable) -> FileFacts:
    """Read a whole file and return its facts; raises SinkError for what is no such file."""
    tally = Tally(dataset)
    for table in read_tables(path):
        tally.add(table)
    size, digest = measure(path)
    return tally.facts(size=size, sha256=digest, texts=text_columns(file_schema(path), dataset))


def measure(path: Path) -> tuple[int, str]:
    """Return the length and the SHA-256 of a file; raises SinkError when it cannot be read."""
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while block := file.read(_HASHED_BYTES):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise SinkError(f"{path}: cannot be read ({error.strerror})") from error
    return size, digest.hexdigest()


def database_parts(path: Path, dataset: Exportable) -> Iterator[bytes]:
    """Yield the rows of a file as `copy_in` takes them, with `instrument` as text."""
    for table in read_tables(path):
        yield database_text(table, dataset)


def same_rows(database: Database, dataset: Exportable, where: Slice, path: Path) -> bool:
    """Return whether a file holds exactly the rows of a slice that the database holds now, value by value.

    Both are read to the end, group by group, in the same order.
    """
    texts = text_columns(file_schema(path), dataset)
    schema = arrow_schema(dataset, texts, past=where.as_of is not None)
    stored = Fingerprint()
    try:
        with copied_out(database, dataset, where, Spelling.ROWS) as stream:
            for table in read_rows(stream, dataset, schema):
                stored.add(table)
    except DoesNotFit:
        return False  # a value that the file cannot hold
    held = Fingerprint()
    for table in read_tables(path):
        held.add(table)
    return stored.hex() == held.hex()
