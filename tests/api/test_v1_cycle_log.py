"""The end of a cycle's log: lines as they are, from files of that cycle's own folder and from nowhere else."""

import os
import shutil

import pytest
from jsonschema_rs import Draft202012Validator

from collector.clock import SystemClock
from collector.config import LogSettings
from collector.log import cycle_folder, get_logger, set_up_logging, tear_down_logging
from collector.upkeep import prune_folders
from tests.api.v1_stand import Stand
from tests.storage.samples import NOON

NAME = "cycle_2026-01-31_12-00-00_market"


@pytest.fixture(scope="module")
def stand(cluster, tmp_path_factory):
    """One database for all: every test begins a cycle of its own."""
    url = cluster.create_database()
    made = Stand(url, more={"log_folder": tmp_path_factory.mktemp("base") / "logs"})
    yield made
    made.close()
    cluster.drop(url)


@pytest.fixture
def logs(stand):
    """The folder of the logs, empty."""
    made = stand.parts.log_folder
    shutil.rmtree(made.parent)
    made.mkdir(parents=True)
    return made


@pytest.fixture
def folder(logs):
    made = logs / NAME
    made.mkdir()
    return made


def begin(stand, folder=NAME):
    return stand.writer.begin_cycle("market", NOON, instance="test:1", folder=folder, simulated=True)


def log(stand, cycle, **asked):
    return stand.page(f"/cycles/{cycle}/log", **asked)["data"]


def test_lines_of_a_cycle_are_told_as_its_services_wrote_them(stand, logs):
    set_up_logging(LogSettings(directory=logs), console=None)
    try:
        with cycle_folder(logs, started_at=NOON, cadence="market") as made:
            get_logger("Collector").info("cycle_started", cadence="market")
            get_logger("OkxService").warning("call_failed", reason='a "quoted"\nreason <b>\u2028')
        written = {path.stem: path.read_text().splitlines() for path in made.path.glob("*.log")}
    finally:
        tear_down_logging()
    cycle = begin(stand, made.path.name)
    told = log(stand, cycle)
    assert told == {
        "cycle_id": cycle,
        "part": "Collector",
        "parts": ["Collector", "OkxService"],
        "lines": written["Collector"],
        "truncated": False,
    }
    assert log(stand, cycle, part="okxSERVICE")["lines"] == written["OkxService"]
    assert "<b>" in written["OkxService"][0]


def test_the_last_lines_are_told_and_that_there_were_more(stand, folder):
    (folder / "Collector.log").write_text("".join(f"line {number}\n" for number in range(1500)))
    cycle = begin(stand)
    told = log(stand, cycle, lines=2)
    assert (told["lines"], told["truncated"]) == (["line 1498", "line 1499"], True)
    assert log(stand, cycle)["lines"] == [f"line {number}" for number in range(1300, 1500)]
    assert len(log(stand, cycle, lines=1000)["lines"]) == 1000
    for lines in (0, 1001, "all"):
        assert stand.refusal(f"/cycles/{cycle}/log", lines=lines) == (400, "INVALID_PARAMETER")


def test_no_more_than_256_kilobytes_are_told_in_whole_lines(stand, folder):
    line = "é" * 500  # 1001 bytes with its end
    (folder / "Collector.log").write_text(f"{line}\n" * 400, encoding="utf-8")
    told = log(stand, begin(stand), lines=1000)
    assert set(told["lines"]) == {line}
    assert len(told["lines"]) == 261  # of 262144 bytes
    assert told["truncated"] is True


def test_one_line_without_an_end_is_cut_to_its_last_part(stand, folder):
    (folder / "Collector.log").write_bytes(b"x" * 300_000)
    told = log(stand, begin(stand))
    assert [len(line) for line in told["lines"]] == [262_144]
    assert told["truncated"] is True


def test_bytes_that_are_no_text_do_not_stop_it(stand, folder):
    (folder / "Collector.log").write_bytes(b"a\xff\xfeb\r\n\nlast")
    assert log(stand, begin(stand))["lines"] == ["a\ufffd\ufffdb\r", "", "last"]


def test_an_empty_file_and_a_collector_that_wrote_none_are_no_lines(stand, folder):
    (folder / "OkxService.log").touch()
    cycle = begin(stand)
    assert log(stand, cycle, part="OkxService") == {
        "cycle_id": cycle,
        "part": "OkxService",
        "parts": ["OkxService"],
        "lines": [],
        "truncated": False,
    }
    assert log(stand, cycle)["part"] == "Collector"
    assert stand.page(f"/cycles/{cycle}/log")["as_of"] is None


