"""What the tests of the alerts share: a web service of our own that takes messages, and refuses when told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Hook(ThreadingHTTPServer):
    """Takes POST and GET on loopback, remembers them, and answers with `status`; `hold` keeps answers back."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.got, self.asked = 200, [], []
        self.hold = threading.Event()
        self.hold.set()

    @property
    def place(self):
        return f"127.0.0.1:{self.server_port}"

    def titles(self):
        return [item["title"] for item in self.got]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.hold.wait(10)
        if self.server.status == 200:  # before the answer, after which the test looks
            self.server.got.append(json.loads(body))
        self._answer()

    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.hold.wait(10)
        self._answer()

    def _answer(self):
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hook():
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.hold.set()
        server.shutdown()
        thread.join()
