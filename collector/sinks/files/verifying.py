"""Whether a folder holds what its manifest claims: every file is read again, every number counted again."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from collector.errors import SinkError
from collector.sinks.files.manifest import FORMATS, FileEntry, Manifest
from collector.sinks.files.parquet import FileFacts, Told, facts_of, file_schema, text_columns
from collector.sinks.files.tables import arrow_schema
from collector.sinks.files.texts import facts_of_text
from collector.storage.outgoing.datasets import EXPORTABLE


def mismatches(folder: Path, manifest: Manifest, told: Told | None = None) -> Iterator[str]:
    """Yield a line per claim that does not hold; `told` is called with the rows of each file that was read."""
    claimed = {entry.path for entry in manifest.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.suffix in FORMATS.values() and name not in claimed:
            yield f"{name}: is not in the manifest"
    for entry in manifest.files:
        yield from _file(folder, entry, manifest)
        if told is not None:
            told(entry.facts.rows)


def _file(folder: Path, entry: FileEntry, manifest: Manifest) -> Iterator[str]:
    path = folder / entry.path
    if entry.dataset not in EXPORTABLE:
        yield f"{entry.path}: {entry.dataset} is no dataset of this program"
        return
    if not path.is_file():
        yield f"{entry.path}: is missing"
        return
    try:
        found = _facts(path, entry, past=manifest.as_of is not None)
    except SinkError as error:
        yield f"{entry.path}: {error}"
        return
    for item in fields(FileFacts):
        claimed, counted = getattr(entry.facts, item.name), getattr(found, item.name)
        if claimed != counted:
            yield f"{entry.path}: {item.name} is {_told(counted)}, the manifest says {_told(claimed)}"
    yield from _bounds(entry, found)


def _facts(path: Path, entry: FileEntry, *, past: bool) -> FileFacts:
    dataset = EXPORTABLE[entry.dataset]
    if path.suffix != FORMATS["parquet"]:
        return facts_of_text(path, dataset)
    schema = file_schema(path)
    if not schema.equals(arrow_schema(dataset, text_columns(schema, dataset), past=past)):
        raise SinkError(f"{entry.path}: its columns are not those of {dataset.name}")
    return facts_of(path, dataset)


def _bounds(entry: FileEntry, found: FileFacts) -> Iterator[str]:
    if found.first is not None and entry.since is not None and found.first < entry.since:
        yield f"{entry.path}: holds a row of {found.first}, before its start {entry.since}"
    if found.last is not None and entry.until is not None and found.last >= entry.until:
        yield f"{entry.path}: holds a row of {found.last}, not before its end {entry.until}"


def _told(value: object) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, tuple) else str(value)
