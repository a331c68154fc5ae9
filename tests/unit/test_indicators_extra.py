"""TA-Lib functions from the configuration: names, values worked by hand, and refusals that name the remedy."""

import numpy as np
import pytest

from collector.indicators.compute import LOOKBACK, Bars
from collector.indicators.extra import compute_extra, load_extra

NONE = float("nan")


def make_bars(close, volume=None, gap_at=None):
    close = np.asarray(close, float)
    times = 3600 * np.arange(len(close), dtype=np.int64)
    if gap_at is not None:
        times[gap_at:] += 3600
    volume = np.ones(len(close)) if volume is None else np.asarray(volume, float)
    return Bars(3600, times, close, close + 1, close - 1, close, volume)


def names(*wanted):
    return [name for extra in load_extra(wanted) for name in extra.outputs]


def test_results_are_named_after_the_function_and_all_its_parameters():
    assert names(("CCI", {"timeperiod": 20.0})) == ["cci_20"]
    assert names(("ultosc", {})) == ["ultosc_7_14_28"]
    assert names(("SAR", {"acceleration": 0.05})) == ["sar_0.05_0.2"]
    assert names(("CDLDOJI", {})) == ["cdldoji"]


def test_a_function_with_several_results_names_each():
    assert names(("AROON", {"timeperiod": 10})) == ["aroon_10_aroondown", "aroon_10_aroonup"]


def test_values_of_a_momentum_worked_by_hand():
    columns = compute_extra(make_bars([1, 4, 9, 16, 25]), load_extra([("MOM", {"timeperiod": 2}), ("TYPPRICE", {})]))
    np.testing.assert_array_equal(columns["mom_2"], [NONE, NONE, 8, 12, 16])
    np.testing.assert_array_equal(columns["typprice"], [1, 4, 9, 16, 25])


def test_a_missing_bar_starts_extra_functions_again():
    columns = compute_extra(make_bars([1, 4, 9, 16, 25], gap_at=3), load_extra([("MOM", {"timeperiod": 1})]))
    np.testing.assert_array_equal(columns["mom_1"], [NONE, 3, 5, NONE, 9])


def test_candle_patterns_become_float_columns():
    column = compute_extra(make_bars(range(1, 30)), load_extra([("CDLDOJI", {})]))["cdldoji"]
    assert column.dtype == np.float64


def test_too_few_bars_give_no_value_and_no_error():
    extra = load_extra([("CCI", {}), ("STOCHRSI", {}), ("HT_SINE", {}), ("BBANDS", {})])
    for count in range(1, 6):
        assert all(np.isnan(values).all() for values in compute_extra(make_bars(range(1, count + 1)), extra).values())


def test_a_long_recursive_period_asks_for_more_history_than_the_standard_columns():
    short, long = load_extra([("EMA", {"timeperiod": 10}), ("EMA", {"timeperiod": 400})])
    assert short.history == LOOKBACK
    assert long.history > 400 * 13.8  # ln(1e12) / 2 = 13.8 periods until an EMA has forgotten to 1e-12


REFUSED = [
    ("CCIX", {}, "CCIX: TA-Lib has no such function; did you mean CCI?"),
    ("CCI", {"timeperid": 3}, "CCI: no parameter 'timeperid'; did you mean timeperiod?"),
    ("ULTOSC", {"x": 3}, "it takes timeperiod1, timeperiod2, timeperiod3"),
    ("CDLDOJI", {"x": 3}, "it takes no parameters"),
    ("CCI", {"timeperiod": 2.5}, "CCI: parameter 'timeperiod' must be a whole number, not 2.5"),
    ("CCI", {"timeperiod": NONE}, "must be a whole number, not nan"),
    ("SAR", {"acceleration": float("inf")}, "must be a finite number, not inf"),
    ("CCI", {"timeperiod": 1}, r"CCI\(timeperiod=1\): TA-Lib refuses these parameters"),
    ("CCI", {"timeperiod": 1e30}, r"TA-Lib refuses these parameters"),
    ("EMA", {"timeperiod": 5000}, "EMA: needs 144999 bars of history, at most 20000 are read"),
    ("AD", {}, "AD: cannot be used, its value depends on where the bars begin"),
    ("MAXINDEX", {}, "depends on where the bars begin"),
    ("MAVP", {}, "needs a series of periods"),
]


@pytest.mark.parametrize(("function", "parameters", "text"), REFUSED)
def test_a_wrong_function_or_parameter_is_refused_when_it_is_loaded(function, parameters, text):
    with pytest.raises(ValueError, match=text.replace("?", r"\?")):
        load_extra([(function, parameters)])


def test_the_same_function_twice_is_refused_and_two_periods_are_not():
    assert names(("CCI", {"timeperiod": 5}), ("CCI", {"timeperiod": 6})) == ["cci_5", "cci_6"]
    with pytest.raises(ValueError, match="given twice"):
        load_extra([("CCI", {}), ("cci", {"timeperiod": 14})])
