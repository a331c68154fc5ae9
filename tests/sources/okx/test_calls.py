"""What is asked of OKX: one call where one is enough, pages where not, against a venue with the documented cursors."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.clock import to_millis
from collector.errors import PayloadError, VenueUnreachable
from collector.records import Answer, Dataset, Interval, Job
from collector.sources.base import Cost
from collector.sources.okx import LIMITS, OkxCollector
from tests.sources.okx.samples import answer, job_for

NOW = datetime(2025, 10, 9, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Recorder:
    """Answers every call with an empty list and remembers what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str | int], Cost]] = []

    def get(self, path: str, params: Mapping[str, str | int], cost: Cost) -> Answer:
        self.calls.append((path, dict(params), cost))
        return answer('{"code":"0","msg":"","data":[]}')


def calls_of(job: Job) -> list[tuple[str, dict[str, str | int], Cost]]:
    http = Recorder()
    for item in OkxCollector(http).fetch(job):
        assert item.job is job
    return http.calls


@pytest.mark.parametrize(
    ("dataset", "path", "params", "scope"),
    [
        (Dataset.INSTRUMENTS, "/api/v5/public/instruments", {"instType": "SWAP"}, "instruments"),
        (Dataset.TICKERS, "/api/v5/market/tickers", {"instType": "SWAP"}, "tickers"),
        (Dataset.MARK_PRICES, "/api/v5/public/mark-price", {"instType": "SWAP"}, "mark_price"),
        (Dataset.OPEN_INTEREST, "/api/v5/public/open-interest", {"instType": "SWAP"}, "open_interest"),
        (Dataset.FUNDING_FORECASTS, "/api/v5/public/funding-rate", {"instId": "ANY"}, "funding_rate"),
        (Dataset.ORDER_BOOKS, "/api/v5/market/books", {"instId": "AAA-USDT-SWAP", "sz": 400}, "books"),
    ],
)
def test_one_call_is_made_where_one_is_enough(
    dataset: Dataset, path: str, params: dict[str, str | int], scope: str
) -> None:
    assert calls_of(job_for(dataset)) == [(path, params, Cost(scope=scope, weight=1))]


@pytest.mark.parametrize(("limit", "levels"), [(50, 50), (400, 400), (5000, 400)])
def test_book_levels_are_asked_for_up_to_what_the_venue_gives(limit: int, levels: int) -> None:
    assert calls_of(job_for(Dataset.ORDER_BOOKS, limit=limit))[0][1]["sz"] == levels


def test_every_call_costs_a_scope_that_has_a_limit_and_no_header_tells_what_is_used() -> None:
    scopes = {limit.scope: limit.capacity for limit in LIMITS}
    since = datetime(2025, 10, 9, 0, 0, tzinfo=UTC)
    asked = {call[2].scope for dataset in OkxCollector.shapes for call in calls_of(job_for(dataset, since=since))}
    assert asked == set(scopes)
    assert {limit.window for limit in LIMITS} == {timedelta(seconds=2)}
    assert (scopes["candles"], scopes["history_candles"], scopes["books"], scopes["mark_price"]) == (40, 20, 40, 10)
    assert OkxCollector.plans["public"].limits == LIMITS
    assert OkxCollector.used_weight(answer("{}", 200, {"x-used": "1"})) == {}


@pytest.mark.parametrize(
    ("interval", "bar"),
    [
        (Interval.M1, "1m"),
        (Interval.M5, "5m"),
        (Interval.M15, "15m"),
        (Interval.H1, "1H"),
        (Interval.H4, "4H"),
        (Interval.D1, "1Dutc"),
        (Interval.W1, "1Wutc"),
    ],
)
def test_bars_are_spelled_so_that_they_open_on_the_utc_grid(interval: Interval, bar: str) -> None:
    assert calls_of(job_for(Dataset.CANDLES, interval=interval))[0][1]["bar"] == bar


class Venue:
    """Serves rows by the documented cursor rules: newest first, both cursors exclusive, pages cut at will."""

    def __init__(self, times: list[datetime], *, recent: int = 10**6, cuts: tuple[int, ...] = (400,)) -> None:
        self.times = sorted(times, reverse=True)
        self.recent = recent  # rows that /market/candles reaches
        self.cuts = cuts  # most rows of the first, second ... answer, over and over
        self.calls: list[tuple[str, dict[str, str | int]]] = []

    def get(self, path: str, params: Mapping[str, str | int], cost: Cost) -> Answer:
        most = min(int(params["limit"]), self.cuts[len(self.calls) % len(self.cuts)])
        self.calls.append((path, dict(params)))
        times = self.times[: self.recent] if path == "/api/v5/market/candles" else self.times
        after = int(params.get("after", 10**15))
        page = [moment for moment in times if to_millis(moment) < after][:most]
        render = self.funding if cost.scope == "funding_history" else self.bar
        return answer(json.dumps({"code": "0", "msg": "", "data": [render(moment) for moment in page]}))

    @staticmethod
    def bar(moment: datetime) -> list[str]:
        return [str(to_millis(moment)), "1", "1", "1", "1", "10", "1", "1", "1"]

    @staticmethod
    def funding(moment: datetime) -> dict[str, str]:
        time_ms = str(to_millis(moment))
        return {"instId": "AAA-USDT-SWAP", "fundingRate": "0", "realizedRate": "0.1", "fundingTime": time_ms}


