"""Vitals of a healthy collector, for tests to change one thing at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from collector.alerts.rules import Expected, Finding, Look
from collector.config.alerts import AlertSettings
from collector.records import Dataset
from collector.storage.vitals import CadenceVitals, CoverageVitals, DiskVitals, SinkVitals, SourceVitals, Vitals, Work

NOW = datetime(2026, 3, 11, 14, 37, 42, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GOOD = Work(jobs_ok=100, rows=1000, requests=110)
OKX = SourceVitals(source="okx", today=GOOD, recent=GOOD, rows_today={"tickers": 1000}, job_seconds={"0.5": 0.2})
DISK = DiskVitals(
    database_bytes=5_000_000_000,
    tables={"tickers": 1_000_000},
    free_bytes=100_000_000_000,
    capacity_bytes=200_000_000_000,
    bytes_a_day=86_400.0,
    days_left=1000.0,
)
HELD = CoverageVitals(
    venue="okx",
    dataset="candles",
    interval="1m",
    series=10,
    held_s=864_000.0,
    missing_s=0.0,
    none_s=0.0,
    holes=0,
    recent_held_s=864_000.0,
    recent_missing_s=0.0,
)
MARKET = CadenceVitals(
    cadence="market",
    last_started_at=NOW - 4 * MINUTE,
    last_finished_at=NOW - 3 * MINUTE,
    last_state="ok",
    ended_today={"ok": 170},
)
WELL = Vitals(
    at=NOW,
    recent=HOUR,
    sources=[OKX],
    freshness={("okx", Dataset.TICKERS): NOW - 3 * MINUTE},
    newest={"tickers": NOW - 3 * MINUTE},
    cadences=[MARKET],
    first_cycle_at=NOW - 30 * DAY,
    coverage=[HELD],
    disk=DISK,
    sinks=[SinkVitals(sink="bigquery", source="okx", lag_s=60.0)],
    backup_at=NOW - 10 * HOUR,
    collecting=True,
    memory={"collector": 150_000_000},
)
EXPECTED = Expected(
    datasets={("okx", Dataset.TICKERS): 5 * MINUTE},
    cadences={"market": 5 * MINUTE},
    deadlines={"market": 4 * MINUTE},
    backups=True,
    sinks=frozenset({"bigquery"}),
)
LIMITS = AlertSettings()


def source(**changes):
    return replace(WELL, sources=[replace(OKX, **changes)])


def finding(subject="okx", rule="source_failing", severity="warning", detail="it fails"):
    return Finding(rule=rule, subject=subject, severity=severity, detail=detail)


def found(*findings, rules=("source_failing", "disk_horizon", "freshness")):
    return Look(findings=findings, judged=frozenset(rules))
