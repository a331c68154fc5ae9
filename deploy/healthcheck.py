"""Says whether a cycle that stored rows ended lately: exit status 0 and one line if so, 1 and the reason if not.

    python deploy/healthcheck.py LOG_FOLDER SECONDS

Reads the reports that cycles leave in the log folder, so it needs no database, no settings and no package: it costs
little and cannot disturb the collector. Cycles that are still running have no report yet and are passed over.
"""
# ruff: noqa: INP001 - a program of its own, not part of the package

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

LOOKED_AT = 50  # newest folders; enough for cycles that stored nothing in between


def last_stored(folder: Path) -> datetime | None:
    """Return when the newest cycle that stored rows ended; None when none of the newest did."""
    newest: datetime | None = None
    for cycle in sorted(folder.glob("cycle_*"), reverse=True)[:LOOKED_AT]:
        try:
            report = json.loads((cycle / "report.json").read_text(encoding="utf-8"))
        except FileNotFoundError:  # running, or its process died
            continue
        if any(sum(source["rows"].values()) for source in report["sources"]):
            ended = datetime.fromisoformat(report["finished_at"])
            newest = ended if newest is None else max(newest, ended)
    return newest


def verdict(folder: Path, within: timedelta, now: datetime) -> tuple[int, str]:
    """Return the exit status and what to say."""
    stored = last_stored(folder)
    if stored is None:
        return 1, f"no cycle in {folder} has stored rows"
    age = int((now - stored).total_seconds())
    text = f"last cycle that stored rows ended {age} s ago"
    return (0, text) if now - stored <= within else (1, f"{text}; at most {int(within.total_seconds())} s are allowed")


def main() -> int:
    """Check the folder named on the command line."""
    folder, seconds = sys.argv[1:]
    now = datetime.now(UTC)  # noqa: TID251 - nothing of the product is imported here, its clock neither
    status, text = verdict(Path(folder), timedelta(seconds=int(seconds)), now)
    sys.stdout.write(text + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
