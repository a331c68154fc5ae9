"""How fast the data API answers: from its cache, from the database, and while a cycle runs.

Cached: eight connections ask for the prices of all supported assets as fast as they can, in turn with the same number
of bytes from a bare route of a server of the same kind in a process of its own. Stored: 1 000 bars over HTTP, the
cache emptied before each, in turn with the same query by the driver alone and its rows as JSON; first with as good as
nothing else in the table, then beside five million candles of a hundred other series. While cycles of a whole
installation run: prices and 1 000 bars as it ships, in turn with their bytes from a bare route beside the same cycles,
at 200 requests a second at fixed moments, where the waiting for a free connection counts, and as fast as eight
connections can; and 1 000 bars with the cache emptied, in turn with the bare query. In every comparison the side that
begins changes, and a warm-up is left out. The answers: the same bytes, and the same 1 000 bars.
"""

from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.api_busy import measure_beside_cycles
from benchmarks.api_clients import Connection, flood, in_turn, rounds_of
from benchmarks.api_servers import constant, program
from benchmarks.api_stock import crowd, fill
from benchmarks.api_stored import BARE, BARS, compare
from benchmarks.asked import Asked
from benchmarks.harness import OURS, Outcome, Part, Reach, Spread
from benchmarks.scratch import work_folder
from benchmarks.stand import opened
from collector.clock import SystemClock
from collector.sources import SOURCES

CLOCK = SystemClock()
CACHED_SHARE, STORED_TIMES, CROWDED_TIMES, P99_MS = 0.7, 1.5, 1.25, 20.0
BARE_ROUTE = "constant bytes"
CANDLES = 5_000_000
ROUND_S, ROUNDS = 2.0, 5
ASKS = 200  # answers of a round
ROOMY = {"rate_prices": 10_000_000, "rate_ohlcv": 10_000_000, "rate_data": 10_000_000, "port": 0}
CONFIGURATIONS = {
    OURS: "`python main.py api` and `run` with the shipped settings, access log and limits on (raised)",
    BARE_ROUTE: "FastAPI with one async route on the same uvicorn settings, in a process of its own",
    BARE: "psycopg2, one prepared connection, the one query, rows as dictionaries through orjson",
}


def measure_cached(folder: Path, port: int, asked: Asked) -> Part:
    """Compare cached prices with the same bytes from a bare route."""
    with closing(Connection(port, "/api/prices")) as one:
        body = one.ask()
    seconds = asked.size(ROUND_S, 1.0)
    with constant(folder, "constant", body) as bare:
        work = {
            OURS: lambda: flood(port, "/api/prices", seconds),
            BARE_ROUTE: lambda: flood(bare, "/constant", seconds),
        }
        figures = rounds_of(lambda backwards: in_turn(work, backwards), asked.times(ROUNDS, 2))
    return Part(key="cached", text=f"{len(body):,} bytes of prices from the cache", figures=figures)


def measure_stored_and_cached(folder: Path, candles: int, asked: Asked) -> list[Part]:
    with opened(None) as database:
        now = CLOCK.now()
        number = fill(database, now)
        url = database.url.render_as_string(hide_password=False)
        plain = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        tree = {
            "simulated": True,
            "data_dir": str(folder / "unused"),
            "logs": {"directory": str(folder / "logs")},
            "database": {"url": url},
            "api": {**ROOMY, "ttl_prices": "1h", "ttl_ohlcv": "1h"},
            "sources": {name: {"enabled": False} for name in SOURCES},
        }
        asks, rounds = asked.size(ASKS, 20), asked.times(ROUNDS, 2)
        with program(folder, "api", tree, "api") as port:
            cached = measure_cached(folder, port, asked)
            alone = compare(plain, port, number, asks=asks, rounds=rounds)
            crowd(database, now, candles)
            crowded = compare(plain, port, number, asks=asks, rounds=rounds)
    text = f"{BARS} stored bars"
    return [
        cached,
        Part(key="stored", text=text, figures=alone),
        Part(key="crowded", text=f"{text} beside {candles:,} candles", figures=crowded),
    ]


def measure(asked: Asked) -> Outcome:
    """Measure the cache, the database, and both while cycles run."""
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder("bench-api-"))
        parts = measure_stored_and_cached(folder, asked.size(CANDLES, 100_000), asked)
        parts += measure_beside_cycles(folder, ROOMY, BARE_ROUTE, asked)
    return Outcome(
        title="Data API", work=__doc__ or "", parts=parts, reaches=judged(parts), configurations=CONFIGURATIONS
    )


def judged(parts: list[Part]) -> list[Reach]:
    """Return what is judged: answers a second beside a bare route, times beside a bare query."""
    cached, alone, crowded, busy, busy_ohlcv, busy_stored = parts
    slower = Spread((crowded.of(OURS, "p50_ms").median / alone.of(OURS, "p50_ms").median,))
    p99 = busy.of(OURS, "p99_ms")
    return [
        _share("cached", "answers a second, cached prices / bare route", cached),
        _times("stored", "1 000 stored bars, API / query and JSON", alone),
        _times("stored_crowded", "1 000 stored bars, API / query and JSON, crowded table", crowded),
        Reach(key="crowded", text="1 000 stored bars, crowded table / alone", value=slower, limit=CROWDED_TIMES),
        Reach(key="busy", text="p99 while a cycle runs", value=p99, limit=P99_MS, unit="ms"),
        _share("busy_prices", "answers a second while a cycle runs, prices / bare route", busy),
        _share("busy_ohlcv", "answers a second while a cycle runs, 1 000 bars / bare route", busy_ohlcv),
        _times("busy_stored", "1 000 stored bars while a cycle runs, API / query and JSON", busy_stored),
    ]


def _share(key: str, text: str, part: Part) -> Reach:
    value = part.ratio(OURS, BARE_ROUTE, "answers_per_s")
    return Reach(key=key, text=text, value=value, limit=CACHED_SHARE, at_least=True)


def _times(key: str, text: str, part: Part) -> Reach:
    return Reach(key=key, text=text, value=part.ratio(OURS, BARE, "p50_ms"), limit=STORED_TIMES)
