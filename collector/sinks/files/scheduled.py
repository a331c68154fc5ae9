"""The scheduled export: whole days or months of datasets to a folder or a bucket, each with a manifest of its own.

A period is at the target when its manifest is, which is put there last. Killed anywhere, the next turn goes on: what
has no manifest is exported again, under the same names.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from collector.clock import Clock
from collector.config.export import ExportSettings
from collector.errors import SinkError
from collector.log import get_logger
from collector.sinks.files.exporting import Piece, Request, check_request, write_pieces
from collector.sinks.files.manifest import FORMATS, Manifest, parse_manifest, spelled
from collector.sinks.files.target import Target
from collector.storage.database import Database
from collector.storage.outgoing.copying import load_slices
from collector.storage.outgoing.datasets import EXPORTABLE, Exportable, Slice
from collector.storage.outgoing.export_facts import is_simulated

AGAIN = timedelta(minutes=30)  # after a turn that failed
FOLDER = "manifests"
PRESENT = "present"  # the period of what has no time: instruments, assets
DAY = timedelta(days=1)


class ScheduledExport:
    """Exports the periods that the target does not have yet; owned by one thread."""

    name = "export"

    def __init__(self, settings: ExportSettings, database: Database, clock: Clock, *, simulated: bool = False) -> None:
        """Look at nothing yet. Raises ConfigError for an unknown dataset, or a target that cannot be used."""
        check_request(Request(datasets=settings.datasets, format=settings.format))
        self._settings, self._database, self._clock = settings, database, clock
        self._target = Target(settings.target, endpoint_url=settings.endpoint_url)
        self._simulated = simulated
        self._next: datetime | None = None

    def due(self, now: datetime) -> bool:
        """Return whether a turn has come; the first one after a start is at once, for it goes on where one ended."""
        return self._next is None or now >= self._next

    def run(self, now: datetime) -> Mapping[str, object]:
        """Export what is missing. Raises SinkError for the target, StorageError kinds for the database."""
        if self._next is None:  # the process before us may have been killed
            self._target.sweep()
        self._next = now + AGAIN  # unless it ends well
        simulated = self._simulated or is_simulated(self._database)
        done = [self._export(label, since, until, now, simulated) for label, since, until in self._missing(now)]
        told = [manifest for manifest in done if manifest is not None]
        self._next = self._settings.next_turn(now)
        if not told:
            return {}
        size = sum(entry.facts.bytes for manifest in told for entry in manifest.files)
        rows = sum(manifest.rows for manifest in told)
        return {
            "target": self._settings.target,
            "periods": len(told),
            "rows": rows,
            "bytes": size,
            "simulated": simulated,
        }

    # ------------------------------------------------------------------ periods

    def _missing(self, now: datetime) -> Iterator[tuple[str, datetime | None, datetime | None]]:
        """Yield the periods to export, oldest first, and last what has no time."""
        for since, until in self._periods(now):
            label = f"{since:%Y-%m-%d}" if self._settings.period == "day" else f"{since:%Y-%m}"
            manifest = self._manifest(label)
            if manifest is None or manifest.created_at < until + self._settings.again or self._differs(manifest):
                yield label, since, until
        yield PRESENT, None, None

    def _periods(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the whole periods that ended by now and began after the oldest moment wanted, oldest first."""
        start = (now - self._settings.back).replace(hour=0, minute=0, second=0, microsecond=0)
        monthly = self._settings.period == "month"
        start = start.replace(day=1) if monthly else start
        while (end := _next_month(start) if monthly else start + DAY) <= now:
            yield start, end
            start = end

    def _differs(self, manifest: Manifest) -> bool:
        """Return whether other datasets or another format were wanted then."""
        timed = tuple(name for name in self._settings.datasets if EXPORTABLE[name].time is not None)
        return manifest.format != self._settings.format or set(manifest.datasets) != set(timed)

    def _manifest(self, label: str) -> Manifest | None:
        """Return what the target holds of a period; None for nothing, or what an unknown version wrote."""
        body = self._target.read(f"{FOLDER}/{label}.json")
        if body is None:
            return None
        try:
            return parse_manifest(body, f"{label}.json")
        except SinkError as error:
            get_logger("Export").warning("manifest_unusable", period=label, reason=str(error))
            return None

    # ------------------------------------------------------------------ one period

    def _export(
        self, label: str, since: datetime | None, until: datetime | None, now: datetime, simulated: bool
    ) -> Manifest | None:
        """Export a period and return its manifest; None when the target had the same already."""
        before = self._manifest(label)
        with tempfile.TemporaryDirectory(prefix="export-") as scratch:
            request = Request(
                datasets=tuple(self._wanted(timed=since is not None)),
                format=self._settings.format,
                since=since,
                until=until,
            )
            pieces = [
                piece for name in request.datasets for piece in self._pieces(EXPORTABLE[name], request, simulated)
            ]
            held = {entry.path: entry.facts.sha256 for entry in before.files} if before else {}
            manifest = write_pieces(
                self._database,
                request,
                pieces,
                Path(scratch),
                now=now,
                simulated=simulated,
                wrote=lambda path, digest: self._deliver(Path(scratch), path, same=held.get(path) == digest),
            )
            if since is None and before is not None and replace(before, created_at=now) == manifest:
                return None
            written = Path(scratch) / "manifest.json"
            written.write_bytes(spelled(manifest))
            self._target.put(written, f"{FOLDER}/{label}.json")
        for path in held.keys() - {entry.path for entry in manifest.files}:
            self._target.remove(path)
        return manifest

    def _deliver(self, scratch: Path, path: str, *, same: bool) -> None:
        """Put a file to the target, unless it is there, and free its room here."""
        if not same:
            self._target.put(scratch / path, path)
        (scratch / path).unlink()

    def _wanted(self, *, timed: bool) -> Iterator[str]:
        names = set(self._settings.datasets)
        if any(EXPORTABLE[name].numbered for name in names):
            names.add("instruments")
        yield from (name for name in EXPORTABLE if name in names and (EXPORTABLE[name].time is not None) == timed)

    def _pieces(self, dataset: Exportable, request: Request, simulated: bool) -> Iterator[Piece]:
        for where in load_slices(self._database, dataset, request.since, request.until):
            yield Piece(dataset=dataset, where=where, path=self._path(dataset, where, simulated))

    def _path(self, dataset: Exportable, where: Slice, simulated: bool) -> str:
        parts = [dataset.name]
        if dataset.partition is not None:
            parts.append(f"{dataset.partition}={where.part}")
        if where.since is not None:
            parts.append(f"month={where.since:%Y-%m}")
            parts += [f"day={where.since:%Y-%m-%d}"] if self._settings.period == "day" else []
        return "/".join([*parts, f"{dataset.name}{'.simulated' if simulated else ''}{FORMATS[self._settings.format]}"])


def _next_month(start: datetime) -> datetime:
    return (start + 32 * DAY).replace(day=1)
