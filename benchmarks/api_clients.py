"""Clients of an HTTP server on this machine that cost little themselves: connections kept alive, one path each."""

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from collector.clock import SystemClock

CLOCK = SystemClock()
CONNECTIONS = 8


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
