"""Signals on closed bars whenever bars have closed, revisions of those given before, and the views that follow.

The first run over an interval speaks of its newest `FIRST_BARS` bars; later ones of the newest and of `REREAD` bars
before them, where corrections of the past are still looked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pandas as pd

from collector.analytics.bars import BarPanel, bar_panel
from collector.analytics.derived import grid
from collector.analytics.signals import (
    Breakout,
    EmaCross,
    FundingExtremes,
    Macd,
    Reading,
    Revision,
    Rsi,
    Signal,
    SignalParameters,
    SignalState,
    bars_needed,
    read_signals,
    revised,
    settlements_needed,
)
from collector.analytics.views import AssetView, asset_views
from collector.config import AnalyticsSettings, SignalSettings
from collector.records import Interval
from collector.storage.past import Past, Series
from collector.studies.rows import Found, rows

FIRST_BARS = 3_000  # eight years of days, four months of hours; 250 series of them take half a gigabyte
REREAD = 200  # bars before the newest that are told anew
SETTLED_HOURS = 8  # the longest usual time between settlements


def signal_parameters(settings: SignalSettings) -> SignalParameters:
    """Return the parameters of the enabled kinds; ValueError in one line when they cannot be."""
    pairs = tuple((int(fast), int(slow)) for fast, slow in (pair.split("/") for pair in settings.ema_pairs))
    cross = EmaCross(pairs=pairs, confirmation=settings.confirmation, hysteresis=settings.hysteresis)
    kinds: Mapping[str, Any] = {
        "ema_cross": cross,
        "rsi": Rsi(period=settings.rsi_period, oversold=settings.rsi_oversold, overbought=settings.rsi_overbought),
        "macd": Macd(confirmation=settings.confirmation),
        "breakout": Breakout(lookback=settings.breakout_lookback),
        "funding": FundingExtremes(lookback=settings.funding_lookback, threshold=settings.funding_threshold),
    }
    return SignalParameters(**{name: kind if name in settings.kinds else None for name, kind in kinds.items()})


@dataclass(frozen=True, slots=True)
class Told:
    """What the bars of an interval say, and of which instruments."""

    reading: Reading
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Now:
    """What the stored bars say at a moment."""

    signals: Sequence[Signal]  # of the last `REREAD` bars of each interval
    states: Sequence[SignalState]
    views: Sequence[AssetView]
    assets: Mapping[str, str]  # instrument -> asset


class SignalStudy:
    """Signals of every followed series of the configured intervals."""

    name = "signals"

    def __init__(self, past: Past, settings: AnalyticsSettings) -> None:
        self._past = past
        self._intervals = settings.signals.intervals
        self._parameters = signal_parameters(settings.signals)
        self._newest: dict[Interval, dict[str, datetime]] = {}  # newest bar of each series when last told
        self._states: dict[Interval, Sequence[SignalState]] = {}

    def make(self, now: datetime) -> Found:
        """Return new signals, revisions of older ones and, when any bar closed, the views of all assets."""
        found: Found = {}
        assets: dict[str, str] = {}
        told = False
        for interval in self._intervals:
            series = self._past.series(interval)
            assets |= {item.instrument: item.asset_id for item in series if item.asset_id}
            newest = {item.instrument: item.last for item in series}
            if newest and newest != self._newest.get(interval):
                self._tell(interval, series, now, found)
                self._newest[interval] = newest
                told = True
        if told:
            found["asset_views"] = rows(self.views(self._states.values(), assets))
        return found

    def now(self, as_of: datetime) -> Now:
        """Return what the bars that had ended by a moment say, as they were known then; nothing is stored."""
        signals: list[Signal] = []
        states: list[SignalState] = []
        assets: dict[str, str] = {}
        for interval in self._intervals:
            series = self._past.series(interval)
            assets |= {item.instrument: item.asset_id for item in series if item.asset_id}
            told = self.read(interval, series, since=as_of - REREAD * interval.width, as_of=as_of, known=as_of)
            signals += told.reading.signals
            states += told.reading.states
        return Now(signals, states, self.views([states], assets), assets)

    def _tell(self, interval: Interval, series: Sequence[Series], now: datetime, found: Found) -> None:
        before = self._past.newest("signals", "bar_end", interval=str(interval))
        newest = max(item.last for item in series) + interval.width
        since = first = newest - FIRST_BARS * interval.width
        if before is not None:  # from the newest signal on after days off, from a series' last bar when it fell behind
            told_to = self._newest.get(interval, {})
            grown = [told_to[item.instrument] for item in series if told_to.get(item.instrument, item.last) < item.last]
            since = max(
                first, min(before, newest - REREAD * interval.width, *(last + interval.width for last in grown))
            )
        told = self.read(interval, series, since=since, as_of=now, known=now)
        self._states[interval] = told.reading.states
        found.setdefault("signals", []).extend(rows(told.reading.signals, subject="instrument"))
        if before is not None and told.reading.first is not None:
            found.setdefault("signal_revisions", []).extend(
                rows(self._revisions(told.reading, interval), subject="instrument")
            )

    def read(
        self, interval: Interval, series: Sequence[Series], *, since: datetime, as_of: datetime, known: datetime
    ) -> Told:
        """Return what bars that end after `since`, up to `as_of`, say, with the values known at `known`."""
        loaded = since - (bars_needed(self._parameters) + 1) * interval.width
        names = [item.instrument for item in series]
        windows = self._past.bars(names, interval, since=loaded, as_of=as_of, known=known)
        panel = bar_panel(windows, interval)
        funding = self._funding(panel, interval, as_of, known)
        return Told(read_signals(panel, self._parameters, funding=funding, since=since), series)

    def _funding(self, panel: BarPanel, interval: Interval, as_of: datetime, known: datetime) -> pd.DataFrame | None:
        names = [name for name in panel.close.columns if name.endswith(":perp")]
        needed = settlements_needed(self._parameters)
        if not names or not needed or not len(panel.close.index):
            return None
        since = panel.close.index[0].to_pydatetime() - interval.width - needed * pd.Timedelta(hours=SETTLED_HOURS)
        found = self._past.funding(names, since=since, as_of=as_of, known=known)
        return grid(found.times, found.subjects, found.values) if len(found.values) else None

    def _revisions(self, reading: Reading, interval: Interval) -> list[Revision]:
        """Return what is to be said of stored signals that the reading tells otherwise."""
        assert reading.first is not None  # noqa: S101 - asked before
        assert reading.until is not None  # noqa: S101 - the two go together
        since, until = reading.first - interval.width, reading.until
        stored = self._past.signals(since=since, as_of=until, interval=interval)
        told = self._past.signal_revisions(since=since, as_of=until, interval=interval)
        return revised([_emitted(row) for row in stored], reading, [_revision(row) for row in told])

    def views(self, states: Any, assets: Mapping[str, str]) -> list[AssetView]:
        """Return one view per asset of the newest states; as of the newest bar that any of them is about."""
        every = [state for part in states for state in part]
        if not every:
            return []
        return asset_views(every, asset_of=assets, as_of=max(state.bar_end for state in every))


def _emitted(row: Mapping[str, Any]) -> Any:
    return SimpleNamespace(**{**row, "subject": row["instrument"], "interval": Interval(row["interval"])})


def _revision(row: Mapping[str, Any]) -> Revision:
    names = Revision.__dataclass_fields__
    values = {name: row[name] for name in names if name in row}
    own = {"subject": row["instrument"], "interval": Interval(row["interval"]), "differs": tuple(row["differs"])}
    return Revision(**{**values, **own})
