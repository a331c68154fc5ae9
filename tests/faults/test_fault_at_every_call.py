"""The n-th call to the outside fails, for n = 1, 2, 3 ...: the invariants hold, and the next clean cycle ends well."""

from contextlib import ExitStack, closing

import pytest

from collector.clock import ManualClock, SystemClock
from collector.errors import CollectorError
from collector.records import CycleState
from collector.storage.database import Database
from tests.conftest import NOW
from tests.faults.failpoints import FailAt, failpoints
from tests.faults.invariants import check_invariants, closed_candles
from tests.unit.cycle_rig import Rig, frozen_market

SMALLEST = {
    "universe": {"top": 2},
    "sources": {
        "coingecko": {"enabled": False},
        "binance_futures": {"enabled": False},
        "okx": {"parallelism": 2, "datasets": {"order_books": {"levels": 5}}},
    },
}
SAMPLED = 12  # places in the default suite
MINUTE_S = 60


class Endless:
    """A collector that goes on through every fault, as a daemon does; each cycle is a minute after the one before."""

    def __init__(self, url, folder, stack):
        self.clock = ManualClock(NOW)
        self.url, self.acked = url, []
        stack.enter_context(failpoints(folder))
        simulator = stack.enter_context(frozen_market(self.clock, okx_swaps=10, binance_perpetuals=2))
        database = stack.enter_context(closing(Database(url, clock=SystemClock())))
        self.rig = stack.enter_context(
            Rig(database, self.clock, folder, SMALLEST, simulator=simulator, names=("okx",), indicators=True)
        )
        for _ in range(2):  # the first decides whom to follow
            assert self.cycle() is CycleState.OK

    def cycle(self, number=0, *, lasting=False):
        """Run a cycle in which the call of this number fails (0: none); None when it could not even be recorded."""
        self.clock.advance(MINUTE_S)
        self.fault = FailAt(number, lasting=lasting)
        with self.fault.counting():
            try:
                report = self.rig.run()
            except CollectorError:
                assert number, "a clean cycle ends"
                return None
        if report.cycle_id:  # 0: the database was away when it began; it is recorded when the database is back
            self.acked.append(report.cycle_id)
        return report.state

    def attack(self, number, *, lasting=False):
        """Let one call fail, look, and go on; return what was wrong."""
        before, acked = closed_candles(self.url), list(self.acked)
        self.cycle(number, lasting=lasting)
        hit = self.fault.hit
        # The end of this very cycle may wait for the database; after the next one everything is recorded.
        wrong = check_invariants(self.url, acked=acked, before=before)
        state = self.cycle()
        wrong += check_invariants(self.url, acked=self.acked, before=before)
        if state is not CycleState.OK:
            wrong.append(f"the next clean cycle is {state}")
        return [f"call {number} ({hit}): {line}" for line in wrong]


@pytest.fixture
def endless(migrated_url, tmp_path):
    with ExitStack() as stack:
        yield Endless(migrated_url, tmp_path / "logs", stack)


def test_a_failure_at_places_all_over_a_cycle_leaves_the_invariants_true(endless):
    endless.cycle()
    calls = endless.fault.calls
    assert {"http", "sql", "file"} <= set(endless.fault.kinds)
    assert calls > 50
    step = calls // SAMPLED
    assert [line for number in range(1, calls, step) for line in endless.attack(number)] == []


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lasting", [False, True], ids=["one", "lasting"])
def test_a_failure_at_every_call_of_a_cycle_leaves_the_invariants_true(endless, lasting):
    """Ends, as it should, with the first number that a cycle does not reach."""
    number, wrong = 0, []
    while True:
        number += 1
        wrong += endless.attack(number, lasting=lasting)
        if number > endless.fault.calls:
            break
    assert wrong == [], "\n".join(wrong)
    assert number > 50
