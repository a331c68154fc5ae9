"""The demo as a new user sees it: from a copy of the tree, without settings, network or database."""

import json
import shutil

import pytest

from tests.acceptance.program import REPOSITORY, SOURCES, Program

TREE = ("collector", "migrations", "config", "main.py", "alembic.ini")
FED = (
    "market_snapshots",
    "global_snapshots",
    "order_books",
    "mark_prices",
    "funding_rates",
    "open_interest",
    "tickers",
    "candles",
    "indicators",
)


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A program in a copy of the tree; nothing in the environment speaks of the product."""
    root = tmp_path_factory.mktemp("copied")
    for name in TREE:
        place = REPOSITORY / name
        if place.is_dir():
            shutil.copytree(place, root / name)
        else:
            shutil.copy(place, root / name)
    program = Program(root / "unused", addresses=dict.fromkeys(SOURCES, ""), root=root)
    for name in [name for name in program.environment if name.startswith("COLLECTOR_")]:
        del program.environment[name]
    program.environment["PORT"] = "0"  # other demos may run on this machine
    return root, program


@pytest.fixture(scope="module")
def shown(copied):
    """How a demo of one cycle ended."""
    _, program = copied
    return program.run("demo", "--cycles", "1", config=False, limit_s=120)


def test_the_demo_ends_by_itself_with_status_0_and_prints_what_was_stored(shown):
    assert shown.status == 0, shown.err
    assert "Traceback" not in shown.err
    said = shown.out + shown.err
    for table in FED:
        line = next(line.split() for line in said.splitlines() if line.strip().startswith(f"{table} "))
        assert int(line[1].replace(",", "").removeprefix("~")) > 0, table


def test_the_demo_says_everywhere_that_it_is_simulated(shown, copied):
    root, program = copied
    assert shown.err.splitlines()[0].startswith("SIMULATED")
    assert "SIMULATED data (made-up prices); stored:" in shown.out + shown.err
    assert json.loads((root / "logs/demo/latest/report.json").read_text())["simulated"] is True
    marked = program.run("--demo", "psql", "-Atc", "SELECT DISTINCT simulated, state FROM cycles", config=False)
    assert marked.out.split() == ["t|ok"]


def test_the_demo_keeps_to_its_own_folders(shown, copied):
    root, _ = copied
    assert shown.status == 0
    assert sorted(path.name for path in (root / "data").iterdir()) == ["demo"]
    assert {path.name for path in (root / "logs").iterdir()} == {"demo"}


def test_a_second_demo_ends_by_itself_too(shown, copied):
    """Its slow cadences ran a moment ago: it must not wait ten minutes for their next turn."""
    _, program = copied
    again = program.run("demo", "--cycles", "1", config=False, limit_s=120)
    assert again.status == 0
    assert again.seconds < 60
