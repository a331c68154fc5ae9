"""Made-up candles that every side stores, and what is read back of them; only the standard library.

Rows come series after series, each in order of time, over two weeks, with digits like those of a venue.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

START = datetime(2026, 1, 5, tzinfo=UTC)
BARS = 1000  # of a series: about what one answer of a venue holds
LOT = 10_000  # rows written at once, by every side
STEP = timedelta(minutes=20)
WIDTH = timedelta(minutes=1)


class Row(NamedTuple):
    """One candle as text of the venue; times are aware."""

    symbol: str
    open_time: datetime
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trades: int
    taker_buy_volume: str


def rows(count: int) -> Iterator[Row]:
    """Yield made-up candles."""
    times = [START + bar * STEP for bar in range(BARS)]
    for number in range(count):
        series, bar = divmod(number, BARS)
        whole, part = 100 + series, bar * 37 % 10_000
        yield Row(
            symbol=f"C{series}USDT",
            open_time=times[bar],
            open=f"{whole}.{part:04d}",
            high=f"{whole + 1}.{part:04d}",
            low=f"{whole - 1}.{part:04d}",
            close=f"{whole}.{9999 - part:04d}",
            volume=f"{1 + bar * 7919 % 100_000}.123",
            quote_volume=f"{1 + bar * 104_729 % 10_000_000}.4567",
            trades=1 + bar,
            taker_buy_volume=f"{1 + bar * 31 % 1000}.5",
        )


SHARED = (
    "trim_scale(open)",
    "trim_scale(high)",
    "trim_scale(low)",
    "trim_scale(close)",
    "trim_scale(volume)",
    "trades",
)
VOLUMES = ("trim_scale(quote_volume)", "trim_scale(taker_buy_volume)")
ORIGIN = (
    "source",
    "interval",
    "cycle_id",
    "extract(epoch FROM observed_at)::bigint",
    "extract(epoch FROM received_at)::bigint",
)
# What a side stores, by group of columns; a digest of each is compared. NULL is not left out: it has a place.
GROUPS = {"shared": SHARED, "volumes": VOLUMES, "origin": ORIGIN}
DIGEST = """
    SELECT count(*), count(DISTINCT (symbol, open_time)), count(*) FILTER (WHERE written >= %s), {}
    FROM ({}) AS stored
"""


def transaction(connection: Any) -> int:
    """Return the number of a transaction that ends at once: rows of later ones have a higher number."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        number = int(cursor.fetchone()[0])
    connection.commit()
    return number


def told(connection: Any, stored: str, since: int, counted: int, groups: Sequence[str]) -> dict[str, Any]:
    """Return the answer of a side: what its table holds, and how many rows transactions after `since` left.

    `stored` selects symbol, open_time, the columns of `groups` (names of GROUPS), and written, the number of the
    transaction that wrote the row. `counted` are the rows that were handed over.
    """
    digests = ", ".join(map(digest, groups))
    with connection.cursor() as cursor:
        cursor.execute(DIGEST.format(digests, stored), (since,))
        ((count, different, written, *found),) = cursor.fetchall()
    connection.commit()
    same: dict[str, Any] = {"handed": counted, "rows": count, "keys": different}
    same["digests"] = dict(zip(groups, map(str, found), strict=True))
    return {"same": same, "facts": {"rows": counted, "rows_written": written}}


def digest(group: str) -> str:
    """Return the expression for the digest of a group of columns, with the key of each row."""
    columns = ", ".join(f"coalesce(({column})::text, '-')" for column in GROUPS[group])
    return f"sum(hashtextextended(concat_ws('|', symbol, extract(epoch FROM open_time)::bigint, {columns}), 0))"
