"""600 order books of 100 levels a side, stored as one cycle stores them, beside a bare COPY of the same arrays.

The collector writes a batch for each book, 256 in a transaction, with the ledger and the measures that it keeps beside
the levels (best prices, spread, imbalance, depth within 10, 50 and 100 bps). The bare side works nothing out. The
answer is every level as the table holds it.
"""

from benchmarks import stand
from benchmarks.asked import Asked
from benchmarks.harness import OURS, Comparison, Outcome, Reach, Side

BARE = "bare COPY"
BOOKS, LEVELS = 600, 100
CONFIGURATIONS = {
    OURS: "collector.storage.Writer, 256 batches a transaction as in a cycle, measures and ledger included",
    BARE: "psycopg2 COPY of the four arrays into the collector's own table, all in one transaction",
}


def measure(asked: Asked) -> Outcome:
    """Measure both."""
    with stand.server() as server:
        sides = [
            Side(
                name=name,
                module=f"benchmarks.sides.books_{module}",
                configuration=CONFIGURATIONS[name],
                work={"url": server.database(module), "books": asked.size(BOOKS, 60), "levels": LEVELS},
            )
            for name, module in ((OURS, "ours"), (BARE, "bare"))
        ]
        parts = Comparison(
            sides=sides,
            phases={"cycle": "the books of one cycle"},
            rounds=asked.times(9, 2),
            warm_ups=2,
            server_pid=server.pid,
        ).measure()
    reach = Reach(key="bare", text="ours / bare", value=parts[0].ratio(OURS, BARE), limit=1.3)
    return Outcome(title="Order books", work=__doc__ or "", parts=parts, reaches=[reach], configurations=CONFIGURATIONS)
