"""The commands of files: export, verify, import and query."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from collector.cli_coverage import read_moment
from collector.clock import Clock, SystemClock
from collector.config import Settings
from collector.errors import ConfigError
from collector.exits import NOT_ALL_WELL, OK
from collector.printing import stoppable, table
from collector.sinks.files.exporting import Request, check_request
from collector.sinks.files.exporting import export as write_export
from collector.sinks.files.importing import STORING, Imported, import_folder
from collector.sinks.files.manifest import NAME, Manifest, read_manifest
from collector.sinks.files.verifying import mismatches
from collector.storage.database import Database
from collector.storage.outgoing.export_facts import is_simulated
from collector.wiring import open_database

_EVERY_S = 5.0  # between two lines where there is no terminal


class Advance:
    """Tells how far rows are: a bar on a terminal, a line every few seconds anywhere else."""

    def __init__(self, what: str, clock: Clock) -> None:
        self.what, self._clock = what, clock
        self._began = self._told_at = clock.monotonic()
        self._rows = self._total = 0
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = self._bar.add_task(what, total=None) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def phase(self, what: str, rows: int) -> None:
        """Begin to count anew, for another work on so many rows."""
        self.what, self._rows, self._began = what, 0, self._clock.monotonic()
        if self._bar and self._task is not None:
            self._bar.reset(self._task, description=what)
        self.total(rows)

    def total(self, rows: int) -> None:
        """Take in about how many rows there will be."""
        self._total = rows
        if self._bar and self._task is not None:
            self._bar.update(self._task, total=rows)

    def told(self, rows: int) -> None:
        """Take in that rows are done."""
        self._rows += rows
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._rows, total=max(self._total, self._rows))
            return
        now = self._clock.monotonic()
        if now - self._told_at >= _EVERY_S:
            self._told_at = now
            print(self._line(now), file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        rate = self._rows / max(now - self._began, 1e-9)
        left = f", about {max(0, self._total - self._rows) / rate:.0f} s left" if self._total and rate else ""
        return f"{self.what}: {self._rows:,} rows, {rate:,.0f} a second{left}"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f} rows  {task.speed or 0:,.0f}/s")


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


# --------------------------------------------------------------------------- export


def export(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write datasets into a folder."""
    clock = SystemClock()
    request = _request(arguments)
    check_request(request)
    folder = arguments.out or Path(f"export-{clock.now():%Y%m%d-%H%M%S}")
    with (
        stoppable(lambda: _left_of_export(folder)),
        open_database(settings, name="export") as database,
        Advance("export", clock) as advance,
    ):
        database.require_tables()
        manifest = write_export(
            database,
            request,
            folder,
            now=clock.now(),
            simulated=settings.simulated,
            told=advance.told,
            total=advance.total,
        )
    if arguments.json:
        print(json.dumps(_summary(manifest, folder), indent=1))
    else:
        print("\n".join(_told(manifest, folder)))
    return OK


def _left_of_export(folder: Path) -> str:
    """Return what an export that was stopped leaves in its folder."""
    if (folder / NAME).exists():
        return f"the export in {folder} is whole"
    if not folder.exists():
        return "nothing was written; run it again"
    return f"{folder} has no {NAME}, so it is no export yet; run it again with --out {folder}"


def _request(arguments: argparse.Namespace) -> Request:
    since = read_moment("--from", arguments.since) if arguments.since else None
    until = read_moment("--to", arguments.until) if arguments.until else None
    if since is not None and until is not None and since >= until:
        raise ConfigError(f"--from: {arguments.since} is not before --to {arguments.until}")
    as_of = read_moment("--as-of", arguments.as_of) if arguments.as_of else None
    return Request(datasets=arguments.datasets, format=arguments.format, since=since, until=until, as_of=as_of)


def _by_dataset(manifest: Manifest) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for entry in manifest.files:
        of = found.setdefault(entry.dataset, {"files": 0, "rows": 0, "bytes": 0, "holes": 0})
        counted = {"files": 1, "rows": entry.facts.rows, "bytes": entry.facts.bytes, "holes": len(entry.holes)}
        found[entry.dataset] = {name: of[name] + counted[name] for name in of}
    return found


