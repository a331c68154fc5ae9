"""Rows that go together: lines of JSON in a compressed file, with a digest that names the jobs which carry them."""

import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import IO, Any, Self

MOST_BYTES = 128 * 1024 * 1024  # of lines; a load job takes far more, but a disk may not
_MOST_RANGES = 20  # of days that a MERGE names


class Batch:
    """Rows of one table outside, on the way. Close it: it may hold a temporary file."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0  # of lines
        self._days: set[date] = set()
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = tempfile.TemporaryFile("rb+")  # noqa: SIM115 - closed by `close`; it has no name to leave
        self._packed = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=4, mtime=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Put a row into it, as `encode` makes it."""
        line = json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        self._packed.write(line)
        self._digest.update(line)
        self._days.add(datetime.fromisoformat(row["row_time"]).date())
        self.rows += 1
        self.bytes += len(line)

    @property
    def full(self) -> bool:
        """Return whether it is too large to take more."""
        return self.bytes >= MOST_BYTES

    def finished(self) -> tuple[IO[bytes], int]:
        """Return the compressed file at its start, and its length; nothing can be added any more."""
        self._packed.close()
        size = self._file.seek(0, 2)
        self._file.seek(0)
        return self._file, size

    def name(self, *about: object) -> str:
        """Return what is the same only for the same rows in the same order and the same circumstances."""
        digest = self._digest.copy()
        digest.update("\x00".join(map(str, about)).encode())
        return digest.hexdigest()[:40]

    def ranges(self) -> list[tuple[datetime, datetime]]:
        """Return [start, end) of the days that its rows speak of; when these are too scattered, one range of all."""
        return ranges_of(self._days)

    def close(self) -> None:
        """Give its file up."""
        self._packed.close()
        self._file.close()


def ranges_of(days: Iterable[date]) -> list[tuple[datetime, datetime]]:
    """Return days as ranges [start, end) without gaps, oldest first, or one range when they would be too many."""
    found: list[tuple[datetime, datetime]] = []
    for day in sorted(days):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found if len(found) <= _MOST_RANGES else [(found[0][0], found[-1][1])]
