"""The book: what the looks found becomes alerts that begin, hold and end; each is told once (pure).

pending -> firing -> resolved. An alert fires when several looks in a row found it, and is over when several in a row
did not: more of them, the oftener it came back soon after it was over. Looks are counted, not minutes, so that a clock
that jumps neither fires nor ends anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from collector.alerts.rules import SEVERITIES, Finding, Look
from collector.errors import IllegalTransition
from collector.storage.alerts import Alert

FLAP_WITHIN = timedelta(hours=1)  # who comes back sooner flaps
MOST_FLAPS = 4  # 2 ** 4 times as many looks without a finding


class State(StrEnum):
    """What an alert is."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"  # it never fired, and leaves no trace


class Event(StrEnum):
    """What happens to an alert."""

    CONFIRMED = "confirmed"  # found often enough
    GONE = "gone"  # not found often enough


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.PENDING, Event.CONFIRMED): State.FIRING,
    (State.PENDING, Event.GONE): State.DISMISSED,
    (State.FIRING, Event.GONE): State.RESOLVED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many looks in a row it takes."""

    fire_after: int
    clear_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """The book after a look."""

    alerts: Sequence[Alert]  # all that are kept
    fired: Sequence[Alert]
    resolved: Sequence[Alert]
    dismissed: Sequence[str]  # numbers


def move(state: str, event: Event) -> State:
    """Return the state that follows. Raises IllegalTransition where none does."""
    try:
        return TRANSITIONS[State(state), event]
    except KeyError as error:
        raise IllegalTransition(f"an alert cannot be {event} when {state}") from error


def turn(alerts: Sequence[Alert], found: Look, now: datetime, patience: Patience, new_id: Callable[[], str]) -> Turned:
    """Return the book after a look; alerts of rules that could not tell stay as they are."""
    open_ones = {(alert.rule, alert.subject): alert for alert in alerts if alert.open}
    over = [alert for alert in alerts if not alert.open]
    findings = {(item.rule, item.subject): item for item in found.findings}
    kept, fired, resolved, dismissed = list(over), [], [], []
    for key, finding in findings.items():
        before = open_ones.get(key)
        after = _seen(before, finding, now) if before else _begun(finding, now, new_id(), _flaps(over, finding, now))
        if after.state == State.PENDING and after.looks >= _needed(finding, patience):
            after = replace(after, state=str(move(after.state, Event.CONFIRMED)), fired_at=now)
            fired.append(after)
        kept.append(after)
    for key, alert in open_ones.items():
        if key in findings:
            continue
        after = _missed(alert, now, patience) if alert.rule in found.judged else alert
        if after.state == State.DISMISSED:
            dismissed.append(alert.alert_id)
            continue
        if after.state == State.RESOLVED:
            resolved.append(after)
        kept.append(after)
    return Turned(alerts=kept, fired=fired, resolved=resolved, dismissed=dismissed)


def _needed(finding: Finding, patience: Patience) -> int:
    return 1 if finding.rule in AT_ONCE else patience.fire_after


AT_ONCE = frozenset({"self_test", "delivery"})  # what is certain at the first look


def _flaps(over: Sequence[Alert], finding: Finding, now: datetime) -> int:
    """Return how often this came back: once more than the last time, when that was over not long ago."""
    same = [
        alert
        for alert in over
        if (alert.rule, alert.subject) == (finding.rule, finding.subject)
        and alert.resolved_at is not None
        and abs(now - alert.resolved_at) < FLAP_WITHIN
    ]
    return min(MOST_FLAPS, max((alert.flaps + 1 for alert in same), default=0))


def _begun(finding: Finding, now: datetime, alert_id: str, flaps: int) -> Alert:
    return Alert(
        alert_id=alert_id,
        rule=finding.rule,
        subject=finding.subject,
        severity=finding.severity,
        state=State.PENDING.value,
        detail=finding.detail,
        since=now,
        seen_at=now,
        flaps=flaps,
    )


def _seen(alert: Alert, finding: Finding, now: datetime) -> Alert:
    """Return an alert that was found again; a moment that lies ahead of a clock that was put back becomes now."""
    return replace(
        alert,
        severity=finding.severity,
        detail=finding.detail,
        since=min(alert.since, now),
        seen_at=now,
        looks=alert.looks + 1,
        clear_looks=0,
        told="" if _worse(finding.severity, alert.severity) else alert.told,
        told_at=None if alert.told_at is None else min(alert.told_at, now),
    )


def _worse(one: str, other: str) -> bool:
    return SEVERITIES.index(one) > SEVERITIES.index(other)


def _missed(alert: Alert, now: datetime, patience: Patience) -> Alert:
    clear = alert.clear_looks + 1
    after = replace(alert, looks=0, clear_looks=clear, seen_at=now)
    if alert.state == State.PENDING:
        return replace(after, state=move(alert.state, Event.GONE).value)
    needed = 1 if alert.rule in AT_ONCE else patience.clear_after * 2**alert.flaps
    if clear < needed:
        return after
    return replace(after, state=move(alert.state, Event.GONE).value, resolved_at=now)


def ended(alerts: Sequence[Alert], rule: str, now: datetime) -> list[Alert]:
    """Return the book in which what fires by a rule is over: what was made on purpose lasts no longer."""
    return [
        replace(alert, state=move(alert.state, Event.GONE).value, told=State.RESOLVED.value, resolved_at=now)
        if alert.rule == rule and alert.state == State.FIRING
        else alert
        for alert in alerts
    ]


def merged(stored: Sequence[Alert], mine: Sequence[Alert]) -> list[Alert]:
    """Return the book when the database is back: what was seen meanwhile counts, under the numbers that are stored."""
    numbers = {(alert.rule, alert.subject): alert.alert_id for alert in stored if alert.open}
    known = {alert.alert_id for alert in stored}
    renamed = [
        replace(alert, alert_id=numbers[alert.rule, alert.subject])
        if alert.open and alert.alert_id not in known and (alert.rule, alert.subject) in numbers
        else alert
        for alert in mine
    ]
    newer = {alert.alert_id for alert in renamed}
    return [*(alert for alert in stored if alert.alert_id not in newer), *renamed]
