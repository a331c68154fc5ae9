"""The doubts of a running collector: remembers last prices, stores suspects, and says once when sources part.

Used by the thread that writes. A database that is away costs the doubts of that moment, never the rows.
"""

from collections.abc import Sequence
from datetime import timedelta

from collector.clock import Clock
from collector.errors import StorageError
from collector.log import get_logger
from collector.records import Batch, Suspect
from collector.storage.suspects import Suspects
from collector.suspicion import (
    SAME_TIME,
    Bounds,
    Divergence,
    Price,
    Series,
    View,
    divergence_of,
    newest_prices,
    suspects_of,
)

LOOK_BACK = timedelta(days=1)  # an older price says nothing about a jump


class Scrutiny:
    """Looks at what was stored. `note` after every write, `compare_sources` once a cycle."""

    def __init__(self, store: Suspects, *, bounds: Bounds, clock: Clock) -> None:
        self._store = store
        self._bounds = bounds
        self._clock = clock
        self._last: dict[Series, Price] | None = None  # None until the stored ones were read
        self._apart: set[tuple[str, str]] = set()  # (subject, source) whose divergence was said already
        self._log = get_logger("Database")

    def start(self) -> None:
        """Learn the last stored prices; before the first write, or the first rows are compared with themselves."""
        if self._last is None:
            found = self._store.last_prices(self._clock.now() - LOOK_BACK)
            self._last = {
                series: Price(price=price, observed_at=at, source=source)
                for series, (price, at, source) in found.items()
            }

    def note(self, cycle_id: int, batches: Sequence[Batch]) -> int:
        """Store the jumps in batches that were written and return how many there are."""
        known = self._last if self._last is not None else {}
        self._last = known
        found: list[Suspect] = []
        for batch in batches:
            found += suspects_of(batch, known, self._bounds)
            known.update(newest_prices(batch, known))
        if found:
            first = found[0]
            self._log.warning(
                "values_jumped", count=len(found), source=first.source, subject=first.subject, detail=first.detail
            )
            self._keep(cycle_id, found)
        return len(found)

    def compare_sources(self, cycle_id: int) -> Divergence:
        """Measure how far the sources' newest prices are apart, and store what is beyond the tolerance."""
        try:
            rows = self._store.coin_prices(self._clock.now() - SAME_TIME)
        except StorageError as error:
            self._log.warning("divergence_unknown", reason=str(error))
            return Divergence()
        found = divergence_of([View(**row) for row in rows], self._bounds)
        self._say(found)
        self._keep(cycle_id, found.suspects)
        return found

    def _say(self, found: Divergence) -> None:
        """Log a divergence once when it begins and once when it is over."""
        now = {(item.subject, item.source): item for item in found.suspects}
        for key in sorted(now.keys() - self._apart):
            item = now[key]
            self._log.warning(
                "sources_diverge",
                subject=item.subject,
                source=item.source,
                price=item.value,
                reference=item.reference,
                reference_source=item.reference_source,
            )
        for subject, source in sorted(self._apart - now.keys()):
            self._log.info("sources_agree_again", subject=subject, source=source)
        self._apart = set(now)

    def _keep(self, cycle_id: int, suspects: Sequence[Suspect]) -> None:
        try:
            self._store.write(cycle_id, suspects)
        except StorageError as error:
            self._log.warning("suspects_lost", count=len(suspects), reason=str(error))
