"""Derived metrics of single windows, against numbers worked out by hand and other libraries."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from collector.analytics.derived import DerivedParameters, derive, derive_history, grid, history_needed

START = datetime(2026, 3, 11, 14, 0, tzinfo=UTC)


def minute(number):
    return START + timedelta(minutes=number)


def frame(observations, name="okx:BTC-USDT:perp"):
    """A frame of one series from {minute: value}."""
    return pd.DataFrame({name: list(observations.values())}, index=pd.DatetimeIndex([minute(m) for m in observations]))


def one(observations, window, *, size=4, intervals=(5, 15), at=None, measure="price"):
    rows = derive({measure: frame(observations)}, DerivedParameters(window_size=size, intervals=intervals), at=at)
    return next(row for row in rows if row.window == window)


def test_window_of_observations_worked_by_hand():
    # Minutes 0 1 2 3, values 10 12 11 15: mean 12, squares about it 4 0 1 9 = 14, deviation sqrt(14 / 3);
    # slope: minutes about 1.5 are -1.5 -0.5 0.5 1.5 (squares 5), products 3 + 0 - 0.5 + 4.5 = 7, so 7 / 5.
    row = one({0: 10.0, 1: 12.0, 2: 11.0, 3: 15.0}, "4")
    assert (row.subject, row.measure, row.observed_at) == ("okx:BTC-USDT:perp", "price", minute(3))
    assert (row.value, row.mean, row.samples) == (15.0, 12.0, 4)
    assert row.deviation == pytest.approx(2.160246899469287, rel=1e-14)
    assert row.gradient == pytest.approx(1.4, rel=1e-14)
    assert row.gradient_relative == pytest.approx(1.4 / 12, rel=1e-14)
    assert row.zscore == pytest.approx(3 / 2.160246899469287, rel=1e-14)


def test_gradient_counts_minutes_not_observations():
    # Minutes 0 10 20 30 and the same values: a tenth of the slope per minute, all else the same.
    row = one({0: 10.0, 10: 12.0, 20: 11.0, 30: 15.0}, "4")
    assert row.gradient == pytest.approx(0.14, rel=1e-14)
    assert (row.mean, row.samples) == (12.0, 4)


def test_gradient_of_a_straight_line_is_its_slope_however_irregular_the_minutes():
    row = one({m: 100 - 0.25 * m for m in (0, 1, 7, 8, 30, 31)}, "4")
    assert row.gradient == pytest.approx(-0.25, rel=1e-13)


def test_interval_includes_the_minute_at_its_start_and_none_before():
    # At a collection every five minutes "5m" is the change over five minutes: (13 - 10) / 5.
    row = one({0: 99.0, 4: 77.0, 5: 10.0, 10: 13.0}, "5m")
    assert (row.samples, row.mean) == (2, 11.5)
    assert row.gradient == pytest.approx(0.6, rel=1e-14)
    assert row.deviation == pytest.approx(1.5 * 2**0.5, rel=1e-14)


def test_window_of_observations_reaches_over_any_hole_and_an_interval_does_not():
    observations = {0: 10.0, 1: 12.0, 600: 11.0, 601: 15.0}
    assert (one(observations, "4").samples, one(observations, "4").mean) == (4, 12.0)
    assert (one(observations, "15m").samples, one(observations, "15m").mean) == (2, 13.0)


def test_too_few_observations_for_the_sliding_window_leave_value_and_samples():
    row = one({0: 10.0, 1: 12.0, 2: 11.0}, "4")
    assert (row.value, row.samples) == (11.0, 3)
    assert (row.gradient, row.gradient_relative, row.mean, row.deviation, row.zscore) == (None,) * 5


def test_single_observation_in_an_interval_has_a_mean_and_nothing_else():
    row = one({0: 10.0, 100: 12.0}, "15m")
    assert (row.value, row.mean, row.samples) == (12.0, 12.0, 1)
    assert (row.gradient, row.gradient_relative, row.deviation, row.zscore) == (None,) * 4


def test_unchanging_value_has_deviation_zero_and_no_zscore():
    row = one(dict.fromkeys(range(4), 0.1), "4")
    assert (row.deviation, row.gradient, row.zscore) == (0.0, 0.0, None)


def test_zero_is_an_observation():
    row = one({0: 0.0, 1: 0.0, 2: 0.0, 3: 4.0}, "4", measure="volume")
    assert (row.mean, row.samples) == (1.0, 4)
    assert row.zscore == pytest.approx(1.5, rel=1e-14)  # squares about 1: 1 + 1 + 1 + 9 = 12, deviation 2


@pytest.mark.parametrize("values", [(-0.3, 0.1, 0.2, 0.0), (1.0, -1.0, 1.0, -1.0), (0.1, 0.2, -0.4, 0.1)])
def test_relative_gradient_is_none_where_the_mean_is_zero(values):
    row = one(dict(enumerate(values)), "4", measure="imbalance")
    assert row.gradient is not None
    assert row.gradient_relative is None


def test_small_changes_of_a_large_value_are_not_lost():
    # 1e9 and changes of a thousandth: running sums of squares (1e18) would know nothing of them.
    row = one({0: 1e9, 1: 1e9 + 0.002, 2: 1e9 + 0.001, 3: 1e9 + 0.005}, "4")
    assert row.deviation == pytest.approx(0.002160246899469287, rel=1e-4)  # 1e9 + 0.001 itself is rounded to 1e-7
    assert row.gradient == pytest.approx(0.0014, rel=1e-4)


@pytest.mark.parametrize("size", [2, 3, 7, 16, 20, 61])
def test_window_of_observations_equals_polyfit_and_scipy(size):
    rng = np.random.default_rng(size)
    minutes = np.cumsum(rng.integers(1, 12, 200))
    values = 3 + np.cumsum(rng.normal(0, 0.1, 200))
    row = one(dict(zip(minutes.tolist(), values.tolist(), strict=True)), str(size), size=size)
    line = stats.linregress(minutes[-size:], values[-size:])
    assert row.gradient == pytest.approx(line.slope, rel=1e-9)
    assert row.gradient == pytest.approx(np.polyfit(minutes[-size:] - minutes[-1], values[-size:], 1)[0], rel=1e-9)
    assert row.zscore == pytest.approx(stats.zscore(values[-size:], ddof=1)[-1], rel=1e-9)
    assert row.gradient_relative == pytest.approx(line.slope / values[-size:].mean(), rel=1e-9)


def test_history_equals_rolling_windows_of_pandas():
    rng = np.random.default_rng(5)
    index = pd.date_range(START, periods=500, freq="min")
    prices = pd.DataFrame(50 + np.cumsum(rng.normal(0, 1, (500, 3)), axis=0), index=index, columns=list("abc"))
    prices = prices.mask(rng.random(prices.shape) < 0.3)
    for panel in derive_history({"price": prices}, DerivedParameters()):
        for name in prices:
            seen = prices[name].dropna()
            rolling = seen.rolling(20) if panel.window == "20" else seen.rolling(f"{panel.window}in", closed="both")
            mean, deviation = rolling.mean(), rolling.std().mask(rolling.count() < 2)
            expected = {"mean": mean, "deviation": deviation, "zscore": (seen - mean) / deviation}
            for part, numbers in expected.items():
                found = getattr(panel, part)[name]
                assert found[prices[name].isna()].isna().all()
                np.testing.assert_allclose(found[seen.index], numbers, rtol=1e-6, atol=1e-9)
            slope = rolling.apply(_slope, raw=False)
            np.testing.assert_allclose(panel.gradient[name][seen.index], slope, rtol=1e-8, atol=1e-12)
            counts = seen.expanding().count().clip(upper=20) if panel.window == "20" else rolling.count()
            np.testing.assert_array_equal(panel.samples[name][seen.index], counts)


def _slope(values):
    minutes = (values.index - START) / timedelta(minutes=1)
    return stats.linregress(minutes, values).slope if len(values) > 1 else np.nan


def test_rows_of_a_history_are_the_rows_of_each_minute():
    prices = frame({0: 10.0, 1: np.nan, 2: 12.0, 3: 11.0, 9: 15.0})
    parameters = DerivedParameters(window_size=3, intervals=(2,))
    rows = [row for panel in derive_history({"price": prices}, parameters) for row in panel.rows()]
    each = [row for m in (0, 2, 3, 9) for row in derive({"price": prices}, parameters, at=minute(m))]
    assert sorted(rows, key=lambda row: (row.observed_at, row.window != "3")) == each
    assert [row.samples for row in each if row.window == "2m"] == [1, 2, 2, 1]


def test_rows_come_by_measure_series_and_window_each_with_its_own_newest_minute():
    index = pd.DatetimeIndex([minute(0), minute(1)])
    prices = pd.DataFrame({"b": [1.0, 2.0], "a": [3.0, np.nan], "never": [np.nan, np.nan]}, index=index)
    rows = derive({"rsi_14": prices, "price": prices}, DerivedParameters(window_size=2, intervals=(5,)))
    assert [(row.measure, row.subject, row.window, row.observed_at) for row in rows] == [
        (measure, subject, window, newest)
        for measure in ("rsi_14", "price")
        for subject, newest in (("b", minute(1)), ("a", minute(0)))
        for window in ("2", "5m")
    ]


def test_later_minutes_are_left_out():
    observations = {0: 10.0, 1: 12.0, 2: 11.0, 3: 15.0, 4: 1000.0}
    assert one(observations, "4", at=minute(3)) == one(dict(list(observations.items())[:4]), "4")
    assert one(observations, "4", at=minute(3) + timedelta(seconds=59)) == one(observations, "4", at=minute(3))
    assert derive({"price": frame(observations)}, DerivedParameters(), at=minute(-1)) == []
    assert derive({"price": pd.DataFrame()}, DerivedParameters(), at=minute(3)) == []


def test_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="aware"):
        derive({"price": frame({0: 1.0})}, DerivedParameters(), at=datetime(2026, 3, 11))  # noqa: DTZ001


def test_nothing_observed_gives_nothing():
    empty = pd.DataFrame()
    assert derive({"price": empty, "funding": frame({0: np.nan})}, DerivedParameters()) == []
    assert derive({}, DerivedParameters()) == []
    panels = derive_history({"price": frame({})}, DerivedParameters())
    assert [(panel.window, panel.mean.shape) for panel in panels] == [(w, (0, 1)) for w in ("20", "5m", "15m", "60m")]


@pytest.mark.parametrize(
    "index",
    [
        pd.DatetimeIndex(["2026-03-11 14:00"]),
        pd.DatetimeIndex(["2026-03-11 14:00+02:00"]),
        pd.DatetimeIndex(["2026-03-11 14:00:30+00:00"]),
        pd.DatetimeIndex(["2026-03-11 14:01+00:00", "2026-03-11 14:00+00:00"]),
        pd.DatetimeIndex(["2026-03-11 14:00+00:00", "2026-03-11 14:00+00:00"]),
    ],
    ids=["naive", "not UTC", "within a minute", "descending", "twice"],
)
def test_index_that_is_no_grid_of_minutes_is_refused(index):
    for at in (None, minute(10)):
        with pytest.raises(ValueError, match="price"):
            derive({"price": pd.DataFrame({"a": [1.0] * len(index)}, index=index)}, DerivedParameters(), at=at)


@pytest.mark.parametrize("value", [np.inf, -np.inf, -1e200])
def test_value_without_a_finite_square_is_refused(value):
    with pytest.raises(ValueError, match="spread_bps holds a value beyond"):
        derive({"spread_bps": frame({0: 1.0, 1: value})}, DerivedParameters())


@pytest.mark.parametrize("parameters", [{"window_size": 1}, {"intervals": (0,)}, {"intervals": (5, 5)}])
def test_impossible_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=r"window_size|intervals"):
        DerivedParameters(**parameters)


def test_history_needed_is_the_longest_window_in_observations():
    assert history_needed(DerivedParameters()) == 61  # both ends of an hour
    assert history_needed(DerivedParameters(window_size=200)) == 200
    assert history_needed(DerivedParameters(window_size=20, intervals=())) == 20


def test_grid_keeps_the_last_observation_of_each_minute_and_carries_nothing_on():
    times = [minute(0) + timedelta(seconds=s) for s in (59.999, 1, 60, 185)]
    found = grid(times, ["b", "b", "a", "b"], [3.0, 9.0, 0.0, 4.0])
    expected = pd.DataFrame(
        {"a": [np.nan, 0.0, np.nan], "b": [3.0, np.nan, 4.0]}, index=[minute(0), minute(1), minute(3)]
    )
    pd.testing.assert_frame_equal(found, expected, check_index_type=False, check_column_type=False, check_freq=False)
    assert found.index.tz is UTC or str(found.index.tz) == "UTC"


def test_grid_of_five_minutes_labels_a_cell_by_its_start():
    found = grid([minute(4), minute(5), minute(9)], ["a"] * 3, [1.0, 2.0, 3.0], every=timedelta(minutes=5))
    assert found["a"].to_dict() == {minute(0): 1.0, minute(5): 3.0}


def test_grid_takes_the_later_row_of_two_at_one_time_and_no_empty_one():
    found = grid([minute(0)] * 3 + [minute(1)], ["a"] * 4, [1.0, 2.0, None, np.nan])
    assert found["a"].to_dict() == {minute(0): 2.0}


def test_grid_of_nothing_is_an_empty_frame_that_can_be_derived():
    assert derive({"price": grid([], [], [])}, DerivedParameters()) == []


@pytest.mark.parametrize(
    "times",
    [[datetime(2026, 3, 11)], [datetime(2026, 3, 11, tzinfo=timezone(timedelta(hours=1)))]],  # noqa: DTZ001
)
def test_grid_refuses_times_that_are_not_utc(times):
    with pytest.raises(ValueError, match="UTC"):
        grid(times, ["a"], [1.0])


@pytest.mark.parametrize("every", [timedelta(0), timedelta(seconds=30), timedelta(seconds=90)])
def test_grid_refuses_a_step_that_is_no_number_of_minutes(every):
    with pytest.raises(ValueError, match="every"):
        grid([minute(0)], ["a"], [1.0], every=every)
