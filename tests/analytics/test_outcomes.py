"""How signals turned out: returns by hand, Wilson's interval by Newcombe's table, rank correlations against scipy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, spearmanr, ttest_1samp

from collector.analytics.outcomes import (
    forward_returns,
    hit_rates,
    information_coefficient,
    outcomes,
    wilson_interval,
)
from collector.analytics.signals import signals
from collector.records import Interval
from tests.analytics.signal_panels import SHORT, changed, ends, only, panel, walk, without

SIGNAL = signals(walk(160), only(rsi=SHORT.rsi))[0]


def signal_at(row, direction, bars):
    return replace(SIGNAL, bar_end=bars.close.index[row].to_pydatetime(), direction=direction)


BARS = panel([100.0, 104.0, 103.0, 110.0, 99.0], opens=[100.0, 102.0, 105.0, 103.0, 110.0], names=[SIGNAL.subject])


def test_a_signal_is_entered_at_the_next_open_and_left_at_a_later_close():
    one, three, four = outcomes([signal_at(0, 1, BARS)], BARS, (1, 3, 4))
    assert (one.entry_price, one.exit_price, one.exit_end) == (102.0, 104.0, ends(5)[1])
    assert one.forward_return == pytest.approx(104 / 102 - 1)
    assert three.forward_return == pytest.approx(110 / 102 - 1)
    assert four.forward_return == pytest.approx(99 / 102 - 1)
    assert [item.hit for item in (one, three, four)] == [True, True, False]
    assert {item.status for item in (one, three, four)} == {"done"}


def test_a_bearish_signal_earns_what_the_price_loses():
    (made,) = outcomes([signal_at(0, -1, BARS)], BARS, (4,))
    assert made.forward_return == pytest.approx(1 - 99 / 102)
    assert made.hit is True


def test_a_signal_without_direction_promises_nothing():
    (made,) = outcomes([signal_at(0, 0, BARS)], BARS, (1,))
    assert (made.forward_return, made.hit, made.status, made.exit_price) == (None, None, "done", 104.0)


def test_a_price_that_did_not_move_is_no_hit():
    flat = panel([100.0] * 3, names=[SIGNAL.subject])
    (made,) = outcomes([signal_at(0, 1, flat)], flat, (1,))
    assert (made.forward_return, made.hit) == (0.0, False)


def test_what_is_not_over_is_pending_and_what_is_missing_is_a_hole():
    pending, hole = (
        outcomes([signal_at(3, 1, BARS)], BARS, (2,)),
        outcomes([signal_at(0, 1, BARS)], without(BARS, 1), (2,)),
    )
    assert (pending[0].status, pending[0].entry_price, pending[0].hit) == ("pending", 110.0, None)
    assert (hole[0].status, hole[0].entry_price, hole[0].forward_return) == ("hole", None, None)
    (between,) = outcomes([signal_at(0, 1, BARS)], without(BARS, 2), (3,))
    assert between.status == "done"  # the bars between do not matter
    (unknown,) = outcomes([replace(signal_at(0, 1, BARS), subject="okx:NONE-USDT:perp")], BARS, (1,))
    assert unknown.status == "hole"


def test_a_signal_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="is of 1d"):
        outcomes([replace(SIGNAL, interval=Interval.D1)], BARS)
    with pytest.raises(ValueError, match="no bar of the panel ends at"):
        outcomes([replace(signal_at(0, 1, BARS), bar_end=BARS.close.index[0] - pd.Timedelta(hours=1))], BARS)
    with pytest.raises(ValueError, match="at least one bar"):
        outcomes([], BARS, (0,))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 50), cut=st.integers(30, 160), power=st.integers(-20, 20))
def test_later_bars_change_no_outcome_that_is_done_and_scaling_changes_no_return(seed, cut, power):
    bars = walk(160, 2, seed=seed)
    moment = bars.close.index[cut - 1]
    emitted = [row for row in signals(bars, SHORT) if row.bar_end <= moment]
    then = outcomes(emitted, bars.until(moment))
    for one, later in zip(then, outcomes(emitted, bars), strict=True):
        assert one == later or one.status == "pending"
    scaled = outcomes(emitted, changed(bars.until(moment), lambda frame: frame * 2.0**power))
    assert [item.forward_return for item in scaled] == [item.forward_return for item in then]


def test_returns_of_all_series_are_those_of_the_signals():
    bars = walk(60, 3)
    expected = forward_returns(bars, 5)
    emitted = [replace(row, direction=1) for row in signals(bars, SHORT)]
    made = [item for item in outcomes(emitted, bars, (5,)) if item.status == "done"]
    assert len(made) > 20
    for item in made:
        assert item.forward_return == expected.loc[item.bar_end, item.subject]
    assert expected.iloc[-5:].isna().all(axis=None)


# R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I:
# the score method without continuity correction.
@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_interval_is_that_of_newcombe_s_table(hits, trials, low, high):
    found = wilson_interval(hits, trials)
    assert found == pytest.approx((low, high), abs=0.00005)
    scipy = binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    assert found == pytest.approx((scipy.low, scipy.high), abs=1e-12)


def test_no_trials_have_no_interval():
    assert wilson_interval(0, 0) is None
    assert wilson_interval(20, 20)[1] == 1.0


def test_a_hit_rate_counts_what_is_done_and_has_a_direction():
    emitted = [signal_at(0, 1, BARS), signal_at(1, 1, BARS), signal_at(2, -1, BARS), signal_at(0, 0, BARS)]
    one, four = hit_rates(outcomes(emitted, BARS, (1, 4)))
    # 102 -> 104 up, 105 -> 103 up, 103 -> 110 down: one of three
    assert (one.horizon, one.hits, one.outcomes, one.hit_rate) == (1, 1, 3, pytest.approx(1 / 3))
    assert one.mean_return == pytest.approx((104 / 102 - 1 + 103 / 105 - 1 - (110 / 103 - 1)) / 3)
    assert (one.low, one.high) == pytest.approx((0.0615, 0.7923), abs=0.0001)
    assert (four.horizon, four.hits, four.outcomes) == (4, 0, 1)
    (empty,) = hit_rates(outcomes([signal_at(4, 1, BARS)], BARS, (1,)))
    assert (empty.outcomes, empty.hit_rate, empty.low, empty.high, empty.mean_return) == (0, None, None, None, None)


def test_other_parameters_under_the_same_name_have_their_own_hit_rate():
    emitted = [signal_at(0, 1, BARS), replace(signal_at(1, 1, BARS), parameter_hash="f" * 16)]
    assert [(rate.parameter_hash, rate.hits, rate.outcomes) for rate in hit_rates(outcomes(emitted, BARS, (1,)))] == [
        (SIGNAL.parameter_hash, 1, 1),
        ("f" * 16, 0, 1),
    ]


def test_the_information_coefficient_is_spearman_s_moment_by_moment():
    random = np.random.default_rng(4)
    index, names = ends(40), [f"a{number}" for number in range(12)]
    scores = pd.DataFrame(random.normal(size=(40, 12)).round(1), index=index, columns=names)
    returns = 0.3 * scores + pd.DataFrame(random.normal(size=(40, 12)).round(1), index=index, columns=names)
    scores.iloc[5, 2:6] = np.nan
    returns.iloc[7, 0] = np.nan
    found = information_coefficient(scores, returns)
    expected = [spearmanr(scores.iloc[row], returns.iloc[row], nan_policy="omit").statistic for row in range(40)]
    assert [item.coefficient for item in found.by_moment] == pytest.approx(expected, abs=1e-12)
    assert [found.by_moment[row].assets for row in (4, 5, 7)] == [12, 8, 11]
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.t_statistic == pytest.approx(ttest_1samp(expected, 0).statistic)


def test_moments_without_a_correlation_are_told_and_not_counted():
    index = ends(4)
    scores = pd.DataFrame(
        [[1, 2, 3], [1, 1, 1], [1, 2, np.nan], [3, 2, 1]], index=index, columns=list("abc"), dtype=float
    )
    returns = pd.DataFrame([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]], index=index, columns=list("abc"), dtype=float)
    found = information_coefficient(scores, returns)
    assert [item.coefficient for item in found.by_moment] == [1.0, None, None, -1.0]
    assert (found.moments, found.mean) == (2, 0.0)
    alone = information_coefficient(scores.iloc[:1], returns)
    assert (alone.moments, alone.mean, alone.deviation, alone.t_statistic) == (1, 1.0, None, None)
    same = information_coefficient(scores.iloc[[0, 0]].set_axis(index[:2]), returns)
    assert (same.deviation, same.t_statistic) == (0.0, None)
    nothing = information_coefficient(scores.iloc[:0], returns)
    assert (nothing.moments, nothing.mean) == (0, None)
