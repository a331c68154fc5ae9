"""Rows of a dataset as Arrow tables: their schema, from the database's text, back to it, and a fingerprint of them."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from io import BytesIO
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]

from collector.errors import SinkError
from collector.storage.outgoing.datasets import Column, Exportable, Form

GROUP_ROWS = 65_536  # rows of a table: what is in memory at once
BLOCK_BYTES = 1 << 20
DIGITS = 38


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", kind))  # the name that Parquet gives it


_PLAIN = {
    Form.TEXT: pa.string(),
    Form.REAL: pa.float64(),
    Form.WHOLE: pa.int64(),
    Form.FLAG: pa.bool_(),
    Form.MOMENT: pa.timestamp("us", tz="UTC"),
    Form.DOCUMENT: pa.string(),
    Form.TEXTS: _list_of(pa.string()),
    Form.BYTES: pa.binary(),
}
_SPELLED = {Form.NUMBERS, Form.TEXTS, Form.BYTES}  # what the CSV reader takes as text first
_COLUMN = re.compile(r"In CSV column #(\d+)")


class DoesNotFit(Exception):
    """A value of an exact column needs more digits than its decimal type has; never leaves this package."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def arrow_schema(dataset: Exportable, texts: Iterable[str] = (), *, past: bool = False) -> pa.Schema:
    """Return the columns of a file. Exact numbers are decimal128(38, scale), or text in the columns named by `texts`.

    With `past`, of a value that was corrected later the receipt is not known, so that every column may be empty.
    """
    fields = [
        pa.field(
            column.name,
            _arrow_type(column, text=column.name in set(texts)),
            nullable=column.nullable or (past and column.name not in dataset.key),
            metadata={"comment": column.comment},
        )
        for column in dataset.columns
    ]
    return pa.schema(fields, metadata={"dataset": dataset.name})


def _arrow_type(column: Column, *, text: bool) -> pa.DataType:
    if column.form not in {Form.NUMBER, Form.NUMBERS}:
        return _PLAIN[column.form]
    number = pa.string() if text else pa.decimal128(DIGITS, column.scale)
    return number if column.form is Form.NUMBER else _list_of(number)


# --------------------------------------------------------------------------- from the database's text


def read_rows(stream: BinaryIO, dataset: Exportable, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a stream spelled as ROWS in tables of exactly GROUP_ROWS rows, the last one shorter.

    Raises DoesNotFit when a column of exact numbers has to be read as text.
    """
    if not stream.peek(1):  # type: ignore[attr-defined]  # the reader refuses an empty stream
        return
    try:
        for table in _grouped(_batches(stream, dataset, schema)):
            yield _converted(table, dataset, schema)
    except pa.ArrowInvalid as error:
        raise _misread(error, dataset) from error


def _batches(stream: BinaryIO, dataset: Exportable, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    types = {
        column.name: pa.string() if column.form in _SPELLED else schema.field(column.name).type
        for column in dataset.columns
    }
    yield from pa_csv.open_csv(
        stream,
        # In this thread alone: the one that fills the stream and the server need the rest.
        read_options=pa_csv.ReadOptions(column_names=list(dataset.names()), block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=_has_free_text(dataset)),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # "" is an empty text, nothing at all is NULL
            true_values=["t"],
            false_values=["f"],
        ),
    )


_WORDS = {"source", "interval", "instrument", "rate_type", "asset_id", "measure", "span"}


def _has_free_text(dataset: Exportable) -> bool:
    """Return whether a value may hold a line feed; ids and words of ours do not."""
    texts = {column.name for column in dataset.columns if column.form in {Form.TEXT, Form.DOCUMENT, Form.TEXTS}}
    return not texts <= _WORDS


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= GROUP_ROWS:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, GROUP_ROWS).combine_chunks()
            waiting, count = table.slice(GROUP_ROWS).to_batches(), count - GROUP_ROWS
    if count:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _converted(table: pa.Table, dataset: Exportable, schema: pa.Schema) -> pa.Table:
    columns = []
    for column in dataset.columns:
        values = table.column(column.name).combine_chunks()
        if column.form in _SPELLED:
            try:
                values = _CONVERTERS[column.form](values, schema.field(column.name).type)
            except pa.ArrowInvalid as error:
                raise DoesNotFit(column.name) from error
        columns.append(values)
    return pa.Table.from_arrays(columns, schema=schema)


def _numbers(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Read `{1.5,2}`; an array of the database without NULLs in it."""
    inner = pc.utf8_trim(values, "{}")
    empty = pc.equal(inner, "")
    lists = pc.split_pattern(inner, ",")
    counts = pc.if_else(empty, 0, pc.list_value_length(lists))
    flat = lists.filter(pc.invert(pc.fill_null(empty, fill_value=False))).flatten()
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(pc.fill_null(counts, 0).cast(pa.int64()))])
    offsets = offsets.cast(pa.int32())
    mask = values.is_null() if values.null_count else None
    return pa.ListArray.from_arrays(offsets, flat.cast(kind.value_type), mask=mask).cast(kind)


