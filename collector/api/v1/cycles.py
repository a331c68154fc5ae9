"""One cycle with its whole report."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Request, Response

from collector.api.errors import ApiError, Code
from collector.api.v1.formats import TYPES, rows_of, tagged
from collector.api.v1.pages import US, Pages
from collector.api.v1.schemas import example_of, one_model, responses_of, row_model
from collector.storage.serving import CYCLE_REPORTS, Ask

Number = Annotated[int, Path(ge=1, le=2**63 - 1, description="Number of the cycle")]


def add(router: APIRouter, pages: Pages) -> None:
    """Add the address of a cycle."""
    model = one_model("CycleAnswer", row_model("CycleReportRow", CYCLE_REPORTS.columns))

    @router.get(
        "/cycles/{cycle_id}",
        name="v1Cycle",
        summary="One cycle with its report",
        response_model=model,
        responses=responses_of(example_of(CYCLE_REPORTS.columns), paged=False),
    )
    def cycle(cycle_id: Number, request: Request) -> Response:
        """`report` is what the log folder's report.json holds; null while the cycle runs."""
        page = pages.read(CYCLE_REPORTS, Ask(limit=1, filters={"cycle_id": cycle_id}))
        if not page.rows:
            raise ApiError(Code.NOT_FOUND, f"cycle_id: there is no cycle {cycle_id}")
        row = rows_of(page.columns, page.rows)[0]
        told = {
            "data": row,
            "source": [US],
            "as_of": row["finished_at"] or row["started_at"],
            "stale": False,
            "simulated": pages.parts.simulated,
        }
        return tagged(orjson.dumps(told), {"Content-Type": TYPES["json"]}, request)
