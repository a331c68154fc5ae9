"""What was emitted stays: no bit of a signal depends on later bars, on bars before its window, or on other series."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.analytics.signals import bars_needed, latest_states, read_signals, revised, signals
from tests.analytics.signal_panels import SHORT, changed, ends, funding_of, only, panel, walk, without

BARS, SERIES = 160, 3
NEEDED = bars_needed(SHORT)


def everything(bars, funding=None, **options):
    return signals(bars, SHORT, funding=funding, **options)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), cut=st.integers(1, BARS))
def test_truncating_the_future_changes_nothing_already_emitted(seed, cut):
    bars = walk(BARS, SERIES, seed=seed)
    funding = funding_of(bars, seed=seed)
    moment = bars.close.index[cut - 1]
    then = everything(bars.until(moment), funding.loc[:moment])
    assert then == [row for row in everything(bars, funding) if row.bar_end <= moment]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), cut=st.integers(1, BARS))
def test_a_state_at_a_moment_is_what_the_signals_until_then_left_behind(seed, cut):
    bars = walk(BARS, SERIES, seed=seed)
    moment = bars.close.index[cut - 1]
    reading = read_signals(bars.until(moment), SHORT)
    last = {(row.subject, row.name): row for row in reading.signals}
    for state in reading.states:
        row = last.get((state.subject, state.name))
        assert state.since_known == (row is not None)
        if row is not None:
            assert (state.state, state.direction, state.since) == (row.state, row.direction, row.bar_end)
            assert state.bar_end == moment


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), older=st.integers(1, 90))
def test_older_history_changes_nothing_already_emitted(seed, older):
    long = walk(BARS, SERIES, seed=seed)
    short = changed(long, lambda frame: frame.iloc[older:])
    funding = funding_of(long, every=2, seed=seed)
    started = short.close.index[0]
    before = everything(short, funding.loc[started:])
    after = everything(long, funding)
    assert set(map(key, before)) <= set(map(key, after))
    assert [row for row in after if key(row) in set(map(key, before))] == before


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 20), since=st.integers(0, BARS - 1))
def test_reading_the_newest_bars_alone_gives_their_rows(seed, since):
    bars = walk(BARS, SERIES, seed=seed)
    moment = bars.close.index[since]
    enough = changed(bars, lambda frame: frame.iloc[max(0, since + 2 - NEEDED) :])
    assert everything(enough, since=moment) == [row for row in everything(bars) if row.bar_end > moment]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), power=st.integers(-30, 30))
def test_scaling_prices_by_a_power_of_two_changes_not_a_bit_of_direction_or_strength(seed, power):
    bars = walk(BARS, SERIES, seed=seed)
    scaled = changed(bars, lambda frame: frame * 2.0**power)
    assert list(map(said, everything(bars))) == list(map(said, everything(scaled)))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), factor=st.floats(1e-9, 1e9))
def test_scaling_prices_changes_no_direction_and_no_strength(seed, factor):
    bars = walk(BARS, SERIES, seed=seed)
    scaled = everything(changed(bars, lambda frame: frame * factor))
    for one, other in zip(everything(bars), scaled, strict=True):
        assert said(one)[:-1] == said(other)[:-1]
        assert other.strength == pytest.approx(one.strength, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), order=st.permutations(range(SERIES)))
def test_permuting_series_permutes_the_rows(seed, order):
    bars = walk(BARS, SERIES, seed=seed)
    funding = funding_of(bars, seed=seed)
    names = [bars.close.columns[column] for column in order]
    moved = everything(bars.only(names), funding)
    assert sorted(moved, key=key) == sorted(everything(bars, funding), key=key)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 20), row=st.integers(0, BARS - 1))
def test_a_hole_silences_exactly_the_windows_it_lies_in(seed, row):
    bars = walk(BARS, 2, seed=seed)
    hole = bars.close.index[row]
    holed = everything(without(bars, row))
    expected = [
        item
        for item in everything(bars)
        if item.subject != bars.close.columns[0] or not item.window_since <= hole <= item.window_until
    ]
    assert holed == expected


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 20), row=st.integers(0, BARS - 1))
def test_every_bar_is_either_told_or_listed_as_a_gap(seed, row):
    bars = without(walk(BARS, 1, seed=seed), row)
    reading = read_signals(bars, SHORT)
    for signal in reading.signals:
        gaps = [gap for gap in reading.skipped if gap.name == signal.name]
        assert not any(gap.since <= signal.bar_end <= gap.until for gap in gaps)
    started = 1 if row == 0 else 0
    assert {gap.since for gap in reading.skipped if gap.reason == "warm_up"} <= {ends(BARS)[started]}


def test_a_gap_says_from_when_to_when_and_why():
    bars = without(walk(BARS), 100)
    gaps = read_signals(bars, only(breakout=SHORT.breakout)).skipped
    assert [(gap.reason, gap.since, gap.until, gap.bars) for gap in gaps] == [
        ("warm_up", ends(BARS)[0], ends(BARS)[11], 12),  # two states of lookback 6 need 13 bars
        ("hole", ends(BARS)[100], ends(BARS)[112], 13),
    ]


def test_a_series_that_begins_later_has_no_gap_before_its_first_bar():
    close = np.column_stack([walk(BARS).close, walk(BARS, seed=7).close])
    close[:50, 1] = np.nan
    gaps = read_signals(panel(close), only(rsi=SHORT.rsi)).skipped
    assert [(gap.since, gap.reason) for gap in gaps] == [(ends(BARS)[0], "warm_up"), (ends(BARS)[50], "warm_up")]


def test_funding_that_stops_coming_is_a_hole_and_no_old_state():
    bars = walk(BARS)
    funding = funding_of(bars, every=4)
    stopped = funding.drop(funding.index[20:30])  # 44 hours without a settlement
    reading = read_signals(bars, only(funding=SHORT.funding), funding=stopped)
    assert [gap.reason for gap in reading.skipped] == ["warm_up", "hole"]
    hole = reading.skipped[1]
    assert hole.since == funding.index[19] + 26 * bars.interval.width  # after 25 hours the last one is too old
    assert hole.until == funding.index[36]  # six settlements after the hole, and the seventh has a z-score
    whole = signals(bars, only(funding=SHORT.funding), funding=funding)
    told = [row for row in reading.signals if row.bar_end < hole.since]
    assert told == [row for row in whole if row.bar_end < funding.index[20]]
    assert [row for row in reading.signals if row.bar_end > hole.until] == [
        row for row in whole if row.bar_end > hole.until
    ]


def test_an_empty_panel_says_nothing():
    reading = read_signals(walk(BARS).until(ends(1)[0] - ends(2).freq), SHORT)
    assert (reading.signals, reading.states, reading.skipped, reading.until) == ([], [], [], None)
    assert latest_states(walk(3), SHORT) == []


def test_settlements_out_of_order_are_refused():
    bars = walk(BARS)
    with pytest.raises(ValueError, match="ascending"):
        signals(bars, SHORT, funding=funding_of(bars).iloc[::-1])


# --- revisions -----------------------------------------------------------------------------------------------------


def corrected(bars, row, factor):
    def change(frame):
        frame = frame.copy()
        frame.iloc[row] *= factor
        return frame

    return changed(bars, change)


def test_the_same_bars_need_no_revision():
    bars = walk(BARS, SERIES)
    assert revised(everything(bars), read_signals(bars, SHORT)) == []


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 30), row=st.integers(60, BARS - 1))
def test_a_corrected_bar_revises_nothing_but_windows_it_lies_in(seed, row):
    bars = walk(BARS, seed=seed)
    stored = everything(bars)
    due = revised(stored, read_signals(corrected(bars, row, 1.2), SHORT))
    touched = {key(item) for item in stored if item.window_since <= bars.close.index[row] <= item.window_until}
    assert {key(revision) for revision in due} <= touched
    assert all(revision.cause == "inputs" and revision.revision == 1 for revision in due)


def test_a_signal_whose_cause_was_corrected_is_gone_and_comes_back_with_it():
    close = np.concatenate([np.full(30, 100.0), [120.0], np.full(29, 100.0)])
    parameters = only(breakout=SHORT.breakout)
    spike, calm = panel(close), panel(np.full(60, 100.0))
    stored = signals(spike, parameters)
    assert [row.state for row in stored] == ["breakout_up", "inside"]
    first = revised(stored, read_signals(calm, parameters))
    assert [(item.revision, item.differs, item.direction, item.state) for item in first] == [
        (1, ("gone",), None, None),
        (1, ("gone",), None, None),
    ]
    assert revised(stored, read_signals(calm, parameters), first) == []
    second = revised(stored, read_signals(spike, parameters), first)
    assert [(item.revision, item.differs, item.state, item.cause) for item in second] == [
        (2, ("back",), "breakout_up", "inputs"),
        (2, ("back",), "inside", "inputs"),
    ]
    assert revised(stored, read_signals(spike, parameters), [*second, *first]) == []


def test_a_correction_that_changes_strength_and_price_says_so():
    bars = panel(np.concatenate([100 + np.tile([0.0, 1.0], 20), 101 + np.arange(1, 8)]))
    parameters = only(rsi=SHORT.rsi)
    stored = signals(bars, parameters)
    assert [row.state for row in stored] == ["overbought"]
    at = bars.close.index.get_loc(stored[0].bar_end)
    due = revised(stored, read_signals(corrected(bars, at, 1.001), parameters))
    assert [(item.differs, item.direction, item.price) for item in due] == [
        (("strength", "price"), -1, pytest.approx(stored[0].price * 1.001))
    ]
    assert due[0].strength < stored[0].strength


def test_other_code_on_the_same_inputs_is_told_apart_from_corrected_inputs():
    bars = walk(BARS)
    stored = [replace(row, strength=row.strength / 2 + 0.001) for row in everything(bars)[:1]]
    due = revised(stored, read_signals(bars, SHORT))
    assert [(item.cause, item.differs) for item in due] == [("code", ("strength",))]


def test_what_cannot_be_recomputed_is_not_gone():
    bars = walk(BARS)
    stored = everything(bars)
    middle = bars.close.index[80]
    short = changed(bars, lambda frame: frame.iloc[60:])  # too little history for bars before its windows
    assert revised(stored, read_signals(short, SHORT)) == []
    assert revised(stored, read_signals(bars, SHORT, since=middle)) == []
    assert revised(stored, read_signals(without(bars, 70), SHORT)) == []
    assert revised(stored, read_signals(bars, only(rsi=SHORT.rsi))) == []
    assert revised([replace(row, version=0) for row in stored], read_signals(bars, SHORT)) == []


def key(row):
    return row.subject, row.name, row.bar_end, row.parameter_hash


def said(row):
    without_price = {name: value for name, value in asdict(row).items() if name not in ("price", "inputs_hash")}
    strength = without_price.pop("strength")
    return *without_price.values(), strength
