"""The spool: what was observed while the database was away waits on disk, within a bound, and returns in order.

Only what cannot be asked for again is kept: prices, books, open interest and the like. Bars, settled funding rates and
lists are left to healing. Each file holds one group of batches: a header line with the length and the checksum of the
rest, then compressed lines of JSON. It is written under another name, flushed to disk and renamed, so it is whole or
not there; it is deleted only after the database has committed its rows. A crash between the two returns it once more,
which changes nothing: rows have natural keys. Used by the thread that writes.
"""

import base64
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from collector import records as kinds
from collector.log import get_logger
from collector.records import Batch, Dataset, Job, Payload, Record, Reject, RejectReason

VERSION = 1
SUFFIX, UNFINISHED, CORRUPT, REFUSED = ".spool", ".tmp", ".corrupt", ".refused"
COMPRESSION = 1  # a cycle of 600 books has to go to disk while the next one waits
# What a provider still tells later: bars, settled payments, and lists as they are then.
ASKED_AGAIN = frozenset(
    {
        Dataset.LISTING,
        Dataset.INSTRUMENTS,
        Dataset.ASSET_DETAILS,
        Dataset.MARKET_HISTORY,
        Dataset.CANDLES,
        Dataset.FUNDING,
        Dataset.FUNDING_TERMS,
        Dataset.SENTIMENT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledCycle:
    """The cycle that batches belong to. `cycle_id` is None when the database was away before it began."""

    cadence: str
    started_at: datetime
    cycle_id: int | None
    folder: str
    instance: str
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of batches that were given to the spool."""

    batches: tuple[Batch, ...] = ()
    dropped_files: int = 0  # the oldest, to make room
    dropped_rows: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: str  # base64
    received_at: datetime


@dataclass(frozen=True, slots=True)
class _Refusal:
    row: str
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """A batch without its records; those follow, a line for each run of records of one kind."""

    job: Job
    state: str
    error: str
    started_at: datetime | None
    finished_at: datetime | None
    payloads: tuple[_Answer, ...]
    rejects: tuple[_Refusal, ...]
    kinds: tuple[str, ...]


class Spool:
    """A folder of waiting batches of at most `cap` bytes; the oldest go when it is full."""

    def __init__(self, folder: Path, cap: int) -> None:
        self._folder = folder
        self._cap = cap
        self._number = 0  # of the next file of this process: names in order also within one moment
        self._log = get_logger("Database")
        for left in folder.glob(f"*{UNFINISHED}"):
            left.unlink(missing_ok=True)

    def keep(self, cycle: SpooledCycle, batches: Sequence[Batch]) -> Kept:
        """Keep what cannot be asked for again and return it; what the disk does not take is not among it."""
        chosen = tuple(batch for batch in batches if batch.records and batch.job.dataset not in ASKED_AGAIN)
        if not chosen:
            return Kept()
        content = _encoded(cycle, chosen)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            files, rows = self._make_room(len(content))
            if len(content) > self._cap:
                self._log.error("spool_too_small", bytes=len(content), cap=self._cap)
                return Kept(dropped_files=files, dropped_rows=rows)
            self._write(cycle, content, sum(len(batch.records) for batch in chosen))
        except OSError as error:
            self._log.error("spool_unwritable", folder=self._folder, reason=error.strerror)
            return Kept()
        return Kept(batches=chosen, dropped_files=files, dropped_rows=rows)

    def pending(self) -> int:
        """Return how many files wait."""
        return len(self._files())

    def waiting(self) -> Iterator[tuple[Path, SpooledCycle, list[Batch]]]:
        """Yield what waits, oldest first; a file that cannot be read back is moved aside and told."""
        for file in self._files():
            try:
                cycle, batches = _decoded(file.read_bytes())
            except (OSError, ValueError, zlib.error) as error:
                self._log.error("spool_file_damaged", file=file.name, reason=str(error).splitlines()[0])
                self._set_aside(file, CORRUPT)
                continue
            yield file, cycle, batches

    def done(self, file: Path) -> None:
        """Forget a file whose rows the database has committed."""
        file.unlink(missing_ok=True)
        _flush_folder(self._folder)

    def refused(self, file: Path) -> None:
        """Move a file aside that the database will never take."""
        self._set_aside(file, REFUSED)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def _make_room(self, size: int) -> tuple[int, int]:
        """Delete the oldest files until `size` more bytes fit; return how many files and rows went."""
        sizes = [(file, file.stat().st_size) for file in self._files()]
        held, files, rows = sum(length for _, length in sizes), 0, 0
        for file, length in sizes:
            if held + size <= self._cap:
                break
            file.unlink()
            held, files, rows = held - length, files + 1, rows + _rows_of(file)
        if files:
            self._log.error("spool_full", dropped_files=files, dropped_rows=rows, cap=self._cap)
        return files, rows

    def _write(self, cycle: SpooledCycle, content: bytes, rows: int) -> None:
        self._number += 1
        stem = f"{cycle.started_at:%Y%m%dT%H%M%S.%f}_{cycle.cadence}_{os.getpid()}_{self._number:06d}_{rows}"
        unfinished, final = self._folder / f"{stem}{UNFINISHED}", self._folder / f"{stem}{SUFFIX}"
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(final)
        _flush_folder(self._folder)

    def _set_aside(self, file: Path, suffix: str) -> None:
        try:
            file.rename(file.with_suffix(suffix))
        except OSError as error:
            self._log.error("spool_unwritable", folder=self._folder, reason=error.strerror)


def _rows_of(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def _flush_folder(folder: Path) -> None:
    """Make renames and deletions in the folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --------------------------------------------------------------------------- the content of a file


def _encoded(cycle: SpooledCycle, batches: Iterable[Batch]) -> bytes:
    lines = [_adapter(SpooledCycle).dump_json(cycle)]
    for batch in batches:
        runs = [(kind, tuple(run)) for kind, run in groupby(batch.records, type)]
        lines.append(_adapter(_Head).dump_json(_head(batch, tuple(kind.__name__ for kind, _ in runs))))
        lines += [_rows_adapter(kind).dump_json(run) for kind, run in runs]
    body = zlib.compress(b"\n".join(lines), COMPRESSION)
    return f"spool {VERSION} {len(body)} {zlib.crc32(body):08x}\n".encode() + body


def _head(batch: Batch, names: tuple[str, ...]) -> _Head:
    return _Head(
        job=batch.job,
        state=batch.state,
        error=batch.error,
        started_at=batch.started_at,
        finished_at=batch.finished_at,
        payloads=tuple(
            _Answer(item.status, base64.b64encode(item.body).decode(), item.received_at) for item in batch.payloads
        ),
        rejects=tuple(_Refusal(item.row, item.reason, item.detail) for item in batch.rejects),
        kinds=names,
    )


def _decoded(content: bytes) -> tuple[SpooledCycle, list[Batch]]:
    """Return what a file holds; raises ValueError when it is not whole."""
    header, _, body = content.partition(b"\n")
    words = header.split()
    if len(words) != 4 or words[0] != b"spool":  # noqa: PLR2004 - spool, version, length, checksum
        raise ValueError("no header")
    if int(words[1]) != VERSION:
        raise ValueError(f"version {int(words[1])}, this program reads {VERSION}")
    if len(body) != int(words[2]) or zlib.crc32(body) != int(words[3], 16):
        raise ValueError("cut short or changed")
    lines = iter(zlib.decompress(body).split(b"\n"))
    cycle: SpooledCycle = _adapter(SpooledCycle).validate_json(next(lines))
    return cycle, [_batch(line, lines) for line in lines]


def _batch(line: bytes, lines: Iterator[bytes]) -> Batch:
    head: _Head = _adapter(_Head).validate_json(line)
    found: list[Record] = []
    for name in head.kinds:
        found += _rows_adapter(getattr(kinds, name)).validate_json(next(lines))
    job = head.job
    batch = Batch(job=job, state=head.state, error=head.error, started_at=head.started_at, finished_at=head.finished_at)
    return replace(
        batch,
        records=tuple(found),
        payloads=tuple(
            Payload(job=job, status=item.status, body=base64.b64decode(item.body), received_at=item.received_at)
            for item in head.payloads
        ),
        rejects=tuple(Reject(job=job, row=item.row, reason=item.reason, detail=item.detail) for item in head.rejects),
    )


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _rows_adapter(kind: type[Record]) -> TypeAdapter[Any]:
    return TypeAdapter(tuple[kind, ...])  # type: ignore[valid-type]  # a tuple of records of one kind
