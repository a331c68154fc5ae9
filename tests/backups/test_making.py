"""Making a backup: whole, of one moment, verified, and never more than it says."""

import stat
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from collector.backups import making
from collector.backups.making import make_backup
from collector.backups.manifest import NotVerified, check_files, read_manifest
from collector.backups.programs import Programs, find_programs
from collector.backups.shelf import backups_in, failed_in
from collector.backups.verifying import SCRATCH, differences
from collector.clock import SystemClock
from collector.errors import ConfigError, StorageUnavailable
from collector.storage.copies.dumping import Held
from collector.storage.database import Database
from tests.backups.conftest import quiet

CLOCK = SystemClock()


def left_behind(folder):
    """What stands in the folder beside whole backups."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("backup_"))


def test_a_backup_is_whole_and_equal_whatever_is_written_meanwhile(filled, wish):
    stop = threading.Event()
    query = text(
        "INSERT INTO cycles (cadence, state, started_at, instance, folder, simulated) "
        "VALUES ('market', 'running', now(), 'i', 'f', true)"
    )

    def write():
        while not stop.wait(0.002):
            with filled.transaction() as connection:
                connection.execute(query)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        made = make_backup(filled, wish, CLOCK, quiet)
    finally:
        stop.set()
        thread.join()
    found = read_manifest(made.backup.path)
    assert found == made.backup.manifest
    assert found.verified_at is not None
    assert found.simulated is True
    assert found.left_out == ("raw_payloads",)
    assert "raw_payloads" not in found.tables
    assert found.tables["candles"].rows == 1
    assert found.revision == filled.revision()
    check_files(made.backup.path, found)
    assert left_behind(wish.folder) == [".backup_check.lock", ".lock"]
    assert stat.S_IMODE(made.backup.path.stat().st_mode) == 0o700
    with filled.reading() as connection:
        now = connection.execute(text("SELECT count(*) FROM cycles")).scalar()
    assert 1 <= made.backup.manifest.tables["cycles"].rows < now


def forgetful(folder, table):
    """A pg_dump that leaves out the rows of a table without a word."""
    real = find_programs(14)
    folder.mkdir()
    for name, more in {"pg_dump": f"--exclude-table-data={table}", "pg_restore": ""}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {real.bin_dir / name} {more} "$@"\n')
        (folder / name).chmod(0o755)
    return Programs(bin_dir=folder, version=real.version)


def test_a_backup_that_does_not_hold_everything_is_kept_aside_and_said(filled, wish, rows, tmp_path, monkeypatch):
    programs = forgetful(tmp_path / "bin", "provider_state")
    rows("INSERT INTO provider_state (source, reason, banned, updated_at) VALUES ('okx', '', false, now())")
    monkeypatch.setattr(making, "find_programs", lambda _: programs)
    with pytest.raises(NotVerified, match=r"provider_state: 0 rows instead of 1.*kept as .*\.failed"):
        make_backup(filled, wish, CLOCK, quiet)
    assert backups_in(wish.folder) == []
    (kept,) = failed_in(wish.folder)
    assert read_manifest(kept).verified_at is None
    assert SCRATCH not in left_behind(wish.folder)


@pytest.mark.faults
def test_a_backup_that_cannot_be_restored_is_kept_aside_and_said(filled, wish, tmp_path, monkeypatch):
    programs = forgetful(tmp_path / "bin", "cycles")  # which the ledger's rows point to
    monkeypatch.setattr(making, "find_programs", lambda _: programs)
    with pytest.raises(NotVerified, match=r"cannot be restored \(.*foreign key.*\.failed") as caught:
        make_backup(filled, wish, CLOCK, quiet)
    assert "\n" not in str(caught.value)
    assert backups_in(wish.folder) == []
    assert len(failed_in(wish.folder)) == 1


@pytest.mark.faults
def test_one_changed_value_is_noticed_by_the_verification(filled, wish):
    made = make_backup(filled, replace(wish, verify=False), CLOCK, quiet)
    told = made.backup.manifest
    assert not made.backup.verified
    wrong = {**told.tables, "candles": Held(rows=1, hash=str(int(told.tables["candles"].hash) + 1))}
    found = differences(
        made.backup.path,
        replace(told, tables=wrong),
        original=filled,
        place=wish.verify_folder,
        watch=lambda: None,
        clock=CLOCK,
        say=quiet,
    )
    assert found == ["candles: other values in its 1 rows"]


def test_a_copy_goes_to_the_original_s_server_where_the_embedded_one_cannot_hold_it(filled, wish):
    made = make_backup(filled, replace(wish, verify=False), CLOCK, quiet)
    newer = replace(made.backup.manifest, server="99.1")  # newer than any server of ours
    options = {"original": filled, "place": wish.verify_folder, "watch": lambda: None, "clock": CLOCK, "say": quiet}
    assert differences(made.backup.path, newer, **options) == []
    with filled.reading() as connection:
        beside = connection.execute(text("SELECT datname FROM pg_database WHERE datname LIKE '%checked'")).all()
    assert beside == []


def test_raw_answers_are_in_it_when_they_are_asked_for(filled, wish, rows):
    rows(
        "CREATE TABLE raw_payloads_2026_01 PARTITION OF raw_payloads "
        "FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-02-01 00:00+00')"
    )
    rows("INSERT INTO raw_payloads VALUES (1, 1, '2026-01-31 12:00+00', 200, 'x', 1, 'x')")
    with_them = make_backup(filled, replace(wish, payloads=True, verify=False), CLOCK, quiet).backup.manifest
    assert (with_them.left_out, with_them.tables["raw_payloads"].rows) == ((), 1)
    # that they are left out otherwise is told above


def test_a_backup_ends_before_it_fills_the_disk(filled, wish):
    greedy = replace(wish, free_bytes=1 << 60)
    with pytest.raises(StorageUnavailable, match=r"MB are free, backups\.free_mb wants 1099511627776") as caught:
        make_backup(filled, greedy, CLOCK, quiet)
    assert "\n" not in str(caught.value)
    assert set(left_behind(wish.folder)) <= {".lock", ".backup_check.lock"}
    assert backups_in(wish.folder) == []


@pytest.mark.faults
def test_an_interrupted_backup_leaves_nothing(filled, wish):
    for word in ("counting candles", "restoring a copy", "comparing cycles"):

        def stop(step, word=word):
            if word in step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_backup(filled, wish, CLOCK, stop)
        assert set(left_behind(wish.folder)) <= {".lock", ".backup_check.lock"}, word
        assert backups_in(wish.folder) == []


def test_an_empty_database_is_refused(database_url, wish):
    empty = Database(database_url, clock=CLOCK)
    with pytest.raises(ConfigError, match="nothing to back up"):
        make_backup(empty, wish, CLOCK, quiet)
    empty.close()
    assert not wish.folder.exists()


@pytest.mark.faults
def test_older_ones_go_when_a_new_one_stands(filled, wish):
    small = replace(wish, verify=False)
    names = [make_backup(filled, small, CLOCK, quiet).backup.path.name for _ in range(3)]
    last = make_backup(filled, small, CLOCK, quiet)
    assert list(last.rotated) == names[:1]
    assert len(backups_in(wish.folder)) == 3


def test_no_password_is_in_any_file_of_it(filled, wish):
    guarded = type(filled)(
        filled.url.set(password="s3cret").render_as_string(hide_password=False), clock=CLOCK
    )  # the socket asks for none
    made = make_backup(guarded, replace(wish, verify=False), CLOCK, quiet)
    guarded.close()
    for path in made.backup.path.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes(), path
