"""Trends: one small window by hand, TA-Lib beside it, holes by name, and the laws of scale, order and time."""

import math
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress

from collector.analytics.bars import PARTS, BarPanel
from collector.analytics.trends import NUMBERS, Trend, TrendParameters, roi, trend_history, trends
from collector.records import Interval

NAN = float("nan")
START = datetime(2026, 1, 2, tzinfo=UTC)  # the end of the first bar
PRICES = {"first_price", "last_price", "sma_fast", "sma_slow", "poc_price", "value_area_low", "value_area_high"}


def panel_of(closes, *, interval=Interval.D1, volume=None, spread=0.01):
    """Return a panel whose bars open at the close before and reach a little further on both sides."""
    closes = pd.DataFrame(closes, dtype=float)
    closes.index = pd.date_range(START, periods=len(closes), freq=interval.width, unit="s")
    opened = closes.shift(1).fillna(closes)
    high, low = np.maximum(opened, closes) * (1 + spread), np.minimum(opened, closes) * (1 - spread)
    traded = closes * 0 + 10 if volume is None else pd.DataFrame(volume, dtype=float).set_axis(closes.index)
    return BarPanel(interval, opened, high, low, closes, traded)


def random_panel(bars=120, names=("bitcoin", "ether", "sol"), seed=5, **changes):
    random = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(random.normal(0, 0.03, (bars, len(names))), axis=0))
    volume = random.random((bars, len(names))) * 100 + 1
    return panel_of(dict(zip(names, closes.T, strict=True)), volume=dict(zip(names, volume.T, strict=True)), **changes)


def blanked(panel, rows, name):
    """Return the panel without these bars of a series."""
    parts = {part: getattr(panel, part).copy() for part in PARTS}
    for frame in parts.values():
        frame.iloc[rows, frame.columns.get_loc(name)] = NAN
    return replace(panel, **parts)


def only(panel, window=4, **changes):
    (row,) = trends(panel, {"w": window}, **changes)
    return row


def same(left, right, *, rel=1e-9):
    if left is None or isinstance(left, (int, str, datetime)):
        return left == right
    return right is not None and left == pytest.approx(right, rel=rel, abs=1e-10)


def test_a_window_by_hand():
    # Four bars of a day from 100: +10 %, -10 %, +10 %, 0; the two before belong to the averages alone.
    closes = [80, 90, 100, 110, 99, 108.9, 108.9]
    volume = [9, 1, 2, 3, 4, 5, 6]
    row = only(panel_of({"a": closes}, volume={"a": volume}), parameters=TrendParameters(sma_fast=2, sma_slow=4))
    up, down = math.log(1.1), math.log(0.9)
    mean = (2 * up + down) / 4
    deviation = math.sqrt((2 * (up - mean) ** 2 + (down - mean) ** 2 + mean**2) / 3)
    assert (row.subject, row.window, row.as_of) == ("a", "w", START + timedelta(days=6))
    assert (row.bars, row.missing) == (4, 0)
    assert (row.first_price, row.last_price) == (100, 108.9)
    assert row.change == pytest.approx(0.089)
    assert row.volatility == pytest.approx(deviation * math.sqrt(365))
    assert row.drawdown == pytest.approx(108.9 / 110 - 1)
    assert row.max_drawdown == pytest.approx(-0.1)
    assert row.sma_fast == pytest.approx(108.9)
    assert row.sma_slow == pytest.approx((110 + 99 + 108.9 + 108.9) / 4)
    assert row.ma_state == 1
    assert row.volume == 18
    assert row.volume_change is None  # only three of the four bars before are there


def test_a_line_has_its_own_slope_per_day_whatever_the_bar():
    for interval, bars_a_day in ((Interval.D1, 1), (Interval.H4, 6), (Interval.W1, 1 / 7)):
        closes = 100 * np.exp(0.01 * np.arange(30))
        row = only(panel_of({"a": closes}, interval=interval), 20)
        assert row.slope == pytest.approx(0.01 * bars_a_day)
        assert row.strength == pytest.approx(1)
        assert row.volatility == pytest.approx(0, abs=1e-12)


def test_numbers_agree_with_talib_and_scipy():
    panel = random_panel()
    closes = panel.close["ether"].to_numpy()
    row = trends(panel, {"w": 60}, bitcoin=panel.close["bitcoin"], market=panel.close["sol"])[1]
    returns = {name: panel.close[name].pct_change().to_numpy()[1:] for name in panel.close}
    fit = linregress(np.arange(61), np.log(closes[-61:]))
    assert row.sma_fast == pytest.approx(talib.SMA(closes, 20)[-1])
    assert row.sma_slow == pytest.approx(talib.SMA(closes, 50)[-1])
    assert row.change == pytest.approx(talib.ROCP(closes, 60)[-1])
    assert row.beta_bitcoin == pytest.approx(talib.BETA(panel.close["bitcoin"].to_numpy(), closes, 60)[-1])
    assert row.beta_market == pytest.approx(talib.BETA(panel.close["sol"].to_numpy(), closes, 60)[-1])
    assert row.correlation_bitcoin == pytest.approx(talib.CORREL(returns["bitcoin"], returns["ether"], 60)[-1])
    assert row.correlation_market == pytest.approx(talib.CORREL(returns["sol"], returns["ether"], 60)[-1])
    assert (row.slope, row.strength) == (pytest.approx(fit.slope), pytest.approx(fit.rvalue**2))
    assert row.volume == pytest.approx(talib.SUM(panel.volume["ether"].to_numpy(), 60)[-1])
    sums = talib.SUM(panel.volume["ether"].to_numpy(), 60)
    assert row.volume_change == pytest.approx(sums[-1] / sums[-61] - 1)


