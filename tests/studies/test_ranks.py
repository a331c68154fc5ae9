"""Daily ranks with entries and exits, as the collector makes them round after round."""

from datetime import timedelta

import pytest

from collector.config import RankSettings
from collector.studies.ranks import RankStudy
from tests.studies.market import DAY, START, snapshot

NOON = timedelta(hours=12)


@pytest.fixture
def run(past, findings):
    """Run the study as of a moment, in a program that has just been started."""

    def at(moment):
        found = RankStudy(past, RankSettings(top=2)).make(moment)
        return findings.store(found)

    return at


def put(market, at, **caps):
    market.put(*(snapshot(name, cap, at, rank=place) for place, (name, cap) in enumerate(caps.items(), start=1)))


def stored(market, day):
    return market.rows(
        "SELECT asset_id, cap_rank, entered, dropped FROM rank_history WHERE day = :day ORDER BY cap_rank, asset_id",
        day=day,
    )


def test_ranks_are_by_cap_and_tell_who_entered_and_who_left(market, run):
    put(market, START + NOON, a=3, b=2, c=1)
    put(market, START + DAY + NOON, a=3, c=2.5, b=2)
    assert run(START + DAY + NOON) == {"rank_history": 6}
    assert stored(market, START) == [("a", 1, False, False), ("b", 2, False, False), ("c", 3, False, False)]
    assert stored(market, START + DAY) == [("a", 1, False, False), ("c", 2, True, False), ("b", 3, False, True)]


def test_columns_hold_what_the_snapshot_said(market, run):
    market.put(snapshot("a", 3, START + NOON, rank=7, price=1.5))
    run(START + NOON)
    assert market.rows(
        "SELECT source, asset_id, day, rank, cap_rank, market_cap_usd, price_usd, observed_at FROM rank_history"
    ) == [("coingecko", "a", START, 7, 1, 3.0, 1.5, START + NOON)]


def test_the_running_day_is_brought_up_to_date_round_after_round(market, run):
    put(market, START + NOON, a=3, b=2, c=1)
    run(START + NOON)
    for hours, caps in (
        (13, {"a": 3, "c": 2.5, "b": 2}),
        (26, {"a": 3, "b": 2.5, "c": 2}),
        (30, {"c": 4, "a": 3, "b": 1}),
    ):
        put(market, START + timedelta(hours=hours), **caps)
        run(START + timedelta(hours=hours))
    assert stored(market, START) == [("a", 1, False, False), ("c", 2, False, False), ("b", 3, False, False)]
    assert stored(market, START + DAY) == [("c", 1, False, False), ("a", 2, False, False), ("b", 3, False, False)]


def test_round_after_round_ends_as_one_run_over_everything(market, run):
    rounds = [(0, "abc"), (5, "acb"), (26, "cba"), (30, "bca"), (80, "acb"), (90, "cab"), (100, "bac")]
    for hours, order in rounds:
        at = START + timedelta(hours=hours)
        put(market, at, **{name: 10 - place for place, name in enumerate(order)})
        run(at)
    columns = "asset_id, day, rank, cap_rank, market_cap_usd, entered, dropped"
    by_rounds = market.rows(f"SELECT {columns} FROM rank_history ORDER BY day, asset_id")
    market.run("TRUNCATE rank_history")
    run(START + timedelta(hours=100))
    assert market.rows(f"SELECT {columns} FROM rank_history ORDER BY day, asset_id") == by_rounds


def test_days_since_the_last_run_are_added(market, run):
    for day in range(4):
        put(market, START + day * DAY + NOON, a=3, b=2)
        if day in (0, 3):
            run(START + day * DAY + NOON)
    assert market.rows("SELECT day, count(*) FROM rank_history GROUP BY day ORDER BY day") == [
        (START + day * DAY, 2) for day in range(4)
    ]


def test_after_days_without_any_snapshot_entries_are_told_against_the_last_list(market, run):
    put(market, START + NOON, a=3, b=2, c=1)
    run(START + NOON)
    back = START + 5 * DAY
    for hours in (1, 2, 3):  # the second round of a day must not forget what the first one told
        put(market, back + timedelta(hours=hours), c=3, a=2, b=1)
        run(back + timedelta(hours=hours))
        assert stored(market, back) == [("c", 1, True, False), ("a", 2, False, False), ("b", 3, False, True)]


def test_the_same_round_again_writes_nothing(market, run):
    put(market, START + NOON, a=3, b=2)
    run(START + NOON)
    assert run(START + NOON + timedelta(minutes=5)) == {"rank_history": 0}


def test_without_snapshots_there_is_nothing(market, past):
    assert RankStudy(past, RankSettings()).make(START) == {}


def test_a_provider_that_tells_no_ranks_or_no_caps_is_no_error(market, run):
    market.put(snapshot("a", 3, START + NOON), snapshot("b", None, START + NOON))
    run(START + NOON)
    assert market.rows("SELECT asset_id, rank, cap_rank, market_cap_usd FROM rank_history ORDER BY 1") == [
        ("a", None, 1, 3.0),
        ("b", None, None, None),
    ]


def test_what_comes_later_changes_nothing_for_then(market, past):
    for day in range(3):
        put(market, START + day * DAY + NOON, a=3 + day, b=4, c=2)
    then = START + DAY + NOON
    before = RankStudy(past, RankSettings(top=2)).make(then)
    put(market, then + timedelta(seconds=1), c=9, a=1, b=2)
    put(market, START + 3 * DAY, c=9, a=1, b=2)
    assert RankStudy(past, RankSettings(top=2)).make(then) == before
