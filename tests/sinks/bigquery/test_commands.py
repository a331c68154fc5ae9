"""What `sink status`, `sink run` and `sink estimate` print and return."""

import argparse
import json

import pytest

from collector import cli, cli_sinks
from collector.config import load_settings
from collector.errors import ConfigError, SinkError
from tests.sinks.bigquery.truth import differences
from tests.storage.samples import batch, candle, ticker


@pytest.fixture
def settings(database, server):
    environment = {
        "COLLECTOR_DATABASE__URL": database.url.render_as_string(hide_password=False),
        "COLLECTOR_BIGQUERY__ENABLED": "true",
        "COLLECTOR_BIGQUERY__PROJECT": "test-project",
        "COLLECTOR_BIGQUERY__ENDPOINT": server.address,
        "COLLECTOR_BIGQUERY__TIMEOUT": "5s",
    }
    return load_settings(environment=environment)[0]


def words(*given):
    return cli.build_parser().parse_args(["sink", *given])


def test_everything_is_sent_and_what_was_sent_is_shown(settings, database, server, writer, cycle, capsys):
    writer.write(cycle, [batch(candle(), ticker())])
    assert cli_sinks.status(settings, words("status")) == 0
    assert "never sent" in capsys.readouterr().out
    assert cli_sinks.run(settings, words("run", "--once")) == 0
    assert capsys.readouterr().out == "sent 2 rows to 1 tables\n"
    assert differences(database, server) == {}
    assert cli_sinks.run(settings, words("run", "--once", "--json")) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 0, "tables": 0}
    cli_sinks.status(settings, words("status", "--json"))
    rows = {row["table"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {f"{source}_{content}" for source in settings.sources for content in ("raw", "derived")}
    assert rows["okx_derived"]["rows_sent"] == 2
    assert rows["okx_derived"]["waiting_rows"] == 0
    assert rows["okx_derived"]["bytes_merged"] == 400  # two rows there, two staged, 100 bytes each
    assert rows["okx_derived"]["behind_s"] < 60


def test_a_forgotten_watermark_sends_everything_again(settings, database, server, writer, cycle, capsys):
    writer.write(cycle, [batch(candle(), ticker())])
    cli_sinks.run(settings, words("run", "--once"))
    cli_sinks.run(settings, words("run", "--once", "--again"))
    assert capsys.readouterr().out == "sent 2 rows to 1 tables\n" * 2
    assert differences(database, server) == {}


def test_the_estimate_is_bigquery_s_and_at_least_what_is_billed(settings, server, writer, cycle, capsys):
    cli_sinks.estimate(settings, words("estimate"))
    assert "nothing was sent yet" in capsys.readouterr().out
    writer.write(cycle, [batch(candle())])
    cli_sinks.run(settings, words("run", "--once"))
    capsys.readouterr()
    assert cli_sinks.estimate(settings, words("estimate", "--json")) == 0
    rows = {row["table"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["okx_derived"]["merge_bytes"] == 100
    assert rows["okx_derived"]["billed_bytes"] == 20 * 2**20
    # 20 MiB of a TiB at 6.25 USD, and 2880 times that: every 15 min for 30 days.
    assert rows["okx_derived"]["usd_per_merge"] == "0.000119"
    assert rows["okx_derived"]["usd_per_month"] == "0.34"
    cli_sinks.estimate(settings, words("estimate"))
    assert "USD a month, with a batch every 15m and 6.25 USD per TiB" in capsys.readouterr().out


def test_a_failure_is_one_line_and_stays_in_the_status(settings, server, writer, cycle, capsys):
    writer.write(cycle, [batch(candle())])
    server.faults = [("tables.get", 403)]
    with pytest.raises(SinkError, match="HTTP 403") as failed:
        cli_sinks.run(settings, words("run", "--once"))
    assert "\n" not in str(failed.value)
    assert cli_sinks.status(settings, words("status")) == 1
    assert "HTTP 403" in capsys.readouterr().out


def test_one_error_of_many_tables_is_one_line_and_whole(settings, server, writer, cycle, capsys):
    writer.write(cycle, [batch(candle())])
    server.faults = [("tables.get", 403)]
    with pytest.raises(SinkError):
        cli_sinks.run(settings, words("run", "--once"))
    cli_sinks.status(settings, words("status"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "HTTP 403" in line]
    assert line.split(": ")[0].count("_") > 3  # the tables that wait for it, before what it says
    assert "docs/bigquery.md" in line


def test_without_a_project_it_says_what_to_set():
    settings, _ = load_settings(environment={})
    with pytest.raises(ConfigError, match=r"bigquery\.project: is empty.*docs/bigquery\.md"):
        cli_sinks.status(settings, argparse.Namespace(json=False))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ENABLED", "true", "needs a project"),
        ("PROJECT", "My Project", "is no name that BigQuery takes"),
        ("ENDPOINT", "https://bigquery.example.org", "for tests on this machine only"),
        ("CONTENTS", "raw, cooked", "takes one or both of derived, raw"),
        ("USD_PER_TIB", "-1", "usd_per_tib"),
    ],
)
def test_settings_that_cannot_work_are_refused(name, value, said):
    with pytest.raises(ConfigError, match=said):
        load_settings(environment={f"COLLECTOR_BIGQUERY__{name}": value})