def test_the_age_of_a_moving_average_state_is_counted_from_its_cross():
    closes = np.concatenate([np.linspace(100, 60, 80), np.linspace(61, 100, 40)])
    fast, slow = talib.SMA(closes, 20), talib.SMA(closes, 50)
    above = fast > slow
    crossed = int(np.flatnonzero(above[50:] != above[49:-1])[-1]) + 50
    row = only(panel_of({"a": closes}), 60)
    assert (row.ma_state, row.ma_bars) == (1, len(closes) - 1 - crossed)
    young = only(panel_of({"a": closes[: crossed + 1]}), 60)
    assert (young.ma_state, young.ma_bars) == (1, 0)
    assert only(panel_of({"a": closes}), 3).ma_bars is None  # the state is older than the window


def test_a_state_beside_a_hole_has_no_age_until_the_next_cross():
    parameters = TrendParameters(sma_fast=1, sma_slow=2)  # the state is the direction of the last step
    unknown = only(panel_of({"a": [5, 4, 3, NAN, 10, 12, 13]}), 6, parameters=parameters)
    assert (unknown.ma_state, unknown.ma_bars) == (1, None)
    known = only(panel_of({"a": [5, 4, 3, NAN, 10, 9, 12]}), 6, parameters=parameters)
    assert (known.ma_state, known.ma_bars) == (1, 0)


def test_averages_that_differ_by_rounding_alone_are_equal():
    week = [100.1, 100.7, 99.3, 101.9, 98.6, 100.3, 97.7]  # over and over: the mean of 7 is the mean of 14
    for bars in range(35, 42):
        panel = panel_of({"a": (week * 6)[:bars]})
        row = only(panel, 10, parameters=TrendParameters(sma_fast=7, sma_slow=14))
        assert (row.ma_state, row.ma_bars) == (0, None)


def test_a_price_that_never_moves_is_told_as_still_and_not_as_unknown():
    row = only(panel_of({"a": [0.1] * 80}, spread=0), 20, bitcoin=pd.Series([1.0] * 80))
    assert (row.change, row.volatility, row.volatility_parkinson, row.volatility_garman_klass) == (0, 0, 0, 0)
    assert (row.drawdown, row.max_drawdown, row.ma_state, row.ma_bars) == (0, 0, 0, None)
    assert row.slope == pytest.approx(0, abs=1e-15)
    assert (row.strength, row.correlation_bitcoin, row.beta_bitcoin) == (None, None, None)
    assert (row.poc_price, row.value_area_low, row.value_area_high) == (0.1, 0.1, 0.1)


def test_zero_volume_is_a_sum_and_has_no_profile():
    row = only(panel_of({"a": range(1, 30)}, volume={"a": [0] * 29}))
    assert (row.volume, row.volume_change, row.poc_price) == (0, None, None)


def test_a_hole_costs_what_needs_it_and_is_counted():
    whole = random_panel()
    row = trends(blanked(whole, [110], "ether"), {"w": 20})[1]
    assert (row.bars, row.missing) == (19, 1)
    assert row.change == pytest.approx(trends(whole, {"w": 20})[1].change)
    assert (row.volume, row.volume_change, row.sma_fast, row.sma_slow, row.ma_state) == (None,) * 5
    returns = np.diff(np.log(whole.close["ether"].to_numpy()[-21:]))
    kept = np.delete(returns, [10, 11])  # the ones into and out of the bar that is missing
    assert row.volatility == pytest.approx(np.std(kept, ddof=1) * math.sqrt(365))


def test_too_many_holes_leave_the_ends_alone():
    row = trends(blanked(random_panel(), [104, 107, 110], "ether"), {"w": 20})[1]
    assert (row.bars, row.missing) == (17, 3)
    assert None not in (row.first_price, row.last_price, row.change)
    for field in ("volatility", "volatility_parkinson", "drawdown", "max_drawdown", "slope", "strength", "poc_price"):
        assert getattr(row, field) is None
    lenient = trends(
        blanked(random_panel(), [104, 107, 110], "ether"), {"w": 20}, parameters=TrendParameters(coverage=0.6)
    )[1]
    assert None not in (lenient.volatility, lenient.max_drawdown, lenient.slope, lenient.poc_price)


