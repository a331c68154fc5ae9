"""How fast the data API answers: from its cache, from the database, and while a cycle runs.

Cached: eight connections ask for the prices of all supported assets as fast as they can, in turn with the same number
of bytes from a bare route of a server of the same kind in a process of its own. Stored: 1 000 bars over HTTP, the
cache emptied before each, in turn with the same query by the driver alone and its rows as JSON; first with as good as
nothing else in the table, then beside five million candles of a hundred other series. Beside a cycle: 200 requests a
second for prices, at fixed moments, while a whole installation runs a cycle that fetches what every cycle fetches; the
waiting of a request for a free connection counts. The answers: the same bytes, and the same 1 000 bars.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import psycopg2
import yaml

from benchmarks.api_clients import Connection, latencies_ms, rate_of
from benchmarks.api_stock import BARS, MINUTE, crowd, fill
from benchmarks.asked import Asked
from benchmarks.harness import Outcome, Part, Reach, Spread
from benchmarks.scratch import ROOT, scratch_tree, simulator
from benchmarks.stand import opened
from collector.api.unified.health import LOOKED_EVERY_S
from collector.clock import SystemClock
from collector.config import ApiSettings
from collector.sources import SOURCES

CLOCK = SystemClock()
CACHED_SHARE, STORED_TIMES, CROWDED_TIMES, P99_MS = 0.7, 1.5, 1.25, 20.0
API, BARE_ROUTE, BARE_DATABASE = "ours", "constant bytes", "query and orjson"
CANDLES = 5_000_000
ROUND_S, ROUNDS = 2.0, 5
ASKED = 20  # answers of a round
RATE, BESIDE_S = 200, 10.0
ROOMY = {"rate_prices": 10_000_000, "rate_ohlcv": 10_000_000, "rate_data": 10_000_000, "port": 0}
# A first cycle that fetches as much as any later one does: no history.
_CANDLES = {"datasets": {"candles": {"history": 3}}}
STEADY = {
    "api": {"rate_prices": ROOMY["rate_prices"], "port": 0},
    "sources": dict.fromkeys(("binance_futures", "binance_spot", "okx", "kraken"), _CANDLES),
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
# The query that the API has to make, in the words of somebody who makes no other.
BARE_QUERY = """
    SELECT (extract(epoch FROM open_time) * 1000)::bigint, open::float8, high::float8, low::float8, close::float8,
        volume::float8, source
    FROM candles WHERE instrument_id = %s AND interval = '1m' AND open_time >= %s AND open_time < %s
    ORDER BY open_time DESC LIMIT %s
