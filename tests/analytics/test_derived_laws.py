"""Laws of derived metrics: a restart, a truncation, the order of series and the unit of values change nothing."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.analytics.derived import DerivedParameters, derive, derive_history, history_needed

START = datetime(2026, 3, 11, 14, 0, tzinfo=UTC)
PARTS = ("gradient", "gradient_relative", "mean", "deviation", "zscore", "samples")


@st.composite
def frames(draw):
    """Up to 4 series over up to 150 minutes: dense or sparse, with rows left out and holes, values of any size."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    minutes, series = draw(st.integers(1, 150)), draw(st.integers(1, 4))
    scale, missing = draw(st.sampled_from([1e-8, 1.0, 1e9])), draw(st.sampled_from([0.0, 0.05, 0.5, 0.95]))
    values = scale * (draw(st.sampled_from([0, 100])) + np.cumsum(rng.normal(0, 1, (minutes, series)), axis=0))
    values[rng.random(values.shape) < missing] = np.nan
    frame = pd.DataFrame(values, index=pd.date_range(START, periods=minutes, freq="min"))
    frame.columns = [f"series {number}" for number in range(series)]
    return frame[rng.random(minutes) < draw(st.sampled_from([0.2, 1.0]))]


parameters = st.builds(
    DerivedParameters,
    window_size=st.integers(2, 70),
    intervals=st.lists(st.integers(1, 90), unique=True, max_size=3).map(tuple),
)


def last_observations(frame, count):
    """What a reader gets who takes the last so many observations of each series."""
    return frame.apply(lambda column: column.where(column.notna()[::-1].cumsum()[::-1] <= count)).dropna(how="all")


@settings(max_examples=60)
@given(frames(), parameters)
def test_the_history_that_is_needed_gives_what_all_of_it_gives(frame, chosen):
    short = last_observations(frame, history_needed(chosen))
    assert derive({"price": short}, chosen) == derive({"price": frame}, chosen)


@settings(max_examples=60)
@given(frames(), parameters)
def test_one_observation_less_is_too_little_for_some_window(frame, chosen):
    needed = history_needed(chosen)
    full = derive({"price": frame}, chosen)
    reached = {(row.subject, row.window) for row in full if row.samples == needed}
    short = derive({"price": last_observations(frame, needed - 1)}, chosen)
    assert reached == {(a.subject, a.window) for a, b in zip(full, short, strict=True) if a != b}


@settings(max_examples=60)
@given(frames(), parameters, st.integers(0, 150))
def test_truncating_the_future_changes_nothing(frame, chosen, kept):
    whole, cut = derive_history({"price": frame}, chosen), derive_history({"price": frame.iloc[:kept]}, chosen)
    for all_of_it, part in zip(whole, cut, strict=True):
        for name in PARTS:
            pd.testing.assert_frame_equal(getattr(all_of_it, name).iloc[:kept], getattr(part, name), check_exact=True)


@settings(max_examples=60)
@given(frames(), parameters, st.integers(0, 150))
def test_every_minute_of_the_history_is_what_was_derived_at_that_minute(frame, chosen, which):
    if len(frame) == 0:
        return
    moment = frame.index[which % len(frame)]
    at_once = [row for panel in derive_history({"price": frame}, chosen) for row in panel.rows()]
    then = [row for row in derive({"price": frame}, chosen, at=moment) if row.observed_at == moment]
    order = lambda row: (row.subject, row.window)  # noqa: E731
    assert sorted((row for row in at_once if row.observed_at == moment), key=order) == sorted(then, key=order)


@settings(max_examples=60)
@given(frames(), parameters)
def test_the_order_of_series_does_not_matter(frame, chosen):
    turned = derive({"price": frame[list(reversed(frame.columns))]}, chosen)
    by_name = sorted(turned, key=lambda row: row.subject)  # sorting keeps the windows in their order
    assert by_name == derive({"price": frame}, chosen)


@settings(max_examples=60)
@given(frames(), parameters)
def test_a_unit_sixteen_times_smaller_changes_numbers_that_have_the_unit_alone(frame, chosen):
    def scaled(row):
        with_unit = {name: getattr(row, name) for name in ("value", "gradient", "mean", "deviation")}
        return replace(row, **{name: None if old is None else 16 * old for name, old in with_unit.items()})

    assert derive({"price": frame * 16}, chosen) == [scaled(row) for row in derive({"price": frame}, chosen)]


@settings(max_examples=60)
@given(frames(), parameters)
def test_no_number_is_nan_or_infinite(frame, chosen):
    for row in derive({"price": frame}, chosen):
        numbers = [getattr(row, name) for name in ("value", *PARTS)]
        assert all(number is None or np.isfinite(number) for number in numbers)
        assert 1 <= row.samples <= history_needed(chosen)


@settings(max_examples=20)
@given(frames(), parameters)
def test_windows_equal_bare_numpy(frame, chosen):
    for row in derive({"price": frame}, chosen):
        seen = frame[row.subject].dropna()
        if row.window.endswith("m"):
            seen = seen[seen.index >= row.observed_at - pd.Timedelta(minutes=int(row.window[:-1]))]
        else:
            seen = seen.iloc[-chosen.window_size :]
        assert row.samples == len(seen)
        if row.mean is not None and len(seen) > 1:
            minutes = (seen.index - seen.index[0]) / pd.Timedelta(minutes=1)
            size = np.abs(seen).max()
            assert row.mean == pytest.approx(seen.to_numpy().mean(), rel=1e-12, abs=1e-14 * size)
            assert row.deviation == pytest.approx(np.std(seen.to_numpy(), ddof=1), rel=1e-9, abs=1e-14 * size)
            assert row.gradient == pytest.approx(np.polyfit(minutes, seen, 1)[0], rel=1e-7, abs=1e-12 * size)
