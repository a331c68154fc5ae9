"""Which bars are decided after, each list written from a calendar."""

import pandas as pd
import pytest

from collector.analytics.backtest.calendar import decision_bars


def decided(start, periods, freq, rebalance):
    index = pd.date_range(start, periods=periods, freq=freq, tz="UTC")
    return [str(moment)[:16] for moment in index[decision_bars(index, rebalance)]]


def test_a_month_ends_with_the_bar_that_ends_on_the_first_at_midnight():
    assert decided("2024-01-15", 80, "D", "1M") == [
        "2024-01-15 00:00",
        "2024-02-01 00:00",
        "2024-03-01 00:00",
        "2024-04-01 00:00",
    ]


def test_february_of_a_year_that_is_no_leap_year_ends_after_28_days():
    assert decided("2025-02-01", 30, "D", "1M") == ["2025-02-01 00:00", "2025-03-01 00:00"]


def test_a_week_ends_on_sunday_at_midnight():
    # 2026-01-05 was a Monday: the bar that ends then is Sunday's.
    assert decided("2026-01-02", 12, "D", "1w") == ["2026-01-02 00:00", "2026-01-05 00:00", "2026-01-12 00:00"]


def test_hourly_bars_are_decided_after_at_midnight():
    assert decided("2026-01-01 05:00", 48, "h", "1d") == ["2026-01-01 05:00", "2026-01-02 00:00", "2026-01-03 00:00"]


def test_bars_that_straddle_midnight_decide_with_the_last_one_that_ends_in_the_day():
    # Seven hours each: 22:00 is followed by 05:00 of the next day.
    assert decided("2026-01-01 08:00", 6, "7h", "1d") == ["2026-01-01 08:00", "2026-01-01 22:00", "2026-01-02 19:00"]


def test_a_new_year_is_a_new_month_and_a_week_goes_over_it():
    assert decided("2025-12-30", 6, "D", "1M") == ["2025-12-30 00:00", "2026-01-01 00:00"]
    assert decided("2025-12-30", 6, "D", "1w") == ["2025-12-30 00:00"]


def test_moments_before_1970_have_weeks_and_months_too():
    assert decided("1969-12-20", 15, "D", "1w") == ["1969-12-20 00:00", "1969-12-22 00:00", "1969-12-29 00:00"]
    assert decided("1969-12-20", 15, "D", "1M") == ["1969-12-20 00:00", "1970-01-01 00:00"]


@pytest.mark.parametrize("rebalance", ["1d", "bar"])
def test_bars_as_long_as_the_period_are_all_decisions(rebalance):
    assert len(decided("2026-01-01", 9, "D", rebalance)) == 9


def test_once_is_the_first_bar_alone_and_no_bars_are_no_decisions():
    assert decided("2026-01-01", 9, "D", "once") == ["2026-01-01 00:00"]
    assert decided("2026-01-01", 0, "D", "1w") == []


def test_a_longer_grid_decides_after_the_same_bars():
    for rebalance in ("bar", "1d", "1w", "1M"):
        long = decided("2026-01-07 03:00", 2000, "h", rebalance)
        for cut in (1, 24, 25, 500, 741):
            short = decided("2026-01-07 03:00", cut, "h", rebalance)
            assert short == long[: len(short)]
            assert len(long) == len(short) or long[len(short)] > short[-1]
