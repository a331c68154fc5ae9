"""Indicator blocks: column arrays in, one row per bar out, what is not a number as NULL."""

import math
from datetime import timedelta

import numpy as np
import pytest

from collector.records import IndicatorBlock, Interval
from collector.storage import indicator_rows
from collector.storage.models import INDICATOR_COLUMNS
from tests.storage.samples import BTC, NOON, perp

NAN = math.nan


def block(bars=3, instrument=BTC, interval=Interval.M15, start=0, columns=None, extra=None, warm=None):
    times = tuple(NOON + (start + number) * interval.width for number in range(bars))
    given = {"rsi_14": np.arange(bars, dtype=float) + 50} if columns is None else columns
    return IndicatorBlock(
        instrument=instrument,
        interval=interval,
        open_times=times,
        columns=given,
        extra=extra or {},
        warm=warm or (True,) * bars,
    )


def test_values_arrive_in_their_columns_and_rows(writer, cycle, rows, database):
    columns = {name: np.arange(2, dtype=float) + 10 * number for number, name in enumerate(INDICATOR_COLUMNS)}
    assert writer.write_indicators(cycle, [block(2, columns=columns, warm=(False, True))]) == 2
    names = ", ".join(INDICATOR_COLUMNS)
    assert rows(f"SELECT {names} FROM indicators ORDER BY open_time") == [
        tuple(10.0 * number + bar for number in range(len(INDICATOR_COLUMNS))) for bar in range(2)
    ]
    assert rows("SELECT instrument, interval, open_time, warm, extra, cycle_id FROM v_indicators ORDER BY 3") == [
        (BTC.id, "15m", NOON, False, None, cycle),
        (BTC.id, "15m", NOON + timedelta(minutes=15), True, None, cycle),
    ]


def test_what_is_not_a_number_is_null_and_zero_is_zero(writer, cycle, rows):
    writer.write_indicators(
        cycle, [block(4, columns={"obv": np.array([NAN, 0.0, math.inf, -math.inf]), "macd": [0.1, NAN, -0.0, 1e-300]})]
    )
    assert rows("SELECT obv, macd, rsi_14 FROM indicators ORDER BY open_time") == [
        (None, 0.1, None),
        (0.0, None, None),
        (None, -0.0, None),
        (None, 1e-300, None),
    ]


def test_configured_functions_go_into_extra_without_their_missing_values(writer, cycle, rows):
    extra = {"cci_20": np.array([NAN, 1.5]), "tab\t%s": np.array([NAN, 0.1 + 0.2])}
    plain = block(1, instrument=perp("ETH"))
    assert writer.write_indicators(cycle, [block(2, extra=extra), plain]) == 3
    assert rows("SELECT instrument, extra FROM v_indicators ORDER BY instrument, open_time") == [
        (BTC.id, None),
        (BTC.id, {"cci_20": 1.5, "tab\t%s": 0.30000000000000004}),
        (plain.instrument.id, None),
    ]


def test_writing_the_same_blocks_again_changes_nothing(writer, cycle, rows):
    blocks = [block(5, columns={"obv": [NAN, 1.0, 2.0, NAN, 0.0]}, extra={"a": [1.0, NAN, 3.0, 4.0, 5.0]})]
    assert writer.write_indicators(cycle, blocks) == 5
    before = rows("SELECT xmin, * FROM indicators")
    assert writer.write_indicators(cycle, blocks) == 0
    assert rows("SELECT xmin, * FROM indicators") == before


def test_only_the_bars_that_changed_are_counted(writer, cycle, rows):
    writer.write_indicators(cycle, [block(5)])
    assert writer.write_indicators(cycle, [block(6, columns={"rsi_14": [50, 51, 0, 53, NAN, 55]})]) == 3
    assert rows("SELECT rsi_14 FROM indicators ORDER BY open_time") == [(50,), (51,), (0,), (53,), (None,), (55,)]


def test_the_later_of_two_blocks_with_the_same_bar_wins(writer, cycle, rows):
    later = block(3, start=2, columns={"rsi_14": [1, 2, 3]})
    writer.write_indicators(cycle, [block(3), later, block(instrument=perp("A"))])
    assert rows("SELECT rsi_14 FROM v_indicators WHERE instrument = :id ORDER BY open_time", id=BTC.id) == [
        (50,),
        (51,),
        (1,),
        (2,),
        (3,),
    ]


def test_many_blocks_of_several_intervals_and_months_arrive_whole(writer, cycle, rows, monkeypatch):
    monkeypatch.setattr(indicator_rows, "ROWS_PER_MERGE", 50)  # so that one call needs several merges
    blocks = [
        block(40, instrument=perp(f"C{number}"), interval=interval)
        for number in range(5)
        for interval in (Interval.H1, Interval.D1, Interval.M1)
    ]
    assert writer.write_indicators(cycle, blocks) == 600
    assert rows("SELECT interval, count(*), sum(rsi_14) FROM indicators GROUP BY 1 ORDER BY 1") == [
        ("1d", 200, 5 * sum(range(50, 90))),
        ("1h", 200, 5 * sum(range(50, 90))),
        ("1m", 200, 5 * sum(range(50, 90))),
    ]


def test_nothing_is_nothing(writer, cycle):
    assert writer.write_indicators(cycle, []) == 0
    assert writer.write_indicators(cycle, [block(0)]) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (block(columns={"rsi_15": [1, 2, 3]}), "not columns of indicators: rsi_15"),
        (block(columns={"rsi_14": [1, 2]}), "rsi_14 has 2 values for 3 bars"),
        (block(extra={"x": [1]}), "x has 1 values for 3 bars"),
        (block(warm=(True,)), "warm has 1 values for 3 bars"),
        (block(2, interval=Interval.M1, start=0), None),
    ],
)
def test_a_block_that_does_not_fit_is_a_defect(writer, cycle, rows, wrong, message):
    if message is None:
        assert writer.write_indicators(cycle, [wrong]) == 2
        return
    with pytest.raises(ValueError, match=message):
        writer.write_indicators(cycle, [block(), wrong])
    assert rows("SELECT count(*) FROM indicators") == [(0,)]


def test_times_that_do_not_ascend_are_a_defect(writer, cycle):
    times = (NOON, NOON)
    wrong = IndicatorBlock(
        instrument=BTC, interval=Interval.M1, open_times=times, columns={}, extra={}, warm=(True, True)
    )
    with pytest.raises(ValueError, match="do not ascend"):
        writer.write_indicators(cycle, [wrong])
