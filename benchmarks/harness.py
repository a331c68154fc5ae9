"""Measures sides that do the same work: each in its own process, in turn, several rounds, with equal answers.

A comparison names its sides and the phases of the work. In each round every side does every phase once; the side that
begins changes from round to round, so that a slow moment of the machine falls on all of them. Warm-up rounds come
first and do not count. After each phase the answers are compared; sides that disagree end the benchmark. A figure is
the median of its rounds with the lowest and the highest; a ratio is taken within each round, and then its median.
"""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Any

import psutil

from benchmarks import peers
from benchmarks.asked import CannotMeasure
from benchmarks.scratch import work_folder

ROOT = Path(__file__).resolve().parent.parent
OURS = "ours"
CLOSE_S = 60.0  # for a side to close by itself; its own server is the slowest to end
LEAVE_S = 10.0  # for a side that is told to leave its work


class Disagreement(CannotMeasure):
    """The sides did not produce the same answer, so their times say nothing."""


class SideEnded(CannotMeasure):
    """A side ended before it had answered; what it wrote to standard error has been passed on."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The rounds of one figure, in order."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def low(self) -> float:
        return min(self.rounds)

    @property
    def high(self) -> float:
        return max(self.rounds)

    def over(self, other: "Spread") -> "Spread":
        """Return the ratio of two figures, round by round."""
        return Spread(tuple(mine / theirs for mine, theirs in zip(self.rounds, other.rounds, strict=False)))

    def times(self, factor: float) -> "Spread":
        """Return the figure in another unit."""
        return Spread(tuple(value * factor for value in self.rounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A figure that is judged: at most, or at least, a limit. `key` is what documents quote it by."""

    key: str
    text: str
    value: Spread
    limit: float
    at_least: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool:
        return self.value.median >= self.limit if self.at_least else self.value.median <= self.limit


@dataclass(slots=True, kw_only=True)
class Part:
    """What was measured of one phase: a figure by side and name."""

    key: str
    text: str
    figures: dict[str, dict[str, Spread]] = field(default_factory=dict)

    def of(self, side: str, figure: str = "wall_s") -> Spread:
        """Return a figure of a side."""
        return self.figures[side][figure]

    def ratio(self, above: str, below: str, figure: str = "wall_s") -> Spread:
        """Return a figure of one side over that of another."""
        return self.of(above, figure).over(self.of(below, figure))


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one benchmark found. `configurations` says of each side how it was set up, `notes` what to know."""

    title: str
    work: str
    parts: list[Part]
    reaches: list[Reach]
    configurations: Mapping[str, str]
    notes: Sequence[str] = ()
    method: str = ""
    beside: Sequence[tuple[str, Spread, str]] = ()  # text, figure and unit of what is shown and not judged

    def part(self, key: str) -> Part:
        """Return a part by its key."""
        return next(part for part in self.parts if part.key == key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way to do the work: a module with `open_side`, and what it is handed."""

    name: str
    module: str
    configuration: str
    work: Mapping[str, Any] = field(default_factory=dict)
    peer: bool = False  # runs in the environment of the peers


Agree = Callable[[str, Mapping[str, Any]], None]


def all_equal(phase: str, answers: Mapping[str, Any]) -> None:
    """Raise Disagreement unless all sides answered the same."""
    (first, wanted), *others = answers.items()
    for name, found in others:
        if found != wanted:
            raise Disagreement(f"{phase}: {first} answered {_short(wanted)}, {name} {_short(found)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Sides, the phases of their work (key and description), and how often."""

    sides: Sequence[Side]
    phases: Mapping[str, str]
    rounds: int
    warm_ups: int = 1
    agree: Agree = all_equal
    server_pid: int | None = None  # a server whose processor time is told beside that of the sides
    between: Callable[[], None] | None = None  # before each run of a phase, outside the clock

    def measure(self) -> list[Part]:
        """Run all rounds and return a part for each phase, answers compared."""
        parts = {key: Part(key=key, text=text) for key, text in self.phases.items()}
        rounds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        with ExitStack() as stack:
            opened = {side.name: stack.enter_context(_process(side)) for side in self.sides}
            names = list(opened)
            for number in range(self.warm_ups + self.rounds):
                turn = names[number % len(names) :] + names[: number % len(names)]
                for key in self.phases:
                    found = {name: self._one(opened[name], key) for name in turn}
                    self.agree(key, {name: found[name][1] for name in names})
                    for name, (figures, _) in found.items() if number >= self.warm_ups else ():
                        for figure, value in figures.items():
                            rounds[key, name, figure].append(value)
                        print(f"  {key:<12} {name:<28} {_line(figures)}", flush=True)
        for (key, name, figure), values in sorted(rounds.items(), key=lambda item: names.index(item[0][1])):
            parts[key].figures.setdefault(name, {})[figure] = Spread(tuple(values))
        return list(parts.values())

    def _one(self, process: "_Process", phase: str) -> tuple[dict[str, float], Any]:
        process.ask("prepare", phase)
        if self.between is not None:
            self.between()
        served = tree_cpu_s(self.server_pid)
        figures: dict[str, float] = process.ask("run", phase)
        if self.server_pid is not None:
            figures["server_cpu_s"] = tree_cpu_s(self.server_pid) - served
        told = process.ask("answer", phase)
        for name, value in told.get("facts", {}).items():
            figures[name] = float(value)
        return figures, told["same"]


class _Process:
    def __init__(self, name: str, process: "subprocess.Popen[str]", log: Any) -> None:
        self._name = name
        self._process = process
        self._log = log
        self._busy = False

    def ask(self, what: str, phase: str) -> Any:
        """Send a command and return what the side says."""
        return self.say({"do": what, "phase": phase})

    def say(self, message: Mapping[str, Any]) -> Any:
        """Send a line and return the next line of the side; raises SideEnded when there is none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._busy = True
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        self._busy = False
        if not line:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> SideEnded:
        code = self._process.wait()
        self._log.seek(0)
        text = self._log.read()[-4000:].decode(errors="replace").strip()
        print(text, file=sys.stderr, flush=True)
        return SideEnded(f"side {self._name} ended ({code}): {text.splitlines()[-1] if text else 'without a word'}")

    def end(self) -> None:
        """Let a side give back what it holds: the end of its commands is its word to close.

        A side in the midst of work is told to leave it. Whatever of it still runs then is killed; its own server ends
        with it.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended by itself
            self._process.stdin.close()
        if self._busy:
            self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_S if self._busy else CLOSE_S)
        with suppress(ProcessLookupError):  # the usual case: it and its children have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def _process(side: Side) -> Iterator[_Process]:
    """Lend a side. Its temporary files are in a folder that goes with it, however it ends."""
    python = str(peers.python()) if side.peer else sys.executable
    own = {key: value for key, value in os.environ.items() if not key.startswith("COLLECTOR_")}
    with (
        work_folder("side-") as folder,
        TemporaryFile() as log,
        subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.side", side.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**own, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
            process_group=0,  # Ctrl+C is for the harness, which ends the sides
        ) as process,
    ):
        lent = _Process(side.name, process, log)
        try:
            lent.say(side.work)
            yield lent
        finally:
            lent.end()


def tree_cpu_s(pid: int | None) -> float:
    """Return the processor seconds of a process, its children, and those of them that have ended; 0 without one."""
    if pid is None:
        return 0.0
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + (times.children_user + times.children_system if process is root else 0)
    return total


def _line(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:,.4g}" for name, value in figures.items())


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 400 else f"{text[:400]}..."
