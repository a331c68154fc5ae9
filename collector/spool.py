"""The spool: what was observed while the database was away waits on disk, within a bound, and returns in order.

Only what cannot be asked for again is kept: prices, books, open interest and the like. Bars, settled funding rates and
lists are left to healing. Each file holds one group of batches: a header line with the length and the checksum of the
rest, then compressed lines of JSON. It is written under another name, flushed to disk and renamed, so it is whole or
not there; it is deleted only after the database has committed its rows. A crash between the two returns it once more,
which changes nothing: rows have natural keys. What the disk refuses is told and never raised. Used by the thread that
writes.
"""

import base64
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError

from collector import records as kinds
from collector.log import get_logger
from collector.records import Batch, Dataset, Job, Payload, Record, Reject, RejectReason

VERSION = 2  # version 1 had every answer's body in base64
SUFFIX, UNFINISHED, CORRUPT, REFUSED = ".spool", ".tmp", ".corrupt", ".refused"
# 600 books of 100 levels, answers included: 0.2 s and 2 MB on disk; level 6 saves 8 % and takes three times as long.
COMPRESSION = 1
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

_KINDS = {name: kind for name, kind in vars(kinds).items() if isinstance(kind, type) and issubclass(kind, Record)}
_REPLACED = "\N{REPLACEMENT CHARACTER}".encode()
_ANY_NUMBER = ConfigDict(allow_inf_nan=True)  # what is believed was decided before; here it only must come back


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
    body: str
    received_at: datetime
    text: bool = False  # the body as it is, which compresses better by a quarter; else base64


@dataclass(frozen=True, slots=True)
class _Refusal:
    row: str
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """A batch without its records; those follow, a line for each run of records of one kind."""

    __pydantic_config__: ClassVar[ConfigDict] = _ANY_NUMBER

    job: Job
    state: str
    error: str
    started_at: datetime | None
    finished_at: datetime | None
    payloads: tuple[_Answer, ...]
    rejects: tuple[_Refusal, ...]
    kinds: tuple[str, ...]


