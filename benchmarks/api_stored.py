"""1 000 bars over HTTP, the cache emptied before each, in turn with a bare query and its rows as JSON."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

import orjson
import psycopg2

from benchmarks.api_clients import Connection, quantiles, rounds_of
from benchmarks.harness import OURS, Disagreement, Spread
from collector.clock import SystemClock

CLOCK = SystemClock()
BARE = "query and orjson"
BARS = 1000  # of an answer
MINUTE = timedelta(minutes=1)
OHLCV = f"/api/ohlcv?symbol=BTC&interval=1m&limit={BARS}"
# The query that the API has to make, in the words of somebody who makes no other.
BARE_QUERY = """
    SELECT (extract(epoch FROM open_time) * 1000)::bigint, open::float8, high::float8, low::float8, close::float8,
        volume::float8, source
    FROM candles WHERE instrument_id = %s AND interval = '1m' AND open_time >= %s AND open_time < %s
    ORDER BY open_time DESC LIMIT %s
"""

Figures = dict[str, dict[str, Spread]]
Round = Mapping[str, Mapping[str, float]]
During = Callable[[Callable[[], Round]], Round]


def at_once(work: Callable[[], Round]) -> Round:
    return work()


def compare(url: str, port: int, number: int, *, asks: int, rounds: int, during: During = at_once) -> Figures:
    """Return times and answers a second of both sides; `number` is the series of bitcoin in the database at `url`.

    `during` does the work of a round at the moment that is wanted. Raises Disagreement unless both give the same bars.
    """
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        return rounds_of(lambda backwards: during(lambda: _turns(session, port, number, asks, backwards)), rounds)


def _turns(session: Any, port: int, number: int, asks: int, backwards: bool) -> Round:
    """Ask both in turn. A server closes connections that rest, so they are made anew for each round."""
    took: dict[str, list[float]] = {OURS: [], BARE: []}
    with (
        closing(Connection(port, OHLCV)) as asking,
        closing(Connection(port, "/api/cache/clear", "POST")) as forgetting,
    ):
        work = ((OURS, asking.ask), (BARE, lambda: bare_bars(session, number)))
        for turn in range(asks):
            forgetting.ask()
            for side, ask in work[::-1] if (turn + backwards) % 2 else work:
                took[side].append(timed(ask))
        check_same(asking, forgetting, session, number)
    return {side: {**quantiles(ms), "answers_per_s": 1000 * len(ms) / sum(ms)} for side, ms in took.items()}


def check_same(asking: Connection, forgetting: Connection, session: Any, number: int) -> None:
    """Raise Disagreement unless the API and the bare query give the same bars; a minute may end between the two."""
    for _ in range(3):
        forgetting.ask()
        told, wanted = orjson.loads(asking.ask()), orjson.loads(bare_bars(session, number))
        found = [{key: bar[key] for key in wanted[0]} for bar in told["data"]]
        if found == wanted:
            break
    if (told["count"], told["detail"]["from"], told["stale"]) != (BARS, "database", False):
        raise Disagreement(f"the API gave {told['count']} bars, stale: {told['stale']}, {told['detail']}")
    if found != wanted:
        raise Disagreement(f"the API and the query gave different bars, first {found[0]} and {wanted[0]}")


def bare_bars(session: Any, number: int) -> bytes:
    until = CLOCK.now().replace(second=0, microsecond=0)
    with session.cursor() as cursor:
        cursor.execute(BARE_QUERY, (number, until - 1060 * MINUTE, until, BARS))
        names = ("timestamp", "open", "high", "low", "close", "volume")
        return orjson.dumps([dict(zip(names, row, strict=False)) for row in reversed(cursor.fetchall())])


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()  # measuring is what this program is for
    work()
    return 1000 * (time.perf_counter() - began)
