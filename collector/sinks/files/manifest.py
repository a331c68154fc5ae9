"""The manifest of an export: what every file of a folder holds, written last, so that a folder with one is whole."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from collector.errors import SinkError
from collector.sinks.files.atomic import atomic_file
from collector.sinks.files.parquet import FileFacts

NAME = "manifest.json"
PERIODS = "manifests"  # folder of those of a scheduled export
VERSION = 1
FORMATS: Mapping[str, str] = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A window of a series that is not held, as the coverage of the database tells it."""

    instrument: str
    interval: str  # empty for funding
    since: datetime
    until: datetime
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file."""

    dataset: str
    path: str  # below the folder, with /
    part: str | None  # the venue or source it is of
    since: datetime | None  # what was asked for
    until: datetime | None
    facts: FileFacts
    holes: tuple[Hole, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything that is told of a folder."""

    format: str
    schema: str  # revision of the database's tables
    simulated: bool  # made-up data of the simulator
    created_at: datetime
    datasets: tuple[str, ...]  # as asked for, without what accompanies them
    since: datetime | None
    until: datetime | None
    as_of: datetime | None
    files: tuple[FileEntry, ...]
    notes: tuple[str, ...] = field(default=())
    version: int = VERSION

    @property
    def rows(self) -> int:
        """Return how many rows all files hold."""
        return sum(entry.facts.rows for entry in self.files)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder; raises SinkError."""
    with atomic_file(folder / NAME) as file:
        file.write(spelled(manifest))


def spelled(manifest: Manifest) -> bytes:
    """Return a manifest as JSON with a digest of itself."""
    body = {**_plain(manifest), "rows": manifest.rows}
    return (json.dumps({**body, "digest": _digest(body)}, indent=1, ensure_ascii=False) + "\n").encode()


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder; raises SinkError in one line for none, a damaged one or an unknown version."""
    periods = sorted((folder / PERIODS).glob("*.json"))
    paths = [folder / NAME] if (folder / NAME).exists() or not periods else periods
    try:
        found = [parse_manifest(path.read_bytes(), str(path)) for path in paths]
    except FileNotFoundError as error:
        raise SinkError(f"{folder}: no {NAME}: no export, or one that has not ended; run it again") from error
    except OSError as error:
        raise SinkError(f"{folder}: its manifest cannot be read ({error.strerror})") from error
    return found[0] if len(found) == 1 else _together(found, folder)


def _together(found: Sequence[Manifest], folder: Path) -> Manifest:
    """Return the manifests of the periods of a scheduled export as one."""
    if len({(one.schema, one.format) for one in found}) > 1:
        raise SinkError(f"{folder}: its periods were exported by different versions or in different formats")
    return replace(
        found[0],
        simulated=any(one.simulated for one in found),
        created_at=max(one.created_at for one in found),
        datasets=tuple(sorted({name for one in found for name in one.datasets})),
        since=min((one.since for one in found if one.since), default=None),
        until=max((one.until for one in found if one.until), default=None),
        files=tuple(entry for one in found for entry in one.files),
        notes=tuple(note for one in found for note in one.notes),
    )


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Return the manifest that JSON tells; raises SinkError in one line."""
    try:
        body: Any = json.loads(text)
    except ValueError as error:
        raise SinkError(f"{where}: is no JSON ({error})") from error
    version = body.get("version") if isinstance(body, dict) else None
    if version != VERSION:
        raise SinkError(f"{where}: version {version} is not known; this program reads {VERSION}")
    digest = body.pop("digest", None)
    if digest != _digest(body):
        raise SinkError(f"{where}: was changed after it was written (its digest differs)")
    body.pop("rows")
    files = tuple(_entry(item) for item in body.pop("files"))
    moments = {name: _moment(body.pop(name)) for name in ("created_at", "since", "until", "as_of")}
    lists = {name: tuple(body.pop(name)) for name in ("datasets", "notes")}
    return Manifest(**body, **moments, **lists, files=files)  # type: ignore[arg-type]


def _entry(item: dict[str, Any]) -> FileEntry:
    facts = {name.name: item.pop(name.name) for name in fields(FileFacts)}
    facts |= {name: _moment(facts[name]) for name in ("first", "last")}
    facts |= {name: tuple(facts[name]) for name in ("sources", "texts")}
    holes = tuple(
        Hole(**{**hole, "since": _moment(hole["since"]), "until": _moment(hole["until"])}) for hole in item.pop("holes")
    )
    moments = {name: _moment(item.pop(name)) for name in ("since", "until")}
    return FileEntry(**{**item, **moments}, facts=FileFacts(**facts), holes=holes)


def _plain(manifest: Manifest) -> dict[str, Any]:
    body = asdict(manifest)
    body["files"] = [{**{k: v for k, v in item.items() if k != "facts"}, **item["facts"]} for item in body["files"]]
    plain: dict[str, Any] = json.loads(json.dumps(body, default=_spell))
    return plain


def _spell(value: datetime) -> str:
    return value.isoformat()


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def holes_in(
    holes: Sequence[Hole], part: str | None, since: datetime | None, until: datetime | None
) -> tuple[Hole, ...]:
    """Return the holes of a venue that reach into a time."""
    return tuple(
        hole
        for hole in holes
        if (part is None or hole.instrument.partition(":")[0] == part)
        and (until is None or hole.since < until)
        and (since is None or hole.until > since)
    )
