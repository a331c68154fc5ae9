"""The commands of files as a person runs them: export, verify, query, import, and their refusals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.program import CLOCK, wait_until
from tests.sinks.files.filled import fill

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(emptied, tmp_path):
    fill(emptied)
    own = {
        "COLLECTOR_DATABASE__URL": emptied.url.render_as_string(hide_password=False),
        "COLLECTOR_LOGS__DIRECTORY": str(tmp_path / "logs"),
        "COLLECTOR_DATA_DIR": str(tmp_path / "data"),
    }

    def go(*words):
        command = [sys.executable, str(ROOT / "main.py"), *words]
        return subprocess.run(
            command, env={**os.environ, **own}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return go


def test_export_verify_query_and_import_work_together(run, tmp_path):
    out = tmp_path / "out"
    done = run("export", "candles", "funding_rates", "--out", str(out), "--json")
    assert json.loads(done.stdout)["datasets"]["candles"]["rows"] == 1800, done.stderr
    assert run("verify", str(out)).stdout == "8 files with 1,924 rows are as the manifest says\n"
    asked = run("query", "select count(*) as bars from candles", "--files", str(out), "--csv")
    assert asked.stdout == "bars\n1800\n", asked.stderr
    again = run("import", str(out), "--json")
    assert json.loads(again.stdout)["landed"]["candles"] == {"rows": 1800, "inserted": 0, "replaced": 0, "kept": 0}
    (out / "candles/venue=okx/month=2026-01/candles.parquet").unlink()
    spoiled = run("verify", str(out))
    assert (spoiled.returncode, spoiled.stdout) == (1, "candles/venue=okx/month=2026-01/candles.parquet: is missing\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "candels"), "collector: candels: no dataset; there are instruments,"),
        (("query", "drop table candles"), "collector: query: only one SELECT or WITH statement is run"),
        (("verify", "nowhere"), "collector: nowhere: no manifest.json"),
    ],
)
def test_a_refusal_is_one_line(run, words, said):
    refused = run(*words)
    assert refused.returncode == 2
    assert refused.stderr.startswith(said)
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_question_that_takes_for_ever_can_be_ended_and_leaves_nothing(emptied, tmp_path, number):
    fill(emptied)
    forever = "select max(hash(a.open, b.open, c.open)) from candles a, candles b, candles c"
    environment = {
        **os.environ,
        "COLLECTOR_DATABASE__URL": emptied.url.render_as_string(hide_password=False),
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, str(ROOT / "main.py"), "query", forever]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as asked:
        wait_until(lambda: list(tmp_path.glob("query-*/rows.duckdb*")), "the scratch database")
        CLOCK.sleep(1.0)  # to the middle of the answer; where it is met does not matter
        asked.send_signal(number)
        told = asked.communicate(timeout=20)[1]
    assert asked.returncode == 130
    assert "Traceback" not in told
    assert list(tmp_path.glob("query-*")) == []
