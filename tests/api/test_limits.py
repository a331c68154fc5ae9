"""How many requests a client may make: exact, in bounded memory, and on a clock that nobody can set."""

import gc
import sys
import time
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.api.limits import CLIENTS, Limiter
from collector.clock import ManualClock
from collector.config import ApiSettings
from tests.api.protected import client_of, parts_with
from tests.conftest import NOW


def limiter_of(clock, *, capacity=CLIENTS, **rates):
    return Limiter(ApiSettings(**rates), clock, capacity=capacity)


class JumpingClock(ManualClock):
    """A clock whose wall time somebody sets while it runs."""

    def jump(self, by):
        self._now += by


@pytest.mark.parametrize(("what", "expected"), [("prices", 120), ("ohlcv", 60), ("sentiment", 30), ("data", 300)])
def test_each_kind_of_request_has_its_own_limit(clock, what, expected):
    limiter = limiter_of(clock)
    assert sum(limiter.hit(what, "198.51.100.7").allowed for _ in range(expected + 50)) == expected
    assert limiter.refused == 50
    others = {"prices", "ohlcv", "sentiment", "data"} - {what}
    assert all(limiter.hit(other, "198.51.100.7").allowed for other in others)


def test_clients_do_not_share_what_they_have(clock):
    limiter = limiter_of(clock, rate_prices=1)
    assert limiter.hit("prices", "198.51.100.7").allowed
    assert limiter.hit("prices", "198.51.100.8").allowed
    assert not limiter.hit("prices", "198.51.100.7").allowed


def test_addresses_of_one_ipv6_network_are_one_client(clock):
    limiter = limiter_of(clock, rate_prices=5)
    allowed = [limiter.hit("prices", f"2001:db8:1:2::{number:x}").allowed for number in range(1, 50)]
    assert sum(allowed) == 5
    assert limiter.hit("prices", "2001:db8:1:3::1").allowed
    assert limiter.clients == 2


def test_waiting_as_long_as_told_lets_the_next_request_in(clock):
    limiter = limiter_of(clock, rate_prices=3)
    for _ in range(3):
        limiter.hit("prices", "a")
        clock.advance(7.3)
    refused = limiter.hit("prices", "a")
    assert (refused.allowed, refused.remaining, refused.reset) == (False, 0, 39)  # 60 - 21.9, rounded up
    clock.advance(38)
    assert not limiter.hit("prices", "a").allowed
    clock.advance(1)
    assert limiter.hit("prices", "a").allowed


def test_refused_requests_do_not_lengthen_the_wait(clock):
    limiter = limiter_of(clock, rate_prices=1)
    limiter.hit("prices", "a")
    for _ in range(59):
        clock.advance(1)
        assert not limiter.hit("prices", "a").allowed
    clock.advance(1)
    assert limiter.hit("prices", "a").allowed


@settings(max_examples=1000, deadline=None)
@given(
    limit=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 40, allow_nan=False)), max_size=40),
)
def test_any_pattern_of_requests_is_counted_exactly(limit, steps):
    clock = ManualClock(NOW)
    limiter = limiter_of(clock, rate_prices=limit)
    let_in = {"a": [], "b": [], "c": []}
    for client, pause in steps:
        clock.advance(pause)
        now = clock.monotonic()
        counted = [moment for moment in let_in[client] if moment > now - 60 + 0.001]
        grant = limiter.hit("prices", client)
        assert grant.allowed is (len(counted) < limit)
        if grant.allowed:
            let_in[client].append(now)
            assert grant.remaining == limit - len(counted) - 1
        else:
            clock.advance(grant.reset)
            assert limiter.hit("prices", client).allowed
            let_in[client].append(clock.monotonic())


@pytest.mark.parametrize("hours", [-24, -1, 1, 24, 24 * 3650])
def test_setting_the_clock_neither_frees_nor_locks_anybody(hours):
    clock = JumpingClock(NOW)
    limiter = limiter_of(clock, rate_prices=2)
    limiter.hit("prices", "blocked")
    limiter.hit("prices", "blocked")
    limiter.hit("prices", "half")
    clock.jump(timedelta(hours=hours))
    refused = limiter.hit("prices", "blocked")
    assert (refused.allowed, refused.reset) == (False, 60)
    assert limiter.hit("prices", "half").remaining == 0
    clock.advance(60)
    assert limiter.hit("prices", "blocked").allowed


