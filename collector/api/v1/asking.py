"""What a client may send: the parameters of every address as models, and how they become a question to storage."""

import difflib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from collector.api.errors import ApiError, Code
from collector.clock import from_millis
from collector.records import Interval, Kind
from collector.storage.serving import INDICATORS, Ask, Topic

MOST_NAMED = 200  # subjects in one list
USUAL_ROWS = 1000
ALL_LEVELS = 100_000
_CURSOR = r"^[A-Za-z0-9_-]{8,1900}$"
_PART = r"[^:,\x00-\x20\x7f]+"
_INSTRUMENT = re.compile(f"{_PART}:{_PART}-{_PART}:(?:spot|perp|future|index)")
INTERVALS: Any = {"enum": [str(interval) for interval in Interval]}
_DIGITS = re.compile(r"(-?\d{1,16})(?:\.0{1,9})?")


_TIME: Any = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "integer", "minimum": -62_135_596_800_000, "maximum": 253_402_300_799_999},  # years 1 to 9999
    ]
}
Moment = Annotated[str, WithJsonSchema(_TIME)]  # read by `moment_of`
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Words = Annotated[str, Field(min_length=1, max_length=6000, pattern=r"^[^,\x00-\x1f\x7f]+(,[^,\x00-\x1f\x7f]+)*$")]


