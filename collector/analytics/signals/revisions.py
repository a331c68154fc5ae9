"""What was emitted stays; where its inputs were corrected and it would be told otherwise today, a revision says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from collector.analytics.signals.rows import Named, Reading, Signal
from collector.records import Interval

SAME = 1e-9  # strengths and relative prices nearer than this are one value: another machine's last digits
INPUTS = "inputs"  # a bar or settlement of the window was corrected, added or removed
CODE = "code"  # the same inputs give another answer: the version of this kind should have been raised

Key: TypeAlias = tuple[str, str, str, datetime, str, int]


class Emitted(Named, Protocol):
    """A stored signal, with the fields of `Signal` that are compared."""

    @property
    def state(self) -> str: ...
    @property
    def strength(self) -> float: ...
    @property
    def price(self) -> float | None: ...
    @property
    def inputs_hash(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What a recomputation says today about a signal that was emitted; `revision` counts from 1 per signal.

    `differs` names what changed against the revision before (or the signal): `gone`, `back`, `direction`, `strength`,
    `price`. A signal that is gone has None from `direction` on. `cause`: `inputs` or `code`.
    """

    subject: str
    interval: Interval
    kind: str
    name: str
    bar_end: datetime
    parameter_hash: str
    version: int
    revision: int
    differs: tuple[str, ...]
    cause: str
    direction: int | None
    state: str | None
    strength: float | None
    price: float | None
    inputs_hash: str | None


def revised(stored: Sequence[Emitted], recomputed: Reading, revisions: Iterable[Revision] = ()) -> list[Revision]:
    """Return the revisions that are due, in the order of the stored signals.

    `revisions`: those already stored; each signal is compared with its last one, so the same difference is told once.
    A stored signal that the reading cannot judge (another rule or version, outside its time, inside a gap) is left
    alone: what cannot be recomputed is not gone. A recomputed signal that is not stored is no revision: it is new.
    """
    today = {_key(signal): signal for signal in recomputed.signals}
    last: dict[Key, Revision] = {}
    for revision in revisions:
        key = _key(revision)
        if key not in last or last[key].revision < revision.revision:
            last[key] = revision
    mute = _mute(recomputed)
    due = []
    for signal in stored:
        key = _key(signal)
        if key in today or (_judged(signal, recomputed) and not _inside(signal, mute)):
            due.append(_revision(signal, last.get(key), today.get(key)))
    return [revision for revision in due if revision is not None]


def _revision(signal: Emitted, last: Revision | None, now: Signal | None) -> Revision | None:
    before: Emitted | Revision = signal if last is None else last
    differs = _differences(before, now)
    if not differs:
        return None
    known = signal.inputs_hash if last is None or last.inputs_hash is None else last.inputs_hash
    return Revision(
        subject=signal.subject,
        interval=signal.interval,
        kind=signal.kind,
        name=signal.name,
        bar_end=signal.bar_end,
        parameter_hash=signal.parameter_hash,
        version=signal.version,
        revision=1 if last is None else last.revision + 1,
        differs=differs,
        cause=CODE if now is not None and differs != ("back",) and now.inputs_hash == known else INPUTS,
        direction=None if now is None else now.direction,
        state=None if now is None else now.state,
        strength=None if now is None else now.strength,
        price=None if now is None else now.price,
        inputs_hash=None if now is None else now.inputs_hash,
    )


def _differences(before: Emitted | Revision, now: Signal | None) -> tuple[str, ...]:
    if now is None:
        return () if before.direction is None else ("gone",)
    if before.direction is None or before.strength is None:
        return ("back",)
    found = ["direction"] if now.direction != before.direction else []
    found += ["strength"] if abs(now.strength - before.strength) > SAME else []
    found += ["price"] if _moved(before.price, now.price) else []
    return tuple(found)


def _moved(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is not now
    return abs(now - before) > SAME * abs(before)


def _key(row: Emitted | Revision) -> Key:
    return row.subject, str(row.interval), row.name, row.bar_end, row.parameter_hash, row.version


def _judged(signal: Emitted, reading: Reading) -> bool:
    rule = (signal.subject, signal.name, signal.parameter_hash, signal.version)
    if rule not in reading.rules or reading.first is None or reading.until is None:
        return False
    return signal.interval == reading.interval and reading.first <= signal.bar_end <= reading.until


def _mute(reading: Reading) -> dict[tuple[str, str], list[tuple[datetime, datetime]]]:
    found: dict[tuple[str, str], list[tuple[datetime, datetime]]] = {}
    for gap in reading.skipped:
        found.setdefault((gap.subject, gap.name), []).append((gap.since, gap.until))
    return found


def _inside(signal: Emitted, mute: dict[tuple[str, str], list[tuple[datetime, datetime]]]) -> bool:
    return any(since <= signal.bar_end <= until for since, until in mute.get((signal.subject, signal.name), []))
