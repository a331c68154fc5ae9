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
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import psycopg2
import yaml
from sqlalchemy import text

from benchmarks.asked import Asked
from benchmarks.harness import Outcome, Part, Reach, Spread
from benchmarks.scratch import ROOT, scratch_tree, simulator
from benchmarks.stand import opened
from collector.api.symbols import WELL_KNOWN
from collector.api.unified.health import LOOKED_EVERY_S
from collector.clock import SystemClock
from collector.config import ApiSettings
from collector.records import (
    Asset,
    Batch,
    Candle,
    Dataset,
    Instrument,
    InstrumentListing,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
    Ticker,
)
from collector.sources import SOURCES
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.writer import AssetStanding, InstrumentStanding, Writer

CLOCK = SystemClock()
MINUTE = timedelta(minutes=1)
CACHED_SHARE, STORED_TIMES, CROWDED_TIMES, P99_MS = 0.7, 1.5, 1.25, 20.0
API, BARE_ROUTE, BARE_DATABASE = "ours", "constant bytes", "query and orjson"
CANDLES = 5_000_000
CONNECTIONS, ROUND_S, ROUNDS = 8, 2.0, 5
BARS, ASKED = 1000, 20  # bars of an answer, answers of a round
RATE, BESIDE_S = 200, 10.0
OTHERS = 100  # series that share the five million candles
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
OTHER_CANDLES = """
    INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
        open, high, low, close, volume)
    SELECT 'bench', t + interval '1 minute', t + interval '1 minute', :cycle, 1000000 + n, '1m', t,
        100 + n, 101 + n, 99 + n, 100.5 + n, 12.345
    FROM generate_series(1, :others) AS n, generate_series(
        CAST(:until AS timestamptz) - (:each - 1) * interval '1 minute', :until, interval '1 minute') AS t
"""


# --------------------------------------------------------------------------- clients


class Connection:
    """One kept-alive connection that asks for one path."""

    def __init__(self, port: int, path: str, method: str = "GET") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode()
        self._answer = b""

    def send(self) -> None:
        self._answer = b""
        self.socket.sendall(self._request)

    def received(self) -> bytes | None:
        """Take what is there; return the body once it is whole."""
        self._answer += self.socket.recv(1 << 18)
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            assert self._answer, "the server closed the connection"
            return None
        assert head.startswith(b"HTTP/1.1 200"), head[:200]
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return body if len(body) == length else None

    def ask(self) -> bytes:
        """Return the body of one answer."""
        self.send()
        while (body := self.received()) is None:
            pass
        return body

    def close(self) -> None:
        self.socket.close()


