"""A day of cycles in minutes: memory, open files, threads and connections stay flat while providers misbehave."""

import gc
import sys
import threading

import psutil
import pytest

from collector.clock import SystemClock
from collector.simulator import Fault, Faults, noise, series
from collector.storage.database import Database
from tests.faults.invariants import check_invariants
from tests.unit.cycle_rig import Rig, frozen_market

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
CYCLES, WARM_UP = 1440, 200
MOST_GROWTH = 8 * 1024 * 1024
SPREAD = 3
TWO_PERCENT = [Fault(kind="error_503", probability=0.01), Fault(kind="truncated_json", probability=0.01)]
FEW = {"universe": {"top": 2}, "http": {"reserve_pct": 0}}


def measured(process, database):
    """Return resident bytes, open files, threads and connections to the database."""
    gc.collect()
    with database.reading() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        sessions = connection.exec_driver_sql(query).scalar()
    return process.memory_info().rss, process.num_fds(), threading.active_count(), sessions


def test_a_day_of_cycles_leaves_no_trace_in_the_process(migrated_url, clock, tmp_path, capsys, monkeypatch):
    # The other side lives in this process too: 64 000 keys of its noise are 18 MB, and each day that it remembers of
    # its 244 contracts 9 MB.
    monkeypatch.setattr(series, "_CACHED_DAYS", 250)
    real, process = SystemClock(), psutil.Process()
    database = Database(migrated_url, clock=clock)
    with (
        frozen_market(clock, interceptor=Faults(TWO_PERCENT, seed=5)) as simulator,
        Rig(database, clock, tmp_path, FEW, simulator=simulator, indicators=True) as rig,
    ):
        began, states, before = real.monotonic(), {}, ()
        for number in range(CYCLES):
            report = rig.run("daily" if number % 360 == 0 else "hourly" if number % 60 == 1 else "market")
            states[str(report.state)] = states.get(str(report.state), 0) + 1
            simulator.log.clear()
            noise.key.cache_clear()
            clock.advance(60)
            if number == WARM_UP:
                before = measured(process, database)
        after, took = measured(process, database), real.monotonic() - began
    assert check_invariants(migrated_url) == []
    database.close()
    growth = after[0] - before[0]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{CYCLES} cycles in {took:.0f} s: {states}; memory {growth / 2**20:+.1f} MB after cycle {WARM_UP}, "
            f"files {before[1]} to {after[1]}, threads {before[2]} to {after[2]}, sessions {before[3]} to {after[3]}\n"
        )
    assert growth <= MOST_GROWTH
    assert all(abs(now - then) <= SPREAD for then, now in zip(before[1:], after[1:], strict=True))
    assert states["ok"] > CYCLES // 20