class Paged(BaseModel):
    """What every address understands."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(None, pattern=_CURSOR, description="`next` of the page before; the first page: none")
    limit: int = Field(USUAL_ROWS, ge=1, description="Most rows of the page")
    format: Literal["json", "csv", "arrow"] = Field("json", description="arrow: an Apache Arrow IPC stream")
    numbers: Literal["number", "string"] = Field(
        "number", description="string: exact decimals as text, to the last digit; number: nearest 64-bit float"
    )


class Timed(Paged):
    """Rows with a time."""

    from_: Moment | None = Field(None, alias="from", description="Rows at or after this time")
    to: Moment | None = Field(None, description="Rows before this time")
    order: Literal["newest", "oldest"] | None = Field(None, description="Which rows come first; else as described")


def one_instrument(default: Any = ...) -> Any:
    """Return the field of one canonical id."""
    pattern: Any = {"pattern": f"^{_INSTRUMENT.pattern}$"}
    told = "Canonical id, as okx:BTC-USDT:perp"
    return Field(default, description=told, examples=["okx:BTC-USDT:perp"], json_schema_extra=pattern)


def many_instruments() -> Any:
    """Return the field of a list of canonical ids."""
    pattern: Any = {"pattern": f"^{_INSTRUMENT.pattern}(,{_INSTRUMENT.pattern})*$"}
    told = "Canonical ids, separated by commas, at most 200, as okx:BTC-USDT:perp"
    return Field(None, description=told, examples=["okx:BTC-USDT:perp"], json_schema_extra=pattern)


def _interval() -> Any:
    return Field(description="Length of the bars", examples=["1h"], json_schema_extra=INTERVALS)


def _columns_of_indicators() -> Any:
    names = "|".join(column.name for column in INDICATORS.columns)
    pattern: Any = {"pattern": f"^({names})(,({names}))*$"}
    told = "Only these columns, separated by commas; what names a row comes always"
    return Field(None, description=told, examples=["rsi_14,macd,macd_signal"], json_schema_extra=pattern)


class OfInstrument(Timed):
    """The rows of one instrument, the newest first."""

    instrument: Word = one_instrument()
    source: Word | None = Field(None, description="Only rows that it gave")


class Books(OfInstrument):
    """Order books of one instrument."""

    levels: int = Field(ALL_LEVELS, ge=1, le=ALL_LEVELS, description="Most levels a side")


class Bars(OfInstrument):
    """The bars of one series."""

    interval: Word = _interval()


class Indicators(Timed):
    """The indicators of one series."""

    instrument: Word = one_instrument()
    interval: Word = _interval()
    columns: Words | None = _columns_of_indicators()


class Newest(Paged):
    """The newest row of each instrument, by name."""

    instrument: Words | None = many_instruments()
    venue: Word | None = Field(None, description="Only instruments of this venue", examples=["okx"])
    base: Word | None = Field(None, description="Only instruments of this base", examples=["BTC"])
    quote: Word | None = Field(None, description="Only instruments of this quote", examples=["USDT"])
    kind: Kind | None = Field(None, description="Only instruments of this kind")
    followed: bool | None = Field(None, description="Only instruments that are collected now, or are not")


class NewestGiven(Newest):
    """The same of rows that have a source."""

    source: Word | None = Field(None, description="Only where the newest row came from it")


class NewestBooks(NewestGiven):
    """The newest order books."""

    levels: int = Field(ALL_LEVELS, ge=1, le=ALL_LEVELS, description="Most levels a side")


class NewestBars(NewestGiven):
    """The newest bar of each instrument."""

    interval: Word = _interval()


class NewestIndicators(Newest):
    """The newest indicators of each instrument."""

    interval: Word = _interval()
    columns: Words | None = _columns_of_indicators()


class Instruments(Newest):
    """Listed instruments."""

    asset_id: Words | None = Field(None, description="Only prices of these assets", examples=["bitcoin"])
    match_state: Literal["matched", "unmatched", "ambiguous", "excluded"] | None = Field(
        None, description="How sure it is of which asset it is a price"
    )


class Assets(Paged):
    """Listed assets."""

    source: Word | None = Field(None, description="Only of this provider's listing", examples=["coingecko"])
    asset_id: Words | None = Field(None, description="The provider's ids, separated by commas", examples=["bitcoin"])
    symbol: Words | None = Field(None, description="Symbols, separated by commas; not unique", examples=["BTC,ETH"])


class FollowedAssets(Assets):
    """Listed assets that can be chosen by whether they are collected."""

    followed: bool | None = Field(None, description="Only assets that are collected now, or are not")


class OfAsset(Timed):
    """The rows of one asset, the newest first."""

    asset_id: Word = Field(description="The provider's id", examples=["bitcoin"])
    source: Word | None = Field(None, description="Only rows that it gave")


class OfSource(Timed):
    """Rows of a source, the newest first."""

    source: Word | None = Field(None, description="Only rows that it gave")


class Changes(OfSource):
    """Changes of listings."""

    subject: Word | None = Field(None, description="Asset id or canonical id of an instrument")
    change: Word | None = Field(None, description="What happened, as delisted")


class Cycles(Timed):
    """Cycles."""

    cadence: Word | None = Field(None, description="Which schedule started it", examples=["market"])
    state: Literal["running", "ok", "partial", "failed", "abandoned"] | None = Field(None, description="How it ended")


class Jobs(Paged):
    """The jobs of one cycle."""

    cycle_id: int = Field(ge=1, le=2**63 - 1, description="Number of the cycle")
    source: Word | None = Field(None, description="Only jobs of this provider")
    dataset: Word | None = Field(None, description="Only jobs that asked for it")
    state: Literal["ok", "failed", "skipped"] | None = Field(None, description="How it ended")


class Rejects(OfSource):
    """Refused rows."""

    dataset: Word | None = Field(None, description="What they were part of")
    reason: Word | None = Field(None, description="Why, as a word")


class Series(Paged):
    """Series and what is held of them."""

    instrument: Words | None = many_instruments()
    venue: Word | None = Field(None, description="Only series of this venue")
    dataset: Literal["candles", "funding"] | None = Field(None, description="Bars or funding payments")
    interval: Word | None = Field(None, description="Length of the bars", json_schema_extra=INTERVALS)


class Windows(Series):
    """Windows of series that overlap [from, to)."""

    from_: Moment | None = Field(None, alias="from", description="Windows that end after this time")
    to: Moment | None = Field(None, description="Windows that begin before this time")
    state: Literal["observed", "filled", "provider_has_none", "missing", "pending"] | None = Field(
        None, description="What is known of them"
    )
    source: Word | None = Field(None, description="Who gave it, or was asked last")


class Lost(Paged):
    """Snapshots that were not fetched."""

    from_: Moment | None = Field(
        None, alias="from", description="Of cycles that started at or after this time; else of 7 days"
    )
    to: Moment | None = Field(None, description="Of cycles that started before this time")
    source: Word | None = Field(None, description="Who was asked")
    dataset: Word | None = Field(None, description="For what")


class Revisions(OfSource):
    """Closed values that changed."""

    table_name: Word | None = Field(None, description="Of this table", examples=["candles"])
    subject: Word | None = Field(None, description="Instrument or asset id")
    cause: Literal["provider", "source", "replay"] | None = Field(None, description="Who changed it")


class Suspects(OfSource):
    """Stored rows that look wrong."""

    dataset: Word | None = Field(None, description="What they are part of")
    subject: Word | None = Field(None, description="Instrument or asset id")
    kind: Literal["jump", "divergence"] | None = Field(None, description="What is doubtful")


class Budgets(Paged):
    """Used limits."""

    source: Word | None = Field(None, description="Only of this provider")
    scope: Word | None = Field(None, description="Only of this metered scope")


# --------------------------------------------------------------------------- from parameters to a question


def ask_of(topic: Topic, query: Paged, most_rows: int) -> Ask:
    """Return the question that a client's parameters ask; ApiError names what is wrong with them."""
    since, until = moment_of(query, "from"), moment_of(query, "to")
    if since is not None and until is not None and since >= until:
        raise refused("from", "is not before to")
    order = getattr(query, "order", None)
    return Ask(
        limit=min(query.limit, most_rows, topic.most_rows or most_rows),
        filters=_filters(topic, query),
        since=since,
        until=until,
        newest_first=topic.newest_first if order is None else order == "newest",
        columns=_columns(topic, getattr(query, "columns", None)),
        exact=query.numbers == "string",
        typed=query.format == "arrow",
    )


