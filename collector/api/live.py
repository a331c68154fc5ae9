"""Asks providers within a deadline, on the same quotas, pauses and breakers as the collector; implements `Live`.

A call that hangs costs its asker the time it was given and no more: it goes on in a thread of its own, and a provider
that holds all its threads is not asked until one comes back.
"""

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta

from collector import validate
from collector.api.parts import Health
from collector.clock import Clock
from collector.errors import IllegalTransition, PayloadError, RequestRejected, VenueError, VenueUnreachable
from collector.http import Venue
from collector.log import get_logger
from collector.plan import SETTLE
from collector.records import Batch, Candle, Dataset, Job, Payload, Record, Reject
from collector.resilience.breaker import State
from collector.resilience.quota import NeverFits
from collector.sources.base import Collector

SEATS = 4  # calls to one provider under way at once
SHORT_PAUSE_S = 300.0  # a provider that is back within this is degraded; later, it is offline
CLOCKS_AGREE_S = 1.0  # a difference that the settle time of bars covers, and that cannot be measured better
GRACE_S = 0.05  # for a call that was cut in time to say so itself
KEPT_WAIT_S = 0.2  # how long a call waits for what other processes were told by the providers
TOO_SMALL = "the share of the limit that the API may use is smaller than one call; raise http.reserve_pct"
# What a source that is wrong about its provider raises while it asks or reads.
DEFECTS = (ArithmeticError, AttributeError, IllegalTransition, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Heard:
    """How the last call to a provider went."""

    latency_ms: float
    at: float  # seconds since the epoch


@dataclass(slots=True)
class _Provider:
    collector: Collector
    venue: Venue
    seats: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(SEATS))
    heard: _Heard | None = None
    too_heavy: bool = False  # a call of it weighs more than our share of its limit


