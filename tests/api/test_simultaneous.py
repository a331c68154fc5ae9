"""A thousand clients at once, over real sockets and a real server, with a simulated provider that counts its calls."""

import asyncio
import threading
from collections import Counter
from contextlib import contextmanager

import pytest

from collector.api.serve import build_server, listen
from tests.api.unified_stand import application, live_on
from tests.unit.cycle_rig import frozen_market

CLIENTS = 1000
REQUEST = b"GET /api/ohlcv?symbol=BTC&interval=1h&limit=50 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class Together:
    """Stands before an application and lets all clients in at the same moment, once the last one has asked."""

    def __init__(self, app):
        self.app, self.state = app, app.state
        self.asked = 0
        self.all_there = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.asked += 1
            if self.asked == CLIENTS:
                self.all_there.set()
            await self.all_there.wait()
        await self.app(scope, receive, send)


@contextmanager
def serving(app):
    """Lend the port of a server in a thread."""
    with listen("127.0.0.1", 0) as opened:
        server = build_server(app, streams=1000)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, name="server")
        thread.start()
        try:
            yield opened.getsockname()[1]
        finally:
            server.stop()
            thread.join(10)


async def ask_together(port):
    """Open all connections first, then send all requests; return each answer's status line and body."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
    for _, writer in opened:
        writer.write(REQUEST)
    answers = await asyncio.gather(*(reader.read() for reader, _ in opened))
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()
    return [(answer.split(b"\r\n", 1)[0], answer.partition(b"\r\n\r\n")[2]) for answer in answers]


@pytest.mark.timeout(60)
def test_a_thousand_simultaneous_misses_of_one_key_make_one_upstream_call(emptied, clock):
    with frozen_market(clock, latency_s=0.25) as simulator, live_on(simulator, clock) as live:
        gate = Together(application(emptied, live, clock, symbols=("BTC",)))
        with serving(gate) as port:
            answers = asyncio.run(ask_together(port))
        calls = Counter({path: count for (_, path), count in simulator.requests.items()})
    assert gate.asked == CLIENTS
    assert Counter(status for status, _ in answers) == {b"HTTP/1.1 200 OK": CLIENTS}
    assert len({body for _, body in answers}) == 1
    assert calls == {"/fapi/v1/exchangeInfo": 1, "/fapi/v1/klines": 1}
