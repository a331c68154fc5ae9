"""The providers: how each is, what it asked of us, and what it did in the last day."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from collector.api.parts import Health
from collector.api.v1 import asking
from collector.api.v1.pages import AWAY, Pages, unavailable
from collector.api.v1.routes import with_limit
from collector.api.v1.schemas import example_of, page_model, responses_of, row_model
from collector.clock import iso
from collector.storage.reader import Reader
from collector.storage.serving import PROVIDERS, Ask, Column, Form, Key, Page, Topic
from collector.storage.stored import SourceSummary

OVER = timedelta(days=1)


def _column(name: str, form: Form, comment: str, *, null: bool = False) -> Column:
    return Column(name=name, form=form, sql="", null=null, comment=comment)


COLUMNS = (
    _column("source", Form.TEXT, "the provider"),
    _column("enabled", Form.FLAG, "whether it is asked now"),
    _column("status", Form.TEXT, "online, degraded or offline; null when it is not asked", null=True),
    _column("reason", Form.TEXT, "why it is not online; empty when it is"),
    _column("latency_ms", Form.REAL, "of the API's last call to it; null before the first", null=True),
    _column("last_check_at", Form.MOMENT, "time of that call (UTC)", null=True),
    _column("retry_after_s", Form.WHOLE, "seconds until it may be asked again", null=True),
    _column("paused_until", Form.MOMENT, "no call before this moment (UTC); null: free", null=True),
    _column("banned", Form.FLAG, "it punishes calls that went on after a refusal"),
    _column("denied", Form.FLAG, "it does not serve us: key, plan, country or firewall"),
    _column("clock_offset_s", Form.REAL, "its clock less ours, seconds; null when it tells no time", null=True),
    _column("jobs_ok", Form.WHOLE, "jobs of the last day that ended well"),
    _column("jobs_failed", Form.WHOLE, "jobs of the last day that failed"),
    _column("jobs_skipped", Form.WHOLE, "jobs of the last day that were not started"),
    _column("rows_written", Form.WHOLE, "rows of the last day"),
    _column("rejects", Form.WHOLE, "rows of the last day that were not believed"),
    _column("last_ok_at", Form.MOMENT, "end of its newest good job (UTC); null: never", null=True),
    _column("last_error", Form.TEXT, "its newest error of the last day", null=True),
    _column("last_error_at", Form.MOMENT, "when that was (UTC)", null=True),
)
TOPIC = Topic(
    name="sources",
    origin="",
    columns=COLUMNS,
    keys=(Key(sql="", form=Form.TEXT, column="source"),),
    newest_first=False,
    as_of="last_ok_at",
)


class Sources(asking.Paged):
    """Which providers."""

    source: asking.Word | None = Field(None, description="Only this one", examples=["okx"])


def add(router: APIRouter, pages: Pages) -> None:
    """Add the address of the providers; all of them are one page."""

    def sources(query: Any, request: Request) -> Response:
        if query.cursor is not None:
            raise asking.refused("cursor", "is not a cursor; there is only one page")
        asked = Ask(limit=query.limit, exact=query.numbers == "string", typed=query.format == "arrow")
        pages.refuse_stranger("source", query.source)
        rows = [row for row in _rows(pages, typed=asked.typed) if query.source in (None, row[0])]
        page = Page(columns=COLUMNS, rows=rows[: query.limit], last_key=None)
        return pages.tell(TOPIC, page, asked, query.format, request, cursor=None)

    sources.__annotations__["query"] = Annotated[with_limit(Sources, pages), Query()]
    router.add_api_route(
        "/sources",
        sources,
        name="v1Sources",
        summary="How each provider is, and what it did in the last day",
        response_model=page_model("SourcesPage", row_model("SourcesRow", COLUMNS)),
        responses=responses_of(example_of(COLUMNS)),
    )


def _rows(pages: Pages, *, typed: bool) -> list[tuple[Any, ...]]:
    parts = pages.parts
    enabled, health = set(parts.live.sources()), parts.live.health()
    states = _states(pages)
    try:
        summaries = Reader(parts.database).source_summaries(since=parts.clock.now() - OVER)
    except AWAY as error:
        raise unavailable() from error
    done = {summary.source: summary for summary in summaries}
    names = sorted({*enabled, *states, *done})
    rows = [
        (name, name in enabled, *_health(health.get(name)), *_state(states.get(name)), *_done(done.get(name)))
        for name in names
    ]
    return rows if typed else [tuple(iso(v) if isinstance(v, datetime) else v for v in row) for row in rows]


def _states(pages: Pages) -> Mapping[str, Mapping[str, Any]]:
    page = pages.read(PROVIDERS, Ask(limit=1000, typed=True))
    names = [column.name for column in page.columns]
    rows = [dict(zip(names, row, strict=True)) for row in page.rows]
    return {row["source"]: row for row in rows}


def _health(health: Health | None) -> tuple[Any, ...]:
    if health is None:
        return None, "", None, None, None
    checked = None if health.last_check is None else datetime.fromtimestamp(health.last_check, UTC)
    return health.status, health.reason, health.latency_ms, checked, health.retry_after


def _state(state: Mapping[str, Any] | None) -> tuple[Any, ...]:
    if state is None:
        return None, False, False, None
    return state["paused_until"], state["banned"], state["denied"], state["clock_offset_s"]


def _done(done: SourceSummary | None) -> tuple[Any, ...]:
    if done is None:
        return 0, 0, 0, 0, 0, None, None, None
    counts = done.jobs_ok, done.jobs_failed, done.jobs_skipped, done.rows_written, done.rejects
    return *counts, done.last_ok_at, done.last_error, done.last_error_at
