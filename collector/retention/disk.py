"""What everything takes on the disk, how fast it grows, how long that lasts; what cannot be told is said so."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from collector.config.retention import read_floor
from collector.printing import table
from collector.retention.growth import LOOKED_BACK, SLACK, Growth, Left, days_left, growth_of
from collector.retention.space import STOPPED, Space, Stage, space_of, stage_after
from collector.storage.cold.sizes import FOLDER, TABLE, Size, load_samples, measure_tables
from collector.storage.database import Database
from collector.storage.serving import disk_use, server_folder
from collector.storage.serving.disk import BY_AGE, IN_PLACE

NAMED = 5  # of those whose growth is not known
NOT_GROWING = Growth(0.0, "nothing is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders that grow, by name, and the share of the disk below which things stop."""

    data: Path
    folders: Mapping[str, Path]  # cold, logs, spool, backups
    floor: str = ""  # as configured; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one table or folder takes."""

    kind: str  # table or folder
    name: str
    total_bytes: int
    heap_bytes: int | None  # None: a folder
    index_bytes: int | None
    rows: int | None  # as the server last counted them, or files
    growth: Growth


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One file system of ours."""

    holds: tuple[str, ...]  # database, data, cold, logs ...
    folder: str
    total_bytes: int
    free_bytes: int
    floor_bytes: int  # 0: none
    growth: Growth  # of what it holds
    until_full: Left
    until_floor: Left  # as until_full without a floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What everything takes."""

    database_bytes: int
    uses: Sequence[Use]  # the largest first
    disks: Sequence[Disk]
    unknown: Sequence[str]  # what could not be looked at, and why


def measure(database: Database, places: Places) -> list[Size]:
    """Return how large every table and folder is. Raises StorageError."""
    return [*measure_tables(database), *(_folder_size(name, path) for name, path in places.folders.items())]


def look(database: Database, places: Places, now: datetime) -> Report:
    """Return what everything takes now, from sizes and their history. Raises StorageError."""
    sizes = measure(database, places)
    estimated = disk_use(database)
    history: defaultdict[tuple[str, str], list[tuple[datetime, int]]] = defaultdict(list)
    for sample in load_samples(database, now - LOOKED_BACK - SLACK):
        history[sample.kind, sample.name].append((sample.sampled_at, sample.total_bytes))
    known = {item.table: Growth(item.bytes_a_day, item.how) for item in estimated.tables}
    uses = [
        _use(size, growth_of([*history[size.kind, size.name], (now, size.total_bytes)], now), known) for size in sizes
    ]
    uses.sort(key=lambda use: (-use.total_bytes, use.kind, use.name))
    disks, unknown = _disks(database, places, uses)
    return Report(database_bytes=estimated.database_bytes, uses=uses, disks=disks, unknown=unknown)


def _use(size: Size, measured: Growth, estimated: Mapping[str, Growth]) -> Use:
    growth = measured
    if measured.bytes_a_day is None and size.kind == TABLE and size.name in estimated:
        growth = estimated[size.name]
        if growth.how in {BY_AGE, IN_PLACE}:  # it comes to a stop by itself
            growth = replace(growth, bytes_a_day=0.0)
    elif measured.bytes_a_day is None and not size.total_bytes:
        growth = NOT_GROWING
    return Use(
        kind=size.kind,
        name=size.name,
        total_bytes=size.total_bytes,
        heap_bytes=size.heap_bytes,
        index_bytes=size.index_bytes,
        rows=size.rows,
        growth=growth,
    )


def _folder_size(name: str, folder: Path) -> Size:
    """Return what the files below a folder take; those that go meanwhile count nothing."""
    total = count = 0
    for here, _, files in os.walk(folder):
        for file in files:
            try:
                total += (Path(here) / file).lstat().st_size
                count += 1
            except OSError:
                continue
    return Size(kind=FOLDER, name=name, total_bytes=total, rows=count)


