"""Providers that refuse, are away or answer nonsense: they lose only their own part, and are left in peace."""

import json
import zlib
from datetime import timedelta

import pytest

from collector.simulator.wire import json_response
from tests.acceptance.conftest import simulator
from tests.acceptance.program import NOBODY, SMALL, SOURCES, changed, part, wait_until

ROWS = ("tickers", "mark_prices", "open_interest", "order_books", "candles")
OFFLINE = "see everything without a network with: make demo"


class Refusing:
    """Refuses chosen venues from their n-th request on."""

    def __init__(self, answers, after=3):
        self._answers, self._after, self._seen = answers, after, dict.fromkeys(answers, 0)

    def before(self, venue, path, request):
        if venue not in self._answers:
            return None
        self._seen[venue] += 1
        return self._answers[venue] if self._seen[venue] > self._after else None

    def after(self, venue, path, request, response):
        return response


def refusal(status, seconds):
    return json_response({"code": -1003, "msg": "too many"}, status, {"Retry-After": str(seconds)})


def asked(venues, source):
    return sum(count for (venue, _), count in venues.requests.items() if venue == source)


@pytest.mark.parametrize(
    ("source", "answer", "seconds", "banned"),
    [
        ("okx", json_response({"code": "50011", "msg": "Too Many Requests"}, 429, {"Retry-After": "900"}), 900, False),
        ("binance_futures", refusal(418, 1800), 1800, True),
    ],
    ids=["429 with Retry-After", "418"],
)
def test_a_refusing_provider_is_left_in_peace_across_restarts_and_the_others_go_on(
    install, source, answer, seconds, banned
):
    with simulator(interceptor=Refusing({source: answer})) as venues:
        program = install(venues.base_urls)
        first = program.run("once", "--json")
        asked_before = asked(venues, source)
        second = program.run("once", "--json")
        asked_after = asked(venues, source)
    assert (first.status, second.status) == (1, 1)
    assert (first.json["state"], second.json["state"]) == ("partial", "partial")
    assert asked_after == asked_before, "not one request before the time is over"
    assert asked_before <= 3 + SMALL_BURST
    state = program.rows("SELECT source, banned, paused_until - updated_at FROM provider_state")
    assert [row[:2] for row in state] == [(source, banned)]
    assert timedelta(seconds=seconds - 60) < state[0][2] <= timedelta(seconds=seconds)
    for other in set(SOURCES) - {source}:
        assert part(second.json, other)["jobs_failed"] == part(second.json, other)["jobs_skipped"] == 0
        assert part(second.json, other)["jobs_ok"] > 0
    assert part(second.json, source)["jobs_ok"] == 0
    assert "calls are paused until" in " ".join(part(second.json, source)["errors"])


SMALL_BURST = 16
"""Calls under way at once when the refusal comes: the source's parallelism."""


def test_a_provider_that_is_away_costs_only_its_own_rows(install, venues):
    program = install({**venues.base_urls, "okx": NOBODY["okx"]})
    result = program.run("once", "--json")
    assert result.status == 1
    assert result.json["state"] == "partial"
    assert part(result.json, "okx")["jobs_ok"] == 0
    said = [line for line in result.err.splitlines() if "source_unreachable" in line]
    assert len(said) == 1
    assert "OkxService" in said[0]
    assert OFFLINE in said[0]
    for table in ROWS:
        assert program.rows(f"SELECT DISTINCT source FROM {table}") == [("binance_futures",)]
    assert program.value("SELECT count(*) FROM order_books") == 4
    assert program.value("SELECT count(*) FROM market_snapshots") == 44
    status = program.run("status")
    assert status.status == 0
    assert "127.0.0.1:1" in next(line for line in status.out.splitlines() if line.startswith("  okx"))


def test_without_any_network_once_fails_and_says_so_in_one_line_per_provider(install):
    program = install(NOBODY)
    result = program.run("once", "--json")
    assert result.status == 1
    assert result.json["state"] == "failed"
    lines = [line for line in result.err.splitlines() if "source_unreachable" in line]
    assert len(lines) == len(SOURCES)
    assert all(OFFLINE in line and "127.0.0.1:1" in line for line in lines)
    assert "Traceback" not in result.err
    assert program.cycles() == [("market", "failed")]


