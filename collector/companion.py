"""A process of our own program that runs beside the daemon: started again when it dies, ended with us, never our end.

It is given a pipe as standard input, which closes when we die, however we die. What it is told goes through that pipe.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from collector.clock import Clock
from collector.log import get_logger

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # between its end and its next start
HEALTHY_S = 60.0  # one that ran for so long begins again with the first pause
END_S = 6.0  # after the signal; then it is killed
FINISH_S = 60.0  # for what it was told before


class Companion:
    """Use as a context manager for as long as the process shall run."""

    def __init__(self, ended: str, command: Sequence[str], environment: dict[str, str], clock: Clock) -> None:
        """Start nothing yet. `ended` is the event of an unwanted end."""
        self._ended, self._command, self._environment = ended, list(command), environment
        self._clock = clock
        self._grace_s = END_S
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = get_logger("Collector")
        self._thread = threading.Thread(target=self._run, name="companion", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tell_to_stop()
        self._thread.join()

    @property
    def pid(self) -> int | None:
        """Return the process's number; None while there is none."""
        with self._lock:
            return self._process.pid if self._process is not None and self._process.poll() is None else None

    def tell_to_stop(self) -> None:
        """Begin its end; returns at once."""
        with self._lock:
            if self._process is not None and not self._stop.is_set():
                self._process.terminate()  # once: a second signal would cut its clean end short
            self._stop.set()

    def tell(self, line: str) -> None:
        """Send it a line, without waiting: what it is too busy to take, or not there to hear, is lost."""
        with self._lock:
            process = self._process
            if process is None or process.stdin is None or process.stdin.closed or process.poll() is not None:
                return
            with suppress(BlockingIOError, BrokenPipeError):  # full, or its end is near
                os.write(process.stdin.fileno(), f"{line}\n".encode())

    def finish(self) -> None:
        """Let it end by itself, after what it was told before; returns at once."""
        with self._lock:
            self._grace_s = FINISH_S
            if self._process is not None and self._process.stdin is not None and not self._stop.is_set():
                self._process.stdin.close()
            self._stop.set()

    def _run(self) -> None:
        pause, told = FIRST_PAUSE_S, 0
        while not self._stop.is_set():
            began = self._clock.monotonic()
            status = self._run_once()
            if self._stop.is_set():
                return
            if self._clock.monotonic() - began >= HEALTHY_S:
                pause, told = FIRST_PAUSE_S, 0
            if status != told:
                self._log.warning(self._ended, status=status, again_in_s=pause, effect="collecting goes on")
            told = status
            self._stop.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _run_once(self) -> int:
        """Run the process to its end and return its status; 127 when it cannot be started."""
        with self._lock:
            if self._stop.is_set():
                return 0
            try:
                # Its own session: a Ctrl+C reaches us alone, and we decide when it ends.
                process = self._process = subprocess.Popen(  # noqa: S603 - our own program
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=sys.stderr,
                    env=self._environment,
                    start_new_session=True,
                )
                if process.stdin is not None:
                    os.set_blocking(process.stdin.fileno(), False)
            except OSError as error:
                self._log.warning("companion_not_started", command=self._command[-1], reason=error.strerror)
                return 127
        with process:
            return self._wait(process)

    def _wait(self, process: "subprocess.Popen[bytes]") -> int:
        while process.poll() is None and not self._stop.wait(0.2):
            continue
        try:
            return process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
