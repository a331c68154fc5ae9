"""The house rules that a reader of one file cannot see: who may import whom, who reads the clock, how big things get.

Imports are read with `ast`, so nothing has to be importable. A rule is a table; whoever needs a new arrow changes the
table on purpose. The last tests feed every rule a sample that breaks it.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "collector").rglob("*.py"), ROOT / "main.py"])
LONGEST_MODULE, LONGEST_FUNCTION = 600, 80

# A unit is a module or a folder that counts as one thing. Imports point down; inside one unit they are free.
LEVELS = {
    "collector": 0,  # the version, nothing else
    "collector.records": 0,
    "collector.bars": 0,
    "collector.errors": 0,
    "collector.exits": 0,
    "collector.clock": 0,
    "collector.instruments": 0,
    "collector.parsing": 0,
    "collector.printing": 0,
    "collector.sources.base": 0,  # types only: what a source is and what it is handed
    "collector.config": 1,
    "collector.log": 1,
    "collector.resilience": 1,
    "collector.http": 2,
    "collector.storage": 3,
    "collector.sources": 3,
    "collector.indicators": 3,
    "collector.analytics": 3,
    "collector.sinks": 3,
    "collector.clients": 3,
    "collector.validate": 3,
    "collector.suspicion": 3,
    "collector.plan": 3,
    "collector.coverage": 1,  # words for windows, and what follows from them; pure
    "collector.universe": 3,
    "collector.budget": 4,
    "collector.cycle": 4,
    "collector.outage": 4,
    "collector.spool": 3,
    "collector.telling": 4,
    "collector.worker": 4,
    "collector.following": 4,
    "collector.checkup": 4,
    "collector.status": 4,
    "collector.upkeep": 4,
    "collector.fallback": 3,
    "collector.healing": 4,
    "collector.backfill": 4,
    "collector.gaps": 4,
    "collector.replay": 4,
    "collector.scrutiny": 4,
    "collector.studies": 4,
    "collector.retention": 4,
    "collector.backups": 4,
    "collector.alerts": 4,
    "collector.watch": 4,
    "collector.housekeeping": 5,
    "collector.scheduler": 5,
    "collector.analyst": 5,
    "collector.companion": 5,
    "collector.api": 5,
    "collector.simulator": 5,
    "collector.demo": 6,
    "collector.providers": 6,
    "collector.wiring": 6,
    "collector.wiring_api": 6,
    "collector.wiring_studies": 6,
    "collector.wiring_chores": 6,
    "collector.wiring_alerts": 6,
    "collector.cli_analytics": 7,
    "collector.cli_api": 7,
    "collector.cli_backtest": 7,
    "collector.cli_commands": 7,
    "collector.cli_coverage": 7,
    "collector.cli_files": 7,
    "collector.cli_sinks": 7,
    "collector.cli_database": 7,
    "collector.cli_timescale": 7,
    "collector.cli_retention": 7,
    "collector.cli_alerts": 7,
    "collector.cli_watch": 7,
    "collector.cli_release": 7,
    "collector.cli_housekeeping": 7,
    "collector.cli": 8,
    "main": 9,
}
# Arrows between units of one level. The words of level 0 build on each other; log takes its section of the settings.
SIDEWAYS = {
    ("collector.bars", "collector.records"),
    ("collector.clock", "collector.records"),
    ("collector.parsing", "collector.clock"),
    ("collector.parsing", "collector.errors"),
    ("collector.parsing", "collector.records"),
    ("collector.instruments", "collector.records"),
    ("collector.sources.base", "collector.records"),
    ("collector.log", "collector.config"),
    ("collector.cycle", "collector.outage"),
    ("collector.wiring", "collector.providers"),
    ("collector.wiring", "collector.wiring_studies"),
    ("collector.wiring_api", "collector.providers"),
    ("collector.wiring_api", "collector.wiring"),
    ("collector.wiring_chores", "collector.wiring"),
    ("collector.wiring_chores", "collector.wiring_alerts"),
    ("collector.wiring_api", "collector.wiring_alerts"),
    ("collector.cycle", "collector.scrutiny"),
    ("collector.outage", "collector.worker"),
    ("collector.cycle", "collector.telling"),
    ("collector.cycle", "collector.worker"),
    ("collector.telling", "collector.worker"),
    ("collector.backfill", "collector.worker"),
    ("collector.backfill", "collector.healing"),
    ("collector.cli_commands", "collector.cli_analytics"),
    ("collector.cli_commands", "collector.cli_api"),
    ("collector.cli_commands", "collector.cli_backtest"),
    ("collector.cli_commands", "collector.cli_housekeeping"),
    ("collector.cli_commands", "collector.cli_alerts"),
    ("collector.cli_backtest", "collector.cli_analytics"),
    ("collector.cli_backtest", "collector.cli_coverage"),
    ("collector.cli_files", "collector.cli_coverage"),
    ("collector.cli_commands", "collector.cli_files"),
    ("collector.cli_commands", "collector.cli_coverage"),
    ("collector.cli_commands", "collector.cli_database"),
    ("collector.cli_commands", "collector.cli_retention"),
    ("collector.cli_commands", "collector.cli_sinks"),
    ("collector.cli_sinks", "collector.cli_coverage"),
    ("collector.cli_commands", "collector.cli_timescale"),
    ("collector.cli_commands", "collector.cli_watch"),
    ("collector.cli_commands", "collector.cli_release"),
    ("collector.indicators", "collector.storage.reader"),
    ("collector.sinks", "collector.storage"),
}
WORDS = {name for name, level in LEVELS.items() if level == 0}
# Tighter than the levels: all that these may import of ours.
ONLY = {
    "collector.sources": WORDS,
    "collector.storage": {*WORDS, "collector.coverage", "collector.config", "collector.log", "collector.resilience"},
    "collector.validate": WORDS,
    "collector.suspicion": WORDS,
    "collector.fallback": WORDS,
    "collector.plan": WORDS,
    "collector.coverage": WORDS,
    "collector.universe": WORDS,
    "collector.analytics": WORDS,
    "collector.indicators.compute": {*WORDS, "collector.indicators.levels", "collector.indicators.stretch"},
    "collector.indicators.levels": WORDS,
    "collector.indicators.stretch": WORDS,
    "collector.indicators.extra": {*WORDS, "collector.indicators.compute", "collector.indicators.stretch"},
    "collector.simulator": WORDS,  # the other side, written from the providers' documents
    "main": {"collector.cli"},
}
# Who may use a package from outside: requests and SDKs stay at the edge, the database behind one door.
PACKAGES = {
    "requests": {"collector.http"},
    "urllib3": {"collector.http"},
    "tenacity": {"collector.http", "collector.resilience"},
    "binance": {"collector.clients"},
    "pycoingecko": {"collector.clients"},
    "sqlalchemy": {"collector.storage"},
    "psycopg2": {"collector.storage"},
    "alembic": {"collector.storage"},
    "talib": {"collector.indicators"},
    "numpy": {f"collector.{name}" for name in ("indicators", "analytics", "storage", "simulator", "studies")},
    "pandas": {"collector.analytics", "collector.studies"},
    **{name: {"collector.analytics"} for name in ("skfolio", "cvxpy", "plotly")},
    "apscheduler": {"collector.scheduler", "collector.config"},  # config checks cron lines with it
    "pydantic": {"collector.config", "collector.api", "collector.spool"},  # the spool: exact JSON of our records
    "pydantic_core": {"collector.spool"},
    "pydantic_settings": {"collector.config"},
    "yaml": {"collector.config"},
    **{name: {"collector.api"} for name in ("fastapi", "starlette", "uvicorn", "limits", "cachetools")},
    "orjson": {"collector.api", "collector.storage.quotes"},  # bars come as JSON
    "pyarrow": {"collector.api", "collector.sinks"},
    "duckdb": {"collector.sinks"},
    "fsspec": {"collector.sinks"},
    "botocore": {"collector.sinks"},  # comes with s3fs: what it raises beside OSError
    "google": {"collector.sinks.bigquery"},
    "dotenv": {"collector.config"},
    "apprise": {"collector.alerts"},
    "rich": {"collector.cli_files", "collector.watch", "collector.cli_watch", "collector.cli_database"},
}
# Pure modules do nothing but compute: none of the standard library's ways to the outside, or to other threads.
PURE = (
    "collector.records",
    "collector.errors",
    "collector.parsing",
    "collector.sources",
    "collector.validate",
    "collector.suspicion",
    "collector.coverage",
    "collector.plan",
    "collector.universe",
    "collector.analytics",
    "collector.indicators",
)
OUTSIDE = {"asyncio", "io", "logging", "os", "pathlib", "random", "shutil", "signal", "socket", "ssl", "subprocess"}
OUTSIDE |= {"tempfile", "threading", "time", "http.client", "http.server", "urllib.request", "concurrent.futures"}
REGISTRY = "collector.sources"  # the package itself: the one place that names every source
CLOCK = "collector.clock"
NOW_READERS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
# The two places that keep a defect from spreading: around a source's worker and around a scheduled job.
CONTAINING = {"collector.worker", "collector.scheduler"}
TRANSLATING = {"collector.indicators.extra"}  # TA-Lib raises bare Exception; it leaves as ValueError `from` it
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "core"}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(file): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def within(name: str, places: object) -> bool:
    """Whether a module is one of the places or lies in one of them."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def unit(name: str) -> str | None:
    """The most precise entry of LEVELS that a module belongs to; the bare package stands only for itself."""
    known = [entry for entry in LEVELS if within(name, [entry]) and (entry != "collector" or name == "collector")]
    return max(known, key=len, default=None)


