"""The rules: vitals in, findings out; what is too much is in the settings (pure).

A rule that cannot tell (nothing is known yet, or its cause is told by another rule) is left out of `Look.judged`: what
it found before stays as it is.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from collector.config.alerts import AlertSettings
from collector.printing import span
from collector.records import Dataset
from collector.storage.vitals import SourceVitals, Vitals

CRITICAL, WARNING, INFO = "critical", "warning", "info"
SEVERITIES = (INFO, WARNING, CRITICAL)
ONLY = "-"  # the subject of a rule that has but one
LEAST_JOBS = 5  # of an hour, for a share of them to mean something
LEAST_REJECTS = 20
LEAST_MISSING = timedelta(minutes=5)  # of bars; less is a bar that came late
LONG_PAUSE = timedelta(minutes=10)
SLACK = timedelta(minutes=1)
MEGABYTE = 1_000_000
FEW_DAYS = 2.0  # of free disk: critical


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something is wrong with one subject now."""

    rule: str
    subject: str
    severity: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the settings promise, in times."""

    datasets: Mapping[tuple[str, Dataset], timedelta] = field(default_factory=dict)  # how often each has a new value
    cadences: Mapping[str, timedelta] = field(default_factory=dict)  # longest time between two starts
    deadlines: Mapping[str, timedelta] = field(default_factory=dict)
    backups: bool = False  # whether backups are made
    sinks: frozenset[str] = frozenset()  # that are filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the rules found, and which of them could tell."""

    findings: tuple[Finding, ...]
    judged: frozenset[str]


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule judges."""

    vitals: Vitals
    limits: AlertSettings
    expected: Expected


Rule = Callable[[Case], Iterator[Finding]]


def look(vitals: Vitals, limits: AlertSettings, expected: Expected) -> Look:
    """Return what all rules find in the vitals of a moment."""
    case = Case(vitals, limits, expected)
    judged = {name for name in RULES if name not in limits.without}
    findings = [item for name in RULES if name in judged for item in RULES[name](case)]
    if any(item.rule == "collector_silent" for item in findings):  # what follows from it would only hide it
        findings = [item for item in findings if item.rule not in CONSEQUENCES]
        judged -= CONSEQUENCES
    return Look(findings=tuple(findings), judged=frozenset(judged | set(limits.without) | {"database_away"}))


def database_away(reason: str) -> Look:
    """Return what is found when there are no vitals; nothing else can be told."""
    found = Finding(rule="database_away", subject=ONLY, severity=CRITICAL, detail=reason)
    return Look(findings=(found,), judged=frozenset({"database_away"}))


def alive(found: Look) -> bool:
    """Return whether a look found the collector at work."""
    return not any(item.rule in {"collector_silent", "database_away"} for item in found.findings)


# --------------------------------------------------------------------------- the collector


def _collector_silent(case: Case) -> Iterator[Finding]:
    """Nothing began for longer than the shortest cadence allows."""
    starts = [at for item in case.vitals.cadences for at in (item.last_started_at, item.running_since) if at]
    if not starts or not case.expected.cadences:
        return
    age = case.vitals.at - max(starts)
    if age > max(case.limits.silent_after, 2 * min(case.expected.cadences.values())):
        why = "its process lives" if case.vitals.collecting else "its process is gone"
        detail = f"no cycle began for {span(age)}; {why}"
        yield Finding(rule="collector_silent", subject=ONLY, severity=CRITICAL, detail=detail)


def _cycle_overrunning(case: Case) -> Iterator[Finding]:
    for item in case.vitals.cadences:
        deadline = case.expected.deadlines.get(item.cadence)
        if item.running_since is None or deadline is None or not case.vitals.collecting:
            continue
        age = case.vitals.at - item.running_since
        if age > deadline + case.limits.overrun_after:
            detail = f"a cycle runs for {span(age)}; its deadline is {span(deadline)}"
            yield Finding(rule="cycle_overrunning", subject=item.cadence, severity=WARNING, detail=detail)


# --------------------------------------------------------------------------- sources


def stale_from(every: timedelta, limits: AlertSettings) -> timedelta:
    """Return the age at which something that has a new value so often is stale."""
    return limits.stale_after * every + SLACK


def _freshness(case: Case) -> Iterator[Finding]:
    for (source, dataset), every in sorted(case.expected.datasets.items()):
        last = case.vitals.freshness.get((source, dataset), case.vitals.first_cycle_at)
        if last is None:
            continue
        age = case.vitals.at - last
        if age > stale_from(every, case.limits):
            never = (source, dataset) not in case.vitals.freshness
            detail = f"nothing came for {span(age)}; due every {span(every)}" + (" (never came)" if never else "")
            yield Finding(rule="freshness", subject=f"{source}/{dataset}", severity=WARNING, detail=detail)


def _source_failing(case: Case) -> Iterator[Finding]:
    for item in case.vitals.sources:
        if _off_until(item, case.vitals.at) is not None:
            continue  # told by source_banned
        jobs = item.recent.jobs_ok + item.recent.jobs_failed
        share = 100 * item.recent.jobs_failed / jobs if jobs else 0.0
        if item.failing:
            yield _of(item, "source_failing", f"its last cycle gave nothing: {item.failing}")
        elif jobs >= LEAST_JOBS and share >= case.limits.failing_pct:
            yield _of(item, "source_failing", f"{share:.0f} % of {jobs} jobs failed within {span(case.vitals.recent)}")


def _source_banned(case: Case) -> Iterator[Finding]:
    for item in case.vitals.sources:
        until = _off_until(item, case.vitals.at)
        if until is not None:
            what = "banned" if item.banned else "denied" if item.denied else "paused"
            yield _of(item, "source_banned", f"{what} for another {span(until - case.vitals.at)}: {item.reason}")


def _off_until(item: SourceVitals, now: datetime) -> datetime | None:
    """Return until when a source is off by ban, denial or a long pause; None when it is not."""
    until = item.paused_until
    if until is None or until <= now:
        return None
    return until if item.banned or item.denied or until - now > LONG_PAUSE else None


def _rejects(case: Case) -> Iterator[Finding]:
    for item in case.vitals.sources:
        rejected, rows = item.recent.rejects, item.recent.rows + item.recent.rejects
        if rejected >= LEAST_REJECTS and 100 * rejected / rows >= case.limits.rejected_pct:
            reasons = {
                reason: count for (source, reason), count in case.vitals.rejects.items() if source == item.source
            }
            worst = max(reasons, key=lambda reason: reasons[reason], default="")
            most = f"; most for {worst}" if worst else ""
            yield _of(
                item, "rejects", f"{rejected} of {rows} rows of the last {span(case.vitals.recent)} refused{most}"
            )


def _divergence(case: Case) -> Iterator[Finding]:
    for item in case.vitals.doubts:
        if item.kind == "divergence" and item.subjects >= case.limits.divergent_subjects:
            detail = f"{item.subjects} prices differ from those of other sources"
            subject = f"{item.source}/{item.dataset}"
            yield Finding(rule="divergence", subject=subject, severity=WARNING, detail=detail)


def _of(item: SourceVitals, rule: str, detail: str) -> Finding:
    return Finding(rule=rule, subject=item.source, severity=WARNING, detail=detail)


# --------------------------------------------------------------------------- what is stored


def _gap_growth(case: Case) -> Iterator[Finding]:
    """Too much of the last day is missing: old holes that wait to be filled do not count."""
    for item in case.vitals.coverage:
        wanted = item.recent_held_s + item.recent_missing_s
        share = 100 * item.recent_missing_s / wanted if wanted else 0.0
        if item.recent_missing_s > LEAST_MISSING.total_seconds() and share >= case.limits.missing_pct:
            detail = f"{share:.1f} % of the last day is missing, {item.holes} holes in all"
            subject = f"{item.venue}/{item.interval or item.dataset}"
            yield Finding(rule="gap_growth", subject=subject, severity=WARNING, detail=detail)


def _disk_horizon(case: Case) -> Iterator[Finding]:
    disk = case.vitals.disk
    if disk is None or disk.free_bytes is None:
        return
    free = f"{disk.free_bytes / MEGABYTE:,.0f} MB free"
    if disk.free_bytes < case.limits.disk_free_mb * MEGABYTE:
        detail = f"{free}; the floor is {case.limits.disk_free_mb} MB"
        yield Finding(rule="disk_horizon", subject=ONLY, severity=CRITICAL, detail=detail)
    elif disk.days_left is not None and disk.days_left < case.limits.disk_days:
        severity = CRITICAL if disk.days_left < FEW_DAYS else WARNING
        detail = f"{free}, enough for {disk.days_left:.1f} days"
        yield Finding(rule="disk_horizon", subject=ONLY, severity=severity, detail=detail)


def _backup_age(case: Case) -> Iterator[Finding]:
    last = case.vitals.backup_at or case.vitals.first_cycle_at
    if not case.expected.backups or last is None:
        return
    age = case.vitals.at - last
    if age > case.limits.backup_age:
        none = "" if case.vitals.backup_at else "there is none yet, after "
        yield Finding(
            rule="backup_age", subject=ONLY, severity=WARNING, detail=f"the newest backup: {none}{span(age)} old"
        )


def _sink_lag(case: Case) -> Iterator[Finding]:
    for item in case.vitals.sinks:
        if item.sink not in case.expected.sinks or item.lag_s is None:
            continue
        if item.lag_s > case.limits.sink_lag.total_seconds():
            detail = f"it is {span(timedelta(seconds=item.lag_s))} behind"
            yield Finding(rule="sink_lag", subject=f"{item.sink}/{item.source}", severity=WARNING, detail=detail)


RULES: Mapping[str, Rule] = {
    "collector_silent": _collector_silent,
    "cycle_overrunning": _cycle_overrunning,
    "freshness": _freshness,
    "source_failing": _source_failing,
    "source_banned": _source_banned,
    "rejects": _rejects,
    "divergence": _divergence,
    "gap_growth": _gap_growth,
    "disk_horizon": _disk_horizon,
    "backup_age": _backup_age,
    "sink_lag": _sink_lag,
}
"""Every rule that reads the vitals, by name. Beside them: database_away, delivery and self_test."""
CONSEQUENCES = frozenset({"freshness", "cycle_overrunning", "source_failing", "sink_lag"})
"""What a collector that stands still brings about."""
NAMES = (*RULES, "database_away", "delivery", "self_test")
