"""The addresses of the stored tables, each with its topic and its parameters, in one list."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, create_model

from collector.api.v1 import asking
from collector.api.v1.pages import STALE, Pages
from collector.api.v1.schemas import example_of, page_model, responses_of, row_model
from collector.storage import serving
from collector.storage.serving import Ask, Page, Topic

LOST_OVER = timedelta(days=7)  # as the command `gaps` looks back


@dataclass(frozen=True, slots=True)
class Route:
    """One address."""

    path: str
    topic: Topic
    query: type[asking.Paged]
    summary: str
    told: str = ""  # about the order of the rows, where the topic does not tell
    of_one: Topic | None = None  # read when an instrument is named
    fixed: Callable[[Any, datetime], dict[str, Any]] | None = None  # what its columns read beside its filters
    check: Callable[[Pages, Page, Ask], None] | None = None  # refuses names that are none


ROUTES = (
    Route("/assets", serving.ASSETS, asking.FollowedAssets, "Coins and tokens as providers list them"),
    Route("/assets/details", serving.ASSET_DETAILS, asking.Assets, "Slow facts about assets"),
    Route("/instruments", serving.INSTRUMENTS, asking.Instruments, "Everything with a price at a venue"),
    Route("/listing_changes", serving.LISTING_CHANGES, asking.Changes, "What was listed, renamed or delisted"),
    Route("/markets", serving.MARKETS, asking.OfAsset, "Price, size and changes of one asset over time"),
    Route("/markets/latest", serving.LATEST_MARKETS, asking.FollowedAssets, "The newest of each asset"),
    Route("/global", serving.GLOBAL_SNAPSHOTS, asking.OfSource, "The whole market over time"),
    Route("/sentiments", serving.SENTIMENTS, asking.OfSource, "Fear and greed, day by day"),
    Route("/candles", serving.CANDLES, asking.Bars, "Closed bars of one series"),
    Route("/candles/latest", serving.LATEST_CANDLES, asking.NewestBars, "The newest closed bar of each instrument"),
    Route("/indicators", serving.INDICATORS, asking.Indicators, "Indicators of the closed bars of one series"),
    Route(
        "/indicators/latest",
        serving.LATEST_INDICATORS,
        asking.NewestIndicators,
        "Those of each instrument's newest bar",
    ),
    Route("/tickers", serving.TICKERS, asking.OfInstrument, "Last trade, quotes and 24 h figures over time"),
    Route("/tickers/latest", serving.LATEST_TICKERS, asking.NewestGiven, "The newest of each instrument"),
    Route("/order_books", serving.ORDER_BOOKS, asking.Books, "Order books of one instrument over time"),
    Route("/order_books/latest", serving.LATEST_ORDER_BOOKS, asking.NewestBooks, "The newest of each instrument"),
    Route(
        "/order_books/depth", serving.ORDER_BOOK_DEPTHS, asking.OfInstrument, "Spread, imbalance and depth over time"
    ),
    Route("/order_books/depth/latest", serving.LATEST_DEPTHS, asking.NewestGiven, "The newest of each instrument"),
    Route("/mark_prices", serving.MARK_PRICES, asking.OfInstrument, "Mark and index price over time"),
    Route("/mark_prices/latest", serving.LATEST_MARK_PRICES, asking.NewestGiven, "The newest of each instrument"),
    Route("/funding", serving.FUNDING_RATES, asking.OfInstrument, "Settled funding payments"),
    Route("/funding/latest", serving.LATEST_FUNDING_RATES, asking.NewestGiven, "The last payment of each instrument"),
    Route(
        "/funding/forecasts", serving.FUNDING_FORECASTS, asking.OfInstrument, "The rate of the running period over time"
    ),
    Route(
        "/funding/forecasts/latest",
        serving.LATEST_FUNDING_FORECASTS,
        asking.NewestGiven,
        "The newest forecast of each instrument",
    ),
    Route("/funding/terms", serving.FUNDING_TERMS, asking.NewestGiven, "Funding interval and bounds"),
    Route("/open_interest", serving.OPEN_INTEREST, asking.OfInstrument, "Open positions over time"),
    Route("/open_interest/latest", serving.LATEST_OPEN_INTEREST, asking.NewestGiven, "The newest of each instrument"),
    Route("/cycles", serving.CYCLES, asking.Cycles, "Passes over all sources, without their reports"),
    Route("/jobs", serving.JOBS, asking.Jobs, "What one cycle asked of whom, and how it ended"),
    Route("/rejects", serving.REJECTS, asking.Rejects, "Rows that were not believed"),
    Route("/coverage", serving.SERIES, asking.Series, "What is held and missing of each series"),
    Route("/coverage/windows", serving.COVERAGE, asking.Windows, "Every window of every series, with its state"),
    Route("/gaps", serving.GAPS, asking.Windows, "Windows that are not held, with their reason and next try"),
    Route("/gaps/snapshots", serving.LOST_SNAPSHOTS, asking.Lost, "Snapshots that cannot be fetched again"),
    Route("/revisions", serving.REVISIONS, asking.Revisions, "Closed values that changed after they were stored"),
    Route("/suspects", serving.SUSPECTS, asking.Suspects, "Stored rows that look wrong"),
    Route("/sources/budgets", serving.BUDGETS, asking.Budgets, "What was used of each provider's limits"),
)


def add(router: APIRouter, pages: Pages) -> None:
    """Add every address of the list."""
    add_all(router, pages, ROUTES)


def add_all(router: APIRouter, pages: Pages, routes: Iterable[Route]) -> None:
    """Add addresses."""
    for route in routes:
        columns = [*route.topic.columns, *([STALE] if route.topic.latest else [])]
        name = title(route.path)
        row = row_model(f"{name}Row", columns, chosen=route.topic.chosen)
        router.add_api_route(
            route.path,
            _endpoint(route, pages),
            name=f"v1{name}",
            summary=route.summary,
            description=route.told or _description(route.topic),
            response_model=page_model(f"{name}Page", row),
            responses=responses_of(example_of(columns)),
        )


def title(path: str) -> str:
    """Return the name of an address, as OrderBooksDepthLatest."""
    return "".join(word.title() for word in path.replace("/", "_").split("_"))


def _description(topic: Topic) -> str:
    if topic.keys[0].column not in {"", "open_time", "cycle_id", "change_id", "revision_id", "job_id"}:
        order = "by name"
    else:
        order = "newest first" if topic.newest_first else "oldest first"
    return f"Rows come {order}, in pages."


def _endpoint(route: Route, pages: Pages) -> Callable[..., Response]:
    query_model = with_limit(route.query, pages, route.topic.most_rows)

    def endpoint(query: Any, request: Request) -> Response:
        now = pages.parts.clock.now()
        topic = route.of_one if route.of_one and query.instrument is not None else route.topic
        fixed = route.fixed(query, now) if route.fixed else fixed_values(topic, query, now)
        return pages.answer(topic, query, request, check=route.check, **fixed)

    endpoint.__annotations__["query"] = Annotated[query_model, Query()]
    return endpoint


def fixed_values(topic: Topic, query: Any, now: datetime) -> dict[str, Any]:
    """Return what the columns of a topic read beside its filters."""
    if topic is serving.LOST_SNAPSHOTS:
        since = asking.moment_of(query, "from") or now - LOST_OVER
        return {"lost_since": since, "lost_until": asking.moment_of(query, "to")}
    return {"levels": query.levels} if hasattr(query, "levels") else {}


def with_limit(query: type[asking.Paged], pages: Pages, most_rows: int = 0) -> type[asking.Paged]:
    """Return the parameters with the page size that is configured."""
    most = min(pages.parts.settings.page_rows, most_rows or pages.parts.settings.page_rows)
    limit = Field(min(asking.USUAL_ROWS, most), ge=1, le=most, description="Most rows of the page")
    return create_model(query.__name__, __base__=query, __doc__=query.__doc__, limit=(int, limit))
