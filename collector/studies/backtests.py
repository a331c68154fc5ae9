"""What a backtest is played on: stored bars as they were first known, the universe of the start, caps and funding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from collector.analytics.backtest.market import BacktestRefused, Market
from collector.analytics.bars import BarPanel, bar_panel
from collector.analytics.signals import SignalParameters, bars_needed, latest_states
from collector.analytics.views import asset_views
from collector.records import Interval, Kind
from collector.storage.past import FIRST_KNOWN, Past, Series
from collector.studies.prices import chosen_series, daily_caps, scaled, wide

WARM_UP = 250  # bars before the start that strategies may look back on
CAPS_WITHIN = timedelta(days=7)  # before the start, for the choice of assets
CLOSES_ONLY = ("ema_cross", "rsi", "macd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be played on."""

    start: datetime
    end: datetime
    interval: Interval = Interval.D1
    assets: Sequence[str] = ()  # empty: the largest
    top: int = 30
    perpetuals: bool = False


def load_market(past: Past, venues: Sequence[str], wanted: Wanted) -> tuple[Market, list[str]]:
    """Return the market, and what a reader must know of the choice of its assets. Raises BacktestRefused."""
    kinds = (Kind.PERP,) if wanted.perpetuals else (Kind.SPOT, Kind.PERP)
    series = chosen_series(past.series(wanted.interval, followed=None), venues, kinds)
    since = wanted.start - WARM_UP * wanted.interval.width
    caps = daily_caps(past, since=min(since, wanted.start - CAPS_WITHIN), as_of=wanted.end)
    names, notes = _universe(series, caps, wanted)
    chosen = {name: series[name] for name in names}
    panel = _panel(past, chosen, since, wanted)
    held = [name for name in names if name in panel.close.columns]
    if not held:
        raise BacktestRefused(f"no {wanted.interval} bars are stored from {since:%Y-%m-%d} to {wanted.end:%Y-%m-%d}")
    known = caps.reindex(columns=held)
    market = Market(
        closes=panel.close[held],
        opens=panel.open[held],
        volumes=panel.volume[held],
        funding=_funding(past, {name: chosen[name] for name in held}, since, wanted) if wanted.perpetuals else None,
        caps=known if known.notna().any(axis=None) else None,
        delisted={name: gone for name in held if (gone := chosen[name].gone_at) is not None},
    )
    return market, notes


def _universe(series: Mapping[str, Series], caps: pd.DataFrame, wanted: Wanted) -> tuple[list[str], list[str]]:
    if wanted.assets:
        unknown = [name for name in wanted.assets if name not in series]
        if unknown:
            raise BacktestRefused(f"--assets: no {wanted.interval} bars of {unknown[0]}; ids are those of `trends`")
        return list(wanted.assets), []
    before = caps.loc[wanted.start - CAPS_WITHIN : wanted.start].dropna(how="all")
    if len(before.index):
        known = before.iloc[-1].dropna().sort_values(ascending=False, kind="stable")
        return [str(name) for name in known.index if name in series][: wanted.top], []
    day = f"{wanted.start:%Y-%m-%d}"
    note = f"no market caps of {day} are stored: the assets are those collected since, a choice that knows the future"
    return list(series)[: wanted.top], [note]


def _panel(past: Past, chosen: Mapping[str, Series], since: datetime, wanted: Wanted) -> BarPanel:
    names = [item.instrument for item in chosen.values()]
    windows = past.bars(names, wanted.interval, since=since, as_of=wanted.end, known=FIRST_KNOWN)
    found = {
        name: scaled(windows[item.instrument], item.units)
        for name, item in chosen.items()
        if item.instrument in windows
    }
    return bar_panel(found, wanted.interval)


def _funding(past: Past, chosen: Mapping[str, Series], since: datetime, wanted: Wanted) -> pd.DataFrame | None:
    assets = {item.instrument: name for name, item in chosen.items()}
    found = past.funding(list(assets), since=since, as_of=wanted.end, known=FIRST_KNOWN)
    if not len(found.values):
        return None
    rates: list[float] = found.values.tolist()  # noqa: PD011 - an array already
    told = zip(found.times, found.subjects, rates, strict=True)
    return wide([{"at": at, "asset": assets[name], "rate": rate} for at, name, rate in told], "at", "asset", "rate")


class BlackLitterman:
    """The portfolio of each moment, from caps and closes known then and the signals that follow from the closes.

    Signals that need highs and lows or funding are left out, and so is the turnover limit: a decision is made from what
    was known at its moment alone, not from what is held.
    """

    name = "black_litterman"

    def __init__(self, build: Any, parameters: Any, signals: SignalParameters) -> None:
        """`build` and `parameters` are `build_portfolio` and what it takes: handed in, for their packages are heavy."""
        self._build = build
        self._parameters = parameters
        self._signals = signals
        self._bars = bars_needed(signals) + 1
        self._refused: dict[datetime, str] = {}

    def details(self) -> Mapping[str, Any]:
        """Return what names the strategy."""
        return {"parameters": repr(self._parameters), "signals": repr(self._signals)}

    def weights(self, known: Market, t: datetime) -> Mapping[str, float] | None:
        """Return the weights of a moment; None: no portfolio can be built, what is held stays."""
        if known.caps is None or not len(known.caps.index):
            self._refused[t] = "no market caps are stored up to then"
            return None
        told = known.caps.iloc[-1].dropna()
        caps: Mapping[str, float | None] = {str(name): float(value) for name, value in told.items()}
        made = self._build(known.closes, caps, self._views(known, t), None, self._parameters, as_of=t)
        if made.state != "ok":
            self._refused[t] = made.reason
            return None
        return {row.asset_id: row.weight for row in made.weights}

    def told(self) -> list[str]:
        """Return, in one line, how many decisions had no portfolio, and why the first of them had none."""
        if not self._refused:
            return []
        first = min(self._refused)
        return [f"no portfolio at {len(self._refused)} moments; at {first:%Y-%m-%d}: {self._refused[first]}"]

    def _views(self, known: Market, t: datetime) -> Mapping[str, Any]:
        from collector.analytics.black_litterman import Score  # noqa: PLC0415 - beside the packages handed in

        closes = known.closes.iloc[-self._bars :]
        interval = next(item for item in Interval if item.width == known.step)
        panel = BarPanel(interval, closes, closes, closes, closes, closes)
        states = latest_states(panel, self._signals)
        views = asset_views(states, asset_of={name: name for name in known.assets}, as_of=t)
        return {
            view.asset_id: Score(zscore=view.zscore, confidence=view.confidence)
            for view in views
            if view.zscore is not None
        }
