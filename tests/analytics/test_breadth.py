"""Breadth and the market's index: counted by hand, with those who came late and those who are gone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.analytics.breadth import breadth, market_index

NAN = float("nan")
START = datetime(2026, 1, 2, tzinfo=UTC)


def frame(**columns):
    rows = len(next(iter(columns.values())))
    index = pd.date_range(START, periods=rows, freq="D", unit="s")
    return pd.DataFrame(columns, index=index, dtype=float)


def test_breadth_by_hand():
    closes = frame(
        up=[1, 2, 3, 4],  # above its average of 3, a new high
        down=[9, 4, 3, 2],  # below 3, a new low
        flat=[5, 7, 3, 5],  # equal to 5, neither
        back=[2, 9, 1, 3],  # up, below 13 / 3, neither high nor low
        late=[NAN, 1, 2, 3],  # no start, above its average
        gone=[1, 2, 3, NAN],
        hole=[3, NAN, 5, 6],  # up and a new high of what is there; no average
    )
    row = breadth(closes, window="3d", bars=3, sma=3)
    assert (row.window, row.as_of) == ("3d", START + timedelta(days=3))
    assert (row.assets, row.advancing, row.declining, row.unchanged) == (5, 3, 1, 1)
    assert (row.sma_assets, row.above_sma) == (5, 2)
    assert (row.new_highs, row.new_lows) == (2, 1)
    assert row.advance_share == pytest.approx(0.6)


def test_a_short_history_has_no_assets_and_no_share():
    row = breadth(frame(a=[1, 2], b=[2, 3]), window="7d", bars=7, sma=5)
    assert (row.assets, row.advancing, row.sma_assets, row.above_sma, row.new_highs) == (0, 0, 0, 0, 0)
    assert row.advance_share is None
    assert breadth(frame(a=[1]), window="1d", bars=1).assets == 0
    assert breadth(frame(a=[1]).iloc[:0], window="1d", bars=1) is None


def test_equal_closes_are_neither_high_nor_low():
    row = breadth(frame(a=[5, 5, 5]), window="2d", bars=2, sma=2)
    assert (row.unchanged, row.above_sma, row.new_highs, row.new_lows) == (1, 0, 0, 0)


def test_lengths_below_one_are_refused():
    with pytest.raises(ValueError, match="bars 0"):
        breadth(frame(a=[1]), window="0d", bars=0)


def test_the_market_weighs_by_the_caps_of_the_row_before():
    prices = frame(a=[10, 11, 11], b=[5, 4, 5])
    caps = frame(a=[300, 330, 330], b=[100, 80, 100])
    levels = market_index(prices, caps)
    assert list(levels) == [1, pytest.approx(1.025), pytest.approx(1.025 * (1 + 0.25 * 80 / 410))]


def test_with_constant_supplies_the_index_is_the_total_cap():
    random = np.random.default_rng(2)
    prices = pd.DataFrame(np.exp(random.normal(0, 0.05, (40, 6)).cumsum(axis=0)))
    caps = prices * random.integers(1, 1000, 6)
    total = caps.sum(axis=1)
    assert market_index(prices, caps).to_numpy() == pytest.approx((total / total.iloc[0]).to_numpy())


def test_newcomers_count_from_their_second_row_and_the_dead_until_their_last():
    prices = frame(a=[10, 10, 10, 10], new=[NAN, 1, 2, 2], dead=[8, 4, NAN, NAN])
    caps = frame(a=[100, 100, 100, 100], new=[NAN, 100, 200, 200], dead=[100, 50, NAN, NAN])
    # -25 % with the dying one, +50 % with the newcomer beside the rest, then nothing.
    assert list(market_index(prices, caps)) == pytest.approx([1, 0.75, 0.75 * 1.5, 0.75 * 1.5])


def test_a_price_without_a_cap_is_not_in_the_market():
    prices, caps = frame(a=[10, 20], b=[10, 90]), frame(a=[5, 10], b=[NAN, 50])
    assert list(market_index(prices, caps)) == [1, 2]
    assert list(market_index(prices, frame(a=[5, 10], b=[0, 50]))) == [1, 2]


def test_a_row_without_anything_is_a_hole_that_is_bridged_by_what_was_held():
    prices, caps = frame(a=[10, NAN, 20], b=[10, NAN, 10]), frame(a=[100, NAN, 300], b=[100, NAN, 100])
    levels = market_index(prices, caps)
    assert levels.isna().tolist() == [False, True, False]
    assert levels.iloc[2] == pytest.approx(1.5)
    pd.testing.assert_series_equal(market_index(prices, caps.ffill()), levels)  # a cap without a price is no market


def test_rows_without_a_common_asset_break_the_chain():
    prices, caps = frame(a=[10, NAN, NAN], b=[NAN, 5, 6]), frame(a=[1, NAN, NAN], b=[NAN, 1, 1])
    assert market_index(prices, caps).isna().tolist() == [False, True, True]
    assert market_index(prices, caps * NAN).isna().all()


@given(st.integers(2, 9), st.floats(0.001, 1000), st.permutations([0, 1, 2, 3]), st.integers(0, 99))
def test_time_scale_and_order_change_no_level(cut, scale, order, seed):
    random = np.random.default_rng(seed)
    prices = pd.DataFrame(np.exp(random.normal(0, 0.1, (10, 4)).cumsum(axis=0)))
    prices = prices.mask(random.random((10, 4)) < 0.2)
    caps = prices * 7.0
    levels = market_index(prices, caps)
    pd.testing.assert_series_equal(market_index(prices.iloc[:cut], caps.iloc[:cut]), levels.iloc[:cut])
    pd.testing.assert_series_equal(market_index(prices * scale, caps * scale), levels)
    pd.testing.assert_series_equal(market_index(prices[order], caps), levels)
