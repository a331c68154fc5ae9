"""Daily ranks: the last round of each day, who came and who went, and what was known when."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.analytics.ranks import daily_ranks, entries, exits, rank_at

DAY1 = datetime(2026, 3, 1, tzinfo=UTC)
DAY2, DAY3, DAY4 = (DAY1 + timedelta(days=days) for days in (1, 2, 3))


def snapshots(*rows):
    """Return a frame of (asset, time, rank, cap) with a price of a hundredth of the cap."""
    columns = ["asset_id", "observed_at", "rank", "market_cap_usd"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["observed_at"] = pd.to_datetime(frame["observed_at"], utc=True)
    frame[["rank", "market_cap_usd"]] = frame[["rank", "market_cap_usd"]].astype(float)
    return frame.assign(price_usd=frame["market_cap_usd"] / 100)


def at(day, hour, minute=0):
    return day + timedelta(hours=hour, minutes=minute)


def days(rows):
    return [(row.day.day, row.asset_id, row.cap_rank) for row in rows]


HISTORY = snapshots(
    ("a", at(DAY1, 9), 1, 500),
    ("a", at(DAY1, 23, 50), 1, 400),
    ("b", at(DAY1, 23, 55), 3, 300),
    ("c", at(DAY1, 23, 52), 2, 350),
    ("a", at(DAY2, 23, 50), 1, 400),
    ("b", at(DAY2, 23, 51), 2, 390),
    ("c", at(DAY2, 23, 52), 3, 200),
    ("b", at(DAY3, 23, 0), 1, 600),
    ("d", at(DAY3, 23, 30), 2, 500),
    ("c", at(DAY3, 23, 1), 3, 100),
)


def test_the_last_snapshots_of_a_day_decide():
    rows = daily_ranks(HISTORY, top=2)
    assert days(rows[:3]) == [(1, "a", 1), (1, "c", 2), (1, "b", 3)]
    first = rows[0]
    assert (first.day, first.observed_at) == (DAY1, at(DAY1, 23, 50))
    assert (type(first.day), first.day.tzinfo, type(first.rank), type(first.price_usd)) == (datetime, UTC, int, float)
    assert (first.rank, first.market_cap_usd, first.price_usd) == (1, 400.0, 4.0)
    assert [row.rank for row in rows[:3]] == [1, 2, 3]


def test_entries_and_exits_against_the_list_of_the_day_before():
    rows = daily_ranks(HISTORY, top=2)
    assert days(entries(rows)) == [(2, "b", 2), (3, "d", 2)]
    assert days(exits(rows)) == [(2, "c", 3), (3, "a", None)]
    gone = exits(rows)[-1]
    assert (gone.day, gone.rank, gone.market_cap_usd, gone.price_usd, gone.observed_at) == (
        DAY3,
        None,
        None,
        None,
        None,
    )
    assert not entries(daily_ranks(HISTORY, top=4)[:3])  # nothing to compare the first day with


def test_an_asset_that_dropped_out_during_the_day_has_no_cap_rank():
    frame = snapshots(("a", at(DAY1, 10), 1, 900), ("b", at(DAY1, 23), 2, 500), ("c", at(DAY1, 22, 30), 3, 400))
    rows = daily_ranks(frame, top=5)
    assert days(rows) == [(1, "b", 1), (1, "c", 2), (1, "a", None)]
    assert (rows[2].rank, rows[2].market_cap_usd) == (1, 900.0)
    assert days(daily_ranks(frame, top=5, round_width=timedelta(days=1)))[0] == (1, "a", 1)


def test_an_asset_without_a_cap_or_a_rank_has_none():
    nothing, zero = daily_ranks(snapshots(("a", at(DAY1, 1), 7, None), ("b", at(DAY1, 1), None, 0)), top=5)[::-1]
    assert (nothing.asset_id, nothing.rank, nothing.cap_rank, nothing.market_cap_usd) == ("a", 7, None, None)
    assert (zero.asset_id, zero.rank, zero.cap_rank, zero.market_cap_usd) == ("b", None, 1, 0.0)


def test_equal_caps_follow_the_provider_and_then_the_id():
    frame = snapshots(
        *((asset, at(DAY1, 1), rank, 5) for asset, rank in (("z", 1), ("y", None), ("x", None), ("w", 2)))
    )
    assert [row.asset_id for row in daily_ranks(frame, top=5)] == ["z", "w", "x", "y"]


def test_days_without_a_list_are_skipped_in_the_comparison():
    without_second = HISTORY[HISTORY["observed_at"].dt.day != 2]
    assert days(entries(daily_ranks(without_second, top=2))) == [(3, "b", 1), (3, "d", 2)]
    capless = HISTORY.assign(market_cap_usd=HISTORY["market_cap_usd"].where(HISTORY["observed_at"].dt.day != 2))
    rows = daily_ranks(capless, top=2)
    assert [row.day for row in entries(rows) + exits(rows)] == [DAY3] * 4


def test_the_rank_at_a_moment_is_that_of_the_last_day_that_had_ended():
    rows = daily_ranks(HISTORY, top=2)
    assert rank_at(rows, DAY2 - timedelta(seconds=1)) == []
    assert days(rank_at(rows, DAY2)) == [(1, "a", 1), (1, "c", 2), (1, "b", 3)]
    assert days(rank_at(rows, DAY3 - timedelta(seconds=1))) == [(1, "a", 1), (1, "c", 2), (1, "b", 3)]
    assert days(rank_at(rows, DAY4 + timedelta(days=9))) == [(3, "b", 1), (3, "d", 2), (3, "c", 3)]


def test_nothing_in_nothing_out_and_an_impossible_list_is_refused():
    assert daily_ranks(HISTORY.iloc[:0], top=3) == []
    with pytest.raises(ValueError, match="top 0"):
        daily_ranks(HISTORY, top=0)


@settings(max_examples=20)
@given(st.permutations(range(len(HISTORY))), st.sampled_from([DAY2, DAY3]), st.floats(0.01, 100))
def test_order_scale_and_future_change_no_rank(order, end, scale):
    rows = daily_ranks(HISTORY, top=2)
    assert daily_ranks(HISTORY.iloc[list(order)], top=2) == rows
    assert days(daily_ranks(HISTORY.assign(market_cap_usd=HISTORY["market_cap_usd"] * scale), top=2)) == days(rows)
    known = daily_ranks(HISTORY[HISTORY["observed_at"] < end], top=2)
    assert known == [row for row in rows if row.day < end]
