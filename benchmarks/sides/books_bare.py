"""The limit: text of the same four arrays of each book, one COPY into the same table, nothing worked out from them."""

import io
from collections.abc import Mapping
from typing import Any

from benchmarks.sides.books_ours import Stored
from collector.storage.reader import Reader

COLUMNS = (
    "source, observed_at, received_at, cycle_id, instrument_id, last_update_id, bid_prices, bid_sizes, ask_prices, "
    "ask_sizes"
)


class Bare(Stored):
    """All books in one transaction; the instruments' numbers are known beforehand, as they are to the writer."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        super().__init__(work)
        self.ids = {row.instrument.id: row.instrument_id for row in Reader(self.database).load_instruments()}

    def run(self, _phase: str) -> None:
        at = self.books[0].observed_at.isoformat()
        lines = []
        for book in self.books:
            arrays = (
                "{" + ",".join([str(level[part]) for level in side]) + "}"
                for side in (book.bids, book.asks)
                for part in (0, 1)
            )
            head = f"bench\t{at}\t{at}\t{self.cycle}\t{self.ids[book.instrument.id]}\t{book.last_update_id}"
            lines.append("\t".join([head, *arrays]) + "\n")
        with self.looking.cursor() as cursor:
            cursor.copy_expert(f"COPY order_books ({COLUMNS}) FROM STDIN", io.StringIO("".join(lines)), 1 << 20)
        self.looking.commit()


def open_side(work: Mapping[str, Any]) -> Bare:
    return Bare(work)
