"""The commands' refusals: one line, the right status, and nothing changed."""

import json
import signal

import pytest

from collector import cli
from collector.clock import SystemClock
from tests.backups.conftest import fill
from tests.backups.samples import NOON, put

CLOCK = SystemClock()
AWAY = "postgresql://me:s3cret@127.0.0.1:1/db"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a `db` command with folders of its own and return its status, its output and its complaint."""
    monkeypatch.setenv("COLLECTOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLLECTOR_DATABASE__URL", AWAY)
    monkeypatch.setenv("COLLECTOR_SIMULATED", "true")
    before = signal.getsignal(signal.SIGTERM)

    def command(*words, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        status = cli.main(["db", *words])
        said = capsys.readouterr()
        assert len(said.err.splitlines()) <= 1, said.err
        assert "s3cret" not in said.err
        return status, said.out, said.err

    yield command
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (["restore", "/"], {}, "/ is no backup"),
        (["restore", "latest"], {}, "holds no verified backup"),
        (["restore", "backup_none"], {}, "backup_none: no such backup"),
        (["backup"], {"COLLECTOR_BACKUPS__CRON": "every day"}, "backups.cron"),
        (["backup"], {"COLLECTOR_BACKUPS__KEEP": "0"}, "backups.keep"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(run, words, environment, told):
    status, out, complaint = run(*words, **environment)
    assert (status, out) == (2, "")
    assert told in complaint


def test_a_database_that_is_away_is_one_line_and_status_1(run):
    status, _, complaint = run("backup")
    assert status == 1
    assert "127.0.0.1" in complaint


def test_a_folder_that_cannot_be_written_is_one_line_and_status_2(run, database, tmp_path):
    (tmp_path / "file").touch()
    url = database.url.render_as_string(hide_password=False)
    status, _, complaint = run("backup", "--out", str(tmp_path / "file" / "x"), COLLECTOR_DATABASE__URL=url)
    assert status == 2
    assert "backups.folder" in complaint


def test_rows_are_replaced_only_when_that_is_asked_for_and_confirmed(run, database, tmp_path):
    url = fill(database).url.render_as_string(hide_password=False)
    status, out, _ = run("backup", "--no-verify", "--json", COLLECTOR_DATABASE__URL=url)
    assert status == 0
    made = json.loads(out)
    assert made["verified"] is False
    status, _, complaint = run("restore", made["path"])
    assert (status, "add --replace" in complaint) == (2, True)
    status, _, complaint = run("restore", made["path"], "--replace")
    assert (status, "add --yes" in complaint) == (2, True)
    status, _, complaint = run("restore", made["path"], "--into", "mysql://me:s3cret@host/db")
    assert (status, "not supported" in complaint) == (2, True)


def test_backups_are_listed_and_only_a_verified_one_makes_it_well(run, tmp_path):
    folder = tmp_path / "data" / "backups"
    status, out, _ = run("backups")
    assert (status, out) == (1, f"no backups in {folder}\n")
    put(folder, NOON, verified=False)
    assert run("backups")[0] == 1
    put(folder, NOON.replace(hour=13))
    (folder / "backup_2026-01-01_00-00-00.failed").mkdir()
    status, out, _ = run("backups")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:3]] == [
        "backup_2026-03-31_13-00-00",
        "backup_2026-03-31_12-00-00",
    ]
    assert "FAILED its verification" in out
    listed = json.loads(run("backups", "--json")[1])
    assert [item["verified"] for item in listed["backups"]] == [True, False]
    assert listed["backups"][0]["tables"]["cycles"] == {"rows": 1, "hash": "98765432109876543210"}


def test_made_up_data_has_a_folder_of_its_own(run, tmp_path):
    put(tmp_path / "mine", NOON)
    chosen = {"COLLECTOR_BACKUPS__FOLDER": str(tmp_path / "mine")}
    assert run("backups", COLLECTOR_SIMULATED="false", **chosen)[0] == 0
    status, out, _ = run("backups", COLLECTOR_SIMULATED="true")
    assert (status, out) == (1, f"no backups in {tmp_path / 'mine' / 'simulated'}\n")
