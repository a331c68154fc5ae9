"""The limit: text of the same candles, COPY into a temporary table and one guarded upsert, by hand for this one table.

No batches, no ledger, no duplicates, no rejects. Building the text is inside the time, as it is for the collector.
"""

import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from benchmarks.sides.upsert_ours import Stored, lots
from collector.storage.reader import Reader

COLUMNS = (
    "source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high, low, close, volume, "
    "quote_volume, trades, taker_buy_volume"
)
VALUES = ["source", *COLUMNS.split(", ")[7:]]


def upsert() -> str:
    """Return the statement that merges the temporary table; it leaves rows alone that are the same already."""
    guard = [", ".join(f"{side}.{name}" for name in VALUES) for side in ("candles", "EXCLUDED")]
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in [*VALUES, "observed_at", "received_at", "cycle_id"])
    return (
        f"INSERT INTO candles ({COLUMNS}) SELECT {COLUMNS} FROM bare ON CONFLICT (instrument_id, interval, open_time) "
        f"DO UPDATE SET {sets} WHERE ({guard[0]}) IS DISTINCT FROM ({guard[1]})"
    )


class Bare(Stored):
    """COPY and merge of 10 000 rows at a time, one transaction each.

    The numbers of the instruments are known beforehand, as they are to the collector's writer.
    """

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.ids = {row.instrument.id: row.instrument_id for row in Reader(self.database).load_instruments()}

    def run(self, _phase: str) -> None:
        moments: dict[datetime, str] = {}
        cursor = self.looking.cursor()
        cursor.execute(f"CREATE TEMP TABLE bare ON COMMIT DELETE ROWS AS SELECT {COLUMNS} FROM candles WITH NO DATA")
        self.looking.commit()
        for lot in lots(self.records):
            numbers = {key: self.ids[owner.id] for key, owner in {id(c.instrument): c.instrument for c in lot}.items()}
            for c in lot:
                for moment in (c.observed_at, c.received_at, c.open_time):
                    if moment not in moments:
                        moments[moment] = moment.isoformat()
            lines = [
                f"{c.source}\t{moments[c.observed_at]}\t{moments[c.received_at]}\t{self.cycle}\t{numbers[id(c.instrument)]}\t"
                f"{c.interval}\t{moments[c.open_time]}\t{c.open!s}\t{c.high!s}\t{c.low!s}\t{c.close!s}\t{c.volume!s}\t"
                f"{c.quote_volume!s}\t{c.trades}\t{c.taker_buy_volume!s}\n"
                for c in lot
            ]
            cursor.copy_expert(f"COPY bare ({COLUMNS}) FROM STDIN", io.StringIO("".join(lines)), 1 << 20)
            cursor.execute(upsert())
            self.looking.commit()
        cursor.execute("DROP TABLE bare")
        self.looking.commit()


def open_side(work: Mapping[str, Any]) -> Bare:
    return Bare(work)
