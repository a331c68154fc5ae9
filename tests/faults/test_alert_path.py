"""The whole way of alerts, as a person has it: collector, housekeeping and providers as real processes, bad weather.

Nothing is told while all is well. A storm raises exactly the alerts it should, a killed collector the loudest one, and
all of them are over when the weather is; the dead man's switch is called only while the collector works.
"""

import json
import signal

import pytest

from collector.simulator.faults import Fault, Faults
from tests.acceptance.conftest import simulator
from tests.acceptance.program import CLOCK, SMALL, Program, changed, wait_until
from tests.alerts.conftest import hook

__all__ = ["hook"]
pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

CANARY = "canary-5d1e8b"
SETTINGS = changed(SMALL, ("cadences", "market", "every"), "5s")
OKX_IS_DOWN = (Fault("error_503", "okx"), Fault("delisted", "binance_futures", "/fapi/v1/depth", probability=0.2))


@pytest.fixture
def venues():
    with simulator() as running:
        yield running


@pytest.fixture
def program(cluster, venues, tmp_path, hook):
    url = cluster.create_database()
    environment = {
        "COLLECTOR_ALERTS__ENABLED": "true",
        "COLLECTOR_ALERTS__EVERY": "1s",
        "COLLECTOR_ALERTS__CLEAR_AFTER": "2",
        "COLLECTOR_ALERTS__FAILING_PCT": "100",
        "COLLECTOR_ALERTS__SILENT_AFTER": "1m",
        "COLLECTOR_ALERTS__WITHOUT": "disk_horizon",  # of the machine that runs the tests
        "COLLECTOR_ALERTS__TARGETS__FILE": f"file://{tmp_path}/alerts.jsonl",
        "COLLECTOR_ALERTS__TARGETS__HOOK__URL": f"json://{hook.place}/{CANARY}",
        "COLLECTOR_ALERTS__PING__URL": f"http://{hook.place}/ping-{CANARY}",
    }
    yield Program(tmp_path / "program", addresses=venues.base_urls, url=url, settings=SETTINGS, **environment)
    cluster.drop(url)


def told(tmp_path):
    """Titles of what arrived in the file, without their beginning."""
    file = tmp_path / "alerts.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    titles = [json.loads(line)["title"] for line in lines]
    assert all(title.startswith("SIMULATED: Collector: ") for title in titles)
    return [title.removeprefix("SIMULATED: Collector: ") for title in titles]


def test_a_storm_and_a_crash_raise_exactly_their_alerts_and_all_of_them_end(program, venues, tmp_path, hook):
    with program.running("housekeep"), program.running("collect") as collector:
        wait_until(lambda: program.ended_cycles("market") >= 2, "cycles", 60)
        wait_until(lambda: told(tmp_path) == ["alerts arrive here"], "the self-test")
        wait_until(lambda: len(hook.asked) >= 2, "pings")

        venues.interceptor = Faults(OKX_IS_DOWN)
        storm = ["alerts arrive here", "warning: source_failing okx firing"]
        wait_until(lambda: told(tmp_path) == storm, "the alert of the storm", 60)
        found = program.run("alerts", "check", "--json")
        assert found.status == 1
        assert {(item["rule"], item["subject"]) for item in found.json["findings"]} == {("source_failing", "okx")}
        venues.interceptor = None
        calm = [*storm, "warning: source_failing okx over"]
        wait_until(lambda: told(tmp_path) == calm, "the end of the storm", 60)

        collector.kill()
        an_hour = "started_at = started_at - interval '1 h', finished_at = finished_at - interval '1 h'"
        program.rows(f"UPDATE cycles SET {an_hour}")  # as if it had died long ago
        crash = [*calm, "critical: collector_silent firing"]
        wait_until(lambda: told(tmp_path) == crash, "the alert of the crash")
        calls = len(hook.asked)
        wait_until(lambda: "collector_silent" in program.run("alerts").out, "the alert in the table")
        assert len(hook.asked) == calls, "the dead man's switch is called only while the collector works"
        with program.running("collect") as again:
            wait_until(
                lambda: told(tmp_path) == [*crash, "critical: collector_silent over"], "the end of the crash", 60
            )
            wait_until(lambda: len(hook.asked) > calls, "the ping is back")
            assert again.stop() == 0
    assert hook.titles() == [f"SIMULATED: Collector: {title}" for title in told(tmp_path)]
    assert [row for row in program.rows("SELECT rule, state, told FROM alerts") if row[0] != "self_test"] == [
        ("source_failing", "resolved", "resolved"),
        ("collector_silent", "resolved", "resolved"),
    ]
    check_that_no_address_is_shown(program, tmp_path)


def check_that_no_address_is_shown(program, tmp_path):
    shown = [program.run("config", "explain"), program.run("alerts", "--json"), program.run("alerts", "test")]
    texts = [part for result in shown for part in (result.out, result.err)]
    texts += [file.read_text(encoding="utf-8") for file in program.logs.rglob("*") if file.is_file()]
    texts += [file.read_text(encoding="utf-8") for file in program.folder.glob("stderr.*")]
    texts += [str(program.rows("SELECT * FROM alerts")), str(program.rows("SELECT * FROM alert_messages"))]
    assert [text for text in texts if CANARY in text] == []


def test_a_test_by_hand_fails_when_one_target_does_not_take_it(program, tmp_path, hook):
    sent = program.run("alerts", "test", "--json")
    assert (sent.status, sent.json["file"]["delivered"], sent.json["hook"]["delivered"]) == (0, True, True)
    hook.status = 500
    failed = program.run("alerts", "test")
    assert failed.status == 1
    assert "not delivered" in failed.out
    assert CANARY not in failed.out + failed.err
    assert told(tmp_path) == ["alerts arrive here", "alerts arrive here"]


def test_housekeeping_killed_at_any_moment_tells_each_alert_at_least_once_and_at_most_twice(program, tmp_path):
    program.rows(
        """
        INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated)
        VALUES ('market', 'ok', now() - interval '1 h', now() - interval '1 h', 'host:1', '', true)
        """
    )
    for wait_s in (3.0, 5.5, 7.0):
        with program.running("housekeep") as keeper:
            wait_until(keeper.alive, "it runs")
            CLOCK.sleep(wait_s)
            keeper.send(signal.SIGKILL)
    with program.running("housekeep"):
        silent = "critical: collector_silent firing"
        wait_until(lambda: silent in told(tmp_path), "the alert")
    assert 1 <= told(tmp_path).count(silent) <= 2
