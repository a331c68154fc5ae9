"""The addresses of what was computed from stored rows, each with its topic and its parameters, in one list."""

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from collector.api.errors import ApiError, Code
from collector.api.v1 import asking
from collector.api.v1.asking import Moment, Paged, Timed, Word, Words
from collector.api.v1.pages import Pages
from collector.api.v1.routes import Route, add_all
from collector.config.analytics import MEASURES
from collector.storage.models.market import INDICATOR_COLUMNS
from collector.storage.serving import Ask, Page
from collector.storage.serving import analytics as topics

PERFORMANCE_OVER = timedelta(days=90)
LONGEST_PERFORMANCE = timedelta(days=366)  # a year's outcomes are added up within the time an answer may take
_DAY = timedelta(days=1)
_KNOWN_MEASURES = (*MEASURES, *INDICATOR_COLUMNS)
_SPAN: Mapping[str, Any] = {"pattern": r"^[1-9][0-9]{0,6}[mhdw]?$"}
_HORIZON = Field(None, ge=1, le=100_000, description="Only this long after the signal, in bars", examples=[5])
SignalKind = Literal["ema_cross", "rsi", "macd", "breakout", "funding"]

# --------------------------------------------------------------------------- parameters


def _span(told: str, example: str) -> Any:
    return Field(None, description=told, examples=[example], **_SPAN)


def _names(told: str, example: str) -> Any:
    return Field(None, description=f"{told}, separated by commas, at most 200", examples=[example])


def _interval() -> Any:
    return Field(None, description="Only of bars of this length", examples=["1h"], json_schema_extra=asking.INTERVALS)


class Trends(Timed):
    """The trends of one asset or instrument, the newest first."""

    subject: Word = Field(description="An asset's id or an instrument's canonical id", examples=["bitcoin"])
    span: str | None = _span("Only what looks back so far", "30d")


class NewestTrends(Paged):
    """The newest trends of each asset and instrument."""

    subject: Words | None = _names("Ids of assets and canonical ids of instruments", "bitcoin,ethereum")
    span: str | None = _span("Only what looks back so far", "30d")
    of: Literal["assets", "instruments"] | None = Field(None, description="Only assets, or only instruments")


class Breadth(Timed):
    """Market breadth, the newest first."""

    span: str | None = _span("Only what looks back so far", "30d")


class Factors(Timed):
    """Returns of the factors, the newest day first."""

    factor: Literal["market", "size", "momentum", "volatility", "liquidity"] | None = Field(
        None, description="Only of this factor"
    )


class Derived(Timed):
    """Derived metrics of one instrument, the newest first."""

    instrument: Word = asking.one_instrument()
    measure: Word | None = Field(None, description="Only of this raw value or indicator", examples=["price"])
    span: str | None = _span("Only what looks back so far: observations (20) or minutes (15m)", "15m")


class NewestDerived(asking.Newest):
    """The newest derived metrics of each instrument."""

    measure: Word | None = Field(None, description="Only of this raw value or indicator", examples=["price"])
    span: str | None = _span("Only what looks back so far: observations (20) or minutes (15m)", "15m")


class Ranks(Timed):
    """The ranks of one asset, the newest day first."""

    asset_id: Word = Field(description="The provider's id", examples=["bitcoin"])
    source: Word | None = Field(None, description="Only by this provider")


class RankDay(Paged):
    """The ranks of one day."""

    day: Moment | None = Field(None, description="Any moment of the day (UTC); none: the newest day there is")
    asset_id: Words | None = _names("Ids of assets", "bitcoin")
    source: Word | None = Field(None, description="Only by this provider")
    entered: bool | None = Field(None, description="Only assets that came among the first ones that day, or did not")
    dropped: bool | None = Field(None, description="Only assets that left the first ones that day, or did not")


class OfRules(Timed):
    """Rows of signals, by the bar that gave them; the newest first."""

    instrument: Word | None = asking.one_instrument(None)
    interval: Word | None = _interval()
    kind: SignalKind | None = Field(None, description="Only signals of this kind")
    name: Word | None = Field(None, description="Only of this rule", examples=["ema_cross_12_26"])
    direction: int | None = Field(None, ge=-1, le=1, description="Only for rising (1), falling (-1), neither (0)")


class NewestSignals(Paged):
    """The newest signal of each instrument, interval and rule."""

    instrument: Words | None = asking.many_instruments()
    venue: Word | None = Field(None, description="Only instruments of this venue", examples=["okx"])
    interval: Word | None = _interval()
    kind: SignalKind | None = Field(None, description="Only signals of this kind")
    name: Word | None = Field(None, description="Only of this rule", examples=["ema_cross_12_26"])
    direction: int | None = Field(None, ge=-1, le=1, description="Only for rising (1), falling (-1), neither (0)")


class Revisions(OfRules):
    """Signals that would be given otherwise today."""

    cause: Literal["inputs", "code"] | None = Field(None, description="What changed: corrected inputs, or the rule")


class Outcomes(OfRules):
    """What followed each signal."""

    horizon: int | None = _HORIZON
    status: Literal["done", "hole"] | None = Field(None, description="Only known ones, or those with a missing price")


class Performance(Paged):
    """How each rule did."""

    from_: Moment | None = Field(
        None, alias="from", description="Of signals at or after this time; else of the 90 days before `to`"
    )
    to: Moment | None = Field(None, description="Of signals before this time; else now. At most 366 days after `from`")
    interval: Word | None = _interval()
    kind: SignalKind | None = Field(None, description="Only signals of this kind")
    name: Word | None = Field(None, description="Only of this rule", examples=["ema_cross_12_26"])
    horizon: int | None = _HORIZON


