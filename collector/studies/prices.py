"""Daily prices, market caps and volumes of assets as they were known: frames with a column per asset."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from collector.analytics.bars import BarPanel, Window, bar_panel
from collector.records import Interval, Kind
from collector.storage.past import Past, Series

DOLLARS = ("USDT", "USD", "USDC")  # quotes that are taken as one dollar, best first
CAPS_SOURCE = "coingecko"
DAY = timedelta(days=1)
STOPPED = 3 * DAY  # behind the newest series of all


@dataclass(frozen=True, slots=True)
class AssetPrices:
    """Daily bars of assets in dollars a coin, and which instrument each comes from."""

    bars: BarPanel
    instruments: dict[str, str]  # asset id -> canonical id


def chosen_series(
    series: Iterable[Series], venues: Sequence[str], kinds: Sequence[str] = (Kind.SPOT, Kind.PERP)
) -> dict[str, Series]:
    """Return the series that stands for each asset: the best venue, then the best kind, then the best quote.

    One that is followed stands before those that no longer are, and one that goes on before one that stopped more than
    `STOPPED` ago. Of several that are alike, the one that reaches back farthest. Series of unknown assets or quotes are
    left out.
    """
    usable = [
        item
        for item in series
        if item.asset_id is not None and item.venue in venues and item.quote in DOLLARS and item.kind in kinds
    ]

    newest = max((item.last for item in usable), default=None)

    def order(item: Series) -> tuple[object, ...]:
        stopped = newest is not None and newest - item.last > STOPPED
        places = (venues.index(item.venue), kinds.index(item.kind), DOLLARS.index(item.quote))
        return (not item.followed, stopped, *places, item.first, item.instrument)

    best: dict[str, Series] = {}
    for item in sorted(usable, key=order):
        best.setdefault(str(item.asset_id), item)
    return best


def asset_prices(
    past: Past,
    venues: Sequence[str],
    *,
    since: datetime,
    as_of: datetime,
    known: datetime,
    followed: bool | None = True,
) -> AssetPrices:
    """Return the daily bars of every asset with a followed instrument (None: any), with the values known at `known`."""
    begun = [item for item in past.series(Interval.D1, followed=followed) if item.first + DAY <= as_of]
    chosen = chosen_series(begun, venues)  # a series that began later stood for nothing then
    names = [item.instrument for item in chosen.values()]
    windows = past.bars(names, Interval.D1, since=since, as_of=as_of, known=known)
    found = {asset: item for asset, item in chosen.items() if item.instrument in windows}
    panel = bar_panel(
        {asset: scaled(windows[item.instrument], item.units) for asset, item in found.items()}, Interval.D1
    )
    return AssetPrices(panel, {asset: item.instrument for asset, item in found.items()})


def scaled(window: Window, units: float) -> Window:
    """Return a window in coins: prices of one, volume in them; `units` are the coins in one base unit."""
    return {
        name: values if name == "open_time" else values * units if name == "volume" else values / units
        for name, values in window.items()
    }


def daily_caps(past: Past, *, since: datetime, as_of: datetime, column: str = "market_cap_usd") -> pd.DataFrame:
    """Return the last market cap (or another column) of each UTC day by asset, indexed by the end of the day.

    A day that has not ended by `as_of` stands with what it had by then.
    """
    found = past.daily_markets(CAPS_SOURCE, since=since, as_of=as_of)
    ends = [{**row, "end": start_of_day(row["observed_at"]) + DAY} for row in found]
    return wide(ends, "end", "asset_id", column)


def start_of_day(moment: datetime) -> datetime:
    """Return 00:00 UTC of a day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def wide(found: Sequence[Mapping[str, Any]], row: str, column: str, value: str) -> pd.DataFrame:
    """Return rows of a query as a frame by the moments in `row`, with a column for each value of `column`."""
    index = pd.DatetimeIndex([item[row] for item in found], tz="UTC")
    table = pd.DataFrame({"row": index, "column": [item[column] for item in found]})
    table["value"] = [item[value] for item in found]
    frame = table.set_index(["row", "column"])["value"].astype(float).unstack("column")  # noqa: PD010 - refuses a second value
    return frame.sort_index().rename_axis(index=None, columns=None)