"""


# --------------------------------------------------------------------------- servers


@contextmanager
def server(folder: Path, name: str, command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """Lend a process of ours by the port that it says it listens on."""
    log = folder / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment, cwd=ROOT)
    try:
        give_up_at = time.perf_counter() + 60
        while not (found := ADDRESS.search(log.read_text())):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.perf_counter() < give_up_at, log.read_text()[-2000:]
            CLOCK.sleep(0.05)
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(30)


def own_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("COLLECTOR_")}


def program(folder: Path, name: str, tree: dict[str, Any], *words: str) -> Any:
    """Lend `python main.py <words>` with the shipped settings and `tree` laid over them."""
    config, shipped = folder / f"{name}.yaml", yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config.write_text(yaml.safe_dump(laid_over(shipped, tree)))
    command = [sys.executable, str(ROOT / "main.py"), "--config", str(config), *words]
    return server(folder, name, command, own_environment())


def laid_over(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{name: laid_over(below.get(name), value) for name, value in above.items()}}


def serve_bare(body: Path) -> None:
    """Serve the bytes of a file at /constant, with the server of the API and nothing else."""
    from fastapi import FastAPI, Response  # noqa: PLC0415 - only this process needs them

    from collector.api.serve import address, listen, serve  # noqa: PLC0415

    app, content = FastAPI(), body.read_bytes()

    @app.get("/constant")
    async def constant() -> Response:
        return Response(content, media_type="application/json")

    with listen("127.0.0.1", 0) as listening:
        serve(app, listening, streams=500, started=lambda _: print(address(listening), flush=True))


# --------------------------------------------------------------------------- figures


def measure_cached(folder: Path, port: int, asked: Asked) -> Part:
    """Compare cached prices with the same bytes from a bare route: answers a second."""
    with closing(Connection(port, "/api/prices")) as one:
        body = one.ask()
    file = folder / "body.json"
    file.write_bytes(body)
    command = [sys.executable, "-m", "benchmarks.api", str(file)]
    rates: dict[str, list[float]] = {API: [], BARE_ROUTE: []}
    with server(folder, "bare", command, own_environment()) as bare:
        with closing(Connection(bare, "/constant")) as one:
            assert one.ask() == body, "the bare route sends other bytes"
        for _ in range(asked.times(ROUNDS, 2)):
            for side, path, asked_port in ((API, "/api/prices", port), (BARE_ROUTE, "/constant", bare)):
                rates[side].append(rate_of(asked_port, path, asked.size(ROUND_S, 1.0)))
    figures = {side: {"answers_per_s": Spread(tuple(values))} for side, values in rates.items()}
    return Part(key="cached", text=f"{len(body):,} bytes of prices from the cache", figures=figures)


def measure_stored(url: str, port: int, number: int, key: str, text: str, asked: Asked) -> Part:
    """Compare 1 000 bars over the API with a bare query and its rows as JSON, in milliseconds."""
    ours: list[float] = []
    bare: list[float] = []
    with (
        closing(psycopg2.connect(url)) as session,
        closing(Connection(port, f"/api/ohlcv?symbol=BTC&interval=1m&limit={BARS}")) as asking,
        closing(Connection(port, "/api/cache/clear", "POST")) as forgetting,
    ):
        session.autocommit = True
        for _ in range(asked.times(ROUNDS, 2)):
            pairs: list[tuple[float, float]] = []
            for _ in range(ASKED):
                forgetting.ask()
                pairs.append((timed(asking.ask), timed(lambda: bare_bars(session, number))))
            ours.append(median(pair[0] for pair in pairs))
            bare.append(median(pair[1] for pair in pairs))
        check_same(asking, forgetting, session, number)
    figures = {API: {"ms": Spread(tuple(ours))}, BARE_DATABASE: {"ms": Spread(tuple(bare))}}
    return Part(key=key, text=text, figures=figures)


def check_same(asking: Connection, forgetting: Connection, session: Any, number: int) -> None:
    """Raise AssertionError unless the API and the bare query give the same bars; a minute may end between the two."""
    for _ in range(3):
        forgetting.ask()
        told, wanted = orjson.loads(asking.ask()), orjson.loads(bare_bars(session, number))
        found = [{key: bar[key] for key in wanted[0]} for bar in told["data"]]
        if found == wanted:
            break
    assert (told["count"], told["detail"]["from"], told["stale"]) == (BARS, "database", False), told["detail"]
    assert found == wanted, (found[0], wanted[0])


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
        with program(folder, "api", tree, "api") as port:
            cached = measure_cached(folder, port, asked)
            alone = measure_stored(plain, port, number, "stored", f"{BARS} stored bars", asked)
            crowd(database, now, candles)
            text = f"{BARS} stored bars beside {candles:,} candles"
            return [cached, alone, measure_stored(plain, port, number, "crowded", text, asked)]


def newest_cycle(port: int) -> Any:
    with closing(Connection(port, "/api/health")) as one:
        return orjson.loads(one.ask())["lastCycle"]


def measure_beside_a_cycle(folder: Path, asked: Asked) -> Part:
    """Ask for prices at a fixed rate while the first cycle of a whole installation runs."""
    seconds = asked.size(BESIDE_S, 2.0)
    with simulator(assets=450, latency_ms=80) as simulated:
        tree = laid_over(scratch_tree(folder, simulated.addresses), STEADY)
        with program(folder, "run", tree, "run") as port:
            give_up_at = time.perf_counter() + 90
            while (cycle := newest_cycle(port)) is None or cycle["state"] != "running":
                assert time.perf_counter() < give_up_at, cycle
                CLOCK.sleep(0.2)
            with closing(Connection(port, "/api/prices")) as one:
                told = orjson.loads(one.ask())
            assert len(told["data"]) >= len(ApiSettings().symbols), told
            took = sorted(latencies_ms(port, "/api/prices", RATE, seconds))
            CLOCK.sleep(LOOKED_EVERY_S)
            after = newest_cycle(port)
    assert (after["id"], after["state"]) == (cycle["id"], "running"), (cycle, after)
    at = {f"p{share * 100:g}_ms": took[int(share * len(took)) - 1] for share in (0.5, 0.95, 0.99, 1.0)}
    figures = {API: {name: Spread((value,)) for name, value in at.items()} | {"answers": Spread((len(took),))}}
    return Part(key="busy", text=f"{RATE} requests a second for {seconds:g} s while a cycle runs", figures=figures)


def measure(asked: Asked) -> Outcome:
    """Measure the cache, the database and the minute beside a cycle."""
    with TemporaryDirectory(prefix="bench-api-") as name:
        folder = Path(name)
        parts = measure_stored_and_cached(folder, asked.size(CANDLES, 100_000), asked)
        parts.append(measure_beside_a_cycle(folder, asked))
    cached, alone, crowded, busy = parts
    share = cached.ratio(API, BARE_ROUTE, "answers_per_s")
    times, times_crowded = (part.ratio(API, BARE_DATABASE, "ms") for part in (alone, crowded))
    slower = Spread((crowded.of(API, "ms").median / alone.of(API, "ms").median,))
    text = "1 000 stored bars, API / query and JSON"
    return Outcome(
        title="Data API",
        work=__doc__ or "",
        parts=parts,
        reaches=[
            Reach(
                key="cached",
                text="answers a second, cached prices / bare route",
                value=share,
                limit=CACHED_SHARE,
                at_least=True,
            ),
            Reach(key="stored", text=text, value=times, limit=STORED_TIMES),
            Reach(key="stored_crowded", text=f"{text}, crowded table", value=times_crowded, limit=STORED_TIMES),
            Reach(key="crowded", text="1 000 stored bars, crowded table / alone", value=slower, limit=CROWDED_TIMES),
            Reach(key="busy", text="p99 while a cycle runs", value=busy.of(API, "p99_ms"), limit=P99_MS, unit="ms"),
        ],
        configurations={
            API: "`python main.py api` and `run` with the shipped settings, access log and limits on (raised)",
            BARE_ROUTE: "FastAPI with one async route on the same uvicorn settings, in a process of its own",
            BARE_DATABASE: "psycopg2, one prepared connection, the one query, rows as dictionaries through orjson",
        },
    )


if __name__ == "__main__":
    serve_bare(Path(sys.argv[1]))
