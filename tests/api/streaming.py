"""What the tests of streams share: the application on a real server in a thread, and a reader of events."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
from fastapi import FastAPI

from collector.api import protection, stream
from collector.api.parts import Parts
from collector.api.serve import address, build_server, listen
from collector.clock import SystemClock
from collector.config import ApiSettings


class NoProviders:
    """No provider at all: a stream asks none."""

    def sources(self):
        return ()

    def ask(self, job, *, within):
        raise AssertionError(f"nobody may be asked for {job} within {within}")

    def health(self):
        return {}


def parts_of(database, **settings):
    """Return parts around a database; `settings` are those of the API."""
    return Parts(
        settings=ApiSettings(**{"port": 0, "rate_data": 10_000, **settings}),
        database=database,
        live=NoProviders(),
        clock=SystemClock(),
        version="1.2.3",
        simulated=True,
        venues=(),
    )


def stream_app(parts):
    """Return an application with the stream and everything around it, without the other topics."""
    app = FastAPI(lifespan=stream.lifespan(parts))
    protection.install(app, parts)
    app.include_router(stream.router(parts))
    return app


class Served:
    """A running server."""

    def __init__(self, app, url, server, thread):
        self.app, self.url, self._server, self._thread = app, url, server, thread

    @property
    def fanout(self):
        return self.app.state.fanout

    def stop(self, within_s=5):
        """End it as a signal does and return the seconds it took."""
        clock = SystemClock()
        began = clock.monotonic()
        self._server.stop()
        self._thread.join(within_s)
        assert not self._thread.is_alive()
        return clock.monotonic() - began

    @contextmanager
    def stream(self, query="", **headers):
        """Lend a reader of a stream that is open."""
        with httpx2.Client(timeout=20) as client:
            url = f"{self.url}/api/v1/stream?{query}"
            with client.stream("GET", url, headers={"accept-encoding": "gzip", **headers}) as answer:
                yield Events(answer)


@contextmanager
def served(app, streams=500):
    """Lend the application on a free port of this machine."""
    opened = listen("127.0.0.1", 0)
    server = build_server(app, streams=streams)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        url = address(opened)
        wait_until(lambda: server.started, "the server")
        wait_until(lambda: app.state.fanout.listening, "the connection that listens")
        yield Served(app, url, server, thread)
    finally:
        server.stop()
        thread.join(10)
        opened.close()


def wait_until(condition, what, limit_s=10):
    """Wait for something that another thread does; fail when it takes longer."""
    clock, waiting = SystemClock(), threading.Event()
    deadline = clock.monotonic() + limit_s
    while not condition():
        assert clock.monotonic() < deadline, f"{what}: not within {limit_s} s"
        waiting.wait(0.01)


@dataclass(frozen=True)
class Event:
    """One event as a browser dispatches it; `place` is the last id that was seen."""

    name: str
    data: dict
    place: str


class Events:
    """Reads events as https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation."""

    def __init__(self, answer):
        self.answer = answer
        self.retry, self.place, self.comments = None, "", []
        self._lines = answer.iter_lines()

    def next(self):
        """Return the next event; None when the stream has ended."""
        name, data = "message", []
        for line in self._lines:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    return Event(name, json.loads("\n".join(data)), self.place)
                name = "message"
            elif not field:
                self.comments.append(value)
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.place = value
            elif field == "retry":
                self.retry = int(value)
        return None

    def until(self, name):
        """Return the next event of that name and all before it."""
        before = []
        while (event := self.next()) is not None:
            if event.name == name:
                return event, before
            before.append(event)
        raise AssertionError(f"the stream ended without {name}; it had {before}")