class Spool:
    """A folder of at most `cap` bytes; when it is full, files that were moved aside go first, then the oldest."""

    def __init__(self, folder: Path, cap: int) -> None:
        self._folder = folder
        self._cap = cap
        self._number = 0  # of the next file of this process: names in order also within one moment
        self._unwritable = False  # as last told
        self._log = get_logger("Database")
        try:
            for left in folder.glob(f"*{UNFINISHED}"):
                left.unlink(missing_ok=True)
        except OSError as error:
            self._tell_unwritable(error)

    def keep(self, cycle: SpooledCycle, batches: Sequence[Batch]) -> Kept:
        """Keep what cannot be asked for again and return it; what the disk does not take is not among it."""
        chosen = tuple(batch for batch in batches if batch.records and batch.job.dataset not in ASKED_AGAIN)
        if not chosen:
            return Kept()
        content = _encoded(cycle, chosen)
        if len(content) > self._cap:
            self._log.error("spool_too_small", bytes=len(content), cap=self._cap)
            return Kept()
        dropped: list[Path] = []
        try:
            self._open_folder()
            self._make_room(len(content), dropped)
            self._write(cycle, content, sum(len(batch.records) for batch in chosen))
        except OSError as error:  # the disk is full, read-only or broken
            self._tell_unwritable(error)
            chosen = ()
        else:
            self._tell_writable()
        rows = sum(_rows_of(file) for file in dropped)
        if dropped:
            self._log.error("spool_full", dropped_files=len(dropped), dropped_rows=rows, cap=self._cap)
        return Kept(batches=chosen, dropped_files=len(dropped), dropped_rows=rows)

    def pending(self) -> int:
        """Return how many files wait."""
        return len(self._files())

    def waiting(self) -> Iterator[tuple[Path, SpooledCycle, list[Batch]]]:
        """Yield what waits, oldest first, until it is `done`; it may have been stored already before a crash.

        A file that is not whole is moved aside and told. One that cannot be read now stays for the next time.
        """
        for file in self._files():
            try:
                content = file.read_bytes()
            except OSError as error:
                self._log.error("spool_file_unreadable", file=file.name, reason=_reason(error))
                continue
            try:
                cycle, batches = _decoded(content)
            except (ValueError, zlib.error) as error:
                self._log.error("spool_file_damaged", file=file.name, reason=_reason(error))
                self._set_aside(file, CORRUPT)
                continue
            yield file, cycle, batches

    def done(self, file: Path) -> None:
        """Forget a file whose rows the database has committed; one that cannot be deleted returns once more."""
        try:
            file.unlink(missing_ok=True)
            _flush_folder(self._folder)
        except OSError as error:
            self._tell_unwritable(error)

    def refused(self, file: Path) -> None:
        """Move a file aside that the database will never take."""
        self._set_aside(file, REFUSED)

    def _files(self, suffix: str = SUFFIX) -> list[Path]:
        """Return the files in the order of their names, which is the order of their cycles and groups."""
        try:
            return sorted(self._folder.glob(f"*{suffix}"))
        except OSError as error:  # too many open files, a broken disk
            self._log.error("spool_unreadable", folder=self._folder, reason=_reason(error))
            return []

    def _open_folder(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _flush_folder(self._folder.parent)

    def _make_room(self, size: int, dropped: list[Path]) -> None:
        """Delete files until `size` more bytes fit, and add those that were waiting to `dropped`."""
        aside = [*self._files(CORRUPT), *self._files(REFUSED)]  # these were told when they were moved
        sizes = [(file, file.stat().st_size) for file in (*aside, *self._files())]
        held = sum(length for _, length in sizes)
        for file, length in sizes:
            if held + size <= self._cap:
                break
            file.unlink()
            held -= length
            if file.suffix == SUFFIX:
                dropped.append(file)

    def _write(self, cycle: SpooledCycle, content: bytes, rows: int) -> None:
        self._number += 1
        stem = f"{cycle.started_at:%Y%m%dT%H%M%S.%f}_{cycle.cadence}_{os.getpid()}_{self._number:06d}_{rows}"
        unfinished, final = self._folder / f"{stem}{UNFINISHED}", self._folder / f"{stem}{SUFFIX}"
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(final)
            _flush_folder(self._folder)
        except OSError:
            for left in (unfinished, final):  # half a file would hold room on a full disk; a whole one would return
                with suppress(OSError):
                    left.unlink(missing_ok=True)
            raise

    def _set_aside(self, file: Path, suffix: str) -> None:
        try:
            file.rename(file.with_suffix(suffix))
        except OSError as error:
            self._tell_unwritable(error)

    def _tell_unwritable(self, error: OSError) -> None:
        if not self._unwritable:  # once, not for each group of each cycle
            self._log.error("spool_unwritable", folder=self._folder, reason=_reason(error))
        self._unwritable = True

    def _tell_writable(self) -> None:
        if self._unwritable:
            self._log.warning("spool_is_back", folder=self._folder)
        self._unwritable = False


def _rows_of(file: Path) -> int:
    """Return how many rows a file's name tells; 0 for a file that somebody else put there."""
    rows = file.stem.rpartition("_")[2]
    return int(rows) if rows.isdecimal() else 0


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def _flush_folder(folder: Path) -> None:
    """Make renames and deletions in the folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --------------------------------------------------------------------------- the content of a file


def _encoded(cycle: SpooledCycle, batches: Iterable[Batch]) -> bytes:
    lines = [_line(_adapter(SpooledCycle), cycle)]
    for batch in batches:
        runs = [(kind, tuple(run)) for kind, run in groupby(batch.records, type)]
        lines.append(_line(_adapter(_Head), _head(batch, tuple(kind.__name__ for kind, _ in runs))))
        lines += [_line(_rows_adapter(kind), run) for kind, run in runs]
    body = zlib.compress(b"\n".join(lines), COMPRESSION)
    return f"spool {VERSION} {len(body)} {zlib.crc32(body):08x}\n".encode() + body


def _head(batch: Batch, names: tuple[str, ...]) -> _Head:
    return _Head(
        job=batch.job,
        state=batch.state,
        error=batch.error,
        started_at=batch.started_at,
        finished_at=batch.finished_at,
        payloads=tuple(_answer(item) for item in batch.payloads),
        rejects=tuple(_Refusal(item.row, item.reason, item.detail) for item in batch.rejects),
        kinds=names,
    )


def _answer(payload: Payload) -> _Answer:
    try:
        body, is_text = payload.body.decode(), True
    except UnicodeDecodeError:
        body, is_text = base64.b64encode(payload.body).decode(), False
    return _Answer(payload.status, body, payload.received_at, is_text)


def _payload(answer: _Answer, job: Job) -> Payload:
    body = answer.body.encode() if answer.text else base64.b64decode(answer.body, validate=True)
    return Payload(job=job, status=answer.status, body=body, received_at=answer.received_at)


def _decoded(content: bytes) -> tuple[SpooledCycle, list[Batch]]:
    """Return what a file holds; raises ValueError when it is not whole."""
    header, _, body = content.partition(b"\n")
    words = header.split()
    if len(words) != 4 or words[0] != b"spool":  # noqa: PLR2004 - spool, version, length, checksum
        raise ValueError("no header")
    if not 1 <= int(words[1]) <= VERSION:
        raise ValueError(f"version {int(words[1])}, this program reads up to {VERSION}")
    if len(body) != int(words[2]) or zlib.crc32(body) != int(words[3], 16):
        raise ValueError("cut short or changed")
    lines = iter(zlib.decompress(body).split(b"\n"))
    cycle: SpooledCycle = _value(_adapter(SpooledCycle), next(lines))
    return cycle, [_batch(line, lines) for line in lines]


def _batch(line: bytes, lines: Iterator[bytes]) -> Batch:
    head: _Head = _value(_adapter(_Head), line)
    found: list[Record] = []
    for name in head.kinds:
        if name not in _KINDS:
            raise ValueError(f"no kind of row is called {name!r}")
        rows = _rows_adapter(_KINDS[name])  # type: ignore[arg-type]  # a class is hashable
        found += _value(rows, next(lines, b""))
    job = head.job
    batch = Batch(job=job, state=head.state, error=head.error, started_at=head.started_at, finished_at=head.finished_at)
    return replace(
        batch,
        records=tuple(found),
        payloads=tuple(_payload(item, job) for item in head.payloads),
        rejects=tuple(Reject(job=job, row=item.row, reason=item.reason, detail=item.detail) for item in head.rejects),
    )


def _line(adapter: TypeAdapter[Any], value: object) -> bytes:
    """Return a value as a line of JSON, lone surrogates as escapes: a provider's text may hold some.

    The fast writer refuses one in a value, but in the key of a mapping it writes replacement characters instead.
    """
    with suppress(PydanticSerializationError):
        line = adapter.dump_json(value)
        if _REPLACED not in line:
            return line
    return json.dumps(adapter.dump_python(value), default=str).encode()


def _value(adapter: TypeAdapter[Any], line: bytes) -> Any:
    """Return the value of a line; raises ValueError when it is none of this type."""
    if b"\\ud" in line:  # perhaps a lone surrogate, which the fast reader refuses
        return adapter.validate_python(json.loads(line))
    return adapter.validate_json(line)


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _rows_adapter(kind: type[Record]) -> TypeAdapter[Any]:
    return TypeAdapter(tuple[kind, ...], config=_ANY_NUMBER)  # type: ignore[valid-type]  # a tuple of records of one kind
