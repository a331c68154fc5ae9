"""How far a backfill is: share, rate and time left, as one line."""

from collections.abc import Callable
from datetime import timedelta

from collector.backfill.ranges import Request
from collector.clock import Clock
from collector.printing import span

SHOW_EVERY_S = 0.5


class Progress:
    """Says how far a backfill is, at most twice a second; `held` is asked only when it is told."""

    def __init__(
        self, request: Request, clock: Clock, show: Callable[[str], None], held: Callable[[], timedelta]
    ) -> None:
        self._request = request
        self._clock = clock
        self._show = show
        self._held = held
        self._started = clock.monotonic()
        self._shown_at = float("-inf")
        self._first: timedelta | None = None

    def tell(self, *, now: bool = False) -> None:
        """Show the state, at most twice a second unless `now`."""
        ticks = self._clock.monotonic()
        if not now and ticks - self._shown_at < SHOW_EVERY_S:
            return
        self._shown_at = ticks
        held = self._held()
        self._first = held if self._first is None else self._first
        self._show(self._line(held, ticks - self._started))

    def _line(self, held: timedelta, seconds: float) -> str:
        whole = self._request.until - self._request.since
        series, gained = self._request.series, held - (self._first or timedelta(0))
        share = 100 * held / whole if whole else 100.0
        unit = timedelta(hours=1) if series.interval is None else series.interval.width
        name = "h" if series.interval is None else "bars"
        text = f"{series.name}  {held // unit:,} of {whole // unit:,} {name} ({share:.0f} %)"
        if gained and seconds > 0:
            left = (whole - held) / gained * seconds
            text += f"  {gained / unit / seconds:,.0f} {name}/s  {span(timedelta(seconds=left))} left"
        return text
