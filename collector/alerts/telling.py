"""What is told of the book, and in which words (pure): what is new, what lasts, what is over; in quiet hours the worst.

All that is to be told at one look goes into one message, however much it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from zoneinfo import ZoneInfo

from collector.alerts.rules import CRITICAL, SEVERITIES
from collector.config.alerts import AlertSettings, QuietSettings
from collector.printing import span
from collector.storage.alerts import Alert, Message

SHOWN = 8  # subjects of one rule in one message
MOST_CHARACTERS = 3500  # of a body; Telegram takes 4096
SILENT_RULES = frozenset({"self_test"})  # told by a message of its own kind


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is to be told at one moment."""

    fired: Sequence[Alert] = ()
    lasting: Sequence[Alert] = ()
    over: Sequence[Alert] = ()

    @property
    def all(self) -> Sequence[Alert]:
        """Return every alert in it."""
        return (*self.fired, *self.lasting, *self.over)

    def without_target(self, name: str) -> "News":
        """Return what a target is told: not that it cannot be reached itself."""

        def others(alerts: Sequence[Alert]) -> list[Alert]:
            return [alert for alert in alerts if (alert.rule, alert.subject) != ("delivery", name)]

        return News(fired=others(self.fired), lasting=others(self.lasting), over=others(self.over))


def is_quiet(now: datetime, quiet: QuietSettings) -> bool:
    """Return whether a moment is in the quiet hours, by the wall clock of their time zone."""
    hours = quiet.hours()
    if hours is None:
        return False
    since, until = hours
    time = now.astimezone(ZoneInfo(quiet.time_zone)).time()
    return since <= time < until if since < until else time >= since or time < until


def news(alerts: Sequence[Alert], now: datetime, settings: AlertSettings) -> News:
    """Return what is to be told now; the rest waits in the book."""
    quiet = is_quiet(now, settings.quiet)
    may = [
        alert
        for alert in alerts
        if alert.rule not in SILENT_RULES and (not quiet or (alert.severity == CRITICAL and settings.quiet.critical))
    ]
    firing = [alert for alert in may if alert.state == "firing"]
    return News(
        fired=[alert for alert in firing if alert.told != "firing"],
        lasting=[
            alert
            for alert in firing
            if alert.told == "firing" and alert.told_at is not None and now - alert.told_at >= settings.remind_after
        ],
        over=[alert for alert in may if alert.state == "resolved" and alert.told != "resolved"],
    )


def marked(alerts: Sequence[Alert], told: News, now: datetime) -> list[Alert]:
    """Return the book with the marks of what was told."""
    numbers = {alert.alert_id for alert in told.all}
    return [
        replace(alert, told=alert.state, told_at=now)
        if alert.alert_id in numbers or (alert.rule in SILENT_RULES and alert.state != "pending")
        else alert
        for alert in alerts
    ]


def messages(
    told: News, targets: Sequence[str], now: datetime, new_id: Callable[[], str], *, mark: str = ""
) -> list[Message]:
    """Return a message for each target that has something to hear; `mark` begins its title."""
    made = []
    for target in targets:
        its = told.without_target(target)
        if its.all:
            severity = max((alert.severity for alert in its.all), key=SEVERITIES.index)
            title, body = f"{mark}{_title(its)}", _body(its, now)
            made.append(_message(target, "alerts", severity, title, body, now, new_id()))
    return made


def self_tests(targets: Sequence[str], now: datetime, new_id: Callable[[], str], *, mark: str = "") -> list[Message]:
    """Return a test message for each target."""
    title = f"{mark}Collector: alerts arrive here"
    body = f"A test, made on purpose at {now:%Y-%m-%d %H:%M} UTC. Nothing is wrong; nothing is to be done."
    return [_message(target, "self_test", "info", title, body, now, new_id()) for target in targets]


def _message(target: str, kind: str, severity: str, title: str, body: str, now: datetime, number: str) -> Message:
    return Message(message_id=number, target=target, kind=kind, severity=severity, title=title, body=body, made_at=now)


def _title(told: News) -> str:
    if len(told.all) == 1:
        alert = told.all[0]
        word = "firing" if told.fired else "still firing" if told.lasting else "over"
        return f"Collector: {alert.severity}: {alert.rule} {'' if alert.subject == '-' else alert.subject + ' '}{word}"
    parts = [(len(told.fired), "firing"), (len(told.lasting), "still firing"), (len(told.over), "over")]
    return f"Collector: {', '.join(f'{count} {word}' for count, word in parts if count)}"


def _body(told: News, now: datetime) -> str:
    parts = (("Firing", told.fired), ("Still firing", told.lasting), ("Over", told.over))
    lines = [line for head, alerts in parts if alerts for line in (f"{head}:", *_lines(alerts, now))]
    text = "\n".join(lines)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 4] + " ..."


def _lines(alerts: Sequence[Alert], now: datetime) -> Iterator[str]:
    ordered = sorted(alerts, key=lambda alert: (-SEVERITIES.index(alert.severity), alert.rule, alert.subject))
    for rule, group in groupby(ordered, key=lambda alert: alert.rule):
        items = list(group)
        for alert in items[:SHOWN]:
            yield f"- {rule} {alert.subject}: {alert.detail} ({_when(alert, now)})"
        if len(items) > SHOWN:
            yield f"- {rule}: and {len(items) - SHOWN} more; see: python main.py alerts"


def _when(alert: Alert, now: datetime) -> str:
    if alert.resolved_at is not None:
        return f"from {alert.since:%m-%d %H:%M} to {alert.resolved_at:%m-%d %H:%M} UTC"
    return f"since {alert.since:%m-%d %H:%M} UTC, {span(now - alert.since)}"