@contextmanager
def connections(port: int, path: str, count: int) -> Iterator[list[Connection]]:
    made = [Connection(port, path) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def rate_of(port: int, path: str, seconds: float) -> float:
    """Return how many answers a second come when every connection asks again at once."""
    with connections(port, path, CONNECTIONS) as made, selectors.DefaultSelector() as ready:
        for one in made:
            ready.register(one.socket, selectors.EVENT_READ, one)
            one.send()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            for key, _ in ready.select(1):
                if key.data.received() is not None:
                    count += 1
                    key.data.send()
        return count / (time.perf_counter() - began)


def latencies_ms(port: int, path: str, rate: float, seconds: float) -> list[float]:
    """Return what each of the requests took that were due at fixed moments, waiting for a free connection included."""
    due = [n / rate for n in range(int(rate * seconds))]
    with connections(port, path, 4 * CONNECTIONS) as free, selectors.DefaultSelector() as ready:
        took: list[float] = []
        asked: dict[Connection, float] = {}
        began = time.perf_counter()
        while due or asked:
            now = time.perf_counter() - began
            while due and free and due[0] <= now:
                one = free.pop(0)  # the one that rested longest: a server closes connections that rest
                asked[one] = due.pop(0)
                ready.register(one.socket, selectors.EVENT_READ, one)
                one.send()
            pause = max(0.0, min(0.05, due[0] - now)) if due and free else 0.05
            if not asked:
                CLOCK.sleep(pause)
                continue
            for key, _ in ready.select(pause):
                if key.data.received() is not None:
                    took.append(1000 * (time.perf_counter() - began - asked.pop(key.data)))
                    ready.unregister(key.data.socket)
                    free.append(key.data)
        return took


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


# --------------------------------------------------------------------------- what is stored


def fill(database: Database, now: datetime) -> int:
    """Store the supported assets with a price each, and BARS bars of bitcoin; return the number of its market."""
    writer = Writer(database)
    cycle = writer.begin_cycle("market", now, instance="bench", folder="", simulated=True)
    owners = {
        symbol: Instrument(venue="okx", base=symbol, quote="USDT", kind=Kind.PERP, venue_symbol=symbol)
        for symbol in WELL_KNOWN
    }
    rows: list[Any] = []
    for rank, (symbol, (asset_id, name)) in enumerate(WELL_KNOWN.items(), 1):
        seen: dict[str, Any] = {"source": "coingecko", "observed_at": now, "received_at": now}
        rows.append(Asset(**seen, asset_id=asset_id, symbol=symbol, name=name))
        rows.append(
            MarketSnapshot(
                **seen,
                asset_id=asset_id,
                price_usd=Decimal(100 * rank),
                rank=rank,
                market_cap_usd=Decimal(10**12 // rank),
                change_24h_pct=Decimal("1.25"),
            )
        )
        rows += [listing(owners[symbol], now), ticker(owners[symbol], Decimal(100 * rank), now)]
    last = now.replace(second=0, microsecond=0)
    rows += [bar(owners["BTC"], last - n * MINUTE) for n in range(1, BARS + 61)]
    writer.write(cycle, [Batch(job=Job(source="coingecko", dataset=Dataset.MARKETS), records=tuple(rows))])
    standings = [
        AssetStanding(asset_id=known[0], rank=rank, followed=True) for rank, known in enumerate(WELL_KNOWN.values(), 1)
    ]
    matches = [
        InstrumentStanding(
            instrument=owner.id,
            asset_id=WELL_KNOWN[symbol][0],
            asset_units=Decimal(1),
            match_state="matched",
            match_detail="",
            followed=True,
        )
        for symbol, owner in owners.items()
    ]
    writer.save_universe("coingecko", standings, matches)
    with database.reading() as connection:
        found = connection.execute(text("SELECT instrument_id FROM instruments WHERE instrument = 'okx:BTC-USDT:perp'"))
        return int(found.scalar_one())


def listing(owner: Instrument, now: datetime) -> InstrumentListing:
    return InstrumentListing(
        source="okx",
        observed_at=now,
        received_at=now,
        instrument=owner,
        status="live",
        tradable=True,
        listed_at=None,
        delists_at=None,
        tick_size=None,
        lot_size=None,
        category="crypto",
    )


def ticker(owner: Instrument, price: Decimal, now: datetime) -> Ticker:
    unknown = (
        "bid_price",
        "bid_size",
        "ask_price",
        "ask_size",
        "open_24h",
        "high_24h",
        "low_24h",
        "volume_24h",
        "quote_volume_24h",
        "change_24h_pct",
    )
    return Ticker(
        source="okx", observed_at=now, received_at=now, instrument=owner, last_price=price, **dict.fromkeys(unknown)
    )


def bar(owner: Instrument, at: datetime) -> Candle:
    price = Decimal(f"{60_000 + at.minute}.{at.hour:02d}")
    return Candle(
        source="okx",
        observed_at=at + MINUTE,
        received_at=at + MINUTE,
        instrument=owner,
        interval=Interval.M1,
        open_time=at,
        open=price,
        high=price + 9,
        low=price - 9,
        close=price + 1,
        volume=Decimal("12.3456"),
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        closed=True,
    )


def crowd(database: Database, now: datetime, count: int) -> None:
    """Put `count` candles of other series into the table, up to now."""
    until, each = now.replace(second=0, microsecond=0) - MINUTE, count // OTHERS
    first = until - each * MINUTE
    months = {(first + timedelta(days=day)).replace(day=1).date() for day in range((until - first).days + 2)}
    with database.transaction() as connection:
        timeseries.ensure_partitions(connection, "candles", [(month.year, month.month) for month in sorted(months)])
    values = {"cycle": 1, "others": OTHERS, "until": until, "each": each}
    with database.transaction() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        made = connection.execute(text(OTHER_CANDLES), values).rowcount
        assert made >= count - OTHERS, made
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE candles")


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
