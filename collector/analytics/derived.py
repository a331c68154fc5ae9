"""Derived metrics beside the raw rows: slope, mean, deviation and z-score of what was observed, minute by minute.

Input are frames, one for each measure (price, volume, open_interest, funding, spread_bps, imbalance, or an indicator
by the name of its column): the index holds minutes (UTC, ascending; minutes without any observation may be left out),
the columns are instrument ids, NaN means that nothing was observed in that minute. Nothing is ever carried on.

A number rests on the observations of its window alone, to the last bit. So what is derived from the last
`history_needed` observations of each series, read from the database after a restart, is what an uninterrupted run
derives, and cutting off the future changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from collector.analytics.derived_windows import (
    CHUNK,
    Blocks,
    Floats,
    Observed,
    Summary,
    count_windows,
    observed,
    time_windows,
)

MINUTE = timedelta(minutes=1)
PARTS = tuple(part.name for part in fields(Summary))
LARGEST = 1e150  # the square of a larger value, summed, could leave the range of a float


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedParameters:
    """How far back to look: over a number of observations, and over each of several lengths of time."""

    window_size: int = 20  # observations
    intervals: tuple[int, ...] = (5, 15, 60)  # minutes

    def __post_init__(self) -> None:
        if self.window_size < 2:  # noqa: PLR2004 - one observation has neither slope nor deviation
            raise ValueError(f"window_size must be 2 or more, got {self.window_size}")
        if any(minutes < 1 for minutes in self.intervals) or len(set(self.intervals)) < len(self.intervals):
            raise ValueError(f"intervals must be different numbers of minutes, 1 or more, got {self.intervals}")

    @property
    def windows(self) -> tuple[str, ...]:
        """Return the names of the windows: "20" for observations, "5m" for minutes."""
        return (str(self.window_size), *(f"{minutes}m" for minutes in self.intervals))


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedMetric:
    """What a window that ends with an observation says about it.

    A window "20" holds the last 20 observations, however far back they lie; until there are so many, there is only
    `value` and `samples`. A window "15m" holds what was observed from 15 minutes before the newest observation to it,
    both ends included, so that at a collection every 5 minutes "5m" holds two observations. None: too few observations,
    or a division by zero as told below.
    """

    subject: str  # instrument id
    measure: str
    window: str
    observed_at: datetime  # minute of the newest observation (UTC)
    value: float  # the newest observation, in the measure's unit
    gradient: float | None  # change per minute: slope of the least-squares line through (minute, value); from 2 on
    gradient_relative: float | None  # gradient / mean, per minute; None at mean 0
    mean: float | None
    deviation: float | None  # of the sample, over n - 1; from 2 on
    zscore: float | None  # (value - mean) / deviation; None at deviation 0
    samples: int  # observations in the window


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedPanel:
    """One measure and window at every minute: frames of the shape of the input.

    NaN stands for None, and where nothing was observed.
    """

    measure: str
    window: str
    value: pd.DataFrame
    gradient: pd.DataFrame
    gradient_relative: pd.DataFrame
    mean: pd.DataFrame
    deviation: pd.DataFrame
    zscore: pd.DataFrame
    samples: pd.DataFrame

    def rows(self) -> Iterator[DerivedMetric]:
        """Yield the rows, series by series, oldest first."""
        values = self.value.to_numpy(dtype=float, na_value=np.nan).T
        arrays = {part: getattr(self, part).to_numpy().T for part in PARTS}
        times = _moments(self.value.index)
        for series, row in zip(*np.nonzero(~np.isnan(values)), strict=True):
            told = {part: array[series, row] for part, array in arrays.items()}
            subject = str(self.value.columns[series])
            yield _metric(subject, self.measure, self.window, times[row], float(values[series, row]), told)


def history_needed(parameters: DerivedParameters) -> int:
    """Return how many of its last minutes with an observation a series needs, for its newest row in every window.

    Observations need not be regular: a window of minutes holds at most one of each of its minutes, both ends included,
    and a window of observations counts them. Read so many of each series and measure, not so many minutes.
    """
    return max(parameters.window_size, *(minutes + 1 for minutes in parameters.intervals), 0)


def grid(
    times: Sequence[datetime] | pd.DatetimeIndex,
    subjects: Sequence[str],
    values: Sequence[float | None] | npt.NDArray[np.float64],
    *,
    every: timedelta = MINUTE,
) -> pd.DataFrame:
    """Return observations (one of each sequence, in any order) on a grid: the last one of each cell, by its start.

    A minute in which nothing was observed has no row, or NaN where another subject has a value; a value of None or NaN
    is no observation. Of two at the same time the one that comes later counts. Raises ValueError for times without
    UTC and for an `every` that is not a number of minutes.
    """
    if every < MINUTE or every % MINUTE:
        raise ValueError(f"every must be a number of whole minutes, got {every}")
    table = pd.DataFrame(
        {"time": _utc(times, "grid"), "subject": list(subjects), "value": np.asarray(values, dtype=float)}
    )
    table = table.dropna(subset="value").sort_values("time", kind="stable")
    table["time"] = table["time"].dt.floor(every)
    table = table.drop_duplicates(["time", "subject"], keep="last")
    frame = table.set_index(["time", "subject"])["value"].unstack("subject")  # noqa: PD010 - nothing is left to aggregate
    return frame.sort_index().rename_axis(index=None, columns=None)


def derive(
    frames: Mapping[str, pd.DataFrame], parameters: DerivedParameters, *, at: datetime | None = None
) -> list[DerivedMetric]:
    """Return a row for the newest observation of each measure, series and window, in the order of the input.

    `at` (aware) leaves out later minutes; the minute of `at` itself is taken as it is handed in. A series without any
    observation has no row. Raises ValueError for an index or values that are not as the module asks.
    """
    if at is not None and at.tzinfo is None:
        raise ValueError(f"at must be aware, got {at!r}")
    rows: list[DerivedMetric] = []
    for measure, whole in frames.items():
        minutes = _minutes(measure, whole)
        known = len(minutes) if at is None else int(np.searchsorted(minutes, at.timestamp() / 60, side="right"))
        frame = whole.iloc[:known]
        seen = observed(_values(measure, frame), minutes[:known], history_needed(parameters))
        summaries = _summaries(seen, parameters)
        times = _moments(frame.index)
        ends = np.cumsum(seen.counts) - 1
        for series in np.flatnonzero(seen.counts):
            place = seen.counts[series] - 1
            moment, value = times[int(seen.rows[ends[series]])], float(seen.value[series, place])
            for window, summary in summaries.items():
                told = {part: getattr(summary, part)[series, place] for part in PARTS}
                rows.append(_metric(str(frame.columns[int(series)]), measure, window, moment, value, told))
    return rows


def derive_history(frames: Mapping[str, pd.DataFrame], parameters: DerivedParameters) -> list[DerivedPanel]:
    """Return the same for every minute, a panel for each measure and window.

    What stands at a minute is what `derive` returned at that minute. Raises the same.
    """
    return [panel for measure, frame in frames.items() for panel in _panels(measure, frame, parameters)]


def _panels(measure: str, frame: pd.DataFrame, parameters: DerivedParameters) -> Iterator[DerivedPanel]:
    values, minutes = _values(measure, frame), _minutes(measure, frame)
    told = {window: [np.empty(values.shape) for _ in PARTS] for window in parameters.windows}
    at_once = max(1, CHUNK // max(1, values.shape[1]))
    for first in range(0, len(values), at_once):
        chunk = slice(first, first + at_once)
        seen = observed(values[chunk], minutes)
        for window, summary in _summaries(seen, parameters).items():
            for part, array in zip(PARTS, told[window], strict=True):
                seen.put(getattr(summary, part), array[chunk])
    for window, arrays in told.items():
        shown = [pd.DataFrame(array.T, index=frame.index, columns=frame.columns, copy=False) for array in arrays]
        parts = dict(zip(PARTS, shown, strict=True))
        yield DerivedPanel(measure=measure, window=window, value=frame, **parts)


def _summaries(seen: Observed, parameters: DerivedParameters) -> dict[str, Summary]:
    blocks = Blocks(seen)
    found = {str(parameters.window_size): count_windows(seen, blocks, parameters.window_size)}
    for minutes in parameters.intervals:
        found[f"{minutes}m"] = time_windows(seen, blocks, minutes)
    return found


def _metric(
    subject: str, measure: str, window: str, moment: datetime, value: float, told: Mapping[str, float]
) -> DerivedMetric:
    return DerivedMetric(
        subject=subject,
        measure=measure,
        window=window,
        observed_at=moment,
        value=value,
        gradient=_told(told["gradient"]),
        gradient_relative=_told(told["gradient_relative"]),
        mean=_told(told["mean"]),
        deviation=_told(told["deviation"]),
        zscore=_told(told["zscore"]),
        samples=int(told["samples"]),
    )


def _told(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def _values(measure: str, frame: pd.DataFrame) -> Floats:
    """Return the values with one row for each series."""
    values = np.ascontiguousarray(frame.to_numpy(dtype=float, na_value=np.nan).T)
    if values.size and max(np.nanmax(values, initial=0), -np.nanmin(values, initial=0)) > LARGEST:
        raise ValueError(f"{measure} holds a value beyond {LARGEST:g}")
    return values


def _minutes(measure: str, frame: pd.DataFrame) -> Floats:
    """Return the index in minutes since the epoch."""
    if len(frame.index) == 0:
        return np.empty(0)
    index = _utc(frame.index, measure)
    seconds = index.as_unit("us").asi8 // 1_000_000
    minutes = seconds // 60
    if (index.floor("min") != index).any() or (np.diff(minutes) < 1).any():
        raise ValueError(f"the index of {measure} must hold whole minutes, ascending, each once")
    return minutes.astype(float)


def _utc(times: Sequence[datetime] | pd.Index, name: str) -> pd.DatetimeIndex:
    if len(times) == 0:
        return pd.DatetimeIndex([], tz=UTC)
    index = times if isinstance(times, pd.DatetimeIndex) else pd.DatetimeIndex(list(times))
    if index.tz is None or index[0].utcoffset() != timedelta(0):
        raise ValueError(f"{name}: times must be aware and UTC")
    return index.tz_convert(UTC)


def _moments(index: pd.Index) -> list[datetime]:
    return [moment.to_pydatetime() for moment in _utc(index, "index")]