def _texts(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.array([None if value is None else json.loads(value) for value in values.to_pylist()], kind)


def _bytes(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.array([None if value is None else base64.b64decode(value) for value in values.to_pylist()], kind)


_CONVERTERS = {Form.NUMBERS: _numbers, Form.TEXTS: _texts, Form.BYTES: _bytes}


def _misread(error: pa.ArrowInvalid, dataset: Exportable) -> Exception:
    found = _COLUMN.search(str(error))
    column = dataset.columns[int(found[1])] if found else None
    if column is not None and column.form is Form.NUMBER:
        return DoesNotFit(column.name)
    return SinkError(f"{dataset.name}: a row cannot be read: {error}")


# --------------------------------------------------------------------------- back to the database


def database_text(table: pa.Table, dataset: Exportable) -> bytes:
    """Return the rows as CSV without a header, as COPY takes them."""
    columns = [_database_column(table.column(column.name), column) for column in dataset.columns]
    plain = pa.Table.from_arrays(columns, names=list(dataset.names()))
    written = BytesIO()
    pa_csv.write_csv(plain, written, pa_csv.WriteOptions(include_header=False))
    return written.getvalue()


def _database_column(values: pa.ChunkedArray, column: Column) -> pa.Array:
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if column.form is Form.NUMBERS:
        joined = pc.binary_join(array.cast(pa.list_(pa.string())), ",")
        return pc.binary_join_element_wise("{", joined, "}", "")
    if column.form is Form.TEXTS:
        return pa.array([None if value is None else _literal(value) for value in array.to_pylist()], pa.string())
    if column.form is Form.BYTES:
        return pa.array([None if value is None else f"\\x{value.hex()}" for value in array.to_pylist()], pa.string())
    return array


def _literal(values: Iterable[str | None]) -> str:
    """Return an array of texts as PostgreSQL writes it."""
    return "{" + ",".join("NULL" if value is None else _quoted(value) for value in values) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# --------------------------------------------------------------------------- fingerprint


class Fingerprint:
    """SHA-256 of values, group by group: equal for equal rows in equal order, whatever file they come from."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, table: pa.Table) -> None:
        """Take in one group of rows."""
        for name, values in zip(table.column_names, table.columns, strict=True):
            self._digest.update(f"{name}:{values.type}:{len(values)}".encode())
            array = values.combine_chunks()
            self._take(array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks))

    def hex(self) -> str:
        """Return the fingerprint of everything taken in."""
        return self._digest.hexdigest()

    def _take(self, array: pa.Array) -> None:
        if array.null_count:
            self._digest.update(_bytes_of(array.is_null().cast(pa.uint8()), 1))
        if pa.types.is_list(array.type):
            self._take(pc.fill_null(pc.list_value_length(array), 0))
            self._take(array.flatten())
        elif pa.types.is_string(array.type) or pa.types.is_binary(array.type):
            filled = array.cast(pa.binary()).fill_null(b"") if array.null_count else array
            self._take(pc.binary_length(filled))
            self._digest.update(_characters(filled))
        elif pa.types.is_boolean(array.type):
            self._take(pc.fill_null(array, fill_value=False).cast(pa.uint8()))
        else:
            self._digest.update(_bytes_of(_without_null(array), array.type.bit_width // 8))


def _without_null(array: pa.Array) -> pa.Array:
    """Return the values with zeros where there are none; what lies under a NULL is left to chance otherwise."""
    if not array.null_count:
        return array
    zero = Decimal(0) if pa.types.is_decimal(array.type) else 0
    return pc.fill_null(array, pa.scalar(zero, array.type))


def _bytes_of(array: pa.Array, width: int) -> Any:
    start = array.offset * width
    return memoryview(array.buffers()[1])[start : start + len(array) * width] if len(array) else b""


def _characters(array: pa.Array) -> Any:
    if not len(array):
        return b""
    places = memoryview(array.buffers()[1]).cast("i")
    first, last = places[array.offset], places[array.offset + len(array)]
    return memoryview(array.buffers()[2])[first:last] if last > first else b""
