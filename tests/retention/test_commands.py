"""The commands `retention` and `disk`: what they print, as text and as JSON, and their exit codes."""

import json
import os

import pytest

from collector import cli
from tests.retention.conftest import bars


@pytest.fixture
def call(stand, tmp_path, capsys, monkeypatch):
    """Run a command on the stand's database and return (exit code, what it printed)."""
    settings = {
        "DATABASE__URL": stand.database.url.set(drivername="postgresql").render_as_string(hide_password=False),
        "DATA_DIR": str(tmp_path),
        "LOGS__DIRECTORY": str(tmp_path / "logs"),
        "RETENTION__DATASETS__CANDLES__AGE": "60d",
        "RETENTION__DATASETS__CANDLES__THEN": "seal",
        "RETENTION__THIN_TICKERS": "7d/1m",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"COLLECTOR_{name}", value)

    def run(*words):
        status = cli.main(words)
        told = capsys.readouterr()
        return status, told.out or told.err

    return run


def test_a_month_is_planned_sealed_verified_restored_and_sealed_again(stand, call, tmp_path):
    stand.write(*bars(5, 30, year=2024))
    status, told = call("retention", "--dry-run")
    assert status == 0
    assert "seal  candles  2024-01  30 " in told
    assert "a turn would let 30 rows go" in told
    (step,) = json.loads(call("retention", "--dry-run", "--json")[1])
    assert (step["what"], step["dataset"], step["month"], step["rows"]) == ("seal", "candles", "2024-01", 30)
    assert len(stand.hot()) == 30

    status, told = call("retention")
    assert (status, told.split(" left")[0]) == (0, "1 months with 30 rows")
    assert stand.hot() == []
    assert (tmp_path / "cold" / "candles" / "2024-01" / "candles_2024-01_g0001.parquet").exists()
    again = json.loads(call("retention", "--json")[1])
    assert (again["months"], again["rows"], again["steps"]) == (0, 0, [])
    assert stand.rows("SELECT months, rows, ended_at IS NULL FROM retention_turns ORDER BY began_at") == [
        (1, 30, False),
        (0, 0, False),
    ]

    (month,) = json.loads(call("retention", "months", "--json")[1])
    assert (month["dataset"], month["month"], month["state"], month["rows"]) == ("candles", "2024-01", "dropped", 30)
    assert call("retention", "months")[1].splitlines()[1].split()[:4] == ["candles", "2024-01", "dropped", "30"]
    assert call("retention", "verify") == (0, "1 files read, 0 wrong\n")
    assert call("retention", "restore", "candles", "2024-01")[1].startswith("restored candles 2024-01: 30 rows")
    assert len(stand.hot()) == 30
    assert call("retention", "seal", "candles", "2024-01")[1].startswith("sealed candles 2024-01: 30 rows left")
    assert stand.hot() == []


def test_a_wrong_file_is_told_by_the_exit_code(stand, call, tmp_path):
    stand.write(*bars(5, 3, year=2024))
    call("retention")
    next((tmp_path / "cold").rglob("*.parquet")).unlink()
    status, told = call("retention", "verify")
    assert status == 1
    assert "1 files read, 1 wrong" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("restore", "candles", "2026-02"), "candles 2026-02: there is no sealed file of it"),
        (("restore", "signals", "2026-02"), "DATASET: 'signals' is not stored by month"),
        (("seal", "candles", "2026-13"), "MONTH: '2026-13' is no month; write 2026-01"),
    ],
)
def test_bad_words_are_refused_in_one_line(call, words, said):
    status, told = call("retention", *words)
    assert status == 2
    assert told.startswith(f"collector: {said}")
    assert told.count("\n") == 1


def test_nothing_to_do_is_said(call):
    assert "nothing is due" in call("retention", "--dry-run")[1]
    assert call("retention", "months")[1] == "no month has left the database\n"


def test_disk_shows_tables_folders_and_the_disk(stand, call, tmp_path):
    stand.write(*bars(5, 30, year=2024))
    status, told = call("disk")
    assert status == 0
    lines = {line.split()[0]: line for line in told.splitlines() if line.startswith("  ")}
    assert {"candles", "cycles", "cold/", "logs/", "spool/", "backups/"} <= set(lines)
    assert "disk of " in told
    tree = json.loads(call("disk", "--json")[1])
    (candles,) = [use for use in tree["uses"] if use["name"] == "candles"]
    assert candles["total_bytes"] == candles["heap_bytes"] + candles["index_bytes"]
    space = os.statvfs(tmp_path)
    (disk,) = [disk for disk in tree["disks"] if "data" in disk["holds"]]
    assert disk["total_bytes"] == space.f_blocks * space.f_frsize
