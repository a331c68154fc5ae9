"""The range of a backfill: what was asked, what of it can be fetched and why not all, and whom to ask for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from collector.clock import floor_time, last_closed_open
from collector.coverage import HELD, Series, State, Window
from collector.errors import ConfigError
from collector.healing import Equivalents
from collector.plan import SETTLE
from collector.records import Dataset, Instrument, Interval, Kind
from collector.storage.coverage import CoverageStore
from collector.storage.reader import Reader
from collector.storage.stored import StoredInstrument

FIRST_COIN = datetime(2009, 1, 3, tzinfo=UTC)  # the first block of Bitcoin: before it nothing was traded
NOBODY_CAN = "no enabled source can be asked for it; enable one under sources in config/config.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A range of a series that somebody wants: [since, until). `source` None: the series' own provider."""

    series: Series
    since: datetime
    until: datetime
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a request."""

    held: timedelta  # of the range
    rows: int | None  # inserted or changed; None: another process did the work, and nobody counted
    left: Sequence[Window]  # what is not held, with the reason
    interrupted: bool = False
    by_others: bool = False  # a daemon did the work


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A request cut to what can be there."""

    request: Request
    row: StoredInstrument
    notes: Sequence[str]  # a line for each end that was cut: what was asked, what will be fetched, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What an enabled provider can give of the past."""

    intervals: Collection[Interval]  # of candles
    datasets: Collection[Dataset]

    def gives(self, series: Series, instrument: Instrument) -> bool:
        """Return whether it has such a series of this instrument. Only contracts without an end pay funding."""
        if series.interval is None:
            return series.dataset in self.datasets and instrument.kind is Kind.PERP
        return series.dataset in self.datasets and series.interval in self.intervals


# --------------------------------------------------------------------------- the ends


def bounded(request: Request, reader: Reader, now: datetime) -> Bounded:
    """Return the request cut to whole bars that have ended and to the time since the listing.

    Raises ConfigError when the instrument is not known or nothing is left.
    """
    name = request.series.instrument
    rows = {row.instrument.id: row for row in reader.load_instruments()}
    if name not in rows:
        raise ConfigError(f"SERIES: {name}: no such instrument is known; {_near(name, rows)}")
    row, interval = rows[name], request.series.interval
    since, why = _first(request, row)
    until = min(request.until, now)
    if interval is not None:
        until = min(_ceiling(until, interval), last_closed_open(now - SETTLE, interval) + interval.width)
    if since >= until:
        listed = f" (listed at {_minute(row.listed_at)})" if row.listed_at else ""
        wanted = f"{_minute(request.since)} and {_minute(request.until)}"
        raise ConfigError(f"--from: no bar of {request.series.name}{listed} ended between {wanted}; name another range")
    notes = [f"--from {_minute(request.since)}: fetched from {_minute(since)} on, {why}"] if why else []
    if request.until > now:
        end = "the last bar that is over" if interval is not None else "now"
        notes.append(f"--to {_minute(request.until)} is in the future: fetched to {_minute(until)}, {end}")
    return Bounded(request=replace(request, since=since, until=until), row=row, notes=notes)


def _first(request: Request, row: StoredInstrument) -> tuple[datetime, str]:
    """Return where the range can begin, and why that is not where it was asked to; empty when it is."""
    interval = request.series.interval
    since = max(request.since, FIRST_COIN)
    why = "before which no coin was traded" if since > request.since else ""
    if interval is not None:
        since = _ceiling(since, interval)
    if row.listed_at is not None:
        listed = row.listed_at if interval is None else floor_time(row.listed_at, interval)
        if since < listed:
            return listed, f"the listing of {row.instrument.id} at {row.instrument.venue}"
    return since, why


def _near(name: str, known: Collection[str]) -> str:
    if not known:
        return "nothing was collected yet, so begin with `python main.py once`"
    likely = get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(likely)}?" if likely else "the table instruments names those that are"


def _ceiling(moment: datetime, interval: Interval) -> datetime:
    floor = floor_time(moment, interval)
    return floor if floor == moment else floor + interval.width


def _minute(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(' ', 'minutes')} UTC"  # %Y would leave out the zeros of the year 1


# --------------------------------------------------------------------------- whom to ask


def whom(
    request: Request,
    row: StoredInstrument,
    stored: Sequence[StoredInstrument],
    offers: Mapping[str, Offer],
    equivalents: Equivalents,
) -> Instrument:
    """Return the instrument to ask for: the series' own, or the one that means the same at the named source.

    Raises ConfigError, with the sources that can be asked, when the one in question cannot.
    """
    series, wanted = request.series, row.instrument
    candidates = [wanted]
    if series.interval is not None:  # funding is a venue's own
        candidates += equivalents(wanted, stored)
    able: dict[str, Instrument] = {}
    for item in candidates:
        if item.venue in offers and offers[item.venue].gives(series, item):
            able.setdefault(item.venue, item)
    name = request.source if request.source is not None else wanted.venue
    if name in able:
        return able[name]
    choice = ", ".join(able)
    if request.source is None:
        why = "has no such data" if name in offers else "is not enabled"
        remedy = f"name one of {choice} with --source" if able else NOBODY_CAN
        raise ConfigError(f"{series.name}: {name} {why}; {remedy}")
    why = f"has nothing that means the same as {series.name}" if name in offers else "is no source that is enabled"
    raise ConfigError(f"--source: {name!r} {why}; {f'use one of {choice}' if able else NOBODY_CAN}")


# --------------------------------------------------------------------------- what is known of it


def windows_of(store: CoverageStore, request: Request) -> list[Window]:
    """Return what is known of the range of a request, in order, cut to it."""
    found = store.windows(request.series.name, request.since, request.until)
    return [window for series, window in found if series == request.series]


def held_of(windows: Sequence[Window]) -> timedelta:
    """Return how much of these windows is held."""
    return sum((window.until - window.since for window in windows if window.state in HELD), timedelta(0))


def wanted_parts(request: Request, windows: Sequence[Window]) -> list[tuple[datetime, datetime, Window | None]]:
    """Return the stretches of the range that are not held, each with its window; None where nothing is known."""
    parts: list[tuple[datetime, datetime, Window | None]] = []
    at = request.since
    for window in windows:
        if at < window.since:
            parts.append((at, window.since, None))
        if window.state not in HELD:
            parts.append((window.since, window.until, window))
        at = window.until
    if at < request.until:
        parts.append((at, request.until, None))
    return parts


def is_waited_for(window: Window) -> bool:
    """Return whether a window is not held and somebody will ask for it."""
    return window.state in (State.MISSING, State.PENDING)
