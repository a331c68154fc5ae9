"""An export: slices of datasets into the files of a folder, then the manifest. Killed anywhere, it is run again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from collector.errors import ConfigError
from collector.sinks.files.atomic import atomic_file, sweep
from collector.sinks.files.manifest import (
    FORMATS,
    NAME,
    FileEntry,
    Hole,
    Manifest,
    holes_in,
    write_manifest,
)
from collector.sinks.files.parquet import FileFacts, Told, write_slice
from collector.sinks.files.texts import write_text
from collector.storage.cold.cold_months import ColdMonths, spelled
from collector.storage.database import Database
from collector.storage.outgoing.copying import estimated_rows, load_slices
from collector.storage.outgoing.datasets import EXPORTABLE, Exportable, Slice
from collector.storage.outgoing.export_facts import is_simulated, load_holes
from collector.storage.timeseries import Month, following, start_of

MARK = ".export"  # in a folder that an export may write to: nothing else is ever cleared away
COMPANION = "instruments"  # accompanies what is about instruments, so that other databases understand the names


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is exported: whole datasets, or their rows of [since, until); `as_of`: as they were known then."""

    datasets: Sequence[str]
    format: str = "parquet"
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file to be written."""

    dataset: Exportable
    where: Slice
    path: str


def check_request(request: Request) -> None:
    """Raise ConfigError in one line for what cannot be exported."""
    unknown = [name for name in request.datasets if name not in EXPORTABLE]
    if unknown:
        raise ConfigError(f"{unknown[0]}: no dataset; there are {', '.join(EXPORTABLE)}")
    if request.format not in FORMATS:
        raise ConfigError(f"--format {request.format}: is not one of {', '.join(FORMATS)}")
    if request.as_of is not None:
        for name in request.datasets:
            if EXPORTABLE[name].past and not (name == COMPANION and len(request.datasets) > 1):
                raise ConfigError(f"{name}: what was known at a past moment cannot be told: {EXPORTABLE[name].past}")


def with_companions(datasets: Sequence[str]) -> list[str]:
    """Return datasets in the order of import, with the instruments where one is about them."""
    wanted = set(datasets)
    if any(EXPORTABLE[name].numbered for name in datasets):
        wanted.add(COMPANION)
    return [name for name in EXPORTABLE if name in wanted]


def file_path(dataset: Exportable, where: Slice, ending: str, *, simulated: bool) -> str:
    """Return where a slice goes below a folder: dataset/venue=x/month=2026-01/dataset.parquet."""
    parts = [dataset.name]
    if dataset.partition is not None:
        parts.append(f"{dataset.partition}={where.part}")
    if where.since is not None:
        parts.append(f"month={where.since:%Y-%m}")
    return "/".join([*parts, f"{dataset.name}{'.simulated' if simulated else ''}{ending}"])


def plan(database: Database, request: Request, *, simulated: bool) -> Iterator[tuple[Piece, int]]:
    """Yield the files of an export, each with about how many rows are left of its dataset's first file on."""
    for name in with_companions(request.datasets):
        dataset = EXPORTABLE[name]
        slices = load_slices(database, dataset, request.since, request.until)
        rows = estimated_rows(database, dataset, slices)
        for number, where in enumerate(slices):
            known = None if dataset.past else request.as_of
            where = Slice(since=where.since, until=where.until, part=where.part, as_of=known)  # noqa: PLW2901
            path = file_path(dataset, where, FORMATS[request.format], simulated=simulated)
            yield Piece(dataset=dataset, where=where, path=path), 0 if number else rows


Total = Callable[[int], None]


def export(
    database: Database,
    request: Request,
    folder: Path,
    *,
    now: datetime,
    simulated: bool = False,
    told: Told | None = None,
    total: Total | None = None,
) -> Manifest:
    """Write an export into a folder that is empty, new, or holds one, and return its manifest.

    An earlier export there is replaced: its manifest goes first, its files that are not written again at the end.
    `simulated` says so even where no cycle tells. `total` is called once with about how many rows will come, `told`
    with the rows of each part written. Raises ConfigError for what cannot be exported or a folder that holds something
    else, StorageError kinds and SinkError.
    """
    check_request(request)
    simulated = simulated or is_simulated(database)
    _make_room(folder)
    pieces = list(plan(database, request, simulated=simulated))
    if total is not None:
        total(sum(rows for _, rows in pieces))
    manifest = write_pieces(
        database, request, [piece for piece, _ in pieces], folder, now=now, simulated=simulated, told=told
    )
    manifest = replace(manifest, notes=(*manifest.notes, *_sealed(database, request)))
    _clear(folder, {entry.path for entry in manifest.files})
    write_manifest(folder, manifest)
    return manifest