def imports(tree: ast.AST, modules: object = ()) -> Iterator[tuple[int, str]]:
    """Every module that is imported, with its line; `from package import module` counts as the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in modules or inner in OUTSIDE else base


def wrong_arrows(name: str, tree: ast.AST) -> list[str]:
    found = []
    here = unit(name)
    for line, target in imports(tree, TREES):
        if target.startswith("."):
            found.append(f"{name}:{line} imports relatively ({target})")
        if not within(target, ["collector"]):
            continue
        there = unit(target)
        if there is None:
            found.append(f"{name}:{line} -> {target}, which has no level")
            continue
        down = there == here or LEVELS[there] < LEVELS[here]
        if not down and not any(a == here and within(target, [b]) for a, b in SIDEWAYS):
            found.append(f"{name}:{line} -> {target} points up or sideways ({LEVELS[here]} -> {LEVELS[there]})")
        found += [
            f"{name}:{line} -> {target} is not allowed in {place}"
            for place, allowed in ONLY.items()
            if within(name, [place]) and name not in (*allowed, REGISTRY) and not _allowed(target, allowed, place, here)
        ]
    return found


def _allowed(target: str, allowed: set[str], place: str, here: str | None) -> bool:
    if target in allowed or any(within(target, [entry]) for entry in allowed if entry != "collector"):
        return True
    if place == "collector.sources":  # a source may use what its venue's hosts have in common, never another source
        return here == "collector.sources" and target.rpartition(".")[2].startswith("_")
    return within(target, [place]) and here == place


def wrong_packages(name: str, tree: ast.AST) -> list[str]:
    found = []
    for line, target in imports(tree):
        top = target.partition(".")[0]
        if within(name, PURE) and (target in OUTSIDE or top in OUTSIDE):
            found.append(f"{name}:{line} is pure and imports {target}")
        if top in sys.stdlib_module_names or top in {"collector", "__future__"}:
            continue
        if not within(name, PACKAGES.get(top, ())):
            found.append(f"{name}:{line} imports {top}")
    return found


def clock_reads(name: str, tree: ast.AST) -> list[str]:
    if name == CLOCK:
        return []
    imported = [f"{name}:{line} imports time" for line, target in imports(tree) if target == "time"]
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return imported + [
        f"{name}:{node.lineno} reads the clock with {ast.unparse(node)}"
        for node in attributes
        if (ast.unparse(node.value).rpartition(".")[2], node.attr) in NOW_READERS
    ]


def broad_handlers(name: str, tree: ast.AST) -> list[str]:
    """Handlers of everything that may keep what they caught. One that ends in a bare `raise` only tidies up."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if not any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in kinds):
            continue
        last = node.body[-1]
        tidies = isinstance(last, ast.Raise) and last.exc is None
        translates = isinstance(last, ast.Raise) and last.cause is not None and name in TRANSLATING
        if not tidies and not translates and name not in CONTAINING:
            found.append(f"{name}:{node.lineno} catches everything")
    return found


