"""Laws of paging, for every source of candles: what is stored is what the provider has, and every gap is known.

The providers here are small models that answer in the providers' own shape: forward with both ends inclusive (Binance),
backward with an exclusive cursor (OKX), with pages shorter than asked for and with stretches where nothing traded that
are longer than a page.
"""

import itertools
import json
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.clock import to_millis
from collector.coverage import HELD, findings, settle
from collector.records import Answer, Dataset, Instrument, Interval, Job, Kind
from collector.sources.binance_futures import BinanceFuturesCollector
from collector.sources.okx import OkxCollector
from tests.storage.samples import NOON

MINUTE_MS = 60_000
LONGEST = 700  # bars of a job: more than two pages of either


def at(minute):
    return NOON + timedelta(minutes=minute)


class Model:
    """A provider that holds the bars of these minutes and gives pages of random lengths."""

    def __init__(self, minutes, lengths):
        self.opens = sorted(to_millis(at(minute)) for minute in minutes)
        self._lengths = itertools.cycle(lengths or [10_000])
        self.calls = 0

    def page(self, limit):
        """Return how long the next page is: at least one bar, as an empty page means the end everywhere."""
        self.calls += 1
        return max(1, min(int(limit), next(self._lengths)))

    def answer(self, document):
        body = json.dumps(document).encode()
        return Answer(status=200, headers={}, body=body, received_at=at(LONGEST * 2))


class OkxModel(Model):
    """Newest first, `after` exclusive; the endpoint of the present reaches back only so far."""

    reach = 350

    def get(self, path, params, _cost):
        before = int(params.get("after", 1 << 62))
        known = self.opens[-self.reach :] if path == "/api/v5/market/candles" else self.opens
        found = [opened for opened in known if opened < before]
        page = found[::-1][: self.page(params["limit"])]
        rows = [[str(opened), "1", "2", "1", "2", "3", "3", "3", "1"] for opened in page]
        return self.answer({"code": "0", "msg": "", "data": rows})


class BinanceModel(Model):
    """Oldest first, both ends inclusive."""

    def call(self, use, _cost):
        use(self)
        return self._given

    def futures_klines(self, *, startTime, endTime, limit, **_):  # noqa: N803 - the provider's spelling
        found = [opened for opened in self.opens if startTime <= opened <= endTime]
        page = found[: self.page(limit)]
        rows = [[o, "1", "2", "1", "2", "3", o + MINUTE_MS - 1, "3", 1, "1", "1", "0"] for o in page]
        self._given = self.answer(rows)


def fetched(collector, job):
    """Return the minutes that a job brings, in the order in which they come."""
    records = [record for page in collector.fetch(job) for record in collector.parsers[Dataset.CANDLES](page)]
    assert all(record.closed for record in records)
    return [(record.open_time - NOON) // timedelta(minutes=1) for record in records]


MODELS = [("okx", OkxCollector, OkxModel), ("binance_futures", BinanceFuturesCollector, BinanceModel)]
RANGES = st.tuples(st.integers(0, 60), st.integers(1, LONGEST))


@st.composite
def markets(draw):
    """Return the minutes with a bar: all but single ones and long stretches without trades."""
    minutes = set(range(LONGEST + 100))
    for start, length in draw(st.lists(st.tuples(st.integers(0, LONGEST), st.integers(1, 400)), max_size=3)):
        minutes -= set(range(start, start + length))
    return minutes - draw(st.sets(st.integers(0, LONGEST + 100), max_size=5))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(MODELS), markets(), st.lists(st.integers(50, 600), max_size=4), RANGES)
def test_whatever_the_pages_look_like_every_bar_comes_once_and_every_gap_is_known(kind, minutes, lengths, span):
    name, collector_class, model_class = kind
    first, last = span[0], span[0] + span[1]
    symbol = Instrument(venue=name, base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTC")
    job = Job(
        source=name,
        dataset=Dataset.CANDLES,
        instruments=(symbol,),
        interval=Interval.M1,
        since=at(first),
        until=at(last),
    )
    came = fetched(collector_class(model_class(minutes, lengths)), job)
    truth = sorted(minute for minute in minutes if first <= minute < last)
    inside = [minute for minute in came if first <= minute < last]
    assert sorted(set(inside)) == truth
    told = findings(job, [at(minute) for minute in came], state="ok")
    windows = settle([], told, at(LONGEST * 2), held_before=True)
    held = {minute for window in windows if window.state in HELD for minute in minutes_of(window)}
    missing = {minute for window in windows if window.state not in HELD for minute in minutes_of(window)}
    assert held == set(came)  # the oldest page of a backward reader begins before the range
    assert missing == set(range(first, last)) - set(truth)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(MODELS), markets(), st.lists(st.integers(50, 600), min_size=1, max_size=4))
def test_the_same_window_through_other_pages_is_the_same_data(kind, minutes, lengths):
    name, collector_class, model_class = kind
    symbol = Instrument(venue=name, base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTC")
    job = Job(
        source=name,
        dataset=Dataset.CANDLES,
        instruments=(symbol,),
        interval=Interval.M1,
        since=at(0),
        until=at(LONGEST),
    )
    short, whole = collector_class(model_class(minutes, lengths)), collector_class(model_class(minutes, []))
    assert {m for m in fetched(short, job) if 0 <= m < LONGEST} == {m for m in fetched(whole, job) if 0 <= m < LONGEST}


def minutes_of(window):
    start = (window.since - NOON) // timedelta(minutes=1)
    return range(start, start + (window.until - window.since) // timedelta(minutes=1))