def collect(venue: Any, job: Job) -> list[Any]:
    collector = OkxCollector(venue)
    return [item for page in collector.fetch(job) for item in collector.parsers[job.dataset](page)]


def opens(items: list[Any], since: datetime, until: datetime) -> list[datetime]:
    return [item.open_time for item in items if since <= item.open_time < until]


def test_a_window_near_the_present_is_read_from_recent_candles_only() -> None:
    venue = Venue([NOW - MINUTE * n for n in range(2000)], recent=1440)
    since = NOW - MINUTE * 500
    items = collect(venue, job_for(Dataset.CANDLES, since=since, until=NOW))
    assert [item.open_time for item in items] == [since + MINUTE * n for n in range(500)]
    newest, oldest = to_millis(NOW), to_millis(NOW - MINUTE * 300)
    common = {"instId": "AAA-USDT-SWAP", "bar": "1m"}
    assert venue.calls == [
        ("/api/v5/market/candles", {**common, "limit": 300, "after": newest}),
        ("/api/v5/market/candles", {**common, "limit": 200, "after": oldest}),
    ]


def test_a_window_that_is_older_than_recent_candles_goes_on_in_the_history() -> None:
    venue = Venue([NOW - MINUTE * n for n in range(2000)], recent=1440)
    until = NOW - MINUTE * 1600
    items = collect(venue, job_for(Dataset.CANDLES, since=until - MINUTE * 100, until=until))
    assert [item.open_time for item in items] == [until - MINUTE * n for n in range(100, 0, -1)]
    assert [path.rsplit("/", 1)[1] for path, _ in venue.calls] == ["candles", "history-candles"]


def test_a_window_across_the_reach_of_recent_candles_is_whole() -> None:
    venue = Venue([NOW - MINUTE * n for n in range(2000)], recent=1440)
    since = NOW - MINUTE * 1800
    items = collect(venue, job_for(Dataset.CANDLES, since=since, until=NOW))
    assert [item.open_time for item in items] == [since + MINUTE * n for n in range(1800)]


def test_bars_before_the_listing_end_the_reading_and_lose_nothing() -> None:
    venue = Venue([NOW - MINUTE * n for n in range(1, 4)])
    items = collect(venue, job_for(Dataset.CANDLES, since=NOW - timedelta(days=300), until=NOW))
    assert [item.open_time for item in items] == [NOW - MINUTE * 3, NOW - MINUTE * 2, NOW - MINUTE]
    assert len(venue.calls) == 3  # the three bars, then the empty end of each endpoint


def test_without_a_start_candles_are_read_as_far_as_recent_ones_reach() -> None:
    venue = Venue([NOW - MINUTE * n for n in range(900)], recent=700)
    assert len(collect(venue, job_for(Dataset.CANDLES))) == 700
    assert {path for path, _ in venue.calls} == {"/api/v5/market/candles"}


def test_an_empty_window_costs_no_call() -> None:
    venue = Venue([NOW - MINUTE])
    assert collect(venue, job_for(Dataset.CANDLES, since=NOW, until=NOW)) == []
    assert venue.calls == []


def test_a_start_between_two_bars_begins_at_the_next_one() -> None:
    venue = Venue([NOW - MINUTE * n for n in range(10)])
    items = collect(venue, job_for(Dataset.CANDLES, since=NOW - MINUTE * 2.5, until=NOW))
    assert [item.open_time for item in items] == [NOW - MINUTE * 2, NOW - MINUTE]
    assert [params["limit"] for _, params in venue.calls] == [2]


def test_a_fraction_of_a_millisecond_in_the_window_loses_no_bar() -> None:
    venue = Venue([NOW, NOW - MINUTE])
    until = NOW + timedelta(microseconds=500)
    items = collect(venue, job_for(Dataset.CANDLES, since=NOW - MINUTE, until=until))
    assert [item.open_time for item in items] == [NOW - MINUTE, NOW]


