"""Runs benchmarks: `python -m benchmarks [NAME ...]`, all of them without a name."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

# In the order in which they run: what needs the quietest machine first.
ROWS = ("upsert", "backfill", "indicators", "cycle", "calls", "books", "api", "growth", "memory", "start")
HERE = Path(__file__).resolve().parent
FAILED, STOPPED = 1, 130
ENDED = "stopped; rows that were measured before are kept"
HURRY_S = 25  # after a stop: whatever has not ended by itself then is killed


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(ROWS)}")
    made.add_argument(
        "--quick", action="store_true", help="small sizes: shows that sides agree; keeps nothing without --results"
    )
    made.add_argument("--rounds", type=_positive, help="rounds that count (default: as each benchmark thinks right)")
    made.add_argument("--results", type=Path, help="folder of results.json and RESULTS.md (default: benchmarks)")
    made.add_argument(
        "--keep",
        action="store_true",
        help="keep the results so far of these benchmarks as those before; the first ones kept stay, whatever follows",
    )
    made.add_argument("--profile", type=Path, metavar="FOLDER", help="profile the sides into FOLDER; keeps no result")
    return made


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: 1 or more")
    return int(text)


def options_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for; ends with 2 and a line when that cannot be done, before anything is measured.

    `results` is the folder that keeps the results, None where nothing is kept.
    """
    made = parser()
    options = made.parse_args(words)
    unknown = [name for name in options.names if name not in ROWS]
    if unknown:
        made.error(f"no such benchmark {unknown[0]!r}; use some of {', '.join(ROWS)}")
    options.names = tuple(dict.fromkeys(options.names)) or ROWS
    if options.profile is not None and (options.results is not None or options.keep):
        made.error("--profile keeps no result: not with --results or --keep")
    if options.results is None and not options.quick and options.profile is None:
        options.results = HERE
    if options.keep and options.results is None:
        made.error("--quick keeps no result: not with --keep, unless --results names a folder")
    for name in ("results", "profile"):
        folder = getattr(options, name)
        if folder is not None and (refused := _not_writable(folder)):
            made.error(f"--{name} {folder}: {refused}")
    return options


def _not_writable(folder: Path) -> str:
    """Make a folder; return why nothing can be written there, "" when it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(folder, os.W_OK | os.X_OK) else "nothing can be written there"


def stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave every `with`, so that nothing stays behind, and let no second signal disturb that."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, partial(hurry, 128 + number))
    signal.alarm(HURRY_S)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def hurry(code: int, _number: int, _frame: FrameType | None) -> NoReturn:
    """End at once what holds up a stop, as a cycle of this process that waits for a provider's limit."""
    from benchmarks.scratch import abandon  # noqa: PLC0415 - only then

    abandon()
    _complain(ENDED, code)
    os._exit(code)


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when something judged was missed, and never for a quick look."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)
    try:
        options = options_of(words)
        from benchmarks import rows  # noqa: PLC0415 - a second of imports, in which Ctrl+C is no traceback either

        try:
            return rows.measure(options)
        except rows.PLAIN as error:
            return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain(ENDED, STOPPED)


def _complain(text: str, code: int) -> int:
    print(f"benchmarks: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