def moment_of(query: Paged, name: str) -> datetime | None:
    """Return a moment from ISO 8601 (UTC where it names no offset) or from milliseconds since the epoch."""
    value = getattr(query, "from_" if name == "from" else name, None)
    return None if value is None else moment(value, name)


def moment(value: str, name: str) -> datetime:
    """Return the moment that a parameter names; INVALID_PARAMETER when it names none."""
    try:
        millis = _DIGITS.fullmatch(value)
        found = from_millis(int(millis[1])) if millis else datetime.fromisoformat(value.replace(" ", "+"))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        told = "is not a time; use ISO 8601, as 2026-01-31T12:00:00Z, or milliseconds since the epoch"
        raise refused(name, told) from None


def _filters(topic: Topic, query: Paged) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (*topic.filters, *topic.needs):
        value = getattr(query, name, None)
        if value is not None:
            found[name] = _listed(name, value) if "ANY(" in topic.filters.get(name, "") else _single(name, value)
    return found


def _single(name: str, value: Any) -> Any:
    if name == "instrument":
        check_instrument(value)
    if name == "interval" and value not in list(Interval):
        raise ApiError(Code.INVALID_INTERVAL, f"interval: {value!r} is none of {', '.join(Interval)}")
    return str(value) if isinstance(value, Kind) else value


def _listed(name: str, value: str) -> list[str]:
    words = [word.strip() for word in value.split(",")]
    if not all(words) or len(words) > MOST_NAMED:
        raise refused(name, f"is not a list of 1 to {MOST_NAMED} names, separated by commas")
    if name == "instrument" and (wrong := [word for word in words if not _INSTRUMENT.fullmatch(word)]):
        raise _not_an_instrument(wrong[0])
    return [word.upper() for word in words] if name == "symbol" else words


def check_instrument(value: str) -> None:
    """Raise INVALID_SYMBOL for what is no canonical id."""
    if not _INSTRUMENT.fullmatch(value):
        raise _not_an_instrument(value)


def _not_an_instrument(value: str) -> ApiError:
    return ApiError(
        Code.INVALID_SYMBOL,
        f"instrument: {value!r} is not venue:BASE-QUOTE:kind, as okx:BTC-USDT:perp; see /api/v1/instruments",
    )


def _columns(topic: Topic, value: str | None) -> list[str] | None:
    if value is None:
        return None
    known = [column.name for column in topic.columns]
    words = [word.strip() for word in value.split(",")]
    if unknown := [word for word in words if word not in known]:
        near = difflib.get_close_matches(unknown[0][:40].lower(), known, n=5, cutoff=0.4)
        meant = f"; near are {', '.join(near)}" if near else f"; there are {', '.join(known)}"
        raise refused("columns", f"{unknown[0][:40]!r} is no column{meant}", near=near)
    return words


def refused(name: str, why: str, **more: Any) -> ApiError:
    """Return the error for a parameter that cannot be used."""
    details: Mapping[str, Any] = {name: why, **more}
    return ApiError(Code.INVALID_PARAMETER, f"{name}: {why}", details=details)
