"""One run of the PostgreSQL server as our direct child: started, known to be ready, stopped in the polite order.

Guarantees: only the child itself is ever signalled, and only by the thread that also reaps it, so a pid that the
system has given to somebody else cannot be hit; SIGKILL is never used on a server.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from collector.errors import ConfigError, StorageUnavailable
from collector.storage.embedded.cluster import is_ready, launch_failure
from collector.storage.embedded.identity import Launcher
from collector.storage.embedded.layout import Layout, bound_log, open_private

FAST_STOP_SECONDS, QUIT_SECONDS = 30, 10
LOG_TAIL_BYTES = 65_536


class ServerProcess:
    """A started server. Every method belongs to the thread that made it: on Linux the server dies with this thread."""

    def __init__(
        self, launcher: Launcher, command: list[str], *, lock: int, environment: dict[str, str], log_path: Path
    ) -> None:
        """Start it; `lock` is the open server lock, which the server and all its processes then hold.

        Raises OSError when the log cannot be opened or the process cannot be made.
        """
        self._layout: Layout = launcher.layout
        self._log_path = log_path
        self._lifeline: int | None = None
        bound_log(log_path)
        read_end: int | None = None
        if sys.platform != "linux":  # no death signal there: a pipe that closes with us does the same
            read_end, self._lifeline = os.pipe()
        try:
            with open(log_path, "ab", opener=open_private) as output:
                self._log_start = output.tell()
                self._child: subprocess.Popen[bytes] = launcher.start(
                    command,
                    death_signal=signal.SIGINT,
                    inherit=[lock],
                    environment=environment,
                    output=output,
                    lifeline=read_end,
                )
        except OSError:
            self._cut_lifeline()
            raise
        finally:
            if read_end is not None:
                os.close(read_end)

    @property
    def pid(self) -> int:
        return self._child.pid

    def exit_status(self) -> int | None:
        """Return None while it runs, else its exit status (negative: the signal that ended it)."""
        status = self._child.poll()
        if status is not None:
            self._cut_lifeline()
        return status

    def says_ready(self) -> bool:
        """Return whether this very child has declared in postmaster.pid that it takes connections."""
        return is_ready(self._layout, self._child.pid)

    def failure(self, status: int) -> ConfigError | StorageUnavailable:
        """Return the error for a server that ended by itself, with its own last complaint from the log."""
        text = ""
        with contextlib.suppress(OSError), self._log_path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = self._log_start if size >= self._log_start else 0  # the log was cut meanwhile
            file.seek(max(start, size - LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return launch_failure("database server", status, text)

    def bound_log(self) -> None:
        """Cut the log when it has grown past its limit."""
        bound_log(self._log_path)

    def stop(self) -> bool:
        """Ask for a fast shutdown, after 30 s for an immediate one; return whether it is gone.

        An immediate shutdown loses nothing that was committed: the next start recovers it from the log.
        """
        for ask, patience in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, QUIT_SECONDS)):
            self._child.send_signal(ask)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(patience)
                self._cut_lifeline()
                return True
        return False

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
