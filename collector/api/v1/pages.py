"""From a client's parameters to a page: the one way that every table is read and told."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from fastapi import Request, Response

from collector.api.errors import ApiError, Code
from collector.api.parts import Parts
from collector.api.v1 import cursors
from collector.api.v1.asking import Paged, ask_of, refused
from collector.api.v1.formats import Answer, response
from collector.api.v1.freshness import BEGINNING, COMPUTED, Computed, Expected
from collector.clock import iso
from collector.errors import ConfigError, StorageError
from collector.records import Interval
from collector.sources import SOURCES
from collector.storage.serving import NAMED, Ask, Column, Form, Page, Serving, Topic, unknown

US = "collector"  # the source of what the collector says itself
STALE = Column(name="stale", form=Form.FLAG, sql="", comment="older than twice the time after which a new one is due")
RETRY_AFTER_S = 5
_LISTS = {"instrument": "/api/v1/instruments", "asset_id": "/api/v1/assets", "cycle_id": "/api/v1/cycles"}
Check = Callable[["Pages", Page, Ask], None]
AWAY = (StorageError, ConfigError)  # the second: a database or table that is not there, or is not ours to read


class Pages:
    """Answers requests for pages; used by all threads of the API."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._serving = Serving(parts.database)

    def answer(
        self, topic: Topic, query: Paged, request: Request, *, check: Check | None = None, **fixed: Any
    ) -> Response:
        """Return a page of a topic; `fixed` are values that it reads beside its filters, `check` refuses names.

        A fixed `moment` of None is the newest one; the pages after the first stay at that of the first.
        """
        asked = ask_of(topic, query, self.parts.settings.page_rows)
        mark = cursors.mark_of(topic, asked.filters, newest_first=bool(asked.newest_first))
        after = None if query.cursor is None else cursors.decode(query.cursor, mark, topic.keys)
        if after and "moment" in fixed:
            fixed["moment"] = _same_moment(str(after[0]), fixed["moment"])
        asked = Ask(
            limit=asked.limit,
            filters={**asked.filters, **fixed},
            since=asked.since,
            until=asked.until,
            after=after,
            newest_first=asked.newest_first,
            columns=asked.columns,
            exact=asked.exact,
            typed=asked.typed,
        )
        page = self.read(topic, asked)
        self._refuse_unknown(page, asked)
        if check is not None:
            check(self, page, asked)
        cursor = None if page.last_key is None else cursors.encode(mark, page.last_key)
        return self.tell(topic, page, asked, query.format, request, cursor=cursor)

    def read(self, topic: Topic, asked: Ask) -> Page:
        """Return the rows; ApiError (503) while the database is away."""
        try:
            return self._serving.page(topic, asked)
        except AWAY as error:
            raise unavailable() from error

    def refuse_unknown(self, kind: str, names: Sequence[str]) -> None:
        """Raise NOT_FOUND for a name that was never stored; `kind` is instrument, asset_id or cycle_id."""
        strangers = self.strangers(kind, names)
        if strangers:
            told = f"{kind}: {strangers[0]} is not known; see {_LISTS[kind]}"
            raise ApiError(Code.NOT_FOUND, told, details={kind: strangers})

    def strangers(self, kind: str, names: Sequence[str]) -> list[str]:
        """Return those of the names that were never stored."""
        try:
            return unknown(self.parts.database, kind, names) if names else []
        except AWAY as error:
            raise unavailable() from error

    def refuse_stranger(self, kind: str, name: str | None) -> None:
        """Raise INVALID_PARAMETER for a source or venue that is none."""
        known = {*SOURCES, *self.parts.live.sources(), *self.parts.venues, *(key[0] for key in self.parts.cadences), US}
        if name is not None and name not in known:
            raise refused(kind, f"{name[:40]!r} is none of {', '.join(sorted(known))}", known=sorted(known))

    def _refuse_unknown(self, page: Page, asked: Ask) -> None:
        """Look for the names that the page has no row of: rows that are there prove theirs."""
        for kind in NAMED:
            value = asked.filters.get(kind)
            if value is None:
                continue
            names = [str(name) for name in value] if isinstance(value, list) else [str(value)]
            seen = _seen(page, kind)
            self.refuse_unknown(kind, [name for name in names if name not in seen])
        if not page.rows:
            for kind in ("source", "venue"):
                self.refuse_stranger(kind, asked.filters.get(kind))

    def tell(
        self, topic: Topic, page: Page, asked: Ask, form: str, request: Request, *, cursor: str | None
    ) -> Response:
        """Return rows with where they came from, how old they are and whether that is stale."""
        now = self.parts.clock.now()
        sources = sources_of(page)
        width = width_of(topic, asked)
        newest = _newest(topic, page, width)
        expected = self._expected(topic, asked)
        columns, rows = page.columns, page.rows
        if expected is not None and topic.latest:
            columns, rows = [*columns, STALE], _each_stale(topic, page, expected, now, width)
        told = Answer(
            name=topic.name.replace(" ", "_"),
            columns=columns,
            rows=rows,
            source=sources,
            as_of=None if newest is None else iso(newest),
            stale=expected is not None and _is_stale(expected, newest, sources, asked, now, full=cursor is not None),
            simulated=self.parts.simulated,
            cursor=cursor,
            exact=asked.exact,
        )
        return response(told, form, request)

    def _expected(self, topic: Topic, asked: Ask) -> Expected | Computed | None:
        table = topic.name.removeprefix("latest ")
        if table in COMPUTED:
            return Computed(self.parts.computed.get(table, COMPUTED[table]))
        if topic.dataset is None:
            return None
        interval = Interval(asked.filters["interval"]) if topic.bars else None
        return Expected(self.parts.cadences, topic.dataset, interval)


