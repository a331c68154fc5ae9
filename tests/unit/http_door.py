"""Builds a provider's door on a loopback server, with the checks of a made-up provider."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta

from collector.clock import Clock
from collector.errors import RateLimited, RequestRejected
from collector.http import Timeouts, Venue
from collector.records import Answer
from collector.resilience.breaker import Breaker
from collector.resilience.quota import Quota
from collector.sources.base import Cost, Limit
from tests.unit.http_server import ElasticClock

SHORT = Timeouts(connect=0.25, read=0.25, total=0.45)
COST = Cost(scope="calls")


def check(answer: Answer) -> None:
    """An error envelope counts with any status: {"error": "gone"} or {"error": "busy"}."""
    error = json.loads(answer.body).get("error") if answer.body.startswith(b"{") else None
    if error == "gone":
        raise RequestRejected("no such symbol", symbol_gone=True)
    if error == "busy":
        raise RateLimited("too many requests", code="50011")


def used_weight(answer: Answer) -> Mapping[str, int]:
    return {"calls": int(answer.headers["x-used"])} if "x-used" in answer.headers else {}


@contextlib.contextmanager
def door(
    url: str, *, clock: Clock | None = None, timeouts: Timeouts = SHORT, limit: int = 10_000, **settings: object
) -> Iterator[Venue]:
    clock = clock or ElasticClock()
    quota = Quota([Limit(scope="calls", capacity=limit, window=timedelta(minutes=1))], clock=clock)
    settings = {"check": check, "used_weight": used_weight, **settings}
    venue = Venue(
        source="made_up",
        base_url=url,
        quota=quota,
        breaker=Breaker(clock=clock),
        clock=clock,
        timeouts=timeouts,
        **settings,
    )
    venue.begin(clock.monotonic() + 600)
    try:
        yield venue
    finally:
        venue.close()