def write_pieces(
    database: Database,
    request: Request,
    pieces: Sequence[Piece],
    folder: Path,
    *,
    now: datetime,
    simulated: bool,
    told: Told | None = None,
    wrote: Callable[[str, str], None] | None = None,
) -> Manifest:
    """Write files below a folder and return the manifest of them, which is not written.

    `wrote` is called with the path and the SHA-256 of each file when it is there.
    """
    metadata = {"simulated": str(simulated).lower(), "schema": database.revision() or ""}
    holes = {name: _holes(database, name, request) for name in {piece.dataset.name for piece in pieces}}
    entries = []
    for piece in pieces:
        facts = _write(database, piece, folder / piece.path, metadata, told)
        if facts is None:
            continue
        entries.append(_entry(piece, facts, holes[piece.dataset.name]))
        if wrote is not None:
            wrote(piece.path, facts.sha256)
    return Manifest(
        format=request.format,
        schema=metadata["schema"],
        simulated=simulated,
        created_at=now,
        datasets=tuple(request.datasets),
        since=request.since,
        until=request.until,
        as_of=request.as_of,
        files=tuple(entries),
        notes=tuple(_notes(request, entries)),
    )


def _sealed(database: Database, request: Request) -> Iterator[str]:
    """Yield a line per dataset of which months left the database: they are files already."""
    for name in request.datasets:
        months = [
            spelled(month.month)
            for month in ColdMonths(database).load(name)
            if month.file and month.dropped_at is not None and _within(month.month, request)
        ]
        if months:
            yield f"{name}: not in here, because sealed in the folder of cold months: {', '.join(months)}"


def _within(month: Month, request: Request) -> bool:
    after = request.until is not None and start_of(month) >= request.until
    return not after and (request.since is None or start_of(following(month)) > request.since)


def _holes(database: Database, name: str, request: Request) -> list[Hole]:
    return [Hole(**row) for row in load_holes(database, name, request.since, request.until)]


def _write(
    database: Database, piece: Piece, path: Path, metadata: dict[str, str], told: Told | None
) -> FileFacts | None:
    if path.suffix == ".parquet":
        return write_slice(database, piece.dataset, piece.where, path, metadata=metadata, told=told)
    return write_text(database, piece.dataset, piece.where, path, told=told)


def _entry(piece: Piece, facts: FileFacts, holes: Sequence[Hole]) -> FileEntry:
    where = piece.where
    return FileEntry(
        dataset=piece.dataset.name,
        path=piece.path,
        part=where.part,
        since=where.since,
        until=where.until,
        facts=facts,
        holes=holes_in(holes, where.part, where.since, where.until),
    )


def _notes(request: Request, entries: Iterable[FileEntry]) -> Iterator[str]:
    if request.as_of is not None:
        yield "instruments are as they are today: only their present state is kept"
        yield "received_at and cycle_id of a row that was corrected later are empty: they were not kept"
    for entry in entries:
        if entry.facts.texts:
            yield f"{entry.path}: {', '.join(entry.facts.texts)} as text: a value has more digits than the decimal type"


def _make_room(folder: Path) -> None:
    """Take a folder over: no manifest, no leftovers. Refuses one that holds anything that is not an export's."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; name a folder")
    held = [path.name for path in folder.iterdir()] if folder.exists() else []
    if held and MARK not in held:
        raise ConfigError(f"--out {folder}: holds something that is no export; name an empty or new folder")
    with atomic_file(folder / MARK) as mark:
        mark.write(b"files of an export; the next one into this folder replaces them\n")
    (folder / NAME).unlink(missing_ok=True)
    sweep(folder)


def _clear(folder: Path, wanted: set[str]) -> None:
    """Remove files of an earlier export that this one does not have."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        name = path.relative_to(folder).as_posix()
        if name not in wanted and name not in {MARK, NAME} and name.partition("/")[0] in EXPORTABLE:
            path.unlink(missing_ok=True)
