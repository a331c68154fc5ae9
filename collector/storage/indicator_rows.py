"""Indicator columns into their table without a Python object per value: numpy arrays as binary COPY, guarded upsert.

The format: https://www.postgresql.org/docs/current/sql-copy.html ("Binary Format"). Rows have one fixed layout because
a missing value travels as NaN and becomes NULL inside the upsert.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from collector.records import IndicatorBlock
from collector.storage.merge import Chunks, Cursor, staging_name, upsert_sql
from collector.storage.models import INDICATOR_COLUMNS, INDICATORS

KEY = ("instrument_id", "interval", "open_time")
NAMES = tuple(INDICATOR_COLUMNS)
EXTRA_VALUES = "extra_values"  # staging column: the configured functions' values, in the order of their names
ROWS_PER_MERGE = 50_000  # 25 MB of staged text; bounds the memory of a back-fill
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's zero, in microseconds
_FLOAT8 = 701  # its type number
_ONE_DIMENSION = (1, 0, _FLOAT8)


def merge(
    cursor: Cursor,
    blocks: Sequence[IndicatorBlock],
    numbers: Mapping[str, int],
    *,
    cycle_id: int,
    computed_at: datetime,
) -> int:
    """Store the blocks and return how many rows were inserted or changed; `numbers` are the instruments' numbers."""
    changed = 0
    for part in _parts(blocks, numbers):
        interval, extra = part[0].interval, tuple(part[0].extra)
        table = staging_name(INDICATORS.name)
        cursor.execute(f"DELETE FROM {table}")
        columns = ["instrument_id", "open_time", *NAMES, "warm", *([EXTRA_VALUES] if extra else [])]
        copy = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
        cursor.copy_expert(copy, Chunks(_binary(part, numbers, len(extra))))
        values = {"interval": str(interval), "computed_at": computed_at, "cycle_id": cycle_id}
        cursor.execute(_upsert(len(extra)), {**values, **{f"name_{i}": name for i, name in enumerate(extra)}})
        changed += cursor.rowcount
    return changed


def _parts(blocks: Sequence[IndicatorBlock], numbers: Mapping[str, int]) -> Iterator[list[IndicatorBlock]]:
    """Yield blocks that one merge can take: one interval, one set of extras, each series once, bounded rows."""
    seen: Counter[tuple[int, str]] = Counter()
    groups: dict[tuple[int, str, tuple[str, ...]], list[IndicatorBlock]] = {}
    for block in blocks:
        _check(block)
        series = (numbers[block.instrument.id], str(block.interval))
        groups.setdefault((seen[series], str(block.interval), tuple(block.extra)), []).append(block)
        seen[series] += 1  # the later block of a series comes in a later merge, and wins
    for key in sorted(groups):
        part: list[IndicatorBlock] = []
        for block in sorted(groups[key], key=lambda item: numbers[item.instrument.id]):
            if part and sum(len(item.open_times) for item in part) + len(block.open_times) > ROWS_PER_MERGE:
                yield part
                part = []
            part.append(block)
        yield part


def _check(block: IndicatorBlock) -> None:
    length = len(block.open_times)
    unknown = set(block.columns) - set(NAMES)
    if unknown:
        raise ValueError(f"{block.instrument.id}: not columns of indicators: {', '.join(sorted(unknown))}")
    for name, values in (*block.columns.items(), *block.extra.items(), ("warm", block.warm)):
        if len(values) != length:
            raise ValueError(f"{block.instrument.id}: {name} has {len(values)} values for {length} bars")
    if any(later <= earlier for earlier, later in zip(block.open_times, block.open_times[1:], strict=False)):
        raise ValueError(f"{block.instrument.id}: open times do not ascend")


def _binary(blocks: Sequence[IndicatorBlock], numbers: Mapping[str, int], extras: int) -> Iterator[bytes]:
    layout = _layout(extras)
    yield _HEADER
    for block in blocks:
        yield _rows(block, numbers[block.instrument.id], layout).tobytes()
    yield _TRAILER


def _rows(block: IndicatorBlock, number: int, layout: np.dtype[Any]) -> npt.NDArray[Any]:
    rows = np.zeros(len(block.open_times), dtype=layout)
    rows["fields"] = 3 + len(NAMES) + bool(block.extra)
    for name in ("instrument_id", "open_time", "warm", *NAMES):
        rows[f"{name} size"] = layout[name].itemsize
    rows["instrument_id"] = number
    seconds = np.fromiter((moment.timestamp() for moment in block.open_times), np.float64, len(block.open_times))
    rows["open_time"] = np.rint((seconds - _ORIGIN.timestamp()) * 1e6).astype(np.int64)
    for name in NAMES:
        rows[name] = _finite(block.columns[name]) if name in block.columns else np.nan
    rows["warm"] = np.asarray(block.warm, dtype=np.uint8)
    if block.extra:
        rows[f"{EXTRA_VALUES} size"] = 20 + 12 * len(block.extra)
        rows["dimensions"], rows["nulls"], rows["type"] = _ONE_DIMENSION
        rows["length"], rows["lower"] = len(block.extra), 1
        for index, values in enumerate(block.extra.values()):
            rows[f"extra_{index} size"] = 8
            rows[f"extra_{index}"] = _finite(values)
    return rows


def _finite(values: Any) -> npt.NDArray[np.float64]:
    """Return the values with infinities as NaN: neither is a number anybody can use."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


@cache
def _layout(extras: int) -> np.dtype[Any]:
    """Return one row of the binary format: a field count, then each field's size and value, all big endian."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    values = [("instrument_id", ">i4"), ("open_time", ">i8"), *((name, ">f8") for name in NAMES), ("warm", "u1")]
    for name, kind in values:
        fields += [(f"{name} size", ">i4"), (name, kind)]
    if extras:
        names = (f"{EXTRA_VALUES} size", "dimensions", "nulls", "type", "length", "lower")
        fields += [(name, ">i4") for name in names]
        for index in range(extras):
            fields += [(f"extra_{index} size", ">i4"), (f"extra_{index}", ">f8")]
    return np.dtype(fields)


@cache
def _upsert(extras: int) -> str:
    """Return the guarded upsert for rows with that many extra values."""
    columns = (*KEY, *NAMES, "extra", "warm", "computed_at", "cycle_id")
    given = {name: f"NULLIF({name}, 'NaN')" for name in NAMES}
    pairs = ", ".join(f"%(name_{i})s::text, NULLIF({EXTRA_VALUES}[{i + 1}], 'NaN')" for i in range(extras))
    given["extra"] = f"NULLIF(jsonb_strip_nulls(jsonb_build_object({pairs})), '{{}}')" if extras else "NULL"
    given |= {name: f"%({name})s" for name in ("interval", "computed_at", "cycle_id")}
    return upsert_sql(INDICATORS.name, columns, KEY, [given.get(name, name) for name in columns])
