"""A bad network between the collector and its database: a TCP proxy on loopback with the seven toxics of Toxiproxy.

`toxics` may be replaced while connections are open. A cut counts the bytes that clients sent since it was armed, over
all connections, and resets the one that reaches the offset; then the network is good again.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy.engine import URL, make_url

READ_BYTES = 65_536


@dataclass(frozen=True, kw_only=True)
class Toxics:
    """What is wrong with the network, both ways; the default is nothing."""

    latency_s: float = 0.0  # before each piece of data
    bytes_per_s: float = 0.0  # bandwidth; 0: as fast as it goes
    slow_close_s: float = 0.0  # between the end of one side and the end of the other
    silent: bool = False  # "timeout": everything is accepted and nothing passed on
    reset_peer: bool = False  # the next data ends in a reset
    slice_bytes: int = 0  # "slicer": data is passed on in pieces of this size
    limit_bytes: int = 0  # "limit_data": the connection is closed after so many bytes from the client


class ToxicProxy:
    """Passes connections on to the server that a database URL names; `url` leads through it. Use as a context."""

    def __init__(self, target: str) -> None:
        self._target = make_url(target)
        self.toxics = Toxics()
        self.port = 0
        self.connections = 0
        self.cuts = 0
        self._cut_at: int | None = None
        self._sent = 0  # bytes from clients since the last `arm` or `count`
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="toxic-proxy", daemon=True)

    @property
    def url(self) -> str:
        """The address of the same database with this network in between."""
        through = self._target.set(host="127.0.0.1", port=self.port, query={})
        return through.update_query_dict({"sslmode": "disable", "gssencmode": "disable"}).render_as_string(
            hide_password=False
        )

    @property
    def sent(self) -> int:
        """How many bytes clients sent since `count` or `arm`."""
        return self._sent

    def count(self) -> None:
        """Count from zero."""
        self._sent, self._cut_at = 0, None

    def arm(self, offset: int) -> None:
        """Reset the connection that sends the byte at this offset from now on."""
        self._sent, self._cut_at = 0, offset

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    # inside ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await _connect(self._target)
            try:
                await asyncio.gather(self._pass(reader, back, self._from_client(writer)), self._pass(there, writer))
            finally:
                back.close()
        writer.close()

    def _from_client(self, writer: asyncio.StreamWriter) -> Callable[[bytes], bytes]:
        """Return what counts the data of one client and may cut it off."""
        seen = 0

        def take(data: bytes) -> bytes:
            nonlocal seen
            before, self._sent, seen = self._sent, self._sent + len(data), seen + len(data)
            limit = self.toxics.limit_bytes
            if self._cut_at is not None and self._sent > self._cut_at:
                data, self._cut_at = data[: max(0, self._cut_at - before)], None
                self.cuts += 1
                _reset(writer)
                raise _CutError(data)
            if limit and seen > limit:
                raise _CutError(data[: max(0, len(data) - (seen - limit))])
            return data

        return take

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        take: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        """Pass data one way until it ends, as badly as the toxics say."""
        try:
            while data := await reader.read(READ_BYTES):
                await self._send(writer, take(data))
        except _CutError as cut:
            writer.write(cut.rest)
            with contextlib.suppress(OSError):
                await writer.drain()
            raise ConnectionResetError from cut
        await asyncio.sleep(self.toxics.slow_close_s)
        raise ConnectionResetError  # one side has ended: so does the other

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        toxics = self.toxics
        while self.toxics.silent:  # noqa: ASYNC110 - the toxics come from another thread, which has no loop
            await asyncio.sleep(0.01)
        if toxics.reset_peer:
            _reset(writer)
            raise ConnectionResetError
        await asyncio.sleep(toxics.latency_s + (len(data) / toxics.bytes_per_s if toxics.bytes_per_s else 0.0))
        size = toxics.slice_bytes or len(data)
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()


class _CutError(Exception):
    def __init__(self, rest: bytes) -> None:
        super().__init__(len(rest))
        self.rest = rest


async def _connect(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as libpq would: a host that is a folder holds a socket."""
    host, port = url.host or str(url.query.get("host", "")), url.port or int(str(url.query.get("port", 5432)))
    if host.startswith("/"):
        return await asyncio.open_unix_connection(Path(host) / f".s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the close be an abrupt one."""
    sock = writer.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


__all__ = ["ToxicProxy", "Toxics"]
