"""Every command as a person or a script uses it: what it prints, where, and its exit status."""

import re
import urllib.request

import pytest

from tests.acceptance.program import NOBODY, SMALL, SOURCES, changed, part, wait_until

COMMANDS = [
    ["run"],
    ["once"],
    ["demo"],
    ["simulate"],
    ["status"],
    ["check-source"],
    ["logs"],
    ["logs", "path"],
    ["db"],
    ["db", "upgrade"],
    ["db", "url"],
    ["config"],
    ["config", "explain"],
]


@pytest.fixture(scope="module")
def collected(install, venues):
    """A program that has run one cycle, and the result of the command."""
    program = install(venues.base_urls)
    return program, program.run("once", "--json")


def test_once_ends_with_0_when_the_cycle_is_ok_and_prints_the_report(collected):
    program, result = collected
    assert result.status == 0
    assert result.json["state"] == "ok"
    assert result.json["simulated"] is True
    assert {item["source"] for item in result.json["sources"]} == set(SOURCES)
    assert part(result.json, "okx")["rows"]["order_books"] == 4
    assert program.cycles() == [("market", "ok")]


def test_status_shows_cycles_sources_and_what_is_stored(collected):
    program, _ = collected
    result = program.run("status")
    assert result.status == 0
    assert result.out.startswith("SIMULATED data")
    for word in (*SOURCES, "market", "ok", "order_books", "candles", "indicators", "binance_futures:SOON-USDT:perp"):
        assert re.search(rf"\b{re.escape(word)}\b", result.out), word


def test_status_as_json_tells_the_same(collected):
    program, _ = collected
    found = program.run("status", "--json").json
    assert found["simulated"] is True
    assert [(cycle["cadence"], cycle["state"]) for cycle in found["cycles"]] == [("market", "ok")]
    assert {source["source"]: source["jobs_failed"] for source in found["sources"]} == dict.fromkeys(SOURCES, 0)
    rows = {table["table"]: table["rows"] for table in found["tables"]}
    assert rows["order_books"] == 8
    assert rows["candles"] == 8 * 3 * 250
    assert any(item["match_state"] == "unmatched" for item in found["unmatched"])


def test_psql_runs_a_statement_on_the_same_database(collected):
    program, _ = collected
    result = program.run("psql", "-Atc", "SELECT count(*) FROM order_books")
    assert (result.status, result.out.strip()) == (0, "8")


def test_db_commands_tell_the_revision_and_the_address(collected):
    program, _ = collected
    assert re.fullmatch(r"database is at \w+; applied now: nothing\n", program.run("db", "upgrade").out)
    url = program.run("db", "url")
    assert url.status == 0
    assert url.out.startswith("postgresql://")
    assert "psycopg2" not in url.out


