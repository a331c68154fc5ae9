"""The machine's time zone changes nothing that is stored."""

import time
from contextlib import closing

import pytest

from collector.clock import ManualClock
from collector.records import CycleState
from collector.storage.database import Database
from tests.conftest import NOW
from tests.faults.invariants import check_invariants, table_hash
from tests.faults.test_fault_at_every_call import SMALLEST
from tests.unit.cycle_rig import Rig, frozen_market

pytestmark = pytest.mark.faults
# UTC itself, half an hour off, three quarters off, summer time since three days, far west.
ZONES = ["UTC", "Asia/Kolkata", "Pacific/Chatham", "America/New_York", "Pacific/Midway"]
TABLES = ("candles", "tickers", "mark_prices", "order_books", "funding_rates", "indicators", "coverage")


@pytest.fixture
def zone(monkeypatch):
    def set_to(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()


def test_tables_are_the_same_to_the_letter_under_five_time_zones(cluster, tmp_path, zone):
    found = {}
    for name in ZONES:
        zone(name)
        url, clock = cluster.create_database(), ManualClock(NOW)
        folder = tmp_path / name.replace("/", "_")
        folder.mkdir()
        with (
            frozen_market(clock, okx_swaps=10, binance_perpetuals=2) as simulator,
            closing(Database(url, clock=clock)) as database,
            Rig(database, clock, folder, SMALLEST, simulator=simulator, names=("okx",), indicators=True) as rig,
        ):
            for _ in range(3):
                assert rig.run().state is CycleState.OK
                clock.advance(1800)
        assert check_invariants(url) == []
        found[name] = {table: table_hash(url, [table]) for table in TABLES}
        cluster.drop(url)
    assert all(hashes == found["UTC"] for hashes in found.values()), found
    assert len(set(found["UTC"].values())) > len(TABLES) // 2, "tables that hold rows have hashes of their own"