def _disks(database: Database, places: Places, uses: Sequence[Use]) -> tuple[list[Disk], list[str]]:
    where: dict[str, Path] = {"data": places.data, **places.folders}
    unknown = []
    found, reason = server_folder(database)
    if found is None:
        unknown.append(f"the disk of the database: {reason}")
    else:
        where = {"database": Path(found), **where}
    holds: defaultdict[int, list[str]] = defaultdict(list)
    spaces: dict[int, tuple[Path, Space]] = {}
    for name, folder in where.items():
        try:
            there = next(item for item in (folder, *folder.parents) if item.exists())
            device = there.stat().st_dev
            spaces.setdefault(device, (there, space_of(there)))
        except OSError as error:
            unknown.append(f"the disk of {name}: {error.strerror}")
            continue
        holds[device].append(name)
    return [_disk(*spaces[device], names, uses, places.floor) for device, names in holds.items()], unknown


def _disk(folder: Path, space: Space, holds: Sequence[str], uses: Sequence[Use], floor: str) -> Disk:
    mine = [
        (use.name, use.growth)
        for use in uses
        if (use.kind == TABLE and "database" in holds) or (use.kind == FOLDER and use.name in holds)
    ]
    least, share = read_floor(floor)
    floor_bytes = int(least or space.total * share)
    missing = [name for name, growth in mine if growth.bytes_a_day is None]
    rate = None if missing else sum(growth.bytes_a_day or 0.0 for _, growth in mine)
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    unknown = f"that of {', '.join(missing[:NAMED])}{more} is not known"
    how = unknown if missing else "sum of the tables and folders on it"
    return Disk(
        holds=tuple(holds),
        folder=str(folder),
        total_bytes=space.total,
        free_bytes=space.free,
        floor_bytes=floor_bytes,
        growth=Growth(rate, how),
        until_full=days_left(space.free, mine),
        until_floor=days_left(space.free - floor_bytes, mine),
    )


# --------------------------------------------------------------------------- for people and programs


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as a tree of plain values."""
    return asdict(report)


def render(report: Report) -> str:
    """Return the report for a person."""
    head = ("table or folder", "size", "heap", "indexes", "rows", "a day", "how that is known")
    rows = [
        (
            use.name if use.kind == TABLE else f"{use.name}/",
            in_bytes(use.total_bytes),
            in_bytes(use.heap_bytes),
            in_bytes(use.index_bytes),
            "-" if use.rows is None else f"{use.rows:,}",
            in_bytes(use.growth.bytes_a_day),
            use.growth.how,
        )
        for use in report.uses
    ]
    lines = [f"database: {in_bytes(report.database_bytes)}", *table(head, rows), ""]
    for disk in report.disks:
        lines.append(
            f"disk of {', '.join(disk.holds)} ({disk.folder}): {in_bytes(disk.free_bytes)} of "
            f"{in_bytes(disk.total_bytes)} free, grows by {in_bytes(disk.growth.bytes_a_day)} a day "
            f"({disk.growth.how})"
        )
        lines.append(f"  full in {_days(disk.until_full)}")
        if disk.floor_bytes:
            lines.append(f"  {_floor(disk)}")
    return "\n".join([*lines, *(f"not known: {reason}" for reason in report.unknown)])


def _floor(disk: Disk) -> str:
    """Return how the free space stands to the floor, and what that means."""
    floor, above = in_bytes(disk.floor_bytes), disk.free_bytes - disk.floor_bytes
    if above >= 0:
        return f"{in_bytes(above)} above the floor of {floor}, which is reached in {_days(disk.until_floor)}"
    stopped = STOPPED[stage_after(Stage.NOTHING, disk.free_bytes / disk.floor_bytes)]
    if disk.floor_bytes > disk.total_bytes:
        return f"the floor of {floor} is more than the whole disk: lower retention.floor; stopped until then: {stopped}"
    return f"{in_bytes(-above)} below the floor of {floor}: make room; stopped until then: {stopped}"


def _days(left: Left) -> str:
    return f"? days: {left.why}" if left.days is None else f"{left.days:,.1f} days"


def in_bytes(size: float | None) -> str:
    """Return a size for people, as 1.5 GB (1 GB is 1024 MB); `?` for None."""
    if size is None:
        return "?"
    value, sign = abs(float(size)), "-" if size < 0 else ""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1024:  # noqa: PLR2004
            return f"{sign}{value:.0f} {unit}" if unit == "B" else f"{sign}{value:.1f} {unit}"
        value /= 1024
    return f"{sign}{value:.1f} TB"
