"""One cycle of every registered source while one of them misbehaves, on a copy of a database that a clean cycle filled.

A new source takes part by being registered; what it needs beyond the shipped settings is one line of `SETTINGS`.
"""

import socket
import threading
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import make_url

from collector.clock import ManualClock, SystemClock, to_millis
from collector.config import load_settings
from collector.http import Timeouts
from collector.simulator import Fault, Faults
from collector.sources import SOURCES
from collector.storage.database import Database
from tests.conftest import NOW
from tests.faults.invariants import check_invariants, closed_candles
from tests.unit.cycle_rig import Rig, frozen_market, part_of

REAL = SystemClock()
QUICK = Timeouts(connect=0.8, read=1.0, total=1.2)  # the shipped 3, 10 and 15 s, about twelve times faster
GRACE_S = 0.5
LATER = timedelta(minutes=5)  # between the clean cycle and the one with the fault
SETTINGS: dict[str, dict[str, Any]] = {
    "coincap": {"api_key": "a-key"},
}
OBSERVATIONS = {
    "market_snapshots": "asset_id",
    "global_snapshots": "'all'",
    "tickers": "instrument_id::text",
    "mark_prices": "instrument_id::text",
    "open_interest": "instrument_id::text",
    "order_books": "instrument_id::text",
    "funding_forecasts": "instrument_id::text",
    "sentiments": "'all'",
    "candles": "instrument_id::text",
}


@dataclass
class Calls:
    """What one provider was sent: when, how long each call took, and the pauses that were begun."""

    took_s: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)

    def during_a_pause(self) -> list[float]:
        return [at for at in self.sent_at for begin, end in self.pauses if begin < at < end - 1e-3]


@dataclass
class Outcome:
    """How a cycle went, as seen in its report and in the database."""

    report: Any
    calls: Calls
    rows: dict[str, set[tuple[str, str, int]]]  # by source: table, subject, rows of this cycle
    rejects: list[tuple[str, ...]]  # source, dataset, reason, detail
    wrong: list[str]

    def part(self, name):
        return part_of(self.report, name)


class ClockApart(ManualClock):
    """A clock on which each source has a time of its own, which moves when its threads sleep.

    In the time that one provider is waited for, the others have long ended: on one clock for all, a pause of minutes
    would use up everybody's time. Threads of one source sleep side by side, not one after the other.
    """

    def __init__(self, now):
        super().__init__(now)
        self._ahead: Counter[str] = Counter()
        self._apart = threading.Lock()

    @staticmethod
    def _group():
        name = threading.current_thread().name
        return name.rpartition("_")[0] or name

    def _mine(self):
        return self._ahead[self._group()]

    def now(self):
        return super().now() + timedelta(seconds=self._mine())

    def monotonic(self):
        return super().monotonic() + self._mine()

    def sleep(self, seconds):
        until = self._mine() + max(0.0, seconds)
        with self._apart:
            self._ahead[self._group()] = max(self._mine(), until)


@dataclass
class Addresses:
    """Where the sources of a rig find their providers."""

    base_urls: dict[str, str]


class Theatre:
    """A simulator and a prepared database, shared by all cases."""

    def __init__(self, cluster, folder):
        self._cluster, self._folder = cluster, folder
        self.simulator = frozen_market(ManualClock(NOW), binance_perpetuals=30, okx_swaps=30).start()
        self.names = [name for name in SOURCES if name in self.simulator.base_urls]
        self._prepared = cluster.create_database()
        with self._rig(self._prepared, ManualClock(NOW), folder / "clean") as rig:
            for cadence in ("market", "hourly"):
                report = rig.run(cadence)
                assert report.state == "ok", report
        self.before = closed_candles(self._prepared)
        self.clean = self.play()

    def close(self):
        self._cluster.drop(self._prepared)
        self.simulator.stop()

    @contextmanager
    def _rig(self, url, clock, folder, elsewhere=()):
        self.simulator.now_ms = lambda: to_millis(clock.now())
        folder.mkdir()
        enabled = {
            "sources": {name: {"enabled": True, **at_market(name), **SETTINGS.get(name, {})} for name in self.names}
        }
        with closing(Database(url, clock=REAL)) as database:
            addresses = Addresses({**self.simulator.base_urls, **dict(elsewhere)})
            with Rig(database, clock, folder, enabled, simulator=addresses, names=self.names, indicators=True) as rig:
                yield rig

    def play(self, name="", *, kind="", base_url=""):
        """Run a cycle in which every answer of the named source has a fault, or its address is another one."""
        url = self._cluster.create_database(make_url(self._prepared).database)
        number = sum(1 for _ in self._folder.iterdir())
        clock = ClockApart(NOW + LATER)
        elsewhere = {name: base_url} if base_url else {}
        self.simulator.interceptor = Faults([Fault(kind, name)]) if kind else None
        try:
            with self._rig(url, clock, self._folder / f"case_{number}", elsewhere) as rig:
                calls = watch(next((s for s in rig.sources if s.name == name), rig.sources[0]), clock, quick=bool(name))
                report = rig.run("market")
            wrong = check_invariants(url, acked=[report.cycle_id], before=getattr(self, "before", None))
            return Outcome(report, calls, rows_of(url, report.cycle_id), rejects_of(url, report.cycle_id), wrong)
        finally:
            self.simulator.interceptor = None
            self._cluster.drop(url)


def at_market(name):
    """Return the settings by which a source that takes no part in the shipped market cycle does so here."""
    datasets = load_settings(environment={})[0].sources[name].datasets
    if any(part.cadence == "market" for part in datasets.values()):
        return {}
    return {"datasets": {dataset: {"cadence": "market"} for dataset in datasets}}


def watch(source, clock, *, quick):
    """Write down every call of a source; `quick`: with short timeouts."""
    calls, venue = Calls(), source.venue
    if quick:
        venue._timeouts = QUICK
        venue._sending = {**venue._sending, "timeout": (QUICK.connect, QUICK.read)}
    send, tell = venue._send, venue._on_event

    def timed(call):
        calls.sent_at.append(call.sent_at)
        began = REAL.monotonic()
        try:
            return send(call)
        finally:
            calls.took_s.append(REAL.monotonic() - began)

    def heard(event, /, **fields):
        if event == "provider_paused":
            calls.pauses.append((clock.monotonic(), clock.monotonic() + fields["seconds"]))
        tell(event, **fields)

    venue._send, venue._on_event = timed, heard
    return calls


def rows_of(url, cycle_id):
    """Return by source which rows a cycle stored: table, subject and how many."""
    found: dict[str, set[tuple[str, str, int]]] = {}
    with closing(Database(url, clock=REAL)) as database, database.reading() as connection:
        for table, subject in OBSERVATIONS.items():
            query = f"SELECT source, {subject}, count(*) FROM {table} WHERE cycle_id = {cycle_id} GROUP BY 1, 2"
            for source, about, count in connection.exec_driver_sql(query):
                found.setdefault(source, set()).add((table, about, count))
    return found


def rejects_of(url, cycle_id):
    """Return source, dataset, reason and detail of what a cycle did not believe."""
    query = "SELECT r.source, r.dataset, reason, detail FROM rejects r JOIN jobs USING (job_id) WHERE cycle_id = "
    with closing(Database(url, clock=REAL)) as database, database.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"{query}{cycle_id}")]


@contextmanager
def full_listener():
    """Lend the address of a listener whose queue is full: a connection to it is never made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        try:
            for _ in range(3):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
                waiting.append(sock)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for sock in waiting:
                sock.close()
