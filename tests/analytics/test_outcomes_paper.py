"""Paper equity by hand: fees, drift, skipped trades, delistings, bitcoin and the market beside it."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.analytics.paper import paper_equity
from collector.records import Interval
from tests.analytics.signal_panels import changed, ends, panel, walk, without

DAYS = Interval.D1
INDEX = ends(5, DAYS)
CLOSE = np.array([[100.0, 10.0], [110.0, 10.0], [121.0, 12.0], [121.0, 9.0], [133.1, 9.0]])
OPEN = np.array([[100.0, 10.0], [100.0, 10.0], [110.0, 10.0], [121.0, 12.0], [121.0, 9.0]])
BARS = panel(CLOSE, opens=OPEN, names=["bitcoin", "ether"], interval=DAYS)


def weights(*rows):
    """Weights by (bar at whose end they were made, bitcoin, ether)."""
    made = pd.DatetimeIndex([INDEX[row] for row, _, _ in rows])
    return pd.DataFrame([list(row[1:]) for row in rows], index=made, columns=["bitcoin", "ether"])


def equity(rows):
    return [row.equity for row in rows]


def test_weights_are_traded_at_the_next_open_and_drift_from_there():
    rows, skipped = paper_equity(weights((0, 0.5, 0.5)), BARS, fee=0.0)
    assert [row.bar_end for row in rows] == list(INDEX[1:])
    assert equity(rows) == pytest.approx([1.05, 0.5 * 1.21 + 0.6, 0.5 * 1.21 + 0.45, 0.5 * 1.331 + 0.45])
    assert [row.turnover for row in rows] == [1.0, None, None, None]
    assert skipped == []


def test_weights_made_inside_a_bar_are_not_traded_at_its_open():
    made = weights((0, 1.0, 0.0))
    made.index += timedelta(hours=1)
    rows, _ = paper_equity(made, BARS, fee=0.0)
    assert rows[0].bar_end == INDEX[2]


def test_every_trade_pays_on_what_it_moves():
    rows, _ = paper_equity(weights((0, 1.0, 0.0), (2, 0.0, 1.0)), BARS, fee=0.01)
    bought = 0.99 / 100
    assert equity(rows)[:2] == pytest.approx([bought * 110, bought * 121])
    sold = bought * 121  # at the open of bar 3
    left = sold - 0.01 * 2 * sold  # all of it sold, and as much bought
    assert equity(rows)[2:] == pytest.approx([left / 12 * 9, left / 12 * 9])
    assert rows[2].turnover == pytest.approx(2.0)
    assert rows[2].fees == pytest.approx(0.02 * sold)


def test_what_the_weights_leave_over_is_cash():
    rows, _ = paper_equity(weights((0, 0.5, 0.0)), BARS, fee=0.0)
    assert equity(rows) == pytest.approx([0.5 + 0.55, 0.5 + 0.605, 0.5 + 0.605, 0.5 + 0.6655])


def test_bitcoin_is_bought_once_and_the_market_follows_the_caps_of_the_bar_before():
    caps = pd.DataFrame(
        [[300.0, 100.0], [330.0, 100.0], [363.0, 120.0], [363.0, 90.0], [0, 0]], INDEX, BARS.close.columns
    )
    rows, _ = paper_equity(weights((0, 0.5, 0.5)), BARS, fee=0.01, caps=caps)
    assert [row.bitcoin for row in rows] == pytest.approx([0.99 * 1.1, 0.99 * 1.21, 0.99 * 1.21, 0.99 * 1.331])
    grown = [(300 * 1.1 + 100) / 400, (330 * 1.1 + 100 * 1.2) / 430, (363 + 120 * 0.75) / 483, (363 * 1.1 + 90) / 453]
    assert [row.market for row in rows] == pytest.approx(np.cumprod(grown))


def test_a_bar_without_caps_leaves_the_market_unknown_from_there():
    caps = pd.DataFrame([[300.0, 100.0], [330.0, 100.0]], INDEX[:2], BARS.close.columns)
    rows, _ = paper_equity(weights((0, 0.5, 0.5)), BARS, fee=0.0, caps=caps)
    assert [row.market is None for row in rows] == [False, False, True, True]
    assert paper_equity(weights((0, 0.5, 0.5)), BARS, fee=0.0)[0][0].market is None


def test_a_held_asset_without_a_price_leaves_that_bar_unknown_and_no_other():
    rows, _ = paper_equity(weights((0, 0.5, 0.5)), without(BARS, 2, 1), fee=0.0)
    assert [row.equity is None for row in rows] == [False, True, False, False]
    assert rows[1].unpriced == ("ether",)
    alone, _ = paper_equity(weights((0, 1.0, 0.0)), without(BARS, 2, 1), fee=0.0)
    assert None not in equity(alone)


def test_a_trade_that_lacks_a_price_is_skipped_by_name_and_what_was_held_stays():
    rows, skipped = paper_equity(weights((0, 1.0, 0.0), (1, 0.5, 0.5)), without(BARS, 2, 1), fee=0.0)
    assert [(item.as_of, item.bar_end, item.unpriced) for item in skipped] == [(INDEX[1], INDEX[2], ("ether",))]
    assert equity(rows) == pytest.approx([1.1, 1.21, 1.21, 1.331])


def test_what_is_held_of_a_delisted_asset_becomes_cash_at_its_last_close():
    gone = without(without(BARS, 3, 1), 4, 1)
    rows, _ = paper_equity(weights((0, 0.5, 0.5)), gone, fee=0.01, delisted={"ether": INDEX[3]})
    cash = 0.99 * 0.5 * 1.2 * 0.99  # bought at 10, last close 12
    assert equity(rows)[1:] == pytest.approx([0.99 * 0.5 * up + cash for up in (1.21, 1.21, 1.331)])


def test_nothing_to_trade_gives_no_rows():
    assert paper_equity(weights((4, 1.0, 0.0)), BARS, fee=0.0) == ([], [])


@pytest.mark.parametrize(
    ("made", "fee", "line"),
    [
        (weights((0, 0.7, 0.7)), 0.0, "not be negative, nor more than 1"),
        (weights((0, -0.1, 0.7)), 0.0, "not be negative"),
        (weights((1, 1.0, 0.0), (0, 1.0, 0.0)), 0.0, "ascending"),
        (weights((0, 1.0, 0.0)).rename(columns={"ether": "doge"}), 0.0, "no bars of doge"),
        (weights((0, 1.0, 0.0)), 1.0, "a fee is a fraction"),
    ],
)
def test_what_cannot_be_is_refused(made, fee, line):
    with pytest.raises(ValueError, match=line):
        paper_equity(made, BARS, fee=fee)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 50), cut=st.integers(12, 60), power=st.integers(-20, 20))
def test_later_bars_and_the_unit_of_prices_change_no_equity(seed, cut, power):
    names = ["bitcoin", "b", "c"]
    bars = walk(60, 3, seed=seed, names=names, interval=DAYS)
    random = np.random.default_rng(seed)
    made = pd.DataFrame(random.dirichlet(np.ones(3), 6), index=bars.close.index[::10], columns=names)
    caps = bars.close * 1000.0
    whole, _ = paper_equity(made, bars, fee=0.001, caps=caps)
    moment = bars.close.index[cut - 1]
    then, _ = paper_equity(made.loc[:moment], bars.until(moment), fee=0.001, caps=caps.loc[:moment])
    assert then == [row for row in whole if row.bar_end <= moment]
    scaled, _ = paper_equity(made, changed(bars, lambda frame: frame * 2.0**power), fee=0.001, caps=caps)
    assert scaled == whole
    turned, _ = paper_equity(made[names[::-1]], bars.only(names[::-1]), fee=0.001, caps=caps)
    assert [row.equity for row in turned] == pytest.approx([row.equity for row in whole])
