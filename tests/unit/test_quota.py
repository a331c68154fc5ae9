"""The quota: never above the cap in any window, near the cap under load, and silent during a pause."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.clock import ManualClock, SystemClock
from collector.errors import RateLimited
from collector.resilience.quota import Quota
from collector.sources.base import Cost, Limit

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FOREVER = float("inf")


def make(*limits: tuple[str, int, float], reserve: float = 0.1, at: datetime = START) -> tuple[Quota, ManualClock]:
    clock = ManualClock(at)
    rules = [Limit(scope=name, capacity=capacity, window=timedelta(seconds=width)) for name, capacity, width in limits]
    return Quota(rules, clock=clock, reserve=reserve), clock


def most_in_a_window(taken: list[tuple[float, int]], width: float) -> int:
    """The largest weight in any half-open window; windows that begin at a call are the worst ones."""
    return max(sum(w for t, w in taken if begin <= t < begin + width - 1e-6) for begin, _ in taken)


def test_a_burst_up_to_the_limit_less_the_reserve_leaves_at_once():
    quota, clock = make(("weight", 100, 60))
    for _ in range(90):
        quota.acquire(Cost(scope="weight"), FOREVER)
    assert clock.slept == []
    quota.acquire(Cost(scope="weight"), FOREVER)
    assert clock.slept == [60.0]


def test_the_allowed_share_is_rounded_down():
    quota, clock = make(("calls", 5, 10))  # 4.5
    for _ in range(4):
        quota.acquire(Cost(scope="calls"), FOREVER)
    quota.acquire(Cost(scope="calls"), FOREVER)
    assert clock.slept == [10.0]


def test_weight_counts_and_not_the_number_of_calls():
    quota, clock = make(("weight", 100, 60), reserve=0)
    quota.acquire(Cost(scope="weight", weight=60), FOREVER)
    clock.advance(10)
    quota.acquire(Cost(scope="weight", weight=30), FOREVER)
    quota.acquire(Cost(scope="weight", weight=20), FOREVER)  # 60 + 30 + 20 fits once the first 60 are a minute old
    assert clock.slept == [50.0]


def test_scopes_do_not_share_their_room():
    quota, clock = make(("a", 1, 60), ("b", 1, 60), reserve=0)
    quota.acquire(Cost(scope="a"), FOREVER)
    quota.acquire(Cost(scope="b"), FOREVER)
    assert clock.slept == []


def test_all_limits_of_a_scope_hold_together():
    quota, clock = make(("calls", 2, 60), ("calls", 3, 1000), reserve=0)
    moments = []
    for _ in range(4):
        quota.acquire(Cost(scope="calls"), FOREVER)
        moments.append(clock.monotonic())
    assert moments == [0.0, 0.0, 60.0, 1000.0]


def test_a_cost_that_can_never_leave_and_an_unknown_scope_are_defects():
    quota, _ = make(("weight", 10, 60))
    with pytest.raises(ValueError, match="can never leave"):
        quota.acquire(Cost(scope="weight", weight=10), FOREVER)
    with pytest.raises(ValueError, match="no limit is known"):
        quota.acquire(Cost(scope="wieght"), FOREVER)
    with pytest.raises(ValueError, match="no limit is known"):
        quota.correct("wieght", 5)


def test_a_call_that_would_leave_too_late_is_refused_and_takes_nothing():
    quota, clock = make(("calls", 1, 60), reserve=0)
    quota.acquire(Cost(scope="calls"), FOREVER)
    with pytest.raises(RateLimited, match="no room before 12:01:00 UTC") as caught:
        quota.acquire(Cost(scope="calls"), clock.monotonic() + 59)
    assert caught.value.retry_at == START + timedelta(seconds=60)
    assert clock.slept == []
    clock.advance(60)
    quota.acquire(Cost(scope="calls"), FOREVER)
    assert clock.slept == []


def test_nothing_starts_after_the_time_is_over():
    quota, clock = make(("calls", 10, 60))
    clock.advance(5)
    with pytest.raises(RateLimited, match="the time for calls is over"):
        quota.acquire(Cost(scope="calls"), 4.0)


def test_the_providers_higher_count_is_taken_over_until_its_minute_ends():
    quota, clock = make(("weight", 100, 60), at=START + timedelta(seconds=20))
    quota.acquire(Cost(scope="weight", weight=10), FOREVER)
    quota.correct("weight", 85)  # 75 more than ours
    quota.acquire(Cost(scope="weight", weight=5), FOREVER)  # exactly 90
    assert clock.slept == []
    quota.acquire(Cost(scope="weight", weight=5), FOREVER)
    assert clock.slept == [40.0]  # second 20 to second 60 of the clock minute


def test_a_lower_or_equal_count_of_the_provider_changes_nothing():
    quota, clock = make(("weight", 100, 60))
    quota.acquire(Cost(scope="weight", weight=50), FOREVER)
    quota.correct("weight", 50)
    quota.correct("weight", 3)
    quota.acquire(Cost(scope="weight", weight=40), FOREVER)
    assert clock.slept == []


def test_a_count_that_arrives_just_after_the_minute_turned_is_not_taken_for_strangers():
    quota, clock = make(("weight", 100, 60), at=START + timedelta(seconds=59.9))
    quota.acquire(Cost(scope="weight", weight=45), FOREVER)
    clock.advance(0.2)
    quota.correct("weight", 45)  # tells of the minute that has just ended
    quota.acquire(Cost(scope="weight", weight=45), FOREVER)
    assert clock.slept == []


def test_a_correction_does_not_touch_the_monthly_limit():
    quota, _ = make(("calls", 100, 60), ("calls", 1000, 2_592_000), reserve=0)
    quota.correct("calls", 40)
    assert [use.used for use in quota.state().uses] == [40, 0]


def test_a_pause_holds_every_scope_until_it_is_over():
    quota, clock = make(("a", 10, 60), ("b", 10, 60))
    quota.pause(clock.now() + timedelta(seconds=30), "429")
    quota.acquire(Cost(scope="a"), FOREVER)
    assert clock.slept == [30.0]
    quota.acquire(Cost(scope="b"), FOREVER)
    assert clock.slept == [30.0]
    assert quota.paused_until is None


def test_the_longest_pause_wins_and_a_ban_stays_a_ban():
    quota, clock = make(("a", 10, 60))
    quota.pause(START + timedelta(seconds=100), "banned", banned=True)
    quota.pause(START + timedelta(seconds=10), "429")
    assert quota.paused_until == START + timedelta(seconds=100)
    assert (quota.state().reason, quota.state().banned) == ("banned", True)
    clock.advance(50)
    assert quota.paused_until == START + timedelta(seconds=100)
    quota.pause(START + timedelta(seconds=200), "429 again")
    assert (quota.state().reason, quota.state().banned) == ("429 again", True)
    clock.advance(150)
    assert quota.paused_until is None
    assert (quota.state().reason, quota.state().banned) == ("", False)


def test_a_pause_in_the_past_is_no_pause():
    quota, clock = make(("a", 10, 60))
    quota.pause(START - timedelta(hours=1), "stored long ago")
    quota.acquire(Cost(scope="a"), FOREVER)
    assert clock.slept == []


def test_a_pause_that_outlasts_the_time_is_refused_with_its_end_and_reason():
    quota, clock = make(("a", 10, 60))
    quota.pause(START + timedelta(hours=1), "HTTP 418", banned=True)
    with pytest.raises(RateLimited, match=r"paused until 2026-03-01 13:00:00 UTC \(HTTP 418\)") as caught:
        quota.acquire(Cost(scope="a"), clock.monotonic() + 60)
    assert caught.value.retry_at == START + timedelta(hours=1)
    assert caught.value.banned


class JumpingClock(ManualClock):
    """A wall clock that somebody sets while the monotonic one goes on."""

    def jump(self, by: timedelta) -> None:
        with self._lock:
            self._now += by


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=3650)])
def test_a_jump_of_the_wall_clock_neither_ends_nor_prolongs_a_pause(jump):
    clock = JumpingClock(START)
    quota = Quota([Limit(scope="a", capacity=10, window=timedelta(minutes=1))], clock=clock)
    quota.pause(START + timedelta(seconds=30), "429")
    clock.jump(jump)
    assert quota.paused_until == START + jump + timedelta(seconds=30)
    quota.acquire(Cost(scope="a"), FOREVER)
    assert clock.slept == [30.0]


class PausedWhileAsleep(ManualClock):
    """A clock in whose first sleep another thread pauses the quota."""

    quota: Quota

    def sleep(self, seconds: float) -> None:
        if not self.slept:
            self.quota.pause(self.now() + timedelta(seconds=500), "429 meanwhile")
        super().sleep(seconds)


def test_a_sleeper_does_not_wake_into_a_pause():
    clock = PausedWhileAsleep(START)
    clock.quota = quota = Quota([Limit(scope="a", capacity=1, window=timedelta(seconds=60))], clock=clock, reserve=0)
    quota.acquire(Cost(scope="a"), FOREVER)
    quota.acquire(Cost(scope="a"), FOREVER)
    assert clock.monotonic() == pytest.approx(500.0)


def test_a_sleeper_gives_up_when_a_pause_begins_that_outlasts_its_time():
    clock = PausedWhileAsleep(START)
    clock.quota = quota = Quota([Limit(scope="a", capacity=1, window=timedelta(seconds=60))], clock=clock, reserve=0)
    quota.acquire(Cost(scope="a"), FOREVER)
    with pytest.raises(RateLimited, match="429 meanwhile"):
        quota.acquire(Cost(scope="a"), 400.0)


def test_a_stop_of_the_program_does_not_let_waiting_calls_out_early():
    stop = threading.Event()
    quota = Quota([Limit(scope="a", capacity=1, window=timedelta(seconds=60))], clock=SystemClock(stop), reserve=0)
    quota.acquire(Cost(scope="a"), FOREVER)
    stop.set()
    with pytest.raises(RateLimited, match="the collector stops"):
        quota.acquire(Cost(scope="a"), FOREVER)


def test_slow_answers_spread_the_next_burst_because_arrival_is_what_the_provider_counts():
    quota, clock = make(("a", 2, 2.0), reserve=0)
    quota.acquire(Cost(scope="a"), FOREVER)
    quota.acquire(Cost(scope="a"), FOREVER)
    quota.observe(0.3)
    quota.acquire(Cost(scope="a"), FOREVER)
    assert clock.slept == [pytest.approx(2.3)]


def test_very_slow_answers_lengthen_a_window_by_a_quarter_at_most():
    quota, clock = make(("a", 1, 2.0), reserve=0)
    quota.acquire(Cost(scope="a"), FOREVER)
    quota.observe(5.0)
    quota.acquire(Cost(scope="a"), FOREVER)
    assert clock.slept == [pytest.approx(2.5)]


def test_memory_is_bounded_whatever_the_capacity():
    quota, clock = make(("calls", 1_000_000, 2_592_000), reserve=0)
    for _ in range(5_000):
        quota.acquire(Cost(scope="calls"), FOREVER)
        clock.advance(400)
    assert len(quota._meters["calls"][0]._entries) <= 1_001
    assert quota.state().uses[0].used == 5_000


def test_the_snapshot_counts_what_is_in_the_window():
    quota, clock = make(("weight", 2400, 60))
    quota.acquire(Cost(scope="weight", weight=20), FOREVER)
    clock.advance(30)
    quota.acquire(Cost(scope="weight", weight=5), FOREVER)
    use = quota.state().uses[0]
    assert (use.scope, use.window_s, use.capacity, use.allowed, use.used) == ("weight", 60.0, 2400, 2160, 25)
    clock.advance(31)
    assert quota.state().uses[0].used == 5


calls = st.lists(
    st.tuples(st.floats(0, 30, allow_nan=False), st.integers(0, 12)),  # seconds before the call, its weight
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(calls, st.integers(14, 60), st.sampled_from([2.0, 60.0]), st.booleans())
def test_no_window_ever_holds_more_than_the_cap_and_each_call_sleeps_once(plan, capacity, width, two):
    limits = [("w", capacity, width)] + ([("w", capacity * 2, width * 5)] if two else [])
    quota, clock = make(*limits)
    taken = []
    for gap, weight in plan:
        clock.advance(gap)
        before = len(clock.slept)
        quota.acquire(Cost(scope="w", weight=weight), FOREVER)
        assert len(clock.slept) - before <= 1
        taken.append((clock.monotonic(), weight))
    for _, cap, window in limits:
        assert most_in_a_window(taken, window) <= int(cap * 0.9 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 400), st.sampled_from([2.0, 10.0, 60.0]), st.integers(1, 2))
def test_under_load_at_least_nine_tenths_of_the_cap_are_used(capacity, width, weight):
    quota, clock = make(("w", capacity, width))
    cap = int(capacity * 0.9)
    spent = 0
    while clock.monotonic() < width * 10:
        quota.acquire(Cost(scope="w", weight=weight), FOREVER)
        spent += weight
    assert spent >= 0.9 * cap * 10


def test_many_threads_together_stay_within_the_window_in_real_time():
    clock = SystemClock()
    quota = Quota([Limit(scope="a", capacity=20, window=timedelta(seconds=0.3))], clock=clock, reserve=0)
    taken: list[tuple[float, int]] = []

    def work() -> None:
        for _ in range(5):
            quota.acquire(Cost(scope="a"), FOREVER)
            taken.append((clock.monotonic(), 1))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(taken) == 80
    first = min(moment for moment, _ in taken)
    assert max(moment for moment, _ in taken) - first >= 0.89  # 80 calls at 20 per 0.3 s: three full windows of waiting


def test_no_thread_gets_out_during_a_pause_in_real_time():
    clock = SystemClock()
    quota = Quota([Limit(scope="a", capacity=5, window=timedelta(seconds=0.1))], clock=clock, reserve=0)
    out: list[float] = []
    started = clock.monotonic()

    def work() -> None:
        for _ in range(6):
            quota.acquire(Cost(scope="a"), started + 5)
            out.append(clock.monotonic())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    clock.sleep(0.15)  # several of them sleep for their turn now
    paused = clock.monotonic()
    quota.pause(clock.now() + timedelta(seconds=0.4), "429")
    for thread in threads:
        thread.join(10)
    assert len(out) == 48
    assert [moment for moment in out if paused + 0.002 < moment < paused + 0.399] == []
