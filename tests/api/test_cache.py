"""Kept answers: built once for all who ask, never older than promised, never larger than allowed, never resurrected."""

import asyncio
import gzip
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from starlette.requests import Request

from collector.api.cache import Answers, Body, answer, takes_gzip
from collector.api.errors import ApiError, Code
from collector.clock import ManualClock
from collector.errors import PayloadError, StorageUnavailable, VenueUnreachable
from tests.conftest import NOW

MB = 1_000_000


class Kitchen:
    """Builds numbered answers, or fails when told; counts how often it was asked."""

    def __init__(self):
        self.calls = 0
        self.failure = None

    def __call__(self):
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        return Body(b'{"n":%d,"stale":false}' % self.calls, source="kraken")


@pytest.fixture
def kitchen():
    return Kitchen()


@pytest.fixture
def answers(clock):
    return Answers(MB, clock)


def ask(answers, kitchen, key="k", ttl=30, keep=300):
    return answers.get(key, ttl, kitchen, keep=keep)


def test_a_fresh_answer_is_served_without_building(answers, kitchen, clock):
    ask(answers, kitchen)
    clock.advance(29.9)
    kept = ask(answers, kitchen)
    assert (kept.body.content, kitchen.calls, kept.stale) == (b'{"n":1,"stale":false}', 1, False)
    assert kept.left == pytest.approx(0.1)


def test_an_answer_over_its_time_is_built_again(answers, kitchen, clock):
    ask(answers, kitchen)
    clock.advance(30)
    assert ask(answers, kitchen).body.content == b'{"n":2,"stale":false}'


def test_keys_do_not_share_answers(answers, kitchen):
    ask(answers, kitchen, key=("ohlcv", "BTC"))
    assert ask(answers, kitchen, key=("ohlcv", "ETH")).body.content == b'{"n":2,"stale":false}'


def test_an_older_answer_stands_in_for_a_failure_and_says_so(answers, kitchen, clock):
    ask(answers, kitchen)
    clock.advance(31)
    for failure in (
        VenueUnreachable("down"),
        StorageUnavailable("away"),
        PayloadError("odd"),
        ApiError(Code.PROVIDER_ERROR, "all down"),
    ):
        kitchen.failure = failure
        kept = ask(answers, kitchen)
        assert (kept.body.content, kept.stale, kept.left) == (b'{"n":1,"stale":true}', True, 0)
        clock.advance(3)
    assert answers.stats()["stale"] == 4


def test_an_answer_stands_in_no_longer_than_it_may(answers, kitchen, clock):
    ask(answers, kitchen, keep=60)
    kitchen.failure = VenueUnreachable("down")
    clock.advance(30 + 59)
    assert ask(answers, kitchen, keep=60).stale
    clock.advance(3)
    with pytest.raises(VenueUnreachable):
        ask(answers, kitchen, keep=60)


def test_an_error_that_blames_the_request_is_told_whatever_is_kept(answers, kitchen, clock):
    ask(answers, kitchen)
    clock.advance(31)
    kitchen.failure = ApiError(Code.INVALID_SYMBOL, "nobody lists it")
    with pytest.raises(ApiError, match="nobody lists it"):
        ask(answers, kitchen)


def test_a_failure_answers_for_two_seconds_without_asking_again(answers, kitchen, clock):
    kitchen.failure = VenueUnreachable("down")
    for _ in range(50):
        with pytest.raises(VenueUnreachable, match="down"):
            ask(answers, kitchen)
    assert kitchen.calls == 1
    clock.advance(2)
    kitchen.failure = None
    assert ask(answers, kitchen).body.content == b'{"n":2,"stale":false}'


def test_a_provider_that_is_down_is_not_asked_by_each_who_gets_an_old_answer(answers, kitchen, clock):
    ask(answers, kitchen)
    clock.advance(31)
    kitchen.failure = VenueUnreachable("down")
    assert all(ask(answers, kitchen).stale for _ in range(50))
    assert kitchen.calls == 2


