"""alternative.me: the Fear & Greed Index, one value a day since February 2018.

Every number comes as text, and times as seconds. The newest row comes first, and it alone has `time_until_update`. A
row's time is midnight UTC of its day (05:00 in early 2019), so the day is what counts. Days are missing in the history.
The words beside the value are the provider's own: the bounds between them are published nowhere, so nothing is derived
from the value. An error can come with HTTP 200, as a text in `metadata.error`.

Free also for business, if the source is named where the value is shown.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueUnreachable
from collector.parsing import decode_json, objects, to_object
from collector.records import Answer, Dataset, Interval, Job, Payload, Record, Reject, RejectReason, Sentiment
from collector.sources.base import Collector, Cost, Http, Limit, Parser, Plan, Shape, payload, reject

NAME = "alternative_me"
CALLS = "calls"
OK, REDIRECTION, NOT_FOUND, TOO_MANY, SERVER_SIDE = 200, 300, 404, 429, 500
DENIED = frozenset({401, 403, 451})
SCALE = range(101)
# The last thing in a good answer, so a long history is not decoded twice.
NO_ERROR = re.compile(rb'"metadata"\s*:\s*\{\s*"error"\s*:\s*null\s*\}\s*\}\s*$')
TAIL_BYTES = 200


def unwrap(answer: Answer) -> None:
    """Raise the VenueError that an answer stands for; return when it is good."""
    status = answer.status
    if OK <= status < REDIRECTION:
        if not NO_ERROR.search(answer.body[-TAIL_BYTES:]):
            _check_metadata(answer)
        return
    text = f"HTTP {status}"
    if status == TOO_MANY:
        raise RateLimited(text, source=NAME, status=status, retry_at=None)
    if status in DENIED:
        raise AccessDenied(text, source=NAME, status=status)
    if status >= SERVER_SIDE:
        raise VenueUnreachable(text, source=NAME, status=status)
    raise RequestRejected(text, source=NAME, status=status, symbol_gone=status == NOT_FOUND)


def _check_metadata(answer: Answer) -> None:
    try:
        error = to_object(decode_json(answer.body), "$").object("metadata").optional_text("error")
    except PayloadError:  # the parser says what is wrong with it
        return
    if error:
        raise RequestRejected(f"it says {error[:200]!r}", source=NAME, status=answer.status)


def parse_sentiment(payload: Payload) -> list[Record | Reject]:
    """Return a Sentiment for each row of `{"data": [{"value", "value_classification", "timestamp"}]}`."""
    result: list[Record | Reject] = []
    for fields in objects(to_object(decode_json(payload.body), "$").list("data"), "$.data"):
        value, day = fields.integer("value"), fields.seconds("timestamp")
        if value not in SCALE:
            detail = f"value is {value}, not within 0 to 100"
            result.append(reject(payload, fields.values, RejectReason.INCONSISTENT, detail))
            continue
        result.append(
            Sentiment(
                source=NAME,
                observed_at=day.replace(hour=0, minute=0, second=0),
                received_at=payload.received_at,
                value=value,
                classification=fields.text("value_classification"),
            )
        )
    return result


class AlternativeMeCollector(Collector):
    """The Fear & Greed Index. Shared by threads: it keeps no state between calls."""

    name: ClassVar[str] = NAME
    shapes: ClassVar[Mapping[Dataset, Shape]] = {Dataset.SENTIMENT: Shape.WHOLE}
    parsers: ClassVar[Mapping[Dataset, Parser]] = {Dataset.SENTIMENT: parse_sentiment}
    intervals: ClassVar[tuple[Interval, ...]] = ()
    plans: ClassVar[Mapping[str, Plan]] = {
        "public": Plan(
            base_url="https://api.alternative.me",
            limits=(Limit(scope=CALLS, capacity=60, window=timedelta(minutes=1)),),
        )
    }

    def __init__(self, http: Http) -> None:
        self._http = http

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for; return when it is good."""
        unwrap(answer)

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return the one call of a job."""
        del job
        return [Cost(scope=CALLS)]

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Ask for the whole history: some 300 kB, in which a day that was missed earlier comes along.

        There is neither a range nor a page; `limit` counts from today, and 0 stands for everything.
        """
        if job.dataset is not Dataset.SENTIMENT:
            raise ValueError(f"{NAME} has no {job.dataset}")
        yield payload(job, self._http.get("/fng/", {"limit": 0}, Cost(scope=CALLS)))
