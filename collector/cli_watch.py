"""What `watch` does: chooses the form of the view, and reaches the database without taking it over from anybody."""

import argparse
import json
import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from typing import Any, Self

from collector.alerts.expected import expected
from collector.alerts.rules import stale_from
from collector.clock import Clock, SystemClock, iso
from collector.config import Settings
from collector.errors import StorageUnavailable
from collector.exits import NOT_ALL_WELL, OK
from collector.storage.database import Database
from collector.storage.embedded.running import running_server
from collector.watch.changes import changes
from collector.watch.looking import Looker, Places
from collector.watch.picture import Due, Picture, Waited
from collector.wiring import open_database

PIPE_WIDTH, PIPE_HEIGHT = 120, 80  # of one picture where there is no terminal


def watch(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show what the collector does until Ctrl+C or q; with `--once` one picture: 0, or 1 when there is no database."""
    clock = SystemClock()
    with Door(settings, clock) as door:
        looker = Looker(door.reach, _places(settings), clock)

        def look() -> Picture:
            picture = looker.look()
            door.rest()
            return picture

        if arguments.once:
            return _once(look(), as_json=arguments.json)
        if arguments.json:
            return _repeat(look, lambda _, now: [_json(now)], arguments.every, clock)
        if not _screen():
            return _repeat(look, changes, arguments.every, clock)
        from collector.watch.terminal import show  # noqa: PLC0415 - only a terminal needs it

        show(look, arguments.every, clock)
    return OK


def _screen() -> bool:
    """Return whether there is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def _repeat(look: Any, lines: Any, every_s: float, clock: Clock) -> int:
    before: Picture | None = None
    while True:
        now = look()
        for line in lines(before, now):
            print(line, flush=True)
        before = now
        clock.sleep(every_s)


def _once(picture: Picture, *, as_json: bool) -> int:
    if as_json:
        print(_json(picture))
    else:
        _print_once(picture)
    return NOT_ALL_WELL if picture.away else OK


def _print_once(picture: Picture) -> None:
    from rich.console import Console  # noqa: PLC0415 - what only people need

    from collector.watch.screen import draw  # noqa: PLC0415

    width, height = shutil.get_terminal_size((PIPE_WIDTH, PIPE_HEIGHT)) if _screen() else (PIPE_WIDTH, PIPE_HEIGHT)
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    unicode = console.encoding.startswith("utf") and console.is_terminal
    for line in draw(picture, width, max(24, height - 1), keys=False, unicode=unicode):
        console.print(line, soft_wrap=True)


def _json(picture: Picture) -> str:
    return json.dumps(asdict(picture), default=_plain)


def _plain(value: Any) -> str:
    return iso(value) if isinstance(value, datetime) else str(value)


def _places(settings: Settings) -> Places:
    return Places(
        logs=settings.logs.directory,
        data=settings.data_dir,
        waited=waited(settings),
        simulated=settings.simulated,
    )


def waited(settings: Settings) -> Waited:
    """Return what may be waited for, by the rule of alerts, so that both call the same stale."""
    return {
        key: Due(every=every, stale_from=stale_from(every, settings.alerts))
        for key, every in expected(settings).datasets.items()
    }


class Door:
    """The way to the database. An embedded server that others run is used; ours is started for the first look only.

    So that the view can stay open for days: were it to run the server, its end would be the collector's interruption.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._folder = settings.data_dir / "postgres"
        self._database: Database | None = None
        self._address = ""
        self._own = ExitStack()  # the server of the first look
        self._looked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()
        if self._database is not None:
            self._database.close()

    def reach(self) -> Database:
        """Return the database. Raises StorageUnavailable while nobody runs the embedded server."""
        address = self._settings.database.url.get_secret_value() or running_server(self._folder)
        first, self._looked = not self._looked, True
        if address:
            return self._opened(address)
        if not (self._folder / "pgdata").is_dir():
            raise StorageUnavailable(f"there is no database in {self._folder} yet: start the collector")
        if not first:
            raise StorageUnavailable(f"nobody runs the database in {self._folder}: start the collector")
        return self._own.enter_context(open_database(self._settings, read_only=True, name="collector watch"))

    def rest(self) -> None:
        """Stop the server of the first look, if it was ours; after each look."""
        self._own.close()

    def _opened(self, address: str) -> Database:
        if self._database is None or address != self._address:
            if self._database is not None:
                self._database.close()
            self._database = Database(
                address, clock=self._clock, application_name="collector watch", pool_size=1, read_only=True
            )
            self._address = address
        return self._database
