"""Derived metrics after each cycle: what a restart gives is what an uninterrupted run would have given."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from collector.config import DerivedSettings
from collector.records import IndicatorBlock, Interval
from collector.studies.derived import DerivedStudy
from tests.storage.samples import ticker
from tests.studies.market import BTC, ETH, START, instrument

FIVE = timedelta(minutes=5)
KRAKEN = instrument("ADA", venue="kraken")


def settings(**changes):
    values = {"measures": "price,volume", "indicators": (), "window_size": 4, "intervals": (5, 15)}
    return DerivedSettings(**{**values, **changes})


@pytest.fixture
def study(past):
    return lambda every=FIVE, **changes: DerivedStudy(past, settings(**changes), every=every)


def by_key(found):
    return {(row["instrument"], row["measure"], row["span"]): row for row in found["derived_metrics"]}


def put(market, minute, price, item=BTC, **changes):
    market.put(ticker(item, str(price), START + timedelta(minutes=minute), **changes))


def test_numbers_are_those_of_a_hand_calculation(market, study):
    """Of 10, 12, 11, 15 five minutes apart: mean 12, deviations -2 0 -1 3, squares 14; slope 14 / 20 a step."""
    market.follow({BTC: "bitcoin"})
    for place, price in enumerate((99, 10, 12, 11, 15)):
        put(market, 5 * place, price)
    row = by_key(study().make(START + 4 * FIVE))[BTC.id, "price", "4"]
    assert (row["value"], row["samples"], row["observed_at"]) == (15.0, 4, START + 4 * FIVE)
    assert row["mean"] == pytest.approx(12)
    assert row["deviation"] == pytest.approx((14 / 3) ** 0.5)
    assert row["zscore"] == pytest.approx(3 / (14 / 3) ** 0.5)
    # steps -1.5 -0.5 0.5 1.5: sum of products 1.5*2 + 0 - 0.5 + 4.5 = 7.0, of squares 5: 1.4 a step, 0.28 a minute
    assert row["gradient"] == pytest.approx(0.28)
    assert row["gradient_relative"] == pytest.approx(0.28 / 12)


def test_spans_of_minutes_hold_what_lies_within_them(market, study):
    market.follow({BTC: "bitcoin"})
    for place, price in enumerate((99, 10, 12, 11, 15)):
        put(market, 5 * place, price)
    found = by_key(study().make(START + 4 * FIVE))
    assert found[BTC.id, "price", "5m"]["samples"] == 2
    assert found[BTC.id, "price", "5m"]["gradient"] == pytest.approx(4 / 5)
    assert found[BTC.id, "price", "15m"]["samples"] == 4


def test_a_restart_gives_the_numbers_of_an_uninterrupted_run_cycle_by_cycle(market, study, findings):
    """Cycles come late, twice in a minute, and once not at all; one restarts every time, one never does."""
    market.follow({BTC: "bitcoin", ETH: "ether"})
    running, seconds = study(), 0
    rng = np.random.default_rng(7)
    for step in range(30):
        seconds += (300, 290, 20, 600, 305)[step % 5]
        now = START + timedelta(seconds=seconds)
        for item in (BTC, ETH):
            if rng.random() > 0.1:
                price = str(round(100 + rng.normal(), 4))
                market.put(ticker(item, price, now, volume_24h=None))
        told = running.make(now)
        assert told == study().make(now)
        findings.store(told)
    assert market.rows("SELECT count(DISTINCT observed_at) FROM derived_metrics")[0][0] > 20


def test_what_comes_later_changes_nothing_for_then(market, study):
    market.follow({BTC: "bitcoin"})
    for minute in range(0, 60, 5):
        put(market, minute, 100 + minute % 7)
    then = START + timedelta(minutes=57)
    before = study().make(then)
    for minute in (58, 60, 65):
        put(market, minute, 1)
    assert study().make(then) == before
    assert study().make(START + timedelta(minutes=65)) != before


def test_collecting_several_times_a_minute_reads_enough_for_every_span(market, study):
    market.follow({BTC: "bitcoin"})
    for place in range(120):
        market.put(ticker(BTC, str(place + 1), START + place * timedelta(seconds=15)))
    found = by_key(study(every=timedelta(seconds=15)).make(START + timedelta(minutes=30)))
    assert found[BTC.id, "price", "15m"]["samples"] == 16  # both ends included
    assert found[BTC.id, "price", "15m"]["value"] == 120.0


def test_a_measure_nobody_tells_and_a_venue_not_asked_for_have_no_rows(market, study):
    market.follow({BTC: "bitcoin", KRAKEN: "cardano"})
    put(market, 0, 10)
    put(market, 0, 10, KRAKEN)
    found = by_key(study(measures="price,volume,funding").make(START))
    assert {key[:2] for key in found} == {(BTC.id, "price")}


def test_an_observation_that_is_missing_now_and_then_does_not_shorten_the_window(market, study):
    market.follow({BTC: "bitcoin"})
    for place in range(12):
        put(market, 5 * place, 10, volume_24h=None if place % 2 else Decimal(place))
    row = by_key(study().make(START + 12 * FIVE))[BTC.id, "volume", "4"]
    assert (row["samples"], row["mean"], row["observed_at"]) == (4, 7.0, START + 10 * FIVE)  # 4 6 8 10


def test_indicators_stand_on_the_same_grid_at_the_ends_of_their_bars(market, study):
    market.follow({BTC: "bitcoin"})
    times = tuple(START + timedelta(minutes=minute) for minute in range(4))
    columns = {"rsi_14": np.array([40.0, 50.0, 60.0, 70.0])}
    block = IndicatorBlock(
        instrument=BTC, interval=Interval.M1, open_times=times, columns=columns, extra={}, warm=(True,) * 4
    )
    market.writer.write_indicators(market.cycle, [block])
    found = by_key(study(indicators="rsi_14").make(START + timedelta(minutes=4)))
    row = found[BTC.id, "rsi_14", "4"]
    assert (row["observed_at"], row["value"], row["mean"]) == (START + timedelta(minutes=4), 70.0, 55.0)
    assert row["gradient"] == pytest.approx(10)


def test_the_same_observations_again_write_nothing(market, study, findings):
    market.follow({BTC: "bitcoin"})
    put(market, 0, 10)
    assert findings.store(study().make(START)) == {"derived_metrics": 3}
    assert findings.store(study().make(START + FIVE)) == {"derived_metrics": 0}


def test_without_instruments_there_is_nothing(market, study):
    assert study().make(START) == {"derived_metrics": []}
