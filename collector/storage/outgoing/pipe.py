"""A stream of bytes from one thread to another that holds many megabytes, unlike the system's pipe.

A database server that has to wait for its reader's pauses loses as much time as the pauses are long.
"""

import io
import threading
from collections import deque
from typing import Any

_PART_BYTES = 1 << 20


class Pipe:
    """Bytes written at one end are read at the other, in order. A writer waits while `limit_bytes` are unread.

    Each end belongs to one thread. Closing `writer` ends the stream; after `reader` is closed writing raises
    BrokenPipeError, also in a writer that waits. Parts of a megabyte go from thread to thread.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._parts: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = self._unwanted = False
        self._changed = threading.Condition()
        self.reader = io.BufferedReader(_Reading(self), _PART_BYTES)
        self.writer = io.BufferedWriter(_Writing(self), _PART_BYTES)

    def put(self, part: bytes) -> None:
        """Take in the next bytes; waits for room."""
        with self._changed:
            self._changed.wait_for(lambda: self._unwanted or self._held_bytes < self._limit_bytes)
            if self._unwanted:
                raise BrokenPipeError("nobody reads on")
            self._parts.append(part)
            self._held_bytes += len(part)
            self._changed.notify_all()

    def take(self, count: int) -> bytes:
        """Return up to `count` of the next bytes, nothing at the end; waits for some."""
        with self._changed:
            self._changed.wait_for(lambda: self._parts or self._ended)
            if not self._parts:
                return b""
            part = self._parts.popleft()
            if len(part) > count:
                self._parts.appendleft(part[count:])
                part = part[:count]
            self._held_bytes -= len(part)
            self._changed.notify_all()
            return part

    def end(self) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Say that nothing more is wanted."""
        with self._changed:
            self._unwanted = True
            self._parts.clear()
            self._changed.notify_all()


class _Reading(io.RawIOBase):
    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._pipe.take(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._pipe.leave()
        super().close()


class _Writing(io.RawIOBase):
    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pipe.put(bytes(data))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._pipe.end()
        super().close()
