"""What a person asked of a benchmark."""

from dataclasses import dataclass
from typing import TypeVar

Number = TypeVar("Number", int, float)


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
