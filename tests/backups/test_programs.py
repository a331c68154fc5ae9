"""pg_dump and pg_restore: which are used, what they are told, and how they end."""

import os
import stat

import pytest

from collector.backups.programs import Programs, find_programs, program_version, running
from collector.clock import SystemClock
from collector.errors import ConfigError, StorageUnavailable
from collector.storage.database import Database

CLOCK = SystemClock()


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def installation(folder, version):
    script(folder / "pg_dump", f"echo 'pg_dump (PostgreSQL) {version} (Made up 1.2)'")
    script(folder / "pg_restore", "exit 0")
    return folder


def test_the_first_programs_that_are_not_older_than_the_server_are_used(tmp_path):
    folders = [installation(tmp_path / name, name) for name in ("14.2", "17.1", "18.4")]
    assert find_programs(14, folders) == Programs(bin_dir=folders[0], version="14.2")
    assert find_programs(15, folders).version == "17.1"
    assert find_programs(18, folders).major == 18


def test_programs_older_than_the_server_are_refused_in_one_line(tmp_path):
    folder = installation(tmp_path / "old", "16.3")
    with pytest.raises(ConfigError, match=r"the server is PostgreSQL 17.*only 16\.3 in .*old is here") as caught:
        find_programs(17, [folder])
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="none is here: install the client programs of PostgreSQL 17"):
        find_programs(17, [tmp_path / "nothing"])


def test_a_folder_without_pg_restore_or_with_a_broken_pg_dump_is_passed_by(tmp_path):
    script(tmp_path / "a" / "pg_dump", "echo 'pg_dump (PostgreSQL) 18.0'")
    script(tmp_path / "b" / "pg_dump", "exit 1")
    script(tmp_path / "b" / "pg_restore", "exit 0")
    assert program_version(tmp_path / "a") is None
    assert program_version(tmp_path / "b") is None


def test_the_wheel_brings_what_its_own_server_needs(cluster):
    assert find_programs(cluster.server.binaries.major).major >= cluster.server.binaries.major


@pytest.fixture
def guarded(clock):
    return Database("postgresql://me:s3cret@127.0.0.1:1/prices", clock=clock)


def start(tmp_path, database, text):
    script(tmp_path / "bin" / "pg_dump", text)
    programs = Programs(bin_dir=tmp_path / "bin", version="18.4")
    return running(programs, "pg_dump", ["--file=x"], database=database, folder=tmp_path, lock=None)


def test_the_password_goes_by_the_environment_and_never_by_the_command_line(tmp_path, guarded, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1")
    monkeypatch.setenv("PGHOST", "elsewhere")
    with start(tmp_path, guarded, f'echo "$@" > {tmp_path}/words; env > {tmp_path}/env') as child:
        child.wait(lambda: None)
    words, environment = (tmp_path / "words").read_text(), (tmp_path / "env").read_text()
    assert words == "--file=x --dbname=host=127.0.0.1 port=1 user=me dbname=prices\n"
    assert "PGPASSWORD=s3cret" in environment
    assert "elsewhere" not in environment
    assert "work_mem" not in environment


def test_a_program_that_fails_is_told_by_its_first_error(tmp_path, guarded):
    text = "echo 'pg_dump: error: could not write: No space left on device'; echo 'pg_dump: error: worker died'; exit 1"
    told = r"^pg_dump ended with exit status 1: pg_dump: error: could not write: No space left on device$"
    with start(tmp_path, guarded, text) as child, pytest.raises(StorageUnavailable, match=told):
        child.wait(lambda: None)


def test_a_program_is_ended_when_the_one_who_watches_raises(tmp_path, guarded):
    def stop():
        raise KeyboardInterrupt

    pid = tmp_path / "pid"
    with start(tmp_path, guarded, f"echo $$ > {pid}; exec sleep 60") as child:
        while not pid.exists() or not pid.read_text().strip():
            CLOCK.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            child.wait(stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
