"""What ships around the program keeps its promises: image, compose file, service units, requirements, health check."""

import importlib.util
import json
import re
import subprocess
import sys
from configparser import RawConfigParser
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from collector import __version__, cli
from collector.config import load_settings, parse_duration
from collector.records import CycleReport, SourceReport

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
CADENCES = load_settings(environment={})[0].cadences
MARKET = next(iter(CADENCES.values()))
NOW = datetime(2026, 3, 11, 14, 37, 42, tzinfo=UTC)


def instructions(text: str) -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def unit(name: str) -> dict[str, list[str]]:
    """Every key of a unit with all its values, whatever its section."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines():
        key, is_pair, value = line.partition("=")
        if is_pair and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


SERVICE, ONCE = unit("crypto-data-collector.service"), unit("crypto-data-collector-once@.service")


def span(text: str) -> timedelta:
    return parse_duration(re.sub(r"min$", "m", text))


# --------------------------------------------------------------------------- image


def test_the_image_ends_as_a_numbered_user_that_is_not_root():
    users = [argument for word, argument in instructions(DOCKERFILE) if word == "USER"]
    assert users[-1] == "10001:10001"
    last_user = max(i for i, (word, _) in enumerate(instructions(DOCKERFILE)) if word == "USER")
    assert all(word not in {"RUN", "COPY", "ADD"} for word, _ in instructions(DOCKERFILE)[last_user:])


def test_both_stages_start_from_the_same_image_so_that_the_environment_still_fits():
    bases = [argument.split()[0] for word, argument in instructions(DOCKERFILE) if word == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11-slim(-\w+)?", bases[0])


def test_the_image_installs_hashed_wheels_only():
    installs = [line.split() for line in re.findall(r"pip install ([^\n]*)", DOCKERFILE)]
    assert [[word for word in words if word.endswith(".txt")] for words in installs] == [
        ["requirements.txt"],
        ["requirements-analytics.txt"],
    ]
    assert all({"--require-hashes", "--only-binary"} <= set(words) for words in installs)


def test_no_secret_reaches_a_layer():
    assert [word for word, _ in instructions(DOCKERFILE) if word in {"ARG", "ADD"}] == []
    copied = [argument for word, argument in instructions(DOCKERFILE) if word == "COPY"]
    assert [argument for argument in copied if re.search(r"(^|\s)\.(/|\s)|\.env", argument.rpartition(" ")[0])] == []


def test_only_what_the_image_copies_leaves_the_folder():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    sources = {
        source.removeprefix("./")
        for word, argument in instructions(DOCKERFILE)
        if word == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    }
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_has_what_the_program_needs_to_start():
    copied = " ".join(argument for word, argument in instructions(DOCKERFILE) if word == "COPY")
    for needed in ("main.py", "alembic.ini", "config", "migrations", "collector"):
        assert needed in copied.split()


def test_the_image_stops_politely_and_keeps_its_data():
    words = dict(instructions(DOCKERFILE))
    assert words["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(words["VOLUME"]) == ["/app/data", "/app/logs"]
    assert json.loads(words["ENTRYPOINT"]) == ["python", "main.py"]


def test_the_image_is_healthy_only_within_three_market_cycles():
    (check,) = [argument for word, argument in instructions(DOCKERFILE) if word == "HEALTHCHECK"]
    command = json.loads(check.partition("CMD ")[2])
    assert command[1:3] == ["deploy/healthcheck.py", "logs"]
    assert timedelta(seconds=int(command[3])) >= 3 * MARKET.every
    assert timedelta(seconds=int(command[3])) > MARKET.every + MARKET.deadline


# --------------------------------------------------------------------------- compose


def test_compose_holds_no_password_and_has_no_default_for_one():
    places = re.findall(r"\$\{([^}]*)\}", COMPOSE_TEXT)
    assert len(places) == 2
    assert all(place.startswith("POSTGRES_PASSWORD:?") for place in places)
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            secret = "PASSWORD" in name or "KEY" in name or name.endswith("URL")
            assert not secret or "${POSTGRES_PASSWORD:?" in value


def test_compose_pins_the_database_and_waits_until_it_is_healthy():
    database, collector = COMPOSE["services"]["database"], COMPOSE["services"]["collector"]
    assert re.fullmatch(r"timescale/timescaledb:\d+\.\d+\.\d+-pg\d+", database["image"])
    assert "pg_isready" in database["healthcheck"]["test"]
    assert "127.0.0.1" in database["healthcheck"]["test"]  # over the socket a half-made database answers too
    assert collector["depends_on"] == {"database": {"condition": "service_healthy"}}


PORTS = {"collector": ["127.0.0.1:8000:8000"]}  # the data API, for this machine only


@pytest.mark.parametrize("name", ["database", "collector"])
def test_every_service_is_bounded_and_comes_back(name):
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service.get("ports", []) == PORTS.get(name, [])
    assert "privileged" not in service


def test_the_collector_s_container_writes_to_its_volumes_only():
    collector = COMPOSE["services"]["collector"]
    assert collector["read_only"] is True
    assert collector["init"] is True
    assert "cap_add" not in collector
    writable = [place.split(":")[1] for place in collector["volumes"] if not place.endswith(":ro")]
    assert sorted(writable) == ["/app/data", "/app/logs"]


def test_compose_builds_the_version_of_the_program():
    assert COMPOSE["services"]["collector"]["image"].endswith(f":{__version__}")
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# --------------------------------------------------------------------------- systemd


def test_the_watchdog_waits_longer_than_a_stored_cycle_can_take():
    (watchdog,) = map(span, SERVICE["WatchdogSec"])
    longest = max(cadence.deadline for cadence in CADENCES.values())
    assert watchdog > 3 * MARKET.every
    assert watchdog > longest + MARKET.every + MARKET.deadline


def test_the_service_says_when_it_is_ready_and_is_restarted_unless_that_is_no_use():
    assert SERVICE["Type"] == ["notify"]
    assert SERVICE["NotifyAccess"] == ["main"]
    assert SERVICE["Restart"] == ["on-failure"]
    assert SERVICE["RestartPreventExitStatus"] == [f"{cli.USAGE} {cli.LOCKED}"]
    assert ONCE["SuccessExitStatus"] == [str(cli.LOCKED)]


@pytest.mark.parametrize("found", [SERVICE, ONCE], ids=["service", "once"])
def test_a_unit_runs_unprivileged_with_folders_of_its_own(found):
    assert found["User"] == ["collector"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["ProtectSystem"] == ["strict"]
    assert found["KillMode"] == ["mixed"]  # the collector stops its own database
    environment = dict(pair.split("=") for line in found["Environment"] for pair in line.split())
    assert environment["COLLECTOR_DATA_DIR"] == f"/var/lib/{found['StateDirectory'][0]}"
    assert environment["COLLECTOR_LOGS__DIRECTORY"] == f"/var/log/{found['LogsDirectory'][0]}"
    own = {key: value for key, value in environment.items() if key.startswith("COLLECTOR_")}
    settings, _ = load_settings(environment=own)
    assert str(settings.data_dir) == environment["COLLECTOR_DATA_DIR"]
    assert str(settings.logs.directory) == environment["COLLECTOR_LOGS__DIRECTORY"]


def test_stopping_gets_more_time_than_a_clean_stop_needs():
    assert span(SERVICE["TimeoutStopSec"][0]) >= timedelta(seconds=30)
    assert span(COMPOSE["services"]["collector"]["stop_grace_period"]) >= timedelta(seconds=30)


def test_a_single_cycle_may_take_as_long_as_its_cadence_allows():
    assert span(ONCE["TimeoutStartSec"][0]) > max(cadence.deadline for cadence in CADENCES.values())


def test_there_is_a_timer_for_every_cadence():
    timers = {file.name.partition("@")[2].removesuffix(".timer") for file in DEPLOY.glob("*@*.timer")}
    assert timers == set(CADENCES)


def test_units_are_written_in_sections():
    for file in [*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")]:
        parser = RawConfigParser(strict=False)
        parser.read_string(file.read_text(encoding="utf-8"))
        assert "Unit" in parser.sections(), file.name


# --------------------------------------------------------------------------- requirements


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_installed_package_is_pinned_and_hashed(name):
    text = (ROOT / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) >= 10
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^\s;]+", line), line[:80]
        assert "--hash=sha256:" in line, line[:80]


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_chosen_package_has_a_reason_and_is_locked(name):
    locked = (ROOT / f"{name}.txt").read_text(encoding="utf-8").lower()
    before = ""
    for line in (ROOT / f"{name}.in").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-")):
            wanted, _, reason = line.partition(" #")
            package = re.match(r"[A-Za-z0-9._-]+", wanted)[0].lower().replace("_", "-")
            explained_above = ";" in wanted and before.startswith("#")  # a line with a marker has no room for it
            assert reason.strip() or explained_above, f"{package} has no reason"
            assert re.search(rf"^{re.escape(package)}(\[[\w,-]+\])?==", locked, re.MULTILINE), (
                f"{package} is not locked"
            )
        before = line


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


# --------------------------------------------------------------------------- health check


def load_health_check():
    spec = importlib.util.spec_from_file_location("healthcheck", DEPLOY / "healthcheck.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leave_report(folder: Path, ended: datetime, rows: dict[str, int], cadence: str = "market") -> None:
    cycle = folder / f"cycle_{ended:%Y-%m-%d_%H-%M-%S}_{cadence}"
    cycle.mkdir(parents=True)
    report = {"finished_at": ended.isoformat(), "sources": [{"source": "okx", "rows": rows}]}
    (cycle / "report.json").write_text(json.dumps(report))


@pytest.mark.parametrize(
    ("age", "rows", "status"),
    [
        (timedelta(minutes=4), {"tickers": 3}, 0),
        (timedelta(minutes=15), {"tickers": 3}, 0),
        (timedelta(minutes=15, seconds=1), {"tickers": 3}, 1),
        (timedelta(minutes=4), {}, 1),
        (timedelta(minutes=4), {"tickers": 0}, 1),
    ],
)
def test_health_needs_a_recent_cycle_that_stored_rows(tmp_path, age, rows, status):
    leave_report(tmp_path, NOW - age, rows)
    assert load_health_check().verdict(tmp_path, timedelta(minutes=15), NOW)[0] == status


def test_health_looks_past_running_and_fruitless_cycles(tmp_path):
    leave_report(tmp_path, NOW - timedelta(minutes=10), {"candles": 1})
    leave_report(tmp_path, NOW - timedelta(minutes=5), {})
    (tmp_path / "cycle_2026-03-11_14-37-40_market").mkdir()
    (tmp_path / "latest").symlink_to("cycle_2026-03-11_14-37-40_market")
    assert load_health_check().verdict(tmp_path, timedelta(minutes=15), NOW) == (
        0,
        "last cycle that stored rows ended 600 s ago",
    )


def test_a_long_cycle_counts_from_its_end_even_when_a_later_one_started_after_it(tmp_path):
    leave_report(tmp_path, NOW - timedelta(minutes=2), {"candles": 1}, "daily")
    leave_report(tmp_path, NOW - timedelta(minutes=20), {"candles": 1}, "market")
    assert load_health_check().last_stored(tmp_path) == NOW - timedelta(minutes=2)


def test_health_of_a_collector_that_never_stored_is_bad(tmp_path):
    assert load_health_check().verdict(tmp_path, timedelta(minutes=15), NOW)[0] == 1


def test_the_health_check_runs_alone_without_any_package(tmp_path):
    leave_report(tmp_path, datetime.now(UTC) - timedelta(seconds=3), {"tickers": 1})  # noqa: TID251 - a real process
    command = [sys.executable, "-I", "-S", DEPLOY / "healthcheck.py", tmp_path, "900"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"last cycle that stored rows ended \d+ s ago\n", done.stdout)


def test_the_health_check_reads_the_report_that_a_cycle_writes():
    assert {"finished_at", "sources"} <= set(CycleReport.__dataclass_fields__)
    assert "rows" in SourceReport.__dataclass_fields__
