"""Refusals: the whole provider is paused as long as it asks, within bounds, and not one request leaves meanwhile."""

import itertools
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from collector.clock import ManualClock, SystemClock
from collector.errors import AccessDenied, RateLimited
from collector.http.refusals import Refusals
from collector.records import Answer
from collector.resilience.breaker import NotTried
from tests.unit.http_door import COST, door
from tests.unit.http_server import ElasticClock, Server, answers, reply

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def pause_for(status: int = 429, *, banned: bool = False, retry_at: datetime | None = None, **headers: str) -> float:
    refusals = Refusals(clock=ManualClock(START))
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(status=status, headers=fields, body=b"", received_at=START)
    seconds = refusals.pause_s(RateLimited("no", retry_at=retry_at, banned=banned), answer, sent_at=0.0)
    assert seconds is not None
    return seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("119", 119),
        ("2.5", 2.5),
        ("0", 1),
        ("-30", 1),
        ("1000000000", 3600),
        (format_datetime(START + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(START - timedelta(days=1), usegmt=True), 1),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sunday", 1),
        ("", 1),
        ("nan", 1),
        ("inf", 1),
        ("soon", 1),
        ("99999999999999999999999999", 3600),
    ],
)
def test_a_plain_refusal_waits_as_told_within_a_second_and_an_hour(header, seconds):
    assert pause_for(retry_after=header) == seconds


@pytest.mark.parametrize(("header", "seconds"), [("600", 600), ("5", 120), ("x", 120), ("1e9", 259_200), ("-1", 120)])
def test_a_ban_waits_two_minutes_to_three_days(header, seconds):
    assert pause_for(418, banned=True, retry_after=header) == seconds


def test_the_moment_in_the_body_comes_before_the_header():
    assert pause_for(retry_at=START + timedelta(seconds=42), retry_after="7") == 42
    assert pause_for(418, banned=True, retry_at=START + timedelta(days=9)) == 259_200


def test_without_a_word_of_the_provider_the_wait_doubles_up_to_a_minute():
    clock = ManualClock(START)
    refusals = Refusals(clock=clock)
    answer = Answer(status=429, headers={}, body=b"", received_at=START)
    waits = []
    for _ in range(9):
        clock.advance(100)
        waits.append(refusals.pause_s(RateLimited("no"), answer, sent_at=clock.monotonic()))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    clock.advance(100)
    refusals.answered(clock.monotonic())
    clock.advance(1)
    assert refusals.pause_s(RateLimited("no"), answer, sent_at=clock.monotonic()) == 1


def test_refusals_of_calls_that_were_under_way_together_count_once():
    clock = ManualClock(START)
    refusals = Refusals(clock=clock)
    answer = Answer(status=429, headers={}, body=b"", received_at=START)
    sent_at = clock.monotonic()
    clock.advance(0.1)
    assert [refusals.pause_s(RateLimited("no"), answer, sent_at) for _ in range(16)] == [1.0] * 16
    refusals.answered(sent_at)  # the seventeenth of them got an answer: it says nothing about what came after
    clock.advance(2)
    assert refusals.pause_s(RateLimited("no"), answer, clock.monotonic()) == 2


def test_a_plain_refusal_is_tried_once_more_after_its_pause():
    clock = ElasticClock()
    with Server(answers(reply(b"", 429, Retry_After="119"))) as server, door(server.url, clock=clock) as venue:
        assert venue.get("/x", {}, COST).status == 200
        assert clock.slept == [pytest.approx(119, abs=0.1)]
        assert len(server.log) == 2
        counters = venue.counters()
        assert (counters.requests, counters.retries, counters.refused) == (2, 1, 1)


def test_a_second_refusal_of_the_same_call_comes_out():
    clock = ElasticClock()
    refusals = [reply(b"", 429, Retry_After="5")] * 2
    with Server(answers(*refusals)) as server, door(server.url, clock=clock) as venue:
        with pytest.raises(RateLimited) as caught:
            venue.get("/x", {}, COST)
        assert len(server.log) == 2
        assert caught.value.status == 429
        assert caught.value.retry_at == pytest.approx(clock.now() + timedelta(seconds=5), abs=timedelta(seconds=0.5))


