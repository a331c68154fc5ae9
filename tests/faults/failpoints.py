"""Counts the calls to the outside that a piece of work makes, and lets the n-th one fail: HTTP, SQL and files alike.

Nothing in the product knows of it: the calls are caught where they leave it, at the HTTP adapter, at psycopg2 and at
the file system.
"""

import builtins
import errno
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import psycopg2
import psycopg2.extensions
import requests

from collector.http.transport import Adapter


class FailAt:
    """Counts from the start of `counting`; the call of this number raises what that kind of call raises in real life.

    With `number` 0 it only counts; `lasting`: all later ones fail too. `hit` names the first that failed, "" when none.
    """

    current: ClassVar["FailAt | None"] = None

    def __init__(self, number: int = 0, *, lasting: bool = False) -> None:
        self.number, self.lasting = number, lasting
        self.calls = 0
        self.hit = ""
        self.kinds: Counter[str] = Counter()
        self._lock = threading.Lock()

    def passing(self, kind: str) -> bool:
        """Count a call; return whether it is the one that fails."""
        with self._lock:
            self.calls += 1
            self.kinds[kind.partition(" ")[0]] += 1
            fails = self.calls == self.number or (self.lasting and self.calls > self.number)
            if fails:
                self.hit = self.hit or kind
            return fails

    @contextmanager
    def counting(self) -> Iterator["FailAt"]:
        """Count, and let a call fail, inside the block."""
        FailAt.current = self
        try:
            yield self
        finally:
            FailAt.current = None


def _fails(kind: str) -> bool:
    return FailAt.current is not None and FailAt.current.passing(kind)


class _Cursor(psycopg2.extensions.cursor):
    def execute(self, query: Any, parameters: Any = None) -> None:
        _sql(self.connection, query)
        super().execute(query, parameters)

    def executemany(self, query: Any, parameters: Any) -> None:
        _sql(self.connection, query)
        super().executemany(query, parameters)

    def copy_expert(self, query: Any, file: Any, size: int = 8192) -> None:
        _sql(self.connection, query)
        super().copy_expert(query, file, size)


class _Connection(psycopg2.extensions.connection):
    def commit(self) -> None:
        _sql(self, "COMMIT")
        super().commit()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        if not args:
            kwargs.setdefault("cursor_factory", _Cursor)
        return super().cursor(*args, **kwargs)


def _sql(connection: Any, query: Any) -> None:
    text = query if isinstance(query, str) else bytes(query).decode() if isinstance(query, bytes) else str(query)
    if _fails(f"sql {' '.join(text.split())[:60]}"):
        connection.close()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")


@contextmanager
def failpoints(folder: Path) -> Iterator[None]:
    """Catch the calls of this process while the block runs; of the files, those under `folder`."""
    send, connect, opened = Adapter.send, psycopg2.connect, builtins.open
    under = str(folder)

    def sending(adapter: Any, request: Any, **more: Any) -> Any:
        if _fails(f"http {request.path_url.partition('?')[0]}"):
            raise requests.ConnectionError("injected: the connection was reset")
        return send(adapter, request, **more)

    def connecting(*args: Any, **more: Any) -> Any:
        if _fails("sql connect"):
            raise psycopg2.OperationalError("could not connect to server: Connection refused")
        return connect(*args, **{**more, "connection_factory": _Connection})

    def on_files(name: str, real: Any) -> Any:
        def call(path: Any, *args: Any, **more: Any) -> Any:
            if isinstance(path, str | os.PathLike) and str(path).startswith(under) and _fails(f"file {name} {path}"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return real(path, *args, **more)

        return call

    methods = ("open", "mkdir", "replace", "rename", "symlink_to", "unlink")
    patches = [mock.patch.object(Path, name, on_files(name, getattr(Path, name))) for name in methods]
    patches += [
        mock.patch.object(Adapter, "send", sending),
        mock.patch.object(psycopg2, "connect", connecting),
        mock.patch.object(builtins, "open", on_files("open", opened)),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


__all__ = ["FailAt", "failpoints"]
