"""What the browser tests run against: providers that can die, the real program, and a database that can go away.

The tests themselves are in dashboard/e2e. They reach the handles of the rig by `POST http://127.0.0.1:<port>/<handle>`.
"""

import json
import math
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from collector.simulator.wire import json_response
from collector.storage.announce import Fresh, announce
from tests.acceptance.program import REPOSITORY, SMALL, Program, changed, connect, wait_until
from tests.faults.proxy import ToxicProxy, Toxics

DASHBOARD = REPOSITORY / "dashboard"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MARKUP = '<img src=x onerror="window.ran=1"><b>Pepe</b>'
CALM = changed(SMALL, ["cadences", "market", "every"], "5s")
ROOMY = {"COLLECTOR_API__RATE_DATA": "5000", "COLLECTOR_API__RATE_PRICES": "5000"}  # many visits from one address
BARS = 5_400  # minutes of one market, with holes of 14 bars every 400

_BARS = """
    INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
                         open, high, low, close, volume)
    SELECT source, at, at + interval '1 minute', cycle_id, instrument_id, '1m', at,
           round(price, 1), round(price * 1.0008, 1), round(price * 0.9992, 1), round(price + jump, 1), 5 + number %% 7
    FROM (
        SELECT n.*, number, first - number * interval '1 minute' AS at,
               (n.close * (1 + 0.03 * sin(number / 180.0)))::numeric AS price,
               (n.close * 0.0004 * sin(number * 3.0))::numeric AS jump
        FROM (SELECT c.*, min(open_time) OVER () AS first FROM candles c JOIN instruments i USING (instrument_id)
              WHERE i.instrument = %s AND c.interval = '1m' ORDER BY open_time LIMIT 1) n,
             generate_series(1, %s) number
        WHERE number %% 400 NOT BETWEEN 20 AND 33
    ) made ON CONFLICT DO NOTHING
"""
_PRICES = """
    INSERT INTO market_snapshots ({columns}) SELECT {values} FROM (
        SELECT DISTINCT ON (asset_id) * FROM market_snapshots ORDER BY asset_id, observed_at DESC
    ) newest RETURNING observed_at
"""
_TIMES = """
    SELECT table_name, column_name FROM information_schema.columns
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND data_type = 'timestamp with time zone'
    AND table_name = ANY(%s)
"""
_AGEING = ["market_snapshots", "global_snapshots", "tickers", "mark_prices", "open_interest", "order_books"]
_AGEING += ["funding_forecasts", "cycles", "asset_views"]


def browser() -> str | None:
    """Return the Chromium to use: the one that CHROMIUM names, or one of the usual names; None without any."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


class Weather:
    """Stands between the simulated providers and the network: some are dead, and one coin's name is markup."""

    def __init__(self) -> None:
        self.dead: set[str] = set()

    def before(self, venue, path, request):
        del path, request
        return json_response({"error": "out of order"}, 503) if venue in self.dead else None

    def after(self, venue, path, request, response):
        del path, request
        if not venue.startswith("coingecko") or response.status != 200:
            return response
        # Names of coins only: symbols and ids stay what other answers refer to.
        name = json.dumps(MARKUP, separators=(",", ":")).encode()
        return replace(response, body=response.body.replace(b'"name":"Pepe (simulated)"', b'"name":' + name))


