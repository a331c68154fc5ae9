"""Candles through SQLAlchemy Core: one insert with ON CONFLICT and a list of dictionaries, sent as `insertmanyvalues`.

With DO UPDATE its psycopg2 dialect sends row after row unless something is returned, so the statement returns a column:
then it is insertmanyvalues, in pages of 1 000 (the default; 500 and 2 000 take as long), more than twice as fast.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, DateTime, Integer, MetaData, Numeric, Table, Text, create_engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import tuple_

from benchmarks.sides.made_candles import LOT, rows
from benchmarks.sides.upsert_peer import Peer

KEY = ("symbol", "interval", "open_time")
NUMBERS = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")
CANDLES = Table(
    "candles",
    MetaData(),
    Column("symbol", Text, primary_key=True),
    Column("interval", Text, primary_key=True),
    Column("open_time", DateTime(timezone=True), primary_key=True),
    *(Column(name, Numeric) for name in NUMBERS),
    Column("trades", Integer),
)


class SqlAlchemy(Peer):
    """Dictionaries of exact decimals; 10 000 rows a transaction."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.rows = [
            {**row._asdict(), **{name: Decimal(getattr(row, name)) for name in NUMBERS}, "interval": "1m"}
            for row in rows(self.count)
        ]
        self.engine = create_engine(self.url.set(drivername="postgresql+psycopg2"))

    def run(self, _phase: str) -> None:
        statement = insert(CANDLES)
        values = [column.name for column in CANDLES.columns if column.name not in KEY]
        old = tuple_(*(CANDLES.c[name] for name in values))
        new = tuple_(*(statement.excluded[name] for name in values))
        merged = statement.on_conflict_do_update(
            index_elements=KEY,
            set_={name: statement.excluded[name] for name in values},
            where=old.is_distinct_from(new),
        ).returning(CANDLES.c.symbol)
        for start in range(0, len(self.rows), LOT):
            with self.engine.begin() as connection:
                connection.execute(merged, self.rows[start : start + LOT])

    def close(self) -> None:
        self.engine.dispose()
        super().close()


def open_side(work: Mapping[str, Any]) -> SqlAlchemy:
    return SqlAlchemy(work)
