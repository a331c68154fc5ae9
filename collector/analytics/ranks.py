"""Market-cap ranks day by day: the list at the end of each UTC day, who entered it and who left.

A day's list comes from its last round of snapshots, as it was known then. The row of a day is final when the day has
ended; a running day changes with every round.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from math import isnan

import pandas as pd

ROUND = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyRank:
    """One asset on one day. `rank` is the provider's, `cap_rank` ours from the caps of the day's last round."""

    asset_id: str
    day: datetime  # its start, 00:00 UTC
    rank: int | None  # in the asset's last snapshot of the day; None: the provider gave none
    cap_rank: int | None  # 1 is the largest; None: no cap, or no longer in the day's last round
    market_cap_usd: float | None
    price_usd: float | None
    observed_at: datetime | None  # None: no snapshot of it that day; it is told because it left
    entered: bool  # in the first `top` of this day, not in those of the list before
    left: bool  # the other way round


def daily_ranks(snapshots: pd.DataFrame, *, top: int, round_width: timedelta = ROUND) -> list[DailyRank]:
    """Return a row for each day and asset, by day, then by cap rank, then by id.

    `snapshots` has columns asset_id, observed_at (UTC), rank, market_cap_usd and price_usd (NaN: not told), in any
    order of rows. The last round of a day are the assets observed within `round_width` of its newest snapshot: a
    provider gives each asset its own time, and one that dropped out of the list keeps an old one. Equal caps follow the
    provider's rank, then the id. The list before is that of the newest earlier day with a cap rank, across days without
    any; on the first day nobody enters.
    """
    if top < 1:
        raise ValueError(f"top {top} must be at least 1")
    rows: list[DailyRank] = []
    before: frozenset[str] | None = None
    for day, group in groupby(_rows(_ranked(snapshots, round_width)), key=lambda row: row.day):
        of_day = list(group)
        listed = frozenset(row.asset_id for row in of_day if row.cap_rank is not None and row.cap_rank <= top)
        entered, left = _moves(before, listed)
        rows += [_moved(row, entered, left) for row in of_day]
        rows += [_gone(asset, day) for asset in sorted(left - {row.asset_id for row in of_day})]
        before = listed or before
    return rows


def rank_at(ranks: Sequence[DailyRank], moment: datetime) -> list[DailyRank]:
    """Return the list that was known at a moment, largest first: that of the newest day that had ended by then.

    Only assets with a cap rank; empty when no day had ended.
    """
    ended = [row for row in ranks if row.day + DAY <= moment and row.cap_rank is not None]
    newest = max((row.day for row in ended), default=None)
    return sorted((row for row in ended if row.day == newest), key=lambda row: row.cap_rank or 0)


def entries(ranks: Sequence[DailyRank]) -> list[DailyRank]:
    """Return the rows of those that came into the list, in the given order."""
    return [row for row in ranks if row.entered]


def exits(ranks: Sequence[DailyRank]) -> list[DailyRank]:
    """Return the rows of those that fell out of the list, in the given order."""
    return [row for row in ranks if row.left]


def _ranked(snapshots: pd.DataFrame, round_width: timedelta) -> pd.DataFrame:
    """Return the last snapshot of each asset and day with `day` and `cap_rank` (NaN outside the day's last round)."""
    frame = snapshots.sort_values("observed_at", kind="stable", ignore_index=True)
    frame = frame.assign(day=frame["observed_at"].dt.floor("D")).drop_duplicates(["day", "asset_id"], keep="last")
    newest = frame.groupby("day")["observed_at"].transform("max")
    frame = frame.sort_values(["day", "market_cap_usd", "rank", "asset_id"], ascending=[True, False, True, True])
    counted = frame.loc[(newest - frame["observed_at"] <= round_width) & frame["market_cap_usd"].notna()]
    frame["cap_rank"] = counted.groupby("day").cumcount() + 1
    return frame.sort_values(["day", "cap_rank", "asset_id"], ignore_index=True)


def _rows(ranked: pd.DataFrame) -> list[DailyRank]:
    columns = {
        "asset_id": ranked["asset_id"].tolist(),
        "day": ranked["day"].dt.to_pydatetime().tolist(),
        "rank": [None if isnan(value) else int(value) for value in ranked["rank"].tolist()],
        "cap_rank": [None if isnan(value) else int(value) for value in ranked["cap_rank"].tolist()],
        "market_cap_usd": [None if isnan(value) else value for value in ranked["market_cap_usd"].tolist()],
        "price_usd": [None if isnan(value) else value for value in ranked["price_usd"].tolist()],
        "observed_at": ranked["observed_at"].dt.to_pydatetime().tolist(),
    }
    return [
        DailyRank(**dict(zip(columns, values, strict=True)), entered=False, left=False)
        for values in zip(*columns.values(), strict=True)
    ]


def _moves(before: frozenset[str] | None, listed: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    if before is None or not listed:  # no list to compare: nobody is known to have moved
        return frozenset(), frozenset()
    return listed - before, before - listed


def _moved(row: DailyRank, entered: frozenset[str], left: frozenset[str]) -> DailyRank:
    if row.asset_id not in entered and row.asset_id not in left:
        return row
    return replace(row, entered=row.asset_id in entered, left=row.asset_id in left)


def _gone(asset: str, day: datetime) -> DailyRank:
    nothing = dict.fromkeys(("rank", "cap_rank", "market_cap_usd", "price_usd", "observed_at"))
    return DailyRank(asset_id=asset, day=day, **nothing, entered=False, left=True)
