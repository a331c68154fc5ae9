"""What ships around the program keeps its promises: image, compose file, service units, requirements, health check."""

import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
from configparser import RawConfigParser
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url, text

from collector import __version__, cli
from collector.clock import SystemClock
from collector.config import Settings, load_settings, parse_duration
from collector.config.loading import PLAIN_NAMES
from collector.errors import CollectorError
from collector.records import CycleReport, SourceReport
from collector.storage.database import Database
from collector.storage.embedded import find_postgres

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
ROOT_OF_UNITS = "/opt/crypto-data-collector"
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


UNITS = {file.name: unit(file.name) for file in sorted(DEPLOY.glob("*.service"))}
NAME = "crypto-data-collector"
SERVICE, ONCE = UNITS[f"{NAME}.service"], UNITS[f"{NAME}-once@.service"]
COLLECT, API, HOUSEKEEP = (UNITS[f"{NAME}-{part}.service"] for part in ("collect", "api", "housekeep"))
BACKUP = UNITS[f"{NAME}-backup.service"]
PROGRAM = ("upgrade", "collector", "api", "housekeeping")  # services that are our image


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
    assert json.loads(words["ENTRYPOINT"]) == ["tini", "--", "sh", "deploy/start.sh"]  # process 1 reaps
    assert "install -y --no-install-recommends tini" in DOCKERFILE
    assert json.loads(words["CMD"]) == ["run"]


def test_the_image_is_healthy_only_within_three_market_cycles():
    (check,) = [argument for word, argument in instructions(DOCKERFILE) if word == "HEALTHCHECK"]
    command = json.loads(check.partition("CMD ")[2])
    assert command[1:3] == ["deploy/healthcheck.py", "logs"]
    assert timedelta(seconds=int(command[-1])) >= 3 * MARKET.every
    assert timedelta(seconds=int(command[-1])) > MARKET.every + MARKET.deadline
    collector = COMPOSE["services"]["collector"]["healthcheck"]["test"]
    assert collector[-2:] == ["logs", command[-1]]


