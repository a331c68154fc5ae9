"""The runner of the benchmarks refuses what it cannot do before it measures, and leaves nothing however it ends.

Sides are real processes of tests/unit/benchmark_side.py; each has a child and a temporary file of its own.
"""

import os
import re
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks import __main__ as program
from benchmarks import peers, results, rows
from benchmarks.api_clients import in_turn, quantiles, rounds_of
from benchmarks.scratch import work_folder
from collector.clock import SystemClock

CLOCK = SystemClock()
ROOT = Path(__file__).resolve().parents[2]
# The program, with a row of two such sides in the place of `books`.
PROGRAM = """
import sys, time, types
from benchmarks import __main__ as program, harness
harness.LEAVE_S, program.HURRY_S = 0.5, 2 if sys.argv[1] == 'stuck' else 20
does, same, folder = sys.argv[1:]
def measure(asked):
    sides = [
        harness.Side(name=name, module="tests.unit.benchmark_side", configuration="",
                     work={"does": does, "same": answer, "told": f"{folder}/told-{name}"})
        for name, answer in (("ours", "1"), ("bare", same))
    ]
    try:
        harness.Comparison(sides=sides, phases={"only": ""}, rounds=1, warm_ups=0).measure()
    finally:
        if does == "stuck":
            time.sleep(60)
sys.modules["benchmarks.books"] = types.SimpleNamespace(measure=measure)
sys.exit(program.main(["books", "--quick"]))
"""


