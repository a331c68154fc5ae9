"""Made-up candles that every side stores, and what is read back of them; only the standard library.

Rows come series after series, each in order of time, over two weeks, with digits like those of a venue.
"""

from collections.abc import Iterator
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


DIGEST = """
    SELECT count(*), sum(hashtextextended(concat_ws('|', symbol, extract(epoch FROM open_time)::bigint,
        trim_scale(open), trim_scale(high), trim_scale(low), trim_scale(close), trim_scale(volume), trades), 0)),
        count(*) FILTER (WHERE written >= %s)
    FROM ({}) AS stored
"""


def transaction(connection: Any) -> int:
    """Return the number of a transaction that ends at once: rows of later ones have a higher number."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        number = int(cursor.fetchone()[0])
    connection.commit()
    return number


def told(connection: Any, stored: str, since: int, counted: int) -> dict[str, Any]:
    """Return the answer of a side: what its table holds, and how many rows transactions after `since` left.

    `stored` selects symbol, open_time, open, high, low, close, volume, trades and written (the number of the
    transaction that wrote the row). `counted` are the rows that were handed over.
    """
    with connection.cursor() as cursor:
        cursor.execute(DIGEST.format(stored), (since,))
        ((count, digest, written),) = cursor.fetchall()
    connection.commit()
    return {"same": {"rows": count, "digest": str(digest)}, "facts": {"rows": counted, "rows_written": written}}
