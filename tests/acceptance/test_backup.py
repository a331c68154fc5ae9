"""Backups as a person uses them: beside a working collector, onto an empty machine, and when something is wrong."""

import resource
import shutil
import signal
import subprocess

import pytest

from collector.storage.database import Database
from tests.acceptance.program import CLOCK, NOBODY, REPOSITORY, Program, wait_until
from tests.backups.conftest import fill


@pytest.fixture(scope="module")
def stored(install):
    """A program whose database holds a row of nearly everything, and a verified backup that was made by command."""
    program = install(NOBODY)
    database = fill(Database(program.url, clock=CLOCK))
    database.close()
    result = program.run("db", "backup", "--json")
    assert result.status == 0, result.err
    return program, result.json


def folder_of(program):
    return program.folder / "data" / "backups"


def remains(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("backup_") and path.is_dir())


@pytest.mark.faults
def test_a_backup_tells_what_is_in_it(stored):
    program, made = stored
    assert made["verified"] is True
    assert made["simulated"] is True
    assert made["left_out"] == ["raw_payloads"]
    assert made["tables"]["order_books"]["rows"] == 1
    assert made["rows"] == sum(table["rows"] for table in made["tables"].values())
    shown = program.run("db", "backups")
    assert shown.status == 0
    assert "SIMULATED" in shown.out
    listed = program.run("db", "backups", "--json").json
    assert [item["path"] for item in listed["backups"]] == [made["path"]]
    assert remains(folder_of(program)) == []


def test_an_empty_machine_gets_the_whole_database_back(stored, tmp_path):
    _, made = stored
    fresh = Program(tmp_path / "machine", addresses=NOBODY)
    shutil.copytree(made["path"], tmp_path / "copied")
    result = fresh.run("db", "restore", str(tmp_path / "copied"), "--json")
    assert result.status == 0, result.err
    assert result.json["replaced"] is False
    query = "SELECT (SELECT count(*) FROM candles), (SELECT name FROM asset_details), (SELECT state FROM cycles)"
    assert fresh.run("psql", "-Atc", query).out == '1|Bit\tcoin \\N "quoted" {1,2}\n|running\n'


@pytest.mark.faults
def test_a_collector_goes_on_where_a_restored_database_ends(install, venues, tmp_path):
    program = install(venues.base_urls)
    assert program.run("once").status == 0
    made = program.run("db", "backup", "--json").json
    truth = program.rows("SELECT instrument_id, interval, open_time, open, close FROM candles ORDER BY 1, 2, 3")
    fresh = Program(tmp_path / "machine", addresses=venues.base_urls)
    assert fresh.run("db", "restore", made["path"]).status == 0
    query = "COPY (SELECT instrument_id, interval, open_time, open, close FROM candles ORDER BY 1, 2, 3) TO STDOUT CSV"
    lines = fresh.run("psql", "-Atc", query).out.splitlines()
    assert len(lines) == len(truth) > 1000
    assert lines[0].endswith(f",{truth[0][3]},{truth[0][4]}")
    again = fresh.run("once", "--json")
    assert again.status == 0, again.err
    assert again.json["cycle_id"] == 2


@pytest.mark.faults
def test_a_backup_is_made_and_a_restore_refused_while_the_collector_works(install, venues):
    program = install(venues.base_urls)
    with program.running("collect") as daemon:
        wait_until(lambda: program.ended_cycles("market") >= 1, "a cycle", 60)
        made = program.run("db", "backup", "--json")
        assert made.status == 0, made.err
        assert made.json["verified"] is True
        refused = program.run("db", "restore", "latest", "--replace", "--yes")
        assert refused.status == 3
        assert "another collector works on" in refused.err.splitlines()[-1]
        ended = program.ended_cycles("market")
        wait_until(lambda: program.ended_cycles("market") > ended, "one more cycle")
        assert daemon.stop() == 0


@pytest.mark.faults
def test_another_database_is_named_by_into(stored, cluster):
    program, made = stored
    url = cluster.create_database("template1")
    try:
        result = program.run("db", "restore", "latest", "--into", url)
        assert result.status == 0, result.err
        assert f"{made['rows']} rows" in result.out
    finally:
        cluster.drop(url)


@pytest.mark.faults
def test_ctrl_c_leaves_nothing_behind(install, cluster, tmp_path):
    program = install(NOBODY)
    program.rows("INSERT INTO provider_state (source, reason, banned, updated_at) SELECT n::text, '', false, now() "
                 "FROM generate_series(1, 1000) n")  # fmt: skip
    folder = folder_of(program)
    for number, sign in ((signal.SIGINT, ".unfinished_backup_"), (signal.SIGTERM, ".backup_check")):
        with program.running("db", "backup") as command:
            wait_until(lambda sign=sign: list(folder.glob(f"{sign}*")), "the work has begun")
            assert command.stop(number, within_s=20) == 130, command.err
        assert remains(folder) == []
        assert list(folder.glob("backup_*")) == []


@pytest.mark.faults
def test_a_full_disk_is_one_line_and_leaves_nothing(install):
    program = install(NOBODY)
    program.rows("INSERT INTO provider_state (source, reason, banned, updated_at) SELECT n::text, md5(n::text), false, "
                 "now() FROM generate_series(1, 20000) n")  # fmt: skip

    def small_files():  # no file of the process and its children may grow beyond: as good as a disk that is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        program.command("db", "backup"),
        cwd=REPOSITORY,
        env={**program.environment, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "pg_dump ended with" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    folder = folder_of(program)
    assert remains(folder) == []
    assert list(folder.glob("backup_*")) == []
