"""What `housekeep` does: the chores beside the collector, until it is told to stop, or once."""

import os
import signal
import sys
import threading
from contextlib import nullcontext, suppress

from collector import wiring_chores
from collector.clock import SystemClock
from collector.config import Settings
from collector.errors import StorageUnavailable
from collector.exits import NOT_ALL_WELL, OK
from collector.log import set_up_logging

STOPPED = 130


def run(settings: Settings, *, attached: bool, once: bool) -> int:
    """Keep house until a signal; when `attached`, until standard input closes; `once` does what is due and ends.

    Raises LockHeld while another process keeps house; when attached, that one is waited for.
    """
    set_up_logging(settings.logs, console=sys.stderr, file="housekeeping.log")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is under way ends as by Ctrl+C, and cleans up
    stopping = threading.Event()
    if attached:
        threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    try:
        with wiring_chores.open_housekeeper(settings, SystemClock(stopping), lasting=not attached) as keeper:
            if not attached:
                with nullcontext() if once else suppress(StorageUnavailable):  # which has to be told as well
                    keeper.hold()
            if once:
                done, failed = keeper.look()
                print(f"{done} chores done, {failed} failed")
                return NOT_ALL_WELL if failed else OK
            keeper.run(stopping)
    except KeyboardInterrupt:
        return OK if attached or not once else STOPPED
    return OK


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)  # a shell may have told us to ignore the other
