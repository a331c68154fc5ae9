"""The chore: one look at the vitals a minute, and all that follows from it; goes on while the database is away.

What follows is stored before it is sent. While the database is away the book lives in memory, is told from there, and
is stored when the database is back.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from collector.alerts import book, rules, telling
from collector.alerts.outbox import Outbox
from collector.alerts.rules import Expected, Finding, Look
from collector.alerts.targets import PING_WITHIN_S, Bounded, Ping, result_of
from collector.clock import Clock
from collector.config.alerts import AlertSettings
from collector.errors import StorageError
from collector.log import get_logger
from collector.storage.alerts import Alert, AlertStore, Message, Stored
from collector.storage.vitals import Vitals

KEPT = timedelta(days=2)  # for which what is over stays in mind: to be told after quiet hours, and to notice flapping
DELIVERY_WITHIN = timedelta(minutes=5)
CLOCK_WENT_BACK = timedelta(hours=1)
PRUNE_EVERY_S = 3600.0
LINES = 20  # of one kind in the log at one look
SELF_TEST = "self_test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the chore is made of."""

    settings: AlertSettings
    expected: Expected
    read: Callable[[datetime], Vitals]  # raises StorageError
    store: AlertStore
    outbox: Outbox
    ping: Ping | None
    clock: Clock
    mark: str = ""  # begins every title: that the data is simulated


@dataclass(slots=True)
class _Book:
    """What is known between two looks."""

    alerts: Sequence[Alert] = ()
    messages: Sequence[Message] = ()
    unsaved: bool = False  # the database lacks some of it
    as_stored: dict[str, Alert | Message] = field(default_factory=dict)


