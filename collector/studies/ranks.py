"""Ranks by market cap, day by day: the running day is brought up to date, days since the last run are added."""

from datetime import datetime, timedelta

import pandas as pd

from collector.analytics.ranks import daily_ranks
from collector.config import RankSettings
from collector.storage.past import Past
from collector.studies.prices import CAPS_SOURCE, start_of_day
from collector.studies.rows import Found, rows

FIRST_LOOK = timedelta(days=400)  # how far back the first run reads
NUMBERS = ["rank", "market_cap_usd", "price_usd"]
COLUMNS = ["asset_id", "observed_at", *NUMBERS]


class RankStudy:
    """Daily ranks with entries and exits."""

    name = "ranks"

    def __init__(self, past: Past, settings: RankSettings) -> None:
        self._past = past
        self._settings = settings

    def make(self, now: datetime) -> Found:
        """Return the rows of the running day and of the days since the newest stored one."""
        newest = self._past.newest("rank_history", "day", source=CAPS_SOURCE)
        # The list before the newest one is where its entries and exits are told from, across days off.
        before = None if newest is None else self._past.ranked_before(CAPS_SOURCE, newest)
        since = before or newest or start_of_day(now - FIRST_LOOK)
        found = self._past.daily_markets(CAPS_SOURCE, since=since, as_of=now)
        if not found:
            return {}
        table = pd.DataFrame([[row[name] for name in COLUMNS] for row in found], columns=COLUMNS)
        table = table.astype(dict.fromkeys(NUMBERS, float))  # also where nobody told any
        ranks = [row for row in daily_ranks(table, top=self._settings.top) if newest is None or row.day >= newest]
        return {"rank_history": rows(ranks, source=CAPS_SOURCE)}