def _same_moment(place: str, wanted: datetime | None) -> datetime:
    """Return the moment that a cursor is about; it must be the wanted one."""
    moment = datetime.fromisoformat(place)
    if wanted is not None and wanted != moment:
        raise refused("cursor", "belongs to another day")
    return moment


def _seen(page: Page, kind: str) -> set[str]:
    names = [column.name for column in page.columns]
    place = names.index(kind)
    return {str(row[place]) for row in page.rows}


def unavailable() -> ApiError:
    """Return the error while the database cannot answer."""
    return ApiError(Code.INTERNAL_ERROR, "The database cannot answer now", retry_after=RETRY_AFTER_S, status=503)


def width_of(topic: Topic, asked: Ask) -> timedelta:
    """Return how long after `as_of` of a row its time is over: indicators are as old as the end of their bar."""
    return Interval(asked.filters["interval"]).width if topic.as_of == "open_time" else timedelta(0)


def sources_of(page: Page) -> list[str]:
    """Return who gave the rows, by name; what has no source is our own."""
    names = [column.name for column in page.columns]
    if "source" in names:
        place = names.index("source")
        return sorted({row[place] for row in page.rows if row[place] is not None})
    if "sources" in names:
        place = names.index("sources")
        return sorted({source for row in page.rows for source in row[place]})
    return [US] if page.rows else []


def _newest(topic: Topic, page: Page, width: timedelta) -> datetime | None:
    names = [column.name for column in page.columns]
    if topic.as_of not in names:
        return None
    place = names.index(topic.as_of)
    newest = max((row[place] for row in page.rows if row[place] is not None), default=None)
    return None if newest is None else moment_of(newest) + width


def moment_of(value: datetime | str) -> datetime:
    """Return a moment as it was read: as such or as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _is_stale(
    expected: Expected | Computed,
    newest: datetime | None,
    sources: Sequence[str],
    asked: Ask,
    now: datetime,
    *,
    full: bool,
) -> bool:
    if full and not asked.newest_first:
        return False  # the page ends because it is full
    ends = [now, *([asked.until] if asked.until else [])]
    if asked.after and asked.newest_first:
        ends.append(_place(asked.after[0], now))
    due = expected.latest(sources, min(ends))
    if newest is not None:
        return newest < due
    if isinstance(expected, Computed):
        return False  # nobody can say that there should be some: it may lack history, or its packages
    return asked.after is None and (asked.since is None or asked.since < due)


def _place(value: str | int, now: datetime) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return now  # ordered by a name


def _each_stale(
    topic: Topic, page: Page, expected: Expected | Computed, now: datetime, width: timedelta
) -> list[tuple[Any, ...]]:
    """Return the rows with whether each is stale: a source that is well must not hide one that is not."""
    names = [column.name for column in page.columns]
    at = names.index(topic.as_of)
    giver = names.index("source") if "source" in names else None
    due: dict[str, Any] = {}
    rows = []
    for row in page.rows:
        source = row[giver] if giver is not None else str(row[0]).partition(":")[0]
        if source not in due:
            limit = max(expected.latest([source], now) - width, BEGINNING)
            due[source] = iso(limit) if isinstance(row[at], str) else limit
        rows.append((*row, row[at] < due[source]))
    return rows