class Views(Timed):
    """The views of one asset, the newest first."""

    asset_id: Word = Field(description="The provider's id", examples=["bitcoin"])


class NewestViews(Paged):
    """The newest view of each asset."""

    asset_id: Words | None = _names("Ids of assets", "bitcoin,ethereum")


class Coefficients(Timed):
    """Information coefficients, the newest first."""

    horizon: int | None = Field(None, ge=1, le=100_000, description="Only this long after the views, in days")


# --------------------------------------------------------------------------- what topics read beside their filters


def _chosen_metric(query: NewestDerived, _now: datetime) -> dict[str, Any]:
    return {"only_measure": query.measure, "only_span": query.span}


def _day(query: RankDay, _now: datetime) -> dict[str, Any]:
    moment = asking.moment_of(query, "day")
    start = None if moment is None else datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return {"moment": start}


def _newest(_query: Paged, _now: datetime) -> dict[str, Any]:
    return {"moment": None}


def _bounds(query: Performance, now: datetime) -> dict[str, Any]:
    until = asking.moment_of(query, "to") or now
    since = asking.moment_of(query, "from")
    if since is None:
        since = until - PERFORMANCE_OVER if until.year > 1 else until
    if until - since > LONGEST_PERFORMANCE:
        raise asking.refused("from", f"is more than {LONGEST_PERFORMANCE.days} days before to")
    return {"given_since": since, "given_until": until}


# --------------------------------------------------------------------------- names that are none


def _check_subject(pages: Pages, page: Page, asked: Ask) -> None:
    """Raise NOT_FOUND for a subject that is neither an asset nor an instrument."""
    value = asked.filters.get("subject")
    if value is None:
        return
    place = [column.name for column in page.columns].index("subject")
    seen = {row[place] for row in page.rows}
    names = [name for name in ([value] if isinstance(value, str) else value) if name not in seen]
    strangers = pages.strangers("instrument", pages.strangers("asset_id", names))
    if strangers:
        told = f"subject: {strangers[0]} is not known; see /api/v1/assets and /api/v1/instruments"
        raise ApiError(Code.NOT_FOUND, told, details={"subject": strangers})


def _check_measure(_pages: Pages, page: Page, asked: Ask) -> None:
    """Raise INVALID_PARAMETER for a measure that is none and has no row."""
    name = asked.filters.get("measure")
    if name is None or page.rows or name in _KNOWN_MEASURES:
        return
    near = difflib.get_close_matches(name[:40].lower(), _KNOWN_MEASURES, n=5, cutoff=0.4)
    meant = f"near are {', '.join(near)}" if near else f"there are {', '.join(MEASURES)} and columns of indicators"
    raise asking.refused("measure", f"{name[:40]!r} is no measure; {meant}", near=near)


# --------------------------------------------------------------------------- addresses

ROUTES = (
    Route(
        "/trends",
        topics.TRENDS,
        Trends,
        "Trend and risk of one asset or instrument over time",
        check=_check_subject,
    ),
    Route(
        "/trends/latest",
        topics.LATEST_TRENDS,
        NewestTrends,
        "The newest of each asset, instrument and span",
        check=_check_subject,
    ),
    Route("/breadth", topics.BREADTH, Breadth, "How many followed assets take part in a movement"),
    Route("/factors", topics.FACTORS, Factors, "What the common factors earned, day by day"),
    Route(
        "/derived_metrics",
        topics.DERIVED,
        Derived,
        "Slopes, means and z-scores of one instrument's raw rows over time",
        check=_check_measure,
    ),
    Route(
        "/derived_metrics/latest",
        topics.LATEST_DERIVED,
        NewestDerived,
        "The newest of each instrument, measure and span",
        fixed=_chosen_metric,
        check=_check_measure,
    ),
    Route("/ranks", topics.RANKS, Ranks, "Rank by market cap of one asset, day by day"),
    Route(
        "/ranks/days",
        topics.RANK_DAYS,
        RankDay,
        "All ranks of one day, with entries and exits",
        told="Rows come by rank, what has none last, in pages that stay at the day of the first.",
        fixed=_day,
    ),
    Route(
        "/signals",
        topics.SIGNALS,
        OfRules,
        "Signals on closed bars, as they were given",
        of_one=topics.SIGNALS_OF_ONE,
    ),
    Route(
        "/signals/latest",
        topics.LATEST_SIGNALS,
        NewestSignals,
        "The newest signal of each instrument, interval and rule",
    ),
    Route(
        "/signals/revisions",
        topics.SIGNAL_REVISIONS,
        Revisions,
        "Signals that would be given otherwise today",
        of_one=topics.SIGNAL_REVISIONS_OF_ONE,
    ),
    Route(
        "/signals/outcomes",
        topics.SIGNAL_OUTCOMES,
        Outcomes,
        "What followed each signal",
        of_one=topics.SIGNAL_OUTCOMES_OF_ONE,
    ),
    Route(
        "/signals/performance",
        topics.PERFORMANCE,
        Performance,
        "How often and how far prices went the signals' way, by rule",
        fixed=_bounds,
    ),
    Route("/views", topics.VIEWS, Views, "All signals of one asset in one view, over time"),
    Route(
        "/views/latest",
        topics.LATEST_VIEWS,
        NewestViews,
        "The newest views, the most bullish first",
        told="Rows come by rank, what has none last, in pages that stay at the moment of the first.",
        fixed=_newest,
    ),
    Route(
        "/information_coefficients",
        topics.COEFFICIENTS,
        Coefficients,
        "How well the views of a moment ordered what followed",
    ),
)


def add(router: APIRouter, pages: Pages) -> None:
    """Add every address of the list."""
    add_all(router, pages, ROUTES)
