"""The analyst: a process beside the collector that makes the studies of each cycle it is told of.

Apart from the collector, so that neither the memory of its packages nor a defect in them is the collector's. Told of
several cycles while it was busy, it makes the studies of the newest of each cadence.
"""

import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from collector.studies.after_cycle import Studies


@dataclass(frozen=True, slots=True)
class EndedCycle:
    """A cycle that has ended."""

    cadence: str
    cycle_id: int | None


def line_of(cadence: str, cycle_id: int | None) -> str:
    """Return the line that tells of a cycle."""
    return json.dumps({"cadence": cadence, "cycle_id": cycle_id})


def follow(studies: Studies, told: TextIO) -> None:
    """Make the studies of every cycle told of, until there is nobody to tell."""
    for ended in _newest(told):
        studies.after_cycle(ended)


def _newest(told: TextIO) -> Iterator[EndedCycle]:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(told, lines), name="input", daemon=True).start()
    open_ended = True
    while open_ended:
        waiting = [lines.get()]
        while not lines.empty():
            waiting.append(lines.get())
        open_ended = None not in waiting
        newest = {cycle.cadence: cycle for line in waiting if line and (cycle := _cycle(line))}
        yield from newest.values()


def _read(told: TextIO, lines: "queue.SimpleQueue[str | None]") -> None:
    for line in told:
        lines.put(line)
    lines.put(None)


def _cycle(line: str) -> EndedCycle | None:
    """Return what a line tells; None for one that was cut off by its writer's death."""
    try:
        return EndedCycle(**json.loads(line))
    except (TypeError, ValueError):
        return None
