"""Trends, breadth and factors whenever another day has closed, as they were known at their moment."""

import math
from datetime import timedelta

import numpy as np
import pytest

from collector.config import AnalyticsSettings
from collector.studies.trends import TrendStudy
from tests.studies.market import BTC, DAY, ETH, SOL, START, bar, bars, instrument, snapshot

SETTINGS = AnalyticsSettings(trends={"spans": ("2d", "7d"), "sma_fast": 2, "sma_slow": 3})
ASSETS = {BTC: "bitcoin", ETH: "ether", SOL: "solana"} | {
    instrument(base): base for base in ("A", "B", "C", "D", "E", "F")
}


@pytest.fixture
def study(past):
    return lambda: TrendStudy(past, SETTINGS)


@pytest.fixture
def market(when):
    """What is corrected is corrected before any moment that a test looks at."""
    return when(START)


def by_key(found):
    return {(row["subject"], row["span"]): row for row in found["trends"]}


def close(*moved):
    """Return prices from 100 on that move by these fractions."""
    return [round(float(price), 6) for price in 100 * np.cumprod([1.0, *(1 + part for part in moved)])]


def test_values_are_those_of_a_hand_calculation(market, study):
    market.follow({BTC: "bitcoin"})
    market.put(*bars(BTC, [100, 110, 99, 120, 108]))
    row = by_key(study().make(START + 5 * DAY))["bitcoin", "2d"]
    assert (row["as_of"], row["bars"], row["missing"]) == (START + 5 * DAY, 2, 0)
    assert (row["first_price"], row["last_price"]) == (99.0, 108.0)
    assert row["change"] == pytest.approx(108 / 99 - 1)
    one, two = math.log(120 / 99), math.log(108 / 120)
    assert row["volatility"] == pytest.approx(abs(one - two) / math.sqrt(2) * math.sqrt(365))
    assert row["drawdown"] == pytest.approx(108 / 120 - 1)
    assert row["max_drawdown"] == pytest.approx(108 / 120 - 1)
    assert row["slope"] == pytest.approx((math.log(108) - math.log(99)) / 2)
    assert row["sma_fast"] == pytest.approx((120 + 108) / 2)
    assert row["sma_slow"] == pytest.approx((99 + 120 + 108) / 3)
    assert (row["ma_state"], row["volume"], row["volume_change"]) == (1, 20.0, 0.0)


def test_assets_are_priced_a_coin_and_instruments_in_their_own_quote(market, study):
    pepe = instrument("1000PEPE")
    market.follow({pepe: "pepe"}, units={pepe: 1000})
    market.put(*bars(pepe, [2, 4, 3, 3]))
    found = by_key(study().make(START + 4 * DAY))
    assert found["pepe", "2d"]["first_price"] == pytest.approx(0.004)
    assert found[pepe.id, "2d"]["first_price"] == 4.0
    assert found["pepe", "2d"]["change"] == pytest.approx(found[pepe.id, "2d"]["change"]) == pytest.approx(-0.25)


def test_beta_to_bitcoin_is_that_of_the_returns(market, study):
    """Returns that are twice bitcoin's have a beta of 2 and a correlation of 1."""
    market.follow({BTC: "bitcoin", ETH: "ether"})
    moved = (0.01, -0.02, 0.03, 0.01, -0.01, 0.02, -0.03)
    market.put(*bars(BTC, close(*moved)), *bars(ETH, close(*(2 * part for part in moved))))
    row = by_key(study().make(START + 8 * DAY))["ether", "7d"]
    assert row["beta_bitcoin"] == pytest.approx(2, rel=1e-4)
    assert row["correlation_bitcoin"] == pytest.approx(1, rel=1e-6)
    assert by_key(study().make(START + 8 * DAY))["bitcoin", "7d"]["beta_bitcoin"] == pytest.approx(1)


def test_the_market_is_weighted_by_the_caps_of_the_day_before(market, study):
    """Caps of 3 to 1: the market moves by three quarters of bitcoin's return and a quarter of ether's."""
    market.follow({BTC: "bitcoin", ETH: "ether"})
    up, down = (0.02, -0.01, 0.03, 0.01, -0.02, 0.01, 0.02), (-0.01, 0.03, 0.01, -0.02, 0.04, 0.01, -0.01)
    market.put(*bars(BTC, close(*up)), *bars(ETH, close(*down)))
    for day in range(8):
        at = START + day * DAY + timedelta(hours=20)
        market.put(snapshot("bitcoin", 3, at), snapshot("ether", 1, at))
    row = by_key(study().make(START + 8 * DAY))["ether", "7d"]
    whole = 0.75 * np.array(up) + 0.25 * np.array(down)
    assert row["correlation_market"] == pytest.approx(np.corrcoef(down, whole)[0, 1], rel=1e-4)
    assert row["beta_market"] == pytest.approx(np.cov(down, whole)[0, 1] / np.var(whole, ddof=1), rel=1e-4)


def test_breadth_counts_the_assets_and_not_their_instruments(market, study):
    market.follow({BTC: "bitcoin", instrument(quote="USDC"): "bitcoin", ETH: "ether", SOL: "solana"})
    market.put(*bars(BTC, [1, 2, 3]), *bars(instrument(quote="USDC"), [1, 2, 3]))
    market.put(*bars(ETH, [1, 2, 3]), *bars(SOL, [3, 2, 1]))
    (row,) = [row for row in study().make(START + 3 * DAY)["breadth"] if row["span"] == "2d"]
    assert (row["assets"], row["advancing"], row["declining"], row["unchanged"]) == (3, 2, 1, 0)
    assert row["advance_share"] == pytest.approx(2 / 3)


