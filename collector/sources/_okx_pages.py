"""Reading OKX's lists page by page, backwards in time, so that nothing is left out and no hole is hidden.

`after` is the oldest time received, until the wanted start is passed or a page is empty, as documented. A short page is
not the end, an empty one is. Steps forward are not used: their windows are empty before an instrument was listed, and a
server that gives 100 rows where 300 were asked for would leave holes in each of them. Pages are handed on oldest first
and only when all are here: a job that fails half way leaves nothing behind, so no stored newer row hides a missing
older one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collector.clock import bar_count, to_millis
from collector.errors import PayloadError
from collector.parsing import Fields
from collector.records import Interval, Job, Payload

Query = Mapping[str, str | int]
Endpoint = tuple[str, str]  # path and scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Rows in time of one instrument, and how to ask for them."""

    endpoints: Sequence[Endpoint]  # the next one is asked for what the one before does not reach back to
    query: Query
    spacing: Interval  # rows are never closer than this (an unexpected row in between costs one more call)
    page: int  # most rows a call
    rows: Callable[[bytes], Iterable[Fields]]
    time_key: str

    def params(self, since: datetime | None, cursor: datetime | None) -> Query:
        """Return the query for the newest rows before the cursor, no more than [since, cursor) can hold."""
        if cursor is None:
            return {**self.query, "limit": self.page}
        wanted = self.page if since is None else min(self.page, bar_count(since, cursor, self.spacing))
        # `after` excludes its own millisecond: a fraction of one is rounded up, so that no row before it is lost.
        return {**self.query, "limit": wanted, "after": to_millis(cursor + timedelta(microseconds=999))}


def read_back(
    job: Job, get: Callable[[Job, str, Query, str], Payload], series: Series, *, since: datetime | None
) -> Iterable[Payload]:
    """Return the pages of [since, job.until), oldest first; each endpoint goes on where the one before was empty.

    `get(job, path, query, scope)` makes one call. Raises PayloadError when the venue ignores the cursor.
    """
    pages: list[Payload] = []
    cursor = job.until
    for path, scope in series.endpoints:
        while cursor is None or since is None or cursor > since:
            page = get(job, path, series.params(since, cursor), scope)
            pages.append(page)
            try:
                times = [row.millis(series.time_key) for row in series.rows(page.body)]
            except PayloadError:
                return reversed(pages)  # the parser fails on the first of them, this page, and it is kept
            if not times:
                break
            cursor = _older(times, cursor)
    return reversed(pages)


def _older(times: Sequence[datetime], cursor: datetime | None) -> datetime:
    """Return the oldest of the times, where the next page begins; it must lie before the cursor asked for."""
    oldest = min(times)
    if cursor is not None and oldest >= cursor:  # asking again would never end
        raise PayloadError(f"no row is older than {cursor.isoformat()}, as asked for", "$.data")
    return oldest
