"""The view without a terminal: one line per change between two pictures, for pipes and logs."""

from collections.abc import Iterator

from collector.clock import iso
from collector.printing import span
from collector.records import CycleState
from collector.watch.picture import Freshness, Picture
from collector.watch.words import harmless


def changes(before: Picture | None, now: Picture) -> list[str]:
    """Return a line for each thing that is new since `before`; for None, what matters of the first picture."""
    at = iso(now.at)
    return [f"{at} {harmless(line)}" for line in _lines(before or Picture(at=now.at), now, first=before is None)]


def _lines(old: Picture, new: Picture, *, first: bool) -> Iterator[str]:
    if new.simulated and first:
        yield "SIMULATED: every number below is made up"
    yield from _reach(old, new, first=first)
    if new.away:
        return
    yield from _cycles(old, new, first=first)
    yield from _failures(old, new, first=first)
    yield from _pauses(old, new)
    yield from _freshness(old, new)
    yield from _alerts(old, new)


def _reach(old: Picture, new: Picture, *, first: bool) -> Iterator[str]:
    if new.away and new.away != old.away:
        yield f"database away: {new.away}"
    if old.away and not new.away:
        yield "database is back"
    if not new.away and (new.collecting != old.collecting or first):
        yield "collecting" if new.collecting else "no collector is running"


def _cycles(old: Picture, new: Picture, *, first: bool) -> Iterator[str]:
    known = {item.cycle_id: item for item in old.cycles}
    shown = new.cycles[:1] if first else new.cycles
    for item in reversed(shown):
        before = known.get(item.cycle_id)
        if before is None and not first and known and item.cycle_id < min(known):
            continue  # older than what the last picture could show
        if before is None and item.state is CycleState.RUNNING:
            yield f"cycle {item.cycle_id} {item.cadence} started"
        if item.finished_at is not None and (before is None or before.finished_at is None):
            took = (item.finished_at - item.started_at).total_seconds()
            lost = f" failed={item.jobs_failed} skipped={item.jobs_skipped}"
            yield f"cycle {item.cycle_id} {item.cadence} {item.state.value} after {took:.1f} s rows={item.rows}{lost}"
    if new.running is not None and new.progress and new.progress != old.progress:
        done, rows = sum(item.done for item in new.progress), sum(item.rows for item in new.progress)
        expected = sum(item.expected or 0 for item in new.progress)
        failed = sum(item.failed for item in new.progress)
        whole = f"~{expected}" if expected else "?"
        yield f"cycle {new.running.cycle_id} {new.running.cadence} jobs={done}/{whole} rows={rows} failed={failed}"


def _failures(old: Picture, new: Picture, *, first: bool) -> Iterator[str]:
    newest = max((item.job_id for item in old.failures), default=0)
    fresh = [item for item in new.failures if item.job_id > newest][: 3 if first else None]
    for item in reversed(fresh):
        yield f"failed: {item.source} {item.dataset} {item.subject}: {item.error}"


def _pauses(old: Picture, new: Picture) -> Iterator[str]:
    before = {item.source: item for item in old.pauses}
    after = {item.source: item for item in new.pauses}
    for name, item in after.items():
        if name not in before or before[name].until != item.until:
            yield f"{name} {item.kind} for {span(item.until - new.at)}: {item.reason}"
    yield from (f"{name} may be asked again" for name in before if name not in after)


def _freshness(old: Picture, new: Picture) -> Iterator[str]:
    before = {_key(item) for item in old.freshness if item.stale}
    after = {_key(item) for item in new.freshness if item.stale}
    yield from (f"stale: {name}" for name in sorted(after - before))
    yield from (f"fresh again: {name}" for name in sorted(before - after))


def _key(item: Freshness) -> str:
    return f"{item.source} {item.dataset}"


def _alerts(old: Picture, new: Picture) -> Iterator[str]:
    before = {(item.rule, item.subject) for item in old.alerts}
    after = {(item.rule, item.subject): item for item in new.alerts}
    for key, item in after.items():
        if key not in before:
            yield f"alert {item.severity} {item.rule} {item.subject}: {item.detail}"
    yield from (f"alert over: {' '.join(key)}" for key in sorted(before - set(after)))
