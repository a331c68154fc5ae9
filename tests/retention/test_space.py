"""The floor of free space: things stop in order and begin again by themselves, and nothing flutters."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.records import Dataset
from collector.retention.space import FreeSpace, Space, Stage, space_of, stage_after

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
MB = 1024 * 1024


class Disk:
    """A disk of 100 000 MB that a test fills."""

    def __init__(self, free_mb):
        self.free_mb, self.looks = free_mb, 0

    def __call__(self, _folder):
        self.looks += 1
        if self.free_mb is None:
            raise OSError("no such device")
        return Space(100_000 * MB, self.free_mb * MB)


def watch(disk, floor="1000MB"):
    return FreeSpace(floor, [Path("/data")], measure=disk)


def stages(disk, space, *free):
    found = []
    for number, free_mb in enumerate(free):
        disk.free_mb = free_mb
        found.append(space.stage(NOW + timedelta(minutes=number)))
    return found


def test_things_stop_one_after_the_other_as_space_goes():
    disk = Disk(5000)
    found = stages(disk, watch(disk), 1000, 999, 749, 499, 249, 0)
    assert found == [Stage.NOTHING, Stage.PAYLOADS, Stage.BOOKS, Stage.SNAPSHOTS, Stage.ALL, Stage.ALL]


def test_they_begin_again_with_a_tenth_more_than_where_they_stopped():
    disk = Disk(5000)
    found = stages(disk, watch(disk), 200, 260, 274, 276, 540, 551, 824, 826, 1099, 1101)
    assert found == [
        *(Stage.ALL, Stage.ALL, Stage.ALL, Stage.SNAPSHOTS, Stage.SNAPSHOTS),
        *(Stage.BOOKS, Stage.BOOKS, Stage.PAYLOADS, Stage.PAYLOADS, Stage.NOTHING),
    ]


def test_a_disk_that_is_emptied_at_once_begins_everything_at_once():
    assert stage_after(Stage.ALL, 20.0) is Stage.NOTHING


def test_what_has_stopped_is_told_as_datasets():
    disk = Disk(5000)
    space = watch(disk)
    assert space.stopped_datasets(NOW) == frozenset()
    assert space.keeps_payloads(NOW)
    disk.free_mb = 700
    later = NOW + timedelta(minutes=1)
    assert space.stopped_datasets(later) == {Dataset.ORDER_BOOKS}
    assert not space.keeps_payloads(later)
    disk.free_mb = 400
    stopped = space.stopped_datasets(later + timedelta(minutes=1))
    assert {Dataset.ORDER_BOOKS, Dataset.TICKERS, Dataset.OPEN_INTEREST} <= stopped
    assert not {Dataset.CANDLES, Dataset.FUNDING, Dataset.MARKETS} & stopped
    disk.free_mb = 10
    assert space.stopped_datasets(later + timedelta(minutes=2)) == frozenset(Dataset)


def test_a_floor_can_be_a_share_of_the_disk():
    disk = Disk(4999)
    assert watch(disk, "5%").stage(NOW) is Stage.PAYLOADS
    disk.free_mb = 5000
    assert watch(disk, "5%").stage(NOW) is Stage.NOTHING


def test_without_a_floor_nobody_looks():
    disk = Disk(0)
    assert watch(disk, "").stage(NOW) is Stage.NOTHING
    assert disk.looks == 0


def test_the_disk_is_looked_at_every_ten_seconds_at_most():
    disk = Disk(5000)
    space = watch(disk)
    for second in range(25):
        space.stage(NOW + timedelta(seconds=second))
    assert disk.looks == 3
    space.stage(NOW - timedelta(days=1))  # the clock was set back
    assert disk.looks == 4


def test_a_disk_that_cannot_be_seen_stops_nothing_and_ends_nothing():
    disk = Disk(None)
    space = watch(disk)
    assert stages(disk, space, None, 100, None, 5000) == [Stage.NOTHING, Stage.ALL, Stage.ALL, Stage.NOTHING]


def test_the_disk_with_the_least_of_its_floor_decides():
    sizes = {Path("/data"): Space(100 * MB, 90 * MB), Path("/postgres"): Space(100 * MB, 1 * MB)}
    space = FreeSpace("10%", list(sizes), measure=sizes.__getitem__)
    assert space.stage(NOW) is Stage.ALL


def test_each_change_is_said_once(caplog):
    disk = Disk(5000)
    with caplog.at_level("INFO"):
        stages(disk, watch(disk), 900, 900, 700, 5000, 5000)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]


@pytest.mark.parametrize("there", [True, False])
def test_the_space_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path, there):
    folder = tmp_path / ("" if there else "a/b")
    assert space_of(folder).total == space_of(tmp_path).total > 0
