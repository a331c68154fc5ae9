"""The daemon: APScheduler starts one cycle at a time, signals stop it cleanly, a watch survives clock jumps."""

import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Protocol

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from collector.clock import EPOCH, Clock
from collector.config import CadenceSettings
from collector.errors import CollectorError, StorageError
from collector.log import get_logger
from collector.records import CycleReport

WATCH_EVERY_S = 5.0
JUMP_S = 2.0  # wall and monotonic time that differ by more than this since the last look: the clock was set
HUNG_DEADLINES = 3  # a cycle that takes this many of its deadlines, and HUNG_S at least, does not end by itself
HUNG_S = 300.0
FORCED_EXIT = 70
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Runner(Protocol):
    """What the daemon drives."""

    def run(self, cadence: str) -> CycleReport:
        """Run one cycle."""

    def stop(self) -> None:
        """End the running cycle soon and start nothing more."""


class Daemon:
    """Keeps collecting until told to stop."""

    def __init__(
        self,
        *,
        runner: Runner,
        cadences: Mapping[str, CadenceSettings],
        overdue: Sequence[str],
        clock: Clock,
        after_cycle: Callable[[CycleReport], None],
        notify_socket: str = "",
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        """`on_stop` is called when the end begins, before the running cycle is told."""
        self._runner = runner
        self._cadences = cadences
        self._overdue = overdue
        self._clock = clock
        self._after_cycle = after_cycle
        self._notify_socket = notify_socket
        self._on_stop = on_stop
        self._stop = threading.Event()
        self._error: CollectorError | None = None
        self._running = ""  # the cadence of the last cycle
        self._hung_at = math.inf  # monotonic; when the cycle in progress counts as hung
        self._log = get_logger("Collector")
        self._scheduler = self._build_scheduler()

    def _build_scheduler(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1)},  # cycles never overlap; a due one waits its turn
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )
        scheduler.add_listener(self._overrun, EVENT_JOB_MAX_INSTANCES)
        scheduler.add_listener(self._lost, EVENT_JOB_MISSED | EVENT_JOB_ERROR)
        return scheduler

    def run(self) -> None:
        """Start with a cycle of every overdue cadence, then keep the schedule until `stop`.

        Raises the error that made going on impossible.
        """
        for name, cadence in self._cadences.items():
            # APScheduler takes None as "paused": the argument is left out where the trigger shall decide.
            place = {"next_run_time": self._clock.now()} if name in self._overdue else {}
            self._scheduler.add_job(self._cycle, trigger=build_trigger(cadence), args=[name], id=name, **place)
        self._notify("READY=1")  # before the first cycle can feed the watchdog
        self._scheduler.start()
        self._watch()
        self._notify("STOPPING=1")
        if self._on_stop is not None:
            self._on_stop()
        self._runner.stop()
        self._scheduler.shutdown(wait=True)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ask for a clean end; returns at once."""
        self._stop.set()

    def handle_signals(self) -> None:
        """Let SIGTERM, SIGINT and a closed terminal (SIGHUP) end the daemon cleanly; a second one ends it at once."""
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stop.is_set():
            os._exit(FORCED_EXIT)
        self._log.info("stopping", signal=signal.Signals(number).name)
        self._stop.set()

    def _cycle(self, cadence: str) -> None:
        if self._stop.is_set():
            return
        self._running = cadence
        patience = max(HUNG_S, HUNG_DEADLINES * self._cadences[cadence].deadline.total_seconds())
        self._hung_at = self._clock.monotonic() + patience
        try:
            self._run(cadence)
        finally:
            self._hung_at = math.inf

    def _run(self, cadence: str) -> None:
        try:
            report = self._runner.run(cadence)
        except StorageError as error:
            self._log.error("cycle_not_recorded", cadence=cadence, reason=str(error))
            return
        except CollectorError as error:
            self._error = error
            self._stop.set()
            return
        if report.spooled or any(part.rows for part in report.sources):
            self._notify("WATCHDOG=1")  # only rows that were kept prove that collecting works
        self._after_cycle(report)

    def _watch(self) -> None:
        """Wait for the stop; re-arm the jobs when the wall clock was set, end the process when a cycle hangs."""
        wall, steady = self._clock.now(), self._clock.monotonic()
        while not self._stop.wait(WATCH_EVERY_S):
            now, ticks = self._clock.now(), self._clock.monotonic()
            if ticks >= self._hung_at:
                self._log.error("cycle_hangs", cadence=self._running, remedy="the service manager starts it again")
                os._exit(FORCED_EXIT)  # a thread that hangs cannot be ended, and what it holds is freed by the kernel
            jump = (now - wall).total_seconds() - (ticks - steady)
            wall, steady = now, ticks
            if abs(jump) > JUMP_S:
                self._log.warning("clock_jumped", seconds=jump)
                self._rearm(now)

    def _rearm(self, now: datetime) -> None:
        for job in self._scheduler.get_jobs():
            # What became due meanwhile (the machine slept) runs now; its next turn may be a day away.
            due = job.next_run_time is not None and job.next_run_time <= now
            job.modify(next_run_time=now if due else job.trigger.get_next_fire_time(None, now))

    def _overrun(self, event: JobEvent) -> None:
        self._log.warning("cycle_skipped", cadence=event.job_id, reason=f"a {self._running} cycle is still running")

    def _lost(self, event: JobEvent) -> None:
        error = getattr(event, "exception", None)
        if error is not None:
            self._log.defect("cycle_defect", error, cadence=event.job_id)
        else:
            self._log.warning("cycle_missed", cadence=event.job_id)

    def _notify(self, state: str) -> None:
        """Tell systemd, where it listens (sd_notify protocol)."""
        if not self._notify_socket:
            return
        address = "\0" + self._notify_socket[1:] if self._notify_socket.startswith("@") else self._notify_socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            try:
                channel.sendto(state.encode(), address)
            except OSError as error:
                self._log.warning("systemd_unreachable", reason=error.strerror)


class GridTrigger(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """Fires on a grid anchored at 1970-01-01 UTC, whenever it fired before.

    APScheduler's own interval counts on from the last run: a cycle started by hand would shift all later ones.
    """

    def __init__(self, every: timedelta, offset: timedelta) -> None:
        self._every = every
        self._start = EPOCH + offset

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first point of the grid after the previous run; not before `now` when there was none."""
        if previous_fire_time is None:
            return self._start - (self._start - now) // self._every * self._every
        return self._start + ((previous_fire_time - self._start) // self._every + 1) * self._every


def build_trigger(cadence: CadenceSettings) -> BaseTrigger:
    """Return the trigger of a cadence; every start lies on the UTC grid."""
    if cadence.cron is not None:
        return CronTrigger.from_crontab(cadence.cron, timezone=UTC)
    assert cadence.every is not None  # noqa: S101 - checked when the settings were loaded
    return GridTrigger(cadence.every, cadence.offset)
