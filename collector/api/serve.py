"""The API in this process: one port, one event loop, a clean end within seconds of a signal."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from collector.api.fanout import Fanout
from collector.errors import ConfigError
from collector.exits import DEFECT

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE_S = 4  # for answers under way when it is told to stop
IDLE_S = 5  # a connection without a request is closed after this
CONNECTIONS = 512  # beside the streams
UNSENT_MS = 30_000  # a client that takes nothing for so long is cut off by the kernel
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - shown, not bound


def listen(host: str, port: int) -> socket.socket:
    """Return the socket that the API answers on. Raises ConfigError that names key, value and remedy."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=_PASSIVE)[0]
    except OSError as error:
        remedy = "use an address of this machine, as 127.0.0.1, or 0.0.0.0 for all"
        raise ConfigError(f"api.host: {host!r} is no address ({error.strerror}); {remedy}") from error
    try:
        opened = socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        remedy = "set api.port (or PORT) to another one, or 0 for any free one"
        raise ConfigError(f"api.port: {port} on {host} cannot be used ({_reason(error)}); {remedy}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections take it over
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_MS)
    return opened


_PASSIVE = socket.AI_PASSIVE


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def address(opened: socket.socket) -> str:
    """Return the address of the API for people, as http://127.0.0.1:8000."""
    host, port = opened.getsockname()[:2]
    host = WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Ends the streams before it waits for connections, which would wait for them."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`: the base class would raise them again after a clean end."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then everything else."""
        fanout: Fanout | None = getattr(self._app.state, "fanout", None)
        if fanout is not None:
            fanout.close()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Ask for a clean end; from any thread."""
        self.should_exit = True

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """End cleanly; a second signal ends at once."""
        if self.should_exit:
            os._exit(DEFECT)
        self.stop()


def build_server(app: FastAPI, *, streams: int) -> Server:
    """Return the server of an application; nothing of uvicorn's own is logged or believed."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # by default it believes X-Forwarded-For of 127.0.0.1
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=CONNECTIONS + streams,
    )
    return Server(app, config)


def serve(app: FastAPI, opened: socket.socket, *, streams: int, started: Callable[[Server], None]) -> None:
    """Answer until a signal; `started` gets the server, whose `stop` ends it too."""
    server = build_server(app, streams=streams)
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, server.on_signal)
    started(server)
    server.run(sockets=[opened])
