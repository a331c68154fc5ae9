"""What the libraries on DataFrames share: a frame for each series, and new columns in it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.sides.made_bars import Bars, newest, series, told


class Frames:
    """Base of the sides that take a frame of date, open, high, low, close and volume and return one with columns."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.bars = int(work["bars"])
        self.frames = [frame_of(one) for one in series(work["series"], self.bars)]
        self.found: list[pd.DataFrame] = []

    def prepare(self, _phase: str) -> None:
        self.found = []

    def columns(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the indicators of one series."""
        raise NotImplementedError

    def run(self, _phase: str) -> None:
        self.found = [self.columns(frame) for frame in self.frames]

    def answer(self, phase: str) -> dict[str, Any]:
        return told(
            [{str(name): values.to_numpy() for name, values in one.items()} for one in self.found],
            newest(phase, self.bars),
        )

    def close(self) -> None: ...


def frame_of(bars: Bars) -> pd.DataFrame:
    frame = pd.DataFrame(bars._asdict()).rename(columns={"open_time": "date"})
    frame["date"] = pd.to_datetime(frame["date"], unit="s", utc=True)
    return frame
