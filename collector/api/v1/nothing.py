"""Addresses of what nothing collects yet: they answer, with empty pages."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from collector.api.v1 import asking
from collector.api.v1.formats import Answer, response
from collector.api.v1.pages import Pages
from collector.api.v1.routes import title, with_limit
from collector.api.v1.schemas import AnyRow, page_model, responses_of

EMPTY = {
    "/position_ratios": "Long and short accounts: nothing collects them yet",
}


class Nothing(asking.Timed):
    """What may be asked of them."""

    instrument: asking.Word | None = Field(None, description="Canonical id", examples=["okx:BTC-USDT:perp"])


def add(router: APIRouter, pages: Pages) -> None:
    """Add the addresses without rows."""
    for path, summary in EMPTY.items():
        name = title(path)
        responses = responses_of({})
        del responses[200]["content"]["application/json"]  # nothing can be shown of it
        router.add_api_route(
            path,
            _endpoint(name.lower(), pages),
            name=f"v1{name}",
            summary=summary,
            response_model=page_model(f"{name}Page", AnyRow),
            responses=responses,
        )


def _endpoint(name: str, pages: Pages) -> Any:
    def endpoint(query: Any, request: Request) -> Response:
        if query.cursor is not None:
            raise asking.refused("cursor", "is not a cursor; there is only one page")
        for bound in ("from", "to"):
            asking.moment_of(query, bound)
        if query.instrument is not None:
            asking.check_instrument(query.instrument)
            pages.refuse_unknown("instrument", [query.instrument])
        told = Answer(
            name=name,
            columns=(),
            rows=(),
            source=(),
            as_of=None,
            stale=False,
            simulated=pages.parts.simulated,
            cursor=None,
        )
        return response(told, query.format, request)

    endpoint.__annotations__["query"] = Annotated[with_limit(Nothing, pages), Query()]
    return endpoint
