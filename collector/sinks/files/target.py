"""A place that files are put to whole: a folder, or what fsspec has a URL for. Nothing half-written is ever seen."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]

from collector.errors import ConfigError, SinkError
from collector.sinks.files.atomic import TEMPORARY, atomic_file, sweep

_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}
"""Stores where an object appears when all of it has arrived."""


class Target:
    """Puts, reads and removes files below a URL. Raises SinkError; credentials come from where the store looks."""

    def __init__(self, url: str, *, endpoint_url: str = "") -> None:
        """Connect to nothing yet. Raises ConfigError for a URL that no installed package knows."""
        options: dict[str, Any] = {"endpoint_url": endpoint_url} if endpoint_url else {}
        try:
            # Not cached: what another process has put there since counts.
            listing = {} if url.partition("://")[0] in {url, "file", "memory"} else {"use_listings_cache": False}
            self._files, self._root = fsspec.core.url_to_fs(url, **options, **listing)
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigError(f"export.target: {url} cannot be used ({error})") from error
        protocol = self._files.protocol
        self._kinds = {protocol} if isinstance(protocol, str) else set(protocol)
        self.url = url

    def put(self, path: Path, name: str) -> None:
        """Put a file under a name, replacing what has it."""
        with self._told(name):
            if "file" in self._kinds:
                self._put_local(path, Path(self._root) / name)
            elif self._kinds & _WHOLE:
                self._files.put_file(str(path), self._place(name))
            else:
                folder, _, last = self._place(name).rpartition("/")
                self._files.makedirs(folder, exist_ok=True)
                temporary = f"{folder}/{TEMPORARY}{secrets.token_hex(4)}-{last}"
                self._files.put_file(str(path), temporary)
                self._files.mv(temporary, self._place(name))

    def _put_local(self, path: Path, place: Path) -> None:
        with atomic_file(place) as file, path.open("rb") as source:
            while block := source.read(1 << 20):
                file.write(block)

    def sweep(self) -> None:
        """Remove what killed writers left unfinished in a folder. Not while another process puts files there."""
        if "file" in self._kinds and Path(self._root).is_dir():
            with self._told("leftovers"):
                sweep(Path(self._root))

    def read(self, name: str) -> bytes | None:
        """Return the bytes under a name; None when there are none."""
        with self._told(name):
            try:
                return bytes(self._files.cat_file(self._place(name)))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        """Remove what has a name, if anything does."""
        with self._told(name):
            try:
                self._files.rm_file(self._place(name))
            except FileNotFoundError:
                return

    def _place(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except SinkError:
            raise
        except _store_errors() as error:
            said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise SinkError(f"{self.url}: {name}: {said}") from error


def _store_errors() -> tuple[type[Exception], ...]:
    """Return what the S3 package raises beside OSError: no credentials, no address."""
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped] # noqa: PLC0415 - heavy, seldom used

    return (OSError, ValueError, BotoCoreError)
