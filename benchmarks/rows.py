"""Measures rows one after the other, prints what is judged, and keeps what was found."""

import argparse
import importlib
import json
import os
import time

from benchmarks import peers, results
from benchmarks.asked import Asked, CannotMeasure
from benchmarks.harness import Outcome
from benchmarks.scratch import run_folder
from benchmarks.side import PROFILE
from collector.errors import CollectorError

WITH_PEERS = frozenset({"upsert", "backfill", "indicators", "cycle", "calls"})
# What is told in one line: everything else is a defect of ours, and its traceback is wanted.
PLAIN = (CannotMeasure, CollectorError)


def measure(options: argparse.Namespace) -> int:
    """Run what was asked for; 1 when something judged was missed, and never for a quick look."""
    if options.results is not None:
        _readable(options)
    if WITH_PEERS.intersection(options.names):
        peers.python()  # before the first minute is spent
    if options.profile is not None:
        os.environ[PROFILE] = str(options.profile.resolve())
    with run_folder():
        return 0 if _rows(options) or options.quick else 1


def _rows(options: argparse.Namespace) -> bool:
    """Measure the rows; tell whether all that is judged was reached."""
    met = True
    for name in options.names:
        load, began = os.getloadavg()[0], time.perf_counter()
        print(f"{name} ...", flush=True)
        asked = Asked(quick=options.quick, rounds=options.rounds)
        outcome: Outcome = importlib.import_module(f"benchmarks.{name}").measure(asked)
        took = time.perf_counter() - began
        show(name, outcome, took)
        if options.results is not None:
            part = results.as_json(
                outcome, command=command(name, options), load=load, took_s=took, with_peers=name in WITH_PEERS
            )
            results.store({name: part}, options.results, keep=options.keep)
        met &= all(reach.met for reach in outcome.reaches)
    return met


def _readable(options: argparse.Namespace) -> None:
    try:
        results.load(options.results)
    except (OSError, json.JSONDecodeError) as error:
        raise CannotMeasure(f"{options.results / results.JSON} cannot be read ({error}): mend or remove it") from error


def command(name: str, options: argparse.Namespace) -> str:
    """Return the command that measures one row in the same way."""
    words = ["python -m benchmarks", name, *(["--quick"] if options.quick else [])]
    return " ".join([*words, *([f"--rounds {options.rounds}"] if options.rounds else [])])


def show(name: str, outcome: Outcome, seconds: float) -> None:
    """Print what is judged, and what only stands beside it."""
    print(f"\n{name}: {outcome.title}, {seconds:.0f} s")
    for reach in outcome.reaches:
        value, sign = reach.value, ">=" if reach.at_least else "<="
        verdict = "reached" if reach.met else "MISSED"
        spread = f"({value.low:.3g} to {value.high:.3g})"
        print(f"  {reach.text:<60} {value.median:8.3g} {reach.unit} {spread:<20} {sign} {reach.limit:g}  {verdict}")
    for text, value, unit in outcome.beside:
        print(f"  {text:<60} {value.median:8.3g} {unit} ({value.low:.3g} to {value.high:.3g})")
    print(flush=True)
