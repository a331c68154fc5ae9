"""The rows that a cycle's batches must have left, worked out without a database: what the writer does, by its rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from collector.records import Batch, Record
from collector.storage.listings import LISTINGS
from collector.storage.merge import CIRCUMSTANCES, SPARSE
from collector.storage.revisions import FINAL
from collector.storage.rows import Rows, RowShape, shape_of
from collector.storage.transaction import grouped

Key = tuple[Any, ...]


@dataclass(slots=True)
class Expected:
    """Rows by type and key; feed it the batches transaction by transaction, in the order they were stored.

    `numbers` are those of the instruments by canonical id; it gives further ones to unknown instruments.
    """

    numbers: dict[str, int]
    rows: dict[type[Record], dict[Key, Record]] = field(default_factory=dict)

    def add(self, batches: Sequence[Batch]) -> None:
        """Take in what one transaction stored."""
        for record_type, rows in grouped(batches).items():
            shape = shape_of(record_type)
            stored = self.rows.setdefault(record_type, {})
            # Listings are merged batch by batch, everything else at once.
            parts = [rows.of_batch(n) for n in sorted(set(rows.numbers))] if record_type in LISTINGS else [rows]
            for part in parts:
                ids = self.ids(shape, part)
                distinct = shape.distinct(part, ids)
                for key, record in zip(zip(*shape.keys(distinct, ids), strict=True), distinct.records, strict=True):
                    before = stored.get(key)
                    stored[key] = record if before is None else merged(shape, before, record)

    def ids(self, shape: RowShape, rows: Rows) -> Mapping[int, int]:
        """Return the number of each record's instrument, by the identity of the instrument's object."""
        if not shape.has_instrument:
            return {}
        objects = {id(item): item.id for item in rows.column("instrument")}
        return {identity: self.numbers.setdefault(name, -1 - len(self.numbers)) for identity, name in objects.items()}

    def of(self, record_type: type[Record]) -> Rows:
        """Return the rows of a type; the number of each is its place."""
        records = list(self.rows.get(record_type, {}).values())
        return Rows(records, list(range(len(records))))


def merged(shape: RowShape, before: Any, after: Any) -> Any:
    """Return what is stored when `after` is merged into a table that holds `before` under the same key."""
    names = [item.name for item in fields(after) if item.name not in CIRCUMSTANCES and item.name not in shape.key]
    if shape.table in FINAL and after.source not in (before.source, after.instrument.venue):
        return before  # a row from elsewhere replaces neither the own one nor that of a third
    if shape.table in SPARSE:
        after = replace(after, **{name: getattr(before, name) for name in names if getattr(after, name) is None})
    same = all(getattr(before, name) == getattr(after, name) for name in names)
    return before if same else after