def test_it_is_made_when_another_day_closed_or_another_series_brought_it_and_else_not(market, study):
    market.follow({BTC: "bitcoin", ETH: "ether"})
    market.put(*bars(BTC, [1, 2, 3, 4]), *bars(ETH, [1, 2, 3]))
    running, now = study(), START + 4 * DAY + timedelta(minutes=1)
    assert by_key(running.make(now))["bitcoin", "2d"]["as_of"] == START + 4 * DAY
    assert running.make(now + timedelta(minutes=5)) == {}
    market.put(*bars(ETH, [4], start=START + 3 * DAY))
    found = by_key(running.make(now + timedelta(minutes=10)))
    assert found["ether", "2d"]["last_price"] == 4.0
    assert running.make(now + timedelta(minutes=15)) == {}
    market.put(*bars(BTC, [5], start=START + 4 * DAY))
    assert by_key(running.make(START + 5 * DAY))["bitcoin", "2d"]["as_of"] == START + 5 * DAY


def test_a_restart_on_the_same_day_stores_nothing(market, study, findings):
    market.follow({BTC: "bitcoin"})
    market.put(*bars(BTC, [1, 2, 3, 4]))
    assert findings.store(study().make(START + 4 * DAY))["trends"] == 4
    assert not any(findings.store(study().make(START + 4 * DAY + timedelta(hours=3))).values())


def test_nothing_stored_gives_nothing(market, study):
    assert study().make(START) == {}
    market.follow({BTC: "bitcoin"})
    assert study().make(START) == {}


def filled(when, days=70):
    rng = np.random.default_rng(3)
    market = when(START)
    market.follow(ASSETS)
    for place, (item, asset) in enumerate(ASSETS.items()):
        prices = [round(float(price), 6) for price in 100 * np.exp(np.cumsum(rng.normal(0, 0.03, days)))]
        market.put(*bars(item, prices))
        market.put(
            *(snapshot(asset, 100 * (place + 1) + day, START + day * DAY + timedelta(hours=23)) for day in range(days))
        )
    return market


def test_a_past_moment_is_told_as_it_was_known_then(when, study):
    """Later days, later caps and later corrections change nothing of what a moment in the past says."""
    filled(when, 60)
    then = START + 60 * DAY
    before = study().trends(then)
    assert any(row["value"] is not None for row in before["factor_returns"])
    later = when(then + DAY)
    later.put(*(bar(item, START + 60 * DAY, 300) for item in ASSETS))
    later.put(*(bar(BTC, START + day * DAY, 500) for day in range(30, 60)))
    later.put(*(snapshot(asset, 9999, then + timedelta(hours=1)) for asset in ASSETS.values()))
    better = instrument(venue="binance_futures")
    later.follow({better: "bitcoin"})
    later.put(*bars(better, [7, 8], start=then))
    after = study().trends(then)
    mine = [row for row in after["trends"] if row["subject"] != better.id]
    assert {**after, "trends": mine} == before
    assert study().trends(then, known=then + DAY) != before


def test_what_was_said_of_a_past_day_is_what_the_longer_history_says_of_it(when, study, findings):
    """Day after day with a restart each time, against the same days computed afterwards."""
    market = filled(when, 50)
    for day in (48, 49, 50):
        findings.store(study().make(START + day * DAY))
    for day in (48, 49, 50):
        again = by_key(study().trends(START + day * DAY))
        stored = market.rows(
            "SELECT subject, span, change, beta_market FROM trends WHERE as_of = :at", at=START + day * DAY
        )
        assert sorted(stored) == sorted((*key, row["change"], row["beta_market"]) for key, row in again.items())


def test_factor_returns_of_a_day_stay_when_its_look_back_is_out_of_reach(when, study, findings):
    """Four months are read, momentum looks back over one of them: of a day told before nothing is taken back."""
    market = filled(when, 150)
    findings.store(study().make(START + 90 * DAY))
    query = "SELECT factor, day, value, reason FROM factor_returns WHERE day <= :at ORDER BY 1, 2"
    before = market.rows(query, at=START + 90 * DAY)
    assert sum(value is not None for _, _, value, _ in before) > 250
    findings.store(study().make(START + 150 * DAY))
    assert market.rows(query, at=START + 90 * DAY) == before
    days = market.rows("SELECT count(DISTINCT day) FROM factor_returns WHERE day > :at", at=START + 90 * DAY)
    assert days == [(60,)]


def test_factors_have_their_look_back_whatever_the_spans_are(when, study):
    filled(when, 70)
    newest = [row for row in study().make(START + 70 * DAY)["factor_returns"] if row["day"] == START + 70 * DAY]
    assert {row["factor"]: row["reason"] for row in newest} == dict.fromkeys(
        ("market", "size", "momentum", "volatility", "liquidity"), ""
    )


def test_exposures_are_told_of_assets(when, study, findings):
    market = filled(when, 70)
    findings.store(study().make(START + 70 * DAY))
    told = market.rows("SELECT asset_id, reason, bars > 30 FROM factor_exposures ORDER BY 1")
    assert [name for name, _, _ in told] == sorted(ASSETS.values())
    assert {reason for _, reason, _ in told} == {""}
