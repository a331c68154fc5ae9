"""Housekeeping: a process beside the collector that does what may take long, so that no cycle waits for it.

Sinks, exports, retention, backups and alerts are chores. One that fails is told and tried again when it is due; the
others go on. On one database one process keeps house at a time.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from collector.clock import Clock
from collector.errors import CollectorError, ConfigError, LockHeld, StorageError
from collector.log import get_logger

TICK_S = 5.0  # between two looks at what is due


class Chore(Protocol):
    """Something that is done again and again; owned by one thread."""

    @property
    def name(self) -> str:
        """Return its word in the log."""

    def due(self, now: datetime) -> bool:
        """Return whether to run now; cheap. Raises CollectorError."""

    def run(self, now: datetime) -> Mapping[str, object]:
        """Do it and return what the log says of it; nothing when nothing was done. Raises CollectorError."""


class Lock(Protocol):
    """Proof that nobody else keeps house."""

    def still_held(self) -> bool:
        """Return whether it is."""


class Housekeeper:
    """Does chores while it holds the lock; beside them, in a thread of its own, what must not wait for them.

    Use as a context manager.
    """

    def __init__(
        self,
        chores: Sequence[Chore],
        lock: Callable[[], AbstractContextManager[Lock]],
        clock: Clock,
        *,
        always: Sequence[Chore] = (),
    ) -> None:
        """Start nothing yet. `always` is done even while the database is away or another process keeps house."""
        self._chores, self._always = chores, always
        self._take, self._clock = lock, clock
        self._stack = ExitStack()
        self._lock: Lock | None = None
        self._waits = ""  # why the lock is not ours, said once
        self._log = get_logger("Housekeeping")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, stopping: threading.Event) -> None:
        """Do what is due, again and again, until told to stop."""
        self._log.info("housekeeping_started", chores=",".join(chore.name for chore in (*self._chores, *self._always)))
        always = None
        with ThreadPoolExecutor(1, thread_name_prefix="always") as beside:
            try:
                if self._always:
                    always = beside.submit(self._repeat, lambda: self._always, stopping)
                self._repeat(lambda: self._chores if self._held() else (), stopping)
            finally:
                stopping.set()  # also when Ctrl+C comes while the other thread starts: it would go on for ever
        if always is not None:
            always.result()

    def _repeat(self, chores: Callable[[], Sequence[Chore]], stopping: threading.Event) -> None:
        try:
            while not stopping.is_set():
                for chore in chores():
                    self._run(chore)
                self._clock.sleep(TICK_S)
        finally:
            stopping.set()  # a defect in one thread ends both: the process is started again

    def look(self) -> tuple[int, int]:
        """Run the chores that are due, one after the other; return how many ended well, and how many failed."""
        ended = [self._run(chore) for chore in (*self._always, *(self._chores if self._held() else ()))]
        return ended.count(True), ended.count(False)

    def hold(self) -> None:
        """Take the lock. Raises LockHeld while another process keeps house, StorageError while the database is away.

        And ConfigError while its tables are not this program's.
        """
        if self._lock is None or not self._lock.still_held():
            self._lock = None
            self._stack.close()
            self._lock = self._stack.enter_context(self._take())

    def _held(self) -> bool:
        try:
            self.hold()
        except (LockHeld, StorageError, ConfigError) as error:
            kind = type(error).__name__
            if self._waits != kind:
                self._log.warning("housekeeping_waits", reason=str(error))
            self._waits = kind
            return False
        self._waits = ""
        return True

    def _run(self, chore: Chore) -> bool | None:
        """Return whether a chore ended well; None when it was not due."""
        began = self._clock.monotonic()
        try:
            if not chore.due(self._clock.now()):
                return None
            said = chore.run(self._clock.now())
        except CollectorError as error:
            self._log.warning("chore_failed", chore=chore.name, kind=type(error).__name__, reason=str(error))
            return False
        if said:
            took = round(self._clock.monotonic() - began, 3)
            self._log.info("chore_done", chore=chore.name, duration_s=took, **said)
        return True