@settings(max_examples=150, deadline=None)
@given(
    bars=st.sets(st.integers(1, 900), max_size=200),
    first=st.integers(0, 1000),
    length=st.integers(0, 1000),
    recent=st.integers(0, 150),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_paging_over_any_bars_and_short_pages_loses_none_and_ends(
    bars: set[int], first: int, length: int, recent: int, cuts: list[int]
) -> None:
    start = NOW - MINUTE * 1000
    venue = Venue([start + MINUTE * n for n in bars], recent=recent, cuts=tuple(cuts))
    since, until = start + MINUTE * first, start + MINUTE * (first + length)
    job = job_for(Dataset.CANDLES, since=since, until=until)
    items = collect(venue, job)
    assert opens(items, since, until) == [start + MINUTE * n for n in sorted(bars) if first <= n < first + length]
    assert len(venue.calls) <= len(bars) + 2
    assert collect(Venue(venue.times, recent=recent), job)[-1:] == items[-1:]


@settings(max_examples=100, deadline=None)
@given(
    payments=st.sets(st.integers(0, 2200), max_size=150),
    since_hour=st.integers(-10, 2300),
    minutes=st.integers(0, 59),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=4),
)
def test_funding_is_read_back_until_the_start_is_passed(
    payments: set[int], since_hour: int, minutes: int, cuts: list[int]
) -> None:
    start = NOW - HOUR * 2200
    venue = Venue([start + HOUR * n for n in payments], cuts=tuple(cuts))
    since, until = start + HOUR * since_hour + MINUTE * minutes, NOW
    items = collect(venue, job_for(Dataset.FUNDING, since=since, until=until))
    wanted = [start + HOUR * n for n in sorted(payments) if since <= start + HOUR * n < until]
    assert [item.funding_time for item in items if since <= item.funding_time] == wanted
    assert len(venue.calls) <= len(payments) + 1


def test_three_months_of_hourly_payments_take_no_more_calls_than_one_instrument_may_have() -> None:
    venue = Venue([NOW - HOUR * n for n in range(1, 2209)])  # 92 days
    assert len(collect(venue, job_for(Dataset.FUNDING))) == 2208
    assert len(venue.calls) == 7
    assert venue.calls[0] == ("/api/v5/public/funding-rate-history", {"instId": "AAA-USDT-SWAP", "limit": 400})


def test_a_short_funding_window_asks_for_few_rows() -> None:
    venue = Venue([NOW - HOUR * 8 * n for n in range(100)])
    collect(venue, job_for(Dataset.FUNDING, since=NOW - HOUR * 16, until=NOW))
    assert [params["limit"] for _, params in venue.calls] == [16]


class Deaf:
    """Ignores the cursor: every answer is the same."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.calls = 0

    def get(self, path: str, params: Mapping[str, str | int], cost: Cost) -> Answer:
        self.calls += 1
        assert self.calls < 10, "asked again and again"
        return answer(self.body)


def test_a_venue_that_ignores_the_cursor_is_not_asked_for_ever() -> None:
    venue = Deaf(json.dumps({"code": "0", "data": [Venue.bar(NOW - MINUTE)]}))
    with pytest.raises(PayloadError, match="no row is older"):
        collect(venue, job_for(Dataset.CANDLES, since=NOW - HOUR, until=NOW))
    assert venue.calls == 2


def test_an_unreadable_page_is_handed_on_first_so_that_its_parser_names_the_fault() -> None:
    class Breaking(Venue):
        def get(self, path: str, params: Mapping[str, str | int], cost: Cost) -> Answer:
            good = super().get(path, params, cost)
            return answer('{"code":"0","data":[["soon"]]}') if len(self.calls) == 2 else good

    venue = Breaking([NOW - MINUTE * n for n in range(1, 500)])
    pages = list(OkxCollector(venue).fetch(job_for(Dataset.CANDLES, since=NOW - MINUTE * 400, until=NOW)))
    assert [b"soon" in page.body for page in pages] == [True, False]
    with pytest.raises(PayloadError, match=r"\$\.data\[0\]"):
        OkxCollector.parsers[Dataset.CANDLES](pages[0])


def test_a_job_that_fails_half_way_leaves_no_newer_page_behind() -> None:
    class Failing(Venue):
        def get(self, path: str, params: Mapping[str, str | int], cost: Cost) -> Answer:
            if len(self.calls) == 1:
                raise VenueUnreachable("connection reset", source="okx")
            return super().get(path, params, cost)

    pages = OkxCollector(Failing([NOW - MINUTE * n for n in range(1, 500)])).fetch(
        job_for(Dataset.CANDLES, since=NOW - MINUTE * 400, until=NOW)
    )
    with pytest.raises(VenueUnreachable):
        next(pages)


def test_the_same_window_fetched_twice_gives_the_same_records() -> None:
    venue = Venue([NOW - MINUTE * n for n in range(700)], recent=300)
    job = job_for(Dataset.CANDLES, since=NOW - MINUTE * 600, until=NOW)
    assert collect(venue, job) == collect(venue, job)
