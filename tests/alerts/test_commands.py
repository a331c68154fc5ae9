"""The commands of the alerts: what they print, and how they end."""

import json

import pytest

from collector import cli
from collector.storage.alerts import AlertStore
from tests.alerts.test_chore import ILL, House
from tests.alerts.vitals_samples import WELL
from tests.storage.ledger_rows import MINUTE, Ledger, part


@pytest.fixture
def run(migrated_url, tmp_path, monkeypatch, capsys):
    """Run a command on a fresh database; return its exit code, what it printed and what it complained of."""
    monkeypatch.setenv("COLLECTOR_DATABASE__URL", migrated_url)
    monkeypatch.setenv("COLLECTOR_LOGS__DIRECTORY", str(tmp_path / "logs"))
    monkeypatch.setenv("COLLECTOR_ALERTS__DISK_FREE_MB", "0")

    def call(*words):
        code = cli.main(["alerts", *words])
        return code, *capsys.readouterr()

    return call


def test_a_quiet_house_says_so(run):
    assert run() == (0, "nothing fires\n", "")
    code, out, _ = run("--json")
    assert (code, json.loads(out)) == (0, {"simulated": False, "alerts": []})


def test_what_fires_and_what_is_over_is_shown(run, database, tmp_path):
    house = House(database, tmp_path)
    house.look(ILL, 2)
    _, out, _ = run()
    assert out.splitlines()[0] == "firing:"
    assert "source_failing  okx" in out
    house.look(WELL, 3)
    _, out, _ = run()
    assert out.splitlines()[:2] == ["nothing fires", ""]
    shown = json.loads(run("--json")[1])["alerts"]
    assert [(item["rule"], item["state"], item["told"]) for item in shown] == [
        ("source_failing", "resolved", "resolved")
    ]


def test_a_look_by_hand_tells_nobody_and_ends_with_one_when_something_is_wrong(run, database, tmp_path):
    assert run("check")[:2] == (0, "nothing is wrong, by 11 rules\n")
    Ledger(database).cycle(database.clock.now() - 60 * MINUTE, part())
    code, out, _ = run("check")
    assert code == 1
    assert "collector_silent" in out
    assert json.loads(run("check", "--json")[1])["findings"][0]["severity"] == "critical"
    assert AlertStore(database).recent(10) == []


def test_a_test_without_a_target_says_how_to_name_one(run):
    code, out, err = run("test")
    assert (code, out) == (2, "")
    assert "COLLECTOR_ALERTS__TARGETS__" in err


def test_a_test_ends_well_only_if_every_target_took_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLECTOR_ALERTS__TARGETS__FILE", f"file://{tmp_path}/alerts.jsonl")
    code, out, _ = run("test", "--json")
    assert (code, json.loads(out)) == (0, {"file": {"delivered": True, "reason": ""}})
    monkeypatch.setenv("COLLECTOR_ALERTS__TARGETS__BAD", f"file://{tmp_path}")
    code, out, _ = run("test")
    assert code == 1
    assert sorted(line.split()[:2] for line in out.splitlines()[1:]) == [["bad", "not"], ["file", "delivered"]]


def test_a_database_of_another_version_is_told_in_one_line(run, database_url, monkeypatch):
    monkeypatch.setenv("COLLECTOR_DATABASE__URL", database_url)
    for words in ((), ("check",)):
        code, out, err = run(*words)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "the database is empty" in err


def test_a_rule_that_does_not_exist_is_told(run, monkeypatch):
    monkeypatch.setenv("COLLECTOR_ALERTS__WITHOUT", "freshnes")
    code, _, err = run("check")
    assert code == 2
    assert "alerts.without: 'freshnes' is no rule; use some of" in err