class Rig:
    """A collector and an API as two processes on one database, and the handles that the browser tests pull."""

    def __init__(self, program: Program, weather: Weather, proxy: ToxicProxy) -> None:
        self.program, self._weather, self._proxy = program, weather, proxy
        self._collector = ExitStack()
        self._is_collecting = False
        self._replayed = 0

    # handles: each answers what it did ---------------------------------------------------------------------------

    def provider_dies(self, name: str) -> None:
        self._weather.dead.add(name)

    def provider_returns(self, name: str) -> None:
        self._weather.dead.discard(name)

    def collector_starts(self) -> None:
        """Start it and wait until it has stored something; nothing happens when it is running."""
        if self._is_collecting:
            return
        self._is_collecting = True
        before = self.program.ended_cycles("market")
        self._collector.enter_context(self.program.running("collect"))
        wait_until(lambda: self.program.ended_cycles("market") > before, "a cycle")

    def analyse(self) -> None:
        """Store what the collector's own analyst would: its packages take too long to load beside the tests."""
        for study in ("trends", "signals", "portfolio"):
            done = self.program.run(study, "--store", limit_s=90)
            assert done.status == 0, done.err

    def collector_stops(self) -> None:
        self._collector.close()
        self._is_collecting = False

    def database_goes(self) -> None:
        self._proxy.toxics = Toxics(reset_peer=True)

    def database_returns(self) -> None:
        self._proxy.toxics = Toxics()

    def minute_bars(self, instrument: str) -> int:
        """Store more than 5000 older minutes of a market, as a long collection would have."""
        self.program.rows(_BARS, instrument, BARS)
        held = "SELECT count(*) FROM candles JOIN instruments USING (instrument_id) WHERE instrument = %s"
        return self.program.value(f"{held} AND interval = '1m'", instrument)

    def grow_old(self) -> None:
        """Move everything that ages three hours back: as if the collector had stopped then."""
        with closing(connect(self.program.url)) as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM market_snapshots WHERE observed_at > now()")  # what `next_prices` left
            cursor.execute(_TIMES, (_AGEING,))
            columns: dict[str, list[str]] = {}
            for table, column in cursor.fetchall():
                columns.setdefault(table, []).append(f"{column} = {column} - interval '3 hours'")
            for table, changes in columns.items():
                cursor.execute(f"UPDATE {table} SET {', '.join(changes)}")
            cursor.execute("DELETE FROM indicators WHERE open_time > now() - interval '3 hours'")
            cursor.execute("DELETE FROM candles WHERE open_time > now() - interval '3 hours'")
            connection.commit()

    def next_prices(self) -> int:
        """Store and announce prices of all assets five seconds on, as a cycle would; return how many were stored."""
        self._replayed += 1
        moved = 1 + 0.01 * math.sin(self._replayed)
        with closing(connect(self.program.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'market_snapshots'")
            columns = [name for (name,) in cursor.fetchall()]
            fresh = {
                "price_usd": f"round(price_usd * {moved}, 8)",
                "observed_at": "observed_at + interval '5 seconds'",
                "cycle_id": "(SELECT max(cycle_id) FROM cycles)",
            }
            values = [fresh.get(name, name) for name in columns]
            cursor.execute(_PRICES.format(columns=", ".join(columns), values=", ".join(values)))
            times = [at for (at,) in cursor.fetchall()]
            cursor.execute("SELECT max(cycle_id) FROM cycles")
            (cycle,) = cursor.fetchone()
            known = Fresh(rows=len(times), since=min(times) - timedelta(seconds=1), until=max(times))
            announce(cursor, cycle, {"market_snapshots": known})
            connection.commit()
        return len(times)

    # life ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._collector.close()


HANDLES = (
    Rig.provider_dies,
    Rig.provider_returns,
    Rig.collector_starts,
    Rig.collector_stops,
    Rig.database_goes,
    Rig.database_returns,
    Rig.minute_bars,
    Rig.grow_old,
    Rig.next_prices,
)


@contextmanager
def handles(rig: Rig):
    """Lend the address at which the handles of a rig are pulled; the body is a JSON list of arguments."""
    known: dict[str, Callable[..., Any]] = {f"/{handle.__name__}": handle for handle in HANDLES}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            given = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, body = 200, None
            try:
                body = known[self.path](rig, *json.loads(given or b"[]"))
            except Exception as error:  # noqa: BLE001 - the test on the other side tells it
                status, body = 500, repr(error)
            told = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


__all__ = ["CALM", "DASHBOARD", "MARKUP", "ROOMY", "Rig", "Weather", "browser", "handles"]
