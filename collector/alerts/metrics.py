"""The vitals and the alerts as metrics of Prometheus: base units, few labels, each value from one place (pure).

Counters count since 00:00 UTC: the ledger is pruned, so that no sum of it goes on for ever. Prometheus takes the fall
to zero at midnight for a restart and goes on counting.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from collector.alerts.exposition import Family, Sample
from collector.alerts.rules import Expected
from collector.storage.alerts import AlertTotals
from collector.storage.vitals import CoverageVitals, Vitals, Work

DAY_S = timedelta(days=1).total_seconds()
STATES = ("ok", "partial", "failed", "abandoned")


def families(vitals: Vitals, totals: AlertTotals, expected: Expected, read_s: float) -> list[Family]:
    """Return every metric; `read_s` is how long it took to read them."""
    return [
        *_cycles(vitals, expected),
        *_work(vitals),
        *_sources(vitals),
        *_quotas(vitals),
        *_freshness(vitals, expected),
        *_coverage(vitals),
        *_doubts(vitals),
        *_disk(vitals),
        *_processes(vitals),
        *_alerts(totals),
        _gauge("collector_vitals_read_seconds", "Time it took to read these figures.", [({}, read_s)]),
        _gauge("collector_vitals_timestamp_seconds", "When these figures were read.", [({}, vitals.at.timestamp())]),
    ]


def _gauge(name: str, meaning: str, samples: Iterable[Sample]) -> Family:
    return Family(name, "gauge", meaning, list(samples))


def _counter(name: str, meaning: str, samples: Iterable[Sample]) -> Family:
    return Family(name, "counter", f"{meaning}, since 00:00 UTC.", list(samples))


def _at(moment: datetime | None) -> Iterator[float]:
    if moment is not None:
        yield moment.timestamp()


def _cycles(vitals: Vitals, expected: Expected) -> Iterator[Family]:
    named = [({"cadence": item.cadence}, item) for item in vitals.cadences]
    yield _gauge("collector_up", "1 while a process collects.", [({}, float(vitals.collecting))])
    yield _counter(
        "collector_cycles_total",
        "Cycles that ended",
        [({**who, "state": state}, item.ended_today.get(state, 0)) for who, item in named for state in STATES],
    )
    yield _gauge(
        "collector_cycle_last_start_timestamp_seconds",
        "Start of the newest cycle that ended.",
        [(who, at) for who, item in named for at in _at(item.last_started_at)],
    )
    yield _gauge(
        "collector_cycle_last_duration_seconds",
        "Length of the newest cycle that ended.",
        [
            (who, (item.last_finished_at - item.last_started_at).total_seconds())
            for who, item in named
            if item.last_finished_at is not None and item.last_started_at is not None
        ],
    )
    yield _gauge(
        "collector_cycle_running_seconds",
        "For how long the running cycle runs; 0 without one.",
        [(who, (vitals.at - item.running_since).total_seconds() if item.running_since else 0) for who, item in named],
    )
    yield _gauge(
        "collector_cycle_interval_seconds",
        "Longest time between two starts by the schedule.",
        [({"cadence": name}, length.total_seconds()) for name, length in expected.cadences.items()],
    )
    yield _gauge(
        "collector_cycle_deadline_seconds",
        "Time after which a cycle starts no new job.",
        [({"cadence": name}, length.total_seconds()) for name, length in expected.deadlines.items()],
    )


def _work(vitals: Vitals) -> Iterator[Family]:
    def each(name: str) -> list[Sample]:
        return [({"source": item.source}, getattr(item.today, name)) for item in vitals.sources]

    outcomes = ("ok", "failed", "skipped")
    yield _counter(
        "collector_source_jobs_total",
        "Jobs by how they ended",
        [
            ({"source": item.source, "outcome": outcome}, getattr(item.today, f"jobs_{outcome}"))
            for item in vitals.sources
            for outcome in outcomes
        ],
    )
    yield _counter(
        "collector_source_rows_written_total",
        "Rows inserted or changed",
        [
            ({"source": item.source, "table": table}, rows)
            for item in vitals.sources
            for table, rows in item.rows_today.items()
        ],
    )
    for name, field, meaning in _WORK_METRICS:
        assert field in Work.__slots__  # noqa: S101 - a slip in the table below
        yield _counter(name, meaning, each(field))


_WORK_METRICS = (
    ("collector_source_rejected_rows_total", "rejects", "Rows that were not believed"),
    ("collector_source_requests_total", "requests", "Calls to the provider"),
    ("collector_source_retries_total", "retries", "Calls that were repeated"),
    ("collector_source_refused_total", "refused", "Answers that told us to wait"),
    ("collector_source_wait_seconds_total", "waited_s", "Waiting for quotas and pauses, all threads together"),
    ("collector_source_busy_seconds_total", "busy_s", "Time that cycles spent on the source"),
)


def _sources(vitals: Vitals) -> Iterator[Family]:
    named = [({"source": item.source}, item) for item in vitals.sources]
    yield _gauge(
        "collector_source_failing",
        "1 when the newest cycle that asked it had nothing of it.",
        [(who, float(bool(item.failing))) for who, item in named],
    )
    yield _gauge(
        "collector_source_banned",
        "1 while the provider punishes calls.",
        [(who, float(item.banned and _pause(vitals, item.paused_until) > 0)) for who, item in named],
    )
    yield _gauge(
        "collector_source_denied",
        "1 while the provider does not serve us.",
        [(who, float(item.denied and _pause(vitals, item.paused_until) > 0)) for who, item in named],
    )
    yield _gauge(
        "collector_source_pause_seconds",
        "Time until the provider may be called again; 0 when it may.",
        [(who, _pause(vitals, item.paused_until)) for who, item in named],
    )
    yield _gauge(
        "collector_source_clock_offset_seconds",
        "The provider's clock less ours.",
        [(who, item.clock_offset_s) for who, item in named if item.clock_offset_s is not None],
    )
    yield _gauge(
        "collector_source_job_duration_seconds",
        "Time of a good job in the last hour, by quantile.",
        [({**who, "quantile": part}, value) for who, item in named for part, value in item.job_seconds.items()],
    )


def _pause(vitals: Vitals, until: datetime | None) -> float:
    return 0.0 if until is None else max(0.0, (until - vitals.at).total_seconds())


def _quotas(vitals: Vitals) -> Iterator[Family]:
    used: dict[tuple[str, str, str, str], tuple[int, int]] = {}
    for item in vitals.limits:
        user = "api" if item.account.endswith(" api") else "collector"
        key = (item.source, item.scope, str(item.window_s), user)
        used[key] = max(used.get(key, (0, 0)), (item.used, item.capacity))  # of several keys the busiest
    labels = [
        ({"source": source, "scope": scope, "window_seconds": window, "user": user}, both)
        for (source, scope, window, user), both in sorted(used.items())
    ]
    yield _gauge("collector_quota_used", "Units used of the limit's window.", [(who, one) for who, (one, _) in labels])
    yield _gauge("collector_quota_capacity", "Units that fit into it.", [(who, all_of) for who, (_, all_of) in labels])


def _freshness(vitals: Vitals, expected: Expected) -> Iterator[Family]:
    yield _gauge(
        "collector_dataset_last_success_timestamp_seconds",
        "End of the newest good job.",
        [
            ({"source": source, "dataset": str(dataset)}, at.timestamp())
            for (source, dataset), at in sorted(vitals.freshness.items())
        ],
    )
    yield _gauge(
        "collector_dataset_interval_seconds",
        "How often there is a new value by the schedule.",
        [
            ({"source": source, "dataset": str(dataset)}, length.total_seconds())
            for (source, dataset), length in sorted(expected.datasets.items())
        ],
    )
    yield _gauge(
        "collector_table_newest_timestamp_seconds",
        "Time of the newest observation.",
        [({"table": table}, at.timestamp()) for table, at in sorted(vitals.newest.items())],
    )


def _coverage(vitals: Vitals) -> Iterator[Family]:
    def each(pick: Sequence[str]) -> list[Sample]:
        return [(_series(item), sum(getattr(item, name) for name in pick)) for item in vitals.coverage]

    yield _gauge("collector_coverage_series", "Series.", each(["series"]))
    yield _gauge("collector_coverage_held_seconds", "Length that is held, all series together.", each(["held_s"]))
    yield _gauge("collector_coverage_missing_seconds", "Length that is missing and asked for.", each(["missing_s"]))
    yield _gauge("collector_coverage_unavailable_seconds", "Length that the provider does not have.", each(["none_s"]))
    yield _gauge("collector_coverage_holes", "Windows that are missing.", each(["holes"]))
    yield _gauge(
        "collector_coverage_recent_missing_ratio",
        "Share of the last day that is missing, 0 to 1.",
        [
            (_series(item), item.recent_missing_s / (item.recent_held_s + item.recent_missing_s))
            for item in vitals.coverage
            if item.recent_held_s + item.recent_missing_s
        ],
    )


def _series(item: CoverageVitals) -> dict[str, str]:
    return {"venue": item.venue, "dataset": item.dataset, "interval": item.interval}


def _doubts(vitals: Vitals) -> Iterator[Family]:
    yield _gauge(
        "collector_recent_rejected_rows",
        "Rows of the last hour that were not believed, by reason.",
        [({"source": source, "reason": reason}, rows) for (source, reason), rows in sorted(vitals.rejects.items())],
    )
    labelled = [({"source": item.source, "dataset": item.dataset, "kind": item.kind}, item) for item in vitals.doubts]
    yield _gauge(
        "collector_recent_suspects", "Doubtful rows of the last hour.", [(who, one.rows) for who, one in labelled]
    )
    yield _gauge(
        "collector_recent_suspect_subjects",
        "Instruments or assets with doubtful rows of the last hour.",
        [(who, one.subjects) for who, one in labelled],
    )


def _disk(vitals: Vitals) -> Iterator[Family]:
    disk = vitals.disk
    if disk is not None:
        rate = None if disk.bytes_a_day is None else disk.bytes_a_day / DAY_S
        left = None if disk.days_left is None else disk.days_left * DAY_S
        for name, meaning, value in (
            ("collector_database_size_bytes", "The whole database.", disk.database_bytes),
            ("collector_disk_free_bytes", "Free where the database is.", disk.free_bytes),
            ("collector_disk_capacity_bytes", "Size of that file system.", disk.capacity_bytes),
            ("collector_disk_growth_bytes_per_second", "Growth of all counted tables.", rate),
            ("collector_disk_left_seconds", "Time until the free space is used up.", left),
        ):
            yield _gauge(name, meaning, [] if value is None else [({}, value)])
        sizes = [({"table": table}, size) for table, size in sorted(disk.tables.items())]
        yield _gauge("collector_table_size_bytes", "Tables with indexes and partitions.", sizes)
    lags = [({"sink": item.sink, "source": item.source}, item.lag_s) for item in vitals.sinks if item.lag_s is not None]
    yield _gauge("collector_sink_lag_seconds", "How far an outside store is behind.", lags)
    backups: list[Sample] = [({}, at) for at in _at(vitals.backup_at)]
    yield _gauge("collector_backup_last_timestamp_seconds", "The newest good backup.", backups)


def _processes(vitals: Vitals) -> Iterator[Family]:
    yield _gauge(
        "collector_process_resident_memory_bytes",
        "Memory of our processes on this machine.",
        [({"process": name}, size) for name, size in sorted(vitals.memory.items())],
    )


def _alerts(totals: AlertTotals) -> Iterator[Family]:
    yield _gauge(
        "collector_alerts_firing",
        "Built-in alerts that fire.",
        [({"rule": rule, "severity": worst}, count) for (rule, worst), count in sorted(totals.firing.items())],
    )
    yield _gauge(
        "collector_alerts_messages_waiting",
        "Messages that a target has not taken yet.",
        [({"target": target}, count) for target, count in sorted(totals.waiting.items())],
    )
    tests = [({"target": item.target}, item) for item in totals.self_tests]
    yield _gauge(
        "collector_alerts_selftest_success",
        "1 when the newest test alert arrived.",
        [(who, float(item.state == "delivered")) for who, item in tests if item.state != "waiting" or item.attempts],
    )
    yield _gauge(
        "collector_alerts_selftest_timestamp_seconds",
        "When the newest test alert was sent.",
        [(who, item.made_at.timestamp()) for who, item in tests],
    )
