"""The folder of the backups: rotation, names, leftovers, one at a time."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.backups.shelf import (
    Keeping,
    backups_in,
    failed_in,
    find_backup,
    newest_verified,
    working,
)
from collector.clock import ManualClock
from collector.errors import ConfigError, LockHeld
from tests.backups.samples import NOON, manifest, put


def days(*ages):
    return [NOON - timedelta(days=age) for age in ages]


def stand(folder):
    return sorted(path.name for path in folder.glob("backup_*"))


def rotate(folder, clock, **keeping):
    with working(folder, clock) as shelf:
        return shelf.rotate(Keeping(**keeping))


def test_the_newest_stay_and_the_older_go(tmp_path, clock):
    for moment in days(0, 1, 2, 3):
        put(tmp_path, moment)
    assert sorted(rotate(tmp_path, clock, newest=2)) == ["backup_2026-03-28_12-00-00", "backup_2026-03-29_12-00-00"]
    assert stand(tmp_path) == ["backup_2026-03-30_12-00-00", "backup_2026-03-31_12-00-00"]


def test_the_newest_of_each_week_and_month_stays_too(tmp_path, clock):
    # 2026-03-31 is a Tuesday: its week began on Monday the 30th; the weeks before on the 23rd and the 16th.
    for moment in days(0, 1, 2, 8, 9, 30, 31, 59, 60, 100):
        put(tmp_path, moment)
    rotate(tmp_path, clock, newest=1, weekly=3, monthly=3)
    assert stand(tmp_path) == [
        "backup_2026-01-31_12-00-00",  # newest of January (59 days)
        "backup_2026-02-28_12-00-00",  # newest of February (31 days)
        "backup_2026-03-22_12-00-00",  # newest of the week of the 16th (9 days)
        "backup_2026-03-29_12-00-00",  # newest of the week of the 23rd (2 days)
        "backup_2026-03-31_12-00-00",
    ]


def test_the_last_verified_one_is_never_deleted_however_many_others_come(tmp_path, clock):
    put(tmp_path, NOON - timedelta(days=50))
    for moment in days(0, 1, 2, 3, 4):
        put(tmp_path, moment, verified=False)
    rotate(tmp_path, clock, newest=2)
    assert stand(tmp_path) == [
        "backup_2026-02-09_12-00-00",
        "backup_2026-03-30_12-00-00",
        "backup_2026-03-31_12-00-00",
    ]
    assert newest_verified(tmp_path) == NOON - timedelta(days=50)


def test_what_is_not_verified_takes_no_place_from_what_is(tmp_path, clock):
    for moment in days(0, 2):
        put(tmp_path, moment, verified=False)
    for moment in days(1, 3):
        put(tmp_path, moment)
    assert rotate(tmp_path, clock, newest=2) == []


def test_the_name_of_the_moment_does_not_decide_the_age(tmp_path):
    put(tmp_path, NOON, name="backup_0000")
    put(tmp_path, NOON - timedelta(days=1), name="backup_zzzz")
    assert [found.path.name for found in backups_in(tmp_path)] == ["backup_0000", "backup_zzzz"]


def test_there_is_no_newest_verified_one_in_a_folder_that_is_empty_or_missing(tmp_path):
    assert newest_verified(tmp_path) is None
    assert newest_verified(tmp_path / "none") is None


def test_what_a_killed_backup_or_deletion_left_goes_with_the_next_one(tmp_path, clock):
    whole = put(tmp_path, NOON)
    put(tmp_path, NOON - timedelta(days=1), name=".unfinished_backup_2026-03-30_12-00-00")
    (tmp_path / ".unfinished_backup_1" / "dump").mkdir(parents=True)
    stranger = tmp_path / "my own folder"
    stranger.mkdir()
    with working(tmp_path, clock):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", whole.name, "my own folder"]


def test_a_folder_without_a_manifest_is_no_backup_and_is_never_deleted(tmp_path, clock):
    (tmp_path / "backup_by_hand").mkdir()
    put(tmp_path, NOON)
    rotate(tmp_path, clock, newest=1)
    assert [found.path.name for found in backups_in(tmp_path)] == ["backup_2026-03-31_12-00-00"]
    assert stand(tmp_path) == ["backup_2026-03-31_12-00-00", "backup_by_hand"]


def test_only_the_final_name_makes_it_a_backup(tmp_path, clock):
    with working(tmp_path, clock) as shelf:
        path = shelf.begin(NOON)
        (path / "dump").mkdir()
        assert backups_in(tmp_path) == []
        made = shelf.finish(path, manifest(verified_at=None))
    assert [found.path for found in backups_in(tmp_path)] == [made.path]
    assert made.path.name == "backup_2026-03-31_12-00-00"
    assert not made.verified


def test_two_of_one_second_get_names_of_their_own(tmp_path, clock):
    with working(tmp_path, clock) as shelf:
        names = [shelf.finish(shelf.begin(NOON), manifest()).path.name for _ in range(3)]
    assert names == [f"backup_2026-03-31_12-00-00{ending}" for ending in ("", "~2", "~3")]


def test_what_failed_is_kept_aside_and_is_no_backup(tmp_path, clock):
    with working(tmp_path, clock) as shelf:
        kept = [shelf.set_aside(shelf.begin(moment), manifest()) for moment in days(3, 2, 1)]
    assert backups_in(tmp_path) == []
    assert failed_in(tmp_path) == [kept[2], kept[1]], "the oldest of three goes"
    assert kept[2].name == "backup_2026-03-30_12-00-00.failed"


def test_a_second_backup_in_the_same_folder_is_refused_and_named(tmp_path, clock):
    with working(tmp_path, clock), pytest.raises(LockHeld, match="another backup works in"), working(tmp_path, clock):
        pass
    with working(tmp_path, ManualClock(datetime(2026, 1, 1, tzinfo=UTC))):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, clock):
    (tmp_path / "file").touch()
    told = r"backups\.folder: .*file/backups cannot be written"
    with pytest.raises(ConfigError, match=told) as caught, working(tmp_path / "file" / "backups", clock):
        pass
    assert "\n" not in str(caught.value)


def test_a_backup_is_found_by_name_path_and_as_the_latest_verified_one(tmp_path):
    old = put(tmp_path, NOON - timedelta(days=1))
    new = put(tmp_path, NOON, verified=False)
    assert find_backup(tmp_path, "latest") == old
    assert find_backup(tmp_path, new.name) == new
    assert find_backup(tmp_path / "elsewhere", str(new)) == new
    with pytest.raises(ConfigError, match="backup_x: no such backup"):
        find_backup(tmp_path, "backup_x")
    with pytest.raises(ConfigError, match="holds no verified backup"):
        find_backup(tmp_path / "elsewhere", "latest")
