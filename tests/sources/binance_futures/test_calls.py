"""Binance futures: the calls a job makes through the real python-binance, what they weigh, and the laws of paging."""

import asyncio
import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.errors import PayloadError
from collector.records import (
    Answer,
    Dataset,
    Job,
)
from collector.sources.base import Cost
from collector.sources.binance_futures import BinanceFuturesCollector
from tests.sources.binance_futures.samples import (
    BTC,
    DATED,
    EIGHT_HOURS_MS,
    JOBS,
    MINUTE_MS,
    NOON,
    NOON_MS,
    RECEIVED,
    body,
    candle_job,
    job,
)

Respond = Callable[[str, dict[str, str]], bytes]


class Wire(requests.Session):
    """The transport under python-binance: it answers instead of sending, and keeps what was asked."""

    def __init__(self, respond: Respond) -> None:
        super().__init__()
        self.respond = respond
        self.asked: list[tuple[str, dict[str, str]]] = []

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        url = urlsplit(request.url or "")
        self.asked.append((url.path, dict(parse_qsl(url.query))))
        response = requests.Response()
        response.status_code, response._content = 200, self.respond(*self.asked[-1])
        return response


class RealSdk:
    """What the collector is handed: python-binance over `Wire`. Records the cost of every call."""

    def __init__(self, client: Any, respond: Respond, received_at: datetime = RECEIVED) -> None:
        self.client = client
        self.client.session = self.wire = Wire(respond)
        self.received_at = received_at
        self.costs: list[Cost] = []

    def call(self, use: Callable[[Any], object], cost: Cost) -> Answer:
        before = len(self.wire.asked)
        use(self.client)
        assert len(self.wire.asked) == before + 1, "a call makes exactly one request"
        self.costs.append(cost)
        return Answer(status=200, headers={}, body=self.client.response.content, received_at=self.received_at)

    @property
    def asked(self) -> list[tuple[str, dict[str, str]]]:
        return self.wire.asked

    @property
    def weight(self) -> int:
        return sum(cost.weight for cost in self.costs)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    loop = asyncio.new_event_loop()  # python-binance makes one that it never closes where there is none
    asyncio.set_event_loop(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports an old name of websockets
        sdk = importlib.import_module("binance.client")
    yield sdk.Client(ping=False)
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize(
    ("work", "name", "path", "params", "cost"),
    [
        (JOBS[Dataset.INSTRUMENTS], "instruments__normal", "/fapi/v1/exchangeInfo", {}, ("weight", 1)),
        (JOBS[Dataset.TICKERS], "tickers__normal", "/fapi/v1/ticker/24hr", {}, ("weight", 40)),
        (
            job(Dataset.TICKERS, BTC),
            "tickers__one_symbol",
            "/fapi/v1/ticker/24hr",
            {"symbol": "BTCUSDT"},
            ("weight", 1),
        ),
        (JOBS[Dataset.MARK_PRICES], "mark_prices__normal", "/fapi/v1/premiumIndex", {}, ("weight", 10)),
        (
            job(Dataset.MARK_PRICES, DATED),
            "mark_prices__normal",
            "/fapi/v1/premiumIndex",
            {"symbol": "BTCUSDT_260327"},
            ("weight", 1),
        ),
        (
            JOBS[Dataset.OPEN_INTEREST],
            "open_interest__normal",
            "/fapi/v1/openInterest",
            {"symbol": "BTCUSDT"},
            ("weight", 1),
        ),
        (JOBS[Dataset.FUNDING_TERMS], "funding_terms__normal", "/fapi/v1/fundingInfo", {}, ("funding", 1)),
        (
            JOBS[Dataset.FUNDING],
            "funding__normal",
            "/fapi/v1/fundingRate",
            {"symbol": "BTCUSDT", "limit": "1000"},
            ("funding", 1),
        ),
        (
            JOBS[Dataset.CANDLES],
            "candles__normal",
            "/fapi/v1/klines",
            {"symbol": "BTCUSDT", "interval": "1m", "limit": "99"},
            ("weight", 1),
        ),
    ],
)
def test_a_job_asks_the_documented_endpoint_for_its_documented_weight(client, work, name, path, params, cost):
    sdk = RealSdk(client, lambda *_: body(name))
    (page,) = BinanceFuturesCollector(sdk).fetch(work)
    assert sdk.asked == [(path, params)]
    assert [(item.scope, item.weight) for item in sdk.costs] == [cost]
    assert (page.job, page.status, page.body, page.received_at) == (work, 200, body(name), RECEIVED)


@pytest.mark.parametrize(
    ("levels", "limit", "weight"),
    [
        (1, "5", 2),
        (5, "5", 2),
        (6, "10", 2),
        (20, "20", 2),
        (21, "50", 2),
        (51, "100", 5),
        (101, "500", 10),
        (501, "1000", 20),
        (4000, "1000", 20),
        (None, "50", 2),
    ],
)
def test_a_book_asks_for_the_smallest_depth_that_holds_its_levels(client, levels, limit, weight):
    sdk = RealSdk(client, lambda *_: body("order_books__normal"))
    list(BinanceFuturesCollector(sdk).fetch(job(Dataset.ORDER_BOOKS, BTC, limit=levels)))
    assert sdk.asked == [("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": limit})]
    assert sdk.weight == weight