def test_a_refusal_that_outlasts_the_cycle_is_not_repeated_and_stops_the_others():
    clock = ElasticClock()
    with Server(answers(reply(b"", 429, Retry_After="700"))) as server, door(server.url, clock=clock) as venue:
        for _ in range(5):
            with pytest.raises(RateLimited):
                venue.get("/x", {}, COST)
        assert len(server.log) == 1
        assert clock.slept == []


def test_an_envelope_that_says_too_many_requests_with_status_200_pauses_too():
    clock = ElasticClock()
    with Server(answers(reply(b'{"error":"busy"}'))) as server, door(server.url, clock=clock) as venue:
        assert venue.get("/x", {}, COST).status == 200
        assert clock.slept == [pytest.approx(1, abs=0.1)]
        assert len(server.log) == 2


@pytest.mark.parametrize(("header", "seconds"), [({}, 120), ({"Retry_After": "180"}, 180), ({"Retry_After": "3"}, 120)])
def test_a_ban_is_never_tried_again_and_pauses_everything(header, seconds):
    clock = ElasticClock()
    with Server(answers(reply(b"", 418, **header))) as server, door(server.url, clock=clock) as venue:
        with pytest.raises(RateLimited) as caught:
            venue.get("/x", {}, COST)
        assert caught.value.banned
        assert len(server.log) == 1
        state = venue.quota.state()
        assert state.banned
        assert state.paused_until == pytest.approx(clock.now() + timedelta(seconds=seconds), abs=timedelta(seconds=0.5))
        assert "HTTP 418" in state.reason


@pytest.mark.parametrize(("status", "seconds"), [(401, 3600), (403, 3600), (451, 3600)])
def test_refused_access_is_never_tried_again_and_switches_the_provider_off_for_an_hour(status, seconds):
    clock = ElasticClock()
    with Server(answers(reply(b"<html>", status))) as server, door(server.url, clock=clock) as venue:
        with pytest.raises(AccessDenied):
            venue.get("/x", {}, COST)
        assert len(server.log) == 1
        until = venue.quota.paused_until
        assert until == pytest.approx(clock.now() + timedelta(seconds=seconds), abs=timedelta(seconds=0.5))


def test_after_an_hour_exactly_one_call_finds_out_whether_access_is_given_again():
    clock = ManualClock(START)
    with (
        Server(answers(reply(b"", 401), reply(b"", 401), reply(b"{}"), reply(b"{}"))) as server,
        door(server.url, clock=clock) as venue,
    ):
        with pytest.raises(AccessDenied):
            venue.get("/x", {}, COST)
        until, reason = venue.breaker.denial()
        assert until == pytest.approx(clock.now() + timedelta(hours=1), abs=timedelta(seconds=0.5))
        assert "HTTP 401" in reason
        with pytest.raises(NotTried, match="HTTP 401"):
            venue.get("/x", {}, COST)
        clock.advance(3601)
        venue.begin(clock.monotonic() + 60)
        with pytest.raises(AccessDenied):
            venue.get("/x", {}, COST)  # the probe
        with pytest.raises(NotTried, match="HTTP 401"):
            venue.get("/x", {}, COST)
        assert len(server.log) == 2
        clock.advance(3601)
        venue.begin(clock.monotonic() + 60)
        assert venue.get("/x", {}, COST).status == 200
        assert venue.breaker.denial() is None
        assert venue.get("/x", {}, COST).status == 200


def test_not_one_request_arrives_during_a_pause_whoever_waits():
    clock = SystemClock()
    refused = threading.Event()

    def answer(request):
        if len(server.log) >= 20 and not refused.is_set():
            refused.set()
            return reply(b"", 429, Retry_After="1")
        return reply()

    with Server(answer) as server, door(server.url, clock=clock) as venue:

        def work() -> None:
            for _ in range(10):
                venue.get("/x", {}, COST)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        moments = sorted(request.at for request in server.log)
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert len(moments) == 81  # 80 calls and one repeat
        assert sum(gap > 0.5 for gap in gaps) == 1
        assert 0.9 < max(gaps) < 2.0
