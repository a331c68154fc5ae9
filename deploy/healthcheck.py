"""Says whether a service is healthy: exit status 0 and one line if so, 1 and the reason if not.

    python deploy/healthcheck.py LOG_FOLDER ... SECONDS    a cycle that stored rows ended lately (the collector)
    python deploy/healthcheck.py api                       the data API answers (port PORT, or 8000)
    python deploy/healthcheck.py process WORD              a process with this word among its own is at work

Needs no database, no settings and no package: it costs little and cannot disturb what it looks at. The first form reads
the reports that cycles leave in the log folders; cycles that are still running have no report yet and are passed over.
"""
# ruff: noqa: INP001 - a program of its own, not part of the package

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path

LOOKED_AT = 50  # newest folders; enough for cycles that stored nothing in between
ANSWER_S = 5.0
OK, USAGE = 200, 2


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


def verdict(folders: list[Path], within: timedelta, now: datetime) -> tuple[int, str]:
    """Return the exit status and what to say of a collector that writes to one of these folders."""
    stored = max((ended for ended in map(last_stored, folders) if ended is not None), default=None)
    if stored is None:
        return 1, f"no cycle in {', '.join(map(str, folders))} has stored rows"
    age = int((now - stored).total_seconds())
    text = f"last cycle that stored rows ended {age} s ago"
    return (0, text) if now - stored <= within else (1, f"{text}; at most {int(within.total_seconds())} s are allowed")


def api_verdict(port: int) -> tuple[int, str]:
    """Return the same of the data API on this machine; it says itself whether it can answer anything."""
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        told = json.loads(answer.read(100_000)) if answer.status == OK else {}
    except (OSError, HTTPException, ValueError) as error:
        return 1, f"port {port} does not answer: {type(error).__name__}"
    finally:
        connection.close()
    status = told.get("status", f"HTTP {answer.status}")
    return (1 if not told or status == "unhealthy" else 0), f"the API says {status}"


def process_verdict(word: str, processes: Path = Path("/proc")) -> tuple[int, str]:
    """Return the same of a process that runs `main.py WORD`; one that ended and was not yet reaped does not count."""
    for folder in processes.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or is not ours
            continue
        if word.encode() in words and any(part.endswith(b"main.py") for part in words):
            return 0, f"{word} runs as process {folder.name}"
    return 1, f"{word} does not run"


def main() -> int:
    """Check what the command line names."""
    if len(sys.argv) < 2 or (sys.argv[1] != "api" and len(sys.argv) < 3):  # noqa: PLR2004 - see the usage
        sys.stdout.write(f"usage:\n{(__doc__ or '').split(chr(10) * 2)[1]}\n")
        return USAGE
    first, *rest = sys.argv[1:]
    if first == "api":
        status, text = api_verdict(int(os.environ.get("PORT") or 8000))
    elif first == "process":
        status, text = process_verdict(rest[0])
    else:
        *folders, seconds = sys.argv[1:]
        now = datetime.now(UTC)  # noqa: TID251 - nothing of the product is imported here, its clock neither
        status, text = verdict([Path(folder) for folder in folders], timedelta(seconds=int(seconds)), now)
    sys.stdout.write(text + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
