"""20 000 damaged answers of each source: a parser gives records, rejects or PayloadError; nothing impossible is kept.

The bodies are every source's payload files and, where they are, the recordings of the real provider. SEED_OF_MUTATIONS
in the environment gives other changes.
"""

import os
import random
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from collector import validate
from collector.clock import SystemClock
from collector.errors import PayloadError
from collector.records import (
    Batch,
    Candle,
    Dataset,
    FundingForecast,
    FundingRate,
    InstrumentListing,
    Interval,
    Job,
    MarketSnapshot,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Payload,
    Record,
    Reject,
    Ticker,
)
from collector.sources import SOURCES
from collector.sources.base import Shape
from tests.faults.mutations import mutated

MUTATIONS = 20_000  # of each source
SEED = int(os.environ.get("SEED_OF_MUTATIONS", "20260131"))
RECEIVED = datetime(2026, 7, 10, 12, tzinfo=UTC)
PAYLOADS = Path(__file__).parents[1] / "payloads"
RECORDINGS = Path(
    os.environ.get("RECORDED_PAYLOADS") or Path(__file__).parents[2] / ".." / "shared" / "payloads"
).resolve()
FOLDERS = {"binance_futures": "binance", "binance_spot": "binance"}  # the others are named like the source
LARGE = 30_000  # bytes; a larger body is taken once in fifty times
SLOWEST_MS_PER_KB = 5.0
CLOCK = SystemClock()

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Good:
    """A body that its source understands, and the job that it answers."""

    job: Job
    body: bytes


def parse(kind, job, body):
    return list(kind.parsers[job.dataset](Payload(job=job, status=200, body=body, received_at=RECEIVED)))


def listed(name, kind):
    """Return the instruments and asset ids in the payload files of a source."""
    instruments, assets = {}, []
    for dataset in (Dataset.INSTRUMENTS, Dataset.LISTING):
        if dataset in kind.parsers:
            file = PAYLOADS / name / f"{dataset}__normal.json"
            for item in parse(kind, Job(source=name, dataset=dataset), file.read_bytes()):
                if isinstance(item, InstrumentListing):
                    instruments[item.instrument.venue_symbol] = item.instrument
                elif isinstance(item, Record):
                    assets.append(item.asset_id)
    return list(instruments.values()), assets or ["bitcoin"]


def jobs_for(name, kind, dataset, body, known):
    """Yield the jobs that a body could answer: about what is named in it, or else about the first of all."""
    instruments, assets = known
    named = [item for item in instruments if item.venue_symbol.encode() in body] or instruments
    shape = kind.shapes[dataset]
    facts = {"source": name, "dataset": dataset}
    if shape is Shape.BULK:
        facts["instruments"] = tuple(named)
    elif shape is Shape.EACH:
        facts["instruments"] = tuple(named[:1])
    elif shape is Shape.EACH_ASSET:
        facts["assets"] = (next((asset for asset in assets if asset.encode() in body), assets[0]),)
    yield from (Job(**facts, interval=length) for length in (kind.intervals if dataset is Dataset.CANDLES else (None,)))


def understood(name, kind, datasets, body, known):
    """Return what the body is a good answer to; at most one job of each dataset."""
    found = []
    for dataset in datasets:
        for job in jobs_for(name, kind, dataset, body, known):
            try:
                if any(isinstance(item, Record) for item in parse(kind, job, body)):
                    found.append(Good(job, body))
                    break
            except PayloadError:
                continue
    return found


def corpus(name, kind):
    known = listed(name, kind)
    found = []
    for file in sorted((PAYLOADS / name).iterdir()):
        dataset = file.name.partition("__")[0]
        if dataset in set(kind.parsers):
            found += understood(name, kind, [Dataset(dataset)], file.read_bytes(), known)
    recorded = RECORDINGS / FOLDERS.get(name, name)
    if recorded.is_dir():
        for file in sorted(recorded.glob("*.json")):
            found += understood(name, kind, kind.parsers, file.read_bytes(), known)
    return found


def believed(job, items):
    """Return the records that would be stored."""
    batch = Batch(
        job=job,
        records=tuple(item for item in items if isinstance(item, Record)),
        rejects=tuple(item for item in items if isinstance(item, Reject)),
    )
    return validate.check(batch, now=RECEIVED).records


def impossible(record):
    """Return why a record cannot be true; "" when it can."""
    for item in fields(record):
        value = getattr(record, item.name)
        if isinstance(value, Decimal) and not value.is_finite():
            return f"{item.name} is {value}"
        if isinstance(value, datetime) and value.utcoffset() != timedelta(0):
            return f"{item.name} is not UTC"
    return RULES.get(type(record), lambda _: "")(record)


def candle(bar):
    ordered = 0 < bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high
    over = bar.open_time + bar.interval.width <= RECEIVED + timedelta(minutes=10)
    amounts = (bar.volume, bar.quote_volume, bar.taker_buy_volume, bar.trades)
    return "" if ordered and over and bar.closed and least(amounts) >= 0 else "an impossible bar"


def book(item):
    bids, asks = [price for price, _ in item.bids], [price for price, _ in item.asks]
    sizes = [size for _, size in (*item.bids, *item.asks)]
    sorted_ = bids == sorted(bids, reverse=True) and asks == sorted(asks)
    crossed = bool(bids and asks) and bids[0] >= asks[0]
    return "" if sorted_ and not crossed and least([*sizes, *bids, *asks]) >= 0 else "an impossible book"


def least(values):
    return min((value for value in values if value is not None), default=0)


def positive(*names):
    def rule(record):
        wrong = [name for name in names if getattr(record, name) is not None and getattr(record, name) <= 0]
        return f"{wrong} not positive" if wrong else ""

    return rule


RULES = {
    Candle: candle,
    OrderBook: book,
    Ticker: positive("last_price", "bid_price", "ask_price"),
    MarkPrice: positive("mark_price", "index_price"),
    MarketSnapshot: positive("price_usd", "rank"),
    OpenInterest: lambda item: "" if least((item.open_interest, item.contracts, item.value_usd)) >= 0 else "negative",
    FundingRate: lambda item: "" if abs(item.rate) <= 1 else "more than everything",
    FundingForecast: lambda item: "" if abs(item.rate) <= 1 else "more than everything",
}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_damaged_answer_raises_anything_but_payload_error_or_leaves_an_impossible_row(name):
    kind, chance = SOURCES[name], random.Random(f"{SEED} {name}")
    good = corpus(name, kind)
    assert {item.job.dataset for item in good} == set(kind.parsers), "every dataset has a good answer"
    small, refused, kept = [item for item in good if len(item.body) <= LARGE], 0, 0
    took_s, size = 0.0, 0
    for number in range(MUTATIONS):
        item = chance.choice(good if number % 50 == 0 else small)
        body = mutated(item.body, chance)
        began = CLOCK.monotonic()
        try:
            items = parse(kind, item.job, body)
        except PayloadError:
            refused += 1
            continue
        finally:
            took_s, size = took_s + CLOCK.monotonic() - began, size + len(body)
        assert all(isinstance(one, Record | Reject) for one in items)
        for record in believed(item.job, items):
            kept += 1
            assert impossible(record) == "", f"mutation {number} of seed {SEED}: {record}"
    assert refused > 100
    assert kept > 1000
    assert took_s * 1000 / (size / 1000) < SLOWEST_MS_PER_KB


def test_the_intervals_that_a_source_offers_are_known():
    assert {length for kind in SOURCES.values() for length in kind.intervals} <= set(Interval)
