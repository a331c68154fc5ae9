"""The API as a process: beside the collector, alone, and in the demo; it ends with the collector and never ends it."""

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.program import CLOCK, REPOSITORY, SMALL, changed, plain_environment, wait_until
from tests.api.streaming import Events

WITH_API = {"COLLECTOR_API__ENABLED": "true", "COLLECTOR_API__PORT": "0"}
ADDRESS = re.compile(r"^data API: (http://127\.0\.0\.1:\d+)/docs$", re.MULTILINE)
RARE = changed(SMALL, ["cadences", "market", "every"], "1h")


def address(process, number=1):
    """The address that the API has printed, the last of so many starts."""
    return wait_until(lambda: (found := ADDRESS.findall(process.err))[number - 1 :] and found[-1], "the API's address")


def get(url):
    with httpx2.Client(timeout=10) as client:
        return client.get(url)


def answers(url):
    try:
        return get(f"{url}/api/health").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_run_serves_what_it_collects_and_both_end_with_one_signal(install, venues, number):
    program = install(venues.base_urls)
    with program.running("run", **WITH_API) as daemon:
        url = address(daemon)
        health = get(f"{url}/api/health").json()
        assert health["simulated"] is True
        with httpx2.Client(timeout=30) as client, client.stream("GET", f"{url}/api/v1/stream?kinds=tickers") as answer:
            events = Events(answer)
            assert events.next().data["simulated"] is True
            news = events.next()  # of the next cycle: one starts every two seconds
            assert news.data["rows"][0]["cycle_id"] > 0
            began = CLOCK.monotonic()
            daemon.send(number)
            end, _ = events.until("end")
            assert CLOCK.monotonic() - began < 2
            assert "server stops" in end.data["reason"]
        assert daemon.ended(10) == 0
        assert not answers(url)
        assert "Traceback" not in daemon.err
    assert "running" not in {state for _, state in program.cycles()}
    assert (program.logs / "api.log").read_text(encoding="utf-8").count("request") >= 2


def test_the_api_ends_when_the_collector_is_killed(install, venues):
    program = install(venues.base_urls, settings=RARE)
    with program.running("run", **WITH_API) as daemon:
        url = address(daemon)
        daemon.kill()
        wait_until(lambda: not answers(url), "the end of the API", 10)


def test_the_collector_outlives_the_api_and_starts_it_again(install, venues):
    program = install(venues.base_urls, settings=RARE)
    with program.running("run", **WITH_API) as daemon:
        url = address(daemon)
        wait_until(lambda: answers(url), "the API")
        for pid in children(daemon.pid, "--attached"):
            subprocess.run(["kill", "-9", str(pid)], check=True)
        again = address(daemon, 2)
        wait_until(lambda: answers(again), "the API")
        assert "WARNING Collector api_ended status=-9" in daemon.err
        assert daemon.stop() == 0


def children(pid, word):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid and word in words:
                found.append(int(folder.name))
    return found


def test_a_port_that_is_taken_is_one_line_and_keeps_nobody_from_collecting(install, venues):
    program = install(venues.base_urls, settings=RARE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = program.run("api", COLLECTOR_API__PORT=port)
        assert refused.status == 2
        line = rf"collector: api\.port: {port} on 127\.0\.0\.1 cannot be used \(.*\); .*PORT.*"
        assert re.fullmatch(line, refused.complaint)
        with program.running("run", **{**WITH_API, "COLLECTOR_API__PORT": port}) as daemon:
            wait_until(lambda: program.ended_cycles("daily"), "the first cycles")
            wait_until(lambda: "api_ended status=2" in daemon.err, "the warning")
            assert daemon.err.count("cannot be used") == 1
            assert daemon.stop() == 0
    assert {state for _, state in program.cycles()} == {"ok"}


def test_the_api_alone_serves_what_is_stored(install, venues):
    program = install(venues.base_urls)
    assert program.run("once", "--cadence", "daily").status == 0
    with program.running("api", **WITH_API) as alone:
        url = address(alone)
        health = get(f"{url}/api/health")
        assert health.status_code == 200
        assert get(f"{url}/openapi.json").json()["paths"]["/api/v1/stream"]
        assert alone.stop() == 0
        assert "SIMULATED" in alone.err


def test_the_api_alone_makes_no_tables(install, venues, cluster):
    program = install(venues.base_urls)
    empty = cluster.create_database("template1")
    refused = program.run("api", COLLECTOR_DATABASE__URL=empty, COLLECTOR_API__PORT="0")
    assert refused.status == 2
    assert "has no tables yet; start the collector once (python main.py run)" in refused.complaint
    cluster.drop(empty)


def test_collect_is_the_collector_without_the_api(install, venues):
    program = install(venues.base_urls, settings=RARE)
    with program.running("collect", **WITH_API) as daemon:
        wait_until(lambda: program.ended_cycles("daily"), "the first cycles")
        assert children(daemon.pid, "--attached") == []
        assert daemon.stop() == 0
        assert "data API" not in daemon.err


def test_the_demo_serves_its_made_up_market_and_shares_its_embedded_database(tmp_path):
    folders = {"COLLECTOR_DATA_DIR": str(tmp_path / "data"), "COLLECTOR_LOGS__DIRECTORY": str(tmp_path / "logs")}
    err = tmp_path / "stderr"
    environment = {**plain_environment(), **folders, **WITH_API}
    with err.open("w", encoding="utf-8") as file:
        demo = subprocess.Popen(
            [sys.executable, "main.py", "demo"], cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stderr=file
        )
    try:
        found = wait_until(lambda: ADDRESS.findall(err.read_text(encoding="utf-8")), "the API's address", 60)
        wait_until(lambda: answers(found[0]), "the API")
        assert get(f"{found[0]}/api/health").json()["simulated"] is True
        demo.send_signal(signal.SIGINT)
        assert demo.wait(10) == 0
        assert not answers(found[0])
    finally:
        demo.kill()
        demo.wait(10)


def test_a_token_is_shown_once_with_the_setting_that_lets_it_in(install, venues):
    program = install(venues.base_urls)
    made = program.run("api", "token")
    assert made.status == 0
    token = re.search(r"^token: +(\S+)", made.out)[1]
    setting = re.search(r"^setting: COLLECTOR_API__TOKENS=([0-9a-f]{64})$", made.out, re.MULTILINE)[1]
    with program.running("api", **WITH_API, COLLECTOR_API__TOKENS=setting) as alone:
        url = address(alone)
        with httpx2.Client(timeout=10) as client:
            assert client.get(f"{url}/api/v1/stream?kinds=x").status_code == 401
            known = client.get(f"{url}/api/v1/stream?kinds=x", headers={"authorization": f"Bearer {token}"})
            assert known.status_code == 400
        assert alone.stop() == 0


def test_the_collector_s_process_does_not_load_the_server():
    loaded = "import sys, json, collector.cli_commands; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    modules = set(json.loads(done.stdout))
    assert modules & {"fastapi", "starlette", "uvicorn", "uvloop", "orjson", "limits", "pyarrow", "cachetools"} == set()
