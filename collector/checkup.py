"""One look at one source by hand: fetch a little of each dataset, say how much came and how fresh it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from collector import validate
from collector.clock import Clock, last_closed_open
from collector.errors import PayloadError, VenueError
from collector.printing import moment, span, table
from collector.records import Batch, Dataset, Instrument, InstrumentListing, Interval, Job, Kind, Record, Reject
from collector.sources.base import Collector, Shape

BARS = 5
LEVELS = 20
ASSETS = 250
FAVOURITE_ASSET = "bitcoin"
FAVOURITE_BASE = "BTC"

# The age at which the newest row of a dataset shows that something is wrong: the provider's update period plus slack.
OLDEST = {
    Dataset.MARKETS: timedelta(minutes=15),
    Dataset.GLOBAL: timedelta(minutes=30),
    Dataset.ASSET_DETAILS: timedelta(hours=1),
    Dataset.MARKET_HISTORY: timedelta(hours=2),
    Dataset.TICKERS: timedelta(minutes=2),
    Dataset.ORDER_BOOKS: timedelta(minutes=2),
    Dataset.MARK_PRICES: timedelta(minutes=2),
    Dataset.FUNDING_FORECASTS: timedelta(minutes=5),
    Dataset.FUNDING: timedelta(hours=9),  # the longest funding interval is 8 h
    Dataset.OPEN_INTEREST: timedelta(minutes=10),
    Dataset.SENTIMENT: timedelta(days=2),  # a value is about a day, from its start
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one dataset gave. `newest` is None when rows carry no time that says how fresh they are."""

    dataset: str
    ok: bool
    rows: int
    rejects: int
    newest: datetime | None
    age_s: float | None
    verdict: str  # fresh, stale, empty, failed, or received where rows have no age
    detail: str
    elapsed_s: float


def check_source(collector: Collector, intervals: Sequence[Interval], clock: Clock) -> Iterator[Finding]:
    """Yield a finding per dataset, lists first, because the other jobs need an instrument from them."""
    instrument: Instrument | None = None
    order = sorted(
        collector.shapes, key=lambda item: (collector.shapes[item] is not Shape.WHOLE, list(Dataset).index(item))
    )
    for dataset in order:
        job = _job(collector, dataset, instrument, intervals, clock.now())
        if job is None:
            yield _finding(dataset, "failed", detail="no instrument to ask for: the list of instruments did not come")
            continue
        started = clock.monotonic()
        try:
            batch = _fetch(collector, job, clock)
        except (VenueError, PayloadError) as error:
            yield _finding(dataset, "failed", detail=str(error), elapsed_s=clock.monotonic() - started)
            continue
        if dataset is Dataset.INSTRUMENTS:
            instrument = _favourite(batch.records)
        yield _judge(batch, clock.now(), clock.monotonic() - started)


def render(name: str, findings: Iterable[Finding]) -> str:
    """Return what `check-source` found."""
    rows = [
        (
            finding.dataset,
            finding.verdict,
            str(finding.rows),
            moment(finding.newest),
            "-" if finding.age_s is None else span(timedelta(seconds=finding.age_s)),
            f"{finding.elapsed_s:.2f} s",
            finding.detail,
        )
        for finding in findings
    ]
    return "\n".join([f"{name}:", *table(("dataset", "verdict", "rows", "newest", "age", "took", "detail"), rows)])


def _job(
    collector: Collector, dataset: Dataset, instrument: Instrument | None, intervals: Sequence[Interval], now: datetime
) -> Job | None:
    shape = collector.shapes[dataset]
    job = Job(source=collector.name, dataset=dataset, since=now - timedelta(days=1), until=now)
    if shape is Shape.RANKED:
        return replace(job, limit=ASSETS)
    if shape is Shape.EACH_ASSET:
        return replace(job, assets=(FAVOURITE_ASSET,), interval=intervals[0] if intervals else None)
    if shape is Shape.WHOLE:
        return job
    if instrument is None:
        return None
    if dataset is Dataset.CANDLES:
        interval = intervals[0] if intervals else Interval.M1
        until = last_closed_open(now, interval) + interval.width
        return replace(
            job, instruments=(instrument,), interval=interval, since=until - BARS * interval.width, until=until
        )
    return replace(job, instruments=(instrument,), limit=LEVELS)


def _fetch(collector: Collector, job: Job, clock: Clock) -> Batch:
    records: list[Record] = []
    rejects: list[Reject] = []
    for payload in collector.fetch(job):
        for item in collector.parsers[job.dataset](payload):
            if isinstance(item, Reject):
                rejects.append(item)
            else:
                records.append(item)
    return validate.check(Batch(job=job, records=tuple(records), rejects=tuple(rejects)), now=clock.now())


def _favourite(records: Sequence[Record]) -> Instrument | None:
    """Return Bitcoin's perpetual, else the first that trades."""
    trading = [row.instrument for row in records if isinstance(row, InstrumentListing) and row.tradable]
    perpetuals = [item for item in trading if item.kind is Kind.PERP] or trading
    return next((item for item in perpetuals if item.base == FAVOURITE_BASE), perpetuals[0] if perpetuals else None)


def _judge(batch: Batch, now: datetime, elapsed_s: float) -> Finding:
    dataset, rows, rejects = batch.job.dataset, len(batch.records), len(batch.rejects)
    detail = batch.rejects[0].detail if batch.rejects else ""
    if not rows:
        return _finding(dataset, "empty", rejects=rejects, detail=detail, elapsed_s=elapsed_s)
    limit = OLDEST.get(dataset)
    if dataset is Dataset.CANDLES and batch.job.interval is not None:
        limit = 2 * batch.job.interval.width + timedelta(minutes=1)
    if limit is None:
        return _finding(dataset, "received", ok=True, rows=rows, rejects=rejects, detail=detail, elapsed_s=elapsed_s)
    newest = max(row.observed_at for row in batch.records)
    fresh = now - newest <= limit
    return Finding(
        dataset=dataset,
        ok=fresh,
        rows=rows,
        rejects=rejects,
        newest=newest,
        age_s=round((now - newest).total_seconds(), 1),
        verdict="fresh" if fresh else "stale",
        detail=detail,
        elapsed_s=round(elapsed_s, 3),
    )


def _finding(
    dataset: Dataset,
    verdict: str,
    *,
    ok: bool = False,
    rows: int = 0,
    rejects: int = 0,
    detail: str = "",
    elapsed_s: float = 0.0,
) -> Finding:
    """Return a finding about a dataset without an age."""
    return Finding(
        dataset=dataset,
        ok=ok,
        rows=rows,
        rejects=rejects,
        newest=None,
        age_s=None,
        verdict=verdict,
        detail=detail,
        elapsed_s=round(elapsed_s, 3),
    )
