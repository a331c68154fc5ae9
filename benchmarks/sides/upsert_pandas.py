"""Candles through pandas: DataFrame.to_sql with one of the two methods that its documents give for PostgreSQL.

`copy` false: the callable with ON CONFLICT into the table itself, DO UPDATE where values differ, so that a repeat
rewrites nothing; 1 000 rows a statement, but 250 to 5 000 take as long. `copy` true: the callable that sends CSV by
COPY, into a temporary table, and one merge by hand.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import tuple_

from benchmarks.sides.copied import copied
from benchmarks.sides.made_candles import LOT, Row, rows
from benchmarks.sides.upsert_peer import Peer

KEY = ("symbol", "interval", "open_time")
NUMBERS = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")
CHUNK = 1000


def upsert(table: Any, connection: Connection, keys: Sequence[str], data: Iterable[Sequence[Any]]) -> int:
    """Insert a chunk, or update what differs; to_sql calls it."""
    statement = insert(table.table).values([dict(zip(keys, row, strict=True)) for row in data])
    values = [name for name in keys if name not in KEY]
    old = tuple_(*(table.table.c[name] for name in values))
    new = tuple_(*(statement.excluded[name] for name in values))
    merged = statement.on_conflict_do_update(
        index_elements=KEY, set_={name: statement.excluded[name] for name in values}, where=old.is_distinct_from(new)
    )
    return int(connection.execute(merged).rowcount)


def merge(columns: Sequence[str]) -> str:
    """Return the statement that upserts the temporary table, leaving alone what is the same."""
    values = [name for name in columns if name not in KEY]
    old, new = (", ".join(f"{side}.{name}" for name in values) for side in ("candles", "EXCLUDED"))
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in values)
    return (
        f"INSERT INTO candles ({', '.join(columns)}) SELECT {', '.join(columns)} FROM staged ON CONFLICT "
        f"({', '.join(KEY)}) DO UPDATE SET {sets} WHERE ({old}) IS DISTINCT FROM ({new})"
    )


class Pandas(Peer):
    """A frame of floats and times; 10 000 rows a transaction."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.copy = bool(work["copy"])
        self.frame = pd.DataFrame(rows(self.count), columns=list(Row._fields))
        self.frame = self.frame.astype(dict.fromkeys(NUMBERS, float)).assign(interval="1m")
        self.engine = create_engine(self.url.set(drivername="postgresql+psycopg2"))

    def run(self, _phase: str) -> None:
        for start in range(0, len(self.frame), LOT):
            lot = self.frame.iloc[start : start + LOT]
            with self.engine.begin() as connection:
                if not self.copy:
                    lot.to_sql("candles", connection, if_exists="append", index=False, method=upsert, chunksize=CHUNK)
                    continue
                connection.execute(text("CREATE TEMP TABLE staged (LIKE candles) ON COMMIT DROP"))
                lot.to_sql("staged", connection, if_exists="append", index=False, method=copied)
                connection.execute(text(merge(list(lot.columns))))

    def close(self) -> None:
        self.engine.dispose()
        super().close()


def open_side(work: Mapping[str, Any]) -> Pandas:
    return Pandas(work)
