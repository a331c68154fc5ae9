"""What a source says that a job costs is what the simulator counts when the job is really fetched.

The schedule's proof, the budgets of healing and the quota believe `calls`. For every dataset of every source the
requests are counted at the far side, with the weights the simulator's own tables give them: never more than told, and
for the jobs of an ordinary cycle just as many.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from collector import providers
from collector.clock import ManualClock, to_millis
from collector.config import Layer, load_settings
from collector.demo import addresses_layer
from collector.plan import Known, plan_jobs
from collector.records import Dataset, Instrument, Interval, Job, Kind
from collector.simulator import Simulator
from collector.simulator.binance_spot import weight_of
from collector.simulator.limits import COINCAP_CREDIT_BYTES, binance_weight
from collector.sources import SOURCES
from collector.sources.base import Shape

NOW = datetime(2026, 3, 11, 14, 37, 42, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ROOMY = {"capacity": 1_000_000, "window": "1m"}  # the two with few calls: no case is to wait for another
SETTINGS = {
    "coincap": {"enabled": True, "api_key": "a-key", "limits": {"credits": ROOMY}},
    "coingecko": {"limits": {"calls": ROOMY}},
}
ASSETS = ("bitcoin", "ethereum")
# Two symbols of the simulated market at each venue; the aggregators have none.
SYMBOLS = {
    "binance_futures": ("BTCUSDT", "ETHUSDT"),
    "binance_spot": ("BTCUSDT", "ETHUSDT"),
    "okx": ("BTC-USDT-SWAP", "ETH-USDT-SWAP"),
    "kraken": ("XXBTZUSD", "XETHZUSD"),
}
# A limit of its own for each endpoint at OKX, as its documentation names them.
OKX_SCOPES = {
    "/api/v5/public/instruments": "instruments",
    "/api/v5/market/tickers": "tickers",
    "/api/v5/public/mark-price": "mark_price",
    "/api/v5/public/funding-rate": "funding_rate",
    "/api/v5/public/funding-rate-history": "funding_history",
    "/api/v5/public/open-interest": "open_interest",
    "/api/v5/market/candles": "candles",
    "/api/v5/market/history-candles": "history_candles",
    "/api/v5/market/books": "books",
}
FUNDING_PATHS = ("/fapi/v1/fundingRate", "/fapi/v1/fundingInfo")


@dataclass
class Meter:
    """Counts, at the simulator, what each answered request takes from which limit; refuses nothing."""

    requests: int = 0
    paths: Counter = field(default_factory=Counter)
    weights: Counter = field(default_factory=Counter)

    def before(self, *_):
        return None

    def after(self, venue, path, request, response):
        assert response.status == 200, (path, request.query, response.body[:200])
        scope, weight = cost_at_the_far_side(venue, path, request.query, len(response.body))
        self.requests += 1
        self.paths[path] += 1
        self.weights[scope] += weight
        return response


def cost_at_the_far_side(venue, path, query, size):
    """Return scope and weight of a request by the venue's documents."""
    if venue == "binance_futures":
        return ("funding", 1) if path in FUNDING_PATHS else ("weight", binance_weight(path, query))
    if venue == "binance_spot":
        return "weight", weight_of(path, query)
    if venue == "okx":
        return OKX_SCOPES[path], 1
    if venue == "coincap":
        return "credits", 1 + -(-size // COINCAP_CREDIT_BYTES)
    return "calls", 1


@pytest.fixture(scope="module")
def stage():
    """A simulated market, and every registered source built against it."""
    meter, clock = Meter(), ManualClock(NOW)
    simulator = Simulator(seed=7, assets=300, limits=False, now_ms=lambda: to_millis(clock.now()), interceptor=meter)
    with simulator:
        layers = [Layer("test", {"sources": SETTINGS}), addresses_layer(simulator.base_urls)]
        settings, _ = load_settings(environment={}, overrides=layers)
        sources = {name: providers.build_source(name, settings, clock) for name in SOURCES}
        yield sources, meter, {(task.source, task.dataset): task for task in every_task(settings)}
        for source in sources.values():
            providers.close_source(source)


def every_task(settings):
    """Return the tasks of every dataset of every source, switched on or not."""
    parts = {}
    for name, part in settings.sources.items():
        datasets = {key: choice.model_copy(update={"enabled": True}) for key, choice in part.datasets.items()}
        parts[name] = part.model_copy(update={"enabled": True, "datasets": datasets})
    return providers.build_tasks(settings.model_copy(update={"sources": parts}))


def instruments(source, count=2):
    kind = Kind.PERP if source in ("binance_futures", "okx") else Kind.SPOT
    return tuple(
        Instrument(venue=source, base=symbol[:3], quote="USDT", kind=kind, venue_symbol=symbol)
        for symbol in SYMBOLS.get(source, ())[:count]
    )


def counted(stage, job):
    """Fetch a job; return requests and weights as told and as counted at the far side."""
    sources, meter, _ = stage
    meter.requests, meter.paths, meter.weights = 0, Counter(), Counter()
    payloads = list(sources[job.source].collector.fetch(job))
    assert len(payloads) == meter.requests
    told = Counter()
    costs = list(SOURCES[job.source].calls(job))
    for cost in costs:
        told[cost.scope] += cost.weight
    return len(costs), told, meter.requests, meter.weights


EVERY_DATASET = [(name, dataset) for name, source in SOURCES.items() for dataset in source.shapes]


def steady_jobs(stage, source, dataset):
    """Return the planner's jobs in a cycle of 5 minutes that has run for long: five bars and an hour of funding."""
    task = stage[2][source, dataset]
    followed = instruments(source)
    opens = {
        (item.id, interval): NOW.replace(second=0) - 6 * MINUTE if interval is Interval.M1 else NOW - 2 * interval.width
        for item in followed
        for interval in task.intervals
    }
    opens = {key: EPOCH + (opened - EPOCH) // key[1].width * key[1].width for key, opened in opens.items()}
    known = Known(
        now=NOW,
        instruments={source: followed},
        followed={source: followed},
        assets=ASSETS,
        last_opens=opens,
        last_fundings={item.id: NOW - 8 * HOUR for item in followed},
    )
    return plan_jobs(task, known)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Told one too many at most: a further page that only an answer could have ruled out, or bytes not known beforehand.
LOOSE = {("okx", Dataset.FUNDING), ("coincap", Dataset.LISTING), ("coincap", Dataset.MARKETS)}


@pytest.mark.parametrize(("source", "dataset"), EVERY_DATASET)
def test_the_jobs_of_an_ordinary_cycle_make_just_the_requests_that_calls_tells(stage, source, dataset):
    jobs = steady_jobs(stage, source, dataset)
    assert jobs
    for job in jobs:
        told_calls, told, requests, weights = counted(stage, job)
        if (source, dataset) in LOOSE:
            assert requests <= told_calls
            assert weights <= told
        else:
            assert (told_calls, told) == (requests, weights)


BULK = [
    (name, dataset)
    for name, dataset in EVERY_DATASET
    if SOURCES[name].shapes[dataset] is Shape.BULK and SYMBOLS.get(name)
]


@pytest.mark.parametrize(("source", "dataset"), BULK)
@pytest.mark.parametrize("count", [1, 2])
def test_a_bulk_job_costs_what_is_told_for_one_instrument_and_for_many(stage, source, dataset, count):
    told_calls, told, requests, weights = counted(
        stage, Job(source=source, dataset=dataset, instruments=instruments(source, count))
    )
    assert (told_calls, told) == (requests, weights)


@pytest.mark.parametrize("levels", [None, 1, 20, 50, 100])
@pytest.mark.parametrize("source", [name for name, dataset in EVERY_DATASET if dataset is Dataset.ORDER_BOOKS])
def test_a_book_costs_what_is_told_at_every_depth(stage, source, levels):
    job = Job(source=source, dataset=Dataset.ORDER_BOOKS, instruments=instruments(source, 1), limit=levels)
    told_calls, told, requests, weights = counted(stage, job)
    assert (told_calls, told) == (requests, weights)


@pytest.mark.parametrize("count", [1, 99, 100, 101, 299, 300, 301, 499, 500, 999, 1000, 1001, 1440, 1441, 2500])
@pytest.mark.parametrize("source", [name for name, dataset in EVERY_DATASET if dataset is Dataset.CANDLES])
def test_a_window_of_bars_never_costs_more_than_told_whatever_its_length(stage, source, count):
    interval = Interval.M1 if Interval.M1 in SOURCES[source].intervals else SOURCES[source].intervals[0]
    until = EPOCH + (NOW - EPOCH) // interval.width * interval.width
    subject = {"instruments": instruments(source, 1)} if source in SYMBOLS else {"assets": ASSETS[:1]}
    window = {"interval": interval, "since": until - count * interval.width, "until": until}
    told_calls, told, requests, weights = counted(
        stage, Job(source=source, dataset=Dataset.CANDLES, **subject, **window)
    )
    assert requests <= told_calls
    assert weights <= told


@pytest.mark.parametrize("days", [1, 7, 30, 90])
@pytest.mark.parametrize("source", [name for name, dataset in EVERY_DATASET if dataset is Dataset.FUNDING])
def test_a_window_of_funding_never_costs_more_than_told_whatever_its_length(stage, source, days):
    window = {"since": NOW - days * DAY, "until": NOW}
    job = Job(source=source, dataset=Dataset.FUNDING, instruments=instruments(source, 1), **window)
    told_calls, told, requests, weights = counted(stage, job)
    assert requests <= told_calls
    assert weights <= told


@pytest.mark.parametrize("top", [1, 50, 249, 250, 251, 300, 1000])
@pytest.mark.parametrize("source", ["coingecko", "coincap"])
def test_ranks_never_cost_more_than_told_whatever_their_number(stage, source, top):
    told_calls, told, requests, weights = counted(stage, Job(source=source, dataset=Dataset.MARKETS, limit=top))
    assert requests <= told_calls
    assert weights <= told


@pytest.mark.parametrize("source", [name for name, dataset in EVERY_DATASET if dataset is Dataset.CANDLES])
def test_bars_without_a_window_never_cost_more_than_told(stage, source):
    subject = {"instruments": instruments(source, 1)} if source in SYMBOLS else {"assets": ASSETS[:1]}
    job = Job(source=source, dataset=Dataset.CANDLES, interval=SOURCES[source].intervals[0], **subject)
    told_calls, told, requests, weights = counted(stage, job)
    assert requests <= told_calls
    assert weights <= told
