"""CSV and JSON lines: bytes as the server spells them, counted while they pass; exact to the last digit.

CSV has a header; NULL is nothing at all, an empty text is "". In JSON lines exact numbers are text, as in the API.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pyarrow.json as pa_json  # type: ignore[import-untyped]

from collector.errors import SinkError
from collector.sinks.files.atomic import Measured, atomic_file
from collector.sinks.files.parquet import FileFacts, Tally, Told, measure
from collector.storage.database import Database
from collector.storage.outgoing.copying import Spelling, copied_out
from collector.storage.outgoing.datasets import Exportable, Slice

SPELLINGS: Mapping[str, Spelling] = {".csv": Spelling.CSV, ".jsonl": Spelling.LINES}
_BLOCK_BYTES = 4 << 20
_MOMENT = pa.timestamp("us", tz="UTC")


class _Tee:
    """Reads a stream for the counting and writes what it reads to the file."""

    closed = False

    def __init__(self, stream: BinaryIO, file: Measured) -> None:
        self._stream, self._file = stream, file

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._file.write(block)
        return block

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Leave closing to the owners of both."""


def write_text(
    database: Database, dataset: Exportable, where: Slice, path: Path, *, told: Told | None = None
) -> FileFacts | None:
    """Write the rows of a slice to a .csv or .jsonl file and return its facts; None, and no file, without rows.

    `path` is what it was or complete, as with `write_slice`. Raises StorageError kinds and SinkError.
    """
    tally = Tally(dataset)
    with atomic_file(path) as file:
        with copied_out(database, dataset, where, SPELLINGS[path.suffix]) as stream:
            _count(_Tee(stream, file), stream, dataset, path.suffix, tally, told)
        if not tally.rows:
            file.discard()
            return None
    return tally.facts(size=file.bytes, sha256=file.sha256, fingerprint=False)


def facts_of_text(path: Path, dataset: Exportable) -> FileFacts:
    """Read a whole file and return its facts; raises SinkError for what cannot be read as such a file."""
    tally = Tally(dataset)
    try:
        with path.open("rb", buffering=1 << 20) as stream:
            _count(stream, stream, dataset, path.suffix, tally, None)
    except OSError as error:
        raise SinkError(f"{path}: cannot be read ({error.strerror or error})") from error
    size, digest = measure(path)
    return tally.facts(size=size, sha256=digest, fingerprint=False)


def _count(stream: Any, peeked: Any, dataset: Exportable, suffix: str, tally: Tally, told: Told | None) -> None:
    if not peeked.peek(1):
        return
    try:
        for batch in _csv(stream, dataset) if suffix == ".csv" else _json(stream, dataset):
            tally.add(pa.Table.from_batches([batch]), values=False)
            if told is not None:
                told(batch.num_rows)
    except (pa.ArrowException, KeyError) as error:
        raise SinkError(f"{dataset.name}: cannot be read as {suffix[1:]} ({str(error).splitlines()[0]})") from error


def _counted(dataset: Exportable) -> list[str]:
    """Return the columns that facts are about; at least one, so that rows are counted."""
    told = [name for name in (dataset.time, "source") if name is not None and name in dataset.names()]
    return told or [dataset.key[0]]


def _csv(stream: Any, dataset: Exportable) -> Iterator[pa.RecordBatch]:
    types = {name: _MOMENT if name == dataset.time else pa.string() for name in dataset.names()}
    yield from pa_csv.open_csv(
        stream,
        read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=types, include_columns=_counted(dataset), null_values=[""], strings_can_be_null=True
        ),
    )


def _json(stream: Any, dataset: Exportable) -> Iterator[pa.RecordBatch]:
    names = _counted(dataset)
    # Numbers of a key, as cycle_id, are numbers; everything else that is counted is text.
    kinds = [
        pa.int64()
        if name.endswith("_id") and name in {"cycle_id", "job_id", "change_id", "revision_id"}
        else pa.string()
        for name in names
    ]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    for batch in pa_json.open_json(
        stream,
        read_options=pa_json.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
        parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    ):
        columns = [batch.column(name).cast(_MOMENT) if name == dataset.time else batch.column(name) for name in names]
        yield pa.RecordBatch.from_arrays(columns, names=names)
