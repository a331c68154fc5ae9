"""Shows pictures on a terminal until q, Ctrl+C or the end of the session, and leaves the terminal as it was.

The looks are taken by a thread of their own, so that keys and resizes never wait for a database.
"""

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live

from collector.clock import Clock
from collector.watch.picture import Picture
from collector.watch.screen import draw

TICK_S = 1.0  # between two drawings of one picture: ages grow
_ESCAPE = b"\x1b"  # begins what arrow and function keys send; F2 has a Q in it


class Looks:
    """Takes pictures in a thread and keeps the newest; `woken` gets a byte for each."""

    def __init__(self, look: Callable[[], Picture], every_s: float, woken: int) -> None:
        self._look, self._every_s, self._woken = look, every_s, woken
        self._stop = threading.Event()
        self._newest: Picture | None = None
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)

    @property
    def newest(self) -> Picture | None:
        """Return the newest picture; None before the first."""
        return self._newest

    @property
    def alive(self) -> bool:
        """Return whether looks are still taken; not after a defect, which has told itself on stderr."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2)  # a look that hangs in the database must not keep the terminal

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._newest = self._look()
                _wake(self._woken)
                self._stop.wait(self._every_s)
        finally:
            _wake(self._woken)


def _wake(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # full, or closed at the end
        os.write(descriptor, b".")


def show(look: Callable[[], Picture], every_s: float, clock: Clock) -> None:
    """Draw until q or a signal. Raises KeyboardInterrupt for Ctrl+C, when the terminal is as it was."""
    console = Console(highlight=False, markup=False, emoji=False)
    unicode = console.encoding.startswith("utf")
    keys = sys.stdin.isatty()
    with (
        _pipe() as (woken, wake),
        _signals(wake) as ended,
        _quiet_keys(keys),
        Looks(look, every_s, wake) as looks,
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live,
    ):
        try:
            while not ended.is_set() and looks.alive:
                picture = looks.newest
                if picture is not None:
                    now = replace(picture, at=max(picture.at, clock.now()))
                    lines = draw(now, console.width, console.height, keys=keys, unicode=unicode)
                    live.update(Group(*lines), refresh=True)
                if _quit_asked(woken, keys=keys):
                    return
        finally:
            console.clear()  # tmux takes lines of our screen back to the shell's when the window has grown meanwhile


def _quit_asked(woken: int, *, keys: bool) -> bool:
    """Wait for a tick, a picture, a resize or a key; return whether the key says to leave."""
    ready, _, _ = select.select([woken, *([0] if keys else [])], [], [], TICK_S)
    if woken in ready:
        os.read(woken, 1024)
    if 0 not in ready:
        return False
    typed = os.read(0, 64)
    return not typed or (not typed.startswith(_ESCAPE) and b"q" in typed.lower())


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    try:
        yield woken, wake
    finally:
        os.close(woken)
        os.close(wake)


@contextlib.contextmanager
def _signals(wake: int) -> Iterator[threading.Event]:
    """Let SIGTERM and SIGHUP end the view cleanly, and a resize draw it anew."""
    ended = threading.Event()

    def on_end(*_: Any) -> None:
        ended.set()

    handlers = {signal.SIGTERM: on_end, signal.SIGHUP: on_end, signal.SIGWINCH: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    waker = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        yield ended
    finally:
        signal.set_wakeup_fd(waker)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet_keys(keys: bool) -> Iterator[None]:
    """Read keys at once and unseen; Ctrl+C stays, Ctrl+Z does nothing: it would leave a shell on our screen."""
    if not keys:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setcbreak(0)
        quiet = termios.tcgetattr(0)
        quiet[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(0, termios.TCSANOW, quiet)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
