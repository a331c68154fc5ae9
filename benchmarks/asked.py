"""What a person asked of a benchmark, and the kind of error that says why it cannot be had."""

from dataclasses import dataclass
from typing import TypeVar

Number = TypeVar("Number", int, float)


class CannotMeasure(Exception):
    """There is no figure; the text says why, and what to do, and a person is told no more than that."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`quick`: small sizes, that show the same work and the same answers but no figures to quote."""

    quick: bool = False
    rounds: int | None = None  # None: what the benchmark thinks right

    def size(self, whole: Number, quick: Number) -> Number:
        """Return the size to work with."""
        return quick if self.quick else whole

    def times(self, whole: int, quick: int = 1) -> int:
        """Return how many rounds count."""
        return self.rounds or self.size(whole, quick)
