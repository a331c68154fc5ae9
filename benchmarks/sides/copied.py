"""The fastest way that the user guide of pandas gives for to_sql into PostgreSQL: its `method` of CSV by COPY."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from sqlalchemy import Connection


def copied(table: Any, connection: Connection, keys: Sequence[str], data: Iterable[Sequence[Any]]) -> None:
    """Send a chunk as CSV by COPY; to_sql calls it."""
    columns = ", ".join(f'"{key}"' for key in keys)
    lines = StringIO()
    csv.writer(lines).writerows(data)
    lines.seek(0)
    cursor: Any = connection.connection.cursor()
    with cursor:
        cursor.copy_expert(f'COPY "{table.name}" ({columns}) FROM STDIN WITH CSV', lines)
