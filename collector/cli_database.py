"""What `db backup`, `db backups` and `db restore` do: progress on stderr, the result on stdout."""

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from collector import backups
from collector.backups import Backup, Manifest
from collector.clock import Clock, SystemClock
from collector.config import Settings
from collector.errors import ConfigError
from collector.exits import NOT_ALL_WELL, OK
from collector.printing import moment, stoppable, table
from collector.retention.samples import cold_folder
from collector.storage.database import Database
from collector.wiring import open_database
from collector.wiring_chores import build_retention

PLAIN_EVERY_S = 3.0
HEAD = ("backup", "rows of (UTC)", "MB", "rows", "schema", "program", "verified", "data")


def backup(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make a backup; 0 only if it is whole and, unless told otherwise, verified."""
    clock, wish = SystemClock(), backups.wish_of(settings)
    if arguments.out is not None:
        out = arguments.out.absolute()
        wish = replace(
            wish, folder=out, verify_folder=out if settings.backups.verify_folder is None else wish.verify_folder
        )
    wish = replace(wish, verify=wish.verify and not arguments.no_verify)
    left = f"nothing half-written is left in {wish.folder}; run it again"
    with stoppable(lambda: left), _progress(clock) as say, open_database(settings, name="backup") as database:
        made = backups.make_backup(database, wish, clock, say)
    if arguments.json:
        _print_json({**_described(made.backup), "rotated": list(made.rotated)})
        return OK
    print(_sentence(made.backup))
    for name in made.rotated:
        print(f"deleted, as backups.keep and its like ask: {name}")
    return OK


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show the backups of a folder; 0 only if there is a verified one and none failed since."""
    folder = backups.folder_of(settings) if arguments.out is None else arguments.out.absolute()
    found, failed = backups.backups_in(folder), backups.failed_in(folder)
    if arguments.json:
        _print_json(
            {"folder": str(folder), "backups": [_described(item) for item in found], "failed": list(map(str, failed))}
        )
    else:
        print("\n".join(table(HEAD, [_row(item) for item in found])) if found else f"no backups in {folder}")
        for path in failed:
            print(f"FAILED its verification: {path}")
    return OK if any(item.verified for item in found) else NOT_ALL_WELL


def restore(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put a backup in the place of the configured database, or of the one named."""
    clock = SystemClock()
    path = backups.find_backup(backups.folder_of(settings), arguments.backup)
    manifest = backups.check_backup(path)  # before a server is started, or made
    if manifest.simulated and not settings.simulated:
        _say("SIMULATED: every number in this backup is made up")
    _end_softly()
    with _progress(clock) as say, _target(settings, arguments.into, clock) as database:
        restored = backups.restore(
            database,
            path,
            clock,
            say,
            replace=arguments.replace,
            confirm=lambda filled: _confirmed(arguments, database, filled),
            checked=manifest,
        )
        missing = build_retention(settings, database, clock).without_file()
    if arguments.json:
        _print_json({**dataclasses.asdict(restored), "sealed_months_without_file": [month.label for month in missing]})
    else:
        held = f"{manifest.rows} rows of {moment(manifest.created_at)} UTC"
        print(f"{restored.database} holds {path.name}: {held}")
        print(f"schema {manifest.revision}; applied now: {', '.join(restored.applied) or 'nothing'}")
        if manifest.left_out:
            print(f"not in the backup, empty now: {', '.join(manifest.left_out)}")
    if missing:
        some = f"{', '.join(month.label for month in missing[:3])}{' ...' if len(missing) > 3 else ''}"  # noqa: PLR2004
        folder = cold_folder(settings.retention, settings.data_dir)
        _say(f"{len(missing)} sealed months of this backup have no file in {folder} ({some}): their rows are missing")
        _say("until the files of that time are there; python main.py retention verify lists them")
    return NOT_ALL_WELL if missing else OK


@contextmanager
def _target(settings: Settings, into: str | None, clock: Clock) -> Iterator[Database]:
    if into is None:
        with open_database(settings, name="restore") as database:
            yield database
        return
    database = Database(into, clock=clock, application_name="restore")
    try:
        yield database
    finally:
        database.close()


def _confirmed(arguments: argparse.Namespace, database: Database, filled: list[str]) -> bool:
    """Ask before rows are lost; without a terminal only --yes says so."""
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{database.safe_url} holds rows in {len(filled)} tables: add --yes to replace them unasked")
    _say(f"{database.safe_url} holds rows in {len(filled)} tables. They will be lost.")
    return input("Replace them? Type yes: ").strip() == "yes"


def _end_softly() -> None:
    """Let SIGTERM end us as Ctrl+C does: nothing half-written stays."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def _progress(clock: Clock) -> Iterator[Callable[[str], None]]:
    """Lend what tells the step that is under way: a moving line on a terminal, otherwise a line every few seconds."""
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - only where somebody looks

        with Console(stderr=True).status("starting") as status:
            yield status.update
        return
    told = clock.monotonic()

    def say(text: str) -> None:
        nonlocal told
        if clock.monotonic() - told >= PLAIN_EVERY_S:
            told = clock.monotonic()
            _say(text)

    yield say


def _sentence(item: Backup) -> str:
    manifest = item.manifest
    state = "verified: restored and found equal" if item.verified else "NOT verified"
    left = f", without the rows of {', '.join(manifest.left_out)}" if manifest.left_out else ""
    made_up = ", SIMULATED data" if manifest.simulated else ""
    return f"{item.path}: {manifest.rows} rows in {manifest.size_bytes / 1e6:.1f} MB, {state}{left}{made_up}"


def _row(item: Backup) -> tuple[str, ...]:
    manifest: Manifest = item.manifest
    data = {None: "no cycle yet", True: "SIMULATED", False: "real"}[manifest.simulated]
    size = f"{manifest.size_bytes / 1e6:.1f}"
    return (
        *(item.path.name, moment(manifest.created_at), size, str(manifest.rows)),
        *(manifest.revision, manifest.program, moment(manifest.verified_at), data),
    )


def _described(item: Backup) -> dict[str, Any]:
    told = dataclasses.asdict(item.manifest)
    return {"path": str(item.path), "verified": item.verified, "rows": item.manifest.rows, **told}


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=_plain, indent=1))


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, Path) else value.isoformat()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
