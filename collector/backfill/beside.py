"""A backfill beside a collector that works on the database: the range is left to its healing, and followed."""

import threading
from collections.abc import Callable

from collector.backfill.progress import Progress
from collector.backfill.ranges import Outcome, Request, bounded, held_of, wanted_parts, windows_of
from collector.clock import Clock
from collector.coverage import ASKED_FOR, HELD, Event, Finding, State, Window
from collector.errors import ConfigError
from collector.storage.coverage import CoverageStore
from collector.storage.reader import Reader

FOLLOW_EVERY_S = 2.0
TRIES = 2  # of each window; what did not come then is told


def follow(
    request: Request,
    *,
    store: CoverageStore,
    reader: Reader,
    clock: Clock,
    show: Callable[[str], None],
    stopping: threading.Event,
    at_work: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Leave the range to the daemon's healing and follow it until every window was tried twice, or a stop.

    It ends as well when the daemon is not `at_work` any more: nobody else would heal. Raises ConfigError for a named
    source: whom to ask is up to the daemon. The rows are not counted.
    """
    refuse_source(request)
    asked = bounded(request, reader, clock.now())
    request = asked.request
    store.mark(
        (request.series, _wish(window, since=since, until=until, source=asked.row.instrument.venue))
        for since, until, window in wanted_parts(request, windows_of(store, request))
        if window is None or window.state is State.MISSING
    )
    progress = Progress(request, clock, show, lambda: held_of(windows_of(store, request)))
    progress.tell(now=True)
    windows = windows_of(store, request)
    while any(_is_open(window) for window in windows) and not stopping.is_set() and at_work():
        clock.sleep(FOLLOW_EVERY_S)
        progress.tell()
        windows = windows_of(store, request)
    progress.tell(now=True)
    left = [window for window in windows if window.state not in HELD]
    return Outcome(held=held_of(windows), rows=None, left=left, interrupted=stopping.is_set())


def refuse_source(request: Request) -> None:
    """Raise ConfigError when a request names whom to ask."""
    if request.source is not None:
        raise ConfigError(
            f"--source: {request.source!r} cannot be chosen while a daemon works on this database and asks by its own "
            "rules; stop it, or leave --source out"
        )


def _wish(window: Window | None, **where: object) -> Finding:
    """Return that a stretch is wanted. A hole keeps its reason: it is one whether somebody asks for it or not."""
    reason = window.reason if window is not None and window.reason else ASKED_FOR
    return Finding(event=Event.WANTED, reason=reason, **where)  # type: ignore[arg-type]


def _is_open(window: Window) -> bool:
    return window.state is State.PENDING or (window.state is State.MISSING and window.attempts < TRIES)
