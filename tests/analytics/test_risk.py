"""Volatility and falls: worked by hand, against TA-Lib, and what holes and still prices do."""

import math

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from collector.analytics.risk import drawdowns, garman_klass, logs, parkinson, simple_returns, volatility

NAN = float("nan")
YEAR = 365.0


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_close_to_close_volatility_is_the_sample_deviation_of_log_returns_over_a_year():
    closes = column(100, 110, 99, 108.9)
    ups, down = math.log(1.1), math.log(0.9)
    mean = (2 * ups + down) / 3
    variance = (2 * (ups - mean) ** 2 + (down - mean) ** 2) / 2
    value, count = volatility(np.diff(logs(closes), axis=0), YEAR)
    assert value[0] == pytest.approx(math.sqrt(365 * variance), rel=1e-13)
    assert count[0] == 3


def test_volatility_agrees_with_talib():
    closes = 50 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.03, 40)))
    returns = np.diff(np.log(closes))
    population = talib.STDDEV(returns, 39, 1.0)[-1]
    value, _ = volatility(returns[:, None], YEAR)
    assert value[0] == pytest.approx(population * math.sqrt(39 / 38 * 365), rel=1e-9)


def test_a_hole_takes_both_of_its_returns_and_nothing_else():
    value, count = volatility(np.diff(logs(column(100, 110, NAN, 50, 60)), axis=0), YEAR)
    first, second = math.log(1.1), math.log(1.2)
    assert count[0] == 2
    assert value[0] == pytest.approx(math.sqrt(365 * (first - second) ** 2 / 2), rel=1e-12)


def test_one_return_has_no_deviation_and_a_still_price_has_one_of_zero():
    assert math.isnan(volatility(column(0.1), YEAR)[0][0])
    assert volatility(np.diff(logs(column(5, 5, 5)), axis=0), YEAR)[0][0] == 0


def test_parkinson_by_hand():
    # One bar from 100 to 100 e^0.1, one from 50 to 50 e^0.2: (0.01 + 0.04) / 2 / (4 ln 2) = 0.00901684...
    value, count = parkinson(column(100 * math.exp(0.1), 50 * math.exp(0.2)), column(100, 50), YEAR)
    assert value[0] == pytest.approx(math.sqrt(0.025 / 2.772588722239781 * 365), rel=1e-12)
    assert value[0] == pytest.approx(1.8141536, rel=1e-6)
    assert count[0] == 2


def test_garman_klass_by_hand():
    # ln(high / low) = 0.3, ln(close / open) = 0.1: 0.045 - 0.386294361 * 0.01 = 0.04113705639
    opened, low = 100.0, 100 * math.exp(-0.1)
    value, count = garman_klass(
        column(opened), column(low * math.exp(0.3)), column(low), column(opened * math.exp(0.1)), 1.0
    )
    assert value[0] == pytest.approx(math.sqrt(0.04113705638880109), rel=1e-12)
    assert count[0] == 1


def test_the_range_estimators_find_the_volatility_of_a_dense_random_walk():
    steps = np.random.default_rng(11).normal(0, 0.02 / math.sqrt(2000), (2000, 600))
    paths = 100 * np.exp(np.vstack([np.zeros(600), np.cumsum(steps, axis=0)]))
    bars = paths[0], paths.max(axis=0), paths.min(axis=0), paths[-1]
    opened, high, low, close = (part[:, None] for part in bars)
    assert parkinson(high, low, 1.0)[0][0] == pytest.approx(0.02, rel=0.05)
    assert garman_klass(opened, high, low, close, 1.0)[0][0] == pytest.approx(0.02, rel=0.05)


def test_a_bar_without_a_range_is_still_and_an_absent_one_does_not_count():
    value, count = parkinson(column(7, NAN), column(7, NAN), YEAR)
    assert (value[0], count[0]) == (0, 1)
    assert math.isnan(parkinson(column(NAN), column(NAN), YEAR)[0][0])


def test_drawdowns_by_hand():
    now, deepest, count = drawdowns(column(100, 120, 60, 90, 150, 135))
    assert now[0] == pytest.approx(-0.1)  # 135 from 150
    assert deepest[0] == pytest.approx(-0.5)  # 60 from 120
    assert count[0] == 6


def test_drawdowns_pass_over_holes_but_need_the_last_close():
    now, deepest, count = drawdowns(column(100, NAN, 80, NAN))
    assert math.isnan(now[0])
    assert (deepest[0], count[0]) == (pytest.approx(-0.2), 2)
    assert [float(value[0]) for value in drawdowns(column(3, 4, 5))[:2]] == [0, 0]
    assert np.isnan(drawdowns(column(NAN, NAN))[1]).all()


def test_a_price_of_zero_is_a_fall_to_nothing_but_no_start_of_a_return():
    closes = column(10, 0, 5)
    assert simple_returns(closes)[0, 0] == -1
    assert math.isnan(simple_returns(closes)[1, 0])
    assert np.isnan(np.diff(logs(closes), axis=0)).all()
    assert drawdowns(closes)[1][0] == -1


@given(st.lists(st.floats(0.01, 1e6), min_size=2, max_size=30))
def test_the_deepest_fall_is_the_worst_of_all_pairs(closes):
    worst = min(later / earlier - 1 for at, earlier in enumerate(closes) for later in closes[at:])
    now, deepest, _ = drawdowns(column(*closes))
    assert deepest[0] == pytest.approx(worst, abs=1e-12)
    assert now[0] == pytest.approx(closes[-1] / max(closes) - 1, abs=1e-12)


@given(st.lists(st.floats(0.01, 1e6), min_size=3, max_size=30), st.floats(1e-6, 1e6))
def test_scaling_prices_changes_no_volatility(closes, scale):
    plain, scaled = (volatility(np.diff(logs(column(*closes) * by), axis=0), YEAR)[0][0] for by in (1.0, scale))
    assert scaled == pytest.approx(plain, rel=1e-9, abs=1e-10)
