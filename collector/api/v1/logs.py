"""The address of a cycle's log: the end of one of the files in its folder, and nothing outside of that folder.

The name of the folder comes from the database, where more than our own programs may write: it must be the plain name of
a cycle's folder, and neither it nor a file in it may be a link.
"""

import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from collector.api.errors import ApiError, Code
from collector.api.v1.asking import Word, refused
from collector.api.v1.cycles import Number
from collector.api.v1.formats import TYPES, rows_of, tagged
from collector.api.v1.pages import US, Pages
from collector.api.v1.schemas import one_model, responses_of
from collector.clock import iso
from collector.storage.serving import CYCLES, Ask

MOST_LINES, MOST_BYTES = 1_000, 256 * 1024
_DEFAULT = "collector"
_FOLDER = re.compile(r"cycle_[0-9]{4}(?:-[0-9]{2}){2}_[0-9]{2}(?:-[0-9]{2}){2}_[^/\\\x00]{1,200}")
_EXAMPLE = {
    "cycle_id": 12,
    "part": "OkxService",
    "parts": ["Collector", "Database", "OkxService"],
    "lines": ["2026-01-31T12:00:01.250Z INFO OkxService call_done status=200 duration_s=0.120"],
    "truncated": True,
}


class Tail(BaseModel):
    """How much of which file."""

    model_config = ConfigDict(extra="forbid")

    lines: int = Field(200, ge=1, le=MOST_LINES, description="Most lines; 256 kB are told at most")
    part: Word = Field(
        _DEFAULT, description="Which service's file: one of `parts`, in any case", examples=["okxservice"]
    )


class LogRow(BaseModel):
    """The end of a log file."""

    cycle_id: int = Field(description="Number of the cycle")
    part: str = Field(description="The service whose file it is")
    parts: list[str] = Field(description="The services that wrote a file in this cycle, by name")
    lines: list[str] = Field(description="Its last lines as they are, the oldest first")
    truncated: bool = Field(description="Whether there is more before them")


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a file, and when it was last written."""

    lines: list[str]
    truncated: bool
    written_at: datetime


def add(router: APIRouter, pages: Pages) -> None:
    """Add the address."""

    @router.get(
        "/cycles/{cycle_id}/log",
        name="v1CycleLog",
        summary="The end of a log file of one cycle",
        response_model=one_model("CycleLogAnswer", LogRow),
        responses=responses_of(_EXAMPLE, paged=False),
    )
    def log(cycle_id: Number, query: Annotated[Tail, Query()], request: Request) -> Response:
        """Folders are deleted by age and size (`logs.keep`, `logs.keep_mb`): what is gone is NOT_FOUND."""
        folder = _folder(pages, cycle_id)
        files = _files(folder, cycle_id)
        part = _part(query.part, list(files))
        end = _end(files[part], query.lines) if part in files else None
        told: dict[str, Any] = {
            "data": {
                "cycle_id": cycle_id,
                "part": part,
                "parts": list(files),
                "lines": end.lines if end else [],
                "truncated": bool(end and end.truncated),
            },
            "source": [US],
            "as_of": iso(end.written_at) if end else None,
            "stale": False,
            "simulated": pages.parts.simulated,
        }
        return tagged(orjson.dumps(told), {"Content-Type": TYPES["json"]}, request)


def _folder(pages: Pages, cycle_id: int) -> Path:
    page = pages.read(CYCLES, Ask(limit=1, filters={"cycle_id": cycle_id}))
    if not page.rows:
        raise ApiError(Code.NOT_FOUND, f"cycle_id: there is no cycle {cycle_id}")
    name = str(rows_of(page.columns, page.rows)[0]["folder"])
    root = pages.parts.log_folder
    if root is None or not _FOLDER.fullmatch(name):
        raise _gone(cycle_id, "has no log folder here")
    return root / name


def _files(folder: Path, cycle_id: int) -> dict[str, Path]:
    """Return the log files of a folder by service."""
    try:
        if folder.is_symlink():
            raise _gone(cycle_id, "has no log folder here")
        names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".log"))
    except OSError:
        raise _gone(cycle_id, "has no log folder any more; see logs.keep and logs.keep_mb") from None
    found = {name.removesuffix(".log"): folder / name for name in names}
    return {part: path for part, path in found.items() if path.is_file() and not path.is_symlink()}


def _part(wanted: str, known: list[str]) -> str:
    """Return the service whose name it is in any case; what always exists may have written nothing."""
    found = next((part for part in known if part.casefold() == wanted.casefold()), None)
    if found is None and wanted.casefold() != _DEFAULT:
        raise refused("part", f"{wanted[:40]!r} wrote no file in this cycle", known=known)
    return found or _DEFAULT.title()


def _end(path: Path, most: int) -> _End | None:
    """Return the end of a file; None when it is gone by now."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        known = os.fstat(handle)
        if not stat.S_ISREG(known.st_mode):
            return None
        start = max(known.st_size - MOST_BYTES, 0)
        file.seek(start)
        text = file.read(MOST_BYTES).decode(errors="replace")
    lines = text.removesuffix("\n").split("\n") if text else []
    if start and len(lines) > 1:
        del lines[0]  # begins before what was read
    cut = start > 0 or len(lines) > most
    return _End(lines[-most:], cut, datetime.fromtimestamp(known.st_mtime, UTC))


def _gone(cycle_id: int, why: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, f"cycle_id: cycle {cycle_id} {why}", details={"cycle_id": why})