def test_an_answer_built_from_old_data_is_stale_and_asked_for_again_soon(answers, clock):
    calls = []

    def build():
        calls.append(1)
        return Body(b'{"stale":true}', stale=True)

    for _ in range(10):
        assert answers.get("k", 300, build, keep=60).stale
    clock.advance(2)
    answers.get("k", 300, build, keep=60)
    assert len(calls) == 2


def test_a_thousand_threads_that_miss_one_key_build_once(clock):
    answers = Answers(MB, clock)
    all_there, calls = threading.Event(), []

    def build():
        calls.append(1)
        assert all_there.wait(20)
        return Body(b"built")

    def one(_):
        return answers.get("k", 30, build, keep=0).body.content

    threading.stack_size(256 * 1024)
    try:
        with ThreadPoolExecutor(1000) as pool:
            asked = [pool.submit(one, number) for number in range(1000)]
            while answers.stats()["misses"] < 1000:
                threading.Event().wait(0.005)
            all_there.set()
            assert {future.result(20) for future in asked} == {b"built"}
    finally:
        threading.stack_size(0)
    assert len(calls) == 1


@pytest.mark.parametrize("failure", [None, VenueUnreachable("down")])
def test_a_thousand_tasks_that_miss_one_key_build_once_and_share_the_outcome(clock, failure):
    answers = Answers(MB, clock)
    kitchen, all_there = Kitchen(), threading.Event()
    kitchen.failure = failure

    def build():
        assert all_there.wait(20)
        return kitchen()

    async def crowd():
        tasks = [asyncio.create_task(answers.fetch("k", 30, build, keep=0)) for _ in range(1000)]
        await asyncio.sleep(0)  # now each has looked
        assert answers.stats()["misses"] == 1000
        all_there.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(crowd())
    assert kitchen.calls == 1
    assert len(outcomes) == 1000
    if failure is None:
        assert {kept.body.content for kept in outcomes} == {b'{"n":1,"stale":false}'}
    else:
        assert all(outcome is failure for outcome in outcomes)


def test_a_waiter_that_goes_away_takes_nothing_from_the_others(clock):
    answers = Answers(MB, clock)
    go = threading.Event()

    def build():
        assert go.wait(20)
        return Body(b"built")

    async def crowd():
        first, second, third = (asyncio.create_task(answers.fetch("k", 30, build, keep=0)) for _ in range(3))
        await asyncio.sleep(0)  # now each has looked
        assert answers.stats()["misses"] == 3
        second.cancel()
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(first, second, third, return_exceptions=True)

    first, second, third = asyncio.run(crowd())
    assert (first.body.content, third.body.content) == (b"built", b"built")
    assert isinstance(second, asyncio.CancelledError)


def test_a_first_asker_that_goes_away_leaves_nobody_waiting_for_ever(clock):
    answers = Answers(MB, clock)

    async def crowd():
        first = asyncio.create_task(answers.fetch("k", 30, lambda: Body(b"first"), keep=0))
        second = asyncio.create_task(answers.fetch("k", 30, lambda: Body(b"second"), keep=0))
        await asyncio.sleep(0)  # both have looked; the first has no thread yet
        first.cancel()
        (outcome,) = await asyncio.gather(second, return_exceptions=True)
        again = await answers.fetch("k", 30, lambda: Body(b"again"), keep=0)
        return outcome, again

    outcome, again = asyncio.run(asyncio.wait_for(crowd(), 5))
    assert isinstance(outcome, ApiError) or outcome.body.content == b"first"
    assert again.body.content in {b"first", b"again"}


