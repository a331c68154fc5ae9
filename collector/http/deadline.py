"""Ends a call at its total deadline, whatever the far side does.

A read timeout is per read: a peer that drips one byte now and then keeps a blocking client for ever, in the body, the
headers and the handshake. Here one daemon thread for the whole process shuts the socket down when a call's time is
over; the blocked read then ends at once. The thread works on a duplicate of the socket that is ours alone, so it can
never hit a connection that has meanwhile been closed, wrapped by TLS or handed to the next call.
"""

import contextlib
import heapq
import socket
import threading
from types import TracebackType
from typing import Self

from collector.clock import SystemClock

_clock = SystemClock()  # sockets live in real time, whatever clock the rest of the program is given
_changed = threading.Condition()  # one lock for all below: it is held for microseconds
_pending: "list[Deadline]" = []
_local = threading.local()
_watch: threading.Thread | None = None


class Line:
    """A hold on a connection's socket by which it can be cut from another thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock.dup()
        self._in_use = False
        self._dropped = False

    def drop(self) -> None:
        """Let go once the connection is closed. A call that still reads from it keeps the line until it ends."""
        with _changed:
            self._dropped = True
            self._close_if_idle()

    def _hold(self) -> None:
        self._in_use = True

    def _free(self) -> None:
        self._in_use = False
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._dropped and not self._in_use:
            self._sock.close()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):  # the peer was faster
            self._sock.shutdown(socket.SHUT_RDWR)


class Deadline:
    """The time of one call in the present thread; use as a context around it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = _clock.monotonic() + seconds
        self._lines: list[Line] = []
        self._active = False
        self.cut = False  # the call was ended: by the deadline or by `end()`

    def __enter__(self) -> Self:
        _local.deadline = self
        self._start()
        return self

    def _start(self) -> None:
        with _changed:
            self._active = True
            heapq.heappush(_pending, self)
            if _pending[0] is self:
                _changed.notify()
            _ensure_watch()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _local.deadline = None
        with _changed:
            self._active = False
            for line in self._lines:
                line._free()  # noqa: SLF001 - the two classes are one mechanism
            self._lines.clear()

    def __lt__(self, other: "Deadline") -> bool:
        return self._at < other._at

    @property
    def left(self) -> float:
        """Return the seconds that are left; negative when over."""
        return self._at - _clock.monotonic()

    def end(self) -> None:
        """End the call now, from any thread."""
        with _changed:
            self._end()

    def attach(self, line: Line) -> None:
        """Let the deadline reach this line too."""
        with _changed:
            line._hold()  # noqa: SLF001
            self._lines.append(line)
            if self.cut:
                line._cut()  # noqa: SLF001

    def _end(self) -> None:
        if self._active:
            self.cut = True
            for line in self._lines:
                line._cut()  # noqa: SLF001


def current() -> Deadline | None:
    """Return the deadline of the call that the present thread is making."""
    return getattr(_local, "deadline", None)


def _ensure_watch() -> None:
    global _watch  # noqa: PLW0603 - one thread per process, started again in the child after a fork
    if _watch is None or not _watch.is_alive():
        _watch = threading.Thread(target=_end_overdue_calls, name="http-deadlines", daemon=True)
        _watch.start()


def _end_overdue_calls() -> None:
    with _changed:
        while True:
            while _pending and (not _pending[0]._active or _pending[0].left <= 0):  # noqa: SLF001
                heapq.heappop(_pending)._end()  # noqa: SLF001
            _changed.wait(_pending[0].left if _pending else None)