def test_the_time_of_the_newest_line_is_that_of_the_file(stand, folder):
    path = folder / "Collector.log"
    path.write_text("line\n")
    os.utime(path, (1769860805, 1769860805))
    page = stand.page(f"/cycles/{begin(stand)}/log")
    assert (page["as_of"], page["source"], page["stale"]) == ("2026-01-31T12:00:05.000Z", ["collector"], False)


# --------------------------------------------------------------------------- what is not there


def test_a_folder_that_was_deleted_by_age_is_not_found(stand, logs, folder):
    (folder / "Collector.log").write_text("line\n")
    cycle = begin(stand)
    (logs / "cycle_2026-02-20_00-00-00_market").mkdir()
    assert prune_folders(LogSettings(directory=logs), SystemClock().now()) == 1
    answer = stand.get(f"/cycles/{cycle}/log")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "NOT_FOUND")
    assert error["message"] == f"cycle_id: cycle {cycle} has no log folder any more; see logs.keep and logs.keep_mb"


def test_a_cycle_that_is_none_is_not_found(stand):
    answer = stand.get("/cycles/999/log")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "cycle_id: there is no cycle 999")
    assert stand.refusal("/cycles/0/log") == (400, "INVALID_PARAMETER")
    assert stand.refusal("/cycles/x/log") == (400, "INVALID_PARAMETER")


def test_a_service_that_wrote_nothing_is_refused_with_those_that_did(stand, folder):
    (folder / "Collector.log").write_text("line\n")
    answer = stand.get(f"/cycles/{begin(stand)}/log", part="KrakenService")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]["known"]) == (400, "INVALID_PARAMETER", ["Collector"])


# --------------------------------------------------------------------------- nothing else can be read


@pytest.fixture
def secret(logs):
    made = logs.parent / "outside"
    made.mkdir()
    (made / "Collector.log").write_text("SECRET\n")
    return made


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../{outside}", "{outside_path}", f"{NAME}/../../{{outside}}", f"{NAME}\n", "latest", "logs", "/"],
)
def test_a_folder_name_that_is_no_cycle_s_is_not_looked_at(stand, folder, secret, name):
    (folder / "Collector.log").write_text("line\n")
    cycle = begin(stand, name.format(outside=secret.name, outside_path=secret))
    answer = stand.get(f"/cycles/{cycle}/log")
    assert answer.status_code == 404
    assert "SECRET" not in answer.text
    assert str(secret.parent) not in answer.text


def test_a_link_in_place_of_the_folder_is_not_followed(stand, logs, secret):
    (logs / NAME).symlink_to(secret)
    assert stand.refusal(f"/cycles/{begin(stand)}/log") == (404, "NOT_FOUND")


def test_a_link_or_anything_else_in_place_of_a_file_is_not_read(stand, folder, secret):
    (folder / "Collector.log").symlink_to(secret / "Collector.log")
    os.mkfifo(folder / "Pipe.log")
    (folder / "Folder.log").mkdir()
    (folder / "report.json").write_text("{}")
    cycle = begin(stand)
    assert log(stand, cycle) == {
        "cycle_id": cycle,
        "part": "Collector",
        "parts": [],
        "lines": [],
        "truncated": False,
    }
    for part in ("pipe", "folder", "report", "report.json", "../Collector", "Collector.log", "*"):
        assert stand.refusal(f"/cycles/{cycle}/log", part=part) == (400, "INVALID_PARAMETER")


def test_an_api_that_was_not_told_where_logs_are_says_so(stand):
    other = Stand(stand.database.url.render_as_string(hide_password=False))
    assert other.refusal(f"/cycles/{begin(other)}/log") == (404, "NOT_FOUND")
    other.close()


def test_an_answer_and_the_example_have_the_shape_that_the_document_promises(stand, folder):
    (folder / "Collector.log").write_text("line\n")
    document = stand.app.openapi()
    told = document["paths"]["/api/v1/cycles/{cycle_id}/log"]["get"]
    content = told["responses"]["200"]["content"]["application/json"]
    validator = Draft202012Validator({**content["schema"], "components": document["components"]})
    validator.validate(content["example"])
    validator.validate(stand.page(f"/cycles/{begin(stand)}/log"))
    assert [item["name"] for item in told["parameters"] if not item.get("description")] == []
