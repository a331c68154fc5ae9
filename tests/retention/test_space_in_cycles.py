"""A cycle obeys the floor of free space: what stopped is not fetched, the rest is, and all returns by itself."""

from datetime import timedelta
from pathlib import Path

import pytest

from collector.clock import ManualClock
from collector.records import Dataset
from collector.retention.space import FreeSpace
from tests.conftest import NOW
from tests.retention.test_space import Disk
from tests.unit.cycle_rig import Everything, Rig, Stand


@pytest.fixture
def clock():
    return ManualClock(NOW)


def test_raw_answers_go_first_then_everything_and_both_come_back(emptied, clock, tmp_path):
    disk, stand = Disk(5000), Stand()
    space = FreeSpace("1000MB", [Path("/data")], measure=disk)
    follower = Everything([stand], clock)
    answers, bars = [], []
    with Rig(emptied, clock, tmp_path, stands=[stand], follower=follower, space=space, scrutiny=None) as rig:
        for free_mb in (5000, 900, 100, 5000):
            disk.free_mb = free_mb
            stand.fetched.clear()
            rig.run()
            bars.append(len(stand.fetched))
            answers.append(rig.rows("SELECT count(*) FROM raw_payloads")[0][0])
            clock.advance(timedelta(minutes=1).total_seconds())
        states = [state for (state,) in rig.rows("SELECT state FROM cycles ORDER BY cycle_id")]
        assert states == ["ok", "ok", "failed", "ok"]
        skipped = rig.rows("SELECT DISTINCT cycle_id, state, error FROM jobs WHERE state <> 'ok'")
        assert skipped == [(3, "skipped", "the disk has no room for it: retention.floor")]
    assert bars == [2, 2, 0, 2]  # candles of two instruments
    assert answers == [2, 2, 2, 4]


def test_books_stop_before_the_rest(clock):
    space = FreeSpace("1000MB", [Path("/data")], measure=Disk(700))
    assert space.stopped_datasets(clock.now()) == {Dataset.ORDER_BOOKS}
