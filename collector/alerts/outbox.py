"""Sends what waits: each target by itself, at once, within a bound; what is not taken is tried again, later and later.

A message is marked only after its target took it: one that was killed between is sent twice, never lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from collector.alerts.rules import SEVERITIES
from collector.alerts.targets import SEND_WITHIN_S, Bounded, Target, result_of
from collector.clock import Clock
from collector.log import get_logger
from collector.storage.alerts import Message

DIGEST_OVER = 3  # messages that wait for one target; more go as one
LONGEST_PAUSE = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(days=3)
CLOCK_WENT_BACK = timedelta(hours=1)  # no pause is as long
MOST_CHARACTERS = 3500
NO_ANSWER = f"no answer within {SEND_WITHIN_S:.0f} s"
NOT_CONFIGURED = "the target is no longer in the settings"


class Outbox:
    """Sends messages to the targets of the settings; owned by one thread."""

    def __init__(self, targets: Mapping[str, Target], clock: Clock, pause: timedelta) -> None:
        """`pause` is the time before the first repeat; each further one waits twice as long."""
        self._targets, self._clock, self._pause = dict(targets), clock, pause
        self._bounded = Bounded()
        self._failing: set[str] = set()  # targets whose failure was said
        self._log = get_logger("Alerts")

    @property
    def names(self) -> Sequence[str]:
        """Return the names of the targets."""
        return list(self._targets)

    def send(self, messages: Sequence[Message], now: datetime, *, at_once: bool = False) -> list[Message]:
        """Send what is due (`at_once`: all) and return the messages that changed.

        `at_once` is a person's own call, whose settings may lack targets that the service has: theirs go on waiting.
        """
        waiting = [message for message in messages if message.state == "waiting"]
        lacking = [] if at_once else [item for item in waiting if item.target not in self._targets]
        changed = [self._given_up(item, NOT_CONFIGURED) for item in lacking]
        started = []
        deadline = self._clock.monotonic() + SEND_WITHIN_S
        for name, target in self._targets.items():
            its = [message for message in waiting if message.target == name]
            if its and (at_once or any(_due(message, now) for message in its)):
                parcels = _parcels(its)
                started.append((name, parcels, self._bounded.start(name, _sender(target, parcels))))
        for name, parcels, results in started:
            reasons = result_of(results, deadline - self._clock.monotonic()) or [NO_ANSWER] * len(parcels)
            changed += self._noted(name, parcels, reasons, now)
        return changed

    def _noted(
        self, name: str, parcels: Sequence[tuple[Message, Sequence[Message]]], reasons: Sequence[str], now: datetime
    ) -> list[Message]:
        changed = []
        for (_, parts), reason in zip(parcels, reasons, strict=True):
            changed += [self._after(message, reason, now) for message in parts]
        failed = next((reason for reason in reasons if reason), "")
        if failed and name not in self._failing:
            self._failing.add(name)
            self._log.warning("alert_not_delivered", target=name, reason=failed, effect="tried again")
        elif not failed and name in self._failing:
            self._failing.discard(name)
            self._log.info("alert_target_is_back", target=name)
        return changed

    def _after(self, message: Message, reason: str, now: datetime) -> Message:
        attempts = message.attempts + 1
        if not reason:
            return replace(message, state="delivered", attempts=attempts, next_try_at=None, delivered_at=now, error="")
        if now - message.made_at > GIVE_UP_AFTER:
            return self._given_up(replace(message, attempts=attempts), reason)
        pause = min(LONGEST_PAUSE, self._pause * 2 ** min(attempts - 1, 10))
        return replace(message, attempts=attempts, next_try_at=now + pause, error=reason)

    def _given_up(self, message: Message, reason: str) -> Message:
        self._log.error("alert_given_up", target=message.target, title=message.title, reason=reason)
        return replace(message, state="given_up", next_try_at=None, error=reason)


def _due(message: Message, now: datetime) -> bool:
    at = message.next_try_at
    return at is None or at <= now or at > now + CLOCK_WENT_BACK


def _parcels(messages: Sequence[Message]) -> list[tuple[Message, Sequence[Message]]]:
    """Return what is sent, oldest first, and which messages are in it: when many wait, all of them go as one."""
    alone = [message for message in messages if message.kind == "self_test"]
    others = [message for message in messages if message.kind != "self_test"]
    parcels: list[tuple[Message, Sequence[Message]]] = [(message, [message]) for message in alone]
    if len(others) <= DIGEST_OVER:
        return [*parcels, *((message, [message]) for message in others)]
    text = "\n\n".join(f"{message.made_at:%m-%d %H:%M} UTC {message.title}\n{message.body}" for message in others)
    body = text if len(text) <= MOST_CHARACTERS else "(the oldest are cut off) ..." + text[-MOST_CHARACTERS + 40 :]
    severity = max((message.severity for message in others), key=SEVERITIES.index)
    title = f"Collector: {len(others)} messages that could not be sent before"
    return [*parcels, (replace(others[-1], title=title, body=body, severity=severity), others)]


def _sender(target: Target, parcels: Sequence[tuple[Message, Sequence[Message]]]) -> "_Sender":
    return _Sender(target, [message for message, _ in parcels])


class _Sender:
    """Hands messages over one after the other; after one that was not taken the rest would not be either."""

    def __init__(self, target: Target, messages: Sequence[Message]) -> None:
        self._target, self._messages = target, messages

    def __call__(self) -> list[str]:
        reasons: list[str] = []
        for message in self._messages:
            failed = next((reason for reason in reasons if reason), "")
            reasons.append(failed or self._target.deliver(message))
        return reasons