def started(folder, *, user_may_write, **environment):
    """What start.sh hands to the program: its words and settings; `python` is a program that prints them."""
    app, bin_ = folder / "app", folder / "bin"
    (app / "deploy").mkdir(parents=True)
    bin_.mkdir()
    if user_may_write:
        (app / "data").mkdir()
    (bin_ / "python").write_text('#!/bin/sh\necho "$@"; env\n')
    (bin_ / "python").chmod(0o755)
    path = f"{bin_}:/usr/bin:/bin"
    done = subprocess.run(
        ["sh", DEPLOY / "start.sh", "api", "--attached"],
        cwd=app,
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    words, *lines = done.stdout.splitlines()
    own = dict(line.split("=", 1) for line in lines if line.startswith("COLLECTOR_"))
    return words, own


def test_the_image_writes_into_its_own_folders_when_it_may(tmp_path):
    assert started(tmp_path, user_may_write=True) == ("main.py api --attached", {})


def test_a_user_who_may_not_gets_folders_on_the_disk_or_in_tmp(tmp_path):
    """Without a home, as on hosted spaces."""
    disk, temporary = tmp_path / "disk", tmp_path / "tmp"
    temporary.mkdir()
    places = {"PERSISTENT": str(disk), "TMPDIR": str(temporary)}
    _, own = started(tmp_path / "a", user_may_write=False, **places)
    assert own == {
        "COLLECTOR_DATA_DIR": f"{temporary}/collector/data",
        "COLLECTOR_LOGS__DIRECTORY": f"{temporary}/collector/logs",
    }
    disk.mkdir()
    _, own = started(tmp_path / "b", user_may_write=False, COLLECTOR_LOGS__DIRECTORY="/x", **places)
    assert own == {"COLLECTOR_DATA_DIR": f"{disk}/collector/data", "COLLECTOR_LOGS__DIRECTORY": "/x"}
    _, own = started(tmp_path / "c", user_may_write=False, COLLECTOR_DATA_DIR="/mine", **places)
    assert own == {"COLLECTOR_DATA_DIR": "/mine"}


def test_the_image_knows_the_user_of_hosted_spaces():
    """initdb refuses a number without a name."""
    assert {"10001", "1000"} == set(re.findall(r"useradd --uid (\d+)", DOCKERFILE))


# --------------------------------------------------------------------------- hosted space


def test_the_space_s_readme_begins_with_what_the_host_reads():
    text = (DEPLOY / "space" / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    matter = yaml.safe_load(front)
    assert (matter["sdk"], matter["app_port"]) == ("docker", Settings.model_fields["api"].default.port)
    assert {"title", "emoji", "colorFrom", "colorTo", "pinned", "license"} <= set(matter)
    assert len(matter["short_description"]) <= 60
    assert f"EXPOSE {matter['app_port']}" in DOCKERFILE
    assert set(PLAIN_NAMES) <= set(re.findall(r"`([A-Z_]+)`", body))


def test_a_space_is_put_together_of_all_that_its_dockerfile_copies(tmp_path):
    space = tmp_path / "space"
    (space / "collector").mkdir(parents=True)
    (space / "collector" / "of_an_older_release.py").write_text("")
    subprocess.run(["sh", DEPLOY / "space" / "make.sh", space], check=True, capture_output=True)
    for word, argument in instructions((space / "Dockerfile").read_text()):
        if word == "COPY" and "--from" not in argument:
            assert [name for name in argument.split()[:-1] if not (space / name).exists()] == []
    assert (space / "README.md").read_text().startswith("---\n")
    assert not (space / "collector" / "of_an_older_release.py").exists()
    assert not list(space.rglob("*.env")) + list(space.rglob("secrets"))


# --------------------------------------------------------------------------- compose


def test_compose_gives_secrets_as_files_and_none_as_a_variable():
    assert "${" not in COMPOSE_TEXT
    for service in COMPOSE["services"].values():
        assert "env_file" not in service  # `docker inspect` shows variables
        for name, value in service.get("environment", {}).items():
            secret = any(word in name for word in ("PASSWORD", "KEY", "URL", "TOKEN"))
            assert not secret or (name.endswith("_FILE") and value.startswith("/run/secrets/")), name
    named = {file["file"] for file in COMPOSE["secrets"].values()}
    assert all(name.startswith("./secrets/") for name in named)
    assert "secrets/" in (ROOT / ".gitignore").read_text().split()


def test_every_secret_that_a_service_reads_is_mounted_there():
    for name, service in COMPOSE["services"].items():
        mounted = {item if isinstance(item, str) else item["source"] for item in service.get("secrets", ())}
        assert mounted <= set(COMPOSE["secrets"])
        for value in service.get("environment", {}).values():
            if str(value).startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in mounted, name


def test_the_secrets_are_made_once_and_fit_together(tmp_path):
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run(["sh", DEPLOY / "make-secrets.sh", folder], check=True, capture_output=True)
        found = {file.name: file.read_text() for file in folder.iterdir()}
        assert set(found) == {Path(item["file"]).name for item in COMPOSE["secrets"].values()}
    again = {file.name: file.read_text() for file in folder.iterdir()}
    assert again == found
    assert folder.stat().st_mode & 0o077 == 0
    assert re.fullmatch(r"[0-9a-f]{48}", found["database_password"])
    assert found["database_password"] != found["api_password"]
    for url, password in (("database_url", "database_password"), ("api_database_url", "api_password")):
        settings, _ = load_settings(environment={"COLLECTOR_DATABASE__URL_FILE": str(folder / url)})
        address = make_url(settings.database.url.get_secret_value())
        assert (address.password, address.host, address.database) == (found[password], "database", "collector")
        assert address.host in COMPOSE["services"]


def test_the_api_s_role_can_read_what_the_collector_makes_and_write_nothing(database_url, tmp_path):
    """The script of the database's image, run with a psql, before there is any table."""
    psql, url = find_postgres().program("psql"), make_url(database_url)
    host = {"PGHOST": url.host or url.query["host"], "PGPORT": str(url.port or url.query["port"])}
    role = f"api_{database_url.rpartition('/')[2].partition('?')[0]}"
    script = (DEPLOY / "initdb" / "10-api-role.sh").read_text(encoding="utf-8").replace("collector_api", role)
    (tmp_path / "password").write_text("it's $secret")
    script = script.replace("/run/secrets/api_password", str(tmp_path / "password"))
    own = {"POSTGRES_USER": url.username, "POSTGRES_DB": url.database, "PATH": f"{psql.parent}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", script], env={**host, **own}, check=True, capture_output=True)
    database = Database(database_url, clock=SystemClock())
    database.upgrade()
    as_role = Database(url.set(username=role).render_as_string(hide_password=False), clock=SystemClock())
    with as_role.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM cycles")).scalar() == 0
        privileges = "SELECT has_table_privilege('candles', 'SELECT'), has_table_privilege('candles', 'INSERT')"
        assert connection.execute(text(privileges)).one() == (True, False)
    with pytest.raises(CollectorError), as_role.transaction() as connection:
        connection.execute(text("DELETE FROM cycles"))
    as_role.close()
    with database.transaction() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))
    database.close()


