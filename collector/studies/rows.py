"""What the analytics return, as rows of their tables."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from collector.storage.findings import Row

Found = dict[str, list[Row]]
"""Table -> its rows."""

_COLUMNS = {"window": "span", "left": "dropped"}  # both are reserved words of SQL


def rows(items: Iterable[Any], *, subject: str = "subject", without: Iterable[str] = (), **more: Any) -> list[Row]:
    """Return dataclass instances as rows; `subject` is the column for that field, `more` are further columns."""
    renamed = {**_COLUMNS, "subject": subject}
    left_out = set(without)
    return [
        {
            renamed.get(part.name, part.name): getattr(item, part.name)
            for part in fields(item)
            if part.name not in left_out
        }
        | more
        for item in items
    ]
