"""Healing: turns missing windows whose turn has come into jobs, within what the providers' limits leave.

The provider of the series is asked twice; then those that trade the same thing take turns with it. What the provider's
history does not reach is asked of the others only. Windows are handed out as pending, the newest first, and each from
its oldest bar on: what comes then lies before a hole, so that no indicator behind it has to be computed again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile

from collector.clock import EPOCH
from collector.coverage import NOBODY, OLDER, OWN_TRIES, Event, Finding, Series, State, Window, series_of
from collector.errors import StorageUnavailable
from collector.fallback import TICKERS, KnownAsset, VenuePrice, in_our_ids, prices_of_venues, stand_in
from collector.records import Batch, Dataset, Instrument, Interval, Job
from collector.sources.base import Cost, Limit
from collector.storage.coverage import CoverageStore
from collector.storage.reader import Reader
from collector.storage.stored import StoredInstrument

CHUNK_BARS = 1500  # of one job: three pages of Binance, five of OKX; what a failure costs stays small
NOBODY_TO_ASK = "no enabled provider can be asked for it"
PAGE_BARS = 250  # holes so near to each other share a call: a page of every provider holds as many
DUE_AT_ONCE = 500  # windows looked at in one cycle

Equivalents = Callable[[Instrument, Sequence[StoredInstrument]], Sequence[Instrument]]
"""Returns the instruments of other venues that mean the same as the first argument, best first."""
SAME_CYCLE = timedelta(minutes=5)  # a venue's price older than this is not of now
KNOWN_PRICE_AGE = timedelta(days=2)  # an older price tells no asset from another
HOUR = timedelta(hours=1)  # of limits with longer windows, the part that a cycle lasts is less than a call
LONGEST_WINDOW = timedelta(days=31)  # of any limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Healable:
    """A provider that can be asked for the past."""

    intervals: Sequence[Interval]  # of candles
    calls: Callable[[Job], Sequence[Cost]]
    limits: Sequence[Limit]


class Healer:
    """Decides what to fetch again; owned by the thread that runs the cycles. Raises StorageError."""

    def __init__(
        self,
        store: CoverageStore,
        reader: Reader,
        providers: Mapping[str, Healable],
        *,
        share: float,
        equivalents: Equivalents = lambda _wanted, _stored: (),
        ranking: str = "",
        prices: Sequence[str] = (),
    ) -> None:
        """`share` is the part of every limit that healing may take, as 0.09.

        `ranking` is the source whose prices and asset ids are ours, `prices` who is asked when it gives none, in order.
        """
        self._store = store
        self._reader = reader
        self._providers = providers
        self._share = share
        self._equivalents = equivalents
        self._ranking = ranking
        self._price_order = prices
        self._taken = Taken()
        self._ours: Sequence[KnownAsset] = ()  # as last read
        self._stand_in: Job | None = None  # for prices, in this cycle
        self._prices_came = False

    def jobs(self, now: datetime, seconds: float, *, failed: Sequence[Job] = ()) -> list[Job]:
        """Return the jobs that `seconds` leave room for: stand-ins for `failed` ones, then the windows due.

        The windows are marked as pending. A failed job is asked of a provider whose own bars did not fail, rather of
        one that has no failures at all.
        """
        self._stand_in, self._prices_came = None, False
        due = self._store.due(now, DUE_AT_ONCE) if seconds > 0 else []
        lost = [(job, *found) for job in failed if (found := series_of(job)) is not None]
        prices = self._price_jobs(failed)
        if seconds <= 0 or not (due or lost or prices):
            return []
        stored = self._reader.load_instruments()
        self._taken.forget(now - LONGEST_WINDOW)
        room = Room(self._providers, self._share, seconds, taken=self._taken, now=now)
        down = {job.source for job in failed}
        vain = {(series.instrument, series.interval) for _, series, _ in lost}
        # Not out of healing's share: prices of now cannot be asked for later. The quota decides.
        self._stand_in = next((job for job in prices if job.source not in down), None)
        jobs = [self._stand_in] if self._stand_in is not None else []
        for job, series, wanted in lost:
            others = [item for item in self._others(series, wanted, stored) if (item.id, series.interval) not in vain]
            others.sort(key=lambda item: item.venue in down)
            if others and job.since is not None and job.until is not None:
                jobs += takewhile(room.take, cut(series, job.since, job.until, others[0], wanted))
        return jobs + self._holes(due, stored, room)

    def _holes(
        self, due: Sequence[tuple[Series, Window]], stored: Sequence[StoredInstrument], room: "Room"
    ) -> list[Job]:
        """Return the jobs for windows whose turn has come, as far as there is room, and mark them as asked for."""
        by_id = {row.instrument.id: row for row in stored}
        jobs: list[Job] = []
        marks: list[tuple[Series, Finding]] = []
        spans: dict[tuple[Series, Instrument], list[Window]] = {}
        for series, window in due:
            row = by_id.get(series.instrument)
            asked = self._whom(series, window, row, stored) if row else None
            if row is None or asked is None:
                exhausted = window.reason == OLDER and window.attempts >= OWN_TRIES
                event, reason = (Event.EXHAUSTED, NOBODY) if exhausted else (Event.FAILED, NOBODY_TO_ASK)
                marks.append((series, _finding(window, event, reason)))  # or it would stay due before all others
                continue
            spans.setdefault((series, asked), []).append(window)
        runs = [
            (run, series, asked)
            for (series, asked), windows in spans.items()
            for run in _near(windows, series.interval)
        ]
        for run, series, asked in sorted(runs, key=lambda item: item[0][-1].until, reverse=True):
            wanted = by_id[series.instrument].instrument
            made = list(takewhile(room.take, cut(series, run[0].since, run[-1].until, asked, wanted)))
            jobs += made
            marks += [(series, part) for job in made for window in run for part in _parts(window, job)]
        self._store.mark(marks)
        return jobs

    def adapt(self, batch: Batch) -> Batch:
        """Return what a provider gave in place of another as rows of what was wanted; their source stays.

        Its candles become those of the instrument that they fill, and its asset ids ours.
        """
        if batch.job.dataset is not Dataset.MARKETS or batch.job.source == self._ranking or not batch.records:
            return stand_in(batch)
        newest = max(row.received_at for row in batch.records)
        try:
            self._ours = self._our_assets(newest - KNOWN_PRICE_AGE)
        except StorageUnavailable as error:  # an asset stays what it was, and these rows may go to the spool
            if not self._ours:
                return replace(batch, records=(), state="failed", error=f"whose prices these are is unknown: {error}")
        adapted = in_our_ids(batch, {}, self._ours)
        self._prices_came |= batch.job == self._stand_in and bool(adapted.records)
        return adapted

    def prices(self, now: datetime, *, failed: Sequence[Job], failed_again: Sequence[Job]) -> list[Batch]:
        """Return the prices of venues where the ranking's failed, unless a provider gave them in its place."""
        if self._lost_prices(failed) is None or TICKERS not in self._price_order:
            return []
        if self._prices_came and self._stand_in not in failed_again:  # an answer may have no asset that is ours
            return []
        found = self._reader.latest_prices(since=now - SAME_CYCLE)
        fresh = [
            VenuePrice(instrument=name, price=price.price, observed_at=price.observed_at)
            for name, price in found.items()
        ]
        wanted = [row.asset_id for row in self._reader.load_assets(followed=True, source=self._ranking)]
        return prices_of_venues(fresh, self._reader.load_instruments(), wanted, list(self._providers), now)

    def _lost_prices(self, failed: Sequence[Job]) -> Job | None:
        """Return the failed job for ranked prices, if it is among these."""
        of_ranking = (job for job in failed if job.source == self._ranking and job.dataset is Dataset.MARKETS)
        return next(of_ranking, None)

    def _price_jobs(self, failed: Sequence[Job]) -> list[Job]:
        """Return a job for each provider that can give prices in place of the ranking, where that failed."""
        lost = self._lost_prices(failed)
        names = [name for name in self._price_order if name in self._providers] if lost is not None else []
        return [Job(source=name, dataset=Dataset.MARKETS, limit=lost.limit) for name in names if lost is not None]

    def _our_assets(self, since: datetime) -> list[KnownAsset]:
        prices = self._reader.latest_markets(self._ranking, since=since)
        return [
            KnownAsset(
                asset_id=row.asset_id,
                symbol=row.symbol,
                price_usd=prices[row.asset_id].price_usd if row.asset_id in prices else None,
            )
            for row in self._reader.load_assets(source=self._ranking)
            if row.delisted_at is None
        ]

    def _whom(
        self, series: Series, window: Window, row: StoredInstrument, stored: Sequence[StoredInstrument]
    ) -> Instrument | None:
        """Return the instrument to ask for, the series' own or an equal one; None when nobody is left."""
        wanted = row.instrument
        own = [wanted] if wanted.venue in self._providers and row.gone_at is None else []
        if own and window.attempts < OWN_TRIES and window.state is not State.PROVIDER_HAS_NONE:
            return wanted
        others = self._others(series, wanted, stored)
        tries = max(0, window.attempts - OWN_TRIES)
        if window.reason == OLDER:
            return others[tries] if tries < len(others) else None
        ring = [*others, *own]
        return ring[tries % len(ring)] if ring else None

    def _others(self, series: Series, wanted: Instrument, stored: Sequence[StoredInstrument]) -> Sequence[Instrument]:
        if series.dataset is not Dataset.CANDLES:  # funding is a venue's own
            return ()
        found = self._equivalents(wanted, stored)
        return [
            item
            for item in found
            if item.venue in self._providers and series.interval in self._providers[item.venue].intervals
        ]