def test_compose_pins_the_database_and_starts_the_others_after_its_tables():
    services = COMPOSE["services"]
    assert re.fullmatch(r"timescale/timescaledb:\d+\.\d+\.\d+-pg\d+", services["database"]["image"])
    assert "pg_isready" in services["database"]["healthcheck"]["test"]
    assert "127.0.0.1" in services["database"]["healthcheck"]["test"]  # a half-made one answers over the socket too
    assert services["upgrade"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for name in ("collector", "api", "housekeeping"):
        assert services[name]["depends_on"] == {"upgrade": {"condition": "service_completed_successfully"}}


def test_services_run_commands_that_exist():
    parser = cli.build_parser()
    commands = {name: parser.parse_args(COMPOSE["services"][name]["command"]).command for name in PROGRAM}
    assert commands == {"upgrade": "db_upgrade", "collector": "collect", "api": "api", "housekeeping": "housekeep"}
    for name, found in UNITS.items():
        words = found["ExecStart"][0].partition("main.py ")[2].replace("%i", "market").split()
        assert parser.parse_args(words).command, name


PORTS = {"api": ["127.0.0.1:8000:8000"]}  # for this machine only


@pytest.mark.parametrize("name", ["database", *PROGRAM])
def test_every_service_is_bounded_and_comes_back(name):
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("on-failure:5" if name == "upgrade" else "unless-stopped")
    assert service.get("ports", []) == PORTS.get(name, [])
    assert service["read_only"] is True
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["healthcheck"].get("test") or name == "upgrade"
    assert "privileged" not in service


def test_the_database_is_on_a_network_without_a_way_out():
    networks = {name: service["networks"] for name, service in COMPOSE["services"].items()}
    assert networks["database"] == networks["upgrade"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}
    assert all(networks[name] == ["database", "outside"] for name in ("collector", "api", "housekeeping"))


@pytest.mark.parametrize("name", PROGRAM)
def test_a_container_of_ours_writes_to_its_volumes_only(name):
    service = COMPOSE["services"][name]
    assert "cap_add" not in service
    assert "init" not in service  # the image has its own
    writable = [place.split(":")[1] for place in service["volumes"] if not place.endswith(":ro")]
    assert sorted(writable) == ["/app/data", "/app/logs"]


def test_compose_builds_the_version_of_the_program():
    assert {COMPOSE["services"][name]["image"] for name in PROGRAM} == {f"crypto-data-collector:{__version__}"}
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# --------------------------------------------------------------------------- systemd


@pytest.mark.parametrize("found", [SERVICE, COLLECT], ids=["all in one", "only collecting"])
def test_the_watchdog_waits_longer_than_a_stored_cycle_can_take(found):
    (watchdog,) = map(span, found["WatchdogSec"])
    longest = max(cadence.deadline for cadence in CADENCES.values())
    assert watchdog > 3 * MARKET.every
    assert watchdog > longest + MARKET.every + MARKET.deadline


@pytest.mark.parametrize("found", [SERVICE, COLLECT], ids=["all in one", "only collecting"])
def test_the_service_says_when_it_is_ready_and_is_restarted_unless_that_is_no_use(found):
    assert found["Type"] == ["notify"]
    assert found["NotifyAccess"] == ["main"]
    assert found["Restart"] == ["on-failure"]
    assert found["RestartPreventExitStatus"] == [f"{cli.USAGE} {cli.LOCKED}"]
    assert ONCE["SuccessExitStatus"] == [str(cli.LOCKED)]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_unprivileged_with_folders_of_its_own(name):
    found = UNITS[name]
    assert found["User"] == ["collector"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["ProtectSystem"] == ["strict"]
    assert "RemoveIPC" not in found  # it would take the memory of a server that another unit runs
    assert "MemoryMax" in found
    assert found["KillMode"] == ["mixed"]  # the collector stops its own database
    environment = dict(pair.split("=") for line in found["Environment"] for pair in line.split())
    assert environment["COLLECTOR_DATA_DIR"] == f"/var/lib/{found['StateDirectory'][0]}"
    assert environment["COLLECTOR_LOGS__DIRECTORY"] == f"/var/log/{found['LogsDirectory'][0]}"
    own = {key: value for key, value in environment.items() if key.startswith("COLLECTOR_")}
    settings, _ = load_settings(environment=own)
    assert str(settings.data_dir) == environment["COLLECTOR_DATA_DIR"]
    assert str(settings.logs.directory) == environment["COLLECTOR_LOGS__DIRECTORY"]


def test_the_ways_to_run_exclude_each_other():
    """All in one, in parts, or single cycles by timers: a start of one ends the others."""
    parts = {f"{NAME}-{part}.service" for part in ("collect", "api", "housekeep")}
    timers = {f"{NAME}-once@{cadence}.timer" for cadence in CADENCES}
    assert set(SERVICE["Conflicts"][0].split()) == parts | timers
    assert set(COLLECT["Conflicts"][0].split()) == {f"{NAME}.service", *timers}
    assert API["Conflicts"] == HOUSEKEEP["Conflicts"] == [f"{NAME}.service"]
    assert "Conflicts" not in BACKUP
    for beside in (API, HOUSEKEEP):
        assert f"{NAME}-collect.service" in beside["After"][0].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_fault_and_little_exposure(name, tmp_path):
    file = tmp_path / name.replace("@.", "@market.")
    words = (DEPLOY / name).read_text().replace(ROOT_OF_UNITS, str(tmp_path))
    program = tmp_path / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    file.write_text(words)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
    )
    assert [line for line in checked.stderr.splitlines() if NAME in line] == []
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-300:]  # an exposure of 2.0 or less


