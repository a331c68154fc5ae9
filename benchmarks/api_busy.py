"""The API of a whole installation while its cycles run, beside a bare route that sends the same bytes meanwhile.

The installation is `python main.py run` against the simulated providers, limits on, answers after 80 ms. Its cycles
follow each other as closely as the limits allow; whatever was measured while none ran, or while one ended, is
measured again.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
import psycopg2
from sqlalchemy import make_url

from benchmarks.api_clients import Connection, Refused, flood, in_turn, latencies_ms, quantiles, rounds_of
from benchmarks.api_servers import constant, laid_over, program
from benchmarks.api_stored import BARS, MINUTE, OHLCV, compare
from benchmarks.asked import Asked, CannotMeasure
from benchmarks.harness import OURS, Part
from benchmarks.scratch import scratch_tree, simulator
from collector.clock import SystemClock
from collector.config import ApiSettings
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.embedded.running import running_server

CLOCK = SystemClock()
PRICES = "/api/prices"
RATE, PACED_S, FLOOD_S = 200, 2.5, 1.0
ROUNDS, ASKS = 3, 50
GIVE_UP_S = 120.0
EVERY = "30s"  # between the starts of cycles: the closest that the limits of the providers allow
# A first cycle that fetches as much as any later one does: no history.
_CANDLES = {"datasets": {"candles": {"history": 3}}}
STEADY = {
    "cadences": {"market": {"every": EVERY}},
    "sources": dict.fromkeys(("binance_futures", "binance_spot", "okx", "kraken"), _CANDLES),
}
EARLIER_BARS = BARS + 60  # minutes pass meanwhile
NEWEST = "SELECT cycle_id, state FROM cycles ORDER BY cycle_id DESC LIMIT 1"
FOLLOWED = "SELECT 1 FROM instruments WHERE venue = 'binance_futures' AND venue_symbol = 'BTCUSDT' AND followed"
HELD = """
    SELECT i.instrument_id, min(c.open_time) FROM instruments i JOIN candles c USING (instrument_id)
    WHERE i.venue = 'binance_futures' AND i.venue_symbol = 'BTCUSDT' AND c.interval = '1m' GROUP BY 1
"""
# What the API asks of stored bars now and ten seconds later: the newest is young enough, and there is no hole.
WHOLE = """
    SELECT count(*) >= %(bars)s
        AND max(open_time) >= date_trunc('minute', now() - interval '53 s') - interval '1 minute'
        AND extract(epoch FROM max(open_time) - min(open_time)) / 60 = count(*) - 1
    FROM candles WHERE instrument_id = %(number)s AND interval = '1m'
"""
# The bars that a collector would have that runs for a day: the oldest one over and over.
EARLIER = """
    INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
        open, high, low, close, volume)
    SELECT source, t + interval '1 minute', t + interval '1 minute', cycle_id, instrument_id, '1m', t,
        open, high, low, close, volume
    FROM candles, generate_series(open_time - %(bars)s * interval '1 minute', open_time - interval '1 minute',
        interval '1 minute') AS t
    WHERE instrument_id = %(number)s AND interval = '1m' AND open_time = %(first)s
