"""The addresses of portfolios: each time one was computed, its weights, its inputs and its paper equity."""

from datetime import timedelta
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from collector.api.errors import ApiError, Code
from collector.api.v1 import asking
from collector.api.v1.asking import Moment, Paged, Timed, Word, Words
from collector.api.v1.formats import TYPES, rows_of, tagged
from collector.api.v1.pages import AWAY, US, Pages, unavailable
from collector.api.v1.routes import Route, add_all, with_limit
from collector.api.v1.schemas import example_of, one_model, page_model, responses_of, row_model
from collector.storage.serving import Ask, Page
from collector.storage.serving import analytics as topics

_MILLISECOND = timedelta(milliseconds=1)  # as exactly as `as_of` is told
_TOLD = "Name of the portfolio"
_EXAMPLE = "black_litterman"
_ASSETS = "Ids of assets, separated by commas, at most 200"
Name = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description=_TOLD)]


class OfPortfolio(Timed):
    """Rows of portfolios, the newest first."""

    portfolio: Word | None = Field(None, description=_TOLD, examples=[_EXAMPLE])


class Runs(OfPortfolio):
    """Each time a portfolio was computed."""

    state: Literal["ok", "refused"] | None = Field(None, description="Only computed ones, or only refused ones")


class Weights(Timed):
    """The weights of one portfolio, the newest first."""

    asset_id: Words | None = Field(None, description=_ASSETS, examples=["bitcoin"])


class _WeightsOf(Weights):
    portfolio: str


class NewestWeights(Paged):
    """The weights of each portfolio's newest run that was not refused."""

    portfolio: Word | None = Field(None, description=_TOLD, examples=[_EXAMPLE])
    asset_id: Words | None = Field(None, description=_ASSETS, examples=["bitcoin"])


class Run(BaseModel):
    """One run."""

    model_config = ConfigDict(extra="forbid")

    portfolio: Word = Field(description=_TOLD, examples=[_EXAMPLE])
    as_of: Moment = Field(description="`as_of` of the run, as /portfolios tells it")


def _check(pages: Pages, page: Page, asked: Ask) -> None:
    """Raise NOT_FOUND for a portfolio that never was, when there are others."""
    name = asked.filters.get("portfolio")
    if name is None or page.rows:
        return
    try:
        known = topics.portfolios(pages.parts.database)
    except AWAY as error:
        raise unavailable() from error
    if known and name not in known:
        told = f"portfolio: {name[:40]!r} is not known; there are {', '.join(known)}"
        raise ApiError(Code.NOT_FOUND, told, details={"portfolio": [name], "known": known})


ROUTES = (
    Route(
        "/portfolios",
        topics.RUNS,
        Runs,
        "Each time a portfolio was computed, or why it was not, without its inputs",
        check=_check,
    ),
    Route(
        "/portfolios/weights/latest",
        topics.LATEST_WEIGHTS,
        NewestWeights,
        "The weights of each portfolio's newest run that was not refused",
        told="Rows come by portfolio, the largest weight first, in pages.",
        check=_check,
    ),
    Route(
        "/paper_equity",
        topics.PAPER_EQUITY,
        OfPortfolio,
        "What the portfolios would have earned, beside bitcoin and the market",
        check=_check,
    ),
)


def add(router: APIRouter, pages: Pages) -> None:
    """Add the addresses of portfolios."""
    add_all(router, pages, ROUTES)
    _add_weights(router, pages)
    _add_inputs(router, pages)


def _add_weights(router: APIRouter, pages: Pages) -> None:
    def weights(portfolio: Name, query: Any, request: Request) -> Response:
        told = {name: getattr(query, name) for name in type(query).model_fields}
        of = _WeightsOf.model_construct(**told, portfolio=portfolio)
        return pages.answer(topics.WEIGHTS, of, request, check=_check)

    weights.__annotations__["query"] = Annotated[with_limit(Weights, pages), Query()]
    columns = topics.WEIGHTS.columns
    router.add_api_route(
        "/portfolios/{portfolio}/weights",
        weights,
        name="v1PortfolioWeights",
        summary="The weights of one portfolio over time",
        description="Rows come newest first, in pages.",
        response_model=page_model("PortfolioWeightsPage", row_model("PortfolioWeightsRow", columns)),
        responses=responses_of(example_of(columns)),
    )


def _add_inputs(router: APIRouter, pages: Pages) -> None:
    columns = topics.INPUTS.columns

    @router.get(
        "/portfolios/inputs",
        name="v1PortfolioInputs",
        summary="One run of a portfolio with everything that is needed to compute it again",
        response_model=one_model("PortfolioInputsAnswer", row_model("PortfolioInputsRow", columns)),
        responses=responses_of(example_of(columns), paged=False),
    )
    def inputs(query: Annotated[Run, Query()], request: Request) -> Response:
        """Tell the row of /portfolios with its `inputs`: caps, views, covariance, parameters."""
        as_of = asking.moment(query.as_of, "as_of")
        try:
            until = as_of + _MILLISECOND
        except OverflowError:
            until = None
        page = pages.read(topics.INPUTS, Ask(limit=1, filters={"portfolio": query.portfolio}, since=as_of, until=until))
        if not page.rows:
            raise ApiError(Code.NOT_FOUND, "as_of: there is no such run; see /api/v1/portfolios")
        row = rows_of(page.columns, page.rows)[0]
        told = {
            "data": row,
            "source": [US],
            "as_of": row["as_of"],
            "stale": False,
            "simulated": pages.parts.simulated,
        }
        return tagged(orjson.dumps(told), {"Content-Type": TYPES["json"]}, request)