def test_db_upgrade_makes_the_tables_of_an_empty_database(install, venues):
    program = install(venues.base_urls)
    program.rows("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    result = program.run("db", "upgrade")
    assert result.status == 0
    assert "applied now: 0001, 0002" in result.out
    assert program.value("SELECT count(*) FROM cycles") == 0


def test_logs_path_names_the_folder_that_holds_the_newest_cycle(collected):
    program, _ = collected
    assert program.run("logs", "path").out.strip() == str(program.logs)
    assert (program.logs / "latest" / "report.json").is_file()


def test_config_explain_names_value_and_origin_of_every_setting(collected):
    program, _ = collected
    found = {line["name"]: line for line in program.run("config", "explain", "--json").json}
    assert found["universe.top"]["value"] == "4"
    assert found["universe.top"]["origin"].endswith("settings.yaml")
    simulated = found["simulated"]
    assert (simulated["value"], simulated["origin"]) == ("true", "COLLECTOR_SIMULATED in the environment")
    assert found["http.reserve_pct"]["origin"] == "default"
    assert all(line["description"] for line in found.values())
    secret = found["database.url"]
    assert secret["origin"] == "COLLECTOR_DATABASE__URL in the environment"
    assert "postgresql" not in secret["value"]


@pytest.mark.parametrize("source", SOURCES)
def test_check_source_shows_fresh_rows_of_every_dataset(collected, source):
    program, _ = collected
    result = program.run("check-source", source, "--json")
    assert result.status == 0, result.out
    assert {finding["dataset"] for finding in result.json} >= set(SMALL["sources"][source]["datasets"])
    assert "fresh" in {finding["verdict"] for finding in result.json} <= {"fresh", "received"}
    assert all(finding["rows"] > 0 for finding in result.json)


def test_check_source_fails_when_the_provider_is_away_or_unknown(collected):
    program, _ = collected
    away = {"COLLECTOR_SOURCES__OKX__BASE_URL": NOBODY["okx"]}
    result = program.run("check-source", "okx", **away)
    assert result.status == 1
    assert "127.0.0.1:1" in result.out
    unknown = program.run("check-source", "kraken2")
    assert unknown.status == 2
    assert "okx" in unknown.complaint


def test_an_unknown_cadence_is_one_line_and_status_2(collected):
    program, _ = collected
    result = program.run("once", "--cadence", "weekly")
    assert result.status == 2
    assert "weekly" in result.complaint
    assert "market, hourly, daily" in result.complaint


def test_simulate_serves_what_it_announces_and_ends_with_its_parent(collected):
    program, _ = collected
    with program.running("simulate", "--port", "0", "--json", "--assets", "45") as served:
        announced = wait_until(lambda: served.err, "the addresses")
        address = re.search(r'"okx": "([^"]+)"', announced)[1]
        with urllib.request.urlopen(f"{address}/api/v5/public/time", timeout=5) as answer:
            assert answer.headers["X-Simulated"] == "true"
        assert served.stop() == 0
    with program.running("simulate", "--port", "0", "--json", "--attached") as attached:
        assert attached.ended(10) == 0, "standard input was closed from the start"


def test_every_command_has_a_help_text(collected):
    program, _ = collected
    assert program.run("--version").out.startswith("Crypto Data Collector ")
    top = program.run("--help")
    assert top.status == 0
    for words in COMMANDS:
        assert words[0] in top.out
        result = program.run(*words, "--help", config=False)
        assert result.status == 0
        assert result.out.startswith(f"usage: main.py {' '.join(words)} ")
        assert len(result.out.splitlines()) > 3


BROKEN = {
    "COLLECTOR_UNIVERSE__TOPP=5": "did you mean top",
    "COLLECTOR_CADENCES__MARKET__EVERY=soon": "cadences.market.every",
    "COLLECTOR_SOURCES__OKX__PLAN=gold": "sources.okx.plan",
    "COLLECTOR_SOURCES__OKX__BASE_URL=nowhere": "sources.okx.base_url",
    "COLLECTOR_SOURCES__COINGECKO__API_KEY=abc": "set sources.coingecko.plan",
    "COLLECTOR_SOURCES__COINGECKO__PLAN=pro": "COLLECTOR_SOURCES__COINGECKO__API_KEY",
    "COLLECTOR_SOURCES__OKX__LIMITS__NONESUCH={capacity: 1, window: 1m}": "sources.okx.limits.nonesuch",
    "COLLECTOR_SOURCES__NONESUCH__ENABLED=true": "sources.nonesuch",
    "COLLECTOR_INDICATORS__EXTRA=[{function: NONESUCH}]": "NONESUCH",
    "COLLECTOR_UNIVERSE__INCLUDE=[": "COLLECTOR_UNIVERSE__INCLUDE",
}


@pytest.mark.parametrize("assignment", BROKEN)
def test_a_broken_setting_is_one_line_and_status_2(collected, assignment):
    program, _ = collected
    name, value = assignment.split("=", 1)
    result = program.run("once", **{name: value})
    assert result.status == 2
    assert BROKEN[assignment] in result.complaint
    assert result.out == ""


def test_a_database_that_is_away_is_one_line_and_status_1(collected):
    program, _ = collected
    result = program.run("status", COLLECTOR_DATABASE__URL="postgresql://me:secret@127.0.0.1:1/db")
    assert result.status == 1
    assert "127.0.0.1" in result.complaint
    assert "secret" not in result.complaint


def test_a_broken_settings_file_is_one_line_and_status_2(install, venues, tmp_path):
    program = install(venues.base_urls, settings=changed(SMALL, ["sources", "okx", "paralellism"], 3))
    result = program.run("status")
    assert result.status == 2
    assert "sources.okx.paralellism: no such setting; did you mean parallelism?" in result.complaint
    assert "settings.yaml" in result.complaint
    missing = program.run("--config", str(tmp_path / "none.yaml"), "status", config=False)
    assert missing.status == 2
    assert "none.yaml: cannot be read" in missing.complaint