def _finding(window: Window, event: Event, reason: str) -> Finding:
    return Finding(since=window.since, until=window.until, event=event, source=window.source, reason=reason)


def _near(windows: Sequence[Window], interval: Interval | None) -> list[list[Window]]:
    """Return windows of a series in runs that one page can hold; each run ascends.

    A provider that left out every third bar would otherwise be called for each of them.
    """
    runs: list[list[Window]] = []
    for window in sorted(windows, key=lambda item: item.since):
        if runs and interval is not None and window.until - runs[-1][0].since <= PAGE_BARS * interval.width:
            runs[-1].append(window)
        else:
            runs.append([window])
    return runs


def _parts(window: Window, job: Job) -> Iterator[Finding]:
    """Yield the part of a window that a job asks for, if there is one."""
    asked = asked_for(job)
    since, until = max(window.since, asked.since), min(window.until, asked.until)
    if since < until:
        yield replace(asked, since=since, until=until)


def asked_for(job: Job, reason: str = "") -> Finding:
    """Return what it means for a window that a job is on its way."""
    assert job.since is not None  # noqa: S101 - jobs made here name their range
    assert job.until is not None  # noqa: S101
    return Finding(since=job.since, until=job.until, event=Event.ASKED, source=job.source, reason=reason)


def cut(
    series: Series,
    since: datetime,
    until: datetime,
    asked: Instrument,
    wanted: Instrument,
    *,
    bars: int = CHUNK_BARS,
) -> Iterator[Job]:
    """Yield the jobs that fetch [since, until) of a series, the oldest first; `asked` is whose data it will be.

    `bars` is the most that one job fetches.
    """
    width = until - since if series.interval is None else bars * series.interval.width
    start = since
    while start < until:
        end = min(until, start + width)
        yield Job(
            source=asked.venue,
            dataset=series.dataset,
            instruments=(asked,),
            interval=series.interval,
            since=start,
            until=end,
            stands_for=None if asked.id == wanted.id else wanted,
        )
        start = end


