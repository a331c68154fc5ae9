"""The demo in bad weather, as a person starts it: it ends well and says what the weather cost."""

import pytest

from tests.acceptance.program import SOURCES, Program

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def test_the_demo_survives_the_storm_and_tells_what_was_lost_and_healed(tmp_path):
    program = Program(tmp_path, addresses=dict.fromkeys(SOURCES, ""))
    for name in [name for name in program.environment if name.startswith("COLLECTOR_")]:
        del program.environment[name]
    # The demo keeps its own folders under these two.
    folders = {"COLLECTOR_DATA_DIR": str(tmp_path / "data"), "COLLECTOR_LOGS__DIRECTORY": str(tmp_path / "logs")}
    shown = program.run("demo", "--faults", "storm", "--cycles", "2", config=False, limit_s=240, **folders)
    assert shown.status == 0, shown.err
    said = shown.out + shown.err
    assert "Traceback" not in said
    lines = said.splitlines()
    start = next(place for place, line in enumerate(lines) if line.endswith("what the weather cost:"))
    rows = [line.split() for line in lines[start + 2 :] if line.split()[:1] and line.split()[0].isdecimal()]
    assert {row[1] for row in rows} == {"market", "hourly", "daily"}
    assert sum(int(row[5]) for row in rows) > 0, "a storm costs jobs"
    head = next(place for place, line in enumerate(lines) if "snapshots lost" in line)
    bill = [line.split() for line in lines[head + 1 :] if line.split()[:1] and line.split()[0] in SOURCES]
    assert all(len(row) == 8 for row in bill)
    assert any(int(row[4]) for row in bill), "snapshots are lost in a storm"
    assert all(int(row[4]) <= int(row[3]) <= int(row[2]) for row in bill)
    assert any(line.startswith("windows still to be healed: ") for line in lines)
    assert any("the simulated providers misbehaved in " in line for line in lines)


def test_a_storm_that_nobody_knows_is_refused_in_one_line(tmp_path):
    program = Program(tmp_path, addresses=dict.fromkeys(SOURCES, ""))
    refused = program.run("simulate", "--faults", "drizzle", config=False)
    assert refused.status == 2
    assert refused.complaint == "collector: --faults: 'drizzle' is no script of faults; use one of storm"