def test_stopping_gets_more_time_than_a_clean_stop_needs():
    assert span(SERVICE["TimeoutStopSec"][0]) >= timedelta(seconds=30)
    assert span(COMPOSE["services"]["collector"]["stop_grace_period"]) >= timedelta(seconds=30)
    assert span(COLLECT["TimeoutStopSec"][0]) >= timedelta(seconds=30)


def test_a_single_cycle_may_take_as_long_as_its_cadence_allows():
    assert span(ONCE["TimeoutStartSec"][0]) > max(cadence.deadline for cadence in CADENCES.values())


def test_there_is_a_timer_for_every_cadence():
    timers = {file.name.partition("@")[2].removesuffix(".timer") for file in DEPLOY.glob("*@*.timer")}
    assert timers == set(CADENCES)
    assert (DEPLOY / f"{NAME}-backup.timer").exists()


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
    assert load_health_check().verdict([tmp_path], timedelta(minutes=15), NOW)[0] == status


def test_health_looks_past_running_and_fruitless_cycles(tmp_path):
    leave_report(tmp_path, NOW - timedelta(minutes=10), {"candles": 1})
    leave_report(tmp_path, NOW - timedelta(minutes=5), {})
    (tmp_path / "cycle_2026-03-11_14-37-40_market").mkdir()
    (tmp_path / "latest").symlink_to("cycle_2026-03-11_14-37-40_market")
    assert load_health_check().verdict([tmp_path], timedelta(minutes=15), NOW) == (
        0,
        "last cycle that stored rows ended 600 s ago",
    )


