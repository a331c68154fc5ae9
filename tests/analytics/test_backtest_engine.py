"""Equity, costs, funding, delistings and holes, each worked out by hand on a few bars."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from collector.analytics.backtest.engine import backtest
from collector.analytics.backtest.market import BacktestRefused, Market
from collector.analytics.backtest.parameters import BacktestParameters, WalkForward
from collector.analytics.backtest.strategies import CapWeighted, Decided, EmaCross, FixedWeights, Hold, Momentum

FIRST = datetime(2026, 1, 2, tzinfo=UTC)  # the end of the bar of 1 January
NAN = float("nan")


def days(count, first=FIRST):
    return pd.date_range(first, periods=count, freq="D", tz="UTC")


def market_of(closes, opens=None, **more):
    index = days(len(next(iter(closes.values()))))
    frame = pd.DataFrame(closes, index=index, dtype=float)
    started = frame if opens is None else pd.DataFrame(opens, index=index, dtype=float)
    return Market(closes=frame, opens=started, volumes=frame * 0 + 1, **more)


def parameters(bars=5, **more):
    given = {"fee": 0.0, "slippage_bps": 0.0, "rebalance": "once", "benchmark": "A", "start": FIRST}
    return BacktestParameters(**{**given, "end": FIRST + timedelta(days=bars - 1), **more})


THREE = market_of(
    {"A": [99, 105, 110, 120, 130], "B": [51, 45, 40, 41, 42], "C": [20, 21, 24, 25, 30]},
    {"A": [98, 100, 106, 110, 121], "B": [52, 50, 44, 40, 41], "C": [19, 20, 22, 25, 26]},
)


def two_decisions(known, t):
    """Half A and three tenths B after the first bar, half A and half C after the third."""
    return {FIRST: {"A": 0.5, "B": 0.3}, FIRST + timedelta(days=2): {"A": 0.5, "C": 0.5}}.get(t)


def test_equity_of_three_assets_over_five_bars_with_fee_and_slippage_is_the_one_worked_out_by_hand():
    chosen = Decided(name="by hand", function=two_decisions)
    result = backtest(THREE, chosen, parameters(fee=0.01, slippage_bps=200, rebalance="bar", initial=1000))
    # Buying costs 1.02 * 1.01 = 1.0302 a unit of price, selling brings 0.98 * 0.99 = 0.9702.
    a, b = 500 / (100 * 1.0302), 300 / (50 * 1.0302)  # at the opens of the second bar; 200 stay in cash
    # Opens of the fourth bar: A 110, B 40, C 25. B leaves whole, its costs come off before the halves are taken.
    value_a, value_b = a * 110, b * 40
    half = (200 + value_a + value_b * 0.9702) / 2
    a_left, c = a - (value_a - half) / (110 * 0.9702), half / (25 * 1.0302)
    by_hand = [1000, 200 + a * 105 + b * 45, 200 + a * 110 + b * 40, a_left * 120 + c * 25, a_left * 130 + c * 30]
    assert by_hand == pytest.approx([1000, 971.694816, 966.841390, 987.654271, 1124.311454], rel=1e-8)
    assert result.equity.tolist() == pytest.approx(by_hand, rel=1e-12)
    assert [(trade.asset, trade.reason, trade.bar.day) for trade in result.trades] == [
        ("A", "rebalance", 3),
        ("B", "rebalance", 3),
        ("A", "rebalance", 5),
        ("B", "rebalance", 5),
        ("C", "rebalance", 5),
    ]
    slipped = 0.02 * (a * 100 + b * 50 + (a - a_left) * 110 + b * 40 + c * 25)
    paid = 0.01 * (1.02 * (a * 100 + b * 50 + c * 25) + 0.98 * ((a - a_left) * 110 + b * 40))
    assert result.costs.slippage == pytest.approx(slipped, rel=1e-12)
    assert result.costs.fees == pytest.approx(paid, rel=1e-12)
    assert result.weights.iloc[-1].tolist() == pytest.approx(
        [a_left * 130 / by_hand[-1], 0, c * 30 / by_hand[-1]], rel=1e-12
    )


def test_cash_is_never_borrowed_when_everything_moves_from_one_asset_to_another():
    def switch(known, t):
        return {"A": 1.0} if t == FIRST else {"B": 1.0} if t == FIRST + timedelta(days=1) else None

    market = market_of({"A": [10.0] * 4, "B": [10.0] * 4})
    result = backtest(
        market, Decided(name="switch", function=switch), parameters(4, fee=0.1, rebalance="bar", initial=121)
    )
    # 121 buys 11 A (1.1 each with the fee); they bring 9 each, 99, which buys 90/10 = 9 B at 11.
    assert result.equity.tolist() == pytest.approx([121, 110, 90, 90], rel=1e-12)
    assert result.weights.sum(axis=1).iloc[-1] == pytest.approx(1.0)


def test_execution_at_the_close_buys_at_the_close_of_the_next_bar():
    result = backtest(THREE, Hold("A"), parameters(execution="close", initial=105))
    assert result.equity.tolist() == pytest.approx([105, 105, 110, 120, 130])


def test_the_first_decision_is_executed_in_the_bar_after_the_start_and_bars_before_are_only_known():
    result = backtest(THREE, Hold("A"), parameters(start=FIRST + timedelta(days=1), initial=106))
    assert result.equity.index[0] == FIRST + timedelta(days=1)
    assert result.equity.tolist() == pytest.approx([106, 110, 120, 130])


def test_funding_is_paid_at_its_moments_on_the_last_known_close():
    # Bought at the open of the second bar (3 January 00:00 is its end): 10 units at 100.
    name = "okx:A:perp"
    moments = [FIRST, FIRST + timedelta(hours=8), FIRST + timedelta(days=1), FIRST + timedelta(days=2, hours=16)]
    funding = pd.DataFrame({name: [0.5, 0.001, -0.002, 0.003]}, index=pd.DatetimeIndex(moments))
    market = market_of({name: [100, 110, 120, 125, 125]}, {name: [100, 100, 110, 120, 125]}, funding=funding)
    result = backtest(market, Hold(name), parameters(initial=1000, benchmark=name))
    # Before anything is held: 0.5 of nothing. Inside the second bar: the close before, 100. At its end: its close, 110.
    # 4 January 16:00 lies inside the fourth bar: the close of the third, 120.
    paid = [10 * 100 * 0.001 - 10 * 110 * 0.002, 0, 10 * 120 * 0.003, 0]
    assert result.costs_by_bar["funding"].tolist() == pytest.approx([0, *paid])
    assert result.equity.tolist() == pytest.approx([1000, 1100 + 1.2, 1200 + 1.2, 1250 - 2.4, 1250 - 2.4])
    assert result.costs.funding == pytest.approx(2.4)
    assert result.benchmarks[0].equity.iloc[-1] == pytest.approx(1250)  # compared without costs


def test_a_short_receives_positive_funding():
    name = "okx:A:perp"
    funding = pd.DataFrame({name: [0.01]}, index=pd.DatetimeIndex([FIRST + timedelta(days=2)]))
    market = market_of({name: [100, 100, 90, 90, 90]}, funding=funding)
    result = backtest(market, FixedWeights(shares={name: -1.0}), parameters(initial=1000, short=True))
    # Sold 10 at the open of the second bar, 100; the fall brings 100, the funding 10 * 90 * 0.01 = 9.
    assert result.equity.tolist() == pytest.approx([1000, 1000, 1109, 1109, 1109])
    assert result.costs.funding == pytest.approx(-9)


def test_a_perpetual_without_funding_rates_is_told():
    market = market_of({"okx:A:perp": [100.0] * 5})
    assert any("without funding" in text for text in backtest(market, Hold("okx:A:perp"), parameters()).warnings)


def test_a_delisted_asset_is_sold_at_its_last_known_close_with_fee_and_slippage():
    gone = datetime(2026, 1, 4, 12, tzinfo=UTC)  # inside the fourth bar, whose end is 5 January
    market = market_of({"A": [10, 10, 12, NAN, NAN], "B": [10, 10, 10, 10, 20]}, delisted={"A": gone})
    result = backtest(market, FixedWeights(shares={"A": 0.5, "B": 0.5}), parameters(fee=0.01, initial=2020))
    # 1010 each at 10.10: 100 units. A is sold at 12 less 1 %: 1188, which stays in cash.
    assert result.equity.tolist() == pytest.approx([2020, 2000, 2200, 2188, 3188])
    sold = result.trades[-1]
    assert (sold.asset, sold.reason, sold.units, sold.price) == ("A", "delisting", pytest.approx(-100), 12)
    assert sold.bar == datetime(2026, 1, 5, tzinfo=UTC)
    assert result.coverage[0].coverage == 1.0  # the bar of the delisting is not expected


def test_nothing_is_bought_of_a_delisted_asset_and_bars_after_it_are_not_believed():
    gone = datetime(2026, 1, 4, tzinfo=UTC)
    market = market_of({"A": [10, 10, 10, 99, 99], "B": [10.0] * 5}, delisted={"A": gone})
    result = backtest(market, FixedWeights(shares={"A": 0.5, "B": 0.5}), parameters(rebalance="bar", initial=100))
    assert result.equity.tolist() == pytest.approx([100] * 5)
    assert result.weights["A"].tolist() == pytest.approx([0, 0.5, 0, 0, 0])


def test_a_strategy_does_not_know_of_a_delisting_before_it_happens():
    seen = {}

    def note(known, t):
        seen[t.day] = dict(known.delisted)
        return {"B": 1.0}

    gone = datetime(2026, 1, 4, tzinfo=UTC)
    market = market_of({"A": [10.0] * 5, "B": [10.0] * 5}, delisted={"A": gone})
    backtest(market, Decided(name="note", function=note), parameters(rebalance="bar", look_ahead_samples=0))
    assert seen == {2: {}, 3: {}, 4: {"A": gone}, 5: {"A": gone}, 6: {"A": gone}}


def test_a_hole_below_the_threshold_is_refused_with_name_and_window():
    market = market_of({"A": [10, NAN, NAN, 10, 10], "B": [10.0] * 5})
    with pytest.raises(BacktestRefused) as refused:
        backtest(market, Hold("B"), parameters())
    assert "A has 60.0% of its bars, missing 2026-01-03 00:00 to 2026-01-04 00:00" in str(refused.value)


def test_a_hole_above_the_threshold_is_told_as_a_warning():
    market = market_of({"A": [10, NAN, 10, 10, 10], "B": [10.0] * 5})
    result = backtest(market, Hold("B"), parameters(minimum_coverage=0.8))
    assert "A has 80.0% of its bars, missing 2026-01-03 00:00 to 2026-01-03 00:00" in result.warnings
    entry = result.coverage[0]
    assert (entry.expected_bars, entry.bars, entry.coverage) == (5, 4, 0.8)
    assert entry.holes == ((datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)),)


def test_a_hole_below_the_threshold_is_only_told_when_so_asked():
    market = market_of({"A": [10, NAN, NAN, 10, 10], "B": [10.0] * 5})
    warnings = backtest(market, Hold("B"), parameters(on_holes="warn")).warnings
    assert any(text.startswith("below the minimum: A has 60.0%") for text in warnings)


def test_the_ledger_of_windows_may_say_less_than_the_frames():
    market = market_of({"A": [10.0] * 5}, coverage={"A": 0.5})
    with pytest.raises(BacktestRefused, match=r"A has 50\.0% of its bars, as the ledger of windows tells it"):
        backtest(market, Hold("A"), parameters())


def test_bars_before_the_listing_are_no_hole():
    market = market_of({"A": [NAN, NAN, 10, 10, 10], "B": [10.0] * 5})
    result = backtest(market, Hold("B"), parameters())
    assert result.coverage[0].coverage == 1.0
    assert result.coverage[0].first_bar == datetime(2026, 1, 4, tzinfo=UTC)


def test_an_order_without_a_price_waits_until_there_is_one_and_is_told():
    opens = {"A": [10, NAN, NAN, 20, 20], "B": [10.0] * 5}
    closes = {"A": [10, NAN, NAN, 20, 40], "B": [10.0] * 5}
    chosen = FixedWeights(shares={"A": 0.5, "B": 0.5})
    result = backtest(market_of(closes, opens), chosen, parameters(on_holes="warn", initial=100))
    assert result.equity.tolist() == pytest.approx([100, 100, 100, 100, 150])  # 2.5 A at 20, not at an older price
    wait = result.waits[0]
    assert (wait.asset, wait.waited_bars, wait.outcome, wait.decided_at) == ("A", 2, "filled", FIRST)
    assert any("waited: A" in text for text in result.warnings)


def test_what_cannot_be_sold_ties_up_its_money_and_the_others_get_less():
    def switch(known, t):
        return {"A": 1.0} if t == FIRST else {"B": 1.0} if t == FIRST + timedelta(days=1) else None

    prices = {"A": [10, 10, NAN, 10, 10], "B": [10.0] * 5}
    result = backtest(
        market_of(prices), Decided(name="switch", function=switch), parameters(on_holes="warn", rebalance="bar")
    )
    assert result.weights["A"].tolist() == pytest.approx([0, 1, 1, 0, 0])
    assert result.weights["B"].tolist() == pytest.approx([0, 0, 0, 0, 0])  # there was no money for it; not tried again
    assert any("A was held through 1 bars without a close" in text for text in result.warnings)


def test_a_replaced_order_is_told():
    prices = {"A": [10, NAN, NAN, 10, 10], "B": [10.0] * 5}
    chosen = FixedWeights(shares={"A": 0.5, "B": 0.5})
    result = backtest(market_of(prices), chosen, parameters(on_holes="warn", rebalance="bar", initial=100))
    assert [(wait.outcome, wait.waited_bars) for wait in result.waits] == [("replaced", 1), ("replaced", 1)]


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"A": 1.2}, "above max_gross"),
        ({"A": -0.5}, "need short=True"),
        ({"Z": 1.0}, "'Z'"),
        ({"A": NAN}, "no weight for"),
    ],
)
def test_weights_that_cannot_be_traded_are_refused(shares, said):
    with pytest.raises(BacktestRefused, match=said):
        backtest(THREE, FixedWeights(shares=shares), parameters())


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("inf")])
def test_a_price_that_is_none_is_refused_with_its_place(wrong):
    with pytest.raises(BacktestRefused, match="of A at 2026-01-03"):
        backtest(market_of({"A": [10, wrong, 10, 10, 10]}), Hold("A"), parameters())


def test_a_grid_with_a_bar_left_out_is_refused():
    frame = THREE.closes.drop(THREE.closes.index[2])
    with pytest.raises(BacktestRefused, match="one step apart"):
        backtest(Market(closes=frame, opens=frame, volumes=frame), Hold("A"), parameters())


def test_a_short_that_loses_everything_ends_with_nothing_and_is_told():
    market = market_of({"A": [10, 10, 30, 10, 10]})
    result = backtest(market, FixedWeights(shares={"A": -1.0}), parameters(short=True, initial=100))
    assert result.equity.tolist() == pytest.approx([100, 100, 0, 0, 0])
    assert result.metrics.total_return == -1
    assert any("nothing was left at 2026-01-04" in text for text in result.warnings)


def test_equal_inputs_give_equal_results_and_each_input_changes_the_key():
    chosen = Decided(name="by hand", function=two_decisions)
    asked = parameters(fee=0.01, rebalance="bar")
    one, two = backtest(THREE, chosen, asked), backtest(THREE, chosen, asked)
    assert one.equity.tolist() == two.equity.tolist()
    assert (one.trades, one.result_key, one.data_hash) == (two.trades, two.result_key, two.data_hash)
    moved = market_of({name: THREE.closes[name] for name in "ABC"} | {"C": [20, 21, 24, 25, 30.000001]})
    keys = {
        one.result_key,
        backtest(moved, chosen, asked).result_key,
        backtest(THREE, chosen, parameters(fee=0.02, rebalance="bar")).result_key,
        backtest(THREE, Hold("A"), asked).result_key,
        backtest(THREE, Hold("B"), asked).result_key,
    }
    assert len(keys) == 5


def test_rows_after_the_end_change_neither_numbers_nor_key():
    short = Market(closes=THREE.closes[:4], opens=THREE.opens[:4], volumes=THREE.volumes[:4])
    asked = parameters(4)
    one, two = backtest(short, Hold("A"), asked), backtest(THREE, Hold("A"), asked)
    assert one.result_key == two.result_key
    assert one.equity.tolist() == two.equity.tolist()


def test_the_numbers_of_these_rules_have_not_changed_unnoticed():
    # If this fails on purpose: raise RULES in result.py, so that old keys do not name new numbers.
    chosen = Decided(name="by hand", function=two_decisions)
    result = backtest(THREE, chosen, parameters(fee=0.01, slippage_bps=200, rebalance="bar", initial=1000))
    assert result.code_version.endswith("rules1")
    assert result.equity.iloc[-1] == pytest.approx(1124.311454, rel=1e-8)


def test_the_benchmarks_are_holding_one_asset_and_the_cap_weighted_market_without_costs():
    caps = pd.DataFrame({"A": [300.0] * 5, "B": [100.0] * 5, "C": [NAN] * 5}, index=THREE.closes.index)
    market = Market(closes=THREE.closes, opens=THREE.opens, volumes=THREE.volumes, caps=caps)
    hold, whole = backtest(market, Hold("C"), parameters(fee=0.05, initial=100)).benchmarks
    assert hold.equity.tolist() == pytest.approx([100, 105, 110, 120, 130])  # bought at the open of 100
    assert whole.equity.iloc[-1] == pytest.approx(75 * 1.3 + 25 * 42 / 50)
    assert whole.metrics.total_return == pytest.approx(0.185)


def test_caps_older_than_three_days_make_no_decision():
    caps = pd.DataFrame({"A": [1.0]}, index=pd.DatetimeIndex([FIRST - timedelta(days=4)]))
    market = Market(closes=THREE.closes, opens=THREE.opens, volumes=THREE.volumes, caps=caps)
    assert CapWeighted().weights(market.until(FIRST), FIRST) is None
    assert CapWeighted(oldest=timedelta(days=4)).weights(market.until(FIRST), FIRST)["A"] == 1.0


def test_momentum_takes_the_strongest_rises_and_leaves_the_other_places_in_cash():
    market = market_of({"A": [10, 11, 12], "B": [10, 10, 9], "C": [10, 10, 15], "D": [NAN, 10, 99]})
    at = FIRST + timedelta(days=2)
    assert Momentum(lookback=2, top=1).weights(market, at) == {"C": 1.0}
    assert Momentum(lookback=2, top=4).weights(market, at) == {"C": 0.25, "A": 0.25}
    assert Momentum(lookback=2, top=4, rising=False).weights(market, at) == {"C": 0.25, "A": 0.25, "B": 0.25}
    assert Momentum(lookback=1, top=1, skip=1).weights(market, at) == {"A": 1.0}
    assert Momentum(lookback=3, top=1).weights(market, at) is None


def test_ema_cross_is_in_while_the_fast_average_is_above_the_slow_one_once_warm():
    # Spans 1 and 3: alpha 1 and 1/2. Closes 10 12 12 8: slow 10, 11, 11.5, 9.75; fast is the close itself.
    market = market_of({"A": [10, 12, 12, 8], "B": [NAN, 10, 10, 10]})
    prepared = EmaCross(pairs=((1, 3),)).prepare(market)
    assert prepared.table["A"].tolist() == [0, 0, 0.5, 0]  # warm from the third close on; half: B has bars too
    assert prepared.table["B"].tolist() == [0, 0, 0, 0]


class Fitted:
    """Holds what rose most in its training window."""

    def __init__(self, asset=""):
        self.asset = asset

    name = "best of the window"

    def details(self):
        return {"asset": self.asset}

    def fit(self, known, t):
        change = known.closes.iloc[-1] / known.closes.iloc[0] - 1
        return Fitted(str(change.idxmax()))

    def weights(self, known, t):
        return {self.asset: 1.0}


def test_walk_forward_fits_on_the_bars_before_each_step_alone():
    market = market_of({"A": [10, 11, 12, 12, 12, 12], "B": [10, 10, 10, 11, 14, 15]})
    asked = parameters(
        6, start=FIRST + timedelta(days=2), rebalance="bar", walk_forward=WalkForward(train=2, step=2), initial=120
    )
    result = backtest(market, Fitted(), asked)
    told = [(fit.train_from.day, fit.fitted_at.day, fit.details["asset"]) for fit in result.fits]
    assert told == [(3, 4, "A"), (5, 6, "B")]
    assert result.targets.idxmax(axis=1).tolist() == ["A", "A", "B", "B"]
    assert result.look_ahead.passed
    with pytest.raises(BacktestRefused, match="nothing to fit"):
        backtest(market, Hold("A"), asked)


def test_a_held_asset_without_a_close_is_valued_at_its_last_known_one():
    market = market_of({"A": [10, 10, NAN, 12, 12]}, {"A": [10, 10, NAN, 11, 12]})
    result = backtest(market, Hold("A"), parameters(on_holes="warn", initial=100))
    assert result.equity.tolist() == pytest.approx([100, 100, 100, 120, 120])
    assert np.isfinite(result.equity).all()
