"""The numbers behind the signals, against TA-Lib on the same window, closed forms and channels read off by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import talib

from collector.analytics.signals import (
    Breakout,
    EmaCross,
    FundingExtremes,
    Macd,
    Rsi,
    SignalParameters,
    bars_needed,
    latest_states,
    signals,
)
from collector.analytics.signals.breakout import channel
from collector.analytics.signals.crossover import deviation_per_change, ema_line, macd_histogram
from collector.analytics.signals.oscillators import rsi_values
from collector.analytics.signals.parameters import parameter_hash
from collector.analytics.signals.windows import decayed_sum, ema, highest, latched
from tests.analytics.signal_panels import START, changed, ends, only, panel, walk


def test_the_ema_of_a_window_is_the_one_of_ta_lib_on_that_window():
    close = walk(300, 2).close.to_numpy()
    for period, bars in ((12, 60), (26, 130), (50, 251)):
        ours = ema(close, period, bars)
        assert np.isnan(ours[: bars - 1]).all()
        for row in (bars - 1, bars, 299):
            expected = talib.EMA(np.ascontiguousarray(close[row - bars + 1 : row + 1, 1]), period)[-1]
            assert ours[row, 1] == pytest.approx(expected, rel=1e-13)


def test_the_rsi_of_a_window_is_the_one_of_ta_lib_on_that_window():
    close = walk(200).close.to_numpy()
    ours = rsi_values(close, Rsi(period=14, memory=5))
    assert np.isnan(ours[:135]).all()
    for row in range(135, 200):
        window = np.ascontiguousarray(close[row - 135 : row + 1, 0])  # 5 * (2 * 14 - 1) changes
        assert ours[row, 0] == pytest.approx(talib.RSI(window, 14)[-1], rel=1e-12)


def test_the_macd_line_and_its_signal_are_two_emas_as_ta_lib_computes_them():
    close = walk(200).close.to_numpy()
    line = [
        talib.EMA(close[row - 59 : row + 1, 0].copy(), 12)[-1] - talib.EMA(close[row - 129 : row + 1, 0].copy(), 26)[-1]
        for row in range(129, 200)
    ]
    assert ema_line(close, 12, 26, 5)[129:, 0] == pytest.approx(line, abs=1e-11)
    signal = talib.EMA(np.array(line[-45:]), 9)[-1]
    assert macd_histogram(close, Macd(memory=5))[-1, 0] == pytest.approx(line[-1] - signal, abs=1e-11)


def test_with_a_long_memory_macd_is_that_of_ta_lib_over_all_history():
    close = walk(1600).close.to_numpy()
    ours = macd_histogram(close, Macd(memory=30))[-400:, 0]
    assert ours == pytest.approx(talib.MACD(close[:, 0].copy(), 12, 26, 9)[2][-400:], abs=1e-9)


def test_with_the_default_memory_an_ema_is_within_a_thousandth_of_that_over_all_history():
    close = walk(3000).close.to_numpy()
    ours = ema(close, 200, 1000)[1500:, 0]
    assert np.max(np.abs(ours / talib.EMA(close[:, 0].copy(), 200)[1500:] - 1)) < 1e-3


def test_a_sum_by_doubling_is_the_sum_of_its_window():
    values = np.array([[1.0], [2.0], [4.0], [8.0], [16.0], [32.0], [64.0]])
    assert decayed_sum(values, 1.0, 5)[4:, 0].tolist() == [31.0, 62.0, 124.0]
    assert decayed_sum(values, 0.5, 3)[2:4, 0].tolist() == [4 + 1 + 0.25, 8 + 2 + 0.5]
    assert np.isnan(decayed_sum(values, 0.5, 3)[:2]).all()


@pytest.mark.parametrize("bars", [1, 2, 3, 7, 8, 20])
def test_the_highest_of_a_window_is_the_one_pandas_finds(bars):
    values = walk(60, 3).high
    values.iloc[30, 1] = np.nan
    np.testing.assert_array_equal(highest(values.to_numpy(), bars), values.rolling(bars).max().to_numpy())


def test_a_channel_is_made_of_the_bars_before():
    high = np.array([5.0, 7.0, 6.0, 9.0, 8.0])[:, None]
    low = np.array([3.0, 4.0, 2.0, 5.0, 6.0])[:, None]
    top, bottom = channel(high, low, 3)
    assert np.isnan(top[:3]).all()
    assert top[3:, 0].tolist() == [7.0, 9.0]
    assert bottom[3:, 0].tolist() == [2.0, 2.0]


def test_a_breakout_is_a_close_beyond_the_channel_and_stands_until_its_lookback_is_over():
    #        channel of 3:          7..2  9..2  9..2
    high = [5, 7, 6, 6, 6, 6, 6, 9, 8, 8, 8, 8, 8, 8, 8]
    low_ = [3, 4, 2, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5]
    close = [4, 5, 5, 5, 5, 5, 5, 8, 7, 7, 7, 7, 7, 7, 7]
    rows = signals(panel(close, high=high, low=low_), only(breakout=Breakout(lookback=3)))
    assert [(row.state, row.bar_end) for row in rows] == [
        ("breakout_up", ends(15)[7]),  # 8 is above 6, the highest of bars 4 to 6
        ("inside", ends(15)[10]),  # three bars later nothing has followed
    ]
    assert rows[0].strength == 1.0
    assert rows[0].price == 8.0
    assert rows[1].strength == 0.0
    assert (rows[0].window_since, rows[0].window_until, rows[0].bars) == (ends(15)[1], ends(15)[7], 7)


def test_a_close_at_the_edge_of_the_channel_is_no_breakout():
    close = [4, 5, 5, 5, 5, 5, 5, 6, 6, 6]
    high = [6] * 10
    assert signals(panel(close, high=high, low=[3] * 10), only(breakout=Breakout(lookback=3))) == []


def closed_form(fast, slow):  # the sum of (slow^k - fast^k)^2 over k >= 1, slow and fast the decays
    fast, slow = 1 - 2 / (fast + 1), 1 - 2 / (slow + 1)
    parts = slow**2 / (1 - slow**2) + fast**2 / (1 - fast**2) - 2 * slow * fast / (1 - slow * fast)
    return math.sqrt(parts)


def test_the_unit_of_a_cross_is_its_deviation_for_a_random_walk():
    assert closed_form(12, 26) == pytest.approx(1.13, abs=0.01)
    for fast, slow in ((12, 26), (50, 200)):
        ours = deviation_per_change(lambda close, fast=fast, slow=slow: ema_line(close, fast, slow, 10), 10 * slow)
        assert ours == pytest.approx(closed_form(fast, slow), rel=1e-6)


def test_strength_is_the_line_in_its_unit_put_between_minus_one_and_one():
    bars = walk(400)
    state = latest_states(bars, only(ema_cross=EmaCross(pairs=((12, 26),), memory=10)))[0]
    close = bars.close.to_numpy()[:, 0].copy()
    line = talib.EMA(close[-120:].copy(), 12)[-1] - talib.EMA(close[-260:].copy(), 26)[-1]
    change = np.mean(np.abs(np.diff(close[-27:])))
    unit = change * math.sqrt(math.pi / 2) * closed_form(12, 26)
    deviations = line / unit
    assert state.strength == pytest.approx(deviations / math.sqrt(1 + deviations**2), rel=1e-6)
    assert np.sign(state.strength) == state.direction


def test_rsi_of_equal_steps_is_the_share_of_those_upward_and_a_level_must_be_passed():
    close = np.cumsum([1, 1, 1, -1, 1, 1, -1, 1, 1, -1] * 16) + 100.0
    assert np.nanmax(rsi_values(close[:, None], Rsi(period=14))) > 70
    rising = 100.0 + np.arange(60)
    assert rsi_values(rising[:, None], Rsi(period=5))[-1, 0] == 100.0
    still = np.full((60, 1), 100.0)
    assert rsi_values(still, Rsi(period=5))[-1, 0] == 50.0


def test_rsi_passes_from_neutral_to_overbought_against_the_direction():
    close = np.concatenate([100 + np.tile([0.0, 1.0], 30), 101 + np.arange(1, 8)])
    rows = signals(panel(close), only(rsi=Rsi(period=5, memory=3)))
    assert [(row.state, row.direction) for row in rows] == [("overbought", -1)]
    level = talib.RSI(close[: 60 + int((rows[0].bar_end - ends(67)[59]) / pd.Timedelta(hours=1))], 5)[-1]
    assert level > 70
    assert rows[0].strength == pytest.approx((50 - level) / 50, rel=1e-2)  # all history against 27 bars


def test_a_cross_waits_for_its_confirmation():
    close = np.concatenate([np.linspace(100, 80, 60), np.linspace(80, 100, 30)])
    first = signals(panel(close), only(ema_cross=EmaCross(pairs=((3, 6),), confirmation=1, memory=4)))
    third = signals(panel(close), only(ema_cross=EmaCross(pairs=((3, 6),), confirmation=3, memory=4)))
    assert [row.state for row in first] == [row.state for row in third] == ["bullish"]
    assert third[0].bar_end - first[0].bar_end == pd.Timedelta(hours=2)


def test_inside_the_band_nothing_crosses():
    close = 100 + np.sin(np.arange(200) / 3)
    wild = signals(panel(close), only(ema_cross=EmaCross(pairs=((3, 6),), hysteresis=0.0, memory=4)))
    calm = signals(panel(close), only(ema_cross=EmaCross(pairs=((3, 6),), hysteresis=20.0, memory=4)))
    assert len(wild) > 10
    assert calm == []


def test_a_price_that_stands_still_has_no_direction():
    states = latest_states(panel(np.full(400, 0.1)), SignalParameters(ema_cross=EmaCross(pairs=((12, 26),))))
    assert {state.name: (state.state, state.strength) for state in states} == {
        "ema_cross_12_26": ("neutral", 0.0),
        "macd_12_26_9": ("neutral", 0.0),
        "rsi_14": ("neutral", 0.0),
        "breakout_20": ("inside", 0.0),
    }


def test_a_state_is_held_for_so_many_bars_and_needs_all_of_them():
    raw = np.array([0, 1, 1, 0, 0, 0, -1, 1, 0, 0], np.int8)[:, None]
    seen = np.ones(raw.shape, bool)
    state, known = latched(raw, seen, confirmation=2, hold=3)
    assert state[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert known[:, 0].tolist() == [False] * 3 + [True] * 7
    seen[4] = False
    known = latched(raw, seen, confirmation=2, hold=3)[1]
    assert np.flatnonzero(known).tolist() == [3, 8, 9]


def test_funding_far_from_the_usual_is_named_for_who_is_crowded():
    bars = panel(np.linspace(100, 110, 80))
    rates = [0.0001, 0.0003, 0.0002, 0.0001, 0.0003, 0.0002, 0.0008, 0.0002, -0.0006]
    funding = pd.DataFrame({bars.close.columns[0]: rates}, index=ends(80)[7::8][:9])
    rows = signals(bars, only(funding=FundingExtremes(lookback=6, threshold=2.0)), funding=funding)
    # the six before: mean 0.0002, squares of 0.0001 four times, sample deviation sqrt(4/5) * 0.0001; z = 6 / 0.8944
    z = 0.0006 / (math.sqrt(0.8) * 0.0001)
    assert [row.state for row in rows] == ["neutral", "crowded_short"]  # the first z of all is a beginning, no change
    state = latest_states(bars.until(ends(80)[60]), only(funding=FundingExtremes(lookback=6)), funding=funding)
    assert [item.state for item in state] == ["crowded_long"]
    assert state[0].strength == pytest.approx(-(z / 2) / math.sqrt(1 + (z / 2) ** 2))
    assert rows[1].direction == 1
    assert (rows[1].window_since, rows[1].window_until) == (funding.index[1], funding.index[8])
    assert rows[1].bars == 8


def test_a_rate_that_differs_from_a_constant_one_is_measured_against_the_floor():
    bars = panel(np.full(80, 100.0))
    funding = pd.DataFrame({bars.close.columns[0]: [0.0001] * 7 + [0.00016, 0.00022]}, index=ends(80)[7::8][:9])
    rows = signals(bars, only(funding=FundingExtremes(lookback=6, floor=0.00005)), funding=funding)
    # 0.00006 is 1.2 floors; then the mean is 0.00011, and 0.00022 is 2.2 floors above it
    assert [(row.state, row.bar_end) for row in rows] == [("crowded_long", ends(80)[71])]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (EmaCross(pairs=((26, 12),)), "ema_cross.pairs: (26, 12) must be 1 <= fast < slow <= 1000"),
        (EmaCross(pairs=()), "ema_cross.pairs must name at least one pair of periods, and each pair once"),
        (EmaCross(hysteresis=-0.1), "ema_cross.hysteresis must be 0 to 100 average changes, not -0.1"),
        (EmaCross(confirmation=0), "ema_cross.confirmation must be 1 to 1000 bars, not 0"),
        (Rsi(memory=1), "rsi.memory must be 2 to 50 times the period, not 1"),
        (Rsi(oversold=70, overbought=30), "rsi: 0 < oversold < overbought < 100 must hold, not 70 and 30"),
        (Macd(fast=26), "macd: 1 <= fast < slow <= 1000 must hold, not 26 and 26"),
        (Breakout(lookback=1), "breakout.lookback must be 2 to 1000 bars, not 1"),
        (FundingExtremes(floor=0), "funding.floor must be a rate between 0 and 1, not 0"),
    ],
)
def test_what_cannot_be_is_refused_with_one_line(kind, line):
    parameters = only(**{NAMES[type(kind)]: kind})
    assert parameters.problems() == [line]
    with pytest.raises(ValueError, match="must"):
        signals(panel([1.0, 2.0]), parameters)


NAMES = {EmaCross: "ema_cross", Rsi: "rsi", Macd: "macd", Breakout: "breakout", FundingExtremes: "funding"}


def test_a_hash_depends_on_the_values_alone():
    # sha256 of {"kind":"breakout","parameters":{"lookback":20}}
    assert parameter_hash("breakout", {"lookback": 20}) == "85d674cd02d65bf3"
    hashed = parameter_hash("rsi", {"period": 14, "oversold": 30})
    assert hashed == parameter_hash("rsi", {"oversold": 30.0, "period": 14})
    assert parameter_hash("rsi", {"period": 14}) != parameter_hash("macd", {"period": 14})


def test_another_pair_changes_no_other_pair_s_hash():
    bars = walk(200)
    one = {state.name: state.parameter_hash for state in latest_states(bars, only(ema_cross=EmaCross(pairs=((5, 9),))))}
    two = latest_states(bars, only(ema_cross=EmaCross(pairs=((3, 7), (5, 9)))))
    assert one["ema_cross_5_9"] == {state.name: state.parameter_hash for state in two}["ema_cross_5_9"]


def test_the_bars_needed_are_just_enough():
    parameters = only(ema_cross=EmaCross(pairs=((3, 6),), confirmation=2, memory=3))
    needed = bars_needed(parameters)
    assert needed == 3 * 6 + 6 + 2 - 1
    bars = walk(400)
    rows = signals(bars, parameters)
    assert {row.bars for row in rows} == {needed}
    at = bars.close.index.get_loc(rows[3].bar_end)
    cut = bars.until(rows[3].bar_end)
    enough = signals(_since(cut, at + 1 - needed), parameters)
    assert enough == [rows[3]]
    assert signals(_since(cut, at + 2 - needed), parameters) == []


def _since(bars, row):
    return changed(bars, lambda frame: frame.iloc[row:])


def test_times_are_plain_and_in_utc():
    row = signals(walk(400), only(rsi=Rsi(period=4)))[0]
    for moment in (row.bar_end, row.window_since, row.window_until):
        assert type(moment).__name__ == "datetime"
        assert moment.utcoffset() == START.utcoffset()
