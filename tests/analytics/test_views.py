"""One view per asset: its score, z-score, rank and confidence, worked out by hand."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore

from collector.analytics.signals import SignalParameters, latest_states
from collector.analytics.views import asset_views, score_frame
from collector.records import Interval
from tests.analytics.signal_panels import walk

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Told:
    subject: str
    strength: float
    kind: str = "rsi"
    name: str = "rsi_14"
    interval: Interval = Interval.H1
    bar_end: datetime = NOW


def views(states, **options):
    asset_of = {state.subject: state.subject.split(":")[1] for state in states}
    return asset_views(states, **{"asset_of": asset_of, "as_of": NOW, **options})


def test_venues_and_rules_are_averaged_before_kinds_are():
    states = [
        Told("okx:btc", 0.6, "ema_cross", "ema_cross_12_26"),
        Told("okx:btc", 0.2, "ema_cross", "ema_cross_50_200"),
        Told("kraken:btc", 0.1, "ema_cross", "ema_cross_12_26"),
        Told("okx:btc", -0.5),
    ]
    (view,) = views(states)
    # cells: (0.6 + 0.2 + 0.1) / 3 = 0.3 and -0.5
    assert view.score == pytest.approx((0.3 - 0.5) / 2)
    assert view.agreement == pytest.approx(0.2 / 0.8)
    assert (view.coverage, view.signals, view.rank) == (1.0, 4, 1)
    assert view.members["rsi 1h"] == {"weight": 1.0, "strength": -0.5, "signals": {"okx:btc rsi_14": -0.5}}
    assert json.loads(json.dumps(view.members)) == view.members


def test_weights_of_kinds_and_intervals_multiply():
    states = [Told("okx:btc", 0.8, interval=Interval.D1), Told("okx:btc", -0.2), Told("okx:btc", 0.4, "macd", "macd")]
    (view,) = views(states, kind_weights={"macd": 2.0}, interval_weights={Interval.D1: 3.0})
    assert view.score == pytest.approx((3 * 0.8 - 0.2 + 2 * 0.4) / 6)
    (without,) = views(states, kind_weights={"macd": 0.0})
    assert without.score == pytest.approx(0.3)
    assert without.signals == 2


def test_confidence_is_agreement_times_coverage():
    states = [Told("okx:btc", 0.5), Told("okx:btc", 0.1, "macd", "macd"), Told("okx:eth", -0.3)]
    btc, eth = views(states)
    assert (btc.asset_id, btc.confidence) == ("btc", 1.0)
    assert (eth.agreement, eth.coverage, eth.confidence) == (1.0, 0.5, 0.5)
    wanted = {("rsi", Interval.H1), ("macd", Interval.H1), ("rsi", Interval.D1), ("macd", Interval.D1)}
    assert [view.coverage for view in views(states, expected=wanted)] == [0.5, 0.25]


def test_states_that_cancel_or_say_nothing_give_no_confidence():
    (cancelled,) = views([Told("okx:btc", 0.4), Told("okx:btc", -0.4, "macd", "macd")])
    (silent,) = views([Told("okx:btc", 0.0)])
    assert (cancelled.score, cancelled.confidence) == (0.0, 0.0)
    assert (silent.score, silent.confidence, silent.signals) == (0.0, 0.0, 1)


def test_the_z_score_is_that_of_the_cross_section():
    scores = {"a": 0.9, "b": -0.2, "c": 0.1, "d": 0.3}
    found = views([Told(f"okx:{name}", score) for name, score in scores.items()])
    assert [view.asset_id for view in found] == ["a", "d", "c", "b"]
    assert [view.rank for view in found] == [1, 2, 3, 4]
    assert [view.zscore for view in found] == pytest.approx(zscore([0.9, 0.3, 0.1, -0.2]))


def test_one_asset_or_equal_scores_have_no_z_score_and_ties_go_by_name():
    assert views([Told("okx:btc", 0.5)])[0].zscore is None
    found = views([Told("okx:b", 0.1), Told("okx:a", 0.1), Told("okx:c", 0.1)])
    assert [(view.asset_id, view.rank, view.zscore) for view in found] == [
        ("a", 1, None),
        ("b", 2, None),
        ("c", 3, None),
    ]


def test_an_old_state_and_an_instrument_without_asset_do_not_count():
    late = Told("okx:btc", 0.5, bar_end=NOW - timedelta(hours=1, minutes=59))
    old = Told("okx:btc", -0.5, "macd", "macd", bar_end=NOW - timedelta(hours=2))
    (view,) = views([late, old])
    assert (view.score, view.signals) == (0.5, 1)
    assert asset_views([late], asset_of={}, as_of=NOW) == []
    assert asset_views([old], asset_of={"okx:btc": "bitcoin"}, as_of=NOW) == []


def test_a_state_of_the_future_is_refused():
    with pytest.raises(ValueError, match="ends after"):
        views([Told("okx:btc", 0.5, bar_end=NOW + timedelta(hours=1))])
    with pytest.raises(ValueError, match="negative"):
        views([Told("okx:btc", 0.5)], kind_weights={"rsi": -1.0})


STRENGTHS = st.lists(st.floats(-1, 1), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(strengths=STRENGTHS, data=st.data())
def test_permuting_states_changes_nothing(strengths, data):
    kinds = ["rsi", "macd", "ema_cross"]
    states = [
        Told(f"okx:{'abcd'[number % 4]}", strength, kinds[number % 3], f"rule_{number}")
        for number, strength in enumerate(strengths)
    ]
    assert views(data.draw(st.permutations(states))) == views(states)


@settings(max_examples=50, deadline=None)
@given(strengths=STRENGTHS)
def test_turning_every_signal_turns_scores_and_keeps_confidence(strengths):
    states = [Told(f"okx:{'abc'[number % 3]}", value, name=f"r{number}") for number, value in enumerate(strengths)]
    turned = [Told(state.subject, -state.strength, name=state.name) for state in states]
    there = {view.asset_id: view for view in views(states)}
    for view in views(turned):
        assert view.score == -there[view.asset_id].score
        assert view.confidence == there[view.asset_id].confidence
        assert -1 <= view.score <= 1
        assert 0 <= view.confidence <= 1


def test_views_of_a_whole_market_follow_from_its_states():
    names = [f"okx:A{number}-USDT:perp" for number in range(20)]
    bars = walk(300, 20, names=names)
    parameters = SignalParameters()
    states = latest_states(bars, parameters)
    asset_of = {name: name.split(":")[1].split("-")[0].lower() for name in names}
    found = asset_views(states, asset_of=asset_of, as_of=bars.close.index[-1].to_pydatetime())
    assert [view.rank for view in found] == list(range(1, 21))
    by_hand = {}
    for name in names:
        cells = {}
        for state in states:
            if state.subject == name:
                cells.setdefault(state.kind, []).append(state.strength)
        by_hand[asset_of[name]] = np.mean([np.mean(values) for values in cells.values()])
    assert {view.asset_id: view.score for view in found} == pytest.approx(by_hand)
    assert math.fsum(view.zscore for view in found) == pytest.approx(0, abs=1e-9)


def test_a_history_of_views_is_a_table_of_scores():
    early = views([Told("okx:a", 0.5), Told("okx:b", 0.1)])
    later = asset_views([Told("okx:a", -0.5)], asset_of={"okx:a": "a"}, as_of=NOW + timedelta(minutes=30))
    table = score_frame([*early, *later])
    assert table.loc[NOW].tolist() == [0.5, 0.1]
    assert table.loc[NOW + timedelta(minutes=30), "a"] == -0.5
    assert np.isnan(table.loc[NOW + timedelta(minutes=30), "b"])
    with pytest.raises(ValueError, match="duplicate"):
        score_frame([*early, *early])
