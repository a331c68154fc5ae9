"""What a source is and what it is handed; the contract every file in this folder keeps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar, Protocol

from collector.records import Answer, Dataset, Interval, Job, Payload, Record, Reject, RejectReason

Parser = Callable[[Payload], Sequence[Record | Reject]]
"""Turns one payload into records, in the order of the payload. Pure. Raises PayloadError for an unknown shape."""


class Shape(Enum):
    """How work on a dataset is cut into jobs."""

    WHOLE = "whole"  # one job without a subject: listings, the global market
    RANKED = "ranked"  # one job for the top `limit` assets
    BULK = "bulk"  # one job that names all instruments
    EACH = "each"  # one job per instrument
    EACH_ASSET = "each_asset"  # one job per asset


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A metered scope: at most `capacity` units of weight in any `window`."""

    scope: str  # "weight", "funding", "candles", ...
    capacity: int
    window: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A subscription at a provider: where its calls go and how many there may be. A "public" one needs no key."""

    base_url: str
    limits: tuple[Limit, ...]
    key_header: str | None = None  # None: the plan has no key
    key_prefix: str = ""  # before the key in its header, as "Bearer "
    history: timedelta | None = None  # older data is refused; None: no bound is documented


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call takes from a scope."""

    scope: str
    weight: int = 1


class Http(Protocol):
    """Plain REST over the session of this source: paced, retried, bounded; errors are ours."""

    def get(self, path: str, params: Mapping[str, str | int], cost: Cost) -> Answer:
        """GET base_url + path and return a 2xx answer that is no error envelope; raise VenueError otherwise."""


class Sdk(Protocol):
    """An SDK object whose transport is our session."""

    def call(self, use: Callable[[Any], object], cost: Cost) -> Answer:
        """Run `use(sdk_object)`, which makes exactly one request, and return what came over the wire.

        The SDK's own return value is ignored: it has lost the text of the numbers.
        """


class Collector(Protocol):
    """One provider. Facts first, then `fetch`. Instances are shared by threads and keep no state.

    A source inherits from this and leaves out what its provider does not tell.
    """

    name: ClassVar[str]
    shapes: ClassVar[Mapping[Dataset, Shape]]
    intervals: ClassVar[tuple[Interval, ...]]  # candle intervals it gives; empty without candles
    parsers: ClassVar[Mapping[Dataset, Parser]]  # the same datasets as `shapes`
    plans: ClassVar[Mapping[str, Plan]]  # by name; documented limits, which the configuration can override

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for (any status, 2xx error envelopes included); else return."""

    @staticmethod
    def used_weight(answer: Answer) -> Mapping[str, int]:
        """Return what the provider says is used of a scope in the current window; empty when it says nothing."""
        del answer
        return {}

    @staticmethod
    def told_limits(payload: Payload) -> Sequence[Limit]:
        """Return the limits that a payload of INSTRUMENTS tells; empty where the provider tells none."""
        del payload
        return ()

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return the costs of the calls that a job makes when the provider holds its whole window; repeats left out.

        Pure, and all that the proof of a schedule knows about a source. Rather one call too many than one too few.
        """

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the calls of a job and yield their answers, in order; raise VenueError when one fails."""


def payload(job: Job, answer: Answer) -> Payload:
    """Return the answer as the job's payload."""
    return Payload(job=job, status=answer.status, body=answer.body, received_at=answer.received_at)


def reject(payload: Payload, row: object, reason: RejectReason, detail: str) -> Reject:
    """Return a row that is not believed; what it held is cut to 500 characters, the detail to 200."""
    return Reject(job=payload.job, row=repr(row)[:500], reason=reason, detail=detail[:200])


def bar_interval(job: Job) -> Interval:
    """Return the interval of a job for candles, which always has one."""
    if job.interval is None:
        raise ValueError("a job for candles names an interval")
    return job.interval


def in_window(moment: datetime, job: Job) -> bool:
    """Tell whether a moment is of the job's [since, until); an end that is None is open."""
    return (job.since is None or job.since <= moment) and (job.until is None or moment < job.until)
