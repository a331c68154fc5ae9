"""What is due: from configured tasks and what is stored, the jobs of one stage of a cycle (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest

from collector.clock import last_closed_open
from collector.records import Dataset, Instrument, Interval, Job
from collector.sources.base import Shape

SETTLE = timedelta(seconds=2)  # a bar is asked for this long after its end: venues finish it late
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

LISTS = frozenset({Dataset.LISTING, Dataset.INSTRUMENTS})
RANKS_AND_PRICES = frozenset({Dataset.MARKETS, Dataset.GLOBAL, Dataset.TICKERS, Dataset.MARK_PRICES})
STAGE_COUNT = 3


def stage_of(dataset: Dataset) -> int:
    """Return the stage of a cycle that fetches a dataset.

    Each stage needs what the one before stored: 0 lists, 1 ranks and prices (they decide what is followed), 2 the rest.
    """
    return 0 if dataset in LISTS else 1 if dataset in RANKS_AND_PRICES else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One dataset of one source, as configured."""

    source: str
    dataset: Dataset
    shape: Shape
    cadence: str
    intervals: tuple[Interval, ...] = ()
    history: int = 499  # bars fetched for a series that holds none
    levels: int = 50
    assets: int = 5  # assets a cycle, longest waiting first
    lookback: timedelta = timedelta(days=30)
    top: int = 250  # assets to rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored and followed at the time of planning."""

    now: datetime
    instruments: Mapping[str, Sequence[Instrument]] = field(default_factory=dict)  # by source: all that trade
    followed: Mapping[str, Sequence[Instrument]] = field(default_factory=dict)  # by source
    assets: Sequence[str] = ()  # followed asset ids, best rank first
    last_opens: Mapping[tuple[str, Interval], datetime] = field(default_factory=dict)  # by instrument id
    last_fundings: Mapping[str, datetime] = field(default_factory=dict)  # by instrument id
    asset_turns: Mapping[tuple[str, Dataset], Mapping[str, datetime]] = field(default_factory=dict)  # last fetched


def due_tasks(
    tasks: Sequence[Task], cadence: str, last_ok: Mapping[tuple[str, Dataset], datetime]
) -> list[tuple[Task, ...]]:
    """Return everything a cycle of `cadence` does, by stage.

    Lists that were never fetched are due in any cycle: without them nothing else can be planned.
    """
    stages: list[list[Task]] = [[] for _ in range(STAGE_COUNT)]
    for task in tasks:
        missing_list = task.dataset in LISTS and (task.source, task.dataset) not in last_ok
        if task.cadence == cadence or missing_list:
            stages[stage_of(task.dataset)].append(task)
    return [tuple(stage) for stage in stages]


def plan_jobs(task: Task, known: Known) -> list[Job]:
    """Return the jobs of one task; none when nothing is due."""
    return list(_PLANNERS[task.shape](task, known))


def plan_stage(tasks: Sequence[Task], known: Known) -> list[Job]:
    """Return the jobs of one stage, the tasks taking turns.

    Each endpoint of a provider can have a limit of its own. One task after the other would spend them one after the
    other: books and then candles of 250 OKX swaps take twice as long as both at once.
    """
    turns = zip_longest(*(plan_jobs(task, known) for task in tasks))
    return [job for turn in turns for job in turn if job is not None]


def _whole(task: Task, _: Known) -> Iterator[Job]:
    yield Job(source=task.source, dataset=task.dataset)


def _ranked(task: Task, _: Known) -> Iterator[Job]:
    yield Job(source=task.source, dataset=task.dataset, limit=task.top)


def _bulk(task: Task, known: Known) -> Iterator[Job]:
    instruments = tuple(known.instruments.get(task.source, ()))
    if instruments:
        yield Job(source=task.source, dataset=task.dataset, instruments=instruments)


def _each(task: Task, known: Known) -> Iterator[Job]:
    for instrument in known.followed.get(task.source, ()):
        if task.dataset is Dataset.CANDLES:
            yield from _candle_jobs(task, known, instrument)
        elif task.dataset is Dataset.FUNDING:
            since = known.last_fundings.get(instrument.id, known.now - task.lookback)
            yield Job(source=task.source, dataset=task.dataset, instruments=(instrument,), since=since, until=known.now)
        else:
            yield Job(source=task.source, dataset=task.dataset, instruments=(instrument,), limit=task.levels)


def _candle_jobs(task: Task, known: Known, instrument: Instrument) -> Iterator[Job]:
    for interval in task.intervals:
        newest = last_closed_open(known.now - SETTLE, interval)
        last = known.last_opens.get((instrument.id, interval))
        # The newest stored bar is read once more: the second reading proves it final, or shows that it changed.
        since = newest - (task.history - 1) * interval.width if last is None else last
        if last is None or last < newest:
            yield Job(
                source=task.source,
                dataset=task.dataset,
                instruments=(instrument,),
                interval=interval,
                since=since,
                until=newest + interval.width,
            )


def _each_asset(task: Task, known: Known) -> Iterator[Job]:
    turns = known.asset_turns.get((task.source, task.dataset), {})
    order = sorted(range(len(known.assets)), key=lambda index: (turns.get(known.assets[index], NEVER), index))
    for index in order[: task.assets]:
        for interval in task.intervals or (None,):
            yield Job(
                source=task.source,
                dataset=task.dataset,
                assets=(known.assets[index],),
                interval=interval,
                since=known.now - task.lookback,
                until=known.now,
            )


_PLANNERS = {
    Shape.WHOLE: _whole,
    Shape.RANKED: _ranked,
    Shape.BULK: _bulk,
    Shape.EACH: _each,
    Shape.EACH_ASSET: _each_asset,
}