def long_functions(name: str, tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                found.append(f"{name}:{node.lineno} {node.name} has {lines} lines")
    return found


RULES = [wrong_arrows, wrong_packages, clock_reads, broad_handlers, long_functions]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule):
    assert [text for name, tree in TREES.items() for text in rule(name, tree)] == []


def test_every_module_has_a_level():
    assert [name for name in TREES if unit(name) is None] == []


def test_modules_import_each_other_without_circles():
    arrows = {name: {target for _, target in imports(tree, TREES) if target in TREES} for name, tree in TREES.items()}
    order = list(arrows)
    while free := [name for name in order if not arrows[name] - {name} & set(order) - {name}]:
        order = [name for name in order if name not in free]
    assert order == []


def test_no_module_is_longer_than_its_reader_s_patience():
    lengths = {module_name(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_modules_are_named_for_what_they_are_for():
    assert [name for name in TREES if VAGUE_NAMES & set(name.split("."))] == []


def test_both_places_that_contain_a_defect_are_few():
    caught = [
        (name, node.lineno)
        for name in CONTAINING
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node).startswith(("except Exception", "except:"))
    ]
    assert len(caught) <= len(CONTAINING), caught


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (wrong_arrows, "collector.records", "from collector.config import Settings"),
        (wrong_arrows, "collector.storage.writer", "from collector.sources import SOURCES"),
        (wrong_arrows, "collector.storage.writer", "from collector.http import Venue"),
        (wrong_arrows, "collector.sources.okx", "from collector.sources.coingecko import NAME"),
        (wrong_arrows, "collector.sources.okx", "from collector.sources import coingecko"),
        (wrong_arrows, "collector.sources.okx", "def late():\n    from collector import config"),
        (wrong_arrows, "collector.simulator.okx", "from collector.sources import _okx"),
        (wrong_arrows, "collector.indicators.compute", "from collector.indicators import service"),
        (wrong_arrows, "collector.indicators.service", "from collector.storage.writer import Writer"),
        (wrong_arrows, "collector.cycle", "from collector import wiring"),
        (wrong_arrows, "collector.plan", "from . import records"),
        (wrong_arrows, "collector.cli", "import collector.unheard_of"),
        (wrong_packages, "collector.sources.okx", "import requests"),
        (wrong_packages, "collector.sources.okx", "import threading"),
        (wrong_packages, "collector.cycle", "from sqlalchemy import text"),
        (wrong_packages, "collector.validate", "from os import path"),
        (wrong_packages, "collector.wiring", "import httpx"),
        (clock_reads, "collector.cycle", "import time"),
        (clock_reads, "collector.cycle", "from time import sleep"),
        (clock_reads, "collector.cycle", "import datetime\nx = datetime.datetime.now()"),
        (clock_reads, "collector.cycle", "x = datetime.now(UTC)"),
        (broad_handlers, "collector.wiring", "try:\n    f()\nexcept Exception:\n    pass"),
        (broad_handlers, "collector.wiring", "try:\n    f()\nexcept:\n    pass"),
        (broad_handlers, "collector.wiring", "try:\n    f()\nexcept (ValueError, Exception) as e:\n    raise X from e"),
        (long_functions, "collector.wiring", "def f():\n" + "    x = 1\n" * 80),
    ],
)
def test_a_rule_notices_what_breaks_it(rule, name, source):
    assert len(rule(name, ast.parse(source))) >= 1


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (wrong_arrows, "collector.sources.okx", "from collector.sources._okx import unwrap"),
        (wrong_arrows, "collector.sources.okx", "from collector.sources.base import Cost"),
        (wrong_arrows, "collector.indicators.service", "from collector.storage.reader import Reader"),
        (wrong_arrows, "collector.following", "from collector.storage.writer import Writer"),
        (wrong_packages, "collector.sources.okx", "from http import HTTPStatus"),
        (broad_handlers, "collector.wiring", "try:\n    f()\nexcept BaseException:\n    g()\n    raise"),
        (long_functions, "collector.wiring", "def f():\n" + "    x = 1\n" * 79),
    ],
)
def test_a_rule_lets_pass_what_keeps_it(rule, name, source):
    assert rule(name, ast.parse(source)) == []
