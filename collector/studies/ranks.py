"""Ranks by market cap, day by day: the running day is brought up to date, days since the last run are added."""

from datetime import datetime, timedelta

import pandas as pd

from collector.analytics.ranks import daily_ranks
from collector.config import RankSettings
from collector.storage.past import Past
from collector.studies.prices import CAPS_SOURCE
from collector.studies.rows import Found, rows

FIRST_LOOK = timedelta(days=400)  # how far back the first run reads
COLUMNS = ["asset_id", "observed_at", "rank", "market_cap_usd", "price_usd"]


class RankStudy:
    """Daily ranks with entries and exits."""

    name = "ranks"

    def __init__(self, past: Past, settings: RankSettings) -> None:
        self._past = past
        self._settings = settings

    def make(self, now: datetime) -> Found:
        """Return the rows of the running day and of the days since the newest stored one."""
        newest = self._past.newest("rank_history", "day", source=CAPS_SOURCE)
        # The day before the newest one is where its entries and exits are told from.
        since = now - FIRST_LOOK if newest is None else newest - timedelta(days=1)
        found = self._past.daily_markets(CAPS_SOURCE, since=_start_of_day(since), as_of=now)
        if not found:
            return {}
        table = pd.DataFrame([[row[name] for name in COLUMNS] for row in found], columns=COLUMNS)
        ranks = [row for row in daily_ranks(table, top=self._settings.top) if newest is None or row.day >= newest]
        return {"rank_history": rows(ranks, source=CAPS_SOURCE)}


def _start_of_day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
