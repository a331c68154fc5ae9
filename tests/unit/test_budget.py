"""Pauses and used budgets outlive a process, and one process obeys what another one met."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.budget import BudgetKeeper, Metered, account_of
from collector.clock import ManualClock
from collector.errors import AccessDenied, RateLimited
from collector.resilience.breaker import NotTried
from collector.resilience.quota import Quota, Spent
from collector.sources.base import Cost, Limit
from collector.storage.database import Database
from collector.storage.providers import ProviderStore
from tests.unit.http_door import COST, door
from tests.unit.http_server import Server, answers, reply

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, MONTH = timedelta(minutes=1), timedelta(days=31)
CALL = Cost(scope="calls")


def quota(clock, *limits):
    return Quota(
        [Limit(scope="calls", capacity=most, window=window) for most, window in limits], clock=clock, reserve=0
    )


def spend(meter, count):
    for _ in range(count):
        meter.acquire(CALL, float("inf"))


def used(meter):
    return [use.used for use in meter.state().uses]


@pytest.fixture
def store(migrated_url):
    database = Database(migrated_url, clock=ManualClock(START))
    yield ProviderStore(database)
    database.close()


def keeper_of(store, venue, clock, account="address"):
    keeper = BudgetKeeper(store, [Metered(venue=venue, account=account)], clock)
    keeper.start()
    return keeper


# --------------------------------------------------------------------------- used budgets


def test_what_was_used_counts_on_in_the_next_process_until_its_window_ends():
    clock = ManualClock(START)
    before = quota(clock, (10, MINUTE), (100, MONTH))
    spend(before, 6)
    spent = before.spent()
    assert [(item.window_s, sum(weight for _, weight in item.entries)) for item in spent] == [(60, 6), (2_678_400, 6)]
    clock.advance(20)
    after = quota(clock, (10, MINUTE), (100, MONTH))
    after.restore(spent)
    assert used(after) == [6, 6]
    spend(after, 4)
    began = clock.now()
    spend(after, 1)  # the window is full: forty seconds are left of the first six
    assert timedelta(seconds=39) <= clock.now() - began <= timedelta(seconds=42)
    assert used(after)[1] == 11


def test_a_month_s_use_is_handed_over_in_few_numbers_and_never_forgotten_early():
    clock = ManualClock(START)
    month = quota(clock, (100_000, MONTH))
    for _ in range(200):
        spend(month, 3)
        clock.advance(3600)
    (item,) = month.spent()
    assert sum(weight for _, weight in item.entries) == 600
    assert len(item.entries) <= 61
    later = quota(clock, (100_000, MONTH))
    later.restore([item])
    clock.advance(timedelta(days=31 - 9).total_seconds())  # the first calls are 30 days and 8 hours old
    assert used(later) == [600]


def test_a_wall_clock_set_back_does_not_free_a_budget():
    ahead = Spent(scope="calls", window_s=60, capacity=10, entries=((START + timedelta(hours=1), 7),))
    clock = ManualClock(START)
    meter = quota(clock, (10, MINUTE))
    meter.restore([ahead])
    assert used(meter) == [7]
    clock.advance(61)
    assert used(meter) == [0]


def test_a_limit_that_is_not_ours_any_more_is_passed_over():
    meter = quota(ManualClock(START), (10, MINUTE))
    meter.restore([Spent(scope="gone", window_s=60, capacity=1, entries=((START, 1),))])
    meter.restore([Spent(scope="calls", window_s=300, capacity=1, entries=((START, 1),))])
    assert used(meter) == [0]


def test_windows_that_are_over_before_a_process_is_up_are_not_handed_over():
    meter = quota(ManualClock(START), (10, timedelta(seconds=2)))
    spend(meter, 3)
    assert meter.spent() == ()


def test_a_lower_limit_told_by_the_provider_is_kept_and_a_higher_one_is_not():
    clock = ManualClock(START)
    meter = quota(clock, (10, MINUTE))
    assert not meter.learn("calls", MINUTE, 5000)
    assert not meter.learn("calls", timedelta(minutes=5), 1)
    assert meter.learn("calls", MINUTE, 4)
    spend(meter, 4)
    assert clock.now() == START
    spend(meter, 1)
    assert clock.now() - START >= MINUTE


def test_budgets_are_stored_by_account_and_read_back_exactly(store):
    spent = Spent(scope="calls", window_s=60, capacity=30, entries=((START, 2), (START + timedelta(seconds=1), 3)))
    store.save_budgets("coingecko", "address", [spent])
    store.save_budgets("coingecko", "address", [spent])  # the second replaces the first
    assert store.load_budgets("coingecko", "address") == [spent]
    assert store.load_budgets("coingecko", account_of("secret")) == []


def test_an_account_does_not_show_its_key():
    assert account_of("") == "address"
    assert "secret" not in account_of("secret")
    assert account_of("secret") != account_of("other")


def test_a_restart_does_not_begin_at_zero(store):
    clock = ManualClock(START)
    with Server(answers(reply(b"{}"), reply(b"{}"), reply(b"{}"))) as server, door(server.url, clock=clock) as venue:
        keeper = keeper_of(store, venue, clock)
        for _ in range(3):
            venue.get("/x", {}, COST)
        keeper.keep(now=True)
    with door(server.url, clock=clock) as venue:
        keeper_of(store, venue, clock)
        assert max(use.used for use in venue.quota.state().uses) == 3


# --------------------------------------------------------------------------- pauses


def test_a_ban_is_stored_before_the_caller_hears_of_it(store):
    clock = ManualClock(START)
    with (
        Server(answers(reply(b"banned", 418, **{"Retry-After": "600"}))) as server,
        door(server.url, clock=clock) as venue,
    ):
        keeper_of(store, venue, clock)
        with pytest.raises(RateLimited):
            venue.get("/x", {}, COST)
        state = store.load_states()[venue.source]
    assert (state.paused_until, state.banned, state.denied) == (START + timedelta(minutes=10), True, False)
    assert "HTTP 418" in state.reason


def test_a_pause_that_another_process_met_is_obeyed_within_a_second(store):
    clock = ManualClock(START)
    with Server(answers(reply(b"{}"), reply(b"{}"))) as server, door(server.url, clock=clock) as venue:
        keeper = keeper_of(store, venue, clock)
        keeper.keep()
        store.save_state(venue.source, START + timedelta(minutes=10), "HTTP 418: banned", banned=True)
        clock.advance(1)
        keeper.keep()
        venue.begin(clock.monotonic() + 30)
        with pytest.raises(RateLimited, match="HTTP 418: banned"):
            venue.get("/x", {}, COST)
        assert server.log == []


def test_refused_access_is_stored_with_its_reason_and_outlives_a_restart(store):
    clock = ManualClock(START)
    with Server(answers(reply(b"", 451), reply(b"{}"))) as server:
        with door(server.url, clock=clock) as venue:
            keeper_of(store, venue, clock)
            with pytest.raises(AccessDenied):
                venue.get("/x", {}, COST)
        state = store.load_states()[venue.source]
        assert (state.denied, state.paused_until) == (True, START + timedelta(hours=1))
        with door(server.url, clock=clock) as venue:
            keeper = keeper_of(store, venue, clock)
            with pytest.raises(NotTried, match="HTTP 451"):
                venue.get("/x", {}, COST)
            clock.advance(3601)
            venue.begin(clock.monotonic() + 30)
            assert venue.get("/x", {}, COST).status == 200
            keeper.keep(now=True)
        assert len(server.log) == 2
    state = store.load_states()[venue.source]
    assert (state.denied, state.paused_until) == (False, None)


def test_a_pause_met_while_the_database_is_away_is_stored_when_it_is_back(store, cluster):
    clock = ManualClock(START)
    gone = ProviderStore(Database("postgresql://nobody@127.0.0.1:9/none", clock=clock))
    with (
        Server(answers(reply(b"banned", 418, **{"Retry-After": "600"}))) as server,
        door(server.url, clock=clock) as venue,
    ):
        keeper = keeper_of(store, venue, clock)
        keeper._store = gone
        with pytest.raises(RateLimited):
            venue.get("/x", {}, COST)
        keeper.keep(now=True)
        assert venue.source not in store.load_states()
        keeper._store = store
        clock.advance(2)
        keeper.keep()
        assert store.load_states()[venue.source].banned


def test_the_end_of_a_pause_is_stored(store):
    clock = ManualClock(START)
    with Server(answers(reply(b"", 418, **{"Retry-After": "600"}))) as server, door(server.url, clock=clock) as venue:
        keeper = keeper_of(store, venue, clock)
        with pytest.raises(RateLimited):
            venue.get("/x", {}, COST)
        clock.advance(601)
        keeper.keep()
    assert store.load_states()[venue.source].paused_until is None
