"""Backups on paper, for tests that need no database."""

from datetime import UTC, datetime, timedelta

from collector.backups.manifest import DUMP, Manifest, files_of, write_manifest
from collector.storage.copies.dumping import HASH, Held

NOON = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)  # a Tuesday


def manifest(**changes):
    values = {
        "program": "0.1.0",
        "created_at": NOON,
        "finished_at": NOON + timedelta(seconds=5),
        "verified_at": NOON + timedelta(seconds=9),
        "revision": "0004",
        "server": "18.4",
        "extensions": (),
        "dumped_by": "18.4",
        "database": "postgresql://me@host/db",
        "database_bytes": 9_000_000,
        "simulated": False,
        "left_out": ("raw_payloads",),
        "hash": HASH,
        "tables": {"candles": Held(rows=3, hash="-17"), "cycles": Held(rows=1, hash="98765432109876543210")},
        "files": {},
    }
    return Manifest(**{**values, **changes})


def put(folder, at, *, verified=True, name=None):
    """Put a whole backup of a moment into a folder and return its path."""
    path = folder / (name or f"backup_{at:%Y-%m-%d_%H-%M-%S}")
    (path / DUMP).mkdir(parents=True)
    (path / DUMP / "toc.dat").write_bytes(b"table of contents")
    (path / DUMP / "1.dat.gz").write_bytes(b"rows")
    written = manifest(created_at=at, verified_at=at if verified else None, files=files_of(path))
    write_manifest(path, written)
    return path