def test_without_any_network_run_keeps_trying_on_schedule_and_collects_when_it_is_back(install):
    with simulator() as once:
        addresses, port = once.base_urls, once.port
    program = install(addresses, settings=changed(SMALL, ["cadences", "market", "every"], "2s"))
    with program.running("run") as daemon:
        wait_for_cycles(program, "failed", 2)
        assert daemon.alive()
        said = [line for line in daemon.err.splitlines() if "source_unreachable" in line]
        assert len(said) == len(SOURCES), "an outage is said once, not every cycle"
        with simulator(port=port):
            wait_for_cycles(program, "ok", 1)
            assert daemon.stop() == 0
    assert program.value("SELECT count(DISTINCT source) FROM candles") == 2
    back = [path.read_text() for path in program.logs.glob("cycle_*/*Service.log")]
    assert sum("source_is_back" in text for text in back) == len(SOURCES)


def wait_for_cycles(program, state, count):
    wait_until(
        lambda: program.value("SELECT count(*) FROM cycles WHERE cadence = 'market' AND state = %s", state) >= count,
        f"{count} market cycles that are {state}",
        limit_s=30,
    )


CANARY = "CG-demo-canary-5a1e"
PASSWORD = "canary-pa55word"


class Echoing:
    """Repeats the key that was sent, in an error and in an answer of an unknown shape."""

    def before(self, venue, path, request):
        if venue == "coingecko" and path == "/global":
            return json_response({"data": {"updated_at": str(dict(request.headers))}})
        if venue == "coingecko" and path == "/coins/list":
            return json_response({"error": f"bad key {request.headers.get('x-cg-demo-api-key')}"}, 400)
        return None

    def after(self, venue, path, request, response):
        return response


def test_a_key_and_a_password_are_nowhere_to_be_read(install):
    settings = changed(SMALL, ["sources", "coingecko", "plan"], "demo")
    with simulator(interceptor=Echoing()) as venues:
        program = install(venues.base_urls, settings=settings)
        secret = {
            "COLLECTOR_SOURCES__COINGECKO__API_KEY": CANARY,
            "COLLECTOR_LOGS__LEVEL": "DEBUG",
            "COLLECTOR_DATABASE__URL": program.url.replace("://collector@", f"://collector:{PASSWORD}@"),
        }
        assert PASSWORD in secret["COLLECTOR_DATABASE__URL"]
        results = [
            program.run("once", "--json", **secret),
            program.run("status", **secret),
            program.run("db", "url", **secret),
            program.run("check-source", "coingecko", **secret),
        ]
    assert [result.status for result in results] == [1, 0, 0, 1]
    said = "".join(result.out + result.err for result in results)
    files = [path for path in program.logs.rglob("*") if path.is_file()]
    said += "".join(path.read_text(encoding="utf-8") for path in files)
    assert "x-cg-demo-api-key" in said, "the answer that was not understood is kept"
    assert CANARY not in said
    assert PASSWORD not in said
    assert _tables_with(program, CANARY) == []
    assert _tables_with(program, PASSWORD) == []


def _tables_with(program, word):
    tables = program.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    holding = "SELECT count(*) FROM {} t WHERE strpos(t::text, %s) > 0"
    found = [name for (name,) in tables if program.value(holding.format(name), word)]
    bodies = (zlib.decompress(body) for (body,) in program.rows("SELECT body FROM raw_payloads"))
    return [*found, *("raw_payloads" for body in bodies if word.encode() in body)]


def test_a_cycle_leaves_one_folder_with_a_file_per_service_its_report_and_what_was_not_believed(install, venues):
    program = install(venues.base_urls)
    assert program.run("once").status == 0
    folder = (program.logs / "latest").resolve()
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "CoingeckoService.log",
        "SentimentService.log",
        "BinanceService.log",
        "OkxService.log",
        "CryptoListingService.log",
        "TechnicalAnalysisService.log",
        "Database.log",
        "Collector.log",
        "report.json",
        "rejects.jsonl",
    }
    report = program.report()
    assert report["folder"] == folder.name == program.value("SELECT folder FROM cycles")
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert rejects
    assert {item["source"] for item in rejects} == {"coingecko"}
    assert all("dead-coin" in item["row"] and item["reason"] == "no_time" for item in rejects)
    assert program.value("SELECT count(*) FROM rejects") == len(rejects) == part(report, "coingecko")["rejects"]
    for name in ("CoingeckoService", "BinanceService", "OkxService"):
        assert "source_finished" in (folder / f"{name}.log").read_text()
    assert program.rows("SELECT report - 'folder' = %s::jsonb - 'folder' FROM cycles", json.dumps(report)) == [(True,)]
