"""What the benchmarks found, kept: results.json for programs and documents, RESULTS.md for people.

Each benchmark replaces its own part and leaves the others, so one can be measured again alone. What a part held before
is kept beside it when `keep` is asked for, and then both are shown; the first that was kept stays, so that a row that
fell short at its first run shows what it came from. Documents quote a figure by a comment with its name
(see README.md); `value_of` finds what the name stands for.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.harness import ROOT, Outcome, Spread
from collector.clock import SystemClock
from collector.storage.embedded import find_postgres

HERE = Path(__file__).resolve().parent
JSON, MARKDOWN = "results.json", "RESULTS.md"
PREFACE = (
    "Written by `make bench`; change nothing here by hand. Each figure is the median of its rounds with the lowest and "
    "the highest; a ratio is taken within each round. README.md says how they are measured."
)
PACKAGES = ("numpy", "pandas", "TA-Lib", "SQLAlchemy", "psycopg2-binary", "requests", "orjson", "fastapi", "uvicorn")
PEERS = ("ccxt", "cryptofeed", "freqtrade", "pandas", "pandas-ta-classic", "ta", "TA-Lib", "SQLAlchemy", "numpy")


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the code."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "processor": cpu or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e6, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions(*, with_peers: bool) -> dict[str, dict[str, str]]:
    """Return the versions of what took part."""
    server = subprocess.run(
        [find_postgres().program("postgres"), "--version"], check=True, capture_output=True, text=True
    )
    ours = {name: version(name) for name in PACKAGES}
    found = {"ours": {"commit": commit(), "PostgreSQL": server.stdout.split()[-1], **ours}}
    if with_peers:
        found["peers"] = peers.versions(*PEERS)
    return found


def commit() -> str:
    """Return the commit that is measured, marked when files but the results differ from it; empty outside a clone."""
    short = _git("rev-parse", "--short", "HEAD")
    results = (f":!benchmarks/{name}" for name in (JSON, MARKDOWN))
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *results)
    return f"{short}-dirty" if changed else short


def _git(*words: str) -> str:
    found = subprocess.run(["git", *words], cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S607
    return found.stdout.strip()


def as_json(outcome: Outcome, *, command: str, load: float, took_s: float, with_peers: bool) -> dict[str, Any]:
    """Return the part of results.json that belongs to one benchmark."""
    return {
        "title": outcome.title,
        "work": outcome.work,
        "method": outcome.method,
        "command": command,
        "measured_at": SystemClock().now().isoformat(timespec="minutes"),
        "load_before": round(load, 2),
        "took_s": round(took_s),
        "machine": machine(),
        "versions": versions(with_peers=with_peers),
        "notes": list(outcome.notes),
        **figures_of(outcome),
    }


def figures_of(outcome: Outcome) -> dict[str, Any]:
    """Return configurations, figures and what is judged, as they are kept."""
    return {
        "configurations": dict(outcome.configurations),
        "parts": {
            part.key: {
                "text": part.text,
                "figures": {
                    side: {figure: _spread(value) for figure, value in figures.items()}
                    for side, figures in part.figures.items()
                },
            }
            for part in outcome.parts
        },
        "reaches": {
            reach.key: {
                "text": reach.text,
                "value": _spread(reach.value),
                "limit": reach.limit,
                "at_least": reach.at_least,
                "unit": reach.unit,
                "met": reach.met,
            }
            for reach in outcome.reaches
        },
    }


def _spread(value: Spread) -> dict[str, Any]:
    numbers = {"median": value.median, "low": value.low, "high": value.high}
    return {**{key: _rounded(number) for key, number in numbers.items()}, "rounds": len(value.rounds)}


def _rounded(number: float) -> float:
    return float(f"{number:.5g}")


def load(folder: Path = HERE) -> dict[str, Any]:
    """Return all results, by benchmark; empty before the first."""
    path = folder / JSON
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def store(parts: Mapping[str, Mapping[str, Any]], folder: Path = HERE, *, keep: bool = False) -> None:
    """Replace the results of these benchmarks and write both files; with `keep` the old ones stay as "before".

    What is "before" already is not replaced. Files are replaced whole: an interruption leaves the old or the new ones.
    """
    found = load(folder)
    for name, part in parts.items():
        old = found.get(name, {})
        before = old.get("before") or (old if keep else None)
        found[name] = {**part, **({"before": before} if before else {})}
    found = {name: found[name] for name in sorted(found)}
    for name, text in ((JSON, json.dumps(found, indent=1) + "\n"), (MARKDOWN, markdown(found))):
        (folder / f".{name}.new").write_text(text, encoding="utf-8")
        (folder / f".{name}.new").replace(folder / name)


def value_of(found: Mapping[str, Any], name: str) -> float | None:
    """Return the median that a name stands for, None when there is none.

    `upsert.repeat_ratio` is what is judged, `upsert.new.ours.wall_s` a figure of a side in a part; `upsert.before. ...`
    the same of the results before.
    """
    benchmark, *path = name.split(".")
    part = found.get(benchmark, {})
    if path[:1] == ["before"]:
        part, path = part.get("before", {}), path[1:]
    if len(path) == 1:
        held = part.get("reaches", {}).get(path[0], {}).get("value", {})
    elif len(path) == 3:
        held = part.get("parts", {}).get(path[0], {}).get("figures", {}).get(path[1], {}).get(path[2], {})
    else:
        return None
    return float(held["median"]) if "median" in held else None


# --------------------------------------------------------------------------- for people


def markdown(found: Mapping[str, Any]) -> str:
    """Return the page of all results."""
    lines = [
        "# Results",
        "",
        PREFACE,
        "",
        *_overview(found),
    ]
    for name in found:
        lines += _chapter(name, found[name])
    return "\n".join(lines) + "\n"


def _overview(found: Mapping[str, Any]) -> list[str]:
    lines = ["| Benchmark | Judged | Measured | Before | Reach | |", "| --- | --- | --- | --- | --- | --- |"]
    for name in found:
        earlier = found[name].get("before", {}).get("reaches", {})
        for key, reach in found[name]["reaches"].items():
            old = _figure(earlier[key]["value"], reach["unit"]) if key in earlier else ""
            bound = f"{'>=' if reach['at_least'] else '<='} {reach['limit']:g} {reach['unit']}"
            verdict = "reached" if reach["met"] else "**MISSED**"
            now = _figure(reach["value"], reach["unit"])
            lines.append(f"| {name} | {reach['text']} | {now} | {old} | {bound} | {verdict} |")
    return [*lines, ""]


def _chapter(name: str, part: Mapping[str, Any]) -> list[str]:
    where, packages = part["machine"], part["versions"]
    lines = [f"## {part['title']} (`{name}`)", "", part["work"], ""]
    lines += [f"- Command: {_run(part)}"]
    memory = f"{where['cores']} cores, {where['memory_gb']} GB"
    lines += [f"- Machine: {where['processor']}, {memory}, {where['system']}, Python {where['python']}"]
    lines += [f"- Versions, {side}: {_listed(names)}" for side, names in packages.items()]
    if before := part.get("before"):
        lines += [f"- Before: {_run(before)}"]
        lines += [f"- Versions before, {side}: {_listed(names)}" for side, names in before["versions"].items()]
    lines += [f"- Method: {part['method']}"] if part["method"] else []
    lines += [f"- Side `{side}`: {text}" for side, text in part["configurations"].items()]
    lines += [f"- {note}" for note in part["notes"]]
    for key, phase in part["parts"].items():
        lines += ["", f"{phase['text']} (`{key}`)", "", *_table(phase["figures"])]
        earlier = part.get("before", {}).get("parts", {}).get(key)
        if earlier:
            lines += ["", f"Before, {_when(part['before'])}:", "", *_table(earlier["figures"])]
    return [*lines, ""]


def _run(part: Mapping[str, Any]) -> str:
    took = f", took {part['took_s']} s" if "took_s" in part else ""
    return f"`{part['command']}`, {part['measured_at']}, load before {part['load_before']}{took}"


def _when(part: Mapping[str, Any]) -> str:
    commit = part["versions"].get("ours", {}).get("commit")
    return f"{part['measured_at']}{f', commit {commit}' if commit else ''}"


def _table(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for held in figures.values() for name in held))
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for side, held in figures.items():
        cells = [_figure(held[name]) if name in held else "" for name in names]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    return lines


def _figure(value: Mapping[str, float], unit: str = "") -> str:
    text = f"{_number(value['median'])}{f' {unit}' if unit else ''}"
    return text if value["low"] == value["high"] else f"{text} ({_number(value['low'])} to {_number(value['high'])})"


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"


def _listed(names: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in names.items() if number)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
