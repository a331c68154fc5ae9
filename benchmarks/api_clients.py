"""Clients of an HTTP server on this machine that cost little themselves: connections kept alive, one path each.

And the rounds in which two servers are asked in turn.
"""

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil

from benchmarks.asked import CannotMeasure
from benchmarks.harness import Spread
from collector.clock import SystemClock

CLOCK = SystemClock()
CONNECTIONS = 8


class Refused(CannotMeasure):
    """A server did not answer with 200."""


class Connection:
    """One kept-alive connection that asks for one path."""

    def __init__(self, port: int, path: str, method: str = "GET") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode()
        self._answer = b""
        self._what = f"{method} {path}"

    def send(self) -> None:
        self._answer = b""
        self.socket.sendall(self._request)

    def received(self) -> bytes | None:
        """Take what is there; return the body once it is whole."""
        self._answer += self.socket.recv(1 << 18)
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            if not self._answer:
                raise Refused(f"{self._what}: the server closed the connection")
            return None
        if not head.startswith(b"HTTP/1.1 200"):
            raise Refused(f"{self._what}: {(head + body)[:400].decode(errors='replace')}")
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


def flood(port: int, path: str, seconds: float) -> dict[str, float]:
    """Ask from every connection again at once; return how long the answers took and how many came in a second."""
    with connections(port, path, CONNECTIONS) as made, selectors.DefaultSelector() as ready:
        took: list[float] = []
        began = time.perf_counter()
        sent = dict.fromkeys(made, began)
        for one in made:
            ready.register(one.socket, selectors.EVENT_READ, one)
            one.send()
        while (now := time.perf_counter()) - began < seconds:
            for key, _ in ready.select(1):
                if key.data.received() is not None:
                    now = time.perf_counter()
                    took.append(1000 * (now - sent[key.data]))
                    sent[key.data] = now
                    key.data.send()
        return {**quantiles(took), "answers_per_s": len(took) / (now - began)}


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


def quantiles(took_ms: Sequence[float], shares: Sequence[float] = (0.5, 0.99)) -> dict[str, float]:
    """Return which time so large a share of the answers did not exceed, by names as p99_ms."""
    ordered = sorted(took_ms)
    return {f"p{share * 100:g}_ms": ordered[ceil(share * len(ordered)) - 1] for share in shares}


def in_turn(work: Mapping[str, Callable[[], Mapping[str, float]]], backwards: bool) -> dict[str, Mapping[str, float]]:
    """Do the work of each side once; return its figures by side."""
    sides = list(work)
    return {side: work[side]() for side in (sides[::-1] if backwards else sides)}


def rounds_of(
    one_round: Callable[[bool], Mapping[str, Mapping[str, float]]], rounds: int
) -> dict[str, dict[str, Spread]]:
    """Return the figures of all rounds, by side and name. A warm-up comes first and does not count.

    `one_round` is told whether it begins with the other side, which changes from round to round.
    """
    one_round(True)
    found = [one_round(bool(number % 2)) for number in range(rounds)]
    return {
        side: {name: Spread(tuple(figures[side][name] for figures in found)) for name in found[0][side]}
        for side in found[0]
    }