def test_who_waits_too_long_gets_the_older_answer_or_an_error(clock):
    answers = Answers(MB, clock, patience_s=0.05)
    go, started = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert go.wait(20)
        return Body(b'{"new":1}')

    answers.get("kept", 30, lambda: Body(b'{"old":1,"stale":false}'), keep=300)
    clock.advance(31)
    for key in ("kept", "missing"):
        started.clear()
        go.clear()
        builder = threading.Thread(target=answers.get, args=(key, 30, slow), kwargs={"keep": 300})
        builder.start()
        assert started.wait(5)
        if key == "kept":
            assert answers.get(key, 30, slow, keep=300).body.content == b'{"old":1,"stale":true}'
        else:
            with pytest.raises(ApiError) as raised:
                answers.get(key, 30, slow, keep=300)
            assert (raised.value.code, raised.value.retry_after) == (Code.PROVIDER_ERROR, 2)
        go.set()
        builder.join(5)
        assert answers.get(key, 30, slow, keep=300).body.content == b'{"new":1}'


def test_a_defect_while_building_frees_those_who_wait(clock):
    answers = Answers(MB, clock)
    go, started = threading.Event(), threading.Event()

    def broken():
        started.set()
        assert go.wait(20)
        raise KeyError("a defect")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(answers.get, "k", 30, broken, keep=0)
        assert started.wait(5)
        second = pool.submit(answers.get, "k", 30, broken, keep=0)
        while answers.stats()["misses"] < 2:
            threading.Event().wait(0.005)
        go.set()
        with pytest.raises(KeyError):
            first.result(5)
        with pytest.raises(ApiError) as raised:
            second.result(5)
    assert raised.value.code is Code.INTERNAL_ERROR


def test_what_was_being_built_when_the_cache_was_cleared_is_not_kept(clock, kitchen):
    answers = Answers(MB, clock)
    go, started = threading.Event(), threading.Event()

    def old():
        started.set()
        assert go.wait(20)
        return Body(b"old")

    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(answers.get, "k", 30, old, keep=300)
        assert started.wait(5)
        answers.clear()
        after = ask(answers, kitchen)  # does not wait for what began before
        go.set()
        assert before.result(5).body.content == b"old"
    assert after.body.content == ask(answers, kitchen).body.content == b'{"n":1,"stale":false}'


def test_clearing_forgets_answers_and_failures_and_says_how_many(answers, kitchen):
    ask(answers, kitchen, key="a")
    ask(answers, kitchen, key="b")
    kitchen.failure = VenueUnreachable("down")
    with pytest.raises(VenueUnreachable):
        ask(answers, kitchen, key="c")
    assert answers.clear() == 2
    kitchen.failure = None
    ask(answers, kitchen, key="c")
    assert answers.stats()["size"] == 1


def test_kept_answers_never_take_more_than_their_bytes(clock):
    answers = Answers(100_000, clock)
    for number in range(200):
        answers.get(number, 30, lambda: Body(bytes(range(256)) * 20), keep=300)
        assert answers.stats()["bytes"] <= 100_000
    assert 2 <= answers.stats()["size"] <= 10  # each is 5 120 bytes, counted with a stale twin


def test_an_answer_larger_than_the_cache_is_served_and_not_kept(clock, kitchen):
    answers = Answers(1000, clock)
    assert answers.get("k", 30, lambda: Body(b"x" * 5000), keep=0).body.content == b"x" * 5000
    assert answers.stats()["size"] == 0


def test_the_least_recently_served_answer_goes_first(clock):
    answers = Answers(10_000, clock)  # room for about four
    for key in "abcd":
        answers.get(key, 30, lambda: Body(b"1" * 500), keep=0)
    answers.get("a", 30, lambda: Body(b"2" * 500), keep=0)
    for key in "efgh":
        answers.get(key, 30, lambda: Body(b"1" * 500), keep=0)
        answers.get("a", 30, lambda: Body(b"2" * 500), keep=0)
    assert answers.get("a", 30, lambda: Body(b"2" * 500), keep=0).body.content == b"1" * 500


def test_the_numbers_tell_hits_misses_and_stale_answers(answers, kitchen, clock):
    assert answers.stats()["hit_rate"] == 0
    for _ in range(4):
        ask(answers, kitchen)
    clock.advance(31)
    kitchen.failure = VenueUnreachable("down")
    ask(answers, kitchen)
    ask(answers, kitchen)
    stats = answers.stats()
    assert (stats["size"], stats["hits"], stats["misses"], stats["stale"]) == (1, 3, 2, 2)
    assert stats["hit_rate"] == pytest.approx(3 / 6)