class Started:
    """The program at work in a process of its own, its temporary files below `folder`."""

    def __init__(self, folder: Path, does: str, same: str = "1") -> None:
        self.folder = folder
        (folder / "tmp").mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, does, same, str(folder)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder / "tmp")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, name: str) -> None:
        give_up_at = CLOCK.monotonic() + 20
        while not (self.folder / name).exists():
            assert self.process.poll() is None, self.process.communicate()
            assert CLOCK.monotonic() < give_up_at, f"{name} is not there"
            CLOCK.sleep(0.01)

    def said(self) -> tuple[int, list[str]]:
        """Return the exit status and the lines of standard error."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors.splitlines()

    def left(self) -> list[str]:
        """Return what the sides left: files, and processes that still run."""
        told = [path.read_text(encoding="utf-8").split() for path in self.folder.glob("told-*") if not path.suffix]
        assert len(told) == 2
        alive = [pid for side in told for pid in side[:2] if _runs(int(pid))]
        return [*alive, *(str(path) for path in (self.folder / "tmp").iterdir())]


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Started]]:
    """Hold what a test has started; ends it, should the test have failed."""
    held: list[Started] = []
    yield held
    for one in held:
        one.process.kill()
        one.process.wait()
        one.process.communicate()


@pytest.mark.parametrize(
    ("does", "number", "status"),
    [
        ("sleep", signal.SIGINT, 130),
        ("sleep", signal.SIGTERM, 143),
        ("stubborn", signal.SIGINT, 130),  # a side that stays at work is killed
        ("stuck", signal.SIGINT, 130),  # so is a row that does not end
    ],
)
def test_a_stop_leaves_no_process_and_no_folder_and_no_traceback(
    tmp_path: Path, started: list[Started], does: str, number: signal.Signals, status: int
):
    started.append(one := Started(tmp_path, does))
    one.wait_for("told-ours.busy")
    one.process.send_signal(number)
    code, errors = one.said()
    lines = ["benchmarks: stopped; rows that were measured before are kept"]
    assert (code, errors) == (status, lines if number == signal.SIGINT else [])
    assert one.left() == []


def test_sides_that_disagree_are_one_line_and_leave_nothing(tmp_path: Path, started: list[Started]):
    started.append(one := Started(tmp_path, "answer", same="2"))
    assert one.said() == (1, ['benchmarks: only: ours answered "1", bare "2"'])
    assert one.left() == []


def test_a_side_that_fails_tells_why_in_the_last_line_and_leaves_nothing(tmp_path: Path, started: list[Started]):
    started.append(one := Started(tmp_path, "raise"))
    code, errors = one.said()
    assert (code, errors[-1]) == (1, "benchmarks: side ours ended (1): ValueError: no such table")
    assert one.left() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["books", "--quick", "--rounds", "-1"], "is no number of rounds"),
        (["books", "--quick", "--rounds", "0"], "is no number of rounds"),
        (["books", "--quick", "--rounds", "many"], "is no number of rounds"),
        (["books", "--quick", "--keep"], "--quick keeps no result"),
        (["books", "--profile", "{folder}", "--results", "{folder}"], "--profile keeps no result"),
        (["books", "--profile", "{folder}", "--keep"], "--profile keeps no result"),
        (["books", "--results", "{folder}/file/below"], "Not a directory"),
        (["books", "--profile", "{folder}/file"], "File exists"),
        (["bookz"], "no such benchmark 'bookz'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        program.options_of([word.format(folder=tmp_path) for word in words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_results_are_kept_where_it_is_said_and_nowhere_after_a_quick_look_or_a_profile(tmp_path: Path):
    assert program.options_of([]).results == results.HERE
    assert program.options_of([]).names == program.ROWS
    assert program.options_of(["books", "books"]).names == ("books",)
    assert program.options_of(["--quick"]).results is None
    assert program.options_of(["--profile", str(tmp_path)]).results is None
    made = program.options_of(["--quick", "--keep", "--results", str(tmp_path / "a" / "b")])
    assert made.results == tmp_path / "a" / "b"
    assert made.results.is_dir()


def test_the_kept_command_measures_the_same_again():
    assert rows.command("books", Namespace(quick=False, rounds=None)) == "python -m benchmarks books"
    assert rows.command("books", Namespace(quick=True, rounds=3)) == "python -m benchmarks books --quick --rounds 3"


def test_results_that_cannot_be_read_are_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], signals: None
):
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    assert program.main(["books", "--quick", "--results", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "results.json cannot be read" in line


def test_peers_that_cannot_be_installed_are_one_line_with_the_remedy_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signals: None
):
    pip = tmp_path / "bin" / "python"
    pip.parent.mkdir()
    pip.write_text("#!/bin/sh\necho 'WARNING: retrying' >&2\necho 'ERROR: no matching distribution' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    monkeypatch.setattr(peers, "_STAMP", tmp_path / ".installed")
    monkeypatch.setattr(sys, "executable", "/bin/true")  # makes the environment
    peers.python.cache_clear()
    assert program.main(["upsert", "--quick"]) == 1
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert "ERROR: no matching distribution" in line
    assert "PIP_INDEX_URL" in line
    assert "upsert ..." not in told.out
    assert not peers.ready()
    peers.python.cache_clear()


@pytest.fixture
def signals() -> Iterator[None]:
    """Give back the handlers that the program replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_rows_whose_peers_are_looked_for_are_those_that_have_some():
    text = {name: (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8") for name in program.ROWS}
    assert {name for name in text if re.search(r"\bpeer=True\b", text[name])} == rows.WITH_PEERS


def test_a_work_folder_goes_even_while_a_process_writes_there():
    writer = "import pathlib, sys, time\nfor n in range(60):\n    p = pathlib.Path(sys.argv[1])\n"
    writer += "    p.mkdir(exist_ok=True)\n    (p / str(n)).touch()\n    time.sleep(0.01)\n"
    with work_folder("bench-test-") as folder:
        process = subprocess.Popen([sys.executable, "-c", writer, str(folder / "deep")], stderr=subprocess.DEVNULL)
        while not any(folder.iterdir()):
            CLOCK.sleep(0.01)
    process.wait(10)
    assert not folder.exists()


def test_the_side_that_begins_changes_and_the_warm_up_does_not_count():
    order: list[str] = []
    figures = {"ours": iter((100.0, 1.0, 2.0, 3.0)), "bare": iter((200.0, 4.0, 5.0, 6.0))}

    def ask(side: str) -> dict[str, float]:
        order.append(side)
        return {"ms": next(figures[side])}

    work = {"ours": lambda: ask("ours"), "bare": lambda: ask("bare")}
    found = rounds_of(lambda backwards: in_turn(work, backwards), 3)
    assert order == ["bare", "ours", "ours", "bare", "bare", "ours", "ours", "bare"]
    assert {side: spreads["ms"].rounds for side, spreads in found.items()} == {"ours": (1, 2, 3), "bare": (4, 5, 6)}


def test_a_quantile_is_the_time_that_so_many_answers_did_not_exceed():
    took = [float(n) for n in range(200, 0, -1)]
    assert quantiles(took) == {"p50_ms": 100.0, "p99_ms": 198.0}
    assert quantiles([7.0], (0.5, 0.95, 1.0)) == {"p50_ms": 7.0, "p95_ms": 7.0, "p100_ms": 7.0}
