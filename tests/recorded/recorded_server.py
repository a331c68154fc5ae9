"""The recorded providers on loopback, and a clock that can be set to the time of a recording."""

import threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from collector.clock import Clock, SystemClock
from tests.recorded.recorded_answers import Read, answer


class MovedClock(SystemClock):
    """The machine's clock, running on from another moment: sleeping and waiting take their real time."""

    def __init__(self, stop: threading.Event | None = None, *, offset: timedelta = timedelta(0)) -> None:
        super().__init__(stop)
        self._offset = offset

    def set(self, moment: datetime) -> None:
        self._offset = moment - super().now()

    def another(self, stop: threading.Event | None = None) -> Self:
        """Return a clock that shows the same time now; takes what SystemClock takes."""
        return type(self)(stop, offset=self._offset)

    def now(self) -> datetime:
        return super().now() + self._offset


class RecordedProviders:
    """CoinGecko, Binance futures and OKX on one port. `served` lists path and file ("" for none) of every answer."""

    def __init__(self, read: Read, clock: Clock) -> None:
        served: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # keep-alive, as the providers have it
            wbufsize = 65_536  # head and body leave together: apart they wait for each other's acknowledgement

            def do_GET(self) -> None:
                target = urlsplit(self.path)
                path = target.path.rstrip("/")  # /coins/bitcoin/ is /coins/bitcoin, at the real one too
                status, body, file = answer(read, clock.now(), path, dict(parse_qsl(target.query)))
                served.append((path, file))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: the requests are in `served`."""

        self.served = served
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def addresses(self) -> dict[str, str]:
        """Return the root address of each source, as its `base_url` setting takes it."""
        root = f"http://127.0.0.1:{self._server.server_port}"
        return {"coingecko": f"{root}/api/v3", "binance_futures": root, "okx": root}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