class Alerts:
    """Looks, keeps the book, tells and calls the dead man's switch. Owned by one thread."""

    def __init__(self, wiring: Wiring) -> None:
        self._w = wiring
        self._book = _Book()
        self._looked_at = self._pruned_at = float("-inf")
        self._bounded = Bounded()
        self._ping_failed = False
        self._log = get_logger("Alerts")

    @property
    def name(self) -> str:
        """Return its word in logs."""
        return "alerts"

    def due(self, now: datetime) -> bool:  # noqa: ARG002 - by the clock that cannot jump
        """Return whether it is time for a look."""
        return self._w.clock.monotonic() - self._looked_at >= self._w.settings.every.total_seconds()

    def run(self, now: datetime) -> Mapping[str, object]:
        """Look once and do all that follows; what there is to say it says itself.

        Raises IllegalTransition, a defect of ours.
        """
        self._looked_at = self._w.clock.monotonic()
        self._turn(self.look(now), now, test=False)
        return {}

    def look(self, now: datetime) -> Look:
        """Return what is wrong now; nothing is stored or told."""
        try:
            return rules.look(self._w.read(now), self._w.settings, self._w.expected)
        except StorageError as error:
            return rules.database_away(str(error))

    def test(self, now: datetime) -> Mapping[str, str] | None:
        """Send a test alert the whole way now; return why each target did not take it, empty where it did.

        None while another process takes its turn at the alerts.
        """
        sent = self._turn(Look(findings=(), judged=frozenset()), now, test=True)
        if sent is None:
            return None
        newest = {item.target: item for item in sorted(sent, key=lambda item: item.made_at) if item.kind == SELF_TEST}
        return {
            name: "" if item.state == "delivered" else item.error or "not tried"
            for name, item in newest.items()
            if item.made_at == now
        }

    # ------------------------------------------------------------------ one turn

    def _turn(self, found: Look, now: datetime, *, test: bool) -> Sequence[Message] | None:
        """Do what follows from a look; return all messages that are known then. None: another process is at it."""
        with ExitStack() as stack:
            try:
                if not stack.enter_context(self._w.store.turn()):
                    return None
                self._remember(self._w.store.load(now - KEPT, now + CLOCK_WENT_BACK))
            except StorageError as error:
                if "database_away" not in {item.rule for item in found.findings}:
                    found = rules.database_away(str(error))
            self._keep(self._with_own(found, now, test=test), now)
            self._send(now, test=test)
            self._prune(now)
        self._call_dead_man(found)
        return self._book.messages

    def _remember(self, stored: Stored) -> None:
        """Take over what is stored, and what was seen while it could not be."""
        mine, alerts, messages = self._book, stored.alerts, stored.messages
        if mine.unsaved:
            alerts = book.merged(alerts, mine.alerts)
            newer = {message.message_id for message in mine.messages}
            messages = [*(item for item in messages if item.message_id not in newer), *mine.messages]
        as_stored: dict[str, Alert | Message] = {alert.alert_id: alert for alert in stored.alerts}
        as_stored |= {message.message_id: message for message in stored.messages}
        self._book = _Book(alerts, messages, mine.unsaved, as_stored)

    def _with_own(self, found: Look, now: datetime, *, test: bool) -> Look:
        """Return a look with what only the book can tell: targets that take nothing, and the test that is due."""
        own = list(self._undelivered(now))
        if test or self._test_is_due(found, now):
            text = "made on purpose, to see that alerts arrive"
            own.append(Finding(rule=SELF_TEST, subject=f"{now:%Y-%m-%d %H:%M:%S}", severity=rules.INFO, detail=text))
        judged = found.judged | {"delivery", SELF_TEST}
        return Look(findings=(*found.findings, *own), judged=judged)

    def _undelivered(self, now: datetime) -> list[Finding]:
        found = []
        for name in self._w.outbox.names:
            waiting = [item for item in self._book.messages if item.target == name and _waits(item, now)]
            if waiting:
                oldest = min(waiting, key=lambda item: item.made_at)
                what = f"{len(waiting)} messages wait since {oldest.made_at:%m-%d %H:%M} UTC"
                test = "; the self-test did not arrive" if any(item.kind == SELF_TEST for item in waiting) else ""
                detail = f"{what}{test}: {oldest.error}"
                found.append(Finding(rule="delivery", subject=name, severity=rules.WARNING, detail=detail))
        return found

    def _test_is_due(self, found: Look, now: datetime) -> bool:
        quiet = telling.is_quiet(now, self._w.settings.quiet)
        away = any(item.rule == "database_away" for item in found.findings)
        if quiet or away or not self._w.outbox.names or SELF_TEST in self._w.settings.without:
            return False
        made = [item.made_at for item in self._book.messages if item.kind == SELF_TEST]
        tests = [at for at in made if at - now <= CLOCK_WENT_BACK]
        return not tests or now - max(tests) >= self._w.settings.self_test_every

    def _keep(self, found: Look, now: datetime) -> None:
        """Turn the page of the book, write what is to be told, and store both."""
        limits, names = self._w.settings, self._w.outbox.names
        patience = book.Patience(fire_after=limits.fire_after, clear_after=limits.clear_after)
        turned = book.turn(self._book.alerts, found, now, patience, _new_id)
        self._say(turned)
        told = telling.news(turned.alerts, now, limits)
        made = telling.messages(told, names, now, _new_id, mark=self._w.mark)
        if any(alert.rule == SELF_TEST for alert in turned.fired):
            made += telling.self_tests(names, now, _new_id, mark=self._w.mark)
        alerts = book.ended(telling.marked(turned.alerts, told, now), SELF_TEST, now)
        self._book = replace(self._book, alerts=alerts, messages=[*self._book.messages, *made])
        self._save(turned.dismissed)

    def _send(self, now: datetime, *, test: bool) -> None:
        changed = {item.message_id: item for item in self._w.outbox.send(self._book.messages, now, at_once=test)}
        if changed:
            messages = [changed.get(item.message_id, item) for item in self._book.messages]
            self._book = replace(self._book, messages=messages)
            self._save(())

    def _save(self, dismissed: Sequence[str]) -> None:
        """Store what the database lacks; what it does not take now stays in mind."""
        known = self._book.as_stored
        alerts = [item for item in self._book.alerts if known.get(item.alert_id) != item]
        messages = [item for item in self._book.messages if known.get(item.message_id) != item]
        gone = [number for number in dismissed if number in known]
        if not (alerts or messages or gone):
            return
        try:
            self._w.store.save(alerts, messages, gone)
        except StorageError as error:
            if not self._book.unsaved:
                self._log.warning("alerts_not_stored", reason=str(error), effect="kept in memory and told from there")
            self._book.unsaved = True
            return
        fresh = {item.alert_id: item for item in alerts} | {item.message_id: item for item in messages}
        self._book = replace(self._book, unsaved=False, as_stored={**known, **fresh})

    def _prune(self, now: datetime) -> None:
        ticks = self._w.clock.monotonic()
        if self._book.unsaved or ticks - self._pruned_at < PRUNE_EVERY_S:
            return
        self._pruned_at = ticks
        try:
            self._w.store.prune(now - self._w.settings.keep)
        except StorageError as error:
            self._log.warning("alerts_not_pruned", reason=str(error))

    # ------------------------------------------------------------------ the dead man's switch, and the log

    def _call_dead_man(self, found: Look) -> None:
        """Call it when the collector is at work and alerts arrive: who is not called raises the alarm."""
        broken = any(alert.rule == "delivery" and alert.state == "firing" for alert in self._book.alerts)
        if self._w.ping is None or not found.judged or not rules.alive(found) or broken:
            return
        answer = result_of(self._bounded.start("ping", self._w.ping.send), PING_WITHIN_S)
        reason = "no answer in time" if answer is None else str(answer)
        if reason and not self._ping_failed:
            self._log.warning("ping_failed", reason=reason)
        self._ping_failed = bool(reason)

    def _say(self, turned: book.Turned) -> None:
        for event, write, alerts in (
            ("alert_fired", self._log.warning, turned.fired),
            ("alert_resolved", self._log.info, turned.resolved),
        ):
            for alert in alerts[:LINES]:
                write(event, rule=alert.rule, subject=alert.subject, severity=alert.severity, detail=alert.detail)
            if len(alerts) > LINES:
                write(event, rule="others", count=len(alerts) - LINES, remedy="python main.py alerts")


def _waits(message: Message, now: datetime) -> bool:
    return message.state == "waiting" and message.attempts > 0 and now - message.made_at >= DELIVERY_WITHIN


def _new_id() -> str:
    return str(uuid.uuid4())
