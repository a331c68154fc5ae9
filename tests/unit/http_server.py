"""Loopback servers that behave as badly as a test wants, and a clock whose sleeps take no time."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from collector.clock import SystemClock

_clock = SystemClock()

Script = Callable[[socket.socket, threading.Event], None]


@dataclass(frozen=True)
class Request:
    at: float  # monotonic
    target: str
    headers: dict[str, str]


def reply(body: bytes = b"{}", status: int = 200, **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1") + body


def answers(*first: bytes):
    """Give these answers one after the other, then good ones."""
    todo = list(first)
    return lambda _: todo.pop(0) if todo else reply()


def drip(data: bytes, every_s: float, first: bytes = b"") -> Script:
    """Send `first` at once, then `data` byte by byte, over and over, until the peer or the server closes."""

    def script(sock: socket.socket, closing: threading.Event) -> None:
        sock.sendall(first)
        while not closing.is_set():
            for byte in data:
                sock.sendall(bytes([byte]))
                if closing.wait(every_s):
                    return

    return script


def send_then_close(data: bytes) -> Script:
    return lambda sock, _closing: sock.sendall(data)


class Server:
    """Answers each request with what `answer(request)` returns: bytes keep the connection, a script ends it."""

    def __init__(self, answer: Callable[[Request], bytes | Script], tls=None) -> None:
        self._answer = answer
        self._tls = tls
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self.log: list[Request] = []
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            if self._tls is None:
                self._talk(sock)
            else:
                with self._tls.wrap_socket(sock, server_side=True) as secure:
                    self._talk(secure)

    def _talk(self, sock: socket.socket) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                part = sock.recv(65_536)
                if not part:
                    return
                buffer += part
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            request = Request(_clock.monotonic(), first.split(" ")[1], headers)
            with self._lock:
                self.log.append(request)
            what = self._answer(request)
            if not isinstance(what, bytes):
                what(sock, self._closing)
                return
            sock.sendall(what)


class ElasticClock:
    """The machine's clock, but sleeping only moves it forward. `slept` lists the sleeps."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> datetime:
        return _clock.now() + timedelta(seconds=self._offset)

    def monotonic(self) -> float:
        return _clock.monotonic() + self._offset

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            with self._lock:
                self.slept.append(seconds)
                self._offset += seconds