class Taken:
    """What healing took of each limit.

    Of this process only. After a restart the quota still knows what is left of the limit itself.
    """

    def __init__(self) -> None:
        self._cycles: defaultdict[tuple[str, str], dict[datetime, int]] = defaultdict(dict)

    def add(self, source: str, scope: str, at: datetime, weight: int) -> None:
        """Count `weight` that the cycle of this moment took."""
        cycles = self._cycles[source, scope]
        cycles[at] = cycles.get(at, 0) + weight

    def since(self, source: str, scope: str, moment: datetime) -> int:
        """Return what was taken after a moment."""
        return sum(weight for at, weight in self._cycles[source, scope].items() if at > moment)

    def forget(self, moment: datetime) -> None:
        """Drop what was taken until a moment."""
        for name, cycles in self._cycles.items():
            self._cycles[name] = {at: weight for at, weight in cycles.items() if at > moment}


class Room:
    """What healing may still take of each limit in the time that is left.

    Of a limit by the month it is the share of the whole month, less what healing took in it: the part of a minute
    would never be a call. For the same reason it is one call at least of a small limit by the minute, as long as the
    share of an hour is not used up.
    """

    def __init__(
        self,
        providers: Mapping[str, Healable],
        share: float,
        seconds: float,
        *,
        taken: Taken | None = None,
        now: datetime = EPOCH,
    ) -> None:
        self._calls = {name: provider.calls for name, provider in providers.items()}
        self._taken, self._now = taken or Taken(), now
        self._left: dict[tuple[str, str], float] = {}
        for name, provider in providers.items():
            for limit in provider.limits:
                key, period = (name, limit.scope), max(limit.window, HOUR)
                whole = limit.capacity * share * (period / limit.window) - self._taken.since(*key, now - period)
                part = limit.capacity * share * (timedelta(seconds=seconds) / limit.window)
                units = whole if limit.window > HOUR else min(whole, max(part, 1))
                self._left[key] = min(units, self._left.get(key, units))

    def take(self, job: Job) -> bool:
        """Return whether a job fits, and count it if so."""
        needed: dict[tuple[str, str], int] = {}
        for cost in self._calls[job.source](job):
            key = (job.source, cost.scope)
            needed[key] = needed.get(key, 0) + cost.weight
        metered = {key: weight for key, weight in needed.items() if key in self._left}
        if any(weight > self._left[key] for key, weight in metered.items()):
            return False
        for key, weight in metered.items():
            self._left[key] -= weight
            self._taken.add(*key, self._now, weight)
        return True
