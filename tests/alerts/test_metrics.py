"""The metrics: valid text, the right numbers, and what a real scrape of API and command line gives."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from collector import cli
from collector.alerts.exposition import Family, text_of
from collector.alerts.metrics import families
from collector.api.app import create_app
from collector.api.metrics import Metrics
from collector.clock import SystemClock
from collector.config import Layer, load_settings
from collector.errors import StorageUnavailable
from collector.records import Dataset, Suspect
from collector.storage.alerts import Alert, AlertStore, AlertTotals, Message
from collector.storage.progress import LimitInUse
from collector.storage.providers import ProviderStore
from collector.storage.suspects import Suspects
from collector.storage.vitals import Doubt
from collector.wiring_api import build_parts
from tests.alerts.vitals_samples import EXPECTED, HOUR, MARKET, MINUTE, NOW, OKX, WELL
from tests.storage.ledger_rows import Ledger, part
from tests.storage.samples import BTC

MESSAGE = Message(
    message_id="00000000-0000-0000-0000-000000000001",
    target="ops",
    kind="self_test",
    severity="info",
    title="t",
    body="b",
    made_at=NOW,
    state="delivered",
    attempts=1,
)
FULL = replace(
    WELL,
    sources=[replace(OKX, banned=True, paused_until=NOW + HOUR, clock_offset_s=0.25, reason='a "b"\n')],
    limits=[
        LimitInUse(source="okx", account="address", scope="weight", window_s=60, capacity=1200, used=300),
        LimitInUse(source="okx", account="key 12", scope="weight", window_s=60, capacity=1200, used=400),
        LimitInUse(source="okx", account="address api", scope="weight", window_s=60, capacity=60, used=3),
    ],
    cadences=[replace(MARKET, running_since=NOW - MINUTE)],
    rejects={("okx", "negative"): 4},
    doubts=[Doubt(source="okx", dataset="tickers", kind="jump", rows=5, subjects=2)],
)
TOTALS = AlertTotals(firing={("freshness", "warning"): 2}, waiting={"ops": 3}, self_tests=[MESSAGE])


def samples(text):
    """Every sample by name and labels, as Prometheus's own reader finds them."""
    found = {}
    for family in text_string_to_metric_families(text):
        for item in family.samples:
            key = (item.name, tuple(sorted(item.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = item.value
    return found


def exposed(vitals=FULL, totals=TOTALS):
    return samples(text_of(families(vitals, totals, EXPECTED, 0.03)))


def value(name, **labels):
    return exposed()[name, tuple(sorted(labels.items()))]


def test_every_family_is_read_by_prometheus_with_its_kind_and_help():
    made = families(FULL, TOTALS, EXPECTED, 0.03)
    read = {item.name: item for item in text_string_to_metric_families(text_of(made))}
    assert len(made) == len(read) >= 45
    for family in made:
        found = read[family.name.removesuffix("_total")]
        assert (found.type, found.documentation) == (family.kind, family.meaning)


def test_names_follow_the_conventions_of_prometheus():
    for family in families(FULL, TOTALS, EXPECTED, 0.03):
        assert re.fullmatch(r"collector_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert not re.search(r"_(ms|millis|minutes|hours|days|mb|percent|pct)(_|$)", family.name)


@pytest.mark.parametrize(
    ("name", "labels", "wanted"),
    [
        ("collector_up", {}, 1),
        ("collector_cycles_total", {"cadence": "market", "state": "ok"}, 170),
        ("collector_cycles_total", {"cadence": "market", "state": "failed"}, 0),
        ("collector_cycle_running_seconds", {"cadence": "market"}, 60),
        ("collector_cycle_last_duration_seconds", {"cadence": "market"}, 60),
        ("collector_cycle_deadline_seconds", {"cadence": "market"}, 240),
        ("collector_source_jobs_total", {"source": "okx", "outcome": "ok"}, 100),
        ("collector_source_rows_written_total", {"source": "okx", "table": "tickers"}, 1000),
        ("collector_source_pause_seconds", {"source": "okx"}, 3600),
        ("collector_source_banned", {"source": "okx"}, 1),
        ("collector_source_denied", {"source": "okx"}, 0),
        ("collector_source_job_duration_seconds", {"source": "okx", "quantile": "0.5"}, 0.2),
        (
            "collector_quota_used",
            {"source": "okx", "scope": "weight", "window_seconds": "60", "user": "collector"},
            400,
        ),
        ("collector_quota_used", {"source": "okx", "scope": "weight", "window_seconds": "60", "user": "api"}, 3),
        ("collector_dataset_interval_seconds", {"source": "okx", "dataset": "tickers"}, 300),
        ("collector_coverage_held_seconds", {"venue": "okx", "dataset": "candles", "interval": "1m"}, 864_000),
        ("collector_recent_rejected_rows", {"source": "okx", "reason": "negative"}, 4),
        ("collector_recent_suspect_subjects", {"source": "okx", "dataset": "tickers", "kind": "jump"}, 2),
        ("collector_disk_growth_bytes_per_second", {}, 1),
        ("collector_disk_left_seconds", {}, 86_400_000),
        ("collector_sink_lag_seconds", {"sink": "bigquery", "source": "okx"}, 60),
        ("collector_process_resident_memory_bytes", {"process": "collector"}, 150_000_000),
        ("collector_alerts_firing", {"rule": "freshness", "severity": "warning"}, 2),
        ("collector_alerts_messages_waiting", {"target": "ops"}, 3),
        ("collector_alerts_selftest_success", {"target": "ops"}, 1),
        ("collector_vitals_timestamp_seconds", {}, 1773239862),
    ],
)
def test_each_metric_has_its_number(name, labels, wanted):
    assert value(name, **labels) == pytest.approx(wanted)


def test_a_ban_that_is_over_is_none():
    over = replace(FULL, sources=[replace(FULL.sources[0], paused_until=NOW - MINUTE)])
    key = (("source", "okx"),)
    assert (exposed(over)["collector_source_banned", key], exposed(over)["collector_source_pause_seconds", key]) == (
        0,
        0,
    )


def test_what_is_not_known_has_no_sample_rather_than_a_zero():
    bare = replace(WELL, disk=None, backup_at=None, sinks=[], first_cycle_at=None)
    names = {name for name, _ in exposed(bare, AlertTotals(firing={}, waiting={}, self_tests=[]))}
    assert not {name for name in names if "disk" in name or "backup" in name or "sink" in name or "alerts" in name}


@pytest.mark.parametrize(("state", "attempts", "wanted"), [("waiting", 0, None), ("waiting", 1, 0), ("given_up", 9, 0)])
def test_a_test_alert_succeeded_only_when_it_arrived(state, attempts, wanted):
    totals = replace(TOTALS, self_tests=[replace(MESSAGE, state=state, attempts=attempts)])
    assert exposed(totals=totals).get(("collector_alerts_selftest_success", (("target", "ops"),))) == wanted


def test_labels_of_any_kind_are_escaped():
    text = text_of([Family("collector_odd", "gauge", "Odd.", [({"name": 'a"b\\c\nd'}, 1.5)])])
    assert samples(text) == {("collector_odd", (("name", 'a"b\\c\nd'),)): 1.5}


def test_the_api_s_own_metrics_stay_when_the_collector_s_cannot_be_read():
    def away():
        raise StorageUnavailable("read the vitals: connection refused")

    metrics = Metrics()
    metrics.register_all(away)
    metrics.count("/api/prices", "GET", 200, 0.01)
    found = samples(metrics.text())
    assert found["collector_api_metric_failures_total", ()] == 1
    assert "collector_up" not in {name for name, _ in found}


# --------------------------------------------------------------------------- a real scrape


def fill(database, now):
    """Store something for every metric."""
    ledger = Ledger(database)
    cycle = ledger.cycle(now - MINUTE, part(rejects=1))
    job = ledger.job(cycle, now - MINUTE)
    ledger.one(
        "INSERT INTO rejects VALUES (:job, 1, :at, 'okx', 'tickers', 'negative', '', '') RETURNING 1",
        job=job,
        at=now - MINUTE,
    )
    number = ledger.one(
        """
        INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, first_seen_at,
            last_seen_at, followed) VALUES ('okx:B-USDT:perp', 'okx', 'B', 'USDT', 'perp', 'B', 1, :at, :at, true)
        RETURNING instrument_id
        """,
        at=now,
    )
    ledger.one(
        """
        INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, updated_at)
        VALUES (:number, 'candles', '1m', :since, :at, 'missing', 'okx', '', :at)
        """,
        number=number,
        since=now - HOUR,
        at=now,
    )
    ledger.one(
        """
        INSERT INTO sentiments (source, observed_at, received_at, cycle_id, value, classification)
        VALUES ('alternative_me', :at, :at, :cycle, 50, 'Neutral')
        """,
        at=now,
        cycle=cycle,
    )
    ledger.one(
        """
        INSERT INTO provider_budgets VALUES ('okx', 'address', 'calls', 2, 20, 1, '[]', :at);
        INSERT INTO sink_watermarks (sink, target, source, content, server, recent_at, done, error, updated_at)
        VALUES ('bigquery', 'a', 'okx', 'raw', '', :at, '{}', '', :at)
        """,
        at=now,
    )
    suspect = Suspect(
        dataset=Dataset.TICKERS,
        subject=BTC.id,
        source="okx",
        observed_at=now,
        kind="jump",
        value=Decimal(150),
        reference=Decimal(100),
        reference_source="okx",
        detail="",
    )
    Suspects(database).write(cycle, [suspect])
    ProviderStore(database).save_clock_offset("okx", 0.5)
    alert = Alert(
        alert_id="00000000-0000-0000-0000-000000000002",
        rule="freshness",
        subject="okx/tickers",
        severity="warning",
        state="firing",
        detail="",
        since=now,
        seen_at=now,
    )
    waiting = replace(MESSAGE, message_id=alert.alert_id, kind="alerts", state="waiting")
    AlertStore(database).save([alert], [MESSAGE, waiting])


@pytest.fixture
def settings(migrated_url, database, tmp_path):
    fill(database, SystemClock().now())
    backups = tmp_path / "backups"
    targets = {"ops": f"file://{tmp_path}/alerts.jsonl"}
    tree = {
        "database": {"url": migrated_url},
        "backups": {"folder": str(backups)},
        "alerts": {"targets": targets},
    }
    return load_settings(environment={}, overrides=[Layer("test", tree)])[0]


def shape(text):
    """Names with the names of their labels."""
    return {(name, tuple(key for key, _ in labels)) for name, labels in samples(text)}


# Needs a backup on disk, more than a day of rows, or a collector on this machine: each has a test of its own.
ELSEWHERE = {
    "collector_backup_last_timestamp_seconds",
    "collector_disk_growth_bytes_per_second",
    "collector_disk_left_seconds",
}


def test_a_scrape_of_the_api_has_every_metric_of_the_collector_and_its_own(settings, database):
    with build_parts(settings, lasting=False) as parts, database.writer_lock(), TestClient(create_app(parts)) as client:
        client.get("/api/health")
        scraped = client.get("/metrics")
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    wanted = shape(text_of(families(FULL, TOTALS, EXPECTED, 0.03)))
    assert {name for name, _ in wanted - shape(scraped.text)} == ELSEWHERE
    assert shape(scraped.text) >= {("collector_api_requests_total", ("method", "route", "status"))}


def test_scrapes_that_come_together_are_one_look(settings, monkeypatch):
    looks = []
    monkeypatch.setattr(
        "collector.wiring_alerts.families",
        lambda *_: looks.append(1) or [Family("collector_x", "gauge", "X.", [({}, 1)])],
    )
    with build_parts(settings, lasting=False) as parts, TestClient(create_app(parts)) as client:
        texts = [client.get("/metrics").text for _ in range(5)]
    assert all("collector_x 1" in text for text in texts)
    assert len(looks) == 1


def test_the_command_prints_the_same_and_writes_it_whole(settings, migrated_url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLLECTOR_DATABASE__URL", migrated_url)
    assert cli.main(["metrics"]) == 0
    assert "collector_alerts_selftest_success" not in capsys.readouterr().out  # its target is not in the settings
    monkeypatch.setenv("COLLECTOR_ALERTS__TARGETS__OPS", f"file://{tmp_path}/alerts.jsonl")
    assert cli.main(["metrics"]) == 0
    printed = shape(capsys.readouterr().out)
    assert {name for name, _ in shape(text_of(families(FULL, TOTALS, EXPECTED, 0.03))) - printed} <= {
        *ELSEWHERE,
        "collector_process_resident_memory_bytes",
    }
    file = tmp_path / "collector.prom"
    file.write_text("old")
    assert cli.main(["metrics", "--out", str(file)]) == 0
    assert shape(file.read_text()) == printed
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["collector.prom"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_place_that_cannot_be_written_is_told_in_one_line(settings, migrated_url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLLECTOR_DATABASE__URL", migrated_url)
    assert cli.main(["metrics", "--out", str(tmp_path / "missing" / "file")]) == 2
    assert "--out" in capsys.readouterr().err
