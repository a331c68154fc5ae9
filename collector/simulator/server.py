"""A small HTTP/1.1 server for loopback: keep-alive, gzip, an artificial delay that holds up nobody else.

It reads requests, hands each to one function, and writes what comes back. A malformed request gets 400 and the
connection is closed; nothing a client sends can raise out of here.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from collector.simulator.wire import Manner, Request, Response, json_response

Answer = Callable[[Request], Response]
MOST_HEAD_BYTES = 65_536
_MOST_BODY_BYTES = 65_536
_GZIP_FROM_BYTES = 1_000
_DRIP_HEAD_S, _DRIP_BODY_S = 0.1, 0.2  # between two bytes
_BEFORE_RESET_S = 0.05  # so that the client has read the head before the reset throws it away
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class MalformedRequest(ValueError):
    """The bytes are not an HTTP/1.x request this server understands."""


def parse_head(head: bytes, address: str) -> tuple[Request, bool]:
    """Return the request of a head (up to the empty line) and whether the client wants to keep the connection."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.partition(" ")
    if method not in _METHODS or version not in {"HTTP/1.1", "HTTP/1.0"} or not target.startswith("/"):
        raise MalformedRequest(first[:80])
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise MalformedRequest(line[:80])
        headers[name.lower()] = value.strip()
    path, _, text = target.partition("?")
    try:
        query = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=200, errors="strict"))
        path = unquote(path, errors="strict")
    except ValueError as problem:
        raise MalformedRequest(str(problem)) from problem
    keep = headers.get("connection", "").lower()
    alive = keep != "close" if version == "HTTP/1.1" else keep == "keep-alive"
    return Request(method=method, path=path, query=query, headers=headers, address=address), alive


def format_response(request: Request | None, response: Response, *, alive: bool) -> bytes:
    """Return the bytes of an answer, compressed when the client accepts it and it pays and it is not already."""
    body = response.body
    lines = [f"HTTP/1.1 {response.status} {_reason(response.status)}", f"Content-Type: {response.content_type}"]
    accepted = request.headers.get("accept-encoding", "") if request is not None else ""
    if "gzip" in accepted and len(body) > _GZIP_FROM_BYTES and "Content-Encoding" not in response.headers:
        body = gzip.compress(body, compresslevel=1, mtime=0)
        lines.append("Content-Encoding: gzip")
    lines.append(f"Content-Length: {len(body)}")
    lines.append("X-Simulated: true")
    lines.append("Connection: keep-alive" if alive else "Connection: close")
    lines.extend(f"{name}: {value}" for name, value in response.headers.items())
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if request is not None and request.method == "HEAD" else head + body


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class Server:
    """Serves one `answer` function on one address; connections are tasks of the running event loop."""

    def __init__(self, answer: Answer, latency_s: float) -> None:
        self._answer = answer
        self._latency_s = latency_s
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> int:
        """Begin to listen; return the port in use."""
        self._server = await asyncio.start_server(self._connection, host, port, limit=MOST_HEAD_BYTES, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
        address = str(writer.get_extra_info("peername")[0])
        try:
            while await self._exchange(reader, writer, address):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()
            if task is not None:
                self._open.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> bool:
        """Answer one request; return whether the connection stays open."""
        try:
            request, alive = parse_head(await reader.readuntil(b"\r\n\r\n"), address)
            await _skip_body(reader, request)
        except (MalformedRequest, asyncio.LimitOverrunError) as problem:
            refused = json_response({"error": "malformed request", "detail": str(problem)}, 400)
            writer.write(format_response(None, refused, alive=False))
            await writer.drain()
            return False
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        response = self._answer(request)
        data = format_response(request, response, alive=alive)
        if response.manner is not Manner.WHOLE:
            await _spoil(reader, writer, data, response.manner)
            return False
        writer.write(data)
        await writer.drain()
        return alive


async def _spoil(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, manner: Manner) -> None:
    """Deliver an answer badly; returns when the connection is to be closed, at the latest when the client leaves."""
    head, separator, body = data.partition(b"\r\n\r\n")
    head += separator
    if manner is Manner.SILENT:
        await reader.read(1)
    elif manner is Manner.RESET_AFTER_HEAD:
        writer.write(head)
        await writer.drain()
        await asyncio.sleep(_BEFORE_RESET_S)
        _reset(writer)
    elif manner is Manner.CUT_BODY:
        writer.write(head + body[: len(body) // 2])
        await writer.drain()
    elif manner is Manner.DRIP_HEAD:
        await _drip(writer, data, _DRIP_HEAD_S)
    elif manner is Manner.DRIP_BODY:
        writer.write(head)
        await _drip(writer, body, _DRIP_BODY_S)


async def _drip(writer: asyncio.StreamWriter, data: bytes, every_s: float) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(every_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the close be an abrupt one: the client gets a reset, not an end."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def _skip_body(reader: asyncio.StreamReader, request: Request) -> None:
    """Read and forget a body, so that the next request on the connection begins at its own first byte."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _MOST_BODY_BYTES or "transfer-encoding" in request.headers:
        raise MalformedRequest("unsupported request body")
    if length != "0":
        await reader.readexactly(int(length))
