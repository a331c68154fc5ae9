"""Runs benchmarks: `python -m benchmarks [NAME ...]`, all of them without a name."""

import argparse
import importlib
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks import results
from benchmarks.asked import Asked
from benchmarks.harness import Outcome
from benchmarks.side import PROFILE

# In the order in which they run: what needs the quietest machine first.
ROWS = ("upsert", "backfill", "indicators", "cycle", "calls", "books", "api", "growth", "memory", "start")


def show(name: str, outcome: Outcome, seconds: float) -> None:
    """Print what is judged."""
    print(f"\n{name}: {outcome.title}, {seconds:.0f} s")
    for reach in outcome.reaches:
        value, sign = reach.value, ">=" if reach.at_least else "<="
        verdict = "reached" if reach.met else "MISSED"
        spread = f"({value.low:.3g} to {value.high:.3g})"
        print(f"  {reach.text:<60} {value.median:8.3g} {reach.unit} {spread:<20} {sign} {reach.limit:g}  {verdict}")
    print(flush=True)


def main() -> int:
    """Run what was asked for; 1 when something judged was missed, and never for a quick look."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that sides agree; nothing is kept")
    parser.add_argument("--rounds", type=int, help="rounds that count (default: as each benchmark thinks right)")
    parser.add_argument("--results", type=Path, help="folder of results.json and RESULTS.md (default: benchmarks)")
    parser.add_argument("--keep", action="store_true", help="keep the results of these benchmarks as those before")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="profile the sides into FOLDER; keeps no result")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in ROWS]
    if unknown:
        parser.error(f"no such benchmark {unknown[0]!r}; use some of {', '.join(ROWS)}")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # leaves every `with`: nothing stays behind
    folder = options.results or (None if options.quick or options.profile else results.HERE)
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
        os.environ[PROFILE] = str(options.profile.resolve())
    met = True
    for name in options.names or ROWS:
        load, began = os.getloadavg()[0], time.perf_counter()
        print(f"{name} ...", flush=True)
        asked = Asked(quick=options.quick, rounds=options.rounds)
        outcome = importlib.import_module(f"benchmarks.{name}").measure(asked)
        show(name, outcome, time.perf_counter() - began)
        if folder is not None:
            command = f"python -m benchmarks {name}" + (" --quick" if options.quick else "")
            results.store({name: results.as_json(outcome, command=command, load=load)}, folder, keep=options.keep)
        met &= all(reach.met for reach in outcome.reaches)
    return 0 if met or options.quick else 1


if __name__ == "__main__":
    raise SystemExit(main())
