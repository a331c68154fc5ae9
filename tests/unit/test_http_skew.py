"""How far a provider's clock is from ours, and that a bar is finished only when it is over there too."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from collector.clock import ManualClock, to_millis
from collector.http.skew import Skew
from collector.records import Answer, CycleState
from collector.simulator import Simulator
from tests.unit.cycle_rig import Rig, only, part_of

NOW = datetime(2026, 3, 11, 14, 37, 42, 500_000, tzinfo=UTC)


def answer(date="", received_at=NOW, **headers):
    return Answer(status=200, headers={"date": date, **headers}, body=b"", received_at=received_at)


def heard(*answers, took_s=0.0):
    skew = Skew()
    for item in answers:
        skew.hear(item, took_s)
    return skew.offset_s()


def http(moment):
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def test_a_date_of_the_same_second_is_no_difference():
    assert heard(answer(http(NOW))) == 0.0  # half a second is cut off on average: 42 stands for 42.5


def test_a_provider_three_minutes_ahead_is_told_by_its_date():
    assert heard(answer(http(NOW + timedelta(minutes=3)))) == 180.0
    assert heard(answer(http(NOW - timedelta(minutes=3)))) == -180.0


def test_half_of_a_slow_answer_s_time_is_taken_off():
    assert heard(answer(http(NOW - timedelta(seconds=2))), took_s=4.0) == 0.0


def test_one_odd_answer_among_many_counts_for_nothing():
    good = [answer(http(NOW))] * 4
    assert heard(*good, answer(http(NOW - timedelta(hours=1)))) == 0.0


@pytest.mark.parametrize("text", ["", "yesterday", "Wed, 99 Mar 2026 14:37:42 GMT", "0"])
def test_a_date_that_is_none_says_nothing(text):
    assert heard(answer(text)) is None


def test_a_cached_answer_says_nothing_of_the_provider_s_time():
    assert heard(answer(http(NOW - timedelta(minutes=1)), age="60")) is None
    assert heard(answer(http(NOW), age="0")) == 0.0


def test_a_bar_that_is_over_only_by_our_clock_is_not_stored(database, tmp_path):
    clock = ManualClock(NOW)  # ours is 100 s ahead: at the provider it is 14:36:02
    there = NOW - timedelta(seconds=100)
    market = Simulator(seed=7, assets=45, limits=False, now_ms=lambda: to_millis(there))
    with market, Rig(database, clock, tmp_path, only("binance_futures"), simulator=market) as rig:
        report = rig.run()
        newest = rig.rows("SELECT max(open_time) FROM candles WHERE interval = '1m'")
        warned = [line for line in rig.log(report, "BinanceService") if "provider_clock_off" in line]
    assert report.state is CycleState.OK
    assert part_of(report, "binance_futures").clock_offset_s == pytest.approx(-100, abs=1)
    assert newest == [(datetime(2026, 3, 11, 14, 35, tzinfo=UTC),)]  # ends 14:36:00, two seconds before their 14:36:02
    assert len(warned) == 1
