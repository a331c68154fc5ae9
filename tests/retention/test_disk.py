"""`disk` tells sizes, growth and days left from what is really there, and what is unknown as unknown."""

from datetime import timedelta

import pytest

from collector.retention.disk import Disk, Places, Report, as_json, in_bytes, look, measure, render
from collector.retention.growth import Growth, Left
from collector.retention.samples import SizeSamples
from collector.storage.cold.sizes import KEEP_ALL, load_samples, store_samples
from tests.retention.conftest import NOW, bars

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def places(tmp_path):
    folders = {name: tmp_path / name for name in ("cold", "logs", "spool", "backups")}
    (tmp_path / "cold" / "candles").mkdir(parents=True)
    (tmp_path / "cold" / "candles" / "a.parquet").write_bytes(b"x" * 1000)
    return Places(data=tmp_path, folders=folders)


def test_tables_and_folders_are_measured(stand, places):
    stand.write(*bars(5, 1000))
    stand.execute("ANALYZE candles")
    sizes = {size.name: size for size in measure(stand.database, places)}
    candles = sizes["candles"]
    assert candles.rows == 1000
    assert 1000 * 60 < candles.heap_bytes < 1000 * 400
    assert candles.index_bytes >= 1000 * 16
    assert candles.total_bytes == candles.heap_bytes + candles.index_bytes
    assert (sizes["cold"].total_bytes, sizes["cold"].rows, sizes["cold"].heap_bytes) == (1000, 1, None)
    assert sizes["spool"].total_bytes == 0


def test_sizes_are_stored_hourly_at_most(stand, places):
    chore = SizeSamples(stand.database, places)
    assert chore.due(NOW)
    chore.run(NOW)
    assert not chore.due(NOW + 30 * timedelta(minutes=1))
    again = SizeSamples(stand.database, places)  # after a restart
    assert not again.due(NOW + timedelta(minutes=50))
    assert again.due(NOW + HOUR)
    assert store_samples(stand.database, measure(stand.database, places), NOW + timedelta(minutes=5)) == 0
    again.run(NOW + HOUR)
    assert stand.rows("SELECT count(DISTINCT sampled_at) FROM table_sizes") == [(2,)]


def test_old_samples_are_thinned_to_the_first_of_each_day(stand, places):
    sizes = measure(stand.database, places)
    for hour in range(30):
        store_samples(stand.database, sizes, NOW - 40 * DAY + hour * HOUR)
    store_samples(stand.database, sizes, NOW)
    kept = sorted({sample.sampled_at for sample in load_samples(stand.database, NOW - 60 * DAY)})
    start = NOW - 40 * DAY  # at noon
    assert kept == [start, start + 12 * HOUR, NOW]
    assert KEEP_ALL < 40 * DAY


def test_growth_comes_from_the_history_of_sizes(stand, places):
    stand.write(*bars(5, 10))
    (size,) = [item for item in measure(stand.database, places) if item.name == "candles"]
    stand.execute(
        "INSERT INTO table_sizes (sampled_at, kind, name, total_bytes) VALUES (:at, 'table', 'candles', :size)",
        at=NOW - DAY,
        size=size.total_bytes - 2400,
    )
    report = look(stand.database, places, NOW)
    (candles,) = [use for use in report.uses if use.name == "candles"]
    assert candles.growth.bytes_a_day == 2400
    assert candles.growth.how == "median of 1 daily differences of the last 7 days"


def test_what_is_not_known_is_said_to_be_unknown(stand, places):
    report = look(stand.database, places, NOW)
    uses = {use.name: use for use in report.uses}
    assert uses["cold"].growth.bytes_a_day is None
    assert uses["spool"].growth.bytes_a_day == 0
    (disk, *_) = [disk for disk in report.disks if "cold" in disk.holds]
    assert disk.growth.bytes_a_day is None
    assert disk.until_full.days is None
    assert "is not known" in disk.until_full.why or "not known" in disk.until_full.why
    assert 0 < disk.free_bytes <= disk.total_bytes
    assert "? days: the growth of" in render(report)
    assert as_json(report)["disks"][0]["until_full"]["days"] is None


@pytest.mark.parametrize(
    ("free", "floor", "said"),
    [
        (30, 10, "20.0 GB above the floor of 10.0 GB, which is reached in 10.0 days"),
        (10, 10, "0 B above the floor of 10.0 GB, which is reached in 10.0 days"),
        (9, 10, "1.0 GB below the floor of 10.0 GB: make room; stopped until then: keeping raw answers"),
        (2, 10, "8.0 GB below the floor of 10.0 GB: make room; stopped until then: everything"),
        (
            *(30, 200),
            "the floor of 200.0 GB is more than the whole disk: lower retention.floor; stopped until then: everything",
        ),
    ],
)
def test_how_the_free_space_stands_to_the_floor_is_one_line(free, floor, said):
    disk = Disk(
        holds=("data",),
        folder="/data",
        total_bytes=100 * 2**30,
        free_bytes=free * 2**30,
        floor_bytes=floor * 2**30,
        growth=Growth(1.0, "measured"),
        until_full=Left(20.0, ""),
        until_floor=Left(10.0, ""),
    )
    last = render(Report(database_bytes=0, uses=[], disks=[disk], unknown=[])).splitlines()[-1]
    assert last == "  " + said


def test_the_floor_ends_sooner_than_the_disk(stand, places):
    for use in measure(stand.database, places):
        stand.execute(
            "INSERT INTO table_sizes (sampled_at, kind, name, total_bytes) VALUES (:at, :kind, :name, :size)",
            at=NOW - DAY,
            kind=use.kind,
            name=use.name,
            size=use.total_bytes - (100 if use.name == "cold" else 0),
        )
    report = look(stand.database, Places(data=places.data, folders=places.folders, floor="1MB"), NOW)
    (disk,) = [disk for disk in report.disks if "cold" in disk.holds]
    assert disk.floor_bytes == 1024 * 1024
    assert disk.until_full.days - disk.until_floor.days == pytest.approx(1024 * 1024 / disk.growth.bytes_a_day)
    assert disk.growth.bytes_a_day >= 100


@pytest.mark.parametrize(
    ("size", "told"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 kB"), (-2048, "-2.0 kB"), (5 * 1024**4, "5.0 TB")],
)
def test_sizes_for_people(size, told):
    assert in_bytes(size) == told