def _summary(manifest: Manifest, folder: Path) -> dict[str, object]:
    return {
        "folder": str(folder),
        "format": manifest.format,
        "simulated": manifest.simulated,
        "rows": manifest.rows,
        "datasets": _by_dataset(manifest),
        "notes": manifest.notes,
    }


def _told(manifest: Manifest, folder: Path) -> Iterator[str]:
    label = "SIMULATED data (made-up prices) " if manifest.simulated else ""
    yield f"{label}exported to {folder}: {manifest.rows:,} rows in {len(manifest.files)} files"
    rows = [[name, *(f"{count:,}" for count in counts.values())] for name, counts in _by_dataset(manifest).items()]
    yield from table(("dataset", "files", "rows", "bytes", "holes"), rows)
    yield from manifest.notes


# --------------------------------------------------------------------------- verify and import


def verify(_settings: Settings, arguments: argparse.Namespace) -> int:
    """Compare a folder with its manifest."""
    manifest = read_manifest(arguments.folder)
    with Advance("verify", SystemClock()) as advance:
        advance.total(manifest.rows)
        found = list(mismatches(arguments.folder, manifest, advance.told))
    if arguments.json:
        print(json.dumps({**_summary(manifest, arguments.folder), "mismatches": found}, indent=1))
    elif found:
        print("\n".join(found))
    else:
        label = "SIMULATED data: " if manifest.simulated else ""
        print(f"{label}{len(manifest.files)} files with {manifest.rows:,} rows are as the manifest says")
    return NOT_ALL_WELL if found else OK


def import_files(settings: Settings, arguments: argparse.Namespace) -> int:
    """Store a folder's rows."""
    advance = Advance("import", SystemClock())
    with stoppable(lambda: _left_of_import(advance.what)), _alone(settings) as database, advance:
        done = import_folder(
            database,
            arguments.folder,
            advance.told,
            advance.phase,
            simulated=settings.simulated,
            allow_simulated=arguments.allow_simulated,
        )
    if arguments.json:
        landed = {name: asdict(landing) for name, landing in done.landed.items()}
        print(json.dumps({"simulated": done.manifest.simulated, "landed": landed, "notes": done.notes}, indent=1))
    else:
        print("\n".join(_landed(done)))
    return OK


def _left_of_import(phase: str) -> str:
    """Return what an import that was stopped in a phase has stored."""
    if phase != STORING:
        return "no row was stored; run it again"
    return "the rows so far are stored whole, the others are not; run it again, which doubles nothing"


@contextmanager
def _alone(settings: Settings) -> Iterator[Database]:
    with open_database(settings, name="import") as database:
        database.upgrade()
        with database.writer_lock():
            yield database


def _landed(done: Imported) -> Iterator[str]:
    yield f"{'SIMULATED data ' if done.manifest.simulated else ''}imported:"
    rows = [
        [name, *(f"{count:,}" for count in (landing.rows, landing.inserted, landing.replaced, landing.kept))]
        for name, landing in done.landed.items()
    ]
    yield from table(("dataset", "rows", "new", "replaced by newer", "kept, newer here"), rows)
    yield from done.notes


# --------------------------------------------------------------------------- query


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def query(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run a SELECT over the database and files."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # ends as by Ctrl+C: nothing stays in the temporary folder
    from collector.sinks.files.querying import Places, answered, print_answer  # noqa: PLC0415 - DuckDB, for it alone

    form = "json" if arguments.json else "csv" if arguments.csv else "table"
    with open_database(settings, name="query", read_only=True) as database:
        database.require_tables()
        simulated = settings.simulated or is_simulated(database)
        places = Places(
            database=database,
            cold=settings.retention.folder or settings.data_dir / "cold",
            folders=arguments.files or (),
            since=read_moment("--from", arguments.since) if arguments.since else None,
            until=read_moment("--to", arguments.until) if arguments.until else None,
        )
        with answered(places, arguments.statement, memory_mb=arguments.memory_mb, note=_note) as result:
            if simulated and form != "json":
                print("SIMULATED data (made-up prices)", file=sys.stderr)
            print_answer(result, form, sys.stdout, limit=arguments.top, simulated=simulated)
    return OK
