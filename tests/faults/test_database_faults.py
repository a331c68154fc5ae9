"""A bad network to the database, and a table that somebody locks: nothing partial, nothing lost, nothing doubled."""

import threading
from contextlib import closing, contextmanager

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from collector.clock import ManualClock, SystemClock, to_millis
from collector.records import CycleState
from collector.storage.database import Database
from tests.conftest import NOW
from tests.faults.invariants import check_invariants, closed_candles, table_hash
from tests.faults.providers import LATER, ClockApart
from tests.faults.proxy import ToxicProxy, Toxics
from tests.faults.test_fault_at_every_call import SMALLEST
from tests.unit.cycle_rig import Rig, frozen_market

REAL = SystemClock()
CUTS = 20
LOCK_TIMEOUT_S = 5.0  # the shipped one
ATTEMPTS = 4

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


class Line:
    """A prepared database behind a network that a test makes worse; each cycle is the same one, on a copy."""

    def __init__(self, cluster, folder):
        self._cluster, self._folder = cluster, folder
        self._simulator = frozen_market(ManualClock(NOW), okx_swaps=10, binance_perpetuals=2).start()
        self._prepared = cluster.create_database()
        with self._rig(self._prepared, ManualClock(NOW)) as rig:
            assert [rig.run().state, rig.run().state] == [CycleState.OK] * 2
        self.before = closed_candles(self._prepared)

    def close(self):
        self._cluster.drop(self._prepared)
        self._simulator.stop()

    @contextmanager
    def _rig(self, url, clock):
        self._simulator.now_ms = lambda: to_millis(clock.now())
        folder = self._folder / str(sum(1 for _ in self._folder.iterdir()))
        folder.mkdir()
        parts = {"simulator": self._simulator, "names": ("okx",), "indicators": True}
        with closing(Database(url, clock=clock)) as database, Rig(database, clock, folder, SMALLEST, **parts) as rig:
            yield rig

    @contextmanager
    def copy(self):
        """Lend a proxy to a fresh copy, and what runs the cycle through it and looks from outside."""
        url = self._cluster.create_database(make_url(self._prepared).database)
        try:
            clock = ClockApart(NOW + LATER)
            with ToxicProxy(url) as proxy, self._rig(proxy.url, clock) as rig:
                assert rig.run().state is CycleState.OK
                clock.advance(60)
                yield proxy, rig, url
        finally:
            self._cluster.drop(url)

    def check(self, report, url):
        acked = [report.cycle_id] if report.cycle_id else []
        assert check_invariants(url, acked=acked, before=self.before) == []

    def settled(self, rig, url):
        """Run one more cycle, with nothing in its way, and return the digest of all that is held."""
        rig.clock.advance(60)
        report = rig.run()
        assert report.state is CycleState.OK
        self.check(report, url)
        return table_hash(url)


@pytest.fixture(scope="module")
def line(cluster, tmp_path_factory):
    made = Line(cluster, tmp_path_factory.mktemp("line"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def clean(line):
    """Bytes that a cycle sends to the database, and the digest of what two cycles leave, when nothing goes wrong."""
    with line.copy() as (proxy, rig, url):
        proxy.count()
        assert rig.run().state is CycleState.OK
        sent = proxy.sent
        return sent, line.settled(rig, url)


@pytest.mark.parametrize("part", range(1, CUTS + 1))
def test_a_connection_cut_at_any_byte_costs_nothing(line, clean, part):
    total, digest = clean
    with line.copy() as (proxy, rig, url):
        proxy.arm(total * part // (CUTS + 1))
        report = rig.run()
        assert proxy.cuts == 1
        line.check(report, url)
        assert report.state in (CycleState.OK, CycleState.PARTIAL)  # indicators may come with the next cycle
        assert line.settled(rig, url) == digest


@pytest.mark.parametrize(
    "toxics",
    [Toxics(latency_s=0.01), Toxics(bytes_per_s=300_000), Toxics(slow_close_s=0.3), Toxics(slice_bytes=7)],
    ids=["latency", "bandwidth", "slow_close", "slicer"],
)
def test_a_slow_or_chopped_network_changes_nothing(line, clean, toxics):
    with line.copy() as (proxy, rig, url):
        proxy.toxics = toxics
        assert rig.run().state is CycleState.OK
        proxy.toxics = Toxics()
        assert line.settled(rig, url) == clean[1]


@pytest.mark.parametrize(
    "toxics",
    [Toxics(limit_bytes=20_000), Toxics(reset_peer=True), Toxics(silent=True)],
    ids=["limit_data", "reset_peer", "timeout"],
)
def test_what_a_network_took_for_two_seconds_is_there_after_the_next_cycle(line, clean, toxics):
    with line.copy() as (proxy, rig, url):
        rig.clock.sleep = REAL.sleep  # on a clock that jumps over every pause all tries would be over at once
        proxy.toxics = toxics
        recovery = threading.Timer(2.0, lambda: setattr(proxy, "toxics", Toxics()))
        recovery.start()
        report = rig.run()
        recovery.join()
        assert report.state in (CycleState.OK, CycleState.PARTIAL)
        assert line.settled(rig, url) == clean[1]


def test_a_table_that_somebody_locks_costs_that_table_only(line, clean):
    with line.copy() as (_, rig, url):
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with closing(psycopg2.connect(plain)) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLE order_books IN ACCESS EXCLUSIVE MODE")
            began = REAL.monotonic()
            report = rig.run()
            took = REAL.monotonic() - began
            other.rollback()
        assert report.state is CycleState.PARTIAL
        assert took > ATTEMPTS * LOCK_TIMEOUT_S - 0.5
        line.check(report, url)
        stored = {table for part in report.sources for table, rows in part.rows.items() if rows}
        assert {"tickers", "mark_prices", "candles", "open_interest"} <= stored
        assert line.settled(rig, url) == clean[1]