def test_a_long_cycle_counts_from_its_end_even_when_a_later_one_started_after_it(tmp_path):
    leave_report(tmp_path, NOW - timedelta(minutes=2), {"candles": 1}, "daily")
    leave_report(tmp_path, NOW - timedelta(minutes=20), {"candles": 1}, "market")
    assert load_health_check().last_stored(tmp_path) == NOW - timedelta(minutes=2)


def test_health_of_a_collector_that_never_stored_is_bad(tmp_path):
    assert load_health_check().verdict([tmp_path], timedelta(minutes=15), NOW)[0] == 1


def test_the_health_check_runs_alone_without_any_package(tmp_path):
    leave_report(tmp_path, datetime.now(UTC) - timedelta(seconds=3), {"tickers": 1})  # noqa: TID251 - a real process
    command = [sys.executable, "-I", "-S", DEPLOY / "healthcheck.py", tmp_path, "900"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"last cycle that stored rows ended \d+ s ago\n", done.stdout)


def test_the_health_check_reads_the_report_that_a_cycle_writes():
    assert {"finished_at", "sources"} <= set(CycleReport.__dataclass_fields__)
    assert "rows" in SourceReport.__dataclass_fields__


class Answer(BaseHTTPRequestHandler):
    told = b"{}"

    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
        self.wfile.write(self.told)

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.parametrize(
    ("told", "status"),
    [(b'{"status":"healthy"}', 0), (b'{"status":"degraded"}', 0), (b'{"status":"unhealthy"}', 1), (b"no json", 1)],
)
def test_the_api_is_healthy_when_it_says_that_it_can_answer(told, status):
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Answer,), {"told": told})) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        assert load_health_check().api_verdict(server.server_port)[0] == status
        server.shutdown()
    assert load_health_check().api_verdict(server.server_port)[0] == 1  # nobody listens any more


def test_a_process_is_known_by_its_command_line(tmp_path):
    for number, words in (("12", b"python\0main.py\0housekeep\0"), ("13", b"vi\0housekeep\0"), ("14", b"")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes(words)
    check = load_health_check()
    assert check.process_verdict("housekeep", tmp_path) == (0, "housekeep runs as process 12")
    (tmp_path / "12" / "cmdline").write_bytes(b"")  # it ended, and was not reaped
    assert check.process_verdict("housekeep", tmp_path)[0] == 1


# --------------------------------------------------------------------------- inventory of packages


@pytest.mark.skipif(shutil.which("cyclonedx-py", path=Path(sys.executable).parent) is None, reason="needs cyclonedx-py")
def test_the_inventory_of_packages_is_what_is_installed(tmp_path):
    """What `make sbom` writes, which checks it against the standard's schema too: 20 s of work that changes nothing."""
    file, tool = tmp_path / "sbom.json", Path(sys.executable).with_name("cyclonedx-py")
    options = ["--spec-version", "1.6", "--output-format", "JSON", "--output-reproducible", "--no-validate"]
    subprocess.run([tool, "environment", *options, "-o", file, sys.executable], check=True, capture_output=True)
    told = json.loads(file.read_text(encoding="utf-8"))
    listed = sorted((plain_name(item["name"]), item["version"]) for item in told["components"])
    real = {(plain_name(found.metadata["Name"]), found.version) for found in importlib.metadata.distributions()}
    assert told["specVersion"] == "1.6"
    assert listed == sorted(real)


def plain_name(name):
    return re.sub(r"[-_.]+", "-", name).lower()