def test_a_dataset_that_the_venue_does_not_have_is_a_defect(client):
    with pytest.raises(ValueError, match="binance_futures has no listing"):
        list(BinanceFuturesCollector(RealSdk(client, lambda *_: b"[]")).fetch(job(Dataset.LISTING)))


class Klines:
    """The venue's side of one-minute klines: bars from `first` (ms) until the bar that runs at `now` (ms).

    Both times of a request are inclusive and mean the open time; too wide a range gives the oldest rows. `cap` is
    what the venue gives at most, whatever was asked; `absent` holds the bars that it never had.
    """

    def __init__(self, first: int, now: int, *, cap: int = 1500, absent: frozenset[int] = frozenset()) -> None:
        self.first, self.now, self.cap, self.absent = first, now, cap, absent

    def opens(self, start: int, end: int) -> list[int]:
        begin = max(self.first, -(-start // MINUTE_MS) * MINUTE_MS)
        return [at for at in range(begin, min(end, self.now) + 1, MINUTE_MS) if at not in self.absent]

    def __call__(self, _path: str, params: dict[str, str]) -> bytes:
        start, end = int(params["startTime"]), int(params.get("endTime", self.now))
        found = self.opens(start, end)[: min(int(params["limit"]), self.cap)]
        return json.dumps([self.row(at) for at in found]).encode()

    @staticmethod
    def row(at: int) -> list[object]:
        close = str(at // MINUTE_MS % 1000 + 1)
        return [at, "1", "1000", "1", close, "2", at + MINUTE_MS - 1, "3", 4, "1", "1.5", "0"]


def at(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def fetched_opens(client: Any, venue: Klines, work: Job) -> tuple[list[int], RealSdk]:
    sdk = RealSdk(client, venue, received_at=at(venue.now))
    pages = list(BinanceFuturesCollector(sdk).fetch(work))
    records = [record for page in pages for record in BinanceFuturesCollector.parsers[Dataset.CANDLES](page)]
    return [round(record.open_time.timestamp() * 1000) for record in records], sdk


@pytest.mark.parametrize(
    ("bars", "limits", "weight"),
    [
        (1, ["1"], 1),
        (99, ["99"], 1),
        (100, ["100"], 2),
        (499, ["499"], 2),
        (500, ["499", "1"], 3),
        (1440, ["499", "499", "442"], 6),  # one call of 1500 would weigh 10
    ],
)
def test_a_window_of_candles_costs_the_least_weight(client, bars, limits, weight):
    since = NOON_MS - bars * MINUTE_MS
    work = candle_job(since=at(since), until=NOON)
    opens, sdk = fetched_opens(client, Klines(since - 9 * MINUTE_MS, NOON_MS + 5_000), work)
    assert opens == list(range(since, NOON_MS, MINUTE_MS))  # until is exclusive: the bar of noon is not asked for
    assert [params["limit"] for _, params in sdk.asked] == limits
    assert sdk.weight == weight


def test_the_window_goes_out_in_milliseconds_with_an_inclusive_end(client):
    work = candle_job(since=NOON - timedelta(minutes=3), until=NOON)
    _, sdk = fetched_opens(client, Klines(0, NOON_MS + 5_000), work)
    (asked,) = [params for _, params in sdk.asked]
    assert (asked["startTime"], asked["endTime"]) == ("1772452620000", "1772452799999")


def test_a_window_that_ends_inside_a_bar_asks_for_that_bar_too(client):
    work = candle_job(since=NOON - timedelta(minutes=3), until=NOON - timedelta(seconds=30))
    opens, sdk = fetched_opens(client, Klines(0, NOON_MS), work)
    assert opens == [NOON_MS - 3 * MINUTE_MS, NOON_MS - 2 * MINUTE_MS, NOON_MS - MINUTE_MS]
    assert [params["limit"] for _, params in sdk.asked] == ["3"]


def test_nothing_is_asked_beyond_the_present(client):
    work = candle_job(since=NOON - timedelta(minutes=5), until=NOON + timedelta(minutes=5))
    opens, sdk = fetched_opens(client, Klines(0, NOON_MS + 5_000), work)
    assert len(opens) == 6  # the last one still runs
    assert len(sdk.asked) == 1


def test_an_empty_window_asks_nothing(client):
    opens, sdk = fetched_opens(client, Klines(0, NOON_MS), candle_job(since=NOON, until=NOON))
    assert (opens, sdk.asked) == ([], [])


def test_without_an_end_the_bars_go_up_to_the_one_that_runs(client):
    work = candle_job(since=NOON - timedelta(minutes=2))
    opens, sdk = fetched_opens(client, Klines(0, NOON_MS + 30_000), work)
    assert opens == [NOON_MS - 2 * MINUTE_MS, NOON_MS - MINUTE_MS, NOON_MS]
    assert len(sdk.asked) == 1


def test_a_page_shorter_than_asked_is_followed_by_the_next(client):
    since = NOON_MS - 30 * MINUTE_MS
    opens, sdk = fetched_opens(client, Klines(0, NOON_MS + 5_000, cap=7), candle_job(since=at(since), until=NOON))
    assert opens == list(range(since, NOON_MS, MINUTE_MS))
    assert [params["limit"] for _, params in sdk.asked] == ["30", "23", "16", "9", "2"]


def test_a_symbol_that_died_ends_the_paging_with_an_empty_page(client):
    def dead(path: str, params: dict[str, str]) -> bytes:
        return Klines(NOON_MS - 5 * MINUTE_MS, NOON_MS - 3 * MINUTE_MS)(path, params)

    sdk = RealSdk(client, dead, received_at=NOON)
    work = candle_job(since=NOON - timedelta(minutes=9), until=NOON)
    pages = list(BinanceFuturesCollector(sdk).fetch(work))
    assert [len(json.loads(page.body)) for page in pages] == [3, 0]


@pytest.mark.parametrize("minutes_before_noon", [60, 6])
def test_a_page_that_does_not_go_forward_is_an_error_and_not_an_endless_loop(client, minutes_before_noon):
    page = json.dumps([Klines.row(NOON_MS - minutes_before_noon * MINUTE_MS)]).encode()
    sdk = RealSdk(client, lambda *_: page, received_at=NOON)
    with pytest.raises(PayloadError, match="would never end"):
        list(BinanceFuturesCollector(sdk).fetch(candle_job(since=NOON - timedelta(minutes=5), until=NOON)))
    assert len(sdk.asked) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bars=st.integers(1, 700),
    listed=st.integers(0, 800),
    cap=st.integers(1, 1500).filter(lambda cap: cap > 20),
    absent=st.sets(st.integers(0, 700), max_size=30),
    beyond=st.integers(-5, 5),
)
def test_whatever_the_page_size_every_bar_of_the_window_comes_exactly_once(client, bars, listed, cap, absent, beyond):
    since, until = NOON_MS - bars * MINUTE_MS, NOON_MS + beyond * MINUTE_MS
    gaps = frozenset(since + number * MINUTE_MS for number in absent)
    venue = Klines(NOON_MS - listed * MINUTE_MS, NOON_MS + 30_000, cap=cap, absent=gaps)
    opens, sdk = fetched_opens(client, venue, candle_job(since=at(since), until=at(until)))
    assert opens == venue.opens(since, until - 1)
    assert len(sdk.asked) <= bars // min(cap, 499) + 2


def test_the_same_window_fetched_twice_gives_the_same_records(client):
    work = candle_job(since=NOON - timedelta(minutes=600), until=NOON)
    results = []
    for cap in (1500, 100):  # the second time the venue gives smaller pages
        sdk = RealSdk(client, Klines(0, NOON_MS + 5_000, cap=cap), received_at=NOON + timedelta(seconds=5))
        pages = BinanceFuturesCollector(sdk).fetch(work)
        results.append([record for page in pages for record in BinanceFuturesCollector.parsers[Dataset.CANDLES](page)])
    assert len(results[0]) == 600
    assert results[0] == results[1]


class Settlements:
    """The venue's side of funding history: one settlement every eight hours until `now`, 7 ms late."""

    def __init__(self, now: int, *, cap: int = 1000) -> None:
        self.now, self.cap = now, cap

    def times(self, start: int, end: int) -> list[int]:
        first = -(-(start - 7) // EIGHT_HOURS_MS) * EIGHT_HOURS_MS + 7
        return list(range(first, min(end, self.now) + 1, EIGHT_HOURS_MS))

    def __call__(self, _path: str, params: dict[str, str]) -> bytes:
        found = self.times(int(params["startTime"]), int(params.get("endTime", self.now)))
        return json.dumps([self.row(at) for at in found[: min(int(params["limit"]), self.cap)]]).encode()

    @staticmethod
    def row(at: int) -> dict[str, object]:
        return {"symbol": "BTCUSDT", "fundingTime": at, "fundingRate": "0.0001", "markPrice": "1"}


def funding_times(client: Any, venue: Settlements, **window: datetime) -> tuple[list[int], RealSdk]:
    sdk = RealSdk(client, venue, received_at=at(venue.now))
    pages = list(BinanceFuturesCollector(sdk).fetch(job(Dataset.FUNDING, BTC, **window)))
    records = [record for page in pages for record in BinanceFuturesCollector.parsers[Dataset.FUNDING](page)]
    return [round(record.funding_time.timestamp() * 1000) for record in records], sdk


@pytest.mark.parametrize(("cap", "calls"), [(1000, 4), (500, 6), (100, 22)])  # 190 rows could be a cut page, 90 not
def test_funding_history_is_paged_by_what_came_back(client, cap, calls):
    venue = Settlements(NOON_MS, cap=cap)
    since = NOON_MS - 730 * 86_400_000  # two years of three settlements a day
    times, sdk = funding_times(client, venue, since=at(since), until=NOON)
    assert times == venue.times(since, NOON_MS)
    assert len(times) == 2190
    assert len(sdk.asked) == calls
    assert {params["limit"] for _, params in sdk.asked} == {"1000"}
    assert sdk.asked[1][1]["startTime"] == str(times[cap - 1] + 1)
    assert {cost.scope for cost in sdk.costs} == {"funding"}


def test_a_short_page_of_funding_needs_no_second_call(client):
    times, sdk = funding_times(client, Settlements(NOON_MS), since=NOON - timedelta(days=7))
    assert len(times) == 21
    assert len(sdk.asked) == 1
    assert "endTime" not in sdk.asked[0][1]
