"""Thinning: of order books and tickers that have aged, the last row in each cell of a grid stays, by instrument.

Works in short transactions, a few hours of rows each. What was thinned is noted in the transaction that thins, so a
killed run goes on where it was, and doing it again changes nothing. No row is made up: one of the observed ones stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from collector.clock import EPOCH
from collector.storage import timeseries
from collector.storage.database import Database

THINNABLE = ("order_books", "tickers")
BATCH = timedelta(hours=6)  # 600 books a minute: 200 000 rows, deleted in seconds
STATEMENT_S = 300  # a batch that takes longer is undone and tried again at the next turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinned:
    """What was thinned of one month to one grid."""

    dataset: str
    month: timeseries.Month
    grid: timedelta
    until: datetime  # exclusive
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinningPlan:
    """What one month still has to be thinned: [since, until), to a grid."""

    dataset: str
    month: timeseries.Month
    grid: timedelta
    since: datetime
    until: datetime


class Thinning:
    """Thins the tables of one database. Raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[Thinned]:
        """Return what was thinned so far, in order."""
        with self._database.reading("read what was thinned") as connection:
            rows = connection.execute(_LOAD).all()
        return [
            Thinned(
                dataset=row.dataset,
                month=timeseries.month_of(row.month),
                grid=timedelta(seconds=row.grid_s),
                until=row.until,
                removed=row.removed,
            )
            for row in rows
        ]

    def due(self, dataset: str, grid: timedelta, before: datetime) -> list[ThinningPlan]:
        """Return what is left to thin of rows before a moment, by month, oldest first.

        Months that left the database, or were brought back by hand, are not touched. Only whole cells are thinned.
        """
        if dataset not in THINNABLE:
            raise ValueError(f"{dataset} is not thinned")
        end = EPOCH + (before - EPOCH) // grid * grid
        with self._database.reading("look for what to thin") as connection:
            stored = sorted(timeseries.months_stored(connection, dataset))
            left = {timeseries.month_of(at) for at in connection.execute(_COLD, {"dataset": dataset}).scalars()}
            known = {
                timeseries.month_of(row.month): row.until
                for row in connection.execute(_DONE, {"dataset": dataset, "grid_s": _seconds(grid)})
            }
            plans = []
            for month in stored:
                since = known.get(month, timeseries.start_of(month))
                until = min(end, timeseries.start_of(timeseries.following(month)))
                if month not in left and since < until and _has_rows(connection, dataset, since, until):
                    plans.append(ThinningPlan(dataset=dataset, month=month, grid=grid, since=since, until=until))
        return plans

    def count(self, plan: ThinningPlan) -> int:
        """Return how many rows a plan removes, without removing any."""
        with self._database.reading("count what to thin") as connection:
            connection.execute(_PATIENCE, {"seconds": f"{STATEMENT_S}s"})
            query = text(f"SELECT count(*) FROM ({_superfluous(plan.dataset)}) superfluous")
            values = {"since": plan.since, "until": plan.until, "grid": plan.grid}
            return int(connection.execute(query, values).scalar_one())

    def thin(self, plan: ThinningPlan) -> Iterator[int]:
        """Thin a plan, batch after batch; yield how many rows went with each. Every batch is committed by itself."""
        since = plan.since
        width = max(BATCH // plan.grid, 1) * plan.grid
        while since < plan.until:
            until = min(since + width, plan.until)
            with self._database.transaction("thin") as connection:
                connection.execute(_PATIENCE, {"seconds": f"{STATEMENT_S}s"})
                gone = _delete(connection, plan, since, until)
                values = {
                    "dataset": plan.dataset,
                    "month": timeseries.start_of(plan.month),
                    "grid_s": _seconds(plan.grid),
                    "until": until,
                    "removed": gone,
                    "now": self._database.clock.now(),
                }
                connection.execute(_NOTE, values)
            yield gone
            since = until


def _has_rows(connection: Connection, dataset: str, since: datetime, until: datetime) -> bool:
    query = text(f"SELECT EXISTS (SELECT FROM {dataset} WHERE observed_at >= :since AND observed_at < :until)")
    return bool(connection.execute(query, {"since": since, "until": until}).scalar())


def _delete(connection: Connection, plan: ThinningPlan, since: datetime, until: datetime) -> int:
    statement = text(
        f"DELETE FROM {plan.dataset} t USING ({_superfluous(plan.dataset)}) s "
        "WHERE t.instrument_id = s.instrument_id AND t.observed_at = s.observed_at AND t.source = s.source "
        "AND t.observed_at >= :since AND t.observed_at < :until"
    )
    return int(connection.execute(statement, {"since": since, "until": until, "grid": plan.grid}).rowcount)


def _superfluous(dataset: str) -> str:
    """Return the query for the keys of all rows but the last of each cell, instrument and source."""
    return f"""
        SELECT instrument_id, observed_at, source FROM (
            SELECT instrument_id, observed_at, source, lead(observed_at) OVER (
                PARTITION BY instrument_id, source, date_bin(CAST(:grid AS interval), observed_at,
                    TIMESTAMPTZ '1970-01-01 00:00+00') ORDER BY observed_at) AS later
            FROM {dataset} WHERE observed_at >= :since AND observed_at < :until
        ) cells WHERE later IS NOT NULL
    """


def _seconds(grid: timedelta) -> int:
    return grid // timedelta(seconds=1)


_PATIENCE = text("SELECT set_config('statement_timeout', :seconds, true)")
_LOAD = text("SELECT dataset, month, grid_s, until, removed FROM thinned_months ORDER BY dataset, month, grid_s")
_COLD = text("SELECT month FROM cold_months WHERE dataset = :dataset")
_DONE = text("SELECT month, until FROM thinned_months WHERE dataset = :dataset AND grid_s = :grid_s")
_NOTE = text(
    """
    INSERT INTO thinned_months AS t (dataset, month, grid_s, until, removed, updated_at)
    VALUES (:dataset, :month, :grid_s, :until, :removed, :now)
    ON CONFLICT (dataset, month, grid_s) DO UPDATE
    SET until = greatest(t.until, EXCLUDED.until), removed = t.removed + EXCLUDED.removed,
        updated_at = EXCLUDED.updated_at
    """
)