class LiveProviders:
    """The enabled providers, shared by all threads. Close it at the end; it does not close the venues.

    `keep` carries pauses, bans and used budgets between processes (`BudgetKeeper.keep`). It is called beside the calls
    and may block; a call waits for it a moment only.
    """

    def __init__(
        self, pairs: Iterable[tuple[Collector, Venue]], clock: Clock, *, keep: Callable[[], None] | None = None
    ) -> None:
        self._clock = clock
        self._providers = {collector.name: _Provider(collector, venue) for collector, venue in pairs}
        self._pool = ThreadPoolExecutor(SEATS * len(self._providers) + 1, thread_name_prefix="live")
        self._keep = keep
        self._keeping: Future[None] | None = None
        self._lock = threading.Lock()

    def sources(self) -> Sequence[str]:
        """Return the names of the providers that are enabled."""
        return tuple(self._providers)

    def ask(self, job: Job, *, within: timedelta) -> Sequence[Record]:
        """Return the checked records that a provider gives for a job, at most `within` later; forming bars left out.

        Raises VenueError (or one of its kinds) or PayloadError; the message is one line that a client may read.
        """
        provider = self._able(job)
        seconds = within.total_seconds()
        give_up_at = self._clock.monotonic() + seconds
        self._obey_others()
        if not provider.seats.acquire(timeout=max(0.0, min(seconds, give_up_at - self._clock.monotonic()))):
            raise VenueUnreachable(f"not asked: {SEATS} calls to it are under way already", source=job.source)
        work = self._pool.submit(self._work, provider, job, give_up_at)
        try:
            return work.result(max(0.0, give_up_at - self._clock.monotonic()) + GRACE_S)
        except TimeoutError as error:
            raise VenueUnreachable(f"no answer within {seconds:.3g} s", source=job.source) from error

    def health(self) -> Mapping[str, Health]:
        """Return how each provider is, by name."""
        return {name: self._health(provider) for name, provider in self._providers.items()}

    def close(self) -> None:
        """Let the threads end; calls that are under way are ended by closing their venues first."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _able(self, job: Job) -> _Provider:
        """Return the provider of a job that it can do; raises RequestRejected."""
        provider = self._providers.get(job.source)
        if provider is None:
            raise RequestRejected("is not enabled", source=job.source)
        if job.dataset not in provider.collector.parsers:
            raise RequestRejected(f"has no {job.dataset}", source=job.source)
        if job.dataset is Dataset.CANDLES and job.interval not in provider.collector.intervals:
            raise RequestRejected(f"has no {job.interval} candles", source=job.source)
        return provider

    def _obey_others(self) -> None:
        """Exchange with other processes what providers asked of us; one exchange at a time, none waited for long."""
        if self._keep is None:
            return
        with self._lock:
            if self._keeping is None or self._keeping.done():
                self._keeping = self._pool.submit(self._keep)
            keeping = self._keeping
        try:
            keeping.result(KEPT_WAIT_S)
        except TimeoutError:
            return  # the database is slow; what is known here still holds

    def _work(self, provider: _Provider, job: Job, give_up_at: float) -> Sequence[Record]:
        try:
            with provider.venue.bounded(give_up_at):
                return self._records(provider, job)
        finally:
            provider.seats.release()

    def _records(self, provider: _Provider, job: Job) -> Sequence[Record]:
        began, sent = self._clock.monotonic(), provider.venue.counters().requests
        records: list[Record] = []
        try:
            for payload in provider.collector.fetch(job):
                offset_s = provider.venue.clock_offset()
                items = provider.collector.parsers[job.dataset](payload)
                records += [_believed(item, payload, offset_s) for item in items if not isinstance(item, Reject)]
            return validate.check(Batch(job=job, records=tuple(records)), now=self._clock.now()).records
        except VenueError as error:
            error.source = error.source or job.source
            raise
        except NeverFits as error:
            if not provider.too_heavy:
                provider.too_heavy = True  # told once: it stays so
                get_logger("Api").warning("provider_not_asked", source=job.source, reason=f"{TOO_SMALL} ({error})")
            raise VenueError(f"not sent: {TOO_SMALL} ({error})", source=job.source) from error
        except DEFECTS as error:
            raise _defect(job, error) from error
        finally:
            if provider.venue.counters().requests > sent:  # a call that was held back tells nothing of the provider
                took_ms = (self._clock.monotonic() - began) * 1000
                provider.heard = _Heard(round(took_ms, 1), self._clock.now().timestamp())

    def _health(self, provider: _Provider) -> Health:
        status, reason, wait_s, paused = self._standing(provider.venue)
        heard = provider.heard
        return Health(
            status=status,
            reason=reason,
            latency_ms=heard.latency_ms if heard else None,
            last_check=heard.at if heard else None,
            retry_after=math.ceil(wait_s) if wait_s > 0 else None,
            failed_at=heard.at if heard and status != "online" and not paused else None,
        )

    def _standing(self, venue: Venue) -> tuple[str, str, float, bool]:
        """Return status, reason, the seconds until it may be asked again, and whether a pause keeps it from that."""
        denial, pause, wait_s = venue.breaker.denial(), venue.quota.state(), venue.breaker.wait_s()
        paused_s = 0.0 if pause.paused_until is None else (pause.paused_until - self._clock.now()).total_seconds()
        paused, state = paused_s > 0, venue.breaker.state
        if denial is not None and wait_s > 0:
            return "offline", f"access refused: {denial[1]}", max(wait_s, paused_s), paused
        if paused and (pause.banned or paused_s > SHORT_PAUSE_S):
            return "offline", pause.reason, max(wait_s, paused_s), True
        if state is State.OPEN and wait_s > 0:
            return "offline", "no answer to the last calls", max(wait_s, paused_s), paused
        if paused:
            return "degraded", pause.reason, paused_s, True
        if state is not State.CLOSED:  # a probe is under way, or the next asker's call is one
            why = f"access was refused: {denial[1]}" if denial is not None else "no answer to the last calls"
            return "degraded", f"being tried again; {why}", 0.0, False
        return "online", "", 0.0, False


def _defect(job: Job, error: Exception) -> PayloadError:
    """Tell of a defect of one source in the log, with where it is, and return what it is for an asker."""
    get_logger("Api").defect("source_defect", error, source=job.source, dataset=str(job.dataset))
    return PayloadError(f"its {job.dataset} could not be read: a defect ({type(error).__name__})")


def _believed(item: Record, payload: Payload, offset_s: float | None) -> Record:
    """Return a bar as closed only if it is over by the provider's clock as well, should that be behind ours.

    The collector's workers judge alike. With our clock ahead, a bar that still changes would look finished.
    """
    if not isinstance(item, Candle) or not item.closed or offset_s is None or offset_s > -CLOCKS_AGREE_S:
        return item
    there = payload.received_at + timedelta(seconds=offset_s)
    return item if item.observed_at <= there - SETTLE else replace(item, closed=False)
