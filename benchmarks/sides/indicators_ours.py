"""The collector's indicators: every standard column with pivot levels, swings, warm-up, holes and still prices."""

from collections.abc import Mapping
from typing import Any

from benchmarks.sides.made_bars import WIDTH, newest, series, told
from collector.indicators.compute import Bars, Series, compute_many


class Ours:
    """`compute_many` over all series; of each is kept what the service keeps."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.bars = int(work["bars"])
        self.series = [Series(Bars(WIDTH, *one)) for one in series(work["series"], self.bars)]
        self.found: list[dict[str, Any]] = []

    def prepare(self, _phase: str) -> None:
        self.found = []

    def run(self, phase: str) -> None:
        first = self.bars - newest(phase, self.bars)
        self.found = [one.kept(first) for one in compute_many(self.series)]

    def answer(self, phase: str) -> dict[str, Any]:
        return told(self.found, newest(phase, self.bars))

    def close(self) -> None: ...


def open_side(work: Mapping[str, Any]) -> Ours:
    return Ours(work)