def test_a_missing_end_leaves_no_change():
    last = trends(blanked(random_panel(), [119], "ether"), {"w": 20})[1]
    assert (last.last_price, last.change, last.drawdown) == (None, None, None)
    assert last.max_drawdown is not None
    first = trends(blanked(random_panel(), [99], "ether"), {"w": 20})[1]
    assert (first.first_price, first.change, first.bars) == (None, None, 20)


def test_a_series_that_is_younger_than_the_window_and_one_without_any_bar():
    panel = random_panel(8)
    young, _, empty = trends(blanked(panel, range(8), "sol"), {"w": 30})
    assert (young.bars, young.missing, young.first_price, young.volatility) == (8, 22, None, None)
    assert young.last_price == panel.close["bitcoin"].iloc[-1]
    known = {field.name: getattr(empty, field.name) for field in fields(Trend)}
    assert {name for name, value in known.items() if value is not None} == {
        "subject",
        "window",
        "as_of",
        "bars",
        "missing",
    }


def test_without_a_reference_or_where_it_has_holes_there_is_no_beta():
    panel = random_panel()
    short = panel.close["bitcoin"].iloc[-30:]
    row = trends(panel, {"w": 60, "v": 20}, bitcoin=short)
    assert (row[1].beta_bitcoin, row[1].correlation_market) == (None, None)
    assert row[4].beta_bitcoin is not None


def test_an_empty_panel_has_no_trend_and_an_impossible_window_is_refused():
    panel = random_panel()
    assert trends(panel.until(START - timedelta(days=1)), {"w": 3}) == []
    assert trend_history(panel.until(START - timedelta(days=1)), {"w": 3}).empty
    with pytest.raises(ValueError, match="window w"):
        trends(panel, {"w": 0})
    with pytest.raises(ValueError, match="sma_fast 50"):
        TrendParameters(sma_fast=50)
    with pytest.raises(ValueError, match="coverage"):
        TrendParameters(coverage=0)


def test_numbers_are_pythons_own():
    for row in trends(random_panel(), {"w": 20}):
        values = [getattr(row, name) for name in NUMBERS]
        assert {type(value) for value in values} <= {float, int, type(None)}
        assert all(value is None or math.isfinite(value) for value in values)
        assert (type(row.ma_state), type(row.bars), row.as_of.tzinfo) == (int, int, UTC)


def test_return_on_investment_from_any_start():
    closes = panel_of({"a": [100, 80, 120], "b": [NAN, 50, 25]}).close
    assert list(roi(closes, START)) == [pytest.approx(0.2), pytest.approx(NAN, nan_ok=True)]
    assert list(roi(closes, START + timedelta(hours=47))) == [pytest.approx(0.5), -0.5]
    assert list(roi(closes, START + timedelta(days=9))) == [0, 0]
    assert roi(closes, START - timedelta(seconds=1)).isna().all()


holes = st.lists(st.tuples(st.integers(0, 69), st.sampled_from(["bitcoin", "ether"])), max_size=12)


@settings(max_examples=15, deadline=None)
@given(holes, st.integers(0, 1000))
def test_truncating_the_future_changes_nothing(missing, seed):
    panel = random_panel(70, seed=seed)
    for row, name in missing:
        panel = blanked(panel, [row], name)
    windows = {"short": 5, "long": 21}
    parameters = TrendParameters(sma_fast=4, sma_slow=9)
    references = {"bitcoin": panel.close["bitcoin"], "market": panel.close["sol"]}
    history = trend_history(panel, windows, parameters=parameters, **references)
    for moment in panel.close.index[::9]:
        for row in trends(panel.until(moment), windows, parameters=parameters, **references):
            told = history.loc[(row.window, moment, row.subject)]
            for name in NUMBERS:
                value = None if math.isnan(told[name]) else told[name]
                assert same(value, getattr(row, name)), name


@settings(max_examples=15, deadline=None)
@given(holes, st.sampled_from([1 / 1024, 0.5, 64]), st.integers(0, 1000))
def test_scaling_prices_changes_no_return(missing, scale, seed):
    panel = random_panel(70, seed=seed)
    for row, name in missing:
        panel = blanked(panel, [row], name)
    scaled = replace(panel, **{part: getattr(panel, part) * scale for part in PARTS if part != "volume"})
    rows = [trends(one, {"w": 15}, bitcoin=one.close["bitcoin"]) for one in (panel, scaled)]
    for plain, other in zip(*rows, strict=True):
        for name in NUMBERS:
            value = getattr(plain, name)
            assert same(value * scale if name in PRICES and value is not None else value, getattr(other, name)), name


@settings(max_examples=15, deadline=None)
@given(holes, st.permutations(["bitcoin", "ether", "sol"]))
def test_permuting_series_permutes_the_rows(missing, order):
    panel = random_panel(70)
    for row, name in missing:
        panel = blanked(panel, [row], name)
    plain, moved = (
        {row.subject: row for row in trends(one, {"w": 15}, market=panel.close["sol"])}
        for one in (panel, panel.only(order))
    )
    assert list(moved) == list(order)
    for subject, row in plain.items():
        assert all(same(getattr(row, name), getattr(moved[subject], name)) for name in NUMBERS)