"""


Found = TypeVar("Found")


class Installation:
    """A running installation: its port and a session in its database."""

    def __init__(self, port: int, session: Any) -> None:
        self.port = port
        self._session = session
        self.ready: Callable[[], bool] = lambda: True  # whether what is asked for can be had at this moment

    def ask(self, path: str) -> bytes:
        with closing(Connection(self.port, path)) as one:
            return one.ask()

    def rows(self, query: str, **values: Any) -> Any:
        with self._session.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else cursor.rowcount

    def while_a_cycle_runs(self, work: Callable[[], Found]) -> Found:
        """Do the work, again if the cycle that ran when it began has ended meanwhile, and return what it gave."""
        give_up_at = time.perf_counter() + GIVE_UP_S
        while time.perf_counter() < give_up_at:
            before = self.rows(NEWEST)
            if before and before[0][1] == "running" and self.ready():
                found = work()
                if self.rows(NEWEST) == before:
                    return found
            else:
                CLOCK.sleep(0.1)
        raise CannotMeasure(f"no cycle ran long enough within {GIVE_UP_S:g} s: {self.rows(NEWEST)}")


def wait_for(what: str, there: Callable[[], Any]) -> Any:
    give_up_at = time.perf_counter() + GIVE_UP_S
    while not (found := there()):
        if time.perf_counter() > give_up_at:
            raise CannotMeasure(f"no {what} within {GIVE_UP_S:g} s")
        CLOCK.sleep(0.5)
    return found


def measure_beside_cycles(folder: Path, room: Mapping[str, Any], bare: str, asked: Asked) -> list[Part]:
    """Measure prices, 1 000 bars as they ship, and 1 000 bars with the cache emptied."""
    with simulator(assets=450, latency_ms=80) as simulated:
        tree = laid_over(scratch_tree(folder, simulated.addresses), {**STEADY, "api": room})
        with program(folder, "run", tree, "run") as port, ExitStack() as stack:
            url = wait_for("the installation's database", lambda: running_server(folder / "data" / "postgres"))
            here = Installation(port, stack.enter_context(closing(connected(url))))
            # Before that it knows of no series, and does not look again for a minute.
            wait_for("bitcoin that is followed", lambda: here.rows(FOLLOWED))
            wait_for("prices of all assets", lambda: _all_prices(here))
            prices = beside(here, folder, PRICES, bare, asked)
            number = remember(here, url)
            here.ready = lambda: bool(here.rows(WHOLE, number=number, bars=BARS)[0][0])
            wait_for("bars from the database", lambda: here.while_a_cycle_runs(lambda: _from_database(here)))
            bars = beside(here, folder, OHLCV, bare, asked)
            asks, rounds = asked.size(ASKS, 10), asked.times(ROUNDS)
            stored = compare(plain(url), port, number, asks=asks, rounds=rounds, during=here.while_a_cycle_runs)
    text = "while a cycle runs"
    return [
        Part(key="busy", text=f"Prices {text}: {RATE} requests a second, then as many as can be", figures=prices),
        Part(key="busy_ohlcv", text=f"{BARS} bars {text}: the same", figures=bars),
        Part(key="busy_stored", text=f"{BARS} stored bars {text}, nothing from the cache", figures=stored),
    ]


def connected(url: str) -> Any:
    session = psycopg2.connect(plain(url))
    session.autocommit = True
    return session


def plain(url: str) -> str:
    """Return a URL as the driver alone takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def beside(here: Installation, folder: Path, path: str, bare: str, asked: Asked) -> dict[str, Any]:
    """Compare a path with the bytes that it sends, at a fixed rate and then as fast as can be, while cycles run."""
    name = path.partition("?")[0].rpartition("/")[2]
    body = here.while_a_cycle_runs(lambda: here.ask(path))
    with constant(folder, f"bare-{name}", body) as other:
        paced_s, flood_s = asked.size(PACED_S, 1.0), asked.size(FLOOD_S, 0.5)

        def load(port: int, of: str) -> Mapping[str, float]:
            took = here.while_a_cycle_runs(lambda: paced(port, of, paced_s))
            fast = here.while_a_cycle_runs(lambda: flood(port, of, flood_s))
            return {**took, "flood_p50_ms": fast["p50_ms"], "flood_p99_ms": fast["p99_ms"], **_rate(fast)}

        work = {OURS: partial(load, here.port, path), bare: partial(load, other, "/constant")}
        return dict(rounds_of(lambda backwards: in_turn(work, backwards), asked.times(ROUNDS)))


def paced(port: int, path: str, seconds: float) -> Mapping[str, float]:
    took = latencies_ms(port, path, RATE, seconds)
    return {**quantiles(took, (0.5, 0.95, 0.99, 1.0)), "answers": len(took)}


def _rate(figures: Mapping[str, float]) -> Mapping[str, float]:
    return {"answers_per_s": figures["answers_per_s"]}


def remember(here: Installation, url: str) -> int:
    """Give bitcoin's series the bars before its first one; return its number."""
    ((number, first),) = wait_for("bars of bitcoin", lambda: here.rows(HELD))
    begin = first - EARLIER_BARS * MINUTE
    with closing(Database(url, clock=CLOCK)) as database, database.transaction() as connection:
        timeseries.ensure_partitions(connection, "candles", {(at.year, at.month) for at in (begin, first)})
    here.rows(EARLIER, bars=EARLIER_BARS, number=number, first=first)
    return int(number)


def _from_database(here: Installation) -> bool:
    """Tell whether the API answers with the stored bars; a provider that it asks instead may refuse."""
    with closing(Connection(here.port, "/api/cache/clear", "POST")) as forgetting:
        forgetting.ask()
    with suppress(Refused):
        told = orjson.loads(here.ask(OHLCV))
        return (told["count"], told["detail"]["from"]) == (BARS, "database")
    return False


def _all_prices(here: Installation) -> bool:
    return len(orjson.loads(here.ask(PRICES))["data"]) >= len(ApiSettings().symbols)
