"""Fresh rows, then a provider, then what is old: how an answer is come by within its time, and what is said when not.

Nothing here waits longer than it was given, neither for a provider nor for a database that does not answer.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import TypeVar

from collector.api.errors import ApiError, Code
from collector.api.parts import Live
from collector.clock import Clock
from collector.errors import PayloadError, StorageUnavailable, VenueError
from collector.records import Job, Record
from collector.storage.database import Database
from collector.storage.quotes import Quotes

ANSWER_S = 2.4  # for all providers together, and the database before them: an error is told within three seconds
LEAST_ANSWER_S = 1.2
STORED_S = 1.0  # for one query; they take milliseconds
AWAY_S = 2.0  # for which a database that did not answer is not asked again
READERS = 8
RETRY_S = 5  # when no provider says how long it will be away
_LEAST_S = 0.05  # no call can succeed in less

# What clients call a provider: Binance is one, whichever of its markets answers.
PUBLIC_NAMES = {"binance_futures": "binance", "binance_spot": "binance"}
ORDER = ("coingecko", "coincap", "binance", "kraken", "okx")  # of names in an answer's source

T = TypeVar("T")


def public_name(source: str) -> str:
    """Return what clients call a provider."""
    return PUBLIC_NAMES.get(source, source)


def joined(sources: Sequence[str]) -> str:
    """Return the `source` of an answer that several providers gave, as coingecko+coincap+binance; each once."""
    names = {public_name(source) for source in sources}
    return "+".join(sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)))


class Budget:
    """The time that one answer may take."""

    def __init__(self, clock: Clock, seconds: float = ANSWER_S) -> None:
        self._clock = clock
        self._ends_at = clock.monotonic() + seconds

    @classmethod
    def since(cls, began: float, clock: Clock) -> "Budget":
        """Return what is left for an answer that was asked for at a moment (monotonic).

        Waiting for a thread does not use up all of it: else many askers at once would make each answer an error.
        """
        return cls(clock, max(LEAST_ANSWER_S, ANSWER_S - (clock.monotonic() - began)))

    @property
    def left_s(self) -> float:
        """Return the seconds that are left, never negative."""
        return max(0.0, self._ends_at - self._clock.monotonic())

    def share(self, ways: int) -> timedelta:
        """Return the part of what is left for the next of so many."""
        return timedelta(seconds=self.left_s / max(1, ways))


class Stored:
    """The database, asked within a second; one that is away is not waited for by everybody in turn."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._quotes = Quotes(database)
        self._clock = clock
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="stored")
        self._away_until = float("-inf")

    def read(self, query: Callable[[Quotes], T]) -> T:
        """Return what a query gives. Raises StorageUnavailable."""
        if self._clock.monotonic() < self._away_until:
            raise StorageUnavailable("the database did not answer a moment ago")
        work = self._pool.submit(query, self._quotes)
        try:
            return work.result(STORED_S)
        except TimeoutError as error:
            work.cancel()
            self._away_until = self._clock.monotonic() + AWAY_S
            raise StorageUnavailable(f"the database did not answer within {STORED_S:g} s") from error
        except StorageUnavailable:
            self._away_until = self._clock.monotonic() + AWAY_S
            raise

    def read_or(self, otherwise: T, query: Callable[[Quotes], T]) -> T:
        """Return what a query gives, `otherwise` when the database cannot answer now."""
        try:
            return self.read(query)
        except StorageUnavailable:
            return otherwise


class Upstream:
    """The providers, asked one after the other or side by side, within a budget; failures become reasons."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="upstream")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="ahead")

    def sources(self) -> Sequence[str]:
        """Return the names of the providers that are enabled."""
        return self._live.sources()

    def ask(self, job: Job, within: timedelta) -> Sequence[Record]:
        """Return the records of one provider; raises VenueError or PayloadError."""
        if within.total_seconds() < _LEAST_S:
            raise VenueError("not asked: the time for an answer was over", source=job.source)
        return self._live.ask(job, within=within)

    def in_turn(
        self, asks: Sequence[tuple[str, Callable[[timedelta], T]]], budget: Budget, reasons: dict[str, str]
    ) -> T | None:
        """Return the first answer that comes; None when none does, with a reason of each in `reasons`.

        Each gets an equal share of the time that is left, so that what one does not use is there for the next.
        """
        for place, (name, ask) in enumerate(asks):
            try:
                return ask(budget.share(len(asks) - place))
            except (VenueError, PayloadError) as error:
                reasons[name] = str(error)
        return None

    def together(
        self, asks: Mapping[str, Callable[[timedelta], T]], within: timedelta, reasons: dict[str, str]
    ) -> dict[str, T]:
        """Return the answers that come within the time, by name; the others leave a reason."""
        running = {name: self._pool.submit(ask, within) for name, ask in asks.items()}
        wait(running.values(), timeout=within.total_seconds() + _LEAST_S)
        found: dict[str, T] = {}
        for name, work in running.items():
            if not work.done():
                work.cancel()
                reasons[name] = f"no answer within {within.total_seconds():.3g} s"
                continue
            try:
                found[name] = work.result()
            except (VenueError, PayloadError) as error:
                reasons[name] = str(error)
        return found

    def later(self, work: Callable[[], None]) -> None:
        """Do something beside what is asked for; nobody waits for it."""
        self._background.submit(work)

    def is_up(self, source: str) -> bool:
        """Return whether a provider is worth asking before the others."""
        known = self._live.health().get(source)
        return known is not None and known.status != "offline"

    def error(self, what: str, reasons: Mapping[str, str]) -> ApiError:
        """Return the error for an answer that nobody could give, with the soonest moment at which somebody may."""
        health = self._live.health()
        waits = [found.retry_after for name, found in health.items() if name in reasons and found.retry_after]
        details = dict(reasons) or {"providers": "none is enabled that has it"}
        message = f"No provider could give {what}, and nothing is stored"
        return ApiError(Code.PROVIDER_ERROR, message, details=details, retry_after=min(waits, default=RETRY_S))
