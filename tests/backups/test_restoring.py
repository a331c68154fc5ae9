"""Restoring: all or nothing, never under somebody's feet, from this release and from older ones."""

import contextlib
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import make_url, text

from collector.backups.making import Wish, make_backup
from collector.backups.manifest import NotVerified, files_of, read_manifest, write_manifest
from collector.backups.restoring import restore
from collector.backups.shelf import Keeping
from collector.clock import SystemClock
from collector.errors import ConfigError, LockHeld, StorageUnavailable
from collector.storage import schema
from collector.storage.copies.dumping import Held, snapshot
from collector.storage.copies.swap import Names
from collector.storage.database import Database
from collector.storage.models import METADATA
from collector.storage.writer import Writer
from tests.backups.conftest import fill, quiet
from tests.storage.samples import NOON

CLOCK = SystemClock()
YES, NO = (lambda _: True), (lambda _: False)


@pytest.fixture(scope="module")
def filled(cluster):
    """A database with rows, which no test changes."""
    url = cluster.create_database()
    opened = fill(Database(url, clock=CLOCK))
    yield opened
    opened.close()
    cluster.drop(url)


@pytest.fixture(scope="module")
def made(filled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    wish = Wish(
        folder=folder, verify_folder=folder, keeping=Keeping(newest=1), verify=False, payloads=False, free_bytes=0
    )
    return make_backup(filled, wish, CLOCK, quiet).backup.path


@pytest.fixture
def backup(made, tmp_path):
    """The folder of a backup of the filled database, to be spoilt at will."""
    return shutil.copytree(made, tmp_path / made.name)


@pytest.fixture
def other(database_url):
    """A database with nothing in it, not even tables, on the same server."""
    opened = Database(database_url, clock=CLOCK)
    yield opened
    opened.close()


def databases(database):
    """Every database of the server whose name begins like this one's."""
    with database.engine.connect() as connection:
        query = text("SELECT datname FROM pg_database WHERE starts_with(datname, :name) ORDER BY 1")
        return list(connection.execute(query, {"name": database.url.database + "_"}).scalars())


def contents(database):
    with snapshot(database, "test") as moment:
        return {table: moment.held(table, lambda: None) for table in moment.tables}


def run(database, *statements):
    with database.transaction() as connection:
        for statement in statements:
            connection.execute(text(statement))


def put_back(database, path, *, replacing=False, confirm=NO):
    return restore(database, path, CLOCK, quiet, replace=replacing, confirm=confirm)


def test_a_restored_database_holds_what_was_backed_up_and_tables_without_rows_go_unasked(filled, backup, other):
    other.upgrade()
    done = put_back(other, backup)
    assert contents(other) == contents(filled)
    assert (done.applied, done.replaced) == ((), False)
    assert databases(other) == []


@pytest.mark.faults
def test_a_database_that_does_not_exist_is_made(filled, backup, cluster):
    url = make_url(cluster.url).set(database="brand-new %s").render_as_string(hide_password=False)
    new = Database(url, clock=CLOCK)
    try:
        put_back(new, backup)
        assert contents(new) == contents(filled)
    finally:
        new.close()
        cluster.drop(url)


def test_rows_are_replaced_only_when_that_is_asked_for_and_confirmed(filled, backup, other):
    other.upgrade()
    run(other, "INSERT INTO provider_state (source, reason, banned, updated_at) VALUES ('okx', '', false, now())")
    before = contents(other)
    with pytest.raises(ConfigError, match=r"holds rows \(provider_state\): add --replace"):
        put_back(other, backup, confirm=YES)
    with pytest.raises(ConfigError, match="nothing was changed"):
        put_back(other, backup, replacing=True, confirm=NO)
    assert contents(other) == before
    asked = []
    done = put_back(other, backup, replacing=True, confirm=lambda tables: asked.append(tables) or True)
    assert asked == [["provider_state"]]
    assert done.replaced
    assert contents(other) == contents(filled)


@pytest.mark.parametrize("role", ["writer_lock", "housekeeper_lock"])
def test_nothing_is_replaced_while_somebody_works_there(backup, other, role):
    other.upgrade()
    worker = Database(other.url.render_as_string(hide_password=False), clock=CLOCK)
    with getattr(worker, role)(), pytest.raises(LockHeld):
        put_back(other, backup)
    worker.close()
    assert databases(other) == []


def test_nobody_can_begin_to_collect_while_it_is_filled(backup, other):
    other.upgrade()
    worker = Database(other.url.render_as_string(hide_password=False), clock=CLOCK)
    refused = []

    def say(step):
        if "restoring the rows" in step:
            with pytest.raises(LockHeld), worker.writer_lock():
                pass
            refused.append(step)

    restore(other, backup, CLOCK, say, replace=False, confirm=NO)
    worker.close()
    assert len(refused) == 1


@pytest.mark.faults
def test_a_collector_that_begins_in_the_last_moment_is_not_thrown_out(backup, other):
    other.upgrade()
    run(other, "CREATE TABLE mine (x integer)")
    worker = Database(other.url.render_as_string(hide_password=False), clock=CLOCK)
    with contextlib.ExitStack() as stack:

        def say(step):
            if "taking the place" in step:
                lock = stack.enter_context(worker.writer_lock())
                stack.callback(lambda: held.append(lock.still_held()))

        held = []
        with pytest.raises(LockHeld, match="somebody works on"):
            restore(other, backup, CLOCK, say, replace=False, confirm=NO)
        stack.close()
    assert held == [True]
    assert "mine" in contents(other)
    worker.close()


@pytest.mark.faults
def test_readers_are_sent_away_and_find_the_new_database(filled, backup, other):
    other.upgrade()
    reader = Database(other.url.render_as_string(hide_password=False), clock=CLOCK)
    with reader.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM cycles")).scalar() == 0
    put_back(other, backup)
    with reader.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM cycles")).scalar() == 1
    reader.close()


@pytest.mark.faults
def test_two_restores_of_one_database_do_not_meet(backup, other):
    def say(step):
        if "restoring the rows" in step:
            with pytest.raises(LockHeld, match="another restore works on"):
                put_back(other, backup)

    restore(other, backup, CLOCK, say, replace=False, confirm=NO)


@pytest.mark.faults
def test_what_a_killed_restore_left_is_cleared_by_the_next(filled, backup, other, cluster):
    other.upgrade()
    names = Names(other.url.database)
    for name in (names.coming, names.leaving):
        run_outside(cluster, f'CREATE DATABASE "{name}"')
    put_back(other, backup)
    assert databases(other) == []
    assert contents(other) == contents(filled)


def run_outside(cluster, statement):
    cluster._execute(statement)


def spoil_a_file(path):
    victim = max((path / "dump").iterdir(), key=lambda file: file.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")


def test_a_backup_with_a_spoilt_file_is_refused_before_anything_happens(backup, other):
    spoil_a_file(backup)
    with pytest.raises(ConfigError, match="is not the file that was written"):
        put_back(other, backup)
    assert databases(other) == []


def test_a_dump_that_cannot_be_restored_leaves_the_old_database(backup, other):
    other.upgrade()
    before = contents(other)
    toc = backup / "dump" / "toc.dat"
    toc.write_bytes(toc.read_bytes()[:-200])
    resign(backup)
    with pytest.raises(StorageUnavailable, match="pg_restore ended with") as caught:
        put_back(other, backup)
    assert "\n" not in str(caught.value)
    assert contents(other) == before
    assert databases(other) == []


def resign(path, **changes):
    """Make the manifest tell of the files as they are."""
    write_manifest(path, replace(read_manifest(path), files=files_of(path), **changes))


def test_rows_that_are_not_those_that_were_dumped_never_get_the_name(backup, other):
    told = read_manifest(backup).tables
    resign(backup, tables={**told, "cycles": Held(rows=2, hash="1")})
    other.upgrade()
    with pytest.raises(NotVerified, match=r"cycles: 1 rows instead of 2.*nothing was changed"):
        put_back(other, backup)
    assert contents(other)["cycles"].rows == 0
    assert databases(other) == []


def test_a_backup_of_a_newer_program_is_refused_in_one_line(backup, other):
    write_manifest(backup, replace(read_manifest(backup), revision="0999", program="9.0.0"))
    with pytest.raises(ConfigError, match=r"schema 0999, this program knows up to .*9\.0\.0") as caught:
        put_back(other, backup)
    assert "\n" not in str(caught.value)


def test_a_cycle_that_ran_at_the_time_is_abandoned_and_the_numbers_go_on(backup, other):
    put_back(other, backup)
    writer = Writer(other)
    assert len(writer.abandon_running(NOON + timedelta(days=1))) == 1
    cycle = writer.begin_cycle("market", NOON + timedelta(days=1), instance="t:2", folder="g", simulated=True)
    run(other, "SELECT 1")
    with other.reading() as connection:
        found = connection.execute(text("SELECT cycle_id, state FROM cycles ORDER BY 1")).all()
    assert [tuple(row) for row in found] == [(cycle - 1, "abandoned"), (cycle, "running")]


# --------------------------------------------------------------------------- older releases

OLD_ROWS = {
    "provider_state": "INSERT INTO provider_state (source, paused_until, reason, banned, updated_at) "
    "VALUES ('okx', '2026-03-11 15:00+00', 'HTTP 429', true, '2026-03-11 14:00+00')",
    "cycles": "INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated) "
    "VALUES ('market', 'ok', '2026-03-11 14:00+00', '2026-03-11 14:01+00', 'host:1', 'f', false), "
    "('market', 'running', '2026-03-11 14:05+00', NULL, 'host:1', 'g', false)",
    "candles_2026_03": "CREATE TABLE candles_2026_03 PARTITION OF candles "
    "FOR VALUES FROM ('2026-03-01 00:00+00') TO ('2026-04-01 00:00+00')",
    "candles": "INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, "
    "open, high, low, close, volume) SELECT 'okx', t + interval '1 min', t + interval '62 s', 1, 7, '1m', t, "
    "1.50, 2.00, 1.00, 1.75, 0 FROM generate_series('2026-03-11 00:00+00'::timestamptz, "
    "'2026-03-11 01:00+00', '1 min') t",
}


def kept_rows(database):
    """The rows of an older release, in columns that it had."""
    queries = (
        "SELECT source, paused_until, reason, banned, updated_at FROM provider_state",
        "SELECT cycle_id, cadence, state, started_at, finished_at, instance, simulated FROM cycles ORDER BY 1",
        "SELECT instrument_id, open_time, open::text, close::text, volume::text, trades FROM candles ORDER BY 2",
    )
    with database.reading() as connection:
        return [[tuple(row) for row in connection.execute(text(query))] for query in queries]


@pytest.mark.parametrize(
    "revision", ["0001", *[pytest.param(name, marks=pytest.mark.faults) for name in ("0002", "0003", "0004")]]
)
def test_a_backup_of_an_older_release_is_migrated_and_keeps_its_rows(database_url, cluster, wish, revision):
    old = Database(database_url, clock=CLOCK)
    schema.upgrade(old.engine, revision)
    run(old, *OLD_ROWS.values())
    path = make_backup(old, replace(wish, verify=revision == "0002"), CLOCK, quiet).backup.path
    assert read_manifest(path).revision == revision
    before = kept_rows(old)
    assert len(before[2]) == 61
    old.close()
    url = cluster.create_database("template1")
    new = Database(url, clock=CLOCK)
    try:
        done = put_back(new, path)
        assert done.applied[0] == f"{int(revision) + 1:04d}"
        assert new.revision() == schema.head()
        assert kept_rows(new) == before
        assert nothing_left_to_migrate(new) == []
    finally:
        new.close()
        cluster.drop(url)


def nothing_left_to_migrate(database):
    options = {
        "compare_type": True,
        "compare_server_default": True,
        "include_name": lambda name, kind, _: not (kind == "table" and name[-3:-2] == "_" and name[-2:].isdigit()),
    }
    with database.engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