def test_the_machines_clock_is_not_read(clock, monkeypatch):
    def forbidden():
        raise AssertionError("the wall clock was read")

    limiter = limiter_of(clock, rate_prices=1)
    monkeypatch.setattr(time, "time", forbidden)
    assert limiter.hit("prices", "a").allowed
    assert not limiter.hit("prices", "a").allowed


def address(number):
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def test_any_number_of_addresses_takes_no_more_memory_than_the_bound(clock):
    limiter = limiter_of(clock)
    gc.collect()
    tracemalloc.start()
    for number in range(12_000):  # more than the bound: from then on nothing grows
        limiter.hit("prices", address(number))
    first = tracemalloc.get_traced_memory()[0]
    for number in range(12_000, 24_000):
        limiter.hit("prices", address(number))
    second = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert limiter.clients <= CLIENTS
    assert first < 8_000_000
    assert second - first < 100_000


def test_a_refused_client_is_not_freed_by_spraying_addresses(clock):
    limiter = limiter_of(clock, capacity=100, rate_prices=5)
    while limiter.hit("prices", "203.0.113.9").allowed:
        pass
    for number in range(5000):
        limiter.hit("prices", address(number))
        clock.advance(0.01)
    assert not limiter.hit("prices", "203.0.113.9").allowed
    assert limiter.clients <= 100


def test_the_least_indebted_is_forgotten_first(clock):
    limiter = limiter_of(clock, capacity=10, rate_prices=100)
    for _ in range(60):
        limiter.hit("prices", "busy")
    for number in range(500):
        limiter.hit("prices", address(number))
    assert limiter.hit("prices", "busy").remaining == 100 - 61


def test_clients_whose_minute_is_over_make_room_even_when_they_were_refused(clock):
    limiter = limiter_of(clock, capacity=10, rate_prices=1)
    for number in range(10):
        limiter.hit("prices", address(number))
    clock.advance(60)
    for number in range(10, 20):
        assert limiter.hit("prices", address(number)).allowed
    assert limiter.clients == 10


def test_newcomers_share_one_budget_while_every_counter_belongs_to_a_refused_client(clock):
    limiter = limiter_of(clock, capacity=10, rate_prices=2)
    for number in range(10):
        limiter.hit("prices", address(number))
        limiter.hit("prices", address(number))
    newcomers = [limiter.hit("prices", address(number)).allowed for number in range(100, 150)]
    assert sum(newcomers) == 2
    assert limiter.clients == 10
    clock.advance(60)
    assert limiter.hit("prices", address(200)).allowed


def test_an_answer_tells_what_is_left(clock):
    with client_of(parts_with(clock, rate_prices=3)) as client:
        answers = [client.get("/api/prices") for _ in range(4)]
    told = [tuple(a.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")) for a in answers]
    assert told == [("3", "2", "60"), ("3", "1", "60"), ("3", "0", "60"), ("3", "0", "60")]
    refused = answers[3]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    body = refused.json()
    assert body["error"]["code"] == "RATE_LIMITED"
    assert body["error"]["retryAfter"] == 60


def test_all_routes_of_one_kind_count_on_the_same_limit_and_health_on_none(clock):
    with client_of(parts_with(clock, rate_prices=1, rate_ohlcv=1)) as client:
        assert client.get("/api/prices?size=1").status_code == 200
        assert client.get("/api/prices?size=2").status_code == 429
        assert client.get("/api/ohlcv").status_code == 200
        assert {client.get("/api/health").status_code for _ in range(200)} == {200}


def test_two_applications_do_not_share_counters(clock):
    parts = parts_with(clock, rate_prices=1)
    for _ in range(2):
        with client_of(parts) as client:
            assert client.get("/api/prices").status_code == 200


def test_no_thread_is_started(clock):
    before = set(sys._current_frames())
    limiter = limiter_of(clock)
    limiter.hit("prices", "a")
    assert set(sys._current_frames()) <= before
