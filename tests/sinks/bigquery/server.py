"""The used part of BigQuery's REST interface on this machine, with faults on request.

https://cloud.google.com/bigquery/docs/reference/rest: datasets and tables (get, insert, patch, delete), jobs (insert by
multipart and resumable upload, insert, get). A fault is told for an operation, as ("jobs.insert.load", "lost"):

- a number: that HTTP status, nothing is done; "403:rateLimitExceeded" with a reason of its own
- "cut": the connection ends before anything is done
- "lost": it is done, and the connection ends without an answer
- "slow": the job takes three looks
- "fails:backendError": the job ends with that reason
"""

import gzip
import json
import re
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.sinks.bigquery.warehouse_tables import Refused, Warehouse

PROJECT = r"(?:/upload)?/bigquery/v2/projects/[\w-]+"
ROUTES = (
    ("GET", rf"{PROJECT}/datasets/(\w+)", "datasets.get"),
    ("POST", rf"{PROJECT}/datasets", "datasets.insert"),
    ("GET", rf"{PROJECT}/datasets/\w+/tables/(\w+)", "tables.get"),
    ("POST", rf"{PROJECT}/datasets/\w+/tables", "tables.insert"),
    ("PATCH", rf"{PROJECT}/datasets/\w+/tables/(\w+)", "tables.patch"),
    ("DELETE", rf"{PROJECT}/datasets/\w+/tables/(\w+)", "tables.delete"),
    ("POST", rf"{PROJECT}/jobs", "jobs.insert"),
    ("PUT", rf"{PROJECT}/jobs", "jobs.insert"),
    ("GET", rf"{PROJECT}/jobs/([\w-]+)", "jobs.get"),
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def owner(self):
        return self.server.owner

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class names them

    def _serve(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # whoever asks died while speaking
            self.close_connection = True
            return
        if self.headers.get("Authorization"):
            self.owner.credentials.add(self.headers["Authorization"])
        path = urlsplit(self.path).path
        for method, pattern, operation in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found:
                self._answer(operation, found.groups(), body)
                return
        self._send(404, problem(404, "notFound", f"no route for {self.command} {path}"))

    def _answer(self, operation, parts, body):
        if operation == "jobs.insert":
            upload = self._upload(body)
            if upload is None:
                return
            resource, content = upload
            operation = "jobs.insert.load" if content is not None else "jobs.insert.query"
            call = lambda: self.owner.warehouse.insert_job(resource, content)  # noqa: E731
        else:
            call = lambda: self._call(operation, parts, body)  # noqa: E731
        fault = self.owner.fault_for(operation)
        if fault == "cut":
            self.close_connection = True
            return
        if isinstance(fault, int) or str(fault)[:3].isdecimal():
            status, _, reason = str(fault).partition(":")
            self._send(int(status), problem(int(status), reason or REASONS[int(status)], "told to"))
            return
        with self.owner.lock:
            self.owner.warehouse.next_polls = 3 if fault == "slow" else 0
            self.owner.warehouse.next_failure = fault.partition(":")[2] if str(fault).startswith("fails") else None
            try:
                status, answer = 200, call()
            except Refused as error:
                status, answer = error.status, problem(error.status, error.reason, error.message)
        if fault == "lost":
            self.close_connection = True
            return
        self._send(status, answer)

    def _call(self, operation, parts, body):
        warehouse, resource = self.owner.warehouse, json.loads(body) if body else None
        calls = {
            "datasets.get": lambda: warehouse.get_dataset(*parts),
            "datasets.insert": lambda: warehouse.insert_dataset(resource),
            "tables.get": lambda: warehouse.get_table(*parts),
            "tables.insert": lambda: warehouse.insert_table(resource),
            "tables.patch": lambda: warehouse.patch_table(*parts, resource),
            "tables.delete": lambda: warehouse.delete_table(*parts),
            "jobs.get": lambda: warehouse.get_job(*parts),
        }
        return calls[operation]()

    def _upload(self, body):
        """The job and what it loads, from either way of uploading; None while a resumable one goes on."""
        query = parse_qs(urlsplit(self.path).query)
        how = query.get("uploadType", [""])[0]
        if self.command == "PUT":
            resource = self.owner.uploads[query["upload_id"][0]]
            return resource, gzip.decompress(body)
        if how == "resumable":
            number = str(len(self.owner.uploads))
            self.owner.uploads[number] = json.loads(body)
            self._send(200, None, Location=f"{self.owner.address}{urlsplit(self.path).path}?upload_id={number}")
            return None
        if how == "multipart":
            mark = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1].encode().strip(b"'")
            _, head, rest = body.split(b"--" + mark, 2)
            content = rest.split(b"\r\n\r\n", 1)[1].rpartition(b"\r\n--" + mark + b"--")[0]
            return json.loads(head.split(b"\r\n\r\n", 1)[1]), gzip.decompress(content)
        return json.loads(body), None

    def _send(self, status, answer, **headers):
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        try:
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # whoever asked is dead
            self.close_connection = True


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that die while they speak."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class BigQueryServer:
    """A running server; `faults` are used up in order, each by the first request of its operation."""

    def __init__(self):
        self.warehouse = Warehouse()
        self.faults = []
        self.seen = Counter()  # requests by operation
        self.credentials = set()  # Authorization headers that came; none should
        self.uploads = {}
        self.lock = threading.Lock()
        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self._server.owner = self
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault_for(self, operation):
        with self.lock:
            self.seen[operation] += 1
            for place, (wanted, fault) in enumerate(self.faults):
                if wanted in {operation, "any"}:
                    del self.faults[place]
                    return fault
        return None


REASONS = {403: "accessDenied", 404: "notFound", 429: "rateLimitExceeded", 500: "internalError", 503: "backendError"}


def problem(status, reason, message):
    return {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