def request(**headers):
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})


def test_an_answer_says_how_long_it_stays_fresh(answers, clock):
    answers.get("k", 30, lambda: Body(b"{}"), keep=0)
    clock.advance(12.3)
    response = answer(request(), answers.get("k", 30, lambda: Body(b"{}"), keep=0))
    assert response.headers["cache-control"] == "max-age=17"


def test_a_client_that_has_the_answer_gets_304_without_a_body(answers):
    kept = answers.get("k", 30, lambda: Body(b"{}"), keep=0)
    tag = answer(request(), kept).headers["etag"]
    for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        response = answer(request(if_none_match=given), kept)
        assert (response.status_code, response.body, response.headers["etag"]) == (304, b"", tag)
        assert "max-age" in response.headers["cache-control"]
    assert answer(request(if_none_match='"other"'), kept).status_code == 200


def test_a_stale_answer_has_another_tag_and_must_be_asked_for_again(answers, kitchen, clock):
    fresh = answer(request(), ask(answers, kitchen))
    clock.advance(31)
    kitchen.failure = VenueUnreachable("down")
    stale = answer(request(if_none_match=fresh.headers["etag"]), ask(answers, kitchen))
    assert (stale.status_code, stale.headers["cache-control"]) == (200, "no-cache")


def test_the_packed_twin_holds_the_same_bytes(answers):
    content = b'{"data":[' + b'{"price":1.5},' * 200 + b"{}]}"
    kept = answers.get("k", 30, lambda: Body(content), keep=0)
    response = answer(request(accept_encoding="gzip"), kept)
    assert response.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in response.headers["vary"]
    assert len(response.body) < len(content) / 5
    assert gzip.decompress(response.body) == content
    assert answer(request(), kept).body == content


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("identity", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("GZIP", True),
        ("gzip;q=much", False),
    ],
)
def test_gzip_is_used_only_for_clients_that_take_it(accepted, expected):
    assert takes_gzip(accepted) is expected


class KeptAnswers(RuleBasedStateMachine):
    """The cache against a model of a few lines: what was built when, and what may be said about it now."""

    @initialize()
    def start(self):
        self.clock = ManualClock(NOW)
        self.answers = Answers(MB, self.clock)
        self.built = {}  # key: (number, moment)
        self.failed = {}  # key: moment
        self.number = 0

    @rule(key=st.sampled_from("ab"), is_down=st.booleans())
    def ask(self, key, is_down):
        now, asked = self.clock.monotonic(), []

        def build():
            asked.append(1)
            if is_down:
                raise VenueUnreachable("down")
            return Body(b'{"n":%d,"stale":false}' % (self.number + 1))

        number, moment = self.built.get(key, (0, -1e9))
        is_fresh, is_kept = now < moment + 10, now < moment + 10 + 20
        refused = not is_fresh and now < self.failed.get(key, -1e9) + 2
        try:
            content = self.answers.get(key, 10, build, keep=20).body.content
        except VenueUnreachable:
            content = None
        assert bool(asked) is (not is_fresh and not refused)
        if asked and not is_down:
            self.number += 1
            self.built[key] = (self.number, now)
            assert content == b'{"n":%d,"stale":false}' % self.number
        elif is_fresh:
            assert content == b'{"n":%d,"stale":false}' % number
        else:
            assert content == (b'{"n":%d,"stale":true}' % number if is_kept else None)
        if asked and is_down:
            self.failed[key] = now

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5, 10, 25]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def clear(self):
        self.answers.clear()
        self.built.clear()
        self.failed.clear()

    @invariant()
    def no_flight_is_left_behind(self):
        assert not getattr(self, "answers", None) or not self.answers._flights


TestKeptAnswers = KeptAnswers.TestCase
TestKeptAnswers.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
